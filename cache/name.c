/* Images and names in index.db. Manifests of images are made in packing.c. */
#include "cache/name.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/json.h"
#include "base/utf8.h"
#include "cache/blob.h"
#include "cache/db.h"
#include "cache/internal.h"
#include "cache/schema.h"

enum { ID_PREFIX_MIN = 4 };

static int no_such_image(struct str text, struct err **err)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	sb_add_printable(&b, str_sub(text, 0, 300));
	return err_set(err, ERR_NOT_FOUND, "no such image: %s", sb_c(&b));
}

/* ---- images.json */

/* Within a write. */
static int write_copy(struct cache *c, struct err **err)
{
	struct store *s = c->store;
	_cleanup_(db_donep) struct stmt *q =
		db_prepare(c, DB_INDEX, "SELECT ref, image FROM name ORDER BY ref", err);
	_cleanup_(json_unrefp) json_t *names = json_object();
	_cleanup_(sb_releasep) struct sb b = { 0 };
	char path[64];
	int r;
	if (!q)
		return -1;
	while ((r = db_step(q, err)) > 0) {
		/* A damaged row may hold any bytes, and JSON may not. */
		_cleanup_(sb_releasep) struct sb ref = { 0 };
		struct digest id = { 0 };
		char text[DIGEST_TEXT];
		utf8_add_clean(&ref, db_text(q, 0));
		db_digest(q, 1, &id);
		json_put_str(names, sb_c(&ref), str_c(digest_text(&id, text)));
	}
	if (r < 0)
		return -1;
	json_print(names, &b);
	sb_add_ch(&b, '\n');
	/* Made where a crash may leave it. */
	snprintf(path, sizeof(path), "trash/%s.%llu", s->unique,
		 (unsigned long long)cache_store_counter(s));
	if (io_replace_file(s->root_fd, path, sb_str(&b), 0600, false, err) < 0)
		return -1;
	if (renameat(s->root_fd, path, s->root_fd, "images.json") < 0)
		return err_sys(err, "rename '%s/%s' to 'images.json'", s->root, path);
	return 0;
}

int names_renew_copy(struct cache *c, struct err **err)
{
	_cleanup_(db_write_endp) struct write w = { 0 };
	if (db_write_begin(&w, c, DB_INDEX, DB_NORMAL, err) < 0 || write_copy(c, err) < 0)
		return -1;
	return db_write_commit(&w, err);
}

/*
 * Commits a write that changed names, then renews the copy: never ahead of the table, and a full disk does not undo the names. A
 * write keeps two processes from overtaking each other; who is killed in between is swept, which renews it too.
 */
static int commit_names(struct cache *c, struct write *w, struct err **err)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	if (db_write_commit(w, err) < 0)
		return -1;
	if (names_renew_copy(c, &e) < 0) {
		atomic_store(&c->store->names_stale, true);
		store_warn(c->store, "images.json is not up to date: %s", e->msg);
	}
	return 0;
}

/* ---- reading */

static int drop_image(struct cache *c, const struct digest *id, struct err **err);

/* The rows of an image's chain, from the bottom; *ret_size: sum of the sizes. */
static int read_chain(struct cache *c, struct arena *a, const struct digest *id, struct chain *ret,
		      uint64_t *ret_size, struct err **err)
{
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		c, DB_INDEX,
		"SELECT i.layer, i.diffid, l.size FROM image_layer i LEFT JOIN layer l ON l.id = i.layer "
		"WHERE i.image = ? ORDER BY i.pos",
		err);
	struct chain chain = { 0 };
	uint64_t size = 0;
	size_t cap = 0;
	int r;
	if (!q)
		return -1;
	db_bind_digest(q, id);
	while ((r = db_step(q, err)) > 0) {
		if (chain.n == cap) {
			struct layer *old = chain.v;
			cap = cap ? cap * 2 : 16;
			chain.v = arena_array_of(a, struct layer, cap);
			if (chain.n)
				memcpy(chain.v, old, chain.n * sizeof(*old));
		}
		struct layer *l = &chain.v[chain.n++];
		l->id = db_int(q, 0);
		db_digest(q, 1, &l->diffid);
		size += (uint64_t)db_int(q, 2);
	}
	if (r < 0)
		return -1;
	db_done(q);
	for (size_t i = 0; i < chain.n; i++) {
		bool live;
		if (layer_is_live(c, &chain.v[i], &live, err) < 0)
			return -1;
		chain.v[i].absent = !live;
		if (!live)
			chain.v[i].id = 0;
	}
	*ret = chain;
	*ret_size = size;
	return 0;
}

