/*
 * op: the two tables by which the core meets the world. The core knows neither files nor images nor processes: an op runs, says what
 * its inputs are and how the content of a selection is asked for; `results` looks keys up, takes step locks and publishes. Both are
 * filled outside (solver/op_*.c, solver/results.c) and by fakes in tests.
 *
 * Threads: everything here is called on the loop thread, and answers (core_…() of graph.h) are given on it. Work itself happens on
 * workers of the caller's choice.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/mem.h"

struct err;
struct files; /* what a step left: the owner's, reference-counted through op_class */
struct graph;
struct vertex;

/* What a vertex is to the core. */
enum op_source {
	OP_STEP,  /* runs on its inputs */
	OP_FIXED, /* its result id is known at once (image, scratch); `run` brings its files when somebody needs them */
	OP_CONTEXT, /* has no result id: only contents of selections of it count */
};

struct op_class {
	const char *kind;
	enum op_source source;
	bool slot; /* takes one of the limited slots (RUN) */

	/* Starts the work. Inputs by result have their `files`. Answers: core_files() then core_sealed(), or core_failed(),
	 * or core_changed() when an input changed under it. */
	void (*run)(struct vertex *v);
	/* Starts computing C of input i; the input has its files, unless it is a context. Answer: core_content() or core_failed(). */
	void (*content)(struct vertex *v, unsigned i);
	/* Ends running work soon; the answer core_failed() with ERR_CANCELED still comes. */
	void (*cancel)(struct vertex *v);
};

/* What a look-up of a key gives. */
struct found {
	struct digest r;
	struct files *files; /* a reference for the core; NULL: bare, the files are gone */
	int64_t created_ns;
};

struct results {
	/* The record of a key: 1 found, 0 none, -1 failed (a cache never fails a build: the core takes it as none). */
	int (*lookup)(struct results *s, struct vertex *v, const struct digest *key,
		      struct found *ret);
	/* The newest live record with this result id, for substitution: 1, 0. */
	int (*by_result)(struct results *s, const struct digest *r, struct found *ret);
	/* Whether a record with this op exists. */
	bool (*has_op)(struct results *s, const struct digest *op);
	/* A content digest kept from before: C by (R, sel). */
	bool (*content)(struct results *s, const struct digest *r, const struct digest *sel,
			struct digest *ret);
	/* The step lock of a key: 1 taken, 0 somebody else runs it, -1 locks do not work here (go on without). */
	int (*lock)(struct results *s, struct vertex *v, const struct digest *key);
	void (*unlock)(struct results *s, struct vertex *v);
	/* Everything about v is known: write its record (asynchronously); unlock after it. */
	void (*publish)(struct results *s, struct vertex *v);
	/* A new reference; drops one. */
	struct files *(*ref)(struct files *f);
	void (*unref)(struct files *f);
};
