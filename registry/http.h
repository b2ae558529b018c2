/*
 * http: one exchange over one blocking libcurl handle, with its bounds and its redirects.
 *
 * - A handle belongs to one thread at a time and keeps its connections alive between exchanges.
 * - Redirects are followed by an own loop: at most 10 hops, http and https only, never from https to http. Authorization goes to the
 *   origin (scheme, host, port) of the first URL alone; after the first hop to another origin the rest of that chain has none.
 * - Everything is bounded: head 64 KiB, bodies by the caller, text for messages 64 KiB; a connection that moves less than 1 KiB/s for
 *   30 s is given up (a registry that has got a blob may take 10 minutes to answer). The cancel flag is looked at per block and once a second.
 * - TLS 1.2 at least; certificates are checked unless the peer is marked insecure. Plain http is the caller's decision: he writes
 *   the URL. Proxies by http_proxy, https_proxy, no_proxy; never for loopback.
 * - Nothing is tried again here, see retry.h. ERR_NETWORK and ERR_TIMEOUT are worth it, other codes are not.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"

struct err;
struct http;
struct http_response;

struct http_options {
	const atomic_bool *cancel; /* may be NULL */
	unsigned stall_s; /* seconds without movement until the connection is given up; 0: 30 */
};

/* How a peer is talked to; shared by its requests, immutable. */
struct http_peer {
	bool insecure;          /* certificates are not checked */
	struct str ca;          /* PEM certificates beside the system's; empty: none */
	const char *cert, *key; /* files of a client certificate; NULL: none */
};

struct http_header {
	struct str name, value;
};

/* What is sent: a method, a URL and, with `body_fd` or `body`, bytes. Borrowed for the call. */
struct http_request {
	const char *method; /* GET HEAD POST PUT PATCH DELETE */
	struct str url;
	const struct http_peer *peer; /* NULL: defaults */
	const char *authorization; /* value of the header, for the URL's origin alone; NULL: none */
	const struct http_header *headers;
	size_t n_headers;
	bool follow;      /* follow redirects (GET and HEAD) */
	bool public_only; /* refuse loopback, link-local and private addresses */
	bool has_body;
	struct str body; /* a body in memory; or, where its p is NULL: */
	int body_fd;     /* a file's bytes [body_offset, body_offset + body_size) */
	uint64_t body_offset, body_size;
	uint64_t max_body; /* bound of what is kept of a good answer (ERR_LIMIT) */
	/* Takes the bytes of a 200 or 206 answer instead of the buffer; `head` is called once before, and may refuse. */
	int (*head)(void *arg, const struct http_response *r, struct err **err);
	int (*data)(void *arg, const void *p, size_t n, struct err **err);
	void *arg;
	const atomic_bool
		*stop; /* ends this exchange as the handle's cancel flag does; may be NULL */
	void (*sent)(void *arg,
		     uint64_t n); /* bytes of the body that were handed over; may be NULL */
};

/* The last answer of a chain of redirects. Released by http_response_release(); a zeroed struct is valid to release. */
struct http_response {
	int status;
	struct sb head; /* "name: value\n" of each header, names in lower case */
	struct sb body;
	struct sb url;         /* which URL answered */
	bool foreign;          /* another origin than the request's answered */
	int64_t retry_after_s; /* Retry-After in seconds from now; -1: none */
};

/* A handle; opens libcurl. ERR_UNSUPPORTED when it is missing. Options are copied. */
NODISCARD struct http *http_new(const struct http_options *o, struct err **err);
void http_free(struct http *h);

/* One exchange with its redirects. 0 with any status: judging it is the caller's.
 * ERR_NETWORK, ERR_TIMEOUT (try again); ERR_CANCELED, ERR_LIMIT, ERR_DENIED (certificate), ERR_INVALID; what head() and data() set. */
NODISCARD int http_send(struct http *h, const struct http_request *q, struct http_response *ret,
			struct err **err);

/* Frees what an answer holds and zeroes it. */
void http_response_release(struct http_response *r);
/* http_response_release() for _cleanup_(). */
void http_response_releasep(struct http_response *r);

/* Value of a header (lower-case name), or {NULL, 0}; the n-th of several from 0. Valid as long as the answer. */
struct str http_header(const struct http_response *r, const char *name, unsigned nth);

/* How the last exchange failed, for the choice between http and https. */
enum http_failure {
	HTTP_FAIL_OTHER,
	HTTP_FAIL_REFUSED, /* nobody listens */
	HTTP_FAIL_NOT_TLS, /* a TLS greeting was answered in plain text */
	HTTP_FAIL_GARBLED, /* plain http was answered by nothing, or by what is not http */
};
enum http_failure http_failure(const struct http *h);

/* TCP connections that were made by this handle. */
uint64_t http_connections(const struct http *h);
