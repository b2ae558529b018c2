/*
 * image: the config of a finished plan: diff IDs of the chain, history with times, created. `created_by` and the rest come from today's
 * plan, times from the layers, so a build from the cache gives the same id.
 */
#include "solver/internal.h"

#include "base/clock.h"
#include "cache/layer.h"
#include "cache/oci.h"

/* Every diff ID is known by now; those of layers that ran in this build came after the chain was made. */
static int fill_diffids(struct cache *c, struct chain *chain, struct err **err)
{
	for (size_t i = 0; i < chain->n; i++) {
		struct layer_info info;
		if (!digest_is_zero(&chain->v[i].diffid))
			continue;
		if (cache_layer_info(c, chain->v[i].id, &info, err) < 0)
			return err_wrap(err, "name the image's layers");
		chain->v[i].diffid = info.diffid;
	}
	return 0;
}

/* History of this build behind the base's. An entry without a layer takes the time of the layer before it, or of the next one. */
static void add_history(struct build *b, struct oci_image *i, const struct chain *chain)
{
	const struct plan *p = b->plan;
	size_t own = 0;
	for (size_t k = 0; k < p->n_history; k++)
		own += p->history[k].step != NULL;
	struct oci_history *all =
		arena_array_of(b->arena, struct oci_history, i->n_history + p->n_history);
	for (size_t k = 0; k < i->n_history; k++)
		all[k] = i->history[k];
	int64_t time = i->created_ns;
	size_t layer = chain->n - own; /* the first above the base */
	for (size_t k = 0; k < p->n_history && time == INT64_MIN; k++)
		if (p->history[k].step)
			time = chain->v[layer].created_ns;
	for (size_t k = 0; k < p->n_history; k++) {
		struct oci_history *h = &all[i->n_history + k];
		if (p->history[k].step)
			time = chain->v[layer++].created_ns;
		h->created_ns = time == INT64_MIN ? 0 : time;
		h->created_by = p->history[k].created_by;
		h->comment = p->history[k].comment;
		h->author = p->history[k].author;
		h->empty_layer = !p->history[k].step;
	}
	i->history = all;
	i->n_history += p->n_history;
	if (p->n_history)
		i->created_ns = all[i->n_history - 1].created_ns;
}

int image_finish(struct build *b, struct cache *c, struct sb *out, struct chain *ret_chain,
		 struct err **err)
{
	const struct vertex *target = b->steps[b->plan->target->index]->v;
	struct chain chain = chain_append(files_chain(target->files), NULL);
	struct oci_image image = b->plan->image;
	if (fill_diffids(c, &chain, err) < 0) {
		chain_release(&chain);
		return -1;
	}
	add_history(b, &image, &chain);
	image.n_diff_ids = chain.n;
	image.diff_ids = arena_array_of(b->arena, struct digest, chain.n);
	for (size_t k = 0; k < chain.n; k++)
		image.diff_ids[k] = chain.v[k].diffid;
	if (oci_image_print(&image, out, err) < 0) {
		chain_release(&chain);
		return -1;
	}
	*ret_chain = chain;
	return 0;
}
