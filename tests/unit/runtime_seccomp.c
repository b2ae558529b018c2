/*
 * The filter against libseccomp's of the same rules: both programs are interpreted for every number
 * of every architecture and samples of arguments. Names that the installed libseccomp does not know
 * are compared with the table alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "runtime/caps.h"
#include "runtime/seccomp.h"
#include "runtime/syscalls.h"

struct program {
	struct sock_filter *v;
	size_t n;
};

/* Classic BPF as seccomp has it: 32-bit loads of struct seccomp_data. */
static uint32_t interpret(const struct program *p, const struct seccomp_data *d)
{
	uint32_t a = 0, mem[BPF_MEMWORDS] = { 0 };
	for (size_t pc = 0; pc < p->n; pc++) {
		const struct sock_filter *i = &p->v[pc];
		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			assert_true(i->k + 4 <= sizeof(*d) && i->k % 4 == 0);
			memcpy(&a, (const char *)d + i->k, sizeof(a));
			break;
		case BPF_LD | BPF_MEM:
			a = mem[i->k];
			break;
		case BPF_ST:
			mem[i->k] = a;
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			break;
		case BPF_JMP | BPF_JA:
			pc += i->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += a == i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			pc += a >= i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			pc += a > i->k ? i->jt : i->jf;
			break;
		case BPF_RET | BPF_K:
			return i->k;
		default:
			fail_msg("instruction %x", i->code);
		}
	}
	fail_msg("the program has no end");
	return 0;
}

static const struct {
	enum runtime_arch arch;
	uint32_t audit, scmp, bit;
} arches[] = {
	{ RUNTIME_X86_64, AUDIT_ARCH_X86_64, SCMP_ARCH_X86_64, 0 },
	{ RUNTIME_I386, AUDIT_ARCH_I386, SCMP_ARCH_X86, 0 },
	{ RUNTIME_X32, AUDIT_ARCH_X86_64, SCMP_ARCH_X32, RUNTIME_SYSCALL_X32_BIT },
	{ RUNTIME_AARCH64, AUDIT_ARCH_AARCH64, SCMP_ARCH_AARCH64, 0 },
	{ RUNTIME_ARM, AUDIT_ARCH_ARM, SCMP_ARCH_ARM, 0 },
};

static uint32_t scmp_action(uint32_t action)
{
	return action == SECCOMP_RET_ALLOW ? SCMP_ACT_ALLOW
					   : SCMP_ACT_ERRNO(action & SECCOMP_RET_DATA);
}

static struct scmp_arg_cmp scmp_test(const struct seccomp_test *t)
{
	switch (t->op) {
	case SECCOMP_EQ:
		return SCMP_CMP64(t->index, SCMP_CMP_EQ, t->value);
	case SECCOMP_LT:
		return SCMP_CMP64(t->index, SCMP_CMP_LT, t->value);
	case SECCOMP_GT:
		return SCMP_CMP64(t->index, SCMP_CMP_GT, t->value);
	default:
		return SCMP_CMP64(t->index, SCMP_CMP_MASKED_EQ, t->mask, t->value);
	}
}

/* libseccomp's program for one architecture alone: the rules that hold there. */
static struct program oracle(size_t arch, uint64_t caps)
{
	size_t n;
	const struct seccomp_rule *rules = runtime_profile_default(&n);
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	assert_non_null(ctx);
	if (seccomp_arch_native() != arches[arch].scmp) {
		assert_int_equal(seccomp_arch_add(ctx, arches[arch].scmp), 0);
		assert_int_equal(seccomp_arch_remove(ctx, seccomp_arch_native()), 0);
	}
	for (size_t i = 0; i < n; i++) {
		const struct seccomp_rule *r = &rules[i];
		if ((caps & r->with) != r->with || caps & r->without ||
		    (r->archs && !(r->archs >> arches[arch].arch & 1)))
			continue;
		for (const char *const *name = r->names; *name; name++) {
			int nr = seccomp_syscall_resolve_name_arch(arches[arch].scmp, *name);
			/* Negative numbers are calls that this architecture lacks (or has inside
			 * socketcall and ipc). */
			if (nr < 0 ||
			    runtime_syscall_at(runtime_syscall_find(*name), arches[arch].arch) < 0)
				continue;
			struct scmp_arg_cmp cmp = scmp_test(&r->test);
			/* Rules are added by native numbers, or what stands for them, and
			 * translated. */
			int native = seccomp_syscall_resolve_name(*name);
			int e = seccomp_rule_add_exact_array(ctx, scmp_action(r->action), native,
							     r->n_tests, &cmp);
			if (e && e != -EEXIST)
				e = seccomp_rule_add_array(ctx, scmp_action(r->action), native,
							   r->n_tests, &cmp);
			if (e && e != -EEXIST)
				fail_msg("%s: %s", *name, strerror(-e));
		}
	}
	_cleanup_close_ int fd = memfd_create("filter", MFD_CLOEXEC);
	assert_int_equal(seccomp_export_bpf(ctx, fd), 0);
	seccomp_release(ctx);
	off_t size = lseek(fd, 0, SEEK_CUR);
	struct program p = { xmalloc((size_t)size), (size_t)size / sizeof(struct sock_filter) };
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(io_read_full(fd, p.v, (size_t)size), size);
	return p;
}

