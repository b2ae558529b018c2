/*
 * str: `struct str`, a borrowed slice of bytes (not terminated, may hold NUL), and `struct sb`, an owned growable buffer
 * with a maximum. A write beyond the maximum is dropped and remembered; ask once at the end with sb_failed(). Links with libc.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"

struct err;

struct str {
	const char *p;
	size_t n;
};

#define STR(lit) ((struct str){ "" lit, sizeof(lit) - 1 })
/* For printf: "%.*s". */
#define STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""

/* The slice of a C string; NULL gives an empty one with p NULL. */
static inline struct str str_c(const char *s)
{
	return (struct str){ s, s ? strlen(s) : 0 };
}

/* Comparison bytewise: <0, 0, >0; and equality, with and without ASCII case. */
int str_cmp(struct str a, struct str b);
bool str_eq(struct str a, struct str b);
bool str_eq_c(struct str a, const char *b);
bool str_ieq(struct str a, struct str b);
bool str_starts(struct str s, struct str head);
bool str_ends(struct str s, struct str tail);

/* Position of a byte or text from `from` on, or SIZE_MAX; the last one for str_rfind(). */
size_t str_find(struct str s, char c, size_t from);
size_t str_rfind(struct str s, char c);
size_t str_find_str(struct str s, struct str what, size_t from);

/* The slice [from, to); both are clipped to the length. */
struct str str_sub(struct str s, size_t from, size_t to);

/* Without leading and trailing bytes of `set`. */
struct str str_trim(struct str s, const char *set);

/* Cuts s at the first c: true, *head and *tail set; false when there is none. Outputs may be s. */
bool str_cut(struct str s, char c, struct str *head, struct str *tail);

/* A decimal number of digits only, within [min, max]; -1 with ERR_INVALID otherwise. */
NODISCARD int str_int(struct str s, int64_t min, int64_t max, int64_t *ret, struct err **err);

/* A terminated copy; the caller frees it. */
char *str_dup(struct str s) __attribute__((malloc, returns_nonnull));

/* ASCII case without locale. */
static inline char str_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

struct sb {
	char *p; /* terminated by NUL beyond n, unless nothing was written yet */
	size_t n, cap;
	size_t max;  /* 0: no bound (never for bytes from outside) */
	bool failed; /* something was dropped because of max */
};

/* Starts an empty buffer that refuses to grow beyond `max` bytes; 0: no bound. A zeroed struct is a valid unbounded one. */
void sb_init(struct sb *b, size_t max);
void sb_release(struct sb *b);
/* sb_release() for _cleanup_(). */
void sb_releasep(struct sb *b);
/* Empties the buffer and forgets a failure; keeps the memory. */
void sb_reset(struct sb *b);

/* Append bytes, a slice, a C string, a byte, formatted text. */
void sb_add(struct sb *b, const void *p, size_t n);
void sb_add_str(struct sb *b, struct str s);
void sb_add_c(struct sb *b, const char *s);
void sb_add_ch(struct sb *b, char c);
void sb_printf(struct sb *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Room for n more bytes at p + n, to be written by the caller, who then adds to n; NULL when beyond max. */
char *sb_reserve(struct sb *b, size_t n);
/* Cuts to n bytes, where that is shorter. */
void sb_trunc(struct sb *b, size_t n);

/* What was written; valid until the next change. */
static inline struct str sb_str(const struct sb *b)
{
	return (struct str){ b->p, b->n };
}

/* The text as a C string, "" when empty; valid until the next change. */
const char *sb_c(const struct sb *b);

/* Takes the terminated text out; the caller frees it; the buffer is empty after it. */
char *sb_steal(struct sb *b) __attribute__((returns_nonnull));

/* ERR_LIMIT with `what` when something was dropped, else 0. */
NODISCARD int sb_check(const struct sb *b, const char *what, struct err **err);

/* Adds text in which what a terminal could take as control becomes \xNN; for names from outside in messages. */
void sb_add_printable(struct sb *b, struct str s);

/* Adds Go's %q form of text: double quotes, escapes as strconv.Quote. */
void sb_add_goquote(struct sb *b, struct str s);
