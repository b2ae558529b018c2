/*
 * io: whole reads and writes, atomic replacement of files, and the two stream interfaces by which
 * data crosses the borders of modules. Links with libc alone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/mem.h"
#include "base/str.h"

struct err;

/* Reads until n bytes or the end; the count, or -1 with errno. EINTR is tried again. */
ssize_t io_read_full(int fd, void *p, size_t n);
/* Writes all n bytes; 0, or -1 with errno. */
int io_write_full(int fd, const void *p, size_t n);

/* Reads the rest of fd into b (whose max bounds it: ERR_LIMIT). `what` names it in errors. */
NODISCARD int io_read_fd(int fd, const char *what, struct sb *b, struct err **err);
/* Reads a regular file below dirfd (AT_FDCWD for a path of the caller's) into b, bounded by
 * b->max. */
NODISCARD int io_read_file(int dirfd, const char *path, struct sb *b, struct err **err);

/* Replaces `path` below dirfd by new content, whole or not at all: temporary file beside it,
 * fdatasync where `durable`, rename, fsync of the folder where `durable`. mode without umask. */
NODISCARD int io_replace_file(int dirfd, const char *path, struct str data, mode_t mode,
			      bool durable, struct err **err);

/* mkdir -p below dirfd; components that exist are fine. mode as for mkdir. */
NODISCARD int io_mkdirs(int dirfd, const char *path, mode_t mode, struct err **err);

/* Removes a file or a whole tree below dirfd, never following symlinks nor crossing into other file
 * systems; absent is fine. */
NODISCARD int io_remove_tree(int dirfd, const char *path, struct err **err);

/*
 * A stream to read from. `read` gives up to n bytes, 0 at the end, -1 on failure; the first error
 * is kept inside and given by io_source_close(), which frees the source. A wrapper owns what it
 * wraps.
 */
struct source {
	ssize_t (*read)(struct source *s, void *p, size_t n);
	void (*close)(struct source *s);
	struct err *err; /* set by read() before it returns -1 */
};

/* A stream to write to. `write` takes all n bytes or returns -1; `finish` flushes and is called
 * once by io_sink_close(). */
struct sink {
	int (*write)(struct sink *s, const void *p, size_t n);
	int (*finish)(struct sink *s);
	void (*close)(struct sink *s);
	struct err *err;
};

/* Reads and writes of a stream; -1 once it has failed. */
ssize_t io_read(struct source *s, void *p, size_t n);
int io_write(struct sink *s, const void *p, size_t n);

/* Frees a source; -1 with its first error. NULL is fine. */
NODISCARD int io_source_close(struct source *s, struct err **err);
/* Finishes (where `commit`) and frees a sink; -1 with its first error. NULL is fine. */
NODISCARD int io_sink_close(struct sink *s, bool commit, struct err **err);

/* A source over a descriptor, which it closes where `own`; `what` (copied) names it in errors. */
struct source *io_source_fd(int fd, bool own, const char *what);
/* A source over memory, which must outlive it. */
struct source *io_source_mem(struct str data);
/* A sink into a descriptor; does not sync. */
struct sink *io_sink_fd(int fd, bool own, const char *what);

/* Copies all of `from` to `to` through a 256 KiB buffer; at most `max` bytes (ERR_LIMIT). The count
 * in *ret_n. */
NODISCARD int io_copy(struct source *from, struct sink *to, uint64_t max, uint64_t *ret_n,
		      struct err **err);
