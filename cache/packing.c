/* What leaves the machine: an image's layers as blobs and the manifest over them. */
#include "base/err.h"
#include "cache/blob.h"
#include "cache/db.h"
#include "cache/internal.h"
#include "cache/name.h"
#include "cache/schema.h"

enum { MANIFEST_MAX = 4 * 1024 * 1024 };

/* The manifest that the image came with, when all its blobs are here: a pulled image leaves as it came. 1, 0, -1. */
static int as_it_came(struct cache *c, struct arena *a, const struct image *i,
		      struct oci_descriptor *ret, struct err **err)
{
	_cleanup_(sb_releasep) struct sb b;
	struct oci_manifest m;
	uint64_t size;
	bool has = false;
	sb_init(&b, MANIFEST_MAX);
	if (digest_is_zero(&i->manifest) || cache_blob_has(c, &i->manifest, &has, &size, err) < 0)
		return digest_is_zero(&i->manifest) ? 0 : -1;
	if (!has)
		return 0;
	if (cache_blob_read(c, &i->manifest, &b, err) < 0 ||
	    oci_manifest_parse(a, sb_str(&b), STR(""), &m, err) < 0)
		return err_wrap(err, "the image's manifest");
	if (m.is_index || !digest_eq(&m.config.digest, &i->id))
		return 0;
	for (size_t k = 0; k < m.n_entries; k++) {
		if (cache_blob_has(c, &m.entries[k].digest, &has, NULL, err) < 0)
			return -1;
		if (!has)
			return 0;
	}
	*ret = (struct oci_descriptor){ .media_type = m.media_type,
					.digest = i->manifest,
					.size = size };
	return 1;
}

static int all_pulled(struct cache *c, const struct chain *chain, bool *ret, struct err **err)
{
	*ret = true;
	for (size_t k = 0; *ret && k < chain->n; k++) {
		_cleanup_(db_donep) struct stmt *q = db_prepare(
			c, DB_INDEX, "SELECT kind = 'pulled' FROM layer WHERE id = ?", err);
		if (!q)
			return -1;
		db_bind_int(q, chain->v[k].id);
		int r = db_step(q, err);
		if (r < 0)
			return -1;
		*ret = r && db_int(q, 0);
	}
	return 0;
}

static int note_manifest(struct cache *c, const struct digest *id, const struct digest *manifest,
			 struct err **err)
{
	_cleanup_(db_write_endp) struct write w = { 0 };
	if (db_write_begin(&w, c, DB_INDEX, DB_FULL, err) < 0)
		return -1;
	_cleanup_(db_donep) struct stmt *q =
		db_prepare(c, DB_INDEX, "UPDATE image SET manifest = ? WHERE id = ?", err);
	if (!q)
		return -1;
	db_bind_digest(q, manifest);
	db_bind_digest(q, id);
	if (db_exec(q, NULL, err) < 0)
		return -1;
	_cleanup_(db_donep) struct stmt *sum =
		db_prepare(c, DB_INDEX, "UPDATE image SET sum = " IMAGE_SUM " WHERE id = ?", err);
	if (!sum)
		return -1;
	db_bind_digest(sum, id);
	return db_exec(sum, NULL, err) < 0 ? -1 : db_write_commit(&w, err);
}

static int make_manifest(struct cache *c, struct arena *a, const struct image *i, const char *form,
			 struct oci_descriptor *ret, struct err **err)
{
	struct oci_manifest m = { .media_type = STR(OCI_MANIFEST), .n_entries = i->chain.n };
	_cleanup_(sb_releasep) struct sb b = { 0 };
	struct digest config;
	m.entries = arena_array_of(a, struct oci_descriptor, m.n_entries);
	for (size_t k = 0; k < m.n_entries; k++) {
		struct oci_descriptor *d = &m.entries[k];
		if (i->chain.v[k].absent)
			return err_set(
				err, ERR_NOT_FOUND,
				"layer %zu of the image is not in the store any more: build or pull it again",
				k + 1);
		if (cache_layer_pack(c, &i->chain.v[k], form, &d->digest, &d->size, &d->media_type,
				     err) < 0)
			return err_wrap(err, "pack layer %zu", k + 1);
	}
	/* Nearly always there; a repaired store may have lost it. */
	if (cache_blob_put(c, i->config, &config, err) < 0)
		return -1;
	m.config = (struct oci_descriptor){ .media_type = STR(OCI_CONFIG),
					    .digest = i->id,
					    .size = i->config.n };
	oci_manifest_print(&m, &b);
	*ret = (struct oci_descriptor){ .media_type = m.media_type, .size = b.n };
	return cache_blob_put(c, sb_str(&b), &ret->digest, err);
}

int cache_image_manifest(struct cache *c, struct arena *a, const struct digest *id,
			 const char *form, struct oci_descriptor *ret, struct err **err)
{
	struct oci_descriptor d = { 0 };
	struct image i;
	bool pulled;
	if (cache_image_get(c, a, id, &i, err) < 0 || all_pulled(c, &i.chain, &pulled, err) < 0)
		return -1;
	int r = pulled ? as_it_came(c, a, &i, &d, err) : 0;
	if (r < 0)
		return -1;
	if (!r &&
	    (make_manifest(c, a, &i, form, &d, err) < 0 ||
	     (!digest_eq(&d.digest, &i.manifest) && note_manifest(c, id, &d.digest, err) < 0)))
		return -1;
	*ret = d;
	return 0;
}
