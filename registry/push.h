/*
 * push: store → registry. Layers and config in parallel, each by the shortest way (upload.h), then the manifest by tag. Pushing an
 * image again moves no blob. registry_push() is a coordinator: it blocks, on a thread of its own, never on a pool.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/str.h"
#include "cache/ref.h"

struct cache;
struct err;
struct registry;

struct push_options {
	const char *form;     /* of layers that are not packed yet: "gzip" (NULL), "zstd" */
	struct digest vertex; /* under which step progress is shown */
};

struct pushed {
	struct digest manifest; /* its digest */
	uint64_t manifest_size;
	unsigned there, mounted, sent; /* blobs by their way */
	uint64_t sent_bytes;
};

/* Pushes an image to a reference (tag `latest` where it has none); packs what is not packed. ERR_NOT_FOUND for an unknown image,
 * others as upload_blob(). */
NODISCARD int registry_push(struct registry *r, struct cache *c, struct arena *a,
			    const struct digest *image_id, const struct ref *to,
			    const struct push_options *o, struct pushed *ret, struct err **err);
