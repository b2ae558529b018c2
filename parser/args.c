#include "parser/args.h"

#include "base/utf8.h"
#include "base/vec.h"
#include "parser/jsonform.h"
#include "parser/parse.h"

/* Of a word in a message. */
enum { MAX_SHOWN = 64 * 1024 };

struct list {
	VEC(struct df_arg) args;
	struct str line;
};

/* Adds an argument whose text is s or a form of it. */
static void add(struct list *l, struct str text, struct str s)
{
	size_t begin = (size_t)(s.p - l->line.p);
	struct df_arg arg = { text, begin, begin + s.n };
	VEC_PUSH(&l->args, arg);
}

static void add_text(struct list *l, struct str s)
{
	if (s.n)
		add(l, s, s);
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r' && c != '\n');
}

/* Words between ASCII blanks, quotes and escapes not understood. */
static void add_words(struct list *l, struct str s)
{
	for (size_t i = 0; i < s.n;) {
		size_t from = i;
		while (i < s.n && !is_blank(s.p[i]))
			i++;
		add_text(l, str_sub(s, from, i));
		while (i < s.n && is_blank(s.p[i]))
			i++;
	}
}

/* -1: the array holds something else than strings. */
static int add_json(struct arena *a, struct list *l, struct str s, bool *ret_json, struct err **err)
{
	struct df_json_item *v;
	size_t n;

	*ret_json = false;
	switch (df_json_array(a, s, &v, &n)) {
	case DF_JSON_NONE:
		return 0;
	case DF_JSON_OTHER:
		return err_set(
			err, ERR_SYNTAX,
			"when using JSON array syntax, arrays must be comprised of strings only");
	default:
		*ret_json = true;
		for (size_t i = 0; i < n; i++)
			add(l, v[i].text, str_sub(s, v[i].begin, v[i].end));
		return 0;
	}
}

/* The end of a word of ENV, LABEL or ARG: quotes and escapes are respected. *dropped: it ends with an escape of nothing. */
static size_t word_end(struct str s, size_t i, char escape, bool *dropped)
{
	char quote = '\0';
	while (i < s.n) {
		uint32_t c;
		size_t n = utf8_next(s, i, &c);
		if (!quote && utf8_is_space(c))
			break;
		if (c == (uint32_t)quote && quote)
			quote = '\0';
		else if (!quote && (c == '\'' || c == '"'))
			quote = (char)c;
		else if (c == (unsigned char)escape && quote != '\'' && !(*dropped = i + n == s.n))
			n += utf8_next(s, i + n, &c);
		i += n;
	}
	return i;
}

/* Words as add_words(), but with quotes and escapes respected, and kept. */
static void add_quoted_words(struct arena *a, struct list *l, struct str s, char escape)
{
	for (size_t i = 0; i < s.n;) {
		uint32_t c;
		size_t n = utf8_next(s, i, &c);
		if (utf8_is_space(c)) {
			i += n;
			continue;
		}
		bool dropped = false;
		size_t end = word_end(s, i, escape, &dropped);
		struct str w = str_sub(s, i, end), text = w;
		i = end;
		if (dropped)
			text.n--;
		if (!utf8_valid(text)) {
			_cleanup_(sb_releasep) struct sb b = { 0 };
			utf8_add_clean(&b, text);
			text = arena_str(a, sb_str(&b));
		}
		if (text.n)
			add(l, text, w);
	}
}

/* name=value words, or the old form `name value`. */
static int add_pairs(struct arena *a, struct list *l, struct str rest, char escape,
		     const char *name, bool *ret_legacy, struct err **err)
{
	struct list words = { .line = l->line };
	int r = 0;

	add_quoted_words(a, &words, rest, escape);
	*ret_legacy = words.args.n && str_find(words.args.v[0].text, '=', 0) == SIZE_MAX;
	if (*ret_legacy) {
		size_t i = 0;
		while (i < rest.n && !is_blank(rest.p[i]))
			i++;
		size_t end = i;
		while (i < rest.n && is_blank(rest.p[i]))
			i++;
		if (i == end) {
			r = err_set(err, ERR_SYNTAX, "%s must have two arguments", name);
		} else {
			struct str key = str_sub(rest, 0, end), value = str_sub(rest, i, rest.n);
			add(l, key, key);
			add(l, value, value);
		}
	}
	for (size_t i = 0; i < words.args.n && !*ret_legacy && r == 0; i++) {
		const struct df_arg *w = &words.args.v[i];
		size_t eq = str_find(w->text, '=', 0);
		if (eq == SIZE_MAX) {
			_cleanup_(sb_releasep) struct sb q = { 0 };
			sb_add_goquote(&q, str_sub(w->text, 0, MAX_SHOWN));
			r = err_set(
				err, ERR_SYNTAX,
				"Syntax error - can't find = in %s. Must be of the form: name=value",
				sb_c(&q));
			break;
		}
		struct df_arg key = { str_sub(w->text, 0, eq), w->begin, w->end };
		struct df_arg value = { str_sub(w->text, eq + 1, w->text.n), w->begin, w->end };
		VEC_PUSH(&l->args, key);
		VEC_PUSH(&l->args, value);
	}
	VEC_RELEASE(&words.args);
	return r;
}

