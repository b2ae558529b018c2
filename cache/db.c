#include "cache/db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "cache/internal.h"
#include "cache/schema.h"

enum {
	WAIT_FIRST_MS = 5,
	WAIT_LAST_MS = 100,
	WAL_BACKSTOP_PAGES = 2048, /* the tail checkpoints; this bounds the log where none runs */
	WRITER_BYTE = 120,         /* SQLite's WAL_WRITE_LOCK in the -shm file */
};

static const char *const file_names[DB_COUNT] = { "index.db", "cache.db" };

/* ---- errors and waiting */

/* The error for a result code of SQLite. */
static int db_fail(struct cache *c, enum db_which which, int rc, const char *what, struct err **err)
{
	sqlite3 *h = c->db[which].h;
	int kind = rc & 0xff, sys = 0;
	enum err_code code = ERR_IO;
	if (kind == SQLITE_CORRUPT || kind == SQLITE_NOTADB)
		code = ERR_INTEGRITY;
	else if (kind == SQLITE_BUSY || kind == SQLITE_LOCKED)
		code = ERR_TIMEOUT;
	else if (kind == SQLITE_READONLY || kind == SQLITE_PERM)
		code = ERR_DENIED;
	else if (kind == SQLITE_FULL)
		sys = ENOSPC;
	else if ((kind == SQLITE_IOERR || kind == SQLITE_CANTOPEN) && h)
		sys = sqlite3_system_errno(h);
	char reason[128];
	const char *text =
		h && sqlite3_extended_errcode(h) == rc ? sqlite3_errmsg(h) : sqlite3_errstr(rc);
	if (sys)
		text = strerror_r(sys, reason, sizeof(reason));
	err_set(err, code, "%s '%s/%s': %s", what, c->store->root, file_names[which], text);
	(*err)->sys = sys;
	if (code == ERR_INTEGRITY && which == DB_GUESS)
		db_guess_broken(c);
	else if (code == ERR_INTEGRITY)
		err_hint(err,
			 "the store's index is damaged; without the folder a new store begins, and "
			 "what was in it is pulled and built again");
	return -1;
}

void db_guess_broken(struct cache *c)
{
	struct store *s = c->store;
	if (atomic_exchange(&s->guess_off, true) || s->read_only)
		return;
	/* Only SQLite may open these files; removing their names does not touch its locks. */
	struct stat st;
	if (fstatat(s->root_fd, file_names[DB_GUESS], &st, 0) == 0 &&
	    st.st_ino == c->db[DB_GUESS].ino) {
		unlinkat(s->root_fd, "cache.db", 0);
		unlinkat(s->root_fd, "cache.db-wal", 0);
		unlinkat(s->root_fd, "cache.db-shm", 0);
	}
	store_warn(s, "cache.db is damaged and was removed: what earlier builds did is forgotten");
}

/* The pid that holds SQLite's writer lock, or 0. Opening the file to ask by fcntl would drop our own locks when it is closed. */
static long writer_pid(struct cache *c, enum db_which which)
{
	char shm[32];
	struct stat st;
	_cleanup_(sb_releasep) struct sb b;
	_cleanup_(err_dropp) struct err *e = NULL;
	sb_init(&b, 4 * 1024 * 1024);
	snprintf(shm, sizeof(shm), "%s-shm", file_names[which]);
	if (fstatat(c->store->root_fd, shm, &st, 0) < 0 ||
	    io_read_file(AT_FDCWD, "/proc/locks", &b, &e) < 0)
		return 0;
	for (struct str rest = sb_str(&b), line; str_cut(rest, '\n', &line, &rest);) {
		long pid;
		unsigned major, minor;
		unsigned long ino, from;
		_cleanup_free_ char *text = str_dup(line);
		if (sscanf(text, "%*s POSIX %*s WRITE %ld %x:%x:%lu %lu", &pid, &major, &minor,
			   &ino, &from) == 5 &&
		    from == WRITER_BYTE && ino == st.st_ino && makedev(major, minor) == st.st_dev)
			return pid;
	}
	return 0;
}

/* Sleeps before the next attempt; false when patience is over. */
static bool wait_turn(struct cache *c, int64_t since_ns, int *wait_ms)
{
	if (atomic_load(&c->store->canceled) ||
	    clock_mono_ns() - since_ns > c->store->patience_ms * INT64_C(1000000))
		return false;
	struct timespec t = { 0, *wait_ms * 1000000L };
	nanosleep(&t, NULL);
	*wait_ms = *wait_ms * 2 > WAIT_LAST_MS ? WAIT_LAST_MS : *wait_ms * 2;
	return true;
}

