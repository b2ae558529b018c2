/*
 * proto: what cbuild and the helper say to each other over a SOCK_SEQPACKET socket. Built into both
 * sides from one source.
 *
 *   1. cbuild starts the helper with one end of a socket as descriptor 3 and sends PROTO_HELLO.
 *   2. Each PROTO_RUN carries as its first descriptor one end of a fresh socket for the answers to this request alone.
 *   3. On that socket come PROTO_STARTED (pid, pidfd), then PROTO_ERROR (from the child, when its set-up failed) or nothing, then
 *      PROTO_EXIT, which only the spawner can give and which ends the request: everything of the process is gone by then. A
 *      request that could not be started at all gets PROTO_ERROR and no PROTO_EXIT: the socket is closed.
 *
 * A container has a monitor: PROTO_MONITOR, sent instead of 2, makes a monitor of the helper that
 * outlives cbuild (see runtime/helper/monitor.h for its conversation). Its messages to and from its
 * clients are those from PROTO_MONITOR on.
 *
 * A message is a header and a body. A body beyond PROTO_INLINE is a sealed memfd, the last
 * descriptor of the message. Descriptors are named in a body by their index in the message. Numbers
 * are in host order: both ends are one build on one machine, and the version refuses all else.
 * Decoding checks every length, count and index against what has arrived.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"

struct err;

enum {
	PROTO_SOCKET = 3,
	PROTO_INLINE = 64 * 1024,
	PROTO_MAX_BODY = 16 * 1024 * 1024,
	PROTO_MAX_FDS = 250,     /* the kernel's bound is 253 for one message */
	PROTO_MAX_FILTER = 4096, /* instructions: the kernel's bound */
};
#define PROTO_NO_FD UINT32_MAX

enum proto_kind {
	PROTO_HELLO = 1,
	PROTO_RUN,
	PROTO_STARTED,
	PROTO_ERROR,
	PROTO_EXIT,
	PROTO_MONITOR, /* cbuild → helper: its first descriptor is the first client's connection, its body a proto_monitor and a proto_run */
	PROTO_CONSOLE, /* stage1 → monitor: the master of its terminal */
	PROTO_EXEC,    /* client → monitor: a proto_run that joins the container */
	PROTO_ATTACH, /* client → monitor: u32 streams (PROTO_STREAM_…) of pid 1 that it takes part in */
	PROTO_INPUT, /* client → monitor: bytes for stdin, never more than PROTO_WINDOW without a credit */
	PROTO_INPUT_END, /* client → monitor */
	PROTO_RESIZE,    /* client → monitor: u32 rows, u32 columns */
	PROTO_SIGNAL,    /* client → monitor: u32 signal for the process it is attached to */
	PROTO_STOP, /* client → monitor: u32 signal for pid 1, i64 ms until SIGKILL (-1: never) */
	PROTO_OUTPUT,  /* monitor → client: u32 1 or 2, bytes */
	PROTO_CREDIT,  /* monitor → client: u32 bytes of input taken */
	PROTO_DROPPED, /* monitor → client: too slow; nothing comes after it */
};

enum {
	PROTO_STREAM_IN = 1,
	PROTO_STREAM_OUT = 2,
	PROTO_STREAM_ERR = 4,
	PROTO_STREAM_REAPS =
		8, /* this client removes the container at its end (--rm): the monitor need not */
	PROTO_WINDOW = 64 * 1024,
};

/* A message that has arrived. Whoever takes a descriptor out of fds sets -1 in its place. */
struct proto_message {
	enum proto_kind kind;
	char *body; /* mapped or allocated, see proto_message_release() */
	size_t body_size;
	int fds[PROTO_MAX_FDS + 1];
	uint32_t n_fds;
};

/* One entry of /sys/fs/cgroup on a host with version 1: a controller's mount, or a link to one. */
struct proto_cgroup {
	const char *name;
	const char *link; /* "" for a mount */
	uint32_t fd;      /* a detached mount */
};

struct proto_hello {
	bool cgroup2;        /* the host has version 2 alone: children get a cgroup namespace */
	uint32_t devices_fd; /* the tasks file of the spawner's own devices cgroup (version 1) */
	uint32_t
		parent_fd; /* the folder of the unified hierarchy that holds the groups of the processes */
	struct proto_cgroup *cgroups;
	uint32_t n_cgroups;
};

enum proto_flag {
	PROTO_ROOT_READONLY = 1,
	PROTO_CWD_AS_USER = 2,
	PROTO_NO_NEW_PRIVS = 4,
	PROTO_MASK_PATHS = 8,
	PROTO_SYS_WRITABLE = 16,
	PROTO_NEW_NET = 32,
	PROTO_INIT = 64,
	PROTO_WATCH_OOM = 128, /* the cgroup has memory.events */
	PROTO_JOIN = 256,      /* a further process of a container */
	PROTO_TTY = 512,
	PROTO_STDIN = 1024,      /* a pipe for stdin, not /dev/null */
	PROTO_STDIN_ONCE = 2048, /* which closes with the first client that was attached to it */
	PROTO_HOST_PID = 4096,
	PROTO_NET_SYSCTLS = 8192, /* Docker's two sysctls of a network namespace of its own */
};

