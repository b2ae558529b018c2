#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "cmd/commands.h"
#include "cmd/containers.h"
#include "cmd/format.h"
#include "cmd/session.h"
#include "cmd/template.h"
#include "cache/name.h"
#include "runtime/container/inspect.h"

enum { COMMAND_CHARS = 20 };

struct ps_options {
	bool all, quiet, no_trunc, latest;
	struct opt_list filter;
	const char *format;
	int64_t last;
};

static const struct option_row options[] = {
	{ 'a', "all", OPT_FLAG, offsetof(struct ps_options, all), NULL,
	  "Show those that do not run, too" },
	{ 'f', "filter", OPT_LIST, offsetof(struct ps_options, filter), "FILTER",
	  "Show only what matches: id, name, label, exited, status, ancestor, before, since, network, each as NAME=VALUE" },
	{ 0, "format", OPT_STR, offsetof(struct ps_options, format), "FORMAT",
	  "A Go template, 'table TEMPLATE', or json" },
	{ 'n', "last", OPT_INT, offsetof(struct ps_options, last), "N",
	  "Show the N that were made last, whatever their state" },
	{ 'l', "latest", OPT_FLAG, offsetof(struct ps_options, latest), NULL,
	  "Show the one that was made last, whatever its state" },
	{ 0, "no-trunc", OPT_FLAG, offsetof(struct ps_options, no_trunc), NULL,
	  "Show whole ids and commands" },
	{ 'q', "quiet", OPT_FLAG, offsetof(struct ps_options, quiet), NULL, "Show ids only" },
	{ 's', "size", OPT_REFUSED, 0, NULL, NULL },
	{ 0 },
};

/* ---- one row */

static int64_t age_of(const char *time, int64_t now)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	int64_t ns;
	return clock_parse(str_c(time), &ns, &e) < 0 ? 0 : now - ns;
}

static json_t *status_of(const struct container *k, int64_t now)
{
	char age[FORMAT_TEXT];
	_cleanup_free_ char *text = NULL;
	if (k->state.status == CONTAINER_RUNNING)
		text = xasprintf("Up %s", format_duration(age_of(k->state.started, now), age));
	else if (k->state.status == CONTAINER_EXITED)
		text = xasprintf("Exited (%d) %s ago", k->state.exit,
				 format_duration(age_of(k->state.finished, now), age));
	else
		text = xstrdup("Created");
	return json_text(str_c(text));
}

/* Path and arguments, quoted, cut at twenty characters. */
static json_t *command_of(const struct container *k, bool whole)
{
	_cleanup_(sb_releasep) struct sb b = { 0 }, quoted = { 0 };
	const json_t *args = json_object_get(k->config, "Args");
	size_t i;
	json_t *word;
	sb_add_str(&b, json_get_str(k->config, "Path"));
	json_array_foreach(args, i, word) sb_printf(&b, " %s", json_string_value(word));
	size_t at = 0, chars = 0;
	while (at < b.n && chars < COMMAND_CHARS - 1) {
		at++;
		while (at < b.n && ((unsigned char)b.p[at] & 0xc0) == 0x80)
			at++;
		chars++;
	}
	size_t next = at + 1;
	while (next < b.n && ((unsigned char)b.p[next] & 0xc0) == 0x80)
		next++;
	if (!whole && next < b.n) {
		sb_trunc(&b, at);
		sb_add_c(&b, "…");
	}
	sb_add_goquote(&quoted, sb_str(&b));
	return json_text(sb_str(&quoted));
}

static json_t *created_at(int64_t ns)
{
	char text[64];
	time_t t = (time_t)(ns / 1000000000);
	struct tm tm;
	localtime_r(&t, &tm);
	return json_text(
		(struct str){ text, strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S %z %Z", &tm) });
}

static json_t *labels_of(const struct container *k)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	const char *name;
	json_t *value;
	json_object_foreach(json_object_get(container_section(k, "Config"), "Labels"), name, value)
		sb_printf(&b, "%s%s=%s", b.n ? "," : "", name, json_string_value(value));
	return json_text(sb_str(&b));
}

static json_t *row_of(const struct container *k, bool whole, int64_t now)
{
	json_t *j = json_object();
	char age[FORMAT_TEXT];
	int64_t created = container_created_ns(k);
	_cleanup_free_ char *ago = xasprintf("%s ago", format_duration(now - created, age));
	json_put_str(j, "ID", str_sub(str_c(k->id), 0, whole ? SIZE_MAX : CONTAINER_SHORT_ID));
	json_put(j, "Image", json_text(json_get_str(container_section(k, "Config"), "Image")));
	json_put(j, "Command", command_of(k, whole));
	json_put(j, "CreatedAt", created_at(created));
	json_put_str(j, "RunningFor", str_c(ago));
	json_put_str(j, "Ports", STR(""));
	json_put_str(j, "State", str_c(container_status_name(k)));
	json_put(j, "Status", status_of(k, now));
	json_put_str(j, "HealthStatus", STR(""));
	json_put_str(j, "Size", STR("0B"));
	json_put(j, "Names", json_text(str_c(k->name)));
	json_put(j, "Labels", labels_of(k));
	json_put_str(j, "LocalVolumes", STR("0"));
	json_put_str(j, "Mounts", STR(""));
	json_put(j, "Networks",
		 json_text(json_get_str(container_section(k, "HostConfig"), "NetworkMode")));
	/* For {{.Label "k"}}; no part of {{json .}}. */
	json_put(j, "Label",
		 json_incref(json_object_get(container_section(k, "Config"), "Labels")));
	return j;
}

/* ---- filters: the same name again is "or", another is "and" */

struct filters {
	struct cache *c;
	const struct container_list *all;
	const struct opt_list *list;
};

static int match_name(const struct container *k, struct str value, struct err **err)
{
	_cleanup_free_ char *pattern = str_dup(value), *slashed = xasprintf("/%s", k->name);
	regex_t re;
	if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB))
		return cmd_usage(err, "invalid filter 'name=%s': it is no regular expression",
				 pattern);
	int r = !regexec(&re, k->name, 0, NULL, 0) || !regexec(&re, slashed, 0, NULL, 0);
	regfree(&re);
	return r;
}

