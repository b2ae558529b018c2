/*
 * token: one request to a token server (Docker's token authentication, with its OAuth2 form for refresh tokens).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"

struct cred;
struct err;
struct host;
struct hosts;
struct http;
struct retry;

struct token_request {
	struct http *http;
	struct hosts *hosts;
	const struct host *host; /* whose challenge it was */
	struct str realm, service, scopes;
	const struct cred *cred; /* NULL: anonymous */
	struct retry *retry;
};

/* Asks for a token: its text (malloc) and for how many seconds it may be used (80 % of its life). 429 and 5xx are tried again.
 * ERR_AUTH: refused, naming where the credential came from; ERR_INVALID: the realm or the answer; what http_send() gives. */
NODISCARD int token_fetch(const struct token_request *q, char **ret, int64_t *ret_seconds,
			  struct err **err);
