/*
 * clock: time as int64 nanoseconds; RFC 3339 text. Links with libc alone. Tests fake it with clock_fake().
 */
#pragma once

#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"

struct err;

enum { CLOCK_TEXT = 36 }; /* room for "2006-01-02T15:04:05.999999999Z" and NUL */

/* CLOCK_MONOTONIC. */
int64_t clock_mono_ns(void);
/* CLOCK_REALTIME. */
int64_t clock_real_ns(void);

/* RFC 3339 in UTC with as many fractional digits as are needed (Go's RFC3339Nano); returns buf. */
char *clock_text(int64_t ns, char buf[CLOCK_TEXT]);

/* RFC 3339 with any offset; ERR_INVALID otherwise. Years that int64 ns do not reach give INT64_MIN or INT64_MAX. */
NODISCARD int clock_parse(struct str text, int64_t *ret_ns, struct err **err);

/* For tests: both clocks stand still at `ns`; a negative value ends that. */
void clock_fake(int64_t ns);
