#include "base/glob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"

static void test_match(void **state)
{
	static const struct {
		const char *pattern, *name;
		int want;
	} rows[] = {
		{ "abc", "abc", 1 },
		{ "*", "abc", 1 },
		{ "*c", "abc", 1 },
		{ "a*", "a", 1 },
		{ "a*", "abc", 1 },
		{ "a*", "ab/c", 0 },
		{ "a*/b", "abc/b", 1 },
		{ "a*/b", "a/c/b", 0 },
		{ "a*b*c*d*e*/f", "axbxcxdxe/f", 1 },
		{ "a*b*c*d*e*/f", "axbxcxdxexxx/f", 1 },
		{ "a*b*c*d*e*/f", "axbxcxdxe/xxx/f", 0 },
		{ "a*b?c*x", "abxbbxdbxebxczzx", 1 },
		{ "a*b?c*x", "abxbbxdbxebxczzy", 0 },
		{ "ab[c]", "abc", 1 },
		{ "ab[b-d]", "abc", 1 },
		{ "ab[e-g]", "abc", 0 },
		{ "ab[^c]", "abc", 0 },
		{ "ab[^e-g]", "abc", 1 },
		{ "a\\*b", "a*b", 1 },
		{ "a\\*b", "ab", 0 },
		{ "a?b",
		  "a\xe2\x98\xba"
		  "b",
		  1 },
		{ "a[^a]b",
		  "a\xe2\x98\xba"
		  "b",
		  1 },
		{ "a???b",
		  "a\xe2\x98\xba"
		  "b",
		  0 },
		{ "[a-\xce\xb6]*", "\xce\xb1", 1 },
		{ "*[a-\xce\xb6]", "A", 0 },
		{ "a?b", "a/b", 0 },
		{ "a*b", "a/b", 0 },
		{ "[\\]a]", "]", 1 },
		{ "[\\-]", "-", 1 },
		{ "[x\\-]", "x", 1 },
		{ "[x\\-]", "z", 0 },
		{ "[]a]", "]", -1 },
		{ "[-]", "-", -1 },
		{ "[x-]", "x", -1 },
		{ "[-x]", "x", -1 },
		{ "\\", "a", -1 },
		{ "[a-b-c]", "a", -1 },
		{ "[", "a", -1 },
		{ "[^", "a", -1 },
		{ "[^bc", "a", -1 },
		{ "a[", "a", -1 },
		{ "a[", "ab", -1 },
		{ "a[", "x", -1 },
		{ "a/b[", "x", -1 },
		{ "*x", "xxx", 1 },
		{ "", "", 1 },
		{ "", "a", 0 },
		{ "**/*.go", "m/top.go", 1 },
		{ "**/*.go", "top.go", 0 },
		{ "**/*.go", "m/n/y.go", 0 },
		{ "[*]", "*", 1 },
		{ "[^a]", "/", 1 },
		{ "*/", "a/", 1 },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int got = glob_match(str_c(rows[i].pattern), str_c(rows[i].name));
		if (got != rows[i].want)
			fail_msg("%s against %s: %d, not %d", rows[i].pattern, rows[i].name, got,
				 rows[i].want);
	}
}

static void test_wildcard(void **state)
{
	(void)state;
	assert_true(glob_has_wildcard(STR("a*")));
	assert_true(glob_has_wildcard(STR("[")));
	assert_true(glob_has_wildcard(STR("\\\\?")));
	assert_false(glob_has_wildcard(STR("a\\*")));
	assert_false(glob_has_wildcard(STR("a\\")));
	assert_false(glob_has_wildcard(STR("a]b")));
}

