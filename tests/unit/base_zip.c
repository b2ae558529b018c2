/* Round trips, determinism, members and frames in a row, damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/zip.h"

/* A sink into an sb. */
struct mem_sink {
	struct sink sink;
	struct sb *out;
};

static int mem_write(struct sink *s, const void *p, size_t n)
{
	sb_add(((struct mem_sink *)s)->out, p, n);
	return 0;
}

static void mem_close(struct sink *s)
{
	free(s);
}

static struct sink *sink_into(struct sb *out)
{
	struct mem_sink *m = xcalloc(1, sizeof(*m));
	m->sink = (struct sink){ .write = mem_write, .close = mem_close };
	m->out = out;
	return &m->sink;
}

/* A source that gives at most `step` bytes at once. */
struct drip {
	struct source source;
	struct str left;
	size_t step;
};

static ssize_t drip_read(struct source *s, void *p, size_t n)
{
	struct drip *d = (struct drip *)s;
	if (n > d->step)
		n = d->step;
	if (n > d->left.n)
		n = d->left.n;
	if (n)
		memcpy(p, d->left.p, n);
	d->left = str_sub(d->left, n, d->left.n);
	return (ssize_t)n;
}

static void drip_close(struct source *s)
{
	free(s);
}

static struct source *drip(struct str data, size_t step)
{
	struct drip *d = xcalloc(1, sizeof(*d));
	d->source = (struct source){ .read = drip_read, .close = drip_close };
	d->left = data;
	d->step = step;
	return &d->source;
}

static void pack(struct str data, enum zip_kind kind, size_t step, struct sb *out)
{
	struct err *err = NULL;
	struct sink *s = zip_sink(sink_into(out), kind, 0, &err);
	assert_non_null(s);
	for (size_t i = 0; i < data.n; i += step) {
		struct str part = str_sub(data, i, i + step);
		assert_int_equal(io_write(s, part.p, part.n), 0);
	}
	assert_int_equal(io_sink_close(s, true, &err), 0);
}

/* 0, or the error's code. */
static int unpack(struct str data, size_t step, struct sb *out, enum zip_kind *kind)
{
	struct err *err = NULL;
	struct source *s = zip_source(drip(data, step), kind, &err);
	char buf[7001];
	ssize_t k = 0;
	while (s && (k = io_read(s, buf, sizeof(buf))) > 0)
		sb_add(out, buf, (size_t)k);
	int code = 0;
	if (!s || io_source_close(s, &err) < 0) {
		code = (int)err->code;
		err_drop(&err);
	}
	assert_true(!s || (k < 0) == (code != 0));
	return code;
}

static char *sample(size_t n)
{
	char *p = xmalloc(n);
	unsigned x = 1;
	for (size_t i = 0; i < n; i++) {
		x = x * 1103515245 + 12345;
		p[i] = i % 1000 < 600 ? (char)('a' + i % 7) : (char)(x >> 16);
	}
	return p;
}

static void test_round_trip(void **state)
{
	(void)state;
	static const size_t sizes[] = { 0, 1, 511, 70000, 5000001 };
	static const enum zip_kind kinds[] = { ZIP_NONE, ZIP_GZIP, ZIP_ZSTD };
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		_cleanup_free_ char *data = sample(sizes[i]);
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
			_cleanup_(sb_releasep) struct sb a = { 0 }, b = { 0 }, plain = { 0 };
			pack((struct str){ data, sizes[i] }, kinds[k], 64 * 1024, &a);
			pack((struct str){ data, sizes[i] }, kinds[k], 1000003, &b);
			/* The bytes do not depend on how they came. */
			assert_true(str_eq(sb_str(&a), sb_str(&b)));
			enum zip_kind seen;
			assert_int_equal(unpack(sb_str(&a), 4093, &plain, &seen), 0);
			assert_int_equal(seen, kinds[k]);
			assert_true(str_eq(sb_str(&plain), (struct str){ data, sizes[i] }));
		}
	}
}

static void test_gzip_header(void **state)
{
	(void)state;
	_cleanup_(sb_releasep) struct sb a = { 0 };
	pack(STR("x"), ZIP_GZIP, 1, &a);
	assert_memory_equal(a.p, "\x1f\x8b\x08\0\0\0\0\0\0\xff", 10);
}

static void test_members(void **state)
{
	(void)state;
	static const size_t steps[] = { 1, 2, 3, 5, 7, 11, 64, 1000, 100000 };
	static const enum zip_kind kinds[] = { ZIP_GZIP, ZIP_ZSTD };
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		_cleanup_(sb_releasep) struct sb a = { 0 }, want = { 0 };
		for (size_t n = 0; n < 40000; n = n * 3 + 1) {
			_cleanup_free_ char *data = sample(n);
			pack((struct str){ data, n }, kinds[k], 4096, &a);
			sb_add(&want, data, n);
		}
		for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
			_cleanup_(sb_releasep) struct sb got = { 0 };
			assert_int_equal(unpack(sb_str(&a), steps[i], &got, NULL), 0);
			assert_true(str_eq(sb_str(&got), sb_str(&want)));
		}
	}
}

static void test_damage(void **state)
{
	(void)state;
	static const enum zip_kind kinds[] = { ZIP_GZIP, ZIP_ZSTD };
	_cleanup_free_ char *data = sample(30000);
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		_cleanup_(sb_releasep) struct sb a = { 0 };
		pack((struct str){ data, 30000 }, kinds[k], 4096, &a);
		for (size_t cut = 7; cut < a.n; cut += 97) {
			_cleanup_(sb_releasep) struct sb got = { 0 };
			assert_int_equal(unpack(str_sub(sb_str(&a), 0, cut), 4096, &got, NULL),
					 ERR_INTEGRITY);
		}
		a.p[a.n / 2] ^= 0x55;
		_cleanup_(sb_releasep) struct sb got = { 0 };
		assert_int_equal(unpack(sb_str(&a), 4096, &got, NULL), ERR_INTEGRITY);
		a.p[a.n / 2] ^= 0x55;
		sb_add_c(&a, "junk behind it");
		sb_reset(&got);
		assert_int_equal(unpack(sb_str(&a), 4096, &got, NULL), ERR_INTEGRITY);
	}
}

static void test_kinds(void **state)
{
	(void)state;
	_cleanup_(sb_releasep) struct sb got = { 0 };
	assert_int_equal(unpack(STR("BZh91AY&SY"), 10, &got, NULL), ERR_UNSUPPORTED);
	assert_int_equal(unpack((struct str){ "\xfd"
					      "7zXZ\0\0",
					      7 },
				10, &got, NULL),
			 ERR_UNSUPPORTED);
	assert_int_equal(unpack(STR("BZ"), 10, &got, NULL), 0);
	assert_true(str_eq_c(sb_str(&got), "BZ"));
	struct err *err = NULL;
	assert_null(zip_sink(sink_into(&got), ZIP_XZ, 0, &err));
	err_drop(&err);
	assert_null(zip_sink(sink_into(&got), ZIP_GZIP, 4, &err));
	err_drop(&err);
	assert_true(str_starts(str_c(zip_form(ZIP_GZIP)), STR("gzip-1/isal-2.")));
	assert_string_equal(zip_form(ZIP_NONE), "none");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_gzip_header),
		cmocka_unit_test(test_members),    cmocka_unit_test(test_damage),
		cmocka_unit_test(test_kinds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
