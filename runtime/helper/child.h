/*
 * child: what the helper does with a process it clones, as the spawner of RUNs and as the monitor
 * of a container.
 */
#pragma once

#include "base/mem.h"

struct err;
struct nest;
struct proto_exit;
struct proto_message;
struct proto_run;

struct child {
	const struct nest *nest;
	const struct proto_run *run;
	struct proto_message *message;
	int cgroup_fd;    /* folder of the unified cgroup it starts in; -1: ours */
	int answer_fd;    /* where it says what failed */
	int container_fd; /* pidfd of the container whose namespaces it joins; -1: it gets its own */
};

/* Clones it into its namespaces and lets it run stage1; the pid, and a pidfd in *ret_pidfd. */
NODISCARD int child_clone(const struct child *c, int *ret_pidfd, struct err **err);

/* Adds its line to a record (runtime/record.h). */
void child_record(const struct nest *n, int record_fd, int pid);

/* Kills all of the cgroup, or (none, or too old a kernel) the process. */
void child_kill(int pidfd, int cgroup_fd);

/* Reaps a process whose pidfd is readable. cgroup_fd -1: nothing is said about memory. */
void child_wait(int pidfd, int cgroup_fd, struct proto_exit *ret);

/* Takes a descriptor out of a message; -1 for PROTO_NO_FD. */
int child_take_fd(struct proto_message *m, unsigned index);