/* ---- opening */

/* rowsum(table, column…): the first 8 bytes of H("cbuild.row.1", uuid, table, columns…). */
static void rowsum(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	const struct store *s = sqlite3_user_data(ctx);
	struct digester h;
	digest_fields(&h, "cbuild.row.1");
	digest_field(&h, s->uuid, sizeof(s->uuid));
	for (int i = 0; i < n; i++) {
		const void *p = sqlite3_value_type(v[i]) == SQLITE_BLOB
			? sqlite3_value_blob(v[i])
			: (const void *)sqlite3_value_text(v[i]);
		digest_field(&h, p, (size_t)sqlite3_value_bytes(v[i]));
	}
	struct digest d = digest_end(&h);
	sqlite3_result_blob(ctx, d.b, 8, SQLITE_TRANSIENT);
}

/* Runs SQL without parameters or result, trying again while another process is in the way. */
static int run_sql(struct cache *c, enum db_which which, const char *sql, struct err **err)
{
	int64_t since = clock_mono_ns();
	int wait = WAIT_FIRST_MS, rc;
	do {
		rc = sqlite3_exec(c->db[which].h, sql, NULL, NULL, NULL);
	} while ((rc & 0xff) == SQLITE_BUSY && wait_turn(c, since, &wait));
	return rc == SQLITE_OK ? 0 : db_fail(c, which, rc, "write", err);
}

static void close_file(struct db_file *f)
{
	for (size_t i = 0; i < f->cap; i++) {
		if (f->stmts[i])
			sqlite3_finalize(f->stmts[i]->s);
		free(f->stmts[i]);
	}
	free(f->stmts);
	sqlite3_close(f->h);
	*f = (struct db_file){ 0 };
}

/* Opens one file; makes it where `create`. ERR_NOT_FOUND when it is not there. */
static int open_file(struct cache *c, enum db_which which, bool create, struct err **err)
{
	struct db_file *f = &c->db[which];
	_cleanup_free_ char *path = xasprintf("%s/%s", c->store->root, file_names[which]);
	struct stat st;
	if (!create && fstatat(c->store->root_fd, file_names[which], &st, 0) < 0)
		return err_sys(err, "open '%s'", path);
	/* SQLite would make it readable for all, and configs and build arguments are in it. A file that is new has no locks that
	 * closing it could drop. */
	if (create) {
		int fresh = openat(c->store->root_fd, file_names[which],
				   O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		mem_closep(&fresh);
	}
	int rc = sqlite3_open_v2(path, &f->h,
				 SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
					 (create ? SQLITE_OPEN_CREATE : 0),
				 NULL);
	if (!f->h)
		mem_fail();
	sqlite3_extended_result_codes(f->h, 1);
	if (rc != SQLITE_OK) {
		db_fail(c, which, rc, "open", err);
		close_file(f);
		return -1;
	}
	if (fstatat(c->store->root_fd, file_names[which], &st, 0) == 0)
		f->ino = st.st_ino;
	/* A short command must not pay for a checkpoint; and whoever closes last must not remove the log by its name, which may
	 * belong to another file by now. */
	sqlite3_db_config(f->h, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)NULL);
	sqlite3_db_config(f->h, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, (int *)NULL);
	sqlite3_wal_autocheckpoint(f->h, WAL_BACKSTOP_PAGES);
	if (sqlite3_create_function(f->h, "rowsum", -1,
				    SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY,
				    c->store, rowsum, NULL, NULL))
		mem_fail();
	f->full = true;
	return 0;
}

int db_version(struct cache *c, enum db_which which, int64_t *ret, struct err **err)
{
	_cleanup_(db_donep) struct stmt *s = db_prepare(c, which, "PRAGMA user_version", err);
	if (!s || db_step(s, err) < 0)
		return -1;
	*ret = db_int(s, 0);
	return 0;
}

static int read_uuid(struct cache *c, enum db_which which, uint8_t uuid[UUID_BYTES],
		     struct err **err)
{
	_cleanup_(db_donep) struct stmt *s =
		db_prepare(c, which, "SELECT v FROM meta WHERE k = 'uuid'", err);
	int r = s ? db_step(s, err) : -1;
	if (r < 0)
		return -1;
	struct str v = r ? db_blob(s, 0) : STR("");
	if (v.n != UUID_BYTES)
		return err_set(err, ERR_INTEGRITY, "read '%s/%s': it has no uuid", c->store->root,
			       file_names[which]);
	memcpy(uuid, v.p, UUID_BYTES);
	return 0;
}

