/* The writing half of cache/tar.h. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/io.h"
#include "base/path.h"
#include "base/vec.h"
#include "cache/tar.h"
#include "cache/xattr.h"

enum { BLOCK = 512, NAME = 100, PREFIX = 155 };

#define OCTAL7 UINT64_C(07777777)
#define OCTAL11 UINT64_C(077777777777)

/* Offsets of the fields of a header. */
enum {
	AT_NAME = 0,
	AT_MODE = 100,
	AT_UID = 108,
	AT_GID = 116,
	AT_SIZE = 124,
	AT_MTIME = 136,
	AT_SUM = 148,
	AT_TYPE = 156,
	AT_LINK = 157,
	AT_MAGIC = 257,
	AT_MAJOR = 329,
	AT_MINOR = 337,
	AT_PREFIX = 345
};

void tar_writer_init(struct tar_writer *w, struct sink *to)
{
	*w = (struct tar_writer){ .to = to };
}

void tar_writer_release(struct tar_writer *w)
{
	sb_release(&w->head);
}

static int put(struct tar_writer *w, const void *p, size_t n, struct err **err)
{
	if (io_write(w->to, p, n) < 0)
		return err_move(err, STEAL(w->to->err));
	return 0;
}

/* ---- header blocks */

static void octal(char *at, int digits, uint64_t v)
{
	for (int i = digits - 1; i >= 0; i--, v >>= 3)
		at[i] = (char)('0' + (v & 7));
	at[digits] = '\0';
}

static bool ascii(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((uint8_t)s.p[i] >= 0x80)
			return false;
	return true;
}

/* Puts a path into name and prefix; false where it does not fit. */
static bool ustar_name(char *h, struct str path)
{
	if (!ascii(path))
		return false;
	if (path.n <= NAME) {
		memcpy(h + AT_NAME, path.p, path.n);
		return true;
	}
	/* The last slash that leaves a name short enough; a folder's own last one cuts nothing
	 * off. */
	for (size_t i = path.n - NAME - 1; i <= PREFIX && i + 1 < path.n; i++) {
		if (path.p[i] != '/' || !i)
			continue;
		memcpy(h + AT_PREFIX, path.p, i);
		memcpy(h + AT_NAME, path.p + i + 1, path.n - i - 1);
		return true;
	}
	return false;
}

static void finish_header(char *h, char type)
{
	h[AT_TYPE] = type;
	memcpy(h + AT_MAGIC, "ustar\00000", 8);
	memset(h + AT_SUM, ' ', 8);
	unsigned sum = 0;
	for (int i = 0; i < BLOCK; i++)
		sum += (uint8_t)h[i];
	octal(h + AT_SUM, 6, sum);
	h[AT_SUM + 7] = ' ';
}

/* ---- PAX records */

struct record {
	struct str key, value;
};

struct records {
	VEC(struct record) v;
	char uid[12], gid[12], size[24], mtime[40];
};

static void add_record(struct records *r, const char *key, struct str value)
{
	VEC_PUSH(&r->v, ((struct record){ str_c(key), value }));
}

static int by_key(const void *a, const void *b)
{
	return str_cmp(((const struct record *)a)->key, ((const struct record *)b)->key);
}

static size_t digits(size_t n)
{
	size_t d = 1;
	while (n >= 10) {
		n /= 10;
		d++;
	}
	return d;
}

/* "LENGTH KEY=VALUE\n", where LENGTH counts itself. */
static void put_record(struct sb *b, const char *prefix, const struct record *r)
{
	size_t rest = 1 + strlen(prefix) + r->key.n + 1 + r->value.n + 1, n = rest + digits(rest);
	n = rest + digits(n);
	sb_printf(b, "%zu %s", n, prefix);
	sb_add_str(b, r->key);
	sb_add_ch(b, '=');
	sb_add_str(b, r->value);
	sb_add_ch(b, '\n');
}

static void pad(struct sb *b)
{
	static const char zeros[BLOCK];
	if (b->n % BLOCK)
		sb_add(b, zeros, BLOCK - b->n % BLOCK);
}