/* The type word of HEALTHCHECK, and JSON or a text. */
static int add_health(struct arena *a, struct list *l, struct str rest, bool *ret_json,
		      struct err **err)
{
	size_t i = 0;
	while (i < rest.n && !utf8_is_space((unsigned char)rest.p[i]))
		i++;
	if (!i)
		return 0;
	add_text(l, str_sub(rest, 0, i));
	while (i < rest.n && utf8_is_space((unsigned char)rest.p[i]))
		i++;
	struct str command = str_sub(rest, i, rest.n);
	if (add_json(a, l, command, ret_json, err) < 0)
		return -1;
	if (!*ret_json)
		add_text(l, command);
	return 0;
}

/* Nesting is refused later, but the parser of BuildKit looks into ONBUILD ONBUILD all the same; so deep and no deeper. */
enum { MAX_ONBUILD = 100 };

static int parse(struct arena *a, struct list *l, const struct df_parts *p, char escape,
		 unsigned depth, struct df_args *ret, struct err **err);

static int add_child(struct arena *a, struct list *l, struct str rest, char escape, unsigned depth,
		     struct df_args *ret, struct err **err)
{
	if (!rest.n)
		return 0;
	if (depth == MAX_ONBUILD)
		return err_set(err, ERR_LIMIT, "ONBUILD is nested deeper than %d", MAX_ONBUILD);
	struct df_args inner = { 0 };
	struct df_parts *child = arena_new_of(a, struct df_parts);
	df_split(a, rest, escape, child);
	ret->child = child;
	add(l, child->keyword, child->keyword);
	if (parse(a, l, child, escape, depth + 1, &inner, err) < 0)
		return -1;
	ret->json = inner.json;
	return 0;
}

static int parse(struct arena *a, struct list *l, const struct df_parts *p, char escape,
		 unsigned depth, struct df_args *ret, struct err **err)
{
	struct str rest = p->rest;
	enum df_kind kind;

	if (!df_kind_of(p->keyword, &kind))
		return 0;
	switch (kind) {
	case DF_ADD:
	case DF_COPY:
	case DF_VOLUME:
		if (add_json(a, l, rest, &ret->json, err) < 0)
			return -1;
		if (!ret->json)
			add_words(l, rest);
		return 0;
	case DF_CMD:
	case DF_ENTRYPOINT:
	case DF_RUN:
	case DF_SHELL:
		if (add_json(a, l, rest, &ret->json, err) < 0)
			return -1;
		if (!ret->json)
			add_text(l, rest);
		return 0;
	case DF_ENV:
	case DF_LABEL:
		return add_pairs(a, l, rest, escape, df_kind_name(kind), &ret->legacy, err);
	case DF_ARG:
		add_quoted_words(a, l, rest, escape);
		return 0;
	case DF_EXPOSE:
	case DF_FROM:
		add_words(l, rest);
		return 0;
	case DF_HEALTHCHECK:
		return add_health(a, l, rest, &ret->json, err);
	case DF_ONBUILD:
		return add_child(a, l, rest, escape, depth, ret, err);
	case DF_MAINTAINER:
	case DF_STOPSIGNAL:
	case DF_USER:
	case DF_WORKDIR:
		add_text(l, rest);
		return 0;
	}
	return 0;
}

int df_args_parse(struct arena *a, struct str line, const struct df_parts *p, char escape,
		  struct df_args *ret, struct err **err)
{
	struct list l = { .line = line };
	*ret = (struct df_args){ 0 };
	int r = parse(a, &l, p, escape, 0, ret, err);
	if (r == 0 && l.args.n) {
		ret->n = l.args.n;
		ret->v = arena_array_of(a, struct df_arg, l.args.n);
		memcpy(ret->v, l.args.v, l.args.n * sizeof(*l.args.v));
	}
	VEC_RELEASE(&l.args);
	return r;
}
