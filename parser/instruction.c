#include "parser/node.h"

#include <stdlib.h>

#include "base/utf8.h"
#include "parser/diag.h"
#include "parser/duration.h"
#include "parser/heredoc.h"
#include "parser/mount.h"
#include "parser/parse.h"

struct builder {
	struct arena *a;
	const struct df_node *n;
	struct df_instruction *i;
};

/* Of a word in a message. */
enum { MAX_SHOWN = 64 * 1024 };

/* ---- what several instructions share */

static const char *kind_name(const struct builder *b)
{
	return df_kind_name(b->i->kind);
}

static struct df_word word(const struct builder *b, const struct df_arg *arg)
{
	return (struct df_word){ arg->text, df_logical_span(&b->n->line, arg->begin, arg->end) };
}

/* Arguments from `from` on as words. */
static struct df_list words(const struct builder *b, size_t from, size_t to)
{
	struct df_list l = { 0 };
	if (to <= from)
		return l;
	l.v = arena_array_of(b->a, struct df_word, to - from);
	for (size_t k = from; k < to; k++)
		l.v[l.n++] = word(b, &b->n->args.v[k]);
	return l;
}

static int at_least_one(const struct builder *b, struct err **err)
{
	if (b->n->args.n)
		return 0;
	return err_set(err, ERR_SYNTAX, "%s requires at least one argument", kind_name(b));
}

static int options(const struct builder *b, struct df_option *o, size_t n, struct err **err)
{
	return df_options_parse(b->a, &b->n->line, &b->n->parts, o, n, err);
}

static int no_options(const struct builder *b, struct err **err)
{
	return options(b, NULL, 0, err);
}

/* The value of a flag that is given once; p NULL: not given, or empty, which is the same to BuildKit. */
static struct str value_of(const struct df_option *o)
{
	return o->given.n && o->given.v[0].text.n ? o->given.v[0].text : (struct str){ NULL, 0 };
}

static bool is_true(const struct df_option *o)
{
	return o->given.n && str_eq_c(o->given.v[0].text, "true");
}

static int tristate(const struct df_option *o)
{
	return o->given.n ? is_true(o) : -1;
}

/* The doc comment of a name: the first that starts with it and a blank. p NULL: none. */
static struct str description(const struct df_list *comments, struct str name)
{
	for (size_t k = 0; k < comments->n && name.n; k++) {
		struct str c = comments->v[k].text;
		if (str_starts(c, name) && c.n > name.n && c.p[name.n] == ' ')
			return str_sub(c, name.n + 1, c.n);
	}
	return (struct str){ NULL, 0 };
}

/* Go's strings.ToLower as far as it gives ASCII. */
static struct str lower(struct arena *a, struct str s)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	for (size_t i = 0; i < s.n;) {
		uint32_t c;
		size_t n = utf8_next(s, i, &c);
		if (c < 0x80)
			sb_add_ch(&b, str_lower((char)c));
		else if (c == 0x130 || c == 0x212a)
			sb_add_ch(&b, c == 0x130 ? 'i' : 'k');
		else
			sb_add_str(&b, str_sub(s, i, i + n));
		i += n;
	}
	return arena_str(a, b.p ? sb_str(&b) : STR(""));
}

static struct str upper(struct arena *a, struct str s)
{
	char *p = arena_cstr(a, s);
	for (size_t i = 0; i < s.n; i++)
		if (p[i] >= 'a' && p[i] <= 'z')
			p[i] -= 32;
	return (struct str){ p, s.n };
}

/* ---- one function an instruction, or a few that are alike */

static int build_pairs(struct builder *b, struct err **err)
{
	const struct df_args *args = &b->n->args;
	if (no_options(b, err) < 0 || at_least_one(b, err) < 0)
		return -1;
	b->i->pairs = arena_array_of(b->a, struct df_pair, args->n / 2);
	for (size_t k = 0; k + 1 < args->n; k += 2) {
		const struct df_arg *key = &args->v[k], *value = &args->v[k + 1];
		if (!key->text.n)
			return err_set(err, ERR_SYNTAX, "%s names can not be blank", kind_name(b));
		b->i->pairs[b->i->n_pairs++] = (struct df_pair){
			.name = key->text,
			.value = value->text,
			.has_value = true,
			.legacy = args->legacy,
			.at = df_logical_span(&b->n->line, key->begin, value->end),
		};
	}
	return 0;
}

