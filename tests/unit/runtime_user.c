#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "runtime/user.h"

static char top[] = "/tmp/cbuild-user-XXXXXX";
static int root;

static void put(const char *path, const char *text)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	assert_int_equal(io_replace_file(root, path, str_c(text), 0644, false, &e), 0);
}

static int setup(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(top));
	root = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(root, "etc", 0755), 0);
	put("etc/passwd",
	    "root:x:0:0:root:/root:/bin/sh\n"
	    "# a comment\n"
	    "broken:x:notanumber:0::/:/bin/sh\n"
	    "short\n"
	    "daemon:x:1:1::/usr/sbin:\n"
	    "ann:x:1000:100:Ann:/home/ann:/bin/sh\r\n"
	    "big:x:4294967295:1::/:\n"
	    "nohome:x:7:7\n");
	put("etc/group",
	    "root:x:0:\ndaemon:x:1:\nusers:x:100:ann\nwheel:x:10:root,ann\naudio:x:29:ann,bob\nbad:x:-3:ann\nstaff:x:50:bob\n");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	_cleanup_(err_dropp) struct err *e = NULL;
	close(root);
	return io_remove_tree(AT_FDCWD, top, &e);
}

static void expect(const char *text, uint32_t uid, uint32_t gid, const char *groups,
		   const char *home)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(sb_releasep) struct sb b = { 0 };
	struct runtime_user u;
	if (runtime_user_find(root, str_c(text), &u, &e) < 0)
		fail_msg("'%s': %s", text, e->msg);
	for (size_t i = 0; i < u.n_groups; i++)
		sb_printf(&b, "%u ", u.groups[i]);
	assert_int_equal(u.uid, uid);
	assert_int_equal(u.gid, gid);
	assert_string_equal(sb_c(&b), groups);
	assert_string_equal(u.home, home);
	runtime_user_release(&u);
}

static void refuse(const char *text, enum err_code code, const char *message)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	struct runtime_user u;
	assert_int_equal(runtime_user_find(root, str_c(text), &u, &e), -1);
	assert_string_equal(e->msg, message);
	assert_int_equal(e->code, code);
}

static void test_find(void **state)
{
	(void)state;
	expect("", 0, 0, "0 10 ", "/root");
	expect("root", 0, 0, "0 10 ", "/root");
	expect("0", 0, 0, "0 10 ", "/root");
	expect("ann", 1000, 100, "100 10 29 ", "/home/ann");
	expect("1000", 1000, 100, "100 10 29 ", "/home/ann");
	expect("1234", 1234, 0, "0 ", "/");
	expect("1234:5", 1234, 5, "5 ", "/");
	expect("ann:staff", 1000, 50, "50 ", "/home/ann");
	expect("ann:100", 1000, 100, "100 ", "/home/ann");
	expect(":29", 0, 29, "29 ", "/root");
	expect(":audio", 0, 29, "29 ", "/root");
	expect("nohome", 7, 7, "7 ", "/");
	expect("2147483647", 2147483647, 0, "0 ", "/");
}

static void test_refused(void **state)
{
	(void)state;
	refuse("x", ERR_NOT_FOUND, "unable to find user x: no matching entries in passwd file");
	refuse("broken", ERR_NOT_FOUND,
	       "unable to find user broken: no matching entries in passwd file");
	refuse("ann:x", ERR_NOT_FOUND, "unable to find group x: no matching entries in group file");
	refuse("-1", ERR_NOT_FOUND, "unable to find user -1: no matching entries in passwd file");
	refuse("2147483648", ERR_INVALID, "uids and gids must be in range 0-2147483647");
	refuse("99999999999999999999", ERR_INVALID, "uids and gids must be in range 0-2147483647");
	refuse("1:2147483648", ERR_INVALID, "uids and gids must be in range 0-2147483647");
	refuse("big", ERR_INVALID, "uids and gids must be in range 0-2147483647");
}

static void chown_is(int fd, const char *text, uint32_t uid, uint32_t gid)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	uint32_t u = 9, g = 9;
	if (runtime_user_chown(fd, str_c(text), &u, &g, &e) < 0)
		fail_msg("'%s': %s", text, e->msg);
	assert_int_equal(u, uid);
	assert_int_equal(g, gid);
}

static void test_chown(void **state)
{
	(void)state;
	chown_is(root, "5", 5, 5);
	chown_is(root, "5:nosuch", 5, 5);
	chown_is(root, "daemon:nosuch", 1, 1);
	chown_is(root, "nosuch:daemon", 0, 1);
	chown_is(root, "nosuch", 0, 0);
	chown_is(root, "ann", 1000, 100);
	chown_is(root, ":29", 0, 29);
	chown_is(-1, "root:root", 0, 0);
	chown_is(-1, "3:4", 3, 4);
	_cleanup_(err_dropp) struct err *e = NULL;
	uint32_t u, g;
	assert_int_equal(runtime_user_chown(-1, STR("ann"), &u, &g, &e), -1);
	assert_string_equal(e->msg, "invalid user index: -1");
}

/* Files that an image may have laid as traps: a fifo, a device, links out, one too long. None
 * blocks, none leads out. */
static void test_traps(void **state)
{
	(void)state;
	assert_int_equal(unlinkat(root, "etc/passwd", 0), 0);
	expect("", 0, 0, "0 ", "/");
	assert_int_equal(symlinkat("/../../../etc/hostname", root, "etc/passwd"), 0);
	refuse("root", ERR_NOT_FOUND,
	       "unable to find user root: no matching entries in passwd file");
	unlinkat(root, "etc/passwd", 0);
	put("real", "eve:x:66:66::/e:\n");
	assert_int_equal(symlinkat("/real", root, "etc/passwd"), 0);
	expect("eve", 66, 66, "66 ", "/e");
	unlinkat(root, "etc/passwd", 0);
	assert_int_equal(mkfifoat(root, "etc/passwd", 0644), 0);
	refuse("root", ERR_INVALID, "'/etc/passwd' in the image is not a regular file");
	expect("", 0, 0, "0 ", "/");
	unlinkat(root, "etc/passwd", 0);
	int fd = openat(root, "etc/passwd", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(ftruncate(fd, 11 * 1024 * 1024), 0);
	close(fd);
	refuse("1", ERR_LIMIT, "'/etc/passwd' in the image is longer than 10485760 bytes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_chown),
		cmocka_unit_test(test_traps),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
