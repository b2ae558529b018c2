#include <stdio.h>

#include "cmd/commands.h"
#include "cmd/containers.h"
#include "cmd/session.h"
#include "runtime/monitor.h"

struct run_options {
	struct container_flags c; /* first */
	bool detach;
	const char *detach_keys;
	bool no_sig_proxy;
};

static const struct option_row options[] = {
	CONTAINER_FLAGS,
	{ 'd', "detach", OPT_FLAG, offsetof(struct run_options, detach), NULL,
	  "Run in the background and print the container's id" },
	{ 0, "detach-keys", OPT_STR, offsetof(struct run_options, detach_keys), "KEYS",
	  "Keys that leave it running (default: ctrl-p,ctrl-q)" },
	{ 0, "sig-proxy", OPT_NOT, offsetof(struct run_options, no_sig_proxy), NULL,
	  "Pass signals on, where it has no terminal (default: true)" },
	{ 0 },
};

/* With --rm a container that could not be started goes as well. */
static int not_started(struct cache *c, struct container *k, bool rm, struct err **err)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	if (rm && containers_remove_ended(c, k, &e) < 0)
		fprintf(stderr, "WARNING: %s\n", e->msg);
	(void)err;
	return -1;
}

static int run_detached(struct cache *c, struct container *k, const struct run_options *o,
			struct err **err)
{
	_cleanup_close_ int conn = -1;
	/* As Docker, also where it cannot be started. */
	puts(k->id);
	if (container_start(c, k, &(struct container_attach){ 0 }, &conn, err) < 0 ||
	    container_wait_started(c, k, conn, err) < 0)
		return not_started(c, k, o->c.rm, err);
	return 0;
}

static int run_attached(struct cache *c, struct container *k, const struct run_options *o,
			unsigned streams, struct attach *a, int *ret_status, struct err **err)
{
	_cleanup_close_ int conn = -1;
	enum attach_end end;
	struct container_attach with = { .streams = streams | (o->c.rm ? PROTO_STREAM_REAPS : 0) };
	if (o->c.tty)
		attach_window(&with.rows, &with.cols);
	if (container_start(c, k, &with, &conn, err) < 0)
		return not_started(c, k, o->c.rm, err);
	a->conn = conn;
	if (containers_attach(c, k, a, &end, ret_status, err) < 0)
		return not_started(c, k, o->c.rm, err);
	bool over = end == ATTACH_EXITED || end == ATTACH_LOST;
	return over && o->c.rm ? containers_remove_ended(c, k, err) : 0;
}

static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	const struct run_options *o = opts;
	struct attach a = { .tty = o->c.tty, .sig_proxy = !o->no_sig_proxy };
	_cleanup_(container_freep) struct container *k = NULL;
	unsigned streams;
	struct cache *c;
	if (!args->n)
		return cmd_usage(err, "\"cbuild run\" requires at least 1 argument");
	if (containers_detach_keys(o->detach_keys, &a.keys, err) < 0)
		return -1;
	if (!o->detach && containers_no_tty(o->c.tty, o->c.interactive)) {
		*ret_status = 1;
		return 0;
	}
	if (containers_create(s, &o->c, args, o->detach, &k, &streams, err) < 0 ||
	    session_cache(s, &c, err) < 0)
		return -1;
	a.input = streams & PROTO_STREAM_IN && o->c.interactive;
	return o->detach ? run_detached(c, k, o, err)
			 : run_attached(c, k, o, streams, &a, ret_status, err);
}

const struct command cmd_run = {
	.name = "run",
	.alias = "container run",
	.usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
	.summary = "Make a container of an image and run it",
	.options = options,
	.opts_size = sizeof(struct run_options),
	.needs = NEEDS_ROOT,
	.stop_at_first = true,
	.container_exit = true,
	.run = run,
	.more = "Exit status: the program's; 125 cbuild failed, 126 the program cannot be executed, 127 it was not found, 255 the kernel refused it.\n\n"
		"Examples:\n  cbuild run --rm -it shop sh\n  cbuild run -d --name web --network host shop\n",
};
