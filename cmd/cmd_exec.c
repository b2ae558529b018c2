#include <fcntl.h>
#include <stdio.h>

#include "cmd/commands.h"
#include "cmd/containers.h"
#include "cmd/session.h"
#include "runtime/container/process.h"
#include "runtime/monitor.h"

struct exec_options {
	bool detach, interactive, tty;
	struct opt_list env, env_file;
	const char *user, *workdir, *detach_keys;
};

static const struct option_row options[] = {
	{ 'd', "detach", OPT_FLAG, offsetof(struct exec_options, detach), NULL,
	  "Run it in the background" },
	{ 0, "detach-keys", OPT_STR, offsetof(struct exec_options, detach_keys), "KEYS",
	  "Keys that leave it running (default: ctrl-p,ctrl-q)" },
	{ 'e', "env", OPT_LIST, offsetof(struct exec_options, env), "NAME[=VALUE]",
	  "Set a variable" },
	{ 0, "env-file", OPT_LIST, offsetof(struct exec_options, env_file), "FILE",
	  "Read variables from FILE" },
	{ 'i', "interactive", OPT_FLAG, offsetof(struct exec_options, interactive), NULL,
	  "Keep stdin open" },
	{ 0, "privileged", OPT_REFUSED, 0, NULL, NULL },
	{ 't', "tty", OPT_FLAG, offsetof(struct exec_options, tty), NULL, "Give it a terminal" },
	{ 'u', "user", OPT_STR, offsetof(struct exec_options, user), "USER[:GROUP]",
	  "Run as this user" },
	{ 'w', "workdir", OPT_STR, offsetof(struct exec_options, workdir), "DIR",
	  "Start in this folder" },
	{ 0 },
};

/* The container's root as pid 1 has it, for the look-up of users. */
static int open_root(const struct container *k, int *ret_fd, struct err **err)
{
	char path[48];
	snprintf(path, sizeof(path), "/proc/%d/root", k->state.pid);
	*ret_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return *ret_fd < 0 ? err_set(err, ERR_NOT_FOUND, "container %s is not running", k->id) : 0;
}

static int ask(const struct container *k, const struct exec_options *o, const struct args *args,
	       int conn, struct err **err)
{
	struct container_exec x = { .argv = { args->v + 1, args->n - 1 },
				    .env = { o->env.v, o->env.n },
				    .env_file = { o->env_file.v, o->env_file.n },
				    .user = o->user,
				    .workdir = o->workdir,
				    .tty = o->tty,
				    .interactive = o->interactive && !o->detach };
	struct container_process p = { 0 };
	_cleanup_close_ int root = -1;
	if (open_root(k, &root, err) < 0)
		return -1;
	int r = container_process_exec(k, root, &x, &p, err);
	if (!r) {
		struct runtime_terminal *t = &p.spec.terminal;
		if (o->tty)
			attach_window(&t->rows, &t->cols);
		if (!o->detach)
			t->streams = PROTO_STREAM_OUT | PROTO_STREAM_ERR |
				(o->interactive ? PROTO_STREAM_IN : 0);
		r = runtime_monitor_exec(conn, &p.spec, err);
	}
	container_process_release(&p);
	return r;
}

/* Until the program has been executed. */
static int wait_started(int conn, struct err **err)
{
	for (;;) {
		_cleanup_(proto_message_release) struct proto_message m;
		if (proto_recv(conn, true, &m, err) < 0)
			return -1;
		if (m.kind == PROTO_ERROR)
			return proto_error_get(&m, err);
		if (m.kind == PROTO_STARTED)
			return 0;
	}
}

/* Docker's statuses: 126, 127, 255 are the program's, all else is 1. */
static int failed(struct err **err)
{
	int status = (*err)->status;
	return err_status(err, status >= 126 && status <= 255 ? status : 1);
}

static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	const struct exec_options *o = opts;
	struct attach a = { .tty = o->tty, .input = o->interactive };
	_cleanup_(container_freep) struct container *k = NULL;
	_cleanup_close_ int conn = -1;
	enum attach_end end;
	struct cache *c;
	if (args->n < 2)
		return cmd_usage(err, "\"cbuild exec\" requires at least 2 arguments");
	if (containers_detach_keys(o->detach_keys, &a.keys, err) < 0)
		return -1;
	if (!o->detach && containers_no_tty(o->tty, o->interactive)) {
		*ret_status = 1;
		return 0;
	}
	if (session_cache(s, &c, err) < 0 || !(k = container_find(c, str_c(args->v[0]), err)))
		return failed(err);
	if (k->state.status != CONTAINER_RUNNING ||
	    runtime_monitor_connect(k->dir_fd, &conn, err) < 0) {
		err_drop(err);
		err_set(err, ERR_NOT_FOUND, "container %s is not running", k->id);
		return failed(err);
	}
	if (ask(k, o, args, conn, err) < 0)
		return failed(err);
	if (o->detach)
		return wait_started(conn, err) < 0 ? failed(err) : 0;
	a.conn = conn;
	if (attach_run(&a, &end, err) < 0)
		return failed(err);
	*ret_status = a.status;
	return 0;
}

const struct command cmd_exec = {
	.name = "exec",
	.alias = "container exec",
	.usage = "[OPTIONS] CONTAINER COMMAND [ARG...]",
	.summary = "Run a command in a running container",
	.options = options,
	.opts_size = sizeof(struct exec_options),
	.needs = NEEDS_ROOT,
	.stop_at_first = true,
	.usage_125 = true,
	.run = run,
	.more = "Examples:\n  cbuild exec -it web sh\n  cbuild exec -u 1000 -w /tmp web id\n",
};
