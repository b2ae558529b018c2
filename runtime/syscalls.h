/*
 * syscalls: the numbers of system calls by name, for the architectures that filters are made for.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum runtime_arch {
	RUNTIME_X86_64,
	RUNTIME_I386,
	RUNTIME_X32,     /* on x86_64: numbers with bit 30 */
	RUNTIME_AARCH64,
	RUNTIME_ARM,
	RUNTIME_ARCHS,
};

/* The newest number in the table that is not private to an architecture: what lies above was unknown when this was built. */
enum { RUNTIME_SYSCALL_NEWEST = 469, RUNTIME_SYSCALL_X32_BIT = 0x40000000 };

/* The number (x32: without its bit), or -1 where the architecture has no such call or the name is not in the table. */
int32_t runtime_syscall_number(const char *name, enum runtime_arch arch);

/* The i-th name of the table in order, NULL at its end; for tests. */
const char *runtime_syscall_name(size_t i);