static int build_arg(struct builder *b, struct err **err)
{
	const struct df_args *args = &b->n->args;
	if (at_least_one(b, err) < 0)
		return -1;
	b->i->pairs = arena_array_of(b->a, struct df_pair, args->n);
	for (size_t k = 0; k < args->n; k++) {
		struct df_pair p = { .name = args->v[k].text, .at = word(b, &args->v[k]).at };
		p.has_value = str_cut(p.name, '=', &p.name, &p.value);
		if (p.has_value && !p.name.n)
			return err_set(err, ERR_SYNTAX, "ARG names can not be blank");
		p.description = description(&b->n->comments, p.name);
		b->i->pairs[b->i->n_pairs++] = p;
	}
	return 0;
}

/* USER, WORKDIR, MAINTAINER, STOPSIGNAL. */
static int build_one(struct builder *b, struct err **err)
{
	if (!b->n->args.n)
		return err_set(err, ERR_SYNTAX, "%s requires exactly one argument", kind_name(b));
	/* STOPSIGNAL alone does not look at its flags. */
	if (b->i->kind != DF_STOPSIGNAL && no_options(b, err) < 0)
		return -1;
	b->i->words = words(b, 0, 1);
	return 0;
}

static int by_text(const void *x, const void *y)
{
	const struct df_word *a = x, *b = y;
	return str_cmp(a->text, b->text);
}

static int build_expose(struct builder *b, struct err **err)
{
	if (at_least_one(b, err) < 0 || no_options(b, err) < 0)
		return -1;
	b->i->words = words(b, 0, b->n->args.n);
	qsort(b->i->words.v, b->i->words.n, sizeof(*b->i->words.v), by_text);
	return 0;
}

static int build_volume(struct builder *b, struct err **err)
{
	/* `VOLUME []` has no arguments either. */
	if (at_least_one(b, err) < 0 || no_options(b, err) < 0)
		return -1;
	b->i->words = words(b, 0, b->n->args.n);
	for (size_t k = 0; k < b->i->words.n; k++) {
		struct str *s = &b->i->words.v[k].text;
		*s = utf8_trim(*s);
		if (!s->n)
			return err_set(err, ERR_SYNTAX,
				       "VOLUME specified can not be an empty string");
	}
	return 0;
}

static struct df_command command(const struct builder *b)
{
	return (struct df_command){ .exec = b->n->args.json, .words = words(b, 0, b->n->args.n) };
}

static int build_command(struct builder *b, struct err **err)
{
	if (no_options(b, err) < 0)
		return -1;
	b->i->command = command(b);
	return 0;
}

static int build_shell(struct builder *b, struct err **err)
{
	if (no_options(b, err) < 0 || at_least_one(b, err) < 0)
		return -1;
	if (!b->n->args.json)
		return err_set(err, ERR_SYNTAX, "SHELL requires the arguments to be in JSON form");
	b->i->words = words(b, 0, b->n->args.n);
	return 0;
}

/* ---- RUN */

static int quoted_error(struct err **err, const char *before, struct str value, const char *after)
{
	_cleanup_(sb_releasep) struct sb q = { 0 };
	sb_add_goquote(&q, str_sub(value, 0, MAX_SHOWN));
	return err_set(err, ERR_SYNTAX, "%s %s%s", before, sb_c(&q), after);
}

static int device_field(struct df_device *d, struct str field, struct err **err)
{
	struct str key = field, value = STR("");
	bool has_value = str_cut(field, '=', &key, &value);

	if (!has_value && str_ieq(key, STR("required"))) {
		d->required = true;
	} else if (has_value && str_ieq(key, STR("name"))) {
		if (d->name.n)
			return err_set(err, ERR_SYNTAX, "device name already set to %.*s",
				       STR_ARG(d->name));
		d->name = value;
	} else if (has_value && str_ieq(key, STR("required"))) {
		if (!df_bool_parse(value, &d->required))
			return err_set(err, ERR_SYNTAX, "invalid value for required: %.*s",
				       STR_ARG(value));
	} else if (!d->name.n) {
		d->name = field;
	} else if (!has_value) {
		return err_set(err, ERR_SYNTAX, "invalid field '%.*s' must be a key=value pair",
			       STR_ARG(field));
	} else {
		static const struct str known[] = { { "name", 4 }, { "required", 8 } };
		struct str near = df_near(key, known, ARRAY_SIZE(known), true);
		return err_set(err, ERR_SYNTAX, "unexpected key '%.*s' in '%.*s'%s%.*s%s",
			       STR_ARG(key), STR_ARG(field), near.p ? " (did you mean " : "",
			       STR_ARG(near), near.p ? "?)" : "");
	}
	return 0;
}

