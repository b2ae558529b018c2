/*
 * console: the terminal of a process: a pair of the container's own devpts, never reached by a path that the container could have changed.
 */
#pragma once

#include "base/mem.h"

struct err;
struct proto_run;

/* Opens a pair through `ptmx`, sends its master over `sock` (PROTO_CONSOLE), makes the slave 0, 1, 2 and the controlling terminal, and binds
 * it onto a new file `bind_at` (NULL: not). The caller leads a session. */
NODISCARD int console_place(const struct proto_run *r, const char *ptmx, const char *bind_at,
			    int sock, struct err **err);
