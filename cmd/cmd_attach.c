#include <stdio.h>

#include "cmd/commands.h"
#include "cmd/containers.h"
#include "cmd/session.h"
#include "runtime/monitor.h"

struct attach_options {
	bool no_stdin;
	const char *detach_keys;
	bool no_sig_proxy;
};

static const struct option_row options[] = {
	{ 0, "detach-keys", OPT_STR, offsetof(struct attach_options, detach_keys), "KEYS",
	  "Keys that leave it running (default: ctrl-p,ctrl-q)" },
	{ 0, "no-stdin", OPT_FLAG, offsetof(struct attach_options, no_stdin), NULL,
	  "Do not attach to stdin" },
	{ 0, "sig-proxy", OPT_NOT, offsetof(struct attach_options, no_sig_proxy), NULL,
	  "Pass signals on (default: true)" },
	{ 0 },
};

static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	const struct attach_options *o = opts;
	struct attach a = { .sig_proxy = !o->no_sig_proxy };
	_cleanup_(container_freep) struct container *k = NULL;
	_cleanup_close_ int conn = -1;
	enum attach_end end;
	struct cache *c;
	if (args->n != 1)
		return cmd_usage(err, "\"cbuild attach\" requires exactly 1 argument");
	if (containers_detach_keys(o->detach_keys, &a.keys, err) < 0)
		return -1;
	if (session_cache(s, &c, err) < 0 || !(k = container_find(c, str_c(args->v[0]), err)))
		return -1;
	if (k->state.status != CONTAINER_RUNNING)
		return err_set(err, ERR_INVALID,
			       "You cannot attach to a stopped container, start it first");
	const json_t *config = container_section(k, "Config");
	a.tty = json_get_bool(config, "Tty");
	a.input = !o->no_stdin && json_get_bool(config, "OpenStdin");
	if (containers_no_tty(a.tty, a.input)) {
		*ret_status = 1;
		return 0;
	}
	uint32_t streams = PROTO_STREAM_OUT | PROTO_STREAM_ERR | (a.input ? PROTO_STREAM_IN : 0);
	if (runtime_monitor_connect(k->dir_fd, &conn, err) < 0 ||
	    runtime_monitor_send(conn, PROTO_ATTACH, &streams, 1, err) < 0)
		return -1;
	a.conn = conn;
	if (containers_attach(c, k, &a, &end, ret_status, err) < 0)
		return -1;
	if (end == ATTACH_DETACHED)
		fputs("read escape sequence\n", stderr);
	return 0;
}

const struct command cmd_attach = {
	.name = "attach",
	.alias = "container attach",
	.usage = "[OPTIONS] CONTAINER",
	.summary = "Take part in a running container",
	.options = options,
	.opts_size = sizeof(struct attach_options),
	.needs = NEEDS_ROOT,
	.run = run,
	.more = "Examples:\n  cbuild attach box\n  cbuild attach --no-stdin --sig-proxy=false web\n",
};
