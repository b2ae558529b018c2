/*
 * auth: a request's way through a registry's challenges. Shared by all threads of a session; each request has its own `auth_try`.
 *
 *     1. auth_begin(): the header that is known to be wanted; none for a host that has not asked yet.
 *     2. Send. As soon as a good head has come: auth_accepted().
 *     3. auth_answer() with each answer: 1 send again (with the new header), 0 the answer stands, -1 an error that says why.
 *     4. auth_end().
 *
 * Tokens are kept by (realm, service, credential, scopes); one for a superset serves; threads that need the same one wait for one
 * fetch. A 401 with a token that was accepted before means that it is old: it is fetched anew, 6 times a request at most. A 401
 * with one that nothing has succeeded with is the end. Credentials never go over plain http but to loopback and insecure hosts.
 */
#pragma once

#include <stdbool.h>

#include "base/mem.h"
#include "base/str.h"

struct auth;
struct creds;
struct err;
struct host;
struct hosts;
struct http;
struct http_response;
struct retry;
struct token;

/* Set by the caller: host, repo, scopes. The rest belongs to auth. */
struct auth_try {
	struct host *host;
	struct str repo;   /* for credentials and messages */
	struct str scopes; /* "repository:a/b:pull" */
	bool exclusive;    /* its tokens serve no other request, and no other's serve it (mounts) */
	bool quiet;        /* never starts a token flow: an answer of 401 stands */
	/* In use. */
	struct token *token;
	char *header;       /* value of Authorization, or NULL */
	char *widened;      /* scopes with what a challenge asked for */
	const char *origin; /* where a credential came from that was sent as it is */
	unsigned renewals;
	bool asked_scope;
	bool in_flight;
};

struct auth_options {
	struct hosts *hosts;
	struct creds *creds;
	struct retry *retry; /* template for the token server's requests */
};

/* Nothing is asked yet. What options point to must outlive it. */
struct auth *auth_new(const struct auth_options *o);
void auth_free(struct auth *a);

/* Step 1. `http` is used where a token must be fetched. */
NODISCARD int auth_begin(struct auth *a, struct http *http, struct auth_try *t, struct err **err);
/* Step 2. */
void auth_accepted(struct auth *a, struct auth_try *t);
/* Step 3. ERR_AUTH: "authentication required or access denied: HOST/NAME". */
NODISCARD int auth_answer(struct auth *a, struct http *http, struct auth_try *t,
			  const struct http_response *r, struct err **err);
/* Step 4. */
void auth_end(struct auth *a, struct auth_try *t);

/* Tokens that were fetched since the start. */
unsigned auth_fetches(const struct auth *a);