/* The row of an image without its chain: 1, 0 when there is none, -1. A damaged row is dropped. */
static int read_image(struct cache *c, struct arena *a, const struct digest *id, struct image *ret,
		      struct err **err)
{
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		c, DB_INDEX,
		"SELECT config, manifest, created, sum IS " IMAGE_SUM " FROM image WHERE id = ?",
		err);
	if (!q)
		return -1;
	db_bind_digest(q, id);
	int r = db_step(q, err);
	if (r <= 0)
		return r;
	if (!db_int(q, 3)) {
		db_done(q);
		return drop_image(c, id, err);
	}
	*ret = (struct image){ .id = *id,
			       .config = arena_str(a, db_blob(q, 0)),
			       .created_ns = db_int(q, 2) };
	db_digest(q, 1, &ret->manifest);
	return 1;
}

int cache_image_get(struct cache *c, struct arena *a, const struct digest *id, struct image *ret,
		    struct err **err)
{
	struct image i = { 0 };
	char text[DIGEST_TEXT];
	int r = read_image(c, a, id, &i, err);
	if (r < 0)
		return -1;
	if (!r)
		return no_such_image(str_c(digest_text(id, text)), err);
	if (read_chain(c, a, id, &i.chain, &i.size, err) < 0)
		return -1;
	*ret = i;
	return 0;
}

static int find_name(struct cache *c, struct str full, struct digest *ret, struct err **err)
{
	_cleanup_(db_donep) struct stmt *q =
		db_prepare(c, DB_INDEX, "SELECT image FROM name WHERE ref = ?", err);
	if (!q)
		return -1;
	db_bind_text(q, full);
	int r = db_step(q, err);
	return r > 0 ? db_digest(q, 0, ret) : r;
}

int cache_name_get(struct cache *c, struct str full, struct digest *ret_id, struct err **err)
{
	int r = find_name(c, full, ret_id, err);
	return r > 0 ? 0 : r < 0 ? -1 : no_such_image(full, err);
}

/* A name whose repository is that of `r` and whose image has its digest as manifest: 1, 0, -1. */
static int find_by_digest(struct cache *c, struct arena *a, const struct ref *r, struct digest *ret,
			  struct str *ret_name, struct err **err)
{
	_cleanup_(db_donep) struct stmt *q =
		db_prepare(c, DB_INDEX,
			   "SELECT n.ref, n.image FROM name n JOIN image i ON i.id = n.image "
			   "WHERE ?1 IN (n.manifest, i.manifest, i.id) ORDER BY n.ref",
			   err);
	struct str repo = arena_printf(a, "%.*s/%.*s", STR_ARG(r->domain), STR_ARG(r->path));
	int step;
	if (!q)
		return -1;
	db_bind_digest(q, &r->digest);
	while ((step = db_step(q, err)) > 0) {
		struct str name = db_text(q, 0);
		if (!str_starts(name, repo) || name.n == repo.n ||
		    (name.p[repo.n] != ':' && name.p[repo.n] != '@'))
			continue;
		*ret_name = arena_str(a, name);
		return db_digest(q, 1, ret);
	}
	return step;
}

static int hex_value(char ch)
{
	return ch <= '9' ? ch - '0' : ch - 'a' + 10;
}

