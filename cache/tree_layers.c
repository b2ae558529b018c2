/* Digests of files in layers, from their manifests: cache_tree_layers() of cache/tree.h. */
#include <stdlib.h>

#include "base/err.h"
#include "cache/layer_internal.h"
#include "cache/manifest.h"
#include "cache/tree_internal.h"

void cache_tree_layers(struct tree *t, const struct chain *chain)
{
	free(t->layers);
	t->layers = xcalloc(chain->n ? chain->n : 1, sizeof(*t->layers));
	t->n_layers = chain->n;
	for (size_t i = 0; i < chain->n; i++)
		t->layers[i] = chain->v[i].id;
}

static int read_view(struct tree *t, struct manifest_view *view, struct err **err)
{
	struct entry e;
	size_t layer;
	int r;
	while ((r = manifest_view_next(view, &e, &layer, err)) > 0) {
		if (e.kind != 'f' || !e.has_data)
			continue;
		struct node *n = tree_at(t, e.path);
		if (!n || n->complete || n->e.kind != 'f' || n->e.size != e.size)
			continue;
		n->e.data = e.data;
		n->e.has_data = true;
		n->e.xattrs = e.xattrs.n ? arena_str(t->arena, e.xattrs) : STR("");
		n->complete = true;
	}
	return r;
}

void tree_learn(struct tree *t)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	struct manifest_reader **readers = xcalloc(t->n_layers, sizeof(struct manifest_reader *));
	size_t n = 0;
	for (; n < t->n_layers; n++) {
		char path[LAYER_PATH];
		readers[n] = manifest_open(t->store->root_fd,
					   layer_path(path, t->layers[n], "manifest"), &e);
		if (!readers[n])
			break;
	}
	bool all = n == t->n_layers;
	struct manifest_view *view = manifest_view_new(readers, n);
	if (all && read_view(t, view, &e) < 0)
		store_warn(t->store, "a manifest is not used: %s", e->msg);
	manifest_view_free(view);
	free(readers);
}
