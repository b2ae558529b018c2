/* Trees: what a selection matches, what its digest depends on, the stat cache. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/glob.h"
#include "cache/tree.h"
#include "tests/unit/cache_help.h"

#define MUST(call)                                                                                 \
	do {                                                                                       \
		struct err *err = NULL;                                                            \
		if ((call) < 0)                                                                    \
			fail_msg("%s: %s", #call, err->msg);                                       \
	} while (0)

static void folder(struct world *w, const char *path)
{
	assert_int_equal(mkdirat(w->fd, path, 0755), 0);
}

static void file(struct world *w, const char *path, const char *text)
{
	int fd = openat(w->fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(io_write_full(fd, text, strlen(text)), 0);
	assert_int_equal(fchmod(fd, 0644), 0);
	close(fd);
}

static void sample(struct world *w, const char *root)
{
	char path[200];
#define P(x) (snprintf(path, sizeof(path), "%s/%s", root, x), path)
	folder(w, root);
	folder(w, P("d"));
	folder(w, P("d/sub"));
	folder(w, P("d/sub/deep"));
	folder(w, P("empty"));
	file(w, P("a.txt"), "a");
	file(w, P("b.txt"), "b");
	file(w, P("[x]"), "brackets");
	file(w, P("d/f"), "f");
	file(w, P("d/g"), "g");
	file(w, P("d/sub/h"), "h");
	file(w, P("d/sub/deep/i"), "i");
	assert_int_equal(symlinkat("d/sub", w->fd, P("ldir")), 0);
	assert_int_equal(symlinkat("../a.txt", w->fd, P("d/lfile")), 0);
	assert_int_equal(symlinkat("/d/../../../b.txt", w->fd, P("labs")), 0);
	assert_int_equal(symlinkat("nowhere", w->fd, P("dangling")), 0);
	assert_int_equal(symlinkat("loop", w->fd, P("loop")), 0);
#undef P
}

static struct tree *tree_of(struct world *w, const char *path, const struct glob_set *ignore)
{
	struct err *err = NULL;
	int fd = openat(w->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	struct tree *t = cache_tree_open(fd, ignore, true, NULL, &err);
	assert_non_null(t);
	return t;
}

/* "path>name path>name …" of a source, or the error's message. */
static void matches(struct tree *t, const char *source, const char *want)
{
	_cleanup_(sb_releasep) struct sb got = { 0 };
	_cleanup_(err_dropp) struct err *err = NULL;
	struct selection s = { .source = str_c(source) };
	struct match *m;
	size_t n;
	if (cache_tree_matches(t, NULL, &s, &m, &n, &err) < 0) {
		sb_add_c(&got, err->msg);
		if (err->hint)
			sb_printf(&got, " (%s)", err->hint);
	} else {
		for (size_t i = 0; i < n; i++)
			sb_printf(&got, "%s%.*s%s>%.*s", i ? " " : "", STR_ARG(m[i].path),
				  m[i].is_dir ? "/" : "", STR_ARG(m[i].name));
	}
	if (strcmp(sb_c(&got), want))
		fail_msg("%s: %s, want %s", source, sb_c(&got), want);
}

static struct digest content(struct tree *t, struct cache *c, const struct selection *s)
{
	struct digest d;
	MUST(cache_tree_content(t, c, s, &d, &err));
	return d;
}

static struct digest content_at(struct world *w, const char *root, struct selection s)
{
	struct tree *t = tree_of(w, root, NULL);
	struct digest d = content(t, NULL, &s);
	cache_tree_free(t);
	return d;
}

static void test_matches(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	sample(&w, "c");
	struct tree *t = tree_of(&w, "c", NULL);
	matches(t, "a.txt", "a.txt>a.txt");
	matches(t, "/a.txt", "a.txt>a.txt");
	matches(t, "../../a.txt/", "a.txt>a.txt");
	matches(t, "", "/>");
	matches(t, "/", "/>");
	matches(t, ".", "/>");
	matches(t, "d", "d/>d");
	matches(t, "d/./sub/", "d/sub/>sub");
	matches(t, "ldir", "d/sub/>ldir");
	matches(t, "ldir/h", "d/sub/h>h");
	matches(t, "d/lfile", "a.txt>lfile");
	matches(t, "labs", "b.txt>labs");
	matches(t, "*.txt", "a.txt>a.txt b.txt>b.txt");
	matches(t, "[ab].txt", "a.txt>a.txt b.txt>b.txt");
	matches(t, "d/*", "d/f>f d/g>g a.txt>lfile d/sub/>sub");
	matches(t, "*/sub/?", "d/sub/h>h");
	matches(t, "ldir/*", "d/sub/deep/>deep d/sub/h>h");
	matches(t, "**/f", "d/f>f");
	matches(t, "nomatch*", "");
	matches(t, "no/such/*", "");
	matches(t, "a.txt/*", "");
	matches(t, "nofile", "\"/nofile\": not found");
	matches(t, "dangling", "\"/dangling\": not found");
	matches(t, "loop", "\"/loop\": not found");
	matches(t, "dang*", "\"/dangling\": not found");
	matches(t, "A.TXT", "\"/A.TXT\": not found (did you mean \"/a.txt\"?)");
	matches(t, "d/sub/deeep", "\"/d/sub/deeep\": not found (did you mean \"/d/sub/deep\"?)");
	matches(t, "d/x", "\"/d/x\": not found");
	cache_tree_free(t);
}

