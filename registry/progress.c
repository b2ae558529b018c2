#include "registry/progress.h"

#include "base/clock.h"

enum { PAUSE_NS = 100 * 1000 * 1000 };

void progress_show(const struct progress *p, uint64_t current, enum event_state state)
{
	char text[DIGEST_TEXT];
	event_emit(p->events,
		   &(struct event){ .kind = EVENT_STATUS,
				    .vertex = p->vertex,
				    .name = str_c(digest_text(&p->blob->digest, text)),
				    .current = current,
				    .total = p->blob->size,
				    .state = state });
}

void progress_moved(void *arg, uint64_t current)
{
	struct progress *p = arg;
	int64_t now = clock_mono_ns();
	if (now - p->shown_ns < PAUSE_NS)
		return;
	p->shown_ns = now;
	progress_show(p, current, EVENT_STARTED);
}
