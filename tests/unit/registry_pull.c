/* Resolving and pulling into a store, from a fake that misbehaves. */
#include <pthread.h>
#include <sys/stat.h>

#include "tests/unit/registry_fake.h"
#include "base/arena.h"
#include "cache/blob.h"
#include "cache/db.h"
#include "cache/name.h"
#include "cache/store.h"
#include "registry/auth.h"
#include "registry/fetch.h"
#include "registry/hosts.h"
#include "registry/pull.h"
#include "registry/session.h"

static struct fake fake;
static struct registry *session;
static struct store *store;
static struct cache *cache;
static struct arena *arena;
static struct err *e;
static struct resolved image;
static bool fresh;
static char folder[64];
static const char *settings = "/nonexistent";
static unsigned stall_s = 20; /* patience: long enough for a busy machine */
static const struct oci_platform amd64 = { { "linux", 5 }, { "amd64", 5 }, { 0 }, { 0 } };

static void open_session(bool offline)
{
	session =
		registry_new_with(&(struct registry_options){ .store = store, .offline = offline },
				  &(struct hosts_options){ .config = settings }, 1, stall_s);
}

static void begin(const char *config)
{
	fake = fake_start(config);
	snprintf(folder, sizeof(folder), "/tmp/registry_pull.XXXXXX");
	assert_non_null(mkdtemp(folder));
	_cleanup_free_ char *root = xasprintf("%s/s", folder), *run = xasprintf("%s/r", folder);
	store = cache_store_open(&(struct store_options){ .root = root, .run = run }, &e);
	if (!store)
		fail_msg("%s", e->msg);
	cache = cache_open(store, &e);
	assert_non_null(cache);
	arena = arena_new();
	open_session(false);
}

static void end(void)
{
	err_drop(&e);
	registry_free(session);
	cache_close(cache);
	cache_store_close(store);
	arena_free(arena);
	assert_int_equal(io_remove_tree(AT_FDCWD, folder, &e), 0);
	fake_stop(&fake);
}

/* Pulls HOST/name; 0 or the error's code. */
static int pull(const char *name)
{
	_cleanup_free_ char *text = xasprintf("%s/%s", fake.host, name);
	err_drop(&e);
	return registry_pull(session, cache, arena, str_c(text), &amd64, &image, &fresh, &e) < 0
		? (int)e->code
		: 0;
}

static int resolve(const char *name, enum registry_pull_policy policy)
{
	_cleanup_free_ char *text = xasprintf("%s/%s", fake.host, name);
	struct ref ref;
	err_drop(&e);
	assert_int_equal(ref_parse(arena, arena_str(arena, str_c(text)), &ref, &e), 0);
	return registry_resolve(session, cache, arena, &ref, &amd64, policy, &image, &e) < 0
		? (int)e->code
		: 0;
}

static size_t requests(void)
{
	size_t n;
	_cleanup_free_ struct seen *v = fake_seen(&fake, &n);
	return n;
}

/* Whether the pulled image is there with n layers that hold their files. */
static void check_image(size_t n)
{
	struct image i;
	struct str name;
	_cleanup_free_ char *id = xmalloc(DIGEST_TEXT);
	assert_int_equal(cache_image_find(cache, arena, image.ref_text, &i, &name, &e), 0);
	assert_true(digest_eq(&i.id, &image.config_digest));
	assert_int_equal(i.chain.n, n);
	for (size_t k = 0; k < n; k++) {
		assert_false(i.chain.v[k].absent);
		_cleanup_free_ char *path =
			xasprintf("layers/%lld/fs/layer%zu", (long long)i.chain.v[k].id, k);
		struct stat st;
		assert_int_equal(fstatat(cache_store_root_fd(store), path, &st, 0), 0);
	}
}

static size_t partial_files(void)
{
	_cleanup_free_ char *path = xasprintf("%s/s/tmp/partial", folder);
	_cleanup_closedir_ DIR *d = opendir(path);
	size_t n = 0;
	for (const struct dirent *x; d && (x = readdir(d));)
		n += x->d_name[0] != '.';
	return n;
}

