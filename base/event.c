#include "base/event.h"

#include "base/clock.h"

void event_emit(struct event_sink *s, struct event *e)
{
	if (!s)
		return;
	if (!e->time_ns)
		e->time_ns = clock_real_ns();
	s->emit(s, e);
}
