#include "solver/call.h"

#include <openssl/evp.h>

#include "base/utf8.h"
#include "parser/diag.h"

/* Lines that places may take in one answer. A thousand warnings on an instruction of a thousand lines would make a gigabyte otherwise. */
enum { MAX_LINES = 100000 };

static bool spend(struct span at, size_t *left)
{
	size_t n = at.last - at.line + 1;
	if (n > *left)
		return false;
	*left -= n;
	return true;
}

/* ---- check */

void call_check_text(const struct df_lint *lint, struct str name, struct str text, struct sb *out)
{
	_cleanup_free_ const struct df_lint_warning **v = df_lint_by_line(lint);
	size_t left = MAX_LINES;
	if (!lint->n)
		sb_add_c(out, "Check complete, no warnings found.\n");
	else if (lint->n == 1)
		sb_add_c(out, "Check complete, 1 warning has been found!\n");
	else
		sb_printf(out, "Check complete, %zu warnings have been found!\n", lint->n);
	for (size_t i = 0; i < lint->n; i++) {
		const struct df_lint_info *info = df_lint_info(v[i]->rule);
		sb_printf(out, "\nWARNING: %.*s", STR_ARG(info->name));
		if (info->url.n)
			sb_printf(out, " - %.*s", STR_ARG(info->url));
		sb_printf(out, "\n%.*s\n", STR_ARG(v[i]->message));
		if (spend(v[i]->at, &left))
			df_excerpt(out, name, text, v[i]->at);
	}
}

static void add_range(json_t *ranges, unsigned first, unsigned last)
{
	json_t *range = json_object(), *start = json_object(), *end = json_object();
	json_put_int(start, "line", first);
	json_put_int(end, "line", last);
	json_put(range, "start", start);
	json_put(range, "end", end);
	json_push(ranges, range);
}

/* One range for each physical line, or one for all when that would be too many. */
static json_t *location(struct span at, size_t *left)
{
	json_t *j = json_object(), *ranges = json_array();
	if (at.line && !spend(at, left))
		add_range(ranges, at.line, at.last);
	else
		for (unsigned line = at.line; line && line <= at.last; line++)
			add_range(ranges, line, line);
	json_put(j, "ranges", ranges);
	return j;
}

static json_t *encoded(struct str text)
{
	size_t n = 4 * ((text.n + 2) / 3);
	_cleanup_free_ unsigned char *data = xmalloc(n + 1);
	EVP_EncodeBlock(data, (const unsigned char *)(text.n ? text.p : ""), (int)text.n);
	return json_text((struct str){ (const char *)data, n });
}

static json_t *sources(struct str name, struct str text)
{
	json_t *list = json_array(), *j = json_object();
	json_put_str(j, "filename", name);
	json_put_str(j, "language", STR("Dockerfile"));
	json_put(j, "data", encoded(text));
	json_push(list, j);
	return list;
}

json_t *call_check_json(const struct df_lint *lint, const struct err *error, struct str name,
			struct str text)
{
	json_t *j = json_object(), *list = json_array();
	size_t left = MAX_LINES;
	for (const struct df_lint_warning *w = lint->first; w; w = w->next) {
		const struct df_lint_info *info = df_lint_info(w->rule);
		json_t *one = json_object();
		json_put_str(one, "ruleName", info->name);
		json_put_str(one, "description", info->description);
		if (info->url.n)
			json_put_str(one, "url", info->url);
		json_put_str(one, "detail", w->message);
		json_put(one, "location", location(w->at, &left));
		json_push(list, one);
	}
	json_put(j, "warnings", list);
	json_put(j, "sources", sources(name, text));
	if (error) {
		json_t *e = json_object();
		json_put_str(e, "message", str_c(error->msg));
		json_put(e, "location", location(error->at, &left));
		json_put(j, "buildError", e);
	}
	return j;
}

/* ---- tables */

enum { MAX_COLUMNS = 3 };

struct table {
	VEC(struct str) cells; /* row by row */
	size_t columns, gap;
};

static size_t width(struct str s)
{
	size_t n = 0;
	uint32_t c;
	for (size_t i = 0; i < s.n; i += utf8_next(s, i, &c))
		n++;
	return n;
}

static void row(struct table *t, struct str a, struct str b, struct str c)
{
	VEC_PUSH(&t->cells, a);
	VEC_PUSH(&t->cells, b);
	if (t->columns > 2)
		VEC_PUSH(&t->cells, c);
}

/* Each column but the last as wide as its widest cell and the gap. Releases the table. */
static void print_table(struct table *t, struct sb *out)
{
	size_t widest[MAX_COLUMNS] = { 0 };
	for (size_t i = 0; i < t->cells.n; i++) {
		size_t w = width(t->cells.v[i]);
		if (w > widest[i % t->columns])
			widest[i % t->columns] = w;
	}
	for (size_t i = 0; i < t->cells.n; i++) {
		bool last = i % t->columns == t->columns - 1;
		sb_add_str(out, t->cells.v[i]);
		for (size_t w = width(t->cells.v[i]); !last && w < widest[i % t->columns] + t->gap;
		     w++)
			sb_add_ch(out, ' ');
		if (last)
			sb_add_ch(out, '\n');
	}
	VEC_RELEASE(&t->cells);
}

