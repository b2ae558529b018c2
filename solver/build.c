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
#include "solver/core/key.h"
#include "solver/export.h"
#include "solver/internal.h"

/* ---- planning */

/* One base image being resolved. */
struct resolve {
	struct pool_job job;
	struct build *b;
	struct plan_base *base;
	struct resolved *image;
	struct arena *arena;      /* the job's own; lives as long as the build */
	struct err *err;
	unsigned *open;
};

static int resolve_base(struct resolve *r, struct cache *c, enum registry_pull_policy policy, struct err **err)
{
	struct ref ref;
	r->image = arena_new_of(r->arena, struct resolved);
	if (ref_parse(r->arena, r->base->ref, &ref, err) < 0)
		return -1;
	return registry_resolve(r->b->env->registry, c, r->arena, &ref, &r->base->platform, policy, r->image, err);
}

static void resolve_job(struct pool_job *job, void *context)
{
	struct resolve *r = (struct resolve *)job;
	if (!context)
		err_set(&r->err, ERR_IO, "open the store's databases on a worker: it failed");
	else
		resolve_base(r, context, r->b->o->pull ? REGISTRY_PULL_ALWAYS : REGISTRY_PULL_MISSING, &r->err);
}

static void resolve_done(struct pool_job *job)
{
	struct resolve *r = (struct resolve *)job;
	(*r->open)--;
}

static void internal_event(struct build *b, struct str name, enum event_state state, int64_t started)
{
	struct event e = { .kind = EVENT_VERTEX, .vertex = digest_of(name.p, name.n), .name = name, .state = state, .started_ns = started };
	event_emit(b->env->events, &e);
}

/* Waits for pool events, signals and timers. */
static void wait_some(struct build *b, int64_t until_ns)
{
	struct pollfd p[3] = { { .fd = pool_fd(b->env->cpu), .events = POLLIN },
			       { .fd = b->waiters ? pool_fd(b->waiters) : -1, .events = POLLIN },
			       { .fd = atomic_load(b->env->cancel) ? -1 : b->env->wake_fd, .events = POLLIN } };
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
		err_wrap(err, "%.*s: failed to resolve source metadata for %.*s", STR_ARG(base->original), STR_ARG(base->ref));
		if (code == ERR_NOT_FOUND && base->near.p)
			err_hint(err, "did you mean %.*s?", STR_ARG(base->near));
	}
	return err_at(err, base->at);
}

