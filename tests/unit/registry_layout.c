/* Images written as OCI layouts and read again; archives of docker save. Checked with skopeo and umoci where they are installed. */
#include "tests/unit/registry_fake.h"
#include <sys/stat.h>

#include "base/arena.h"
#include "cache/blob.h"
#include "cache/db.h"
#include "cache/layer.h"
#include "cache/name.h"
#include "cache/store.h"
#include "registry/layout.h"
#include "registry/load.h"
#include "registry/session.h"

static char folder[64];
static struct arena *arena;
static struct err *e;
static const struct oci_platform amd64 = { { "linux", 5 }, { "amd64", 5 }, { 0 }, { 0 } };
static const struct load_options load_options = { .platform = &amd64 };

/* A store with a connection. */
struct home {
	struct store *store;
	struct cache *cache;
};

static struct home open_home(const char *name)
{
	_cleanup_free_ char *root = xasprintf("%s/%s", folder, name),
			    *run = xasprintf("%s/%s.run", folder, name);
	struct home h = { .store = cache_store_open(
				  &(struct store_options){ .root = root, .run = run }, &e) };
	if (!h.store)
		fail_msg("%s", e->msg);
	h.cache = cache_open(h.store, &e);
	assert_non_null(h.cache);
	return h;
}

static void close_home(struct home *h)
{
	cache_close(h->cache);
	cache_store_close(h->store);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/registry_layout.XXXXXX");
	arena = arena_new();
	return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	err_drop(&e);
	arena_free(arena);
	return io_remove_tree(AT_FDCWD, folder, &e);
}

/* Runs a shell command in the folder; its exit status. */
static int sh(const char *command)
{
	_cleanup_free_ char *text = xasprintf("exec >&2; cd %s && %s", folder, command);
	const char *argv[] = { "sh", "-c", text, NULL };
	struct proc_options o = { .argv = argv, .fds = { -1, -1, 2 } };
	pid_t pid;
	int status = -1;
	assert_int_equal(proc_start(&o, &pid, NULL, &e), 0);
	assert_int_equal(proc_wait(pid, &status, &e), 0);
	return status;
}

/* An image of two layers in a store, pulled from a fake. */
static struct digest make_image(struct home *h)
{
	struct fake f = fake_start("'images':[{'name':'a/b','tag':'1','layers':[1000,200000]}]");
	struct registry *r =
		registry_new_with(&(struct registry_options){ .store = h->store }, NULL, 1, 20);
	struct resolved image;
	bool fresh;
	_cleanup_free_ char *text = xasprintf("%s/a/b:1", f.host);
	if (registry_pull(r, h->cache, arena, str_c(text), &amd64, &image, &fresh, &e) < 0)
		fail_msg("%s", e->msg);
	registry_free(r);
	fake_stop(&f);
	return image.config_digest;
}

static void write_tar(struct home *h, const struct digest *id, const char *path, bool docker)
{
	_cleanup_free_ char *full = xasprintf("%s/%s", folder, path);
	int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct sink *sink = io_sink_fd(fd, true, path);
	struct str names[] = { STR("docker.io/library/shop:v1"), STR("reg.io:5000/team/shop:v2") };
	struct layout_options o = { .tar = sink, .names = names, .n_names = 2, .docker = docker };
	if (registry_layout_write(h->cache, arena, id, &o, &e) < 0)
		fail_msg("%s", e->msg);
	assert_int_equal(io_sink_close(sink, true, &e), 0);
}

/* Loads a tar of the folder; 0 or the error's code. */
static struct loaded *loaded;
static size_t n_loaded;

