/*
 * inroot: paths of an image walked inside its root, component by component, and made where they are
 * missing.
 *
 * The walk never follows a symlink by the kernel's hand: each component is opened with O_NOFOLLOW
 * below a descriptor that was itself opened so, the text of a symlink is resolved against the root,
 * and ".." goes back to the descriptor it came from. So neither "..", nor links, nor somebody who
 * swaps components meanwhile leads out of the root. Magic links of /proc are text like any other.
 * Built into both sides.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/mem.h"

struct err;

/* How far a path exists: `fd` is the last thing reached (O_PATH), `rest` the components that are
 * missing ("" when all is there). */
struct inroot {
	int fd;
	char *rest;
};

/* Walks; 0, or -1 with errno (ELOOP, ENOTDIR, ENAMETOOLONG …), nothing to release then. Free
 * with inroot_release(). */
NODISCARD int inroot_walk(int root, const char *path, struct inroot *ret);
void inroot_release(struct inroot *w);

/* Opens (O_PATH) what `path` names, making what is missing: folders 0755, the last component a
 * folder or an empty file with `mode` (umask applies). The descriptor, or -1 with errno. What
 * exists is not changed, whatever kind it has. */
int inroot_make(int root, const char *path, bool folder, mode_t mode);