/* The image whose id begins with some hex digits: 1, 0, -1 (also when there are several). */
static int find_by_prefix(struct cache *c, struct str hex, struct digest *ret, struct err **err)
{
	struct digest low, high;
	memset(low.b, 0, sizeof(low.b));
	memset(high.b, 0xff, sizeof(high.b));
	for (size_t i = 0; i < hex.n; i++) {
		int shift = i % 2 ? 0 : 4, v = hex_value(hex.p[i]) << shift;
		low.b[i / 2] = (uint8_t)((low.b[i / 2] & ~(0xf << shift)) | v);
		high.b[i / 2] = (uint8_t)((high.b[i / 2] & ~(0xf << shift)) | v);
	}
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		c, DB_INDEX, "SELECT id FROM image WHERE id BETWEEN ? AND ? LIMIT 2", err);
	if (!q)
		return -1;
	db_bind_digest(q, &low);
	db_bind_digest(q, &high);
	int r = db_step(q, err);
	if (r <= 0)
		return r;
	db_digest(q, 0, ret);
	r = db_step(q, err);
	return r > 0 ? err_set(err, ERR_INVALID, "several images have an id that begins with %.*s",
			       STR_ARG(hex))
		: r < 0 ? -1
			: 1;
}

static int find_image(struct cache *c, struct arena *a, struct str text, struct digest *ret,
		      struct str *ret_name, struct err **err)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	struct str hex = str_starts(text, STR("sha256:")) ? str_sub(text, 7, text.n) : text;
	struct ref ref;
	*ret_name = STR("");
	if (ref_parse(a, text, &ref, &e) == 0) {
		*ret_name = ref_full(a, &ref);
		int r = find_name(c, *ret_name, ret, err);
		if (r == 0 && ref.has_digest)
			r = find_by_digest(c, a, &ref, ret, ret_name, err);
		if (r)
			return r;
		*ret_name = STR("");
	}
	return ref_is_id(hex, ID_PREFIX_MIN) ? find_by_prefix(c, hex, ret, err) : 0;
}

int cache_image_find(struct cache *c, struct arena *a, struct str text, struct image *ret,
		     struct str *ret_name, struct err **err)
{
	struct digest id;
	struct str name;
	int r = find_image(c, a, text, &id, &name, err);
	if (r < 0)
		return -1;
	if (!r)
		return no_such_image(text, err);
	if (cache_image_get(c, a, &id, ret, err) < 0)
		return -1;
	*ret_name = name;
	return 0;
}

int cache_image_list(struct cache *c, struct arena *a, struct image_row **ret, size_t *ret_n,
		     struct err **err)
{
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		c, DB_INDEX,
		"SELECT n.ref, i.id, i.manifest, i.created, (SELECT sum(l.size) FROM image_layer x JOIN layer l ON l.id = x.layer "
		"WHERE x.image = i.id) FROM image i LEFT JOIN name n ON n.image = i.id ORDER BY i.created DESC, i.id, n.ref",
		err);
	struct image_row *rows = NULL;
	size_t n = 0, cap = 0;
	int r;
	if (!q)
		return -1;
	while ((r = db_step(q, err)) > 0) {
		if (n == cap) {
			struct image_row *old = rows;
			cap = cap ? cap * 2 : 64;
			rows = arena_array_of(a, struct image_row, cap);
			if (n)
				memcpy(rows, old, n * sizeof(*old));
		}
		struct image_row *row = &rows[n++];
		row->name = db_null(q, 0) ? STR("") : arena_str(a, db_text(q, 0));
		db_digest(q, 1, &row->id);
		db_digest(q, 2, &row->manifest);
		row->created_ns = db_int(q, 3);
		row->size = (uint64_t)db_int(q, 4);
	}
	if (r < 0)
		return -1;
	*ret = rows;
	*ret_n = n;
	return 0;
}

/* ---- writing */

/* Runs a statement whose only parameter is an image's id. */
static int exec_id(struct cache *c, const char *sql, const struct digest *id, struct err **err)
{
	_cleanup_(db_donep) struct stmt *q = db_prepare(c, DB_INDEX, sql, err);
	if (!q)
		return -1;
	db_bind_digest(q, id);
	return db_exec(q, NULL, err);
}

