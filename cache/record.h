/*
 * record: what step gave which result: K → {op, D, R, chain, created, checked, cost, named inputs}, and resolved tags. All of it
 * are guesses in cache.db: they may vanish at any time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/digest.h"
#include "base/mem.h"
#include "cache/layer.h"

struct cache;
struct err;

/* One named input of a key, for `explain`: an argument, env variable, flag, base digest, selection. */
struct named_input {
	int slot;
	struct str name, kind, text;
	struct digest digest;
};

struct record {
	struct digest key, op, deep, r;
	struct chain
		chain; /* whole, from the bottom; n = 0 with `bare` set: files are gone, R still counts */
	bool bare;
	int64_t created_ns, checked_ns, cost_ms;
	const struct named_input *inputs;
	size_t n_inputs;
};

/* The record of a key, its layers pinned for this lease where it is live. false in *ret_found for none. */
NODISCARD int cache_record_get(struct cache *c, struct arena *a, const struct digest *key,
			       bool *ret_found, struct record *ret, struct err **err);
/* Pins a chain's layers for the lease, in one transaction, after a look whether they are all ready; without a lease only looks. Not
 * live in *ret_live: something is gone, the step has to run. Before a chain is used that was found before there was a lease. */
NODISCARD int cache_chain_pin(struct cache *c, const struct chain *chain, bool *ret_live,
			      struct err **err);

/* The newest live record with result id r (substitution). */
NODISCARD int cache_record_by_result(struct cache *c, struct arena *a, const struct digest *r,
				     bool *ret_found, struct record *ret, struct err **err);
/* Whether any record has this op. */
NODISCARD int cache_record_has_op(struct cache *c, const struct digest *op, bool *ret,
				  struct err **err);
/* Writes a record; replaces an existing live one only where `replace`. */
NODISCARD int cache_record_put(struct cache *c, const struct record *r, bool replace,
			       struct err **err);

/* Content digest of a selection: C by (R, sel). */
NODISCARD int cache_content_get(struct cache *c, const struct digest *r, const struct digest *sel,
				bool *ret_found, struct digest *ret, struct err **err);
NODISCARD int cache_content_put(struct cache *c, const struct digest *r, const struct digest *sel,
				const struct digest *content, struct err **err);

/* What a tag resolved to (table `tag`): full reference and platform text → index (zero: none) and manifest digest, when asked. */
struct tag_row {
	struct digest index, manifest;
	int64_t asked_ns;
};
NODISCARD int cache_tag_get(struct cache *c, struct str ref, struct str platform, bool *ret_found,
			    struct tag_row *ret, struct err **err);
NODISCARD int cache_tag_put(struct cache *c, struct str ref, struct str platform,
			    const struct tag_row *row, struct err **err);

/* Where a blob came from or was pushed to (table `source`), for mounts. */
NODISCARD int cache_source_put(struct cache *c, const struct digest *d, struct str host,
			       struct str repo, struct err **err);

/* Another repository of the host that has a blob, the latest noted, appended to *ret; nothing where none is known. */
NODISCARD int cache_source_get(struct cache *c, const struct digest *d, struct str host,
			       struct str not_repo, struct sb *ret, struct err **err);

/* The holder of a running step, for messages (table `running`). */
NODISCARD int cache_running_set(struct cache *c, const struct digest *key, bool running,
				struct err **err);

/* Checks the whole store: folders against rows, manifests against files where `data`. Each finding goes to `say`; *ret_bad counts
 * them. `debug fsck`. */
NODISCARD int cache_fsck(struct cache *c, bool data, void (*say)(void *arg, const char *text),
			 void *arg, size_t *ret_bad, struct err **err);
