/*
 * internal: the graph's own fields, for graph.c, sched.c and answer.c alone.
 */
#pragma once

#include "base/vec.h"
#include "solver/core/graph.h"

struct graph {
	struct arena *arena;
	struct results *results;
	struct graph_hooks hooks;
	VEC(struct vertex *) all;
	struct vertex *queue, **queue_tail; /* vertices to advance */
	unsigned running_slots;
	unsigned working; /* jobs whose answer is awaited */
	bool advancing, canceled, failed;
};

/* Puts a vertex on the work list. */
void core_queue(struct graph *g, struct vertex *v);
/* Puts its consumers there. */
void core_queue_consumers(struct graph *g, struct vertex *v);
/* Advances all that is on the work list, until it is empty. */
void core_drain(struct graph *g);
/* Changes the state and tells the hook. */
void core_state(struct graph *g, struct vertex *v, enum vertex_state s);
/* Computes v's key when all its inputs are known. */
bool core_key(struct vertex *v);
/* Forgets what was keyed by v's old result id, in all vertices above it. */
void core_rekey_consumers(struct graph *g, struct vertex *v);