static void test_pull(void **state)
{
	(void)state;
	begin("'images':[{'name':'a/b','tag':'1','platforms':['linux/arm64','linux/amd64'],'layers':[1000,200000,5,30]}]");
	assert_int_equal(pull("a/b:1"), 0);
	assert_true(fresh);
	check_image(4);
	assert_true(str_eq(image.image.platform.arch, STR("amd64")));
	assert_false(digest_is_zero(&image.index));
	assert_int_equal(partial_files(), 0);
	/* index, manifest, config and each layer once */
	assert_int_equal(requests(), 7);
	/* Again: one HEAD says that nothing has moved. */
	assert_int_equal(pull("a/b:1"), 0);
	assert_false(fresh);
	assert_int_equal(requests(), 8);
	assert_int_equal(fake_count(&fake, "HEAD", "manifests/1"), 1);
	/* A build asks nobody. */
	assert_int_equal(resolve("a/b:1", REGISTRY_PULL_MISSING), 0);
	assert_true(image.local);
	assert_int_equal(image.chain.n, 4);
	assert_int_equal(requests(), 8);
	assert_int_equal(pull("a/b:2"), ERR_NOT_FOUND);
	assert_non_null(strstr(e->msg, "/a/b:2: not found"));
	end();
}

static void test_one_layer_twice(void **state)
{
	(void)state;
	begin("'images':[{'name':'a','layers':[1000,2000],'twice':true},{'name':'none','layers':[]}]");
	assert_int_equal(pull("a"), 0);
	struct image i;
	struct str name;
	assert_int_equal(cache_image_find(cache, arena, image.ref_text, &i, &name, &e), 0);
	assert_int_equal(i.chain.n, 3);
	assert_int_equal(i.chain.v[0].id, i.chain.v[2].id);
	assert_int_equal(fake_count(&fake, "GET", "blobs"), 3);
	assert_int_equal(pull("none"), 0);
	check_image(0);
	end();
}

static void test_link_to_a_lower_layer(void **state)
{
	(void)state;
	begin("'images':[{'name':'a','layers':[1000,{'size':10,'link':'layer0'}]},{'name':'bad','layers':[50,{'size':11,'link':'nowhere'}]}]");
	assert_int_equal(pull("a"), 0);
	check_image(2);
	struct image i;
	struct str name;
	assert_int_equal(cache_image_find(cache, arena, image.ref_text, &i, &name, &e), 0);
	_cleanup_free_ char *path = xasprintf("layers/%lld/fs/link1", (long long)i.chain.v[1].id);
	struct stat st;
	assert_int_equal(fstatat(cache_store_root_fd(store), path, &st, 0), 0);
	assert_int_equal(st.st_size, 1000);
	assert_int_equal(pull("bad"), ERR_NOT_FOUND);
	assert_non_null(strstr(e->msg, "nowhere"));
	end();
}

static void test_broken_transfers(void **state)
{
	(void)state;
	/* Cut off again and again: each request goes on where the last ended. */
	begin("'images':[{'name':'a','layers':[{'size':900000,'raw':true}]}],'rules':[{'on':'GET .*blobs','skip':1,'times':8,'cut':100000}]");
	assert_int_equal(pull("a"), 0);
	check_image(1);
	size_t n;
	_cleanup_free_ struct seen *v = fake_seen(&fake, &n);
	unsigned ranged = 0;
	for (size_t i = 0; i < n; i++)
		ranged += !strncmp(v[i].range, "bytes=", 6);
	assert_int_equal(ranged, 8);
	assert_string_equal(v[n - 1].range, "bytes=800000-");
	end();
	/* A 416 that announces the blob and sends less (docker-registry 2.8.2): not drained; the file is begun anew. */
	begin("'images':[{'name':'a','layers':[{'size':300000,'raw':true}]}],'rules':[{'on':'GET .*blobs','skip':1,'times':1,'cut':1000},"
	      "{'on':'GET .*blobs','skip':1,'times':1,'status':416,'length':300544,'stall':10}]");
	assert_int_equal(pull("a"), 0);
	check_image(1);
	end();
	/* The config comes first: `skip` leaves it alone. */
	static const struct {
		const char *rule;
		int code;
	} rows[] = {
		{ "'times':1,'cut':1000},{'on':'GET .*blobs','skip':1,'ignore_range':true", 0 },
		{ "'times':1,'corrupt':true", 0 }, /* wrong bytes are fetched once more */
		{ "'corrupt':true", ERR_INTEGRITY },
		{ "'times':1,'status':500", 0 },
		{ "'times':1,'close':true", 0 },
		{ "'times':1,'stall':1000", 0 },
		{ "'times':1,'status':429,'headers':{'Retry-After':'0'}", 0 },
		{ "'status':500", ERR_NETWORK },
		{ "'status':404", ERR_NOT_FOUND },
		{ "'extra':100000", ERR_INTEGRITY }, /* never more than the descriptor's size */
		{ "'length':5", ERR_INTEGRITY },
		{ "'encoding':'gzip'", ERR_INVALID },
		{ "'redirect':'/loop'},{'on':'/loop','redirect':'/loop'", ERR_LIMIT },
		{ "'times':1,'cut':1000},{'on':'GET .*blobs','skip':1,'wrong_range':true",
		  ERR_INVALID },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *config = xasprintf(
			"'images':[{'name':'a','layers':[300000]}],'rules':[{'on':'GET .*blobs','skip':1,%s}]",
			rows[i].rule);
		stall_s = strstr(config, "stall") ? 1 : 20;
		begin(config);
		stall_s = 20;
		int code = pull("a");
		if (code != rows[i].code)
			fail_msg("row %zu: %d, not %d: %s", i, code, rows[i].code, e ? e->msg : "");
		assert_true(code == ERR_INVALID || code == ERR_NETWORK || partial_files() == 0);
		if (code)
			assert_non_null(strstr(e->msg, "get blob 'sha256:"));
		else
			check_image(1);
		end();
	}
}

