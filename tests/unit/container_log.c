/* What a container prints, as the monitor writes it and as logs reads it back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/io.h"
#include "base/json.h"
#include "base/utf8.h"
#include "runtime/container/logs.h"
#include "runtime/helper/monitor_log.h"

#define NOW INT64_C(1700000000123000000)

static struct monitor_log log_begin(void)
{
	char path[] = "/tmp/cbuild-unit-log-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	unlink(path);
	return (struct monitor_log){ .fd = fd };
}

/* What is in the file; the log goes on. */
static char *content(const struct monitor_log *l)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	struct err *e = NULL;
	assert_int_equal(lseek(l->fd, 0, SEEK_SET), 0);
	assert_int_equal(io_read_fd(l->fd, "log", &b, &e), 0);
	return xstrdup(sb_c(&b));
}

static void put(struct monitor_log *l, int stream, const char *text)
{
	monitor_log_write(l, stream, text, strlen(text), NOW);
}

static void lines(void **state)
{
	(void)state;
	struct monitor_log l = log_begin();
	put(&l, 1, "one\ntwo ");
	put(&l, 2, "error\n");
	put(&l, 1, "more\n\npart");
	_cleanup_free_ char *got = content(&l);
	assert_string_equal(
		got,
		"{\"log\":\"one\\n\",\"stream\":\"stdout\",\"time\":\"2023-11-14T22:13:20.123Z\"}\n"
		"{\"log\":\"error\\n\",\"stream\":\"stderr\",\"time\":\"2023-11-14T22:13:20.123Z\"}\n"
		"{\"log\":\"two more\\n\",\"stream\":\"stdout\",\"time\":\"2023-11-14T22:13:20.123Z\"}\n"
		"{\"log\":\"\\n\",\"stream\":\"stdout\",\"time\":\"2023-11-14T22:13:20.123Z\"}\n");
	monitor_log_flush(&l, NOW);
	_cleanup_free_ char *all = content(&l);
	assert_non_null(strstr(all, "{\"log\":\"part\",\"stream\":\"stdout\""));
	monitor_log_release(&l);
}

/* Reads all lines back and compares their texts, joined, with what was written (bad bytes as U+FFFD). */
static void round_trip(const char *bytes, size_t n, size_t chunk)
{
	struct monitor_log l = log_begin();
	for (size_t i = 0; i < n; i += chunk)
		monitor_log_write(&l, 1, bytes + i, n - i < chunk ? n - i : chunk, NOW);
	monitor_log_flush(&l, NOW);
	_cleanup_free_ char *text = content(&l);
	_cleanup_(sb_releasep) struct sb got = { 0 }, want = { 0 };
	struct log_line line = { 0 };
	struct str rest = str_c(text), one;
	while (str_cut(rest, '\n', &one, &rest)) {
		_cleanup_(err_dropp) struct err *e = NULL;
		/* Each is JSON by itself, for others that read the file. */
		_cleanup_(json_unrefp) json_t *j = json_parse(one, "line", &e);
		if (!j || !logs_line_parse(one, &line))
			fail_msg("'%.*s' is no line: %s", STR_ARG(str_sub(one, 0, 200)),
				 e ? e->msg : "");
		assert_true(line.text.n <= 3 * MONITOR_LOG_LINE && line.time_ns == NOW &&
			    !line.is_stderr);
		assert_true(str_eq(line.text, json_get_str(j, "log")) ||
			    memchr(line.text.p, 0, line.text.n));
		sb_add_str(&got, line.text);
	}
	utf8_add_clean(&want, (struct str){ bytes, n });
	assert_int_equal(got.n, want.n);
	assert_memory_equal(got.p, want.p, got.n);
	sb_release(&line.buf);
	monitor_log_release(&l);
}

static void any_bytes(void **state)
{
	(void)state;
	_cleanup_(sb_releasep) struct sb b = { 0 };
	static const size_t chunks[] = { 1, 3, 7, 4096, 65520 };
	for (int i = 1; i < 256; i++)
		sb_add_ch(&b, (char)i);
	sb_add_c(&b, "\"\\\t\r\b\fäöü€😀 \xc3\n\xe2\x82\n\xf0\x9f\x98\n{\"log\":\"x\"}\n");
	for (size_t i = 0; i < ARRAY_SIZE(chunks); i++)
		round_trip(b.p, b.n, chunks[i]);
	/* Long lines are split, and no character is. */
	sb_reset(&b);
	for (int i = 0; i < 30000; i++)
		sb_add_c(&b, i % 3 ? "€" : i % 2 ? "x" : "😀");
	sb_add_c(&b, "\nend");
	for (size_t i = 1; i < ARRAY_SIZE(chunks); i++)
		round_trip(b.p, b.n, chunks[i]);
	/* The worst case for the buffer: each byte takes six. */
	sb_reset(&b);
	for (int i = 0; i < 200000; i++)
		sb_add_ch(&b, '\x01');
	for (size_t i = 3; i < ARRAY_SIZE(chunks); i++)
		round_trip(b.p, b.n, chunks[i]);
}

static void not_lines(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",
		"{",
		"{\"log\":\"x",
		"{\"log\":\"x\"}",
		"{\"log\":\"x\",\"stream\":\"stdin\",\"time\":\"2023-11-14T22:13:20Z\"}",
		"{\"log\":\"x\",\"stream\":\"stdout\",\"time\":\"yesterday\"}",
		"{\"log\":\"\\u12\",\"stream\":\"stdout\",\"time\":\"2023-11-14T22:13:20Z\"}",
		"{\"log\":\"\\x\",\"stream\":\"stdout\",\"time\":\"2023-11-14T22:13:20Z\"}",
		"{\"log\":\"x\\",
		"{\"log\":\"x\",\"stream\":\"stdout\",\"time\":\"2023-11-14T22:13:20Z\"} ",
	};
	struct log_line l = { 0 };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (logs_line_parse(str_c(bad[i]), &l))
			fail_msg("'%s' is taken for a line", bad[i]);
	sb_release(&l.buf);
}

static void times(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = { { "10m", NOW - 600 * INT64_C(1000000000) },
		     { "1h30m", NOW - 5400 * INT64_C(1000000000) },
		     { "1.5s", NOW - 1500000000 },
		     { "1700000000", INT64_C(1700000000000000000) },
		     { "1700000000.5", INT64_C(1700000000500000000) },
		     { "2023-11-14T22:13:20Z", INT64_C(1700000000000000000) },
		     { "2023-11-14T23:13:20+01:00", INT64_C(1700000000000000000) },
		     { "2023-11-14T22:13:20", INT64_C(1700000000000000000) },
		     { "2023-11-14", INT64_C(1699920000000000000) } };
	static const char *const bad[] = { "", "x", "10", "10q", "-5m", "2023-13-14", "m" };
	setenv("TZ", "UTC", 1);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		int64_t ns;
		if (logs_time_parse(str_c(good[i].text), NOW, &ns, &e) < 0 || ns != good[i].ns)
			fail_msg("%s: %s", good[i].text, e ? e->msg : "another time");
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		int64_t ns;
		if (strcmp(bad[i], "10") && logs_time_parse(str_c(bad[i]), NOW, &ns, &e) == 0)
			fail_msg("'%s' is taken for a time", bad[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(lines), cmocka_unit_test(any_bytes),
					    cmocka_unit_test(not_lines), cmocka_unit_test(times) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
