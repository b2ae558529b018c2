/* COPY, ADD and WORKDIR on a work folder over a parent: BuildKit's rules of destinations, owners,
 * modes, links and conflicts. */
#define CBUILD_MAY_FORK /* umask, to show that it does not matter */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/path.h"
#include "cache/tree.h"
#include "solver/copy.h"
#include "tests/unit/cache_help.h"

#define NOW INT64_C(1700000000000000042)

#define MUST(call)                                                                                 \
	do {                                                                                       \
		struct err *err = NULL;                                                            \
		if ((call) < 0)                                                                    \
			fail_msg("%s: %s", #call, err->msg);                                       \
	} while (0)

/* A store, a context folder `ctx`, a parent of one layer. */
struct fixture {
	struct world w;
	struct store *s;
	struct cache *c;
	int ctx, view;
	struct work *base, *work;
	struct layer layers[2];
	struct chain chain;
	struct map marks;
	struct tree *tree;
};

static void file_at(int dir, const char *path, const char *text, mode_t mode, int64_t mtime)
{
	int fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		fail_msg("%s: %s", path, strerror(errno));
	assert_int_equal(io_write_full(fd, text, strlen(text)), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	struct timespec ts[2] = { { mtime, 7 }, { mtime, 7 } };
	assert_int_equal(futimens(fd, ts), 0);
	close(fd);
}

static void dir_at(int dir, const char *path, mode_t mode, int64_t mtime)
{
	assert_int_equal(mkdirat(dir, path, 0700), 0);
	assert_int_equal(fchmodat(dir, path, mode, 0), 0);
	struct timespec ts[2] = { { mtime, 9 }, { mtime, 9 } };
	assert_int_equal(utimensat(dir, path, ts, 0), 0);
}

static void old(int dir, const char *path)
{
	struct timespec ts[2] = { { 500, 0 }, { 500, 0 } };
	assert_int_equal(utimensat(dir, path, ts, AT_SYMLINK_NOFOLLOW), 0);
}

static struct fixture begin(void)
{
	struct fixture f = { .w = world_begin(), .view = -1 };
	struct err *err = NULL;
	f.s = open_store(&f.w);
	f.c = must_open(f.s);
	assert_int_equal(mkdirat(f.w.fd, "ctx", 0755), 0);
	f.ctx = openat(f.w.fd, "ctx", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f.base = cache_work_begin(f.c, &err);
	assert_non_null(f.base);
	return f;
}

static int base_fd(struct fixture *f)
{
	return cache_work_fs_fd(f->base);
}

/* The parent is as it shall be: from now on the step. */
static void ready(struct fixture *f)
{
	struct err *e = NULL;
	f->layers[0].id = cache_work_id(f->base);
	MUST(cache_work_commit(f->c, f->base, LAYER_STEP, &err));
	cache_work_free(STEAL(f->base));
	f->chain = (struct chain){ f->layers, 1 };
	MUST(cache_layer_mount(f->c, &f->chain, NULL, &f->view, &err));
	f->work = cache_work_begin(f->c, &e);
	assert_non_null(f->work);
	f->tree = cache_tree_open(fcntl(f->ctx, F_DUPFD_CLOEXEC, 0), NULL, true, f->s, &e);
	assert_non_null(f->tree);
}

static void mark(void *arg, struct str path)
{
	map_put(&((struct fixture *)arg)->marks, path, arg);
}

struct how {
	const char *from, *dest, *chown, *chmod, *heredoc, *name;
	bool unpack;
	struct tree *tree;
};

static int copy(struct fixture *f, struct how h, struct err **err)
{
	struct selection sel = { .source = str_c(h.from) };
	struct copy_source src = { .tree = h.tree ? h.tree : f->tree, .selection = &sel };
	if (h.heredoc)
		src = (struct copy_source){ .name = str_c(h.name ? h.name : "EOF"),
					    .content = str_c(h.heredoc) };
	struct copy_spec s = { .parent_fd = f->view,
			       .fs_fd = cache_work_fs_fd(f->work),
			       .sources = &src,
			       .n_sources = 1,
			       .dest = str_c(h.dest),
			       .chmod = str_c(h.chmod),
			       .unpack = h.unpack,
			       .now_ns = NOW,
			       .mark = mark,
			       .mark_arg = f };
	if (h.chown) {
		s.has_owner = true;
		assert_int_equal(sscanf(h.chown, "%u:%u", &s.uid, &s.gid), 2);
	}
	return solver_copy(&s, f->c, err);
}

#define COPY(f, ...) MUST(copy(f, (struct how){ __VA_ARGS__ }, &err))

static void refused(struct fixture *f, struct how h, enum err_code code, const char *says)
{
	_cleanup_(err_dropp) struct err *err = NULL;
	if (copy(f, h, &err) == 0)
		fail_msg("COPY %s %s was not refused", h.from, h.dest);
	if (err->code != code || !strstr(err->msg, says))
		fail_msg("COPY %s %s: %d %s", h.from, h.dest, err->code, err->msg);
}

static void end(struct fixture *f)
{
	mem_closep(&f->view);
	cache_work_free(f->work);
	cache_work_free(f->base);
	cache_tree_free(f->tree);
	map_release(&f->marks);
	close(f->ctx);
	cache_close(f->c);
	cache_store_close(f->s);
	world_end(&f->w);
}

/* "MODE UID:GID TIME[t] KIND content" of a path in the step's layer; "-" where it has none. */
static const char *layer(struct fixture *f, const char *path)
{
	static char out[400];
	struct stat st;
	int fs = cache_work_fs_fd(f->work);
	if (fstatat(fs, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return "-";
	int n = snprintf(out, sizeof(out), "%04o %u:%u", st.st_mode & 07777, st.st_uid, st.st_gid);
	if ((int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec == NOW)
		n += snprintf(out + n, sizeof(out) - (size_t)n, " now%s",
			      map_has(&f->marks, str_c(path)) ? "!" : "");
	else
		n += snprintf(out + n, sizeof(out) - (size_t)n, " %lld",
			      (long long)st.st_mtim.tv_sec);
	if (S_ISDIR(st.st_mode)) {
		snprintf(out + n, sizeof(out) - (size_t)n, " d");
	} else if (S_ISREG(st.st_mode)) {
		_cleanup_(sb_releasep) struct sb text = { 0 };
		MUST(io_read_file(fs, path, &text, &err));
		snprintf(out + n, sizeof(out) - (size_t)n, " f %s", sb_c(&text));
	} else if (S_ISLNK(st.st_mode)) {
		char link[100];
		ssize_t k = readlinkat(fs, path, link, sizeof(link) - 1);
		link[k > 0 ? k : 0] = '\0';
		snprintf(out, sizeof(out), "%u:%u l %s", st.st_uid, st.st_gid, link);
	} else {
		snprintf(out + n, sizeof(out) - (size_t)n, " %o %u:%u", st.st_mode & S_IFMT,
			 major(st.st_rdev), minor(st.st_rdev));
	}
	return out;
}

#define IS(path, want) assert_string_equal(layer(&f, path), want)

static void test_files(void **state)
{
	(void)state;
	_cleanup_(end) struct fixture f = begin();
	file_at(f.ctx, "a", "A", 0640, 1000);
	file_at(f.ctx, "b", "B", 04755, 1001);
	assert_int_equal(fchownat(f.ctx, "a", 33, 34, 0), 0);
	dir_at(base_fd(&f), "etc", 0711, 600);
	dir_at(base_fd(&f), "etc/deep", 01777, 601);
	assert_int_equal(fchownat(base_fd(&f), "etc/deep", 8, 9, 0), 0);
	file_at(base_fd(&f), "etc/conf", "old", 0600, 602);
	old(base_fd(&f), "etc");
	ready(&f);
	COPY(&f, .from = "a", .dest = "/etc/deep/");
	IS("etc/deep/a", "0640 0:0 1000 f A");
	IS("etc/deep", "1777 8:9 now! d");
	IS("etc", "0711 0:0 500 d");
	IS("etc/conf", "-");
	COPY(&f, .from = "b", .dest = "/etc/conf");
	IS("etc/conf", "4755 0:0 1001 f B");
	IS("etc", "0711 0:0 now! d");
	COPY(&f, .from = "a", .dest = "/new/x/y");
	IS("new", "0755 0:0 now! d");
	IS("new/x", "0755 0:0 now! d");
	IS("new/x/y", "0640 0:0 1000 f A");
	COPY(&f, .from = "a", .dest = "/dir/");
	IS("dir/a", "0640 0:0 1000 f A");
	COPY(&f, .from = "b", .dest = "/dir/");
	IS("dir/b", "4755 0:0 1001 f B");
	COPY(&f, .from = "b", .dest = "/dir");
	IS("dir/b", "4755 0:0 1001 f B");
	COPY(&f, .from = "[ab]", .dest = "/same");
	IS("same", "4755 0:0 1001 f B");
	COPY(&f, .from = "nomatch*", .dest = "/o/");
	IS("o", "-");
	COPY(&f, .from = "a", .dest = "/own/er", .chown = "5:6");
	IS("own", "0755 5:6 now! d");
	IS("own/er", "0640 5:6 1000 f A");
	COPY(&f, .heredoc = "text\n", .dest = "/here/");
	IS("here/EOF", "0644 0:0 now! f text\n");
	COPY(&f, .heredoc = "again\n", .dest = "/here/EOF", .chown = "1:2", .chmod = "600");
	IS("here/EOF", "0600 1:2 now! f again\n");
	/* A delimiter can be any word: nothing leads out. */
	COPY(&f, .heredoc = "out", .dest = "/here/", .name = "../../../up");
	IS("here/up", "0644 0:0 now! f out");
	COPY(&f, .heredoc = "out", .dest = "/", .name = "/etc/abs");
	IS("abs", "0644 0:0 now! f out");
	refused(&f, (struct how){ .heredoc = "x", .dest = "/here/", .name = ".." }, ERR_INVALID,
		"no file name");
	refused(&f, (struct how){ .heredoc = "x", .dest = "/here/", .name = "a/.." }, ERR_INVALID,
		"no file name");
	COPY(&f, .from = "a", .dest = "/../../../../clipped");
	IS("clipped", "0640 0:0 1000 f A");
	refused(&f, (struct how){ .from = "none", .dest = "/x" }, ERR_NOT_FOUND,
		"\"/none\": not found");
	refused(&f, (struct how){ .from = "a", .dest = "/etc/conf/" }, ERR_INVALID,
		"mkdir /etc/conf: not a directory");
	refused(&f, (struct how){ .from = "a", .dest = "/etc/conf/x" }, ERR_INVALID,
		"mkdir /etc/conf: not a directory");
}

static void test_folders(void **state)
{
	(void)state;
	_cleanup_(end) struct fixture f = begin();
	dir_at(f.ctx, "d", 0700, 1000);
	dir_at(f.ctx, "d/sub", 0700, 1001);
	file_at(f.ctx, "d/sub/f", "F", 0644, 1002);
	file_at(f.ctx, "d/f", "F", 0644, 1002);
	assert_int_equal(symlinkat("sub", f.ctx, "d/l"), 0);
	dir_at(f.ctx, "d/none", 0750, 1001);
	struct timespec ts[2] = { { 1000, 0 }, { 1000, 0 } };
	assert_int_equal(utimensat(f.ctx, "d", ts, 0), 0);
	assert_int_equal(utimensat(f.ctx, "d/sub", ts, 0), 0);
	dir_at(base_fd(&f), "there", 0777, 600);
	dir_at(base_fd(&f), "there/sub", 0755, 600);
	file_at(base_fd(&f), "there/sub/kept", "k", 0644, 600);
	assert_int_equal(fchownat(base_fd(&f), "there", 9, 9, 0), 0);
	assert_int_equal(fchownat(base_fd(&f), "there/sub", 9, 9, 0), 0);
	ready(&f);
	COPY(&f, .from = "d", .dest = "/new");
	IS("new", "0755 0:0 1000 d");
	IS("new/sub", "0700 0:0 1000 d");
	IS("new/none", "0750 0:0 1001 d");
	IS("new/sub/f", "0644 0:0 1002 f F");
	IS("new/l", "0:0 l sub");
	COPY(&f, .from = "d", .dest = "/there");
	IS("there", "0777 9:9 1000 d");
	IS("there/sub", "0700 0:0 1000 d");
	IS("there/sub/kept", "-");
	COPY(&f, .from = "d", .dest = "/there", .chown = "3:4");
	IS("there", "0777 9:9 1000 d");
	IS("there/sub", "0700 3:4 1000 d");
	IS("there/l", "3:4 l sub");
	/* A wildcard flattens folders and follows links. */
	COPY(&f, .from = "d/*", .dest = "/flat/");
	IS("flat/f", "0644 0:0 1002 f F");
	IS("flat/sub", "-");
	IS("flat/l", "-");
	/* Octal modes hit made parents and everything but links, symbolic ones leave new
	 * folders. */
	COPY(&f, .from = "d", .dest = "/x/y/new", .chmod = "644");
	IS("x", "0644 0:0 now! d");
	IS("x/y", "0644 0:0 now! d");
	IS("x/y/new", "0644 0:0 1000 d");
	IS("x/y/new/sub", "0644 0:0 1000 d");
	IS("x/y/new/sub/f", "0644 0:0 1002 f F");
	COPY(&f, .from = "d", .dest = "/s/new", .chmod = "u+x,go=rX");
	IS("s", "0755 0:0 now! d");
	IS("s/new", "0755 0:0 1000 d");
	IS("s/new/sub", "0755 0:0 1000 d");
	IS("s/new/f", "0744 0:0 1002 f F");
	/* The root. */
	COPY(&f, .from = "d", .dest = "/");
	IS("sub/f", "0644 0:0 1002 f F");
	IS("f", "0644 0:0 1002 f F");
}

static void test_links(void **state)
{
	(void)state;
	_cleanup_(end) struct fixture f = begin();
	file_at(f.ctx, "f", "F", 0644, 1000);
	dir_at(f.ctx, "d", 0755, 1000);
	dir_at(f.ctx, "d/sub", 0755, 1000);
	file_at(f.ctx, "d/sub/x", "X", 0644, 1000);
	dir_at(f.ctx, "e", 0755, 1000);
	file_at(f.ctx, "e/l", "new", 0644, 1000);
	dir_at(f.ctx, "g", 0755, 1000);
	assert_int_equal(symlinkat("x", f.ctx, "g/dir"), 0);
	dir_at(base_fd(&f), "real", 0755, 600);
	dir_at(base_fd(&f), "real/in", 0755, 600);
	assert_int_equal(symlinkat("/gone", base_fd(&f), "lnk"), 0);
	assert_int_equal(symlinkat("/gone2/deeper", base_fd(&f), "lnk2"), 0);
	assert_int_equal(symlinkat("../../../real/in", base_fd(&f), "real/up"), 0);
	assert_int_equal(symlinkat("loop", base_fd(&f), "loop"), 0);
	file_at(base_fd(&f), "target", "old", 0600, 600);
	assert_int_equal(symlinkat("target", base_fd(&f), "tofile"), 0);
	dir_at(base_fd(&f), "nest", 0755, 600);
	assert_int_equal(symlinkat("/real", base_fd(&f), "nest/sub"), 0);
	assert_int_equal(symlinkat("/target", base_fd(&f), "nest/l"), 0);
	dir_at(base_fd(&f), "nest/dir", 0755, 600);
	ready(&f);
	COPY(&f, .from = "f", .dest = "/lnk");
	IS("gone", "0644 0:0 1000 f F");
	IS("lnk", "-");
	COPY(&f, .from = "f", .dest = "/lnk2/q");
	IS("gone2/deeper/q", "0644 0:0 1000 f F");
	COPY(&f, .from = "f", .dest = "/real/up/");
	IS("real/in/f", "0644 0:0 1000 f F");
	COPY(&f, .from = "f", .dest = "/tofile");
	IS("target", "0644 0:0 1000 f F");
	IS("tofile", "-");
	COPY(&f, .from = "e", .dest = "/nest");
	IS("nest/l", "0644 0:0 1000 f new");
	COPY(&f, .from = "f", .dest = "/real/up/../out");
	IS("real/out", "0644 0:0 1000 f F");
	refused(&f, (struct how){ .from = "d", .dest = "/nest" }, ERR_INVALID,
		"cannot copy to non-directory: /nest/sub");
	refused(&f, (struct how){ .from = "g", .dest = "/nest" }, ERR_INVALID,
		"cannot replace to directory /nest/dir with file");
	refused(&f, (struct how){ .from = "d", .dest = "/target" }, ERR_INVALID,
		"cannot copy to non-directory: /target");
}

static void test_kinds(void **state)
{
	(void)state;
	_cleanup_(end) struct fixture f = begin();
	dir_at(f.ctx, "d", 0755, 1000);
	file_at(f.ctx, "d/one", "1", 0644, 1000);
	assert_int_equal(linkat(f.ctx, "d/one", f.ctx, "d/two", 0), 0);
	assert_int_equal(mknodat(f.ctx, "d/pipe", S_IFIFO | 0600, 0), 0);
	assert_int_equal(mknodat(f.ctx, "d/null", S_IFCHR | 0600, makedev(1, 3)), 0);
	assert_int_equal(mknodat(f.ctx, "d/sock", S_IFSOCK | 0600, 0), 0);
	dir_at(f.ctx, "bad", 0755, 1000);
	assert_int_equal(mknodat(f.ctx, "bad/zero", S_IFCHR | 0600, 0), 0);
	dir_at(f.ctx, "wh", 0755, 1000);
	file_at(f.ctx, "wh/.wh.passwd", "", 0644, 1000);
	int sparse = openat(f.ctx, "d/sparse", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(pwrite(sparse, "head", 4, 0), 4);
	assert_int_equal(pwrite(sparse, "tail", 4, 5000000), 4);
	close(sparse);
	int fd = openat(f.ctx, "d/one", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fsetxattr(fd, "user.note", "n", 1, 0), 0);
	assert_int_equal(fsetxattr(fd, "trusted.overlay.redirect", "n", 1, 0), 0);
	close(fd);
	ready(&f);
	COPY(&f, .from = "d", .dest = "/k");
	struct stat one, two;
	int fs = cache_work_fs_fd(f.work);
	assert_int_equal(fstatat(fs, "k/one", &one, 0), 0);
	assert_int_equal(fstatat(fs, "k/two", &two, 0), 0);
	assert_int_equal(one.st_ino, two.st_ino);
	assert_int_equal(one.st_nlink, 2);
	assert_int_equal(fstatat(fs, "k/null", &one, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISCHR(one.st_mode) && one.st_rdev == makedev(1, 3));
	assert_int_equal(fstatat(fs, "k/pipe", &one, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISFIFO(one.st_mode));
	assert_int_equal(fstatat(fs, "k/sock", &one, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISREG(one.st_mode) && !one.st_size);
	assert_int_equal(fstatat(fs, "k/sparse", &one, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(one.st_size, 5000004);
	assert_true(one.st_blocks * 512 < 1000000);
	char value[10];
	fd = openat(fs, "k/two", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fgetxattr(fd, "user.note", value, sizeof(value)), 1);
	assert_int_equal(fgetxattr(fd, "trusted.overlay.redirect", value, sizeof(value)), -1);
	close(fd);
	/* Matched one by one they are two files. */
	COPY(&f, .from = "d/[ot]*", .dest = "/apart/");
	assert_int_equal(fstatat(fs, "apart/one", &one, 0), 0);
	assert_int_equal(one.st_nlink, 1);
	refused(&f, (struct how){ .from = "bad", .dest = "/bad" }, ERR_INVALID, "device 0:0");
	refused(&f, (struct how){ .from = "wh", .dest = "/wh" }, ERR_INVALID, ".wh.passwd");
}

/* The digest of the layer that a copy of ctx/d gives. */
static struct digest sealed(mode_t mask)
{
	_cleanup_(end) struct fixture f = begin();
	umask(022);
	dir_at(f.ctx, "d", 0755, 1000);
	dir_at(f.ctx, "d/e", 0775, 1001);
	file_at(f.ctx, "d/e/f", "F", 0664, 1002);
	file_at(f.ctx, "d/g", "G", 0600, 1003);
	struct timespec ts[2] = { { 1000, 0 }, { 1000, 0 } };
	assert_int_equal(utimensat(f.ctx, "d/e", ts, 0), 0);
	assert_int_equal(utimensat(f.ctx, "d", ts, 0), 0);
	assert_int_equal(fchownat(f.ctx, "d/g", mask, mask, 0), 0);
	umask(mask);
	ready(&f);
	COPY(&f, .from = "d", .dest = "/opt/app");
	umask(022);
	struct layer_info i;
	int64_t id = cache_work_id(f.work);
	MUST(cache_work_commit(f.c, f.work, LAYER_STEP, &err));
	MUST(cache_layer_seal(f.c, id, INT64_MAX, &i, &err));
	return i.diffid;
}

static void test_reproducible(void **state)
{
	(void)state;
	struct digest a = sealed(0), b = sealed(077), c = sealed(022);
	assert_true(digest_eq(&a, &b));
	assert_true(digest_eq(&a, &c));
}

static void test_changed(void **state)
{
	(void)state;
	_cleanup_(end) struct fixture f = begin();
	dir_at(f.ctx, "d", 0755, 1000);
	for (int i = 0; i < 100; i++) {
		_cleanup_free_ char *name = xasprintf("d/f%02d", i);
		file_at(f.ctx, name, "before", 0644, 1000);
	}
	ready(&f);
	struct selection all = { .source = STR("d") };
	struct digest a, b;
	MUST(cache_tree_content(f.tree, f.c, &all, &a, &err));
	file_at(f.ctx, "d/f42", "behind", 0644, 1000);
	_cleanup_(err_dropp) struct err *e = NULL;
	assert_int_equal(copy(&f, (struct how){ .from = "d", .dest = "/new" }, &e), -1);
	assert_int_equal(e->code, ERR_INTEGRITY);
	assert_int_equal(e->status, COPY_CHANGED);
	assert_string_equal(e->msg, "the context changed during the build: \"d/f42\"");
	MUST(cache_tree_content(f.tree, f.c, &all, &b, &err));
	assert_false(digest_eq(&a, &b));
	/* Longer, shorter, gone, another kind. */
	for (int i = 0; i < 4; i++) {
		_cleanup_(err_dropp) struct err *e2 = NULL;
		file_at(f.ctx, "d/f42", "behind", 0644, 1000);
		cache_tree_forget(f.tree, STR("d/f42"));
		MUST(cache_tree_content(f.tree, f.c, &all, &b, &err));
		if (i < 2)
			file_at(f.ctx, "d/f42", i ? "beh" : "behind it", 0644, 1000);
		else
			assert_int_equal(unlinkat(f.ctx, "d/f42", 0), 0);
		if (i == 3)
			assert_int_equal(symlinkat("f41", f.ctx, "d/f42"), 0);
		_cleanup_free_ char *dest = xasprintf("/new%d", i);
		assert_int_equal(copy(&f, (struct how){ .from = "d", .dest = dest }, &e2), -1);
		assert_int_equal(e2->status, COPY_CHANGED);
		if (i == 3)
			assert_int_equal(unlinkat(f.ctx, "d/f42", 0), 0);
	}
}

static void test_archives(void **state)
{
	(void)state;
	_cleanup_(end) struct fixture f = begin();
	char tar[1536] = "name";
	memcpy(tar + 100, "0000644\0000000000\0000000000\00000000000000\00000000000000\0", 48);
	unsigned sum = 8 * ' ';
	for (int i = 0; i < 512; i++)
		sum += (uint8_t)tar[i];
	snprintf(tar + 148, 8, "%06o", sum);
	int fd = openat(f.ctx, "t.txt", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(io_write_full(fd, tar, sizeof(tar)), 0);
	close(fd);
	file_at(f.ctx, "fake.tar", "just text, but long enough to be looked at", 0644, 1000);
	file_at(f.ctx, "empty.tar", "", 0644, 1000);
	fd = openat(f.ctx, "zero.tar", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(ftruncate(fd, 10240), 0);
	close(fd);
	ready(&f);
	refused(&f, (struct how){ .from = "t.txt", .dest = "/x/", .unpack = true }, ERR_UNSUPPORTED,
		"not supported yet: ADD of an archive that unpacks");
	COPY(&f, .from = "t.txt", .dest = "/x/");
	COPY(&f, .from = "*.tar", .dest = "/y/", .unpack = true);
	IS("y/fake.tar", "0644 0:0 1000 f just text, but long enough to be looked at");
	struct stat st;
	assert_int_equal(fstatat(cache_work_fs_fd(f.work), "y/zero.tar", &st, 0), 0);
	assert_int_equal(st.st_size, 10240);
}

static void test_modes(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		unsigned file, dir; /* of 0640 and 0750 */
	} good[] = {
		{ "u+x", 0740, 0750 },   { "go=", 0600, 0700 },           { "+x", 0751, 0751 },
		{ "a=rX", 0444, 0555 },  { "u=rwx,g=rx,o=", 0750, 0750 }, { "g=u", 0660, 0770 },
		{ "o+g", 0644, 0755 },   { "u+s,g+s", 06640, 06750 },     { "+t", 01640, 01750 },
		{ "a-r+w", 0222, 0332 }, { "ug+rw-x", 0660, 0660 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		_cleanup_(end) struct fixture f = begin();
		char file[40], dir[40];
		dir_at(f.ctx, "d", 0755, 1000);
		file_at(f.ctx, "d/f", "F", 0640, 1000);
		dir_at(f.ctx, "d/s", 0750, 1000);
		ready(&f);
		COPY(&f, .from = "d", .dest = "/new", .chmod = good[i].text);
		snprintf(file, sizeof(file), "%04o 0:0 1000 f F", good[i].file);
		snprintf(dir, sizeof(dir), "%04o 0:0 1000 d", good[i].dir);
		if (strcmp(layer(&f, "new/f"), file))
			fail_msg("%s: %s, want %s", good[i].text, layer(&f, "new/f"), file);
		if (strcmp(layer(&f, "new/s"), dir))
			fail_msg("%s: %s, want %s", good[i].text, layer(&f, "new/s"), dir);
	}
	static const char *const bad[] = { "",  "64a", "10000", "u",    "u+",
					   "x", "u+q", "u+x,",  "=rw,z" };
	uint32_t mode;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (solver_copy_mode(str_c(bad[i]), &mode) != (strcmp(bad[i], "u+") ? -1 : 0))
			fail_msg("'%s' is taken", bad[i]);
	assert_int_equal(solver_copy_mode(STR("0644"), &mode), 1);
	assert_int_equal(mode, 0644);
	assert_int_equal(solver_copy_mode(STR("7777"), &mode), 1);
}

static void test_workdir(void **state)
{
	(void)state;
	_cleanup_(end) struct fixture f = begin();
	dir_at(base_fd(&f), "srv", 0711, 600);
	file_at(base_fd(&f), "file", "", 0644, 600);
	assert_int_equal(symlinkat("/srv", base_fd(&f), "lnk"), 0);
	ready(&f);
	struct copy_workdir s = { .parent_fd = f.view,
				  .fs_fd = cache_work_fs_fd(f.work),
				  .path = STR("/srv"),
				  .uid = 5,
				  .gid = 6,
				  .now_ns = NOW,
				  .mark = mark,
				  .mark_arg = &f };
	MUST(solver_copy_workdir(&s, &err));
	IS("srv", "-");
	s.path = STR("/lnk/a/b");
	MUST(solver_copy_workdir(&s, &err));
	IS("srv", "0711 0:0 now! d");
	IS("srv/a", "0755 5:6 now! d");
	IS("srv/a/b", "0755 5:6 now! d");
	IS("lnk", "-");
	s.path = STR("/file/x");
	_cleanup_(err_dropp) struct err *e = NULL;
	assert_int_equal(solver_copy_workdir(&s, &e), -1);
	assert_string_equal(e->msg, "mkdir /file: not a directory");
	/* On scratch. */
	s.parent_fd = -1;
	s.path = STR("/w/x");
	MUST(solver_copy_workdir(&s, &err));
	IS("w/x", "0755 5:6 now! d");
}

static void test_from_stage(void **state)
{
	(void)state;
	_cleanup_(end) struct fixture f = begin();
	dir_at(base_fd(&f), "out", 0755, 600);
	file_at(base_fd(&f), "out/bin", "elf", 0755, 601);
	assert_int_equal(fchownat(base_fd(&f), "out/bin", 7, 8, 0), 0);
	int fd = openat(base_fd(&f), "out/bin", O_RDONLY | O_CLOEXEC);
	/* cap_net_raw+ep, as the kernel keeps it */
	const char cap[] = "\1\0\0\2\0\40\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
	assert_int_equal(fsetxattr(fd, "security.capability", cap, 20, 0), 0);
	close(fd);
	old(base_fd(&f), "out");
	ready(&f);
	struct err *e = NULL;
	struct tree *stage =
		cache_tree_open(fcntl(f.view, F_DUPFD_CLOEXEC, 0), NULL, false, f.s, &e);
	assert_non_null(stage);
	COPY(&f, .from = "out", .dest = "/copy", .tree = stage);
	IS("copy/bin", "0755 7:8 601 f elf");
	char value[64];
	fd = openat(cache_work_fs_fd(f.work), "copy/bin", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fgetxattr(fd, "security.capability", value, sizeof(value)), 20);
	assert_memory_equal(value, cap, 20);
	close(fd);
	COPY(&f, .from = "out/bin", .dest = "/usr/local/bin/", .tree = stage, .chown = "1:1");
	IS("usr/local/bin/bin", "0755 1:1 601 f elf");
	cache_tree_free(stage);
}

static void test_speed(void **state)
{
	(void)state;
	_cleanup_(end) struct fixture f = begin();
	char text[2501];
	memset(text, 'x', sizeof(text));
	text[2500] = '\0';
	for (int d = 0; d < 100; d++) {
		char name[40];
		snprintf(name, sizeof(name), "d%02d", d);
		dir_at(f.ctx, name, 0755, 1000);
		for (int i = 0; i < 100; i++) {
			snprintf(name, sizeof(name), "d%02d/f%02d", d, i);
			memcpy(text, name, strlen(name));
			file_at(f.ctx, name, text, 0644, 1000);
		}
	}
	ready(&f);
	const struct selection all = { .source = STR("/") };
	struct digest d;
	struct layer_info info;
	int64_t t0 = clock_mono_ns(), id = cache_work_id(f.work);
	MUST(cache_tree_content(f.tree, f.c, &all, &d, &err));
	int64_t t1 = clock_mono_ns();
	COPY(&f, .from = "/", .dest = "/app");
	int64_t t2 = clock_mono_ns();
	MUST(cache_work_commit(f.c, f.work, LAYER_STEP, &err));
	MUST(cache_layer_seal(f.c, id, INT64_MAX, &info, &err));
	int64_t t3 = clock_mono_ns();
	assert_int_equal(info.entries, 10101);
	print_message("10,000 files of 2.5 KB: scan and hash %.1f ms, copy %.1f ms, seal %.1f ms\n",
		      (double)(t1 - t0) / 1e6, (double)(t2 - t1) / 1e6, (double)(t3 - t2) / 1e6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),        cmocka_unit_test(test_folders),
		cmocka_unit_test(test_links),        cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_reproducible), cmocka_unit_test(test_changed),
		cmocka_unit_test(test_archives),     cmocka_unit_test(test_modes),
		cmocka_unit_test(test_workdir),      cmocka_unit_test(test_from_stage),
		cmocka_unit_test(test_speed),
	};
	if (geteuid() != 0) {
		puts("layers are made as root only");
		return 77;
	}
	umask(022);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
