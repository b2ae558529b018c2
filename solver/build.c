#include "solver/build.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "cache/name.h"
#include "cache/store.h"
#include "registry/pull.h"
#include "solver/check.h"
#include "solver/export.h"
#include "solver/internal.h"
#include "solver/journal.h"

/* ---- planning */

/* One base image being resolved. */
struct resolve {
	struct pool_job job;
	struct build *b;
	struct plan_base *base;
	struct resolved *image;
	struct arena *arena; /* the job's own; lives as long as the build */
	struct err *err;
	unsigned *open;
};

static int resolve_base(struct resolve *r, struct cache *c, enum registry_pull_policy policy,
			struct err **err)
{
	struct ref ref;
	r->image = arena_new_of(r->arena, struct resolved);
	if (ref_parse(r->arena, r->base->ref, &ref, err) < 0)
		return -1;
	return registry_resolve(r->b->env->registry, c, r->arena, &ref, &r->base->platform, policy,
				r->image, err);
}

static void resolve_job(struct pool_job *job, void *context)
{
	struct resolve *r = (struct resolve *)job;
	if (!context)
		err_set(&r->err, ERR_IO, "open the store's databases on a worker: it failed");
	else
		resolve_base(r, context,
			     r->b->o->pull ? REGISTRY_PULL_ALWAYS : REGISTRY_PULL_MISSING, &r->err);
}

static void resolve_done(struct pool_job *job)
{
	struct resolve *r = (struct resolve *)job;
	(*r->open)--;
}

static void internal_event(struct build *b, struct str name, enum event_state state,
			   int64_t started)
{
	struct event e = { .kind = EVENT_VERTEX,
			   .vertex = digest_of(name.p, name.n),
			   .name = name,
			   .state = state,
			   .started_ns = started };
	event_emit(b->env->events, &e);
}

/* Waits for pool events, signals and timers. */
static void wait_some(struct build *b, int64_t until_ns)
{
	struct pollfd p[3] = { { .fd = pool_fd(b->env->cpu), .events = POLLIN },
			       { .fd = b->waiters ? pool_fd(b->waiters) : -1, .events = POLLIN },
			       { .fd = atomic_load(b->env->cancel) ? -1 : b->env->wake_fd,
				 .events = POLLIN } };
	int timeout = -1;
	if (until_ns != INT64_MAX) {
		int64_t left = until_ns - clock_mono_ns();
		timeout = left <= 0 ? 0 : (int)(left / 1000000) + 1;
	}
	if (poll(p, 3, timeout) < 0 && errno != EINTR)
		BUG("poll: %s", strerror(errno));
	pool_reap(b->env->cpu);
	if (b->waiters)
		pool_reap(b->waiters);
}

static int base_failed(struct resolve *r, struct err **err)
{
	const struct plan_base *base = r->base;
	enum err_code code = r->err->code;
	err_move(err, STEAL(r->err));
	if (code != ERR_CANCELED) {
		err_wrap(err, "%.*s: failed to resolve source metadata for %.*s",
			 STR_ARG(base->original), STR_ARG(base->ref));
		if (code == ERR_NOT_FOUND && base->near.p)
			err_hint(err, "did you mean %.*s?", STR_ARG(base->near));
	}
	return err_at(err, base->at);
}

/* Resolves bases[from …]: local answers here, others in parallel. The first failure in file order is reported. */
static int resolve_bases(struct build *b, struct plan_base **bases, size_t from, size_t n,
			 struct err **err)
{
	struct resolve *all = arena_array_of(b->arena, struct resolve, n);
	unsigned open = 0;
	int64_t begin = clock_real_ns();
	for (size_t i = from; i < n; i++) {
		struct resolve *r = &all[i];
		*r = (struct resolve){ .job = { resolve_job, resolve_done, NULL },
				       .b = b,
				       .base = bases[i],
				       .arena = b->arena,
				       .open = &open };
		if (!b->o->pull &&
		    resolve_base(r, b->env->cache, REGISTRY_PULL_NEVER, &r->err) == 0)
			continue;
		if (r->err && r->err->code != ERR_NOT_FOUND)
			continue;
		err_drop(&r->err);
		internal_event(b,
			       arena_printf(b->arena, "[internal] load metadata for %.*s",
					    STR_ARG(bases[i]->ref)),
			       EVENT_STARTED, begin);
		r->arena = arena_new();
		open++;
		pool_add(build_waiters(b), &r->job);
	}
	while (open)
		wait_some(b, INT64_MAX);
	int result = 0;
	for (size_t i = from; i < n; i++) {
		struct resolve *r = &all[i];
		if (r->arena != b->arena) {
			VEC_PUSH(&b->arenas, r->arena);
			internal_event(b,
				       arena_printf(b->arena, "[internal] load metadata for %.*s",
						    STR_ARG(bases[i]->ref)),
				       r->err ? EVENT_FAILED : EVENT_DONE, begin);
		}
		if (r->err && !result)
			result = base_failed(r, err);
		err_drop(&r->err);
		bases[i]->config = &r->image->image;
		bases[i]->caller = r->image;
	}
	return result;
}

