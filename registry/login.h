/*
 * login: checks a user's credentials with a registry and keeps them where Docker does: by the helper that docker's config.json names
 * for the host, else in that file (0600, replaced as a whole, its other members as they were).
 */
#pragma once

#include <stdbool.h>

#include "base/mem.h"
#include "base/str.h"

struct err;
struct registry;

/* Asks the registry with these credentials and keeps them. host: as in references; docker.io for the Hub. *ret_where: the file or the
 * helper that has them now (malloc). ERR_AUTH when the registry refuses them. The text of the secret is in no message. */
NODISCARD int registry_login(struct registry *r, struct str host, struct str user,
			     struct str secret, char **ret_where, struct err **err);

/* Forgets a host's credentials; *ret_known false: there were none. */
NODISCARD int registry_logout(struct str host, bool *ret_known, struct err **err);
