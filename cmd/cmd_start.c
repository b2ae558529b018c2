#include <stdio.h>

#include "cmd/commands.h"
#include "cmd/containers.h"
#include "cmd/session.h"
#include "runtime/monitor.h"

struct start_options {
	bool attach, interactive;
	const char *detach_keys;
	bool no_sig_proxy;
};

static const struct option_row options[] = {
	{ 'a', "attach", OPT_FLAG, offsetof(struct start_options, attach), NULL,
	  "Attach to stdout and stderr, and pass signals on" },
	{ 0, "detach-keys", OPT_STR, offsetof(struct start_options, detach_keys), "KEYS",
	  "Keys that leave it running (default: ctrl-p,ctrl-q)" },
	{ 'i', "interactive", OPT_FLAG, offsetof(struct start_options, interactive), NULL,
	  "Attach to stdin" },
	{ 0, "sig-proxy", OPT_NOT, offsetof(struct start_options, no_sig_proxy), NULL,
	  "Pass signals on (default: true)" },
	{ 0 },
};

static int start_one(struct cache *c, struct container *k, void *arg, struct err **err)
{
	_cleanup_close_ int conn = -1;
	(void)arg;
	int r = container_lock(c, k, err);
	if (r <= 0)
		return r; /* running already: nothing to do */
	if (container_start(c, k, &(struct container_attach){ 0 }, &conn, err) < 0)
		return -1;
	return container_wait_started(c, k, conn, err);
}

static int start_attached(struct session *s, const struct start_options *o, const char *name,
			  struct attach *a, int *ret_status, struct err **err)
{
	struct cache *c;
	_cleanup_(container_freep) struct container *k = NULL;
	_cleanup_close_ int conn = -1;
	enum attach_end end;
	if (session_cache(s, &c, err) < 0 || !(k = container_find(c, str_c(name), err)))
		return -1;
	const json_t *config = container_section(k, "Config");
	a->tty = json_get_bool(config, "Tty");
	a->input = o->interactive && json_get_bool(config, "OpenStdin");
	if (containers_no_tty(a->tty, a->input)) {
		*ret_status = 1;
		return 0;
	}
	bool rm = container_auto_remove(k);
	struct container_attach with = { .streams = PROTO_STREAM_OUT | PROTO_STREAM_ERR |
						 (a->input ? PROTO_STREAM_IN : 0) |
						 (rm ? PROTO_STREAM_REAPS : 0) };
	if (a->tty)
		attach_window(&with.rows, &with.cols);
	int r = container_lock(c, k, err);
	if (!r)
		return err_set(err, ERR_EXISTS,
			       "cannot attach to a container that runs already: use attach");
	if (r < 0 || container_start(c, k, &with, &conn, err) < 0)
		return -1;
	a->conn = conn;
	if (containers_attach(c, k, a, &end, ret_status, err) < 0)
		return -1;
	return rm && (end == ATTACH_EXITED || end == ATTACH_LOST)
		? containers_remove_ended(c, k, err)
		: 0;
}

static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	const struct start_options *o = opts;
	struct attach a = { .sig_proxy = !o->no_sig_proxy };
	if (!args->n)
		return cmd_usage(err, "\"cbuild start\" requires at least 1 argument");
	if (containers_detach_keys(o->detach_keys, &a.keys, err) < 0)
		return -1;
	if (!o->attach && !o->interactive)
		return containers_each(s, args, false, start_one, NULL, ret_status, err);
	if (args->n > 1)
		return err_set(err, ERR_INVALID,
			       "you cannot start and attach multiple containers at once");
	return start_attached(s, o, args->v[0], &a, ret_status, err);
}

const struct command cmd_start = {
	.name = "start",
	.alias = "container start",
	.usage = "[OPTIONS] CONTAINER [CONTAINER...]",
	.summary = "Start containers that do not run",
	.options = options,
	.opts_size = sizeof(struct start_options),
	.needs = NEEDS_ROOT,
	.usage_125 = true,
	.run = run,
	.more = "Examples:\n  cbuild start web\n  cbuild start -ai box\n",
};
