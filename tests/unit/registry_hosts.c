/* URLs, and what is known of hosts: settings, mirrors, certificates, the choice of the scheme. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>

#include "base/err.h"
#include "base/io.h"
#include "registry/hosts.h"
#include "registry/url.h"

static void test_url_parse(void **state)
{
	(void)state;
	struct url u;
	struct err *e = NULL;
	assert_int_equal(url_parse(STR("https://Reg.io/v2/x?a=b#frag"), &u, &e), 0);
	assert_true(u.tls && u.port == 443 && str_eq(u.host, STR("Reg.io")) &&
		    str_eq(u.rest, STR("/v2/x?a=b")));
	assert_int_equal(url_parse(STR("http://[::1]:5000"), &u, &e), 0);
	assert_true(!u.tls && u.port == 5000 && str_eq(u.host, STR("[::1]")) && !u.rest.n);
	static const char *const bad[] = { "",
					   "ftp://x",
					   "http://",
					   "http://a b/",
					   "http://u:p@x/",
					   "http://x:0/",
					   "http://x:99999/",
					   "http://x:/",
					   "//x/y",
					   "/x",
					   "http://x/\n",
					   "http://x\x7f/",
					   "http://[::1/",
					   "http://a%41/" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(url_parse(str_c(bad[i]), &u, &e), -1);
		assert_int_equal(e->code, ERR_INVALID);
		err_drop(&e);
	}
}

static void test_url_join(void **state)
{
	(void)state;
	static const struct {
		const char *base, *location, *want;
	} rows[] = {
		{ "http://h:1/v2/a/blobs/uploads/", "/v2/u?s=%2B/x==&b",
		  "http://h:1/v2/u?s=%2B/x==&b" },
		{ "http://h:1/v2/a/blobs/uploads/", "123?x",
		  "http://h:1/v2/a/blobs/uploads/123?x" },
		{ "http://h:1/v2/a/b?q=1", "../c", "http://h:1/v2/c" },
		{ "http://h:1/v2/a/b?q=1", "../../../../c/.", "http://h:1/c/" },
		{ "https://h/v2/", "//k/x", "https://k/x" },
		{ "https://h/v2/", "http://k/x?y", "http://k/x?y" },
		{ "https://h/v2/x?old", "?new=/..", "https://h/v2/x?new=/.." },
		{ "https://h", "x", "https://h/x" },
		{ "https://h/v2/", "/a//b", "https://h/a//b" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(sb_releasep) struct sb out = { 0 };
		struct err *e = NULL;
		assert_int_equal(url_join(str_c(rows[i].base), str_c(rows[i].location), &out, &e),
				 0);
		assert_string_equal(sb_c(&out), rows[i].want);
	}
	static const char *const bad[] = { "",           "file:///etc/passwd",
					   "gopher://x", "http://u@h/",
					   "/a b",       "//" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(sb_releasep) struct sb out = { 0 };
		_cleanup_(err_dropp) struct err *e = NULL;
		assert_int_equal(url_join(STR("https://h/"), str_c(bad[i]), &out, &e), -1);
	}
}

static void test_origin_and_loopback(void **state)
{
	(void)state;
	static const struct {
		const char *a, *b;
		bool same;
	} rows[] = { { "http://h/x", "http://H:80/y", true },
		     { "http://h", "https://h", false },
		     { "http://h:1", "http://h:2", false },
		     { "http://h", "http://h.evil", false } };
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct url a, b;
		struct err *e = NULL;
		assert_int_equal(url_parse(str_c(rows[i].a), &a, &e), 0);
		assert_int_equal(url_parse(str_c(rows[i].b), &b, &e), 0);
		assert_int_equal(url_same_origin(&a, &b), rows[i].same);
	}
	static const char *const yes[] = { "127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST",
					   "[::1]" };
	static const char *const no[] = { "128.0.0.1", "localhost.evil", "127.0.0.1.evil.io",
					  "[::2]",     "10.0.0.1",       "" };
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		assert_true(url_is_loopback(str_c(yes[i])));
	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		assert_false(url_is_loopback(str_c(no[i])));
}

static char folder[] = "/tmp/registry_hosts.XXXXXX";

static void put(const char *name, const char *text)
{
	struct err *e = NULL;
	_cleanup_free_ char *path = xasprintf("%s/%s", folder, name);
	assert_int_equal(io_replace_file(AT_FDCWD, path, str_c(text), 0600, false, &e), 0);
}

static const char *base_of(const struct host *h)
{
	static char text[256];
	_cleanup_(sb_releasep) struct sb b = { 0 };
	host_base(h, &b);
	snprintf(text, sizeof(text), "%s", sb_c(&b));
	return text;
}

static int folder_up(void **state)
{
	(void)state;
	memcpy(folder + strlen(folder) - 6, "XXXXXX", 6);
	return mkdtemp(folder) ? 0 : -1;
}

static int folder_down(void **state)
{
	(void)state;
	struct err *e = NULL;
	return io_remove_tree(AT_FDCWD, folder, &e);
}

static void test_settings(void **state)
{
	(void)state;
	_cleanup_free_ char *config = xasprintf("%s/config.json", folder);
	_cleanup_free_ char *certs = xasprintf("%s/certs.d", folder);
	put("config.json",
	    "{\"registries\":{\"docker.io\":{\"mirrors\":[{\"url\":\"https://m.io/cache/\",\"resolve\":true},"
	    "{\"url\":\"http://10.0.0.1:5000\"}]},\"plain.io\":{\"http\":true,\"chunk\":1000},\"self.io\":{\"insecure\":true},"
	    "\"bad.io\":{\"mirrors\":[{\"url\":\"ftp://x\"}]}}}");
	struct err *e = NULL;
	assert_int_equal(io_mkdirs(AT_FDCWD, certs, 0700, &e), 0);
	_cleanup_free_ char *mine = xasprintf("%s/r.io:5000", certs);
	assert_int_equal(io_mkdirs(AT_FDCWD, mine, 0700, &e), 0);
	put("certs.d/r.io:5000/ca.crt", "PEM one");
	put("certs.d/r.io:5000/me.cert", "c");
	put("certs.d/r.io:5000/me.key", "k");
	put("certs.d/r.io:5000/hosts.toml", "x");
	struct hosts *hosts =
		hosts_new(&(struct hosts_options){ .config = config, .certs = { certs } });
	struct host *h, *again;
	assert_int_equal(hosts_get(hosts, STR("docker.io"), &h, &e), 0);
	assert_string_equal(base_of(h), "https://registry-1.docker.io");
	assert_string_equal(h->name, "docker.io");
	assert_int_equal(h->n_mirrors, 2);
	assert_string_equal(base_of(h->mirrors[0]), "https://m.io/cache");
	assert_true(h->mirrors[0]->resolves);
	assert_string_equal(h->mirrors[0]->ns, "docker.io");
	assert_string_equal(base_of(h->mirrors[1]), "http://10.0.0.1:5000");
	assert_false(h->mirrors[1]->resolves);
	assert_int_equal(hosts_get(hosts, STR("docker.io"), &again, &e), 0);
	assert_ptr_equal(h, again);
	assert_int_equal(hosts_get(hosts, STR("plain.io"), &h, &e), 0);
	assert_string_equal(base_of(h), "http://plain.io");
	assert_int_equal(h->chunk, 1000);
	assert_int_equal(hosts_get(hosts, STR("r.io:5000"), &h, &e), 0);
	assert_string_equal(base_of(h), "https://r.io:5000");
	assert_true(str_starts(h->peer.ca, STR("PEM one")));
	assert_true(str_ends(str_c(h->peer.cert), STR("/r.io:5000/me.cert")));
	assert_true(str_ends(str_c(h->peer.key), STR("/r.io:5000/me.key")));
	assert_non_null(strstr(h->warning, "hosts.toml"));
	assert_int_equal(hosts_get(hosts, STR("bad.io"), &h, &e), -1);
	assert_int_equal(e->code, ERR_INVALID);
	err_drop(&e);
	hosts_free(hosts);
}

static void test_scheme(void **state)
{
	(void)state;
	_cleanup_free_ char *config = xasprintf("%s/config.json", folder);
	put("config.json", "{\"registries\":{\"self.io\":{\"insecure\":true}}}");
	struct hosts *hosts =
		hosts_new(&(struct hosts_options){ .config = config, .certs = { folder } });
	struct err *e = NULL;
	struct host *h;
	/* Loopback: plain first, https after no answer or a strange one. */
	assert_int_equal(hosts_get(hosts, STR("127.0.0.1:5000"), &h, &e), 0);
	assert_true(host_is_plain(h));
	assert_false(host_other_scheme(h, HTTP_FAIL_REFUSED));
	assert_true(host_other_scheme(h, HTTP_FAIL_GARBLED));
	assert_string_equal(base_of(h), "https://127.0.0.1:5000");
	assert_false(host_other_scheme(h, HTTP_FAIL_NOT_TLS));
	/* Once it has answered it stays. */
	assert_int_equal(hosts_get(hosts, STR("localhost:5001"), &h, &e), 0);
	host_answered(h);
	assert_false(host_other_scheme(h, HTTP_FAIL_GARBLED));
	assert_true(host_is_plain(h));
	/* Insecure: plain only after a plain answer to TLS. */
	assert_int_equal(hosts_get(hosts, STR("self.io"), &h, &e), 0);
	assert_false(host_is_plain(h));
	assert_true(h->peer.insecure);
	assert_false(host_other_scheme(h, HTTP_FAIL_OTHER));
	assert_true(host_other_scheme(h, HTTP_FAIL_NOT_TLS));
	assert_true(host_is_plain(h));
	/* Others: never. */
	assert_int_equal(hosts_get(hosts, STR("reg.io"), &h, &e), 0);
	assert_false(host_other_scheme(h, HTTP_FAIL_NOT_TLS));
	assert_false(host_other_scheme(h, HTTP_FAIL_REFUSED));
	assert_false(host_is_plain(h));
	hosts_free(hosts);
}

static void test_broken_config(void **state)
{
	(void)state;
	_cleanup_free_ char *config = xasprintf("%s/config.json", folder);
	put("config.json", "{");
	struct hosts *hosts =
		hosts_new(&(struct hosts_options){ .config = config, .certs = { folder } });
	struct err *e = NULL;
	struct host *h;
	assert_int_equal(hosts_get(hosts, STR("x.io"), &h, &e), -1);
	assert_non_null(strstr(e->msg, config));
	err_drop(&e);
	hosts_free(hosts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_url_parse),
		cmocka_unit_test(test_url_join),
		cmocka_unit_test(test_origin_and_loopback),
		cmocka_unit_test_setup_teardown(test_settings, folder_up, folder_down),
		cmocka_unit_test_setup_teardown(test_scheme, folder_up, folder_down),
		cmocka_unit_test_setup_teardown(test_broken_config, folder_up, folder_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