/* The time as decimal seconds with the digits that are needed. */
static struct str pax_time(char *buf, size_t size, int64_t ns)
{
	bool negative = ns < 0;
	uint64_t abs = negative ? -(uint64_t)ns : (uint64_t)ns;
	int n = snprintf(buf, size, "%s%llu", negative ? "-" : "",
			 (unsigned long long)(abs / 1000000000));
	if (abs % 1000000000) {
		n += snprintf(buf + n, size - (size_t)n, ".%09llu",
			      (unsigned long long)(abs % 1000000000));
		while (buf[n - 1] == '0')
			n--;
	}
	return (struct str){ buf, (size_t)n };
}

/* Writes the number into its field, or a record for it where it does not fit (the field is 0
 * then). */
static void number(struct records *r, char *h, int at, int n, uint64_t v, const char *key,
		   char *buf, size_t size)
{
	uint64_t max = n == 7 ? OCTAL7 : OCTAL11;
	octal(h + at, n, v <= max ? v : 0);
	if (v > max) {
		int k = snprintf(buf, size, "%llu", (unsigned long long)v);
		add_record(r, key, (struct str){ buf, (size_t)k });
	}
}

static void set_times_and_numbers(struct records *r, char *h, const struct entry *e, uint64_t size)
{
	octal(h + AT_MODE, 7, e->mode & 07777);
	number(r, h, AT_UID, 7, e->uid, "uid", r->uid, sizeof(r->uid));
	number(r, h, AT_GID, 7, e->gid, "gid", r->gid, sizeof(r->gid));
	number(r, h, AT_SIZE, 11, size, "size", r->size, sizeof(r->size));
	bool plain = e->mtime_ns >= 0 && e->mtime_ns % 1000000000 == 0 &&
		(uint64_t)e->mtime_ns / 1000000000 <= OCTAL11;
	octal(h + AT_MTIME, 11,
	      e->mtime_ns < 0 || (uint64_t)e->mtime_ns / 1000000000 > OCTAL11
		      ? 0
		      : (uint64_t)e->mtime_ns / 1000000000);
	if (!plain)
		add_record(r, "mtime", pax_time(r->mtime, sizeof(r->mtime), e->mtime_ns));
	octal(h + AT_MAJOR, 7, e->major);
	octal(h + AT_MINOR, 7, e->minor);
}

/* Writes the PAX block of records, when there is one, and of the attributes, into w->head. */
static int put_pax(struct tar_writer *w, struct records *r, struct str xattrs, struct err **err)
{
	_cleanup_(sb_releasep) struct sb body = { 0 };
	struct str list = xattrs, name, value;
	while (xattr_next(&list, &name, &value)) {
		if (str_find(name, '=', 0) != SIZE_MAX)
			return err_set(err, ERR_UNSUPPORTED,
				       "the attribute name '%.*s' can't be written in a tar",
				       STR_ARG(name));
		/* Sorted already, and "S" comes before every other key that we write. */
		put_record(&body, "SCHILY.xattr.", &(struct record){ name, value });
	}
	if (r->v.n > 1)
		qsort(r->v.v, r->v.n, sizeof(*r->v.v), by_key);
	for (size_t i = 0; i < r->v.n; i++)
		put_record(&body, "", &r->v.v[i]);
	if (!body.n)
		return 0;
	char h[BLOCK] = "PaxHeaders/entry";
	octal(h + AT_MODE, 7, 0644);
	octal(h + AT_UID, 7, 0);
	octal(h + AT_GID, 7, 0);
	octal(h + AT_SIZE, 11, body.n);
	octal(h + AT_MTIME, 11, 0);
	octal(h + AT_MAJOR, 7, 0);
	octal(h + AT_MINOR, 7, 0);
	finish_header(h, 'x');
	sb_add(&w->head, h, BLOCK);
	sb_add_str(&w->head, sb_str(&body));
	pad(&w->head);
	return 0;
}

struct item {
	char type;
	struct str name, link;
	uint64_t size;
	const struct entry *e; /* numbers and attributes */
};

