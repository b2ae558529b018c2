/*
 * device: which device nodes a container may make and open: the rules of Docker's default, as lines
 * for the devices cgroup of version 1 and as a program for cgroups of version 2.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

struct err;

struct runtime_device_rule {
	char type;          /* 'c', 'b', 'a' for both */
	int major, minor;   /* -1: any */
	const char *access; /* of "rwm" */
	bool allow;
};

/* Docker's default rules, after "deny all"; *ret_n gets their number. */
const struct runtime_device_rule *runtime_device_rules(size_t *ret_n);

/* Denies all but what the rules say in a devices cgroup of version 1, given by its folder. */
NODISCARD int runtime_device_write(int cgroup_fd, const struct runtime_device_rule *rules, size_t n,
				   struct err **err);

/* Loads the same as a program for runtime_device_attach(): the last rule that matches wins. The
 * descriptor is the caller's. */
NODISCARD int runtime_device_load(const struct runtime_device_rule *rules, size_t n,
				  struct err **err);

/* Attaches the program to a folder of the unified hierarchy, beside what its parents have. */
NODISCARD int runtime_device_attach(int cgroup_fd, int prog_fd, struct err **err);
