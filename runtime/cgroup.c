#include "runtime/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "base/vec.h"
#include "runtime/device.h"

enum { TEXT_MAX = 1024 * 1024 };

/* One mount of a cgroup file system. */
struct hierarchy {
	struct str mountpoint, root, options;
	bool unified;
};

typedef VEC(struct hierarchy) hierarchies;

/* "id parent major:minor root mountpoint options… - type source super-options" */
static bool parse_mount(struct str line, struct hierarchy *ret)
{
	size_t dash = str_find_str(line, STR(" - "), 0);
	if (dash == SIZE_MAX)
		return false;
	struct str left = str_sub(line, 0, dash), right = str_sub(line, dash + 3, line.n), field,
		   type;
	for (int i = 0; i < 3; i++)
		if (!str_cut(left, ' ', &field, &left))
			return false;
	if (!str_cut(left, ' ', &ret->root, &left) ||
	    !str_cut(left, ' ', &ret->mountpoint, &left) || !str_cut(right, ' ', &type, &right) ||
	    !str_cut(right, ' ', &field, &ret->options))
		return false;
	ret->unified = str_eq(type, STR("cgroup2"));
	/* A folder with a blank or another escaped byte in its name is no place of control
	 * groups. */
	return (ret->unified || str_eq(type, STR("cgroup"))) &&
		str_find(ret->mountpoint, '\\', 0) == SIZE_MAX;
}

static void find_hierarchies(struct str mountinfo, hierarchies *ret)
{
	struct str line;
	while (mountinfo.n) {
		struct hierarchy h;
		if (!str_cut(mountinfo, '\n', &line, &mountinfo)) {
			line = mountinfo;
			mountinfo.n = 0;
		}
		if (parse_mount(line, &h))
			VEC_PUSH(ret, h);
	}
}

static bool has_word(struct str list, const char *word)
{
	struct str one;
	do {
		if (!str_cut(list, ',', &one, &list)) {
			one = list;
			list.n = 0;
		}
		if (str_eq_c(one, word))
			return true;
	} while (list.n);
	return false;
}

/* Whether every word of a line's controllers ("cpu,cpuacct", "name=systemd") is an option of the
 * hierarchy; "" means unified. */
static bool is_of(struct str controllers, const struct hierarchy *h)
{
	if (!controllers.n)
		return h->unified;
	struct str first = controllers, rest;
	str_cut(controllers, ',', &first, &rest);
	_cleanup_free_ char *word = str_dup(first);
	return !h->unified && has_word(h->options, word);
}

/* The folder of our own group in a hierarchy, as /proc/self/cgroup tells. */
static char *own_folder(struct str self, const struct hierarchy *h)
{
	while (self.n) {
		struct str line, id, controllers, path;
		if (!str_cut(self, '\n', &line, &self)) {
			line = self;
			self.n = 0;
		}
		if (!str_cut(line, ':', &id, &line) || !str_cut(line, ':', &controllers, &path) ||
		    !is_of(controllers, h))
			continue;
		/* Mounted not from its root (a container's view): the path is told from the
		 * hierarchy's. */
		if (h->root.n > 1 && str_starts(path, h->root))
			path = str_sub(path, h->root.n, path.n);
		return xasprintf("%.*s%.*s", STR_ARG(h->mountpoint), STR_ARG(path));
	}
	return NULL;
}

/* mountpoint/cbuild/store, made; -1 where it cannot be. */
static int store_folder(const struct hierarchy *h, const char *store, struct err **err)
{
	_cleanup_free_ char *top = xasprintf("%.*s/cbuild", STR_ARG(h->mountpoint));
	_cleanup_free_ char *path = xasprintf("%s/%s", top, store);
	if ((mkdir(top, 0755) < 0 && errno != EEXIST) || (mkdir(path, 0755) < 0 && errno != EEXIST))
		return err_sys(err, "make control group '%s'", path);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, "open control group '%s'", path) : fd;
}

/* A detached mount of our own group in a hierarchy, read-only. */
static int own_mount(struct str self, const struct hierarchy *h)
{
	_cleanup_free_ char *path = own_folder(self, h);
	_cleanup_close_ int fd =
		path ? open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC) : -1;
	struct mount_attr a = {
		.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
			MOUNT_ATTR_NOEXEC,
		.propagation = MS_PRIVATE,
	};
	if (fd < 0 || mount_setattr(fd, "", AT_EMPTY_PATH, &a, sizeof(a)) < 0)
		return -1;
	return STEAL_FD(fd);
}

