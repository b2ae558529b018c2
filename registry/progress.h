/*
 * progress: a blob that moves, as status events under a step; ten a second at most.
 */
#pragma once

#include <stdint.h>

#include "base/event.h"
#include "cache/oci.h"

struct progress {
	struct event_sink *events; /* NULL: nobody looks */
	struct digest vertex;
	const struct oci_descriptor *blob;
	int64_t shown_ns; /* of the last event; 0 */
};

/* Says that a blob has begun (EVENT_STARTED) or is done. */
void progress_show(const struct progress *p, uint64_t current, enum event_state state);

/* Says how many bytes are through, unless that was said just now. arg: the struct progress. */
void progress_moved(void *arg, uint64_t current);
