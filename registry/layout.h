/*
 * layout: an image of the store as an OCI image layout (a folder, or a tar of it), with Docker's manifest.json beside it where wanted
 * (what `docker load` reads). Blobs are written first in a folder and index.json by rename last; a tar begins with oci-layout.
 * Byte-reproducible: no times, no owners, a fixed order.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/str.h"

struct cache;
struct err;
struct sink;

struct layout_options {
	struct sink *tar; /* the tar is written here, not closed; NULL: a folder */
	int dir_fd;       /* the folder, where tar is NULL */
	const char *form; /* of layers that are not packed yet: "gzip" (NULL), "zstd", "none" */
	const struct str
		*names; /* full references that the index gives the image; none: it has no name */
	size_t n_names;
	bool docker;               /* manifest.json too */
	const atomic_bool *cancel; /* looked at per block; may be NULL */
};

/* Writes an image with its manifest, config and layers; packs what is not packed. In a folder other images and names that are there
 * stay. ERR_NOT_FOUND for an unknown image; ERR_IO. */
NODISCARD int registry_layout_write(struct cache *c, struct arena *a, const struct digest *image_id,
				    const struct layout_options *o, struct err **err);
