#include "parser/lint.h"

#include <stdarg.h>

#include "base/map.h"
#include "parser/mount.h"

#define URL(x) STR("https://docs.docker.com/go/dockerfile/rule/" x "/")

static const struct df_lint_info infos[LINT_RULES] = {
	[LINT_STAGE_NAME_CASING] = { STR("StageNameCasing"), URL("stage-name-casing"),
				     STR("Stage names should be lowercase"), false },
	[LINT_FROM_AS_CASING] = { STR("FromAsCasing"), URL("from-as-casing"),
				  STR("The 'as' keyword should match the case of the 'from' keyword"),
				  false },
	[LINT_NO_EMPTY_CONTINUATION] = { STR("NoEmptyContinuation"), URL("no-empty-continuation"),
					 STR("Empty continuation lines will become errors in a future release"),
					 false },
	[LINT_CONSISTENT_INSTRUCTION_CASING] = { STR("ConsistentInstructionCasing"),
						 URL("consistent-instruction-casing"),
						 STR("All commands within the Dockerfile should use the same casing (either upper or lower)"),
						 false },
	[LINT_DUPLICATE_STAGE_NAME] = { STR("DuplicateStageName"), URL("duplicate-stage-name"),
					STR("Stage names should be unique"), false },
	[LINT_RESERVED_STAGE_NAME] = { STR("ReservedStageName"), URL("reserved-stage-name"),
				       STR("Reserved words should not be used as stage names"),
				       false },
	[LINT_JSON_ARGS_RECOMMENDED] = { STR("JSONArgsRecommended"), URL("json-args-recommended"),
					 STR("JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals"),
					 false },
	[LINT_MAINTAINER_DEPRECATED] = { STR("MaintainerDeprecated"), URL("maintainer-deprecated"),
					 STR("The MAINTAINER instruction is deprecated, use a label instead to define an image author"),
					 false },
	[LINT_UNDEFINED_ARG_IN_FROM] = { STR("UndefinedArgInFrom"), URL("undefined-arg-in-from"),
					 STR("FROM command must use declared ARGs"), false },
	[LINT_WORKDIR_RELATIVE_PATH] = { STR("WorkdirRelativePath"), URL("workdir-relative-path"),
					 STR("Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image "
					     "changes"),
					 false },
	[LINT_UNDEFINED_VAR] = { STR("UndefinedVar"), URL("undefined-var"),
				 STR("Variables should be defined before their use"), false },
	[LINT_MULTIPLE_INSTRUCTIONS_DISALLOWED] = { STR("MultipleInstructionsDisallowed"),
						    URL("multiple-instructions-disallowed"),
						    STR("Multiple instructions of the same type should not be used in the same stage"),
						    false },
	[LINT_LEGACY_KEY_VALUE_FORMAT] = { STR("LegacyKeyValueFormat"),
					   URL("legacy-key-value-format"),
					   STR("Legacy key/value format with whitespace separator should not be used"),
					   false },
	[LINT_INVALID_BASE_IMAGE_PLATFORM] = { STR("InvalidBaseImagePlatform"), STR(""),
					       STR("Base image platform does not match expected target platform"),
					       false },
	[LINT_REDUNDANT_TARGET_PLATFORM] = { STR("RedundantTargetPlatform"),
					     URL("redundant-target-platform"),
					     STR("Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior"),
					     false },
	[LINT_SECRETS_USED_IN_ARG_OR_ENV] = { STR("SecretsUsedInArgOrEnv"),
					      URL("secrets-used-in-arg-or-env"),
					      STR("Sensitive data should not be used in the ARG or ENV commands"),
					      false },
	[LINT_INVALID_DEFAULT_ARG_IN_FROM] = { STR("InvalidDefaultArgInFrom"),
					       URL("invalid-default-arg-in-from"),
					       STR("Default value for global ARG results in an empty or invalid base image name"),
					       false },
	[LINT_FROM_PLATFORM_FLAG_CONST_DISALLOWED] = { STR("FromPlatformFlagConstDisallowed"),
						       URL("from-platform-flag-const-disallowed"),
						       STR("FROM --platform flag should not use a constant value"),
						       false },
	[LINT_COPY_IGNORED_FILE] = { STR("CopyIgnoredFile"), URL("copy-ignored-file"),
				     STR("Attempting to Copy file that is excluded by .dockerignore"),
				     false },
	[LINT_INVALID_DEFINITION_DESCRIPTION] = { STR("InvalidDefinitionDescription"),
						  URL("invalid-definition-description"),
						  STR("Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not "
						      "intended to be a description comment, add an empty line or comment between the instruction and the comment."),
						  true },
	[LINT_EXPOSE_PROTO_CASING] = { STR("ExposeProtoCasing"), URL("expose-proto-casing"),
				       STR("Protocol in EXPOSE instruction should be lowercase"),
				       false },
	[LINT_EXPOSE_INVALID_FORMAT] = { STR("ExposeInvalidFormat"), URL("expose-invalid-format"),
					 STR("IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future "
					     "release"),
					 false },
};

