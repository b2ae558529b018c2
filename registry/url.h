/*
 * url: http and https URLs as a registry's client needs them: origin, loopback, and joining a Location to the URL it answers. Pure.
 * Path and query stay byte for byte as they were written: upload sessions keep their state in them.
 */
#pragma once

#include <stdbool.h>

#include "base/mem.h"
#include "base/str.h"

struct err;

enum { URL_MAX = 16 * 1024 };

/* Slices of the text that was parsed. */
struct url {
	bool tls;             /* https */
	struct str host;      /* as written; IPv6 with its brackets */
	unsigned port;        /* the scheme's where none is written */
	struct str authority; /* host and port as written */
	struct str rest;      /* path and query; empty, or beginning with "/" or "?" */
};

/* Parses an absolute URL; a fragment is left out. ERR_INVALID for other schemes, user information, blanks and control bytes. */
NODISCARD int url_parse(struct str text, struct url *ret, struct err **err);

/* Whether scheme, host and port are equal: only then may Authorization be sent to both. */
bool url_same_origin(const struct url *a, const struct url *b);

/* The URL that `location` means in an answer to `base` (RFC 3986, 5.2: absolute, //host/path, /path, ?query, path); bounded by
 * URL_MAX. ERR_INVALID as url_parse(). */
NODISCARD int url_join(struct str base, struct str location, struct sb *out, struct err **err);

/* Whether a host (without port) is this machine's loopback by its spelling: 127.0.0.0/8, [::1], localhost. */
bool url_is_loopback(struct str host);

/* Adds text with all but unreserved characters (and those of `keep`) as %XX. */
void url_add_escaped(struct sb *b, struct str s, const char *keep);
