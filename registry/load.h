/*
 * load: images from an archive or a folder into the store: an OCI image layout, or what `docker save` writes (old and new form). A tar
 * is read once, in any order, from any stream: files that may be layers or configs become blobs, the few that say what is an image
 * stay in memory. Digests are checked where names promise them; layers are unpacked as pulled ones.
 */
#pragma once

#include "base/arena.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/str.h"
#include "cache/oci.h"

struct cache;
struct err;
struct source;

struct loaded {
	struct digest id;  /* of the image */
	struct str *names; /* full references; may be none */
	size_t n_names;
};

struct load_options {
	const struct oci_platform *platform; /* which of an index of several */
};

/* Loads all images of a tar (compressed or not; consumed and closed) and gives them their names. They are in the arena.
 * ERR_INVALID for what is no such archive, ERR_INTEGRITY, ERR_NOT_FOUND for a file that it names and does not have, ERR_LIMIT. */
NODISCARD int registry_load(struct cache *c, struct arena *a, struct source *tar,
			    const struct load_options *o, struct loaded **ret, size_t *ret_n,
			    struct err **err);

/* The same from the folder of an OCI image layout. */
NODISCARD int registry_load_folder(struct cache *c, struct arena *a, int dir_fd,
				   const struct load_options *o, struct loaded **ret, size_t *ret_n,
				   struct err **err);
