/*
 * upload: one blob of the store to a registry, by the shortest of three ways: it is there already (HEAD), it is mounted from another
 * repository, it is sent. Sent in one PUT; in PATCHes where the host can resume or has a size set for it.
 *
 * The newest Location is always used, its query byte for byte. A failed PUT means a new session: registries drop the old one. A
 * PATCHed upload goes on where the registry says, also in another process: tmp/partial/<hex>.push-<8 hex> remembers the session.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/mem.h"
#include "base/str.h"

struct err;
struct host;
struct http;
struct registry;

enum upload_way { UPLOAD_THERE, UPLOAD_MOUNTED, UPLOAD_SENT };

struct upload {
	struct host *host;
	struct str repo;
	struct digest digest;
	uint64_t size;
	int fd;                /* its bytes */
	bool ask;              /* HEAD first */
	struct str mount_from; /* a repository of this host that has it; empty: none */
	atomic_bool *
		mounts_refused; /* set when mounting from there was refused, and then not tried; may be NULL */
	const atomic_bool *stop;                       /* may be NULL */
	void (*progress)(void *arg, uint64_t current); /* may be NULL */
	void *arg;
};

/* Blocks until the registry has the blob. Errors as client_call() and client_error(); ERR_INTEGRITY when it names another digest. */
NODISCARD int upload_blob(struct registry *r, struct http *http, const struct upload *u,
			  enum upload_way *ret, struct err **err);
