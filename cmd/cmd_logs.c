#include "base/clock.h"
#include "cmd/commands.h"
#include "cmd/containers.h"
#include "cmd/session.h"
#include "runtime/container/logs.h"

struct log_options {
	bool follow, timestamps, details;
	const char *tail, *since, *until;
};

static const struct option_row options[] = {
	{ 0, "details", OPT_FLAG, offsetof(struct log_options, details), NULL,
	  "Show details of each line (there are none yet)" },
	{ 'f', "follow", OPT_FLAG, offsetof(struct log_options, follow), NULL,
	  "Go on until the container ends" },
	{ 0, "since", OPT_STR, offsetof(struct log_options, since), "TIME",
	  "Only what is not older: 2006-01-02T15:04:05, 10m, seconds since 1970" },
	{ 'n', "tail", OPT_STR, offsetof(struct log_options, tail), "LINES",
	  "Only the last lines; all (default)" },
	{ 't', "timestamps", OPT_FLAG, offsetof(struct log_options, timestamps), NULL,
	  "Show when each line was printed" },
	{ 0, "until", OPT_STR, offsetof(struct log_options, until), "TIME",
	  "Only what is not younger" },
	{ 0 },
};

static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	const struct log_options *o = opts;
	struct logs_options l = { .follow = o->follow,
				  .timestamps = o->timestamps,
				  .details = o->details,
				  .tail = -1,
				  .since_ns = INT64_MIN,
				  .until_ns = INT64_MAX };
	struct cache *c;
	_cleanup_(container_freep) struct container *k = NULL;
	_cleanup_(err_dropp) struct err *e = NULL;
	(void)ret_status;
	if (args->n != 1)
		return cmd_usage(err, "\"cbuild logs\" requires exactly 1 argument");
	/* As Docker: what is no number is all. */
	if (o->tail && str_int(str_c(o->tail), 0, INT32_MAX, &l.tail, &e) < 0)
		l.tail = -1;
	if ((o->since && logs_time_parse(str_c(o->since), clock_real_ns(), &l.since_ns, err) < 0) ||
	    (o->until && logs_time_parse(str_c(o->until), clock_real_ns(), &l.until_ns, err) < 0))
		return -1;
	if (session_cache(s, &c, err) < 0 || !(k = container_find(c, str_c(args->v[0]), err)))
		return -1;
	return logs_print(k, &l, err);
}

const struct command cmd_logs = {
	.name = "logs",
	.alias = "container logs",
	.usage = "[OPTIONS] CONTAINER",
	.summary = "Show what a container has printed",
	.options = options,
	.opts_size = sizeof(struct log_options),
	.needs = NEEDS_ROOT,
	.run = run,
	.more = "Examples:\n  cbuild logs -f web\n  cbuild logs --since 10m -n 100 web\n",
};
