/* Manifests: bytes of an entry, M, the file with many entries and with damage, order of paths,
 * merged views. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "cache/manifest.h"
#include "cache/xattr.h"

static char dir[64];
static int top;

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/cbuild-unit-XXXXXX");
	assert_non_null(mkdtemp(dir));
	top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	_cleanup_(err_dropp) struct err *err = NULL;
	close(top);
	return io_remove_tree(AT_FDCWD, dir, &err);
}

static void test_entry_bytes(void **state)
{
	(void)state;
	static const struct {
		struct entry e;
		const char *fields[10];
	} v[] = {
		{ { .path = STR("a/b"), .kind = 'f', .mode = 0644, .uid = 1, .gid = 2, .size = 3 },
		  { "a/b", "f", "420", "1", "2", "", "3", "", "", "" } },
		{ { .path = STR("l"),
		    .kind = 'l',
		    .mode = 0777,
		    .uid = 1,
		    .gid = 2,
		    .link = STR("x") },
		  { "l", "l", "", "1", "2", "", "", "x", "", "" } },
		{ { .path = STR("w"), .kind = 'w', .mode = 1, .uid = 1, .gid = 2 },
		  { "w", "w", "", "", "", "", "", "", "", "" } },
		{ { .path = STR("c"), .kind = 'c', .mode = 06666, .major = 1, .minor = 300 },
		  { "c", "c", "3510", "0", "0", "1:300", "", "", "", "" } },
		{ { .path = STR("o"), .kind = 'o', .mode = 0755, .group = STR("g") },
		  { "o", "o", "493", "0", "0", "", "", "", "g", "" } },
	};
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		_cleanup_(sb_releasep) struct sb got = { 0 }, want = { 0 };
		entry_put(&v[i].e, 0, &got);
		for (size_t k = 0; k < 10; k++)
			digest_put_field(&want, str_c(v[i].fields[k]));
		digest_put_field(&want, STR(""));
		assert_true(str_eq(sb_str(&got), sb_str(&want)));
	}
	_cleanup_(sb_releasep) struct sb masked = { 0 }, want = { 0 };
	entry_put(&v[0].e, ENTRY_MASK_MODE | ENTRY_MASK_OWNER, &masked);
	static const char *const fields[] = { "a/b", "f", "0", "0", "0", "", "3", "", "", "", "" };
	for (size_t k = 0; k < ARRAY_SIZE(fields); k++)
		digest_put_field(&want, str_c(fields[k]));
	assert_true(str_eq(sb_str(&masked), sb_str(&want)));
}

static void test_order(void **state)
{
	(void)state;
	static const char *const sorted[] = { "",    "-",   "a",   "a/", "a/b", "a/b/c", "a/b.c",
					      "a b", "a-b", "a.b", "aa", "b",   "\xff" };
	for (size_t i = 0; i < ARRAY_SIZE(sorted); i++)
		for (size_t k = 0; k < ARRAY_SIZE(sorted); k++) {
			int c = entry_path_cmp(str_c(sorted[i]), str_c(sorted[k]));
			assert_int_equal((c > 0) - (c < 0), (i > k) - (i < k));
		}
	assert_true(entry_path_under(STR("a/b"), STR("a")));
	assert_true(entry_path_under(STR("a"), STR("a")));
	assert_true(entry_path_under(STR("a"), STR("")));
	assert_false(entry_path_under(STR("ab"), STR("a")));
}

static void make(const char *name, unsigned n, size_t xattr, struct manifest_total *ret)
{
	struct err *err = NULL;
	_cleanup_(manifest_writer_freep) struct manifest_writer *w =
		manifest_writer_new(top, name, &err);
	_cleanup_(sb_releasep) struct sb list = { 0 };
	_cleanup_free_ char *value = xcalloc(1, xattr + 1);
	assert_non_null(w);
	if (xattr)
		xattr_list(&(struct xattr_pair){ STR("user.x"), { value, xattr } }, 1, &list);
	for (unsigned i = 0; i < n; i++) {
		char path[64];
		snprintf(path, sizeof(path), "folder-%04u/file-%06u", i / 1000, i);
		struct digest d = digest_of(path, 10);
		struct entry e = { .path = str_c(path),
				   .kind = 'f',
				   .mode = 0644,
				   .size = i,
				   .xattrs = sb_str(&list),
				   .has_data = true,
				   .data = d,
				   .mtime_ns = -(int64_t)i,
				   .time = i % 3 == 0,
				   .pair = i % 5 == 0 };
		if (manifest_writer_add(w, &e, &err) < 0)
			fail_msg("%s", err->msg);
	}
	struct digest diffid = digest_of("x", 1);
	assert_int_equal(manifest_writer_end(w, &diffid, ret, &err), 0);
}

/* Number of entries, or -1 with *code. */
static int64_t count(const char *name, enum err_code *code, struct manifest_total *ret)
{
	_cleanup_(err_dropp) struct err *err = NULL;
	_cleanup_(manifest_closep) struct manifest_reader *m = manifest_open(top, name, &err);
	struct entry e;
	int64_t n = 0;
	int r;
	assert_non_null(m);
	while ((r = manifest_next(m, &e, &err)) > 0) {
		assert_int_equal(e.mtime_ns, -n);
		assert_int_equal(e.time, n % 3 == 0);
		assert_int_equal(e.pair, n % 5 == 0);
		assert_int_equal(e.size, n);
		n++;
	}
	if (r < 0)
		*code = err->code;
	else
		manifest_total(m, ret);
	return r < 0 ? -1 : n;
}