static int match_label(const struct container *k, struct str value)
{
	struct str name = value, want;
	bool has_value = str_cut(value, '=', &name, &want);
	_cleanup_free_ char *key = str_dup(name);
	const json_t *label =
		json_object_get(json_object_get(container_section(k, "Config"), "Labels"), key);
	return label && (!has_value || str_eq_c(want, json_string_value(label)));
}

static int match_ancestor(const struct filters *f, const struct container *k, struct str value)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(err_dropp) struct err *e = NULL;
	struct image image;
	struct str name;
	char text[DIGEST_TEXT];
	if (str_eq(json_get_str(container_section(k, "Config"), "Image"), value))
		return 1;
	return cache_image_find(f->c, a, value, &image, &name, &e) == 0 &&
		str_eq_c(json_get_str(k->config, "Image"), digest_text(&image.id, text));
}

static int match_order(const struct filters *f, const struct container *k, struct str value,
		       bool before, struct err **err)
{
	for (size_t i = 0; i < f->all->n; i++) {
		const struct container *o = f->all->v[i];
		if (!str_eq_c(value, o->name) && !(value.n && str_starts(str_c(o->id), value)))
			continue;
		int64_t mine = container_created_ns(k), other = container_created_ns(o);
		return before ? mine < other : mine > other;
	}
	return err_set(err, ERR_NOT_FOUND, "No such container: %.*s", STR_ARG(value));
}

static int match(const struct filters *f, const struct container *k, struct str name,
		 struct str value, struct err **err)
{
	static const char *const known[] = { "created", "restarting", "running", "removing",
					     "paused",  "exited",     "dead" };
	if (str_eq_c(name, "id"))
		return str_starts(str_c(k->id), value);
	if (str_eq_c(name, "name"))
		return match_name(k, value, err);
	if (str_eq_c(name, "label"))
		return match_label(k, value);
	if (str_eq_c(name, "ancestor"))
		return match_ancestor(f, k, value);
	if (str_eq_c(name, "before") || str_eq_c(name, "since"))
		return match_order(f, k, value, str_eq_c(name, "before"), err);
	if (str_eq_c(name, "network"))
		return str_eq(json_get_str(container_section(k, "HostConfig"), "NetworkMode"),
			      value);
	if (str_eq_c(name, "exited")) {
		int64_t n;
		return str_int(value, 0, 255, &n, err) < 0
			? -1
			: k->state.status == CONTAINER_EXITED && k->state.exit == n;
	}
	if (str_eq_c(name, "status")) {
		for (size_t i = 0; i < ARRAY_SIZE(known); i++)
			if (str_eq_c(value, known[i]))
				return str_eq_c(value, container_status_name(k));
		return err_set(err, ERR_INVALID, "invalid filter 'status=%.*s'", STR_ARG(value));
	}
	return err_set(err, ERR_INVALID, "invalid filter '%.*s'", STR_ARG(name));
}

static bool cut_filter(const char *text, struct str *name, struct str *value)
{
	return str_cut(str_c(text), '=', name, value);
}

static int wanted(const struct filters *f, const struct container *k, struct err **err)
{
	for (size_t i = 0; i < f->list->n; i++) {
		struct str name, value, other, ignored;
		bool any = false, first = true;
		if (!cut_filter(f->list->v[i], &name, &value))
			return cmd_usage(
				err,
				"invalid argument \"%s\" for \"-f, --filter\" flag: invalid filter, expected NAME=VALUE",
				f->list->v[i]);
		for (size_t j = 0; j < i; j++)
			first &= !cut_filter(f->list->v[j], &other, &ignored) ||
				!str_eq(other, name);
		for (size_t j = i; first && j < f->list->n; j++) {
			int r = cut_filter(f->list->v[j], &other, &value) && str_eq(other, name)
				? match(f, k, name, value, err)
				: 0;
			if (r < 0)
				return -1;
			any |= r;
		}
		if (first && !any)
			return 0;
	}
	return 1;
}

/* ---- printing */

