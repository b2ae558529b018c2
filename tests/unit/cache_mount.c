/* Mounts of layers against what manifests and tars say, over random steps; and deep stacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "cache/manifest.h"
#include "tests/unit/layer_help.h"

/* Random steps: overlay itself is what our view of manifests and our tars are compared with */

static unsigned seed;

static unsigned dice(unsigned n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % n;
}

/* A path of at most three of four names. */
static const char *some_path(void)
{
	static char path[32];
	unsigned depth = 1 + dice(3);
	path[0] = '\0';
	for (unsigned i = 0; i < depth; i++)
		snprintf(path + strlen(path), sizeof(path) - strlen(path), "%s%c", i ? "/" : "",
			 "abcd"[dice(4)]);
	return path;
}

/* One change that may also fail, as a step's would. */
static void some_change(int root)
{
	char path[32], other[32];
	struct err *err = NULL;
	snprintf(path, sizeof(path), "%s", some_path());
	snprintf(other, sizeof(other), "%s", some_path());
	switch (dice(9)) {
	case 0:
	case 1:
		(void)!mkdirat(root, path, 0700 + dice(64));
		break;
	case 2:
	case 3: {
		_cleanup_close_ int fd =
			openat(root, path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0)
			(void)!write(fd, path, 1 + dice(4));
		break;
	}
	case 4:
		(void)!symlinkat(other, root, path);
		break;
	case 5:
		(void)!linkat(root, other, root, path, 0);
		break;
	case 6:
		(void)!renameat(root, other, root, path);
		break;
	case 7:
		(void)!fchmodat(root, path, 0600 + dice(128), 0);
		break;
	default:
		if (io_remove_tree(root, path, &err) < 0)
			err_drop(&err);
	}
}

/* Everything of a mounted root, as text; hard links are left out, they are no matter between
 * layers. */
static void walk(int root, const char *path, struct sb *out)
{
	_cleanup_free_ char *proc = xasprintf("/proc/self/fd/%d/%s", root, path);
	struct dirent **names;
	int n = scandir(proc, &names, NULL, alphasort);
	assert_true(n >= 0);
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *sub =
			xasprintf("%s%s%s", path, *path ? "/" : "", names[i]->d_name);
		bool dots = !strcmp(names[i]->d_name, ".") || !strcmp(names[i]->d_name, "..");
		free(names[i]);
		if (dots)
			continue;
		struct stat st;
		char text[64] = "";
		assert_int_equal(fstatat(root, sub, &st, AT_SYMLINK_NOFOLLOW), 0);
		if (S_ISLNK(st.st_mode))
			assert_true(readlinkat(root, sub, text, sizeof(text) - 1) > 0);
		sb_printf(out, "%s %c %o %s", sub,
			  S_ISDIR(st.st_mode)           ? 'd'
				  : S_ISLNK(st.st_mode) ? 'l'
							: 'f',
			  S_ISLNK(st.st_mode) ? 0 : st.st_mode & 07777, text);
		if (S_ISREG(st.st_mode)) {
			_cleanup_(sb_releasep) struct sb data = { 0 };
			MUST(io_read_file(root, sub, &data, &err));
			char hex[DIGEST_HEX];
			struct digest d = digest_of(data.p, data.n);
			sb_printf(out, "%zu %.16s", data.n, digest_hex(&d, hex));
		}
		sb_add_ch(out, '\n');
		if (S_ISDIR(st.st_mode))
			walk(root, sub, out);
	}
	free(names);
}

static void view_text(struct fixture *f, const struct chain *chain, struct sb *out)
{
	struct manifest_reader *r[8];
	struct err *err = NULL;
	for (size_t i = 0; i < chain->n; i++) {
		_cleanup_free_ char *path =
			xasprintf("r/layers/%lld/manifest", (long long)chain->v[i].id);
		r[i] = manifest_open(f->w.fd, path, &err);
		assert_non_null(r[i]);
	}
	_cleanup_(manifest_view_freep) struct manifest_view *view = manifest_view_new(r, chain->n);
	struct entry e;
	size_t layer;
	while (manifest_view_next(view, &e, &layer, &err) > 0) {
		char hex[DIGEST_HEX];
		if (!e.path.n)
			continue;
		sb_printf(out, "%.*s %c %o %.*s", STR_ARG(e.path), e.kind, e.mode, STR_ARG(e.link));
		if (e.kind == 'f')
			sb_printf(out, "%llu %.16s", (unsigned long long)e.size,
				  digest_hex(&e.data, hex));
		sb_add_ch(out, '\n');
	}
	assert_null(err);
}

