/*
 * vec: typed growable arrays. `VEC(int) v = {0}; VEC_PUSH(&v, 3); … VEC_RELEASE(&v);` Elements are v.v[0 … v.n-1].
 * A zeroed struct is an empty vector. Nothing is done for the elements on release.
 */
#pragma once

#include <stddef.h>
#include <stdlib.h>

#include "base/mem.h"

#define VEC(type)                                                                                  \
	struct {                                                                                   \
		type *v;                                                                           \
		size_t n, cap;                                                                     \
	}

/* Room for one more element at least; its address. The element is not cleared. */
#define VEC_ADD(a)                                                                                 \
	((a)->n == (a)->cap ? vec_grow((void **)&(a)->v, &(a)->cap, sizeof(*(a)->v)) : (void)0,    \
	 &(a)->v[(a)->n++])
#define VEC_PUSH(a, x) ((void)(*VEC_ADD(a) = (x)))
#define VEC_POP(a) ((a)->v[--(a)->n])
#define VEC_LAST(a) (&(a)->v[(a)->n - 1])
#define VEC_CLEAR(a) ((void)((a)->n = 0))
#define VEC_RELEASE(a) (free((a)->v), (a)->v = NULL, (a)->n = (a)->cap = 0, (void)0)

/* For the macros. */
void vec_grow(void **v, size_t *cap, size_t size);
