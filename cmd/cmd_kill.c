#include <signal.h>

#include "cmd/commands.h"
#include "cmd/containers.h"
#include "runtime/container/config.h"
#include "runtime/monitor.h"

struct kill_options {
	const char *signal;
};

static const struct option_row options[] = {
	{ 's', "signal", OPT_STR, offsetof(struct kill_options, signal), "SIGNAL",
	  "What is sent (default: KILL)" },
	{ 0 },
};

static int kill_one(struct cache *c, struct container *k, void *arg, struct err **err)
{
	const int *sig = arg;
	_cleanup_close_ int conn = -1;
	int status;
	if (k->state.status == CONTAINER_RUNNING && containers_watch(k, &conn, err) < 0) {
		if ((*err)->code != ERR_NOT_FOUND)
			return -1;
		err_drop(err);
	}
	if (conn < 0)
		return err_set(err, ERR_INVALID,
			       "cannot kill container: %s: container %s is not running", k->name,
			       k->id);
	if (runtime_monitor_send(conn, PROTO_SIGNAL, (uint32_t[]){ (uint32_t)*sig }, 1, err) < 0)
		return -1;
	return *sig == SIGKILL ? containers_wait(c, k, conn, &status, err) : 0;
}

static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	const struct kill_options *o = opts;
	int sig;
	if (!args->n)
		return cmd_usage(err, "\"cbuild kill\" requires at least 1 argument");
	if (container_signal_parse(o->signal ? str_c(o->signal) : STR("KILL"), &sig, err) < 0)
		return -1;
	return containers_each(s, args, false, kill_one, &sig, ret_status, err);
}

const struct command cmd_kill = {
	.name = "kill",
	.alias = "container kill",
	.usage = "[OPTIONS] CONTAINER [CONTAINER...]",
	.summary = "Send a signal to running containers",
	.options = options,
	.opts_size = sizeof(struct kill_options),
	.needs = NEEDS_ROOT,
	.run = run,
	.more = "Examples:\n  cbuild kill web\n  cbuild kill -s HUP web\n",
};
