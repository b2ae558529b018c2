/*
 * copy_internal: a copy while it runs, as the sources behind solver/copy.h share it.
 */
#pragma once

#include <pthread.h>
#include <sys/stat.h>

#include "base/map.h"
#include "cache/tree.h"
#include "solver/copy.h"

struct err;

/* A folder that is in the work's fs: what its time will be, and whether it is new (nothing of the
 * parent can be in it). */
struct copy_dir {
	int64_t mtime_ns;
	bool mark, fresh;
	unsigned match; /* the match that made it new: what is in it came from that alone */
};

struct copy {
	int parent_fd, fs_fd;
	int64_t now_ns;
	void (*mark)(void *arg, struct str path);
	void *mark_arg;
	const atomic_bool *cancel;
	bool has_owner;
	uint32_t uid, gid;
	int mode_kind;        /* --chmod: -1 none, 0 symbolic, 1 octal */
	uint32_t mode;        /* octal */
	struct str chmod;     /* symbolic */
	unsigned match;       /* number of the match at hand, from 1 */
	struct map dirs;      /* path → struct copy_dir */
	atomic_bool no_clone; /* the file systems share no blocks */
};

/* Bits of a file or folder under symbolic --chmod. `text` is valid. */
uint32_t copy_mode_apply(struct str text, uint32_t mode, bool is_dir);

/* Mode and owner that an entry gets. */
uint32_t copy_mode_of(const struct copy *cp, const struct entry *e);
void copy_owner_of(const struct copy *cp, const struct entry *e, uid_t *uid, gid_t *gid);

/* One regular file to be made: where from, where to. */
struct copy_job {
	const struct tree_item *item;
	struct str dest; /* terminated; below fs_fd */
};

/* Makes the files; nothing is at their places. Several threads where it pays. */
NODISCARD int copy_files(struct copy *cp, struct tree *t, const struct copy_job *v, size_t n,
			 struct err **err);
