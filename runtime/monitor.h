/*
 * monitor: the parent's side of a container's monitor: the helper in the role that owns a container and outlives cbuild. The conversation
 * over its connections, and what it does by itself, are in runtime/helper/monitor.h.
 */
#pragma once

#include <stdint.h>

#include "base/mem.h"
#include "runtime/helper/proto.h"
#include "runtime/spec.h"

struct err;

/* The helper that is to become a monitor, started ahead: it settles in while the caller makes what it is to run. */
struct runtime_monitor_seed;

/* Starts one; `store`: 8 hex, names the cgroup folder cbuild/<store>. Used up by runtime_monitor_start(), or freed unused. */
NODISCARD int runtime_monitor_seed(const char *store, struct runtime_monitor_seed **ret,
				   struct err **err);
void runtime_monitor_seed_free(struct runtime_monitor_seed *s);

struct runtime_monitor {
	const char *id; /* the container's, and its cgroup's name */
	int dir_fd;     /* its folder: state.json, log.json, record are in it */
	int lock_fd; /* its lock, which is held: the monitor holds it from now on, the caller may close its own */
	int listen_fd;    /* attach.sock, listening */
	const char *idle; /* its status where it cannot be started */
	int stop_signal;
	int64_t stop_timeout_ms; /* -1: never killed */
	const char *const *
		reap; /* NULL-terminated; what is executed at the end with the lock as descriptor 3; NULL: nothing */
};

/* Makes the monitor of a seed, with the container's first process; returns the first client's connection when it is on its way. PROTO_STARTED or
 * PROTO_ERROR follows on it. The record's file must not exist. Descriptors of the spec may be closed after it. */
NODISCARD int runtime_monitor_start(struct runtime_monitor_seed *seed,
				    const struct runtime_monitor *o,
				    const struct runtime_spec *spec, int *ret_conn,
				    struct err **err);

/* Connects to the monitor of a container's folder; ERR_NOT_FOUND when there is none. */
NODISCARD int runtime_monitor_connect(int dir_fd, int *ret_conn, struct err **err);

/* Makes attach.sock in a container's folder anew, listening. */
NODISCARD int runtime_monitor_listen(int dir_fd, int *ret_fd, struct err **err);

/* Asks for a further process of the container over a connection of its own. Of the spec only what belongs to a process is looked at. */
NODISCARD int runtime_monitor_exec(int conn, const struct runtime_spec *spec, struct err **err);

/* Sends a message of `n` numbers. */
NODISCARD int runtime_monitor_send(int conn, enum proto_kind kind, const uint32_t *v, size_t n,
				   struct err **err);