/* Rules, separated by blanks; then paths: those with a leading + are excluded. */
static void test_set(void **state)
{
	static const struct {
		const char *rules, *paths;
	} rows[] = {
		{ "foo", "+foo +foo/x +foo/x/y foobar a/foo" },
		{ "foo/ ./bar /baz", "+foo +foo/x +bar baz" },
		{ "*.md", "+README.md a/b.md +x.md/in" },
		{ "**/*.md", "+README.md +a/b.md +a/b/c.md +a/b.md/x a.mdx" },
		{ "a/**", "a +a/b +a/b/c ab" },
		{ "a**", "+a +ab +ab/c b" },
		{ "**foo", "+foo +xfoo +a/foo +a/xfoo +xfoo/y foox" },
		{ "**/foo", "+foo xfoo +a/foo a/xfoo +a/foo/b" },
		{ "**a/**", "xa/b +a/bc +x/a/b a" },
		{ "foo**bar", "+foobar +foo/x/bar +foo/bar fooxbar +fooa/bar" },
		{ "a/**/b", "+a/b +a/x/b +a/x/y/b a/xb +a/b/c" },
		{ "**", "+a +a/b" },
		{ "* !a/b", "+a +x a/b a/b/c +a/c" },
		{ "* !a a/b", "a a/c +a/b +a/b/c +q" },
		{ "* !README*.md README-secret.md", "+x README.md +README-secret.md README-1.md" },
		{ "* README-secret.md !README*.md", "+x README.md README-secret.md" },
		{ "a\\d", "+a1 ad +a1/x" },
		{ "a\\*", "+a* ab" },
		{ "?x", "+ax x/x" },
		{ "[a-c]z", "+az +bz dz" },
		{ "[^a]z", "az +bz" },
		{ "a.b", "+a.b axb" },
		{ "a.b*", "+a.bc axbc" },
		{ "x(1)*", "+x(1) +x(1)2" },
		{ "^a*", "+ab" },
		{ "b^a*", "b^a ba" },
		{ "bin\\debug*", "bindebug +bin1ebug" },
		{ "a\\b*", "+a+ +a ab" },
		{ "lib\\x64*", "+libd" },
		{ "[*]", "+[] +] x] *" },
		{ "\\!z", "+!z z" },
		{ "..", "a" },
		{ ".", "a" },
		{ "/", "a" },
		{ "caf\xc3\xa9?", "+caf\xc3\xa9s caf\xc3\xa9" },
		{ "caf?", "+caf\xc3\xa9 caf" },
		{ "**/node_modules/**/*.js",
		  "+node_modules/a.js +x/node_modules/y/z/a.js node_modules/a.jsx" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(glob_set_freep) struct glob_set *s = glob_set_new();
		struct err *e = NULL;
		struct str rest = str_c(rows[i].rules), word;
		while (rest.n) {
			if (!str_cut(rest, ' ', &word, &rest)) {
				word = rest;
				rest.n = 0;
			}
			assert_int_equal(glob_set_add(s, word, &e), 0);
		}
		rest = str_c(rows[i].paths);
		while (rest.n) {
			if (!str_cut(rest, ' ', &word, &rest)) {
				word = rest;
				rest.n = 0;
			}
			bool want = word.p[0] == '+';
			if (glob_set_match(s, str_sub(word, want, word.n)) != want)
				fail_msg("%s: %.*s", rows[i].rules, STR_ARG(word));
		}
	}
}

static void test_bad(void **state)
{
	static const char *const bad[] = { "[",     "a[b",   "\\",    "[a-]",       "a\\q",
					   "[z-a]", "x\\8*", "[\\q]", "[[:alpha:]]" };
	_cleanup_(glob_set_freep) struct glob_set *s = glob_set_new();
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		if (glob_set_add(s, str_c(bad[i]), &e) != -1)
			fail_msg("%s is taken", bad[i]);
		assert_string_equal(e->msg, "syntax error in pattern");
		assert_int_equal(e->code, ERR_SYNTAX);
	}
	_cleanup_(err_dropp) struct err *e = NULL;
	assert_int_equal(glob_set_add(s, STR(" ! "), &e), -1);
	assert_string_equal(e->msg, "illegal exclusion pattern: \"!\"");
	assert_int_equal(glob_set_size(s), 0);

	_cleanup_(err_dropp) struct err *limit = NULL;
	char big[5000];
	memset(big, '*', sizeof(big));
	assert_int_equal(glob_set_add(s, (struct str){ big, sizeof(big) }, &limit), -1);
	assert_int_equal(limit->code, ERR_LIMIT);
}

static void test_descend(void **state)
{
	struct err *e = NULL;
	_cleanup_(glob_set_freep) struct glob_set *s = glob_set_new();
	(void)state;
	assert_int_equal(glob_set_add(s, STR("*"), &e), 0);
	assert_false(glob_set_has_negation(s));
	assert_false(glob_set_descend(s, STR("a")));
	assert_int_equal(glob_set_add(s, STR("!a/b/c"), &e), 0);
	assert_int_equal(glob_set_add(s, STR("!d/**"), &e), 0);
	assert_true(glob_set_has_negation(s));
	assert_true(glob_set_descend(s, STR("a")));
	assert_true(glob_set_descend(s, STR("a/b")));
	assert_true(glob_set_descend(s, STR("d")));
	assert_false(glob_set_descend(s, STR("ab")));
	assert_false(glob_set_descend(s, STR("x")));
	assert_int_equal(glob_set_add(s, STR("!**/keep"), &e), 0);
	assert_true(glob_set_descend(s, STR("x")));
	assert_int_equal(glob_set_size(s), 4);
}

/* A hostile rule costs time linear in rule times path. */
static void test_cost(void **state)
{
	_cleanup_(glob_set_freep) struct glob_set *s = glob_set_new();
	_cleanup_(sb_releasep) struct sb rule = { 0 }, path = { 0 };
	struct err *e = NULL;
	(void)state;
	for (int i = 0; i < 600; i++)
		sb_add_c(&rule, "*a**/");
	sb_add_c(&rule, "b");
	for (int i = 0; i < 4000; i++)
		sb_add_ch(&path, 'a');
	assert_int_equal(glob_set_add(s, sb_str(&rule), &e), 0);
	assert_false(glob_set_match(s, sb_str(&path)));
	assert_int_equal(glob_match(sb_str(&rule), sb_str(&path)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_match),   cmocka_unit_test(test_wildcard),
		cmocka_unit_test(test_set),     cmocka_unit_test(test_bad),
		cmocka_unit_test(test_descend), cmocka_unit_test(test_cost),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
