#include "solver/core/internal.h"

#include <sys/random.h>

#include "solver/core/key.h"

/* Has a consumer begun to use v's own files? */
static bool consumer_started(const struct vertex *v)
{
	for (unsigned i = 0; i < v->n_consumers; i++) {
		enum vertex_state s = v->consumers[i]->state;
		if (s == VERTEX_RUNNING || s == VERTEX_SEALING ||
		    (s == VERTEX_DONE && v->consumers[i]->how == HOW_RAN))
			return true;
	}
	return false;
}

/* A step's equal result from before takes the new one's place: what stands on it then hits. */
static void substitute(struct graph *g, struct vertex *v)
{
	struct found f = { 0 };
	if (v->forced || v->stands_on_forced || consumer_started(v) ||
	    g->results->by_result(g->results, &v->r, &f) != 1)
		return;
	g->results->unref(v->files);
	v->files = f.files;
	v->created_ns = f.created_ns;
}

static void know_result(struct graph *g, struct vertex *v);

/* Consumers that started without a key get it now, with its lock, before v's record can be found by others. */
static void key_running_consumers(struct graph *g, struct vertex *v)
{
	for (unsigned i = 0; i < v->n_consumers; i++) {
		struct vertex *c = v->consumers[i];
		bool working = c->state == VERTEX_RUNNING || c->state == VERTEX_SEALING;
		if (working && !c->has_key && core_key(c) && !c->locked && !c->forced &&
		    !c->stands_on_forced)
			c->locked = g->results->lock(g->results, c, &c->key) == 1;
	}
}

static void publish(struct graph *g, struct vertex *v)
{
	if (v->published || !v->has_r || !core_key(v))
		return;
	v->published = true;
	g->results->publish(g->results, v);
	v->locked = false;
}

/* R of a step that ran: as soon as M and R of the parent are known. */
static void know_result(struct graph *g, struct vertex *v)
{
	struct vertex *parent = v->has_parent ? v->inputs[0].vertex : NULL;
	if (v->state != VERTEX_SEALING || !v->has_m || (parent && !parent->has_r))
		return;
	uint8_t nonce[16];
	if (v->nonce && getrandom(nonce, sizeof(nonce), 0) != sizeof(nonce))
		BUG("no random bytes");
	struct digest base = parent ? parent->r : key_scratch();
	struct digest r = key_result(&base, &v->m, v->nonce ? nonce : NULL);
	bool moved = v->bare && !digest_eq(&r, &v->r);
	v->r = r;
	v->has_r = true;
	v->bare = false;
	if (moved)
		core_rekey_consumers(g, v);
	substitute(g, v);
	core_state(g, v, VERTEX_DONE);
	key_running_consumers(g, v);
	publish(g, v);
	for (unsigned i = 0; i < v->n_consumers; i++)
		know_result(g, v->consumers[i]);
	core_queue_consumers(g, v);
}

void core_rekey_consumers(struct graph *g, struct vertex *v)
{
	for (unsigned i = 0; i < v->n_consumers; i++) {
		struct vertex *c = v->consumers[i];
		if (c->state == VERTEX_RUNNING || c->state == VERTEX_SEALING)
			continue;
		for (unsigned k = 0; k < c->n_inputs; k++)
			if (c->inputs[k].vertex == v && c->inputs[k].by_content &&
			    !c->inputs[k].asked)
				c->inputs[k].known = false;
		bool had = c->has_r;
		c->has_key = c->looked = c->has_r = c->bare = false;
		if (c->locked)
			g->results->unlock(g->results, c);
		c->locked = false;
		if (c->files)
			g->results->unref(c->files);
		c->files = NULL;
		c->how = HOW_NONE;
		if (c->state != VERTEX_IDLE)
			core_state(g, c, VERTEX_WAITING);
		if (had)
			core_rekey_consumers(g, c);
		core_queue(g, c);
	}
}

void core_files(struct graph *g, struct vertex *v, struct files *files, int64_t created_ns)
{
	g->running_slots -= v->class->slot;
	v->files = files;
	v->created_ns = created_ns;
	if (v->class->source != OP_STEP) {
		g->working--;
		v->how = HOW_FIXED;
		core_state(g, v, VERTEX_DONE);
	} else {
		v->how = HOW_RAN;
		core_state(g, v, VERTEX_SEALING);
	}
	core_queue_consumers(g, v);
	for (size_t i = 0; i < g->all.n; i++)
		if (g->all.v[i]->state == VERTEX_READY)
			core_queue(g, g->all.v[i]);
	core_drain(g);
}

void core_sealed(struct graph *g, struct vertex *v, const struct digest *m)
{
	g->working--;
	v->m = *m;
	v->has_m = true;
	know_result(g, v);
	core_drain(g);
}

static void give_up(struct graph *g, struct vertex *v, struct err *e)
{
	if (v->locked)
		g->results->unlock(g->results, v);
	v->locked = false;
	bool canceled = g->canceled && e->code == ERR_CANCELED;
	if (!v->error)
		v->error = e;
	else
		err_drop(&e);
	g->failed = true;
	if (v->state != VERTEX_FAILED && v->state != VERTEX_CANCELED)
		core_state(g, v, canceled ? VERTEX_CANCELED : VERTEX_FAILED);
	graph_cancel(g);
}

void core_failed(struct graph *g, struct vertex *v, struct err *e)
{
	g->working--;
	if (v->state == VERTEX_RUNNING)
		g->running_slots -= v->class->slot;
	give_up(g, v, e);
	core_drain(g);
}

void core_changed(struct graph *g, struct vertex *v, struct err *e)
{
	g->working--;
	g->running_slots -= v->class->slot;
	if (++v->changed >= 3) {
		give_up(g, v, e);
		return;
	}
	err_drop(&e);
	if (v->locked)
		g->results->unlock(g->results, v);
	v->locked = v->has_key = v->looked = v->has_deep = false;
	for (unsigned i = 0; i < v->n_inputs; i++)
		if (v->inputs[i].vertex->class->source == OP_CONTEXT)
			v->inputs[i].known = v->inputs[i].asked = false;
	core_state(g, v, VERTEX_WAITING);
	core_queue(g, v);
	core_drain(g);
}

void core_content(struct graph *g, struct vertex *v, unsigned i, const struct digest *c)
{
	g->working--;
	v->inputs[i].c = *c;
	v->inputs[i].known = true;
	core_queue(g, v);
	core_drain(g);
}
