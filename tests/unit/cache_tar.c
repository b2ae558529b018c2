/* Foreign tars into a folder: what each of testdata/tars/make.py's tries, and what must come of it.
 * Nothing lands outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/err.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/zip.h"
#include "cache/pipe.h"
#include "cache/tar.h"
#include "cache/xattr.h"

static char dir[64] = "/tmp/cbuild-unit-XXXXXX";
static int top = -1;

static int setup(void **state)
{
	(void)state;
	struct err *err = NULL;
	int status;
	assert_non_null(mkdtemp(dir));
	top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *tars = xasprintf("%s/tars", dir);
	_cleanup_(sb_releasep) struct sb out = { 0 };
	struct proc_options o = { .argv = (const char *const[]){ "python3", "testdata/tars/make.py",
								 tars, NULL },
				  .fds = { -1, -1, 2 } };
	if (proc_capture(&o, STR(""), 60000, &out, &status, &err) < 0 || status) {
		print_message("make.py: %s\n", err ? err->msg : "failed");
		err_drop(&err);
		return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	_cleanup_(err_dropp) struct err *err = NULL;
	close(top);
	if (io_remove_tree(AT_FDCWD, dir, &err) < 0)
		print_message("%s\n", err->msg);
	return 0;
}

/* Unpacks NAME.tar into a fresh folder `root`; its descriptor in *fs. */
static int unpack(const char *name, const struct tar_limits *limits, int *fs,
		  struct tar_read_result *ret, struct err **err)
{
	struct err *none = NULL;
	assert_int_equal(io_remove_tree(top, "root", &none), 0);
	assert_int_equal(mkdirat(top, "root", 0755), 0);
	*fs = openat(top, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *path = xasprintf("tars/%s", name);
	int fd = openat(top, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail_msg("%s: %s", path, strerror(errno));
	uint64_t packed = 0;
	struct source *s = zip_source(pipe_count(io_source_fd(fd, true, name), &packed), NULL, err);
	assert_non_null(s);
	struct tar_read t = { .from = s, .limits = limits, .packed = &packed, .fs_fd = *fs };
	int r = tar_unpack(&t, ret, err);
	/* It is read to its end, so that a digest is of all of it. */
	char c;
	if (!r)
		assert_int_equal(io_read(s, &c, 1), 0);
	if (io_source_close(s, &none) < 0)
		err_drop(&none);
	/* Nothing but what belongs there is beside the root. */
	int n = 0;
	_cleanup_closedir_ DIR *d = fdopendir(openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	for (struct dirent *e; (e = readdir(d));)
		n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
	assert_int_equal(n, 2);
	return r;
}

static void refused_by(const char *name, const struct tar_limits *limits, enum err_code code,
		       const char *says)
{
	_cleanup_(err_dropp) struct err *err = NULL;
	_cleanup_close_ int fs = -1;
	struct tar_read_result r;
	if (unpack(name, limits, &fs, &r, &err) == 0)
		fail_msg("%s was not refused", name);
	if (err->code != code || !strstr(err->msg, says))
		fail_msg("%s: %d %s", name, err->code, err->msg);
	for (const char *p = err->msg; *p; p++)
		assert_true((unsigned char)*p >= ' ');
}

static void refused(const char *name, enum err_code code, const char *says)
{
	refused_by(name, NULL, code, says);
}

static void describe(int fs, const char *prefix, struct sb *out)
{
	struct dirent **names;
	_cleanup_free_ char *proc = xasprintf("/proc/self/fd/%d/%s", fs, prefix);
	int n = scandir(proc, &names, NULL, alphasort);
	assert_true(n >= 0);
	for (int i = 0; i < n; i++) {
		struct stat st;
		_cleanup_free_ char *path =
			xasprintf("%s%s%s", prefix, *prefix ? "/" : "", names[i]->d_name);
		bool skip = !strcmp(names[i]->d_name, ".") || !strcmp(names[i]->d_name, "..");
		free(names[i]);
		if (skip)
			continue;
		assert_int_equal(fstatat(fs, path, &st, AT_SYMLINK_NOFOLLOW), 0);
		sb_printf(out, "%s ", path);
		if (S_ISREG(st.st_mode)) {
			_cleanup_(sb_releasep) struct sb text = { 0 };
			struct err *err = NULL;
			assert_int_equal(io_read_file(fs, path, &text, &err), 0);
			sb_printf(out, "%o=%s", st.st_mode & 07777, sb_c(&text));
		} else if (S_ISLNK(st.st_mode)) {
			char link[200] = "";
			assert_true(readlinkat(fs, path, link, sizeof(link) - 1) > 0);
			sb_printf(out, "->%s", link);
		} else if (S_ISCHR(st.st_mode)) {
			sb_printf(out, "c%u:%u", major(st.st_rdev), minor(st.st_rdev));
		} else if (S_ISFIFO(st.st_mode)) {
			sb_printf(out, "p");
		} else {
			int fd = openat(fs, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			sb_printf(out, "d%s", xattr_opaque(fd) ? "!" : "");
			close(fd);
		}
		sb_add_c(out, "; ");
		if (S_ISDIR(st.st_mode))
			describe(fs, path, out);
	}
	free(names);
}

/* Unpacks and compares with a text; the folder in *ret_fs where it is not NULL. */
static void gives(const char *name, const char *want, int *ret_fs)
{
	_cleanup_(err_dropp) struct err *err = NULL;
	_cleanup_(sb_releasep) struct sb got = { 0 };
	_cleanup_close_ int fs = -1;
	struct tar_read_result r;
	if (unpack(name, NULL, &fs, &r, &err) < 0)
		fail_msg("%s: %s", name, err->msg);
	describe(fs, "", &got);
	if (strcmp(sb_c(&got), want))
		fail_msg("%s: %s\nwant %s", name, sb_c(&got), want);
	if (ret_fs)
		*ret_fs = STEAL_FD(fs);
}

static void test_hostile(void **state)
{
	(void)state;
	refused("dotdot.tar", ERR_INVALID,
		"tar entry 'd/../../escape': it leads outside of the layer");
	refused("link-out.tar", ERR_INVALID,
		"tar entry 'out/file': one of its parents is not a folder");
	refused("link-loop.tar", ERR_INVALID, "a/file");
	refused("link-swap.tar", ERR_INVALID,
		"tar entry 'd/y': one of its parents is not a folder");
	refused("hard-dotdot.tar", ERR_INVALID, "invalid hard link");
	refused("hard-absolute.tar", ERR_INVALID, "does not exist");
	refused("hard-through-link.tar", ERR_INVALID, "does not exist");
	refused("hard-folder.tar", ERR_INVALID, "is a folder");
	refused("wh-empty.tar", ERR_INVALID, "whiteout without a name");
	refused("wh-dot.tar", ERR_INVALID, "whiteout without a name");
	refused("wh-dotdot.tar", ERR_INVALID, "whiteout without a name");
	refused("wh-folder.tar", ERR_INVALID, ".wh.d/file");
	refused("wh-root.tar", ERR_INVALID, "not supported yet");
	refused("device-zero.tar", ERR_INVALID, "device 0:0");
	refused("name-control.tar", ERR_INVALID, "device 0:0");
	refused("owner-big.tar", ERR_INVALID, "owner");
	refused("file-as-folder.tar", ERR_INVALID, "not a folder");
}

static void test_lies(void **state)
{
	(void)state;
	refused("size-short.tar", ERR_INTEGRITY, "'f'");
	refused("size-huge.tar", ERR_INTEGRITY, "read tar");
	refused("size-big.tar", ERR_LIMIT, "larger than");
	refused("size-negative.tar", ERR_INTEGRITY, "read tar");
	refused("cut.tar", ERR_INTEGRITY, "'f'");
	refused("garbage.tar", ERR_INTEGRITY, "read tar");
	refused("bad-sum.tar", ERR_INTEGRITY, "read tar");
	refused("sparse-bomb.tar", ERR_LIMIT, "larger than");
	refused("pax-big.tar", ERR_INTEGRITY, "read tar");
	refused("name-long.tar", ERR_LIMIT, "name is longer");
	const struct tar_limits few = { 100, 1 << 30, 2000, UINT64_C(1) << 40 },
				small = { 100, 1 << 20, 2000, UINT64_C(1) << 40 },
				dense = { 100, 1 << 30, 100, 1 << 20 };
	refused_by("many.tar", &few, ERR_LIMIT, "more than 100 entries");
	refused_by("bomb.tar.gz", &small, ERR_LIMIT, "larger than");
	refused_by("bomb.tar.gz", &dense, ERR_LIMIT, "unpacks to far more");
}

static void test_forms(void **state)
{
	(void)state;
	gives("dotdot-inside.tar", "inside 644=in; ", NULL);
	gives("absolute.tar", "abs d; abs/file 644=in; ", NULL);
	gives("link-up.tar", "file 644=x; up ->../../..; ", NULL);
	gives("link-inside.tar", "lnk ->/real; real d; real/file 644=x; ", NULL);
	gives("hard-self.tar", "f 644=same; ", NULL);
	gives("hard-symlink.tar", "h ->nowhere; s ->nowhere; ", NULL);
	gives("wh-aufs.tar", "f 644=1; ", NULL);
	gives("wh-good.tar", "a 644=1; b c0:0; d d!; d/x 644=1; e d!; g d!; g/h 644=1; k d!; ",
	      NULL);
	gives("device.tar", "null c1:3; pipe p; ", NULL);
	gives("replace.tar", "d 644=file now; f d; ", NULL);
	gives("twice.tar", "f 600=second; ", NULL);
	gives("global.tar", "f 644=1; ", NULL);
	gives("empty.tar", "", NULL);
	gives("zeros.tar", "", NULL);
	_cleanup_free_ char *name = xasprintf("%0150d/%0150d", 0, 0);
	_cleanup_free_ char *want = NULL;
	for (char *p = name; *p; p++)
		*p = *p == '/' ? '/' : p < name + 150 ? 'l' : 'm';
	want = xasprintf("%.150s d; %s 644=1; ", name, name);
	gives("gnu-long.tar", want, NULL);
}

static void test_attributes(void **state)
{
	(void)state;
	_cleanup_close_ int fs = -1, root = -1, over = -1, other = -1;
	struct stat st;
	char value[16];
	gives("owners.tar",
	      "f 4755=x; na\xc3\xafve d; na\xc3\xafve/\xe6\x97\xa5\xe6\x9c\xac 644=utf8; raw\xff 644=raw; ",
	      &fs);
	assert_int_equal(fstatat(fs, "f", &st, 0), 0);
	assert_int_equal(st.st_uid, 3000000);
	assert_true(st.st_mtim.tv_sec == 1234567890 && st.st_mtim.tv_nsec == 123456789);
	gives("root.tar", "f 644=1; ", &root);
	assert_int_equal(fstat(root, &st), 0);
	assert_true((st.st_mode & 07777) == 01777 && st.st_uid == 7 && st.st_gid == 8 &&
		    st.st_mtim.tv_sec == 1);
	gives("overlay-xattrs.tar", "d d; ", &over);
	_cleanup_close_ int d = openat(over, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(fgetxattr(d, "user.kept", value, sizeof(value)), 4);
	assert_memory_equal(value, "a\0=b", 4);
	assert_int_equal(fgetxattr(d, "user.overlay.redirect", value, sizeof(value)), -1);
	gives("libarchive-xattr.tar", "f 644=1; ", &other);
	_cleanup_close_ int f = openat(other, "f", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fgetxattr(f, "user.x=y", value, sizeof(value)), 5);
	assert_memory_equal(value, "value", 5);
}

/* Holes in each form that GNU tar writes. */
static void test_sparse(void **state)
{
	(void)state;
	static const char *const forms[] = { "--format=gnu", "--format=posix --sparse-version=0.0",
					     "--format=posix --sparse-version=0.1",
					     "--format=posix --sparse-version=1.0" };
	_cleanup_free_ char *file = xasprintf("%s/tars/holes", dir);
	int fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_int_equal(pwrite(fd, "head", 4, 0), 4);
	assert_int_equal(pwrite(fd, "middle", 6, 3000000), 6);
	assert_int_equal(ftruncate(fd, 5000000), 0);
	_cleanup_(sb_releasep) struct sb want = { 0 };
	struct err *err = NULL;
	assert_int_equal(io_read_fd(fd, file, &want, &err), 0);
	close(fd);
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		_cleanup_free_ char *command = xasprintf(
			"tar -C %s/tars -S %s -cf %s/tars/sparse.tar holes", dir, forms[i], dir);
		_cleanup_(sb_releasep) struct sb out = { 0 }, got = { 0 };
		int status;
		struct proc_options o = { .argv = (const char *const[]){ "sh", "-c", command,
									 NULL },
					  .fds = { -1, -1, 2 } };
		assert_int_equal(proc_capture(&o, STR(""), 60000, &out, &status, &err), 0);
		assert_int_equal(status, 0);
		_cleanup_close_ int fs = -1;
		struct tar_read_result r;
		if (unpack("sparse.tar", NULL, &fs, &r, &err) < 0)
			fail_msg("%s: %s", forms[i], err->msg);
		assert_int_equal(io_read_file(fs, "holes", &got, &err), 0);
		assert_true(str_eq(sb_str(&got), sb_str(&want)));
		struct stat st;
		assert_int_equal(fstatat(fs, "holes", &st, 0), 0);
		assert_true(st.st_blocks * 512 < 1000000);
	}
}

static void test_detect(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		bool tar;
	} v[] = { { "dotdot.tar", true }, { "global.tar", true },   { "zeros.tar", false },
		  { "empty.tar", false }, { "garbage.tar", false }, { "bad-sum.tar", false } };
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		char head[512];
		_cleanup_free_ char *path = xasprintf("tars/%s", v[i].name);
		_cleanup_close_ int fd = openat(top, path, O_RDONLY | O_CLOEXEC);
		ssize_t n = io_read_full(fd, head, sizeof(head));
		assert_int_equal(tar_detect(head, (size_t)n), v[i].tar);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile), cmocka_unit_test(test_lies),
		cmocka_unit_test(test_forms),   cmocka_unit_test(test_attributes),
		cmocka_unit_test(test_sparse),  cmocka_unit_test(test_detect),
	};
	if (geteuid() != 0) {
		puts("owners and devices of tars need root");
		return 77;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
