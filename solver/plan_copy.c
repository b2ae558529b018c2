#include "solver/plan_internal.h"

/* ---- kinds of sources */

static bool word_of(struct str s, const char *extra)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    (!c || !strchr(extra, c)))
			return false;
	}
	return s.n > 0;
}

static bool is_http(struct str s)
{
	return str_starts(s, STR("http://")) || str_starts(s, STR("https://"));
}

/* git://, ssh://, user@host:path, or a web address whose path ends in .git. */
static bool is_git(struct str s)
{
	struct str user, rest, host, path;
	if (str_starts(s, STR("./")) || str_starts(s, STR("../")))
		return false;
	if (str_starts(s, STR("git://")) || str_starts(s, STR("ssh://")))
		return true;
	if (is_http(s)) {
		size_t end = 0;
		while (end < s.n && s.p[end] != '?' && s.p[end] != '#')
			end++;
		return str_ends(str_sub(s, 0, end), STR(".git"));
	}
	return str_cut(s, '@', &user, &rest) && str_cut(rest, ':', &host, &path) &&
		word_of(user, "_-") && word_of(host, ".-");
}

/* ---- --chmod */

/* One clause of a symbolic mode: who*, then one or more of an operator with permissions. */
static bool symbolic_clause(struct str s)
{
	size_t i = 0;
	while (i < s.n && s.p[i] && strchr("ugoa", s.p[i]))
		i++;
	if (i == s.n || !s.p[i] || !strchr("+-=", s.p[i]))
		return false;
	for (; i < s.n; i++)
		if (!s.p[i] || !strchr("+-=rwxXstugo", s.p[i]))
			return false;
	return true;
}

static int check_chmod(struct str mode, struct err **err)
{
	bool octal = mode.n > 0;
	uint64_t value = 0;
	for (size_t i = 0; i < mode.n && octal; i++) {
		octal = mode.p[i] >= '0' && mode.p[i] <= '7' && value <= UINT32_MAX;
		value = value * 8 + (uint64_t)(mode.p[i] - '0');
	}
	if (octal && value <= 07777)
		return 0;
	if (octal || (mode.n && mode.p[0] >= '0' && mode.p[0] <= '9'))
		return err_set(
			err, ERR_SYNTAX,
			"invalid chmod parameter: '%.*s'. it should be octal string and between 0 and 07777",
			STR_ARG(mode));
	struct str rest = mode, clause;
	for (bool more = true; more;) {
		more = str_cut(rest, ',', &clause, &rest);
		if (!symbolic_clause(more ? clause : rest))
			return err_set(err, ERR_SYNTAX, "invalid syntax");
	}
	return 0;
}

/* ---- expansion */

static int expand_flag(const struct plan_at *p, struct str flag, struct str *ret, struct err **err)
{
	struct str value;
	if (!flag.p)
		return 0;
	if (plan_expand(p, flag, &value, err) < 0)
		return -1;
	if (value.n)
		*ret = value; /* one that expands to nothing is as if it were not there */
	return 0;
}