static void test_content(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	sample(&w, "one");
	sample(&w, "two");
	const struct selection all = { .source = STR("/") };
	struct digest a = content_at(&w, "one", all), b = content_at(&w, "two", all);
	assert_true(digest_eq(&a, &b));
	/* Times and owners of a context do not count. */
	struct timespec ts[2] = { { 1, 0 }, { 1, 0 } };
	assert_int_equal(utimensat(w.fd, "two/d/f", ts, 0), 0);
	assert_int_equal(utimensat(w.fd, "two/d", ts, 0), 0);
	if (geteuid() == 0)
		assert_int_equal(fchownat(w.fd, "two/d/f", 7, 8, 0), 0);
	b = content_at(&w, "two", all);
	assert_true(digest_eq(&a, &b));
	/* The mode of the copied folder itself doesn't, that of a folder in it does. */
	assert_int_equal(fchmodat(w.fd, "two/d", 0700, 0), 0);
	struct digest c = content_at(&w, "one", (struct selection){ .source = STR("d") });
	b = content_at(&w, "two", (struct selection){ .source = STR("d") });
	assert_true(digest_eq(&c, &b));
	b = content_at(&w, "two", (struct selection){ .source = STR("d"), .bind = true });
	assert_false(digest_eq(&c, &b));
	b = content_at(&w, "two", all);
	assert_false(digest_eq(&a, &b));
	b = content_at(&w, "two", (struct selection){ .source = STR("/"), .mask_mode = true });
	struct digest m =
		content_at(&w, "one", (struct selection){ .source = STR("/"), .mask_mode = true });
	assert_true(digest_eq(&m, &b));
	assert_false(digest_eq(&m, &a));
	assert_int_equal(fchmodat(w.fd, "two/d", 0755, 0), 0);
	/* Content, names, new empty folders, link texts do. */
	file(&w, "two/d/sub/h", "H");
	b = content_at(&w, "two", all);
	assert_false(digest_eq(&a, &b));
	file(&w, "two/d/sub/h", "h");
	b = content_at(&w, "two", all);
	assert_true(digest_eq(&a, &b));
	folder(&w, "two/d/new");
	b = content_at(&w, "two", all);
	assert_false(digest_eq(&a, &b));
	/* A file under a wildcard counts by its name; the same file alone in another folder has the
	 * same C. */
	b = content_at(&w, "two", (struct selection){ .source = STR("d/f") });
	c = content_at(&w, "two", (struct selection){ .source = STR("d/[f]") });
	assert_true(digest_eq(&c, &b));
	assert_int_equal(renameat(w.fd, "two/d/f", w.fd, "two/d/sub/f"), 0);
	c = content_at(&w, "two", (struct selection){ .source = STR("d/sub/f") });
	assert_true(digest_eq(&c, &b));
	assert_int_equal(renameat(w.fd, "two/d/sub/f", w.fd, "two/d/ff"), 0);
	c = content_at(&w, "two", (struct selection){ .source = STR("d/f*") });
	assert_false(digest_eq(&c, &b));
}

/* C by hand, from its definition. */
static void test_definition(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	sample(&w, "c");
	struct digest got = content_at(&w, "c", (struct selection){ .source = STR("d/sub/deep") });
	struct digester h;
	struct digest data = digest_of("i", 1);
	static const char *const dir[] = { "", "d", "0", "0", "0", "", "", "", "", "", "" };
	static const char *const leaf[] = { "i", "f", "420", "0", "0", "", "1", "", "", "" };
	digest_fields(&h, "cbuild.content.1");
	digest_field_c(&h, "match");
	for (size_t i = 0; i < ARRAY_SIZE(dir); i++)
		digest_field_c(&h, dir[i]);
	for (size_t i = 0; i < ARRAY_SIZE(leaf); i++)
		digest_field_c(&h, leaf[i]);
	digest_field_digest(&h, &data);
	struct digest want = digest_end(&h);
	assert_true(digest_eq(&got, &want));
}

