/*
 * proto: what cbuild and the helper say to each other over a SOCK_SEQPACKET socket. Built into both sides from one source.
 *
 *   1. cbuild starts the helper with one end of a socket as descriptor 3 and sends PROTO_HELLO.
 *   2. Each PROTO_RUN carries as its first descriptor one end of a fresh socket for the answers to this request alone.
 *   3. On that socket come PROTO_STARTED (pid, pidfd), then PROTO_ERROR (from the child, when its set-up failed) or nothing, then
 *      PROTO_EXIT, which only the spawner can give and which ends the request: everything of the process is gone by then. A
 *      request that could not be started at all gets PROTO_ERROR and no PROTO_EXIT: the socket is closed.
 *
 * A message is a header and a body. A body beyond PROTO_INLINE is a sealed memfd, the last descriptor of the message. Descriptors are
 * named in a body by their index in the message. Numbers are in host order: both ends are one build on one machine, and the
 * version refuses all else. Decoding checks every length, count and index against what has arrived.
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
	PROTO_MAX_FDS = 250,           /* the kernel's bound is 253 for one message */
	PROTO_MAX_FILTER = 4096,       /* instructions: the kernel's bound */
};
#define PROTO_NO_FD UINT32_MAX

enum proto_kind {
	PROTO_HELLO = 1,
	PROTO_RUN,
	PROTO_STARTED,
	PROTO_ERROR,
	PROTO_EXIT,
};

/* A message that has arrived. Whoever takes a descriptor out of fds sets -1 in its place. */
struct proto_message {
	enum proto_kind kind;
	char *body;                    /* mapped or allocated, see proto_message_release() */
	size_t body_size;
	int fds[PROTO_MAX_FDS + 1];
	uint32_t n_fds;
};

/* One entry of /sys/fs/cgroup on a host with version 1: a controller's mount, or a link to one. */
struct proto_cgroup {
	const char *name;
	const char *link;              /* "" for a mount */
	uint32_t fd;                   /* a detached mount */
};

struct proto_hello {
	bool cgroup2;                  /* the host has version 2 alone: children get a cgroup namespace */
	uint32_t devices_fd;           /* cgroup.procs of the spawner's own devices cgroup (version 1) */
	uint32_t parent_fd;            /* the folder of the unified hierarchy that holds the groups of the processes */
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
	PROTO_WATCH_OOM = 128,         /* the cgroup has memory.events */
};

struct proto_mount {
	uint32_t fd;                   /* a detached mount; PROTO_NO_FD: a new tmpfs */
	uint32_t lock_fd;              /* held until the end of the process; PROTO_NO_FD: none */
	uint32_t attr;                 /* MS_RDONLY, MS_NOEXEC, MS_NOSUID, MS_NODEV of a tmpfs */
	uint32_t mode;                 /* of a tmpfs; of a folder or file that has to be made; 0: the usual one */
	uint64_t size_bytes;           /* of a tmpfs; 0: no bound */
	const char *target;
};

struct proto_rlimit {
	uint64_t soft, hard;
	uint32_t resource;
};

struct proto_device {
	const char *path;              /* below /dev */
	uint32_t mode, uid, gid;
	uint64_t rdev;
};

struct proto_run {
	uint32_t flags;
	uint32_t root_fd, record_fd;
	uint32_t stdio[3];
	uint32_t cgroup_fd;            /* folder of the unified cgroup, entered by clone3; PROTO_NO_FD: the spawner's */
	const char *cgroup_name;       /* its name in the parent, from which it is removed after the end */
	uint32_t join_fd;              /* cgroup.procs that the child writes itself into (version 1 devices); PROTO_NO_FD: none */
	uint32_t uid, gid, cap_last;
	uint64_t bounding, permitted, effective, inheritable, ambient;
	uint64_t shm_size_bytes;
	const char *cwd, *hostname;
	char **argv, **env;            /* NULL-terminated */
	uint32_t *groups;
	uint32_t n_groups;
	struct proto_rlimit *rlimits;
	uint32_t n_rlimits;
	struct proto_mount *mounts;
	uint32_t n_mounts;
	struct proto_device *devices;
	uint32_t n_devices;
	const void *filter;            /* struct sock_filter[]; aligned to 8 */
	uint32_t n_filter;
};

struct proto_exit {
	int32_t status;                /* 0–255, or 128 + signal */
	bool signaled, oom;
	int64_t user_us, system_us, max_rss_kib;
};

/* Append the body of a message. The structs' strings must not be NULL. */
void proto_hello_put(struct sb *b, const struct proto_hello *h);
void proto_run_put(struct sb *b, const struct proto_run *r);
void proto_error_put(struct sb *b, const struct err *e);
void proto_exit_put(struct sb *b, const struct proto_exit *e);

/* Decode a body; ERR_INVALID where it is cut short, too long, or names a descriptor that did not come. Strings and the filter point
 * into the message, arrays are freed by the release functions (which serve after a failure too). */
NODISCARD int proto_hello_get(const struct proto_message *m, struct proto_hello *ret, struct err **err);
NODISCARD int proto_run_get(const struct proto_message *m, struct proto_run *ret, struct err **err);
NODISCARD int proto_exit_get(const struct proto_message *m, struct proto_exit *ret, struct err **err);
void proto_hello_release(struct proto_hello *h);
void proto_run_release(struct proto_run *r);

/* Makes the error that a PROTO_ERROR tells, or one that says why it cannot be read. Always returns -1. */
int proto_error_get(const struct proto_message *m, struct err **err);

/* Sends one message; the descriptors stay the caller's. Fails with ERR_IO when the other side is gone; never raises SIGPIPE. */
NODISCARD int proto_send(int sock, enum proto_kind kind, struct str body, const int *fds, uint32_t n_fds, struct err **err);

/* Sends PROTO_ERROR by one write(2), the only call that a system call filter must still allow. */
void proto_error_write(int sock, const struct err *e);

/* Takes one message: 1, or 0 when there is none now (`wait` false), or -1: ERR_IO at the end of the stream, ERR_INVALID for a message that is
 * not ours. Descriptors arrive with O_CLOEXEC. Release it whatever the result. */
NODISCARD int proto_recv(int sock, bool wait, struct proto_message *ret, struct err **err);

/* Wipes and frees the body and closes the descriptors that are left. */
void proto_message_release(struct proto_message *m);
