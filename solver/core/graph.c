#include "solver/core/graph.h"

#include <string.h>

#include "solver/core/internal.h"
#include "solver/core/key.h"

struct graph *graph_new(struct arena *a, struct results *results, const struct graph_hooks *hooks)
{
	struct graph *g = arena_new_of(a, struct graph);
	g->arena = a;
	g->results = results;
	g->hooks = *hooks;
	g->queue_tail = &g->queue;
	return g;
}

void graph_free(struct graph *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < g->all.n; i++) {
		struct vertex *v = g->all.v[i];
		if (v->files)
			g->results->unref(v->files);
		if (v->locked)
			g->results->unlock(g->results, v);
		err_drop(&v->error);
		free(v->consumers);
	}
	VEC_RELEASE(&g->all);
}

struct vertex *graph_vertex(struct graph *g, const struct op_class *class, void *owner,
			    unsigned n_inputs)
{
	struct vertex *v = arena_new_of(g->arena, struct vertex);
	v->class = class;
	v->owner = owner;
	v->n_inputs = n_inputs;
	v->inputs = arena_array_of(g->arena, struct input, n_inputs);
	VEC_PUSH(&g->all, v);
	return v;
}

void graph_link(struct graph *g, struct vertex *v)
{
	(void)g;
	for (unsigned i = 0; i < v->n_inputs; i++) {
		struct vertex *u = v->inputs[i].vertex;
		if (u->n_consumers == u->cap_consumers) {
			u->cap_consumers = u->cap_consumers ? 2 * u->cap_consumers : 4;
			u->consumers = xreallocarray(u->consumers, u->cap_consumers,
						     sizeof(struct vertex *));
		}
		u->consumers[u->n_consumers++] = v;
		if (!v->inputs[i].by_content && (u->forced || u->stands_on_forced))
			v->stands_on_forced = true;
	}
}

void graph_fix(struct vertex *v, const struct digest *r, struct files *files)
{
	v->r = *r;
	v->has_r = true;
	v->files = files;
}

struct vertex **graph_all(const struct graph *g, unsigned *ret_n)
{
	*ret_n = (unsigned)g->all.n;
	return g->all.v;
}

bool vertex_deep(struct vertex *v, struct digest *ret)
{
	if (v->class->source == OP_FIXED) {
		*ret = v->r;
		return v->has_r;
	}
	if (v->class->source == OP_CONTEXT)
		return false;
	if (v->has_deep) {
		*ret = v->deep;
		return true;
	}
	struct digester h;
	key_deep_begin(&h, &v->op);
	for (unsigned i = 0; i < v->n_inputs; i++) {
		const struct input *in = &v->inputs[i];
		struct digest d;
		char tag = 'D';
		bool good = true;
		if (in->vertex->class->source == OP_CONTEXT) {
			tag = 'C';
			d = in->c;
			good = in->known;
		} else {
			good = vertex_deep(in->vertex, &d);
			if (good && in->vertex->class->source == OP_FIXED)
				tag = 'R';
			if (good && in->by_content)
				d = key_deep_selection(&d, &in->sel), tag = 'D';
		}
		if (!good) {
			digest_abandon(&h);
			return false;
		}
		key_input(&h, tag, &d);
	}
	v->deep = *ret = digest_end(&h);
	v->has_deep = true;
	return true;
}
