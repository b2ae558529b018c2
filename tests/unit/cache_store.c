#define CBUILD_MAY_FORK
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "cache/db.h"
#include "cache/internal.h"
#include "cache/store.h"
#include "tests/unit/cache_help.h"

static void a_new_store(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	assert_true(present(&w, "r/index.db"));
	assert_true(present(&w, "r/hmac.key"));
	assert_true(present(&w, "r/layers"));
	assert_true(present(&w, "run/steps"));
	assert_true(present(&w, "run/mnt"));
	struct stat st;
	assert_int_equal(fstatat(w.fd, "r/index.db", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(fstatat(w.fd, "r/index.db-wal", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_null(cache_store_lease_id(s));
	assert_false(cache_store_needs_sync(s));
	struct err *err = NULL;
	struct cache *c = cache_open(s, &err), *d = cache_open(s, &err);
	assert_non_null(c);
	assert_non_null(d);
	assert_ptr_equal(cache_store_of(d), s);
	cache_close(c);
	cache_close(d);
	cache_store_close(s);
	/* Opened again, it is the same store, and nothing of it is written. */
	struct stat before, after;
	assert_int_equal(fstatat(w.fd, "r/index.db-wal", &before, 0), 0);
	s = open_store(&w);
	cache_store_close(s);
	assert_int_equal(fstatat(w.fd, "r/index.db-wal", &after, 0), 0);
	assert_true(before.st_mtim.tv_sec == after.st_mtim.tv_sec &&
		    before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
	assert_int_equal(count(&w, "r/leases"), 0);
}

static void refused_roots(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	assert_string_equal(store_refused_fs(0x6969), "NFS");
	assert_string_equal(store_refused_fs((long)(int)0xff534d42), "CIFS");
	assert_string_equal(store_refused_fs(0x01021997), "9p");
	assert_null(store_refused_fs(0xef53));
	assert_int_equal(mkdirat(w.fd, "r", 0700), 0);
	assert_int_equal(fchmodat(w.fd, "r", 0777, 0), 0);
	refuse_store(&w, ERR_DENIED, "everybody");
	if (geteuid() == 0) {
		assert_int_equal(fchmodat(w.fd, "r", 0700, 0), 0);
		assert_int_equal(fchownat(w.fd, "r", 12345, 0, 0), 0);
		refuse_store(&w, ERR_DENIED, "belongs to user 12345");
	}
	assert_int_equal(unlinkat(w.fd, "r", AT_REMOVEDIR), 0);
	put_file(&w, "r", "x");
	refuse_store(&w, ERR_NOT_FOUND, "r'");
}

static void an_unfinished_store_is_made_again(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	assert_int_equal(mkdirat(w.fd, "r", 0700), 0);
	put_file(&w, "r/index.db", ""); /* SQLite's first write had not come */
	cache_store_close(open_store(&w));
	/* But one that lost its index is not filled anew. */
	assert_int_equal(unlinkat(w.fd, "r/index.db", 0), 0);
	assert_int_equal(mkdirat(w.fd, "r/layers/1", 0700), 0);
	refuse_store(&w, ERR_INTEGRITY, "index.db is gone");
}

static void a_newer_schema_is_refused(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	cache_store_close(open_store(&w));
	sql(&w, "index.db", "PRAGMA user_version = 2");
	refuse_store(&w, ERR_UNSUPPORTED, "newer cbuild");
	sql(&w, "index.db", "PRAGMA user_version = 1");
	cache_store_close(open_store(&w));
	assert_int_equal(unlinkat(w.fd, "r/index.db-wal", 0), 0);
	put_file(
		&w, "r/index.db",
		"this is not a database, but it is long enough to have a header of 100 bytes, which SQLite reads first.");
	refuse_store(&w, ERR_INTEGRITY, "index.db");
}

static void leases(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct err *err = NULL;
	assert_int_equal(cache_store_lease(s, &err), 0);
	assert_int_equal(cache_store_lease(s, &err), 0);
	assert_int_equal(strlen(cache_store_lease_id(s)), 16);
	assert_int_equal(count(&w, "r/leases"), 1);
	char path[64];
	snprintf(path, sizeof(path), "r/tmp/%s", cache_store_lease_id(s));
	assert_true(present(&w, path));
	/* A second command leaves the living one alone. */
	struct store *t = open_store(&w);
	assert_true(present(&w, path));
	cache_store_close(t);
	assert_true(present(&w, path));
	cache_store_close(s);
	assert_false(present(&w, path));
	assert_int_equal(count(&w, "r/leases"), 0);
	assert_int_equal(count(&w, "r/trash"), 0);
}

/* Runs fn in a child, which then waits to be killed; returns when the child is ready. */
static pid_t child(struct world *w, void (*fn)(struct world *w, struct store *s))
{
	int pipes[2];
	char c;
	assert_int_equal(pipe(pipes), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		struct store *s = open_store(w);
		fn(w, s);
		if (write(pipes[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(pipes[1]);
	assert_int_equal(read(pipes[0], &c, 1), 1);
	close(pipes[0]);
	return pid;
}

static void kill_child(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void leave_work(struct world *w, struct store *s)
{
	_cleanup_(cache_closep) struct cache *c = must_open(s);
	struct err *err = NULL;
	char path[64];
	if (cache_store_lease(s, &err) < 0)
		_exit(2);
	_cleanup_(db_write_endp) struct write t = { 0 };
	if (db_write_begin(&t, c, DB_INDEX, DB_NORMAL, &err) < 0)
		_exit(2);
	exec_sql(c, DB_INDEX, "INSERT INTO layer(state, kind, lease) VALUES('work', 'step', ?)",
		 cache_store_lease_id(s));
	exec_sql(c, DB_INDEX, "INSERT INTO layer(state, kind, lease) VALUES('ready', 'step', ?)",
		 cache_store_lease_id(s));
	exec_sql(c, DB_INDEX, "INSERT INTO pin(lease, kind, object) VALUES(?, 'layer', 2)",
		 cache_store_lease_id(s));
	exec_sql(c, DB_INDEX, "INSERT INTO layer(state, kind, lease) VALUES('dead', 'step', ?)",
		 cache_store_lease_id(s));
	if (db_write_commit(&t, &err) < 0)
		_exit(2);
	for (int i = 1; i <= 3; i++) {
		snprintf(path, sizeof(path), "r/layers/%d", i);
		mkdirat(w->fd, path, 0700);
		snprintf(path, sizeof(path), "r/layers/%d/fs", i);
		mkdirat(w->fd, path, 0700);
	}
	mkdirat(w->fd, "r/layers/77", 0700); /* its row was lost */
	snprintf(path, sizeof(path), "r/tmp/%s/5", cache_store_lease_id(s));
	mkdirat(w->fd, path, 0700);
	snprintf(path, sizeof(path), "r/tmp/%s/5/file", cache_store_lease_id(s));
	put_file(w, path, "x");
}

static struct {
	int calls, fail;
	char lease[32];
} strays;

static int kill_strays(void *arg, int run_fd, const char *lease, struct err **err)
{
	struct world *w = arg;
	char path[64];
	strays.calls++;
	snprintf(strays.lease, sizeof(strays.lease), "%s", lease);
	assert_true(run_fd >= 0);
	/* Nothing of the lease was removed before. */
	snprintf(path, sizeof(path), "r/tmp/%s/5/file", lease);
	assert_true(present(w, path));
	return strays.fail ? err_set(err, ERR_TIMEOUT, "process 1 does not die") : 0;
}

static void a_killed_command_is_swept(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	w.strays = kill_strays;
	strays.calls = strays.fail = 0;
	cache_store_close(open_store(&w));
	pid_t pid = child(&w, leave_work);
	/* While it lives nobody touches it. */
	cache_store_close(open_store(&w));
	assert_int_equal(strays.calls, 0);
	assert_int_equal(count(&w, "r/leases"), 1);
	kill_child(pid);
	/* One that only reads sweeps nothing. */
	w.read_only = true;
	cache_store_close(open_store(&w));
	assert_int_equal(strays.calls, 0);
	w.read_only = false;
	/* As long as its processes do not die it stays. */
	strays.fail = 1;
	cache_store_close(open_store(&w));
	assert_int_equal(strays.calls, 1);
	assert_non_null(strstr(w.said, "does not die"));
	assert_int_equal(count(&w, "r/leases"), 1);
	assert_true(present(&w, "r/layers/1"));
	strays.fail = 0;
	cache_store_close(open_store(&w));
	assert_int_equal(strays.calls, 2);
	assert_int_equal(strlen(strays.lease), 16);
	assert_int_equal(count(&w, "r/leases"), 0);
	assert_int_equal(count(&w, "r/tmp"), 1); /* partial */
	assert_int_equal(count(&w, "r/trash"), 0);
	assert_false(present(&w, "r/layers/1"));
	assert_true(present(&w, "r/layers/2"));
	assert_false(present(&w, "r/layers/3"));
	assert_false(present(&w, "r/layers/77"));
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM layer"), 1);
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM pin"), 0);
	/* The number of a layer that is gone is not given again. */
	sql(&w, "index.db", "INSERT INTO layer(state, kind) VALUES('ready', 'step')");
	assert_int_equal(sql(&w, "index.db", "SELECT max(id) FROM layer"), 4);
}

static void without_a_killer_processes_are_left(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	cache_store_close(open_store(&w));
	kill_child(child(&w, leave_work));
	char path[300], name[256];
	first_name(&w, "r/leases", name);
	snprintf(path, sizeof(path), "run/steps/%s.1", name);
	put_file(&w, path, "{}");
	cache_store_close(open_store(&w));
	assert_int_equal(count(&w, "r/leases"), 1);
	assert_int_equal(unlinkat(w.fd, path, 0), 0);
	cache_store_close(open_store(&w));
	assert_int_equal(count(&w, "r/leases"), 0);
}

static void lost_and_half_made_leases(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	cache_store_close(open_store(&w));
	put_file(&w, "r/leases/.0123456789abcdef", "");
	put_file(&w, "r/leases/notes.txt", "");
	sql(&w, "index.db",
	    "INSERT INTO pin(lease, kind, object) VALUES('00112233445566ff', 'layer', 1), ('c/web', 'layer', 1), ('c/gone', 'layer', 1)");
	assert_int_equal(mkdirat(w.fd, "r/containers/web", 0700), 0);
	assert_int_equal(mkdirat(w.fd, "r/tmp/00112233445566ee", 0700), 0);
	cache_store_close(open_store(&w));
	/* A fresh hidden one may be about to be locked; a container's pins live as long as its folder. */
	assert_true(present(&w, "r/leases/.0123456789abcdef"));
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM pin"), 1);
	assert_false(present(&w, "r/tmp/00112233445566ee"));
	struct timespec old[2] = { { 1000, 0 }, { 1000, 0 } };
	assert_int_equal(utimensat(w.fd, "r/leases/.0123456789abcdef", old, 0), 0);
	cache_store_close(open_store(&w));
	assert_false(present(&w, "r/leases/.0123456789abcdef"));
	assert_true(present(&w, "r/leases/notes.txt"));
}

static void trash(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct err *err = NULL;
	assert_int_equal(mkdirat(w.fd, "r/layers/9", 0700), 0);
	put_file(&w, "r/layers/9/f", "x");
	assert_int_equal(cache_store_trash(s, "layers/9", &err), 0);
	assert_int_equal(cache_store_trash(s, "layers/9", &err), 0);
	assert_false(present(&w, "r/layers/9"));
	assert_int_equal(count(&w, "r/trash"), 1);
	cache_store_close(s);
	assert_int_equal(count(&w, "r/trash"), 0);
	s = open_store(&w);
	assert_int_equal(cache_store_trash(s, "layers/9/no", &err), 0);
	assert_true(cache_store_counter(s) < cache_store_counter(s));
	cache_store_close(s);
}

static void take_step(struct world *w, struct store *s)
{
	struct digest k = { { 1, 2, 3, 4, 5, 6, 7, 8 } };
	struct err *err = NULL;
	int fd;
	(void)w;
	if (cache_step_lock(s, &k, &fd, &err) != 1)
		_exit(3);
}

static void step_locks(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct digest k = { { 1, 2, 3, 4, 5, 6, 7, 8 } }, other = { { 1, 2, 3, 4, 5, 6, 7, 12 } };
	struct err *err = NULL;
	int fd, fd2, fd3;
	assert_int_equal(cache_step_lock(s, &k, &fd, &err), 1);
	assert_int_equal(cache_step_lock(s, &k, &fd2, &err), 0);
	assert_int_equal(cache_step_lock(s, &other, &fd3, &err), 1);
	close(fd);
	/* Closing another descriptor of the file does not drop it, as a POSIX lock would. */
	assert_int_equal(cache_step_lock(s, &other, &fd2, &err), 0);
	close(fd3);
	pid_t pid = child(&w, take_step);
	assert_int_equal(cache_step_lock(s, &k, &fd, &err), 0);
	kill_child(pid);
	assert_int_equal(cache_step_lock(s, &k, &fd, &err), 1);
	close(fd);
	cache_store_close(s);
}

static void several_at_once_make_one_store(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	/* Eight at once make one store. */
	pid_t pids[8];
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		pids[i] = fork();
		if (!pids[i]) {
			cache_store_close(open_store(&w));
			_exit(0);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		int status;
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM meta WHERE k = 'uuid'"), 1);
}

static void synced_layers_lose_their_boot_mark(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct err *err = NULL;
	char text[200];
	snprintf(
		text, sizeof(text),
		"INSERT INTO layer(state, kind, boot) VALUES('ready', 'step', '%s'), ('work', 'step', '%s'), "
		"('ready', 'step', 'another')",
		s->boot, s->boot);
	sql(&w, "index.db", text);
	store_dirty(s);
	assert_true(cache_store_needs_sync(s));
	assert_int_equal(cache_store_sync(s, &err), 0);
	assert_false(cache_store_needs_sync(s));
	assert_int_equal(
		sql(&w, "index.db",
		    "SELECT count(*) FROM layer WHERE boot IS NULL AND id = 1 AND sum IS NOT NULL"),
		1);
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM layer WHERE boot IS NULL"), 1);
	assert_int_equal(cache_store_sync(s, &err), 0);
	cache_store_close(s);
}

static void long_logs_are_emptied(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	struct stat st;
	assert_false(cache_store_needs_sync(s));
	for (int i = 0; i < 60; i++) {
		char name[32];
		_cleanup_(db_write_endp) struct write t = { 0 };
		snprintf(name, sizeof(name), "%d", i);
		assert_int_equal(db_write_begin(&t, c, DB_INDEX, DB_NORMAL, &err), 0);
		exec_sql(c, DB_INDEX,
			 "INSERT INTO name(ref, image, updated) VALUES(?, randomblob(9000), 1)",
			 name);
		assert_int_equal(db_write_commit(&t, &err), 0);
	}
	assert_true(cache_store_needs_sync(s));
	/* Another process that reads keeps it from being emptied, but is not disturbed. */
	struct stmt *q = db_prepare(c, DB_INDEX, "SELECT ref FROM name", &err);
	assert_int_equal(db_step(q, &err), 1);
	assert_int_equal(cache_store_sync(s, &err), 0);
	assert_int_equal(db_step(q, &err), 1);
	db_done(q);
	assert_int_equal(cache_store_sync(s, &err), 0);
	assert_int_equal(fstatat(w.fd, "r/index.db-wal", &st, 0), 0);
	assert_int_equal(st.st_size, 0);
	assert_false(cache_store_needs_sync(s));
	cache_close(c);
	cache_store_close(s);
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM name"), 60);
}

static void a_full_disk(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	if (mount("none", w.path, "tmpfs", 0, "size=256k") < 0) {
		print_message("skipped: mounting a tmpfs: %s\n", strerror(errno));
		skip();
	}
	close(w.fd);
	w.fd = open(w.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct store *s = open_store(&w);
	struct err *err = NULL;
	_cleanup_(sb_releasep) struct sb b = { 0 };
	while (b.n < 1024 * 1024)
		sb_add_c(&b, "0123456789abcdef");
	/* Fill what is left. */
	int fd = openat(w.fd, "fill", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(io_write_full(fd, b.p, b.n), -1);
	close(fd);
	{
		_cleanup_(cache_closep) struct cache *c = must_open(s);
		_cleanup_(db_write_endp) struct write t = { 0 };
		_cleanup_(db_donep) struct stmt *q = NULL;
		/* The log does not grow: the write fails with the reason, and the connection is fine afterwards. */
		if (db_write_begin(&t, c, DB_INDEX, DB_FULL, &err) == 0) {
			q = db_prepare(c, DB_INDEX,
				       "INSERT INTO name(ref, image, updated) VALUES('a', ?, 1)",
				       &err);
			db_bind_blob(q, (struct str){ b.p, 200000 });
			if (db_exec(q, NULL, &err) == 0)
				assert_int_equal(db_write_commit(&t, &err), -1);
		}
		assert_int_equal(err->sys, ENOSPC);
		assert_non_null(strstr(err->msg, "No space left"));
		err_drop(&err);
		db_write_endp(&t);
		assert_int_equal(unlinkat(w.fd, "fill", 0), 0);
		assert_int_equal(db_write_begin(&t, c, DB_INDEX, DB_FULL, &err), 0);
		exec_sql(c, DB_INDEX, "INSERT INTO name(ref, image, updated) VALUES(?, x'00', 1)",
			 "a");
		assert_int_equal(db_write_commit(&t, &err), 0);
	}
	cache_store_close(s);
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM name"), 1);
	close(w.fd);
	w.fd = -1;
	assert_int_equal(umount(w.path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_store),
		cmocka_unit_test(refused_roots),
		cmocka_unit_test(an_unfinished_store_is_made_again),
		cmocka_unit_test(a_newer_schema_is_refused),
		cmocka_unit_test(leases),
		cmocka_unit_test(a_killed_command_is_swept),
		cmocka_unit_test(without_a_killer_processes_are_left),
		cmocka_unit_test(lost_and_half_made_leases),
		cmocka_unit_test(trash),
		cmocka_unit_test(step_locks),
		cmocka_unit_test(several_at_once_make_one_store),
		cmocka_unit_test(synced_layers_lose_their_boot_mark),
		cmocka_unit_test(long_logs_are_emptied),
		cmocka_unit_test(a_full_disk),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
