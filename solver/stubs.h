/*
 * stubs: mount points that a RUN needed and its layer must not keep. Before the process: which targets, and which of their parents, are
 * missing in the root, and the times of the nearest folder that is there. After it, in the step's upper folder: an empty stub is removed,
 * made parents that are empty too, times of the folder that stays are restored, and a copied-up folder that is otherwise unchanged goes.
 */
#pragma once

#include "base/mem.h"
#include "base/vec.h"
#include "runtime/spec.h"

struct err;
struct stub;

struct stubs {
	VEC(struct stub *) list;
};

/* An empty list; frees one. */
void stubs_init(struct stubs *s);
void stubs_release(struct stubs *s);

/* Notes what is missing in `root` (a descriptor of the step's merged root, before the process starts). */
NODISCARD int stubs_note(struct stubs *s, int root, const struct runtime_mount *m, size_t n, struct err **err);

/* Takes the stubs out of the upper folder `fs`. */
NODISCARD int stubs_remove(struct stubs *s, int fs, struct err **err);
