/* Device rules as the kernel applies them: the program of version 2, on a group of the unified
 * hierarchy; and Docker's defaults of a spec. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "runtime/device.h"
#include "runtime/spec.h"

static char group[96], folder[] = "/tmp/cbuild-device-XXXXXX";

static int attempt(unsigned type, unsigned major, unsigned minor, int flags)
{
	char path[64];
	snprintf(path, sizeof(path), "%s/node", folder);
	unlink(path);
	if (mknod(path, type | 0666, makedev(major, minor)) < 0)
		return -errno;
	int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? errno : close(fd);
}

/* In a child that has entered the group: 0 fine, an errno of open, a negative one of mknod. */
static int inside(unsigned type, unsigned major, unsigned minor, int flags)
{
	char path[128];
	int status;
	pid_t pid = (pid_t)syscall(SYS_fork);
	if (!pid) {
		snprintf(path, sizeof(path), "%s/cgroup.procs", group);
		int fd = open(path, O_WRONLY | O_CLOEXEC);
		if (write(fd, "0", 1) != 1)
			_exit(255);
		int r = attempt(type, major, minor, flags);
		_exit(r < 0 ? 128 - r : r);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_not_equal(WEXITSTATUS(status), 255);
	return WEXITSTATUS(status) > 128 ? 128 - WEXITSTATUS(status) : WEXITSTATUS(status);
}

static void test_defaults(void **state)
{
	(void)state;
	size_t n;
	_cleanup_(err_dropp) struct err *e = NULL;
	const struct runtime_device_rule *rules = runtime_device_rules(&n);
	_cleanup_close_ int program = runtime_device_load(rules, n, &e),
			    at = open(group, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (program < 0 || runtime_device_attach(at, program, &e) < 0)
		fail_msg("%s", e->msg);
	assert_int_equal(inside(S_IFCHR, 1, 3, O_RDWR), 0);
	assert_int_equal(inside(S_IFCHR, 1, 9, O_RDONLY), 0);
	/* Made, but neither read nor written. */
	assert_int_equal(inside(S_IFCHR, 1, 11, O_RDONLY), EPERM);
	assert_int_equal(inside(S_IFCHR, 1, 11, O_WRONLY), EPERM);
	assert_int_equal(inside(S_IFBLK, 8, 0, O_RDONLY), EPERM);
	assert_int_equal(inside(S_IFBLK, 7, 0, O_WRONLY), EPERM);
	/* The one that is denied by name, which a later rule than "all may be made" says. */
	assert_int_equal(inside(S_IFCHR, 10, 229, O_RDWR), -EPERM);
}

/* Beside the first: what either denies is denied. */
static void test_narrower(void **state)
{
	(void)state;
	static const struct runtime_device_rule rules[] = { { 'a', -1, -1, "rwm", true },
							    { 'c', 1, -1, "w", false },
							    { 'c', 1, 5, "rw", true } };
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_close_ int program = runtime_device_load(rules, ARRAY_SIZE(rules), &e),
			    at = open(group, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(program >= 0);
	assert_int_equal(runtime_device_attach(at, program, &e), 0);
	assert_int_equal(inside(S_IFCHR, 1, 3, O_RDONLY), 0);
	assert_int_equal(inside(S_IFCHR, 1, 3, O_RDWR), EPERM);
	assert_int_equal(inside(S_IFCHR, 1, 5, O_RDWR), 0);
	assert_int_equal(inside(S_IFCHR, 1, 11, O_RDONLY), EPERM);
}

static void test_spec(void **state)
{
	(void)state;
	struct runtime_spec s;
	runtime_spec_init(&s);
	assert_int_equal(s.root_fd, -1);
	assert_string_equal(s.cwd, "/");
	assert_int_equal(s.caps.bounding, 0xa80425fb);
	assert_true(s.seccomp && s.mask_paths);
	assert_false(s.no_new_privs || s.privileged_sys || s.root_readonly || s.init ||
		     s.host_pid || s.remove_stubs);
	assert_int_equal(s.stdio[0], -1);
	assert_int_equal(s.net, RUNTIME_NET_HOST);
	assert_null(s.argv);
	assert_int_equal(s.n_mounts + s.n_groups + s.n_rlimits, 0);
}

int main(void)
{
	static const char *const mounts[] = { "/sys/fs/cgroup/unified", "/sys/fs/cgroup" };
	size_t i = 0;
	for (; i < ARRAY_SIZE(mounts); i++) {
		snprintf(group, sizeof(group), "%s/cbuild-test-%d", mounts[i], (int)getpid());
		char procs[128];
		snprintf(procs, sizeof(procs), "%s/cgroup.procs", mounts[i]);
		if (!access(procs, W_OK) && !mkdir(group, 0755))
			break;
	}
	if (i == ARRAY_SIZE(mounts) || !mkdtemp(folder)) {
		puts("needs root and a unified control group hierarchy that can be written");
		return 77;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_narrower),
		cmocka_unit_test(test_spec),
	};
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	_cleanup_(err_dropp) struct err *e = NULL;
	rmdir(group);
	return io_remove_tree(AT_FDCWD, folder, &e) < 0 || r;
}
