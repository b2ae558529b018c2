/*
 * Guesses. Whatever goes wrong with cache.db is no reason to fail a build: reads find nothing, writes do nothing, and it is said
 * once. Only what concerns index.db (pins) fails.
 */
#include "cache/record.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/vec.h"
#include "cache/db.h"
#include "cache/internal.h"
#include "cache/schema.h"

enum { LAYER_BYTES = 48 }; /* number, diff ID, created */

/* A failure of cache.db, forgiven. */
static int forgive(struct cache *c, struct err **e)
{
	/* A full disk and the like: one that fails once fails each time, and each time costs. */
	bool lasting =
		(*e)->code == ERR_IO || (*e)->code == ERR_DENIED || (*e)->code == ERR_TIMEOUT;
	if (lasting && !atomic_exchange(&c->store->guess_off, true))
		store_warn(c->store, "%s: this build is not remembered", (*e)->msg);
	log_debug("%s", (*e)->msg);
	err_drop(e);
	return 0;
}

/* ---- chains */

static void put_le64(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get_le64(const uint8_t *p)
{
	uint64_t v = 0;
	for (int i = 7; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

static void encode_chain(const struct chain *chain, struct sb *b)
{
	for (size_t i = 0; i < chain->n; i++) {
		const struct layer *l = &chain->v[i];
		uint8_t row[LAYER_BYTES];
		put_le64(row, l->absent ? 0 : (uint64_t)l->id);
		memcpy(row + 8, l->diffid.b, 32);
		put_le64(row + 40, (uint64_t)l->created_ns);
		sb_add(b, row, sizeof(row));
	}
}

/* A chain in the arena; false when the bytes are none. */
static bool decode_chain(struct arena *a, struct str v, struct chain *ret)
{
	if (v.n % LAYER_BYTES)
		return false;
	struct chain chain = { .n = v.n / LAYER_BYTES };
	chain.v = arena_array_of(a, struct layer, chain.n);
	for (size_t i = 0; i < chain.n; i++) {
		const uint8_t *row = (const uint8_t *)v.p + i * LAYER_BYTES;
		struct layer *l = &chain.v[i];
		l->id = (int64_t)get_le64(row);
		l->absent = !l->id;
		memcpy(l->diffid.b, row + 8, 32);
		l->created_ns = (int64_t)get_le64(row + 40);
	}
	*ret = chain;
	return true;
}

/* ---- records */

#define RECORD_READ "key, op, deep, r, chain, created, checked, cost_ms, used, sum IS " RECORD_SUM

/* The row at hand; false when it is damaged. */
static bool decode_record(struct stmt *q, struct arena *a, struct record *ret, int64_t *ret_used)
{
	struct record r = { 0 };
	if (!db_int(q, 9) || !db_digest(q, 0, &r.key) || !db_digest(q, 1, &r.op) ||
	    !db_digest(q, 3, &r.r) || !decode_chain(a, db_blob(q, 4), &r.chain))
		return false;
	db_digest(q, 2, &r.deep);
	r.created_ns = db_int(q, 5);
	r.checked_ns = db_int(q, 6);
	r.cost_ms = db_int(q, 7);
	*ret_used = db_int(q, 8);
	*ret = r;
	return true;
}

static int exec_key(struct cache *c, const char *sql, const struct digest *key, struct err **err)
{
	_cleanup_(db_donep) struct stmt *q = db_prepare(c, DB_GUESS, sql, err);
	if (!q)
		return -1;
	db_bind_digest(q, key);
	return db_exec(q, NULL, err);
}

static int drop_record(struct cache *c, const struct digest *key, struct err **err)
{
	_cleanup_(db_write_endp) struct write w = { 0 };
	char text[DIGEST_TEXT];
	store_warn(c->store, "the record of a step (%s) is damaged and was dropped",
		   digest_text(key, text));
	if (c->store->read_only)
		return 0;
	if (db_write_begin(&w, c, DB_GUESS, DB_NORMAL, err) < 0 ||
	    exec_key(c, "DELETE FROM record WHERE key = ?", key, err) < 0 ||
	    exec_key(c, "DELETE FROM input WHERE key = ?", key, err) < 0)
		return -1;
	return db_write_commit(&w, err);
}

/* 1: found, 0, -1. */
static int read_record(struct cache *c, struct arena *a, const struct digest *key,
		       struct record *ret, int64_t *ret_used, struct err **err)
{
	_cleanup_(db_donep) struct stmt *q =
		db_prepare(c, DB_GUESS, "SELECT " RECORD_READ " FROM record WHERE key = ?", err);
	if (!q)
		return -1;
	db_bind_digest(q, key);
	int r = db_step(q, err);
	if (r <= 0 || decode_record(q, a, ret, ret_used))
		return r;
	db_done(q);
	return drop_record(c, key, err);
}

static int read_inputs(struct cache *c, struct arena *a, struct record *r, struct err **err)
{
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		c, DB_GUESS,
		"SELECT slot, name, kind, text, digest FROM input WHERE key = ? ORDER BY slot, name",
		err);
	VEC(struct named_input) list = { 0 };
	int step;
	if (!q)
		return -1;
	db_bind_digest(q, &r->key);
	while ((step = db_step(q, err)) > 0) {
		struct named_input i = { .slot = (int)db_int(q, 0) };
		i.name = arena_str(a, db_text(q, 1));
		i.kind = arena_str(a, db_text(q, 2));
		i.text = arena_str(a, db_text(q, 3));
		db_digest(q, 4, &i.digest);
		VEC_PUSH(&list, i);
	}
	struct named_input *v = arena_array_of(a, struct named_input, list.n);
	if (list.n)
		memcpy(v, list.v, list.n * sizeof(*v));
	r->inputs = v;
	r->n_inputs = list.n;
	VEC_RELEASE(&list);
	return step;
}

/* Counts a use, where that was not done for a while. */
static int note_use(struct cache *c, const struct digest *key, struct err **err)
{
	_cleanup_(db_write_endp) struct write w = { 0 };
	if (db_write_begin(&w, c, DB_GUESS, DB_NORMAL, err) < 0)
		return -1;
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		c, DB_GUESS, "UPDATE record SET uses = uses + 1, used = ? WHERE key = ?", err);
	if (!q)
		return -1;
	db_bind_int(q, clock_real_ns());
	db_bind_digest(q, key);
	if (db_exec(q, NULL, err) < 0 ||
	    exec_key(c, "UPDATE record SET sum = " RECORD_SUM " WHERE key = ?", key, err) < 0)
		return -1;
	return db_write_commit(&w, err);
}

/* A record whose files are gone keeps its R: the next key is found by it. */
static void make_bare(struct record *r)
{
	r->chain = (struct chain){ 0 };
	r->bare = true;
}

int cache_record_get(struct cache *c, struct arena *a, const struct digest *key, bool *ret_found,
		     struct record *ret, struct err **err)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	struct record r;
	int64_t used;
	bool live;
	int found = read_record(c, a, key, &r, &used, &e);
	if (found > 0 && read_inputs(c, a, &r, &e) < 0)
		found = -1;
	if (found <= 0) {
		*ret_found = false;
		return found < 0 ? forgive(c, &e) : 0;
	}
	if (cache_chain_pin(c, &r.chain, &live, err) < 0)
		return -1;
	if (!live)
		make_bare(&r);
	if (cache_store_lease_id(c->store) && clock_real_ns() - used > USED_STEP_NS &&
	    note_use(c, key, &e) < 0)
		forgive(c, &e);
	*ret_found = true;
	*ret = r;
	return 0;
}

