/* Checks a store: folders against rows, rows against each other, manifests against files. Repairs nothing. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/io.h"
#include "base/json.h"
#include "cache/blob.h"
#include "cache/db.h"
#include "cache/internal.h"
#include "cache/oci.h"
#include "cache/record.h"
#include "cache/schema.h"

struct fsck {
	struct cache *c;
	struct store *s;
	bool data;
	void (*say)(void *arg, const char *text);
	void *arg;
	size_t bad;
};

static void finding(struct fsck *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void finding(struct fsck *f, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	_cleanup_free_ char *text = NULL;
	if (vasprintf(&text, fmt, ap) < 0)
		mem_fail();
	va_end(ap);
	f->bad++;
	if (!f->say)
		return;
	/* A damaged row may hold anything. */
	_cleanup_(sb_releasep) struct sb b = { 0 };
	sb_add_printable(&b, str_c(text));
	f->say(f->arg, sb_c(&b));
}

/* Each row of a query is a finding: its first column names it. */
static int each_row(struct fsck *f, enum db_which which, const char *sql, const char *what,
		    struct err **err)
{
	_cleanup_(db_donep) struct stmt *q = db_prepare(f->c, which, sql, err);
	int r;
	if (!q)
		return -1;
	while ((r = db_step(q, err)) > 0) {
		struct str v = db_text(q, 0);
		finding(f, "%.*s: %s", STR_ARG(v), what);
	}
	return r;
}

/* ---- databases */

static int check_rows(struct fsck *f, struct err **err)
{
	static const struct {
		const char *sql, *what;
	} table[] = {
		{ "SELECT 'layer ' || id FROM layer WHERE sum IS NOT " LAYER_SUM,
		  "its row is damaged" },
		{ "SELECT 'image ' || lower(hex(id)) FROM image WHERE sum IS NOT " IMAGE_SUM,
		  "its row is damaged" },
		{ "SELECT 'name ' || ref FROM name WHERE image NOT IN (SELECT id FROM image)",
		  "its image is not there" },
		{ "SELECT 'image ' || lower(hex(image)) FROM image_layer WHERE image NOT IN (SELECT id FROM image)",
		  "it has layers but no row" },
		{ "SELECT 'image ' || lower(hex(i.image)) || ', layer ' || i.pos FROM image_layer i LEFT JOIN layer l ON l.id = i.layer "
		  "WHERE l.state IS NOT 'ready' OR l.diffid IS NOT i.diffid",
		  "it is not in the store any more (build or pull the image again)" },
		{ "SELECT 'packed ' || lower(hex(diffid)) || ' ' || form FROM packed WHERE form NOT LIKE 'epoch-%' AND "
		  "digest NOT IN (SELECT digest FROM blob)",
		  "its blob is not there" },
		{ "SELECT 'image ' || lower(hex(id)) FROM image WHERE id NOT IN (SELECT digest FROM blob)",
		  "its config's blob is not there" },
		{ "SELECT 'layer ' || id FROM layer WHERE state = 'ready' AND (diffid IS NULL OR (kind = 'step' AND m IS NULL))",
		  "it is ready but was not hashed" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (each_row(f, DB_INDEX, table[i].sql, table[i].what, err) < 0)
			return -1;
	return 0;
}

static int check_database(struct fsck *f, enum db_which which, const char *name, struct err **err)
{
	_cleanup_(db_donep) struct stmt *q =
		db_prepare(f->c, which,
			   f->data ? "PRAGMA integrity_check(20)" : "PRAGMA quick_check(20)", err);
	int r;
	if (!q)
		return -1;
	while ((r = db_step(q, err)) > 0)
		if (!str_eq_c(db_text(q, 0), "ok"))
			finding(f, "%s: %.*s", name, STR_ARG(db_text(q, 0)));
	return r;
}

/* cache.db may be missing or unused; only a damaged one is a finding. */
static void check_guesses(struct fsck *f)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	if (check_database(f, DB_GUESS, "cache.db", &e) < 0 ||
	    each_row(f, DB_GUESS,
		     "SELECT 'record ' || lower(hex(key)) FROM record WHERE sum IS NOT " RECORD_SUM,
		     "its row is damaged", &e) < 0) {
		if (e->code == ERR_INTEGRITY)
			finding(f, "%s", e->msg);
	}
}

/* images.json says what the table says. */
static int check_names(struct fsck *f, struct err **err)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(json_unrefp) json_t *names = NULL;
	size_t n = 0;
	int r;
	if (io_read_file(f->s->root_fd, "images.json", &b, &e) == 0)
		names = json_parse_max(sb_str(&b), SIZE_MAX, "images.json", &e);
	if (!names && e->code != ERR_NOT_FOUND)
		finding(f, "%s", e->msg);
	_cleanup_(db_donep) struct stmt *q =
		db_prepare(f->c, DB_INDEX, "SELECT ref, image FROM name", err);
	if (!q)
		return -1;
	for (; (r = db_step(q, err)) > 0; n++) {
		_cleanup_free_ char *ref = str_dup(db_text(q, 0));
		struct digest id = { 0 };
		char text[DIGEST_TEXT];
		db_digest(q, 1, &id);
		if (!str_eq_c(json_get_str(names, ref), digest_text(&id, text)))
			finding(f, "images.json: it does not say that %s is %s", ref, text);
	}
	if (r == 0 && json_object_size(names) > n)
		finding(f, "images.json: it has %zu names, the index %zu", json_object_size(names),
			n);
	return r;
}

