/*
 * stage1: the life of a container's first process from clone3 to execve, in numbered steps.
 */
#pragma once

#include "base/mem.h"

struct nest;
struct proto_message;
struct proto_run;

enum {
	STAGE1_ANSWER_FD = 3, /* where it says what failed; closed by execve */
	STAGE1_PARENT_FD = 4, /* the spawner's pidfd, at this number in the spawner too */
};

struct stage1 {
	const struct nest *nest;
	const struct proto_run *run;
	struct proto_message *message;
	int answer_fd;
	int container_fd; /* pidfd of the container whose namespaces it joins; -1: it has its own */
};

/* Called in the child. Executes the program, or sends the error and ends the process. */
_Noreturn void stage1_main(const struct stage1 *s);
