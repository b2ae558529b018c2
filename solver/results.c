/* The core's second table over cache/record: look-ups on the loop thread (they only read), records written by jobs. */
#include "solver/inputs.h"
#include "solver/internal.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "cache/record.h"
#include "cache/store.h"

static void take_record(const struct record *r, struct found *ret)
{
	ret->r = r->r;
	ret->created_ns = r->created_ns;
	ret->files = r->bare ? NULL : files_new(chain_append(&r->chain, NULL));
}

static struct build *build_of(struct results *r)
{
	return (struct build *)((char *)r - offsetof(struct build, results));
}

static int lookup(struct results *r, struct vertex *v, const struct digest *key, struct found *ret)
{
	(void)v;
	struct build *b = build_of(r);
	_cleanup_(err_dropp) struct err *e = NULL;
	struct record rec;
	bool found;
	if (cache_record_get(b->env->cache, b->arena, key, &found, &rec, &e) < 0) {
		log_debug("look up a record: %s", e->msg);
		return -1;
	}
	if (found)
		take_record(&rec, ret);
	return found;
}

static int by_result(struct results *r, const struct digest *id, struct found *ret)
{
	struct build *b = build_of(r);
	_cleanup_(err_dropp) struct err *e = NULL;
	struct record rec;
	bool found;
	if (cache_record_by_result(b->env->cache, b->arena, id, &found, &rec, &e) < 0 || !found ||
	    rec.bare)
		return 0;
	take_record(&rec, ret);
	return 1;
}

static bool has_op(struct results *r, const struct digest *op)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	bool has = false;
	return cache_record_has_op(build_of(r)->env->cache, op, &has, &e) == 0 && has;
}

static bool content(struct results *r, const struct digest *id, const struct digest *sel,
		    struct digest *ret)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	bool found = false;
	return cache_content_get(build_of(r)->env->cache, id, sel, &found, ret, &e) == 0 && found;
}

static int lock(struct results *r, struct vertex *v, const struct digest *key)
{
	struct step *s = v->owner;
	_cleanup_(err_dropp) struct err *e = NULL;
	int got = cache_step_lock(build_of(r)->env->store, key, &s->lock_fd, &e);
	if (got < 0)
		log_debug("lock a step: %s", e->msg);
	return got;
}

static void unlock(struct results *r, struct vertex *v)
{
	(void)r;
	struct step *s = v->owner;
	mem_closep(&s->lock_fd);
	s->lock_fd = -1;
}

static int write_record(struct step_job *j, struct cache *c, struct err **err)
{
	const struct vertex *v = j->s->v;
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct record r = { .key = v->key,
			    .op = v->op,
			    .r = v->r,
			    .chain = *files_chain(j->files),
			    .created_ns = v->created_ns,
			    .checked_ns = clock_real_ns(),
			    .cost_ms = j->s->cost_ms,
			    .deep = j->digest };
	r.inputs = inputs_name(a, j->s, &r.n_inputs);
	return cache_record_put(c, &r, v->forced || v->stands_on_forced, err);
}

static void record_written(struct step_job *j, struct err *e)
{
	if (e)
		log_debug("write a record: %s", e->msg); /* a cache never fails a build */
	err_drop(&e);
	unlock(&j->s->b->results, j->s->v);
}

static void publish(struct results *r, struct vertex *v)
{
	(void)r;
	struct step_job *j = step_job_new(v->owner, write_record, record_written);
	/* A child may be sealed before its parent; now R of the parent is known, so its whole chain is. */
	if (v->has_parent && v->inputs[0].vertex->files)
		files_fill_diffids(v->files, v->inputs[0].vertex->files);
	j->files = files_ref(v->files);
	vertex_deep(v, &j->digest);
	step_job_start(j, NULL);
}

void results_init(struct build *b)
{
	b->results = (struct results){ .lookup = lookup,
				       .by_result = by_result,
				       .has_op = has_op,
				       .content = content,
				       .lock = lock,
				       .unlock = unlock,
				       .publish = publish,
				       .ref = files_ref,
				       .unref = files_unref };
}
