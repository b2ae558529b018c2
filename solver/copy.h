/*
 * copy: executes one COPY, ADD (of local files) or WORKDIR straight into a step's fs folder, in
 * overlay's form, over a read-only view of the parent. Knows trees and folders; no store, plan or
 * image. Semantics: BuildKit's file ops, case by case in the conformance suite (copy/ and errors/).
 *
 * - Every path of the destination is resolved in the merged view by text, component by component,
 *   inside the root; a dangling symlink is followed and its target made. Existing folders on the
 *   way are made in the work folder with the view's mode, owner and attributes; their time too,
 *   unless an entry was made in them.
 * - Names, modes, owners, attributes and links are taken from the tree's scan, which the content
 *   digest C was computed from; the data from the disk. Each file is read once: every block is
 *   hashed and then written from the same buffer, so that the digest is of the very bytes that were
 *   written. Where the file system can share blocks (FICLONE), the file is cloned first and the
 *   clone, which nobody can change, is read and hashed. (copy_file_range is not used: what it
 *   wrote would have to be read back, so each byte would pass through the cache as often.) Holes stay holes. A digest, size or kind that differs
 *   from the scan ends the copy with a changed path, and nothing of it may be published.
 * - Hard links within one match stay links; sockets become empty files; xattrs that the file system
 *   can't hold are left out.
 * - What the step itself makes or touches (missing parents, the folder that got an entry, WORKDIR's
 *   folders, heredoc files) has `now_ns` and is reported by `mark`; a folder source gives its
 *   destination its own time.
 *
 * Many small files are copied by several threads, each of which takes whole files.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"

struct cache;
struct err;
struct selection;
struct tree;

/* One source: a selection of a tree (by its matches, in lexical order), or a heredoc file. */
struct copy_source {
	struct tree *tree; /* NULL: a heredoc file */
	const struct selection *selection;
	struct str name, content; /* heredoc */
};

struct copy_spec {
	int parent_fd;                     /* root of the parent's read-only view; -1: scratch */
	int fs_fd;                         /* the work's fs folder */
	const struct copy_source *sources; /* paths first, heredocs last */
	size_t n_sources;
	struct str dest; /* absolute; a trailing slash is kept and means a folder */
	bool has_owner;  /* --chown */
	uint32_t uid, gid;
	struct str chmod; /* --chmod: octal or symbolic; p NULL: none */
	bool unpack;      /* ADD: a local archive would be unpacked */
	int64_t now_ns;   /* the step's start, or SOURCE_DATE_EPOCH */
	/* Told of each entry that has now_ns: cache_work_mark_time(). May be NULL. */
	void (*mark)(void *arg, struct str path);
	void *mark_arg;
	const atomic_bool *cancel; /* may be NULL */
};

/* err->status of a copy that failed because a source file is not what the digest in the key says
 * any more: the message names the path, the tree has forgotten it, the caller keys the step again.
 * Code ERR_INTEGRITY. */
#define COPY_CHANGED 199

/* Copies. `c` is the calling thread's (for the trees). ERR_NOT_FOUND: a source; ERR_INVALID:
 * conflicts with what is there, in BuildKit's words; ERR_UNSUPPORTED: an archive that would be
 * unpacked; ERR_INTEGRITY with COPY_CHANGED. */
NODISCARD int solver_copy(const struct copy_spec *s, struct cache *c, struct err **err);

struct copy_workdir {
	int parent_fd; /* as above */
	int fs_fd;
	struct str path;   /* absolute */
	uint32_t uid, gid; /* owner of each folder that is made */
	int64_t now_ns;
	void (*mark)(void *arg, struct str path);
	void *mark_arg;
};

/* Makes a folder with its parents, 0755; one that exists is left as it is. ERR_INVALID: a parent is
 * no folder. */
NODISCARD int solver_copy_workdir(const struct copy_workdir *s, struct err **err);

/* Whether --chmod's text is octal (1) or symbolic (0), its bits in *ret_mode for octal; -1 where it
 * is neither. */
int solver_copy_mode(struct str text, uint32_t *ret_mode);