/* Within a write: removes an image's rows. */
static int delete_image(struct cache *c, const struct digest *id, struct err **err)
{
	if (exec_id(c, "DELETE FROM image_layer WHERE image = ?", id, err) < 0 ||
	    exec_id(c, "DELETE FROM image WHERE id = ?", id, err) < 0)
		return -1;
	return 0;
}

/* An image whose row is damaged: gone, with its names, and said. 0, as for one that is not there. */
static int drop_image(struct cache *c, const struct digest *id, struct err **err)
{
	_cleanup_(db_write_endp) struct write w = { 0 };
	char text[DIGEST_TEXT];
	store_warn(c->store,
		   "the row of image %s is damaged; the image was dropped: build or pull it again",
		   digest_text(id, text));
	if (c->store->read_only || c->writing)
		return 0;
	if (cache_store_lease(c->store, err) < 0 ||
	    db_write_begin(&w, c, DB_INDEX, DB_FULL, err) < 0 || delete_image(c, id, err) < 0 ||
	    exec_id(c, "DELETE FROM name WHERE image = ?", id, err) < 0)
		return -1;
	return commit_names(c, &w, err);
}

static int put_name(struct cache *c, struct str full, const struct digest *id,
		    const struct digest *manifest, struct err **err)
{
	_cleanup_(db_donep) struct stmt *q =
		db_prepare(c, DB_INDEX,
			   "INSERT INTO name(ref, image, manifest, updated) VALUES(?1, ?2, ?3, ?4) "
			   "ON CONFLICT(ref) DO UPDATE SET image = ?2, manifest = ?3, updated = ?4",
			   err);
	if (!q)
		return -1;
	db_bind_text(q, full);
	db_bind_digest(q, id);
	db_bind_digest(q, manifest);
	db_bind_int(q, clock_real_ns());
	return db_exec(q, NULL, err);
}

struct new_image {
	struct digest id;
	struct str config;
	const struct chain *chain;
	const struct digest *manifest;
	struct str platform;
	int64_t created_ns;
	char staged[BLOB_PATH_TEXT]; /* the config's file; "" when its blob is here */
};

static int put_row(struct cache *c, const struct new_image *i, struct err **err)
{
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		c, DB_INDEX,
		"INSERT INTO image(id, config, manifest, platform, created, used) VALUES(?1, ?2, ?3, ?4, ?5, ?6) "
		"ON CONFLICT(id) DO UPDATE SET manifest = coalesce(?3, manifest), used = ?6",
		err);
	if (!q)
		return -1;
	db_bind_digest(q, &i->id);
	db_bind_blob(q, i->config);
	db_bind_digest(q, i->manifest);
	db_bind_text(q, i->platform);
	db_bind_int(q, i->created_ns);
	db_bind_int(q, clock_real_ns());
	if (db_exec(q, NULL, err) < 0)
		return -1;
	return exec_id(c, "UPDATE image SET sum = " IMAGE_SUM " WHERE id = ?", &i->id, err);
}

static int put_layers(struct cache *c, const struct new_image *i, struct err **err)
{
	if (exec_id(c, "DELETE FROM image_layer WHERE image = ?", &i->id, err) < 0)
		return -1;
	for (size_t k = 0; k < i->chain->n; k++) {
		const struct layer *l = &i->chain->v[k];
		_cleanup_(db_donep) struct stmt *q = db_prepare(
			c, DB_INDEX,
			"INSERT INTO image_layer(image, pos, layer, diffid) SELECT ?1, ?2, id, diffid FROM layer "
			"WHERE id = ?3 AND state = 'ready' AND diffid = ?4",
			err);
		int64_t changed;
		if (!q)
			return -1;
		db_bind_digest(q, &i->id);
		db_bind_int(q, (int64_t)k);
		db_bind_int(q, l->id);
		db_bind_digest(q, &l->diffid);
		if (db_exec(q, &changed, err) < 0)
			return -1;
		if (!changed)
			return err_set(err, ERR_NOT_FOUND,
				       "layer %lld of the image is not in the store any more",
				       (long long)l->id);
	}
	return 0;
}

