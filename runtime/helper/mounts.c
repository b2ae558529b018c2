#define CBUILD_MAY_FORK
#include "runtime/helper/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/err.h"
#include "runtime/helper/inroot.h"
#include "runtime/helper/nest.h"
#include "runtime/helper/proto.h"
#include "runtime/helper/sys.h"

enum { PLAIN = MS_NOSUID | MS_NOEXEC | MS_NODEV };

static const char *const readonly_proc[] = { "bus", "fs", "irq", "sys", "sysrq-trigger" };

/* As Docker has them in a network namespace of the container's own: low ports and ping without
 * capabilities. A kernel without them is fine. */
static void set_net_sysctls(void)
{
	static const char *const values[][2] = {
		{ "/c/proc/sys/net/ipv4/ip_unprivileged_port_start", "0" },
		{ "/c/proc/sys/net/ipv4/ping_group_range", "0 2147483647" }
	};
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		_cleanup_close_ int fd = open(values[i][0], O_WRONLY | O_CLOEXEC);
		if (fd >= 0 && write(fd, values[i][1], strlen(values[i][1])) < 0)
			errno = 0;
	}
}

/* The read-only parts are binds from a read-only mount of the same proc: a bind keeps the flags
 * of its source. */
static int make_proc(const struct proto_run *r, struct err **err)
{
	if (mount("proc", "/c/proc", "proc", PLAIN, NULL) < 0)
		return err_sys(err, "mount /proc in the container");
	if (r->flags & PROTO_NET_SYSCTLS)
		set_net_sysctls();
	if (!(r->flags & PROTO_MASK_PATHS))
		return 0;
	if (mount("/c/proc", "/c/ro", NULL, MS_BIND, NULL) < 0 ||
	    mount(NULL, "/c/ro", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | PLAIN, NULL) < 0)
		return err_sys(err, "mount a read-only /proc");
	for (size_t i = 0; i < ARRAY_SIZE(readonly_proc); i++) {
		char from[64], to[64];
		snprintf(from, sizeof(from), "/c/ro/%s", readonly_proc[i]);
		snprintf(to, sizeof(to), "/c/proc/%s", readonly_proc[i]);
		if (mount(from, to, NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
			return err_sys(err, "make /proc/%s read-only in the container",
				       readonly_proc[i]);
	}
	return nest_mask_proc("/c/proc", err);
}

static int make_nodes(const struct proto_run *r, struct err **err)
{
	static const struct {
		const char *path;
		unsigned major, minor;
	} nodes[] = { { "/c/dev/null", 1, 3 },    { "/c/dev/zero", 1, 5 },
		      { "/c/dev/full", 1, 7 },    { "/c/dev/random", 1, 8 },
		      { "/c/dev/urandom", 1, 9 }, { "/c/dev/tty", 5, 0 } };
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		if (mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)) <
		    0)
			return err_sys(err, "make %s in the container", nodes[i].path + 2);
	for (uint32_t i = 0; i < r->n_devices; i++) {
		const struct proto_device *d = &r->devices[i];
		char path[256];
		if (strstr(d->path, "..") ||
		    (size_t)snprintf(path, sizeof(path), "/c/dev/%s", d->path) >= sizeof(path))
			return err_set(err, ERR_INVALID, "a device named '%s'", d->path);
		for (char *p = path + strlen("/c/dev/"); (p = strchr(p, '/')); *p++ = '/') {
			*p = 0;
			if (mkdir(path, 0755) < 0 && errno != EEXIST)
				return err_sys(err, "make %s in the container", path + 2);
		}
		if (mknod(path, d->mode, (dev_t)d->rdev) < 0 ? errno != EEXIST
							     : lchown(path, d->uid, d->gid) < 0)
			return err_sys(err, "make %s in the container", path + 2);
	}
	return 0;
}

static int make_dev(const struct proto_run *r, struct err **err)
{
	if (mount("tmpfs", "/c/dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k") <
	    0)
		return err_sys(err, "mount /dev in the container");
	if (make_nodes(r, err) < 0)
		return -1;
	static const char *const links[][2] = {
		{ "/proc/self/fd", "/c/dev/fd" },       { "/proc/self/fd/0", "/c/dev/stdin" },
		{ "/proc/self/fd/1", "/c/dev/stdout" }, { "/proc/self/fd/2", "/c/dev/stderr" },
		{ "pts/ptmx", "/c/dev/ptmx" },          { "/proc/kcore", "/c/dev/core" }
	};
	/* The last one where the kernel has such a file (masked by now). */
	size_t n = ARRAY_SIZE(links) - (access("/c/proc/kcore", F_OK) < 0);
	for (size_t i = 0; i < n; i++)
		if (symlink(links[i][0], links[i][1]) < 0)
			return err_sys(err, "make %s in the container", links[i][1] + 2);
	static const char *const folders[] = { "/c/dev/pts", "/c/dev/shm", "/c/dev/mqueue" };
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		if (mkdir(folders[i], 0755) < 0)
			return err_sys(err, "make %s in the container", folders[i] + 2);
	char shm[64];
	snprintf(shm, sizeof(shm), "mode=1777,size=%" PRIu64,
		 r->shm_size_bytes ? r->shm_size_bytes : UINT64_C(64) << 20);
	if (mount("devpts", "/c/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
		  "newinstance,ptmxmode=0666,mode=0620,gid=5") < 0)
		return err_sys(err, "mount /dev/pts in the container");
	if (mount("shm", "/c/dev/shm", "tmpfs", PLAIN, shm) < 0)
		return err_sys(err, "mount /dev/shm in the container");
	if (mount("mqueue", "/c/dev/mqueue", "mqueue", PLAIN, NULL) < 0)
		return err_sys(err, "mount /dev/mqueue in the container");
	return 0;
}

