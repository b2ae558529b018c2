/*
 * internal: a build while it runs, as build.c, results.c and the op_*.c share it. A `struct step` is the owner's side of a vertex.
 */
#pragma once

#include <pthread.h>

#include "base/arena.h"
#include "base/pool.h"
#include "base/vec.h"
#include "cache/tree.h"
#include "solver/build.h"
#include "solver/core/graph.h"
#include "solver/files.h"
#include "solver/plan.h"

struct named_input;

struct build {
	const struct build_env *env;
	const struct build_options *o;
	struct arena *arena;
	struct df_lint *lint; /* where the checks' warnings are collected */
	struct plan_bases *bases;
	struct plan *plan;
	struct graph *graph;
	struct pool *waiters; /* threads of RUNs and pulls; made when one starts */
	struct results results;
	struct step **steps;      /* by plan_step.index; equal steps share one */
	struct context *contexts; /* opened ones, a list */
	char *id;                 /* "20261124T220000-4f2a": logs/<id>/ */
	pthread_mutex_t etc_lock; /* of what op_run makes once a build */
	char *hosts,
		*resolv; /* files below the store's root for RUN's /etc/hosts and resolv.conf */
	bool said_network;
	int journal_fd;             /* logs/<id>/events.jsonl; -1: none */
	VEC(struct arena *) arenas; /* of jobs that resolved images */
};

struct step {
	struct build *b;
	struct vertex *v;
	const struct plan_step *plan;
	struct digest event_id; /* of its progress events */
	int lock_fd;            /* step lock, -1 */
	struct selection
		*selections;     /* of the inputs by content: selections[i] belongs to inputs[i] */
	struct context *context; /* CONTEXT */
	int64_t cost_ms;
	atomic_bool cancel;
	int cancel_fd; /* eventfd; readable when cancelled; -1: it has not run */
	bool shown;    /* started was emitted */
};

/* A job of a step: `work` on a worker with its cache, `after` on the loop with the error of `work` (owned by it) or NULL. */
struct step_job {
	struct pool_job job;
	struct step *s;
	int (*work)(struct step_job *j, struct cache *c, struct err **err);
	void (*after)(struct step_job *j, struct err *e);
	struct err *err;
	/* inputs and results of the kinds of jobs */
	unsigned input;
	struct digest digest, digest2;
	struct files *parent,
		*files; /* references of the job's own: a vertex may get others while the job runs */
	struct files **sources; /* of a COPY's inputs (NULL: a context), by their numbers */
	int64_t layer, created_ns, started_ns;
};

/* Adds a job; `pool` NULL: the cpu pool. The job is freed after `after`. */
struct step_job *step_job_new(struct step *s,
			      int (*work)(struct step_job *, struct cache *, struct err **),
			      void (*after)(struct step_job *, struct err *));
void step_job_start(struct step_job *j, struct pool *pool);
/* The pool of threads that wait: RUNs and pulls. */
struct pool *build_waiters(struct build *b);

/* After a step's files are committed: tells the core and seals the layer on the cpu pool (M, diff ID), then tells the core again.
 * `j` is the job that ran the step: `layer`, `created_ns`, `started_ns` and `parent` are set. */
void step_committed(struct step_job *j);

/* Makes the graph of b->plan: one vertex for each distinct step (b->steps[i] of equal steps are the same). Frees it. */
NODISCARD int vertices_make(struct build *b, struct err **err);
void vertices_free(struct build *b);

/* Classes of vertices. */
extern const struct op_class op_scratch, op_image, op_context, op_run, op_copy, op_workdir;

/* op(v) of a step. */
struct digest op_run_digest(const struct plan_step *p);
struct digest op_copy_digest(const struct plan_step *p);
struct digest op_workdir_digest(const struct plan_step *p);

/* A build context that is open: a folder with its ignore rules. */
struct context {
	struct context *next;
	struct str name;
	struct tree *tree;
	struct glob_set *ignore;
};

/* Opens the main context ("" as name) or a named one; kept in b->contexts. */
NODISCARD int context_open(struct build *b, struct str name, struct context **ret,
			   struct err **err);
void context_free_all(struct build *b);

/* Fills the core's second table. */
void results_init(struct build *b);
/* What RUN needs besides its step: logs/<build>/<step>.log, opened for writing; -1 without one (it is no reason to fail). */
int build_log_open(struct build *b, const struct step *s);

/* Emits a vertex event of a step. */
void step_event(struct step *s, enum event_state state, const char *error);

/* The image of the finished plan: config with diff IDs, history and times. Prints into `out`. */
NODISCARD int image_finish(struct build *b, struct cache *c, struct sb *out,
			   struct chain *ret_chain, struct err **err);