static int newer(struct cache *c, enum db_which which, int64_t version, int known, struct err **err)
{
	return err_set(err, ERR_UNSUPPORTED,
		       "store '%s': %s was made by a newer cbuild (schema %lld; this one knows %d)",
		       c->store->root, file_names[which], (long long)version, known);
}

/* Makes the tables, unless another process has done it meanwhile. */
static int make_tables(struct cache *c, enum db_which which, const uint8_t uuid[UUID_BYTES],
		       struct err **err)
{
	_cleanup_(db_write_endp) struct write w = { 0 };
	const char *ddl = which == DB_INDEX ? INDEX_SCHEMA : GUESS_SCHEMA;
	int64_t version;
	char pragma[64];
	snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %d",
		 which == DB_INDEX ? INDEX_VERSION : GUESS_VERSION);
	if (run_sql(c, which, "PRAGMA journal_mode = WAL", err) < 0 ||
	    db_write_begin(&w, c, which, DB_FULL, err) < 0 ||
	    db_version(c, which, &version, err) < 0)
		return -1;
	if (version)
		return 0;
	if (run_sql(c, which, ddl, err) < 0 || run_sql(c, which, pragma, err) < 0)
		return -1;
	_cleanup_(db_donep) struct stmt *s = db_prepare(
		c, which, "INSERT INTO meta(k, v) VALUES('uuid', ?), ('form', 'trusted')", err);
	if (!s)
		return -1;
	db_bind_blob(s, (struct str){ (const char *)uuid, UUID_BYTES });
	return db_exec(s, NULL, err) < 0 ? -1 : db_write_commit(&w, err);
}

int db_open_index(struct cache *c, bool create, struct err **err)
{
	struct store *s = c->store;
	int64_t version;
	if (open_file(c, DB_INDEX, create, err) < 0)
		return -1;
	if (create && make_tables(c, DB_INDEX, s->uuid, err) < 0)
		return -1;
	if (db_version(c, DB_INDEX, &version, err) < 0)
		return -1;
	if (version > INDEX_VERSION)
		return newer(c, DB_INDEX, version, INDEX_VERSION, err);
	if (!version)
		return err_set(err, ERR_NOT_FOUND, "open '%s/index.db': it has no tables", s->root);
	uint8_t uuid[UUID_BYTES];
	if (read_uuid(c, DB_INDEX, uuid, err) < 0)
		return -1;
	if (s->opened && memcmp(uuid, s->uuid, UUID_BYTES))
		return err_set(err, ERR_INTEGRITY,
			       "open '%s/index.db': it was replaced while it was used", s->root);
	if (!s->opened)
		memcpy(s->uuid, uuid, UUID_BYTES);
	return 0;
}

/* Whether cache.db, just opened, is ours and whole. ERR_NOT_FOUND: it has no tables; ERR_INTEGRITY: it belongs to another store. */
static int check_guess(struct cache *c, struct err **err)
{
	uint8_t uuid[UUID_BYTES];
	int64_t version;
	if (db_version(c, DB_GUESS, &version, err) < 0)
		return -1;
	if (version > GUESS_VERSION)
		return newer(c, DB_GUESS, version, GUESS_VERSION, err);
	if (!version)
		return err_set(err, ERR_NOT_FOUND, "open '%s/cache.db': it has no tables",
			       c->store->root);
	if (read_uuid(c, DB_GUESS, uuid, err) < 0)
		return -1;
	if (memcmp(uuid, c->store->uuid, UUID_BYTES))
		return err_set(err, ERR_INTEGRITY,
			       "open '%s/cache.db': it belongs to another store", c->store->root);
	return 0;
}

