/*
 * caps: capabilities by name and number, and the sets that --cap-add, --cap-drop and --privileged
 * mean.
 */
#pragma once

#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"
#include "runtime/spec.h"

struct err;

/* The number of a capability's name, in any case, with or without "CAP_"; ERR_INVALID for an
 * unknown one. */
NODISCARD int runtime_cap_find(struct str name, unsigned *ret, struct err **err);

/* "CAP_CHOWN"; NULL for a number without a name. */
const char *runtime_cap_name(unsigned cap);

/* The mask after --cap-add and --cap-drop. With ALL among the added: all but the named drops;
 * else with ALL among the dropped: the added alone; else default - drops + adds. ERR_INVALID for
 * an unknown name. */
NODISCARD int runtime_caps_change(const struct str *add, size_t n_add, const struct str *drop,
				  size_t n_drop, uint64_t *ret, struct err **err);

/* All capabilities that this process has: --privileged and RUN --security=insecure. */
uint64_t runtime_caps_all(void);

/* The sets of a process that keeps `mask`: a uid other than 0 has it in the bounding set alone. */
struct runtime_caps runtime_caps_of(uint64_t mask, uint32_t uid);