/* HEAD is refused by a broken proxy: a GET tells. */
static void test_no_head(void **state)
{
	(void)state;
	begin("'images':[{'name':'a','layers':[10]}],'rules':[{'on':'HEAD','status':405}]");
	assert_int_equal(pull("a"), 0);
	assert_int_equal(pull("a"), 0);
	assert_int_equal(fake_count(&fake, "HEAD", ""), 1);
	assert_int_equal(fake_count(&fake, "GET", "manifests/latest"), 2);
	end();
}

/* A foreign layer that the registry has not lies at its URLs, and gets no credentials there. */
static void test_foreign_layer(void **state)
{
	(void)state;
	begin("'images':[{'name':'a','layers':[{'size':500,'foreign':true}]}],'auth':{'bearer':true},"
	      "'rules':[{'on':'GET .*blobs','at':'self','skip':1,'status':404}]");
	if (pull("a"))
		fail_msg("%s", e->msg);
	check_image(1);
	size_t n;
	unsigned there = 0;
	_cleanup_free_ struct seen *v = fake_seen(&fake, &n);
	for (size_t i = 0; i < n; i++) {
		there += v[i].storage;
		assert_true(!v[i].storage || !*v[i].authorization);
	}
	assert_int_equal(there, 1);
	end();
	/* An ordinary layer's URLs are nobody's business. */
	begin("'images':[{'name':'a','layers':[500]}],'rules':[{'on':'GET .*blobs','at':'self','skip':1,'status':404}]");
	assert_int_equal(pull("a"), ERR_NOT_FOUND);
	end();
}

/* Loopback is never asked through a proxy; IPv6 addresses are hosts too. */
static void test_loopback(void **state)
{
	(void)state;
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("HTTP_PROXY", "http://127.0.0.1:1", 1);
	begin("'images':[{'name':'a','layers':[10]}]");
	assert_int_equal(pull("a"), 0);
	end();
	begin("'v6':true,'images':[{'name':'a','layers':[10]}]");
	snprintf(fake.host, sizeof(fake.host), "[::1]:%d", fake.port);
	assert_int_equal(pull("a"), 0);
	check_image(1);
	end();
	unsetenv("http_proxy");
	unsetenv("HTTP_PROXY");
}

