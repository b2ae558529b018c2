#include "solver/internal.h"

#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "cache/layer.h"
#include "cache/db.h"

void step_event(struct step *s, enum event_state state, const char *error)
{
	struct event e = { .kind = EVENT_VERTEX,
			   .vertex = s->event_id,
			   .state = state,
			   .name = s->plan->display,
			   .text = error ? str_c(error) : STR(""),
			   .started_ns = s->v->started_ns,
			   .completed_ns = state > EVENT_STARTED ? s->v->ended_ns : 0,
			   .cut_off = s->v->how == HOW_CUT_OFF };
	event_emit(s->b->env->events, &e);
}

static void run_job(struct pool_job *job, void *context)
{
	struct step_job *j = (struct step_job *)job;
	if (!context)
		err_set(&j->err, ERR_IO, "open the store's databases on a worker: it failed");
	else if (atomic_load(&j->s->cancel))
		err_set(&j->err, ERR_CANCELED, "canceled");
	else
		j->work(j, context, &j->err);
}

static void done_job(struct pool_job *job)
{
	struct step_job *j = (struct step_job *)job;
	j->after(j, j->err);
	files_unref(j->parent);
	files_unref(j->files);
	for (unsigned i = 0; j->sources && i < j->s->v->n_inputs; i++)
		files_unref(j->sources[i]);
	free(j->sources);
	free(j);
}

struct step_job *step_job_new(struct step *s,
			      int (*work)(struct step_job *, struct cache *, struct err **),
			      void (*after)(struct step_job *, struct err *))
{
	struct step_job *j = xcalloc(1, sizeof(*j));
	j->job.run = run_job;
	j->job.done = done_job;
	j->s = s;
	j->work = work;
	j->after = after;
	return j;
}

void step_job_start(struct step_job *j, struct pool *pool)
{
	pool_add(pool ? pool : j->s->b->env->cpu, &j->job);
}

struct pool *build_waiters(struct build *b)
{
	if (!b->waiters) {
		struct pool_context context = cache_pool_context(b->env->store);
		b->waiters = pool_new("waiter", b->env->jobs, &context);
	}
	return b->waiters;
}

static int seal(struct step_job *j, struct cache *c, struct err **err)
{
	struct layer_info info;
	if (cache_layer_seal(c, j->layer, j->started_ns, &info, err) < 0)
		return -1;
	j->digest = info.m;
	j->digest2 = info.diffid;
	return 0;
}

static void sealed(struct step_job *j, struct err *e)
{
	struct graph *g = j->s->b->graph;
	if (e) {
		core_failed(g, j->s->v, e);
		return;
	}
	files_set_diffid(j->files, &j->digest2);
	core_sealed(g, j->s->v, &j->digest);
}

void step_committed(struct step_job *j)
{
	struct step *s = j->s;
	struct layer top = { .id = j->layer, .created_ns = j->created_ns };
	struct files *files = files_new(chain_append(files_chain(j->parent), &top));
	struct step_job *next = step_job_new(s, seal, sealed);
	next->layer = j->layer;
	next->started_ns = j->started_ns;
	next->parent = STEAL(j->parent);
	next->files = files_ref(files);
	core_files(s->b->graph, s->v, files, j->created_ns);
	step_job_start(next, NULL);
}
