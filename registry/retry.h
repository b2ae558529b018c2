/*
 * retry: when a request is sent again. Connection errors, timeouts, 408, 429, 500, 502, 503 and 504 are tried again after 0.5 s,
 * doubled up to 8 s, with full jitter; the peer's Retry-After wins, above 60 s it ends the matter. A try counts when it brought no
 * new byte: the fifth in a row is the last; 64 KiB of new bytes set the count back; 100 requests are the end in any case.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

struct err;

struct retry {
	const atomic_bool *cancel; /* may be NULL */
	unsigned unit_ms;          /* the first pause; 0: 500 */
	unsigned tries;            /* fruitless ones in a row that end it; 0: 5 */
	unsigned fruitless, requests;
	uint64_t fresh; /* bytes since the count was set back */
};

/* Whether a status is worth another request. */
bool retry_status(int status);
/* Whether a failure of http_send() is, or the error that client_error() made of a status. */
bool retry_error(const struct err *e);

/* Notes that a request failed after `bytes` new bytes and waits. 1: try again; 0: give up (nothing is set); -1: ERR_CANCELED.
 * retry_after_s: what the peer asked for, or -1. */
NODISCARD int retry_pause(struct retry *r, uint64_t bytes, int64_t retry_after_s, struct err **err);

/* Sleeps, looking at the flag 20 times a second. ERR_CANCELED. */
NODISCARD int retry_sleep(const atomic_bool *cancel, int64_t ms, struct err **err);
