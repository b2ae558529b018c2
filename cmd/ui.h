/*
 * ui: progress and errors on stderr. One sink for events with four renderers: tty, plain, rawjson, quiet. Any thread may emit.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/event.h"
#include "base/mem.h"

enum ui_mode { UI_AUTO, UI_PLAIN, UI_TTY, UI_QUIET, UI_RAWJSON };

/* The mode that --progress (may be NULL), BUILDKIT_PROGRESS, CI, TERM and the terminal give. ERR_INVALID for another word. */
NODISCARD int ui_mode_of(const char *progress, bool quiet, enum ui_mode *ret, struct err **err);

/* A sink that draws; ui_close() prints what is open and, for a failed step, its last lines. */
struct event_sink *ui_open(enum ui_mode mode);
void ui_close(struct event_sink *s, bool failed);

/* The source by which errors show an excerpt: borrowed until the end of the process. */
void ui_set_source(const char *name, const char *text, size_t n);

/* Prints an error: excerpt, "ERROR: …", "hint: …". */
void ui_print_error(const struct err *e);
