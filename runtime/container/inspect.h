/*
 * inspect: a container as Docker's inspect shows it.
 */
#pragma once

#include "base/json.h"

struct cache;
struct container;

/* The whole object; the caller owns the reference. */
json_t *container_inspect(struct cache *c, const struct container *k);

/* "created", "running", "exited". */
const char *container_status_name(const struct container *k);
