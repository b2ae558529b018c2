#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "solver/config.h"

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

static void assert_text(struct str s, const char *want)
{
	char *text = str_dup(s);
	assert_string_equal(text, want);
	free(text);
}

static void env_keeps_places(void **state)
{
	struct oci_config c = { 0 };
	config_env_set(*state, &c, STR("a"), STR("1"));
	config_env_set(*state, &c, STR("b"), STR(""));
	config_env_set(*state, &c, STR("a"), STR("2=3"));
	assert_int_equal(c.env.n, 2);
	assert_text(c.env.v[0], "a=2=3");
	assert_text(c.env.v[1], "b=");
	assert_true(config_env_has(&c, STR("b")) && !config_env_has(&c, STR("c")));
}

static void heirs_do_not_change_their_base(void **state)
{
	/* Lists that fill their room exactly are the ones that a careless copy would share. */
	for (size_t n = 0; n <= 20; n++) {
		struct oci_image base = { 0 };
		for (size_t i = 0; i < n; i++)
			config_env_set(*state, &base.config, arena_printf(*state, "v%zu", i),
				       STR("old"));
		config_label_set(*state, &base.config, STR("l"), STR("old"));
		struct oci_image one = config_inherit(*state, &base),
				 two = config_inherit(*state, &one);
		for (size_t i = 0; i < 3; i++) {
			config_env_set(*state, &one.config, arena_printf(*state, "one%zu", i),
				       STR("1"));
			config_env_set(*state, &two.config, arena_printf(*state, "two%zu", i),
				       STR("2"));
		}
		config_env_set(*state, &two.config, STR("v0"), STR("new"));
		config_label_set(*state, &two.config, STR("l"), STR("new"));
		assert_int_equal(base.config.env.n, n);
		assert_int_equal(one.config.env.n, n + 3);
		if (n)
			assert_text(base.config.env.v[0], "v0=old");
		assert_text(base.config.labels[0].value, "old");
		assert_text(one.config.env.v[n], "one0=1");
		assert_text(two.config.env.v[n], "two0=2");
	}
}

static void sets_hold_each_key_once(void **state)
{
	struct oci_list keys = { 0 };
	for (size_t i = 0; i < 40; i++)
		config_key_add(*state, &keys, arena_printf(*state, "%zu/tcp", i % 20));
	assert_int_equal(keys.n, 20);
	assert_true(keys.set);
	assert_text(keys.v[19], "19/tcp");
}

static void texts(void **state)
{
	struct str v[] = { STR("a b"), STR("\"q\"\n"), STR("") };
	assert_text(config_text_list(*state, v, 3), "[a b \"q\"\n ]");
	assert_text(config_text_quoted(*state, v, 3), "[\"a b\" \"\\\"q\\\"\\n\" \"\"]");
	assert_text(config_text_quoted(*state, NULL, 0), "[]");
}

static void durations(void **state)
{
	static const struct {
		int64_t ns;
		const char *want;
	} cases[] = {
		{ 0, "0s" },
		{ 1, "1ns" },
		{ 1500, "1.5\302\265s" },
		{ 20000000, "20ms" },
		{ 1500000000, "1.5s" },
		{ 60000000000, "1m0s" },
		{ 90000000000, "1m30s" },
		{ 3600000000000, "1h0m0s" },
		{ 3661001000000, "1h1m1.001s" },
		{ -1000000000, "-1s" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_text(config_text_duration(*state, cases[i].ns), cases[i].want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(env_keeps_places, setup, teardown),
		cmocka_unit_test_setup_teardown(heirs_do_not_change_their_base, setup, teardown),
		cmocka_unit_test_setup_teardown(sets_hold_each_key_once, setup, teardown),
		cmocka_unit_test_setup_teardown(texts, setup, teardown),
		cmocka_unit_test_setup_teardown(durations, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
