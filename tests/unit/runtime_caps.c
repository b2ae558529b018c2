#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "runtime/caps.h"
#include "runtime/probe.h"

static void test_default(void **state)
{
	(void)state;
	struct runtime_caps c = runtime_caps_default(0);
	assert_int_equal(c.bounding, 0xa80425fb);
	assert_int_equal(c.permitted, 0xa80425fb);
	assert_int_equal(c.effective, 0xa80425fb);
	assert_int_equal(c.inheritable | c.ambient, 0);
	c = runtime_caps_default(1000);
	assert_int_equal(c.bounding, 0xa80425fb);
	assert_int_equal(c.permitted | c.effective | c.inheritable | c.ambient, 0);
}

static void test_names(void **state)
{
	(void)state;
	unsigned cap;
	_cleanup_(err_dropp) struct err *e = NULL;
	static const char *const same[] = { "sys_admin", "CAP_SYS_ADMIN", "cap_Sys_Admin",
					    "SYS_ADMIN" };
	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		assert_int_equal(runtime_cap_find(str_c(same[i]), &cap, &e), 0);
		assert_int_equal(cap, 21);
	}
	for (unsigned i = 0; i <= 40; i++) {
		assert_non_null(runtime_cap_name(i));
		assert_int_equal(runtime_cap_find(str_c(runtime_cap_name(i)), &cap, &e), 0);
		assert_int_equal(cap, i);
	}
	assert_null(runtime_cap_name(41));
	static const char *const bad[] = { "", "CAP_", "CAP_CAP_CHOWN", "chow", "CHOWN " };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(runtime_cap_find(str_c(bad[i]), &cap, &e), -1);
		assert_int_equal(e->code, ERR_INVALID);
		err_drop(&e);
	}
}

static uint64_t change(const char *add1, const char *add2, const char *drop1, const char *drop2)
{
	const struct str add[] = { str_c(add1), str_c(add2) },
			 drop[] = { str_c(drop1), str_c(drop2) };
	_cleanup_(err_dropp) struct err *e = NULL;
	uint64_t mask = 0;
	size_t n_add = !!add1 + !!add2, n_drop = !!drop1 + !!drop2;
	assert_int_equal(runtime_caps_change(add, n_add, drop, n_drop, &mask, &e), 0);
	return mask;
}

/* As docker run gives them. */
static void test_change(void **state)
{
	(void)state;
	uint64_t all = runtime_caps_all();
	assert_int_equal(change(NULL, NULL, NULL, NULL), 0xa80425fb);
	assert_int_equal(change("SYS_PTRACE", NULL, "chown", NULL), (0xa80425fb | 1 << 19) & ~1);
	assert_int_equal(change("CHOWN", NULL, "CHOWN", NULL), 0xa80425fb);
	assert_int_equal(change(NULL, NULL, "ALL", NULL), 0);
	assert_int_equal(change("kill", "CAP_CHOWN", "all", "KILL"), 1 << 5 | 1);
	assert_int_equal(change("ALL", NULL, NULL, NULL), all);
	assert_int_equal(change("ALL", NULL, "MKNOD", NULL), all & ~(UINT64_C(1) << 27));
	assert_int_equal(change("ALL", NULL, "ALL", NULL), all);
	_cleanup_(err_dropp) struct err *e = NULL;
	uint64_t mask = 7;
	const struct str bad = STR("NOSUCH");
	assert_int_equal(runtime_caps_change(&bad, 1, NULL, 0, &mask, &e), -1);
	assert_string_equal(e->msg, "unknown capability 'NOSUCH'");
	assert_int_equal(mask, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_default),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_change),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
