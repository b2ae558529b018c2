/* Pushing an image: to a fake that misbehaves, and to Debian's docker-registry where it is installed. */
#include <arpa/inet.h>
#include <sys/socket.h>

#include "tests/unit/registry_fake.h"
#include "base/arena.h"
#include "cache/db.h"
#include "cache/name.h"
#include "cache/store.h"
#include "registry/hosts.h"
#include "registry/push.h"
#include "registry/session.h"

static char folder[64];
static struct arena *arena;
static struct err *e;
static struct store *store;
static struct cache *cache;
static struct registry *session;
static struct digest id;
static struct pushed pushed;
static const struct oci_platform amd64 = { { "linux", 5 }, { "amd64", 5 }, { 0 }, { 0 } };

static void open_store(const char *name)
{
	_cleanup_free_ char *root = xasprintf("%s/%s", folder, name),
			    *run = xasprintf("%s/%s.run", folder, name);
	store = cache_store_open(&(struct store_options){ .root = root, .run = run }, &e);
	if (!store)
		fail_msg("%s", e->msg);
	cache = cache_open(store, &e);
	assert_non_null(cache);
	session = registry_new_with(&(struct registry_options){ .store = store },
				    &(struct hosts_options){ .config = "/nonexistent" }, 1, 20);
}

static void close_store(void)
{
	registry_free(session);
	cache_close(cache);
	cache_store_close(store);
}

static int pull(const char *host, const char *name)
{
	struct resolved r;
	bool fresh;
	_cleanup_free_ char *text = xasprintf("%s/%s", host, name);
	err_drop(&e);
	if (registry_pull(session, cache, arena, str_c(text), &amd64, &r, &fresh, &e) < 0)
		return (int)e->code;
	id = r.config_digest;
	return 0;
}

/* 0 or the error's code. */
static int push(const char *host, const char *name)
{
	struct ref to;
	_cleanup_free_ char *text = xasprintf("%s/%s", host, name);
	err_drop(&e);
	assert_int_equal(ref_parse(arena, arena_str(arena, str_c(text)), &to, &e), 0);
	return registry_push(session, cache, arena, &id, &to, &(struct push_options){ 0 }, &pushed,
			     &e) < 0
		? (int)e->code
		: 0;
}

static int set_up(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/registry_push.XXXXXX");
	assert_non_null(mkdtemp(folder));
	arena = arena_new();
	open_store("a");
	struct fake f = fake_start(
		"'images':[{'name':'base','layers':[1000,20000,300000,7],'twice':true}]");
	if (pull(f.host, "base"))
		fail_msg("%s", e->msg);
	fake_stop(&f);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close_store();
	err_drop(&e);
	arena_free(arena);
	return io_remove_tree(AT_FDCWD, folder, &e);
}

static void check_sent(unsigned there, unsigned mounted, unsigned sent)
{
	assert_int_equal(pushed.there, there);
	assert_int_equal(pushed.mounted, mounted);
	assert_int_equal(pushed.sent, sent);
}

static void test_fake(void **state)
{
	(void)state;
	struct fake f = fake_start("'auth':{'bearer':true}");
	assert_int_equal(push(f.host, "a/b:1"), 0);
	check_sent(0, 0, 5); /* four layers (one of them twice in the image) and the config */
	assert_int_equal(push(f.host, "a/b:1"), 0);
	check_sent(5, 0, 0);
	assert_int_equal(fake_count(&f, "PUT", "/blobs/"), 5);
	/* Another repository of the host: mounted, by a token for both. */
	assert_int_equal(push(f.host, "c/d"), 0);
	check_sent(0, 5, 0);
	assert_int_equal(fake_count(&f, "PUT", "/blobs/"), 5);
	assert_int_equal(
		fake_count(&f, "GET", "scope=repository:a/b:pull&scope=repository:c/d:pull%2Cpush"),
		1);
	assert_int_equal(fake_count(&f, "PUT", "/v2/c/d/manifests/latest"), 1);
	size_t n;
	_cleanup_free_ struct seen *v = fake_seen(&f, &n);
	assert_string_equal(v[n - 1].type, "application/vnd.oci.image.manifest.v1+json");
	fake_stop(&f);
}