/* Records with a result id, newest checked first. */
static int records_of_result(struct cache *c, struct arena *a, const struct digest *r,
			     struct record **ret, size_t *ret_n, struct err **err)
{
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		c, DB_GUESS,
		"SELECT " RECORD_READ " FROM record WHERE r = ? ORDER BY checked DESC LIMIT 64",
		err);
	VEC(struct record) list = { 0 };
	int step;
	if (!q)
		return -1;
	db_bind_digest(q, r);
	while ((step = db_step(q, err)) > 0) {
		struct record rec;
		int64_t used;
		if (decode_record(q, a, &rec, &used))
			VEC_PUSH(&list, rec);
	}
	*ret = list.v;
	*ret_n = list.n;
	return step;
}

int cache_record_by_result(struct cache *c, struct arena *a, const struct digest *r,
			   bool *ret_found, struct record *ret, struct err **err)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_free_ struct record *list = NULL;
	size_t n = 0;
	*ret_found = false;
	if (records_of_result(c, a, r, &list, &n, &e) < 0)
		return forgive(c, &e);
	for (size_t i = 0; i < n; i++) {
		bool live;
		if (cache_chain_pin(c, &list[i].chain, &live, err) < 0)
			return -1;
		if (!live)
			continue;
		if (read_inputs(c, a, &list[i], &e) < 0)
			return forgive(c, &e);
		*ret = list[i];
		*ret_found = true;
		return 0;
	}
	return 0;
}

