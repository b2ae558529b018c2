/* Layers over a real store: making, sealing, writing as tar, unpacking, mounting, checking. Needs
 * root and overlay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/clock.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/zip.h"
#include "cache/blob.h"
#include "cache/manifest.h"
#include "cache/oci.h"
#include "cache/tree.h"
#include "tests/unit/layer_help.h"

static void fill(struct work *w)
{
	int fs = cache_work_fs_fd(w), fd;
	assert_int_equal(mkdirat(fs, "dir", 0750), 0);
	assert_int_equal(fchownat(fs, "dir", 5, 6, 0), 0);
	put(fs, "dir/file", "hello\n", 04755);
	put(fs, "dir.x", "sorts behind dir/…", 0644);
	put(fs, "empty", "", 0600);
	assert_int_equal(linkat(fs, "dir/file", fs, "z-link", 0), 0);
	assert_int_equal(symlinkat("../some/where", fs, "link"), 0);
	assert_int_equal(mknodat(fs, "pipe", S_IFIFO | 0640, 0), 0);
	assert_int_equal(mknodat(fs, "null", S_IFCHR | 0666, makedev(1, 3)), 0);
	assert_int_equal(mknodat(fs, "sock", S_IFSOCK | 0666, 0), 0);
	put(fs, "na\xc3\xafve", "utf-8", 0644);
	put(fs, "raw\xff", "not utf-8", 0644);
	_cleanup_free_ char *deep = xstrdup("");
	for (int i = 0; i < 20; i++) {
		char *next =
			xasprintf("%s%sa-rather-long-name-of-a-folder", deep, *deep ? "/" : "");
		free(deep);
		deep = next;
		assert_int_equal(mkdirat(fs, deep, 0755), 0);
	}
	_cleanup_free_ char *leaf = xasprintf("%s/leaf", deep);
	put(fs, leaf, "deep", 0644);
	fd = openat(fs, "dir/file", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fsetxattr(fd, "user.b", "with\0nul=", 9, 0), 0);
	assert_int_equal(fsetxattr(fd, "user.a", "", 0, 0), 0);
	assert_int_equal(fsetxattr(fd, "trusted.overlay.origin", "x", 1, 0), 0);
	close(fd);
}

static void capture(struct sb *out, const char *const *argv)
{
	int status;
	struct proc_options o = { .argv = argv, .fds = { -1, -1, 2 } };
	MUST(proc_capture(&o, STR(""), 60000, out, &status, &err));
	if (status)
		fail_msg("%s: exit %d: %s", argv[0], status, sb_c(out));
}

static void test_seal_and_tar(void **state)
{
	struct fixture *f = *state;
	if (!f)
		skip();
	struct work *w = begin(f);
	fill(w);
	cache_work_mark_time(w, STR("empty"));
	struct layer_info a, b;
	struct layer l = finish(f, w, INT64_MAX, &a);
	assert_int_equal(a.bytes, 6 + 20 + 0 + 5 + 9 + 4);
	struct digest d;
	to_file(f, l.id, "a.tar", &d);
	assert_true(digest_eq(&d, &l.diffid));
	/* The same files again, made later: M and, times being equal where files are, all but
	 * folders' times. */
	w = begin(f);
	fill(w);
	finish(f, w, INT64_MAX, &b);
	assert_true(digest_eq(&a.m, &b.m));
	struct layer_info again;
	MUST(cache_layer_info(f->c, l.id, &again, &err));
	assert_true(digest_eq(&again.m, &a.m) && digest_eq(&again.diffid, &a.diffid) &&
		    again.entries == a.entries);
	/* Another program reads it: names, modes, link, device. */
	_cleanup_free_ char *path = xasprintf("%s/a.tar", f->w.path);
	_cleanup_(sb_releasep) struct sb out = { 0 };
	capture(&out,
		(const char *const[]){ "tar", "--numeric-owner", "--full-time", "-tvf", path,
				       NULL });
	assert_non_null(strstr(sb_c(&out), "drwxr-x--- 5/6               0"));
	assert_non_null(
		strstr(sb_c(&out),
		       "-rwsr-xr-x 0/0               6 2001-09-09 01:46:40.123456789 dir/file"));
	assert_non_null(strstr(sb_c(&out), "z-link link to dir/file"));
	assert_non_null(strstr(sb_c(&out), "link -> ../some/where"));
	assert_non_null(strstr(sb_c(&out), "crw-r--r-- 0/0"));
	assert_non_null(strstr(sb_c(&out), "1,3"));
	assert_non_null(strstr(sb_c(&out), "prw-r----- 0/0               0"));
	assert_null(strstr(sb_c(&out), "sock"));
	assert_true(strstr(sb_c(&out), "dir/file") < strstr(sb_c(&out), "dir.x"));
	size_t bad;
	MUST(cache_layer_check(f->c, l.id, true, NULL, NULL, &bad, &err));
	assert_int_equal(bad, 0);
	/* Damage is found. */
	_cleanup_free_ char *file = xasprintf("r/layers/%lld/fs/dir.x", (long long)l.id);
	int fd = openat(f->w.fd, file, O_WRONLY | O_CLOEXEC);
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(pwrite(fd, "S", 1, 0), 1);
	struct timespec ts[2] = { st.st_atim, st.st_mtim };
	assert_int_equal(futimens(fd, ts), 0);
	close(fd);
	MUST(cache_layer_check(f->c, l.id, false, NULL, NULL, &bad, &err));
	assert_int_equal(bad, 0);
	MUST(cache_layer_check(f->c, l.id, true, NULL, NULL, &bad, &err));
	assert_int_equal(bad, 1);
}

