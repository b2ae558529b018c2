#include "solver/core/internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "solver/core/key.h"

enum { LOCK_POLL_FIRST_MS = 20, LOCK_POLL_MAX_MS = 200, LOCK_PATIENCE_MS = 30000 };

static bool ended(const struct vertex *v)
{
	return v->state == VERTEX_DONE || v->state == VERTEX_FAILED || v->state == VERTEX_CANCELED;
}

static bool at_work(const struct vertex *v)
{
	return v->state == VERTEX_RUNNING || v->state == VERTEX_SEALING;
}

void core_queue(struct graph *g, struct vertex *v)
{
	if (v->queued_)
		return;
	v->queued_ = true;
	v->next_queued_ = NULL;
	*g->queue_tail = v;
	g->queue_tail = &v->next_queued_;
}

void core_queue_consumers(struct graph *g, struct vertex *v)
{
	for (unsigned i = 0; i < v->n_consumers; i++)
		core_queue(g, v->consumers[i]);
}

void core_state(struct graph *g, struct vertex *v, enum vertex_state s)
{
	if (v->state == s)
		return;
	v->state = s;
	if (s == VERTEX_RUNNING)
		v->started_ns = clock_real_ns();
	if (ended(v) || s == VERTEX_SEALING)
		v->ended_ns = clock_real_ns();
	g->hooks.transition(g->hooks.arg, v);
}

/* Wants v's result id, and its files where `files`. What is there already is done at once, so that it is shown before its consumers. */
static void want(struct graph *g, struct vertex *v, bool files)
{
	if (v->wanted && (v->files_wanted || !files))
		return;
	v->wanted = true;
	v->files_wanted |= files;
	if (v->class->source != OP_STEP && v->files && !ended(v)) {
		v->how = HOW_FIXED;
		core_state(g, v, VERTEX_DONE);
	}
	core_queue(g, v);
}

bool core_key(struct vertex *v)
{
	if (v->has_key)
		return true;
	for (unsigned i = 0; i < v->n_inputs; i++)
		if (v->inputs[i].by_content ? !v->inputs[i].known : !v->inputs[i].vertex->has_r)
			return false;
	struct digester h;
	key_begin(&h, &v->op);
	for (unsigned i = 0; i < v->n_inputs; i++)
		key_input(&h, v->inputs[i].by_content ? 'C' : 'R',
			  v->inputs[i].by_content ? &v->inputs[i].c : &v->inputs[i].vertex->r);
	v->key = digest_end(&h);
	v->has_key = true;
	return true;
}

/* Gets the contents that v's key needs on their way. */
static void ask_contents(struct graph *g, struct vertex *v)
{
	for (unsigned i = 0; i < v->n_inputs; i++) {
		struct input *in = &v->inputs[i];
		struct vertex *u = in->vertex;
		if (!in->by_content || in->known || in->asked)
			continue;
		if (u->class->source != OP_CONTEXT) {
			want(g, u, false);
			if (!u->has_r)
				continue;
			if (g->results->content(g->results, &u->r, &in->sel, &in->c)) {
				in->known = true;
				continue;
			}
			want(g, u, true);
			if (!u->files)
				continue;
		}
		in->asked = true;
		g->working++;
		v->class->content(v, i);
	}
}

/* Whether an ancestor by parents or contents ran in this build: then a hit is a cut-off. */
static bool ancestor_ran(const struct vertex *v)
{
	for (unsigned i = 0; i < v->n_inputs; i++) {
		const struct vertex *u = v->inputs[i].vertex;
		if (u->how == HOW_RAN || u->how == HOW_CUT_OFF)
			return true;
	}
	return false;
}

static void take_found(struct graph *g, struct vertex *v, struct found *f)
{
	v->r = f->r;
	v->has_r = true;
	v->created_ns = f->created_ns;
	v->bare = !f->files;
	if (f->files) {
		v->files = f->files;
		v->how = ancestor_ran(v) ? HOW_CUT_OFF : HOW_CACHED;
		core_state(g, v, VERTEX_DONE);
	}
	core_queue_consumers(g, v);
}

/* Looks v up once its key is known. True: it is done, or its result id is enough for who asked. */
static bool look_up(struct graph *g, struct vertex *v)
{
	if (v->forced || v->stands_on_forced)
		return false;
	if (!v->looked) {
		v->looked = true;
		struct found f = { 0 };
		if (g->results->lookup(g->results, v, &v->key, &f) == 1)
			take_found(g, v, &f);
	}
	return v->state == VERTEX_DONE || (v->bare && !v->files_wanted);
}

/* Every input that v runs on has its files; asks for those that have not. Contents of by_content inputs that the op reads through the
 * input's files count too. */
static bool inputs_have_files(struct graph *g, struct vertex *v)
{
	bool all = true;
	for (unsigned i = 0; i < v->n_inputs; i++) {
		struct vertex *u = v->inputs[i].vertex;
		if (u->class->source == OP_CONTEXT)
			continue;
		want(g, u, true);
		all = all && u->files;
	}
	return all;
}

static bool contents_known(const struct vertex *v)
{
	for (unsigned i = 0; i < v->n_inputs; i++)
		if (v->inputs[i].by_content && !v->inputs[i].known)
			return false;
	return true;
}