static struct program ours(uint64_t caps, enum runtime_machine machine)
{
	struct program p;
	size_t n;
	_cleanup_(err_dropp) struct err *e = NULL;
	const struct seccomp_rule *rules = runtime_profile_default(&n);
	p.v = runtime_seccomp_build(rules, n, caps, machine, &p.n, &e);
	assert_non_null(p.v);
	return p;
}

static const uint64_t samples[] = {
	0,           1,
	7,           8,
	9,           16,
	37,          38,
	39,          40,
	41,          0x20000,
	0x20008,     0x40000,
	0xffffffff,  0x10000000,
	0x10000011,  0x20000,
	0x02000000,  0x7e020000,
	0x100000000, 0x100000026,
	0x100000008, 0x2600000000,
	0x80000000,  0xffffffffffffffff,
};

static bool known(size_t arch, uint32_t nr)
{
	char *name =
		seccomp_syscall_resolve_num_arch(arches[arch].scmp, (int)(nr | arches[arch].bit));
	free(name);
	return name;
}

/* libseccomp turns rules for these into rules for socketcall and ipc, and refuses some of the
 * calls themselves: test_edges has them. */
static bool multiplexed(size_t arch, uint32_t nr)
{
	return arches[arch].arch == RUNTIME_I386 &&
		(nr == 337 || nr == 345 || (nr >= 359 && nr <= 373) || (nr >= 393 && nr <= 402));
}

static void compare(uint64_t caps)
{
	for (size_t arch = 0; arch < ARRAY_SIZE(arches); arch++) {
		struct program want = oracle(arch, caps);
		struct program have =
			ours(caps, arch < 3 ? RUNTIME_MACHINE_X86_64 : RUNTIME_MACHINE_AARCH64);
		unsigned compared = 0;
		for (uint32_t i = 0; i <= RUNTIME_SYSCALL_NEWEST + 6; i++) {
			uint32_t nr = i <= RUNTIME_SYSCALL_NEWEST
				? i
				: 0xf0000 + i - RUNTIME_SYSCALL_NEWEST;
			if (!known(arch, nr) || multiplexed(arch, nr))
				continue;
			compared++;
			for (size_t s = 0; s < ARRAY_SIZE(samples); s++) {
				struct seccomp_data d = { .nr = (int)(nr | arches[arch].bit),
							  .arch = arches[arch].audit };
				d.args[0] = samples[s];
				uint32_t a = interpret(&have, &d);
				/* Ours does not look at the upper half, see profile.h. */
				d.args[0] = (uint32_t)samples[s];
				uint32_t b = interpret(&want, &d);
				/* Private calls of arm that nobody may make: refused either way. */
				if (nr >= 0xf0000 && a == (SECCOMP_RET_ERRNO | ENOSYS))
					a = SECCOMP_RET_ERRNO | EPERM;
				if (a != b)
					fail_msg(
						"arch %zu, call %u, argument %llx: %x, libseccomp %x",
						arch, nr, (unsigned long long)samples[s], a, b);
			}
		}
		assert_true(compared > 300);
		free(want.v);
		free(have.v);
	}
}

static void test_oracle(void **state)
{
	(void)state;
	compare(runtime_caps_default(0).bounding);
	compare(0);
	compare(UINT64_MAX >> 23);
	/* Each capability that a rule names, alone. */
	for (unsigned cap = 0; cap <= 40; cap++)
		compare(UINT64_C(1) << cap);
}

static uint32_t ask(const struct program *p, uint32_t audit, uint32_t nr, uint64_t arg)
{
	struct seccomp_data d = { .nr = (int)nr, .arch = audit };
	d.args[0] = arg;
	return interpret(p, &d);
}