static void test_flags(void **state)
{
	struct fixture *f = *state;
	if (!f)
		skip();
	struct work *w = begin(f);
	int fs = cache_work_fs_fd(w);
	put(fs, "marked", "1", 0644);
	put(fs, "old", "1", 0644);
	put(fs, "young", "1", 0644);
	struct timespec ts[2] = { { 2000000000, 0 }, { 2000000000, 0 } };
	assert_int_equal(utimensat(fs, "young", ts, 0), 0);
	cache_work_mark_time(w, STR("marked"));
	struct layer_info i;
	struct layer l = finish(f, w, INT64_C(2000000000000000000), &i);
	_cleanup_free_ char *dir = xasprintf("r/layers/%lld", (long long)l.id);
	_cleanup_close_ int fd = openat(f->w.fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct err *err = NULL;
	_cleanup_(manifest_closep) struct manifest_reader *m = manifest_open(fd, "manifest", &err);
	assert_non_null(m);
	struct entry e;
	const bool want[] = { true, false, true };
	for (int k = 0; k < 3; k++) {
		assert_int_equal(manifest_next(m, &e, &err), 1);
		assert_int_equal(e.time, want[k]);
	}
	assert_int_equal(manifest_next(m, &e, &err), 0);
	assert_int_equal(faccessat(fd, "marks", F_OK, 0), -1);
	assert_int_equal(faccessat(fd, "work", F_OK, 0), -1);
}

static void seal_fails(struct fixture *f, struct work *w, enum err_code code)
{
	struct layer_info i;
	_cleanup_(err_dropp) struct err *e = NULL;
	int64_t id = cache_work_id(w);
	MUST(cache_work_commit(f->c, w, LAYER_STEP, &err));
	cache_work_free(w);
	assert_int_equal(cache_layer_seal(f->c, id, INT64_MAX, &i, &e), -1);
	assert_int_equal(e->code, code);
}

/* A hole can be as large as it likes; and nobody waits for a seal that is not wanted any more. */
static void test_bounds(void **state)
{
	struct fixture *f = *state;
	if (!f)
		skip();
	struct work *w = begin(f);
	_cleanup_close_ int fd =
		openat(cache_work_fs_fd(w), "hole", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (ftruncate(fd, INT64_C(2) << 40) == 0)
		seal_fails(f, w, ERR_LIMIT);
	else
		cache_work_free(w);
	struct world world = world_begin();
	struct fixture other = { .w = world, .s = open_store(&world) };
	other.c = must_open(other.s);
	w = begin(&other);
	put(cache_work_fs_fd(w), "file", "text", 0644);
	int64_t id = cache_work_id(w);
	MUST(cache_work_commit(other.c, w, LAYER_STEP, &err));
	cache_work_free(w);
	cache_store_cancel(other.s);
	struct layer_info i;
	_cleanup_(err_dropp) struct err *e = NULL;
	assert_int_equal(cache_layer_seal(other.c, id, INT64_MAX, &i, &e), -1);
	assert_int_equal(e->code, ERR_CANCELED);
	cache_close(other.c);
	cache_store_close(other.s);
	world_end(&other.w);
}

static void test_whiteout_name(void **state)
{
	struct fixture *f = *state;
	if (!f)
		skip();
	struct work *w = begin(f);
	assert_int_equal(mkdirat(cache_work_fs_fd(w), "d", 0755), 0);
	put(cache_work_fs_fd(w), "d/.wh.passwd", "", 0644);
	int64_t id = cache_work_id(w);
	MUST(cache_work_commit(f->c, w, LAYER_STEP, &err));
	cache_work_free(w);
	struct layer_info i;
	_cleanup_(err_dropp) struct err *e = NULL;
	assert_int_equal(cache_layer_seal(f->c, id, INT64_MAX, &i, &e), -1);
	assert_int_equal(e->code, ERR_INVALID);
	assert_non_null(strstr(e->msg, "d/.wh.passwd"));
	_cleanup_(err_dropp) struct err *none = NULL;
	assert_int_equal(cache_layer_info(f->c, id, &i, &none), -1);
	assert_int_equal(none->code, ERR_NOT_FOUND);
}

/* A view as text: kind, path, mode, content of small files. */
static void list(int root, const char *path, struct sb *out)
{
	_cleanup_free_ char *self = xstrdup(path);
	int fd = path_open_in_nofollow(root, path, O_RDONLY | O_DIRECTORY, 0);
	assert_true(fd >= 0);
	struct dirent **names;
	_cleanup_free_ char *proc = xasprintf("/proc/self/fd/%d", fd);
	int n = scandir(proc, &names, NULL, alphasort);
	assert_true(n >= 0);
	for (int i = 0; i < n; i++) {
		struct stat st;
		if (strcmp(names[i]->d_name, ".") && strcmp(names[i]->d_name, "..")) {
			_cleanup_free_ char *sub =
				xasprintf("%s%s%s", path, *path ? "/" : "", names[i]->d_name);
			assert_int_equal(fstatat(fd, names[i]->d_name, &st, AT_SYMLINK_NOFOLLOW),
					 0);
			sb_printf(out, "%s %o %u", sub, st.st_mode, st.st_uid);
			if (S_ISREG(st.st_mode)) {
				_cleanup_(sb_releasep) struct sb text = { 0 };
				MUST(io_read_file(fd, names[i]->d_name, &text, &err));
				sb_printf(out, " %s", sb_c(&text));
			}
			sb_add_ch(out, '\n');
			if (S_ISDIR(st.st_mode))
				list(root, sub, out);
		}
		free(names[i]);
	}
	free(names);
	close(fd);
}

/* A base, then a step on an overlay that deletes, replaces and hides. */
static void three_layers(struct fixture *f, struct chain *chain, struct layer v[3],
			 struct layer_info *info)
{
	struct work *w = begin(f);
	int fs = cache_work_fs_fd(w);
	assert_int_equal(mkdirat(fs, "keep", 0700), 0);
	assert_int_equal(mkdirat(fs, "gone", 0755), 0);
	assert_int_equal(mkdirat(fs, "again", 0755), 0);
	put(fs, "keep/a", "a0", 0644);
	put(fs, "keep/b", "b0", 0644);
	put(fs, "gone/x", "x0", 0644);
	put(fs, "again/old", "o0", 0644);
	put(fs, "plain", "p0", 0644);
	put(fs, "+early", "e0", 0644);
	v[0] = finish(f, w, INT64_MAX, &info[0]);
	*chain = (struct chain){ v, 1 };
	w = begin(f);
	int root = mount_chain(f, chain, w);
	assert_int_equal(unlinkat(root, "keep/a", 0), 0);
	assert_int_equal(unlinkat(root, "gone/x", 0), 0);
	assert_int_equal(unlinkat(root, "gone", AT_REMOVEDIR), 0);
	assert_int_equal(unlinkat(root, "again/old", 0), 0);
	assert_int_equal(unlinkat(root, "again", AT_REMOVEDIR), 0);
	assert_int_equal(unlinkat(root, "+early", 0), 0);
	assert_int_equal(mkdirat(root, "again", 0711), 0);
	put(root, "again/new", "n1", 0600);
	put(root, "plain", "p1", 0600);
	close(root);
	v[1] = finish(f, w, INT64_MAX, &info[1]);
	chain->n = 2;
	w = begin(f);
	root = mount_chain(f, chain, w);
	put(root, "keep/c", "c2", 0644);
	assert_int_equal(fchmodat(root, ".", 0711, 0), 0);
	close(root);
	v[2] = finish(f, w, INT64_MAX, &info[2]);
	chain->n = 3;
}

static const char merged[] =
	"again 40711 0\nagain/new 100600 0 n1\nkeep 40700 0\nkeep/b 100644 0 b0\nkeep/c 100644 0 c2\nplain 100600 0 p1\n";

static void expect_view(struct fixture *f, const struct chain *chain)
{
	_cleanup_close_ int root = mount_chain(f, chain, NULL);
	_cleanup_(sb_releasep) struct sb out = { 0 };
	struct stat st;
	list(root, "", &out);
	assert_string_equal(sb_c(&out), merged);
	assert_int_equal(fstat(root, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0711);
	assert_int_equal(mkdirat(root, "w", 0755), -1);
	assert_int_equal(errno, EROFS);
}

static void test_mount(void **state)
{
	struct fixture *f = *state;
	if (!f)
		skip();
	struct layer v[3];
	struct layer_info info[3];
	struct chain chain;
	three_layers(f, &chain, v, info);
	/* The root is in a layer only where it changed. */
	assert_int_equal(info[0].entries, 9);
	assert_int_equal(info[1].entries, 7);
	assert_int_equal(info[2].entries, 3);
	static const char *const kernels[] = { "", "6.7", "6.1" };
	for (size_t i = 0; i < ARRAY_SIZE(kernels); i++) {
		setenv("CBUILD_TEST_KERNEL", kernels[i], 1);
		if (!*kernels[i])
			unsetenv("CBUILD_TEST_KERNEL");
		expect_view(f, &chain);
		struct work *w = begin(f);
		_cleanup_close_ int root = mount_chain(f, &chain, w);
		put(root, "top", "t", 0644);
		assert_int_equal(faccessat(cache_work_fs_fd(w), "top", F_OK, 0), 0);
		mem_closep(&root);
		root = -1;
		cache_work_free(w);
	}
	unsetenv("CBUILD_TEST_KERNEL");
	/* Nothing and scratch. */
	struct chain none = { 0 };
	_cleanup_close_ int empty = mount_chain(f, &none, NULL);
	_cleanup_(sb_releasep) struct sb out = { 0 };
	list(empty, "", &out);
	assert_int_equal(out.n, 0);
	struct work *w = begin(f);
	_cleanup_close_ int scratch = mount_chain(f, &none, w);
	put(scratch, "first", "1", 0644);
	assert_int_equal(faccessat(cache_work_fs_fd(w), "first", F_OK, 0), 0);
	mem_closep(&scratch);
	scratch = -1;
	cache_work_free(w);
	_cleanup_(sb_releasep) struct sb mounts = { 0 };
	MUST(io_read_file(AT_FDCWD, "/proc/self/mountinfo", &mounts, &err));
	assert_null(strstr(sb_c(&mounts), f->w.path));
}

static void test_merged_view(void **state)
{
	struct fixture *f = *state;
	if (!f)
		skip();
	struct layer v[3];
	struct layer_info info[3];
	struct chain chain;
	three_layers(f, &chain, v, info);
	struct manifest_reader *r[3];
	for (int i = 0; i < 3; i++) {
		struct err *err = NULL;
		_cleanup_free_ char *dir = xasprintf("r/layers/%lld/manifest", (long long)v[i].id);
		r[i] = manifest_open(f->w.fd, dir, &err);
		assert_non_null(r[i]);
	}
	_cleanup_(manifest_view_freep) struct manifest_view *view = manifest_view_new(r, 3);
	_cleanup_(sb_releasep) struct sb out = { 0 };
	struct entry e;
	size_t layer;
	struct err *err = NULL;
	int k;
	while ((k = manifest_view_next(view, &e, &layer, &err)) > 0)
		sb_printf(&out, "%.*s:%c%zu ", STR_ARG(e.path), e.kind, layer);
	assert_int_equal(k, 0);
	assert_string_equal(sb_c(&out),
			    ":d2 again:d1 again/new:f1 keep:d2 keep/b:f0 keep/c:f2 plain:f1 ");
}

static struct digest content_of(struct fixture *f, const struct chain *chain, bool layers)
{
	struct err *e = NULL;
	struct selection all = { .source = STR("/") };
	struct digest d;
	struct tree *t = cache_tree_open(mount_chain(f, chain, NULL), NULL, false, f->s, &e);
	assert_non_null(t);
	if (layers)
		cache_tree_layers(t, chain);
	MUST(cache_tree_content(t, f->c, &all, &d, &err));
	cache_tree_free(t);
	return d;
}

/* C of many files in layers comes from their manifests, and is the same. */
static void test_known_digests(void **state)
{
	struct fixture *f = *state;
	if (!f)
		skip();
	struct layer v[4];
	struct layer_info info[4];
	struct chain chain;
	three_layers(f, &chain, v, info);
	struct work *w = begin(f);
	for (int i = 0; i < 2100; i++) {
		char name[20], text[20];
		snprintf(name, sizeof(name), "f%04d", i);
		snprintf(text, sizeof(text), "%d", i * 7);
		put(cache_work_fs_fd(w), name, text, 0644);
	}
	v[3] = finish(f, w, INT64_MAX, &info[3]);
	chain.n = 4;
	struct digest read = content_of(f, &chain, false), known = content_of(f, &chain, true);
	assert_true(digest_eq(&read, &known));
	/* Nothing of it was read: what is on disk now does not show. */
	_cleanup_free_ char *file = xasprintf("r/layers/%lld/fs/f0042", (long long)v[3].id);
	_cleanup_close_ int fd = openat(f->w.fd, file, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "9", 1, 0), 1);
	read = content_of(f, &chain, false);
	assert_false(digest_eq(&read, &known));
	read = content_of(f, &chain, true);
	assert_true(digest_eq(&read, &known));
	/* Without a manifest the files are read. */
	_cleanup_free_ char *manifest = xasprintf("r/layers/%lld/manifest", (long long)v[1].id);
	assert_int_equal(unlinkat(f->w.fd, manifest, 0), 0);
	read = content_of(f, &chain, true);
	assert_false(digest_eq(&read, &known));
}

/* Deeper than descriptors are kept open for; files on the way back too. */
static void test_deep(void **state)
{
	struct fixture *f = *state;
	if (!f)
		skip();
	enum { DEPTH = 1500 };
	struct work *w = begin(f);
	_cleanup_(sb_releasep) struct sb path = { 0 };
	for (int i = 0; i < DEPTH; i++) {
		sb_add_c(&path, i ? "/d" : "d");
		assert_int_equal(mkdirat(cache_work_fs_fd(w), sb_c(&path), 0755), 0);
		if (i % 100 == 0) {
			_cleanup_free_ char *file = xasprintf("%s/z", sb_c(&path));
			put(cache_work_fs_fd(w), file, "z", 0644);
		}
	}
	struct layer_info info;
	struct layer l = finish(f, w, INT64_MAX, &info), u;
	assert_int_equal(info.entries, DEPTH + DEPTH / 100);
	struct digest d;
	to_file(f, l.id, "deep.tar", &d);
	assert_true(digest_eq(&d, &l.diffid));
	unpack_file(f, "deep.tar", &l.diffid, NULL, &u);
	to_file(f, u.id, "deep2.tar", &d);
	assert_true(digest_eq(&d, &l.diffid));
}

/* What was written as a tar and unpacked again shows the same and gives the same tar. */
static void test_round_trip(void **state)
{
	struct fixture *f = *state;
	if (!f)
		skip();
	struct layer v[3], u[3];
	struct layer_info info[3];
	struct chain chain;
	three_layers(f, &chain, v, info);
	for (int i = 0; i < 3; i++) {
		struct digest d, e;
		_cleanup_free_ char *name = xasprintf("%d.tar", i);
		to_file(f, v[i].id, name, &d);
		assert_true(digest_eq(&d, &v[i].diffid));
		unpack_file(f, name, &d, NULL, &u[i]);
		assert_true(u[i].id != v[i].id);
		to_file(f, u[i].id, "again.tar", &e);
		assert_true(digest_eq(&d, &e));
		/* Asked again, it is there. */
		struct layer l;
		bool found;
		MUST(cache_layer_find(f->c, &d, &found, &l, &err));
		assert_true(found && l.id == u[i].id);
		unpack_file(f, name, &d, NULL, &l);
		assert_int_equal(l.id, u[i].id);
	}
	_cleanup_(sb_releasep) struct sb out = { 0 };
	_cleanup_free_ char *tar = xasprintf("%s/1.tar", f->w.path);
	capture(&out, (const char *const[]){ "tar", "-tf", tar, NULL });
	assert_string_equal(
		sb_c(&out),
		".wh.+early\n.wh.gone\nagain/\nagain/.wh..wh..opq\nagain/new\nkeep/\nkeep/.wh.a\nplain\n");
	expect_view(f, &(struct chain){ u, 3 });
	struct layer other = { 0 };
	_cleanup_(err_dropp) struct err *e = NULL;
	int fd = open(tar, O_RDONLY | O_CLOEXEC);
	assert_int_equal(cache_layer_unpack(f->c, io_source_fd(fd, true, "1.tar"), &info[0].m, NULL,
					    NULL, &other, &e),
			 -1);
	assert_int_equal(e->code, ERR_INTEGRITY);
}

/* A tar made by others, in an order of its own, without blob: the layer is what we write of it.
 * Packed in each form, once. */
static void test_import_and_pack(void **state)
{
	struct fixture *f = *state;
	if (!f)
		skip();
	_cleanup_free_ char *dir = xasprintf("%s/foreign", f->w.path),
			    *tar = xasprintf("%s/foreign.tar", f->w.path);
	assert_int_equal(mkdir(dir, 0755), 0);
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(fd, "etc", 0755), 0);
	put(fd, "etc/a", "text of a file that is longer than nothing", 0644);
	put(fd, "etc/b", "b", 0644);
	_cleanup_(sb_releasep) struct sb out = { 0 };
	capture(&out,
		(const char *const[]){ "tar", "--format=gnu", "-C", dir, "-cf", tar, "./etc/b",
				       "./etc", NULL });
	struct layer l, again;
	struct layer_info info;
	struct digest d;
	unpack_file(f, "foreign.tar", NULL, NULL, &l);
	to_file(f, l.id, "ours.tar", &d);
	assert_true(digest_eq(&d, &l.diffid));
	unpack_file(f, "foreign.tar", NULL, NULL, &again);
	assert_int_equal(again.id, l.id);
	MUST(cache_layer_info(f->c, l.id, &info, &err));
	assert_false(digest_is_zero(&info.m));
	assert_int_equal(info.entries, 3);
	static const struct {
		const char *form, *type;
		enum zip_kind kind;
	} forms[] = { { "gzip", OCI_LAYER_GZIP, ZIP_GZIP },
		      { "zstd", OCI_LAYER_ZSTD, ZIP_ZSTD },
		      { "none", OCI_LAYER, ZIP_NONE } };
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		struct digest blob, twice;
		uint64_t size;
		struct str type;
		MUST(cache_layer_pack(f->c, &l, forms[i].form, &blob, &size, &type, &err));
		assert_true(str_eq_c(type, forms[i].type));
		MUST(cache_layer_pack(f->c, &l, forms[i].form, &twice, &size, &type, &err));
		assert_true(digest_eq(&blob, &twice));
		int b;
		uint64_t n;
		MUST(cache_blob_open(f->c, &blob, &b, &n, &err));
		assert_int_equal(n, size);
		struct err *e = NULL;
		enum zip_kind kind;
		struct source *s = zip_source(io_source_fd(b, true, "blob"), &kind, &e);
		assert_int_equal(kind, forms[i].kind);
		_cleanup_(sb_releasep) struct sb plain = { 0 };
		char buf[1000];
		for (ssize_t k; (k = io_read(s, buf, sizeof(buf))) > 0;)
			sb_add(&plain, buf, (size_t)k);
		assert_int_equal(io_source_close(s, &e), 0);
		d = digest_of(plain.p, plain.n);
		assert_true(digest_eq(&d, &l.diffid));
	}
	uint64_t size;
	struct str type;
	_cleanup_(err_dropp) struct err *bad = NULL;
	assert_int_equal(cache_layer_pack(f->c, &l, "lz4", &d, &size, &type, &bad), -1);
}

