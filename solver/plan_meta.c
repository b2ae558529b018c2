#include "solver/plan_internal.h"

#include <inttypes.h>

/* ---- what several instructions share */

static const struct df_instruction *local(const struct plan_at *p)
{
	return p->cmd->trigger ? NULL : p->cmd->ins;
}

/* MultipleInstructionsDisallowed, at the earlier one. */
static void once(const struct plan_at *p, unsigned which)
{
	const struct plan_cmd *before = p->s->last[which];
	if (before)
		df_lint_warn(
			p->b->lint, LINT_MULTIPLE_INSTRUCTIONS_DISALLOWED, local(p), before->at,
			"Multiple %.*s instructions should not be used in the same stage because only the last one will be used",
			STR_ARG(p->cmd->ins->keyword));
	p->s->last[which] = p->cmd;
}

enum { ONCE_CMD, ONCE_ENTRYPOINT, ONCE_HEALTHCHECK };

struct oci_list plan_with_shell(struct arena *a, const struct oci_config *c, struct str text)
{
	struct oci_list list = { .set = true };
	for (size_t i = 0; i < c->shell.n; i++)
		config_list_add(a, &list, c->shell.v[i]);
	if (!c->shell.n) {
		config_list_add(a, &list, STR("/bin/sh"));
		config_list_add(a, &list, STR("-c"));
	}
	config_list_add(a, &list, text);
	return list;
}

static struct oci_list words(struct arena *a, const struct df_list *l)
{
	struct oci_list list = { .set = true };
	for (size_t i = 0; i < l->n; i++)
		config_list_add(a, &list, l->v[i].text);
	return list;
}

/* ---- ENV, LABEL, ARG */

static void lint_secret(const struct plan_at *p, const char *keyword, struct str name)
{
	if (!p->b->lint || !df_lint_is_secret(name))
		return;
	struct str quoted = config_quoted(p->b->a, name);
	df_lint_warn(p->b->lint, LINT_SECRETS_USED_IN_ARG_OR_ENV, local(p), p->cmd->at,
		     "Do not use ARG or ENV instructions for sensitive data (%s %.*s)", keyword,
		     STR_ARG(quoted));
}

static void lint_legacy(const struct plan_at *p, const struct df_pair *pair)
{
	struct str k = p->cmd->ins->keyword;
	if (pair->legacy)
		df_lint_warn(
			p->b->lint, LINT_LEGACY_KEY_VALUE_FORMAT, local(p), p->cmd->at,
			"\"%.*s key=value\" should be used instead of legacy \"%.*s key value\" format",
			STR_ARG(k), STR_ARG(k));
}

/* ENV and LABEL: every key and value sees the variables before the instruction. */
static int pairs(const struct plan_at *p, struct err **err)
{
	const struct df_instruction *ins = p->cmd->ins;
	struct plan_pair *v = arena_array_of(p->b->a, struct plan_pair, ins->n_pairs);
	_cleanup_(sb_releasep) struct sb text = { 0 };
	bool is_env = ins->kind == DF_ENV;
	for (size_t i = 0; i < ins->n_pairs; i++)
		if (plan_expand(p, ins->pairs[i].name, &v[i].name, err) < 0 ||
		    plan_expand(p, ins->pairs[i].value, &v[i].value, err) < 0)
			return -1;
	sb_add_c(&text, is_env ? "ENV" : "LABEL");
	for (size_t i = 0; i < ins->n_pairs; i++) {
		lint_legacy(p, &ins->pairs[i]);
		if (is_env) {
			lint_secret(p, "ENV", v[i].name);
			plan_env_set(p->b->a, &p->s->env, v[i].name, v[i].value);
			config_env_set(p->b->a, &p->s->img.config, v[i].name, v[i].value);
		} else {
			config_label_set(p->b->a, &p->s->img.config, v[i].name, v[i].value);
		}
		sb_add_ch(&text, ' ');
		sb_add_str(&text, v[i].name);
		sb_add_ch(&text, '=');
		sb_add_str(&text, v[i].value);
		if (plan_check_size(p->b, p->s, err) < 0)
			return -1;
	}
	plan_commit(p, NULL, arena_str(p->b->a, sb_str(&text)));
	return 0;
}