static int make_plan(struct build *b, struct err **err)
{
	struct df_file *file;
	struct context *context;
	struct plan_options *o = arena_new_of(b->arena, struct plan_options);
	*o = b->o->plan;
	o->lint = b->lint;
	if (solver_parse(b->arena, b->o->dockerfile, o, b->lint, &file, err) < 0 ||
	    plan_bases(b->arena, file, o, &b->bases, err) < 0)
		return err_status(err, 3);
	size_t done = 0;
	for (bool more = true; more;) {
		size_t n;
		struct plan_base **list = plan_bases_list(b->bases, &n);
		if (resolve_bases(b, list, done, n, err) < 0)
			return -1;
		done = n;
		if (plan_triggers(b->bases, &more, err) < 0)
			return err_status(err, 3);
	}
	/* A bad ignore pattern fails a build even where nothing is copied. */
	if (context_open(b, STR(""), &context, err) < 0)
		return -1;
	o->ignore = context->ignore;
	return plan_graph(b->bases, &b->plan, err) < 0 ? err_status(err, 3) : 0;
}

/* A Dockerfile or context that is wrong: exit 3. */
static int plan_failed(struct err **err)
{
	enum err_code c = (*err)->code;
	if (c == ERR_SYNTAX || c == ERR_UNSUPPORTED || c == ERR_INVALID)
		err_status(err, 3);
	return -1;
}

/* ---- the loop */

/* Jobs that only write records may still run when the graph has ended. */
static bool jobs_left(const struct build *b)
{
	return pool_pending(b->env->cpu) || (b->waiters && pool_pending(b->waiters));
}

static void run_graph(struct build *b)
{
	graph_demand(b->graph, b->steps[b->plan->target->index]->v);
	while (!graph_finished(b->graph) || jobs_left(b)) {
		if (atomic_load(b->env->cancel))
			graph_cancel(b->graph);
		if (graph_finished(b->graph) && !jobs_left(b))
			break;
		wait_some(b, graph_finished(b->graph) ? INT64_MAX : graph_timer(b->graph));
		graph_tick(b->graph);
	}
}

/* The first failure in the order of the plan that is not a cancellation. */
static int graph_error(struct build *b, struct err **err)
{
	for (size_t i = 0; i < b->plan->n_steps; i++) {
		struct step *s = b->steps[i];
		if (!s->v->error || s->v->error->code == ERR_CANCELED)
			continue;
		err_move(err, STEAL(s->v->error));
		return err_at(err, s->plan->at);
	}
	return err_set(err, ERR_CANCELED, "build: canceled");
}

static void count_steps(struct build *b, struct build_result *ret)
{
	unsigned n;
	struct vertex **all = graph_all(b->graph, &n);
	for (unsigned i = 0; i < n; i++) {
		enum vertex_how how = all[i]->how;
		ret->ran += how == HOW_RAN;
		ret->cached += how == HOW_CACHED || how == HOW_CUT_OFF;
	}
	ret->n_warnings = b->plan->n_warnings;
}

/* ---- the image */

/* Whether the image and all its names are there as they should be: then nothing is written. */
static bool already_named(struct build *b, const struct digest *id)
{
	struct image image;
	_cleanup_(err_dropp) struct err *e = NULL;
	if (cache_image_get(b->env->cache, b->arena, id, &image, &e) < 0)
		return false;
	if (!chain_complete(&image.chain))
		return false;
	for (size_t i = 0; i < b->o->n_tags; i++) {
		struct digest named;
		if (cache_name_get(b->env->cache, b->o->tags[i], &named, &e) < 0 ||
		    !digest_eq(&named, id))
			return false;
	}
	return true;
}

static int name_image(struct build *b, struct build_result *ret, struct err **err)
{
	_cleanup_(sb_releasep) struct sb config = { .max = 4 << 20 };
	struct chain chain;
	if (image_finish(b, b->env->cache, &config, &chain, err) < 0)
		return -1;
	ret->image_id = digest_of(config.p, config.n);
	int r = sb_check(&config, "the image's config", err);
	if (!r && !already_named(b, &ret->image_id))
		r = cache_image_put(b->env->cache, sb_str(&config), &chain, NULL, b->o->tags,
				    b->o->n_tags, &ret->image_id, err);
	chain_release(&chain);
	return r;
}

