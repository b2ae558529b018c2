/*
 * spawner: the helper's main role: clones what it is asked for, watches it, says how it ended. One
 * thread, never blocked by a child. It has its own session, a mount namespace without the host
 * (nest.h), nothing of its caller's memory, environment or descriptors.
 */
#pragma once

/* Serves the socket PROTO_SOCKET until its other end is closed; then kills and awaits what still
 * runs. The exit status. */
int spawner_main(void);
