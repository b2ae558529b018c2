/*
 * record: the file steps/<lease>.<n> that names a process before it exists, so that whoever finds
 * its owner dead can find and kill it.
 *
 *     <boot id> <folder of its unified cgroup, or -> <folder of its own devices cgroup, or ->
 *     <pid> <start time>          added by the helper once it is cloned; none where it died before that
 *
 * The spawner's own is steps/<lease>.spawner.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/mem.h"

struct err;

struct runtime_record {
	char *boot, *group, *devices; /* malloc; NULL for "-" */
	pid_t pid;                    /* 0: none */
	uint64_t start;               /* field 22 of /proc/PID/stat */
};

/* Makes a record; its descriptor, open for appending. NULL for a group that does not exist. */
NODISCARD int runtime_record_make(int steps_fd, const char *name, const char *group,
				  const char *devices, struct err **err);

/* Adds the line of a process that runs. */
NODISCARD int runtime_record_add(int fd, pid_t pid, struct err **err);

/* Reads a record back; ERR_INVALID for text that is none. */
NODISCARD int runtime_record_read(int steps_fd, const char *name, struct runtime_record *ret,
				  struct err **err);
void runtime_record_release(struct runtime_record *r);

/* Kills the process that a record of this boot names, and all in its group, and waits, at most
 * timeout_ms, until they are gone. An absent record is fine. */
NODISCARD int runtime_record_kill(int steps_fd, const char *name, int timeout_ms, struct err **err);

/* The same; then removes its groups and the record. */
NODISCARD int runtime_record_bury(int steps_fd, const char *name, int timeout_ms, struct err **err);
