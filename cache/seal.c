/*
 * Sealing layers and writing their tars: cache_layer_seal(), cache_layer_tar(),
 * cache_layer_check().
 *
 * One pass reads each file once: its bytes go to the file's digest on this thread and, through a
 * pipe, to the tar's digest on another.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/err.h"
#include "base/io.h"
#include "base/path.h"
#include "base/vec.h"
#include "cache/layer_internal.h"
#include "cache/manifest.h"
#include "cache/pipe.h"
#include "cache/scan.h"
#include "cache/tar.h"

enum { READ_SIZE = 256 * 1024 };

/* How data are read: a buffer, and whether nobody waits any more. */
struct reading {
	char *buf;
	const atomic_bool *cancel;
};

struct seal {
	struct manifest_writer *manifest;
	struct tar_writer tar;
	struct reading in;
	uint64_t bytes;
	struct map marks;
	int64_t started_ns;
	bool changed_root;
};

/* Reads the data of a file of `size` bytes into the tar and, where `h` is given, its digest. */
static int read_data(const struct reading *in, int fd, uint64_t size, struct tar_writer *tar,
		     struct digester *h, struct err **err)
{
	for (uint64_t left = size; left;) {
		if (atomic_load_explicit(in->cancel, memory_order_relaxed))
			return err_set(err, ERR_CANCELED, "canceled");
		ssize_t n = read(fd, in->buf, left < READ_SIZE ? (size_t)left : READ_SIZE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "read");
		if (!n)
			return err_set(err, ERR_INTEGRITY, "it became shorter while it was read");
		if (h)
			digest_add(h, in->buf, (size_t)n);
		if (tar && tar_writer_data(tar, in->buf, (size_t)n, err) < 0)
			return -1;
		left -= (uint64_t)n;
	}
	return 0;
}

static int seal_file(struct seal *s, struct entry *e, int fd, bool to_tar, struct err **err)
{
	struct digester h;
	/* A file of nothing but a hole can claim any size, and its zeros would be in the tar. */
	s->bytes += e->size;
	if (e->size > tar_default_limits.bytes || s->bytes > tar_default_limits.bytes)
		return err_set(err, ERR_LIMIT, "'%.*s': the layer is larger than %llu bytes",
			       STR_ARG(e->path), (unsigned long long)tar_default_limits.bytes);
	digest_begin(&h);
	int r = read_data(&s->in, fd, e->size, to_tar ? &s->tar : NULL, &h, err);
	e->data = digest_end(&h);
	e->has_data = true;
	return r < 0 ? err_wrap(err, "hash '%.*s'", STR_ARG(e->path)) : 0;
}

static int seal_entry(void *arg, struct entry *e, int dirfd, const char *name, int fd,
		      struct err **err)
{
	struct seal *s = arg;
	(void)dirfd;
	(void)name;
	if (!e->path.n && !s->changed_root)
		return 0;
	e->time = e->kind != 'w' && (e->mtime_ns >= s->started_ns || map_has(&s->marks, e->path));
	bool data = false;
	if (e->kind != 'w' && tar_writer_add(&s->tar, e, &data, err) < 0)
		return -1;
	if (e->kind == 'f' && seal_file(s, e, fd, data, err) < 0)
		return -1;
	return manifest_writer_add(s->manifest, e, err);
}

static int seal_early(void *arg, const struct entry *whiteout, struct err **err)
{
	bool data;
	return tar_writer_add(&((struct seal *)arg)->tar, whiteout, &data, err);
}

