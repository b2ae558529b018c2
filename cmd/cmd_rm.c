#include <signal.h>
#include <stdio.h>

#include "cmd/commands.h"
#include "cmd/containers.h"
#include "cmd/session.h"
#include "runtime/monitor.h"

enum { END_MS = 10 * 1000 };

struct rm_options {
	bool force;
};

static const struct option_row options[] = {
	{ 'f', "force", OPT_FLAG, offsetof(struct rm_options, force), NULL,
	  "Kill it where it runs" },
	{ 'l', "link", OPT_REFUSED, 0, NULL, NULL },
	{ 'v', "volumes", OPT_IGNORED, 0, NULL,
	  "Accepted: containers have no anonymous volumes yet" },
	{ 0 },
};

static int remove_one(struct cache *c, struct container *k, bool force, struct err **err)
{
	int r = container_lock(c, k, err);
	if (r < 0)
		return -1;
	if (!r && !force)
		return err_set(
			err, ERR_EXISTS,
			"cannot remove container \"/%s\": container is running: stop the container before removing or force remove",
			k->name);
	if (!r) {
		_cleanup_(err_dropp) struct err *e = NULL;
		_cleanup_close_ int conn = -1;
		/* Where it is about to end or to be started, the lock tells. */
		if (containers_watch(k, &conn, &e) == 0 &&
		    runtime_monitor_send(conn, PROTO_SIGNAL, (uint32_t[]){ SIGKILL }, 1, &e) < 0)
			return err_move(err, STEAL(e));
		if (container_lock_wait(c, k, END_MS, err) < 0)
			return -1;
	}
	return container_remove(c, k, err);
}

static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	const struct rm_options *o = opts;
	struct cache *c;
	if (!args->n)
		return cmd_usage(err, "\"cbuild rm\" requires at least 1 argument");
	if (session_cache(s, &c, err) < 0)
		return -1;
	for (size_t i = 0; i < args->n; i++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		_cleanup_(container_freep) struct container *k =
			container_find(c, str_c(args->v[i]), &e);
		bool found = k;
		if (k && remove_one(c, k, o->force, &e) == 0) {
			puts(args->v[i]);
			continue;
		}
		/* With --rm it may have gone by itself while we were at it: it is gone, as was asked. */
		if (found && e->code == ERR_NOT_FOUND) {
			puts(args->v[i]);
			continue;
		}
		containers_say(e);
		/* As Docker: with -f what is not there is no failure. */
		if (found || !o->force || e->code != ERR_NOT_FOUND)
			*ret_status = 1;
	}
	return 0;
}

const struct command cmd_rm = {
	.name = "rm",
	.alias = "container rm",
	.usage = "[OPTIONS] CONTAINER [CONTAINER...]",
	.summary = "Remove containers",
	.options = options,
	.opts_size = sizeof(struct rm_options),
	.needs = NEEDS_ROOT,
	.run = run,
	.more = "Examples:\n  cbuild rm web\n  cbuild rm -f $(cbuild ps -aq)\n",
};