/* ---- outline */

static void needs_text(const char *title, const struct plan_need *v, size_t n, struct sb *out)
{
	struct table t = { .columns = 2, .gap = 3 };
	if (!n)
		return;
	row(&t, str_c(title), STR("REQUIRED"), STR(""));
	for (size_t i = 0; i < n; i++)
		row(&t, v[i].id, v[i].required ? STR("true") : STR(""), STR(""));
	print_table(&t, out);
	sb_add_ch(out, '\n');
}

void call_outline_text(const struct plan_outline *o, struct sb *out)
{
	if (o->name.n || o->description.n) {
		struct table t = { .columns = 2, .gap = 1 };
		row(&t, STR("TARGET:"), o->name.n ? o->name : STR("(default)"), STR(""));
		if (o->description.n)
			row(&t, STR("DESCRIPTION:"), o->description, STR(""));
		print_table(&t, out);
		sb_add_ch(out, '\n');
	}
	if (o->n_args) {
		struct table t = { .columns = 3, .gap = 3 };
		row(&t, STR("BUILD ARG"), STR("VALUE"), STR("DESCRIPTION"));
		for (size_t i = 0; i < o->n_args; i++)
			row(&t, o->args[i].name, o->args[i].value, o->args[i].description);
		print_table(&t, out);
		sb_add_ch(out, '\n');
	}
	needs_text("SECRET", o->secrets, o->n_secrets, out);
	needs_text("SSH", o->ssh, o->n_ssh, out);
}

static void put_needs(json_t *j, const char *name, const struct plan_need *v, size_t n,
		      size_t *left)
{
	json_t *list = json_array();
	for (size_t i = 0; i < n; i++) {
		json_t *one = json_object();
		json_put_str(one, "name", v[i].id);
		if (v[i].required)
			json_put(one, "required", json_true());
		json_put(one, "location", location(v[i].at, left));
		json_push(list, one);
	}
	if (n)
		json_put(j, name, list);
	else
		json_decref(list);
}

json_t *call_outline_json(const struct plan_outline *o, struct str text)
{
	json_t *j = json_object(), *args = json_array(), *all = json_array();
	size_t left = MAX_LINES;
	if (o->name.n)
		json_put_str(j, "name", o->name);
	if (o->description.n)
		json_put_str(j, "description", o->description);
	for (size_t i = 0; i < o->n_args; i++) {
		json_t *one = json_object();
		json_put_str(one, "name", o->args[i].name);
		if (o->args[i].description.n)
			json_put_str(one, "description", o->args[i].description);
		if (o->args[i].value.n)
			json_put_str(one, "value", o->args[i].value);
		json_put(one, "location", location(o->args[i].at, &left));
		json_push(args, one);
	}
	json_put(j, "args", args);
	put_needs(j, "secrets", o->secrets, o->n_secrets, &left);
	put_needs(j, "ssh", o->ssh, o->n_ssh, &left);
	json_push(all, encoded(text));
	json_put(j, "sources", all);
	return j;
}

/* ---- targets */

void call_targets_text(const struct df_file *f, struct sb *out)
{
	struct table t = { .columns = 2, .gap = 1 };
	_cleanup_(arena_freep) struct arena *a = arena_new();
	row(&t, STR("TARGET"), STR("DESCRIPTION"), STR(""));
	for (size_t i = 0; i < f->n_stages; i++) {
		const struct df_stage *st = &f->stages[i];
		struct str name = st->name;
		if (i == f->n_stages - 1)
			name = name.n ? arena_printf(a, "%.*s (default)", STR_ARG(name))
				      : STR("(default)");
		row(&t, name, st->description, STR(""));
	}
	print_table(&t, out);
}

json_t *call_targets_json(const struct df_file *f)
{
	json_t *j = json_object(), *list = json_array(), *all = json_array();
	size_t left = MAX_LINES;
	for (size_t i = 0; i < f->n_stages; i++) {
		const struct df_stage *st = &f->stages[i];
		json_t *one = json_object();
		if (st->name.n)
			json_put_str(one, "name", st->name);
		if (i == f->n_stages - 1)
			json_put(one, "default", json_true());
		if (st->description.n)
			json_put_str(one, "description", st->description);
		json_put_str(one, "base", st->base);
		if (st->platform.n)
			json_put_str(one, "platform", st->platform);
		json_put(one, "location", location(st->at, &left));
		json_push(list, one);
	}
	json_put(j, "targets", list);
	json_push(all, encoded(f->text));
	json_put(j, "sources", all);
	return j;
}
