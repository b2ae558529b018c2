#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "runtime/spawner.h"
#include "runtime/spec.h"

static char *top;          /* temporary folder: rootfs/, run/ */
static int top_fd, run_fd;
static struct spawner *spawner;

static const char *const env[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", NULL };

static int root_open(void)
{
	int fd = open_tree(top_fd, "rootfs", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* Waits for the end; the exit status, or -1 with the error. */
static int await(struct process *p, struct runtime_exit *ret, struct err **err)
{
	for (;;) {
		struct pollfd f = { .fd = runtime_process_fd(p), .events = POLLIN };
		assert_int_equal(poll(&f, 1, 20000), 1);
		int r = runtime_process_next(p, ret, err);
		if (r)
			return r < 0 ? -1 : ret->status;
	}
}

static int run_spec(struct runtime_spec *spec, struct sb *out, struct err **err)
{
	int pipe_fds[2];
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	spec->root_fd = root_open();
	spec->env = spec->env ? spec->env : env;
	spec->stdio[1] = spec->stdio[2] = pipe_fds[1];
	struct process *p = NULL;
	struct runtime_exit e = { 0 };
	int r = runtime_spawn(spawner, spec, &p, err);
	close(spec->root_fd);
	close(pipe_fds[1]);
	if (r < 0) {
		close(pipe_fds[0]);
		return -1;
	}
	char buf[4096];
	for (ssize_t n; (n = read(pipe_fds[0], buf, sizeof(buf))) > 0;)
		sb_add(out, buf, (size_t)n);
	close(pipe_fds[0]);
	r = await(p, &e, err);
	runtime_process_free(p);
	return r;
}

static int run_sh(const char *script, struct sb *out)
{
	const char *argv[] = { "sh", "-c", script, NULL };
	struct runtime_spec spec;
	_cleanup_(err_dropp) struct err *e = NULL;
	runtime_spec_init(&spec);
	spec.argv = argv;
	int r = run_spec(&spec, out, &e);
	if (r < 0)
		fail_msg("%s (%s)", e->msg, e->hint ? e->hint : "");
	return r;
}

static void assert_sh(const char *script, const char *output)
{
	_cleanup_(sb_releasep) struct sb out = { 0 };
	int status = run_sh(script, &out);
	assert_string_equal(sb_c(&out), output);
	assert_int_equal(status, 0);
}

static void test_status(void **state)
{
	(void)state;
	_cleanup_(sb_releasep) struct sb out = { 0 };
	assert_int_equal(run_sh("exit 7", &out), 7);
	assert_int_equal(run_sh("kill -9 $$; sleep 1; exit 3", &out), 3);
	assert_sh("echo hello; echo error >&2", "hello\nerror\n");
}

static void test_proc_status(void **state)
{
	(void)state;
	assert_sh("grep -E '^(CapBnd|CapEff|CapPrm|CapInh|CapAmb|Seccomp|NoNewPrivs|SigIgn|SigBlk|Groups):' /proc/self/status | tr -d '\\t '",
		  "Groups:\nSigBlk:0000000000000000\nSigIgn:0000000000000000\nCapInh:0000000000000000\nCapPrm:00000000a80425fb\nCapEff:00000000a80425fb\n"
		  "CapBnd:00000000a80425fb\nCapAmb:0000000000000000\nNoNewPrivs:0\nSeccomp:2\n");
}

static void make_root(void)
{
	static const char *const folders[] = { "rootfs", "run", "rootfs/bin", "rootfs/etc", "rootfs/tmp", "rootfs/root" };
	char template[] = "/tmp/cbuild-spawn-XXXXXX";
	top = xstrdup(mkdtemp(template));
	top_fd = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		assert_int_equal(mkdirat(top_fd, folders[i], 0755), 0);
	run_fd = openat(top_fd, "run", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *command = xasprintf("%s/rootfs/bin/busybox", top);
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(sb_releasep) struct sb b = { 0 };
	assert_int_equal(io_read_file(AT_FDCWD, "/bin/busybox", &b, &e), 0);
	assert_int_equal(io_replace_file(AT_FDCWD, command, sb_str(&b), 0755, false, &e), 0);
	static const char *const applets[] = { "sh", "grep", "tr", "ls", "cat", "sleep", "mount", "mknod", "id", "readlink", "head", "wc", "kill", "hostname", "chmod", "true", "pwd", "dd", "sort", "setsid", "stat", "ps", "env", "test", "echo", "umount", "ip", "ulimit", "mkdir", "date", "awk", "su", "touch", "chown", "unshare", "chroot", "sync", "sed", "cut" };
	for (size_t i = 0; i < ARRAY_SIZE(applets); i++) {
		_cleanup_free_ char *path = xasprintf("rootfs/bin/%s", applets[i]);
		assert_int_equal(symlinkat("busybox", top_fd, path), 0);
	}
}

static int group_setup(void **state)
{
	(void)state;
	_cleanup_(err_dropp) struct err *e = NULL;
	make_root();
	struct spawner_options o = { .run_fd = run_fd, .run_path = top, .store = "7e577e57", .lease = "0123456789abcdef" };
	spawner = runtime_spawner_start(&o, &e);
	if (!spawner)
		fail_msg("%s (%s)", e->msg, e->hint ? e->hint : "");
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	_cleanup_(err_dropp) struct err *e = NULL;
	runtime_spawner_stop(spawner);
	close(top_fd);
	close(run_fd);
	assert_int_equal(io_remove_tree(AT_FDCWD, top, &e), 0);
	free(top);
	return 0;
}

int main(void)
{
	if (geteuid()) {
		puts("needs root");
		return 77;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_proc_status),
	};
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