static int load(struct home *h, const char *path)
{
	_cleanup_free_ char *full = xasprintf("%s/%s", folder, path);
	int fd = open(full, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	err_drop(&e);
	return registry_load(h->cache, arena, io_source_fd(fd, true, path), &load_options, &loaded,
			     &n_loaded, &e) < 0
		? (int)e->code
		: 0;
}

static void check_names(void)
{
	assert_int_equal(n_loaded, 1);
	assert_int_equal(loaded[0].n_names, 2);
	assert_true(str_eq(loaded[0].names[0], STR("docker.io/library/shop:v1")));
	assert_true(str_eq(loaded[0].names[1], STR("reg.io:5000/team/shop:v2")));
}

static void test_tar_there_and_back(void **state)
{
	(void)state;
	struct home a = open_home("a"), b = open_home("b");
	struct digest id = make_image(&a);
	write_tar(&a, &id, "one.tar", false);
	write_tar(&a, &id, "two.tar", false);
	assert_int_equal(sh("cmp one.tar two.tar"), 0);
	assert_int_equal(sh("test \"$(tar tf one.tar | head -1)\" = oci-layout"), 0);
	assert_int_equal(sh("tar tvf one.tar | grep -q 'blobs/sha256/'"), 0);
	assert_int_equal(load(&b, "one.tar"), 0);
	check_names();
	assert_true(digest_eq(&loaded[0].id, &id));
	struct image from, to;
	assert_int_equal(cache_image_get(a.cache, arena, &id, &from, &e), 0);
	assert_int_equal(cache_image_get(b.cache, arena, &id, &to, &e), 0);
	assert_int_equal(from.chain.n, to.chain.n);
	for (size_t i = 0; i < from.chain.n; i++)
		assert_true(digest_eq(&from.chain.v[i].diffid, &to.chain.v[i].diffid));
	assert_true(digest_eq(&from.manifest, &to.manifest));
	/* What was loaded is written with the same bytes. */
	write_tar(&b, &id, "three.tar", false);
	assert_int_equal(sh("cmp one.tar three.tar"), 0);
	struct digest found;
	assert_int_equal(cache_name_get(b.cache, STR("reg.io:5000/team/shop:v2"), &found, &e), 0);
	close_home(&a);
	close_home(&b);
}

static void test_docker_form(void **state)
{
	(void)state;
	struct home a = open_home("a"), b = open_home("b"), c = open_home("c");
	struct digest id = make_image(&a);
	write_tar(&a, &id, "both.tar", true);
	assert_int_equal(load(&b, "both.tar"), 0);
	check_names();
	/* Without the OCI part: as an older docker save wrote it, manifest.json last, names of its own. */
	assert_int_equal(
		sh("mkdir x && tar xf both.tar -C x && cd x && rm oci-layout index.json && mv blobs/sha256 z && rmdir blobs && "
		   "sed -i s,blobs/sha256/,z/,g manifest.json && for f in z/*; do mv $f $f.tar; done && "
		   "sed -i 's,\\(z/[0-9a-f]*\\)\",\\1.tar\",g' manifest.json && tar cf ../old.tar z manifest.json"),
		0);
	assert_int_equal(load(&c, "old.tar"), 0);
	check_names();
	assert_true(digest_eq(&loaded[0].id, &id));
	close_home(&a);
	close_home(&b);
	close_home(&c);
}

static int open_folder(const char *name)
{
	_cleanup_free_ char *full = xasprintf("%s/%s", folder, name);
	mkdir(full, 0755);
	return open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void test_folder(void **state)
{
	(void)state;
	struct home a = open_home("a"), b = open_home("b");
	struct digest id = make_image(&a);
	_cleanup_close_ int fd = open_folder("layout");
	struct str one = STR("docker.io/library/one:v1"), two = STR("docker.io/library/two:v2");
	struct layout_options o = { .dir_fd = fd, .names = &one, .n_names = 1 };
	assert_int_equal(registry_layout_write(a.cache, arena, &id, &o, &e), 0);
	o.names = &two;
	assert_int_equal(registry_layout_write(a.cache, arena, &id, &o, &e), 0);
	assert_int_equal(registry_layout_write(a.cache, arena, &id, &o, &e), 0);
	/* Names are added, each stays once. */
	assert_int_equal(sh("test $(grep -o library/one layout/index.json | wc -l) = 1"), 0);
	assert_int_equal(sh("test $(grep -o library/two layout/index.json | wc -l) = 1"), 0);
	assert_int_equal(sh("test $(ls layout/blobs/sha256 | wc -l) = 4"), 0);
	assert_int_equal(
		registry_load_folder(b.cache, arena, fd, &load_options, &loaded, &n_loaded, &e), 0);
	assert_int_equal(n_loaded, 1);
	assert_int_equal(loaded[0].n_names, 2);
	close_home(&a);
	close_home(&b);
}

static void test_other_tools(void **state)
{
	(void)state;
	struct home a = open_home("a"), b = open_home("b");
	struct digest id = make_image(&a);
	write_tar(&a, &id, "one.tar", true);
	if (sh("command -v skopeo") || sh("command -v umoci")) {
		printf("skopeo or umoci is not installed: not compared\n");
	} else {
		assert_int_equal(
			sh("skopeo --insecure-policy copy -q oci-archive:one.tar:v1 oci:out:v1"),
			0);
		assert_int_equal(
			sh("skopeo --insecure-policy copy -q docker-archive:one.tar:docker.io/library/shop:v1 oci:out:v2"),
			0);
		assert_int_equal(
			sh("umoci unpack --rootless --image out:v1 bundle && test -f bundle/rootfs/layer1"),
			0);
		/* And what they write is read. */
		assert_int_equal(
			sh("skopeo --insecure-policy copy -q oci:out:v1 docker-archive:theirs.tar:reg.io/x:y"),
			0);
		assert_int_equal(load(&b, "theirs.tar"), 0);
		assert_int_equal(n_loaded, 1);
		assert_true(digest_eq(&loaded[0].id, &id));
		assert_true(str_eq(loaded[0].names[0], STR("reg.io/x:y")));
	}
	close_home(&a);
	close_home(&b);
}

static void test_bad_archives(void **state)
{
	(void)state;
	struct home a = open_home("a"), b = open_home("b");
	struct digest id = make_image(&a);
	write_tar(&a, &id, "good.tar", true);
	static const struct {
		const char *make;
		int code;
	} rows[] = {
		{ "head -c 100000 /dev/urandom > bad.tar", ERR_INVALID },
		{ ": > bad.tar", ERR_INVALID },
		{ "mkdir e && echo hi > e/hello && tar cf bad.tar -C e .", ERR_INVALID },
		{ "head -c 100000 good.tar > bad.tar", ERR_INVALID },
		/* a blob that is not what its name says */
		{ "rm -rf g && mkdir g && tar xf good.tar -C g && for f in g/blobs/sha256/*; do echo x >> $f; done && tar cf bad.tar -C g .",
		  ERR_INTEGRITY },
		/* one that is missing */
		{ "rm -rf g && mkdir g && tar xf good.tar -C g && rm $(ls -S g/blobs/sha256/* | head -1) && tar cf bad.tar -C g .",
		  ERR_NOT_FOUND },
		{ "rm -rf g && mkdir g && echo '[{\"Config\":\"../../etc/passwd\",\"Layers\":[]}]' > g/manifest.json && tar cf bad.tar -C g .",
		  ERR_NOT_FOUND },
		{ "rm -rf g && mkdir g && echo '[{\"Config\":\"a.json\",\"Layers\":[]}]' > g/manifest.json && ln -s b.json g/a.json && "
		  "ln -s a.json g/b.json && tar cf bad.tar -C g .",
		  ERR_NOT_FOUND },
		{ "rm -rf g && mkdir g && echo '[{\"Config\":\"a.json\",\"Layers\":[]}]' > g/manifest.json && echo '[' > g/a.json && "
		  "tar cf bad.tar -C g .",
		  ERR_INVALID },
		{ "rm -rf g && mkdir g && head -c 5000000 /dev/zero > g/manifest.json && tar cf bad.tar -C g .",
		  ERR_LIMIT },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(sh(rows[i].make), 0);
		int code = load(&b, "bad.tar");
		if (code != rows[i].code)
			fail_msg("row %zu: %d, not %d: %s", i, code, rows[i].code, e ? e->msg : "");
	}
	struct image_row *images;
	size_t n;
	assert_int_equal(cache_image_list(b.cache, arena, &images, &n, &e), 0);
	assert_int_equal(n, 0);
	/* A big file of no use is read over. */
	assert_int_equal(
		sh("rm -rf g && mkdir g && tar xf good.tar -C g && head -c 9000000 /dev/zero > g/aaa && tar cf bad.tar -C g ."),
		0);
	assert_int_equal(load(&b, "bad.tar"), 0);
	close_home(&a);
	close_home(&b);
}

int main(void)
{
	fake_needs("python3");
	setenv("DOCKER_CONFIG", "/nonexistent", 1);
	if (geteuid()) {
		printf("skipped: layers are unpacked by root only\n");
		return 77;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_tar_there_and_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_docker_form, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_folder, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_other_tools, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bad_archives, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
