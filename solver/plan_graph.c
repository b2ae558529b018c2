#include "solver/plan_internal.h"

#include "base/utf8.h"

/* ---- steps and history */

static struct plan_step *step_new(struct plan_bases *b, enum plan_kind kind)
{
	struct plan_step *step = arena_new_of(b->a, struct plan_step);
	*step = (struct plan_step){
		.kind = kind, .stage = STR(""), .keyword = STR(""), .keep_git_dir = -1
	};
	return step;
}

static struct plan_step *add(struct plan_bases *b, struct plan_step *step)
{
	step->index = (unsigned)b->n_steps;
	PLAN_ADD(b->a, b->steps, b->n_steps, b->cap_steps, step);
	return step;
}

struct plan_step *plan_step_new(const struct plan_at *p, enum plan_kind kind)
{
	struct plan_step *step = step_new(p->b, kind);
	struct oci_platform platform = plan_platform(p->b, p->s);
	step->parent = p->s->step;
	step->at = p->cmd->at;
	step->stage = p->s->name.p ? p->s->name : STR("");
	step->keyword = str_c(df_kind_name(p->cmd->ins->kind));
	step->platform = oci_platform_text(p->b->a, &platform);
	return step;
}

void plan_step_add(const struct plan_at *p, struct plan_step *step)
{
	p->s->step = add(p->b, step);
}

struct plan_step *plan_context_step(struct plan_bases *b, const struct plan_pair *context)
{
	struct plan_step **slot = &b->context;
	if (context) {
		if (!b->named)
			b->named = arena_array_of(b->a, struct plan_step *, b->o->n_contexts);
		slot = &b->named[context - b->o->contexts];
	}
	if (*slot)
		return *slot;
	struct plan_step *step = *slot = add(b, step_new(b, PLAN_CONTEXT));
	step->context = context ? context->name : STR("");
	step->context_value = context ? context->value : STR("");
	step->display = context
		? arena_printf(b->a, "[context %.*s] load from client", STR_ARG(context->name))
		: STR("[internal] load build context");
	return step;
}

static struct plan_step *scratch_step(struct plan_bases *b)
{
	if (!b->scratch)
		b->scratch = add(b, step_new(b, PLAN_SCRATCH));
	return b->scratch;
}

static struct plan_step *image_step(struct plan_bases *b, struct plan_state *s)
{
	struct plan_step *step = s->image->step;
	if (step) {
		s->step_no += s->step_total > 0;
		return step;
	}
	step = s->image->step = add(b, step_new(b, PLAN_IMAGE));
	step->base = s->image;
	step->at = s->at;
	step->stage = s->name.p ? s->name : STR("");
	step->keyword = STR("FROM");
	step->display = plan_name_from(b, s, s->image->ref);
	return step;
}

void plan_commit(const struct plan_at *p, struct plan_step *step, struct str text)
{
	struct plan_past *past = arena_new_of(p->b->a, struct plan_past);
	past->h = (struct plan_history){ .created_by = text,
					 .comment = STR("buildkit.dockerfile.v0"),
					 .step = step };
	past->before = p->s->past;
	p->s->past = past;
	p->s->n_past++;
}

struct oci_platform plan_platform(const struct plan_bases *b, const struct plan_state *s)
{
	for (; s->base; s = s->base)
		;
	return s->has_platform ? s->platform : b->o->target_platform;
}

struct str plan_cwd(const struct plan_at *p)
{
	struct str dir = p->s->img.config.working_dir;
	return dir.n ? path_clean(p->b->a, dir) : STR("/");
}

/* ---- a stage */

static int lower(const struct plan_at *p, struct err **err)
{
	switch (p->cmd->ins->kind) {
	case DF_RUN:
		return plan_run(p, err);
	case DF_COPY:
	case DF_ADD:
		return plan_copy(p, err);
	case DF_WORKDIR:
		return plan_workdir(p, err);
	case DF_EXPOSE:
		return plan_expose(p, err);
	default:
		return plan_meta(p, err);
	}
}