const struct df_lint_info *df_lint_info(enum df_lint_rule rule)
{
	return &infos[rule];
}

/* ---- settings */

static struct str blanks_off(struct str s)
{
	return str_trim(s, " \t\n\v\f\r");
}

static void set_rules(struct arena *a, struct str value, struct df_list *rules, bool *all)
{
	value = blanks_off(value);
	if (str_eq_c(value, "all")) {
		*all = true;
		return;
	}
	size_t n = 1;
	for (size_t i = 0; i < value.n; i++)
		n += value.p[i] == ',';
	*rules = (struct df_list){ arena_array_of(a, struct df_word, n), n };
	struct str rest = value, word;
	for (size_t i = 0; i < n; i++) {
		if (!str_cut(rest, ',', &word, &rest))
			word = rest;
		rules->v[i].text = arena_str(a, blanks_off(word));
	}
}

static int set_option(struct arena *a, struct str part, struct df_lint_settings *s,
		      struct err **err)
{
	struct str key = part, value = { 0 };
	_cleanup_(sb_releasep) struct sb quoted = { 0 };
	bool has_value = str_cut(part, '=', &key, &value);
	key = blanks_off(key);
	if (has_value && str_eq_c(key, "skip")) {
		set_rules(a, value, &s->skip, &s->skip_all);
	} else if (has_value && str_eq_c(key, "experimental")) {
		set_rules(a, value, &s->experimental, &s->experimental_all);
	} else if (has_value && str_eq_c(key, "error")) {
		value = blanks_off(value);
		if (!df_bool_parse(value, &s->error)) {
			_cleanup_(sb_releasep) struct sb bad = { 0 };
			sb_add_goquote(&quoted, part);
			sb_add_goquote(&bad, value);
			return err_set(
				err, ERR_SYNTAX,
				"failed to parse check option %s: strconv.ParseBool: parsing %s: invalid syntax",
				sb_c(&quoted), sb_c(&bad));
		}
	} else {
		sb_add_goquote(&quoted, has_value ? key : part);
		return err_set(err, ERR_SYNTAX, "invalid check option %s", sb_c(&quoted));
	}
	return 0;
}

int df_lint_settings_parse(struct arena *a, struct str text, struct df_lint_settings *ret,
			   struct err **err)
{
	struct df_lint_settings s = { 0 };
	struct str rest = blanks_off(text), part;
	/* At most three parts: what follows the second ";" is one of them, as it is. */
	bool more = rest.n > 0;
	for (int i = 0; more; i++) {
		more = i < 2 && str_cut(rest, ';', &part, &rest);
		if (set_option(a, more ? part : rest, &s, err) < 0)
			return -1;
	}
	*ret = s;
	return 0;
}

/* The value of a directive or a comment ends at its first blank. */
static struct str first_field(struct str s)
{
	struct str head, tail;
	return str_cut(s, ' ', &head, &tail) ? head : s;
}

int df_lint_configure(struct df_lint *l, const struct df_file *file, struct str override,
		      struct err **err)
{
	struct str text = override;
	for (size_t i = 0; !text.p && file && i < file->n_directives; i++)
		if (str_eq_c(file->directives[i].name, "check"))
			text = first_field(file->directives[i].value);
	if (df_lint_settings_parse(l->a, text, &l->settings, err) < 0)
		return err_wrap(err, "failed to parse check options");
	return 0;
}

/* ---- reporting */

static bool names(const struct df_list *rules, struct str rule)
{
	for (size_t i = 0; i < rules->n; i++)
		if (str_eq(rules->v[i].text, rule))
			return true;
	return false;
}

/* The setting in the comments above an instruction: the first that reads check=…; a bad one is ignored. */
static struct df_lint_settings local_settings(struct df_lint *l, const struct df_instruction *ins)
{
	struct df_lint_settings s = { 0 };
	for (size_t i = 0; ins && i < ins->comments.n; i++) {
		struct str c = ins->comments.v[i].text;
		if (!str_starts(c, STR("check=")))
			continue;
		_cleanup_(err_dropp) struct err *ignored = NULL;
		if (df_lint_settings_parse(l->a, first_field(str_sub(c, 6, c.n)), &s, &ignored) < 0)
			return (struct df_lint_settings){ 0 };
		return s;
	}
	return s;
}