/* The nest's /sys is of the host's network namespace, read-only and masked: all else needs its
 * own. */
static bool own_sys(const struct proto_run *r)
{
	return r->flags & (PROTO_NEW_NET | PROTO_SYS_WRITABLE) || !(r->flags & PROTO_MASK_PATHS);
}

static const char *sys_path(const struct proto_run *r)
{
	return own_sys(r) ? "/c/sys" : "/sys";
}

static int make_sys(const struct nest *n, const struct proto_run *r, struct err **err)
{
	unsigned long ro = r->flags & PROTO_SYS_WRITABLE ? 0 : MS_RDONLY;
	if (own_sys(r)) {
		if (mount("sysfs", "/c/sys", "sysfs", PLAIN | ro, NULL) < 0)
			return err_sys(err, "mount /sys in the container");
		if (r->flags & PROTO_MASK_PATHS && nest_mask_sys("/c/sys", err) < 0)
			return -1;
	}
	if (!n->cgroups)
		return 0;
	char to[32];
	snprintf(to, sizeof(to), "%s/fs/cgroup", sys_path(r));
	if (n->cgroup2) {
		if (mount("cgroup", to, "cgroup2", PLAIN | ro, NULL) < 0)
			return err_sys(err, "mount /sys/fs/cgroup in the container");
		return 0;
	}
	if (own_sys(r) && move_mount(AT_FDCWD, "/sys/fs/cgroup", AT_FDCWD, to, 0) < 0)
		return err_sys(err, "move /sys/fs/cgroup into the container");
	struct mount_attr rw = { .attr_clr = MOUNT_ATTR_RDONLY };
	if (!ro && mount_setattr(AT_FDCWD, to, AT_RECURSIVE, &rw, sizeof(rw)) < 0)
		return err_sys(err, "make /sys/fs/cgroup writable in the container");
	return 0;
}

int mounts_make(const struct nest *n, const struct proto_run *r, struct err **err)
{
	return make_proc(r, err) < 0 || make_dev(r, err) < 0 || make_sys(n, r, err) < 0 ? -1 : 0;
}

/* Moves the mount at a trusted path (or given by a descriptor) onto `target` in the root. */
static int place(int from, const char *from_path, int root, const char *target, mode_t mode,
		 bool folder, struct err **err)
{
	_cleanup_close_ int at = inroot_make(root, target, folder, mode);
	if (at < 0)
		return err_sys(err, "find '%s' in the container's root", target);
	struct stat st;
	if (fstat(at, &st) < 0)
		return err_sys(err, "look at '%s' in the container's root", target);
	if (S_ISDIR(st.st_mode) != folder)
		return err_set(err, ERR_INVALID, "mount a %s on '%s', which is a %s",
			       folder ? "folder" : "file", target, folder ? "file" : "folder");
	if (move_mount(from, from_path, at, "",
		       MOVE_MOUNT_T_EMPTY_PATH | (*from_path ? 0 : MOVE_MOUNT_F_EMPTY_PATH)) < 0)
		return err_sys(err, "mount '%s' in the container", target);
	return 0;
}

static int place_tmpfs(int root, const struct proto_mount *t, struct err **err)
{
	char size[40] = "", mode[16] = "", options[64];
	if (t->size_bytes)
		snprintf(size, sizeof(size), "size=%" PRIu64, t->size_bytes);
	if (t->mode)
		snprintf(mode, sizeof(mode), "mode=%o", t->mode & 07777);
	snprintf(options, sizeof(options), "%s%s%s", size, *size && *mode ? "," : "", mode);
	if (mount("tmpfs", "/c", "tmpfs", t->attr & (PLAIN | MS_RDONLY), options) < 0)
		return err_sys(err, "make a tmpfs for '%s'", t->target);
	return place(AT_FDCWD, "/c", root, t->target, 0755, true, err);
}

static int place_extra(int root, const struct proto_run *r, const struct proto_message *m,
		       struct err **err)
{
	for (uint32_t i = 0; i < r->n_mounts; i++) {
		const struct proto_mount *t = &r->mounts[i];
		if (t->fd == PROTO_NO_FD) {
			if (place_tmpfs(root, t, err) < 0)
				return -1;
			continue;
		}
		struct stat st;
		if (fstat(m->fds[t->fd], &st) < 0)
			return err_sys(err, "look at what is mounted on '%s'", t->target);
		bool folder = S_ISDIR(st.st_mode);
		if (place(m->fds[t->fd], "", root, t->target,
			  t->mode          ? t->mode
				  : folder ? 0755
					   : 0644,
			  folder, err) < 0)
			return -1;
	}
	return 0;
}

int mounts_enter(const struct nest *n, const struct proto_run *r, const struct proto_message *m,
		 struct err **err)
{
	(void)n;
	int root = m->fds[r->root_fd];
	if (move_mount(root, "", AT_FDCWD, "/mnt", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(err, "attach the container's root");
	if (place(AT_FDCWD, "/c/proc", root, "/proc", 0755, true, err) < 0 ||
	    place(AT_FDCWD, "/c/dev", root, "/dev", 0755, true, err) < 0 ||
	    place(AT_FDCWD, sys_path(r), root, "/sys", 0755, true, err) < 0 ||
	    place_extra(root, r, m, err) < 0)
		return -1;
	if (r->flags & PROTO_ROOT_READONLY) {
		struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };
		if (mount_setattr(root, "", AT_EMPTY_PATH, &ro, sizeof(ro)) < 0)
			return err_sys(err, "make the container's root read-only");
	}
	if (fchdir(root) < 0 || sys_pivot_root(".", ".") < 0)
		return err_sys(err, "pivot_root into the container's root");
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_sys(err, "detach the helper's root");
	return 0;
}
