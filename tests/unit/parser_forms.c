/* The small parts: JSON form, durations and numbers, directives, the split of a line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "parser/directive.h"
#include "parser/duration.h"
#include "parser/flags.h"
#include "parser/jsonform.h"

/* Items joined by |; NULL: the shell form; "!": not of strings only. */
static void check_json(const char *in, const char *want)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(sb_releasep) struct sb b = { 0 };
	struct df_json_item *v;
	size_t n;
	enum df_json k = df_json_array(a, str_c(in), &v, &n);
	if (k != df_json_array(a, str_c(in), NULL, NULL))
		fail_msg("%s: the kind depends on who asks", in);
	if (!want || want[0] == '!') {
		if (k != (want ? DF_JSON_OTHER : DF_JSON_NONE))
			fail_msg("%s: %d", in, k);
		return;
	}
	if (k != DF_JSON_STRINGS)
		fail_msg("%s: %d", in, k);
	for (size_t i = 0; i < n; i++) {
		sb_printf(&b, "%s%.*s", i ? "|" : "", STR_ARG(v[i].text));
		assert_true(in[v[i].begin] == '"' && in[v[i].end - 1] == '"');
	}
	assert_string_equal(sb_c(&b), want);
}

static void test_json(void **state)
{
	(void)state;
	check_json("[]", "");
	check_json(" [ \"a\" , \"b c\" ] ", "a|b c");
	check_json("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]", "\"\\/\b\f\n\r\t");
	check_json("[\"\\u00e9\\u0041\"]",
		   "\xc3\xa9"
		   "A");
	check_json("[\"\\ud83d\\ude00\"]", "\xf0\x9f\x98\x80");
	check_json("[\"\\ud800\",\"\\ud800x\",\"\\udc00\"]",
		   "\xef\xbf\xbd|\xef\xbf\xbdx|\xef\xbf\xbd");
	check_json("[\"\\ud800\\u0041\"]",
		   "\xef\xbf\xbd"
		   "A");
	check_json("[\"a\xff\"]", "a\xef\xbf\xbd");
	check_json("", NULL);
	check_json("a", NULL);
	check_json("{}", NULL);
	check_json("[", NULL);
	check_json("['a']", NULL);
	check_json("[\"a\",]", NULL);
	check_json("[,]", NULL);
	check_json("[\"a\" \"b\"]", NULL);
	check_json("[\"a\"] b", NULL);
	check_json("[\"a\"", NULL);
	check_json("[\"a\tb\"]", NULL);
	check_json("[\"\\x\"]", NULL);
	check_json("[\"\\u12g4\"]", NULL);
	check_json("[1e999]", NULL);
	check_json("[01]", NULL);
	check_json("[1.]", NULL);
	check_json("[nul]", NULL);
	check_json("[\"a\"]\xc2\xa0", NULL);
	check_json("[1]", "!");
	check_json("[-0.5e-3, \"a\"]", "!");
	check_json("[null]", "!");
	check_json("[true,false]", "!");
	check_json("[[],{},{\"a\":[1,{\"b\":\"c\"}]}]", "!");
	check_json("[{\"a\" 1}]", NULL);
	check_json("[{1:1}]", NULL);
	check_json("[[]", NULL);
	check_json("[1e308]", "!");
}

static void check_depth(size_t depth, enum df_json want)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	for (size_t i = 0; i < depth; i++)
		sb_add_ch(&b, '[');
	for (size_t i = 0; i < depth; i++)
		sb_add_ch(&b, ']');
	assert_int_equal(df_json_array(NULL, sb_str(&b), NULL, NULL), want);
}

static void test_json_bounds(void **state)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	(void)state;
	check_depth(10000, DF_JSON_OTHER);
	check_depth(10001, DF_JSON_NONE);
	check_depth(1000000, DF_JSON_NONE);
	/* A number too long to convert. */
	sb_add_c(&b, "[1");
	for (int i = 0; i < 5000; i++)
		sb_add_ch(&b, '0');
	sb_add_c(&b, "e-4800]");
	assert_int_equal(df_json_array(NULL, sb_str(&b), NULL, NULL), DF_JSON_OTHER);
	sb_trunc(&b, b.n - strlen("e-4800]"));
	sb_add_c(&b, "]");
	assert_int_equal(df_json_array(NULL, sb_str(&b), NULL, NULL), DF_JSON_NONE);
}

static void check_duration(const char *in, int64_t want, const char *message)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	int64_t ns = -42;
	int r = df_duration_parse(str_c(in), &ns, &e);
	if (message) {
		assert_int_equal(r, -1);
		assert_string_equal(e->msg, message);
	} else if (r < 0 || ns != want) {
		fail_msg("%s: %lld", in, (long long)ns);
	}
}

static void test_durations(void **state)
{
	(void)state;
	check_duration("0", 0, NULL);
	check_duration("-0", 0, NULL);
	check_duration("5s", 5000000000, NULL);
	check_duration("1h2m3.5s", 3723500000000, NULL);
	check_duration("1us2\xc2\xb5s3\xce\xbcs", 6000, NULL);
	check_duration(".5ms", 500000, NULL);
	check_duration("1.s", 1000000000, NULL);
	check_duration("-1.5h", -5400000000000, NULL);
	check_duration("0.9223372036854775807h", 3320413933267, NULL);
	check_duration("9223372036854775807ns", INT64_MAX, NULL);
	check_duration("-9223372036854775808ns", INT64_MIN, NULL);
	check_duration("9223372036854775808ns", 0,
		       "time: invalid duration \"9223372036854775808ns\"");
	check_duration("3000000h", 0, "time: invalid duration \"3000000h\"");
	check_duration("", 0, "time: invalid duration \"\"");
	check_duration("-", 0, "time: invalid duration \"-\"");
	check_duration(".s", 0, "time: invalid duration \".s\"");
	check_duration("5", 0, "time: missing unit in duration \"5\"");
	check_duration("5s3", 0, "time: missing unit in duration \"5s3\"");
	check_duration("5x", 0, "time: unknown unit \"x\" in duration \"5x\"");
	check_duration("1 s", 0, "time: unknown unit \" s\" in duration \"1 s\"");
}