/* What libseccomp cannot tell. */
static void test_edges(void **state)
{
	(void)state;
	const uint32_t unknown = SECCOMP_RET_ERRNO | ENOSYS, allow = SECCOMP_RET_ALLOW,
		       refused = SECCOMP_RET_ERRNO | EPERM;
	struct program p = ours(runtime_caps_default(0).bounding, RUNTIME_MACHINE_X86_64);
	assert_int_equal(ask(&p, AUDIT_ARCH_X86_64, RUNTIME_SYSCALL_NEWEST + 1, 0), unknown);
	assert_int_equal(ask(&p, AUDIT_ARCH_X86_64, 0x3fffffff, 0), unknown);
	assert_int_equal(ask(&p, AUDIT_ARCH_X86_64, UINT32_MAX, 0), unknown);
	assert_int_equal(
		ask(&p, AUDIT_ARCH_X86_64, RUNTIME_SYSCALL_X32_BIT + RUNTIME_SYSCALL_NEWEST + 1, 0),
		unknown);
	assert_int_equal(ask(&p, AUDIT_ARCH_I386, RUNTIME_SYSCALL_NEWEST + 1, 0), unknown);
	assert_int_equal(ask(&p, AUDIT_ARCH_I386, 0xf0001, 0), unknown);
	assert_int_equal(ask(&p, AUDIT_ARCH_AARCH64, 0, 0), SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(ask(&p, 0, 0, 0), SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(ask(&p, AUDIT_ARCH_X86_64, 435, 0), unknown); /* clone3 */
	assert_int_equal(ask(&p, AUDIT_ARCH_X86_64, 56, 0x10000000),
			 refused); /* clone, CLONE_NEWUSER */
	assert_int_equal(ask(&p, AUDIT_ARCH_X86_64, 56, 0x11), allow);
	assert_int_equal(ask(&p, AUDIT_ARCH_X86_64, 41, 0x100000026),
			 refused); /* socket: AF_ALG, as the kernel takes it */
	/* Newer than Debian 12's libseccomp. */
	assert_int_equal(ask(&p, AUDIT_ARCH_X86_64, 452, 0), allow);   /* fchmodat2 */
	assert_int_equal(ask(&p, AUDIT_ARCH_X86_64, 462, 0), allow);   /* mseal */
	assert_int_equal(ask(&p, AUDIT_ARCH_I386, 463, 0), allow);     /* setxattrat */
	assert_int_equal(ask(&p, AUDIT_ARCH_X86_64, 467, 0), refused); /* open_tree_attr */
	assert_int_equal(ask(&p, AUDIT_ARCH_X86_64, 335, 0), allow);   /* uretprobe */
	/* Direct and multiplexed calls of i386. */
	static const uint32_t direct[] = { 102, 117, 337, 345, 360, 361, 362, 363,
					   364, 369, 373, 393, 394, 395, 399, 402 };
	for (size_t i = 0; i < ARRAY_SIZE(direct); i++)
		assert_int_equal(ask(&p, AUDIT_ARCH_I386, direct[i], 0), allow);
	assert_int_equal(ask(&p, AUDIT_ARCH_I386, 359, 2), allow); /* socket */
	assert_int_equal(ask(&p, AUDIT_ARCH_I386, 359, 38), refused);
	assert_true(p.n < 1000);
	free(p.v);
	p = ours(0, RUNTIME_MACHINE_AARCH64);
	assert_int_equal(ask(&p, AUDIT_ARCH_ARM, 0xf0005, 0), allow);   /* set_tls */
	assert_int_equal(ask(&p, AUDIT_ARCH_ARM, 0xf0003, 0), unknown); /* usr26 */
	assert_int_equal(ask(&p, AUDIT_ARCH_AARCH64, 63, 0), allow);    /* read */
	free(p.v);
}

/* The table against libseccomp's. */
static void test_numbers(void **state)
{
	(void)state;
	const char *last = "";
	for (size_t i = 0; runtime_syscall_name(i); i++) {
		const char *name = runtime_syscall_name(i);
		/* Sorted, or the search misses it. */
		assert_true(strcmp(last, name) < 0);
		last = name;
		for (size_t arch = 0; arch < ARRAY_SIZE(arches); arch++) {
			int theirs = seccomp_syscall_resolve_name_arch(arches[arch].scmp, name);
			int32_t mine =
				runtime_syscall_at(runtime_syscall_find(name), arches[arch].arch);
			if (theirs >= 0 && mine >= 0 &&
			    theirs != (int)((uint32_t)mine | arches[arch].bit))
				fail_msg("%s on %zu: %d, libseccomp %d", name, arch, mine, theirs);
		}
	}
	assert_int_equal(runtime_syscall_find("nosuch"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_oracle),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
