/*
 * spawner: the parent's side of the helper: one small static process, started once when something
 * must run, that clones every RUN. Protocol: runtime/helper/proto.h. Requests may be sent by any
 * thread; each process handle belongs to one thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "runtime/spec.h"

struct err;
struct process;
struct spawner;

struct spawner_options {
	int run_fd; /* the store's run folder: mnt/ and steps/ are in it (made when missing) */
	const char *run_path; /* its path: the attach point is opened by path in the child */
	const char *store;    /* 8 hex: names the cgroup folder cbuild/<store> */
	const char *lease;    /* "<16 hex>": names the spawner's own cgroup run.<lease> */
};

/* Starts the helper as spawner. Free with runtime_spawner_stop(). */
NODISCARD struct spawner *runtime_spawner_start(const struct spawner_options *o, struct err **err);
/* Closes its socket: it kills what still runs, waits for it, ends; waits for that. NULL is fine. */
void runtime_spawner_stop(struct spawner *s);

/* Asks for a process; returns when the request is on its way. All descriptors of the spec may be
 * closed after it. */
NODISCARD int runtime_spawn(struct spawner *s, const struct runtime_spec *spec,
			    struct process **ret, struct err **err);

struct runtime_exit {
	int status; /* 0–255, or 128 + signal */
	bool signaled, oom;
	int64_t user_us, system_us, max_rss_kib;
};

/* Readable when an answer is there. Owned by the process. */
int runtime_process_fd(const struct process *p);
/* Takes the next answer. 1: it has ended, *ret is set; 0: not yet (started, say); -1: it could
 * not be started (ERR_NOT_FOUND 127, ERR_DENIED 126, ERR_INVALID 255 in err->status; others:
 * set-up failed) or the spawner is gone. Never blocks. */
NODISCARD int runtime_process_next(struct process *p, struct runtime_exit *ret, struct err **err);
/* Kills all processes of it at once (cgroup.kill, else pid 1). Any thread. */
void runtime_process_kill(struct process *p);
/* Frees the handle; a process that still runs is killed. */
void runtime_process_free(struct process *p);
