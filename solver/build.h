/*
 * build: one build from text to image. The loop thread (the caller's) owns the graph and only reads the databases; work is done by
 * jobs: the cpu pool (scan, copy, hash, seal, records), a pool of one thread per running RUN or pull (they wait for processes and for
 * blobs, so they are coordinators), and the registry's transfer threads.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "base/event.h"
#include "base/mem.h"
#include "solver/plan.h"

struct cache;
struct err;
struct pool;
struct registry;
struct spawner;
struct store;

/* What a build stands on: opened by the caller, borrowed. */
struct build_env {
	struct store *store;
	struct cache *cache; /* of the loop thread */
	struct pool *cpu;    /* contexts are struct cache * */
	struct registry *registry;
	/* The helper, started when something must run; any thread. */
	int (*spawner)(void *arg, struct spawner **ret, struct err **err);
	void *spawner_arg;
	struct event_sink *events;
	const atomic_bool *cancel;
	int wake_fd;   /* readable when `cancel` was set */
	unsigned jobs; /* RUNs at once; 0: max(16, 4 × cores) */
};

enum output_kind { OUTPUT_OCI, OUTPUT_OCI_DIR };

struct build_output {
	enum output_kind kind;
	const char *dest;
};

struct build_options {
	const char *context;         /* a folder */
	struct str dockerfile;       /* its text */
	const char *dockerfile_name; /* as messages show it: "Dockerfile" */
	const char *dockerfile_path; /* where it was read, for <path>.dockerignore; NULL: stdin */
	struct plan_options plan;
	bool no_cache, pull;
	const struct str *tags; /* full references */
	size_t n_tags;
	const struct build_output *outputs;
	size_t n_outputs;
};

struct build_result {
	struct digest image_id;
	size_t n_warnings;
	size_t ran, cached; /* steps */
};

struct df_lint;

/* Plans without running anything: bases are resolved, checks made. Warnings are collected in `lint` (zeroed but for its arena `a`, which also
 * holds what they point to); they are there also when it fails. Statuses as solver_build(). */
NODISCARD int solver_check(const struct build_env *env, const struct build_options *o,
			   struct arena *a, struct df_lint *lint, struct err **err);

/* What the target asks of whoever builds it; planned like solver_check(), but the target alone. *ret lives in `a`. */
NODISCARD int solver_outline(const struct build_env *env, const struct build_options *o,
			     struct arena *a, struct plan_outline *ret, struct err **err);

/* Builds. Errors carry the place in the Dockerfile; exit statuses in err->status (3 Dockerfile or context, 4 export). */
NODISCARD int solver_build(const struct build_env *env, const struct build_options *o,
			   struct build_result *ret, struct err **err);
