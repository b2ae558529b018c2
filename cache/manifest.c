#include "cache/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/err.h"
#include "base/io.h"
#include "cache/xattr.h"

enum { FIELDS_E = 11, FIELDS_END = 5, LEVEL = 1 };

/* ---- entries */

static void put_number(struct sb *out, uint64_t v)
{
	char buf[20], *p = buf + sizeof(buf);
	do
		*--p = (char)('0' + v % 10);
	while (v /= 10);
	digest_put_field(out, (struct str){ p, (size_t)(buf + sizeof(buf) - p) });
}

static void put_none(struct sb *out)
{
	digest_put_field(out, STR(""));
}

void entry_put(const struct entry *e, unsigned mask, struct sb *out)
{
	bool whiteout = e->kind == 'w', device = e->kind == 'c' || e->kind == 'b';
	digest_put_field(out, e->path);
	digest_put_field(out, (struct str){ &e->kind, 1 });
	if (whiteout || e->kind == 'l')
		put_none(out);
	else
		put_number(out, mask & ENTRY_MASK_MODE ? 0 : e->mode);
	if (whiteout) {
		put_none(out);
		put_none(out);
	} else {
		put_number(out, mask & ENTRY_MASK_OWNER ? 0 : e->uid);
		put_number(out, mask & ENTRY_MASK_OWNER ? 0 : e->gid);
	}
	if (device) {
		char buf[24];
		int n = snprintf(buf, sizeof(buf), "%u:%u", e->major, e->minor);
		digest_put_field(out, (struct str){ buf, (size_t)n });
	} else {
		put_none(out);
	}
	if (e->kind == 'f')
		put_number(out, e->size);
	else
		put_none(out);
	digest_put_field(out, e->kind == 'l' ? e->link : STR(""));
	digest_put_field(out, e->group);
	digest_put_field(out, e->xattrs);
	if (e->kind == 'f' && e->has_data)
		digest_put_field(out, (struct str){ (const char *)e->data.b, sizeof(e->data.b) });
	else
		put_none(out);
}

int entry_path_cmp(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n, i = 0;
	while (i < n && a.p[i] == b.p[i])
		i++;
	if (i == n)
		return (a.n > b.n) - (a.n < b.n);
	uint8_t x = a.p[i] == '/' ? 0 : (uint8_t)a.p[i], y = b.p[i] == '/' ? 0 : (uint8_t)b.p[i];
	return x < y ? -1 : 1;
}

bool entry_path_under(struct str path, struct str dir)
{
	if (!dir.n)
		return true;
	return str_starts(path, dir) && (path.n == dir.n || path.p[dir.n] == '/');
}

/* ---- writing */

struct manifest_writer {
	int dirfd, fd;
	char *name, *tmp;
	struct sb raw;
	struct sb last; /* path of the entry before */
	char *packed;
	ZSTD_CCtx *zc;
	struct digester m;
	bool any, incomplete;
	struct manifest_total total;
};

