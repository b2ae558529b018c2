/*
 * op_image: where layers come from. An image's result id is the chain ID of its layers, known from its config; its layers are brought when a
 * step runs on them or they become part of an image. Scratch is the empty chain; a context has no result, only contents.
 */
#include "solver/internal.h"

#include "registry/pull.h"

static int pull(struct step_job *j, struct cache *c, struct err **err)
{
	struct chain chain;
	if (registry_pull_layers(j->s->b->env->registry, c, j->s->plan->base->caller,
				 &j->s->event_id, &chain, err) < 0)
		return err_at(err, j->s->plan->base->at);
	j->files = files_new(chain);
	return 0;
}

static void pulled(struct step_job *j, struct err *e)
{
	if (e)
		core_failed(j->s->b->graph, j->s->v, e);
	else
		core_files(j->s->b->graph, j->s->v, STEAL(j->files), 0);
}

static void run(struct vertex *v)
{
	struct step *s = v->owner;
	step_job_start(step_job_new(s, pull, pulled), build_waiters(s->b));
}

static void nothing(struct vertex *v)
{
	BUG("a %s does not run", v->class->kind);
}

const struct op_class op_image = { .kind = "image", .source = OP_FIXED, .run = run };
const struct op_class op_scratch = { .kind = "scratch", .source = OP_FIXED, .run = nothing };
const struct op_class op_context = { .kind = "context", .source = OP_CONTEXT, .run = nothing };
