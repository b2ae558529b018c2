/*
 * image: the image that a container is made of: one that is here, else one that is pulled, as --pull says.
 */
#pragma once

#include "base/arena.h"
#include "base/mem.h"
#include "cache/name.h"
#include "registry/pull.h"

struct err;

/* `text`: a name, name@digest, id or prefix of one. platform NULL: this machine's, or whatever is here by that name. Opens no connection where
 * nothing has to be pulled: *r is asked for only then. ERR_NOT_FOUND "no such image: TEXT" where it may not be pulled. */
NODISCARD int registry_image_get(
	int (*registry)(void *arg, struct registry **ret, struct err **err), void *arg,
	struct cache *c, struct arena *a, const char *text, const struct oci_platform *platform,
	enum registry_pull_policy policy, struct image *ret, struct err **err);