struct manifest_writer *manifest_writer_new(int dirfd, const char *name, struct err **err)
{
	struct manifest_writer *w = xcalloc(1, sizeof(*w));
	w->dirfd = dirfd;
	w->name = xstrdup(name);
	w->tmp = xasprintf("%s.new", name);
	digest_begin(&w->m);
	digest_field_c(&w->m, "cbuild.manifest.1");
	w->fd = openat(dirfd, w->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (w->fd < 0) {
		err_sys(err, "create '%s'", w->tmp);
		free(w->tmp);
		w->tmp = NULL;
		manifest_writer_free(w);
		return NULL;
	}
	w->packed = xmalloc(ZSTD_compressBound(MANIFEST_FRAME_MAX));
	w->zc = ZSTD_createCCtx();
	if (!w->zc || ZSTD_isError(ZSTD_CCtx_setParameter(w->zc, ZSTD_c_compressionLevel, LEVEL)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(w->zc, ZSTD_c_checksumFlag, 1)))
		mem_fail();
	return w;
}

static int flush(struct manifest_writer *w, struct err **err)
{
	if (!w->raw.n)
		return 0;
	size_t n = ZSTD_compress2(w->zc, w->packed, ZSTD_compressBound(MANIFEST_FRAME_MAX),
				  w->raw.p, w->raw.n);
	if (ZSTD_isError(n))
		BUG("manifest frame of %zu bytes: %s", w->raw.n, ZSTD_getErrorName(n));
	if (io_write_full(w->fd, w->packed, n) < 0)
		return err_sys(err, "write '%s'", w->tmp);
	sb_reset(&w->raw);
	return 0;
}

int manifest_writer_add(struct manifest_writer *w, const struct entry *e, struct err **err)
{
	if (w->any && entry_path_cmp(sb_str(&w->last), e->path) >= 0)
		BUG("manifest out of order: '%.*s'", STR_ARG(e->path));
	if (e->path.n > PATH_BYTES_MAX || e->link.n > PATH_BYTES_MAX || e->xattrs.n > XATTR_MAX)
		return err_set(err, ERR_LIMIT, "'%.*s': a name or attribute is too long",
			       STR_ARG(e->path));
	w->any = true;
	sb_reset(&w->last);
	sb_add_str(&w->last, e->path);
	/* One entry is at most XATTR_MAX and two paths, so a frame stays below
	 * MANIFEST_FRAME_MAX. */
	if (w->raw.n > MANIFEST_FRAME && flush(w, err) < 0)
		return -1;
	size_t start = w->raw.n;
	entry_put(e, 0, &w->raw);
	digest_add(&w->m, w->raw.p + start, w->raw.n - start);
	char time[24];
	int n = snprintf(time, sizeof(time), "%lld", (long long)e->mtime_ns);
	digest_put_field(&w->raw, (struct str){ time, (size_t)n });
	char flags[2];
	size_t k = 0;
	if (e->pair)
		flags[k++] = 'F';
	if (e->time)
		flags[k++] = 't';
	digest_put_field(&w->raw, (struct str){ flags, k });
	w->total.entries++;
	if (e->kind == 'f' && !e->group.n)
		w->total.bytes += e->size;
	if (e->kind == 'f' && !e->has_data)
		w->incomplete = true;
	return 0;
}

int manifest_writer_end(struct manifest_writer *w, const struct digest *diffid,
			struct manifest_total *ret, struct err **err)
{
	struct digest m = digest_peek(&w->m);
	w->total.diffid = *diffid;
	if (!w->incomplete)
		w->total.m = m;
	digest_put_field(&w->raw, STR("end"));
	digest_put_field(&w->raw,
			 (struct str){ (const char *)m.b, w->incomplete ? 0 : sizeof(m.b) });
	digest_put_field(&w->raw, (struct str){ (const char *)diffid->b, sizeof(diffid->b) });
	put_number(&w->raw, w->total.entries);
	put_number(&w->raw, w->total.bytes);
	if (flush(w, err) < 0)
		return -1;
	if (renameat(w->dirfd, w->tmp, w->dirfd, w->name) < 0)
		return err_sys(err, "rename '%s' to '%s'", w->tmp, w->name);
	free(w->tmp);
	w->tmp = NULL;
	*ret = w->total;
	return 0;
}

void manifest_writer_free(struct manifest_writer *w)
{
	if (!w)
		return;
	if (w->tmp)
		unlinkat(w->dirfd, w->tmp, 0);
	if (w->fd >= 0)
		close(w->fd);
	digest_abandon(&w->m);
	ZSTD_freeCCtx(w->zc);
	sb_release(&w->raw);
	sb_release(&w->last);
	free(w->packed);
	free(w->name);
	free(w->tmp);
	free(w);
}

void manifest_writer_freep(struct manifest_writer **w)
{
	manifest_writer_free(*w);
}

/* ---- reading */

struct manifest_reader {
	int fd;
	char *name;
	uint64_t offset; /* of the next frame */
	char *raw;
	size_t raw_n, raw_cap, pos;
	struct sb last;
	struct digester m;
	uint64_t entries, bytes;
	bool any, ended;
	struct manifest_total total;
};

struct manifest_reader *manifest_open(int dirfd, const char *name, struct err **err)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) {
		err_sys(err, "open '%s'", name);
		return NULL;
	}
	struct manifest_reader *r = xcalloc(1, sizeof(*r));
	r->fd = fd;
	r->name = xstrdup(name);
	digest_begin(&r->m);
	digest_field_c(&r->m, "cbuild.manifest.1");
	return r;
}