static long rss_kib(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return u.ru_maxrss;
}

static void test_many(void **state)
{
	(void)state;
	struct manifest_total t, got;
	enum err_code code = 0;
	long before = rss_kib();
	make("many", 1000000, 0, &t);
	assert_int_equal(t.entries, 1000000);
	assert_int_equal(t.bytes, UINT64_C(999999) * 1000000 / 2);
	assert_int_equal(count("many", &code, &got), 1000000);
	assert_true(digest_eq(&t.m, &got.m) && digest_eq(&t.diffid, &got.diffid) &&
		    got.bytes == t.bytes);
	print_message("1 M entries: %ld KiB more at the peak\n", rss_kib() - before);
#ifndef __SANITIZE_ADDRESS__
	assert_true(rss_kib() - before < 16 * 1024);
#endif
	/* Attributes as large as they may be. */
	make("large", 20, XATTR_MAX - 100, &t);
	assert_int_equal(count("large", &code, &got), 20);
	make("none", 0, 0, &t);
	assert_int_equal(count("none", &code, &got), 0);
	assert_false(digest_is_zero(&got.m));
}

static void test_incomplete(void **state)
{
	(void)state;
	struct err *err = NULL;
	_cleanup_(manifest_writer_freep) struct manifest_writer *w =
		manifest_writer_new(top, "inc", &err);
	struct entry e = { .path = STR("f"), .kind = 'f', .size = 1 };
	struct digest diffid = digest_of("", 0);
	struct manifest_total t;
	assert_int_equal(manifest_writer_add(w, &e, &err), 0);
	assert_int_equal(manifest_writer_end(w, &diffid, &t, &err), 0);
	assert_true(digest_is_zero(&t.m));
	/* One that is not ended leaves nothing. */
	struct manifest_writer *gone = manifest_writer_new(top, "gone", &err);
	assert_int_equal(manifest_writer_add(gone, &e, &err), 0);
	manifest_writer_free(gone);
	assert_int_equal(faccessat(top, "gone", F_OK, 0), -1);
	assert_int_equal(faccessat(top, "gone.new", F_OK, 0), -1);
	_cleanup_(manifest_writer_freep) struct manifest_writer *big =
		manifest_writer_new(top, "big", &err);
	_cleanup_free_ char *path = xcalloc(1, PATH_BYTES_MAX + 1);
	memset(path, 'p', PATH_BYTES_MAX + 1);
	e.path = (struct str){ path, PATH_BYTES_MAX + 1 };
	assert_int_equal(manifest_writer_add(big, &e, &err), -1);
	assert_int_equal(err->code, ERR_LIMIT);
	err_drop(&err);
}

