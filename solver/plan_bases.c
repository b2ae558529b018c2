#include "solver/plan_internal.h"

#include <ctype.h>
#include <inttypes.h>

#include "cache/ref.h"
#include "parser/diag.h"
#include "parser/words.h"

enum { MAX_STAGES = 4096 };

/* ---- global ARGs */

static void automatic(struct plan_bases *b, const char *name, struct str value)
{
	const struct plan_pair *given = plan_build_arg(b->o, str_c(name));
	plan_env_set(b->a, &b->globals, str_c(name), given ? given->value : value);
	plan_names_add(b->a, &b->declared, str_c(name));
}

static void automatic_args(struct plan_bases *b)
{
	const struct oci_platform *bp = &b->o->build_platform, *tp = &b->o->target_platform;
	struct str target = b->o->target;
	if (!target.n)
		target = b->f->stages[b->f->n_stages - 1].name;
	automatic(b, "BUILDPLATFORM", oci_platform_text(b->a, bp));
	automatic(b, "BUILDOS", bp->os);
	automatic(b, "BUILDOSVERSION", bp->os_version);
	automatic(b, "BUILDARCH", bp->arch);
	automatic(b, "BUILDVARIANT", bp->variant);
	automatic(b, "TARGETPLATFORM", oci_platform_text(b->a, tp));
	automatic(b, "TARGETOS", tp->os);
	automatic(b, "TARGETOSVERSION", tp->os_version);
	automatic(b, "TARGETARCH", tp->arch);
	automatic(b, "TARGETVARIANT", tp->variant);
	automatic(b, "TARGETSTAGE", target.n ? target : STR("default"));
}

/* Expands with the values of a list; neither split nor linted. `uses` (may be NULL) collects the names that have a value. */
static int expand_with(struct plan_bases *b, const struct plan_env *vars, struct str word,
		       struct plan_names *uses, struct str *ret, struct err **err)
{
	struct plan_scope scope = plan_scope(b->a, vars);
	scope.matched = uses;
	struct df_expansion x = { .escape = b->f->escape };
	int r = df_expand(b->a, word, &scope.env, &x, ret, err);
	VEC_RELEASE(&x.unmatched);
	return r;
}

static int global_arg(struct plan_bases *b, const struct df_pair *p, bool given,
		      struct plan_env *vars, struct plan_global *g, struct err **err)
{
	const struct plan_pair *arg = given ? plan_build_arg(b->o, p->name) : NULL;
	struct str *value = &g->info.value;
	plan_names_add(b->a, &b->declared, p->name);
	if (arg)
		*value = arg->value;
	else if (!p->has_value)
		return 0;
	else if (expand_with(b, vars, p->value, &g->uses, value, err) < 0)
		return -1;
	plan_env_set(b->a, vars, p->name, *value);
	return 0;
}

/* The global ARG instructions over the automatic values; build args count where `given`. */
static int global_args(struct plan_bases *b, bool given, struct plan_env *vars, struct err **err)
{
	for (size_t i = 0; i < b->f->n_global_args; i++) {
		const struct df_instruction *ins = b->f->global_args[i];
		for (size_t k = 0; k < ins->n_pairs; k++) {
			const struct df_pair *p = &ins->pairs[k];
			struct plan_global g = { .info = { .name = p->name,
							   .description = p->description,
							   .at = ins->at } };
			if (global_arg(b, p, given, vars, &g, err) < 0 ||
			    plan_check_size(b, NULL, err) < 0)
				return err_at(err, ins->at);
			if (given)
				PLAN_ADD(b->a, b->infos, b->n_infos, b->cap_infos, g);
		}
	}
	return 0;
}

/* InvalidDefaultArgInFrom: base names that are none when no build arg is given. The first error of an expansion ends it. */
static void lint_defaults(struct plan_bases *b)
{
	_cleanup_(err_dropp) struct err *ignored = NULL;
	struct plan_env vars = b->globals;
	plan_env_share(&vars);
	if (!b->lint || global_args(b, false, &vars, &ignored) < 0)
		return;
	for (size_t i = 0; i < b->f->n_stages; i++) {
		const struct df_stage *st = &b->f->stages[i];
		_cleanup_(err_dropp) struct err *bad = NULL;
		struct str name;
		struct ref ref;
		if (expand_with(b, &vars, st->base, NULL, &name, &ignored) < 0)
			return;
		if (ref_parse(b->a, name, &ref, &bad) < 0)
			df_lint_warn(
				b->lint, LINT_INVALID_DEFAULT_ARG_IN_FROM, NULL, st->at,
				"Default value for ARG %.*s results in empty or invalid base image name",
				STR_ARG(st->base));
	}
}

