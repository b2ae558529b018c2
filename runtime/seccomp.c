#include "runtime/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/bpf_common.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/vec.h"
#include "runtime/syscalls.h"

enum {
	PRIVATE = 0x0f0000, /* arm has six calls of its own up here */
	N_PRIVATE = 16,
	N_NUMBERS = RUNTIME_SYSCALL_NEWEST + 1,
	CHAIN_RULES = 8,
	MAX_INSNS = 4096,
	NEAR = 255, /* how far a conditional jump reaches */
};

/* The rules that one call has to pass, by index in the profile, in order. Calls with equal
 * chains share one. */
struct chain {
	uint16_t rules[CHAIN_RULES];
	unsigned n;
	bool closed; /* the last one always passes */
};

/* From this number on (to the next run's) calls are treated alike. */
struct run {
	uint32_t first;
	bool unknown; /* ENOSYS */
	unsigned chain;
};

struct builder {
	const struct seccomp_rule *rules;
	VEC(int)
	places; /* of all names of all rules in the table of numbers, looked up once for all architectures */
	VEC(struct chain) chains;
	VEC(struct run) runs;
	VEC(struct sock_filter) out;
};

/* ---- which call has which chain */

/* The chain that is `at` with one more rule. */
static unsigned chain_with(struct builder *b, unsigned at, unsigned rule)
{
	struct chain c = b->chains.v[at];
	if (c.closed)
		return at;
	if (c.n == CHAIN_RULES)
		BUG("more than %d rules for one system call", CHAIN_RULES);
	c.rules[c.n++] = (uint16_t)rule;
	c.closed = !b->rules[rule].n_tests;
	for (unsigned i = 0; i < b->chains.n; i++)
		if (b->chains.v[i].n == c.n &&
		    !memcmp(b->chains.v[i].rules, c.rules, c.n * sizeof(*c.rules)))
			return i;
	VEC_PUSH(&b->chains, c);
	return (unsigned)b->chains.n - 1;
}

static void add_run(struct builder *b, struct run r)
{
	const struct run *last = b->runs.n ? VEC_LAST(&b->runs) : NULL;
	if (!last || last->unknown != r.unknown || last->chain != r.chain)
		VEC_PUSH(&b->runs, r);
}

static void make_runs(struct builder *b, size_t n_rules, uint64_t caps, enum runtime_arch arch)
{
	unsigned chain_of[N_NUMBERS + N_PRIVATE] = { 0 };
	VEC_CLEAR(&b->chains);
	VEC_CLEAR(&b->runs);
	VEC_PUSH(&b->chains, (struct chain){ .n = 0 });
	const int *place = b->places.v;
	for (unsigned i = 0; i < n_rules; i++) {
		const struct seccomp_rule *r = &b->rules[i];
		bool holds = (caps & r->with) == r->with && !(caps & r->without) &&
			(!r->archs || r->archs >> arch & 1);
		for (const char *const *name = r->names; *name; name++) {
			int32_t nr = holds ? runtime_syscall_at(*place, arch) : -1;
			place++;
			int32_t slot = nr < PRIVATE ? nr : N_NUMBERS + nr - PRIVATE;
			if (slot >= 0 && slot < N_NUMBERS + N_PRIVATE)
				chain_of[slot] = chain_with(b, chain_of[slot], i);
		}
	}
	for (uint32_t nr = 0; nr < N_NUMBERS; nr++)
		add_run(b, (struct run){ .first = nr, .chain = chain_of[nr] });
	add_run(b, (struct run){ .first = N_NUMBERS, .unknown = true });
	for (uint32_t i = 0; i < N_PRIVATE; i++) {
		struct run r = { .first = PRIVATE + i,
				 .unknown = !chain_of[N_NUMBERS + i],
				 .chain = chain_of[N_NUMBERS + i] };
		add_run(b, r);
	}
	add_run(b, (struct run){ .first = PRIVATE + N_PRIVATE, .unknown = true });
}

/* ---- instructions */

static void emit(struct builder *b, unsigned code, uint32_t k, unsigned jt, unsigned jf)
{
	VEC_PUSH(&b->out,
		 ((struct sock_filter){
			 .code = (uint16_t)code, .jt = (uint8_t)jt, .jf = (uint8_t)jf, .k = k }));
}

