#define CBUILD_MAY_FORK
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "cache/record.h"
#include "tests/unit/cache_help.h"

static void statements_and_columns(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	struct digest d = { { 1, 2, 3 } }, back;
	size_t before = c->db[DB_INDEX].n;
	static const char text[] = "SELECT ?1, ?2, ?3, ?4, ?5, ?6";
	for (int i = 0; i < 3; i++) {
		_cleanup_(db_donep) struct stmt *q = db_prepare(c, DB_INDEX, text, &err);
		db_bind_int(q, -5);
		db_bind_digest(q, &d);
		db_bind_text(q, STR("a\0b"));
		db_bind_c(q, NULL);
		db_bind_blob(q, STR(""));
		db_bind_digest(q, NULL);
		assert_int_equal(db_step(q, &err), 1);
		assert_int_equal(db_int(q, 0), -5);
		assert_true(db_digest(q, 1, &back));
		assert_true(digest_eq(&d, &back));
		assert_int_equal(db_text(q, 2).n, 3);
		assert_true(db_null(q, 3));
		assert_null(db_text(q, 3).p);
		assert_non_null(db_blob(q, 4).p);
		assert_int_equal(db_blob(q, 4).n, 0);
		assert_false(db_digest(q, 5, &back));
		assert_false(db_digest(q, 4, &back));
		assert_int_equal(db_step(q, &err), 0);
	}
	/* Prepared once. */
	assert_int_equal(c->db[DB_INDEX].n, before + 1);
	_cleanup_(db_donep) struct stmt *bad =
		db_prepare(c, DB_INDEX, "SELECT a FROM nowhere", &err);
	assert_null(bad);
	assert_non_null(strstr(err->msg, "nowhere"));
	err_drop(&err);
	cache_close(c);
	cache_store_close(s);
}

static void a_write_without_commit_is_undone(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	{
		_cleanup_(db_write_endp) struct write t = { 0 };
		assert_int_equal(db_write_begin(&t, c, DB_INDEX, DB_NORMAL, &err), 0);
		exec_sql(c, DB_INDEX, "INSERT INTO meta(k, v) VALUES(?, 1)", "x");
	}
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM meta WHERE k = 'x'"), 0);
	{
		_cleanup_(db_write_endp) struct write t = { 0 };
		assert_int_equal(db_write_begin(&t, c, DB_INDEX, DB_FULL, &err), 0);
		exec_sql(c, DB_INDEX, "INSERT INTO meta(k, v) VALUES(?, 1)", "x");
		assert_int_equal(db_write_commit(&t, &err), 0);
	}
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM meta WHERE k = 'x'"), 1);
	/* STRICT. */
	{
		_cleanup_(db_write_endp) struct write t = { 0 };
		_cleanup_(db_donep) struct stmt *q = NULL;
		assert_int_equal(db_write_begin(&t, c, DB_INDEX, DB_NORMAL, &err), 0);
		q = db_prepare(
			c, DB_INDEX,
			"INSERT INTO layer(state, kind, size) VALUES('work', 'step', 'much')",
			&err);
		assert_int_equal(db_exec(q, NULL, &err), -1);
		err_drop(&err);
	}
	cache_close(c);
	cache_store_close(s);
}