/* Takes the step lock, or waits for who has it. True: go on and run. */
static bool lock_step(struct graph *g, struct vertex *v)
{
	if (v->locked || v->forced || v->stands_on_forced || !v->has_key)
		return true;
	int64_t now = clock_mono_ns();
	if (v->state == VERTEX_LOCKING && now < v->lock_retry_ns)
		return false;
	int r = g->results->lock(g->results, v, &v->key);
	if (r == 0 &&
	    (!v->lock_since_ns || now - v->lock_since_ns < LOCK_PATIENCE_MS * INT64_C(1000000))) {
		int64_t waited_ms = v->lock_since_ns ? (now - v->lock_since_ns) / 1000000 : 0;
		int64_t pause_ms = LOCK_POLL_FIRST_MS + waited_ms / 4;
		if (pause_ms > LOCK_POLL_MAX_MS)
			pause_ms = LOCK_POLL_MAX_MS;
		if (!v->lock_since_ns)
			v->lock_since_ns = now;
		v->lock_retry_ns = now + pause_ms * 1000000;
		core_state(g, v, VERTEX_LOCKING);
		return false;
	}
	v->locked = r == 1;
	/* Whoever had the lock before us has published: look once more before running. */
	v->looked = false;
	if (look_up(g, v)) {
		if (v->locked)
			g->results->unlock(g->results, v);
		v->locked = false;
		/* Enough for who asked, without files: nothing is waited for any more. */
		if (v->state == VERTEX_LOCKING)
			core_state(g, v, VERTEX_WAITING);
		return false;
	}
	return true;
}

static void start(struct graph *g, struct vertex *v)
{
	if (v->class->slot && g->running_slots >= g->hooks.slots) {
		core_state(g, v, VERTEX_READY);
		return;
	}
	v->started_unkeyed = !v->has_key;
	g->running_slots += v->class->slot;
	g->working++;
	core_state(g, v, VERTEX_RUNNING);
	v->class->run(v);
}

static void advance_fixed(struct graph *g, struct vertex *v)
{
	if (v->class->source == OP_CONTEXT || v->files) {
		v->how = HOW_FIXED;
		core_state(g, v, VERTEX_DONE);
		core_queue_consumers(g, v);
	} else if (v->files_wanted) {
		start(g, v);
	}
}

static void advance(struct graph *g, struct vertex *v)
{
	if (!v->wanted || ended(v) || at_work(v) || g->canceled)
		return;
	if (v->class->source != OP_STEP) {
		advance_fixed(g, v);
		return;
	}
	if (v->state == VERTEX_IDLE)
		core_state(g, v, VERTEX_WAITING);
	for (unsigned i = 0; i < v->n_inputs; i++)
		want(g, v->inputs[i].vertex, false);
	ask_contents(g, v);
	if (core_key(v)) {
		if (look_up(g, v))
			return;
	} else if (!contents_known(v) || g->results->has_op(g->results, &v->op)) {
		return; /* M of an input could give a hit: wait for it */
	}
	if (!v->has_key && !v->forced && !v->stands_on_forced) {
		/* Without a key only a step whose inputs run or have run here may start; else their look-up comes first. */
		for (unsigned i = 0; i < v->n_inputs; i++) {
			struct vertex *u = v->inputs[i].vertex;
			if (!v->inputs[i].by_content && !u->has_r && u->state != VERTEX_SEALING)
				return;
		}
	}
	if (!inputs_have_files(g, v) || !lock_step(g, v))
		return;
	start(g, v);
}

void core_drain(struct graph *g)
{
	if (g->advancing)
		return;
	g->advancing = true;
	while (g->queue) {
		struct vertex *v = g->queue;
		g->queue = v->next_queued_;
		if (!g->queue)
			g->queue_tail = &g->queue;
		v->queued_ = false;
		advance(g, v);
	}
	g->advancing = false;
}

void graph_demand(struct graph *g, struct vertex *v)
{
	want(g, v, true);
	core_drain(g);
}

bool graph_finished(const struct graph *g)
{
	if (g->working)
		return false;
	if (g->canceled || g->failed)
		return true;
	for (size_t i = 0; i < g->all.n; i++) {
		const struct vertex *v = g->all.v[i];
		if (v->wanted && v->files_wanted && !ended(v))
			return false;
	}
	return true;
}

bool graph_failed(const struct graph *g)
{
	return g->failed || g->canceled;
}

void graph_cancel(struct graph *g)
{
	if (g->canceled)
		return;
	g->canceled = true;
	for (size_t i = 0; i < g->all.n; i++) {
		struct vertex *v = g->all.v[i];
		/* What has run and is being hashed goes on: its record is worth having. */
		if (v->state == VERTEX_RUNNING && v->class->cancel)
			v->class->cancel(v);
		else if (v->wanted && !ended(v) && !at_work(v) && v->class->source == OP_STEP)
			core_state(g, v, VERTEX_CANCELED);
	}
}

int64_t graph_timer(const struct graph *g)
{
	int64_t at = INT64_MAX;
	for (size_t i = 0; i < g->all.n; i++)
		if (g->all.v[i]->state == VERTEX_LOCKING && g->all.v[i]->lock_retry_ns < at)
			at = g->all.v[i]->lock_retry_ns;
	return at;
}

void graph_tick(struct graph *g)
{
	for (size_t i = 0; i < g->all.n; i++)
		if (g->all.v[i]->state == VERTEX_LOCKING)
			core_queue(g, g->all.v[i]);
	core_drain(g);
}
