#include "registry/pull.h"

#include <pthread.h>

#include "base/err.h"
#include "base/io.h"
#include "base/pool.h"
#include "cache/blob.h"
#include "cache/db.h"
#include "cache/record.h"
#include "registry/fetch.h"
#include "registry/hosts.h"
#include "registry/progress.h"
#include "registry/session.h"

/*
 * The coordinator moves each layer through its states; `running` work is done by jobs of the two pools, which take the session's
 * lock to say how it ended. A layer that cannot be unpacked alone (a hard link to a lower one) waits until all below it are done.
 */
enum state { WAITING, FETCHING, FETCHED, UNPACKING, ABOVE, DONE };

struct item {
	struct pull *pull;
	const struct oci_descriptor *blob;
	struct digest diffid;
	size_t same; /* index of an earlier layer with this diffID; its own index: none */
	enum state state;
	bool bound;           /* unpacked over its parents: of use only above them */
	struct layer layer;   /* DONE */
	struct chain parents; /* while it is unpacked over them */
	struct progress progress;
};

struct pull {
	struct registry *r;
	const struct resolved *image;
	struct digest vertex;
	struct host *host;
	struct pool *transfers, *cpu;
	struct item *items;
	size_t n, running;
	struct err *err; /* the first failure */
	atomic_bool stop;
};

/* Owned by the pool; outlives the pull when nobody reaps. */
struct job {
	struct pool_job base;
	struct item *item; /* NULL once it has run */
};

static struct str key_of(const struct item *it)
{
	return (struct str){ (const char *)it->blob->digest.b, sizeof(it->blob->digest.b) };
}

/* A fetch is over; called with the lock held. */
static void fetch_over(struct item *it)
{
	it->pull->host->running--;
	map_del(&it->pull->r->fetching, key_of(it));
}

/* How a job ended; called with the lock held. */
static void ended(struct item *it, enum state state, struct err *e)
{
	struct pull *p = it->pull;
	it->state = state;
	p->running--;
	if (e && !p->err)
		p->err = e;
	else
		err_drop(&e);
	if (p->err)
		atomic_store(&p->stop, true);
	pthread_cond_broadcast(&p->r->changed);
}

static void job_done(struct pool_job *base)
{
	struct job *j = (struct job *)(void *)base;
	if (j->item) {
		/* The pool ends before the job has run. */
		struct registry *r = j->item->pull->r;
		struct err *e = NULL;
		err_set(&e, ERR_CANCELED, "canceled");
		pthread_mutex_lock(&r->lock);
		if (j->item->state == FETCHING)
			fetch_over(j->item);
		ended(j->item, WAITING, e);
		pthread_mutex_unlock(&r->lock);
	}
	free(j);
}

static void submit(struct pool *pool, struct item *it, enum state state,
		   void (*run)(struct pool_job *, void *))
{
	struct job *j = xcalloc(1, sizeof(*j));
	j->base.run = run;
	j->base.done = job_done;
	j->item = it;
	it->state = state;
	it->pull->running++;
	pool_add(pool, &j->base);
}

/* The thread's cache, or one for this job. */
static struct cache *use_cache(struct pull *p, void *context, struct cache **opened,
			       struct err **err)
{
	if (context)
		return context;
	return *opened = cache_open(p->r->o.store, err);
}

static void run_fetch(struct pool_job *base, void *context)
{
	struct job *j = (struct job *)(void *)base;
	struct item *it = STEAL(j->item);
	struct pull *p = it->pull;
	struct err *e = NULL;
	_cleanup_(cache_closep) struct cache *opened = NULL;
	struct cache *c = use_cache(p, context, &opened, &e);
	struct fetch f = { .host = p->host,
			   .repo = p->image->ref.path,
			   .blob = it->blob,
			   .stop = &p->stop,
			   .progress = progress_moved,
			   .arg = &it->progress };
	bool ok = c && !fetch_blob(p->r, c, &f, &e);
	if (ok) {
		_cleanup_(err_dropp) struct err *ignored = NULL;
		/* A hint for pushes: a blob that is there can be mounted. */
		if (cache_source_put(c, &it->blob->digest, str_c(p->host->name), p->image->ref.path,
				     &ignored) < 0)
			err_drop(&ignored);
		progress_show(&it->progress, it->blob->size, EVENT_STARTED);
	}
	pthread_mutex_lock(&p->r->lock);
	fetch_over(it);
	ended(it, ok ? FETCHED : WAITING, e);
	pthread_mutex_unlock(&p->r->lock);
}

