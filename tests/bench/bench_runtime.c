/*
 * The time of one RUN, start to exit, beside a bare C sequence of the same: one clone3, a ready
 * detached overlay, the standard mounts with masks and read-only paths, the same filter,
 * pivot_root, exec of a static `true`, a unified cgroup. Both get overlay and cgroup ready made.
 * Ours is measured at the caller: from runtime_spawn() to the exit answer.
 *
 *     bench_runtime [--json] [N]        medians and 99th percentiles of N rounds (300), the two taken in turn
 */
#define CBUILD_MAY_FORK
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "runtime/cgroup.h"
#include "runtime/helper/sys.h"
#include "runtime/seccomp.h"
#include "runtime/spawner.h"

enum { PLAIN = MS_NOSUID | MS_NOEXEC | MS_NODEV, SERIES = 4 };

static char *top;
static struct sock_fprog filter;
static struct runtime_cgroups groups;

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench_runtime: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static void check_err(int r, struct err *e)
{
	if (r >= 0)
		return;
	fprintf(stderr, "bench_runtime: %s\n", e->msg);
	exit(1);
}

static void bind_over(const char *from, const char *to, bool readonly)
{
	if (mount(from, to, NULL, MS_BIND, NULL) < 0)
		check(errno == ENOENT, to);
	else if (readonly)
		check(!mount(NULL, to, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | PLAIN, NULL), to);
}

static void bare_dev(void)
{
	static const unsigned minors[] = { 3, 5, 7, 8, 9 };
	static const char *const nodes[] = { "dev/null", "dev/zero", "dev/full", "dev/random",
					     "dev/urandom" };
	static const char *const links[][2] = {
		{ "/proc/self/fd", "dev/fd" },       { "/proc/self/fd/0", "dev/stdin" },
		{ "/proc/self/fd/1", "dev/stdout" }, { "/proc/self/fd/2", "dev/stderr" },
		{ "/proc/kcore", "dev/core" },       { "pts/ptmx", "dev/ptmx" }
	};
	static const char *const folders[] = { "dev/pts", "dev/shm", "dev/mqueue" };
	check(!mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"),
	      "dev");
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		check(!mknod(nodes[i], S_IFCHR | 0666, makedev(1, minors[i])), nodes[i]);
	check(!mknod("dev/tty", S_IFCHR | 0666, makedev(5, 0)), "dev/tty");
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		check(!symlink(links[i][0], links[i][1]), links[i][1]);
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		check(!mkdir(folders[i], 0755), folders[i]);
	check(!mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
		     "newinstance,ptmxmode=0666,mode=0620,gid=5"),
	      "pts");
	check(!mount("shm", "dev/shm", "tmpfs", PLAIN, "mode=1777,size=65536k"), "shm");
	check(!mount("mqueue", "dev/mqueue", "mqueue", PLAIN, NULL), "mqueue");
}

static void bare_cgroups(void)
{
	if (groups.only2) {
		check(!mount("cgroup", "sys/fs/cgroup", "cgroup2", PLAIN | MS_RDONLY, NULL),
		      "cgroup2");
		return;
	}
	check(!mount("cgroup", "sys/fs/cgroup", "tmpfs", PLAIN, "mode=755"), "cgroup");
	for (size_t i = 0; i < groups.n_entries; i++) {
		char from[128], to[128];
		snprintf(from, sizeof(from), "/sys/fs/cgroup/%s", groups.entries[i].name);
		snprintf(to, sizeof(to), "sys/fs/cgroup/%s", groups.entries[i].name);
		if (groups.entries[i].link) {
			check(!symlink(groups.entries[i].link, to), to);
			continue;
		}
		check(!mkdir(to, 0755), to);
		bind_over(from, to, true);
	}
}