/* ---- SOURCE_DATE_EPOCH */

/* A stage that it names must be FROM scratch with ARGs and one remote ADD, whose time could be asked for. */
static int epoch_of_stage(const struct df_stage *st, struct err **err)
{
	size_t adds = 0;
	if (!str_eq_c(st->base, "scratch")) {
		err_set(err, ERR_SYNTAX, "SOURCE_DATE_EPOCH stage source must be FROM scratch");
		return err_at(err, st->at);
	}
	for (size_t i = 0; i < st->n_instructions; i++) {
		const struct df_instruction *ins = st->instructions[i];
		bool remote = ins->kind == DF_ADD && ins->words.n == 1 && !ins->n_inline_files &&
			(str_starts(ins->words.v[0].text, STR("http://")) ||
			 str_starts(ins->words.v[0].text, STR("https://")) ||
			 str_starts(ins->words.v[0].text, STR("git://")));
		adds += remote;
		if (ins->kind != DF_ARG && (!remote || adds > 1)) {
			err_set(err, ERR_SYNTAX,
				"SOURCE_DATE_EPOCH stage source must be a single HTTP(S) or Git ADD");
			return err_at(err, st->at);
		}
	}
	err_set(err, ERR_UNSUPPORTED, "not supported yet: SOURCE_DATE_EPOCH from a stage");
	return err_at(err, st->at);
}

static int epoch(struct plan_bases *b, struct err **err)
{
	struct str name = STR("SOURCE_DATE_EPOCH"), value = { 0 };
	const struct plan_pair *given = plan_build_arg(b->o, name);
	if (given)
		value = given->value;
	else if (!plan_env_get(&b->globals, name, &value))
		return 0;
	if (!value.n || str_eq_c(value, "context"))
		return 0; /* the time of a local context is not set */
	_cleanup_(err_dropp) struct err *ignored = NULL;
	bool minus = value.p[0] == '-';
	if (str_int(str_sub(value, minus, value.n), 0, INT64_MAX / 1000000000, &b->epoch_s,
		    &ignored) == 0) {
		b->epoch_s = minus ? -b->epoch_s : b->epoch_s;
		b->has_epoch = true;
		return 0;
	}
	const struct plan_pair *context = NULL;
	_cleanup_(err_dropp) struct err *no_name = NULL;
	if (!b->o->no_client && plan_context_find(b, value, NULL, &context, &no_name) < 0)
		context = NULL;
	if (context)
		return 0;
	for (size_t i = b->f->n_stages; i-- > 0;)
		if (b->f->stages[i].name.p && str_ieq(b->f->stages[i].name, value))
			return epoch_of_stage(&b->f->stages[i], err);
	return err_set(err, ERR_SYNTAX, "invalid SOURCE_DATE_EPOCH: %.*s", STR_ARG(value));
}

/* ---- FROM */

/* A word of FROM over the global ARGs: names found in *matched, others in *unmatched and reported. */
static int expand_from(struct plan_bases *b, const struct df_stage *st, struct str word,
		       struct plan_names *matched, struct plan_names *unmatched, struct str *ret,
		       struct err **err)
{
	struct plan_scope scope = plan_scope(b->a, &b->globals);
	struct df_expansion x = { .escape = b->f->escape };
	scope.matched = matched;
	int r = df_expand(b->a, word, &scope.env, &x, ret, err);
	for (size_t i = 0; i < x.unmatched.n; i++) {
		struct str name = arena_str(b->a, x.unmatched.v[i]);
		plan_names_add(b->a, unmatched, name);
		if (plan_names_has(&b->declared, name))
			continue;
		struct str near = df_near(name, b->declared.v, b->declared.n, false);
		df_lint_warn(b->lint, LINT_UNDEFINED_ARG_IN_FROM, st->from, st->at,
			     near.p ? "FROM argument '%.*s' is not declared (did you mean %.*s?)"
				    : "FROM argument '%.*s' is not declared",
			     STR_ARG(name), STR_ARG(near));
	}
	VEC_RELEASE(&x.unmatched);
	return r;
}