static int build_devices(struct builder *b, const struct df_option *o, struct err **err)
{
	b->i->devices = arena_array_of(b->a, struct df_device, o->given.n);
	for (size_t k = 0; k < o->given.n; k++) {
		struct df_device *d = &b->i->devices[b->i->n_devices++];
		struct str *fields;
		size_t n;
		d->at = o->given.v[k].at;
		if (df_csv_fields(b->a, o->given.v[k].text, &fields, &n, err) < 0)
			return err_wrap(err, "failed to parse csv devices");
		for (size_t f = 0; f < n; f++)
			if (device_field(d, fields[f], err) < 0)
				return -1;
	}
	return 0;
}

static int build_mounts(struct builder *b, const struct df_option *o, struct err **err)
{
	b->i->mounts = arena_array_of(b->a, struct df_mount_flag, o->given.n);
	for (size_t k = 0; k < o->given.n; k++) {
		struct df_mount_flag *m = &b->i->mounts[b->i->n_mounts++];
		m->text = o->given.v[k].text;
		m->at = o->given.v[k].at;
		if (df_mount_check(b->a, m, err) < 0)
			return -1;
	}
	return 0;
}

static bool is_one_of(struct str s, const char *const *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq_c(s, v[i]))
			return true;
	return false;
}

static int build_run(struct builder *b, struct err **err)
{
	static const char *const networks[] = { "default", "none", "host" },
				 *const securities[] = { "sandbox", "insecure" };
	enum { MOUNT, NETWORK, SECURITY, DEVICE };
	struct df_option o[] = {
		[MOUNT] = { "mount", DF_OPTION_STRINGS, { 0 } },
		[NETWORK] = { "network", DF_OPTION_STRING, { 0 } },
		[SECURITY] = { "security", DF_OPTION_STRING, { 0 } },
		[DEVICE] = { "device", DF_OPTION_STRINGS, { 0 } },
	};
	struct df_instruction *i = b->i;

	if (options(b, o, ARRAY_SIZE(o), err) < 0)
		return -1;
	i->command = command(b);
	if (build_devices(b, &o[DEVICE], err) < 0 || build_mounts(b, &o[MOUNT], err) < 0)
		return -1;
	i->network = o[NETWORK].given.n ? o[NETWORK].given.v[0].text : STR("default");
	if (!is_one_of(i->network, networks, ARRAY_SIZE(networks)))
		return quoted_error(err, "invalid network mode", i->network, "");
	i->security = o[SECURITY].given.n ? o[SECURITY].given.v[0].text : STR("sandbox");
	if (!is_one_of(i->security, securities, ARRAY_SIZE(securities)))
		return quoted_error(err, "security", i->security, " is not valid");
	return 0;
}

/* ---- COPY, ADD */

/* The body of the last heredoc of a name: BuildKit keeps them by name. */
static struct str body_of(const struct df_node *n, struct str name)
{
	for (size_t k = n->n_heredocs; k--;)
		if (str_eq(n->heredocs[k].name, name))
			return n->heredocs[k].content;
	return STR("");
}

static int build_sources(struct builder *b, struct err **err)
{
	const struct df_args *args = &b->n->args;
	struct df_instruction *i = b->i;
	struct df_marker m;
	size_t last = args->n - 1;

	if (df_marker_parse(b->a, args->v[last].text, &m))
		return err_set(err, ERR_SYNTAX, "%s cannot accept a heredoc as a destination",
			       kind_name(b));
	i->dest = word(b, &args->v[last]);
	i->words.v = arena_array_of(b->a, struct df_word, last);
	i->inline_files = arena_array_of(b->a, struct df_heredoc, last);
	for (size_t k = 0; k < last; k++) {
		struct df_word w = word(b, &args->v[k]);
		if (!df_marker_parse(b->a, w.text, &m)) {
			i->words.v[i->words.n++] = w;
			continue;
		}
		struct str content = body_of(b->n, m.name);
		i->inline_files[i->n_inline_files++] = (struct df_heredoc){
			.name = m.name,
			.content = m.strip_tabs ? df_strip_tabs(b->a, content) : content,
			.fd = m.fd,
			.expand = m.expand,
			.strip_tabs = m.strip_tabs,
			.at = w.at,
		};
	}
	return 0;
}

