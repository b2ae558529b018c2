/*
 * Pulled layers: cache_layer_unpack(), and packing layers into blobs: cache_layer_pack().
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/io.h"
#include "base/path.h"
#include "base/zip.h"
#include "cache/blob.h"
#include "cache/layer_internal.h"
#include "cache/manifest.h"
#include "cache/oci.h"
#include "cache/pipe.h"
#include "cache/scan.h"
#include "cache/tar.h"
#include "cache/xattr.h"

/* ---- hard links into the layers below */

struct lender {
	struct cache *c;
	const struct chain *parents;
	int fs_fd;
	int view; /* the layers below, mounted when first needed; -1 */
	bool used;
};

/* Owner, mode, attributes and time of one open file to another. */
static int clone_attributes(int from, int to, const char *path, struct err **err)
{
	_cleanup_(sb_releasep) struct sb xattrs = { 0 };
	struct stat st;
	if (fstat(from, &st) < 0 || fchown(to, st.st_uid, st.st_gid) < 0 ||
	    fchmod(to, st.st_mode & 07777) < 0)
		return err_sys(err, "copy the attributes of '%s'", path);
	if (xattr_read(from, -1, "", path, &xattrs, err) < 0 ||
	    xattr_write(to, -1, "", sb_str(&xattrs), path, err) < 0)
		return -1;
	struct timespec ts[2] = { st.st_mtim, st.st_mtim };
	return futimens(to, ts) < 0 ? err_sys(err, "copy the time of '%s'", path) : 0;
}

/* Opens the folder of `path` in the layer; what is missing of it is made as the view has it. */
static int lend_folders(struct lender *l, const char *path, const char **ret_base, struct err **err)
{
	_cleanup_close_ int at = openat(l->fs_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *part = xstrdup(path);
	char *name = part;
	for (char *slash; (slash = strchr(name, '/')); name = slash + 1) {
		*slash = '\0';
		int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0 && errno == ENOENT && mkdirat(at, name, 0700) == 0) {
			_cleanup_close_ int from =
				path_open_beneath(l->view, part, O_RDONLY | O_DIRECTORY);
			next = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (from < 0 || next < 0 || clone_attributes(from, next, part, err) < 0) {
				if (next >= 0)
					close(next);
				return from < 0 || next < 0 ? err_sys(err, "open folder '%s'", part)
							    : -1;
			}
		}
		if (next < 0)
			return err_sys(err, "open folder '%s'", part);
		close(at);
		at = next;
		*slash = '/';
	}
	*ret_base = path + (name - part);
	return STEAL_FD(at);
}

static int copy_bytes(int from, int to, const char *path, struct err **err)
{
	struct source *in = io_source_fd(from, false, path);
	struct sink *out = io_sink_fd(to, false, path);
	uint64_t n;
	int r = io_copy(in, out, UINT64_MAX, &n, err);
	struct err *none = NULL;
	if (io_source_close(in, &none) < 0 || io_sink_close(out, false, &none) < 0)
		err_drop(&none);
	return r;
}

