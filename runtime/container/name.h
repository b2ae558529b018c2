/*
 * name: ids and names of containers as texts. Pure but for randomness.
 */
#pragma once

#include <stdbool.h>

#include "base/mem.h"
#include "base/str.h"

struct err;

enum { CONTAINER_ID = 64 + 1, CONTAINER_SHORT_ID = 12 };

/* A fresh id of 64 hex digits; returns buf. Never one that reads as a decimal number in its short form, as Docker's. */
char *container_id_new(char buf[CONTAINER_ID]);

/* Whether text is a whole id, or a possible prefix of one. */
bool container_is_id(struct str text);
bool container_is_id_prefix(struct str text);

/* A name of two words; from the `attempt`th on (3) with a digit behind. The caller frees it. */
char *container_name_new(unsigned attempt) __attribute__((malloc, returns_nonnull));

/* ERR_INVALID in Docker's words for what is not [a-zA-Z0-9][a-zA-Z0-9_.-]+. */
NODISCARD int container_name_check(struct str name, struct err **err);
