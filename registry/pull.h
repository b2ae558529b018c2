/*
 * pull: registry → store. Resolve (index → platform → manifest → config, no layers), then layers in parallel, each verified while it is
 * received and unpacked by a cpu job as soon as it is complete. Resumable through tmp/partial.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "base/arena.h"
#include "base/event.h"
#include "base/mem.h"
#include "cache/layer.h"
#include "cache/name.h"
#include "cache/oci.h"
#include "cache/ref.h"

struct cache;
struct err;
struct registry;
struct store;

/* The registry side of one command: transfer threads, connections, tokens; made without any connection. */
struct registry_options {
	struct store *store;
	struct pool *cpu;          /* where layers are unpacked; contexts are struct cache * */
	const atomic_bool *cancel; /* looked at per block */
	struct event_sink *events; /* may be NULL */
	bool offline;
};

/* Made without any connection; options are copied. */
struct registry *registry_new(const struct registry_options *o);
void registry_free(struct registry *r);

/* An image that a reference and a platform resolve to. In the arena. */
struct resolved {
	struct ref ref;
	struct str ref_text; /* full reference */
	struct digest index; /* zero: the reference was an image manifest */
	struct digest manifest_digest, config_digest;
	struct oci_manifest manifest;
	struct oci_image image;
	struct str config; /* its bytes */
	struct oci_platform wanted;
	bool local; /* an image of this store: layers are in `chain` */
	struct chain chain;
};

enum registry_pull_policy { REGISTRY_PULL_MISSING, REGISTRY_PULL_ALWAYS, REGISTRY_PULL_NEVER };

/* Resolves a reference: the local image of that name, row `tag`, the registry; `policy` as --pull. Manifest and config
 * are kept as blobs. ERR_NOT_FOUND: "REF: not found". Called from any thread with its own cache. */
NODISCARD int registry_resolve(struct registry *r, struct cache *c, struct arena *a,
			       const struct ref *ref, const struct oci_platform *platform,
			       enum registry_pull_policy policy, struct resolved *ret,
			       struct err **err);

/* Brings all layers of a resolved image into the store; *ret is its chain (malloc). A coordinator: blocks, on a thread of its own,
 * never on a pool. `vertex`: under which step progress is shown. */
NODISCARD int registry_pull_layers(struct registry *r, struct cache *c,
				   const struct resolved *image, const struct digest *vertex,
				   struct chain *ret, struct err **err);

/* `cbuild pull`: resolve (always), layers, image and name rows. Prints nothing. *ret_new: whether anything came. */
NODISCARD int registry_pull(struct registry *r, struct cache *c, struct arena *a, struct str text,
			    const struct oci_platform *platform, struct resolved *ret,
			    bool *ret_new, struct err **err);
