/*
 * session: what a command opens on first use and what is closed in one place: store, databases of the main thread, pools, registry
 * client, helper. Signals: SIGINT and SIGTERM set the cancel flag and make `session_wake_fd` readable.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/mem.h"

struct cache;
struct event_sink;
struct pool;
struct registry;
struct session;
struct spawner;
struct store;

struct session_options {
	const char *root; /* --root or CBUILD_ROOT; NULL: /var/lib/cbuild and /run/cbuild */
	bool durable;
};

/* The session of this process; free with session_free(), which leaves the tail work to `internal tail` unless durable. */
struct session *session_new(const struct session_options *o);
void session_free(struct session *s);

/* Opened on first use; owned by the session. */
NODISCARD int session_store(struct session *s, struct store **ret, struct err **err);
NODISCARD int session_cache(struct session *s, struct cache **ret, struct err **err);
NODISCARD int session_registry(struct session *s, struct event_sink *events, struct registry **ret,
			       struct err **err);
/* A pool of as many threads as there are cores; the context of each is its own struct cache (NULL when it did not open). */
NODISCARD int session_cpu_pool(struct session *s, struct pool **ret, struct err **err);
/* The helper as spawner; any thread. */
NODISCARD int session_spawner(void *session, struct spawner **ret, struct err **err);

/* Begins to catch SIGINT, SIGTERM, SIGHUP: the first sets the flag, the second ends the process at once. */
void session_catch_signals(struct session *s);
const atomic_bool *session_cancel_flag(const struct session *s);
/* Readable once a signal came; its number. */
int session_wake_fd(const struct session *s);
int session_signal(const struct session *s);
