/*
 * layer: folders layers/<number>/{fs,manifest} in overlay's own form; making, committing, hashing,
 * mounting and packing them. A layer is immutable once committed; what its manifest says is the
 * layer.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/mem.h"
#include "base/str.h"

struct cache;
struct err;
struct source;
struct store;
struct work;

struct layer {
	int64_t id;           /* number of its folder; 0 with `absent` */
	struct digest diffid; /* zero until it is hashed */
	int64_t created_ns;
	bool absent; /* the record knows it, its files are gone */
};

/* A result's layers from the bottom. Who holds the struct owns `v` (malloc) unless an arena is
 * named. */
struct chain {
	struct layer *v;
	size_t n;
};

/* Frees the array. */
void chain_release(struct chain *c);
/* A copy with room for one more layer, which may be NULL. */
struct chain chain_append(const struct chain *c, const struct layer *top);
/* Whether none of its layers is `absent`. */
bool chain_complete(const struct chain *c);

enum layer_kind { LAYER_STEP, LAYER_LINK, LAYER_PULLED, LAYER_CONTEXT, LAYER_FAILED };

/* Work in progress: tmp/<lease>/<number>/{fs,work}, a row of state `work`. Any thread; one at a
 * time. */
NODISCARD struct work *cache_work_begin(struct cache *c, struct err **err);
int64_t cache_work_id(const struct work *w);
/* Descriptor of its fs folder (O_DIRECTORY): what COPY writes into. Owned by the work. */
int cache_work_fs_fd(const struct work *w);
/* Marks an entry (path without leading slash) as having the step's own time: flag "t" of the
 * manifest. */
void cache_work_mark_time(struct work *w, struct str path);
/* Gives the root of a work's fs folder (fs_fd) the mode, owner, attributes and time of the root
 * below it (base_fd), as overlay would show them, and notes them: the layer then has an entry for
 * its root only where the step changed something of it. A mount with an upper does it; who writes
 * straight into the folder calls it first. */
NODISCARD int cache_work_root(int fs_fd, int base_fd, struct err **err);
/* Renames fs to layers/<number>/fs: consumers may start. The caller has closed every root of it and
 * all processes are gone. */
NODISCARD int cache_work_commit(struct cache *c, struct work *w, enum layer_kind kind,
				struct err **err);
/* Removes it. Frees the handle in every case (after a commit: the handle only). */
void cache_work_free(struct work *w);

struct layer_info {
	struct digest m; /* digest of the manifest without times */
	struct digest diffid;
	uint64_t entries, bytes; /* entries; sum of file sizes */
};

/* One pass over a committed layer: writes its manifest, computes M and diffID, sets the row ready
 * with the boot id. A worker's job. `started_ns`: entries with mtime at or after it get flag "t"
 * (RUN); INT64_MAX: only marked ones. */
NODISCARD int cache_layer_seal(struct cache *c, int64_t id, int64_t started_ns,
			       struct layer_info *ret, struct err **err);

/* What is known of a ready layer. ERR_NOT_FOUND. */
NODISCARD int cache_layer_info(struct cache *c, int64_t id, struct layer_info *ret,
			       struct err **err);

/* A pulled layer by diff ID that can be used on `parent_chain_id` (unbound, or bound to it). */
NODISCARD int cache_layer_find(struct cache *c, const struct digest *diffid, bool *ret_found,
			       struct layer *ret, struct err **err);

/* Unpacks a layer tar (compressed or not; the source is consumed and closed) as a pulled layer and
 * checks it against `diffid` (ERR_INTEGRITY; NULL: whatever it is; with `blob` NULL too, as
 * `import` does, the layer's diff ID is that of the tar that we write of it, since the one it came
 * as is not kept). `parents`: the chain below, for hard links whose target lies there. `blob` (may
 * be NULL): the compressed blob, noted in `packed`. Of two that unpack one diffID the second takes
 * the first's row. */
NODISCARD int cache_layer_unpack(struct cache *c, struct source *tar, const struct digest *diffid,
				 const struct chain *parents, const struct digest *blob,
				 struct layer *ret, struct err **err);

/* The detached overlay of a chain: one mount descriptor, attached nowhere. upper NULL: read-only
 * view. n = 0 without upper: an empty folder. A RUN's upper is mounted `volatile`. Falls back for
 * kernels before 6.7 and 6.13 (CBUILD_TEST_KERNEL forces it). */
NODISCARD int cache_layer_mount(struct cache *c, const struct chain *chain,
				const struct work *upper, int *ret_fd, struct err **err);

/* Writes a layer's tar (uncompressed, byte-reproducible, digest = diffID) to a sink, by its
 * manifest. */
struct sink;
NODISCARD int cache_layer_tar(struct cache *c, int64_t id, struct sink *to, struct err **err);

/* The blob of a layer in a form ("gzip", "zstd", "none"): found in `packed` or made now. */
NODISCARD int cache_layer_pack(struct cache *c, const struct layer *l, const char *form,
			       struct digest *ret_blob, uint64_t *ret_size,
			       struct str *ret_media_type, struct err **err);