static int run_build(struct build *b, struct build_result *ret, struct err **err)
{
	if (make_plan(b, err) < 0)
		return plan_failed(err);
	if (vertices_make(b, err) < 0)
		return -1;
	run_graph(b);
	count_steps(b, ret);
	if (graph_failed(b->graph))
		return graph_error(b, err);
	if (name_image(b, ret, err) < 0)
		return -1;
	for (size_t i = 0; i < b->o->n_outputs; i++)
		if (export_write(b, &ret->image_id, &b->o->outputs[i], err) < 0)
			return err_status(err, 4);
	return 0;
}

int build_log_open(struct build *b, const struct step *s)
{
	_cleanup_free_ char *path = xasprintf("logs/%s/%u.log", b->id, s->plan->index);
	_cleanup_free_ char *dir = xasprintf("logs/%s", b->id);
	_cleanup_(err_dropp) struct err *e = NULL;
	int root = cache_store_root_fd(b->env->store);
	if (io_mkdirs(root, dir, 0700, &e) < 0)
		return -1;
	return openat(root, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static char *build_id(void)
{
	char time[CLOCK_TEXT];
	clock_text(clock_real_ns(), time);
	unsigned short salt;
	if (getrandom(&salt, sizeof(salt), 0) != sizeof(salt))
		salt = (unsigned short)getpid();
	return xasprintf("%.4s%.2s%.2sT%.2s%.2s%.2s-%04x", time, time + 5, time + 8, time + 11,
			 time + 14, time + 17, salt);
}

/* A build over options, with the number of RUNs at once settled. */
static void build_init(struct build *b, struct build_env *env, const struct build_options *o)
{
	if (!env->jobs) {
		long cores = sysconf(_SC_NPROCESSORS_ONLN);
		env->jobs = cores > 4 ? (unsigned)(4 * cores) : 16;
	}
	*b = (struct build){ .env = env, .o = o, .id = build_id(), .journal_fd = -1 };
	pthread_mutex_init(&b->etc_lock, NULL);
}

/* All but the arena. */
static void build_release(struct build *b)
{
	/* Jobs hold references: none may be left when the graph goes. */
	while (jobs_left(b))
		wait_some(b, INT64_MAX);
	vertices_free(b);
	pool_free(b->waiters);
	context_free_all(b);
	for (size_t i = 0; i < b->arenas.n; i++)
		arena_free(b->arenas.v[i]);
	VEC_RELEASE(&b->arenas);
	pthread_mutex_destroy(&b->etc_lock);
	free(b->id);
	free(b->hosts);
	free(b->resolv);
}

int solver_build(const struct build_env *env, const struct build_options *o,
		 struct build_result *ret, struct err **err)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct build_env with = *env;
	struct build b;
	struct df_lint lint = { .a = a };
	struct build_result result = { 0 };
	build_init(&b, &with, o);
	b.arena = a;
	b.lint = &lint;
	journal_open(&b);
	int r = run_build(&b, &result, err);
	journal_close(&b, &result, r < 0 ? *err : NULL);
	build_release(&b);
	if (!r)
		*ret = result;
	return r;
}

/* Plans for a look at the Dockerfile; ret_outline may be NULL. */
static int look(const struct build_env *env, const struct build_options *o, struct arena *a,
		struct df_lint *lint, struct plan_outline *ret_outline, struct err **err)
{
	struct build_env with = *env;
	struct build_options checked = *o;
	struct build b;
	checked.plan.check_only = true;
	checked.plan.all_stages = !ret_outline && !o->plan.target.n;
	build_init(&b, &with, &checked);
	b.arena = a;
	b.lint = lint;
	int r = make_plan(&b, err) < 0 ? plan_failed(err) : 0;
	if (!r && ret_outline)
		plan_outline(b.bases, ret_outline);
	build_release(&b);
	return r;
}

int solver_check(const struct build_env *env, const struct build_options *o, struct arena *a,
		 struct df_lint *lint, struct err **err)
{
	return look(env, o, a, lint, NULL, err);
}

int solver_outline(const struct build_env *env, const struct build_options *o, struct arena *a,
		   struct plan_outline *ret, struct err **err)
{
	struct df_lint unseen = { .a = a };
	return look(env, o, a, &unseen, ret, err);
}
