/*
 * seccomp: system call filters as programs of our own: for each architecture of the machine a
 * binary search over runs of numbers with equal treatment, then the few tests of arguments. The
 * kernel emulates the program for every number when it is loaded, so its depth is what loading
 * costs.
 *
 * Unknown architectures kill the process. Numbers above the newest of our table get ENOSYS, not
 * EPERM: else the C library's fall-backs for calls newer than this program would break.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "runtime/profile.h"

struct err;
struct sock_filter;

enum runtime_machine { RUNTIME_MACHINE_X86_64, RUNTIME_MACHINE_AARCH64 };

/* The program of a profile for a process whose bounding set is `caps`. *ret_n instructions, at
 * most 4096 (ERR_LIMIT); malloc. */
NODISCARD struct sock_filter *runtime_seccomp_build(const struct seccomp_rule *rules,
						    size_t n_rules, uint64_t caps,
						    enum runtime_machine machine, size_t *ret_n,
						    struct err **err);

/* Docker's default profile on this machine. */
NODISCARD struct sock_filter *runtime_seccomp_default(uint64_t caps, size_t *ret_n,
						      struct err **err);
