/*
 * fetch: one blob from a registry into the store. It is received into tmp/partial/<hex>, which belongs to no lease: flock'ed by who
 * writes it, kept over a kill and taken up by Range. Hashed while it comes (what lay there already is hashed by who takes it up), never
 * a byte more than its descriptor says, published only when its digest is right.
 */
#pragma once

#include <stdatomic.h>

#include "cache/oci.h"

struct cache;
struct err;
struct host;
struct registry;

struct fetch {
	struct host *host; /* of the reference; its mirrors are asked first */
	struct str repo;
	const struct oci_descriptor *blob;
	const atomic_bool *stop;                       /* ends it early; may be NULL */
	void (*progress)(void *arg, uint64_t current); /* bytes that are here; may be NULL */
	void *arg;
};

/* Brings a blob, unless it is there. Blocks; any thread with its own cache. ERR_INTEGRITY, ERR_LIMIT (more than its size),
 * ERR_NOT_FOUND, ERR_CANCELED, others as client_call(). */
NODISCARD int fetch_blob(struct registry *r, struct cache *c, const struct fetch *f,
			 struct err **err);

/* A small blob (a config) into memory, verified; at most its descriptor's size, which the caller has bounded. Errors as fetch_blob(). */
struct http;
NODISCARD int fetch_small(struct registry *r, struct http *http, const struct fetch *f,
			  struct sb *ret, struct err **err);

/* Removes files of tmp/partial that are 24 h old and not locked; once a session. */
void fetch_sweep(struct registry *r);
