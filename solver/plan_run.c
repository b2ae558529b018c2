#include "solver/plan_internal.h"

#include "parser/heredoc.h"
#include "parser/words.h"

/* ---- heredocs */

/* " (first line...)" of a body that is the command. */
static struct str summary(struct arena *a, struct str body)
{
	struct str first, rest, all = str_trim(body, " \t\n\v\f\r");
	bool more = str_cut(all, '\n', &first, &rest);
	if (!more)
		first = all;
	if (more && str_ends(first, STR("\r")))
		first.n--;
	return arena_printf(a, " (%.*s%s)", STR_ARG(first), more ? "..." : "");
}

/* What the shell is given: the text, a body, a script, or the text with its bodies again. */
static struct str shell_text(const struct plan_at *p, struct plan_step *step, struct str *summed)
{
	const struct df_instruction *ins = p->cmd->ins;
	struct arena *a = p->b->a;
	struct str text = ins->command.words.n ? ins->command.words.v[0].text : STR("");
	if (!ins->n_heredocs)
		return text;
	const struct df_heredoc *h = &ins->heredocs[0];
	struct df_marker marker;
	/* A marker and nothing else: its body is the command. */
	if (df_marker_parse(a, text, &marker)) {
		struct str body = h->strip_tabs ? df_strip_tabs(a, h->content) : h->content;
		*summed = summary(a, h->content);
		if (!str_starts(body, STR("#!")))
			return body;
		step->files = arena_new_of(a, struct plan_file);
		step->files[0] = (struct plan_file){ .name = h->name, .content = body };
		step->n_files = 1;
		return path_join(a, STR("/dev/pipes"), h->name);
	}
	_cleanup_(sb_releasep) struct sb whole = { 0 };
	sb_add_str(&whole, text);
	for (size_t i = 0; i < ins->n_heredocs; i++) {
		sb_add_ch(&whole, '\n');
		sb_add_str(&whole, ins->heredocs[i].content);
		sb_add_str(&whole, ins->heredocs[i].name);
	}
	return arena_str(a, sb_str(&whole));
}

/* ---- mounts */

static int parse_mounts(const struct plan_at *p, struct plan_step *step, struct plan_names *secrets,
			struct err **err)
{
	const struct df_instruction *ins = p->cmd->ins;
	struct plan_scope scope = plan_scope(p->b->a, &p->s->env);
	step->mounts = arena_array_of(p->b->a, struct plan_mount, ins->n_mounts);
	for (size_t i = 0; i < ins->n_mounts; i++) {
		struct df_expansion x = { .escape = p->b->f->escape };
		struct df_mount *m = &step->mounts[i].m;
		int r = df_mount_parse(p->b->a, ins->mounts[i].text, &scope.env, &x, m, err);
		plan_report_undefined(p, &x);
		VEC_RELEASE(&x.unmatched);
		if (r < 0)
			return -1;
		if (m->type == DF_MOUNT_SECRET && m->env.p)
			plan_names_add(p->b->a, secrets, m->env);
		step->mounts[i].at = p->cmd->at;
		step->n_mounts++;
	}
	return 0;
}

static bool reads(enum df_mount_type type)
{
	return type == DF_MOUNT_BIND || type == DF_MOUNT_CACHE;
}

static int secret(const struct plan_at *p, struct df_mount *m, struct err **err)
{
	struct arena *a = p->b->a;
	if (m->source.n)
		m->id = m->source;
	if (!m->id.n && !m->target.n)
		return err_set(err, ERR_SYNTAX,
			       "invalid secret mount. one of source, target required");
	if (!m->id.n)
		m->id = path_base(m->target);
	if (!m->target.n && !m->env.p) {
		struct str name = path_base(m->id);
		m->target = CONFIG_TEXT(a, STR("/run/secrets/"), name);
	}
	return 0;
}

/* For the outline. */
static void need(const struct plan_at *p, const struct df_mount *m)
{
	struct plan_needs *l = m->type == DF_MOUNT_SSH ? &p->s->ssh : &p->s->secrets;
	PLAN_ADD(p->b->a, l->v, l->n, l->cap,
		 ((struct plan_need){ .id = m->id, .required = m->required, .at = p->cmd->at }));
}

/* What a mount of its type is called by. */
static int identify(const struct plan_at *p, struct plan_mount *pm, struct err **err)
{
	struct df_mount *m = &pm->m;
	switch (m->type) {
	case DF_MOUNT_SECRET:
		if (secret(p, m, err) < 0)
			return -1;
		need(p, m);
		return 0;
	case DF_MOUNT_SSH:
		if (m->source.n)
			return err_set(err, ERR_SYNTAX, "ssh does not support source");
		if (!m->id.n)
			m->id = STR("default");
		need(p, m);
		return 0;
	case DF_MOUNT_CACHE: {
		const struct plan_pair *ns =
			plan_build_arg(p->b->o, STR("BUILDKIT_CACHE_MOUNT_NS"));
		if (!m->id.n)
			m->id = path_clean(p->b->a, m->target);
		pm->key = CONFIG_TEXT(p->b->a, ns ? ns->value : STR(""), STR("/"), m->id);
		return 0;
	}
	default:
		return 0;
	}
}

/* Relative targets are below the working directory. A secret without one is a variable alone, a socket gets its place at run time. */
static int place(const struct plan_at *p, struct df_mount *m, struct err **err)
{
	bool anywhere = m->type == DF_MOUNT_SSH || m->type == DF_MOUNT_SECRET;
	if (anywhere && !m->target.n)
		return 0;
	if (!m->target.n || m->target.p[0] != '/')
		m->target = path_join(p->b->a, plan_cwd(p), m->target);
	if (!anywhere && str_eq_c(m->target, "/"))
		return err_set(err, ERR_SYNTAX, "invalid mount target \"/\"");
	return 0;
}