/* What lies in the folder of the version 1 hierarchies, names and links as on the host. */
static void list_entries(struct runtime_cgroups *g, const hierarchies *all, struct str self)
{
	const struct hierarchy *first = NULL;
	for (size_t i = 0; i < all->n && !first; i++)
		if (!all->v[i].unified)
			first = &all->v[i];
	if (!first)
		return;
	struct str folder = str_sub(first->mountpoint, 0, str_rfind(first->mountpoint, '/'));
	_cleanup_free_ char *path = str_dup(folder);
	_cleanup_closedir_ DIR *d = opendir(path);
	VEC(struct runtime_cgroup_entry) v = { 0 };
	for (struct dirent *e; d && (e = readdir(d));) {
		struct runtime_cgroup_entry entry = { .fd = -1 };
		char link[256];
		ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof(link));
		if (n > 0 && (size_t)n < sizeof(link))
			entry.link = xstrndup(link, (size_t)n);
		for (size_t i = 0; i < all->n && !entry.link && entry.fd < 0; i++) {
			const struct hierarchy *h = &all->v[i];
			struct str name = str_sub(h->mountpoint, str_rfind(h->mountpoint, '/') + 1,
						  h->mountpoint.n);
			if (!h->unified && str_starts(h->mountpoint, folder) &&
			    str_eq_c(name, e->d_name))
				entry.fd = own_mount(self, h);
		}
		if (!entry.link && entry.fd < 0)
			continue;
		entry.name = xstrdup(e->d_name);
		VEC_PUSH(&v, entry);
	}
	g->entries = v.v;
	g->n_entries = v.n;
}

