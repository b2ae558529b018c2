/* One blob to a registry that misbehaves: ways, Locations, lost sessions, chunks. */
#include <sys/mman.h>

#include "tests/unit/registry_fake.h"
#include "cache/store.h"
#include "registry/auth.h"
#include "registry/hosts.h"
#include "registry/session.h"
#include "registry/upload.h"

static struct fake fake;
static struct registry *session;
static struct http *http;
static struct err *e;
static struct upload u;
static enum upload_way way;

/* chunk: as the host's setting; 0: none. */
static const char *certificate;

static void begin(const char *config, uint64_t chunk, size_t size)
{
	fake = fake_start(config);
	_cleanup_free_ char *settings =
		xasprintf("%s.json", certificate ? certificate : "/nonexistent/x");
	if (certificate)
		fake_settings(certificate, fake.host);
	session = registry_new_with(&(struct registry_options){ 0 },
				    &(struct hosts_options){ .config = settings }, 1, 20);
	if (registry_http_take(session, &http, &e) < 0) {
		printf("skipped: %s\n", e->msg);
		exit(77);
	}
	struct host *host;
	assert_int_equal(hosts_get(session->hosts, str_c(fake.host), &host, &e), 0);
	host->chunk = chunk;
	_cleanup_free_ char *data = xcalloc(1, size + 1);
	for (size_t i = 0; i < size; i++)
		data[i] = (char)(i * 7 + i / 251);
	int fd = memfd_create("blob", MFD_CLOEXEC);
	assert_int_equal(io_write_full(fd, data, size), 0);
	u = (struct upload){ .host = host,
			     .repo = STR("a/b"),
			     .digest = digest_of(data, size),
			     .size = size,
			     .fd = fd,
			     .ask = true };
}

static void end(void)
{
	err_drop(&e);
	close(u.fd);
	registry_http_give(session, http);
	registry_free(session);
	fake_stop(&fake);
}

/* 0 or the error's code. */
static int push(void)
{
	err_drop(&e);
	return upload_blob(session, http, &u, &way, &e) < 0 ? (int)e->code : 0;
}

static void test_ways(void **state)
{
	(void)state;
	begin("", 0, 5000);
	assert_int_equal(push(), 0);
	assert_int_equal(way, UPLOAD_SENT);
	assert_int_equal(push(), 0);
	assert_int_equal(way, UPLOAD_THERE);
	assert_int_equal(fake_count(&fake, "PUT", ""), 1);
	u.mount_from = u.repo;
	u.repo = STR("c/d");
	assert_int_equal(push(), 0);
	assert_int_equal(way, UPLOAD_MOUNTED);
	assert_int_equal(fake_count(&fake, "PUT", ""), 1);
	/* From where it is not: an ordinary upload on the Location that came. */
	u.repo = STR("e/f");
	u.mount_from = STR("no/where");
	assert_int_equal(push(), 0);
	assert_int_equal(way, UPLOAD_SENT);
	assert_int_equal(fake_count(&fake, "POST", "/v2/e/f/"), 1);
	end();
	begin("", 0, 0);
	assert_int_equal(push(), 0);
	assert_int_equal(way, UPLOAD_SENT);
	end();
}

static void test_refused_mount(void **state)
{
	(void)state;
	atomic_bool refused = false;
	begin("'rules':[{'on':'mount=','status':403}]", 0, 5000);
	u.mount_from = STR("x/y");
	u.mounts_refused = &refused;
	assert_int_equal(push(), 0);
	assert_int_equal(way, UPLOAD_SENT);
	assert_true(atomic_load(&refused));
	u.repo = STR("g/h");
	assert_int_equal(push(), 0);
	assert_int_equal(fake_count(&fake, "POST", "mount="), 1);
	end();
}

static void test_locations(void **state)
{
	(void)state;
	static const char *const forms[] = { "query", "relative", "absolute", "plain" };
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		_cleanup_free_ char *config = xasprintf("'location':'%s'", forms[i]);
		begin(config, 0, 5000);
		assert_int_equal(push(), 0);
		assert_int_equal(fake_count(&fake, "PUT",
					    strcmp(forms[i], "plain")
						    ? "?state=1&x=%2Fa+b&digest=sha256%3A"
						    : "?digest=sha256%3A"),
				 1);
		end();
		begin(config, 1000, 5500);
		assert_int_equal(push(), 0);
		assert_int_equal(fake_count(&fake, "PATCH", ""), 6);
		end();
	}
}