static void names(struct tree *t, struct selection s, const char *want)
{
	_cleanup_(sb_releasep) struct sb got = { 0 };
	struct match *m;
	size_t n, k;
	MUST(cache_tree_matches(t, NULL, &s, &m, &n, &err));
	for (size_t i = 0; i < n; i++) {
		struct tree_item *v;
		MUST(cache_tree_items(t, NULL, &s, &m[i], &v, &k, &err));
		for (size_t j = 0; j < k; j++)
			sb_printf(&got, "%.*s%s%.*s ", STR_ARG(v[j].e.path),
				  v[j].e.group.n ? "=" : "", STR_ARG(v[j].e.group));
		free(v);
	}
	assert_string_equal(sb_c(&got), want);
}

static void test_items(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	sample(&w, "c");
	assert_int_equal(linkat(w.fd, "c/d/f", w.fd, "c/d/sub/hard", 0), 0);
	struct tree *t = tree_of(&w, "c", NULL);
	names(t, (struct selection){ .source = STR("d") },
	      " f g lfile sub sub/deep sub/deep/i sub/h sub/hard=f ");
	names(t, (struct selection){ .source = STR("d/sub/*") }, " i h hard ");
	struct str ex[] = { STR("sub"), STR("!sub/deep/i"), STR("g") };
	names(t, (struct selection){ .source = STR("d"), .excludes = ex, .n_excludes = 3 },
	      " f lfile sub sub/deep sub/deep/i ");
	names(t, (struct selection){ .source = STR("d"), .excludes = ex, .n_excludes = 1 },
	      " f g lfile ");
	/* A file that is named is never excluded. */
	names(t, (struct selection){ .source = STR("d/g"), .excludes = ex, .n_excludes = 3 }, "g ");
	cache_tree_free(t);
}

static void test_ignore(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	sample(&w, "c");
	struct err *err = NULL;
	_cleanup_(glob_set_freep) struct glob_set *g = glob_set_new();
	assert_int_equal(glob_set_add(g, STR("d"), &err), 0);
	assert_int_equal(glob_set_add(g, STR("!d/sub/h"), &err), 0);
	assert_int_equal(glob_set_add(g, STR("*.txt"), &err), 0);
	struct tree *t = tree_of(&w, "c", g);
	names(t, (struct selection){ .source = STR("") },
	      " [x] d d/sub d/sub/h dangling empty labs ldir loop ");
	matches(t, "a.txt", "\"/a.txt\": not found");
	matches(t, "labs", "\"/labs\": not found");
	matches(t, "ldir/h", "d/sub/h>h");
	matches(t, "d/f", "\"/d/f\": not found");
	matches(t, "d/*", "d/sub/>sub");
	cache_tree_free(t);
}

static int64_t rows(struct world *w)
{
	return sql(w, "cache.db", "SELECT coalesce(sum(length(rows)), 0) FROM stat");
}

