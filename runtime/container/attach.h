/*
 * attach: a client of a container's monitor at our terminal or pipes: carries stdin, stdout, stderr, window sizes and signals until the
 * process ends, the user detaches, or a signal ends us. A terminal that was made raw is given back on every way out but SIGKILL.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "runtime/container/detach.h"

struct err;

enum attach_end {
	ATTACH_EXITED,   /* the process has ended with `status` */
	ATTACH_DETACHED, /* by the detach keys */
	ATTACH_SIGNALED, /* we were told to end: `status` is 128 + signal */
	ATTACH_LOST,     /* the monitor is gone without a word */
};

struct attach {
	int conn;
	bool input;     /* stdin is passed on */
	bool tty;       /* the process has a terminal: ours is made raw, keys detach */
	bool sig_proxy; /* without a terminal: signals that we get are the process's */
	struct detach keys;
	int status;   /* set by attach_run() */
	bool started; /* likewise: PROTO_STARTED has come */
};

/* The size of our terminal; false where there is none. */
bool attach_window(uint16_t *ret_rows, uint16_t *ret_cols);

/* Runs it to its end. -1 with what PROTO_ERROR said: the process could not be started. */
NODISCARD int attach_run(struct attach *a, enum attach_end *ret, struct err **err);