/* Resolves bases[from …]: local answers here, others in parallel. The first failure in file order is reported. */
static int resolve_bases(struct build *b, struct plan_base **bases, size_t from, size_t n, struct err **err)
{
	struct resolve *all = arena_array_of(b->arena, struct resolve, n);
	unsigned open = 0;
	int64_t begin = clock_real_ns();
	for (size_t i = from; i < n; i++) {
		struct resolve *r = &all[i];
		*r = (struct resolve){ .job = { resolve_job, resolve_done, NULL }, .b = b, .base = bases[i], .arena = b->arena, .open = &open };
		if (!b->o->pull && resolve_base(r, b->env->cache, REGISTRY_PULL_NEVER, &r->err) == 0)
			continue;
		if (r->err && r->err->code != ERR_NOT_FOUND)
			continue;
		err_drop(&r->err);
		internal_event(b, arena_printf(b->arena, "[internal] load metadata for %.*s", STR_ARG(bases[i]->ref)), EVENT_STARTED, begin);
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
			internal_event(b, arena_printf(b->arena, "[internal] load metadata for %.*s", STR_ARG(bases[i]->ref)),
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
	struct plan_bases *bases;
	struct df_lint *lint = arena_new_of(b->arena, struct df_lint);
	struct plan_options *o = arena_new_of(b->arena, struct plan_options);
	lint->a = b->arena;
	*o = b->o->plan;
	o->lint = lint;
	if (solver_parse(b->arena, b->o->dockerfile, o, lint, &file, err) < 0 || plan_bases(b->arena, file, o, &bases, err) < 0)
		return -1;
	size_t done = 0;
	for (bool more = true; more;) {
		size_t n;
		struct plan_base **list = plan_bases_list(bases, &n);
		if (resolve_bases(b, list, done, n, err) < 0)
			return -1;
		done = n;
		if (plan_triggers(bases, &more, err) < 0)
			return -1;
	}
	return plan_graph(bases, &b->plan, err);
}

/* ---- graph */

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
static void fix(struct build *b, struct step *s)
{
	(void)b;
	if (s->plan->kind == PLAN_SCRATCH) {
		struct digest r = key_scratch();
		graph_fix(s->v, &r, files_new((struct chain){ 0 }));
		return;
	}
	const struct resolved *image = s->plan->base->caller;
	struct digest r = image->image.n_diff_ids ? oci_chain_id(image->image.diff_ids, image->image.n_diff_ids) : key_scratch();
	bool here = image->local;
	for (size_t i = 0; here && i < image->chain.n; i++)
		here = !image->chain.v[i].absent;
	graph_fix(s->v, &r, here ? files_new(chain_append(&image->chain, NULL)) : NULL);
}

static struct selection *select_source(struct build *b, const struct plan_step *p, const struct plan_source *src, struct selection *sel)
{
	sel->source = src->path;
	sel->excludes = p->excludes;
	sel->n_excludes = p->n_excludes;
	sel->parents = p->parents;
	sel->mask_mode = p->chmod.n && p->chmod.p[0] >= '0' && p->chmod.p[0] <= '7';
	sel->mask_owner = p->chown.n && p->chown.p[0] >= '0' && p->chown.p[0] <= '9';
	(void)b;
	return sel;
}

static int add_step(struct build *b, struct plan_step *p, struct err **err)
{
	struct step *s = arena_new_of(b->arena, struct step);
	unsigned n = (p->parent != NULL) + (p->kind == PLAN_COPY ? (unsigned)p->n_sources : 0);
	s->b = b;
	s->plan = p;
	s->lock_fd = s->cancel_fd = -1;
	struct str id = arena_printf(b->arena, "%u %.*s", p->index, STR_ARG(p->display));
	s->event_id = digest_of(id.p, id.n);
	s->v = graph_vertex(b->graph, class_of(p->kind), s, n);
	s->selections = arena_array_of(b->arena, struct selection, n);
	b->steps[p->index] = s;
	if (p->parent) {
		s->v->has_parent = true;
		s->v->inputs[0].vertex = b->steps[p->parent->index]->v;
	}
	if (p->kind == PLAN_COPY) {
		for (size_t i = 0; i < p->n_sources; i++) {
			struct input *in = &s->v->inputs[i + s->v->has_parent];
			in->vertex = b->steps[p->sources[i].from->index]->v;
			in->by_content = true;
			in->sel = cache_selection_digest(select_source(b, p, &p->sources[i], &s->selections[i + s->v->has_parent]));
		}
		s->v->op = op_copy_digest(p);
	} else if (p->kind == PLAN_RUN) {
		s->v->op = op_run_digest(p);
	} else if (p->kind == PLAN_WORKDIR) {
		s->v->op = op_workdir_digest(p);
	} else if (p->kind == PLAN_CONTEXT) {
		if (context_open(b, p->context, &s->context, err) < 0)
			return -1;
	} else {
		fix(b, s);
	}
	s->v->forced = b->o->no_cache && (p->kind == PLAN_RUN || p->kind == PLAN_COPY);
	graph_link(b->graph, s->v);
	return 0;
}

static void on_transition(void *arg, struct vertex *v)
{
	(void)arg;
	struct step *s = v->owner;
	const char *error = v->error ? v->error->msg : NULL;
	if (v->class == &op_context || v->class == &op_scratch)
		return;
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

static int make_graph(struct build *b, struct err **err)
{
	struct graph_hooks hooks = { .transition = on_transition, .arg = b, .slots = b->env->jobs };
	results_init(b);
	b->graph = graph_new(b->arena, &b->results, &hooks);
	b->steps = arena_array_of(b->arena, struct step *, b->plan->n_steps);
	for (size_t i = 0; i < b->plan->n_steps; i++)
		if (add_step(b, b->plan->steps[i], err) < 0)
			return -1;
	return 0;
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
	struct err *canceled = NULL;
	for (size_t i = 0; i < b->plan->n_steps; i++) {
		struct step *s = b->steps[i];
		struct err *e = s->v->error;
		if (!e)
			continue;
		if (e->code == ERR_CANCELED) {
			canceled = e;
			continue;
		}
		s->v->error = NULL;
		err_move(err, e);
		return err_at(err, s->plan->at);
	}
	(void)canceled;
	return err_set(err, ERR_CANCELED, "build: canceled");
}

static void count_steps(struct build *b, struct build_result *ret)
{
	for (size_t i = 0; i < b->plan->n_steps; i++) {
		enum vertex_how how = b->steps[i]->v->how;
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
	for (size_t i = 0; i < image.chain.n; i++)
		if (image.chain.v[i].absent)
			return false;
	for (size_t i = 0; i < b->o->n_tags; i++) {
		struct digest named;
		if (cache_name_get(b->env->cache, b->o->tags[i], &named, &e) < 0 || !digest_eq(&named, id))
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
		r = cache_image_put(b->env->cache, sb_str(&config), &chain, NULL, b->o->tags, b->o->n_tags, &ret->image_id, err);
	chain_release(&chain);
	return r;
}

static int run_build(struct build *b, struct build_result *ret, struct err **err)
{
	if (make_plan(b, err) < 0) {
		if ((*err)->code == ERR_SYNTAX || (*err)->code == ERR_UNSUPPORTED || (*err)->code == ERR_INVALID)
			err_status(err, 3);
		return -1;
	}
	if (make_graph(b, err) < 0)
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
	return xasprintf("%.4s%.2s%.2sT%.2s%.2s%.2s-%04x", time, time + 5, time + 8, time + 11, time + 14, time + 17, salt);
}

int solver_build(const struct build_env *env, const struct build_options *o, struct build_result *ret, struct err **err)
{
	struct build_env with = *env;
	if (!with.jobs) {
		long cores = sysconf(_SC_NPROCESSORS_ONLN);
		with.jobs = cores > 4 ? (unsigned)(4 * cores) : 16;
	}
	struct build b = { .env = &with, .o = o, .arena = arena_new(), .id = build_id() };
	pthread_mutex_init(&b.etc_lock, NULL);
	struct build_result result = { 0 };
	int r = run_build(&b, &result, err);
	/* Jobs hold references: none may be left when the graph goes. */
	while (jobs_left(&b))
		wait_some(&b, INT64_MAX);
	for (size_t i = 0; b.steps && i < b.plan->n_steps; i++)
		if (b.steps[i])
			mem_closep(&b.steps[i]->cancel_fd);
	graph_free(b.graph);
	pool_free(b.waiters);
	context_free_all(&b);
	for (size_t i = 0; i < b.arenas.n; i++)
		arena_free(b.arenas.v[i]);
	VEC_RELEASE(&b.arenas);
	pthread_mutex_destroy(&b.etc_lock);
	arena_free(b.arena);
	free(b.id);
	free(b.hosts);
	free(b.resolv);
	if (!r)
		*ret = result;
	return r;
}