static int damaged(const struct manifest_reader *r, const char *what, struct err **err)
{
	return err_set(err, ERR_INTEGRITY, "manifest '%s' is damaged: %s", r->name, what);
}

/* Reads and unpacks the next frame. */
static int next_frame(struct manifest_reader *r, struct err **err)
{
	size_t cap = 32 * 1024, bound = ZSTD_compressBound(MANIFEST_FRAME_MAX), packed_n;
	_cleanup_free_ char *packed = NULL;
	for (;; cap *= 2) {
		packed = xrealloc(packed, cap);
		ssize_t k;
		do
			k = pread(r->fd, packed, cap, (off_t)r->offset);
		while (k < 0 && errno == EINTR);
		if (k < 0)
			return err_sys(err, "read '%s'", r->name);
		packed_n = ZSTD_findFrameCompressedSize(packed, (size_t)k);
		if (!ZSTD_isError(packed_n))
			break;
		if ((size_t)k < cap || cap > bound)
			return damaged(r, k ? "a frame is not whole" : "its end is missing", err);
	}
	unsigned long long raw_n = ZSTD_getFrameContentSize(packed, packed_n);
	if (raw_n == ZSTD_CONTENTSIZE_UNKNOWN || raw_n == ZSTD_CONTENTSIZE_ERROR ||
	    raw_n > MANIFEST_FRAME_MAX)
		return damaged(r, "a frame is too large", err);
	if (raw_n > r->raw_cap) {
		free(r->raw);
		r->raw_cap = (size_t)raw_n;
		r->raw = xmalloc(r->raw_cap);
	}
	size_t n = ZSTD_decompress(r->raw, r->raw_cap, packed, packed_n);
	if (ZSTD_isError(n))
		return damaged(r, ZSTD_getErrorName(n), err);
	r->offset += packed_n;
	r->raw_n = n;
	r->pos = 0;
	return 0;
}

static bool take(struct manifest_reader *r, struct str *ret)
{
	if (r->raw_n - r->pos < 8)
		return false;
	uint64_t n = 0;
	for (int k = 7; k >= 0; k--)
		n = n << 8 | (uint8_t)r->raw[r->pos + (size_t)k];
	if (n > r->raw_n - r->pos - 8)
		return false;
	*ret = (struct str){ r->raw + r->pos + 8, (size_t)n };
	r->pos += 8 + (size_t)n;
	return true;
}

static bool number(struct str s, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9' || v > (UINT64_MAX - 9) / 10)
			return false;
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	*ret = v;
	return v <= max;
}

static bool number32(struct str s, uint32_t *ret)
{
	uint64_t v;
	bool good = number(s, UINT32_MAX, &v);
	*ret = (uint32_t)v;
	return good;
}

static bool as_digest(struct str s, bool *ret_has, struct digest *ret)
{
	*ret_has = s.n == sizeof(ret->b);
	*ret = (struct digest){ 0 };
	if (*ret_has)
		memcpy(ret->b, s.p, s.n);
	return *ret_has || !s.n;
}

