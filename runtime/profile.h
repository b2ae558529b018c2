/*
 * profile: Docker's default system call profile as rules, in the order in which they are tried.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum seccomp_op { SECCOMP_EQ, SECCOMP_LT, SECCOMP_GT, SECCOMP_MASKED_EQ };

/*
 * A test of one argument: `value` against it, for SECCOMP_MASKED_EQ against it under `mask`. Only
 * the lower half is looked at, for the kernel looks at no more: socket, personality and the flags
 * of clone are 32-bit numbers. libseccomp compares all 64 bits, and so lets socket(0x100000026)
 * pass as greater than 40, which the kernel then takes for 38 (AF_ALG).
 */
struct seccomp_test {
	enum seccomp_op op;
	unsigned index;
	uint32_t value, mask;
};

/* A rule holds for a process whose bounding set has all of `with` and none of `without`, on the
 * architectures of the mask (1 << enum runtime_arch; 0: all). The first rule of a call whose
 * test passes decides; no test: it always passes. */
struct seccomp_rule {
	const char *const
		*names; /* NULL-terminated; a name that is not in our table is passed over */
	uint64_t with, without;
	unsigned archs;
	uint32_t action;  /* SECCOMP_RET_… */
	unsigned n_tests; /* 0 or 1 */
	struct seccomp_test test;
};

/* What a call that no rule covers gets. */
enum { SECCOMP_PROFILE_DEFAULT = 0x00050001 /* ERRNO(EPERM) */ };

/* Docker's rules; *ret_n gets their number. */
const struct seccomp_rule *runtime_profile_default(size_t *ret_n);
