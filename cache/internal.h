/*
 * internal: what the sources of cache/ share and nobody else includes: the structs behind store and connection, statements,
 * write transactions, row sums, and the few calls between store and layers.
 *
 * A statement:
 *
 *     _cleanup_(db_donep) struct stmt *s = db_prepare(c, DB_INDEX, "SELECT size FROM blob WHERE digest = ?", err);
 *     if (!s)
 *             return -1;
 *     db_bind_digest(s, &d);
 *     int r = db_step(s, err);      (1: a row, 0: no more, -1: failed)
 *
 * A write:
 *
 *     _cleanup_(db_write_endp) struct write w = { 0 };
 *     if (db_write_begin(&w, c, DB_INDEX, DB_NORMAL, err) < 0)
 *             return -1;
 *     … statements …
 *     return db_write_commit(&w, err);     (without it db_write_endp() rolls back)
 */
#pragma once

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "cache/layer.h"
#include "cache/record.h"
#include "cache/store.h"

struct cache;
struct err;

enum db_which { DB_INDEX, DB_GUESS }; /* index.db (truth), cache.db (guesses) */
enum { DB_COUNT = 2 };
enum db_sync {
	DB_NORMAL,
	DB_FULL
}; /* FULL: the commit is on disk when it returns (images, names, blobs) */

enum { LEASE_TEXT = 17, BOOT_TEXT = 37, UUID_BYTES = 16, BLOB_PATH_TEXT = 96 };
#define USED_STEP_NS                                                                               \
	(INT64_C(6) * 3600 *                                                                       \
	 1000000000) /* `used` columns are written when they are older than this */

struct store {
	char *root, *run;
	int root_fd, run_fd, lock_fd;
	bool durable, read_only;
	bool opened;     /* cache_store_open() is done: nothing above `write` changes any more */
	int patience_ms; /* with other processes' locks: 10 s but in tests */
	int (*strays)(void *arg, int run_fd, const char *lease, struct err **err);
	void *strays_arg;
	void (*warn)(void *arg, const char *text);
	void *warn_arg;

	uint8_t uuid[UUID_BYTES];
	char short_id[9];        /* 8 hex of the uuid */
	char boot[BOOT_TEXT];    /* this boot's id */
	char unique[LEASE_TEXT]; /* random: names of temporary things where there is no lease */

	pthread_mutex_t
		write; /* one writer in the process; held from db_write_begin() to its end */
	pthread_mutex_t state; /* lease, pinned, spare; never held while waiting for `write` */
	char lease
		[LEASE_TEXT]; /* "" until there is one; set before lease_fd, read with `state` or after have_lease */
	int lease_fd;
	atomic_bool have_lease;
	struct map
		held; /* layer numbers (8 bytes) and blobs (32) that this process has pinned or made */
	struct map seen; /* layer numbers with diff ID (40 bytes) that were found ready */
	struct cache *
		spare; /* the connection that cache_store_open() made; the first cache_open() takes it */

	atomic_uint_fast64_t counter;
	atomic_bool names_stale; /* images.json was not renewed: who sweeps our lease does it */
	atomic_bool dirty;       /* something written awaits syncfs */
	atomic_bool trashed;     /* trash/ has something */
	atomic_bool canceled;    /* writers do not wait any more */
	atomic_bool
		guess_off; /* cache.db is broken or was given up: reads find nothing, writes do nothing */
};

struct stmt {
	sqlite3_stmt *s;
	struct cache *c;
	const char *sql; /* a literal: found again by its address */
	enum db_which which;
	int bound; /* parameters bound so far */
	bool busy; /* between db_prepare() and db_done() */
};

struct db_file {
	sqlite3 *h;
	ino_t ino;           /* of the file that was opened */
	bool full;           /* synchronous = FULL now */
	struct stmt **stmts; /* open hash table by address of the text */
	size_t n, cap;
};

struct cache {
	struct store *store;
	struct db_file db[DB_COUNT]; /* cache.db is opened on first use */
	bool writing; /* between db_write_begin() and its end: the thread holds store->write */
};

/*
 * Prepares a statement (kept with the connection, so the second time costs nothing). `sql` is a literal. For DB_GUESS a failure
 * to open or read is an error too: callers for whom guesses may be absent drop it. Use from the connection's thread alone.
 */
NODISCARD struct stmt *db_prepare(struct cache *c, enum db_which which, const char *sql,
				  struct err **err);
/* Ends the use of a statement: resets it, which ends its read transaction. NULL is fine. */
void db_done(struct stmt *s);
void db_donep(struct stmt **s);

/* Bind the next parameter. Bytes are copied. A NULL digest, a str with p NULL and an empty C string (NULL) give NULL. */
void db_bind_int(struct stmt *s, int64_t v);
void db_bind_digest(struct stmt *s, const struct digest *d);
void db_bind_text(struct stmt *s, struct str v);
void db_bind_c(struct stmt *s, const char *v);
void db_bind_blob(struct stmt *s, struct str v);

/* One step: 1 with a row, 0 at the end, -1. Outside of a transaction a busy database is tried again for 10 s. */
NODISCARD int db_step(struct stmt *s, struct err **err);
/* Steps to the end and ends the use; the number of changed rows in *ret_changed (may be NULL). */
NODISCARD int db_exec(struct stmt *s, int64_t *ret_changed, struct err **err);

