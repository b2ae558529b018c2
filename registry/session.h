/*
 * session: what `struct registry` of pull.h holds; for the files of this folder. One a command, shared by all its threads.
 *
 * Handles (connections) are lent: a thread takes one for as long as it talks and gives it back, so that connections are used
 * again whoever made them. Transfers run on a pool of 6 threads, at most 4 for a host; `changed` is told of every end of a transfer
 * or of an unpacking, whoever waits for it.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "base/map.h"
#include "registry/pull.h"
#include "registry/retry.h"

struct auth;
struct creds;
struct hosts;
struct hosts_options;
struct http;
struct pool;

enum { TRANSFERS = 6, TRANSFERS_PER_HOST = 4 };

struct registry {
	struct registry_options o;
	struct hosts *hosts;
	struct creds *creds;
	struct auth *auth;
	struct retry retry; /* template of every request's */
	unsigned stall_s;   /* 0: http's default */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct pool *transfers; /* made by the first; contexts are struct cache * */
	struct pool *own_cpu;   /* where the caller has none */
	struct http *idle[16];
	unsigned n_idle;
	struct map warned; /* texts that were shown */
	struct map
		fetching; /* digests (32 bytes) of blobs that a pull of this session brings now */
	bool swept;       /* old files of tmp/partial were looked for */
};

/* For tests: a session with hosts of its own, a shorter pause before a retry and a shorter patience. */
struct registry *registry_new_with(const struct registry_options *o,
				   const struct hosts_options *hosts, unsigned retry_ms,
				   unsigned stall_s);

/* A handle, to be given back. ERR_NETWORK when the command is offline, ERR_UNSUPPORTED without libcurl. */
NODISCARD int registry_http_take(struct registry *r, struct http **ret, struct err **err);
/* Gives a handle back; NULL is fine. */
void registry_http_give(struct registry *r, struct http *h);

/* The pools; made at the first call. */
struct pool *registry_transfers(struct registry *r);
struct pool *registry_cpu(struct registry *r);

/* Emits a warning, each text once. Any thread. */
void registry_warn(struct registry *r, struct str text);

/* Whether the command was canceled. */
bool registry_canceled(const struct registry *r);
