#include <stdio.h>

#include "cmd/commands.h"
#include "cmd/containers.h"

static const struct option_row options[] = { CONTAINER_FLAGS, { 0 } };

static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	const struct container_flags *f = opts;
	_cleanup_(container_freep) struct container *k = NULL;
	unsigned streams;
	(void)ret_status;
	if (!args->n)
		return cmd_usage(err, "\"cbuild create\" requires at least 1 argument");
	if (containers_create(s, f, args, false, &k, &streams, err) < 0)
		return -1;
	puts(k->id);
	return 0;
}

const struct command cmd_create = {
	.name = "create",
	.alias = "container create",
	.usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
	.summary = "Make a container of an image",
	.options = options,
	.opts_size = sizeof(struct container_flags),
	.needs = NEEDS_ROOT,
	.stop_at_first = true,
	.usage_125 = true,
	.run = run,
	.more = "Examples:\n  cbuild create --name web --network host shop; cbuild start web\n",
};