static int put_item(struct tar_writer *w, const struct item *i, struct err **err)
{
	struct records r = { 0 };
	char h[BLOCK] = { 0 };
	sb_reset(&w->head);
	set_times_and_numbers(&r, h, i->e, i->size);
	if (!ustar_name(h, i->name)) {
		add_record(&r, "path", i->name);
		/* For readers without PAX: what fits of the name. */
		for (size_t k = 0; k < NAME && k < i->name.n; k++)
			h[AT_NAME + k] = (uint8_t)i->name.p[k] < 0x80 ? i->name.p[k] : '_';
	}
	if (i->link.n <= NAME && ascii(i->link))
		memcpy(h + AT_LINK, i->link.n ? i->link.p : "", i->link.n);
	else
		add_record(&r, "linkpath", i->link);
	finish_header(h, i->type);
	int bad = put_pax(w, &r, i->type == '1' ? STR("") : i->e->xattrs, err);
	VEC_RELEASE(&r.v);
	if (bad)
		return -1;
	sb_add(&w->head, h, BLOCK);
	return put(w, w->head.p, w->head.n, err);
}

/* ---- entries */

/* "DIR/.wh.NAME" of a path. */
static int put_whiteout(struct tar_writer *w, struct str dir, struct str mark, struct str name,
			struct err **err)
{
	_cleanup_(sb_releasep) struct sb path = { 0 };
	sb_add_str(&path, dir);
	if (dir.n)
		sb_add_ch(&path, '/');
	sb_add_str(&path, mark);
	sb_add_str(&path, name);
	static const struct entry none = { .kind = 'f' };
	return put_item(w, &(struct item){ .type = '0', .name = sb_str(&path), .e = &none }, err);
}

static char type_of(const struct entry *e)
{
	if (e->group.n)
		return '1';
	switch (e->kind) {
	case 'd':
	case 'o':
		return '5';
	case 'l':
		return '2';
	case 'c':
		return '3';
	case 'b':
		return '4';
	case 'p':
		return '6';
	default:
		return '0';
	}
}

int tar_writer_add(struct tar_writer *w, const struct entry *e, bool *ret_data, struct err **err)
{
	if (w->left)
		BUG("tar: %llu bytes of an entry are missing", (unsigned long long)w->left);
	*ret_data = false;
	if (e->kind == 'w') {
		size_t slash = str_rfind(e->path, '/');
		struct str dir = slash == SIZE_MAX ? STR("") : str_sub(e->path, 0, slash);
		return put_whiteout(
			w, dir, STR(".wh."),
			slash == SIZE_MAX ? e->path : str_sub(e->path, slash + 1, e->path.n), err);
	}
	_cleanup_(sb_releasep) struct sb name = { 0 };
	sb_add_str(&name, e->path.n ? e->path : STR("."));
	if (e->kind == 'd' || e->kind == 'o')
		sb_add_ch(&name, '/');
	bool data = e->kind == 'f' && !e->group.n && e->size;
	struct item i = { .type = type_of(e),
			  .name = sb_str(&name),
			  .link = e->group.n       ? e->group
				  : e->kind == 'l' ? e->link
						   : STR(""),
			  .size = data ? e->size : 0,
			  .e = e };
	if (put_item(w, &i, err) < 0)
		return err_wrap(err, "'%.*s'", STR_ARG(e->path));
	if (e->kind == 'o')
		return put_whiteout(w, e->path, STR(".wh..wh..opq"), STR(""), err);
	w->left = i.size;
	w->pad = (unsigned)((BLOCK - i.size % BLOCK) % BLOCK);
	*ret_data = data;
	return 0;
}

int tar_writer_data(struct tar_writer *w, const void *p, size_t n, struct err **err)
{
	static const char zeros[BLOCK];
	if (n > w->left)
		BUG("tar: %zu bytes, %llu are left", n, (unsigned long long)w->left);
	w->left -= n;
	if (put(w, p, n, err) < 0)
		return -1;
	return w->left || !n ? 0 : put(w, zeros, w->pad, err);
}

int tar_writer_end(struct tar_writer *w, struct err **err)
{
	static const char zeros[2 * BLOCK];
	if (w->left)
		BUG("tar: %llu bytes of an entry are missing", (unsigned long long)w->left);
	return put(w, zeros, sizeof(zeros), err);
}
