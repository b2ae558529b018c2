#include <stdio.h>
#include <stdlib.h>

#include "cmd/commands.h"
#include "cmd/containers.h"
#include "cmd/session.h"
#include "cmd/template.h"
#include "runtime/container/inspect.h"

struct inspect_options {
	const char *format, *type;
};

static const struct option_row options[] = {
	{ 'f', "format", OPT_STR, offsetof(struct inspect_options, format), "FORMAT",
	  "A Go template, or json" },
	{ 's', "size", OPT_REFUSED, 0, NULL, NULL },
	{ 0, "type", OPT_STR, offsetof(struct inspect_options, type), "container",
	  "What is looked for (images come with their own command)" },
	{ 0 },
};

/* Objects that are maps in Docker's types: a name that is not in them is no mistake. */
static const char *const maps[] = { "Labels", "Volumes", "ExposedPorts", "Ports", "Networks",
				    "Tmpfs",  "Sysctls", "PortBindings", NULL };

static int print_templated(json_t *all, const char *format, struct err **err)
{
	_cleanup_(template_freep) struct template *t = template_parse(str_c(format), err);
	size_t i;
	json_t *one;
	if (!t)
		return -1;
	json_array_foreach(all, i, one)
	{
		_cleanup_(sb_releasep) struct sb line = { 0 };
		if (template_run(t, one, maps, &line, err) < 0)
			return -1;
		printf("%.*s\n", STR_ARG(sb_str(&line)));
	}
	return 0;
}

static int print(json_t *all, const char *format, struct err **err)
{
	if (format && strcmp(format, "json"))
		return print_templated(all, format, err);
	_cleanup_free_ char *text =
		json_dumps(all, (format ? JSON_COMPACT : JSON_INDENT(4)) | JSON_ENCODE_ANY);
	if (!text)
		mem_fail();
	puts(text);
	return 0;
}

static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	const struct inspect_options *o = opts;
	_cleanup_(json_unrefp) json_t *all = json_array();
	struct cache *c;
	if (!args->n)
		return cmd_usage(err, "\"cbuild inspect\" requires at least 1 argument");
	if (o->type && strcmp(o->type, "container"))
		return cmd_usage(err, "not supported yet: --type %s", o->type);
	if (session_cache(s, &c, err) < 0)
		return -1;
	/* As Docker: what was found is printed, and what was not is said. */
	_cleanup_(sb_releasep) struct sb missing = { 0 };
	for (size_t i = 0; i < args->n; i++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		_cleanup_(container_freep) struct container *k =
			container_find(c, str_c(args->v[i]), &e);
		if (k)
			json_push(all, container_inspect(c, k));
		else if (e->code == ERR_NOT_FOUND)
			sb_printf(&missing, "Error: No such object: %s\n", args->v[i]);
		else
			sb_printf(&missing, "Error response: %s\n", e->msg);
	}
	int r = print(all, o->format, err);
	if (missing.n) {
		fflush(stdout);
		fputs(sb_c(&missing), stderr);
		*ret_status = 1;
	}
	return r;
}

const struct command cmd_inspect = {
	.name = "inspect",
	.alias = "container inspect",
	.usage = "[OPTIONS] CONTAINER [CONTAINER...]",
	.summary = "Show all that is known of containers",
	.options = options,
	.opts_size = sizeof(struct inspect_options),
	.needs = NEEDS_ROOT,
	.run = run,
	.more = "Examples:\n  cbuild inspect web\n  cbuild inspect -f '{{.State.Status}} {{json .Config.Env}}' web\n",
};