/* What a killed command left is taken up; what is no beginning of the blob is not. */
static void test_take_up(void **state)
{
	(void)state;
	for (int good = 0; good < 2; good++) {
		begin("'images':[{'name':'a','layers':[{'size':300000,'raw':true}]}]");
		assert_int_equal(resolve("a", REGISTRY_PULL_MISSING), 0);
		assert_false(image.local);
		const struct oci_descriptor *d = &image.manifest.entries[0];
		char hex[DIGEST_HEX];
		/* The beginning, as the registry has it. */
		struct host *host;
		struct http *http = NULL;
		struct sb bytes = { 0 };
		assert_int_equal(hosts_get(session->hosts, str_c(fake.host), &host, &e), 0);
		assert_int_equal(registry_http_take(session, &http, &e), 0);
		struct fetch f = { .host = host, .repo = STR("a"), .blob = d };
		assert_int_equal(fetch_small(session, http, &f, &bytes, &e), 0);
		registry_http_give(session, http);
		if (!good)
			bytes.p[7] ^= 1;
		_cleanup_free_ char *path =
			xasprintf("tmp/partial/%s", digest_hex(&d->digest, hex));
		assert_int_equal(io_mkdirs(cache_store_root_fd(store), "tmp/partial", 0700, &e), 0);
		assert_int_equal(io_replace_file(cache_store_root_fd(store), path,
						 (struct str){ bytes.p, 123456 }, 0600, false, &e),
				 0);
		sb_release(&bytes);
		assert_int_equal(pull("a"), 0);
		check_image(1);
		size_t n;
		_cleanup_free_ struct seen *v = fake_seen(&fake, &n);
		bool ranged = false;
		for (size_t i = 0; i < n; i++)
			ranged |= !strcmp(v[i].range, "bytes=123456-");
		assert_true(ranged);
		assert_string_equal(v[n - 1].range, good ? "bytes=123456-" : "");
		assert_int_equal(partial_files(), 0);
		end();
	}
}

static void test_bad_manifests(void **state)
{
	(void)state;
	begin("'images':[{'name':'old','schema1':true},{'name':'deep','platforms':['linux/amd64'],'nested':9},"
	      "{'name':'nested','platforms':['linux/amd64'],'nested':3},{'name':'arm','platforms':['linux/arm64']},"
	      "{'name':'hollow','layers':[77],'platforms':['linux/amd64'],'hollow':true}]");
	assert_int_equal(pull("old"), ERR_UNSUPPORTED);
	assert_non_null(strstr(e->msg, "schema 1"));
	assert_int_equal(pull("deep"), ERR_LIMIT);
	assert_int_equal(pull("nested"), 0);
	assert_int_equal(pull("arm"), ERR_NOT_FOUND);
	assert_non_null(strstr(e->msg, "no match for platform"));
	assert_int_equal(pull("hollow"), ERR_NOT_FOUND);
	end();
}

static void test_policies(void **state)
{
	(void)state;
	begin("'images':[{'name':'a','layers':[100]}]");
	assert_int_equal(resolve("a", REGISTRY_PULL_NEVER), ERR_NOT_FOUND);
	assert_non_null(strstr(e->msg, "/a:latest: not found"));
	assert_int_equal(requests(), 0);
	assert_int_equal(resolve("a", REGISTRY_PULL_MISSING), 0);
	assert_false(image.local);
	size_t before = requests();
	/* The row `tag` and the blobs answer. */
	assert_int_equal(resolve("a", REGISTRY_PULL_MISSING), 0);
	assert_int_equal(requests(), before);
	struct chain chain;
	struct digest vertex = { 0 };
	assert_int_equal(registry_pull_layers(session, cache, &image, &vertex, &chain, &e), 0);
	assert_int_equal(chain.n, 1);
	chain_release(&chain);
	/* Offline all of it is still there, and nothing else is. */
	registry_free(session);
	open_session(true);
	assert_int_equal(resolve("a", REGISTRY_PULL_MISSING), 0);
	assert_int_equal(registry_pull_layers(session, cache, &image, &vertex, &chain, &e), 0);
	chain_release(&chain);
	assert_int_equal(resolve("b", REGISTRY_PULL_MISSING), ERR_NOT_FOUND);
	assert_non_null(strstr(e->hint, "offline"));
	end();
}

static void test_digest_reference(void **state)
{
	(void)state;
	begin("'images':[{'name':'a','platforms':['linux/amd64'],'layers':[100]}]");
	assert_int_equal(resolve("a", REGISTRY_PULL_MISSING), 0);
	char text[DIGEST_TEXT];
	_cleanup_free_ char *name = xasprintf("a@%s", digest_text(&image.index, text));
	size_t before = requests();
	assert_int_equal(resolve(name, REGISTRY_PULL_MISSING), 0);
	assert_int_equal(requests(), before);
	assert_int_equal(resolve(name, REGISTRY_PULL_ALWAYS), 0);
	assert_int_equal(requests(), before); /* a digest cannot move */
	_cleanup_free_ char *other = xasprintf("a@sha256:%064d", 7);
	assert_int_equal(resolve(other, REGISTRY_PULL_MISSING), ERR_NOT_FOUND);
	end();
}

