/*
 * runtime_box: what the tests of runtime/ share that really run processes: a busybox root in a
 * temporary folder, a spawner, and running a script or a spec in it. Included by one source of a
 * program.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "runtime/caps.h"
#include "runtime/spawner.h"
#include "runtime/spec.h"
#include "runtime/strays.h"
#include "runtime/user.h"

#define LEASE "0123456789abcdef"

static char *top; /* temporary folder: rootfs/, run/ */
static int top_fd, run_fd;
static struct spawner *spawner;
static char store[9]; /* of this process alone: its groups are found and killed by this name */
static unsigned counter;

static const char *const box_env[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", NULL };

static int root_open(void)
{
	int fd = open_tree(top_fd, "rootfs", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* Waits for the end; the exit status, or -1 with the error. */
static int box_await(struct process *p, struct runtime_exit *ret, struct err **err)
{
	for (;;) {
		struct pollfd f = { .fd = runtime_process_fd(p), .events = POLLIN };
		assert_int_equal(poll(&f, 1, 30000), 1);
		int r = runtime_process_next(p, ret, err);
		if (r)
			return r < 0 ? -1 : ret->status;
	}
}

/* Starts with a fresh root, cgroup and record. */
static struct process *box_start(struct runtime_spec *spec, int out_fd, struct err **err)
{
	char name[64];
	snprintf(name, sizeof(name), "%s.%u", LEASE, ++counter);
	_cleanup_free_ char *group = xasprintf("run.%s", name);
	_cleanup_close_ int root = spec->root_fd < 0 ? root_open() : -1;
	struct runtime_spec s = *spec;
	if (root >= 0)
		s.root_fd = root;
	s.env = s.env ? s.env : box_env;
	s.stdio[1] = s.stdio[2] = out_fd;
	s.record = name;
	s.cgroup = group;
	struct process *p = NULL;
	return runtime_spawn(spawner, &s, &p, err) < 0 ? NULL : p;
}

static int box_run(struct runtime_spec *spec, struct sb *out, struct err **err)
{
	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	struct process *p = box_start(spec, fds[1], err);
	close(fds[1]);
	char buf[4096];
	for (ssize_t n; p && (n = read(fds[0], buf, sizeof(buf))) > 0;)
		sb_add(out, buf, (size_t)n);
	close(fds[0]);
	if (!p)
		return -1;
	struct runtime_exit e;
	int r = box_await(p, &e, err);
	runtime_process_free(p);
	return r;
}

static void box_spec(struct runtime_spec *spec, const char *const argv[])
{
	runtime_spec_init(spec);
	spec->argv = argv;
}

/* A script by the root's shell; fails the test where it cannot be started. */
static int box_sh_spec(struct runtime_spec *spec, const char *script, struct sb *out)
{
	const char *argv[] = { "sh", "-c", script, NULL };
	_cleanup_(err_dropp) struct err *e = NULL;
	spec->argv = argv;
	int r = box_run(spec, out, &e);
	if (r < 0)
		fail_msg("%s (%s)", e->msg, e->hint ? e->hint : "");
	return r;
}

static int box_sh(const char *script, struct sb *out)
{
	struct runtime_spec spec;
	runtime_spec_init(&spec);
	return box_sh_spec(&spec, script, out);
}

static void assert_sh(const char *script, const char *output)
{
	_cleanup_(sb_releasep) struct sb out = { 0 };
	int status = box_sh(script, &out);
	assert_string_equal(sb_c(&out), output);
	assert_int_equal(status, 0);
}

__attribute__((unused)) static void assert_spec(struct runtime_spec *spec, const char *script,
						const char *output)
{
	_cleanup_(sb_releasep) struct sb out = { 0 };
	box_sh_spec(spec, script, &out);
	assert_string_equal(sb_c(&out), output);
}

static void box_put(const char *path, struct str data, mode_t mode)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_free_ char *full = xasprintf("rootfs/%s", path);
	assert_int_equal(io_replace_file(top_fd, full, data, mode, false, &e), 0);
}

static void box_make_root(void)
{
	static const char *const folders[] = { "rootfs",     "run",        "rootfs/bin",
					       "rootfs/etc", "rootfs/tmp", "rootfs/root",
					       "rootfs/home" };
	static const char *const applets[] = { "sh",    "grep",  "tr",    "ls",       "cat",
					       "sleep", "mount", "mknod", "id",       "readlink",
					       "head",  "wc",    "kill",  "hostname", "chmod",
					       "true",  "pwd",   "dd",    "setsid",   "stat",
					       "ps",    "env",   "test",  "umount",   "ip",
					       "mkdir", "awk",   "touch", "chown",    "unshare",
					       "sed",   "cut",   "sort",  "rm",       "seq" };
	snprintf(store, sizeof(store), "7e%06x", (unsigned)getpid() & 0xffffff);
	char template[] = "/tmp/cbuild-box-XXXXXX";
	assert_non_null(mkdtemp(template));
	top = xstrdup(template);
	top_fd = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		assert_int_equal(mkdirat(top_fd, folders[i], 0755), 0);
	assert_int_equal(fchmodat(top_fd, "rootfs/tmp", 01777, 0), 0);
	assert_int_equal(fchmodat(top_fd, "rootfs/root", 0700, 0), 0);
	run_fd = openat(top_fd, "run", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(sb_releasep) struct sb b = { 0 };
	assert_int_equal(io_read_file(AT_FDCWD, "/bin/busybox", &b, &e), 0);
	box_put("bin/busybox", sb_str(&b), 0755);
	box_put("etc/passwd", STR("root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home:/bin/sh\n"),
		0644);
	for (size_t i = 0; i < ARRAY_SIZE(applets); i++) {
		_cleanup_free_ char *path = xasprintf("rootfs/bin/%s", applets[i]);
		assert_int_equal(symlinkat("busybox", top_fd, path), 0);
	}
}

static struct spawner *box_spawner(void)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	struct spawner_options o = {
		.run_fd = run_fd, .run_path = top, .store = store, .lease = LEASE
	};
	struct spawner *s = runtime_spawner_start(&o, &e);
	if (!s)
		fail_msg("%s (%s)", e->msg, e->hint ? e->hint : "");
	return s;
}

static int box_setup(void **state)
{
	(void)state;
	box_make_root();
	spawner = box_spawner();
	return 0;
}

static int box_teardown(void **state)
{
	(void)state;
	_cleanup_(err_dropp) struct err *e = NULL;
	runtime_spawner_stop(spawner);
	close(top_fd);
	close(run_fd);
	assert_int_equal(io_remove_tree(AT_FDCWD, top, &e), 0);
	free(top);
	static const char *const hierarchies[] = { "", "unified/", "devices/" };
	for (size_t i = 0; i < ARRAY_SIZE(hierarchies); i++) {
		char path[96];
		snprintf(path, sizeof(path), "/sys/fs/cgroup/%scbuild/%s", hierarchies[i], store);
		if (rmdir(path) < 0 && errno != ENOENT)
			fail_msg("remove '%s': %s", path, strerror(errno));
	}
	return 0;
}

/*
 * The tests once more, in a child for which the host has control groups of version 2 alone and
 * Debian 12's kernel, where they are not of that kind already. 0, or 1 when they failed there.
 */
static int box_again(void)
{
	if (getenv("BOX_AGAIN") || !access("/sys/fs/cgroup/cgroup.procs", F_OK))
		return 0;
	pid_t pid = (pid_t)syscall(SYS_fork);
	if (!pid) {
		char *argv[] = { (char[]){ "again" }, NULL };
		setenv("BOX_AGAIN", "1", 1);
		setenv("CBUILD_TEST_KERNEL", "6.1", 1);
		if (unshare(CLONE_NEWNS) < 0 ||
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    umount2("/sys/fs/cgroup", MNT_DETACH) < 0 ||
		    mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL) < 0) {
			perror("again, with control groups of version 2");
			_exit(1);
		}
		/* By its name: what /proc/self/exe leads to is of the mount namespace that was
		 * left. */
		char self[PATH_MAX];
		ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
		self[n > 0 ? n : 0] = 0;
		execv(self, argv);
		_exit(1);
	}
	int status = 1;
	waitpid(pid, &status, 0);
	return status != 0;
}

/* Why such tests cannot run here, or NULL. */
static const char *box_refused(void)
{
	if (geteuid())
		return "needs root";
	if (access("/bin/busybox", X_OK) < 0)
		return "needs busybox-static";
	if (!(runtime_caps_all() >> 21 & 1))
		return "needs CAP_SYS_ADMIN";
	return NULL;
}