static int put_image(struct cache *c, const struct new_image *i, const struct str *names,
		     size_t n_names, struct err **err)
{
	_cleanup_(db_write_endp) struct write w = { 0 };
	if (db_write_begin(&w, c, DB_INDEX, DB_FULL, err) < 0)
		return -1;
	if ((i->staged[0] && blob_publish(c, i->staged, &i->id, i->config.n, err) < 0) ||
	    put_row(c, i, err) < 0 || put_layers(c, i, err) < 0)
		return -1;
	for (size_t k = 0; k < n_names; k++)
		if (put_name(c, names[k], &i->id, i->manifest, err) < 0)
			return -1;
	return n_names ? commit_names(c, &w, err) : db_write_commit(&w, err);
}

/* What the config says, checked against the chain. */
static int describe(struct arena *a, struct str config, const struct chain *chain,
		    struct new_image *ret, struct err **err)
{
	struct oci_image parsed;
	if (oci_image_parse(a, config, &parsed, err) < 0)
		return -1;
	if (parsed.n_diff_ids != chain->n)
		return err_set(err, ERR_INVALID, "the image's config has %zu layers, its chain %zu",
			       parsed.n_diff_ids, chain->n);
	for (size_t i = 0; i < chain->n; i++)
		if (!digest_eq(&parsed.diff_ids[i], &chain->v[i].diffid))
			return err_set(
				err, ERR_INVALID,
				"layer %zu of the image's config is another one than in its chain",
				i + 1);
	*ret = (struct new_image){ .id = digest_of(config.p, config.n),
				   .config = config,
				   .chain = chain };
	ret->platform = oci_platform_text(a, &parsed.platform);
	ret->created_ns = parsed.created_ns == INT64_MIN ? 0 : parsed.created_ns;
	return 0;
}

/* Whether all that is to be written stands there already: then a build that changed nothing writes nothing. */
static int is_there(struct cache *c, struct arena *a, const struct new_image *i,
		    const struct str *names, size_t n_names, bool *ret, struct err **err)
{
	struct image old;
	int r = read_image(c, a, &i->id, &old, err);
	if (r <= 0) {
		*ret = false;
		return r;
	}
	bool same = (!i->manifest || digest_eq(i->manifest, &old.manifest)) &&
		str_eq(i->config, old.config);
	if (read_chain(c, a, &i->id, &old.chain, &old.size, err) < 0)
		return -1;
	same = same && old.chain.n == i->chain->n;
	for (size_t k = 0; same && k < old.chain.n; k++)
		same = old.chain.v[k].id == i->chain->v[k].id;
	for (size_t k = 0; same && k < n_names; k++) {
		struct digest named;
		r = find_name(c, names[k], &named, err);
		if (r < 0)
			return -1;
		same = r && digest_eq(&named, &i->id);
	}
	*ret = same;
	return 0;
}

int cache_image_put(struct cache *c, struct str config, const struct chain *chain,
		    const struct digest *manifest, const struct str *names, size_t n_names,
		    struct digest *ret_id, struct err **err)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct new_image i;
	bool there, has_blob;
	if (describe(a, config, chain, &i, err) < 0)
		return -1;
	i.manifest = manifest;
	if (is_there(c, a, &i, names, n_names, &there, err) < 0)
		return -1;
	if (!there) {
		if (cache_store_lease(c->store, err) < 0 ||
		    cache_blob_has(c, &i.id, &has_blob, NULL, err) < 0)
			return -1;
		if (!has_blob && blob_stage(c, config, i.staged, err) < 0)
			return -1;
		if (put_image(c, &i, names, n_names, err) < 0) {
			if (i.staged[0])
				blob_retract(c, &i.id);
			return err_wrap(err, "store image");
		}
	}
	if (ret_id)
		*ret_id = i.id;
	return 0;
}