static int expand(const struct plan_at *p, struct plan_step *step, struct str *dest,
		  struct err **err)
{
	const struct df_instruction *ins = p->cmd->ins;
	struct arena *a = p->b->a;
	if (expand_flag(p, ins->chown, &step->chown, err) < 0 ||
	    expand_flag(p, ins->chmod, &step->chmod, err) < 0 ||
	    expand_flag(p, ins->checksum, &step->checksum, err) < 0)
		return -1;
	step->sources = arena_array_of(a, struct plan_source, ins->words.n);
	for (size_t i = 0; i < ins->words.n; i++)
		if (plan_expand(p, ins->words.v[i].text, &step->sources[step->n_sources++].path,
				err) < 0)
			return -1;
	if (plan_expand(p, ins->dest.text, dest, err) < 0)
		return -1;
	step->inline_files = arena_array_of(a, struct plan_file, ins->n_inline_files);
	for (size_t i = 0; i < ins->n_inline_files; i++) {
		const struct df_heredoc *h = &ins->inline_files[i];
		struct plan_file *f = &step->inline_files[step->n_inline_files++];
		*f = (struct plan_file){ .name = h->name, .content = h->content };
		if (h->expand && plan_expand_body(p, h->content, &f->content, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- the rest */

/* Relative: below WORKDIR; the last slash, or "/.", says directory and stays. Nothing is WORKDIR itself, as a directory. */
static struct str destination(const struct plan_at *p, struct str dest)
{
	struct arena *a = p->b->a;
	if (dest.n && dest.p[0] == '/')
		return dest;
	bool directory = !dest.n || str_eq_c(dest, ".") || str_ends(dest, STR("/")) ||
		str_ends(dest, STR("/."));
	struct str joined = path_join(a, plan_cwd(p), dest);
	return directory && !str_eq_c(joined, "/") ? CONFIG_TEXT(a, joined, STR("/")) : joined;
}

/* CopyIgnoredFile compares the text with the patterns and sees no wildcard of its own. */
static void lint_ignored(const struct plan_at *p, struct str source)
{
	const struct glob_set *ignore = p->b->o->ignore;
	if (!ignore || glob_set_has_negation(ignore) || p->cmd->n_sources)
		return;
	struct str clean = path_clean(p->b->a, source);
	struct str quoted = config_quoted(p->b->a, clean);
	if (glob_set_match(ignore, clean))
		df_lint_warn(p->b->lint, LINT_COPY_IGNORED_FILE,
			     p->cmd->trigger ? NULL : p->cmd->ins, p->cmd->at,
			     "Attempting to %s file %.*s that is excluded by .dockerignore",
			     p->cmd->ins->kind == DF_ADD ? "Add" : "Copy", STR_ARG(quoted));
}

static int source(const struct plan_at *p, struct plan_step *step, struct plan_source *s,
		  struct err **err)
{
	bool add = step->is_add;
	s->git = is_git(s->path);
	if (s->git || is_http(s->path))
		return add ? 0
			   : err_set(err, ERR_SYNTAX,
				     s->git ? "source can't be a git ref for COPY"
					    : "source can't be a URL for COPY");
	lint_ignored(p, s->path);
	s->from = p->cmd->n_sources ? p->cmd->sources[0]->step : plan_context_step(p->b, NULL);
	/* The pivot of --parents is part of the text and must survive. */
	if (!step->parents)
		s->path = path_join(p->b->a, STR("/"), s->path);
	return 0;
}

static int check_flags(const struct plan_step *step, struct err **err)
{
	if (step->chmod.p && check_chmod(step->chmod, err) < 0)
		return -1;
	if (!step->checksum.p)
		return 0;
	if (step->n_sources != 1)
		return err_set(err, ERR_SYNTAX, "checksum can't be specified for multiple sources");
	if (!is_http(step->sources[0].path) && !is_git(step->sources[0].path))
		return err_set(err, ERR_SYNTAX, "checksum requires HTTP(S) or Git sources");
	return 0;
}

static void add(struct sb *text, const char *before, struct str s)
{
	if (!s.p)
		return;
	sb_add_c(text, before);
	sb_add_str(text, s);
}

static void commit(const struct plan_at *p, struct plan_step *step, const struct str *shown,
		   struct str dest)
{
	_cleanup_(sb_releasep) struct sb text = { 0 };
	sb_add_str(&text, step->keyword);
	if (step->parents)
		sb_add_c(&text, " --parents");
	add(&text, " --chown=", step->chown);
	add(&text, " --chmod=", step->chmod);
	for (size_t i = 0; i < step->n_sources; i++)
		add(&text, " ", shown[i]);
	for (size_t i = 0; i < step->n_inline_files; i++)
		add(&text, " <<", step->inline_files[i].name);
	add(&text, " ", dest);
	sb_add_c(&text, " # buildkit");
	plan_commit(p, step, arena_str(p->b->a, sb_str(&text)));
}

int plan_copy(const struct plan_at *p, struct err **err)
{
	const struct df_instruction *ins = p->cmd->ins;
	struct arena *a = p->b->a;
	struct plan_step *step = plan_step_new(p, PLAN_COPY);
	struct str dest;
	step->is_add = ins->kind == DF_ADD;
	step->parents = ins->parents;
	step->link = ins->link;
	step->unpack = step->is_add ? ins->unpack : 0;
	step->keep_git_dir = step->is_add ? ins->keep_git_dir : -1;
	if (expand(p, step, &dest, err) < 0)
		return -1;
	struct str from = config_quoted(a, ins->from);
	if (p->cmd->n_sources && !p->cmd->sources[0]->planned)
		return err_set(
			err, ERR_SYNTAX,
			"cannot copy from stage %.*s, it needs to be defined before current stage \"%.*s\"",
			STR_ARG(from), STR_ARG(p->s->label));
	if (check_flags(step, err) < 0)
		return -1;
	struct str *shown = arena_array_of(a, struct str, step->n_sources);
	for (size_t i = 0; i < step->n_sources; i++) {
		shown[i] = step->sources[i].path;
		if (source(p, step, &step->sources[i], err) < 0)
			return -1;
	}
	step->dest = destination(p, dest);
	step->excludes = arena_array_of(a, struct str, ins->excludes.n);
	for (size_t i = 0; i < ins->excludes.n; i++)
		step->excludes[step->n_excludes++] = ins->excludes.v[i].text;
	step->display = plan_name(p, ins->text, step->link && !step->chmod.p);
	plan_step_add(p, step);
	commit(p, step, shown, dest);
	return 0;
}
