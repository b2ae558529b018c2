/* plain: BuildKit's line grammar ("#7 [2/5] RUN …", "#7 0.123 text", "#7 DONE 0.3s"), on which CI's log folding matches; quiet: nothing. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/ui_internal.h"

struct plain {
	unsigned last_number;
	struct ui_vertex *shown; /* whose lines were printed last */
	bool open;               /* it has not ended */
};

static struct plain *plain(struct ui *u)
{
	void **p = ui_state(u);
	if (!*p)
		*p = xcalloc(1, sizeof(struct plain));
	return *p;
}

/* Makes v the vertex whose lines follow. */
static void turn_to(struct ui *u, struct ui_vertex *v)
{
	struct plain *p = plain(u);
	if (p->shown == v)
		return;
	if (p->shown && p->open)
		fprintf(stderr, "#%u ...\n", p->shown->number);
	if (p->shown)
		fputc('\n', stderr);
	if (!v->number)
		v->number = ++p->last_number;
	fprintf(stderr, "#%u %s\n", v->number, v->name ? v->name : "");
	p->shown = v;
	p->open = true;
}

static void vertex(struct ui *u, struct ui_vertex *v)
{
	char buf[24];
	if (v->state == EVENT_PENDING || (v->state == EVENT_CANCELED && !v->number))
		return;
	turn_to(u, v);
	switch (v->state) {
	case EVENT_CACHED:
		fprintf(stderr, "#%u %s\n", v->number,
			v->cut_off ? "CUT-OFF (same output as before)" : "CACHED");
		break;
	case EVENT_DONE:
		fprintf(stderr, "#%u DONE %s\n", v->number,
			ui_seconds(v->started_ns ? v->completed_ns - v->started_ns : 0, buf));
		break;
	case EVENT_FAILED:
		fprintf(stderr, "#%u ERROR: %s\n", v->number, v->error ? v->error : "");
		break;
	case EVENT_CANCELED:
		fprintf(stderr, "#%u CANCELED\n", v->number);
		break;
	default:
		return;
	}
	plain(u)->open = false;
}

static void line(struct ui *u, struct ui_vertex *v, struct str text)
{
	turn_to(u, v);
	fprintf(stderr, "#%u %s", v->number, v->stamp);
	fwrite(text.p ? text.p : "", 1, text.n, stderr);
	fputc('\n', stderr);
}

static void status(struct ui *u, struct ui_vertex *v, const struct event *e)
{
	/* Lines for what has ended only: a moving number is for terminals. */
	if (e->state != EVENT_DONE)
		return;
	turn_to(u, v);
	fprintf(stderr, "#%u %.*s %.2fMB", v->number, STR_ARG(e->name), (double)e->current / 1e6);
	if (e->total)
		fprintf(stderr, " / %.2fMB", (double)e->total / 1e6);
	fprintf(stderr, " done\n");
}

static void text(struct ui *u, const struct event *e)
{
	(void)u;
	fprintf(stderr, "%.*s\n", STR_ARG(e->text));
}

const struct ui_renderer ui_plain = {
	.vertex = vertex, .line = line, .status = status, .text = text
};
const struct ui_renderer ui_quiet = { 0 };
