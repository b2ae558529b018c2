#include "parser/flags.h"

#include "base/utf8.h"
#include "base/vec.h"
#include "parser/diag.h"
#include "parser/heredoc.h"
#include "parser/jsonform.h"
#include "parser/parse.h"

/* BuildKit reads flags byte by byte and takes each byte for the character U+00XX. */
static bool is_flag_blank(char c)
{
	return utf8_is_space((unsigned char)c);
}

/* A flag word at *i, which begins with `--`, with its quotes and escapes resolved. */
static struct str flag_word(struct arena *a, struct str s, size_t *i, char escape)
{
	_cleanup_(sb_releasep) struct sb out = { 0 };
	size_t from = *i;
	bool plain = true;
	char quote = '\0';

	for (; *i < s.n; ++*i) {
		char c = s.p[*i];
		if (!quote && is_flag_blank(c))
			break;
		if (c == quote) {
			quote = '\0';
			continue;
		}
		if (!quote && (c == '\'' || c == '"')) {
			quote = c;
			plain = false;
			continue;
		}
		if (c == escape) {
			plain = false;
			if (*i + 1 == s.n) {
				quote = '\0';
				continue;
			}
			c = s.p[++*i];
		}
		plain = plain && (unsigned char)c < 0x80;
		utf8_add(&out, (unsigned char)c);
	}
	if (plain)
		return str_sub(s, from, *i);
	return arena_str(a, out.p ? sb_str(&out) : STR(""));
}

static bool is_keyword_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r' && c != '\n');
}

void df_split(struct arena *a, struct str line, char escape, struct df_parts *ret)
{
	VEC(struct df_flag) flags = { 0 };
	struct str s = utf8_trim(line);
	size_t i = 0;

	while (i < s.n && !is_keyword_blank(s.p[i]))
		i++;
	*ret = (struct df_parts){ .keyword = str_sub(s, 0, i) };
	while (i < s.n && is_keyword_blank(s.p[i]))
		i++;
	for (;;) {
		while (i < s.n && is_flag_blank(s.p[i]))
			i++;
		if (i + 2 > s.n || s.p[i] != '-' || s.p[i + 1] != '-')
			break;
		struct df_flag f = { .begin = (size_t)(s.p - line.p) + i };
		f.text = flag_word(a, s, &i, escape);
		f.end = (size_t)(s.p - line.p) + i;
		if (str_eq_c(f.text, "--"))
			break;
		if (f.text.n)
			VEC_PUSH(&flags, f);
	}
	ret->rest = utf8_trim(str_sub(s, i, s.n));
	ret->n_flags = flags.n;
	if (flags.n) {
		ret->flags = arena_array_of(a, struct df_flag, flags.n);
		memcpy(ret->flags, flags.v, flags.n * sizeof(*flags.v));
	}
	VEC_RELEASE(&flags);
}

static const char *const names[] = {
	[DF_ADD] = "ADD",
	[DF_ARG] = "ARG",
	[DF_CMD] = "CMD",
	[DF_COPY] = "COPY",
	[DF_ENTRYPOINT] = "ENTRYPOINT",
	[DF_ENV] = "ENV",
	[DF_EXPOSE] = "EXPOSE",
	[DF_FROM] = "FROM",
	[DF_HEALTHCHECK] = "HEALTHCHECK",
	[DF_LABEL] = "LABEL",
	[DF_MAINTAINER] = "MAINTAINER",
	[DF_ONBUILD] = "ONBUILD",
	[DF_RUN] = "RUN",
	[DF_SHELL] = "SHELL",
	[DF_STOPSIGNAL] = "STOPSIGNAL",
	[DF_USER] = "USER",
	[DF_VOLUME] = "VOLUME",
	[DF_WORKDIR] = "WORKDIR",
};

const char *df_kind_name(enum df_kind k)
{
	return names[k];
}

/* Whether s is `name` after Go's strings.ToLower, which also brings U+0130 and U+212A to ASCII. */
static bool is_name(struct str s, const char *name)
{
	size_t i = 0;
	for (; *name; name++) {
		uint32_t c;
		if (i == s.n)
			return false;
		i += utf8_next(s, i, &c);
		if (c == 0x130)
			c = 'i';
		if (c == 0x212a)
			c = 'k';
		if (c >= 0x80 || str_lower((char)c) != str_lower(*name))
			return false;
	}
	return i == s.n;
}

