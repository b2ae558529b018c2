/* vertices: the steps of a plan as vertices of the core, and what is shown of their states. */
#include "solver/internal.h"

#include "base/map.h"
#include "registry/pull.h"
#include "solver/journal.h"
#include "solver/core/key.h"

static const struct op_class *class_of(enum plan_kind k)
{
	switch (k) {
	case PLAN_SCRATCH:
		return &op_scratch;
	case PLAN_IMAGE:
		return &op_image;
	case PLAN_CONTEXT:
		return &op_context;
	case PLAN_RUN:
		return &op_run;
	case PLAN_COPY:
		return &op_copy;
	case PLAN_WORKDIR:
		return &op_workdir;
	}
	BUG("no such kind of step: %d", k);
}

/* A fixed vertex's result id and, for scratch and local images, its files. */
static void fix(struct step *s)
{
	if (s->plan->kind == PLAN_SCRATCH) {
		struct digest r = key_scratch();
		graph_fix(s->v, &r, files_new((struct chain){ 0 }));
		return;
	}
	const struct resolved *image = s->plan->base->caller;
	struct digest r = image->image.n_diff_ids
		? oci_chain_id(image->image.diff_ids, image->image.n_diff_ids)
		: key_scratch();
	bool here = image->local && chain_complete(&image->chain);
	graph_fix(s->v, &r, here ? files_new(chain_append(&image->chain, NULL)) : NULL);
}

static void select_source(const struct plan_step *p, const struct plan_source *src,
			  struct selection *sel)
{
	sel->source = src->path;
	sel->excludes = p->excludes;
	sel->n_excludes = p->n_excludes;
	sel->parents = p->parents;
	sel->mask_mode = p->chmod.n && p->chmod.p[0] >= '0' && p->chmod.p[0] <= '7';
	sel->mask_owner = p->chown.n && p->chown.p[0] >= '0' && p->chown.p[0] <= '9';
}

/* What makes two steps the same vertex: class, op and the same inputs. Equal steps of one build run once. */
static struct str identity(struct build *b, const struct op_class *class, const struct digest *op,
			   const struct input *in, unsigned n)
{
	struct sb k = { 0 };
	sb_add(&k, &class, sizeof(class));
	sb_add(&k, op, sizeof(*op));
	for (unsigned i = 0; i < n; i++) {
		sb_add(&k, &in[i].vertex, sizeof(in[i].vertex));
		sb_add(&k, &in[i].sel, sizeof(in[i].sel));
	}
	struct str key = arena_str(b->arena, sb_str(&k));
	sb_release(&k);
	return key;
}

static struct digest op_of(const struct plan_step *p)
{
	return p->kind == PLAN_RUN     ? op_run_digest(p)
		: p->kind == PLAN_COPY ? op_copy_digest(p)
				       : op_workdir_digest(p);
}

/* The inputs of a step, in the arena; selections[i] belongs to input i. */
static struct input *inputs_of(struct build *b, const struct plan_step *p,
			       struct selection *selections)
{
	unsigned n = p->parent != NULL;
	struct input *in = arena_array_of(b->arena, struct input, 1 + p->n_sources);
	if (p->parent)
		in[0].vertex = b->steps[p->parent->index]->v;
	for (size_t i = 0; p->kind == PLAN_COPY && i < p->n_sources; i++, n++) {
		in[n].vertex = b->steps[p->sources[i].from->index]->v;
		in[n].by_content = true;
		select_source(p, &p->sources[i], &selections[n]);
		in[n].sel = cache_selection_digest(&selections[n]);
	}
	return in;
}

static struct step *step_new(struct build *b, struct plan_step *p)
{
	struct step *s = arena_new_of(b->arena, struct step);
	s->b = b;
	s->plan = p;
	s->lock_fd = s->cancel_fd = -1;
	struct str id = arena_printf(b->arena, "%u %.*s", p->index, STR_ARG(p->display));
	s->event_id = digest_of(id.p, id.n);
	return s;
}

