#define CBUILD_MAY_FORK
#include "runtime/helper/nest.h"

#include <errno.h>
#include <grp.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "base/err.h"
#include "runtime/helper/proto.h"
#include "runtime/helper/sys.h"

enum { PLAIN = MS_NOSUID | MS_NOEXEC | MS_NODEV };

static const char *const masked_proc_files[] = { "interrupts",    "kcore",       "keys",
						 "latency_stats", "sched_debug", "timer_list",
						 "timer_stats" };
static const char *const masked_proc_folders[] = { "acpi", "asound", "scsi" };
static const char *const masked_sys_folders[] = { "firmware", "devices/virtual/powercap" };

static int mask(const char *base, const char *name, const char *with, struct err **err)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", base, name);
	if (mount(with, path, NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
		return err_sys(err, "mask '%s/%s' in the container", strrchr(base, '/'), name);
	return 0;
}

int nest_mask_proc(const char *proc, struct err **err)
{
	for (size_t i = 0; i < ARRAY_SIZE(masked_proc_files); i++)
		if (mask(proc, masked_proc_files[i], "/null", err) < 0)
			return -1;
	for (size_t i = 0; i < ARRAY_SIZE(masked_proc_folders); i++)
		if (mask(proc, masked_proc_folders[i], "/empty", err) < 0)
			return -1;
	return 0;
}

int nest_mask_sys(const char *sys, struct err **err)
{
	for (size_t i = 0; i < ARRAY_SIZE(masked_sys_folders); i++)
		if (mask(sys, masked_sys_folders[i], "/empty", err) < 0)
			return -1;
	char path[64];
	snprintf(path, sizeof(path), "%s/devices/system/cpu", sys);
	_cleanup_closedir_ DIR *d = opendir(path);
	if (!d)
		return errno == ENOENT ? 0 : err_sys(err, "list the processors");
	for (struct dirent *e; (e = readdir(d));) {
		char name[96];
		if (strncmp(e->d_name, "cpu", 3) || e->d_name[3] < '0' || e->d_name[3] > '9')
			continue;
		snprintf(name, sizeof(name), "devices/system/cpu/%.32s/thermal_throttle",
			 e->d_name);
		if (mask(sys, name, "/empty", err) < 0)
			return -1;
	}
	return 0;
}

/* The process as every child will find it. */
static int prepare_process(const struct proto_message *m, const struct proto_hello *h,
			   struct nest *n, struct err **err)
{
	n->proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;
	if (n->proc_fd < 0 || fstatfs(n->proc_fd, &fs) < 0)
		return err_sys(err, "open '/proc'");
	if (fs.f_type != PROC_SUPER_MAGIC)
		return err_set(err, ERR_UNSUPPORTED, "'/proc' is not a proc file system");
	umask(0);
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		return err_sys(err, "forbid core dumps of the helper");
	/* Docker's default. Refused where the caller's own is higher and CAP_SYS_RESOURCE is
	 * missing: it stays then. */
	_cleanup_close_ int oom = openat(n->proc_fd, "self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (oom >= 0 && write(oom, "0", 1) < 0)
		errno = 0;
	if (h->devices_fd != PROTO_NO_FD && write(m->fds[h->devices_fd], "0", 1) < 0)
		return err_sys(err, "enter the devices cgroup of the build");
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return err_sys(err, "become root");
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return err_sys(err, "clear the ambient capabilities");
	/* The caller's keyring must not stay. */
	if (sys_join_session_keyring("_ses.cbuild") < 0 && errno != ENOSYS)
		return err_sys(err, "make a session keyring"),
		       err_hint(err, "see /proc/sys/kernel/keys/root_maxkeys");
	return 0;
}

/* The new root over /proc (a folder that exists on every host), then the old one goes. */
static int leave_host(struct err **err)
{
	if (unshare(CLONE_NEWNS) < 0)
		return err_sys(err, "make a mount namespace"),
		       err_hint(err, "cbuild needs root with CAP_SYS_ADMIN");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(err, "make the mounts private");
	if (mount("cbuild", "/proc", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=1m") < 0 ||
	    chdir("/proc") < 0)
		return err_sys(err, "mount the helper's own root");
	static const char *const folders[] = { "mnt",    "empty", "sys",   "c",
					       "c/proc", "c/ro",  "c/dev", "c/sys" };
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		if (mkdir(folders[i], 0755) < 0)
			return err_sys(err, "make '%s' in the helper's own root", folders[i]);
	if (mknod("null", S_IFCHR | 0666, makedev(1, 3)) < 0)
		return err_sys(err, "make a null device");
	/* Moving a mount over a root that cannot be pivoted would leave the host's tree above every
	 * container, one chroot(2) away. */
	if (sys_pivot_root(".", ".") < 0) {
		err_sys(err, "pivot_root into the helper's own root");
		return (*err)->sys == EINVAL
			? err_hint(err,
				   "the root of cbuild must be a mount (not an initramfs); "
				   "bind the folder of a chroot on itself")
			: -1;
	}
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_sys(err, "detach the host's file systems");
	/* Binds of /null and /empty inherit this: nobody changes mode or times of what masks. */
	if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC, NULL) <
	    0)
		return err_sys(err, "make the helper's own root read-only");
	return 0;
}

static int place_cgroups(struct proto_message *m, const struct proto_hello *h, struct err **err)
{
	if (mount("cgroup", "/sys/fs/cgroup", "tmpfs", PLAIN, "mode=755,size=64k") < 0)
		return err_sys(err, "mount '/sys/fs/cgroup'");
	for (uint32_t i = 0; i < h->n_cgroups; i++) {
		const struct proto_cgroup *c = &h->cgroups[i];
		char path[320];
		if (strchr(c->name, '/') ||
		    (size_t)snprintf(path, sizeof(path), "/sys/fs/cgroup/%s", c->name) >=
			    sizeof(path))
			return err_set(err, ERR_INVALID, "a control group named '%s'", c->name);
		if (*c->link) {
			if (symlink(c->link, path) < 0)
				return err_sys(err, "link '%s'", path);
			continue;
		}
		if (c->fd == PROTO_NO_FD || mkdir(path, 0755) < 0 ||
		    move_mount(m->fds[c->fd], "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
			return err_sys(err, "mount '%s'", path);
	}
	if (mount(NULL, "/sys/fs/cgroup", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | PLAIN, NULL) < 0)
		return err_sys(err, "make '/sys/fs/cgroup' read-only");
	return 0;
}

int nest_enter(struct proto_message *m, const struct proto_hello *h, struct nest *ret,
	       struct err **err)
{
	*ret = (struct nest){ .proc_fd = -1,
			      .cgroup2 = h->cgroup2,
			      .cgroups = h->n_cgroups || h->cgroup2 };
	if (prepare_process(m, h, ret, err) < 0 || leave_host(err) < 0)
		return -1;
	if (mount("sysfs", "/sys", "sysfs", MS_RDONLY | PLAIN, NULL) < 0)
		return err_sys(err, "mount '/sys'");
	if (nest_mask_sys("/sys", err) < 0)
		return -1;
	if (h->n_cgroups && place_cgroups(m, h, err) < 0)
		return -1;
	return 0;
}
