#define CBUILD_MAY_FORK
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "cache/blob.h"
#include "tests/unit/cache_help.h"

static void path_of(const struct digest *d, char path[128])
{
	char hex[DIGEST_HEX];
	digest_hex(d, hex);
	snprintf(path, 128, "r/blobs/sha256/%.2s/%s", hex, hex);
}

static void put_and_read(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	struct digest d, again, none = { { 1 } };
	uint64_t size = 99;
	bool has = true;
	char path[128];
	int fd;
	assert_int_equal(cache_blob_has(c, &none, &has, &size, &err), 0);
	assert_false(has);
	assert_null(cache_store_lease_id(s));
	assert_int_equal(cache_blob_open(c, &none, &fd, &size, &err), -1);
	assert_int_equal(err->code, ERR_NOT_FOUND);
	err_drop(&err);
	assert_int_equal(cache_blob_put(c, STR("hello"), &d, &err), 0);
	path_of(&d, path);
	assert_true(present(&w, path));
	assert_int_equal(cache_blob_has(c, &d, &has, &size, &err), 0);
	assert_true(has);
	assert_int_equal(size, 5);
	_cleanup_(sb_releasep) struct sb b = { 0 };
	sb_init(&b, 5);
	assert_int_equal(cache_blob_read(c, &d, &b, &err), 0);
	assert_string_equal(sb_c(&b), "hello");
	sb_release(&b);
	sb_init(&b, 4);
	assert_int_equal(cache_blob_read(c, &d, &b, &err), -1);
	assert_int_equal(err->code, ERR_LIMIT);
	err_drop(&err);
	/* The second time nothing is written. */
	struct stat before, after;
	assert_int_equal(fstatat(w.fd, path, &before, 0), 0);
	assert_int_equal(cache_blob_put(c, STR("hello"), &again, &err), 0);
	assert_true(digest_eq(&d, &again));
	assert_int_equal(fstatat(w.fd, path, &after, 0), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM pin WHERE kind = 'blob'"), 1);
	/* One that vanished is not there, and comes back. */
	assert_int_equal(unlinkat(w.fd, path, 0), 0);
	assert_int_equal(cache_blob_has(c, &d, &has, NULL, &err), 0);
	assert_false(has);
	assert_int_equal(cache_blob_put(c, STR("hello"), NULL, &err), 0);
	assert_true(present(&w, path));
	/* An empty one. */
	assert_int_equal(cache_blob_put(c, STR(""), &d, &err), 0);
	assert_int_equal(cache_blob_has(c, &d, &has, &size, &err), 0);
	assert_true(has && size == 0);
	cache_close(c);
	cache_store_close(s);
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM pin"), 0);
	assert_int_equal(count(&w, "r/tmp"), 1);
}

static int ingest_count(struct world *w, struct store *s)
{
	char path[64];
	snprintf(path, sizeof(path), "r/tmp/%s/ingest", cache_store_lease_id(s));
	return count(w, path);
}

static void writers(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	struct digest want = digest_of("abcdef", 6), other = { { 7 } }, d;
	uint64_t six = 6, five = 5;
	bool has;
	/* Wrong digest, wrong size: nothing is published, nothing is left. */
	struct blob_writer *b = cache_blob_begin(c, 0, &err);
	assert_int_equal(cache_blob_write(b, "abcdef", 6, &err), 0);
	assert_int_equal(cache_blob_commit(c, b, &other, NULL, &d, &err), -1);
	assert_int_equal(err->code, ERR_INTEGRITY);
	err_drop(&err);
	b = cache_blob_begin(c, 0, &err);
	assert_int_equal(cache_blob_write(b, "abcdef", 6, &err), 0);
	assert_int_equal(cache_blob_commit(c, b, &want, &five, &d, &err), -1);
	assert_int_equal(err->code, ERR_INTEGRITY);
	err_drop(&err);
	b = cache_blob_begin(c, 0, &err);
	cache_blob_abort(b);
	cache_blob_abort(NULL);
	/* A bound. */
	b = cache_blob_begin(c, 5, &err);
	assert_int_equal(cache_blob_write(b, "abc", 3, &err), 0);
	assert_int_equal(cache_blob_write(b, "def", 3, &err), -1);
	assert_int_equal(err->code, ERR_LIMIT);
	err_drop(&err);
	cache_blob_abort(b);
	assert_int_equal(ingest_count(&w, s), 0);
	assert_int_equal(cache_blob_has(c, &want, &has, NULL, &err), 0);
	assert_false(has);
	b = cache_blob_begin(c, 6, &err);
	assert_int_equal(cache_blob_write(b, "abc", 3, &err), 0);
	assert_int_equal(cache_blob_write(b, "def", 3, &err), 0);
	assert_int_equal(cache_blob_commit(c, b, &want, &six, &d, &err), 0);
	assert_true(digest_eq(&d, &want));
	assert_int_equal(ingest_count(&w, s), 0);
	cache_close(c);
	cache_store_close(s);
}

static void adopting(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	struct digest d = digest_of("0123456789", 10);
	bool has;
	put_file(&w, "r/tmp/partial/x", "0123456789");
	int fd = openat(w.fd, "r/tmp/partial/x", O_RDWR | O_CLOEXEC);
	assert_int_equal(cache_blob_adopt(c, fd, "tmp/partial/x", &d, 11, &err), -1);
	assert_int_equal(err->code, ERR_INTEGRITY);
	err_drop(&err);
	assert_int_equal(cache_blob_adopt(c, fd, "tmp/partial/x", &d, 10, &err), 0);
	close(fd);
	assert_false(present(&w, "r/tmp/partial/x"));
	assert_int_equal(cache_blob_has(c, &d, &has, NULL, &err), 0);
	assert_true(has);
	/* Here already: the file goes. */
	put_file(&w, "r/tmp/partial/x", "0123456789");
	fd = openat(w.fd, "r/tmp/partial/x", O_RDWR | O_CLOEXEC);
	assert_int_equal(cache_blob_adopt(c, fd, "tmp/partial/x", &d, 10, &err), 0);
	close(fd);
	assert_false(present(&w, "r/tmp/partial/x"));
	cache_close(c);
	cache_store_close(s);
}

static void damage_is_found(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	struct digest d;
	bool has;
	char path[128];
	_cleanup_(sb_releasep) struct sb b = { 0 };
	assert_int_equal(cache_blob_put(c, STR("hello"), &d, &err), 0);
	path_of(&d, path);
	put_file(&w, path, "hallo");
	assert_int_equal(cache_blob_read(c, &d, &b, &err), -1);
	assert_int_equal(err->code, ERR_INTEGRITY);
	err_drop(&err);
	/* Another size is seen by each look. */
	put_file(&w, path, "hell");
	assert_int_equal(cache_blob_has(c, &d, &has, NULL, &err), 0);
	assert_false(has);
	/* No symlink is followed. */
	assert_int_equal(unlinkat(w.fd, path, 0), 0);
	assert_int_equal(symlinkat("/etc/hostname", w.fd, path), 0);
	assert_int_equal(cache_blob_has(c, &d, &has, NULL, &err), 0);
	assert_false(has);
	cache_close(c);
	cache_store_close(s);
}

static void killed_between_rename_and_row(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	cache_store_close(open_store(&w));
	struct digest d = digest_of("x", 1);
	char path[128];
	path_of(&d, path);
	pid_t pid = fork();
	if (!pid) {
		struct store *s = open_store(&w);
		struct cache *c = must_open(s);
		struct err *err = NULL;
		char tmp[BLOB_PATH_TEXT];
		struct write t = { 0 };
		if (blob_stage(c, STR("x"), tmp, &err) < 0 ||
		    db_write_begin(&t, c, DB_INDEX, DB_FULL, &err) < 0 ||
		    blob_publish(c, tmp, &d, 1, &err) < 0)
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	int status;
	waitpid(pid, &status, 0);
	assert_true(WIFSIGNALED(status));
	assert_true(present(&w, path));
	struct store *s = open_store(&w);
	assert_false(present(&w, path));
	assert_int_equal(count(&w, "r/leases"), 0);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	assert_int_equal(cache_blob_put(c, STR("x"), NULL, &err), 0);
	assert_true(present(&w, path));
	cache_close(c);
	cache_store_close(s);
	cache_store_close(open_store(&w));
	assert_true(present(&w, path));
}

static void a_full_disk(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	if (mount("none", w.path, "tmpfs", 0, "size=512k") < 0) {
		print_message("skipped: mounting a tmpfs: %s\n", strerror(errno));
		skip();
	}
	close(w.fd);
	w.fd = open(w.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	_cleanup_(sb_releasep) struct sb b = { 0 };
	while (b.n < 1024 * 1024)
		sb_add_c(&b, "0123456789abcdef");
	struct digest d = digest_of(b.p, b.n);
	bool has;
	assert_int_equal(cache_blob_put(c, sb_str(&b), NULL, &err), -1);
	assert_int_equal(err->sys, ENOSPC);
	assert_non_null(strstr(err->msg, "ingest"));
	err_drop(&err);
	assert_int_equal(ingest_count(&w, s), 0);
	assert_int_equal(cache_blob_has(c, &d, &has, NULL, &err), 0);
	assert_false(has);
	assert_int_equal(cache_blob_put(c, STR("small"), NULL, &err), 0);
	cache_close(c);
	cache_store_close(s);
	close(w.fd);
	w.fd = -1;
	assert_int_equal(umount(w.path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(put_and_read),
		cmocka_unit_test(writers),
		cmocka_unit_test(adopting),
		cmocka_unit_test(damage_is_found),
		cmocka_unit_test(killed_between_rename_and_row),
		cmocka_unit_test(a_full_disk),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
