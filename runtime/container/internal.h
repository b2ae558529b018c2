/*
 * internal: what the sources of runtime/container/ share.
 */
#pragma once

#include "runtime/container/container.h"

struct store;

/* Opens containers/<id>/ without looking at its state. ERR_NOT_FOUND. */
NODISCARD struct container *container_open(struct cache *c, const char *id, struct err **err);

/* Reads state.json into k->state. */
NODISCARD int container_read_state(struct container *k, struct err **err);
/* Writes a state that no monitor writes. */
NODISCARD int container_write_state(struct container *k, enum container_status status, int exit,
				    const char *error, struct err **err);

/* Kills what its record names, records the end of what a dead monitor left. Its lock is ours. */
NODISCARD int container_settle(struct container *k, struct err **err);

/* The id that a name has; -1 with errno. */
int container_name_get(int root_fd, const char *name, char ret_id[CONTAINER_ID]);
/* Lets a name, which is nobody's, mean an id. ERR_EXISTS in Docker's words. */
NODISCARD int container_name_take(int root_fd, const char *name, const char *id, struct err **err);
/* Removes a name where it means this id. */
void container_name_drop(int root_fd, const char *name, const char *id);

/* Removes what commands that died while they made a container left, where it is older than a minute. */
void container_sweep_hidden(struct cache *c);