int cache_record_has_op(struct cache *c, const struct digest *op, bool *ret, struct err **err)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(db_donep) struct stmt *q =
		db_prepare(c, DB_GUESS, "SELECT 1 FROM record WHERE op = ? LIMIT 1", &e);
	int r = -1;
	(void)err; /* guesses never fail */
	if (q) {
		db_bind_digest(q, op);
		r = db_step(q, &e);
	}
	*ret = r > 0;
	return r < 0 ? forgive(c, &e) : 0;
}

static int put_inputs(struct cache *c, const struct record *r, struct err **err)
{
	if (exec_key(c, "DELETE FROM input WHERE key = ?", &r->key, err) < 0)
		return -1;
	for (size_t i = 0; i < r->n_inputs; i++) {
		const struct named_input *in = &r->inputs[i];
		_cleanup_(db_donep) struct stmt *q = db_prepare(
			c, DB_GUESS,
			"INSERT OR REPLACE INTO input(key, slot, name, kind, digest, text) VALUES(?, ?, ?, ?, ?, ?)",
			err);
		if (!q)
			return -1;
		db_bind_digest(q, &r->key);
		db_bind_int(q, in->slot);
		db_bind_text(q, in->name.p ? in->name : STR(""));
		db_bind_text(q, in->kind.p ? in->kind : STR(""));
		db_bind_digest(q, digest_is_zero(&in->digest) ? NULL : &in->digest);
		db_bind_text(q, in->text);
		if (db_exec(q, NULL, err) < 0)
			return -1;
	}
	return 0;
}

static int put_row(struct cache *c, const struct record *r, struct err **err)
{
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		c, DB_GUESS,
		"INSERT OR REPLACE INTO record(key, op, deep, r, chain, created, checked, cost_ms, uses, used, worth) "
		"VALUES(?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 0.0)",
		err);
	_cleanup_(sb_releasep) struct sb chain = { 0 };
	if (!q)
		return -1;
	encode_chain(&r->chain, &chain);
	db_bind_digest(q, &r->key);
	db_bind_digest(q, &r->op);
	db_bind_digest(q, digest_is_zero(&r->deep) ? NULL : &r->deep);
	db_bind_digest(q, &r->r);
	db_bind_blob(q, (struct str){ chain.n ? chain.p : "", chain.n });
	db_bind_int(q, r->created_ns);
	db_bind_int(q, r->checked_ns);
	db_bind_int(q, r->cost_ms);
	db_bind_int(q, clock_real_ns());
	if (db_exec(q, NULL, err) < 0)
		return -1;
	return exec_key(c, "UPDATE record SET sum = " RECORD_SUM " WHERE key = ?", &r->key, err);
}

/* Whether a live record stands in the key's place: the first one stays. */
static int is_taken(struct cache *c, const struct digest *key, bool *ret, struct err **err)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct record old;
	int64_t used;
	int r = read_record(c, a, key, &old, &used, err);
	*ret = r > 0;
	for (size_t i = 0; *ret && i < old.chain.n; i++)
		if (layer_is_live(c, &old.chain.v[i], ret, err) < 0)
			return -1;
	return r < 0 ? -1 : 0;
}

static int put_record(struct cache *c, const struct record *r, bool replace, struct err **err)
{
	_cleanup_(db_write_endp) struct write w = { 0 };
	bool taken = false;
	/* Looked at before the write: what another process put there in between is as right as ours. */
	if (!replace && is_taken(c, &r->key, &taken, err) < 0)
		return -1;
	if (taken)
		return 0;
	if (db_write_begin(&w, c, DB_GUESS, DB_NORMAL, err) < 0 || put_row(c, r, err) < 0 ||
	    put_inputs(c, r, err) < 0)
		return -1;
	return db_write_commit(&w, err);
}

int cache_record_put(struct cache *c, const struct record *r, bool replace, struct err **err)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	(void)err; /* guesses never fail */
	return put_record(c, r, replace, &e) < 0 ? forgive(c, &e) : 0;
}

/* ---- contents, tags, sources, running steps */

int cache_content_get(struct cache *c, const struct digest *r, const struct digest *sel,
		      bool *ret_found, struct digest *ret, struct err **err)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(db_donep) struct stmt *q =
		db_prepare(c, DB_GUESS, "SELECT c FROM content WHERE r = ? AND sel = ?", &e);
	int step = -1;
	(void)err; /* guesses never fail */
	if (q) {
		db_bind_digest(q, r);
		db_bind_digest(q, sel);
		step = db_step(q, &e);
	}
	*ret_found = step > 0 && db_digest(q, 0, ret);
	return step < 0 ? forgive(c, &e) : 0;
}

