/*
 * syscalls: the numbers of system calls by name, for the architectures that filters are made for.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum runtime_arch {
	RUNTIME_X86_64,
	RUNTIME_I386,
	RUNTIME_X32, /* on x86_64: numbers with bit 30 */
	RUNTIME_AARCH64,
	RUNTIME_ARM,
	RUNTIME_ARCHS,
};

/* The newest number in the table that is not private to an architecture: what lies above was
 * unknown when this was built. */
enum { RUNTIME_SYSCALL_NEWEST = 469, RUNTIME_SYSCALL_X32_BIT = 0x40000000 };

/* The place of a name in the table, for runtime_syscall_at(); -1: it is not there. */
int runtime_syscall_find(const char *name);

/* The number (x32: without its bit) of what is at a place, or -1 where the architecture has no
 * such call or the place is -1. */
int32_t runtime_syscall_at(int place, enum runtime_arch arch);

/* The i-th name of the table in order, NULL at its end; for tests. */
const char *runtime_syscall_name(size_t i);