/* A child that holds the writer's lock of a database until it is killed. */
static pid_t hold(struct world *w, const char *file)
{
	int pipes[2];
	char c;
	assert_int_equal(pipe(pipes), 0);
	pid_t pid = fork();
	if (!pid) {
		_cleanup_free_ char *path = xasprintf("%s/r/%s", w->path, file);
		sqlite3 *h;
		if (sqlite3_open_v2(path, &h, SQLITE_OPEN_READWRITE, NULL) ||
		    sqlite3_exec(h, "BEGIN IMMEDIATE", NULL, NULL, NULL) ||
		    write(pipes[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(pipes[1]);
	assert_int_equal(read(pipes[0], &c, 1), 1);
	close(pipes[0]);
	return pid;
}

struct later {
	pid_t pid;
	struct store *s;
	int ms;
};

static void *kill_later(void *arg)
{
	struct later *l = arg;
	struct timespec t = { 0, l->ms * 1000000L };
	nanosleep(&t, NULL);
	if (l->pid)
		kill(l->pid, SIGKILL);
	else
		cache_store_cancel(l->s);
	return NULL;
}

static void a_foreign_writer_is_waited_for(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	pthread_t t;
	struct later l = { .pid = hold(&w, "index.db"), .s = s, .ms = 150 };
	/* Readers do not wait. */
	{
		int64_t before = clock_mono_ns();
		_cleanup_(db_donep) struct stmt *q =
			db_prepare(c, DB_INDEX, "SELECT count(*) FROM layer", &err);
		assert_int_equal(db_step(q, &err), 1);
		assert_true(clock_mono_ns() - before < 100 * 1000000);
	}
	pthread_create(&t, NULL, kill_later, &l);
	{
		_cleanup_(db_write_endp) struct write wr = { 0 };
		assert_int_equal(db_write_begin(&wr, c, DB_INDEX, DB_NORMAL, &err), 0);
		assert_int_equal(db_write_commit(&wr, &err), 0);
	}
	pthread_join(t, NULL);
	waitpid(l.pid, NULL, 0);
	/* A canceled one stops waiting. */
	pid_t pid = hold(&w, "index.db");
	l = (struct later){ .s = s, .ms = 50 };
	pthread_create(&t, NULL, kill_later, &l);
	int64_t before = clock_mono_ns();
	struct write wr = { 0 };
	assert_int_equal(db_write_begin(&wr, c, DB_INDEX, DB_NORMAL, &err), -1);
	assert_int_equal(err->code, ERR_CANCELED);
	err_drop(&err);
	assert_true(clock_mono_ns() - before < INT64_C(2000) * 1000000);
	pthread_join(t, NULL);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(db_write_begin(&wr, c, DB_INDEX, DB_NORMAL, &err), 0);
	db_write_endp(&wr);
	cache_close(c);
	cache_store_close(s);
}

static void a_stopped_writer_is_named(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	struct write wr = { 0 };
	struct record r = { .key = { { 1 } }, .op = { { 2 } }, .r = { { 3 } } };
	bool has;
	char pid_text[32];
	s->patience_ms = 200;
	assert_int_equal(cache_record_has_op(c, &r.op, &has, &err), 0);
	pid_t pid = hold(&w, "index.db");
	assert_int_equal(db_write_begin(&wr, c, DB_INDEX, DB_NORMAL, &err), -1);
	assert_int_equal(err->code, ERR_TIMEOUT);
	snprintf(pid_text, sizeof(pid_text), "process %d ", (int)pid);
	assert_non_null(strstr(err->msg, pid_text));
	err_drop(&err);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	/* Guesses are given up, the build goes on. */
	pid = hold(&w, "cache.db");
	assert_int_equal(cache_record_put(c, &r, false, &err), 0);
	assert_non_null(strstr(w.said, "not remembered"));
	int64_t before = clock_mono_ns();
	assert_int_equal(cache_record_put(c, &r, false, &err), 0);
	assert_true(clock_mono_ns() - before < 100 * 1000000);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	cache_close(c);
	cache_store_close(s);
}

struct job {
	struct store *s;
	int n;
};

static void *write_many(void *arg)
{
	struct job *j = arg;
	_cleanup_(cache_closep) struct cache *c = must_open(j->s);
	struct err *err = NULL;
	for (int i = 0; i < j->n; i++) {
		_cleanup_(db_write_endp) struct write w = { 0 };
		if (db_write_begin(&w, c, DB_INDEX, DB_NORMAL, &err) < 0)
			fail_msg("%s", err->msg);
		exec_sql(c, DB_INDEX, "INSERT INTO layer(state, kind) VALUES('ready', ?)", "step");
		if (db_write_commit(&w, &err) < 0)
			fail_msg("%s", err->msg);
	}
	return NULL;
}

static void threads_and_processes_write_at_once(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	cache_store_close(open_store(&w));
	enum { PROCESSES = 2, THREADS = 3, EACH = 40 };
	pid_t pids[PROCESSES];
	for (int p = 0; p < PROCESSES; p++) {
		pids[p] = fork();
		if (pids[p])
			continue;
		struct store *s = open_store(&w);
		struct job j = { s, EACH };
		pthread_t t[THREADS];
		for (int i = 0; i < THREADS; i++)
			pthread_create(&t[i], NULL, write_many, &j);
		for (int i = 0; i < THREADS; i++)
			pthread_join(t[i], NULL);
		cache_store_close(s);
		_exit(0);
	}
	for (int p = 0; p < PROCESSES; p++) {
		int status;
		waitpid(pids[p], &status, 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM layer"),
			 PROCESSES * THREADS * EACH);
	assert_int_equal(sql(&w, "index.db", "SELECT max(id) FROM layer"),
			 PROCESSES * THREADS * EACH);
}

static void a_paused_store_does_not_write(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct job j = { s, 1 };
	pthread_t t;
	cache_store_pause(s);
	pthread_create(&t, NULL, write_many, &j);
	struct timespec wait = { 0, 50 * 1000000L };
	nanosleep(&wait, NULL);
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM layer"), 0);
	cache_store_resume(s);
	pthread_join(t, NULL);
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM layer"), 1);
	cache_store_close(s);
}

static void put_one(struct world *w, struct cache *c)
{
	struct err *err = NULL;
	struct record r = { .key = { { 1 } }, .op = { { 2 } }, .r = { { 3 } } };
	assert_int_equal(cache_record_put(c, &r, true, &err), 0);
	(void)w;
}

static bool has_one(struct cache *c)
{
	struct err *err = NULL;
	struct digest op = { { 2 } };
	bool has;
	assert_int_equal(cache_record_has_op(c, &op, &has, &err), 0);
	return has;
}

static void cache_db_may_vanish(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	put_one(&w, c);
	assert_true(has_one(c));
	/* Removed under a running command: that goes on. */
	assert_int_equal(unlinkat(w.fd, "r/cache.db", 0), 0);
	assert_int_equal(unlinkat(w.fd, "r/cache.db-wal", 0), 0);
	assert_int_equal(unlinkat(w.fd, "r/cache.db-shm", 0), 0);
	has_one(c);
	cache_close(c);
	cache_store_close(s);
	w.said[0] = '\0';
	s = open_store(&w);
	c = must_open(s);
	assert_false(has_one(c));
	put_one(&w, c);
	assert_true(has_one(c));
	cache_close(c);
	cache_store_close(s);
	assert_string_equal(w.said, "");
	/* A command that only reads makes none. */
	assert_int_equal(unlinkat(w.fd, "r/cache.db", 0), 0);
	w.read_only = true;
	s = open_store(&w);
	c = must_open(s);
	assert_false(has_one(c));
	assert_false(present(&w, "r/cache.db"));
	cache_close(c);
	cache_store_close(s);
	assert_string_equal(w.said, "");
}

static void a_foreign_or_damaged_cache_db_is_replaced(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	put_one(&w, c);
	cache_close(c);
	cache_store_close(s);
	sql(&w, "cache.db",
	    "UPDATE meta SET v = x'00112233445566778899aabbccddeeff' WHERE k = 'uuid'");
	s = open_store(&w);
	c = must_open(s);
	assert_false(has_one(c));
	assert_non_null(strstr(w.said, "another store"));
	put_one(&w, c);
	assert_true(has_one(c));
	cache_close(c);
	cache_store_close(s);
	/* Garbage. */
	assert_int_equal(unlinkat(w.fd, "r/cache.db-wal", 0), 0);
	put_file(
		&w, "r/cache.db",
		"this is not a database, but it is long enough to have a header of 100 bytes, which SQLite reads first.");
	s = open_store(&w);
	c = must_open(s);
	w.said[0] = '\0';
	assert_false(has_one(c));
	put_one(&w, c);
	cache_close(c);
	cache_store_close(s);
	assert_non_null(strstr(w.said, "cache.db"));
	w.said[0] = '\0';
	s = open_store(&w);
	c = must_open(s);
	put_one(&w, c);
	assert_true(has_one(c));
	assert_string_equal(w.said, "");
	/* A newer one is left alone. */
	cache_close(c);
	cache_store_close(s);
	sql(&w, "cache.db", "PRAGMA user_version = 9");
	s = open_store(&w);
	c = must_open(s);
	assert_false(has_one(c));
	put_one(&w, c);
	assert_non_null(strstr(w.said, "newer cbuild"));
	cache_close(c);
	cache_store_close(s);
	assert_int_equal(sql(&w, "cache.db", "SELECT count(*) FROM record"), 1);
}

static void damaged_layer_rows_are_dropped(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	struct layer l = make_layer(c, 7), other = make_layer(c, 8);
	bool live;
	assert_int_equal(layer_is_live(c, &l, &live, &err), 0);
	assert_true(live);
	cache_close(c);
	cache_store_close(s);
	sql(&w, "index.db", "UPDATE layer SET size = size + 1 WHERE id = 1");
	s = open_store(&w);
	c = must_open(s);
	assert_int_equal(layer_is_live(c, &l, &live, &err), 0);
	assert_false(live);
	assert_non_null(strstr(w.said, "layer 1 is damaged"));
	assert_int_equal(layer_is_live(c, &other, &live, &err), 0);
	assert_true(live);
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM layer WHERE state = 'dead'"), 1);
	/* Another diff ID than the chain says is another layer. */
	other.diffid.b[0] ^= 1;
	assert_int_equal(layer_is_live(c, &other, &live, &err), 0);
	assert_false(live);
	cache_close(c);
	cache_store_close(s);
}

static void layers_of_another_boot(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	make_layer(c, 7);
	make_layer(c, 8);
	cache_close(c);
	cache_store_close(s);
	/* Not covered by a syncfs, and there is no folder: dropped. A synced one is believed. */
	sql(&w, "index.db", "UPDATE layer SET boot = 'another' WHERE id = 1");
	cache_store_close(open_store(&w));
	assert_non_null(strstr(w.said, "layer 1 was not on disk"));
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM layer"), 1);
	assert_int_equal(sql(&w, "index.db", "SELECT id FROM layer"), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(statements_and_columns),
		cmocka_unit_test(a_write_without_commit_is_undone),
		cmocka_unit_test(a_foreign_writer_is_waited_for),
		cmocka_unit_test(a_stopped_writer_is_named),
		cmocka_unit_test(threads_and_processes_write_at_once),
		cmocka_unit_test(a_paused_store_does_not_write),
		cmocka_unit_test(cache_db_may_vanish),
		cmocka_unit_test(a_foreign_or_damaged_cache_db_is_replaced),
		cmocka_unit_test(damaged_layer_rows_are_dropped),
		cmocka_unit_test(layers_of_another_boot),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
