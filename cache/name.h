/*
 * name: images of the store and their names. An image is its config (a blob too) and its chain of layers; a name is a full
 * reference. images.json (name → digest), a copy for repair, is replaced after each transaction that changes `name`.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/digest.h"
#include "base/mem.h"
#include "cache/layer.h"
#include "cache/oci.h"
#include "cache/ref.h"

struct cache;
struct err;

struct image {
	struct digest id;       /* digest of the config */
	struct str config;      /* its bytes */
	struct digest manifest; /* zero: not packed yet, or not known */
	int64_t created_ns;
	uint64_t size;      /* sum of its layers' sizes */
	struct chain chain; /* in the arena */
};

/* Stores an image with its config and chain (every layer ready); one FULL transaction together with `n_names` full references that
 * then point to it (n_names 0: a nameless image). `manifest` may be NULL. Returns its id. */
NODISCARD int cache_image_put(struct cache *c, struct str config, const struct chain *chain,
			      const struct digest *manifest, const struct str *names,
			      size_t n_names, struct digest *ret_id, struct err **err);

/* An image by id. ERR_NOT_FOUND. `chain` elements that are gone have `absent`. */
NODISCARD int cache_image_get(struct cache *c, struct arena *a, const struct digest *id,
			      struct image *ret, struct err **err);

/* An image by what a user writes: a name, a name@digest, an id or an unambiguous prefix of an id. ERR_NOT_FOUND (message
 * "no such image: TEXT"), ERR_INVALID (ambiguous). *ret_name: the full reference it was found by, empty for ids. */
NODISCARD int cache_image_find(struct cache *c, struct arena *a, struct str text, struct image *ret,
			       struct str *ret_name, struct err **err);

/* The id that a full reference names. ERR_NOT_FOUND. */
NODISCARD int cache_name_get(struct cache *c, struct str full, struct digest *ret_id,
			     struct err **err);
/* Lets a full reference name an image that is here. */
NODISCARD int cache_name_set(struct cache *c, struct str full, const struct digest *id,
			     struct err **err);
/* Removes a name; false in *ret_last when other names of its image are left. ERR_NOT_FOUND. */
NODISCARD int cache_name_del(struct cache *c, struct str full, bool *ret_last,
			     struct digest *ret_id, struct err **err);

/* Removes an image that has no name and no pin of a container (ERR_EXISTS otherwise, naming what uses it). */
NODISCARD int cache_image_del(struct cache *c, const struct digest *id, struct err **err);

struct image_row {
	struct str name; /* full reference; empty: nameless */
	struct digest id;
	struct digest manifest;
	int64_t created_ns;
	uint64_t size;
};

/* All names with their images, and nameless images, newest created first. */
NODISCARD int cache_image_list(struct cache *c, struct arena *a, struct image_row **ret,
			       size_t *ret_n, struct err **err);

/* Packs what is not packed (layers into blobs of `form` "gzip" or "zstd") and makes the image's manifest blob: for push, save and
 * export alike. The manifest's descriptor in *ret. Base layers that were pulled keep the blob they came as. */
NODISCARD int cache_image_manifest(struct cache *c, struct arena *a, const struct digest *id,
				   const char *form, struct oci_descriptor *ret, struct err **err);