/* A registry behind a proxy that ends TLS writes http into its Locations. */
static void test_http_location_behind_tls(void **state)
{
	(void)state;
	_cleanup_free_ char *prefix = xasprintf("/tmp/registry_upload.%d", getpid());
	if (!fake_certificate(prefix))
		return;
	certificate = prefix;
	_cleanup_free_ char *config = xasprintf("'tls':'%s.pem','location':'own'", prefix);
	begin(config, 0, 5000);
	if (push())
		fail_msg("%s", e->msg);
	end();
	/* To another host it is refused. */
	_cleanup_free_ char *away = xasprintf(
		"'tls':'%s.pem','rules':[{'on':'POST','status':202,'headers':{'Location':'http://192.0.2.1/x'}}]",
		prefix);
	begin(away, 0, 5000);
	assert_int_equal(push(), ERR_DENIED);
	end();
	certificate = NULL;
	fake_certificate_remove(prefix);
}

static void test_token_stays_home(void **state)
{
	(void)state;
	begin("'location':'storage','auth':{'bearer':true}", 0, 5000);
	assert_int_equal(push(), 0);
	size_t n;
	unsigned at_storage = 0;
	_cleanup_free_ struct seen *v = fake_seen(&fake, &n);
	for (size_t i = 0; i < n; i++) {
		at_storage += v[i].storage;
		assert_true(!v[i].storage || !*v[i].authorization);
	}
	assert_int_equal(at_storage, 1);
	end();
}

static void test_lost_uploads(void **state)
{
	(void)state;
	begin("'rules':[{'on':'PUT','close':true,'times':1},{'on':'PUT','status':503,'times':1},{'on':'PUT','status':429,'times':1,"
	      "'headers':{'Retry-After':'0'}},{'on':'PUT','status':404,'times':1}]",
	      0, 50000);
	assert_int_equal(push(), 0);
	/* Each failed PUT ends its session; what dies on a used connection is repeated by libcurl itself. */
	assert_int_equal(fake_count(&fake, "POST", ""), 4);
	assert_int_equal(fake_count(&fake, "PUT", ""), 5);
	end();
	begin("'rules':[{'on':'PUT','status':500}]", 0, 50000);
	assert_int_equal(push(), ERR_NETWORK);
	assert_int_equal(fake_count(&fake, "PUT", ""), 5);
	end();
	begin("'rules':[{'on':'PUT','status':413}]", 0, 50000);
	assert_int_equal(push(), ERR_LIMIT);
	assert_int_equal(fake_count(&fake, "PUT", ""), 1);
	assert_int_equal(fake_count(&fake, "DELETE", ""), 1); /* the session is not left behind */
	end();
	begin("'rules':[{'on':'PUT','status':201,'headers':{'Docker-Content-Digest':"
	      "'sha256:0000000000000000000000000000000000000000000000000000000000000000'}}]",
	      0, 500);
	assert_int_equal(push(), ERR_INTEGRITY);
	end();
	/* The session expires in the middle of an upload's tokens. */
	begin("'auth':{'bearer':true,'uses':1}", 0, 50000);
	assert_int_equal(push(), 0);
	assert_true(auth_fetches(session->auth) >= 2);
	end();
	begin("'rules':[{'on':'POST','status':403}]", 0, 50000);
	assert_int_equal(push(), ERR_DENIED);
	end();
}

static void test_asynchronous_put(void **state)
{
	(void)state;
	begin("'rules':[{'on':'HEAD','skip':1,'status':200},{'on':'PUT','status':202}]", 0, 500);
	assert_int_equal(push(), 0);
	assert_int_equal(fake_count(&fake, "HEAD", ""), 2);
	end();
}