static bool silent(const struct df_lint_info *info, const struct df_lint_settings *file,
		   const struct df_lint_settings *local)
{
	if (info->experimental)
		return !file->experimental_all && !local->experimental_all &&
			!names(&file->experimental, info->name) &&
			!names(&local->experimental, info->name);
	return file->skip_all || local->skip_all || names(&file->skip, info->name) ||
		names(&local->skip, info->name);
}

void df_lint_warn(struct df_lint *l, enum df_lint_rule rule, const struct df_instruction *local,
		  struct span at, const char *fmt, ...)
{
	if (!l)
		return;
	struct df_lint_settings own = local_settings(l, local);
	if (silent(&infos[rule], &l->settings, &own))
		return;
	_cleanup_free_ char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		mem_fail();
	va_end(ap);
	struct df_lint_warning *w = arena_new_of(l->a, struct df_lint_warning);
	*w = (struct df_lint_warning){ .rule = rule,
				       .message = arena_str(l->a, str_c(text)),
				       .at = at };
	if (l->last)
		l->last->next = w;
	else
		l->first = w;
	l->last = w;
	l->n++;
}

int df_lint_verdict(const struct df_lint *l, struct err **err)
{
	if (!l || !l->settings.error || !l->n)
		return 0;
	_cleanup_(sb_releasep) struct sb rules = { 0 };
	bool seen[LINT_RULES] = { false };
	for (const struct df_lint_warning *w = l->first; w; w = w->next) {
		if (seen[w->rule])
			continue;
		seen[w->rule] = true;
		sb_add_c(&rules, rules.n ? ", " : "");
		sb_add_str(&rules, infos[w->rule].name);
	}
	err_set(err, ERR_SYNTAX, "lint violation found for rules: %s", sb_c(&rules));
	return err_hint(err, "--check shows them with their lines");
}

struct placed {
	const struct df_lint_warning *w;
	size_t number;
};

static int compare(const void *x, const void *y)
{
	const struct placed *a = x, *b = y;
	if (a->w->at.line != b->w->at.line)
		return a->w->at.line < b->w->at.line ? -1 : 1;
	return a->number < b->number ? -1 : a->number > b->number;
}

const struct df_lint_warning **df_lint_by_line(const struct df_lint *l)
{
	_cleanup_free_ struct placed *v = xcalloc(l->n + 1, sizeof(*v));
	const struct df_lint_warning **sorted =
		xcalloc(l->n + 1, sizeof(const struct df_lint_warning *));
	size_t n = 0;
	for (const struct df_lint_warning *w = l->first; w; w = w->next, n++)
		v[n] = (struct placed){ w, n };
	qsort(v, n, sizeof(*v), compare);
	for (size_t i = 0; i < n; i++)
		sorted[i] = v[i].w;
	return sorted;
}

/* ---- rules over the text alone */

static bool has_upper(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] >= 'A' && s.p[i] <= 'Z')
			return true;
	return false;
}

static bool has_lower(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] >= 'a' && s.p[i] <= 'z')
			return true;
	return false;
}

/* The stage's name as written: the last word of FROM. */
static struct str stage_word(const struct df_instruction *from)
{
	struct str s = str_trim(from->text, "\t\v\f\r ");
	size_t begin = s.n;
	while (begin > 0 && (!s.p[begin - 1] || !strchr("\t\v\f\r ", s.p[begin - 1])))
		begin--;
	return str_sub(s, begin, s.n);
}

static void description(struct df_lint *l, const struct df_instruction *ins, const char *keyword,
			const struct str *keys, size_t n)
{
	if (!ins->comments.n || !n)
		return;
	struct str word = first_field(ins->comments.v[ins->comments.n - 1].text);
	for (size_t i = 0; i < n; i++)
		if (str_eq(keys[i], word))
			return;
	df_lint_warn(l, LINT_INVALID_DEFINITION_DESCRIPTION, ins, ins->at,
		     "Comment for %s should follow the format: `# %.*s <description>`", keyword,
		     STR_ARG(n > 1 ? STR("<arg_key>") : keys[0]));
}

static void construction(struct df_lint *l, const struct df_instruction *ins)
{
	if (ins->kind == DF_MAINTAINER)
		df_lint_warn(l, LINT_MAINTAINER_DEPRECATED, ins, ins->at,
			     "Maintainer instruction is deprecated in favor of using label");
	if (ins->kind != DF_ARG || !ins->n_pairs)
		return;
	struct str *keys = arena_array_of(l->a, struct str, ins->n_pairs);
	for (size_t i = 0; i < ins->n_pairs; i++)
		keys[i] = ins->pairs[i].name;
	description(l, ins, "ARG", keys, ins->n_pairs);
}

