/*
 * challenge: the values of WWW-Authenticate headers (RFC 7235): several challenges in a header, quoted strings with commas and
 * escapes in them. Pure. What does not parse is left out, up to the next challenge that does: servers send anything.
 */
#pragma once

#include "base/arena.h"
#include "base/str.h"

enum challenge_scheme { CHALLENGE_BEARER, CHALLENGE_BASIC, CHALLENGE_OTHER };

struct challenge {
	enum challenge_scheme scheme;
	struct str realm, service, scope, error; /* {NULL, 0} where not given */
};

enum { CHALLENGE_MAX = 16 };

/* Adds the challenges of one header to v[0 … *n), CHALLENGE_MAX at most; their texts are in the arena. */
void challenge_parse(struct arena *a, struct str header, struct challenge *v, size_t *n);

/* The one to answer: the first Bearer, else the first Basic, else NULL. */
const struct challenge *challenge_choose(const struct challenge *v, size_t n);