static void test_damage(void **state)
{
	(void)state;
	struct manifest_total t;
	enum err_code code = 0;
	make("good", 3000, 0, &t);
	_cleanup_(sb_releasep) struct sb whole = { 0 };
	struct err *err = NULL;
	assert_int_equal(io_read_file(top, "good", &whole, &err), 0);
	for (size_t i = 0; i < whole.n; i += whole.n / 97) {
		_cleanup_free_ char *bad = xmemdup(whole.p, whole.n);
		bad[i] ^= 0x10;
		assert_int_equal(io_replace_file(top, "bad", (struct str){ bad, whole.n }, 0600,
						 false, &err),
				 0);
		code = 0;
		if (count("bad", &code, &t) != -1 || code != ERR_INTEGRITY)
			fail_msg("a flipped bit at %zu of %zu: %d", i, whole.n, code);
		assert_int_equal(io_replace_file(top, "bad", str_sub(sb_str(&whole), 0, i), 0600,
						 false, &err),
				 0);
		code = 0;
		if (count("bad", &code, &t) != -1 || code != ERR_INTEGRITY)
			fail_msg("cut at %zu: %d", i, code);
	}
}

/* A layer from "kind path" words. */
static struct manifest_reader *layer(const char *name, const char *words)
{
	struct err *err = NULL;
	_cleanup_(manifest_writer_freep) struct manifest_writer *w =
		manifest_writer_new(top, name, &err);
	_cleanup_free_ char *text = xstrdup(words);
	struct digest diffid = digest_of("", 0);
	struct manifest_total t;
	char *save = NULL;
	for (char *p = strtok_r(text, " ", &save); p; p = strtok_r(NULL, " ", &save)) {
		struct entry e = { .path = str_c(p + 1), .kind = p[0], .has_data = true };
		assert_int_equal(manifest_writer_add(w, &e, &err), 0);
	}
	assert_int_equal(manifest_writer_end(w, &diffid, &t, &err), 0);
	struct manifest_reader *r = manifest_open(top, name, &err);
	assert_non_null(r);
	return r;
}

static void test_view(void **state)
{
	(void)state;
	static const struct {
		const char *layers[4], *want;
	} v[] = {
		{ { "da fa/x fa/y", "da fa/y fa/z" }, "da1 fa/x0 fa/y1 fa/z1 " },
		{ { "da fa/x fb", "wa" }, "fb0 " },
		{ { "da fa/x fa/y fa.b", "oa fa/z" }, "da1 fa/z1 fa.b0 " },
		{ { "da fa/x", "fa", "da fa/new" }, "da2 fa/new2 " },
		{ { "da fa/x", "wa", "da fa/new" }, "da2 fa/new2 " },
		{ { "da da/b fa/b/x fa/y", "da wa/b", "da da/b fa/b/z" },
		  "da2 da/b2 fa/b/z2 fa/y0 " },
		{ { "da fa/x", "oa", "da wa/x", "da fa/x" }, "da3 fa/x3 " },
		{ { "d fb", "d", "fa" }, "d1 fa2 fb0 " },
		{ { "wa wb", "fb" }, "fb1 " },
	};
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		struct manifest_reader *r[4];
		size_t n = 0, k;
		struct err *err = NULL;
		for (; n < 4 && v[i].layers[n]; n++) {
			char name[8];
			snprintf(name, sizeof(name), "v%zu", n);
			r[n] = layer(name, v[i].layers[n]);
		}
		_cleanup_(manifest_view_freep) struct manifest_view *view = manifest_view_new(r, n);
		_cleanup_(sb_releasep) struct sb got = { 0 };
		struct entry e;
		while (manifest_view_next(view, &e, &k, &err) > 0)
			sb_printf(&got, "%c%.*s%zu ", e.kind, STR_ARG(e.path), k);
		assert_null(err);
		if (strcmp(sb_c(&got), v[i].want))
			fail_msg("view %zu: %s, want %s", i, sb_c(&got), v[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entry_bytes), cmocka_unit_test(test_order),
		cmocka_unit_test(test_many),        cmocka_unit_test(test_incomplete),
		cmocka_unit_test(test_damage),      cmocka_unit_test(test_view),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
