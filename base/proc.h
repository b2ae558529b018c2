/*
 * proc: starting programs without a shell. posix_spawn semantics: safe with threads and cheap from a big process.
 * The caller ignores SIGPIPE: a program may end before it has read its input.
 */
#pragma once

#include <signal.h>
#include <sys/types.h>

#include "base/mem.h"
#include "base/str.h"

struct err;

struct proc_options {
	const char *const
		*argv; /* NULL-terminated; argv[0] is looked up in PATH unless `exec_fd` is given */
	const char *const *envp; /* NULL: the caller's */
	int exec_fd;             /* > 0: execute this descriptor (through /proc/self/fd) */
	int fds[3];              /* what becomes 0, 1, 2; -1: /dev/null */
	int keep_fd; /* > 0: becomes descriptor 3 of the child; all others are closed by it or CLOEXEC */
	bool new_session; /* setsid in the child */
};

/* Starts a program; its pid in *ret_pid and a pidfd in *ret_pidfd (may be NULL). Signals: default actions, empty mask. */
NODISCARD int proc_start(const struct proc_options *o, pid_t *ret_pid, int *ret_pidfd,
			 struct err **err);

/* Waits; exit status as a shell has it: 0–255, or 128 + signal. */
NODISCARD int proc_wait(pid_t pid, int *ret_status, struct err **err);

/* Runs a program with `input` as stdin and collects stdout (bounded by out->max) until it ends or timeout_ms is over
 * (killed, ERR_TIMEOUT). stderr is the caller's. */
NODISCARD int proc_capture(const struct proc_options *o, struct str input, int timeout_ms,
			   struct sb *out, int *ret_status, struct err **err);