static void test_random_steps(void **state)
{
	struct fixture *f = *state;
	if (!f)
		skip();
	enum { ROUNDS = 40, STEPS = 5 };
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct layer ours[STEPS], theirs[STEPS];
		struct chain chain = { ours, 0 };
		seed = round * 7919 + 1;
		for (int step = 0; step < STEPS; step++) {
			struct work *w = begin(f);
			int root = mount_chain(f, &chain, w);
			for (unsigned i = 0, n = 5 + dice(25); i < n; i++)
				some_change(root);
			_cleanup_(sb_releasep) struct sb seen = { 0 }, known = { 0 }, again = { 0 };
			walk(root, "", &seen);
			close(root);
			struct layer_info info;
			ours[step] = finish(f, w, INT64_MAX, &info);
			chain.n++;
			view_text(f, &chain, &known);
			if (strcmp(sb_c(&seen), sb_c(&known)))
				fail_msg("round %u step %d\noverlay:\n%s\nmanifests:\n%s", round,
					 step, sb_c(&seen), sb_c(&known));
			struct digest d;
			to_file(f, ours[step].id, "step.tar", &d);
			assert_true(digest_eq(&d, &info.diffid));
			unpack_file(f, "step.tar", &d, NULL, &theirs[step]);
			_cleanup_close_ int other =
				mount_chain(f, &(struct chain){ theirs, chain.n }, NULL);
			walk(other, "", &again);
			if (strcmp(sb_c(&seen), sb_c(&again)))
				fail_msg("round %u step %d\noverlay:\n%s\nunpacked:\n%s", round,
					 step, sb_c(&seen), sb_c(&again));
		}
	}
}

static void test_many_lower(void **state)
{
	struct fixture *f = *state;
	if (!f)
		skip();
	static const char *const kernels[] = { "7.0", "6.7", "6.1" };
	struct chain chain = { xcalloc(501, sizeof(struct layer)), 0 };
	for (int i = 0; i < 500; i++) {
		struct work *w = begin(f);
		_cleanup_free_ char *name = xasprintf("f%d", i);
		put(cache_work_fs_fd(w), name, "x", 0644);
		chain.v[chain.n++].id = cache_work_id(w);
		MUST(cache_work_commit(f->c, w, LAYER_STEP, &err));
		cache_work_free(w);
	}
	for (size_t i = 0; i < ARRAY_SIZE(kernels); i++) {
		setenv("CBUILD_TEST_KERNEL", kernels[i], 1);
		for (size_t n = 30; n <= 500; n = n == 30 ? 200 : n + 300) {
			struct chain part = { chain.v, n };
			int64_t start = clock_mono_ns();
			_cleanup_close_ int root = mount_chain(f, &part, NULL);
			print_message("mount of %zu layers as kernel %s: %.2f ms\n", n, kernels[i],
				      (double)(clock_mono_ns() - start) / 1e6);
			_cleanup_free_ char *last = xasprintf("f%zu", n - 1);
			assert_int_equal(faccessat(root, last, F_OK, 0), 0);
			assert_int_equal(faccessat(root, "f0", F_OK, 0), 0);
		}
	}
	unsetenv("CBUILD_TEST_KERNEL");
	chain.n = 501;
	int fd;
	_cleanup_(err_dropp) struct err *e = NULL;
	assert_int_equal(cache_layer_mount(f->c, &chain, NULL, &fd, &e), -1);
	assert_int_equal(e->code, ERR_LIMIT);
	free(chain.v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_steps),
		cmocka_unit_test(test_many_lower),
	};
	if (geteuid() != 0) {
		puts("layers are made as root only");
		return 77;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
