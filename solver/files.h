/*
 * files: what a step left, as the ops share it: a chain of layers, reference-counted, with a lazily opened view of the whole root.
 * References may be taken and dropped by any thread.
 */
#pragma once

#include "base/mem.h"
#include "cache/layer.h"

struct cache;
struct err;
struct files;
struct store;
struct tree;

/* Takes the chain over. The count starts at 1. */
struct files *files_new(struct chain chain);
/* A new reference. */
struct files *files_ref(struct files *f);
void files_unref(struct files *f);

/* The chain; ids never change, diff IDs are filled by the loop thread as they become known. */
const struct chain *files_chain(const struct files *f);
/* Sets the diff ID of the top layer. Loop thread. */
void files_set_diffid(struct files *f, const struct digest *diffid);
/* Fills the diff IDs of the layers below the top from the parent's files, which know theirs by now. Loop thread. */
void files_fill_diffids(struct files *f, const struct files *below);

/* The tree over a read-only mount of the chain, opened once; owned by the files. Any thread. */
NODISCARD int files_tree(struct files *f, struct cache *c, struct store *store, struct tree **ret,
			 struct err **err);
