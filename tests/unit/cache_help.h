/*
 * cache_help: what the unit programs of the store share: a world is a temporary folder with a store's root `r` and run folder `run`.
 */
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <sys/stat.h>

#include <string.h>

#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "cache/db.h"
#include "cache/internal.h"
#include "cache/store.h"

struct world {
	char path[64];
	int fd;
	bool read_only;
	int (*strays)(void *arg, int run_fd, const char *lease, struct err **err);
	char said[1024];
};

static inline struct world world_begin(void)
{
	struct world w = { .path = "/tmp/cbuild-unit-XXXXXX" };
	assert_non_null(mkdtemp(w.path));
	w.fd = open(w.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(w.fd >= 0);
	return w;
}

static inline void world_end(struct world *w)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	mem_closep(&w->fd);
	if (io_remove_tree(AT_FDCWD, w->path, &e) < 0)
		print_message("%s\n", e->msg);
}

static inline void hear(void *arg, const char *text)
{
	struct world *w = arg;
	snprintf(w->said, sizeof(w->said), "%s", text);
}

static inline struct store *try_store(struct world *w, struct err **err)
{
	_cleanup_free_ char *root = xasprintf("%s/r", w->path), *run = xasprintf("%s/run", w->path);
	struct store_options o = { .root = root,
				   .run = run,
				   .read_only = w->read_only,
				   .strays = w->strays,
				   .strays_arg = w,
				   .warn = hear,
				   .warn_arg = w };
	return cache_store_open(&o, err);
}

static inline struct store *open_store(struct world *w)
{
	struct err *err = NULL;
	struct store *s = try_store(w, &err);
	if (!s)
		fail_msg("%s", err->msg);
	return s;
}

static inline void refuse_store(struct world *w, enum err_code code, const char *says)
{
	_cleanup_(err_dropp) struct err *err = NULL;
	assert_null(try_store(w, &err));
	if (err->code != code || !strstr(err->msg, says))
		fail_msg("%d %s", err->code, err->msg);
}

static inline struct cache *must_open(struct store *s)
{
	struct err *err = NULL;
	struct cache *c = cache_open(s, &err);
	if (!c)
		fail_msg("%s", err->msg);
	return c;
}

static inline bool present(struct world *w, const char *path)
{
	struct stat st;
	return fstatat(w->fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static inline void put_file(struct world *w, const char *path, const char *text)
{
	struct err *err = NULL;
	if (io_replace_file(w->fd, path, str_c(text), 0600, false, &err) < 0)
		fail_msg("%s", err->msg);
}

/* Entries of a folder, hidden ones too. */
static inline int count(struct world *w, const char *path)
{
	int n = 0;
	_cleanup_closedir_ DIR *d =
		fdopendir(openat(w->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
	return n;
}

static inline void first_name(struct world *w, const char *path, char name[256])
{
	_cleanup_closedir_ DIR *d =
		fdopendir(openat(w->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	assert_non_null(d);
	name[0] = '\0';
	for (struct dirent *e; (e = readdir(d));)
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			snprintf(name, 256, "%s", e->d_name);
}

/* Runs SQL from outside, as another program would; the first column of the first row, or 0. */
static inline int64_t sql(struct world *w, const char *file, const char *text)
{
	_cleanup_free_ char *path = xasprintf("%s/r/%s", w->path, file);
	sqlite3 *h;
	sqlite3_stmt *q;
	int64_t v = 0;
	assert_int_equal(sqlite3_open_v2(path, &h, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	sqlite3_db_config(h, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)NULL);
	sqlite3_busy_timeout(h, 5000);
	if (sqlite3_prepare_v2(h, text, -1, &q, NULL) != SQLITE_OK)
		fail_msg("%s: %s", text, sqlite3_errmsg(h));
	int rc = sqlite3_step(q);
	if (rc == SQLITE_ROW)
		v = sqlite3_column_int64(q, 0);
	else if (rc != SQLITE_DONE)
		fail_msg("%s: %s", text, sqlite3_errmsg(h));
	sqlite3_finalize(q);
	sqlite3_close(h);
	return v;
}

/* Runs a statement with one text parameter within a connection. */
static inline void exec_sql(struct cache *c, enum db_which which, const char *text,
			    const char *param)
{
	struct err *err = NULL;
	struct stmt *s = db_prepare(c, which, text, &err);
	if (!s)
		fail_msg("%s", err->msg);
	db_bind_c(s, param);
	if (db_exec(s, NULL, &err) < 0)
		fail_msg("%s", err->msg);
}

/* A ready layer by its row alone (its folder, where one is wanted, is the test's business); diff ID: 32 times `fill`. */
static inline struct layer make_layer(struct cache *c, uint8_t fill)
{
	struct err *err = NULL;
	struct layer l = { .created_ns = 1000 + fill };
	memset(l.diffid.b, fill, sizeof(l.diffid.b));
	_cleanup_(db_write_endp) struct write w = { 0 };
	assert_int_equal(db_write_begin(&w, c, DB_INDEX, DB_NORMAL, &err), 0);
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		c, DB_INDEX,
		"INSERT INTO layer(state, kind, diffid, m, size) VALUES('ready', 'step', ?1, ?1, 100)",
		&err);
	assert_non_null(q);
	db_bind_digest(q, &l.diffid);
	assert_int_equal(db_exec(q, NULL, &err), 0);
	l.id = db_last_id(c, DB_INDEX);
	assert_int_equal(db_layer_sum(c, l.id, &err), 0);
	assert_int_equal(db_write_commit(&w, &err), 0);
	return l;
}
