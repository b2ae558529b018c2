#include "solver/plan_internal.h"

struct gathering {
	struct plan_bases *b;
	struct plan_names args, secrets, ssh; /* seen */
	struct plan_outline *out;
	size_t cap_args, cap_secrets, cap_ssh;
};

static const struct plan_global *global(const struct plan_bases *b, struct str name)
{
	for (size_t i = b->n_infos; i-- > 0;)
		if (str_eq(b->infos[i].info.name, name))
			return &b->infos[i];
	return NULL;
}

static const struct plan_arg_info *info_of(const struct plan_bases *b, const struct plan_state *s,
					   struct str name)
{
	for (size_t i = s->infos.n; i-- > 0;)
		if (str_eq(s->infos.v[i].name, name))
			return &s->infos.v[i];
	const struct plan_global *g = global(b, name);
	return g ? &g->info : NULL;
}

static void gather_args(struct gathering *g, struct plan_state *s)
{
	/* What a global default uses is used too; the list grows while it is walked. */
	for (size_t i = 0; i < s->used.n; i++) {
		const struct plan_global *a = global(g->b, s->used.v[i]);
		for (size_t k = 0; a && k < a->uses.n; k++)
			plan_names_add(g->b->a, &s->used, a->uses.v[k]);
	}
	for (size_t i = 0; i < s->used.n; i++) {
		const struct plan_arg_info *info = info_of(g->b, s, s->used.v[i]);
		if (!info || plan_names_has(&g->args, info->name))
			continue;
		plan_names_add(g->b->a, &g->args, info->name);
		PLAN_ADD(g->b->a, g->out->args, g->out->n_args, g->cap_args, *info);
	}
}

static void gather(struct gathering *g, struct plan_state *s)
{
	if (s->outlined)
		return;
	s->outlined = true;
	gather_args(g, s);
	for (size_t i = 0; i < s->secrets.n; i++) {
		if (plan_names_has(&g->secrets, s->secrets.v[i].id))
			continue;
		plan_names_add(g->b->a, &g->secrets, s->secrets.v[i].id);
		PLAN_ADD(g->b->a, g->out->secrets, g->out->n_secrets, g->cap_secrets,
			 s->secrets.v[i]);
	}
	for (size_t i = 0; i < s->ssh.n; i++) {
		if (plan_names_has(&g->ssh, s->ssh.v[i].id))
			continue;
		plan_names_add(g->b->a, &g->ssh, s->ssh.v[i].id);
		PLAN_ADD(g->b->a, g->out->ssh, g->out->n_ssh, g->cap_ssh, s->ssh.v[i]);
	}
	/* As deep as there are stages, whose number is bounded. */
	if (s->base)
		gather(g, s->base);
	for (size_t i = 0; i < s->n_cmds; i++)
		for (size_t k = 0; k < s->cmds[i].n_sources; k++)
			gather(g, s->cmds[i].sources[k]);
}

static int by_arg_line(const void *x, const void *y)
{
	const struct plan_arg_info *a = x, *b = y;
	return a->at.line < b->at.line ? -1 : a->at.line > b->at.line;
}

static int by_need_line(const void *x, const void *y)
{
	const struct plan_need *a = x, *b = y;
	return a->at.line < b->at.line ? -1 : a->at.line > b->at.line;
}

void plan_outline(struct plan_bases *b, struct plan_outline *ret)
{
	struct gathering g = { .b = b, .out = ret };
	*ret = (struct plan_outline){ .name = b->target->name,
				      .description = b->target->st->description };
	for (size_t i = 0; i < b->n_states; i++)
		b->states[i]->outlined = false;
	gather(&g, b->target);
	if (ret->n_args)
		qsort(ret->args, ret->n_args, sizeof(*ret->args), by_arg_line);
	if (ret->n_secrets)
		qsort(ret->secrets, ret->n_secrets, sizeof(*ret->secrets), by_need_line);
	if (ret->n_ssh)
		qsort(ret->ssh, ret->n_ssh, sizeof(*ret->ssh), by_need_line);
}
