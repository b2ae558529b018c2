/*
 * detach: the key sequence that leaves a container running ("ctrl-p,ctrl-q"), found in what is typed. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"
#include "base/str.h"

struct err;

enum { DETACH_MAX = 16 };

struct detach {
	char keys[DETACH_MAX];
	size_t n;       /* 0: nothing detaches */
	size_t matched; /* bytes of the sequence that are held back */
};

/* "ctrl-p,ctrl-q", "a", "ctrl-@", "DEL"; "" for none. ERR_INVALID in Docker's words. */
NODISCARD int detach_parse(struct str text, struct detach *ret, struct err **err);

/* Adds to `out` what is to be passed on of `in`, what was held back before included; true when the sequence is complete: the rest of `in` is
 * dropped then. */
bool detach_filter(struct detach *d, struct str in, struct sb *out);
