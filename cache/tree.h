/*
 * tree: what lies under a directory descriptor (a build context, a mounted root) and the content
 * digest C of a selection of it. Entries are those of cache/manifest.h. Pure of images and
 * Dockerfiles.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/glob.h"
#include "base/mem.h"
#include "base/str.h"
#include "cache/manifest.h"

struct cache;
struct chain;
struct err;
struct store;
struct tree;

/* Opens a view of a folder. The tree owns `root_fd`. `ignore` (may be NULL, borrowed): paths left
 * out. `context`: owners count as 0:0, sockets as empty files, the stat cache is used; the store's
 * own root is left out. Shared by threads; scanning is lazy and once. */
NODISCARD struct tree *cache_tree_open(int root_fd, const struct glob_set *ignore, bool context,
				       struct store *store, struct err **err);
void cache_tree_free(struct tree *t);

/* One source of a COPY, ADD or bind mount. */
struct selection {
	struct str source; /* path or wildcard pattern, relative to the root */
	struct str *excludes;
	size_t n_excludes;
	bool parents;    /* COPY --parents */
	bool mask_mode;  /* octal --chmod given: modes are not part of C */
	bool mask_owner; /* numeric --chown given */
	bool bind;       /* a RUN bind mount: the directory keeps its own owner and mode */
};

/* sel = H("cbuild.select.1", …). */
struct digest cache_selection_digest(const struct selection *s);

/* One matched path: how a copier finds and names it. */
struct match {
	struct str path; /* below the root, resolved: no symlink is left in it */
	struct str name; /* base name that it lands under (a link's own name) */
	bool is_dir;
};

/* C of a selection. ERR_NOT_FOUND: `"/path": not found`, for a path without wildcard that is not
 * there (or is ignored). */
NODISCARD int cache_tree_content(struct tree *t, struct cache *c, const struct selection *s,
				 struct digest *ret, struct err **err);

/* The matches of a selection, in lexical order; arrays and texts live as long as the tree. */
NODISCARD int cache_tree_matches(struct tree *t, struct cache *c, const struct selection *s,
				 struct match **ret, size_t *ret_n, struct err **err);

/* Forgets what was scanned below a path, so that the next look sees the disk again (a file changed
 * while the build ran). */
void cache_tree_forget(struct tree *t, struct str path);

/* One file of a match, as it lands: e.path and e.group are below the match's folder ("" for that
 * itself), or a file's own name. */
struct tree_item {
	struct entry e;
	struct str source; /* where it is, below the root; no symlink is left in it */
};

/* Everything of a match in the order of paths, as C covers it; excludes applied. The array is the
 * caller's (free), its texts live as long as the tree. Digests are those that C was computed from.
 * Files in layers (not a context's) may have has_data false, since nothing had to be hashed to copy
 * them; then their xattrs are not filled either. */
NODISCARD int cache_tree_items(struct tree *t, struct cache *c, const struct selection *s,
			       const struct match *m, struct tree_item **ret, size_t *ret_n,
			       struct err **err);

/* Says that the tree is the view of a chain of layers, whose manifests know digests: large
 * selections then read only what is not known there. Before the first look. */
void cache_tree_layers(struct tree *t, const struct chain *chain);

/* Leaves a folder out wherever it is met (an output's destination within the context); before the
 * first look. */
void cache_tree_leave_out(struct tree *t, int fd);

/* The digest of a regular file's data that C was computed from; false when it was not looked at. */
bool cache_tree_data(struct tree *t, struct str path, struct digest *ret);

/* The root's descriptor; owned by the tree. */
int cache_tree_fd(const struct tree *t);