struct proto_mount {
	uint32_t fd;      /* a detached mount; PROTO_NO_FD: a new tmpfs */
	uint32_t lock_fd; /* held until the end of the process; PROTO_NO_FD: none */
	uint32_t attr;    /* MS_RDONLY, MS_NOEXEC, MS_NOSUID, MS_NODEV of a tmpfs */
	uint32_t mode; /* of a tmpfs; of a folder or file that has to be made; 0: the usual one */
	uint64_t size_bytes; /* of a tmpfs; 0: no bound */
	const char *target;
};

struct proto_rlimit {
	uint64_t soft, hard;
	uint32_t resource;
};

struct proto_device {
	const char *path; /* below /dev */
	uint32_t mode, uid, gid;
	uint64_t rdev;
};

struct proto_run {
	uint32_t flags;
	uint32_t root_fd, record_fd;
	uint32_t stdio[3];
	uint32_t
		cgroup_fd; /* folder of the unified cgroup, entered by clone3; PROTO_NO_FD: the spawner's */
	const char
		*cgroup_name; /* its name in the parent, from which it is removed after the end */
	uint32_t
		join_fd; /* the tasks file that the child writes itself into (version 1 devices); PROTO_NO_FD: none */
	uint32_t uid, gid, cap_last;
	uint32_t rows, cols; /* of its terminal; 0: not known */
	uint32_t streams;    /* PROTO_STREAM_…: what the client that asks for it takes part in */
	uint64_t bounding, permitted, effective, inheritable, ambient;
	uint64_t shm_size_bytes;
	const char *cwd, *hostname;
	char **argv, **env; /* NULL-terminated */
	uint32_t *groups;
	uint32_t n_groups;
	struct proto_rlimit *rlimits;
	uint32_t n_rlimits;
	struct proto_mount *mounts;
	uint32_t n_mounts;
	struct proto_device *devices;
	uint32_t n_devices;
	const void *filter; /* struct sock_filter[]; aligned to 8 */
	uint32_t n_filter;
};

/* What a monitor is told beside its first process. The record of a proto_run is its record; its
 * cgroups are the container's. */
struct proto_monitor {
	uint32_t dir_fd;       /* the container's folder */
	uint32_t lock_fd;      /* its lock, held for life */
	uint32_t listen_fd;    /* attach.sock, listening */
	uint32_t host_fd;      /* the host's mount namespace, in which `reap` is executed */
	uint32_t group_fds[2]; /* cgroup.procs of groups in which the monitor itself lives */
	uint32_t stop_signal;
	int64_t stop_timeout_ms; /* of a SIGTERM to the monitor */
	const char *id;
	const char *idle; /* its status where it cannot be started: "created" or "exited" */
	char **reap; /* what is executed at the end, the container's lock as descriptor 3; empty: nothing */
	struct proto_run run;
};

struct proto_exit {
	int32_t status; /* 0–255, or 128 + signal */
	bool signaled, oom;
	int64_t user_us, system_us, max_rss_kib;
};

/* Append the body of a message. The structs' strings must not be NULL. */
void proto_hello_put(struct sb *b, const struct proto_hello *h);
void proto_run_put(struct sb *b, const struct proto_run *r);
void proto_monitor_put(struct sb *b, const struct proto_monitor *m);
void proto_error_put(struct sb *b, const struct err *e);
void proto_exit_put(struct sb *b, const struct proto_exit *e);

/* Decode a body; ERR_INVALID where it is cut short, too long, or names a descriptor that did not
 * come. Strings and the filter point into the message, arrays are freed by the release functions
 * (which serve after a failure too). */
NODISCARD int proto_hello_get(const struct proto_message *m, struct proto_hello *ret,
			      struct err **err);
NODISCARD int proto_run_get(const struct proto_message *m, struct proto_run *ret, struct err **err);
NODISCARD int proto_exit_get(const struct proto_message *m, struct proto_exit *ret,
			     struct err **err);
void proto_hello_release(struct proto_hello *h);
NODISCARD int proto_monitor_get(const struct proto_message *m, struct proto_monitor *ret,
				struct err **err);
void proto_run_release(struct proto_run *r);
void proto_monitor_release(struct proto_monitor *m);

/* The numbers that a short body is made of; ERR_INVALID where it is not exactly `n` of them, or
 * (rest not NULL) where it is shorter. */
NODISCARD int proto_words_get(const struct proto_message *m, uint32_t *v, size_t n,
			      struct str *rest, struct err **err);

/* Makes the error that a PROTO_ERROR tells, or one that says why it cannot be read. Always
 * returns -1. */
int proto_error_get(const struct proto_message *m, struct err **err);

/* Sends one message; the descriptors stay the caller's. Fails with ERR_IO when the other side is
 * gone; never raises SIGPIPE. */
NODISCARD int proto_send(int sock, enum proto_kind kind, struct str body, const int *fds,
			 uint32_t n_fds, struct err **err);

/* Sends PROTO_ERROR by one write(2), the only call that a system call filter must still allow. */
void proto_error_write(int sock, const struct err *e);

/* Takes one message: 1, or 0 when there is none now (`wait` false), or -1: ERR_IO at the end of
 * the stream, ERR_INVALID for a message that is not ours. Descriptors arrive with O_CLOEXEC.
 * Release it whatever the result. */
NODISCARD int proto_recv(int sock, bool wait, struct proto_message *ret, struct err **err);

/* Wipes and frees the body and closes the descriptors that are left. */
void proto_message_release(struct proto_message *m);
