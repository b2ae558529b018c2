/*
 * cgroup: the control groups of a store's processes: cbuild/<store>/<name> in each hierarchy that
 * is used.
 *
 * The unified hierarchy (version 2, or beside version 1 on a hybrid host) holds one group for each
 * process: for cgroup.kill, events and, on a host of version 2 alone, device rules. Of version 1
 * only `devices` is used: all RUNs of a build inherit the group of their spawner, run.<lease>, so
 * that no RUN pays for joining. Limits are not set here yet.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

struct err;

/* A control group hierarchy of version 1 for the container's /sys/fs/cgroup. */
struct runtime_cgroup_entry {
	char *name; /* as on the host: "cpu,cpuacct" */
	char *link; /* NULL, or what the symlink `name` says */
	int fd;     /* -1, or a detached read-only mount of our own group in it */
};

struct runtime_cgroups {
	int unified_fd; /* folder cbuild/<store> of the unified hierarchy; -1: none can be used */
	char *unified_path;
	int devices_fd; /* folder cbuild/<store> of the devices hierarchy of version 1; -1: none */
	char *devices_path;
	int program_fd;     /* device rules of version 2; -1: version 1 does it */
	bool only2;         /* no version 1 on this host */
	bool memory_events; /* groups have the memory controller */
	int oom_fd; /* memory.oom_control of our own group of version 1, which the processes inherit; -1: none */
	struct runtime_cgroup_entry *entries;
	size_t n_entries;
};

/* Finds the hierarchies and makes the store's folders. Fails only where no device rules can be
 * set, which a container may not go without. */
NODISCARD int runtime_cgroups_open(const char *store, struct runtime_cgroups *ret,
				   struct err **err);
void runtime_cgroups_release(struct runtime_cgroups *g);

/* Makes the group of one process in the unified hierarchy, with device rules where they belong
 * there (all devices: `all`). Its folder's descriptor, or -1 without an error where there is no
 * unified hierarchy: such a process is killed by its pid alone. */
NODISCARD int runtime_cgroups_make(const struct runtime_cgroups *g, const char *name, bool all,
				   int *ret_fd, struct err **err);

/* Makes a devices group of version 1 with the default rules, or (`all`) without any; its
 * tasks file in *ret_fd. */
NODISCARD int runtime_cgroups_make_devices(const struct runtime_cgroups *g, const char *name,
					   bool all, int *ret_fd, struct err **err);

/* The devices group of version 1 that all containers of the store share: made with the default
 * rules by the first and never removed. */
NODISCARD int runtime_cgroups_share_devices(const struct runtime_cgroups *g, const char *name,
					    int *ret_fd, struct err **err);

/* How often the kernel has killed in our own memory group (version 1) for want of memory, up to
 * now; -1 where it cannot be told. */
int64_t runtime_cgroups_oom_kills(int oom_fd);

/* Kills everything in a group of the unified hierarchy (given by its folder) and waits, at most
 * timeout_ms, until it is empty. */
NODISCARD int runtime_cgroup_bury(int group_fd, int timeout_ms, struct err **err);
