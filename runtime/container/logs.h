/*
 * logs: log.json read back: lines in the form of runtime/helper/monitor_log.h. A line that is none (torn by a full disk) is passed over.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"

struct cache;
struct container;
struct err;

struct logs_options {
	bool follow, timestamps, details;
	int64_t tail;               /* lines from the end; -1: all */
	int64_t since_ns, until_ns; /* INT64_MIN, INT64_MAX: no bound */
};

/* "10m", "1.5h", "2006-01-02T15:04:05", a date, seconds since 1970: a time, counted back from `now_ns` where it is a duration. ERR_INVALID. */
NODISCARD int logs_time_parse(struct str text, int64_t now_ns, int64_t *ret_ns, struct err **err);

struct log_line {
	struct str text; /* in `buf` */
	bool is_stderr;
	int64_t time_ns;
	struct str time;
	struct sb buf;
};

/* One line of the file. False for what is none. `l` is used again and again; release l->buf at the end. */
bool logs_line_parse(struct str line, struct log_line *l);

/* Prints to stdout and stderr; with `follow` until the container has ended. */
NODISCARD int logs_print(const struct container *k, const struct logs_options *o, struct err **err);
