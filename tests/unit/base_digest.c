#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/err.h"

static void is(struct digest d, const char *hex)
{
	char buf[DIGEST_HEX];
	assert_string_equal(digest_hex(&d, buf), hex);
}

static void known_answers(void **state)
{
	(void)state;
	is(digest_of("", 0), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	is(digest_of("abc", 3), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	is(digest_of("{}", 2), "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
	/* A million times "a", in parts of any size. */
	struct digester h;
	char a[997];
	memset(a, 'a', sizeof(a));
	digest_begin(&h);
	for (size_t left = 1000000; left;) {
		size_t n = left < sizeof(a) ? left : sizeof(a);
		digest_add(&h, a, n);
		left -= n;
	}
	is(digest_end(&h), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void peek_and_abandon(void **state)
{
	(void)state;
	struct digester h;
	digest_begin(&h);
	digest_add(&h, "ab", 2);
	is(digest_peek(&h), "fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603");
	digest_add(&h, "c", 1);
	is(digest_peek(&h), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	is(digest_end(&h), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	digest_begin(&h);
	digest_abandon(&h);
}

static void fields(void **state)
{
	(void)state;
	/* H("d", "xy", -3) written out by hand. */
	static const char bytes[] = "\1\0\0\0\0\0\0\0d\2\0\0\0\0\0\0\0xy\2\0\0\0\0\0\0\0-3";
	struct digester h;
	digest_fields(&h, "d");
	digest_field_str(&h, STR("xy"));
	digest_field_int(&h, -3);
	struct digest d = digest_end(&h), want = digest_of(bytes, sizeof(bytes) - 1);
	assert_true(digest_eq(&d, &want));
}

static void texts(void **state)
{
	(void)state;
	struct digest d = digest_of("abc", 3), back;
	char text[DIGEST_TEXT];
	struct err *err = NULL;
	assert_int_equal(digest_parse(str_c(digest_text(&d, text)), &back, &err), 0);
	assert_true(digest_eq(&d, &back));
	static const char *const bad[] = {
		"",
		"sha256:",
		"sha256:zz",
		"sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
		"sha512:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad0"
	};
	/* A slice is not read beyond its end, not for the message either. */
	char *slice = xmemdup("abc", 3);
	assert_int_equal(digest_parse_hex((struct str){ slice, 3 }, &back, &err), -1);
	assert_non_null(strstr(err->msg, "'abc'"));
	err_drop(&err);
	free(slice);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(digest_parse(str_c(bad[i]), &back, &err), -1);
		err_drop(&err);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(known_answers),
					    cmocka_unit_test(peek_and_abandon),
					    cmocka_unit_test(fields), cmocka_unit_test(texts) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