static int unpack(struct item *it, struct cache *c, struct layer *ret, struct err **err)
{
	int fd;
	char text[DIGEST_TEXT];
	if (cache_blob_open(c, &it->blob->digest, &fd, NULL, err) < 0)
		return -1;
	struct source *tar = io_source_fd(fd, true, digest_text(&it->blob->digest, text));
	return cache_layer_unpack(c, tar, &it->diffid, it->parents.n ? &it->parents : NULL,
				  &it->blob->digest, ret, err);
}

static void run_unpack(struct pool_job *base, void *context)
{
	struct job *j = (struct job *)(void *)base;
	struct item *it = STEAL(j->item);
	struct pull *p = it->pull;
	struct err *e = NULL;
	struct layer layer = { 0 };
	_cleanup_(cache_closep) struct cache *opened = NULL;
	struct cache *c = use_cache(p, context, &opened, &e);
	char text[DIGEST_TEXT];
	bool alone = !it->parents.n;
	bool ok = c && !unpack(it, c, &layer, &e);
	enum state state = ok ? DONE : WAITING;
	if (!ok && c && alone && e->code == ERR_NOT_FOUND && it != p->items) {
		/* A hard link whose target is not in this layer. */
		err_drop(&e);
		state = ABOVE;
	}
	if (e)
		err_wrap(&e, "unpack layer '%s'", digest_text(&it->blob->digest, text));
	if (ok)
		progress_show(&it->progress, it->blob->size, EVENT_DONE);
	pthread_mutex_lock(&p->r->lock);
	it->layer = layer;
	it->bound = !alone;
	chain_release(&it->parents);
	ended(it, state, e);
	pthread_mutex_unlock(&p->r->lock);
}

/* ---- the coordinator */

/* The chain below a layer, once all of it is there. */
static bool parents_of(const struct pull *p, size_t i, struct chain *ret)
{
	for (size_t k = 0; k < i; k++)
		if (p->items[p->items[k].same].state != DONE)
			return false;
	*ret = (struct chain){ xcalloc(i + 1, sizeof(struct layer)), i };
	for (size_t k = 0; k < i; k++)
		ret->v[k] = p->items[p->items[k].same].layer;
	return true;
}

/* Starts what can start; true while something is to be waited for. Called with the lock held. */
static bool advance(struct pull *p)
{
	bool open = false;
	for (size_t i = 0; i < p->n && !p->err; i++) {
		struct item *it = &p->items[i];
		if (it->same != i && p->items[it->same].state == DONE && p->items[it->same].bound) {
			it->same = i;
			it->state = ABOVE;
		}
		if (it->same != i || it->state == DONE)
			continue;
		open = true;
		/* What another pull brings is waited for: its end wakes us. */
		if (it->state == WAITING && p->host->running < TRANSFERS_PER_HOST &&
		    !map_has(&p->r->fetching, key_of(it))) {
			p->host->running++;
			map_put(&p->r->fetching, key_of(it), it);
			submit(p->transfers, it, FETCHING, run_fetch);
		} else if (it->state == FETCHED ||
			   (it->state == ABOVE && parents_of(p, i, &it->parents))) {
			submit(p->cpu, it, UNPACKING, run_unpack);
		}
	}
	return p->running || (open && !p->err);
}

/* Marks what is here already: unpacked layers and blobs. */
static int look_around(struct pull *p, struct cache *c, bool *ret_missing, struct err **err)
{
	const struct resolved *image = p->image;
	for (size_t i = 0; i < p->n; i++) {
		struct item *it = &p->items[i];
		*it = (struct item){ .pull = p,
				     .blob = &image->manifest.entries[i],
				     .diffid = image->image.diff_ids[i],
				     .same = i,
				     .progress = { .events = p->r->o.events,
						   .vertex = p->vertex,
						   .blob = &image->manifest.entries[i] } };
		for (size_t k = 0; k < i && it->same == i; k++)
			if (digest_eq(&p->items[k].diffid, &it->diffid))
				it->same = k;
		bool found = false;
		if (it->same != i)
			continue;
		if (cache_layer_find(c, &it->diffid, &found, &it->layer, err) < 0)
			return -1;
		if (found) {
			it->state = DONE;
			continue;
		}
		if (cache_blob_has(c, &it->blob->digest, &found, NULL, err) < 0)
			return -1;
		it->state = found ? FETCHED : WAITING;
		*ret_missing |= !found;
	}
	return 0;
}