/* Makes cache.db, or makes it anew where it is another store's, one process at a time. */
static int make_guess(struct cache *c, struct err **err)
{
	struct store *s = c->store;
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_close_ int lock =
		openat(s->root_fd, "locks/guess", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock < 0)
		return err_sys(err, "open '%s/locks/guess'", s->root);
	if (store_flock(s, lock, LOCK_EX, err) < 0)
		return err_wrap(err, "make '%s/cache.db'", s->root);
	close_file(&c->db[DB_GUESS]);
	if (open_file(c, DB_GUESS, true, err) < 0)
		return -1;
	if (check_guess(c, &e) == 0)
		return 0;
	if (e->code == ERR_INTEGRITY) {
		close_file(&c->db[DB_GUESS]);
		unlinkat(s->root_fd, "cache.db", 0);
		unlinkat(s->root_fd, "cache.db-wal", 0);
		unlinkat(s->root_fd, "cache.db-shm", 0);
		if (open_file(c, DB_GUESS, true, err) < 0)
			return -1;
	} else if (e->code != ERR_NOT_FOUND) {
		return err_move(err, STEAL(e));
	}
	return make_tables(c, DB_GUESS, s->uuid, err);
}

static int open_guess(struct cache *c, struct err **err)
{
	struct store *s = c->store;
	_cleanup_(err_dropp) struct err *e = NULL;
	if (open_file(c, DB_GUESS, false, &e) == 0 && check_guess(c, &e) == 0)
		return 0;
	bool mendable = (e->code == ERR_NOT_FOUND || e->code == ERR_INTEGRITY) && !s->read_only;
	if (e->code == ERR_INTEGRITY)
		store_warn(s, "%s: it is made anew", e->msg);
	if (mendable && !c->writing) {
		err_drop(&e);
		if (make_guess(c, &e) == 0)
			return 0;
	}
	close_file(&c->db[DB_GUESS]);
	if (!atomic_exchange(&s->guess_off, true) && e->code != ERR_NOT_FOUND)
		store_warn(s, "earlier builds are not looked at: %s", e->msg);
	return err_move(err, STEAL(e));
}

static int want_file(struct cache *c, enum db_which which, struct err **err)
{
	if (which == DB_GUESS && atomic_load(&c->store->guess_off))
		return err_set(err, ERR_UNSUPPORTED, "'%s/cache.db' is not used", c->store->root);
	if (c->db[which].h)
		return 0;
	return which == DB_INDEX ? db_open_index(c, false, err) : open_guess(c, err);
}

struct cache *cache_open(struct store *s, struct err **err)
{
	pthread_mutex_lock(&s->state);
	struct cache *c = STEAL(s->spare);
	pthread_mutex_unlock(&s->state);
	if (c)
		return c;
	c = db_new(s);
	if (want_file(c, DB_INDEX, err) < 0) {
		cache_close(c);
		return NULL;
	}
	return c;
}

struct cache *db_new(struct store *s)
{
	struct cache *c = xcalloc(1, sizeof(*c));
	c->store = s;
	return c;
}

void cache_close(struct cache *c)
{
	if (!c)
		return;
	for (int i = 0; i < DB_COUNT; i++)
		close_file(&c->db[i]);
	free(c);
}

void cache_closep(struct cache **c)
{
	cache_close(*c);
}

static void *open_context(void *store)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	struct cache *c = cache_open(store, &e);
	if (!c)
		log_debug("open a worker's databases: %s", e->msg);
	return c;
}

static void close_context(void *cache)
{
	cache_close(cache);
}

struct pool_context cache_pool_context(struct store *s)
{
	return (struct pool_context){ open_context, close_context, s };
}

struct store *cache_store_of(const struct cache *c)
{
	return c->store;
}

/* ---- statements */

static struct stmt **slot_of(struct db_file *f, const char *sql)
{
	size_t i = ((uintptr_t)sql >> 3) * UINT64_C(0x9e3779b97f4a7c15) >> 32 & (f->cap - 1);
	while (f->stmts[i] && f->stmts[i]->sql != sql)
		i = (i + 1) & (f->cap - 1);
	return &f->stmts[i];
}

static struct stmt *find_or_add(struct db_file *f, const char *sql)
{
	if (f->n * 2 >= f->cap) {
		struct db_file old = *f;
		f->cap = old.cap ? old.cap * 2 : 32;
		f->stmts = xcalloc(f->cap, sizeof(struct stmt *));
		for (size_t i = 0; i < old.cap; i++)
			if (old.stmts[i])
				*slot_of(f, old.stmts[i]->sql) = old.stmts[i];
		free(old.stmts);
	}
	struct stmt **slot = slot_of(f, sql);
	if (!*slot) {
		*slot = xcalloc(1, sizeof(**slot));
		(*slot)->sql = sql;
		f->n++;
	}
	return *slot;
}

