/*
 * ref: image references, by the grammar of github.com/distribution/reference. Pure.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/str.h"

struct err;

struct ref {
	struct str domain; /* "docker.io", "127.0.0.1:5000" */
	struct str path;   /* "library/busybox" */
	struct str tag;    /* empty: none given */
	bool has_digest;
	struct digest digest;
};

/* Parses and normalises (docker.io, library/); no tag is added. ERR_INVALID says which part is wrong; for upper case in the
 * path: "invalid reference format: repository name (library/Build) must be lowercase". */
NODISCARD int ref_parse(struct arena *a, struct str text, struct ref *ret, struct err **err);

/* "docker.io/library/busybox:1" with tag `latest` where neither tag nor digest is given. What table `name` holds. */
struct str ref_full(struct arena *a, const struct ref *r);
/* "busybox:1": as Docker shows it. */
struct str ref_familiar(struct arena *a, const struct ref *r);
/* "busybox": the familiar repository without tag and digest. */
struct str ref_familiar_name(struct arena *a, const struct ref *r);
/* Whether text is a possible image id: 64 hex digits, or a prefix of them of at least `min`. */
bool ref_is_id(struct str text, size_t min);
