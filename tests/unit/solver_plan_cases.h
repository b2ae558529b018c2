/*
 * solver_plan_cases: Dockerfiles planned over a few assumed bases, and the plan as text. Shared by the solver_plan_*.c programs.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "parser/parse.h"
#include "solver/check.h"
#include "solver/config.h"
#include "solver/plan.h"

#define P "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct plan_case {
	const char *name, *text;
	const char *args, *labels, *contexts; /* name=value, by blanks */
	const char *target;
	int network;
	bool all;
	const char *want; /* or the error: "! line-last MESSAGE" */
};

struct base_of {
	const char *ref, *json;
};

static const struct base_of bases_known[] = {
	{ "docker.io/library/b:latest",
	  "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Env\":[\"PATH=/bin\",\"X=1\"],\"Cmd\":[\"sh\"]},"
	  "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}" },
	{ "docker.io/library/triggers:latest",
	  "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Env\":[\"PATH=/bin\"],"
	  "\"OnBuild\":[\"CMD [\\\"t\\\"]\",\"COPY --from=from a /b\"]},"
	  "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}" },
	{ "docker.io/library/broken:latest",
	  "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"OnBuild\":[\"FOO\"]},"
	  "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}" },
	{ "docker.io/library/odd:latest",
	  "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Env\":[\"Y=2\"],\"WorkingDir\":\"app\",\"User\":\"u\"},"
	  "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}" },
	{ "docker.io/library/arm:latest",
	  "{\"architecture\":\"arm64\",\"os\":\"linux\",\"config\":{},"
	  "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}" },
};

static void resolve(struct arena *a, struct plan_base *b)
{
	struct oci_image *image = arena_new_of(a, struct oci_image);
	const char *json = bases_known[0].json;
	for (size_t i = 0; i < ARRAY_SIZE(bases_known); i++)
		if (str_eq_c(b->ref, bases_known[i].ref))
			json = bases_known[i].json;
	struct err *e = NULL;
	if (oci_image_parse(a, str_c(json), image, &e) < 0)
		fail_msg("%s", e->msg);
	b->config = image;
}

static const struct plan_pair *pairs_of(struct arena *a, const char *text, size_t *ret_n)
{
	struct plan_pair *v = arena_array_of(a, struct plan_pair, 8);
	struct str rest = str_c(text ? text : ""), word;
	for (*ret_n = 0; rest.n;) {
		if (!str_cut(rest, ' ', &word, &rest)) {
			word = rest;
			rest.n = 0;
		}
		assert_true(*ret_n < 8 && str_cut(word, '=', &v[*ret_n].name, &v[*ret_n].value));
		++*ret_n;
	}
	return v;
}

static int plan_of(struct arena *a, const struct plan_case *c, struct df_lint *lint,
		   struct plan **ret, struct err **err)
{
	struct plan_options *o = arena_new_of(a, struct plan_options);
	struct df_file *file;
	struct plan_bases *bases;
	*o = solver_dump_options();
	o->no_client = o->check_only = false;
	o->lint = lint;
	o->all_stages = c->all;
	o->target = str_c(c->target);
	o->network = c->network;
	o->build_args = pairs_of(a, c->args, &o->n_build_args);
	o->labels = pairs_of(a, c->labels, &o->n_labels);
	o->contexts = pairs_of(a, c->contexts, &o->n_contexts);
	if (solver_parse(a, str_c(c->text), o, lint, &file, err) < 0 ||
	    plan_bases(a, file, o, &bases, err) < 0)
		return -1;
	for (bool more = true; more;) {
		size_t n;
		struct plan_base **list = plan_bases_list(bases, &n);
		for (size_t i = 0; i < n; i++)
			if (!list[i]->config)
				resolve(a, list[i]);
		if (plan_triggers(bases, &more, err) < 0)
			return -1;
	}
	return plan_graph(bases, ret, err);
}

static void put(struct sb *out, const char *what, struct str s)
{
	if (s.n)
		sb_printf(out, "%s %.*s\n", what, STR_ARG(s));
}

static void put_list(struct arena *a, struct sb *out, const char *what, const struct oci_list *l)
{
	if (l->n)
		put(out, what, config_text_quoted(a, l->v, l->n));
}

/* The image's config, then its new history: "*" an entry with a layer, "-" one without. */
__attribute__((unused)) static void describe_image(struct arena *a, const struct plan *p,
						   const struct df_lint *lint, struct sb *out)
{
	const struct oci_config *c = &p->image.config;
	(void)lint;
	put(out, "author", p->image.author);
	sb_add_c(out, "env");
	for (size_t i = 0; i < c->env.n; i++)
		sb_printf(out, " %.*s", STR_ARG(c->env.v[i]));
	sb_add_ch(out, '\n');
	put(out, "dir", c->working_dir);
	put_list(a, out, "entrypoint", &c->entrypoint);
	put_list(a, out, "cmd", &c->cmd);
	sb_add_c(out, c->args_escaped ? "argsescaped\n" : "");
	put(out, "user", c->user);
	put(out, "stopsignal", c->stop_signal);
	for (size_t i = 0; i < c->n_labels; i++)
		sb_printf(out, "label %.*s=%.*s\n", STR_ARG(c->labels[i].name),
			  STR_ARG(c->labels[i].value));
	for (size_t i = 0; i < c->volumes.n; i++)
		put(out, "volume", c->volumes.v[i]);
	for (size_t i = 0; i < c->exposed_ports.n; i++)
		put(out, "port", c->exposed_ports.v[i]);
	put_list(a, out, "shell", &c->shell);
	put_list(a, out, "onbuild", &c->onbuild);
	if (c->healthcheck)
		put(out, "health",
		    config_text_quoted(a, c->healthcheck->test, c->healthcheck->n_test));
	for (size_t i = 0; i < p->n_history; i++)
		sb_printf(out, "%c %.*s\n", p->history[i].step ? '*' : '-',
			  STR_ARG(p->history[i].created_by));
}

/* Plans one case and compares the text of what comes out. */
static void check_case(const struct plan_case *c,
		       void (*describe)(struct arena *, const struct plan *, const struct df_lint *,
					struct sb *))
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(sb_releasep) struct sb out = { 0 };
	_cleanup_(err_dropp) struct err *e = NULL;
	struct df_lint lint = { .a = a };
	struct plan *p = NULL;
	if (plan_of(a, c, &lint, &p, &e) < 0)
		sb_printf(&out, "! %u-%u %s\n", e->at.line, e->at.last, e->msg);
	else
		describe(a, p, &lint, &out);
	if (strcmp(sb_c(&out), c->want) != 0)
		fail_msg("%s: wanted\n%s\ngot\n%s", c->name, c->want, sb_c(&out));
}
