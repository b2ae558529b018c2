#include <stdio.h>
#include <stdlib.h>

#include "cmd/commands.h"
#include "cmd/containers.h"
#include "cmd/session.h"
#include "runtime/container/config.h"
#include "runtime/monitor.h"

enum { TIMEOUT_S = 10 };

struct stop_options {
	const char *timeout, *signal;
};

static const struct option_row options[] = {
	{ 's', "signal", OPT_STR, offsetof(struct stop_options, signal), "SIGNAL",
	  "What is sent (default: the container's stop signal)" },
	{ 't', "timeout", OPT_STR, offsetof(struct stop_options, timeout), "SECONDS",
	  "When it is killed; -1: never (default: the container's, or 10)" },
	{ 0, "time", OPT_STR, offsetof(struct stop_options, timeout), "SECONDS",
	  "The same as --timeout" },
	{ 0 },
};

struct stopping {
	int signal; /* 0: the container's */
	bool has_timeout;
	int64_t timeout_s;
};

/* Asks; its connection, or -1 in *ret_conn where it does not run. */
static int ask(const struct container *k, const struct stopping *o, int *ret_conn, struct err **err)
{
	const json_t *config = container_section(k, "Config");
	struct str name = json_get_str(config, "StopSignal");
	int signal = o->signal;
	int64_t ms =
		(o->has_timeout ? o->timeout_s : json_get_int(config, "StopTimeout", TIMEOUT_S)) *
		1000;
	*ret_conn = -1;
	if (k->state.status != CONTAINER_RUNNING)
		return 0;
	if (!signal && container_signal_parse(name.n ? name : STR("TERM"), &signal, err) < 0)
		return -1;
	_cleanup_close_ int conn = -1;
	if (containers_watch(k, &conn, err) < 0) {
		/* It has ended since we looked. */
		if ((*err)->code != ERR_NOT_FOUND)
			return -1;
		err_drop(err);
		return 0;
	}
	uint32_t v[] = { (uint32_t)signal, (uint32_t)ms, (uint32_t)((uint64_t)ms >> 32) };
	if (runtime_monitor_send(conn, PROTO_STOP, v, ARRAY_SIZE(v), err) < 0)
		return -1;
	*ret_conn = STEAL_FD(conn);
	return 0;
}

static int parse(const struct stop_options *o, struct stopping *ret, struct err **err)
{
	struct str text = str_c(o->timeout);
	bool never = o->timeout && text.n && text.p[0] == '-';
	*ret = (struct stopping){ .has_timeout = o->timeout, .timeout_s = never ? -1 : 0 };
	if (o->timeout && !never && str_int(text, 0, INT32_MAX, &ret->timeout_s, err) < 0)
		return cmd_usage(
			err, "invalid argument \"%s\" for \"-t, --timeout\" flag: it is no number",
			o->timeout);
	return o->signal ? container_signal_parse(str_c(o->signal), &ret->signal, err) : 0;
}

/* All are asked before the first is waited for: ten that do not listen take ten seconds together. */
static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	struct stopping o;
	struct cache *c;
	if (!args->n)
		return cmd_usage(err, "\"cbuild stop\" requires at least 1 argument");
	if (parse(opts, &o, err) < 0 || session_cache(s, &c, err) < 0)
		return -1;
	struct container **k = xcalloc(args->n, sizeof(struct container *));
	int *conn = xcalloc(args->n, sizeof(*conn));
	for (size_t i = 0; i < args->n; i++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		conn[i] = -1;
		k[i] = container_find(c, str_c(args->v[i]), &e);
		if (k[i] && ask(k[i], &o, &conn[i], &e) == 0)
			continue;
		containers_say(e);
		container_free(STEAL(k[i]));
		*ret_status = 1;
	}
	for (size_t i = 0; i < args->n; i++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		int status;
		if (k[i] && conn[i] >= 0 && containers_wait(c, k[i], conn[i], &status, &e) < 0 &&
		    e->code != ERR_NOT_FOUND) {
			containers_say(e);
			*ret_status = 1;
		} else if (k[i]) {
			puts(args->v[i]);
		}
		mem_closep(&conn[i]);
		container_free(k[i]);
	}
	free(k);
	free(conn);
	return 0;
}

const struct command cmd_stop = {
	.name = "stop",
	.alias = "container stop",
	.usage = "[OPTIONS] CONTAINER [CONTAINER...]",
	.summary = "Stop running containers",
	.options = options,
	.opts_size = sizeof(struct stop_options),
	.needs = NEEDS_ROOT,
	.run = run,
	.more = "Examples:\n  cbuild stop web\n  cbuild stop -t 1 web db\n",
};