static void begin_on_stage(struct plan_bases *b, struct plan_state *s)
{
	struct plan_state *base = s->base;
	s->img = config_inherit(b->a, &base->img);
	s->img.config.onbuild = (struct oci_list){ 0 };
	plan_env_share(&base->env);
	s->env = base->env;
	s->args = base->args;
	s->n_args = base->n_args;
	s->cap_args = base->n_args; /* full: the first addition copies */
	s->workdir_set = base->workdir_set;
	s->past = base->past;
	s->n_past = base->n_past;
	s->step = base->step;
	s->root = base->root;
}

static void begin_outside(struct plan_bases *b, struct plan_state *s)
{
	if (s->scratch) {
		s->img = config_scratch(b->a, &b->o->target_platform);
		s->step = scratch_step(b);
	} else if (s->image) {
		s->img = config_inherit(b->a, s->image->config);
		s->step = image_step(b, s);
		s->root = s->image;
		/* Triggers are replayed and gone. */
		s->img.config.onbuild = (struct oci_list){ 0 };
	} else {
		s->img = (struct oci_image){ .platform = b->o->target_platform,
					     .created_ns = INT64_MIN };
		s->step = plan_context_step(b, s->context);
	}
}

/* The base's config, once more over an inherited build env: ENV wins over an inherited ARG of that name. */
static void begin_config(struct plan_bases *b, struct plan_state *s)
{
	struct oci_config *c = &s->img.config;
	if (!config_env_has(c, STR("PATH")))
		config_list_add(b->a, &c->env, STR("PATH=" CONFIG_PATH));
	for (size_t i = 0; i < c->env.n; i++) {
		struct str name = c->env.v[i], value = STR("");
		str_cut(c->env.v[i], '=', &name, &value);
		plan_env_set(b->a, &s->env, name, value);
	}
	if (c->working_dir.n)
		plan_workdir_set(b, s, c->working_dir);
}

static int plan_stage(struct plan_bases *b, struct plan_state *s, struct err **err)
{
	if (s->base)
		begin_on_stage(b, s);
	else
		begin_outside(b, s);
	begin_config(b, s);
	for (size_t i = 0; i < s->n_cmds && !s->replaced; i++) {
		struct plan_at at = { .b = b, .s = s, .cmd = &s->cmds[i] };
		if (lower(&at, err) < 0)
			return err_at(err, at.cmd->at);
		if (plan_check_size(b, s, err) < 0)
			return -1;
	}
	s->planned = true;
	return 0;
}

/* A hidden state is there from the beginning: whoever names it may read it. */
static void plan_hidden(struct plan_bases *b, struct plan_state *s)
{
	begin_outside(b, s);
	s->planned = true;
}

static void lint_platforms(struct plan_bases *b)
{
	for (size_t i = 0; i < b->n_stages; i++) {
		const struct plan_base *base = b->states[i]->image;
		if (!base || !base->config || !base->config->platform.os.n ||
		    (str_eq(base->platform.os, base->config->platform.os) &&
		     str_eq(base->platform.arch, base->config->platform.arch)))
			continue;
		struct str have = oci_platform_text(b->a, &base->config->platform),
			   want = oci_platform_text(b->a, &base->platform);
		df_lint_warn(
			b->lint, LINT_INVALID_BASE_IMAGE_PLATFORM, NULL, b->states[i]->at,
			"Base image %.*s was pulled with platform \"%.*s\", expected \"%.*s\" for current build",
			STR_ARG(base->original), STR_ARG(have), STR_ARG(want));
	}
}

/* ---- the result */

/* What the target stands on, all in the order of planning, with indexes anew. */
static void keep_needed(struct plan_bases *b, struct plan *plan)
{
	bool *needed = arena_array_of(b->a, bool, b->n_steps);
	needed[plan->target->index] = true;
	/* Inputs stand before what reads them, so one walk down reaches all. */
	for (size_t i = b->n_steps; i-- > 0;) {
		const struct plan_step *s = b->steps[i];
		if (!needed[i])
			continue;
		plan->n_steps++;
		if (s->parent)
			needed[s->parent->index] = true;
		for (size_t k = 0; k < s->n_sources; k++)
			if (s->sources[k].from)
				needed[s->sources[k].from->index] = true;
		for (size_t k = 0; k < s->n_mounts; k++)
			if (s->mounts[k].from)
				needed[s->mounts[k].from->index] = true;
	}
	plan->steps = arena_array_of(b->a, struct plan_step *, plan->n_steps);
	size_t n = 0;
	for (size_t i = 0; i < b->n_steps; i++) {
		if (!needed[i])
			continue;
		b->steps[i]->index = (unsigned)n;
		plan->steps[n++] = b->steps[i];
	}
}