/* --build-arg, else the default, else the global ARG of that name; p NULL: unset. */
static int arg_value(const struct plan_at *p, const struct df_pair *pair, struct str *ret,
		     struct err **err)
{
	const struct plan_pair *given = plan_build_arg(p->b->o, pair->name);
	if (given)
		*ret = given->value;
	else if (pair->has_value)
		return plan_expand(p, pair->value, ret, err);
	else
		plan_env_get(&p->b->globals, pair->name, ret);
	if (!ret->p && given)
		*ret = STR("");
	return 0;
}

static void declare(struct arena *a, struct plan_state *s, const struct plan_arg *one)
{
	for (size_t i = 0; i < s->n_args; i++) {
		if (!str_eq(s->args[i].name, one->name))
			continue;
		if (s->n_args == s->cap_args) {
			/* It may be the base's list. */
			struct plan_arg *own = arena_array_of(a, struct plan_arg, s->n_args + 8);
			memcpy(own, s->args, s->n_args * sizeof(*own));
			s->args = own;
			s->cap_args = s->n_args + 8;
		}
		s->args[i].value = one->value;
		return;
	}
	PLAN_ADD(a, s->args, s->n_args, s->cap_args, *one);
}

/* For the outline: an ARG that has no value of its own is the global one. */
static void inform(const struct plan_at *p, const struct df_pair *pair, struct str value)
{
	struct plan_state *s = p->s;
	struct plan_arg_info info = { .name = pair->name,
				      .value = value,
				      .description = pair->description,
				      .at = p->cmd->at };
	plan_names_add(p->b->a, &s->used, pair->name);
	bool global = !pair->has_value && !plan_build_arg(p->b->o, pair->name) && value.p;
	if (!global)
		PLAN_ADD(p->b->a, s->infos.v, s->infos.n, s->infos.cap, info);
}

static int arg(const struct plan_at *p, struct err **err)
{
	const struct df_instruction *ins = p->cmd->ins;
	struct plan_state *s = p->s;
	_cleanup_(sb_releasep) struct sb text = { 0 };
	sb_add_c(&text, "ARG");
	for (size_t i = 0; i < ins->n_pairs; i++) {
		struct plan_arg one = { .name = ins->pairs[i].name };
		lint_secret(p, "ARG", one.name);
		if (arg_value(p, &ins->pairs[i], &one.value, err) < 0)
			return -1;
		if (one.value.p && !plan_is_scan_arg(one.name))
			plan_env_set(p->b->a, &s->env, one.name, one.value);
		declare(p->b->a, s, &one);
		inform(p, &ins->pairs[i], one.value);
		sb_add_ch(&text, ' ');
		sb_add_str(&text, one.name);
		sb_add_c(&text, one.value.p ? "=" : "");
		sb_add_str(&text, one.value);
		if (plan_check_size(p->b, s, err) < 0)
			return -1;
	}
	plan_commit(p, NULL, arena_str(p->b->a, sb_str(&text)));
	return 0;
}

/* ---- CMD, ENTRYPOINT, SHELL, HEALTHCHECK */

static void command(const struct plan_at *p)
{
	const struct df_instruction *ins = p->cmd->ins;
	struct oci_config *c = &p->s->img.config;
	bool is_cmd = ins->kind == DF_CMD;
	once(p, is_cmd ? ONCE_CMD : ONCE_ENTRYPOINT);
	if (!ins->command.exec && !c->shell.n)
		df_lint_warn(
			p->b->lint, LINT_JSON_ARGS_RECOMMENDED, local(p), p->cmd->at,
			"JSON arguments recommended for %.*s to prevent unintended behavior related to OS signals",
			STR_ARG(ins->keyword));
	struct str text = ins->command.words.n ? ins->command.words.v[0].text : STR("");
	struct oci_list list = ins->command.exec ? words(p->b->a, &ins->command.words)
						 : plan_with_shell(p->b->a, c, text);
	struct str shown = config_text_quoted(p->b->a, list.v, list.n);
	if (is_cmd) {
		c->cmd = list;
		c->args_escaped = true;
		p->s->cmd_set = true;
	} else {
		c->entrypoint = list;
		if (!p->s->cmd_set)
			c->cmd = (struct oci_list){ 0 };
	}
	plan_commit(p, NULL,
		    CONFIG_TEXT(p->b->a, is_cmd ? STR("CMD ") : STR("ENTRYPOINT "), shown));
}

