/*
 * stubs: mount targets that a RUN's root lacks. They are made before the step and removed after it,
 * so that they do not become a part of its layer: deepest first, a folder if it is empty, a file if
 * its size is 0 (whoever made it), each parent that was missing likewise. A parent that stays gets
 * its former time back, unless the step changed it too.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/mem.h"

struct err;
struct runtime_stubs;

struct runtime_stub {
	const char *target; /* absolute, in the root */
	bool folder;
	mode_t mode;
};

/* Makes the targets that are missing below the root's descriptor, through which it must be
 * writable. Free with runtime_stubs_remove(). */
NODISCARD struct runtime_stubs *runtime_stubs_make(int root_fd, const struct runtime_stub *v,
						   size_t n, struct err **err);

/* Removes what was made and is still empty; frees. All descriptors of the root that were held
 * are closed by it. NULL is fine. */
void runtime_stubs_remove(struct runtime_stubs *s);
