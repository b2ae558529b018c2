#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"

static int64_t parse(const char *text)
{
	struct err *err = NULL;
	int64_t ns;
	if (clock_parse(str_c(text), &ns, &err) < 0)
		fail_msg("%s", err->msg);
	return ns;
}

static void days_are_the_librarys(void **state)
{
	(void)state;
	/* Every day from 1677 to 2262, against the C library. */
	for (int64_t day = -106751; day <= 106751; day++) {
		time_t t = (time_t)(day * 86400 + 3723);
		struct tm tm;
		char want[CLOCK_TEXT], got[CLOCK_TEXT];
		gmtime_r(&t, &tm);
		strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%SZ", &tm);
		assert_string_equal(clock_text((int64_t)t * 1000000000, got), want);
		assert_true(parse(want) == (int64_t)t * 1000000000);
	}
}

static void times_round_trip(void **state)
{
	(void)state;
	static const char *const texts[] = { "1970-01-01T00:00:00Z",
					     "2024-02-29T23:59:59.000000001Z",
					     "1969-12-31T23:59:59.5Z",
					     "2262-04-11T23:47:16.854775807Z" };
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		char buf[CLOCK_TEXT];
		assert_string_equal(clock_text(parse(texts[i]), buf), texts[i]);
	}
	assert_true(parse("2024-05-01T12:00:00+02:00") == parse("2024-05-01T10:00:00Z"));
}

static void years_beyond_64_bits(void **state)
{
	(void)state;
	assert_true(parse("0001-01-01T00:00:00Z") == INT64_MIN);
	assert_true(parse("9999-12-31T23:59:59Z") == INT64_MAX);
	assert_true(parse("2262-04-11T23:47:16.9Z") == INT64_MAX);
}

static void not_times(void **state)
{
	(void)state;
	static const char *const texts[] = { "",
					     "2024",
					     "2024-05-01",
					     "2024-13-01T00:00:00Z",
					     "2024-05-01T00:00:00",
					     "2024-05-01T00:00:00Zx" };
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_(err_dropp) struct err *err = NULL;
		int64_t ns;
		assert_int_equal(clock_parse(str_c(texts[i]), &ns, &err), -1);
		assert_int_equal(err->code, ERR_INVALID);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(days_are_the_librarys),
					    cmocka_unit_test(times_round_trip),
					    cmocka_unit_test(years_beyond_64_bits),
					    cmocka_unit_test(not_times) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
