/*
 * duration: Go's time.ParseDuration and strconv.ParseInt with their messages: values of HEALTHCHECK flags. Pure.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

/* "1h2m3.5s" in nanoseconds, negative ones too. ERR_SYNTAX with Go's message. */
NODISCARD int df_duration_parse(struct str s, int64_t *ret_ns, struct err **err);

/* A decimal number with an optional sign that fits 32 bits. ERR_SYNTAX with Go's message. */
NODISCARD int df_int32_parse(struct str s, int *ret, struct err **err);
