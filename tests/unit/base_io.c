/* Removing trees: deep ones with few descriptors, never out of the tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"

static void test_remove_tree(void **state)
{
	(void)state;
	char dir[] = "/tmp/cbuild-unit-XXXXXX";
	struct err *err = NULL;
	assert_non_null(mkdtemp(dir));
	_cleanup_close_ int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(top, "t", 0755), 0);
	assert_int_equal(mkdirat(top, "kept", 0755), 0);
	assert_int_equal(symlinkat("../kept", top, "t/link"), 0);
	assert_int_equal(mkdirat(top, "t/.removed.0", 0755), 0);
	/* 5,000 levels, far beyond PATH_MAX, with a file and an own branch now and then. */
	int at = openat(top, "t", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 5000; i++) {
		assert_int_equal(mkdirat(at, "folder", 0755), 0);
		if (i % 50 == 0) {
			assert_int_equal(mkdirat(at, "another", 0755), 0);
			assert_int_equal(mknodat(at, "file", S_IFREG | 0644, 0), 0);
		}
		int next = openat(at, "folder", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(at);
		at = next;
	}
	close(at);
	struct rlimit before, few = { 100, 100 };
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	int r = io_remove_tree(top, "t", &err);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	if (r < 0)
		fail_msg("%s", err->msg);
	assert_int_equal(faccessat(top, "t", F_OK, 0), -1);
	assert_int_equal(faccessat(top, "kept", F_OK, 0), 0);
	assert_int_equal(io_remove_tree(top, "t", &err), 0);
	assert_int_equal(io_remove_tree(AT_FDCWD, dir, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_remove_tree) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
