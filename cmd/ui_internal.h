/*
 * ui_internal: what the renderers of ui share: the state of each vertex and the table by which ui.c calls a renderer. Everything is called
 * under ui.c's mutex.
 */
#pragma once

#include <stdbool.h>

#include "base/event.h"
#include "base/str.h"

enum { UI_TAIL_BYTES = 16 * 1024, UI_TAIL_LINES = 24 };

struct ui_vertex {
	struct digest id;
	unsigned number; /* "#7"; 0 until it is shown */
	char *name;
	enum event_state state;
	bool cut_off;
	int64_t started_ns, completed_ns;
	char *error;
	int64_t stamp_ns; /* of the newest line, and the same as text since the start: "0.123 " */
	char stamp[24];
	struct sb partial;       /* an unfinished line of its log */
	struct sb tail;          /* its last complete lines, for the error block */
	uint64_t current, total; /* of its newest status */
	char *status;
};

struct ui;

struct ui_renderer {
	void (*vertex)(struct ui *u, struct ui_vertex *v);
	/* A complete line of a log, whose time since the vertex started is v->stamp. */
	void (*line)(struct ui *u, struct ui_vertex *v, struct str line);
	void (*status)(struct ui *u, struct ui_vertex *v, const struct event *e);
	void (*text)(struct ui *u, const struct event *e); /* a warning */
	void (*raw)(struct ui *u, const struct event *e);  /* every event, instead of the others */
	void (*close)(struct ui *u);
	void (*tick)(struct ui *u); /* ten times a second; NULL: no thread */
};

/* Seconds as "0.1s", "12.3s". Returns buf. */
char *ui_seconds(int64_t ns, char buf[24]);

extern const struct ui_renderer ui_plain, ui_tty, ui_rawjson, ui_quiet;

/* For the tty renderer: all vertices in the order they came. */
struct ui_vertex **ui_vertices(struct ui *u, size_t *ret_n);
/* The renderer's own state, one pointer. */
void **ui_state(struct ui *u);