static bool enable_memory(int folder_fd, const char *name)
{
	static const char text[] = "+memory";
	_cleanup_close_ int fd = openat(folder_fd, name, O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write(fd, text, sizeof(text) - 1) > 0;
}

/* Without a group of their own in the memory hierarchy of version 1 the processes are in ours. */
static int open_oom(const hierarchies *all, struct str self)
{
	for (size_t i = 0; i < all->n; i++) {
		if (all->v[i].unified || !has_word(all->v[i].options, "memory"))
			continue;
		_cleanup_free_ char *folder = own_folder(self, &all->v[i]);
		_cleanup_free_ char *path =
			folder ? xasprintf("%s/memory.oom_control", folder) : NULL;
		return path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	}
	return -1;
}

int64_t runtime_cgroups_oom_kills(int oom_fd)
{
	char text[256];
	ssize_t n = oom_fd < 0 ? -1 : pread(oom_fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return -1;
	text[n] = 0;
	const char *at = strstr(text, "oom_kill ");
	return at ? strtoll(at + strlen("oom_kill "), NULL, 10) : -1;
}

static int open_unified(struct runtime_cgroups *g, const hierarchies *all, const char *store)
{
	for (size_t i = 0; i < all->n && g->unified_fd < 0; i++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		if (!all->v[i].unified)
			continue;
		g->unified_fd = store_folder(&all->v[i], store, &e);
		if (g->unified_fd >= 0)
			g->unified_path =
				xasprintf("%.*s/cbuild/%s", STR_ARG(all->v[i].mountpoint), store);
	}
	/* With the memory controller a group counts its own kills. Where it cannot be had,
	 * nobody misses it but the message. */
	if (g->only2 && g->unified_fd >= 0)
		g->memory_events = enable_memory(g->unified_fd, "../cgroup.subtree_control") &&
			enable_memory(g->unified_fd, "cgroup.subtree_control");
	return g->unified_fd;
}

static int open_devices(struct runtime_cgroups *g, const hierarchies *all, const char *store,
			struct err **err)
{
	for (size_t i = 0; i < all->n; i++) {
		if (all->v[i].unified || !has_word(all->v[i].options, "devices"))
			continue;
		g->devices_fd = store_folder(&all->v[i], store, err);
		g->devices_path = xasprintf("%.*s/cbuild/%s", STR_ARG(all->v[i].mountpoint), store);
		return g->devices_fd < 0 ? -1 : 0;
	}
	if (g->unified_fd < 0) {
		err_set(err, ERR_UNSUPPORTED,
			"no control group can be made: without one, containers could open the host's devices");
		return err_hint(err, "mount /sys/fs/cgroup writable");
	}
	size_t n;
	const struct runtime_device_rule *rules = runtime_device_rules(&n);
	g->program_fd = runtime_device_load(rules, n, err);
	return g->program_fd < 0 ? -1 : 0;
}

int runtime_cgroups_open(const char *store, struct runtime_cgroups *ret, struct err **err)
{
	_cleanup_(sb_releasep) struct sb mounts = { .max = TEXT_MAX }, self = { .max = TEXT_MAX };
	if (io_read_file(AT_FDCWD, "/proc/self/mountinfo", &mounts, err) < 0 ||
	    io_read_file(AT_FDCWD, "/proc/self/cgroup", &self, err) < 0)
		return -1;
	hierarchies all = { 0 };
	find_hierarchies(sb_str(&mounts), &all);
	struct runtime_cgroups g = { .unified_fd = -1,
				     .devices_fd = -1,
				     .program_fd = -1,
				     .oom_fd = -1,
				     .only2 = all.n > 0 };
	for (size_t i = 0; i < all.n; i++)
		g.only2 &= all.v[i].unified;
	open_unified(&g, &all, store);
	int r = open_devices(&g, &all, store, err);
	if (!r) {
		list_entries(&g, &all, sb_str(&self));
		g.oom_fd = open_oom(&all, sb_str(&self));
	}
	VEC_RELEASE(&all);
	if (r < 0)
		runtime_cgroups_release(&g);
	else
		*ret = g;
	return r;
}

void runtime_cgroups_release(struct runtime_cgroups *g)
{
	mem_closep(&g->unified_fd);
	mem_closep(&g->devices_fd);
	mem_closep(&g->program_fd);
	mem_closep(&g->oom_fd);
	free(g->unified_path);
	free(g->devices_path);
	for (size_t i = 0; i < g->n_entries; i++) {
		free(g->entries[i].name);
		free(g->entries[i].link);
		mem_closep(&g->entries[i].fd);
	}
	free(g->entries);
	*g = (struct runtime_cgroups){
		.unified_fd = -1, .devices_fd = -1, .program_fd = -1, .oom_fd = -1
	};
}

static int make_group(int parent, const char *name, struct err **err)
{
	if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
		return err_sys(err, "make control group '%s'", name);
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_sys(err, "open control group '%s'", name) : fd;
}

int runtime_cgroups_make(const struct runtime_cgroups *g, const char *name, bool all, int *ret_fd,
			 struct err **err)
{
	if (g->unified_fd < 0) {
		*ret_fd = -1;
		return 0;
	}
	_cleanup_close_ int fd = make_group(g->unified_fd, name, err);
	if (fd < 0 ||
	    (g->program_fd >= 0 && !all && runtime_device_attach(fd, g->program_fd, err) < 0))
		return -1;
	*ret_fd = STEAL_FD(fd);
	return 0;
}

int runtime_cgroups_make_devices(const struct runtime_cgroups *g, const char *name, bool all,
				 int *ret_fd, struct err **err)
{
	if (g->devices_fd < 0) {
		*ret_fd = -1;
		return 0;
	}
	_cleanup_close_ int fd = make_group(g->devices_fd, name, err);
	size_t n;
	const struct runtime_device_rule *rules = runtime_device_rules(&n);
	if (fd < 0 || (!all && runtime_device_write(fd, rules, n, err) < 0))
		return -1;
	/* "0" into tasks moves the writing thread alone, without the lock over all processes of the
	 * machine that cgroup.procs takes and waits up to 20 ms for. Ours have one thread. */
	int procs = openat(fd, "tasks", O_WRONLY | O_CLOEXEC);
	if (procs < 0)
		return err_sys(err, "open control group '%s'", name);
	*ret_fd = procs;
	return 0;
}

/* Made under another name and renamed with its rules in place: whoever finds it finds it whole. */
int runtime_cgroups_share_devices(const struct runtime_cgroups *g, const char *name, int *ret_fd,
				  struct err **err)
{
	*ret_fd = -1;
	if (g->devices_fd < 0)
		return 0;
	_cleanup_free_ char *procs = xasprintf("%s/tasks", name),
			    *fresh = xasprintf("%s.%d", name, (int)getpid());
	for (int i = 0; i < 2; i++) {
		*ret_fd = openat(g->devices_fd, procs, O_WRONLY | O_CLOEXEC);
		if (*ret_fd >= 0)
			return 0;
		_cleanup_close_ int made = -1;
		if (i || errno != ENOENT)
			break;
		if (runtime_cgroups_make_devices(g, fresh, false, &made, err) < 0)
			return -1;
		/* Another was first: its group is as good. */
		if (renameat(g->devices_fd, fresh, g->devices_fd, name) < 0)
			unlinkat(g->devices_fd, fresh, AT_REMOVEDIR);
	}
	return err_sys(err, "open control group '%s'", name);
}

/* Whether processes are in the group or below it. */
static bool populated(int group_fd)
{
	_cleanup_close_ int fd = openat(group_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	char text[128] = "";
	ssize_t n = fd < 0 ? -1 : io_read_full(fd, text, sizeof(text) - 1);
	return n > 0 && strstr(text, "populated 1");
}

/* Before 5.14 there is no cgroup.kill: each one by its pid, again and again until none is left. */
static void kill_each(int group_fd)
{
	_cleanup_close_ int fd = openat(group_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	_cleanup_fclose_ FILE *f = fd < 0 ? NULL : fdopen(STEAL_FD(fd), "re");
	long pid;
	while (f && fscanf(f, "%ld", &pid) == 1)
		if (pid > 1)
			kill((pid_t)pid, SIGKILL);
}

int runtime_cgroup_bury(int group_fd, int timeout_ms, struct err **err)
{
	int64_t until = clock_mono_ns() + timeout_ms * INT64_C(1000000);
	for (int wait_ms = 1; populated(group_fd); wait_ms = wait_ms < 64 ? wait_ms * 2 : wait_ms) {
		_cleanup_close_ int fd = openat(group_fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, "1", 1) < 0)
			kill_each(group_fd);
		if (!populated(group_fd))
			break;
		if (clock_mono_ns() > until)
			return err_set(err, ERR_TIMEOUT,
				       "wait for the processes of a control group to end");
		poll(NULL, 0, wait_ms);
	}
	return 0;
}