static void shell(const struct plan_at *p)
{
	struct oci_list list = words(p->b->a, &p->cmd->ins->words);
	struct str shown = config_text_list(p->b->a, list.v, list.n);
	p->s->img.config.shell = list;
	plan_commit(p, NULL, CONFIG_TEXT(p->b->a, STR("SHELL "), shown));
}

static void healthcheck(const struct plan_at *p)
{
	const struct df_instruction *ins = p->cmd->ins;
	struct arena *a = p->b->a;
	struct oci_healthcheck *h = arena_new_of(a, struct oci_healthcheck);
	struct oci_list test = words(a, &ins->health_test);
	once(p, ONCE_HEALTHCHECK);
	*h = (struct oci_healthcheck){
		.test = test.v,
		.n_test = test.n,
		.interval_ns = ins->health_interval_ns,
		.timeout_ns = ins->health_timeout_ns,
		.start_period_ns = ins->health_start_period_ns,
		.start_interval_ns = ins->health_start_interval_ns,
		.retries = ins->health_retries,
	};
	p->s->img.config.healthcheck = h;
	struct str retries = arena_printf(a, "%" PRId64, h->retries);
	plan_commit(p, NULL,
		    CONFIG_TEXT(a, STR("HEALTHCHECK {Test:"), config_text_list(a, test.v, test.n),
				STR(" Interval:"), config_text_duration(a, h->interval_ns),
				STR(" Timeout:"), config_text_duration(a, h->timeout_ns),
				STR(" StartPeriod:"), config_text_duration(a, h->start_period_ns),
				STR(" StartInterval:"),
				config_text_duration(a, h->start_interval_ns), STR(" Retries:"),
				retries, STR("}")));
}

/* ---- the rest */

static int volumes(const struct plan_at *p, struct err **err)
{
	const struct df_list *l = &p->cmd->ins->words;
	struct str *v = arena_array_of(p->b->a, struct str, l->n);
	for (size_t i = 0; i < l->n; i++)
		if (plan_expand(p, l->v[i].text, &v[i], err) < 0)
			return -1;
	for (size_t i = 0; i < l->n; i++) {
		if (!v[i].n)
			return err_set(err, ERR_SYNTAX,
				       "VOLUME specified can not be an empty string");
		config_key_add(p->b->a, &p->s->img.config.volumes, v[i]);
		if (plan_check_size(p->b, p->s, err) < 0)
			return -1;
	}
	struct str shown = config_text_list(p->b->a, v, l->n);
	plan_commit(p, NULL, CONFIG_TEXT(p->b->a, STR("VOLUME "), shown));
	return 0;
}

/* The names that Go programs know, without SIG. */
static bool is_signal(struct str s)
{
	static const char *const known[] = {
		"ABRT", "ALRM",   "BUS",  "CHLD",   "CLD",   "CONT", "FPE",  "HUP",   "ILL",
		"INT",  "IO",     "IOT",  "KILL",   "PIPE",  "POLL", "PROF", "PWR",   "QUIT",
		"SEGV", "STKFLT", "STOP", "SYS",    "TERM",  "TRAP", "TSTP", "TTIN",  "TTOU",
		"URG",  "USR1",   "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
	};
	int64_t n;
	_cleanup_(err_dropp) struct err *ignored = NULL;
	bool sign = s.n && (s.p[0] == '-' || s.p[0] == '+');
	if (str_int(str_sub(s, sign, s.n), 0, INT64_MAX, &n, &ignored) == 0)
		return n != 0;
	if (s.n > 3 && str_ieq(str_sub(s, 0, 3), STR("SIG")))
		s = str_sub(s, 3, s.n);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (str_ieq(s, str_c(known[i])))
			return true;
	bool min = s.n > 6 && str_ieq(str_sub(s, 0, 6), STR("RTMIN+")),
	     max = s.n > 6 && str_ieq(str_sub(s, 0, 6), STR("RTMAX-"));
	_cleanup_(err_dropp) struct err *no_number = NULL;
	return (min || max) && s.p[6] != '0' &&
		str_int(str_sub(s, 6, s.n), 1, min ? 15 : 14, &n, &no_number) == 0;
}