/* Images, contexts, scratch. */
static int add_source(struct build *b, struct plan_step *p, struct err **err)
{
	struct step *s = step_new(b, p);
	s->v = graph_vertex(b->graph, class_of(p->kind), s, 0);
	b->steps[p->index] = s;
	if (p->kind == PLAN_CONTEXT)
		return context_open(b, p->context, &s->context, err);
	fix(s);
	return 0;
}

/* RUN, COPY, WORKDIR: a vertex of its own, or the one of an equal step before it. */
static void add_step(struct build *b, struct map *known, struct plan_step *p)
{
	unsigned n = (p->parent != NULL) + (p->kind == PLAN_COPY ? (unsigned)p->n_sources : 0);
	struct selection *selections = arena_array_of(b->arena, struct selection, n);
	struct input *in = inputs_of(b, p, selections);
	struct digest op = op_of(p);
	void **slot = map_slot(known, identity(b, class_of(p->kind), &op, in, n));
	if (!*slot) {
		struct step *s = *slot = step_new(b, p);
		s->selections = selections;
		s->v = graph_vertex(b->graph, class_of(p->kind), s, n);
		s->v->op = op;
		s->v->has_parent = p->parent != NULL;
		for (unsigned i = 0; i < n; i++)
			s->v->inputs[i] = in[i];
		s->v->forced = b->o->no_cache && p->kind != PLAN_WORKDIR;
		graph_link(b->graph, s->v);
	}
	b->steps[p->index] = *slot;
}

static void on_transition(void *arg, struct vertex *v)
{
	(void)arg;
	struct step *s = v->owner;
	const char *error = v->error ? v->error->msg : NULL;
	if (v->class == &op_context || v->class == &op_scratch)
		return;
	if (v->state == VERTEX_DONE || v->state == VERTEX_FAILED || v->state == VERTEX_CANCELED)
		journal_step(s);
	switch (v->state) {
	case VERTEX_RUNNING:
		s->shown = true;
		step_event(s, EVENT_STARTED, NULL);
		break;
	case VERTEX_SEALING:
		step_event(s, EVENT_DONE, NULL);
		break;
	case VERTEX_DONE:
		if (v->how == HOW_CACHED || v->how == HOW_CUT_OFF)
			step_event(s, EVENT_CACHED, NULL);
		else if (v->how == HOW_FIXED)
			step_event(s, s->shown ? EVENT_DONE : EVENT_CACHED, NULL);
		break;
	case VERTEX_FAILED:
		step_event(s, EVENT_FAILED, error);
		break;
	case VERTEX_CANCELED:
		if (s->shown)
			step_event(s, EVENT_CANCELED, error);
		break;
	default:
		break;
	}
}

int vertices_make(struct build *b, struct err **err)
{
	struct graph_hooks hooks = { .transition = on_transition, .arg = b, .slots = b->env->jobs };
	_cleanup_(map_releasep) struct map known = { 0 };
	results_init(b);
	b->graph = graph_new(b->arena, &b->results, &hooks);
	b->steps = arena_array_of(b->arena, struct step *, b->plan->n_steps);
	for (size_t i = 0; i < b->plan->n_steps; i++) {
		struct plan_step *p = b->plan->steps[i];
		if (p->kind == PLAN_RUN || p->kind == PLAN_COPY || p->kind == PLAN_WORKDIR)
			add_step(b, &known, p);
		else if (add_source(b, p, err) < 0)
			return -1;
	}
	return 0;
}

void vertices_free(struct build *b)
{
	unsigned n = 0;
	struct vertex **all = b->graph ? graph_all(b->graph, &n) : NULL;
	for (unsigned i = 0; i < n; i++)
		mem_closep(&((struct step *)all[i]->owner)->cancel_fd);
	graph_free(b->graph);
}