static int coordinate(struct pull *p, struct err **err)
{
	struct registry *r = p->r;
	p->transfers = registry_transfers(r);
	p->cpu = registry_cpu(r);
	pthread_mutex_lock(&r->lock);
	while (advance(p))
		pthread_cond_wait(&r->changed, &r->lock);
	pthread_mutex_unlock(&r->lock);
	pool_reap(p->transfers);
	return p->err ? err_move(err, STEAL(p->err)) : 0;
}

static int pull_all(struct pull *p, struct cache *c, struct err **err)
{
	bool missing = false;
	if (look_around(p, c, &missing, err) < 0)
		return -1;
	if (missing && p->r->o.offline)
		return err_set(
			err, ERR_NOT_FOUND,
			"layers of '%.*s' are not in the store and --offline forbids to ask the registry",
			STR_ARG(p->image->ref_text));
	return hosts_get(p->r->hosts, p->image->ref.domain, &p->host, err) < 0 ? -1
									       : coordinate(p, err);
}

int registry_pull_layers(struct registry *r, struct cache *c, const struct resolved *image,
			 const struct digest *vertex, struct chain *ret, struct err **err)
{
	if (image->local) {
		*ret = chain_append(&image->chain, NULL);
		return 0;
	}
	struct pull p = {
		.r = r, .image = image, .vertex = *vertex, .n = image->manifest.n_entries
	};
	if (p.n != image->image.n_diff_ids)
		return err_set(err, ERR_INVALID,
			       "pull '%.*s': its config and its manifest differ in layers",
			       STR_ARG(image->ref_text));
	p.items = xcalloc(p.n + 1, sizeof(*p.items));
	int rc = pull_all(&p, c, err);
	if (!rc) {
		struct chain chain = { xcalloc(p.n + 1, sizeof(struct layer)), p.n };
		for (size_t i = 0; i < p.n; i++)
			chain.v[i] = p.items[p.items[i].same].layer;
		*ret = chain;
	}
	free(p.items);
	return rc < 0 ? err_wrap(err, "pull '%.*s'", STR_ARG(image->ref_text)) : 0;
}

/* What the reference named before, or zero. */
static struct digest named_before(struct cache *c, struct str full)
{
	struct digest id;
	_cleanup_(err_dropp) struct err *e = NULL;
	return cache_name_get(c, full, &id, &e) < 0 ? (struct digest){ 0 } : id;
}

/* `cbuild pull` is a step of its own for who shows progress. */
static void show_step(const struct registry *r, struct str name, enum event_state state,
		      const struct err *e)
{
	event_emit(r->o.events,
		   &(struct event){ .kind = EVENT_VERTEX,
				    .vertex = digest_of(name.p, name.n),
				    .name = name,
				    .state = state,
				    .text = str_c(e ? e->msg : NULL) });
}

static int pull_image(struct registry *r, struct cache *c, struct arena *a, const struct ref *ref,
		      const struct oci_platform *platform, struct str step, struct resolved *ret,
		      bool *ret_new, struct err **err)
{
	struct chain chain = { 0 };
	struct digest id, vertex = digest_of(step.p, step.n);
	if (registry_resolve(r, c, a, ref, platform, REGISTRY_PULL_ALWAYS, ret, err) < 0)
		return -1;
	struct digest before = named_before(c, ret->ref_text);
	if (registry_pull_layers(r, c, ret, &vertex, &chain, err) < 0)
		return -1;
	int rc = ret->local ? 0
			    : cache_image_put(c, ret->config, &chain, &ret->manifest_digest,
					      &ret->ref_text, 1, &id, err);
	chain_release(&chain);
	*ret_new = !digest_eq(&before, &ret->config_digest);
	return rc < 0 ? err_wrap(err, "pull '%.*s'", STR_ARG(ret->ref_text)) : 0;
}

int registry_pull(struct registry *r, struct cache *c, struct arena *a, struct str text,
		  const struct oci_platform *platform, struct resolved *ret, bool *ret_new,
		  struct err **err)
{
	struct ref ref;
	struct resolved image;
	bool fresh;
	if (ref_parse(a, text, &ref, err) < 0)
		return -1;
	struct str step = arena_printf(a, "pull %.*s", STR_ARG(ref_familiar(a, &ref)));
	show_step(r, step, EVENT_STARTED, NULL);
	int rc = pull_image(r, c, a, &ref, platform, step, &image, &fresh, err);
	show_step(r, step, rc < 0 ? EVENT_FAILED : EVENT_DONE, rc < 0 ? *err : NULL);
	if (rc < 0)
		return -1;
	*ret_new = fresh;
	*ret = image;
	return 0;
}
