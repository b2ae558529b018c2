/*
 * event: progress of a build, pull or push as data. Any thread may emit; a sink queues or writes and is drawn by one thread.
 * The same struct is a line of `--progress rawjson`'s source, of logs/<build>/events.jsonl and of every renderer.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/str.h"

enum event_kind {
	EVENT_VERTEX,  /* a step's state changed: name, state, cached, error */
	EVENT_LOG,     /* output of a step: stream, text */
	EVENT_STATUS,  /* a part of a step moves: id, current, total (bytes), done */
	EVENT_WARNING, /* text, line */
};

enum event_state {
	EVENT_PENDING,
	EVENT_STARTED,
	EVENT_DONE,
	EVENT_CACHED,
	EVENT_FAILED,
	EVENT_CANCELED
};

struct event {
	enum event_kind kind;
	struct digest vertex;    /* of which step */
	int64_t time_ns;         /* CLOCK_REALTIME */
	enum event_state state;  /* EVENT_VERTEX */
	struct str name;         /* EVENT_VERTEX: "[2/5] RUN …"; EVENT_STATUS: what moves */
	struct str text;         /* log bytes, warning, error */
	int stream;              /* EVENT_LOG: 1 or 2 */
	uint64_t current, total; /* EVENT_STATUS; total 0: not known */
	int64_t started_ns, completed_ns;
	unsigned line;
	bool cut_off; /* cached because its inputs came out equal although an ancestor ran */
};

/* Where events go. `emit` may be called by any thread and copies what it keeps. */
struct event_sink {
	void (*emit)(struct event_sink *s, const struct event *e);
};

/* Emits; a NULL sink drops. Fills time_ns where it is 0. */
void event_emit(struct event_sink *s, struct event *e);
