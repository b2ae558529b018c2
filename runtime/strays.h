/*
 * strays: what a dead lease's RUNs left running: found by the records steps/<lease>.<n> of the run
 * folder, killed by cgroup and by pid 1 (checked by its start time), waited for until all is gone.
 */
#pragma once

#include "base/mem.h"

struct err;

/* Kills and waits for everything that the records of `lease` name, removes the records and
 * cgroups. The callback for cache_store_open(). */
NODISCARD int runtime_strays_kill(void *arg, int run_fd, const char *lease, struct err **err);