static void bare_child(int root, const char *mnt)
{
	static const char *const masked[] = { "proc/interrupts",  "proc/kcore",
					      "proc/keys",        "proc/latency_stats",
					      "proc/sched_debug", "proc/timer_list",
					      "proc/timer_stats" };
	static const char *const hidden[] = { "proc/acpi", "proc/asound", "proc/scsi",
					      "sys/firmware", "sys/devices/virtual/powercap" };
	static const char *const readonly[] = { "proc/bus", "proc/fs", "proc/irq", "proc/sys",
						"proc/sysrq-trigger" };
	check(!mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL), "slave");
	check(!move_mount(root, "", AT_FDCWD, mnt, MOVE_MOUNT_F_EMPTY_PATH), "attach");
	check(!fchdir(root), "fchdir");
	check(!mount("proc", "proc", "proc", PLAIN, NULL), "proc");
	bare_dev();
	check(!mount("sysfs", "sys", "sysfs", PLAIN | MS_RDONLY, NULL), "sys");
	bare_cgroups();
	for (size_t i = 0; i < ARRAY_SIZE(readonly); i++)
		bind_over(readonly[i], readonly[i], true);
	for (size_t i = 0; i < ARRAY_SIZE(masked); i++)
		bind_over("dev/null", masked[i], false);
	check(!mkdir("dev/mask", 0755), "mask");
	check(!mount("mask", "dev/mask", "tmpfs", MS_RDONLY | PLAIN, "nr_inodes=1"), "mask");
	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++)
		bind_over("dev/mask", hidden[i], false);
	check(!sys_pivot_root(".", "."), "pivot_root");
	check(!umount2(".", MNT_DETACH), "umount");
	check(!chdir("/"), "chdir");
	check(!sys_seccomp_filter(SECCOMP_FILTER_FLAG_SPEC_ALLOW, &filter), "filter");
	char *argv[] = { (char[]){ "true" }, NULL }, *env[] = { NULL };
	execve("/bin/true", argv, env);
	check(false, "exec");
}

static int64_t bare(int root, int group, bool net, const char *mnt)
{
	int pidfd = -1;
	int64_t start = clock_mono_ns();
	struct clone_args a = {
		.flags = CLONE_PIDFD | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC |
			CLONE_INTO_CGROUP | (net ? CLONE_NEWNET : 0),
		.pidfd = (uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = (uint64_t)group,
	};
	pid_t pid = sys_clone3(&a);
	check(pid >= 0, "clone3");
	if (!pid) {
		bare_child(root, mnt);
		_exit(1);
	}
	siginfo_t info;
	close(root);
	check(!sys_wait_pidfd(pidfd, &info, NULL) && !info.si_status, "wait");
	int64_t end = clock_mono_ns();
	close(pidfd);
	return end - start;
}

static int64_t ours(struct spawner *s, int root, const char *name, bool net)
{
	static const char *const argv[] = { "/bin/true", NULL };
	struct err *e = NULL;
	struct runtime_spec spec;
	struct runtime_exit x;
	struct process *p;
	runtime_spec_init(&spec);
	spec.root_fd = root;
	spec.argv = argv;
	spec.net = net ? RUNTIME_NET_NONE : RUNTIME_NET_HOST;
	spec.cgroup = spec.record = name;
	int64_t start = clock_mono_ns();
	check_err(runtime_spawn(s, &spec, &p, &e), e);
	close(root);
	int r = 0;
	while (!r) {
		struct pollfd f = { .fd = runtime_process_fd(p), .events = POLLIN };
		poll(&f, 1, -1);
		r = runtime_process_next(p, &x, &e);
	}
	int64_t end = clock_mono_ns();
	check_err(r, e);
	check(!x.status, "status");
	runtime_process_free(p);
	return end - start;
}

static void make_tree(void)
{
	static const char *const folders[] = {
		"lower", "upper", "work", "mnt", "lower/bin", "lower/proc", "lower/dev", "lower/sys"
	};
	struct err *e = NULL;
	struct sb b = { 0 };
	char template[] = "/tmp/cbuild-bench-XXXXXX";
	check(mkdtemp(template), "mkdtemp");
	top = xstrdup(template);
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", top, folders[i]);
		check(!mkdir(path, 0755), path);
	}
	_cleanup_free_ char *program = xasprintf("%s/lower/bin/true", top);
	check_err(io_read_file(AT_FDCWD, "/bin/busybox", &b, &e), e);
	check_err(io_replace_file(AT_FDCWD, program, sb_str(&b), 0755, false, &e), e);
	sb_release(&b);
}