static int mount(const struct plan_at *p, struct plan_mount *pm, struct plan_state *src,
		 struct err **err)
{
	struct df_mount *m = &pm->m;
	/* A cache without `from` stands on scratch, or on a stage of that name. */
	bool from = m->from.n || m->type == DF_MOUNT_CACHE;
	if (from && !src->planned) {
		struct str name = config_quoted(p->b->a, m->from.n ? m->from : STR("scratch"));
		struct str target = config_quoted(p->b->a, m->target);
		return err_set(
			err, ERR_SYNTAX,
			"cannot mount from stage %.*s to %.*s, stage needs to be defined before current command",
			STR_ARG(name), STR_ARG(target));
	}
	if (identify(p, pm, err) < 0 || place(p, m, err) < 0)
		return -1;
	if (from && reads(m->type) && (m->from.n || !src->scratch))
		pm->from = src->step;
	else if (m->type == DF_MOUNT_BIND)
		pm->from = plan_context_step(p->b, NULL);
	return 0;
}

/* ---- the rest */

/* --build-arg of proxies, both ways of writing each; never in a key nor in history. */
static void proxies(const struct plan_at *p, struct plan_step *step)
{
	static const char *const names[][2] = {
		{ "HTTP_PROXY", "http_proxy" }, { "HTTPS_PROXY", "https_proxy" },
		{ "FTP_PROXY", "ftp_proxy" },   { "NO_PROXY", "no_proxy" },
		{ "ALL_PROXY", "all_proxy" },
	};
	const struct plan_options *o = p->b->o;
	step->proxies = arena_array_of(p->b->a, struct plan_pair, 2 * ARRAY_SIZE(names));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct str value = { 0 };
		for (size_t k = 0; k < o->n_build_args; k++)
			if (str_ieq(o->build_args[k].name, str_c(names[i][0])))
				value = o->build_args[k].value;
		for (size_t k = 0; k < 2 && value.n; k++)
			step->proxies[step->n_proxies++] =
				(struct plan_pair){ str_c(names[i][k]), value };
	}
}

/* "|2 a=1 b= " for the ARGs declared so far, with the values of now. */
static void add_args(const struct plan_at *p, struct sb *out)
{
	const struct plan_state *s = p->s;
	p->b->work += s->n_args * s->env.n;
	if (s->n_args)
		sb_printf(out, "|%zu ", s->n_args);
	for (size_t i = 0; i < s->n_args; i++) {
		struct str value = s->args[i].value;
		plan_env_get(&s->env, s->args[i].name, &value);
		sb_add_str(out, s->args[i].name);
		sb_add_ch(out, '=');
		sb_add_str(out, value);
		sb_add_ch(out, ' ');
	}
}

static void commit(const struct plan_at *p, struct plan_step *step)
{
	_cleanup_(sb_releasep) struct sb text = { 0 };
	sb_add_c(&text, "RUN ");
	add_args(p, &text);
	for (size_t i = 0; i < step->n_argv; i++) {
		sb_add_c(&text, i ? " " : "");
		sb_add_str(&text, step->argv[i]);
	}
	sb_add_c(&text, " # buildkit");
	plan_commit(p, step, arena_str(p->b->a, sb_str(&text)));
}

static int network(const struct plan_at *p, struct plan_step *step, struct err **err)
{
	struct str wanted = p->cmd->ins->network;
	step->network = p->b->o->network;
	if (str_eq_c(wanted, "none"))
		step->network = PLAN_NET_NONE;
	if (!str_eq_c(wanted, "host"))
		return 0;
	if (p->b->o->network != PLAN_NET_HOST && !p->b->o->check_only)
		return err_set(err, ERR_DENIED, "network.host is not allowed"),
		       err_hint(err, "allow it with --network host");
	step->network = PLAN_NET_HOST;
	return 0;
}

static struct str hostname(const struct plan_options *o)
{
	const struct plan_pair *given = plan_build_arg(o, STR("BUILDKIT_SANDBOX_HOSTNAME"));
	if (given && given->value.n)
		return given->value;
	return o->hostname.n ? o->hostname : STR("buildkitsandbox");
}

int plan_run(const struct plan_at *p, struct err **err)
{
	const struct df_instruction *ins = p->cmd->ins;
	struct plan_step *step = plan_step_new(p, PLAN_RUN);
	struct plan_names secrets = { 0 };
	struct str summed = STR("");
	if (parse_mounts(p, step, &secrets, err) < 0)
		return -1;
	if (ins->command.exec) {
		step->argv = arena_array_of(p->b->a, struct str, ins->command.words.n);
		for (size_t i = 0; i < ins->command.words.n; i++)
			step->argv[step->n_argv++] = ins->command.words.v[i].text;
	} else {
		struct oci_list argv =
			plan_with_shell(p->b->a, &p->s->img.config, shell_text(p, step, &summed));
		step->argv = argv.v;
		step->n_argv = argv.n;
	}
	for (size_t i = 0; i < step->n_mounts; i++)
		if (mount(p, &step->mounts[i], p->cmd->sources[i], err) < 0)
			return -1;
	if (network(p, step, err) < 0)
		return -1;
	step->insecure = str_eq_c(ins->security, "insecure");
	step->devices = ins->devices;
	step->n_devices = ins->n_devices;
	step->env = plan_env_share(&p->s->env);
	step->n_env = p->s->env.n;
	proxies(p, step);
	step->cwd = plan_cwd(p);
	step->user = p->s->img.config.user;
	step->hostname = hostname(p->b->o);
	step->display = plan_name_run(p, CONFIG_TEXT(p->b->a, ins->text, summed), &secrets);
	plan_step_add(p, step);
	commit(p, step);
	return 0;
}