static bool holds(struct str s, struct str part)
{
	return str_find_str(s, part, 0) != SIZE_MAX;
}

static void lint_platform(struct plan_bases *b, const struct df_stage *st, struct str value,
			  const struct plan_names *matched, const struct plan_names *unmatched)
{
	struct str target = { 0 };
	struct oci_platform p;
	_cleanup_(err_dropp) struct err *ignored = NULL;
	if (matched->n == 1 && !unmatched->n && str_eq_c(matched->v[0], "TARGETPLATFORM") &&
	    plan_env_get(&b->globals, STR("TARGETPLATFORM"), &target) && str_eq(value, target))
		df_lint_warn(
			b->lint, LINT_REDUNDANT_TARGET_PLATFORM, st->from, st->at,
			"Setting platform to predefined %.*s in FROM is redundant as this is the default behavior",
			STR_ARG(st->platform));
	if (matched->n || unmatched->n ||
	    oci_platform_parse(b->a, value, &b->o->build_platform, &p, &ignored) < 0)
		return;
	if (st->name.p && (holds(st->name, p.os) || holds(st->name, p.arch)))
		return;
	struct str quoted = config_quoted(b->a, value);
	df_lint_warn(b->lint, LINT_FROM_PLATFORM_FLAG_CONST_DISALLOWED, st->from, st->at,
		     "FROM --platform flag should not use constant value %.*s", STR_ARG(quoted));
}

static void use(struct plan_bases *b, struct plan_state *s, const struct plan_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		plan_names_add(b->a, &s->used, names->v[i]);
}

static int platform(struct plan_bases *b, struct plan_state *s, struct err **err)
{
	struct plan_names matched = { 0 }, unmatched = { 0 };
	struct str value = { 0 };
	_cleanup_(err_dropp) struct err *bad = NULL;
	if (expand_from(b, s->st, s->st->platform, &matched, &unmatched, &value, err) < 0)
		return err_wrap(err, "failed to process arguments for platform ");
	lint_platform(b, s->st, value, &matched, &unmatched);
	use(b, s, &matched);
	if (value.n &&
	    oci_platform_parse(b->a, value, &b->o->build_platform, &s->platform, &bad) == 0) {
		s->has_platform = true;
		return 0;
	}
	struct str near = { 0 };
	for (size_t i = 0; i < unmatched.n && !near.p; i++)
		near = plan_env_near(b->a, &b->globals, unmatched.v[i]);
	if (!value.n)
		return err_set(
			err, ERR_SYNTAX,
			near.p ? "empty platform value from expression %.*s (did you mean %.*s?)"
			       : "empty platform value from expression %.*s",
			STR_ARG(s->st->platform), STR_ARG(near));
	return err_set(err, ERR_SYNTAX,
		       near.p ? "failed to parse platform %.*s: %s (did you mean %.*s?)"
			      : "failed to parse platform %.*s: %s",
		       STR_ARG(s->st->platform), bad->msg, STR_ARG(near));
}

/* The nearest stage above of exactly that name. */
static struct plan_state *stage_above(struct plan_bases *b, struct str name)
{
	for (size_t i = b->n_states; i-- > 0;)
		if (b->states[i]->name.p && str_eq(b->states[i]->name, name))
			return b->states[i];
	return NULL;
}

static void count_steps(struct plan_state *s)
{
	s->step_total = !str_eq_c(s->base_name, "scratch") && !s->base;
	for (size_t i = 0; i < s->n_cmds; i++) {
		enum df_kind k = s->cmds[i].ins->kind;
		s->step_total += k == DF_RUN || k == DF_COPY || k == DF_ADD || k == DF_WORKDIR;
	}
}

