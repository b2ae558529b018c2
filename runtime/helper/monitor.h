/*
 * monitor: the role that owns a container: its processes, what they print and read, its log, its state, its clients.
 *
 * The helper that cbuild started becomes the monitor by PROTO_MONITOR, as its first and only request, and outlives cbuild; it holds nothing
 * of the caller's. One thread, one epoll, no waiting on anybody. Its first client is the connection that came with the request;
 * further ones connect to attach.sock.
 *
 *   1. The first process is cloned at once; its client gets PROTO_STARTED (u32 pid) when the program has been executed, or PROTO_ERROR.
 *   2. A client takes part in one process: the first one's in pid 1; who sends PROTO_ATTACH, in pid 1; who sends PROTO_EXEC, in the process
 *      that is made for it (PROTO_STARTED or PROTO_ERROR follow). It may leave at any time by closing its connection.
 *   3. It gets PROTO_OUTPUT of the streams that it asked for, and at the end PROTO_EXIT. What it does not take in time goes to an unnamed file
 *      of at most SPOOL_MAX bytes; beyond that it gets PROTO_DROPPED and no further output. The container never waits for a client.
 *   4. Its PROTO_INPUT is answered by PROTO_CREDIT as the process takes it.
 *
 * At the end of pid 1: everything of the container is gone (its cgroup is empty), log flushed, state.json replaced, cgroup and record removed;
 * then the lock is released (or given to the `reap` program), then the clients get PROTO_EXIT. Who finds the lock free and the
 * state "running" knows that the monitor was killed, and uses the record.
 *
 * state.json: {"status":"created|running|exited","pid":n,"exit":n,"oom":b,"error":"…","started":"RFC 3339","finished":"RFC 3339"}
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "runtime/helper/monitor_log.h"
#include "runtime/helper/proto.h"

struct monitor;
struct nest;

/* Called for an event of a descriptor; `owner` is what was given to monitor_watch(). */
typedef void (*monitor_event)(struct monitor *m, void *owner, uint32_t events);

struct monitor_watch {
	int fd;
	uint32_t events;
	monitor_event fn;
	void *owner;
};

/* A process of the container. */
struct monitor_proc {
	struct monitor_proc *next;
	struct monitor_watch pid, answer, out[2],
		in; /* fds: pidfd; its errors; stdout and stderr or the terminal's master; stdin */
	int number;
	bool tty, exec, once, ready, exited, input_ended;
	struct proto_exit exit;
	struct err *failed;
};

struct monitor_client {
	struct monitor_client *next;
	struct monitor_watch watch;
	struct monitor_proc *proc;
	uint32_t streams;
	bool dead, dropped, input_ended;
	char *input; /* PROTO_WINDOW bytes, made with the first input */
	size_t in_from, in_n;
	int spool_fd; /* what it has not taken yet; -1: nothing */
	uint64_t spool_from, spool_to;
};

struct monitor {
	const struct nest *nest;
	int epoll, dir_fd, lock_fd, host_fd, parent_fd, cgroup_fd, record_fd, pidns_fd, root_fd,
		group_fds[2];
	struct monitor_watch listen, signals;
	char *id, *cgroup_name, *idle, **reap;
	bool watch_oom, finished;
	uint32_t stop_signal;
	int64_t stop_timeout_ms;
	int64_t kill_at_ns;   /* CLOCK_MONOTONIC; INT64_MAX: never */
	int64_t settle_at_ns; /* when it moves to its own groups; INT64_MAX: it has */
	int64_t started_ns, until_ns;
	struct monitor_proc *procs, *main;
	struct monitor_client *clients;
	struct monitor_log log;
	struct proto_exit exit;
	char *error;
};

/* Becomes the monitor that a PROTO_MONITOR asks for. parent_fd: the folder of the unified hierarchy that has the container's cgroup. */
_Noreturn void monitor_main(const struct nest *n, int parent_fd, struct proto_message *message);

/* ---- between the parts of the monitor */

/* Sets what is waited for on w->fd; 0 events: nothing. Closes and forgets it. */
void monitor_watch(struct monitor *m, struct monitor_watch *w, uint32_t events);
void monitor_unwatch(struct monitor *m, struct monitor_watch *w);

/* Starts a process that `client` takes part in. Fails as stage1 cannot: what goes wrong later comes as PROTO_ERROR. */
NODISCARD int monitor_start(struct monitor *m, struct proto_run *r, struct proto_message *message,
			    struct monitor_client *client, struct err **err);

/* A signal to pid 1, and the time after which it is killed (-1: never). */
void monitor_stop(struct monitor *m, uint32_t signal, int64_t timeout_ms);

/* A new client over a connection, which it owns. */
struct monitor_client *monitor_client_new(struct monitor *m, int fd);
/* Accepts on attach.sock. */
void monitor_accept(struct monitor *m, void *owner, uint32_t events);
/* Sends a message, now or when the client takes it. */
void monitor_send(struct monitor *m, struct monitor_client *c, enum proto_kind kind,
		  struct str body);
/* To all clients of a process (and only those of `stream`, unless 0). */
void monitor_send_all(struct monitor *m, const struct monitor_proc *p, uint32_t stream,
		      enum proto_kind kind, struct str body);
/* Gives what clients have sent to stdin. */
void monitor_feed(struct monitor *m, void *proc, uint32_t events);
/* Closes those that are gone; true when one of the others still waits for something that was sent. */
bool monitor_sweep_clients(struct monitor *m);
