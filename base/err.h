/*
 * err: the error object that every function which can fail fills in.
 *
 * Contract: such a function returns 0 or -1 (or a handle that is NULL on failure) and its last parameter is `struct err **err`,
 * never NULL. On failure *err is set exactly once and no output is touched; on success *err is untouched. A caller for whom
 * failure is fine passes a local and drops it with err_drop(). Initialise at declaration:
 *
 *     _cleanup_(err_dropp) struct err *e = NULL;
 *
 * Message form: lower case, no final stop, what was attempted, then the object in quotes, then the reason, joined by ": ".
 * Links with libc and base/mem alone (runtime/helper uses it).
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>

#include "base/mem.h"

/* What went wrong, for programs. Few on purpose. */
enum err_code {
	ERR_SYNTAX = 1, /* a Dockerfile or another text does not parse */
	ERR_INVALID,    /* a value, name or option is not valid */
	ERR_NOT_FOUND,
	ERR_EXISTS,
	ERR_DENIED,
	ERR_AUTH,
	ERR_NETWORK,
	ERR_TIMEOUT,
	ERR_INTEGRITY, /* a digest or a size does not match */
	ERR_UNSUPPORTED,
	ERR_LIMIT, /* a bound on input from outside */
	ERR_IO,
	ERR_EXIT, /* a process failed; its status is in `status` */
	ERR_CANCELED,
	ERR_BUG,
};

/* A place in a source text: lines from 1, `last` inclusive; bytes [begin, end). line 0: no place is known. */
struct span {
	unsigned line, last;
	size_t begin, end;
};

struct err {
	enum err_code code;
	int sys;        /* errno, or 0 */
	int status;     /* exit or HTTP status, or 0 */
	struct span at; /* line 0: none */
	char *msg;      /* the whole chain, outermost first; owned */
	char *hint;     /* the cure, or NULL; owned */
};

/* Sets *err to a new error with a message made by `fmt`. Always returns -1. */
int err_set(struct err **err, enum err_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Like err_set() with the code that fits errno and ": strerror" appended; takes errno at entry. Always returns -1. */
int err_sys(struct err **err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts "message: " before what *err says. Returns -1. *err must be set. */
int err_wrap(struct err **err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Sets the hint of *err unless it has one. Returns -1. */
int err_hint(struct err **err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Sets the place of *err unless it has one. Returns -1. */
int err_at(struct err **err, struct span at);

/* Sets exit or HTTP status of *err. Returns -1. */
int err_status(struct err **err, int status);

/* Moves `from` into *err (for errors that were collected elsewhere). Returns -1. */
int err_move(struct err **err, struct err *from);

/* Frees *err and sets it to NULL; NULL-safe. */
void err_drop(struct err **err);

/* err_drop() for _cleanup_(). */
void err_dropp(struct err **err);

/* The code that fits an errno. */
enum err_code err_code_of(int sys);

/* Aborts with file and line: a broken invariant, which input can never reach. */
#define BUG(...) err_bug(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void err_bug(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