static int from_line(struct plan_bases *b, const struct df_stage *st, struct err **err)
{
	struct plan_names matched = { 0 }, unmatched = { 0 };
	struct str base;
	if (expand_from(b, st, st->base, &matched, &unmatched, &base, err) < 0)
		return -1;
	if (!base.n)
		return err_set(err, ERR_SYNTAX, "base name (%.*s) should not be blank",
			       STR_ARG(st->base));
	struct plan_state *above = stage_above(b, base);
	struct plan_state *s = plan_state_new(b);
	s->st = st;
	s->at = st->at;
	s->base = above;
	s->base_name = base;
	s->base_text = st->base;
	s->name = st->name;
	s->label = st->name.p ? st->name : arena_printf(b->a, "stage-%zu", s->number);
	s->cmds = arena_array_of(b->a, struct plan_cmd, st->n_instructions);
	s->n_cmds = st->n_instructions;
	for (size_t i = 0; i < s->n_cmds; i++)
		s->cmds[i] = (struct plan_cmd){ .ins = st->instructions[i],
						.at = st->instructions[i]->at };
	count_steps(s);
	use(b, s, &matched);
	if (st->platform.p && platform(b, s, err) < 0)
		return -1;
	if (!st->name.p || b->o->no_client)
		return 0;
	if (plan_context_find(b, st->name, s->has_platform ? &s->platform : NULL, &s->context,
			      err) < 0)
		return -1;
	if (s->context) {
		s->replaced = true;
		s->base = NULL;
	}
	return 0;
}

/* ---- the whole */

static int find_target(struct plan_bases *b, struct err **err)
{
	if (!b->o->target.n) {
		b->target = b->states[b->n_stages - 1];
		return 0;
	}
	struct str *names = arena_array_of(b->a, struct str, b->n_stages);
	size_t n = 0;
	for (size_t i = 0; i < b->n_stages; i++) {
		if (!b->states[i]->name.p)
			continue;
		names[n++] = b->states[i]->name;
		if (str_ieq(b->states[i]->name, b->o->target))
			b->target = b->states[i];
	}
	if (b->target)
		return 0;
	struct str near = df_near(b->o->target, names, n, true);
	struct str quoted = config_quoted(b->a, b->o->target);
	return err_set(err, ERR_SYNTAX,
		       near.p ? "target stage %.*s could not be found (did you mean %.*s?)"
			      : "target stage %.*s could not be found",
		       STR_ARG(quoted), STR_ARG(near));
}

int plan_bases(struct arena *a, const struct df_file *f, const struct plan_options *o,
	       struct plan_bases **ret, struct err **err)
{
	struct plan_bases *b = arena_new_of(a, struct plan_bases);
	*b = (struct plan_bases){ .a = a,
				  .f = f,
				  .o = o,
				  .lint = o->lint,
				  .n_stages = f->n_stages,
				  .arena_before = arena_used(a) };
	if (!f->n_stages)
		return err_set(err, ERR_SYNTAX, "dockerfile contains no stages to build");
	if (f->n_stages > MAX_STAGES)
		return err_set(err, ERR_LIMIT, "a Dockerfile has more than %d stages", MAX_STAGES);
	df_lint_syntax(b->lint, f);
	automatic_args(b);
	lint_defaults(b);
	if (global_args(b, true, &b->globals, err) < 0 || epoch(b, err) < 0)
		return -1;
	for (size_t i = 0; i < f->n_stages; i++) {
		if (from_line(b, &f->stages[i], err) < 0)
			return err_at(err, f->stages[i].at);
		if (plan_check_size(b, NULL, err) < 0)
			return -1;
	}
	if (find_target(b, err) < 0)
		return -1;
	for (size_t i = 0; i < b->n_stages; i++)
		for (size_t k = 0; k < b->states[i]->n_cmds; k++)
			if (plan_cmd_sources(b, &b->states[i]->cmds[k], err) < 0 ||
			    plan_check_size(b, NULL, err) < 0)
				return -1;
	b->one = b->n_states == 1;
	if (plan_cycles(b, err) < 0 || plan_references(b, err) < 0 || plan_reach(b, err) < 0)
		return -1;
	*ret = b;
	return 0;
}

struct plan_base **plan_bases_list(struct plan_bases *b, size_t *ret_n)
{
	*ret_n = b->n_images;
	return b->images;
}