static int build_copy(struct builder *b, struct err **err)
{
	enum {
		CHOWN,
		CHMOD,
		LINK,
		EXCLUDE,
		SHARED,
		FROM = SHARED,
		PARENTS,
		KEEP_GIT_DIR = SHARED,
		CHECKSUM,
		UNPACK
	};
	struct df_option o[] = {
		[CHOWN] = { "chown", DF_OPTION_STRING, { 0 } },
		[CHMOD] = { "chmod", DF_OPTION_STRING, { 0 } },
		[LINK] = { "link", DF_OPTION_BOOL, { 0 } },
		[EXCLUDE] = { "exclude", DF_OPTION_STRINGS, { 0 } },
		[SHARED] = { 0 },
		{ 0 },
		{ 0 },
	};
	static const struct df_option copy[] = { { "from", DF_OPTION_STRING, { 0 } },
						 { "parents", DF_OPTION_BOOL, { 0 } } };
	static const struct df_option add[] = {
		{ "keep-git-dir", DF_OPTION_BOOL, { 0 } },
		{ "checksum", DF_OPTION_STRING, { 0 } },
		{ "unpack", DF_OPTION_BOOL, { 0 } },
	};
	struct df_instruction *i = b->i;
	bool is_copy = i->kind == DF_COPY;
	size_t n = SHARED + (is_copy ? ARRAY_SIZE(copy) : ARRAY_SIZE(add));

	if (b->n->args.n < 2)
		return err_set(
			err, ERR_SYNTAX,
			"%s requires at least two arguments, but only one was provided. Destination could not "
			"be determined",
			kind_name(b));
	for (size_t k = SHARED; k < n; k++)
		o[k] = is_copy ? copy[k - SHARED] : add[k - SHARED];
	if (options(b, o, n, err) < 0)
		return -1;
	i->chown = value_of(&o[CHOWN]);
	i->chmod = value_of(&o[CHMOD]);
	i->link = is_true(&o[LINK]);
	i->excludes = o[EXCLUDE].given;
	if (is_copy) {
		i->from = value_of(&o[FROM]);
		i->parents = is_true(&o[PARENTS]);
	} else {
		i->keep_git_dir = tristate(&o[KEEP_GIT_DIR]);
		i->checksum = value_of(&o[CHECKSUM]);
		i->unpack = tristate(&o[UNPACK]);
	}
	return build_sources(b, err);
}

/* ---- HEALTHCHECK, ONBUILD, FROM */

static int interval(const struct df_option *o, int64_t *ret, struct err **err)
{
	struct str v = value_of(o);
	int64_t ns;
	if (!v.n)
		return 0;
	if (df_duration_parse(v, &ns, err) < 0)
		return -1;
	if (ns && ns < 1000000)
		return err_set(err, ERR_SYNTAX, "Interval \"%s\" cannot be less than 1ms", o->name);
	*ret = ns;
	return 0;
}

static int build_health_test(struct builder *b, struct err **err)
{
	const struct df_args *args = &b->n->args;
	struct df_list test = words(b, 0, args->n);
	if (!str_eq_c(upper(b->a, args->v[0].text), "CMD"))
		return quoted_error(err, "Unknown type", upper(b->a, args->v[0].text),
				    " in HEALTHCHECK (try CMD)");
	if (args->n < 2)
		return err_set(err, ERR_SYNTAX, "Missing command after HEALTHCHECK CMD");
	test.v[0].text = args->json ? STR("CMD") : STR("CMD-SHELL");
	b->i->health_test = test;
	return 0;
}