static void from(struct df_lint *l, const struct df_stage *st)
{
	const struct df_instruction *ins = st->from;
	if (!st->name.p)
		return;
	struct str name = stage_word(ins);
	if (has_upper(name))
		df_lint_warn(l, LINT_STAGE_NAME_CASING, ins, st->at,
			     "Stage name '%.*s' should be lowercase", STR_ARG(name));
	bool lower = !has_upper(ins->keyword), upper = !has_lower(ins->keyword);
	if ((lower && has_upper(st->as_keyword)) || (upper && has_lower(st->as_keyword)))
		df_lint_warn(l, LINT_FROM_AS_CASING, ins, st->at,
			     "'%.*s' and '%.*s' keywords' casing do not match",
			     STR_ARG(st->as_keyword), STR_ARG(ins->keyword));
	description(l, ins, "FROM", &st->name, 1);
}

static void stage_names(struct df_lint *l, const struct df_file *f)
{
	struct map seen = { 0 };
	for (size_t i = 0; i < f->n_stages; i++) {
		const struct df_stage *st = &f->stages[i];
		if (!st->name.p)
			continue;
		if (str_eq_c(st->name, "scratch") || str_eq_c(st->name, "context"))
			df_lint_warn(
				l, LINT_RESERVED_STAGE_NAME, NULL, st->at,
				"Stage name should not use the same name as reserved stage \"%.*s\"",
				STR_ARG(st->name));
		if (map_put(&seen, st->name, &seen))
			df_lint_warn(l, LINT_DUPLICATE_STAGE_NAME, NULL, st->at,
				     "Duplicate stage name \"%.*s\", stage names should be unique",
				     STR_ARG(st->name));
	}
	map_release(&seen);
}

static void keyword_casing(struct df_lint *l, const struct df_instruction *ins, bool lower)
{
	if (lower ? has_upper(ins->keyword) : has_lower(ins->keyword))
		df_lint_warn(l, LINT_CONSISTENT_INSTRUCTION_CASING, NULL, ins->at,
			     "Command '%.*s' should match the case of the command majority (%s)",
			     STR_ARG(ins->keyword), lower ? "lowercase" : "uppercase");
}

static void keywords_casing(struct df_lint *l, const struct df_file *f)
{
	size_t lower = 0, upper = 0;
	for (size_t i = 0; i < f->n_stages; i++) {
		const struct df_stage *st = &f->stages[i];
		for (size_t k = 0; k <= st->n_instructions; k++) {
			struct str word = k ? st->instructions[k - 1]->keyword : st->from->keyword;
			lower += !has_upper(word);
			upper += has_upper(word) && !has_lower(word);
		}
	}
	for (size_t i = 0; i < f->n_stages; i++) {
		const struct df_stage *st = &f->stages[i];
		keyword_casing(l, st->from, lower > upper);
		for (size_t k = 0; k < st->n_instructions; k++)
			keyword_casing(l, st->instructions[k], lower > upper);
	}
}

void df_lint_syntax(struct df_lint *l, const struct df_file *f)
{
	if (!l)
		return;
	for (size_t i = 0; i < f->n_empty_continuations; i++) {
		struct span at = { .line = f->empty_continuations[i],
				   .last = f->empty_continuations[i] };
		df_lint_warn(l, LINT_NO_EMPTY_CONTINUATION, NULL, at, "Empty continuation line");
	}
	for (size_t i = 0; i < f->n_global_args; i++)
		construction(l, f->global_args[i]);
	for (size_t i = 0; i < f->n_stages; i++) {
		from(l, &f->stages[i]);
		for (size_t k = 0; k < f->stages[i].n_instructions; k++)
			construction(l, f->stages[i].instructions[k]);
	}
	stage_names(l, f);
	keywords_casing(l, f);
}

/* Whether one of the words stands in name as a token: bounded by "_" or an end, in any case. */
static bool has_token(struct str name, const char *const *words)
{
	struct str rest = name, token;
	for (bool more = true; more;) {
		more = str_cut(rest, '_', &token, &rest);
		if (!more)
			token = rest;
		for (const char *const *w = words; *w; w++)
			if (str_ieq(token, str_c(*w)))
				return true;
	}
	return false;
}

bool df_lint_is_secret(struct str name)
{
	static const char *const secret[] = { "apikey", "auth",     "credential", "credentials",
					      "key",    "password", "pword",      "passwd",
					      "secret", "token",    NULL };
	static const char *const harmless[] = { "public", "file", "version", NULL };
	return has_token(name, secret) && !has_token(name, harmless);
}
