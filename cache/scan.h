/*
 * scan: walks a layer's folder (overlay's form) and gives its entries in the order of a manifest,
 * whiteouts and opaque folders as such. Holds one folder's names and at most SCAN_FDS descriptors
 * at a time, however deep the folder is.
 *
 * Left out: sockets, attributes of overlay. Names `.wh.*` fail (ERR_INVALID): in an image layer
 * they would mean deletions.
 */
#pragma once

#include <stdbool.h>

#include "base/mem.h"
#include "cache/manifest.h"

struct err;

enum { SCAN_FDS = 64 };

struct scan {
	/* Each entry; dirfd and name lead to it. For a regular file fd is open for reading, else
	 * -1. The entry's data digest may be set by the call, but is used by nobody else. */
	int (*entry)(void *arg, struct entry *e, int dirfd, const char *name, int fd,
		     struct err **err);
	/* May be NULL: the whiteouts of a folder once more, after the folder itself and before its
	 * other children. */
	int (*early)(void *arg, const struct entry *whiteout, struct err **err);
	void *arg;
	bool root;    /* give the root entry "" too */
	bool no_open; /* regular files are not opened; their fd is -1 */
};

/* Walks the folder fs_fd. Stops at the first call that fails. */
NODISCARD int scan_run(int fs_fd, const struct scan *s, struct err **err);
