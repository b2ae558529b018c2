#include "runtime/caps.h"

#include <linux/capability.h>
#include <sys/syscall.h>

#include "base/err.h"
#include "runtime/probe.h"

#define BIT(cap) (UINT64_C(1) << (cap))

static const uint64_t DEFAULT_MASK = BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FSETID) |
	BIT(CAP_FOWNER) | BIT(CAP_MKNOD) | BIT(CAP_NET_RAW) | BIT(CAP_SETGID) | BIT(CAP_SETUID) |
	BIT(CAP_SETFCAP) | BIT(CAP_SETPCAP) | BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_SYS_CHROOT) |
	BIT(CAP_KILL) | BIT(CAP_AUDIT_WRITE);

static const char *const names[] = {
	[CAP_CHOWN] = "CAP_CHOWN",
	[CAP_DAC_OVERRIDE] = "CAP_DAC_OVERRIDE",
	[CAP_DAC_READ_SEARCH] = "CAP_DAC_READ_SEARCH",
	[CAP_FOWNER] = "CAP_FOWNER",
	[CAP_FSETID] = "CAP_FSETID",
	[CAP_KILL] = "CAP_KILL",
	[CAP_SETGID] = "CAP_SETGID",
	[CAP_SETUID] = "CAP_SETUID",
	[CAP_SETPCAP] = "CAP_SETPCAP",
	[CAP_LINUX_IMMUTABLE] = "CAP_LINUX_IMMUTABLE",
	[CAP_NET_BIND_SERVICE] = "CAP_NET_BIND_SERVICE",
	[CAP_NET_BROADCAST] = "CAP_NET_BROADCAST",
	[CAP_NET_ADMIN] = "CAP_NET_ADMIN",
	[CAP_NET_RAW] = "CAP_NET_RAW",
	[CAP_IPC_LOCK] = "CAP_IPC_LOCK",
	[CAP_IPC_OWNER] = "CAP_IPC_OWNER",
	[CAP_SYS_MODULE] = "CAP_SYS_MODULE",
	[CAP_SYS_RAWIO] = "CAP_SYS_RAWIO",
	[CAP_SYS_CHROOT] = "CAP_SYS_CHROOT",
	[CAP_SYS_PTRACE] = "CAP_SYS_PTRACE",
	[CAP_SYS_PACCT] = "CAP_SYS_PACCT",
	[CAP_SYS_ADMIN] = "CAP_SYS_ADMIN",
	[CAP_SYS_BOOT] = "CAP_SYS_BOOT",
	[CAP_SYS_NICE] = "CAP_SYS_NICE",
	[CAP_SYS_RESOURCE] = "CAP_SYS_RESOURCE",
	[CAP_SYS_TIME] = "CAP_SYS_TIME",
	[CAP_SYS_TTY_CONFIG] = "CAP_SYS_TTY_CONFIG",
	[CAP_MKNOD] = "CAP_MKNOD",
	[CAP_LEASE] = "CAP_LEASE",
	[CAP_AUDIT_WRITE] = "CAP_AUDIT_WRITE",
	[CAP_AUDIT_CONTROL] = "CAP_AUDIT_CONTROL",
	[CAP_SETFCAP] = "CAP_SETFCAP",
	[CAP_MAC_OVERRIDE] = "CAP_MAC_OVERRIDE",
	[CAP_MAC_ADMIN] = "CAP_MAC_ADMIN",
	[CAP_SYSLOG] = "CAP_SYSLOG",
	[CAP_WAKE_ALARM] = "CAP_WAKE_ALARM",
	[CAP_BLOCK_SUSPEND] = "CAP_BLOCK_SUSPEND",
	[CAP_AUDIT_READ] = "CAP_AUDIT_READ",
	[38] = "CAP_PERFMON",
	[39] = "CAP_BPF",
	[40] = "CAP_CHECKPOINT_RESTORE",
};

static bool is_all(struct str s)
{
	return str_ieq(s, STR("ALL")) || str_ieq(s, STR("CAP_ALL"));
}

int runtime_cap_find(struct str name, unsigned *ret, struct err **err)
{
	bool full = name.n > 4 && str_ieq(str_sub(name, 0, 4), STR("CAP_"));
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (!str_ieq(name, str_c(names[i] + (full ? 0 : 4))))
			continue;
		*ret = i;
		return 0;
	}
	return err_set(err, ERR_INVALID, "unknown capability '%.*s'", STR_ARG(name));
}

const char *runtime_cap_name(unsigned cap)
{
	return cap < ARRAY_SIZE(names) ? names[cap] : NULL;
}

static int mask_of(const struct str *list, size_t n, uint64_t *ret_mask, bool *ret_all,
		   struct err **err)
{
	uint64_t mask = 0;
	bool all = false;
	for (size_t i = 0; i < n; i++) {
		unsigned cap;
		if (is_all(list[i])) {
			all = true;
			continue;
		}
		if (runtime_cap_find(list[i], &cap, err) < 0)
			return -1;
		if (cap > runtime_cap_last())
			return err_set(err, ERR_UNSUPPORTED, "this kernel has no capability '%s'",
				       names[cap]);
		mask |= BIT(cap);
	}
	*ret_mask = mask;
	*ret_all = all;
	return 0;
}

int runtime_caps_change(const struct str *add, size_t n_add, const struct str *drop, size_t n_drop,
			uint64_t *ret, struct err **err)
{
	uint64_t adds, drops;
	bool add_all, drop_all;
	if (mask_of(add, n_add, &adds, &add_all, err) < 0 ||
	    mask_of(drop, n_drop, &drops, &drop_all, err) < 0)
		return -1;
	if (add_all)
		*ret = runtime_caps_all() & ~drops;
	else if (drop_all)
		*ret = adds;
	else
		*ret = (DEFAULT_MASK & ~drops) | adds;
	return 0;
}

uint64_t runtime_caps_all(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = { { 0 } };
	if (syscall(SYS_capget, &h, d) < 0)
		return 0;
	return d[0].permitted | (uint64_t)d[1].permitted << 32;
}

struct runtime_caps runtime_caps_of(uint64_t mask, uint32_t uid)
{
	uint64_t active = uid ? 0 : mask;
	return (struct runtime_caps){ .bounding = mask, .permitted = active, .effective = active };
}

struct runtime_caps runtime_caps_default(uint32_t uid)
{
	return runtime_caps_of(DEFAULT_MASK, uid);
}
