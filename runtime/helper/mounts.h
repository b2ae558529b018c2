/*
 * mounts: the file systems of one container, made by its stage1 in the nest and moved into the
 * image's root.
 *
 * Everything that is masked or made read-only is made so at trusted paths (nest.h) before any path
 * of the image is walked: no symlink, mount or race in an image can turn a mask elsewhere. Of the
 * image only the targets are looked up, by inroot.
 */
#pragma once

#include "base/mem.h"

struct err;
struct nest;
struct proto_message;
struct proto_run;

/* Makes /c/proc, /c/dev and, where it must be another than the nest's, /c/sys. */
NODISCARD int mounts_make(const struct nest *n, const struct proto_run *r, struct err **err);

/* Attaches the root, moves what mounts_make() made and the request's own mounts into it, and
 * makes it this process's root; cwd is "/". */
NODISCARD int mounts_enter(const struct nest *n, const struct proto_run *r,
			   const struct proto_message *m, struct err **err);