bool df_kind_of(struct str keyword, enum df_kind *ret)
{
	for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
		/* The first letter of a name is none that a character above ASCII can stand for. */
		if (keyword.n && (keyword.p[0] | 0x20) == (names[k][0] | 0x20) &&
		    is_name(keyword, names[k])) {
			*ret = (enum df_kind)k;
			return true;
		}
	}
	return false;
}

/* Where the text that may be JSON begins; NULL p: never in this instruction. */
static struct str json_text(const struct df_parts *p, enum df_kind kind)
{
	switch (kind) {
	case DF_ADD:
	case DF_CMD:
	case DF_COPY:
	case DF_ENTRYPOINT:
	case DF_RUN:
	case DF_SHELL:
	case DF_VOLUME:
		return p->rest;
	case DF_HEALTHCHECK: {
		size_t i = 0;
		while (i < p->rest.n && !is_flag_blank(p->rest.p[i]))
			i++;
		return str_sub(p->rest, i, p->rest.n);
	}
	default:
		return (struct str){ NULL, 0 };
	}
}

int df_shape_of(struct arena *a, struct str line, char escape, struct df_shape *ret,
		struct err **err)
{
	struct df_parts p;
	enum df_kind kind;

	*ret = (struct df_shape){ .json = SIZE_MAX };
	df_split(a, line, escape, &p);
	if (!df_kind_of(p.keyword, &kind))
		return 0;
	if (kind == DF_ONBUILD) {
		df_split(a, p.rest, escape, &p);
		if (!df_kind_of(p.keyword, &kind))
			return 0;
	}
	struct str text = json_text(&p, kind);
	if (text.p && df_json_array(a, text, NULL, NULL) == DF_JSON_STRINGS) {
		ret->json = (size_t)(utf8_trim_left(text).p - line.p);
		return 0;
	}
	if (kind != DF_ADD && kind != DF_COPY && kind != DF_RUN)
		return 0;
	return df_markers_find(a, line, &ret->markers, &ret->n_markers, err);
}

enum { MAX_OPTIONS = 16 };

static struct df_option *find(struct df_option *options, size_t n, struct str name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq_c(name, options[i].name))
			return &options[i];
	return NULL;
}

static int unknown(struct str name, const struct df_option *options, size_t n, struct err **err)
{
	struct str names_of[MAX_OPTIONS];
	for (size_t i = 0; i < n; i++)
		names_of[i] = str_c(options[i].name);
	struct str near = df_near(name, names_of, n, false);
	if (near.p)
		return err_set(err, ERR_SYNTAX, "unknown flag: --%.*s (did you mean %.*s?)",
			       STR_ARG(name), STR_ARG(near));
	return err_set(err, ERR_SYNTAX, "unknown flag: --%.*s", STR_ARG(name));
}

static int bool_value(struct str name, bool has_value, struct str *value, struct err **err)
{
	if (has_value && !value->n)
		return err_set(err, ERR_SYNTAX, "missing a value on flag: --%.*s", STR_ARG(name));
	if (!has_value || str_ieq(*value, STR("true")))
		*value = STR("true");
	else if (str_ieq(*value, STR("false")))
		*value = STR("false");
	else
		return err_set(err, ERR_SYNTAX,
			       "expecting boolean value for flag --%.*s, not: %.*s", STR_ARG(name),
			       STR_ARG(*value));
	return 0;
}

int df_options_parse(struct arena *a, const struct df_logical *l, const struct df_parts *p,
		     struct df_option *options, size_t n, struct err **err)
{
	for (size_t i = 0; i < p->n_flags; i++) {
		const struct df_flag *f = &p->flags[i];
		struct str name = str_sub(f->text, 2, f->text.n), value = STR("");
		bool has_value = str_cut(name, '=', &name, &value);
		struct df_option *o = find(options, n, name);
		if (!o)
			return unknown(name, options, n, err);
		if (o->given.n && o->type != DF_OPTION_STRINGS)
			return err_set(err, ERR_SYNTAX, "duplicate flag specified: --%.*s",
				       STR_ARG(name));
		if (o->type == DF_OPTION_BOOL) {
			if (bool_value(name, has_value, &value, err) < 0)
				return -1;
		} else if (!has_value) {
			return err_set(err, ERR_SYNTAX, "missing a value on flag: --%.*s",
				       STR_ARG(name));
		}
		if (!o->given.v)
			o->given.v =
				arena_array_of(a, struct df_word,
					       o->type == DF_OPTION_STRINGS ? p->n_flags - i : 1);
		o->given.v[o->given.n++] =
			(struct df_word){ value, df_logical_span(l, f->begin, f->end) };
	}
	return 0;
}