static void test_collected_blob(void **state)
{
	(void)state;
	/* The registry says by HEAD that it has what it has not: after its complaint all are asked for again. */
	struct fake f = fake_start("'rules':[{'on':'HEAD','times':5,'status':200}]");
	assert_int_equal(push(f.host, "a/b"), 0);
	check_sent(0, 0, 5);
	assert_int_equal(fake_count(&f, "PUT", "/manifests/"), 2);
	fake_stop(&f);
	f = fake_start("'rules':[{'on':'HEAD','status':200}]");
	assert_int_equal(push(f.host, "a/b"), ERR_INVALID);
	assert_non_null(strstr(e->msg, "MANIFEST_BLOB_UNKNOWN"));
	assert_int_equal(fake_count(&f, "PUT", "/manifests/"), 4);
	fake_stop(&f);
}

static void test_refusals(void **state)
{
	(void)state;
	struct fake f = fake_start("'rules':[{'on':'PUT .*/manifests/','status':415}]");
	assert_int_equal(push(f.host, "a/b"), ERR_INVALID);
	assert_non_null(strstr(e->hint, "oci-mediatypes=false"));
	fake_stop(&f);
	f = fake_start("'rules':[{'on':'PUT .*/manifests/','status':413}]");
	assert_int_equal(push(f.host, "a/b"), ERR_LIMIT);
	fake_stop(&f);
	f = fake_start("'rules':[{'on':'POST','status':403}]");
	assert_int_equal(push(f.host, "a/b"), ERR_DENIED);
	assert_non_null(strstr(e->msg, "push '127.0.0.1:"));
	assert_int_equal(fake_count(&f, "PUT", "/manifests/"), 0);
	fake_stop(&f);
	id = digest_of("x", 1);
	assert_int_equal(push(f.host, "a/b"), ERR_NOT_FOUND);
}

/* ---- the real one */

static int free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	return ntohs(a.sin_port);
}

static pid_t start_registry(int port)
{
	_cleanup_free_ char *config = xasprintf(
		"version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
		"storage: {filesystem: {rootdirectory: %s/reg}}\nhttp: {addr: \"127.0.0.1:%d\"}\n",
		folder, port);
	_cleanup_free_ char *path = xasprintf("%s/reg.yml", folder);
	assert_int_equal(io_replace_file(AT_FDCWD, path, str_c(config), 0600, false, &e), 0);
	const char *argv[] = { "docker-registry", "serve", path, NULL };
	struct proc_options o = { .argv = argv, .fds = { -1, -1, -1 } };
	pid_t pid;
	assert_int_equal(proc_start(&o, &pid, NULL, &e), 0);
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons((uint16_t)port) };
	for (int i = 0; i < 200; i++) {
		_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (!connect(fd, (struct sockaddr *)&a, sizeof(a)))
			return pid;
		usleep(50000);
	}
	fail_msg("docker-registry does not start");
	return -1;
}

static void test_docker_registry(void **state)
{
	(void)state;
	if (access("/usr/bin/docker-registry", X_OK)) {
		printf("docker-registry is not installed: not pushed to\n");
		return;
	}
	int port = free_port();
	pid_t pid = start_registry(port);
	char host[32];
	snprintf(host, sizeof(host), "127.0.0.1:%d", port);
	if (push(host, "team/shop:v1"))
		fail_msg("%s", e->msg);
	check_sent(0, 0, 5);
	assert_int_equal(push(host, "team/shop:v2"), 0);
	check_sent(5, 0, 0);
	assert_int_equal(push(host, "team/other:v1"), 0);
	check_sent(0, 5, 0);
	struct digest mine = id;
	close_store();
	open_store("b");
	assert_int_equal(pull(host, "team/other:v1"), 0);
	assert_true(digest_eq(&id, &mine));
	assert_int_equal(pull(host, "nobody/has:this"), ERR_NOT_FOUND);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
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
		cmocka_unit_test_setup_teardown(test_fake, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_collected_blob, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_docker_registry, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