/* Columns of the row at hand. Texts and blobs are valid until the next step. NULL gives 0, a str with p NULL, false. */
int64_t db_int(struct stmt *s, int col);
struct str db_text(struct stmt *s, int col);
struct str db_blob(struct stmt *s, int col);
bool db_digest(struct stmt *s, int col, struct digest *ret);
bool db_null(struct stmt *s, int col);

struct write {
	struct cache *c; /* NULL: none is open */
	enum db_which which;
};

/*
 * Takes the process's write mutex and begins an IMMEDIATE transaction: tried again after 5 … 100 ms while another process writes,
 * for 10 s (ERR_TIMEOUT names the holder) or until the store is canceled (ERR_CANCELED). Not within another write.
 */
NODISCARD int db_write_begin(struct write *w, struct cache *c, enum db_which which,
			     enum db_sync sync, struct err **err);
/* Commits and gives the mutex back; on failure the transaction is rolled back. */
NODISCARD int db_write_commit(struct write *w, struct err **err);
/* Rolls back what was not committed; for _cleanup_(). */
void db_write_endp(struct write *w);

/* The number of the row that the last INSERT made. */
int64_t db_last_id(struct cache *c, enum db_which which);

/* A connection without files; cache_close() frees it. */
struct cache *db_new(struct store *s) __attribute__((returns_nonnull));
/* Opens index.db: checks its version and reads the store's uuid, or, where `create`, makes it with that uuid. ERR_NOT_FOUND when it
 * is missing or has no tables; ERR_UNSUPPORTED for a newer schema. */
NODISCARD int db_open_index(struct cache *c, bool create, struct err **err);
/* A file's user_version. */
NODISCARD int db_version(struct cache *c, enum db_which which, int64_t *ret, struct err **err);
/* Copies what is in the log into the database and empties it, as far as nobody is in the way. */
NODISCARD int db_checkpoint(struct cache *c, enum db_which which, struct err **err);
/* cache.db turned out damaged: from now on it is not used, and the next command makes a new one. */
void db_guess_broken(struct cache *c);

/* flock(2), tried again until it is to be had, for 10 s or until the store is canceled. */
NODISCARD int store_flock(struct store *s, int fd, int op, struct err **err);
/* Kills, removes and forgets what dead processes left: their leases, work and pins, dead layers, layers that a crash of the machine
 * may have damaged. Called at opening, with the connection that the store keeps. */
NODISCARD int store_sweep(struct store *s, struct cache *c, struct err **err);
/* Removes pins, work and folders of a lease, but not its file. */
NODISCARD int store_forget_lease(struct store *s, struct cache *c, const char *lease,
				 struct err **err);
/* Removes what is in trash/, unless another process is at it. */
void store_clear_trash(struct store *s);
/* Names in a folder below the root (or a descriptor) but "." and ".." (malloc'ed, NULL-terminated); NULL where it is not there. */
char **store_list(struct store *s, const char *path);
char **store_list_at(int dirfd, const char *path);
void store_list_freep(char ***names);

/* Says something that the user should know (a dropped row, guesses given up) by the store's `warn`, else by the log. */
void store_warn(struct store *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Notes that files were written which only a later syncfs makes durable. */
void store_dirty(struct store *s);
/* Notes that this process holds a layer (its number: made or pinned by it) or a blob (its digest): it need not be pinned again. */
void store_note_pinned(struct store *s, int64_t layer);
void store_note_held(struct store *s, struct str key);
bool store_is_held(struct store *s, struct str key);
/* The name of a file system that a store cannot be on (shared by several machines), or NULL. */
const char *store_refused_fs(long f_type);

/* Writes the sum of a layer's row anew: the last statement of each write that changed the row. */
NODISCARD int db_layer_sum(struct cache *c, int64_t id, struct err **err);

/* Where a blob lies, below the root. */
void blob_path(const struct digest *d, char path[BLOB_PATH_TEXT]);
/* Writes a small blob's bytes, synced, into tmp/<lease>/ingest; within a write, blob_publish() makes it the blob. */
NODISCARD int blob_stage(struct cache *c, struct str data, char path[BLOB_PATH_TEXT],
			 struct err **err);
/* Within a FULL write: renames a complete, synced file to its blob's place, syncs the folder, writes row and pin. */
NODISCARD int blob_publish(struct cache *c, const char *tmp, const struct digest *d, uint64_t size,
			   struct err **err);

/* After a write with blob_publish() failed: removes the file again if it has no row. */
void blob_retract(struct cache *c, const struct digest *d);

/* Replaces images.json, the copy of the names that a repair starts from, by what table `name` says. Not within a write. */
NODISCARD int names_renew_copy(struct cache *c, struct err **err);

/* Whether a layer is ready and has this diff ID, by its row. A row with a wrong sum is taken out of use and said. */
NODISCARD int layer_is_live(struct cache *c, const struct layer *l, bool *ret, struct err **err);

/*
 * Checks a layer's folder against its manifest (names, kinds, attributes; file data where `data`). What differs goes to `say`
 * (may be NULL), one text each; *ret_bad counts. An unreadable manifest counts as one. Written beside the manifest, by layers.
 */
NODISCARD int cache_layer_check(struct cache *c, int64_t id, bool data,
				void (*say)(void *arg, const char *text), void *arg,
				size_t *ret_bad, struct err **err);
