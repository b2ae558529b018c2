#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/path.h"

static void assert_path(struct str s, struct str want)
{
	assert_int_equal(s.n, want.n);
	assert_memory_equal(s.p, want.p, want.n);
}

static void cleaned(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{ "", "." },         { ".", "." },
		{ "/", "/" },        { "//", "/" },
		{ "a//b/", "a/b" },  { "./a/./b", "a/b" },
		{ "a/../b", "b" },   { "a/..", "." },
		{ "../a", "../a" },  { "/../a", "/a" },
		{ "/a/../..", "/" }, { "a/../../b", "../b" },
		{ "...", "..." },    { "/a/b/../c", "/a/c" },
	};
	_cleanup_(arena_freep) struct arena *a = arena_new();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_path(path_clean(a, str_c(cases[i][0])), str_c(cases[i][1]));
}

static void joined(void **state)
{
	(void)state;
	_cleanup_(arena_freep) struct arena *a = arena_new();
	assert_path(path_join(a, STR(""), STR("")), STR(""));
	assert_path(path_join(a, STR("a"), STR("")), STR("a"));
	assert_path(path_join(a, STR(""), STR("./b")), STR("b"));
	assert_path(path_join(a, STR("/a"), STR("../../b")), STR("/b"));
	assert_path(path_join(a, STR("a"), STR("/b")), STR("a/b"));
	assert_path(path_join(a, STR("/a\0x"), STR("b\0y")), STR("/a\0x/b\0y"));
}

static void parts(void **state)
{
	(void)state;
	_cleanup_(arena_freep) struct arena *a = arena_new();
	assert_path(path_base(STR("/a/b/")), STR("b"));
	assert_path(path_base(STR("")), STR("."));
	assert_path(path_base(STR("//")), STR("/"));
	assert_path(path_dir(a, STR("/a/b")), STR("/a"));
	assert_path(path_dir(a, STR("a")), STR("."));
	assert_path(path_dir(a, STR("/a")), STR("/"));
}

static void beneath(void **state)
{
	(void)state;
	char dir[] = "/tmp/cbuild-unit-XXXXXX";
	struct err *err = NULL;
	assert_non_null(mkdtemp(dir));
	_cleanup_close_ int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(top, "d", 0755), 0);
	assert_int_equal(mkdirat(top, "d/e", 0755), 0);
	assert_int_equal(symlinkat("e", top, "d/l"), 0);
	assert_int_equal(mkfifoat(top, "d/e/pipe", 0600), 0);
	_cleanup_close_ int root = openat(top, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	static const struct {
		const char *path;
		int flags, error;
	} v[] = {
		{ "", O_RDONLY | O_DIRECTORY, 0 }, { "e", O_PATH, 0 },
		{ "e/../e/pipe", O_RDONLY, 0 },    { "l", O_RDONLY, ELOOP },
		{ "l/pipe", O_RDONLY, ELOOP },     { "..", O_RDONLY, EXDEV },
		{ "/etc", O_RDONLY, EXDEV },       { "none", O_RDONLY, ENOENT },
	};
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		_cleanup_close_ int fd = path_open_beneath(root, v[i].path, v[i].flags);
		if ((fd < 0 ? errno : 0) != v[i].error)
			fail_msg("%s: %s", v[i].path, fd < 0 ? strerror(errno) : "opened");
	}
	assert_int_equal(io_remove_tree(AT_FDCWD, dir, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(cleaned), cmocka_unit_test(joined),
					    cmocka_unit_test(parts), cmocka_unit_test(beneath) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
