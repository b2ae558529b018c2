#include "runtime/device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/err.h"
#include "base/vec.h"

static const struct runtime_device_rule defaults[] = {
	{ 'c', -1, -1, "m", true },    { 'b', -1, -1, "m", true },
	{ 'c', 1, 3, "rwm", true },    { 'c', 1, 5, "rwm", true },
	{ 'c', 1, 7, "rwm", true },    { 'c', 1, 8, "rwm", true },
	{ 'c', 1, 9, "rwm", true },    { 'c', 5, 0, "rwm", true },
	{ 'c', 5, 2, "rwm", true },    { 'c', 10, 200, "rwm", true },
	{ 'c', 136, -1, "rwm", true }, { 'c', 10, 229, "rwm", false },
};

const struct runtime_device_rule *runtime_device_rules(size_t *ret_n)
{
	*ret_n = ARRAY_SIZE(defaults);
	return defaults;
}

static int write_line(int dir, const char *name, const char *text, struct err **err)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return err_sys(err, "write '%s' to %s of the control group", text, name);
	return 0;
}

int runtime_device_write(int cgroup_fd, const struct runtime_device_rule *rules, size_t n,
			 struct err **err)
{
	if (write_line(cgroup_fd, "devices.deny", "a", err) < 0)
		return -1;
	_cleanup_close_ int allow = openat(cgroup_fd, "devices.allow", O_WRONLY | O_CLOEXEC);
	if (allow < 0)
		return err_sys(err, "open devices.allow of the control group");
	for (size_t i = 0; i < n; i++) {
		char major[16] = "*", minor[16] = "*", line[64];
		if (rules[i].major >= 0)
			snprintf(major, sizeof(major), "%d", rules[i].major);
		if (rules[i].minor >= 0)
			snprintf(minor, sizeof(minor), "%d", rules[i].minor);
		snprintf(line, sizeof(line), "%c %s:%s %s", rules[i].type, major, minor,
			 rules[i].access);
		if (!rules[i].allow) {
			if (write_line(cgroup_fd, "devices.deny", line, err) < 0)
				return -1;
		} else if (write(allow, line, strlen(line)) < 0) {
			return err_sys(err, "allow device '%s' in the control group", line);
		}
	}
	return 0;
}

#define INSN(c, d, s, o, i)                                                                        \
	((struct bpf_insn){ .code = (uint8_t)(c),                                                  \
			    .dst_reg = (d),                                                        \
			    .src_reg = (s),                                                        \
			    .off = (int16_t)(o),                                                   \
			    .imm = (int32_t)(i) })

typedef VEC(struct bpf_insn) insns;

static void load_word(insns *p, unsigned reg, size_t offset)
{
	VEC_PUSH(p, INSN(BPF_LDX | BPF_MEM | BPF_W, reg, BPF_REG_1, offset, 0));
}

static void give(insns *p, int result)
{
	VEC_PUSH(p, INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, result));
	VEC_PUSH(p, INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
}

/* Registers: 2 type, 3 access wanted, 4 major, 5 minor. */
static void add_rule(insns *p, const struct runtime_device_rule *r)
{
	size_t jumps[4], n = 0;
	int access = 0;
	for (const char *a = r->access; *a; a++)
		access |= *a == 'r' ? BPF_DEVCG_ACC_READ
			: *a == 'w' ? BPF_DEVCG_ACC_WRITE
				    : BPF_DEVCG_ACC_MKNOD;
	if (r->type != 'a') {
		jumps[n++] = p->n;
		VEC_PUSH(p,
			 INSN(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_2, 0, 0,
			      r->type == 'c' ? BPF_DEVCG_DEV_CHAR : BPF_DEVCG_DEV_BLOCK));
	}
	/* An allowing rule must cover all that is wanted, a denying one any part of it. */
	VEC_PUSH(p, INSN(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_0, BPF_REG_3, 0, 0));
	VEC_PUSH(p,
		 INSN(BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_0, 0, 0,
		      r->allow ? ~access & 7 : access));
	jumps[n++] = p->n;
	VEC_PUSH(p, INSN(BPF_JMP | (r->allow ? BPF_JNE : BPF_JEQ) | BPF_K, BPF_REG_0, 0, 0, 0));
	for (int i = 0; i < 2; i++) {
		int want = i ? r->minor : r->major;
		if (want < 0)
			continue;
		jumps[n++] = p->n;
		VEC_PUSH(p, INSN(BPF_JMP | BPF_JNE | BPF_K, i ? BPF_REG_5 : BPF_REG_4, 0, 0, want));
	}
	give(p, r->allow);
	for (size_t i = 0; i < n; i++)
		p->v[jumps[i]].off = (int16_t)(p->n - jumps[i] - 1);
}

int runtime_device_load(const struct runtime_device_rule *rules, size_t n, struct err **err)
{
	insns p = { 0 };
	load_word(&p, BPF_REG_2, offsetof(struct bpf_cgroup_dev_ctx, access_type));
	VEC_PUSH(&p, INSN(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0));
	VEC_PUSH(&p, INSN(BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff));
	VEC_PUSH(&p, INSN(BPF_ALU64 | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16));
	load_word(&p, BPF_REG_4, offsetof(struct bpf_cgroup_dev_ctx, major));
	load_word(&p, BPF_REG_5, offsetof(struct bpf_cgroup_dev_ctx, minor));
	for (size_t i = n; i--;)
		add_rule(&p, &rules[i]);
	give(&p, 0);
	static const char license[] = "MIT", name[] = "cbuild_devices";
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
		.insn_cnt = (uint32_t)p.n,
		.insns = (uintptr_t)p.v,
		.license = (uintptr_t)license,
	};
	memcpy(attr.prog_name, name, sizeof(name));
	int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	VEC_RELEASE(&p);
	return fd < 0 ? err_sys(err, "load the device rules") : fd;
}

int runtime_device_attach(int cgroup_fd, int prog_fd, struct err **err)
{
	union bpf_attr attr = {
		.target_fd = (uint32_t)cgroup_fd,
		.attach_bpf_fd = (uint32_t)prog_fd,
		.attach_type = BPF_CGROUP_DEVICE,
		.attach_flags = BPF_F_ALLOW_MULTI,
	};
	if (syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof(attr)) < 0)
		return err_sys(err, "attach the device rules to the control group");
	return 0;
}
