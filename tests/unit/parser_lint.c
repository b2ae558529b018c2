#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "parser/lint.h"

static int setup(void **state)
{
	*state = arena_new();
	return 0;
}

static int teardown(void **state)
{
	arena_free(*state);
	return 0;
}

static void settings_are_read(void **state)
{
	struct df_lint_settings s;
	struct err *e = NULL;
	assert_int_equal(df_lint_settings_parse(
				 *state, STR(" skip = A , B;error=true ;experimental=all"), &s, &e),
			 0);
	assert_int_equal(s.skip.n, 2);
	assert_true(str_eq_c(s.skip.v[0].text, "A") && str_eq_c(s.skip.v[1].text, "B"));
	assert_true(s.error && s.experimental_all && !s.skip_all);
	assert_int_equal(df_lint_settings_parse(*state, STR("skip=all"), &s, &e), 0);
	assert_true(s.skip_all && !s.error);
	assert_int_equal(df_lint_settings_parse(*state, STR("  "), &s, &e), 0);
	assert_false(s.skip_all);
}

static void bad_settings_are_named(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "foo", "invalid check option \"foo\"" },
		{ "skip=A;", "invalid check option \"\"" },
		{ "SKIP=all", "invalid check option \"SKIP\"" },
		{ "skip=A;error=1;error=0;skip=B",
		  "failed to parse check option \"error=0;skip=B\": strconv.ParseBool: parsing \"0;skip=B\": "
		  "invalid syntax" },
		{ "error=yes",
		  "failed to parse check option \"error=yes\": strconv.ParseBool: parsing \"yes\": invalid syntax" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		struct df_lint_settings s;
		assert_int_equal(df_lint_settings_parse(*state, str_c(cases[i].text), &s, &e), -1);
		assert_string_equal(e->msg, cases[i].want);
		assert_int_equal(e->code, ERR_SYNTAX);
	}
}

static void directive_ends_at_its_first_blank(void **state)
{
	struct df_directive d = { STR("check"), STR("skip=A, B"), { 0 } };
	struct df_file f = { .directives = &d, .n_directives = 1 };
	struct df_lint l = { .a = *state };
	_cleanup_(err_dropp) struct err *e = NULL;
	assert_int_equal(df_lint_configure(&l, &f, (struct str){ 0 }, &e), 0);
	assert_int_equal(l.settings.skip.n, 2);
	assert_true(str_eq_c(l.settings.skip.v[1].text, ""));
	/* The build arg replaces it and is taken whole. */
	assert_int_equal(df_lint_configure(&l, &f, STR("skip=A, B"), &e), 0);
	assert_true(str_eq_c(l.settings.skip.v[1].text, "B"));
	assert_int_equal(df_lint_configure(&l, &f, STR("x"), &e), -1);
	assert_string_equal(e->msg, "failed to parse check options: invalid check option \"x\"");
}

static void settings_silence(void **state)
{
	struct df_word comments[] = { { STR("check=skip=UndefinedVar;error=true trailing"),
					{ 0 } } };
	struct df_instruction ins = { .comments = { comments, 1 } };
	struct df_lint l = { .a = *state };
	struct span at = { .line = 3, .last = 3 };
	df_lint_warn(NULL, LINT_UNDEFINED_VAR, NULL, at, "x");
	df_lint_warn(&l, LINT_UNDEFINED_VAR, &ins, at, "x");
	df_lint_warn(&l, LINT_INVALID_DEFINITION_DESCRIPTION, NULL, at, "experimental");
	assert_int_equal(l.n, 0);
	df_lint_warn(&l, LINT_UNDEFINED_VAR, NULL, at, "one %d", 1);
	df_lint_warn(&l, LINT_STAGE_NAME_CASING, &ins, at, "two");
	df_lint_warn(&l, LINT_UNDEFINED_VAR, NULL, at, "three");
	assert_int_equal(l.n, 3);
	assert_true(str_eq_c(l.first->message, "one 1") && str_eq_c(l.last->message, "three") &&
		    !l.last->next);
	_cleanup_(err_dropp) struct err *e = NULL;
	/* error= counts in the file's own setting alone. */
	assert_int_equal(df_lint_verdict(&l, &e), 0);
	l.settings.error = true;
	assert_int_equal(df_lint_verdict(&l, &e), -1);
	assert_string_equal(e->msg,
			    "lint violation found for rules: UndefinedVar, StageNameCasing");
	assert_int_equal(e->at.line, 0);
}

static void secrets_are_words(void **state)
{
	static const char *const yes[] = { "PASSWORD", "DB_PASSWD", "my_Api_key_1", "TOKEN_x",
					   "key" };
	static const char *const no[] = { "PASSWORDS",      "keyboard", "public_key", "KEY_FILE",
					  "secret_VERSION", "",         "tok_en" };
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		assert_true(df_lint_is_secret(str_c(yes[i])));
	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		assert_false(df_lint_is_secret(str_c(no[i])));
}

static void every_rule_is_described(void **state)
{
	(void)state;
	for (int i = 0; i < LINT_RULES; i++) {
		const struct df_lint_info *info = df_lint_info((enum df_lint_rule)i);
		assert_true(info->name.n && info->description.n);
		assert_true(info->url.n || i == LINT_INVALID_BASE_IMAGE_PLATFORM);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(settings_are_read, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_settings_are_named, setup, teardown),
		cmocka_unit_test_setup_teardown(directive_ends_at_its_first_blank, setup, teardown),
		cmocka_unit_test_setup_teardown(settings_silence, setup, teardown),
		cmocka_unit_test(secrets_are_words),
		cmocka_unit_test(every_rule_is_described),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