static void test_chunks(void **state)
{
	(void)state;
	begin("'resume':true", 1000, 10000);
	assert_int_equal(push(), 0);
	assert_int_equal(fake_count(&fake, "PATCH", ""), 10);
	size_t n;
	_cleanup_free_ struct seen *v = fake_seen(&fake, &n);
	for (size_t i = 0; i < n; i++)
		if (!strcmp(v[i].method, "PATCH")) {
			assert_string_equal(v[i].content_range, "0-999");
			break;
		}
	end();
	/* A PATCH that breaks in its middle goes on where the registry says. */
	begin("'rules':[{'on':'PATCH','skip':2,'times':1,'lose':300}]", 1000, 10000);
	assert_int_equal(push(), 0);
	assert_int_equal(fake_count(&fake, "POST", ""), 1);
	end();
	/* A session that is not known any more: anew, without an error. */
	begin("'rules':[{'on':'PATCH','skip':2,'times':1,'status':500},{'on':'GET','status':404}]",
	      1000, 5000);
	assert_int_equal(push(), 0);
	assert_int_equal(fake_count(&fake, "POST", ""), 2);
	end();
	/* One of which less was taken than was sent. */
	begin("'rules':[{'on':'PATCH','skip':1,'times':1,'keep':10}]", 1000, 5000);
	assert_int_equal(push(), 0);
	assert_int_equal(fake_count(&fake, "PATCH", ""), 6);
	assert_int_equal(fake_count(&fake, "POST", ""), 1);
	end();
	begin("'rules':[{'on':'PATCH','keep':0}]", 1000, 5000);
	assert_int_equal(push(), ERR_NETWORK);
	end();
	begin("'chunk_min':4000", 1000, 10000);
	assert_int_equal(push(), 0);
	assert_int_equal(fake_count(&fake, "PATCH", ""), 3);
	end();
	/* Chunks that are refused for good end it. */
	begin("'rules':[{'on':'PATCH','status':500}]", 1000, 10000);
	assert_int_equal(push(), ERR_NETWORK);
	end();
}

static atomic_bool stop;

static void stop_after_40(void *arg, uint64_t current)
{
	(void)arg;
	if (current > 40 * 1024 * 1024)
		atomic_store(&stop, true);
}

/* A big upload that was ended goes on where it was, in another command. */
static void test_over_a_kill(void **state)
{
	(void)state;
	char folder[] = "/tmp/registry_upload.XXXXXX";
	assert_non_null(mkdtemp(folder));
	_cleanup_free_ char *root = xasprintf("%s/s", folder), *run = xasprintf("%s/r", folder);
	struct store *store =
		cache_store_open(&(struct store_options){ .root = root, .run = run }, &e);
	if (!store)
		fail_msg("%s", e->msg);
	begin("'resume':true", 0, 70 * 1024 * 1024);
	session->o.store = store;
	u.stop = &stop;
	u.progress = stop_after_40;
	assert_int_equal(push(), ERR_CANCELED);
	atomic_store(&stop, false);
	u.progress = NULL;
	assert_int_equal(fake_count(&fake, "DELETE", ""), 0);
	assert_int_equal(push(), 0);
	assert_int_equal(way, UPLOAD_SENT);
	assert_int_equal(fake_count(&fake, "POST", ""), 1);
	size_t n;
	_cleanup_free_ struct seen *v = fake_seen(&fake, &n);
	/* From where the broken PATCH ended, not from where it began. */
	assert_string_equal(v[n - 2].method, "PATCH");
	assert_true(strtoull(v[n - 2].content_range, NULL, 10) > 40 * 1024 * 1024);
	_cleanup_free_ char *partial = xasprintf("%s/tmp/partial", root);
	assert_int_equal(rmdir(partial), 0); /* nothing is left in it */
	end();
	cache_store_close(store);
	assert_int_equal(io_remove_tree(AT_FDCWD, folder, &e), 0);
}

int main(void)
{
	fake_needs("python3");
	setenv("DOCKER_CONFIG", "/nonexistent", 1);
	setenv("XDG_RUNTIME_DIR", "/nonexistent", 1);
	setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ways),
		cmocka_unit_test(test_refused_mount),
		cmocka_unit_test(test_locations),
		cmocka_unit_test(test_http_location_behind_tls),
		cmocka_unit_test(test_token_stays_home),
		cmocka_unit_test(test_lost_uploads),
		cmocka_unit_test(test_asynchronous_put),
		cmocka_unit_test(test_chunks),
		cmocka_unit_test(test_over_a_kill),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
