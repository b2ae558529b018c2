/*
 * creds: where credentials come from, for whom there are any. In this order, the first that has an answer for the host wins:
 * $DOCKER_AUTH_CONFIG (JSON) → $REGISTRY_AUTH_FILE (no file after it) → $DOCKER_CONFIG/config.json or ~/.docker/config.json →
 * $XDG_RUNTIME_DIR/containers/auth.json (or /run/containers/UID/auth.json) → ${XDG_CONFIG_HOME:-~/.config}/containers/auth.json.
 * Within a file: the longest key that is a repository's prefix, credHelpers, credsStore, auths. A missing file is no error, a
 * broken one is. Secrets are never printed. Answers, also of helper programs, are kept for the life of the object. Any thread.
 */
#pragma once

#include <stdbool.h>

#include "base/mem.h"
#include "base/str.h"

struct creds;
struct err;

/* What is known for a host; owned by the `creds`. */
struct cred {
	char *user, *secret; /* a name and a password; NULL: none */
	char *identity;      /* a refresh token; NULL: none */
	char *token;         /* a Bearer token to use as it is; NULL: none */
	char *origin;        /* the file or helper it came from, for messages */
	unsigned id;         /* different for each */
};

/* Nothing is read before it is asked for. `offline`: no helper program is asked. */
struct creds *creds_new(bool offline);
void creds_free(struct creds *c);

/* The credential for a repository of a host (domain of a reference; docker.io for the Hub); *ret NULL: there is none. */
NODISCARD int creds_get(struct creds *c, struct str host, struct str repo, const struct cred **ret,
			struct err **err);

/* Credentials for a host that come before all files: those of a log in under way. */
void creds_set(struct creds *c, struct str host, struct str user, struct str secret);

/* The key under which Docker keeps a host's credential: the host, or the Hub's old URL. */
struct str creds_server_key(struct str host);

/* Path of the file that `login` writes, docker's config.json; malloc. NULL when there is no home. */
char *creds_docker_file(void);

/* Runs docker-credential-HELPER with a verb and a text on stdin; its stdout in `out` (64 KiB at most). *ret_found false: it does not
 * know the server. ERR_INVALID for a name that could be another program, ERR_AUTH with the helper's first line. */
NODISCARD int creds_helper_run(struct str helper, const char *verb, struct str input,
			       struct sb *out, bool *ret_found, struct err **err);