static int read_end(struct manifest_reader *r, const struct str *f, struct err **err)
{
	bool has_m, has_diffid;
	struct str bytes;
	struct manifest_total *t = &r->total;
	if (!take(r, &bytes) || !as_digest(f[1], &has_m, &t->m) ||
	    !as_digest(f[2], &has_diffid, &t->diffid) || !number(f[3], UINT64_MAX, &t->entries) ||
	    !number(bytes, UINT64_MAX, &t->bytes) || r->pos != r->raw_n)
		return damaged(r, "its end is malformed", err);
	struct digest m = digest_peek(&r->m);
	if (has_m && !digest_eq(&m, &t->m))
		return damaged(r, "M differs", err);
	if (t->entries != r->entries || t->bytes != r->bytes)
		return damaged(r, "its sums differ", err);
	r->ended = true;
	return 0;
}

static bool parse(struct entry *e, const struct str *f, struct str time, struct str flags)
{
	*e = (struct entry){
		.path = f[0], .kind = f[1].p[0], .link = f[7], .group = f[8], .xattrs = f[9]
	};
	struct str major, minor;
	if (!strchr("fdlcbpwo", e->kind) || !number32(f[2], &e->mode) || !number32(f[3], &e->uid) ||
	    !number32(f[4], &e->gid) || !number(f[6], INT64_MAX, &e->size) ||
	    !as_digest(f[10], &e->has_data, &e->data) || e->mode > 07777)
		return false;
	if (f[5].n &&
	    (!str_cut(f[5], ':', &major, &minor) || !number32(major, &e->major) ||
	     !number32(minor, &e->minor)))
		return false;
	bool negative = time.n && time.p[0] == '-';
	uint64_t ns;
	if (!number(negative ? str_sub(time, 1, time.n) : time, INT64_MAX, &ns))
		return false;
	e->mtime_ns = negative ? -(int64_t)ns : (int64_t)ns;
	e->time = str_find(flags, 't', 0) != SIZE_MAX;
	e->pair = str_find(flags, 'F', 0) != SIZE_MAX;
	return e->path.n <= PATH_BYTES_MAX && (e->path.n == 0 || e->path.p[0] != '/');
}

int manifest_next(struct manifest_reader *r, struct entry *ret, struct err **err)
{
	if (r->ended)
		return 0;
	if (r->pos == r->raw_n && next_frame(r, err) < 0)
		return -1;
	struct str f[FIELDS_E], time, flags;
	size_t start = r->pos;
	if (!take(r, &f[0]) || !take(r, &f[1]) || !take(r, &f[2]) || !take(r, &f[3]))
		return damaged(r, "an entry is not whole", err);
	if (f[1].n != 1)
		return read_end(r, f, err) < 0 ? -1 : 0;
	for (int i = 4; i < FIELDS_E; i++)
		if (!take(r, &f[i]))
			return damaged(r, "an entry is not whole", err);
	digest_add(&r->m, r->raw + start, r->pos - start);
	struct entry e;
	if (!take(r, &time) || !take(r, &flags) || !parse(&e, f, time, flags))
		return damaged(r, "an entry is malformed", err);
	if (r->any && entry_path_cmp(sb_str(&r->last), e.path) >= 0)
		return damaged(r, "its entries are out of order", err);
	r->any = true;
	sb_reset(&r->last);
	sb_add_str(&r->last, e.path);
	r->entries++;
	if (e.kind == 'f' && !e.group.n)
		r->bytes += e.size;
	*ret = e;
	return 1;
}

void manifest_total(const struct manifest_reader *r, struct manifest_total *ret)
{
	*ret = r->total;
}

void manifest_close(struct manifest_reader *r)
{
	if (!r)
		return;
	close(r->fd);
	digest_abandon(&r->m);
	sb_release(&r->last);
	free(r->raw);
	free(r->name);
	free(r);
}

void manifest_closep(struct manifest_reader **r)
{
	manifest_close(*r);
}
