/*
 * container: what `cbuild run` adds over cache and runtime: containers as folders.
 *
 *     containers/<id>/config.json   what was asked, in the form of Docker's inspect; written once
 *                     state.json    its monitor's, replaced by rename (runtime/helper/monitor.h says what is in it)
 *                     lock          held by the monitor as long as it lives, and by a command that starts or removes it
 *                     record        what runs, for whoever finds the lock free (runtime/record.h)
 *                     rw/ etc/ log.json attach.sock
 *     names/<name>                  a symlink to the id
 *
 * A container is made as containers/.<id> and renamed when it is complete. Which image and layers it holds are pins of the lease "c/<id>".
 * No pid is a proof of life: who finds the lock free while state.json says "running" kills what the record names, waits, and writes the
 * end (137, or 255 after a restart of the machine).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "runtime/container/name.h"

struct cache;
struct err;

enum container_status { CONTAINER_CREATED, CONTAINER_RUNNING, CONTAINER_EXITED };

struct container_state {
	enum container_status status;
	int pid, exit;
	bool oom;
	char *error;              /* malloc; "" for none */
	char *started, *finished; /* malloc; RFC 3339, "" for never */
};

struct container {
	char id[CONTAINER_ID];
	char *name; /* malloc */
	int dir_fd;
	int lock_fd; /* -1: not ours */
	json_t *config;
	struct container_state state; /* as it was read last */
};

/* Free with container_free(), which gives the lock back where it is ours. */
void container_free(struct container *c);
void container_freep(struct container **c);

/* ---- which */

/* Finds one by name, id or unambiguous prefix; what a dead monitor left is put in order first. ERR_NOT_FOUND with Docker's words. */
NODISCARD struct container *container_find(struct cache *c, struct str text, struct err **err);

struct container_list {
	struct container **v;
	size_t n;
};

/* All of them, newest first. A folder that another command is removing is left out. */
NODISCARD int container_list(struct cache *c, struct container_list *ret, struct err **err);
void container_list_release(struct container_list *l);

/* Reads state.json again, and puts in order what a dead monitor left. */
NODISCARD int container_refresh(struct cache *c, struct container *k, struct err **err);

/* Its members in config.json: sections "Config" and "HostConfig". Never NULL. */
const json_t *container_section(const struct container *k, const char *section);
/* Whether it is to be removed at its end. */
bool container_auto_remove(const struct container *k);
/* The time of its creation. */
int64_t container_created_ns(const struct container *k);

/* ---- making, starting, removing */

/* Makes a container of a config (container_config_make() in config.h); takes the reference over. `name` NULL: a random one. ERR_EXISTS for a
 * name that is taken. */
NODISCARD struct container *container_create(struct cache *c, const char *name, json_t *config,
					     struct err **err);

/* Takes the lock. 1: it is ours; 0: it is running. A short wait where another command just looks at it. ERR_NOT_FOUND: removed meanwhile. */
NODISCARD int container_lock(struct cache *c, struct container *k, struct err **err);

/* Waits, at most timeout_ms, until its monitor is gone; the lock is ours then. ERR_TIMEOUT. */
NODISCARD int container_lock_wait(struct cache *c, struct container *k, int timeout_ms,
				  struct err **err);

struct container_attach {
	unsigned streams; /* PROTO_STREAM_… */
	uint16_t rows, cols;
};

/* Starts one whose lock is ours; the lock is the monitor's from then on. *ret_conn: the first client's connection, on which PROTO_STARTED or
 * PROTO_ERROR follows. */
NODISCARD int container_start(struct cache *c, struct container *k,
			      const struct container_attach *a, int *ret_conn, struct err **err);

/* Waits on that connection until the program runs: 0, or its error. Where it could not be started, all that was made for it is gone. */
NODISCARD int container_wait_started(struct cache *c, struct container *k, int conn,
				     struct err **err);

/* Removes one whose lock is ours and that does not run: folder, names, pins. */
NODISCARD int container_remove(struct cache *c, struct container *k, struct err **err);

/* Gives it another name. ERR_EXISTS. */
NODISCARD int container_rename(struct cache *c, struct container *k, struct str name,
			       struct err **err);
