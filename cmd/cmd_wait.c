#include <stdio.h>

#include "cmd/commands.h"
#include "cmd/containers.h"

static int wait_one(struct cache *c, struct container *k, void *arg, struct err **err)
{
	_cleanup_close_ int conn = -1;
	int status = k->state.exit;
	(void)arg;
	if (k->state.status == CONTAINER_RUNNING) {
		if (containers_watch(k, &conn, err) < 0) {
			if ((*err)->code != ERR_NOT_FOUND)
				return -1;
			/* It has ended since we looked. */
			err_drop(err);
			if (container_refresh(c, k, err) < 0)
				return -1;
			status = k->state.exit;
		} else if (containers_wait(c, k, conn, &status, err) < 0) {
			return -1;
		}
	}
	printf("%d\n", status);
	return 0;
}

static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	(void)opts;
	if (!args->n)
		return cmd_usage(err, "\"cbuild wait\" requires at least 1 argument");
	return containers_each(s, args, true, wait_one, NULL, ret_status, err);
}

const struct command cmd_wait = {
	.name = "wait",
	.alias = "container wait",
	.usage = "CONTAINER [CONTAINER...]",
	.summary = "Wait until containers end and print their exit codes",
	.needs = NEEDS_ROOT,
	.run = run,
	.more = "Examples:\n  cbuild wait web\n",
};
