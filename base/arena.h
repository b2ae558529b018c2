/*
 * arena: memory that dies together. Objects in an arena have no free function; a function that returns arena memory takes the
 * arena as a parameter, and that is the statement of ownership. One thread at a time.
 */
#pragma once

#include <stddef.h>

#include "base/mem.h"
#include "base/str.h"

struct arena;

/* A new, empty arena; free it with arena_free(). */
struct arena *arena_new(void);
void arena_free(struct arena *a);
void arena_freep(struct arena **a);

/* n zeroed bytes, aligned for any type; n = 0 gives a valid pointer. */
void *arena_alloc(struct arena *a, size_t n) __attribute__((malloc, returns_nonnull));

/* A zeroed object of a type, or an array of n of them. */
#define arena_new_of(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define arena_array_of(a, type, n) ((type *)arena_alloc_array((a), (n), sizeof(type)))
void *arena_alloc_array(struct arena *a, size_t n, size_t size)
	__attribute__((malloc, returns_nonnull));

/* Copies of text; always terminated by a NUL beyond the length. */
struct str arena_str(struct arena *a, struct str s);
char *arena_cstr(struct arena *a, struct str s) __attribute__((returns_nonnull));
struct str arena_printf(struct arena *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Bytes handed out since the arena was made. */
size_t arena_used(const struct arena *a);
