/*
 * mem: allocation that aborts when there is no memory, and cleanup attributes.
 *
 * Aborting is defensible because every size that bytes from outside control has a bound elsewhere (`sb_init`, JSON, tar …) and
 * because each write of the store is atomic. Links with libc alone.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>
#include <unistd.h>
#include <dirent.h>

#include "base/banned.h"

#define NODISCARD __attribute__((warn_unused_result))
#define _cleanup_(f) __attribute__((cleanup(f)))
#define _cleanup_free_ _cleanup_(mem_freep)
#define _cleanup_close_ _cleanup_(mem_closep)
#define _cleanup_fclose_ _cleanup_(mem_fclosep)
#define _cleanup_closedir_ _cleanup_(mem_closedirp)

/* Hands a pointer over: its value, and NULL in its place. */
#define STEAL(p)                                                                                   \
	__extension__({                                                                            \
		__typeof__(p) mem_stolen_ = (p);                                                   \
		(p) = NULL;                                                                        \
		mem_stolen_;                                                                       \
	})
/* Hands a descriptor over: its value, and -1 in its place. */
#define STEAL_FD(fd)                                                                               \
	__extension__({                                                                            \
		int mem_stolen_ = (fd);                                                            \
		(fd) = -1;                                                                         \
		mem_stolen_;                                                                       \
	})
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Says that there is no memory and aborts. */
_Noreturn void mem_fail(void);

/* As malloc, calloc, realloc, strdup, strndup, memdup and asprintf; never NULL. The caller owns the result. */
void *xmalloc(size_t n) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *p, size_t n) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
void *xmemdup(const void *p, size_t n) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *fmt, ...)
	__attribute__((format(printf, 1, 2), malloc, returns_nonnull));

/* xrealloc() of n elements of a size; aborts where the product overflows. */
void *xreallocarray(void *p, size_t n, size_t size) __attribute__((returns_nonnull));

/* For the cleanup attributes. mem_closep() leaves -1 behind, so that it serves for members too. */
void mem_freep(void *p);
void mem_closep(int *fd);
void mem_fclosep(FILE **f);
void mem_closedirp(DIR **d);