static const struct {
	const char *name, *heading;
} headings[] = {
	{ "ID", "CONTAINER ID" },
	{ "Image", "IMAGE" },
	{ "Command", "COMMAND" },
	{ "CreatedAt", "CREATED AT" },
	{ "RunningFor", "CREATED" },
	{ "Ports", "PORTS" },
	{ "State", "STATE" },
	{ "Status", "STATUS" },
	{ "HealthStatus", "HEALTH STATUS" },
	{ "Size", "SIZE" },
	{ "Names", "NAMES" },
	{ "Labels", "LABELS" },
	{ "LocalVolumes", "LOCAL VOLUMES" },
	{ "Mounts", "MOUNTS" },
	{ "Networks", "NETWORKS" },
};
#define PLAIN_TABLE                                                                                \
	"{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"

/* The columns of a table are what tabs divide; the headings are the same template over their names. */
static void add_cells(struct table **t, struct str line)
{
	const char *cells[64];
	size_t n = 0;
	_cleanup_free_ char *text = str_dup(line);
	for (char *p = text; n < ARRAY_SIZE(cells); n++) {
		char *tab = strchr(p, '\t');
		cells[n] = p;
		if (!tab) {
			n++;
			break;
		}
		*tab = 0;
		p = tab + 1;
	}
	if (!*t) {
		*t = table_new(cells, n);
		return;
	}
	for (size_t i = 0; i < n; i++)
		table_add(*t, str_c(cells[i]));
}

static json_t *heading_row(void)
{
	json_t *j = json_object(), *label = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(headings); i++)
		json_put_str(j, headings[i].name, str_c(headings[i].heading));
	json_put(j, "Label", label);
	return j;
}

static int print_rows(json_t *rows, struct str format, bool table, struct err **err)
{
	static const char *const maps[] = { "Label", NULL };
	_cleanup_(template_freep) struct template *t = template_parse(format, err);
	_cleanup_(json_unrefp) json_t *heads = heading_row();
	_cleanup_(sb_releasep) struct sb line = { 0 };
	struct table *shown = NULL;
	size_t i;
	json_t *row;
	if (!t)
		return -1;
	if (table) {
		if (template_run(t, heads, maps, &line, err) < 0)
			return -1;
		add_cells(&shown, sb_str(&line));
	}
	int r = 0;
	json_array_foreach(rows, i, row)
	{
		sb_reset(&line);
		r = template_run(t, row, maps, &line, err);
		if (r < 0)
			break;
		if (table)
			add_cells(&shown, sb_str(&line));
		else
			printf("%.*s\n", STR_ARG(sb_str(&line)));
	}
	if (shown)
		table_print(shown);
	return r;
}

static int print(const struct ps_options *o, json_t *rows, struct err **err)
{
	struct str format = o->format ? str_c(o->format) : STR("table " PLAIN_TABLE), rest;
	if (o->quiet)
		return print_rows(rows, STR("{{.ID}}"), false, err);
	if (str_eq_c(format, "json"))
		return print_rows(rows, STR("{{json .}}"), false, err);
	if (!template_is_table(format, &rest))
		return print_rows(rows, format, false, err);
	return print_rows(rows, rest.n ? rest : STR(PLAIN_TABLE), true, err);
}

/* --filter status=… looks at all of them, as do -l and -n. */
static bool looks_at_all(const struct ps_options *o)
{
	struct str name, value;
	bool all = o->all || o->latest || o->last > 0;
	for (size_t i = 0; i < o->filter.n; i++)
		all |= cut_filter(o->filter.v[i], &name, &value) && str_eq_c(name, "status");
	return all;
}

static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	const struct ps_options *o = opts;
	struct container_list all = { 0 };
	_cleanup_(json_unrefp) json_t *rows = json_array();
	struct cache *c;
	(void)ret_status;
	if (args->n)
		return cmd_usage(err, "\"cbuild ps\" accepts no arguments");
	if (session_cache(s, &c, err) < 0 || container_list(c, &all, err) < 0)
		return -1;
	struct filters f = { c, &all, &o->filter };
	int64_t most = o->latest ? 1 : o->last > 0 ? o->last : INT64_MAX, now = clock_real_ns();
	bool look = looks_at_all(o);
	int r = 0;
	for (size_t i = 0; i < all.n && !r && (int64_t)json_array_size(rows) < most; i++) {
		if (!look && all.v[i]->state.status != CONTAINER_RUNNING)
			continue;
		int want = wanted(&f, all.v[i], err);
		if (want > 0)
			json_push(rows, row_of(all.v[i], o->no_trunc, now));
		r = want < 0 ? -1 : 0;
	}
	container_list_release(&all);
	return r < 0 ? -1 : print(o, rows, err);
}

const struct command cmd_ps = {
	.name = "ps",
	.alias = "container ls",
	.usage = "[OPTIONS]",
	.summary = "List containers",
	.options = options,
	.opts_size = sizeof(struct ps_options),
	.needs = NEEDS_ROOT,
	.run = run,
	.more = "Examples:\n  cbuild ps -a\n  cbuild ps --filter name=web --format '{{.ID}} {{.Status}}'\n",
};