static void check_int(const char *in, int want, const char *message)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	int v = -42;
	int r = df_int32_parse(str_c(in), &v, &e);
	if (message) {
		assert_int_equal(r, -1);
		assert_string_equal(e->msg, message);
	} else {
		assert_int_equal(r, 0);
		assert_int_equal(v, want);
	}
}

static void test_ints(void **state)
{
	(void)state;
	check_int("+007", 7, NULL);
	check_int("2147483647", INT32_MAX, NULL);
	check_int("-2147483648", INT32_MIN, NULL);
	check_int("2147483648", 0, "strconv.ParseInt: parsing \"2147483648\": value out of range");
	check_int("", 0, "strconv.ParseInt: parsing \"\": invalid syntax");
	check_int("1_0", 0, "strconv.ParseInt: parsing \"1_0\": invalid syntax");
	check_int("99999999999x", 0, "strconv.ParseInt: parsing \"99999999999x\": invalid syntax");
}

static void check_directive(const char *line, enum df_directive_kind want, const char *value)
{
	struct str v = { NULL, 0 };
	enum df_directive_kind k = df_directive_parse(str_c(line), &v);
	if (k != want || (value && !str_eq_c(v, value)))
		fail_msg("%s: %d %.*s", line, k, STR_ARG(v));
}

static void test_directives(void **state)
{
	(void)state;
	check_directive("# escape=`", DF_DIRECTIVE_ESCAPE, "`");
	check_directive("#ESCAPE = \\  ", DF_DIRECTIVE_ESCAPE, "\\");
	check_directive("#\tsyntax=a b ", DF_DIRECTIVE_SYNTAX, "a b");
	check_directive("# check=skip=A", DF_DIRECTIVE_CHECK, "skip=A");
	check_directive("# escape=", DF_DIRECTIVE_NONE, NULL);
	check_directive("# escape= ", DF_DIRECTIVE_ESCAPE, " ");
	check_directive("# escapes=`", DF_DIRECTIVE_NONE, NULL);
	check_directive("# other=x", DF_DIRECTIVE_NONE, NULL);
	check_directive("# escape `", DF_DIRECTIVE_NONE, NULL);
	check_directive("# 1escape=`", DF_DIRECTIVE_NONE, NULL);
	check_directive("#", DF_DIRECTIVE_NONE, NULL);
	check_directive("#\xc2\xa0"
			"escape=`",
			DF_DIRECTIVE_NONE, NULL);
}

/* keyword|flag|flag…|rest */
static void check_split(const char *line, const char *want)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(sb_releasep) struct sb b = { 0 };
	struct df_parts p;
	df_split(a, str_c(line), '\\', &p);
	sb_printf(&b, "%.*s", STR_ARG(p.keyword));
	for (size_t i = 0; i < p.n_flags; i++) {
		sb_printf(&b, "|%.*s", STR_ARG(p.flags[i].text));
		assert_true(strncmp(line + p.flags[i].begin, "--", 2) == 0 &&
			    p.flags[i].end <= strlen(line));
	}
	sb_printf(&b, "|%.*s", STR_ARG(p.rest));
	if (strcmp(sb_c(&b), want) != 0)
		fail_msg("%s: %s", line, sb_c(&b));
}

static void test_split(void **state)
{
	(void)state;
	check_split("RUN x", "RUN|x");
	check_split("  run\v\f  x y ", "run|x y");
	check_split("RUN", "RUN|");
	check_split("", "|");
	check_split("RUN --a --b=c d --e", "RUN|--a|--b=c|d --e");
	check_split("RUN -- --a", "RUN|--a");
	check_split("RUN --", "RUN|");
	check_split("RUN --a='b c' d", "RUN|--a=b c|d");
	check_split("RUN --a=\"b\\\" c\" d", "RUN|--a=b\" c|d");
	check_split("RUN --a=b\\ c d", "RUN|--a=b c|d");
	check_split("RUN --a='b c d", "RUN|--a=b c d|");
	check_split("RUN --'' x", "RUN|x");
	check_split("RUN - -x", "RUN|- -x");
	check_split("RUN --\xc3\xa9 x", "RUN|--\xc3\x83\xc2\xa9|x");
	check_split("RUN\xc2\xa0x y", "RUN\xc2\xa0x|y");
	check_split("RUN a\xc2\xa0", "RUN|a");
}

static void test_kinds(void **state)
{
	enum df_kind k;
	(void)state;
	assert_true(df_kind_of(STR("HealthCheck"), &k));
	assert_int_equal(k, DF_HEALTHCHECK);
	assert_true(df_kind_of(STR("WOR\xe2\x84\xaa"
				   "DIR"),
			       &k));
	assert_int_equal(k, DF_WORKDIR);
	assert_false(df_kind_of(STR("RUNS"), &k));
	assert_false(df_kind_of(STR(""), &k));
	assert_false(df_kind_of(STR("RU\0N"), &k));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json),       cmocka_unit_test(test_json_bounds),
		cmocka_unit_test(test_durations),  cmocka_unit_test(test_ints),
		cmocka_unit_test(test_directives), cmocka_unit_test(test_split),
		cmocka_unit_test(test_kinds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