struct stmt *db_prepare(struct cache *c, enum db_which which, const char *sql, struct err **err)
{
	if (want_file(c, which, err) < 0)
		return NULL;
	struct stmt *s = find_or_add(&c->db[which], sql);
	if (s->busy)
		BUG("statement used within itself: %s", sql);
	s->c = c;
	s->which = which;
	s->bound = 0;
	int64_t since = clock_mono_ns();
	int wait = WAIT_FIRST_MS, rc = SQLITE_OK;
	/* The first one reads the schema, which may meet another process's recovery of the log. */
	while (!s->s) {
		rc = sqlite3_prepare_v3(c->db[which].h, sql, -1, SQLITE_PREPARE_PERSISTENT, &s->s,
					NULL);
		if (rc == SQLITE_OK || (rc & 0xff) != SQLITE_BUSY || !wait_turn(c, since, &wait))
			break;
	}
	if (!s->s) {
		db_fail(c, which, rc, "read", err);
		return NULL;
	}
	s->busy = true;
	return s;
}

void db_done(struct stmt *s)
{
	if (!s || !s->busy)
		return;
	sqlite3_reset(s->s);
	sqlite3_clear_bindings(s->s);
	s->busy = false;
}

void db_donep(struct stmt **s)
{
	db_done(*s);
}

static void bound(struct stmt *s, int rc)
{
	if (rc == SQLITE_NOMEM)
		mem_fail();
	if (rc != SQLITE_OK && rc != SQLITE_TOOBIG)
		BUG("bind %d: %s", s->bound, s->sql);
}

void db_bind_int(struct stmt *s, int64_t v)
{
	bound(s, sqlite3_bind_int64(s->s, ++s->bound, v));
}

void db_bind_blob(struct stmt *s, struct str v)
{
	bound(s,
	      v.p ? sqlite3_bind_blob64(s->s, ++s->bound, v.p, v.n, SQLITE_TRANSIENT)
		  : sqlite3_bind_null(s->s, ++s->bound));
}

void db_bind_digest(struct stmt *s, const struct digest *d)
{
	db_bind_blob(
		s, d ? (struct str){ (const char *)d->b, sizeof(d->b) } : (struct str){ NULL, 0 });
}

void db_bind_text(struct stmt *s, struct str v)
{
	bound(s,
	      v.p ? sqlite3_bind_text64(s->s, ++s->bound, v.p, v.n, SQLITE_TRANSIENT, SQLITE_UTF8)
		  : sqlite3_bind_null(s->s, ++s->bound));
}

void db_bind_c(struct stmt *s, const char *v)
{
	db_bind_text(s, str_c(v));
}

int db_step(struct stmt *s, struct err **err)
{
	struct cache *c = s->c;
	int64_t since = clock_mono_ns();
	int wait = WAIT_FIRST_MS;
	for (;;) {
		int rc = sqlite3_step(s->s);
		if (rc == SQLITE_ROW)
			return 1;
		if (rc == SQLITE_DONE)
			return 0;
		if ((rc & 0xff) == SQLITE_BUSY && !c->writing && wait_turn(c, since, &wait)) {
			sqlite3_reset(s->s);
			continue;
		}
		return db_fail(c, s->which, rc, sqlite3_stmt_readonly(s->s) ? "read" : "write",
			       err);
	}
}

int db_exec(struct stmt *s, int64_t *ret_changed, struct err **err)
{
	int r;
	do {
		r = db_step(s, err);
	} while (r > 0);
	if (ret_changed && r == 0)
		*ret_changed = sqlite3_changes64(s->c->db[s->which].h);
	db_done(s);
	return r;
}

int64_t db_int(struct stmt *s, int col)
{
	return sqlite3_column_int64(s->s, col);
}

struct str db_text(struct stmt *s, int col)
{
	const char *p = (const char *)sqlite3_column_text(s->s, col);
	return (struct str){ p, p ? (size_t)sqlite3_column_bytes(s->s, col) : 0 };
}

struct str db_blob(struct stmt *s, int col)
{
	if (sqlite3_column_type(s->s, col) == SQLITE_NULL)
		return (struct str){ NULL, 0 };
	const char *p = sqlite3_column_blob(s->s, col);
	return (struct str){ p ? p : "", (size_t)sqlite3_column_bytes(s->s, col) };
}

bool db_digest(struct stmt *s, int col, struct digest *ret)
{
	struct str v = db_blob(s, col);
	if (v.n != sizeof(ret->b))
		return false;
	memcpy(ret->b, v.p, sizeof(ret->b));
	return true;
}