/* --pull of a name that only this store knows: used, with a note. */
static void test_only_local(void **state)
{
	(void)state;
	begin("'images':[{'name':'a','layers':[100]}]");
	assert_int_equal(pull("a"), 0);
	struct digest id = image.config_digest;
	_cleanup_free_ char *mine = xasprintf("%s/mine:latest", fake.host);
	assert_int_equal(cache_name_set(cache, str_c(mine), &id, &e), 0);
	assert_int_equal(resolve("mine", REGISTRY_PULL_ALWAYS), 0);
	assert_true(image.local);
	assert_int_equal(session->warned.n, 1);
	/* One that came from the registry and is gone there is an error. */
	fake_stop(&fake);
	assert_int_equal(resolve("a", REGISTRY_PULL_ALWAYS), ERR_NETWORK);
	fake = fake_start("");
	end();
}

static void test_mirrors(void **state)
{
	(void)state;
	struct fake source = fake_start("'images':[{'name':'a','layers':[100,200]}]");
	char path[] = "/tmp/registry_pull.config.XXXXXX";
	int fd = mkstemp(path);
	close(fd);
	begin("'images':[{'name':'a','layers':[100,200]}],'rules':[{'on':'GET .*blobs','skip':1,'status':404,'times':1}]");
	_cleanup_free_ char *json = xasprintf(
		"{\"registries\":{\"%s\":{\"mirrors\":[{\"url\":\"http://%s\",\"resolve\":true}]}}}",
		source.host, fake.host);
	assert_int_equal(io_replace_file(AT_FDCWD, path, str_c(json), 0600, false, &e), 0);
	registry_free(session);
	settings = path;
	open_session(false);
	settings = "/nonexistent";
	_cleanup_free_ char *name = xasprintf("%s/a", source.host);
	assert_int_equal(
		registry_pull(session, cache, arena, str_c(name), &amd64, &image, &fresh, &e), 0);
	check_image(2);
	_cleanup_free_ char *ns = xasprintf("?ns=%s", source.host);
	assert_true(fake_count(&fake, "GET", ns) >= 3);
	end();
	unlink(path);
	fake_stop(&source);
}

static void *pull_from_thread(void *arg)
{
	struct err *error = NULL;
	struct arena *a = arena_new();
	struct cache *c = cache_open(store, &error);
	struct resolved r;
	bool new;
	_cleanup_free_ char *text = xasprintf("%s/a", fake.host);
	bool ok = c && !registry_pull(session, c, a, str_c(text), &amd64, &r, &new, &error);
	if (!ok)
		fprintf(stderr, "%s\n", error->msg);
	err_drop(&error);
	cache_close(c);
	arena_free(a);
	return ok ? arg : NULL;
}

static void test_parallel_pulls(void **state)
{
	(void)state;
	begin("'images':[{'name':'a','layers':[100000,200000,300000,4,5,6,7,8]}],'auth':{'bearer':true}");
	pthread_t t[3];
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		pthread_create(&t[i], NULL, pull_from_thread, session);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		void *ok;
		pthread_join(t[i], &ok);
		assert_ptr_equal(ok, session);
	}
	/* Each layer once, one token. */
	size_t n;
	unsigned blobs = 0;
	_cleanup_free_ struct seen *v = fake_seen(&fake, &n);
	for (size_t i = 0; i < n; i++)
		blobs += strstr(v[i].path, "/blobs/") && *v[i].authorization;
	assert_true(blobs >= 9 &&
		    blobs <= 11); /* 8 layers, and the config for who came before it was kept */
	assert_int_equal(auth_fetches(session->auth), 1);
	assert_int_equal(partial_files(), 0);
	end();
}

int main(void)
{
	fake_needs("python3");
	setenv("DOCKER_CONFIG", "/nonexistent", 1);
	setenv("XDG_RUNTIME_DIR", "/nonexistent", 1);
	setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
	if (geteuid()) {
		printf("skipped: layers are unpacked by root only\n");
		return 77;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pull),
		cmocka_unit_test(test_one_layer_twice),
		cmocka_unit_test(test_link_to_a_lower_layer),
		cmocka_unit_test(test_broken_transfers),
		cmocka_unit_test(test_take_up),
		cmocka_unit_test(test_no_head),
		cmocka_unit_test(test_loopback),
		cmocka_unit_test(test_foreign_layer),
		cmocka_unit_test(test_bad_manifests),
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_digest_reference),
		cmocka_unit_test(test_only_local),
		cmocka_unit_test(test_mirrors),
		cmocka_unit_test(test_parallel_pulls),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
