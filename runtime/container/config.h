/*
 * config: from the options of run and create, and an image's configuration, to config.json; and back to what the runtime needs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

struct err;
struct oci_image;

struct container_words {
	const char *const *v;
	size_t n;
};

/* As the options give them; NULL or 0 for what was not said. */
struct container_options {
	struct digest image_id;
	const char *image; /* as the user wrote it */
	const struct oci_image *oci;
	struct container_words command, env, env_file, label, cap_add, cap_drop, group_add,
		add_host, dns, dns_search, dns_option, tmpfs, ulimit, device;
	const char *entrypoint; /* "": none */
	const char *user, *workdir, *hostname, *domainname, *network, *pid, *stop_signal, *shm_size;
	int64_t stop_timeout_s;
	bool has_stop_timeout;
	bool tty, interactive, detach, auto_remove, read_only, init;
};

/* config.json without id and name. ERR_INVALID in Docker's words for what is wrong, ERR_UNSUPPORTED for what does not work yet. */
NODISCARD json_t *container_config_make(const struct container_options *o, struct err **err);

/* What follows reads what has been checked when it was made, or comes from a user's option of another command. */

/* "TERM", "SIGTERM", "15", "RTMIN+3"; ERR_INVALID. */
NODISCARD int container_signal_parse(struct str text, int *ret, struct err **err);

/* "64m", "1g", "4096": bytes, in binary units. */
NODISCARD int container_size_parse(struct str text, int64_t *ret, struct err **err);

/* An environment: `K=V` replaces in place or is added, `K` alone removes. */
struct container_env {
	char **v; /* NULL-terminated once container_env_words() was called */
	size_t n, cap;
};
void container_env_set(struct container_env *e, struct str word);
/* The value of a name, or NULL. */
const char *container_env_get(const struct container_env *e, const char *name);
const char *const *container_env_words(struct container_env *e);
void container_env_release(struct container_env *e);

/* Adds -e (a name alone is taken from our own environment) and the lines of --env-file to a list, in Docker's order: files first. */
NODISCARD int container_env_options(const struct container_words *env,
				    const struct container_words *files, json_t *list,
				    struct err **err);

struct container_ulimit {
	int resource;
	uint64_t soft, hard;
};
/* "nofile=1024:2048". */
NODISCARD int container_ulimit_parse(struct str text, struct container_ulimit *ret,
				     struct str *ret_name, struct err **err);

struct container_tmpfs {
	bool readonly, noexec, nosuid, nodev;
	int64_t size_bytes; /* 0: no bound */
	unsigned mode;
};
/* The options behind "/path:". */
NODISCARD int container_tmpfs_parse(struct str options, struct container_tmpfs *ret,
				    struct err **err);