/* tar_read.borrow: copies a file of the layers below to its own place in this one. */
static int lend(void *arg, const char *path, struct err **err)
{
	struct lender *l = arg;
	if (!l->parents || !l->parents->n)
		return err_set(err, ERR_NOT_FOUND, "its target '%s' is not in this layer", path);
	if (l->view < 0 && cache_layer_mount(l->c, l->parents, NULL, &l->view, err) < 0)
		return -1;
	_cleanup_close_ int from = path_open_beneath(l->view, path, O_RDONLY);
	struct stat st;
	if (from < 0 || fstat(from, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR
			? err_set(err, ERR_NOT_FOUND, "its target '%s' does not exist", path)
			: err_sys(err, "open its target '%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_UNSUPPORTED,
			       "its target '%s' in a layer below is not a regular file", path);
	const char *base = NULL;
	_cleanup_close_ int at = lend_folders(l, path, &base, err);
	if (at < 0)
		return -1;
	_cleanup_close_ int to =
		openat(at, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return err_sys(err, "create '%s'", path);
	l->used = true;
	return copy_bytes(from, to, path, err) < 0 ? -1 : clone_attributes(from, to, path, err);
}

/* ---- unpacking */

struct unpacked {
	struct digest diffid;
	struct manifest_total total;
	enum zip_kind kind;
	bool bound;
};

static int list_entry(void *arg, struct entry *e, int dirfd, const char *name, int fd,
		      struct err **err)
{
	(void)dirfd;
	(void)name;
	(void)fd;
	return manifest_writer_add(arg, e, err);
}

/* The manifest of an unpacked folder, without data digests. */
static int list_folder(struct work *w, bool root, const struct digest *diffid,
		       struct manifest_total *ret, struct err **err)
{
	_cleanup_close_ int dir =
		openat(w->store->root_fd, w->path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0)
		return err_sys(err, "open folder '%s'", w->path);
	_cleanup_(manifest_writer_freep) struct manifest_writer *m =
		manifest_writer_new(dir, "manifest", err);
	if (!m)
		return -1;
	const struct scan scan = { .entry = list_entry, .arg = m, .root = root, .no_open = true };
	if (scan_run(w->fs_fd, &scan, err) < 0)
		return -1;
	return manifest_writer_end(m, diffid, ret, err);
}

/* A tar that nobody knows by a digest and that nobody keeps: the layer is what our own tar of it
 * is, so that it can be written again. */
static int adopt_folder(struct work *w, struct digest *ret_diffid, struct manifest_total *ret,
			struct err **err)
{
	_cleanup_close_ int dir =
		openat(w->store->root_fd, w->path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0)
		return err_sys(err, "open folder '%s'", w->path);
	if (layer_seal_folder(w->store, dir, INT64_MAX, ret, err) < 0)
		return -1;
	*ret_diffid = ret->diffid;
	return 0;
}

/* Reads the tar into the work's folder; the source is closed in every case. */
static int read_tar(struct cache *c, struct work *w, struct source *tar,
		    const struct chain *parents, bool own, struct unpacked *ret, struct err **err)
{
	uint64_t packed = 0;
	struct source *plain = zip_source(pipe_count(tar, &packed), &ret->kind, err);
	if (!plain)
		return -1;
	struct source *hashed = pipe_source(plain);
	struct lender lender = { .c = c, .parents = parents, .fs_fd = w->fs_fd, .view = -1 };
	struct tar_read t = { .from = hashed,
			      .packed = &packed,
			      .fs_fd = w->fs_fd,
			      .borrow = lend,
			      .arg = &lender,
			      .cancel = &c->store->canceled };
	struct tar_read_result result;
	int r = tar_unpack(&t, &result, err);
	if (!r)
		pipe_source_end(hashed, &ret->diffid);
	if (lender.view >= 0)
		close(lender.view);
	struct err *none = NULL;
	if (io_source_close(hashed, &none) < 0)
		err_drop(&none); /* an error of the source came through tar_unpack() */
	if (r < 0)
		return -1;
	ret->bound = lender.used;
	if (own)
		return adopt_folder(w, &ret->diffid, &ret->total, err);
	return list_folder(w, result.root, &ret->diffid, &ret->total, err);
}

static struct digest chain_id(const struct chain *parents)
{
	struct digest *d = xcalloc(parents->n, sizeof(*d));
	for (size_t i = 0; i < parents->n; i++)
		d[i] = parents->v[i].diffid;
	struct digest id = oci_chain_id(d, parents->n);
	free(d);
	return id;
}

/* The ready layer with this diff ID and binding, in the write transaction; 1, 0, -1. */
static int other_row(struct cache *c, const struct digest *diffid, const struct digest *bound,
		     int64_t *ret_id, struct err **err)
{
	_cleanup_(db_donep) struct stmt *s =
		db_prepare(c, DB_INDEX,
			   "SELECT id FROM layer WHERE diffid = ? AND kind = 'pulled'"
			   " AND state = 'ready' AND bound IS ?"
			   " AND (boot IS NULL OR boot = ?)",
			   err);
	if (!s)
		return -1;
	db_bind_digest(s, diffid);
	db_bind_digest(s, bound);
	db_bind_c(s, c->store->boot);
	int r = db_step(s, err);
	if (r > 0)
		*ret_id = db_int(s, 0);
	return r;
}

/* A row of another boot that was never synced gives way to the fresh one. */
static int drop_stale(struct cache *c, const struct digest *diffid, const struct digest *bound,
		      struct err **err)
{
	_cleanup_(db_donep) struct stmt *find =
		db_prepare(c, DB_INDEX,
			   "SELECT id FROM layer WHERE diffid = ? AND kind = 'pulled'"
			   " AND state = 'ready' AND bound IS ?",
			   err);
	if (!find)
		return -1;
	db_bind_digest(find, diffid);
	db_bind_digest(find, bound);
	int r = db_step(find, err);
	if (r <= 0)
		return r;
	int64_t id = db_int(find, 0);
	struct stmt *s =
		db_prepare(c, DB_INDEX, "UPDATE layer SET state = 'dead' WHERE id = ?", err);
	if (!s)
		return -1;
	db_bind_int(s, id);
	return db_exec(s, NULL, err) < 0 ? -1 : db_layer_sum(c, id, err);
}

static int set_pulled(struct cache *c, int64_t id, const struct unpacked *u,
		      const struct digest *bound, struct err **err)
{
	struct stmt *s =
		db_prepare(c, DB_INDEX,
			   "UPDATE layer SET state = 'ready', kind = 'pulled', diffid = ?, m = ?,"
			   " size = ?, entries = ?, boot = ?,"
			   " bound = ? WHERE id = ?",
			   err);
	if (!s)
		return -1;
	db_bind_digest(s, &u->diffid);
	db_bind_digest(s, digest_is_zero(&u->total.m) ? NULL : &u->total.m);
	db_bind_int(s, (int64_t)u->total.bytes);
	db_bind_int(s, (int64_t)u->total.entries);
	db_bind_c(s, c->store->boot);
	db_bind_digest(s, bound);
	db_bind_int(s, id);
	return db_exec(s, NULL, err) < 0 ? -1 : db_layer_sum(c, id, err);
}

static int note_packed(struct cache *c, const struct digest *diffid, const char *form,
		       const struct digest *blob, struct err **err)
{
	struct stmt *s = db_prepare(
		c, DB_INDEX, "INSERT OR REPLACE INTO packed(diffid, form, digest) VALUES (?, ?, ?)",
		err);
	if (!s)
		return -1;
	db_bind_digest(s, diffid);
	db_bind_c(s, form);
	db_bind_digest(s, blob);
	return db_exec(s, NULL, err);
}

static const char *media_type(enum zip_kind kind)
{
	return kind == ZIP_GZIP ? OCI_LAYER_GZIP : kind == ZIP_ZSTD ? OCI_LAYER_ZSTD : OCI_LAYER;
}

/* Makes the row ready, or takes that of another process which was first. */
static int publish(struct cache *c, struct work *w, const struct unpacked *u,
		   const struct digest *bound, const struct digest *blob, int64_t *ret_id,
		   struct err **err)
{
	_cleanup_(db_write_endp) struct write t = { 0 };
	if (db_write_begin(&t, c, DB_INDEX, DB_NORMAL, err) < 0)
		return -1;
	int64_t id = w->id;
	int r = other_row(c, &u->diffid, bound, &id, err);
	if (r < 0)
		return -1;
	if (!r &&
	    (drop_stale(c, &u->diffid, bound, err) < 0 || layer_publish(w, err) < 0 ||
	     set_pulled(c, id, u, bound, err) < 0))
		return -1;
	if (blob && note_packed(c, &u->diffid, media_type(u->kind), blob, err) < 0)
		return -1;
	if (db_write_commit(&t, err) < 0)
		return -1;
	*ret_id = id;
	return 0;
}

static int unpack_work(struct cache *c, struct work *w, struct source *tar,
		       const struct digest *diffid, const struct chain *parents,
		       const struct digest *blob, struct layer *ret, struct err **err)
{
	struct unpacked u = { 0 };
	if (read_tar(c, w, tar, parents, !diffid && !blob, &u, err) < 0)
		return -1;
	if (diffid && !digest_eq(&u.diffid, diffid)) {
		char want[DIGEST_TEXT], got[DIGEST_TEXT];
		return err_set(err, ERR_INTEGRITY,
			       "the layer's content is %s, the image config says %s",
			       digest_text(&u.diffid, got), digest_text(diffid, want));
	}
	struct digest bound = { 0 };
	if (u.bound)
		bound = chain_id(parents);
	struct layer l = { .diffid = u.diffid };
	if (publish(c, w, &u, u.bound ? &bound : NULL, blob, &l.id, err) < 0)
		return -1;
	bool live = true;
	if (l.id != w->id && cache_chain_pin(c, &(struct chain){ &l, 1 }, &live, err) < 0)
		return -1;
	if (!live)
		return err_set(err, ERR_NOT_FOUND, "layer %lld was removed meanwhile",
			       (long long)l.id);
	*ret = l;
	return 0;
}

static void drop_source(struct source *s)
{
	struct err *none = NULL;
	if (io_source_close(s, &none) < 0)
		err_drop(&none);
}

int cache_layer_unpack(struct cache *c, struct source *tar, const struct digest *diffid,
		       const struct chain *parents, const struct digest *blob, struct layer *ret,
		       struct err **err)
{
	bool found = false;
	if (diffid && cache_layer_find(c, diffid, &found, ret, err) < 0) {
		drop_source(tar);
		return -1;
	}
	if (found) {
		drop_source(tar);
		return 0;
	}
	struct work *w = cache_work_begin(c, err);
	if (!w) {
		drop_source(tar);
		return -1;
	}
	int r = unpack_work(c, w, tar, diffid, parents, blob, ret, err);
	cache_work_free(w);
	return r < 0 ? err_wrap(err, "unpack a layer") : 0;
}

/* ---- packing */

struct blob_sink {
	struct sink sink;
	struct blob_writer *w;
};

static int blob_write(struct sink *s, const void *p, size_t n)
{
	return cache_blob_write(((struct blob_sink *)s)->w, p, n, &s->err);
}

static void blob_close(struct sink *s)
{
	free(s);
}

static struct sink *blob_sink(struct blob_writer *w)
{
	struct blob_sink *b = xcalloc(1, sizeof(*b));
	b->sink = (struct sink){ .write = blob_write, .close = blob_close };
	b->w = w;
	return &b->sink;
}

/* A blob that is noted for a layer in a form and is here; 1, 0, -1. */
static int find_packed(struct cache *c, const struct digest *diffid, const char *form,
		       struct digest *ret, uint64_t *ret_size, struct err **err)
{
	_cleanup_(db_donep) struct stmt *s = db_prepare(
		c, DB_INDEX, "SELECT digest FROM packed WHERE diffid = ? AND form = ?", err);
	if (!s)
		return -1;
	db_bind_digest(s, diffid);
	db_bind_c(s, form);
	int r = db_step(s, err);
	if (r <= 0 || !db_digest(s, 0, ret))
		return r < 0 ? -1 : 0;
	db_done(STEAL(s));
	bool has;
	if (cache_blob_has(c, ret, &has, ret_size, err) < 0)
		return -1;
	return has;
}

/* Writes the tar's bytes through compression into a blob and verifies that they are the layer. */
static int write_blob(struct cache *c, const struct layer *l, enum zip_kind kind,
		      struct blob_writer *w, struct err **err)
{
	struct digest got;
	struct sink *zip = zip_sink(blob_sink(w), kind, 0, err);
	if (!zip)
		return -1;
	struct sink *to = pipe_digest(pipe_sink(zip), &got);
	int r = cache_layer_tar(c, l->id, to, err);
	struct err *none = NULL;
	if (io_sink_close(to, r == 0, r == 0 ? err : &none) < 0)
		r = -1;
	if (r < 0)
		return -1;
	if (!digest_eq(&got, &l->diffid))
		return err_set(
			err, ERR_INTEGRITY,
			"its files do not give its digest (a pulled layer needs the blob it came as)");
	return 0;
}

static int make_blob(struct cache *c, const struct layer *l, enum zip_kind kind, struct digest *ret,
		     uint64_t *ret_size, struct err **err)
{
	struct blob_writer *w = cache_blob_begin(c, 0, err);
	if (!w)
		return -1;
	if (write_blob(c, l, kind, w, err) < 0) {
		cache_blob_abort(w);
		return -1;
	}
	if (cache_blob_commit(c, w, NULL, NULL, ret, err) < 0)
		return -1;
	_cleanup_(db_write_endp) struct write t = { 0 };
	if (db_write_begin(&t, c, DB_INDEX, DB_NORMAL, err) < 0 ||
	    note_packed(c, &l->diffid, zip_form(kind), ret, err) < 0 ||
	    db_write_commit(&t, err) < 0)
		return -1;
	bool has;
	if (cache_blob_has(c, ret, &has, ret_size, err) < 0)
		return -1;
	return has ? 0 : err_set(err, ERR_NOT_FOUND, "the blob is gone again");
}

static int parse_form(const char *form, enum zip_kind *ret, struct err **err)
{
	if (!strcmp(form, "gzip"))
		*ret = ZIP_GZIP;
	else if (!strcmp(form, "zstd"))
		*ret = ZIP_ZSTD;
	else if (!strcmp(form, "none"))
		*ret = ZIP_NONE;
	else
		return err_set(err, ERR_INVALID, "unknown form of a layer: '%s'", form);
	return 0;
}

static int pack(struct cache *c, const struct layer *l, enum zip_kind kind, struct digest *ret,
		uint64_t *ret_size, enum zip_kind *ret_kind, struct err **err)
{
	/* What came from outside is sent on as it came, whatever form is wanted: its digest is
	 * known to others. */
	static const enum zip_kind outside[] = { ZIP_GZIP, ZIP_ZSTD, ZIP_NONE };
	for (size_t i = 0; i < ARRAY_SIZE(outside); i++) {
		int r = find_packed(c, &l->diffid, media_type(outside[i]), ret, ret_size, err);
		*ret_kind = outside[i];
		if (r)
			return r < 0 ? -1 : 0;
	}
	*ret_kind = kind;
	int r = find_packed(c, &l->diffid, zip_form(kind), ret, ret_size, err);
	if (r)
		return r < 0 ? -1 : 0;
	return make_blob(c, l, kind, ret, ret_size, err);
}

int cache_layer_pack(struct cache *c, const struct layer *l, const char *form,
		     struct digest *ret_blob, uint64_t *ret_size, struct str *ret_media_type,
		     struct err **err)
{
	enum zip_kind kind = ZIP_NONE, got = ZIP_NONE;
	struct digest blob = { 0 };
	uint64_t size = 0;
	if (parse_form(form, &kind, err) < 0 || pack(c, l, kind, &blob, &size, &got, err) < 0)
		return err_wrap(err, "pack layer %lld", (long long)l->id);
	*ret_blob = blob;
	*ret_size = size;
	*ret_media_type = str_c(media_type(got));
	return 0;
}
