/*
 * process: from config.json to the process that the runtime starts, for pid 1 and for exec.
 */
#pragma once

#include "base/mem.h"
#include "runtime/container/config.h"
#include "runtime/container/container.h"
#include "runtime/spec.h"
#include "runtime/user.h"

struct err;

/* A zeroed one is empty. What its spec points to lives here and in the arena. */
struct container_process {
	struct runtime_spec spec;
	struct container_env env;
	struct runtime_user user;
	const char **argv;
	char **raw; /* arguments that JSON could not hold */
	size_t n_raw;
	gid_t *groups;
	struct runtime_mount *mounts;
	struct runtime_rlimit *rlimits;
	struct runtime_node *nodes;
	char *cwd, *hostname;
};

/* pid 1 as it was asked for. root_fd: its root, in which users are looked up. */
NODISCARD int container_process_main(const struct container *k, int root_fd,
				     struct container_process *ret, struct err **err);

struct container_exec {
	struct container_words argv, env, env_file;
	const char *user, *workdir; /* NULL: the container's */
	bool tty, interactive;
};

/* A further one of a running container. */
NODISCARD int container_process_exec(const struct container *k, int root_fd,
				     const struct container_exec *x, struct container_process *ret,
				     struct err **err);

/* Closes and frees; serves after a failure too. */
void container_process_release(struct container_process *p);
