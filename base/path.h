/*
 * path: text of paths as Go's package path has it, and opening inside a root.
 */
#pragma once

#include <sys/types.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/str.h"

struct err;

/* Go's path.Clean: no "//", "." or inner ".."; "" becomes "."; a rooted path never climbs above
 * "/". */
struct str path_clean(struct arena *a, struct str p);
/* Go's path.Join of two parts: empty ones are left out, the result is cleaned ("" when both are
 * empty). */
struct str path_join(struct arena *a, struct str x, struct str y);
/* Go's path.Base and path.Dir. */
struct str path_base(struct str p);
struct str path_dir(struct arena *a, struct str p);

/*
 * Opens `path` below the descriptor `root` as openat2(2) with RESOLVE_IN_ROOT and
 * RESOLVE_NO_MAGICLINKS: absolute paths, ".." and symlinks stay inside. EAGAIN (a rename or a mount
 * raced) is tried again up to 32 times. flags get O_CLOEXEC. The descriptor, or -1 with errno (not
 * an err: callers decide by errno). "" opens the root itself.
 */
int path_open_in(int root, const char *path, int flags, mode_t mode);

/* The same, but a symlink as last component is not followed (add O_PATH to get it). */
int path_open_in_nofollow(int root, const char *path, int flags, mode_t mode);

/*
 * Opens what is at a plain path below `root`: no symlink is followed, neither on the way nor at the
 * end, ".." does not leave the root (ELOOP, EXDEV); never blocks on a pipe nor takes a terminal.
 * Creates nothing. The descriptor, or -1 with errno.
 */
int path_open_beneath(int root, const char *path, int flags);
