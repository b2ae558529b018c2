/*
 * user: USER, --user and --chown texts looked up in an image's /etc/passwd and /etc/group through a
 * root descriptor (openat2 inside the root, regular files only, ≤ 10 MiB).
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/mem.h"
#include "base/str.h"

struct err;

struct runtime_user {
	uint32_t uid, gid;
	gid_t *groups; /* malloc; supplementary, gid first */
	size_t n_groups;
	char *home; /* malloc; from passwd, else "/" */
};

/* Frees what it holds. */
void runtime_user_release(struct runtime_user *u);

/* USER of a RUN or container: "", "name", "uid", "name:group", "uid:gid", ":gid". ERR_NOT_FOUND
 * with Docker's words ("unable to find user x: no matching entries in passwd file"). */
NODISCARD int runtime_user_find(int root_fd, struct str text, struct runtime_user *ret,
				struct err **err);

/* --chown and WORKDIR's owner: unknown names silently give 0 (user) or the user's gid (group).
 * root_fd -1 (no passwd to look in: scratch, --link): names fail with "invalid user index: -1". */
NODISCARD int runtime_user_chown(int root_fd, struct str text, uint32_t *ret_uid, uint32_t *ret_gid,
				 struct err **err);
