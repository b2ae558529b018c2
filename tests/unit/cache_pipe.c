/* Pipes: order and digests of what passes, an error of the sink behind, the end without a thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/err.h"
#include "cache/pipe.h"

/* Fails once it has taken `limit` bytes. */
struct strict {
	struct sink sink;
	size_t taken, limit;
	struct digester h;
	struct digest *ret;
};

static int strict_write(struct sink *s, const void *p, size_t n)
{
	struct strict *k = (struct strict *)s;
	if (k->taken + n > k->limit)
		return err_set(&s->err, ERR_IO, "the disk is full");
	k->taken += n;
	digest_add(&k->h, p, n);
	return 0;
}

static int strict_finish(struct sink *s)
{
	struct strict *k = (struct strict *)s;
	*k->ret = digest_peek(&k->h);
	return 0;
}

static void strict_close(struct sink *s)
{
	struct strict *k = (struct strict *)s;
	digest_abandon(&k->h);
	free(k);
}

static struct sink *strict(size_t limit, struct digest *ret)
{
	struct strict *k = xcalloc(1, sizeof(*k));
	k->sink = (struct sink){ .write = strict_write,
				 .finish = strict_finish,
				 .close = strict_close };
	k->limit = limit;
	k->ret = ret;
	digest_begin(&k->h);
	return &k->sink;
}

static char data[3 << 20];

static void test_order(void **state)
{
	(void)state;
	static const size_t sizes[] = { 0, 1, 1000, 256 * 1024, 256 * 1024 + 1, sizeof(data) };
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 7 + i / 1000);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct digest got, passed, want = digest_of(data, sizes[i]);
		struct err *err = NULL;
		struct sink *s = pipe_sink(pipe_digest(strict(SIZE_MAX, &got), &passed));
		for (size_t k = 0; k < sizes[i]; k += 1003)
			assert_int_equal(
				io_write(s, data + k, sizes[i] - k < 1003 ? sizes[i] - k : 1003),
				0);
		assert_int_equal(io_sink_close(s, true, &err), 0);
		assert_true(digest_eq(&got, &want) && digest_eq(&passed, &want));
	}
}

static void test_failure(void **state)
{
	(void)state;
	static const size_t limits[] = { 0, 1000, 300000, 2000000, sizeof(data) - 1 };
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		struct digest got;
		_cleanup_(err_dropp) struct err *err = NULL;
		struct sink *s = pipe_sink(strict(limits[i], &got));
		size_t k = 0;
		while (k < sizeof(data) && io_write(s, data + k, 4096) == 0)
			k += 4096;
		assert_int_equal(io_sink_close(s, true, &err), -1);
		assert_string_equal(err->msg, "the disk is full");
	}
	/* Given up: nothing is reported, nothing hangs. */
	struct digest got;
	struct err *err = NULL;
	struct sink *s = pipe_sink(strict(SIZE_MAX, &got));
	assert_int_equal(io_write(s, data, sizeof(data)), 0);
	assert_int_equal(io_sink_close(s, false, &err), 0);
}

static void test_sources(void **state)
{
	(void)state;
	uint64_t count = 0;
	struct err *err = NULL;
	struct digest got, want = digest_of(data, sizeof(data));
	struct source *s =
		pipe_source(pipe_count(io_source_mem((struct str){ data, sizeof(data) }), &count));
	static char buf[70000];
	while (io_read(s, buf, sizeof(buf)) > 0)
		;
	pipe_source_end(s, &got);
	assert_int_equal(io_source_close(s, &err), 0);
	assert_true(digest_eq(&got, &want));
	assert_int_equal(count, sizeof(data));
	/* Closed without an end. */
	s = pipe_source(io_source_mem((struct str){ data, sizeof(data) }));
	assert_true(io_read(s, buf, sizeof(buf)) > 0);
	assert_int_equal(io_source_close(s, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_failure),
		cmocka_unit_test(test_sources),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