static int read_marks(struct seal *s, int dir, struct err **err)
{
	_cleanup_(sb_releasep) struct sb text = { 0 };
	if (faccessat(dir, LAYER_MARKS, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (io_read_file(dir, LAYER_MARKS, &text, err) < 0)
		return -1;
	for (size_t i = 0; i < text.n; i += strlen(text.p + i) + 1)
		map_put(&s->marks, str_c(text.p + i), s);
	return 0;
}

/* Whether the root differs from what the step began with, and takes the note of that away. */
static int look_at_root(struct seal *s, int fs, struct err **err)
{
	struct digest before, now;
	struct stat st;
	_cleanup_(sb_releasep) struct sb xattrs = { 0 };
	bool noted =
		fgetxattr(fs, LAYER_ROOT_XATTR, before.b, sizeof(before.b)) == sizeof(before.b);
	if (layer_root_digest(fs, &xattrs, &st, &now, err) < 0)
		return -1;
	if (noted)
		s->changed_root = !digest_eq(&before, &now);
	else
		s->changed_root =
			st.st_uid || st.st_gid || (st.st_mode & 07777) != 0755 || xattrs.n;
	return 0;
}

static int seal_folder(struct seal *s, int dir, struct manifest_total *ret, struct err **err)
{
	_cleanup_close_ int fs = openat(dir, "fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fs < 0)
		return err_sys(err, "open folder 'fs'");
	if (read_marks(s, dir, err) < 0 || look_at_root(s, fs, err) < 0)
		return -1;
	_cleanup_(manifest_writer_freep) struct manifest_writer *m = s->manifest =
		manifest_writer_new(dir, "manifest", err);
	if (!m)
		return -1;
	struct digest diffid;
	struct sink *sink = pipe_sink(pipe_digest(NULL, &diffid));
	tar_writer_init(&s->tar, sink);
	const struct scan scan = {
		.entry = seal_entry, .early = seal_early, .arg = s, .root = true
	};
	int r = scan_run(fs, &scan, err);
	if (!r)
		r = tar_writer_end(&s->tar, err);
	struct err *none = NULL;
	if (io_sink_close(sink, r == 0, r == 0 ? err : &none) < 0)
		r = -1;
	if (r < 0)
		return -1;
	if (manifest_writer_end(m, &diffid, ret, err) < 0)
		return -1;
	unlinkat(dir, LAYER_MARKS, 0);
	fremovexattr(fs, LAYER_ROOT_XATTR);
	return 0;
}

static int set_ready(struct cache *c, int64_t id, const struct manifest_total *t, struct err **err)
{
	_cleanup_(db_write_endp) struct write w = { 0 };
	if (db_write_begin(&w, c, DB_INDEX, DB_NORMAL, err) < 0)
		return -1;
	struct stmt *s = db_prepare(c, DB_INDEX,
				    "UPDATE layer SET state = 'ready', diffid = ?, m = ?, size = ?,"
				    " entries = ?, boot = ?"
				    " WHERE id = ? AND state <> 'dead'",
				    err);
	if (!s)
		return -1;
	db_bind_digest(s, &t->diffid);
	db_bind_digest(s, &t->m);
	db_bind_int(s, (int64_t)t->bytes);
	db_bind_int(s, (int64_t)t->entries);
	db_bind_c(s, c->store->boot);
	db_bind_int(s, id);
	int64_t changed;
	if (db_exec(s, &changed, err) < 0)
		return -1;
	if (changed != 1)
		return err_set(err, ERR_NOT_FOUND, "the layer's row is gone");
	if (db_layer_sum(c, id, err) < 0)
		return -1;
	return db_write_commit(&w, err);
}

int layer_seal_folder(struct store *store, int dir, int64_t started_ns, struct manifest_total *ret,
		      struct err **err)
{
	struct seal s = { .started_ns = started_ns,
			  .in = { xmalloc(READ_SIZE), &store->canceled } };
	int r = seal_folder(&s, dir, ret, err);
	tar_writer_release(&s.tar);
	map_release(&s.marks);
	free(s.in.buf);
	return r;
}

int cache_layer_seal(struct cache *c, int64_t id, int64_t started_ns, struct layer_info *ret,
		     struct err **err)
{
	_cleanup_close_ int dir = -1;
	if (layer_open(c->store, id, "", &dir, err) < 0)
		return -1;
	struct manifest_total t;
	int r = layer_seal_folder(c->store, dir, started_ns, &t, err);
	store_dirty(c->store);
	if (!r)
		r = set_ready(c, id, &t, err);
	if (r < 0)
		return err_wrap(err, "seal layer %lld", (long long)id);
	*ret = (struct layer_info){
		.m = t.m, .diffid = t.diffid, .entries = t.entries, .bytes = t.bytes
	};
	return 0;
}

/* ---- tar by manifest */

struct whiteouts {
	VEC(char *) v; /* in the order of the manifest */
};

static void whiteouts_release(struct whiteouts *w)
{
	for (size_t i = 0; i < w->v.n; i++)
		free(w->v.v[i]);
	VEC_RELEASE(&w->v);
}

static struct str dir_of(struct str path)
{
	size_t slash = str_rfind(path, '/');
	return slash == SIZE_MAX ? STR("") : str_sub(path, 0, slash);
}

/* By folder, then by name: a folder's whiteouts lie together. */
static int by_folder(const void *a, const void *b)
{
	struct str x = str_c(*(char *const *)a), y = str_c(*(char *const *)b);
	int c = entry_path_cmp(dir_of(x), dir_of(y));
	return c ? c : entry_path_cmp(x, y);
}

/* A folder's whiteouts come before its other children, so they are collected first: the one thing
 * whose memory grows with a layer, and only with what it deletes. */
static int collect_whiteouts(int dir, struct whiteouts *ret, struct err **err)
{
	_cleanup_(manifest_closep) struct manifest_reader *m = manifest_open(dir, "manifest", err);
	struct entry e;
	int r;
	if (!m)
		return -1;
	while ((r = manifest_next(m, &e, err)) > 0)
		if (e.kind == 'w')
			VEC_PUSH(&ret->v, str_dup(e.path));
	if (ret->v.n > 1)
		qsort(ret->v.v, ret->v.n, sizeof(char *), by_folder);
	return r;
}

static size_t first_in(const struct whiteouts *w, struct str dir)
{
	size_t lo = 0, hi = w->v.n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (entry_path_cmp(dir_of(str_c(w->v.v[mid])), dir) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int put_whiteouts(struct tar_writer *tar, const struct whiteouts *w, struct str dir,
			 struct err **err)
{
	for (size_t i = first_in(w, dir); i < w->v.n && str_eq(dir_of(str_c(w->v.v[i])), dir);
	     i++) {
		struct entry e = { .path = str_c(w->v.v[i]), .kind = 'w' };
		bool data;
		if (tar_writer_add(tar, &e, &data, err) < 0)
			return -1;
	}
	return 0;
}

static int put_file(struct tar_writer *tar, const struct reading *in, int fs, const struct entry *e,
		    struct err **err)
{
	struct stat st;
	_cleanup_free_ char *path = str_dup(e->path);
	_cleanup_close_ int fd = path_open_beneath(fs, path, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "open '%.*s'", STR_ARG(e->path));
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != e->size)
		return err_set(err, ERR_INTEGRITY, "'%.*s' is not what the manifest says",
			       STR_ARG(e->path));
	return read_data(in, fd, e->size, tar, NULL, err);
}

static int put_all(struct tar_writer *tar, const struct reading *in, int dir,
		   const struct whiteouts *w, struct err **err)
{
	_cleanup_close_ int fs = openat(dir, "fs", O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fs < 0)
		return err_sys(err, "open folder 'fs'");
	_cleanup_(manifest_closep) struct manifest_reader *m = manifest_open(dir, "manifest", err);
	struct entry e;
	bool data, first = true;
	int r;
	if (!m)
		return -1;
	while ((r = manifest_next(m, &e, err)) > 0) {
		if (first && e.path.n && put_whiteouts(tar, w, STR(""), err) < 0)
			return -1;
		first = false;
		if (e.kind == 'w')
			continue;
		if (tar_writer_add(tar, &e, &data, err) < 0 ||
		    (data && put_file(tar, in, fs, &e, err) < 0))
			return -1;
		if ((e.kind == 'd' || e.kind == 'o') && put_whiteouts(tar, w, e.path, err) < 0)
			return -1;
	}
	return r < 0 ? -1 : tar_writer_end(tar, err);
}

int cache_layer_tar(struct cache *c, int64_t id, struct sink *to, struct err **err)
{
	_cleanup_close_ int dir = -1;
	if (layer_open(c->store, id, "", &dir, err) < 0)
		return -1;
	struct whiteouts w = { 0 };
	struct tar_writer tar;
	struct reading in = { xmalloc(READ_SIZE), &c->store->canceled };
	tar_writer_init(&tar, to);
	int r = collect_whiteouts(dir, &w, err);
	if (!r)
		r = put_all(&tar, &in, dir, &w, err);
	tar_writer_release(&tar);
	whiteouts_release(&w);
	free(in.buf);
	return r < 0 ? err_wrap(err, "write the tar of layer %lld", (long long)id) : 0;
}

/* ---- checking */

struct check {
	struct manifest_reader *m;
	struct entry want; /* the manifest's next one */
	bool has;
	bool data;
	struct reading in;
	void (*say)(void *arg, const char *text);
	void *arg;
	int64_t id;
	size_t bad;
};

static void finding(struct check *k, struct str path, const char *what)
{
	k->bad++;
	if (!k->say)
		return;
	_cleanup_(sb_releasep) struct sb text = { 0 };
	sb_printf(&text, "layer %lld: '", (long long)k->id);
	sb_add_printable(&text, path);
	sb_printf(&text, "': %s", what);
	k->say(k->arg, sb_c(&text));
}

static int next_wanted(struct check *k, struct err **err)
{
	int r = manifest_next(k->m, &k->want, err);
	k->has = r > 0;
	return r < 0 ? -1 : 0;
}

/* Whether the attributes are equal; times too, which M does not cover. */
static bool same(const struct entry *a, const struct entry *b)
{
	_cleanup_(sb_releasep) struct sb x = { 0 }, y = { 0 };
	struct entry p = *a, q = *b;
	p.has_data = q.has_data = false;
	entry_put(&p, 0, &x);
	entry_put(&q, 0, &y);
	return str_eq(sb_str(&x), sb_str(&y)) &&
		(a->kind == 'w' || !a->path.n || a->mtime_ns == b->mtime_ns);
}

static int check_entry(void *arg, struct entry *e, int dirfd, const char *name, int fd,
		       struct err **err)
{
	struct check *k = arg;
	(void)dirfd;
	(void)name;
	while (k->has && entry_path_cmp(k->want.path, e->path) < 0) {
		finding(k, k->want.path, "it is missing");
		if (next_wanted(k, err) < 0)
			return -1;
	}
	if (!k->has || entry_path_cmp(k->want.path, e->path) > 0) {
		if (e->path.n)
			finding(k, e->path, "the manifest does not know it");
		return 0;
	}
	if (!same(e, &k->want)) {
		finding(k, e->path, "its attributes differ from the manifest's");
	} else if (k->data && e->kind == 'f' && k->want.has_data) {
		struct digester h;
		digest_begin(&h);
		int r = read_data(&k->in, fd, e->size, NULL, &h, err);
		struct digest d = digest_end(&h);
		if (r < 0)
			return -1;
		if (!digest_eq(&d, &k->want.data))
			finding(k, e->path, "its data differ from the manifest's");
	}
	return next_wanted(k, err);
}

static int check_folder(struct check *k, int dir, struct err **err)
{
	_cleanup_close_ int fs = openat(dir, "fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fs < 0)
		return err_sys(err, "open folder 'fs'");
	k->m = manifest_open(dir, "manifest", err);
	if (!k->m || next_wanted(k, err) < 0)
		return -1;
	const struct scan scan = { .entry = check_entry, .arg = k, .root = true };
	if (scan_run(fs, &scan, err) < 0)
		return -1;
	while (k->has) {
		finding(k, k->want.path, "it is missing");
		if (next_wanted(k, err) < 0)
			return -1;
	}
	return 0;
}

int cache_layer_check(struct cache *c, int64_t id, bool data,
		      void (*say)(void *arg, const char *text), void *arg, size_t *ret_bad,
		      struct err **err)
{
	struct check k = { .data = data,
			   .in = { xmalloc(READ_SIZE), &c->store->canceled },
			   .say = say,
			   .arg = arg,
			   .id = id };
	_cleanup_close_ int dir = -1;
	_cleanup_(err_dropp) struct err *e = NULL;
	(void)err; /* whatever can't be read is a finding */
	if (layer_open(c->store, id, "", &dir, &e) < 0 || check_folder(&k, dir, &e) < 0)
		finding(&k, STR(""), e->msg);
	manifest_close(k.m);
	free(k.in.buf);
	*ret_bad = k.bad;
	return 0;
}
