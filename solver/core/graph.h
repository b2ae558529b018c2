/*
 * graph: the vertices of one build and their states. One thread (the loop) owns it; jobs answer through core_…() on that thread.
 *
 * The way of a vertex: it is demanded (its result id is wanted, perhaps its files) → WAITING for what its key needs → looked up →
 * DONE from the cache, or its inputs' files are demanded → LOCKING (the step lock of its key; another process may run it) → READY
 * (a slot) → RUNNING → files are there (consumers may start) → sealed (M is known: result id, record) → DONE.
 * A vertex may start before its key is known only when no record with its op exists: else it waits for M of its inputs, which may give a hit.
 * The first failure cancels what runs; every failed vertex is reported.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/digest.h"
#include "base/err.h"
#include "solver/core/op.h"

enum vertex_state {
	VERTEX_IDLE,    /* nobody asked for it */
	VERTEX_WAITING, /* for results or contents of its inputs */
	VERTEX_LOCKING, /* for another process that runs the same step */
	VERTEX_READY,   /* for a slot */
	VERTEX_RUNNING,
	VERTEX_SEALING, /* ran; files are there, M is not known yet */
	VERTEX_DONE,
	VERTEX_FAILED,
	VERTEX_CANCELED,
};

/* How a vertex became done. */
enum vertex_how { HOW_NONE, HOW_CACHED, HOW_CUT_OFF, HOW_RAN, HOW_FIXED };

struct input {
	struct vertex *vertex;
	bool by_content;   /* C of a selection counts, not R */
	struct digest sel; /* digest of the selection */
	bool asked, known; /* by_content: the content job */
	struct digest c;
};

struct vertex {
	const struct op_class *class;
	void *owner;          /* the op's own data */
	struct digest op;     /* op(v) */
	struct input *inputs; /* inputs[0] is the parent, where has_parent */
	unsigned n_inputs;
	bool has_parent;
	bool forced; /* --no-cache and the like: looks nothing up, joins nobody */
	bool nonce; /* has effects outside of its tree: its R takes 16 random bytes when it has run */

	/* the core's */
	enum vertex_state state;
	enum vertex_how how;
	bool wanted, files_wanted;
	bool has_key, looked, has_r, has_m, locked, published, started_unkeyed, queued_;
	bool bare; /* r is known from a record whose files are gone */
	bool stands_on_forced;
	struct digest key, r, m;
	bool has_deep; /* deep is D(v), computed once: graphs share ancestors */
	struct digest deep;
	struct files *files;
	int64_t created_ns, started_ns, ended_ns;
	int64_t lock_retry_ns, lock_since_ns;
	unsigned changed;  /* times that an input changed under it */
	struct err *error; /* FAILED: why; owned */
	struct vertex **consumers;
	unsigned n_consumers, cap_consumers;
	struct vertex *next_queued_;
};

struct graph_hooks {
	/* Each transition, after it happened. */
	void (*transition)(void *arg, struct vertex *v);
	void *arg;
	unsigned slots; /* how many vertices with class->slot run at once */
};

struct graph;

/* A graph over the arena's memory; results and hooks must outlive it. Free with graph_free() (drops files and errors). */
struct graph *graph_new(struct arena *a, struct results *results, const struct graph_hooks *hooks);
void graph_free(struct graph *g);

/* A vertex with n inputs (set inputs[i].vertex and the rest before graph_demand; then graph_link). */
struct vertex *graph_vertex(struct graph *g, const struct op_class *class, void *owner,
			    unsigned n_inputs);
/* Makes it known to its inputs. */
void graph_link(struct graph *g, struct vertex *v);
/* A fixed vertex's result id; its files where they are here already (a reference is taken over; NULL: `run` brings them). */
void graph_fix(struct vertex *v, const struct digest *r, struct files *files);

/* Asks for a vertex with its files, and goes as far as possible without an answer. */
void graph_demand(struct graph *g, struct vertex *v);

/* Whether the demanded vertices are all done (or nothing can go on: a failure and nothing runs any more). */
bool graph_finished(const struct graph *g);
bool graph_failed(const struct graph *g);
/* Cancels: nothing new starts, what runs is told to end. */
void graph_cancel(struct graph *g);

/* When graph_tick() wants to be called (CLOCK_MONOTONIC ns; INT64_MAX: no need), for step locks that are polled. */
int64_t graph_timer(const struct graph *g);
void graph_tick(struct graph *g);

/* All vertices in the order they were made. */
struct vertex **graph_all(const struct graph *g, unsigned *ret_n);

/* D(v): deep key; contents of contexts must be known. false when one is not. */
bool vertex_deep(struct vertex *v, struct digest *ret);

/* ---- answers of jobs */
/* The step's files are committed; the reference is taken over. created_ns is the layer's. */
void core_files(struct graph *g, struct vertex *v, struct files *files, int64_t created_ns);
/* M of its layer; zero-layer steps and fixed vertices never get it. */
void core_sealed(struct graph *g, struct vertex *v, const struct digest *m);
/* The work failed; the error is taken over. ERR_CANCELED after a cancellation. */
void core_failed(struct graph *g, struct vertex *v, struct err *e);
/* An input changed while it ran: contents are asked again, ≤ 3 times, then it fails with `e` (taken over). */
void core_changed(struct graph *g, struct vertex *v, struct err *e);
/* C of input i. */
void core_content(struct graph *g, struct vertex *v, unsigned i, const struct digest *c);
