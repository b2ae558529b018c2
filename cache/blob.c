#include "cache/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "cache/db.h"
#include "cache/internal.h"

struct blob_writer {
	struct store *store;
	struct digester hash;
	int fd;
	char path[BLOB_PATH_TEXT];
	uint64_t size, max;
};

void blob_path(const struct digest *d, char path[BLOB_PATH_TEXT])
{
	char hex[DIGEST_HEX];
	digest_hex(d, hex);
	snprintf(path, BLOB_PATH_TEXT, "blobs/sha256/%.2s/%s", hex, hex);
}

/* Whether there is a row and a file of its size; a file that vanished behind our back counts as not there. */
static int look(struct cache *c, const struct digest *d, bool *ret_has, uint64_t *ret_size,
		int64_t *ret_used, struct err **err)
{
	_cleanup_(db_donep) struct stmt *s =
		db_prepare(c, DB_INDEX, "SELECT size, used FROM blob WHERE digest = ?", err);
	char path[BLOB_PATH_TEXT];
	struct stat st;
	if (!s)
		return -1;
	db_bind_digest(s, d);
	int r = db_step(s, err);
	if (r < 0)
		return -1;
	blob_path(d, path);
	*ret_has = r && fstatat(c->store->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		S_ISREG(st.st_mode) && st.st_size == db_int(s, 0);
	*ret_size = *ret_has ? (uint64_t)st.st_size : 0;
	*ret_used = r ? db_int(s, 1) : 0;
	return 0;
}

/* Within a write: pins the blob for the lease. */
static int pin(struct cache *c, const struct digest *d, struct err **err)
{
	_cleanup_(db_donep) struct stmt *s = db_prepare(
		c, DB_INDEX, "INSERT OR IGNORE INTO pin(lease, kind, object) VALUES(?, 'blob', ?)",
		err);
	if (!s)
		return -1;
	db_bind_c(s, c->store->lease);
	db_bind_digest(s, d);
	return db_exec(s, NULL, err);
}

static int put_row(struct cache *c, const struct digest *d, uint64_t size, struct err **err)
{
	_cleanup_(db_donep) struct stmt *s =
		db_prepare(c, DB_INDEX,
			   "INSERT INTO blob(digest, size, used) VALUES(?1, ?2, ?3) "
			   "ON CONFLICT(digest) DO UPDATE SET size = ?2, used = ?3",
			   err);
	if (!s)
		return -1;
	db_bind_digest(s, d);
	db_bind_int(s, (int64_t)size);
	db_bind_int(s, clock_real_ns());
	return db_exec(s, NULL, err);
}

int cache_blob_has(struct cache *c, const struct digest *d, bool *ret_has, uint64_t *ret_size,
		   struct err **err)
{
	struct str key = { (const char *)d->b, sizeof(d->b) };
	uint64_t size;
	int64_t used;
	bool has;
	if (look(c, d, &has, &size, &used, err) < 0)
		return -1;
	if (has && cache_store_lease_id(c->store) && !store_is_held(c->store, key)) {
		/* It may be deleted between the look and the pin, so that the look counts which is made under the lock. */
		_cleanup_(db_write_endp) struct write w = { 0 };
		if (db_write_begin(&w, c, DB_INDEX, DB_NORMAL, err) < 0 ||
		    look(c, d, &has, &size, &used, err) < 0)
			return -1;
		if (has &&
		    (pin(c, d, err) < 0 ||
		     (clock_real_ns() - used > USED_STEP_NS && put_row(c, d, size, err) < 0) ||
		     db_write_commit(&w, err) < 0))
			return -1;
		if (has)
			store_note_held(c->store, key);
	}
	*ret_has = has;
	if (ret_size)
		*ret_size = size;
	return 0;
}

int cache_blob_open(struct cache *c, const struct digest *d, int *ret_fd, uint64_t *ret_size,
		    struct err **err)
{
	char path[BLOB_PATH_TEXT], text[DIGEST_TEXT];
	uint64_t size;
	int64_t used;
	bool has;
	if (look(c, d, &has, &size, &used, err) < 0)
		return -1;
	if (!has)
		return err_set(err, ERR_NOT_FOUND, "blob '%s' is not in the store",
			       digest_text(d, text));
	blob_path(d, path);
	int fd = openat(c->store->root_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_sys(err, "open blob '%s'", digest_text(d, text));
	*ret_fd = fd;
	if (ret_size)
		*ret_size = size;
	return 0;
}

int cache_blob_read(struct cache *c, const struct digest *d, struct sb *out, struct err **err)
{
	_cleanup_close_ int fd = -1;
	char text[DIGEST_TEXT];
	size_t before = out->n;
	if (cache_blob_open(c, d, &fd, NULL, err) < 0)
		return -1;
	digest_text(d, text);
	if (io_read_fd(fd, text, out, err) < 0)
		return err_wrap(err, "read blob");
	/* Small ones are looked at whole: a damaged one must not pass as what its digest says. */
	struct digest is = digest_of(out->p + before, out->n - before);
	if (!digest_eq(&is, d)) {
		err_set(err, ERR_INTEGRITY, "blob '%s' is damaged on disk", text);
		return err_hint(err, "'cbuild debug fsck --data' finds what else is");
	}
	return 0;
}

/* ---- publishing */

/* The folder of a blob, made when missing; *ret_made says so. */
static int open_shard(struct store *s, const char *path, bool *ret_made, struct err **err)
{
	char dir[BLOB_PATH_TEXT];
	snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(path, '/') - path), path);
	*ret_made = mkdirat(s->root_fd, dir, 0700) == 0;
	if (!*ret_made && errno != EEXIST)
		return err_sys(err, "make folder '%s/%s'", s->root, dir);
	int fd = openat(s->root_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? err_sys(err, "open folder '%s/%s'", s->root, dir) : fd;
}

static int sync_folder(struct store *s, const char *path, struct err **err)
{
	_cleanup_close_ int fd = openat(s->root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? err_sys(err, "sync folder '%s/%s'", s->root, path) : 0;
}

int blob_publish(struct cache *c, const char *tmp, const struct digest *d, uint64_t size,
		 struct err **err)
{
	struct store *s = c->store;
	char path[BLOB_PATH_TEXT];
	bool made;
	blob_path(d, path);
	_cleanup_close_ int shard = open_shard(s, path, &made, err);
	if (shard < 0)
		return -1;
	if (renameat(s->root_fd, tmp, s->root_fd, path) < 0)
		return err_sys(err, "rename '%s/%s' to '%s'", s->root, tmp, path);
	if (fsync(shard) < 0)
		return err_sys(err, "sync the folder of '%s/%s'", s->root, path);
	if (made && sync_folder(s, "blobs/sha256", err) < 0)
		return -1;
	return put_row(c, d, size, err) < 0 || pin(c, d, err) < 0 ? -1 : 0;
}

void blob_retract(struct cache *c, const struct digest *d)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	char path[BLOB_PATH_TEXT];
	_cleanup_(db_donep) struct stmt *s =
		db_prepare(c, DB_INDEX, "SELECT 1 FROM blob WHERE digest = ?", &e);
	if (!s)
		return;
	db_bind_digest(s, d);
	blob_path(d, path);
	if (db_step(s, &e) == 0)
		unlinkat(c->store->root_fd, path, 0);
}

/* A complete, synced file becomes the blob. */
static int publish(struct cache *c, const char *tmp, const struct digest *d, uint64_t size,
		   struct err **err)
{
	_cleanup_(db_write_endp) struct write w = { 0 };
	if (db_write_begin(&w, c, DB_INDEX, DB_FULL, err) < 0)
		return -1;
	if (blob_publish(c, tmp, d, size, err) < 0 || db_write_commit(&w, err) < 0) {
		db_write_endp(&w);
		blob_retract(c, d);
		return -1;
	}
	store_note_held(c->store, (struct str){ (const char *)d->b, sizeof(d->b) });
	return 0;
}

/* Whether the blob is here (pinned then), so that nothing need be written. */
static int have_already(struct cache *c, const struct digest *d, uint64_t want, bool *ret,
			struct err **err)
{
	uint64_t size;
	bool has;
	if (cache_blob_has(c, d, &has, &size, err) < 0)
		return -1;
	*ret = has && size == want;
	return 0;
}

struct blob_writer *cache_blob_begin(struct cache *c, uint64_t max, struct err **err)
{
	struct store *s = c->store;
	if (cache_store_lease(s, err) < 0)
		return NULL;
	_cleanup_free_ struct blob_writer *w = xcalloc(1, sizeof(*w));
	w->store = s;
	w->max = max;
	snprintf(w->path, sizeof(w->path), "tmp/%s/ingest/%llu", s->lease,
		 (unsigned long long)cache_store_counter(s));
	w->fd = openat(s->root_fd, w->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
		       0600);
	if (w->fd < 0) {
		err_sys(err, "make '%s/%s'", s->root, w->path);
		return NULL;
	}
	digest_begin(&w->hash);
	return STEAL(w);
}

int cache_blob_write(struct blob_writer *w, const void *p, size_t n, struct err **err)
{
	if (w->max && (n > w->max || w->size > w->max - n))
		return err_set(err, ERR_LIMIT, "write a blob: it is larger than %llu bytes",
			       (unsigned long long)w->max);
	if (io_write_full(w->fd, p, n) < 0)
		return err_sys(err, "write '%s/%s'", w->store->root, w->path);
	digest_add(&w->hash, p, n);
	w->size += n;
	return 0;
}

void cache_blob_abort(struct blob_writer *w)
{
	if (!w)
		return;
	if (w->hash.ctx)
		digest_abandon(&w->hash);
	close(w->fd);
	/* Gone by rename when it was published. */
	unlinkat(w->store->root_fd, w->path, 0);
	free(w);
}

static void abortp(struct blob_writer **w)
{
	cache_blob_abort(*w);
}

int cache_blob_commit(struct cache *c, struct blob_writer *writer, const struct digest *expected,
		      const uint64_t *size, struct digest *ret, struct err **err)
{
	_cleanup_(abortp) struct blob_writer *w = writer;
	struct digest d = digest_end(&w->hash);
	char is[DIGEST_TEXT], want[DIGEST_TEXT];
	bool there;
	if (size && *size != w->size)
		return err_set(err, ERR_INTEGRITY, "blob has %llu bytes, not %llu",
			       (unsigned long long)w->size, (unsigned long long)*size);
	if (expected && !digest_eq(expected, &d))
		return err_set(err, ERR_INTEGRITY, "blob has digest %s, not %s",
			       digest_text(&d, is), digest_text(expected, want));
	if (have_already(c, &d, w->size, &there, err) < 0)
		return -1;
	if (!there) {
		if (fdatasync(w->fd) < 0)
			return err_sys(err, "sync '%s/%s'", w->store->root, w->path);
		if (publish(c, w->path, &d, w->size, err) < 0)
			return -1;
	}
	if (ret)
		*ret = d;
	return 0;
}

int cache_blob_put(struct cache *c, struct str data, struct digest *ret, struct err **err)
{
	struct digest d = digest_of(data.p, data.n);
	bool there;
	if (cache_store_lease(c->store, err) < 0 || have_already(c, &d, data.n, &there, err) < 0)
		return -1;
	if (!there) {
		struct blob_writer *w = cache_blob_begin(c, 0, err);
		if (!w)
			return -1;
		if (cache_blob_write(w, data.p, data.n, err) < 0) {
			cache_blob_abort(w);
			return -1;
		}
		if (cache_blob_commit(c, w, NULL, NULL, NULL, err) < 0)
			return -1;
	}
	if (ret)
		*ret = d;
	return 0;
}

int blob_stage(struct cache *c, struct str data, char path[BLOB_PATH_TEXT], struct err **err)
{
	struct blob_writer *w = cache_blob_begin(c, 0, err);
	if (!w)
		return -1;
	if (cache_blob_write(w, data.p, data.n, err) < 0 ||
	    (fdatasync(w->fd) < 0 && err_sys(err, "sync '%s/%s'", w->store->root, w->path))) {
		cache_blob_abort(w);
		return -1;
	}
	snprintf(path, BLOB_PATH_TEXT, "%s", w->path);
	digest_abandon(&w->hash);
	close(w->fd);
	free(w);
	return 0;
}

int cache_blob_adopt(struct cache *c, int fd, const char *path, const struct digest *d,
		     uint64_t size, struct err **err)
{
	struct stat st;
	bool there;
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat '%s/%s'", c->store->root, path);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
		return err_set(err, ERR_INTEGRITY, "'%s/%s' has %lld bytes, not %llu",
			       c->store->root, path, (long long)st.st_size,
			       (unsigned long long)size);
	if (cache_store_lease(c->store, err) < 0 || have_already(c, d, size, &there, err) < 0)
		return -1;
	if (there)
		return unlinkat(c->store->root_fd, path, 0) < 0 && errno != ENOENT
			? err_sys(err, "remove '%s/%s'", c->store->root, path)
			: 0;
	if (fdatasync(fd) < 0)
		return err_sys(err, "sync '%s/%s'", c->store->root, path);
	return publish(c, path, d, size, err);
}
