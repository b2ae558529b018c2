#include "parser/ignore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void check(const char *text, const char *path, bool want)
{
	struct err *e = NULL;
	_cleanup_(glob_set_freep) struct glob_set *s = df_ignore_parse(str_c(text), &e);
	assert_non_null(s);
	if (glob_set_match(s, str_c(path)) != want)
		fail_msg("%s: %s", text, path);
}

static void test_lines(void **state)
{
	(void)state;
	check("", "a", false);
	check("\n\n  \n", "a", false);
	check("# a\na\n", "a", true);
	check("#a", "a", false);
	check("#a", "#a", false);
	check(" #x", "#x", true);
	check("\xef\xbb\xbf"
	      "a",
	      "a", true);
	check("a\r\nb\r\n", "b", true);
	check("  a  ", "a", true);
	check("/foo", "foo", true);
	check("foo/", "foo/x", true);
	check("./foo", "foo", true);
	check("/a/./b/../foo", "a/foo", true);
	check("*\n! /a/", "a/b", false);
	check("*\n!a", "b", true);
	check(".", "a", false);
	check("/", "a", false);
	check("..", "a", false);
	check("\\!z", "!z", true);
	check("*\n!README*.md\nREADME-secret.md", "README-secret.md", true);
	check("*\nREADME-secret.md\n!README*.md", "README-secret.md", false);
}

static void test_errors(void **state)
{
	struct err *e = NULL;
	(void)state;
	assert_null(df_ignore_parse(STR("a\n!\n"), &e));
	assert_string_equal(e->msg, "illegal exclusion pattern: \"!\"");
	err_drop(&e);
	assert_null(df_ignore_parse(STR("[\n"), &e));
	assert_string_equal(e->msg, "syntax error in pattern");
	assert_int_equal(e->code, ERR_SYNTAX);
	err_drop(&e);
	_cleanup_free_ char *big = xmalloc(70000);
	memset(big, 'a', 70000);
	assert_null(df_ignore_parse((struct str){ big, 70000 }, &e));
	assert_int_equal(e->code, ERR_LIMIT);
	err_drop(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_lines),
					    cmocka_unit_test(test_errors) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
