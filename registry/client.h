/*
 * client: the distribution protocol's requests to one host, with authentication and repetition; which host (mirrors) is decided by
 * the callers. Texts of answers are shown with control characters escaped.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/mem.h"
#include "base/str.h"
#include "registry/hosts.h"
#include "registry/http.h"
#include "registry/retry.h"

struct err;
struct registry;

/* A request. `http` is a template: method, headers, body, callbacks and bounds are the caller's; URL, peer, authorization and the
 * following of redirects (GET and HEAD) are set here. */
struct call {
	struct host *host;
	struct str repo; /* empty: the registry itself, "/v2/" and path */
	struct str path; /* behind "/v2/REPO/" */
	struct str
		url; /* instead of all that: a Location; Authorization goes to it only where it is of the host's origin */
	struct str scopes; /* what a token must allow; empty: pulling from repo, if there is one */
	bool exclusive, quiet; /* see struct auth_try */
	bool once;             /* failures worth another try are given back: the caller repeats */
	struct http_request http;
};

/* Sends it until there is an answer that stands. 0 with any status; -1 as http_send(), and ERR_AUTH where authentication fails. */
NODISCARD int client_call(struct registry *r, struct http *http, const struct call *c,
			  struct http_response *ret, struct err **err);

/* Makes an error of an answer: "HOST/REPO: what the registry says". ERR_NOT_FOUND 404, ERR_AUTH 401, ERR_DENIED 403, ERR_LIMIT 413 429,
 * ERR_NETWORK 5xx, ERR_INVALID others. `status` is set. */
int client_error(const struct call *c, const struct http_response *r, struct err **err);

struct client_manifest {
	struct sb bytes; /* as they came; empty after a HEAD */
	struct sb
		media_type; /* without parameters; empty where it says nothing (text/plain, application/json) */
	struct digest digest; /* of the bytes; after a HEAD what the registry says */
};
/* Frees what it holds. */
void client_manifest_release(struct client_manifest *m);
/* client_manifest_release() for _cleanup_(). */
void client_manifest_releasep(struct client_manifest *m);

/* GET of a manifest by tag or digest, 4 MiB at most; checked against `expected` (may be NULL), else against Docker-Content-Digest. */
NODISCARD int client_manifest_get(struct registry *r, struct http *http, struct host *host,
				  struct str repo, struct str what, const struct digest *expected,
				  struct client_manifest *ret, struct err **err);

/* HEAD of a manifest: its digest. A host that cannot say it by HEAD gives *ret_known false. ERR_NOT_FOUND and others as its GET. */
NODISCARD int client_manifest_head(struct registry *r, struct http *http, struct host *host,
				   struct str repo, struct str what, bool *ret_known,
				   struct digest *ret, struct err **err);
