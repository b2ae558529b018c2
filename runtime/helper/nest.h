/*
 * nest: where the spawner lives and where every container is put together: a mount namespace of its
 * own that holds nothing of the host.
 *
 * Its root is a small read-only tmpfs. A child's clone3(CLONE_NEWNS) so copies a handful of mounts
 * instead of the host's tree, and what an image could make of a path during set-up has no host file
 * system to lead to. The paths, all trusted:
 *
 *     /mnt              the root of the container is attached here
 *     /null /empty      what masked files and folders are covered with: a device 1:3, an empty folder
 *     /c/proc /c/ro     the container's proc, and the same read-only
 *     /c/dev            its /dev, whole
 *     /c/sys            its sysfs, where /sys does not serve
 *     /sys              the sysfs of the host's network namespace, read-only, masked, with the control groups (version 1) in it:
 *                       each child has a copy of these mounts by its clone3 and moves them
 */
#pragma once

#include <stdbool.h>

#include "base/mem.h"

struct err;
struct proto_hello;
struct proto_message;

struct nest {
	int proc_fd; /* the host's /proc: for start times of children, closed by them at once */
	bool cgroup2;
	bool cgroups; /* /sys/fs/cgroup is there */
};

/* Enters the nest; the process must be alone and of one thread. What a RUN shares with all
 * others of its spawner is set here once: no core dumps and no ptrace (PR_SET_DUMPABLE), the
 * session keyring, no groups, umask 0, the devices cgroup. */
NODISCARD int nest_enter(struct proto_message *m, const struct proto_hello *h, struct nest *ret,
			 struct err **err);

/* Covers what is masked below `proc` resp. `sys`, two trusted paths. What the kernel does not
 * have is passed over. */
NODISCARD int nest_mask_proc(const char *proc, struct err **err);
NODISCARD int nest_mask_sys(const char *sys, struct err **err);
