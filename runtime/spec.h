/*
 * spec: what one process needs in its namespaces, as plain data; Docker's defaults. Filled from a
 * plan (RUN), an image config plus flags (run) or config.json (OCI face). runtime/ knows no image,
 * store or database: the root comes as one descriptor.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/mem.h"
#include "base/str.h"

struct err;

enum runtime_net { RUNTIME_NET_HOST, RUNTIME_NET_NONE };
enum runtime_mount_kind {
	RUNTIME_MOUNT_FILE, /* bind of a file or folder given by `fd` (opened by the caller, any O_PATH) */
	RUNTIME_MOUNT_DETACHED, /* `fd` is a detached mount */
	RUNTIME_MOUNT_TMPFS,
};

struct runtime_mount {
	enum runtime_mount_kind kind;
	int fd;             /* borrowed until runtime_spawn() returns */
	const char *target; /* absolute, in the root */
	bool readonly, noexec, nosuid, nodev, recursive;
	int64_t size_bytes; /* tmpfs; 0: no bound */
	mode_t mode; /* of a tmpfs (0: 1777), or of another target that has to be made (0: 0755, files 0644) */
	int lock_fd; /* held by the spawner until the step's last process is reaped; -1: none */
};

/* Capabilities as bit masks by number. */
struct runtime_caps {
	uint64_t bounding, permitted, effective, inheritable, ambient;
};

struct runtime_rlimit {
	int resource;
	uint64_t soft, hard;
};

/* A device node of the container's /dev. */
struct runtime_node {
	const char *path; /* below /dev */
	mode_t mode;      /* with its type */
	uint32_t uid, gid;
	dev_t rdev;
};

/* What a container has and a RUN has not (runtime/monitor.h). */
struct runtime_terminal {
	bool tty;            /* a terminal of its own; else pipes */
	bool open_stdin;     /* stdin is a pipe, not /dev/null */
	bool stdin_once;     /* which ends with the first client that was attached to it */
	uint16_t rows, cols; /* 0: not known */
	uint32_t streams;    /* PROTO_STREAM_… that the asking client takes part in */
};

struct runtime_spec {
	int root_fd; /* a detached mount; borrowed until runtime_spawn() returns */
	bool root_readonly;
	const char *const *argv,
		*const *env; /* NULL-terminated; argv[0] is looked up in env's PATH inside */
	const char *cwd;     /* absolute; made when missing */
	bool cwd_as_user;    /* a made cwd belongs to the user (RUN), else root */
	uint32_t uid, gid;
	const gid_t *groups;
	size_t n_groups;
	struct runtime_caps caps;
	bool no_new_privs;
	bool seccomp;    /* Docker's default profile for these capabilities; false: unconfined */
	bool mask_paths; /* masked and read-only paths of Docker's default */
	bool privileged_sys; /* /sys and cgroup writable, all devices (RUN --security=insecure) */
	enum runtime_net net;
	const char *hostname;
	const struct runtime_mount *mounts; /* sorted by the caller: by depth of the target */
	size_t n_mounts;
	bool remove_stubs; /* RUN: mount targets that had to be made are removed at the end, see runtime/stubs.h */
	const struct runtime_rlimit *rlimits;
	size_t n_rlimits;
	int64_t shm_size_bytes; /* 0: 64 MiB */
	int stdio[3];           /* borrowed; -1: /dev/null */
	bool init;
	bool host_pid; /* no pid namespace of its own: needs a cgroup, by which all of it is killed */
	bool net_sysctls; /* Docker's sysctls of a network namespace of its own */
	const struct runtime_node *nodes;
	size_t n_nodes;
	struct runtime_terminal terminal;
	const char *
		record; /* name of the record file in the run folder's steps/ ("<lease>.<n>"); NULL: none */
	const char *
		cgroup; /* relative name below cbuild/<store>/ ("run.<lease>.<n>"); NULL: the spawner's */
};

/* Docker's default capability set: mask 00000000a80425fb in bounding, permitted, effective;
 * nothing ambient or inheritable. A uid other than 0 keeps the bounding set alone. */
struct runtime_caps runtime_caps_default(uint32_t uid);

/* A spec with Docker's defaults, no process, root_fd -1. */
void runtime_spec_init(struct runtime_spec *s);