static int build_healthcheck(struct builder *b, struct err **err)
{
	enum { INTERVAL, TIMEOUT, START_PERIOD, START_INTERVAL, RETRIES };
	struct df_option o[] = {
		[INTERVAL] = { "interval", DF_OPTION_STRING, { 0 } },
		[TIMEOUT] = { "timeout", DF_OPTION_STRING, { 0 } },
		[START_PERIOD] = { "start-period", DF_OPTION_STRING, { 0 } },
		[START_INTERVAL] = { "start-interval", DF_OPTION_STRING, { 0 } },
		[RETRIES] = { "retries", DF_OPTION_STRING, { 0 } },
	};
	const struct df_args *args = &b->n->args;
	struct df_instruction *i = b->i;

	if (at_least_one(b, err) < 0)
		return -1;
	if (str_eq_c(upper(b->a, args->v[0].text), "NONE")) {
		if (args->n > 1)
			return err_set(err, ERR_SYNTAX, "HEALTHCHECK NONE takes no arguments");
		i->health_test = words(b, 0, 1);
		i->health_test.v[0].text = STR("NONE");
		return 0;
	}
	if (options(b, o, ARRAY_SIZE(o), err) < 0 || build_health_test(b, err) < 0)
		return -1;
	if (interval(&o[INTERVAL], &i->health_interval_ns, err) < 0 ||
	    interval(&o[TIMEOUT], &i->health_timeout_ns, err) < 0 ||
	    interval(&o[START_PERIOD], &i->health_start_period_ns, err) < 0 ||
	    interval(&o[START_INTERVAL], &i->health_start_interval_ns, err) < 0)
		return -1;
	if (value_of(&o[RETRIES]).n &&
	    df_int32_parse(value_of(&o[RETRIES]), &i->health_retries, err) < 0)
		return -1;
	if (i->health_retries < 0)
		return err_set(err, ERR_SYNTAX, "--retries cannot be negative (%d)",
			       i->health_retries);
	return 0;
}

