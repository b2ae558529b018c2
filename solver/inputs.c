#include "solver/inputs.h"

#include "base/vec.h"
#include "cache/record.h"
#include "solver/internal.h"

enum { TEXT_MAX_BYTES = 4096 };

struct list {
	struct arena *a;
	VEC(struct named_input) v;
};

static void add(struct list *l, int slot, const char *kind, struct str name, struct str text)
{
	struct named_input in = {
		.slot = slot, .kind = str_c(kind), .name = name, .digest = digest_of(text.p, text.n)
	};
	if (text.n <= TEXT_MAX_BYTES)
		in.text = text;
	VEC_PUSH(&l->v, in);
}

static void add_opt(struct list *l, const char *name, struct str text)
{
	if (text.n)
		add(l, 0, "flag", str_c(name), text);
}

static void name_run(struct list *l, const struct plan_step *p)
{
	for (size_t i = 0; i < p->n_argv; i++)
		add(l, (int)i, "argument", arena_printf(l->a, "argv[%zu]", i), p->argv[i]);
	for (size_t i = 0; i < p->n_env; i++)
		add(l, (int)i, "env", p->env[i].name, p->env[i].value);
	add_opt(l, "cwd", p->cwd);
	add_opt(l, "user", p->user);
	add_opt(l, "host", p->hostname);
	add_opt(l, "platform", p->platform);
	add_opt(l, "network",
		p->network == PLAN_NET_HOST           ? STR("host")
			: p->network == PLAN_NET_NONE ? STR("none")
						      : STR(""));
	for (size_t i = 0; i < p->n_files; i++)
		add(l, (int)i, "file", p->files[i].name, p->files[i].content);
}

static void name_copy(struct list *l, const struct plan_step *p)
{
	add_opt(l, "dest", p->dest);
	add_opt(l, "chown", p->chown);
	add_opt(l, "chmod", p->chmod);
	for (size_t i = 0; i < p->n_inline_files; i++)
		add(l, (int)i, "file", p->inline_files[i].name, p->inline_files[i].content);
}

/* What it stands on and what it reads, each by its digest. */
static void name_vertices(struct list *l, const struct step *s)
{
	for (unsigned i = 0; i < s->v->n_inputs; i++) {
		const struct input *in = &s->v->inputs[i];
		const struct step *u = in->vertex->owner;
		struct named_input n = { .slot = (int)i,
					 .kind = STR("step"),
					 .name = u->plan->display,
					 .digest = in->vertex->r };
		if (in->by_content)
			n = (struct named_input){ .slot = (int)i,
						  .kind = STR("content"),
						  .name = s->selections[i].source,
						  .digest = in->c };
		else if (u->plan->base)
			n = (struct named_input){ .slot = (int)i,
						  .kind = STR("base"),
						  .name = u->plan->base->ref,
						  .digest = in->vertex->r };
		VEC_PUSH(&l->v, n);
	}
}

struct named_input *inputs_name(struct arena *a, const struct step *s, size_t *ret_n)
{
	struct list l = { .a = a };
	if (s->plan->kind == PLAN_RUN) {
		name_run(&l, s->plan);
	} else if (s->plan->kind == PLAN_COPY) {
		name_copy(&l, s->plan);
	} else {
		add_opt(&l, "path", s->plan->path);
		add_opt(&l, "owner", s->plan->owner);
	}
	name_vertices(&l, s);
	struct named_input *all = arena_array_of(a, struct named_input, l.v.n);
	for (size_t i = 0; i < l.v.n; i++)
		all[i] = l.v.v[i];
	*ret_n = l.v.n;
	VEC_RELEASE(&l.v);
	return all;
}
