#include "cmd/commands.h"
#include "cmd/containers.h"
#include "cmd/session.h"

static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	struct cache *c;
	_cleanup_(container_freep) struct container *k = NULL;
	(void)opts;
	(void)ret_status;
	if (args->n != 2)
		return cmd_usage(err, "\"cbuild rename\" requires exactly 2 arguments");
	if (session_cache(s, &c, err) < 0 || !(k = container_find(c, str_c(args->v[0]), err)))
		return -1;
	return container_rename(c, k, str_c(args->v[1]), err);
}

const struct command cmd_rename = {
	.name = "rename",
	.alias = "container rename",
	.usage = "CONTAINER NEW_NAME",
	.summary = "Give a container another name",
	.needs = NEEDS_ROOT,
	.run = run,
	.more = "Examples:\n  cbuild rename web web-old\n",
};