static void emit_load(struct builder *b, size_t offset)
{
	emit(b, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void emit_return(struct builder *b, uint32_t action)
{
	emit(b, BPF_RET | BPF_K, action, 0, 0);
}

/* A test falls through to the return of its rule, or jumps beyond it to where the next rule
 * begins. */
static void emit_test(struct builder *b, const struct seccomp_test *t, uint32_t action)
{
	/* The lower half of an argument: first in memory on the machines that we have tables
	 * for, all little-endian. */
	emit_load(b, offsetof(struct seccomp_data, args) + t->index * sizeof(uint64_t));
	switch (t->op) {
	case SECCOMP_EQ:
		emit(b, BPF_JMP | BPF_JEQ | BPF_K, t->value, 0, 1);
		break;
	case SECCOMP_LT:
		emit(b, BPF_JMP | BPF_JGE | BPF_K, t->value, 1, 0);
		break;
	case SECCOMP_GT:
		emit(b, BPF_JMP | BPF_JGT | BPF_K, t->value, 0, 1);
		break;
	case SECCOMP_MASKED_EQ:
		emit(b, BPF_ALU | BPF_AND | BPF_K, t->mask, 0, 0);
		emit(b, BPF_JMP | BPF_JEQ | BPF_K, t->value, 0, 1);
		break;
	}
	emit_return(b, action);
}

static void emit_leaf(struct builder *b, const struct run *r)
{
	if (r->unknown) {
		emit_return(b, SECCOMP_RET_ERRNO | ENOSYS);
		return;
	}
	const struct chain *c = &b->chains.v[r->chain];
	for (unsigned i = 0; i < c->n; i++) {
		const struct seccomp_rule *rule = &b->rules[c->rules[i]];
		if (rule->n_tests)
			emit_test(b, &rule->test, rule->action);
		else
			emit_return(b, rule->action);
	}
	if (!c->closed)
		emit_return(b, SECCOMP_PROFILE_DEFAULT);
}

/* The search over runs [from, to): the number is in the accumulator; the left half follows the
 * comparison, the right one that. */
static void emit_search(struct builder *b, size_t from, size_t to)
{
	if (to - from == 1) {
		emit_leaf(b, &b->runs.v[from]);
		return;
	}
	size_t middle = from + (to - from) / 2, at = b->out.n;
	emit(b, BPF_JMP | BPF_JGE | BPF_K, b->runs.v[middle].first, 0, 0);
	emit_search(b, from, middle);
	size_t left = b->out.n - at - 1;
	if (left <= NEAR) {
		b->out.v[at].jt = (uint8_t)left;
	} else {
		/* Too far: a long jump between the comparison and the left half, which does not
		 * mind being moved. */
		emit(b, 0, 0, 0, 0);
		memmove(&b->out.v[at + 2], &b->out.v[at + 1], left * sizeof(*b->out.v));
		b->out.v[at].jf = 1;
		b->out.v[at + 1] =
			(struct sock_filter){ .code = BPF_JMP | BPF_JA, .k = (uint32_t)left };
	}
	emit_search(b, middle, to);
}

/* Falls through unless the accumulator has the property; then what the caller emits until
 * close_skip() is not skipped. */
static size_t open_skip(struct builder *b, unsigned jump, uint32_t k)
{
	emit(b, BPF_JMP | jump | BPF_K, k, 1, 0);
	emit(b, BPF_JMP | BPF_JA, 0, 0, 0);
	return b->out.n - 1;
}

static void close_skip(struct builder *b, size_t at)
{
	b->out.v[at].k = (uint32_t)(b->out.n - at - 1);
}

static void emit_arch(struct builder *b, size_t n_rules, uint64_t caps, enum runtime_arch arch)
{
	make_runs(b, n_rules, caps, arch);
	emit_search(b, 0, b->runs.n);
}

static void emit_all(struct builder *b, size_t n_rules, uint64_t caps, enum runtime_machine machine)
{
	bool x86 = machine == RUNTIME_MACHINE_X86_64;
	emit_load(b, offsetof(struct seccomp_data, arch));
	size_t native = open_skip(b, BPF_JEQ, x86 ? AUDIT_ARCH_X86_64 : AUDIT_ARCH_AARCH64);
	emit_load(b, offsetof(struct seccomp_data, nr));
	if (x86) {
		size_t x32 = open_skip(b, BPF_JGE, RUNTIME_SYSCALL_X32_BIT);
		emit(b, BPF_ALU | BPF_AND | BPF_K, ~(uint32_t)RUNTIME_SYSCALL_X32_BIT, 0, 0);
		emit_arch(b, n_rules, caps, RUNTIME_X32);
		close_skip(b, x32);
	}
	emit_arch(b, n_rules, caps, x86 ? RUNTIME_X86_64 : RUNTIME_AARCH64);
	close_skip(b, native);
	size_t narrow = open_skip(b, BPF_JEQ, x86 ? AUDIT_ARCH_I386 : AUDIT_ARCH_ARM);
	emit_load(b, offsetof(struct seccomp_data, nr));
	emit_arch(b, n_rules, caps, x86 ? RUNTIME_I386 : RUNTIME_ARM);
	close_skip(b, narrow);
	emit_return(b, SECCOMP_RET_KILL_PROCESS);
}

struct sock_filter *runtime_seccomp_build(const struct seccomp_rule *rules, size_t n_rules,
					  uint64_t caps, enum runtime_machine machine,
					  size_t *ret_n, struct err **err)
{
	struct builder b = { .rules = rules };
	for (size_t i = 0; i < n_rules; i++)
		for (const char *const *name = rules[i].names; *name; name++)
			VEC_PUSH(&b.places, runtime_syscall_find(*name));
	emit_all(&b, n_rules, caps, machine);
	VEC_RELEASE(&b.places);
	VEC_RELEASE(&b.chains);
	VEC_RELEASE(&b.runs);
	if (b.out.n > MAX_INSNS) {
		err_set(err, ERR_LIMIT, "a system call filter of %zu instructions: at most %d",
			b.out.n, MAX_INSNS);
		VEC_RELEASE(&b.out);
		return NULL;
	}
	*ret_n = b.out.n;
	return b.out.v;
}

struct sock_filter *runtime_seccomp_default(uint64_t caps, size_t *ret_n, struct err **err)
{
	size_t n;
	const struct seccomp_rule *rules = runtime_profile_default(&n);
#ifdef __aarch64__
	enum runtime_machine machine = RUNTIME_MACHINE_AARCH64;
#else
	enum runtime_machine machine = RUNTIME_MACHINE_X86_64;
#endif
	return runtime_seccomp_build(rules, n, caps, machine, ret_n, err);
}
