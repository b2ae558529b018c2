/*
 * creds: the identity of the container's process: rlimits, capabilities, user, filter. Called in
 * this order by stage1.
 */
#pragma once

#include "base/mem.h"

struct err;
struct proto_run;

/* Gives descriptors 0–2 to the user (all but /dev/null), sets rlimits, drops what is not in the
 * bounding set. */
NODISCARD int creds_prepare(const struct proto_run *r, struct err **err);

/* Becomes the user with its groups; keeps the capabilities. Clears the parent death signal where
 * it changes something. */
NODISCARD int creds_become(const struct proto_run *r, struct err **err);

/* The final capabilities, and SYS_ADMIN beside them where loading the filter needs it. */
NODISCARD int creds_before_filter(const struct proto_run *r, struct err **err);

/* no_new_privs, the filter, the final capabilities. After the filter it calls capset(2) and
 * prctl(2) alone. */
NODISCARD int creds_final(const struct proto_run *r, struct err **err);
