/*
 * launch: starting the helper, whatever role it gets: its program in sealed memory, its socket, the
 * first message.
 */
#pragma once

#include <sys/types.h>

#include "base/mem.h"

struct err;
struct runtime_cgroups;

/* Starts the helper in a session of its own, with nothing of the caller's but one end of a
 * socket. The caller owns the other end and waits for the process, or leaves that to init. */
NODISCARD int runtime_helper_start(pid_t *ret_pid, int *ret_socket, struct err **err);

/* Sends the first message, by which the helper enters its nest. devices_fd: the tasks file of the
 * devices group it joins (version 1); -1: none. */
NODISCARD int runtime_helper_hello(int sock, const struct runtime_cgroups *g, int devices_fd,
				   struct err **err);
