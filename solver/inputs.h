/*
 * inputs: the named inputs of a step's key, stored with its record so that it can be said later what made a miss: arguments, environment,
 * flags, base digests, selections. Their text is bounded; a longer one is named by its digest.
 */
#pragma once

#include "base/arena.h"

struct named_input;
struct step;

/* All inputs of a step whose key is known; in the arena. */
struct named_input *inputs_name(struct arena *a, const struct step *s, size_t *ret_n);
