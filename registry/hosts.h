/*
 * hosts: what is known of a registry's host: where it is, its mirrors, certificates, and whether it speaks TLS.
 *
 * From cbuild's config.json (the user's, then /etc/cbuild's; the first that names the host):
 *     "registries": {"docker.io": {"mirrors": [{"url": "https://m", "resolve": true}], "http": false, "insecure": false,
 *                                  "chunk": 0, "ca": "", "cert": "", "key": ""}}
 * and from HOST[:PORT]/ below /etc/docker/certs.d and /etc/containers/certs.d (*.crt, X.cert + X.key).
 * Plain http: where `http` says so; on loopback, tried first there (nothing leaves the machine, and a plain-http server may
 * hang on a TLS greeting), then https; for `insecure` hosts only after TLS was answered in plain http or port 443 refused.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"
#include "registry/http.h"

struct err;
struct hosts;

enum host_scheme { HOST_UNKNOWN, HOST_HTTPS, HOST_HTTP };

/* Lives as long as its `hosts`; set up once, but for the atomics. */
struct host {
	char *name;      /* as in references; the key of credentials */
	char *authority; /* host[:port] that is connected to */
	char *prefix;    /* path before "/v2/", of a mirror's URL; "" */
	char *ns;        /* mirrors: the name the user wrote; NULL otherwise */
	struct http_peer peer;
	uint64_t chunk;        /* upload in PATCHes of this size; 0: not */
	struct host **mirrors; /* in order */
	size_t n_mirrors;
	bool resolves; /* may be asked by tag */
	bool loopback, plain_allowed;
	char *warning;      /* to be shown once; NULL */
	_Atomic int scheme; /* enum host_scheme; UNKNOWN until the first answer, or as configured */
	atomic_bool answered;       /* it has answered in this process */
	atomic_bool resumes;        /* its uploads can be resumed */
	_Atomic int64_t dead_until; /* monotonic ns; a mirror that failed */
	unsigned running;           /* transfers, counted under the session's lock */
};

struct hosts_options {
	const char *config;   /* instead of the user's and the system's config.json; NULL: these */
	const char *certs[2]; /* instead of the folders certs.d; NULL: these */
};

/* Nothing is read before a host is asked for. Options may be NULL; strings must outlive it. */
struct hosts *hosts_new(const struct hosts_options *o);
void hosts_free(struct hosts *h);

/* The host of a reference's domain with its mirrors. Any thread. ERR_INVALID names a broken configuration file. */
NODISCARD int hosts_get(struct hosts *h, struct str domain, struct host **ret, struct err **err);

/* Adds "https://authority" or "http://authority", as is known or to be tried first, and the prefix. */
void host_base(const struct host *h, struct sb *out);
/* Whether requests to it go over plain http now. */
bool host_is_plain(const struct host *h);

/* After a failed first exchange: true when the other scheme is to be tried now. */
bool host_other_scheme(struct host *h, enum http_failure how);
/* After any HTTP answer: the scheme is known. */
void host_answered(struct host *h);
