#include <stdio.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/glob.h"
#include "cache/name.h"
#include "cmd/cmd.h"
#include "cmd/commands.h"
#include "cmd/format.h"
#include "cmd/session.h"

struct images_options {
	bool all, quiet, no_trunc, digests;
	struct opt_list filter;
};

static const struct option_row options[] = {
	{ 'a', "all", OPT_FLAG, offsetof(struct images_options, all), NULL,
	  "Show all images (there are no intermediate ones)" },
	{ 0, "digests", OPT_FLAG, offsetof(struct images_options, digests), NULL, "Show digests" },
	{ 'f', "filter", OPT_LIST, offsetof(struct images_options, filter), "FILTER",
	  "Show only what matches: dangling=true|false, reference=PATTERN" },
	{ 0, "no-trunc", OPT_FLAG, offsetof(struct images_options, no_trunc), NULL,
	  "Show whole ids" },
	{ 'q', "quiet", OPT_FLAG, offsetof(struct images_options, quiet), NULL,
	  "Show only image ids" },
	{ 0 },
};

/* Whether a row is shown under the filters and the REPOSITORY[:TAG] argument; -1 for a filter that is not known. */
static int wanted(struct arena *a, const struct images_options *o, const struct args *args,
		  const struct image_row *row, struct err **err)
{
	struct ref ref;
	_cleanup_(err_dropp) struct err *e = NULL;
	bool named = row->name.n && ref_parse(a, row->name, &ref, &e) == 0;
	struct str full = named ? ref_familiar(a, &ref) : STR(""),
		   repo = named ? ref_familiar_name(a, &ref) : STR("");
	for (size_t i = 0; i < o->filter.n; i++) {
		struct str key, value;
		if (!str_cut(str_c(o->filter.v[i]), '=', &key, &value))
			return cmd_usage(err, "invalid filter '%s': expected NAME=VALUE",
					 o->filter.v[i]);
		if (str_eq_c(key, "dangling")) {
			if (str_eq_c(value, "true") == named)
				return 0;
		} else if (str_eq_c(key, "reference")) {
			if (!named ||
			    (glob_match(value, full) != 1 && glob_match(value, repo) != 1))
				return 0;
		} else {
			return cmd_usage(err, "invalid filter '%.*s': use dangling or reference",
					 STR_ARG(key));
		}
	}
	if (!args->n)
		return 1;
	struct ref want;
	if (ref_parse(a, str_c(args->v[0]), &want, err) < 0)
		return -1;
	return named && str_eq(want.domain, ref.domain) && str_eq(want.path, ref.path) &&
		(!want.tag.n || str_eq(want.tag, ref.tag));
}

static void print_id(const struct image_row *row, bool whole)
{
	char text[DIGEST_TEXT], shorter[FORMAT_TEXT];
	puts(whole ? digest_text(&row->id, text) : format_short_id(&row->id, shorter));
}

static void add_row(struct arena *a, struct table *t, const struct images_options *o,
		    const struct image_row *row)
{
	char buf[FORMAT_TEXT], text[DIGEST_TEXT];
	struct ref ref = { 0 };
	_cleanup_(err_dropp) struct err *e = NULL;
	bool named = row->name.n && ref_parse(a, row->name, &ref, &e) == 0;
	table_add(t, named ? ref_familiar_name(a, &ref) : STR("<none>"));
	table_add(t, named && ref.tag.n ? ref.tag : STR("<none>"));
	if (o->digests)
		table_add(t,
			  digest_is_zero(&row->manifest)
				  ? STR("<none>")
				  : str_c(digest_text(&row->manifest, text)));
	table_add(
		t,
		str_c(o->no_trunc ? digest_text(&row->id, text) : format_short_id(&row->id, buf)));
	if (row->created_ns == INT64_MIN || row->created_ns == 0)
		table_add(t, STR("N/A"));
	else
		table_printf(t, "%s ago", format_duration(clock_real_ns() - row->created_ns, buf));
	table_add(t, str_c(format_size(row->size, buf)));
}

static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	(void)ret_status;
	static const char *const plain[] = { "REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE" };
	static const char *const with_digest[] = { "REPOSITORY", "TAG",     "DIGEST",
						   "IMAGE ID",   "CREATED", "SIZE" };
	const struct images_options *o = opts;
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct cache *c;
	struct image_row *rows;
	size_t n;
	if (args->n > 1)
		return cmd_usage(err, "\"cbuild images\" accepts at most 1 argument");
	if (session_cache(s, &c, err) < 0 || cache_image_list(c, a, &rows, &n, err) < 0)
		return -1;
	struct table *t = o->quiet ? NULL
		: o->digests       ? table_new(with_digest, 6)
				   : table_new(plain, 5);
	for (size_t i = 0; i < n; i++) {
		int want = wanted(a, o, args, &rows[i], err);
		if (want < 0) {
			if (t)
				table_print(t);
			return -1;
		}
		if (!want)
			continue;
		if (o->quiet)
			print_id(&rows[i], o->no_trunc);
		else
			add_row(a, t, o, &rows[i]);
	}
	if (t)
		table_print(t);
	return 0;
}

const struct command cmd_images = {
	.name = "images",
	.alias = "image ls",
	.usage = "[OPTIONS] [REPOSITORY[:TAG]]",
	.summary = "List images",
	.options = options,
	.opts_size = sizeof(struct images_options),
	.needs = NEEDS_ROOT,
	.run = run,
	.more = "Examples:\n  cbuild images\n  cbuild images -q --filter dangling=true\n",
};
