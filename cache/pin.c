/* Which layers are there, and holding them: what must not be collected while this process uses it. */
#include "base/clock.h"
#include "base/err.h"
#include "cache/db.h"
#include "cache/internal.h"
#include "cache/record.h"
#include "cache/schema.h"

static struct str id_key(const int64_t *id)
{
	return (struct str){ (const char *)id, sizeof(*id) };
}

/* Takes a layer whose row is damaged out of use. */
static int drop_row(struct cache *c, int64_t id, struct err **err)
{
	_cleanup_(db_write_endp) struct write w = { 0 };
	store_warn(c->store, "the row of layer %lld is damaged; the layer was dropped",
		   (long long)id);
	if (c->store->read_only)
		return 0;
	if (!c->writing && db_write_begin(&w, c, DB_INDEX, DB_NORMAL, err) < 0)
		return -1;
	_cleanup_(db_donep) struct stmt *s =
		db_prepare(c, DB_INDEX, "UPDATE layer SET state = 'dead' WHERE id = ?", err);
	if (!s)
		return -1;
	db_bind_int(s, id);
	if (db_exec(s, NULL, err) < 0 || db_layer_sum(c, id, err) < 0)
		return -1;
	return w.c ? db_write_commit(&w, err) : 0;
}

struct row {
	bool live;
	int64_t used;
};

static int read_row(struct cache *c, const struct layer *l, struct row *ret, struct err **err)
{
	struct digest diffid;
	bool damaged = false;
	*ret = (struct row){ 0 };
	{
		_cleanup_(db_donep) struct stmt *s = db_prepare(
			c, DB_INDEX,
			"SELECT state = 'ready' AND (boot IS NULL OR boot = ?), diffid, used, sum IS " LAYER_SUM
			" FROM layer WHERE id = ?",
			err);
		if (!s)
			return -1;
		db_bind_c(s, c->store->boot);
		db_bind_int(s, l->id);
		int r = db_step(s, err);
		if (r <= 0)
			return r;
		damaged = !db_int(s, 3);
		ret->live = !damaged && db_int(s, 0) && db_digest(s, 1, &diffid) &&
			digest_eq(&diffid, &l->diffid);
		ret->used = db_int(s, 2);
	}
	return damaged ? drop_row(c, l->id, err) : 0;
}

int layer_is_live(struct cache *c, const struct layer *l, bool *ret, struct err **err)
{
	struct store *s = c->store;
	char text[sizeof(l->id) + sizeof(l->diffid)];
	struct str key = { text, sizeof(text) };
	struct row row = { 0 };
	if (l->absent || !l->id) {
		*ret = false;
		return 0;
	}
	memcpy(text, &l->id, sizeof(l->id));
	memcpy(text + sizeof(l->id), &l->diffid, sizeof(l->diffid));
	/* Each chain repeats the layers of the one below: one look at each is enough, since what is used is pinned first. */
	pthread_mutex_lock(&s->state);
	row.live = map_has(&s->held, id_key(&l->id)) || map_has(&s->seen, key);
	pthread_mutex_unlock(&s->state);
	if (!row.live) {
		if (read_row(c, l, &row, err) < 0)
			return -1;
		pthread_mutex_lock(&s->state);
		if (row.live)
			map_put(&s->seen, key, s);
		pthread_mutex_unlock(&s->state);
	}
	*ret = row.live;
	return 0;
}

static int pin_one(struct cache *c, const struct layer *l, bool *ret_live, struct err **err)
{
	struct row row = { 0 };
	if (l->absent || !l->id) {
		*ret_live = false;
		return 0;
	}
	if (store_is_held(c->store, id_key(&l->id)))
		return 0;
	if (read_row(c, l, &row, err) < 0)
		return -1;
	if (!row.live) {
		*ret_live = false;
		return 0;
	}
	_cleanup_(db_donep) struct stmt *s = db_prepare(
		c, DB_INDEX, "INSERT OR IGNORE INTO pin(lease, kind, object) VALUES(?, 'layer', ?)",
		err);
	if (!s)
		return -1;
	db_bind_c(s, c->store->lease);
	db_bind_int(s, l->id);
	if (db_exec(s, NULL, err) < 0)
		return -1;
	int64_t now = clock_real_ns();
	if (now - row.used <= USED_STEP_NS)
		return 0;
	_cleanup_(db_donep) struct stmt *u =
		db_prepare(c, DB_INDEX, "UPDATE layer SET used = ? WHERE id = ?", err);
	if (!u)
		return -1;
	db_bind_int(u, now);
	db_bind_int(u, l->id);
	return db_exec(u, NULL, err) < 0 ? -1 : db_layer_sum(c, l->id, err);
}

static bool all_held(struct cache *c, const struct chain *chain)
{
	for (size_t i = 0; i < chain->n; i++)
		if (chain->v[i].absent || !store_is_held(c->store, id_key(&chain->v[i].id)))
			return false;
	return true;
}

int cache_chain_pin(struct cache *c, const struct chain *chain, bool *ret_live, struct err **err)
{
	bool live = true;
	if (!cache_store_lease_id(c->store)) {
		for (size_t i = 0; live && i < chain->n; i++)
			if (layer_is_live(c, &chain->v[i], &live, err) < 0)
				return -1;
	} else if (!all_held(c, chain)) {
		_cleanup_(db_write_endp) struct write w = { 0 };
		if (db_write_begin(&w, c, DB_INDEX, DB_NORMAL, err) < 0)
			return -1;
		for (size_t i = 0; live && i < chain->n; i++)
			if (pin_one(c, &chain->v[i], &live, err) < 0)
				return -1;
		/* Also when one is missing: a damaged row's drop is to stay; the pins of the others do no harm. */
		if (db_write_commit(&w, err) < 0)
			return -1;
		for (size_t i = 0; live && i < chain->n; i++)
			store_note_pinned(c->store, chain->v[i].id);
	}
	*ret_live = live;
	return 0;
}