int cache_name_set(struct cache *c, struct str full, const struct digest *id, struct err **err)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(db_write_endp) struct write w = { 0 };
	struct image i = { 0 };
	char text[DIGEST_TEXT];
	if (cache_store_lease(c->store, err) < 0 ||
	    db_write_begin(&w, c, DB_INDEX, DB_FULL, err) < 0)
		return -1;
	int r = read_image(c, a, id, &i, err);
	if (r <= 0)
		return r < 0 ? -1 : no_such_image(str_c(digest_text(id, text)), err);
	const struct digest *manifest = digest_is_zero(&i.manifest) ? NULL : &i.manifest;
	return put_name(c, full, id, manifest, err) < 0 ? -1 : commit_names(c, &w, err);
}

int cache_name_del(struct cache *c, struct str full, bool *ret_last, struct digest *ret_id,
		   struct err **err)
{
	_cleanup_(db_write_endp) struct write w = { 0 };
	struct digest id;
	if (cache_store_lease(c->store, err) < 0 ||
	    db_write_begin(&w, c, DB_INDEX, DB_FULL, err) < 0 ||
	    cache_name_get(c, full, &id, err) < 0)
		return -1;
	_cleanup_(db_donep) struct stmt *del =
		db_prepare(c, DB_INDEX, "DELETE FROM name WHERE ref = ?", err);
	if (!del)
		return -1;
	db_bind_text(del, full);
	if (db_exec(del, NULL, err) < 0)
		return -1;
	_cleanup_(db_donep) struct stmt *left =
		db_prepare(c, DB_INDEX, "SELECT 1 FROM name WHERE image = ? LIMIT 1", err);
	if (!left)
		return -1;
	db_bind_digest(left, &id);
	int r = db_step(left, err);
	db_done(left);
	if (r < 0 || commit_names(c, &w, err) < 0)
		return -1;
	if (ret_last)
		*ret_last = r == 0;
	if (ret_id)
		*ret_id = id;
	return 0;
}

/* Whether a name or another process or container holds the image. */
static int check_unused(struct cache *c, const struct digest *id, struct err **err)
{
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		c, DB_INDEX,
		"SELECT ref, NULL FROM name WHERE image = ?1 UNION ALL SELECT NULL, lease FROM pin "
		"WHERE kind = 'image' AND object = ?1 AND lease <> ?2 LIMIT 1",
		err);
	if (!q)
		return -1;
	db_bind_digest(q, id);
	db_bind_c(q, c->store->lease);
	int r = db_step(q, err);
	if (r <= 0)
		return r;
	if (!db_null(q, 0))
		return err_set(err, ERR_EXISTS, "the image still has the name %.*s",
			       STR_ARG(db_text(q, 0)));
	struct str lease = db_text(q, 1);
	if (str_starts(lease, STR("c/")))
		return err_set(err, ERR_EXISTS, "the image is used by container %.*s",
			       STR_ARG(str_sub(lease, 2, lease.n)));
	return err_set(err, ERR_EXISTS, "the image is used by another command (lease %.*s)",
		       STR_ARG(lease));
}

int cache_image_del(struct cache *c, const struct digest *id, struct err **err)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(db_write_endp) struct write w = { 0 };
	struct image i;
	char text[DIGEST_TEXT];
	if (cache_store_lease(c->store, err) < 0 ||
	    db_write_begin(&w, c, DB_INDEX, DB_FULL, err) < 0)
		return -1;
	int r = read_image(c, a, id, &i, err);
	if (r <= 0)
		return r < 0 ? -1 : no_such_image(str_c(digest_text(id, text)), err);
	if (check_unused(c, id, err) < 0)
		return err_wrap(err, "remove image %s", digest_text(id, text));
	if (delete_image(c, id, err) < 0)
		return -1;
	return db_write_commit(&w, err);
}