static struct plan_history *history(struct arena *a, const struct plan_state *s)
{
	struct plan_history *v = arena_array_of(a, struct plan_history, s->n_past);
	size_t n = s->n_past;
	for (const struct plan_past *p = s->past; p; p = p->before)
		v[--n] = p->h;
	return v;
}

/* Texts that go to the kernel, which would end them at a NUL. */
static int check_text(struct str s, struct err **err)
{
	if (!utf8_valid(s))
		return err_set(
			err, ERR_SYNTAX,
			"failed to marshal LLB definition: string field contains invalid UTF-8");
	if (s.n && memchr(s.p, '\0', s.n))
		return err_set(err, ERR_SYNTAX,
			       "an argument, a variable or a path holds a NUL byte");
	return 0;
}

static int check_run(const struct plan_step *s, struct err **err)
{
	if (!s->n_argv)
		return err_set(err, ERR_SYNTAX,
			       "failed to marshal LLB definition: arguments are required");
	for (size_t i = 0; i < s->n_argv; i++)
		if (check_text(s->argv[i], err) < 0)
			return -1;
	for (size_t i = 0; i < s->n_env; i++)
		if (check_text(s->env[i].name, err) < 0 || check_text(s->env[i].value, err) < 0)
			return -1;
	if (check_text(s->cwd, err) < 0 || check_text(s->hostname, err) < 0)
		return -1;
	return check_text(s->user, err);
}

static int check_copy(const struct plan_step *s, struct err **err)
{
	for (size_t i = 0; i < s->n_sources; i++)
		if (check_text(s->sources[i].path, err) < 0)
			return -1;
	for (size_t i = 0; i < s->n_inline_files; i++)
		if (check_text(s->inline_files[i].name, err) < 0)
			return -1;
	for (size_t i = 0; i < s->n_excludes; i++)
		if (check_text(s->excludes[i], err) < 0)
			return -1;
	if (check_text(s->dest, err) < 0 || check_text(s->chown, err) < 0)
		return -1;
	return check_text(s->chmod, err);
}

/* What BuildKit finds only when it encodes the graph, or runs it. */
static int check_encoding(const struct plan *plan, struct err **err)
{
	for (size_t i = 0; i < plan->n_steps; i++) {
		const struct plan_step *s = plan->steps[i];
		if ((s->kind == PLAN_RUN && check_run(s, err) < 0) ||
		    (s->kind == PLAN_COPY && check_copy(s, err) < 0) ||
		    check_text(s->path, err) < 0 || check_text(s->owner, err) < 0)
			return -1;
	}
	return 0;
}

int plan_graph(struct plan_bases *b, struct plan **ret, struct err **err)
{
	lint_platforms(b);
	for (size_t i = b->n_stages; i < b->n_states; i++)
		if (b->states[i]->reached)
			plan_hidden(b, b->states[i]);
	for (size_t i = 0; i < b->n_stages; i++)
		if (b->states[i]->reached && plan_stage(b, b->states[i], err) < 0)
			return -1;
	if (df_lint_verdict(b->lint, err) < 0)
		return -1;
	struct plan_state *t = b->target;
	struct plan *plan = arena_new_of(b->a, struct plan);
	*plan = (struct plan){ .target = t->step,
			       .image = t->img,
			       .base = t->root,
			       .has_epoch = b->has_epoch,
			       .epoch_s = b->epoch_s };
	for (size_t i = 0; i < b->o->n_labels; i++)
		config_label_set(b->a, &plan->image.config, b->o->labels[i].name,
				 b->o->labels[i].value);
	plan->history = history(b->a, t);
	plan->n_history = t->n_past;
	plan->n_warnings = b->lint ? b->lint->n : 0;
	keep_needed(b, plan);
	if (!b->o->check_only && (check_encoding(plan, err) < 0 || plan_unsupported(plan, err) < 0))
		return -1;
	*ret = plan;
	return 0;
}
