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
#include "cache/store.h"

struct cache;
struct err;

enum db_which { DB_INDEX, DB_GUESS };        /* index.db (truth), cache.db (guesses) */
enum { DB_COUNT = 2 };
enum db_sync { DB_NORMAL, DB_FULL };         /* FULL: the commit is on disk when it returns (images, names, blobs) */

enum { LEASE_TEXT = 17, BOOT_TEXT = 37, UUID_BYTES = 16 };

struct store {
	char *root, *run;
	int root_fd, run_fd, lock_fd;
	bool durable, read_only;
	int (*strays)(void *arg, int run_fd, const char *lease, struct err **err);
	void *strays_arg;
	void (*warn)(void *arg, const char *text);
	void *warn_arg;

	uint8_t uuid[UUID_BYTES];
	char boot[BOOT_TEXT];             /* this boot's id */
	char unique[LEASE_TEXT];          /* random: names of temporary things where there is no lease */

	pthread_mutex_t write;            /* one writer in the process; held from db_write_begin() to its end */
	pthread_mutex_t state;            /* lease, pinned, spare; never held while waiting for `write` */
	char lease[LEASE_TEXT];           /* "" until there is one; set before lease_fd, read with `state` or after have_lease */
	int lease_fd;
	atomic_bool have_lease;
	struct map pinned;                /* layer numbers (8 bytes) that this process has pinned or made */
	struct cache *spare;              /* the connection that cache_store_open() made; the first cache_open() takes it */

	atomic_uint_fast64_t counter;
	atomic_bool dirty;                /* something written awaits syncfs */
	atomic_bool trashed;              /* trash/ has something */
	atomic_bool canceled;             /* writers do not wait any more */
	atomic_bool guess_off;            /* cache.db is broken or was given up: reads find nothing, writes do nothing */
};

struct stmt {
	sqlite3_stmt *s;
	struct cache *c;
	const char *sql;                  /* a literal: found again by its address */
	enum db_which which;
	int bound;                        /* parameters bound so far */
	bool busy;                        /* between db_prepare() and db_done() */
};

struct db_file {
	sqlite3 *h;
	bool full;                        /* synchronous = FULL now */
	struct stmt **stmts;              /* open hash table by address of the text */
	size_t n, cap;
};

struct cache {
	struct store *store;
	struct db_file db[DB_COUNT];      /* cache.db is opened on first use */
	bool writing;                     /* between db_write_begin() and its end: the thread holds store->write */
};

/*
 * Prepares a statement (kept with the connection, so the second time costs nothing). `sql` is a literal. For DB_GUESS a failure
 * to open or read is an error too: callers for whom guesses may be absent drop it. Use from the connection's thread alone.
 */
NODISCARD struct stmt *db_prepare(struct cache *c, enum db_which which, const char *sql, struct err **err);
/* Ends the use of a statement: resets it, which ends its read transaction. NULL is fine. */
void db_done(struct stmt *s);
void db_donep(struct stmt **s);

/* Bind the next parameter. Bytes are copied. A NULL digest, a str with p NULL and an empty C string (NULL) give NULL. */
void db_bind_int(struct stmt *s, int64_t v);
void db_bind_digest(struct stmt *s, const struct digest *d);
void db_bind_text(struct stmt *s, struct str v);
void db_bind_c(struct stmt *s, const char *v);
void db_bind_blob(struct stmt *s, struct str v);
void db_bind_null(struct stmt *s);

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
	struct cache *c;                  /* NULL: none is open */
	enum db_which which;
};

/*
 * Takes the process's write mutex and begins an IMMEDIATE transaction: tried again after 5 … 100 ms while another process writes,
 * for 10 s (ERR_TIMEOUT names the holder) or until the store is canceled (ERR_CANCELED). Not within another write.
 */
NODISCARD int db_write_begin(struct write *w, struct cache *c, enum db_which which, enum db_sync sync, struct err **err);
/* Commits and gives the mutex back; on failure the transaction is rolled back. */
NODISCARD int db_write_commit(struct write *w, struct err **err);
/* Rolls back what was not committed; for _cleanup_(). */
void db_write_endp(struct write *w);

/* The number of the row that the last INSERT made. */
int64_t db_last_id(struct cache *c, enum db_which which);

/* Says something that the user should know (a dropped row, guesses given up) by the store's `warn`, else by the log. */
void store_warn(struct store *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Notes that files were written which only a later syncfs makes durable. */
void store_dirty(struct store *s);
/* Notes that this process holds the layer (made or pinned it): record and image look-ups need not pin it again. */
void store_note_pinned(struct store *s, int64_t layer);
/* The name of a file system that a store cannot be on (shared by several machines), or NULL. */
const char *store_refused_fs(long f_type);

/* Writes the sum of a layer's row anew: the last statement of each write that changed the row. */
NODISCARD int db_layer_sum(struct cache *c, int64_t id, struct err **err);

/*
 * Pins layers (ready, diff ID as the chain says) for the lease in one transaction; without a lease only looks. *ret_live: all are
 * there. Otherwise nothing is pinned.
 */
NODISCARD int cache_chain_pin(struct cache *c, const struct chain *chain, bool *ret_live, struct err **err);

/*
 * Checks a layer's folder against its manifest (names, kinds, attributes; file data where `data`). What differs goes to `say`
 * (may be NULL), one text each; *ret_bad counts. An unreadable manifest counts as one. Written beside the manifest, by layers.
 */
NODISCARD int cache_layer_check(struct cache *c, int64_t id, bool data, void (*say)(void *arg, const char *text), void *arg,
				size_t *ret_bad, struct err **err);