/* A hard link into a layer below: the target comes along, and the layer is for that parent only. */
static void test_borrowed_link(void **state)
{
	struct fixture *f = *state;
	if (!f)
		skip();
	struct work *w = begin(f);
	assert_int_equal(mkdirat(cache_work_fs_fd(w), "opt", 0711), 0);
	put(cache_work_fs_fd(w), "opt/perl", "#!perl", 0755);
	struct layer_info info;
	struct layer below = finish(f, w, INT64_MAX, &info);
	struct chain chain = { &below, 1 };
	static const char make[] =
		"import tarfile,sys\n"
		"t=tarfile.open(sys.argv[1],'w')\n"
		"i=tarfile.TarInfo('usr/perl5');i.type=tarfile.LNKTYPE;i.linkname='opt/perl'\n"
		"t.addfile(i);t.close()\n";
	_cleanup_free_ char *tar = xasprintf("%s/link.tar", f->w.path);
	_cleanup_(sb_releasep) struct sb out = { 0 };
	capture(&out, (const char *const[]){ "python3", "-c", make, tar, NULL });
	struct layer l;
	_cleanup_(err_dropp) struct err *e = NULL;
	struct digest blob = digest_of("some blob", 9);
	int fd = open(tar, O_RDONLY | O_CLOEXEC);
	assert_int_equal(cache_layer_unpack(f->c, io_source_fd(fd, true, "link.tar"), NULL, NULL,
					    &blob, &l, &e),
			 -1);
	assert_int_equal(e->code, ERR_NOT_FOUND);
	fd = open(tar, O_RDONLY | O_CLOEXEC);
	MUST(cache_layer_unpack(f->c, io_source_fd(fd, true, "link.tar"), NULL, &chain, &blob, &l,
				&err));
	char path[64];
	struct stat a, b;
	snprintf(path, sizeof(path), "r/layers/%lld/fs/opt/perl", (long long)l.id);
	assert_int_equal(fstatat(f->w.fd, path, &a, 0), 0);
	snprintf(path, sizeof(path), "r/layers/%lld/fs/usr/perl5", (long long)l.id);
	assert_int_equal(fstatat(f->w.fd, path, &b, 0), 0);
	assert_true(a.st_ino == b.st_ino && a.st_nlink == 2 && (a.st_mode & 07777) == 0755 &&
		    a.st_mtim.tv_nsec == 123456789);
	snprintf(path, sizeof(path), "r/layers/%lld/fs/opt", (long long)l.id);
	assert_int_equal(fstatat(f->w.fd, path, &a, 0), 0);
	assert_int_equal(a.st_mode & 07777, 0711);
	bool found;
	struct layer other;
	MUST(cache_layer_find(f->c, &l.diffid, &found, &other, &err));
	assert_false(found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seal_and_tar),  cmocka_unit_test(test_flags),
		cmocka_unit_test(test_deep),          cmocka_unit_test(test_known_digests),
		cmocka_unit_test(test_whiteout_name), cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_mount),         cmocka_unit_test(test_merged_view),
		cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_import_and_pack),
		cmocka_unit_test(test_borrowed_link),
	};
	if (geteuid() != 0) {
		puts("layers are made as root only");
		return 77;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