static int stopsignal(const struct plan_at *p, struct err **err)
{
	struct str signal;
	if (plan_expand(p, p->cmd->ins->words.v[0].text, &signal, err) < 0)
		return -1;
	if (!is_signal(signal))
		return err_set(err, ERR_SYNTAX, "invalid signal: %.*s", STR_ARG(signal));
	p->s->img.config.stop_signal = signal;
	plan_commit(p, NULL, CONFIG_TEXT(p->b->a, STR("STOPSIGNAL "), signal));
	return 0;
}

static int user(const struct plan_at *p, struct err **err)
{
	struct str name;
	if (plan_expand(p, p->cmd->ins->words.v[0].text, &name, err) < 0)
		return -1;
	p->s->img.config.user = name;
	plan_commit(p, NULL, CONFIG_TEXT(p->b->a, STR("USER "), name));
	return 0;
}

static void maintainer(const struct plan_at *p)
{
	struct str name = p->cmd->ins->words.v[0].text;
	p->s->img.author = name;
	plan_commit(p, NULL, CONFIG_TEXT(p->b->a, STR("MAINTAINER "), name));
}

int plan_meta(const struct plan_at *p, struct err **err)
{
	switch (p->cmd->ins->kind) {
	case DF_ENV:
	case DF_LABEL:
		return pairs(p, err);
	case DF_ARG:
		return arg(p, err);
	case DF_CMD:
	case DF_ENTRYPOINT:
		command(p);
		return 0;
	case DF_SHELL:
		shell(p);
		return 0;
	case DF_HEALTHCHECK:
		healthcheck(p);
		return 0;
	case DF_VOLUME:
		return volumes(p, err);
	case DF_STOPSIGNAL:
		return stopsignal(p, err);
	case DF_USER:
		return user(p, err);
	case DF_MAINTAINER:
		maintainer(p);
		return 0;
	case DF_ONBUILD:
		config_list_add(p->b->a, &p->s->img.config.onbuild, p->cmd->ins->trigger);
		return 0;
	default:
		BUG("instruction %d has no plan", p->cmd->ins->kind);
	}
}

/* ---- WORKDIR */

void plan_workdir_set(struct plan_bases *b, struct plan_state *s, struct str path)
{
	struct str now = s->img.config.working_dir;
	/* The text stays as it is written where it is absolute; a relative one is joined with the directory of before. */
	if (!path.n)
		path = now.n ? now : STR("/");
	if (path.p[0] != '/')
		path = path_join(b->a, path_join(b->a, STR("/"), now), path);
	s->img.config.working_dir = path;
}

int plan_workdir(const struct plan_at *p, struct err **err)
{
	struct str path;
	if (plan_expand(p, p->cmd->ins->words.v[0].text, &path, err) < 0)
		return -1;
	struct str quoted = config_quoted(p->b->a, path);
	if (!p->s->workdir_set && (!path.n || path.p[0] != '/'))
		df_lint_warn(
			p->b->lint, LINT_WORKDIR_RELATIVE_PATH, local(p), p->cmd->at,
			"Relative workdir %.*s can have unexpected results if the base image changes",
			STR_ARG(quoted));
	p->s->workdir_set = true;
	plan_workdir_set(p->b, p->s, path);
	struct plan_step *step = NULL;
	struct str text = p->s->img.config.working_dir;
	if (!str_eq_c(text, "/")) {
		step = plan_step_new(p, PLAN_WORKDIR);
		step->path = plan_cwd(p);
		step->owner = p->s->img.config.user;
		step->display = plan_name(p, p->cmd->ins->text, false);
		plan_step_add(p, step);
	}
	plan_commit(p, step, CONFIG_TEXT(p->b->a, STR("WORKDIR "), text));
	return 0;
}
