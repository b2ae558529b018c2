/*
 * xattr: the extended attributes that a layer carries, as one list of fields L(name)L(value)…,
 * sorted by name.
 *
 * Kept: user.*, security.capability, system.posix_acl_access and _default, trusted.* as root.
 * Never: trusted.overlay.* and user.overlay.*, which would make overlay hide or redirect files.
 * Size: at most XATTR_MAX bytes a file (ERR_LIMIT).
 */
#pragma once

#include <stdbool.h>

#include "base/mem.h"
#include "base/str.h"

struct err;

enum { XATTR_MAX = 512 * 1024 };

/* Whether a name is of those that layers carry. */
bool xattr_kept(struct str name);

/* Reads the kept attributes of an open file, or of `name` below dirfd (not following it) where fd
 * is -1, into out (reset first). A file system without attributes gives an empty list. `what` names
 * the file in errors. */
NODISCARD int xattr_read(int fd, int dirfd, const char *name, const char *what, struct sb *out,
			 struct err **err);

/* Sets each attribute of a list on an open file, or on `name` below dirfd where fd is -1. What the
 * file system can't hold (ENOTSUP, and EPERM for names of user.* on special files) is left out. */
NODISCARD int xattr_write(int fd, int dirfd, const char *name, struct str list, const char *what,
			  struct err **err);

/* Takes the first pair off a list; false at its end or where it is malformed. */
bool xattr_next(struct str *list, struct str *ret_name, struct str *ret_value);

/* Appends the pairs (unsorted, `n` of them, names then values) to out in the order of names; the
 * pairs are reordered. */
struct xattr_pair {
	struct str name, value;
};
void xattr_list(struct xattr_pair *v, size_t n, struct sb *out);

/* Whether a folder has overlay's opaque mark. */
bool xattr_opaque(int fd);
/* Sets it. */
NODISCARD int xattr_set_opaque(int fd, const char *what, struct err **err);
