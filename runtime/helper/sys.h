/*
 * sys: system calls that glibc 2.36 has no function for. Each returns what the kernel returns,
 * errno set.
 */
#pragma once

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* As the manual pages have them. */
static inline int sys_clone3(struct clone_args *a)
{
	return (int)syscall(SYS_clone3, a, sizeof(*a));
}
static inline int sys_openat2(int dir, const char *path, const struct open_how *how)
{
	return (int)syscall(SYS_openat2, dir, path, how, sizeof(*how));
}
static inline int sys_pivot_root(const char *new_root, const char *put_old)
{
	return (int)syscall(SYS_pivot_root, new_root, put_old);
}
static inline int sys_pidfd_open(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}
static inline int sys_pidfd_send_signal(int pidfd, int sig)
{
	return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0);
}
/* waitid() of the C library drops the usage. */
static inline int sys_wait_pidfd(int pidfd, siginfo_t *info, struct rusage *usage)
{
	return (int)syscall(SYS_waitid, P_PIDFD, pidfd, info, WEXITED, usage);
}
static inline int sys_capset(uint64_t permitted, uint64_t effective, uint64_t inheritable)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];
	for (int i = 0; i < 2; i++)
		d[i] = (struct __user_cap_data_struct){ (uint32_t)(effective >> 32 * i),
							(uint32_t)(permitted >> 32 * i),
							(uint32_t)(inheritable >> 32 * i) };
	return (int)syscall(SYS_capset, &h, d);
}
static inline int sys_seccomp_filter(unsigned flags, const struct sock_fprog *prog)
{
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, prog);
}
static inline long sys_join_session_keyring(const char *name)
{
	return syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, name);
}