/* Flips a bit of a digest wherever the stat cache has it. */
static void spoil(struct world *w, const struct digest *d)
{
	_cleanup_free_ char *path = xasprintf("%s/r/cache.db", w->path);
	sqlite3 *h;
	sqlite3_stmt *q, *u;
	int n = 0;
	assert_int_equal(sqlite3_open_v2(path, &h, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	sqlite3_db_config(h, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)NULL);
	assert_int_equal(sqlite3_prepare_v2(h, "SELECT ino, rows FROM stat", -1, &q, NULL),
			 SQLITE_OK);
	assert_int_equal(
		sqlite3_prepare_v2(h, "UPDATE stat SET rows = ?2 WHERE ino = ?1", -1, &u, NULL),
		SQLITE_OK);
	while (sqlite3_step(q) == SQLITE_ROW) {
		size_t size = (size_t)sqlite3_column_bytes(q, 1);
		_cleanup_free_ char *rows_ = xmemdup(sqlite3_column_blob(q, 1), size);
		char *at = memmem(rows_, size, d->b, sizeof(d->b));
		if (!at)
			continue;
		n++;
		*at ^= 1;
		sqlite3_bind_int64(u, 1, sqlite3_column_int64(q, 0));
		sqlite3_bind_blob(u, 2, rows_, (int)size, SQLITE_TRANSIENT);
		assert_int_equal(sqlite3_step(u), SQLITE_DONE);
		sqlite3_reset(u);
	}
	assert_int_equal(n, 1);
	sqlite3_finalize(q);
	sqlite3_finalize(u);
	sqlite3_close(h);
}

static void set_back(struct world *w, const char *path, const struct stat *st)
{
	struct timespec ts[2] = { st->st_atim, st->st_mtim };
	assert_int_equal(utimensat(w->fd, path, ts, 0), 0);
}

static void test_stat_cache(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	sample(&w, "c");
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	const struct selection all = { .source = STR("/") };
	struct tree *t = tree_of(&w, "c", NULL);
	struct digest a = content(t, c, &all), b, d;
	cache_tree_free(t);
	/* What is younger than 2 s is not remembered. */
	assert_int_equal(rows(&w), 0);
	struct timespec wait = { 2, 100000000 };
	nanosleep(&wait, NULL);
	t = tree_of(&w, "c", NULL);
	b = content(t, c, &all);
	assert_true(digest_eq(&a, &b));
	assert_true(cache_tree_data(t, STR("d/f"), &d));
	struct digest f = digest_of("f", 1);
	assert_true(digest_eq(&d, &f));
	assert_false(cache_tree_data(t, STR("d/nothing"), &d));
	cache_tree_free(t);
	if (!rows(&w)) {
		print_message("no stat cache on this file system\n");
		cache_close(c);
		cache_store_close(s);
		return;
	}
	/* It is used: a wrong digest in it shows, and the right one again helps. */
	spoil(&w, &f);
	t = tree_of(&w, "c", NULL);
	b = content(t, c, &all);
	assert_false(digest_eq(&a, &b));
	cache_tree_free(t);
	f.b[0] ^= 1;
	spoil(&w, &f);
	/* An edit that restores size and mtime is seen by ctime. */
	struct stat st;
	assert_int_equal(fstatat(w.fd, "c/d/f", &st, 0), 0);
	file(&w, "c/d/f", "F");
	set_back(&w, "c/d/f", &st);
	t = tree_of(&w, "c", NULL);
	b = content(t, c, &all);
	assert_false(digest_eq(&a, &b));
	cache_tree_free(t);
	file(&w, "c/d/f", "f");
	t = tree_of(&w, "c", NULL);
	b = content(t, c, &all);
	assert_true(digest_eq(&a, &b));
	/* A change during the build is seen after forgetting. */
	file(&w, "c/a.txt", "changed");
	b = content(t, c, &all);
	assert_true(digest_eq(&a, &b));
	cache_tree_forget(t, STR("a.txt"));
	b = content(t, c, &all);
	assert_false(digest_eq(&a, &b));
	cache_tree_free(t);
	cache_close(c);
	cache_store_close(s);
}

static void test_left_out(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct err *err = NULL;
	struct store *s = open_store(&w);
	folder(&w, "r/../out");
	int fd = openat(w.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
	    out = openat(w.fd, "out", O_PATH | O_CLOEXEC);
	struct tree *t = cache_tree_open(fd, NULL, true, s, &err);
	assert_non_null(t);
	cache_tree_leave_out(t, out);
	matches(t, "r", "\"/r\": not found");
	matches(t, "out", "\"/out\": not found (did you mean \"/run\"?)");
	matches(t, "*", "run/>run");
	close(out);
	cache_tree_free(t);
	cache_store_close(s);
}

static void test_xattrs(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	sample(&w, "c");
	const struct selection d = { .source = STR("d") };
	struct digest a = content_at(&w, "c", d), b;
	_cleanup_close_ int fd = openat(w.fd, "c/d/f", O_RDONLY | O_CLOEXEC);
	if (fsetxattr(fd, "user.x", "1", 1, 0) < 0) {
		print_message("no user attributes here: %s\n", strerror(errno));
		return;
	}
	b = content_at(&w, "c", d);
	assert_false(digest_eq(&a, &b));
	assert_int_equal(fremovexattr(fd, "user.x"), 0);
	if (geteuid() == 0)
		assert_int_equal(fsetxattr(fd, "trusted.overlay.redirect", "1", 1, 0), 0);
	b = content_at(&w, "c", d);
	assert_true(digest_eq(&a, &b));
}

static void test_sockets(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	folder(&w, "one");
	folder(&w, "two");
	assert_int_equal(mknodat(w.fd, "one/s", S_IFSOCK | 0644, 0), 0);
	file(&w, "two/s", "");
	assert_int_equal(fchmodat(w.fd, "one/s", 0644, 0), 0);
	struct digest a = content_at(&w, "one", (struct selection){ .source = STR("/") });
	struct digest b = content_at(&w, "two", (struct selection){ .source = STR("/") });
	assert_true(digest_eq(&a, &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matches),    cmocka_unit_test(test_content),
		cmocka_unit_test(test_definition), cmocka_unit_test(test_items),
		cmocka_unit_test(test_ignore),     cmocka_unit_test(test_stat_cache),
		cmocka_unit_test(test_left_out),   cmocka_unit_test(test_xattrs),
		cmocka_unit_test(test_sockets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
