#include "solver/files.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "cache/tree.h"

struct files {
	atomic_int refs;
	struct chain chain;
	pthread_mutex_t lock; /* of `tree` */
	struct tree *tree;
};

struct files *files_new(struct chain chain)
{
	struct files *f = xcalloc(1, sizeof(*f));
	atomic_init(&f->refs, 1);
	f->chain = chain;
	pthread_mutex_init(&f->lock, NULL);
	return f;
}

struct files *files_ref(struct files *f)
{
	atomic_fetch_add(&f->refs, 1);
	return f;
}

void files_unref(struct files *f)
{
	if (!f || atomic_fetch_sub(&f->refs, 1) != 1)
		return;
	cache_tree_free(f->tree);
	pthread_mutex_destroy(&f->lock);
	chain_release(&f->chain);
	free(f);
}

const struct chain *files_chain(const struct files *f)
{
	return &f->chain;
}

void files_set_diffid(struct files *f, const struct digest *diffid)
{
	f->chain.v[f->chain.n - 1].diffid = *diffid;
}

void files_fill_diffids(struct files *f, const struct files *below)
{
	for (size_t i = 0; i < below->chain.n && i + 1 < f->chain.n; i++)
		if (f->chain.v[i].id == below->chain.v[i].id)
			f->chain.v[i].diffid = below->chain.v[i].diffid;
}

int files_tree(struct files *f, struct cache *c, struct store *store, struct tree **ret,
	       struct err **err)
{
	pthread_mutex_lock(&f->lock);
	int r = 0;
	if (!f->tree) {
		int fd = -1;
		r = cache_layer_mount(c, &f->chain, NULL, &fd, err);
		if (!r) {
			f->tree = cache_tree_open(fd, NULL, false, store, err);
			r = f->tree ? 0 : -1;
			if (f->tree)
				cache_tree_layers(f->tree, &f->chain);
		}
	}
	*ret = f->tree;
	pthread_mutex_unlock(&f->lock);
	return r;
}
