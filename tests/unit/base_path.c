#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(cleaned), cmocka_unit_test(joined),
					    cmocka_unit_test(parts) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
