#include "cache/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/err.h"
#include "base/io.h"
#include "base/path.h"
#include "cache/layer_internal.h"
#include "cache/manifest.h"
#include "cache/xattr.h"

void chain_release(struct chain *c)
{
	free(c->v);
	*c = (struct chain){ 0 };
}

struct chain chain_append(const struct chain *c, const struct layer *top)
{
	struct chain r = { xcalloc(c->n + 1, sizeof(*r.v)), c->n };
	if (c->n)
		memcpy(r.v, c->v, c->n * sizeof(*r.v));
	if (top)
		r.v[r.n++] = *top;
	return r;
}

bool chain_complete(const struct chain *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->v[i].absent)
			return false;
	return true;
}

const char *layer_kind_text(enum layer_kind kind)
{
	static const char *const text[] = { [LAYER_STEP] = "step",
					    [LAYER_LINK] = "link",
					    [LAYER_PULLED] = "pulled",
					    [LAYER_CONTEXT] = "context",
					    [LAYER_FAILED] = "failed" };
	return text[kind];
}

char *layer_path(char buf[LAYER_PATH], int64_t id, const char *name)
{
	snprintf(buf, LAYER_PATH, "layers/%lld%s%s", (long long)id, *name ? "/" : "", name);
	return buf;
}

int layer_open(struct store *s, int64_t id, const char *name, int *ret_fd, struct err **err)
{
	char path[LAYER_PATH];
	int fd = openat(s->root_fd, layer_path(path, id, name),
			O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_sys(err, "open layer %lld", (long long)id);
	*ret_fd = fd;
	return 0;
}

/* ---- work */

static int make_folders(struct work *w, struct err **err)
{
	int root = w->store->root_fd;
	_cleanup_free_ char *fs = xasprintf("%s/fs", w->path);
	if (mkdirat(root, w->path, 0700) < 0 || mkdirat(root, fs, 0755) < 0)
		return err_sys(err, "make folder '%s'", w->path);
	w->fs_fd = openat(root, fs, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (w->fs_fd < 0 || fchown(w->fs_fd, 0, 0) < 0 || fchmod(w->fs_fd, 0755) < 0)
		return err_sys(err, "make folder '%s'", fs);
	return 0;
}

static int insert_row(struct cache *c, int64_t *ret_id, struct err **err)
{
	_cleanup_(db_write_endp) struct write w = { 0 };
	if (db_write_begin(&w, c, DB_INDEX, DB_NORMAL, err) < 0)
		return -1;
	struct stmt *s =
		db_prepare(c, DB_INDEX,
			   "INSERT INTO layer(state, kind, lease) VALUES ('work', 'step', ?)", err);
	if (!s)
		return -1;
	db_bind_c(s, cache_store_lease_id(c->store));
	if (db_exec(s, NULL, err) < 0)
		return -1;
	int64_t id = db_last_id(c, DB_INDEX);
	if (db_layer_sum(c, id, err) < 0 || db_write_commit(&w, err) < 0)
		return -1;
	*ret_id = id;
	return 0;
}

struct work *cache_work_begin(struct cache *c, struct err **err)
{
	if (cache_store_lease(c->store, err) < 0)
		return NULL;
	struct work *w = xcalloc(1, sizeof(*w));
	w->store = c->store;
	w->fs_fd = -1;
	if (insert_row(c, &w->id, err) < 0) {
		err_wrap(err, "begin a layer");
		cache_work_free(w);
		return NULL;
	}
	w->path = xasprintf("tmp/%s/%lld", cache_store_lease_id(c->store), (long long)w->id);
	if (make_folders(w, err) < 0) {
		cache_work_free(w);
		return NULL;
	}
	store_note_pinned(c->store, w->id);
	return w;
}

int64_t cache_work_id(const struct work *w)
{
	return w->id;
}

int cache_work_fs_fd(const struct work *w)
{
	return w->fs_fd;
}

void cache_work_mark_time(struct work *w, struct str path)
{
	map_put(&w->marks, path, w);
}

int layer_root_digest(int fd, struct sb *xattrs, struct stat *st, struct digest *ret,
		      struct err **err)
{
	if (fstat(fd, st) < 0)
		return err_sys(err, "stat the root of a layer");
	if (xattr_read(fd, -1, "", "/", xattrs, err) < 0)
		return -1;
	struct entry e = { .path = STR(""),
			   .kind = 'd',
			   .mode = st->st_mode & 07777,
			   .uid = st->st_uid,
			   .gid = st->st_gid };
	e.xattrs = sb_str(xattrs);
	_cleanup_(sb_releasep) struct sb bytes = { 0 };
	entry_put(&e, 0, &bytes);
	*ret = digest_of(bytes.p, bytes.n);
	return 0;
}

int cache_work_root(int fs_fd, int base_fd, struct err **err)
{
	_cleanup_(sb_releasep) struct sb xattrs = { 0 };
	struct stat st;
	struct digest d;
	/* The descriptor may be of O_PATH, which reads no attributes. */
	_cleanup_close_ int base = openat(base_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (base < 0)
		return err_sys(err, "open the root below");
	if (layer_root_digest(base, &xattrs, &st, &d, err) < 0)
		return -1;
	struct timespec ts[2] = { st.st_mtim, st.st_mtim };
	if (fchown(fs_fd, st.st_uid, st.st_gid) < 0 || fchmod(fs_fd, st.st_mode & 07777) < 0)
		return err_sys(err, "prepare the root of a layer");
	if (xattr_write(fs_fd, -1, "", sb_str(&xattrs), "/", err) < 0)
		return -1;
	if (fsetxattr(fs_fd, LAYER_ROOT_XATTR, d.b, sizeof(d.b), 0) < 0 || futimens(fs_fd, ts) < 0)
		return err_sys(err, "prepare the root of a layer");
	return 0;
}

static int write_marks(struct work *w, struct err **err)
{
	_cleanup_(sb_releasep) struct sb text = { 0 };
	_cleanup_free_ char *path = xasprintf("%s/" LAYER_MARKS, w->path);
	size_t i = 0;
	for (struct map_entry *e; (e = map_next(&w->marks, &i));)
		sb_add(&text, e->key.p, e->key.n + 1);
	return text.n ? io_replace_file(w->store->root_fd, path, sb_str(&text), 0600, false, err)
		      : 0;
}

int layer_publish(struct work *w, struct err **err)
{
	int root = w->store->root_fd;
	char to[LAYER_PATH];
	_cleanup_free_ char *work = xasprintf("%s/work", w->path);
	if (io_remove_tree(root, work, err) < 0)
		return -1;
	store_dirty(w->store);
	if (renameat(root, w->path, root, layer_path(to, w->id, "")) < 0)
		return err_sys(err, "rename '%s' to '%s'", w->path, to);
	w->committed = true;
	return 0;
}

int cache_work_commit(struct cache *c, struct work *w, enum layer_kind kind, struct err **err)
{
	if (write_marks(w, err) < 0 || layer_publish(w, err) < 0)
		return err_wrap(err, "commit layer %lld", (long long)w->id);
	if (kind == LAYER_STEP)
		return 0;
	_cleanup_(db_write_endp) struct write t = { 0 };
	if (db_write_begin(&t, c, DB_INDEX, DB_NORMAL, err) < 0)
		return -1;
	struct stmt *s = db_prepare(c, DB_INDEX, "UPDATE layer SET kind = ? WHERE id = ?", err);
	if (!s)
		return -1;
	db_bind_c(s, layer_kind_text(kind));
	db_bind_int(s, w->id);
	if (db_exec(s, NULL, err) < 0 || db_layer_sum(c, w->id, err) < 0)
		return -1;
	return db_write_commit(&t, err);
}

void cache_work_free(struct work *w)
{
	if (!w)
		return;
	if (w->fs_fd >= 0)
		close(w->fs_fd);
	/* The row stays `work` and dies with the lease; the folder is gone now. */
	struct err *none = NULL;
	if (!w->committed && w->path && cache_store_trash(w->store, w->path, &none) < 0)
		err_drop(&none);
	map_release(&w->marks);
	free(w->path);
	free(w);
}

/* ---- looking up */

int cache_layer_info(struct cache *c, int64_t id, struct layer_info *ret, struct err **err)
{
	_cleanup_(db_donep) struct stmt *s = db_prepare(
		c, DB_INDEX,
		"SELECT m, diffid, entries, size FROM layer WHERE id = ? AND state = 'ready'", err);
	if (!s)
		return -1;
	db_bind_int(s, id);
	int r = db_step(s, err);
	if (r < 0)
		return -1;
	if (!r)
		return err_set(err, ERR_NOT_FOUND, "no layer %lld", (long long)id);
	struct layer_info i = { 0 };
	db_digest(s, 0, &i.m);
	db_digest(s, 1, &i.diffid);
	i.entries = (uint64_t)db_int(s, 2);
	i.bytes = (uint64_t)db_int(s, 3);
	*ret = i;
	return 0;
}

/* A pulled layer has no data digests to check it by, so one that was not synced before the machine
 * went down is unpacked again. */
static int find_row(struct cache *c, const struct digest *diffid, int64_t *ret_id, struct err **err)
{
	_cleanup_(db_donep) struct stmt *s =
		db_prepare(c, DB_INDEX,
			   "SELECT id FROM layer WHERE diffid = ? AND kind = 'pulled'"
			   " AND state = 'ready' AND bound IS NULL"
			   " AND (boot IS NULL OR boot = ?)",
			   err);
	if (!s)
		return -1;
	db_bind_digest(s, diffid);
	db_bind_c(s, c->store->boot);
	int r = db_step(s, err);
	if (r > 0)
		*ret_id = db_int(s, 0);
	return r;
}

int cache_layer_find(struct cache *c, const struct digest *diffid, bool *ret_found,
		     struct layer *ret, struct err **err)
{
	struct layer l = { .diffid = *diffid };
	bool live = false;
	int r = find_row(c, diffid, &l.id, err);
	if (r < 0)
		return -1;
	if (r && cache_chain_pin(c, &(struct chain){ &l, 1 }, &live, err) < 0)
		return -1;
	if (live)
		*ret = l;
	*ret_found = live;
	return 0;
}
