/*
 * program: which file an argv[0] means inside the container, and why the kernel refused it.
 * Statuses as Docker has them: 127 not found, 126 not permitted, 255 found but refused by
 * execve(2).
 */
#pragma once

#include "base/mem.h"

struct err;

/* The path to execute: argv[0] itself when it has a slash, else the first executable file of
 * that name in PATH of `env`. Run as the container's user in its root. Fails with status 127
 * (ERR_NOT_FOUND) or 126 (ERR_DENIED). The caller frees it. */
NODISCARD char *program_find(const char *name, char *const *env, struct err **err);

/* The error for an execve(2) that failed with errno `sys`: 126 for EACCES, else 255. Reads
 * nothing. Always returns -1. */
int program_refused(const char *name, int sys, struct err **err);

/* Adds the reason to such an error, where the file's first bytes give one: CRLF, a missing
 * interpreter or loader, a foreign machine. */
void program_explain(const char *path, struct err **err);