bool db_null(struct stmt *s, int col)
{
	return sqlite3_column_type(s->s, col) == SQLITE_NULL;
}

int64_t db_last_id(struct cache *c, enum db_which which)
{
	return sqlite3_last_insert_rowid(c->db[which].h);
}

/* ---- writes */

static int busy_over(struct cache *c, enum db_which which, struct err **err)
{
	if (atomic_load(&c->store->canceled))
		return err_set(err, ERR_CANCELED, "write '%s/%s': canceled", c->store->root,
			       file_names[which]);
	long pid = writer_pid(c, which);
	char who[64] = "another process";
	if (pid > 0)
		snprintf(who, sizeof(who), "process %ld", pid);
	err_set(err, ERR_TIMEOUT, "write '%s/%s': %s has been writing for %d s", c->store->root,
		file_names[which], who, c->store->patience_ms / 1000);
	if (pid > 0)
		err_hint(err, "if it is stopped, let it go on (kill -CONT %ld) or end it", pid);
	if (which == DB_GUESS && !atomic_exchange(&c->store->guess_off, true))
		store_warn(c->store, "%s: this build is not remembered", (*err)->msg);
	return -1;
}

static int begin(struct cache *c, enum db_which which, enum db_sync sync, struct err **err)
{
	struct db_file *f = &c->db[which];
	if (f->full != (sync == DB_FULL)) {
		if (run_sql(c, which,
			    sync == DB_FULL ? "PRAGMA synchronous = FULL"
					    : "PRAGMA synchronous = NORMAL",
			    err) < 0)
			return -1;
		f->full = sync == DB_FULL;
	}
	int64_t since = clock_mono_ns();
	int wait = WAIT_FIRST_MS, rc;
	do {
		rc = sqlite3_exec(f->h, "BEGIN IMMEDIATE", NULL, NULL, NULL);
	} while ((rc & 0xff) == SQLITE_BUSY && wait_turn(c, since, &wait));
	if ((rc & 0xff) == SQLITE_BUSY)
		return busy_over(c, which, err);
	return rc == SQLITE_OK ? 0 : db_fail(c, which, rc, "write", err);
}

int db_write_begin(struct write *w, struct cache *c, enum db_which which, enum db_sync sync,
		   struct err **err)
{
	if (c->writing)
		BUG("a write within a write");
	if (want_file(c, which, err) < 0)
		return -1;
	pthread_mutex_lock(&c->store->write);
	c->writing = true;
	if (begin(c, which, sync, err) < 0) {
		c->writing = false;
		pthread_mutex_unlock(&c->store->write);
		return -1;
	}
	w->c = c;
	w->which = which;
	return 0;
}

int db_write_commit(struct write *w, struct err **err)
{
	int rc = sqlite3_exec(w->c->db[w->which].h, "COMMIT", NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		db_fail(w->c, w->which, rc, "write", err);
	db_write_endp(w);
	return rc == SQLITE_OK ? 0 : -1;
}

void db_write_endp(struct write *w)
{
	struct cache *c = STEAL(w->c);
	if (!c)
		return;
	sqlite3 *h = c->db[w->which].h;
	if (!sqlite3_get_autocommit(h))
		sqlite3_exec(h, "ROLLBACK", NULL, NULL, NULL);
	c->writing = false;
	pthread_mutex_unlock(&c->store->write);
}

int db_layer_sum(struct cache *c, int64_t id, struct err **err)
{
	_cleanup_(db_donep) struct stmt *s =
		db_prepare(c, DB_INDEX, "UPDATE layer SET sum = " LAYER_SUM " WHERE id = ?", err);
	if (!s)
		return -1;
	db_bind_int(s, id);
	return db_exec(s, NULL, err);
}

int db_checkpoint(struct cache *c, enum db_which which, struct err **err)
{
	if (want_file(c, which, err) < 0)
		return -1;
	/* The first does the work and is in nobody's way; the second empties the log, which otherwise is read by each command that
	 * opens the file, and gives up at once where somebody reads. */
	static const int modes[] = { SQLITE_CHECKPOINT_PASSIVE, SQLITE_CHECKPOINT_TRUNCATE };
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		int rc = sqlite3_wal_checkpoint_v2(c->db[which].h, NULL, modes[i], NULL, NULL);
		if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY && (rc & 0xff) != SQLITE_LOCKED)
			return db_fail(c, which, rc, "write", err);
	}
	return 0;
}