/* ---- layers */

struct layer_check {
	int64_t id;
	bool ready;
	bool owned; /* work of a living process */
};

static bool lease_lives(struct store *s, struct str lease)
{
	char path[64];
	if (lease.n != LEASE_TEXT - 1)
		return false;
	if (str_eq_c(lease, s->lease))
		return true;
	snprintf(path, sizeof(path), "leases/%.*s", STR_ARG(lease));
	_cleanup_close_ int fd = openat(s->root_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static int check_layer(struct fsck *f, const struct layer_check *l, struct err **err)
{
	char path[48];
	struct stat st;
	size_t bad;
	snprintf(path, sizeof(path), "layers/%lld", (long long)l->id);
	if (!l->ready) {
		if (!l->owned)
			finding(f, "layer %lld: its work was given up", (long long)l->id);
		return 0;
	}
	if (fstatat(f->s->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		finding(f, "layer %lld: its folder is not there", (long long)l->id);
		return 0;
	}
	if (cache_layer_check(f->c, l->id, f->data, f->say, f->arg, &bad, err) < 0)
		return -1;
	f->bad += bad;
	return 0;
}

static int check_layers(struct fsck *f, struct err **err)
{
	/* Folders are listed before rows are read: a row is made before its folder. */
	_cleanup_(store_list_freep) char **names = store_list(f->s, "layers");
	int64_t after = 0;
	for (int r = 1; r;) {
		struct layer_check l;
		{
			_cleanup_(db_donep) struct stmt *q = db_prepare(
				f->c, DB_INDEX,
				"SELECT id, state = 'ready', lease FROM layer WHERE id > ? ORDER BY id LIMIT 1",
				err);
			if (!q)
				return -1;
			db_bind_int(q, after);
			r = db_step(q, err);
			if (r < 0)
				return -1;
			if (!r)
				break;
			l = (struct layer_check){ .id = db_int(q, 0),
						  .ready = db_int(q, 1),
						  .owned = lease_lives(f->s, db_text(q, 2)) };
		}
		if (check_layer(f, &l, err) < 0)
			return -1;
		after = l.id;
	}
	for (char **n = names; n && *n; n++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		_cleanup_(db_donep) struct stmt *q =
			db_prepare(f->c, DB_INDEX, "SELECT 1 FROM layer WHERE id = ?", err);
		int64_t id;
		if (!q)
			return -1;
		if (str_int(str_c(*n), 1, INT64_MAX, &id, &e) < 0) {
			finding(f, "layers/%s: what is that?", *n);
			continue;
		}
		db_bind_int(q, id);
		int r = db_step(q, err);
		if (r < 0)
			return -1;
		if (!r)
			finding(f, "layers/%s: it has no row", *n);
	}
	return 0;
}

/* ---- blobs */

static void check_blob_data(struct fsck *f, const struct digest *d, const char *path)
{
	enum { SIZE = 256 * 1024 };
	_cleanup_free_ char *buf = xmalloc(SIZE);
	_cleanup_close_ int fd = openat(f->s->root_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct digester h;
	ssize_t n = -1;
	digest_begin(&h);
	while (fd >= 0 && (n = io_read_full(fd, buf, SIZE)) > 0)
		digest_add(&h, buf, (size_t)n);
	struct digest is = digest_end(&h);
	if (n < 0)
		finding(f, "%s: it cannot be read", path);
	else if (!digest_eq(&is, d))
		finding(f, "%s: its content has another digest", path);
}

/* The row after `after`: 1, 0, -1. */
static int next_blob(struct fsck *f, const struct digest *after, struct digest *ret,
		     int64_t *ret_size, struct err **err)
{
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		f->c, DB_INDEX,
		"SELECT digest, size FROM blob WHERE digest > ? ORDER BY digest LIMIT 1", err);
	if (!q)
		return -1;
	db_bind_digest(q, after);
	int r = db_step(q, err);
	if (r > 0 && !db_digest(q, 0, ret))
		return err_set(err, ERR_INTEGRITY, "a row of table blob has no digest");
	*ret_size = r > 0 ? db_int(q, 1) : 0;
	return r;
}

static int check_blob_rows(struct fsck *f, struct err **err)
{
	struct digest d = { 0 };
	int64_t size = 0;
	int r;
	while ((r = next_blob(f, &d, &d, &size, err)) > 0) {
		char path[BLOB_PATH_TEXT];
		struct stat st;
		blob_path(&d, path);
		if (fstatat(f->s->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode))
			finding(f, "%s: the blob's file is not there", path);
		else if (st.st_size != size)
			finding(f, "%s: it has %lld bytes, not %lld", path, (long long)st.st_size,
				(long long)size);
		else if (f->data)
			check_blob_data(f, &d, path);
	}
	return r;
}

static int check_blob_files(struct fsck *f, struct err **err)
{
	_cleanup_(store_list_freep) char **shards = store_list(f->s, "blobs/sha256");
	for (char **s = shards; s && *s; s++) {
		_cleanup_free_ char *dir = xasprintf("blobs/sha256/%s", *s);
		_cleanup_(store_list_freep) char **names = store_list(f->s, dir);
		for (char **n = names; n && *n; n++) {
			_cleanup_(err_dropp) struct err *e = NULL;
			_cleanup_(db_donep) struct stmt *q = db_prepare(
				f->c, DB_INDEX, "SELECT 1 FROM blob WHERE digest = ?", err);
			struct digest d;
			int r = 0;
			if (!q)
				return -1;
			if (digest_parse_hex(str_c(*n), &d, &e) == 0) {
				db_bind_digest(q, &d);
				r = db_step(q, err);
			}
			if (r < 0)
				return -1;
			if (!r)
				finding(f, "%s/%s: it has no row", dir, *n);
		}
	}
	return 0;
}

/* ---- what processes hold */

static int check_leases(struct fsck *f, struct err **err)
{
	_cleanup_(store_list_freep) char **leases = store_list(f->s, "leases"),
					 **tmp = store_list(f->s, "tmp");
	for (char **n = leases; n && *n; n++)
		if (**n != '.' && !lease_lives(f->s, str_c(*n)))
			finding(f, "leases/%s: its process is dead", *n);
	for (char **n = tmp; n && *n; n++)
		if (strcmp(*n, "partial") && !lease_lives(f->s, str_c(*n)))
			finding(f, "tmp/%s: its process is dead", *n);
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		f->c, DB_INDEX, "SELECT DISTINCT lease FROM pin WHERE lease NOT LIKE 'c/%'", err);
	int r;
	if (!q)
		return -1;
	while ((r = db_step(q, err)) > 0)
		if (!lease_lives(f->s, db_text(q, 0)))
			finding(f, "pins of lease %.*s: its process is dead",
				STR_ARG(db_text(q, 0)));
	return r;
}

static void check_trash(struct fsck *f)
{
	_cleanup_close_ int fd = openat(f->s->root_fd, "trash", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(store_list_freep) char **names = store_list(f->s, "trash");
	/* Locked: somebody is clearing it. */
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return;
	for (char **n = names; n && *n; n++)
		finding(f, "trash/%s: it cannot be removed", *n);
}

int cache_fsck(struct cache *c, bool data, void (*say)(void *arg, const char *text), void *arg,
	       size_t *ret_bad, struct err **err)
{
	struct fsck f = { .c = c, .s = c->store, .data = data, .say = say, .arg = arg };
	if (check_database(&f, DB_INDEX, "index.db", err) < 0 || check_rows(&f, err) < 0 ||
	    check_names(&f, err) < 0 || check_layers(&f, err) < 0 || check_blob_rows(&f, err) < 0 ||
	    check_blob_files(&f, err) < 0 || check_leases(&f, err) < 0)
		return -1;
	check_guesses(&f);
	/* Being there is no fault of it; that it cannot be removed is. */
	if (!f.s->read_only)
		store_clear_trash(f.s);
	check_trash(&f);
	*ret_bad = f.bad;
	return 0;
}