static int build_onbuild(struct builder *b, struct err **err)
{
	const struct df_node *n = b->n;
	if (at_least_one(b, err) < 0 || no_options(b, err) < 0)
		return -1;
	struct str inner = upper(b->a, n->args.v[0].text);
	if (str_eq_c(inner, "ONBUILD"))
		return err_set(err, ERR_SYNTAX,
			       "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
	if (str_eq_c(inner, "MAINTAINER") || str_eq_c(inner, "FROM"))
		return err_set(err, ERR_SYNTAX, "%.*s isn't allowed as an ONBUILD trigger",
			       STR_ARG(inner));
	struct str s = utf8_trim_left(n->line.text);
	/* U+0130 makes a keyword, but not for the expression that cuts it off. */
	size_t at = str_ieq(n->parts.keyword, STR("ONBUILD")) ? n->parts.keyword.n : 0;
	while (at && at < s.n && strchr("\t\n\f\r ", s.p[at]) && s.p[at])
		at++;
	s = str_sub(s, at, s.n);
	if (n->n_heredocs) {
		_cleanup_(sb_releasep) struct sb t = { 0 };
		sb_add_str(&t, s);
		for (size_t k = 0; k < n->n_heredocs; k++) {
			sb_add_ch(&t, '\n');
			sb_add_str(&t, n->heredocs[k].content);
			sb_add_str(&t, n->heredocs[k].name);
		}
		s = arena_str(b->a, sb_str(&t));
	}
	b->i->trigger = s;
	return 0;
}

static bool is_stage_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool letter = c >= 'a' && c <= 'z';
		if (!letter &&
		    (i == 0 || !((c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.')))
			return false;
	}
	return s.n > 0;
}

/* Whether a word is "as" in any case; Go folds U+017F to s. */
static bool is_as(struct str s)
{
	return str_ieq(s, STR("as")) || str_eq_c(s, "a\xc5\xbf") || str_eq_c(s, "A\xc5\xbf");
}

static int build_from(struct builder *b, struct df_stage *stage, struct err **err)
{
	struct df_option platform = { "platform", DF_OPTION_STRING, { 0 } };
	const struct df_args *args = &b->n->args;

	*stage = (struct df_stage){ .from = b->i, .at = b->n->at };
	if (args->n == 3 && is_as(args->v[1].text)) {
		stage->as_keyword = args->v[1].text;
		stage->name = lower(b->a, args->v[2].text);
		if (!is_stage_name(stage->name))
			return quoted_error(err, "invalid name for build stage:", args->v[2].text,
					    ", name can't start with a number or contain symbols");
	} else if (args->n != 1) {
		return err_set(err, ERR_SYNTAX, "FROM requires either one or three arguments");
	}
	if (options(b, &platform, 1, err) < 0)
		return -1;
	b->i->words = words(b, 0, args->n);
	stage->base = args->v[0].text;
	stage->platform = value_of(&platform);
	stage->description = description(&b->n->comments, stage->name);
	return 0;
}

/* ---- dispatch */

/* A hint is in upper case where the word is; a letter that is not ASCII counts as lower case. */
static int unknown(struct arena *a, struct str keyword, struct err **err)
{
	struct str names[DF_WORKDIR + 1];
	bool is_upper = false, is_lower = false;

	for (size_t k = 0; k < ARRAY_SIZE(names); k++)
		names[k] = str_c(df_kind_name((enum df_kind)k));
	for (size_t i = 0; i < keyword.n; i++) {
		unsigned char c = (unsigned char)keyword.p[i];
		is_upper |= c >= 'A' && c <= 'Z';
		is_lower |= (c >= 'a' && c <= 'z') || c >= 0x80;
	}
	/* A message is a C string, so a NUL can't be in it as it is. */
	_cleanup_(sb_releasep) struct sb shown = { 0 };
	sb_add_printable(&shown, str_sub(keyword, 0, MAX_SHOWN));
	struct str near = df_near(keyword, names, ARRAY_SIZE(names), true);
	if (!near.p)
		return err_set(err, ERR_SYNTAX, "unknown instruction: %s", sb_c(&shown));
	if (is_lower || !is_upper)
		near = lower(a, near);
	return err_set(err, ERR_SYNTAX, "unknown instruction: %s (did you mean %.*s?)",
		       sb_c(&shown), STR_ARG(near));
}

static int dispatch(struct builder *b, struct df_stage *stage, struct err **err)
{
	switch (b->i->kind) {
	case DF_ADD:
	case DF_COPY:
		return build_copy(b, err);
	case DF_ARG:
		return build_arg(b, err);
	case DF_CMD:
	case DF_ENTRYPOINT:
		return build_command(b, err);
	case DF_ENV:
	case DF_LABEL:
		return build_pairs(b, err);
	case DF_EXPOSE:
		return build_expose(b, err);
	case DF_FROM:
		return build_from(b, stage, err);
	case DF_HEALTHCHECK:
		return build_healthcheck(b, err);
	case DF_MAINTAINER:
	case DF_STOPSIGNAL:
	case DF_USER:
	case DF_WORKDIR:
		return build_one(b, err);
	case DF_ONBUILD:
		return build_onbuild(b, err);
	case DF_RUN:
		return build_run(b, err);
	case DF_SHELL:
		return build_shell(b, err);
	case DF_VOLUME:
		return build_volume(b, err);
	}
	BUG("instruction of kind %d", b->i->kind);
}

int df_build(struct arena *a, const struct df_node *n, struct df_instruction **ret,
	     struct df_stage *ret_stage, struct err **err)
{
	struct df_instruction *i = arena_new_of(a, struct df_instruction);
	struct builder b = { a, n, i };

	if (!df_kind_of(n->parts.keyword, &i->kind))
		return unknown(a, n->parts.keyword, err);
	i->keyword = n->parts.keyword;
	i->text = utf8_trim(n->line.text);
	i->args = n->parts.rest;
	i->at = n->at;
	i->comments = n->comments;
	i->keep_git_dir = i->unpack = -1;
	if (i->kind == DF_RUN || i->kind == DF_COPY || i->kind == DF_ADD) {
		i->heredocs = n->heredocs;
		i->n_heredocs = n->n_heredocs;
	}
	if (n->parts.n_flags) {
		i->flags.v = arena_array_of(a, struct df_word, n->parts.n_flags);
		for (size_t k = 0; k < n->parts.n_flags; k++) {
			const struct df_flag *f = &n->parts.flags[k];
			i->flags.v[i->flags.n++] =
				(struct df_word){ f->text,
						  df_logical_span(&n->line, f->begin, f->end) };
		}
	}
	if (dispatch(&b, ret_stage, err) < 0)
		return -1;
	*ret = i;
	return 0;
}