/* A fresh detached overlay. */
static int overlay(void)
{
	_cleanup_close_ int fs = fsopen("overlay", FSOPEN_CLOEXEC);
	static const char *const keys[][2] = { { "lowerdir", "lower" },
					       { "upperdir", "upper" },
					       { "workdir", "work" } };
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", top, keys[i][1]);
		check(!fsconfig(fs, FSCONFIG_SET_STRING, keys[i][0], path, 0), keys[i][0]);
	}
	check(!fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), "overlay");
	int fd = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	check(fd >= 0, "fsmount");
	return fd;
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

static void report(int64_t *series[SERIES], size_t n, bool json)
{
	static const char *const names[SERIES] = { "bare", "bare_net", "run", "run_net" };
	for (size_t i = 0; i < SERIES; i++) {
		qsort(series[i], n, sizeof(int64_t), by_value);
		double median = (double)series[i][n / 2] / 1e6,
		       p99 = (double)series[i][n * 99 / 100] / 1e6;
		double ratio = i < 2 ? 1 : (double)series[i][n / 2] / (double)series[i - 2][n / 2];
		if (json)
			printf("{\"name\":\"runtime_%s\",\"median_ms\":%.3f,\"p99_ms\":%.3f,\"ratio\":%.2f}\n",
			       names[i], median, p99, ratio);
		else
			printf("%-10s median %.3f ms   p99 %.3f ms   %.2f x bare\n", names[i],
			       median, p99, ratio);
	}
}

int main(int argc, char **argv)
{
	bool json = argc > 1 && !strcmp(argv[1], "--json");
	size_t n = argc > 1 + json ? strtoul(argv[1 + json], NULL, 10) : 300, n_filter;
	struct err *e = NULL;
	if (geteuid() || n < 1) {
		puts("needs root, and a count of rounds");
		return 77;
	}
	make_tree();
	int run_fd = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *store = xasprintf("be%06x", (unsigned)getpid() & 0xffffff),
			    *mnt = xasprintf("%s/mnt", top);
	struct spawner_options o = {
		.run_fd = run_fd, .run_path = top, .store = store, .lease = "00000000000000bb"
	};
	struct spawner *s = runtime_spawner_start(&o, &e);
	check_err(s ? 0 : -1, e);
	check_err(runtime_cgroups_open(store, &groups, &e), e);
	filter.filter = runtime_seccomp_default(0xa80425fb, &n_filter, &e);
	filter.len = (unsigned short)n_filter;
	int64_t *series[SERIES];
	for (size_t i = 0; i < SERIES; i++)
		series[i] = xcalloc(n, sizeof(int64_t));
	for (size_t i = 0; i < n + 5; i++)
		for (size_t k = 0; k < SERIES; k++) {
			char name[64];
			snprintf(name, sizeof(name), "run.b.%zu", i * SERIES + k);
			int group = -1, root = overlay();
			int64_t took;
			if (k < 2) {
				check_err(runtime_cgroups_make(&groups, name, true, &group, &e), e);
				took = bare(root, group, k % 2, mnt);
				close(group);
				unlinkat(groups.unified_fd, name, AT_REMOVEDIR);
			} else {
				took = ours(s, root, name, k % 2);
			}
			/* The first rounds warm up. */
			if (i >= 5)
				series[k][i - 5] = took;
		}
	report(series, n, json);
	runtime_spawner_stop(s);
	runtime_cgroups_release(&groups);
	check_err(io_remove_tree(AT_FDCWD, top, &e), e);
	return 0;
}