/* One statement, ready to run, as a write of its own. */
static int write_one(struct cache *c, struct stmt *q, struct err **err)
{
	_cleanup_(db_write_endp) struct write w = { 0 };
	if (db_write_begin(&w, c, DB_GUESS, DB_NORMAL, err) < 0 || db_exec(q, NULL, err) < 0)
		return -1;
	return db_write_commit(&w, err);
}

int cache_content_put(struct cache *c, const struct digest *r, const struct digest *sel,
		      const struct digest *content, struct err **err)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		c, DB_GUESS, "INSERT OR REPLACE INTO content(r, sel, c, used) VALUES(?, ?, ?, ?)",
		&e);
	(void)err; /* guesses never fail */
	if (!q)
		return forgive(c, &e);
	db_bind_digest(q, r);
	db_bind_digest(q, sel);
	db_bind_digest(q, content);
	db_bind_int(q, clock_real_ns());
	return write_one(c, q, &e) < 0 ? forgive(c, &e) : 0;
}

int cache_tag_get(struct cache *c, struct str ref, struct str platform, bool *ret_found,
		  struct tag_row *ret, struct err **err)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		c, DB_GUESS,
		"SELECT index_digest, manifest_digest, asked FROM tag WHERE ref = ? AND platform = ?",
		&e);
	struct tag_row row = { 0 };
	int step = -1;
	(void)err; /* guesses never fail */
	if (q) {
		db_bind_text(q, ref);
		db_bind_text(q, platform);
		step = db_step(q, &e);
	}
	*ret_found = step > 0 && db_digest(q, 1, &row.manifest);
	if (*ret_found) {
		db_digest(q, 0, &row.index);
		row.asked_ns = db_int(q, 2);
		*ret = row;
	}
	return step < 0 ? forgive(c, &e) : 0;
}

int cache_tag_put(struct cache *c, struct str ref, struct str platform, const struct tag_row *row,
		  struct err **err)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		c, DB_GUESS,
		"INSERT OR REPLACE INTO tag(ref, platform, index_digest, manifest_digest, asked, used) "
		"VALUES(?, ?, ?, ?, ?, ?)",
		&e);
	(void)err; /* guesses never fail */
	if (!q)
		return forgive(c, &e);
	db_bind_text(q, ref);
	db_bind_text(q, platform);
	db_bind_digest(q, digest_is_zero(&row->index) ? NULL : &row->index);
	db_bind_digest(q, &row->manifest);
	db_bind_int(q, row->asked_ns);
	db_bind_int(q, clock_real_ns());
	return write_one(c, q, &e) < 0 ? forgive(c, &e) : 0;
}

int cache_source_put(struct cache *c, const struct digest *d, struct str host, struct str repo,
		     struct err **err)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		c, DB_GUESS,
		"INSERT OR REPLACE INTO source(digest, host, repo, used) VALUES(?, ?, ?, ?)", &e);
	(void)err; /* guesses never fail */
	if (!q)
		return forgive(c, &e);
	db_bind_digest(q, d);
	db_bind_text(q, host);
	db_bind_text(q, repo);
	db_bind_int(q, clock_real_ns());
	return write_one(c, q, &e) < 0 ? forgive(c, &e) : 0;
}

int cache_running_set(struct cache *c, const struct digest *key, bool running, struct err **err)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	struct stat pidns = { 0 };
	(void)err; /* guesses never fail */
	if (!running) {
		_cleanup_(db_donep) struct stmt *del =
			db_prepare(c, DB_GUESS, "DELETE FROM running WHERE key = ?", &e);
		if (!del)
			return forgive(c, &e);
		db_bind_digest(del, key);
		return write_one(c, del, &e) < 0 ? forgive(c, &e) : 0;
	}
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		c, DB_GUESS,
		"INSERT OR REPLACE INTO running(key, pid, boot, pidns, since) VALUES(?, ?, ?, ?, ?)",
		&e);
	if (!q)
		return forgive(c, &e);
	if (stat("/proc/self/ns/pid", &pidns) < 0)
		pidns.st_ino = 0;
	db_bind_digest(q, key);
	db_bind_int(q, getpid());
	db_bind_c(q, c->store->boot);
	db_bind_int(q, (int64_t)pidns.st_ino);
	db_bind_int(q, clock_real_ns());
	return write_one(c, q, &e) < 0 ? forgive(c, &e) : 0;
}
