#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "cache/ref.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void good(const char *text, const char *domain, const char *path, const char *tag,
		 const char *familiar)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct err *err = NULL;
	struct ref r;
	if (ref_parse(a, str_c(text), &r, &err) < 0)
		fail_msg("%s: %s", text, err->msg);
	assert_string_equal(r.domain.p, domain);
	assert_string_equal(r.path.p, path);
	assert_string_equal(r.tag.p, tag);
	assert_string_equal(ref_familiar(a, &r).p, familiar);
	/* What is shown means the same when it is read again. */
	struct ref again;
	assert_int_equal(ref_parse(a, ref_familiar(a, &r), &again, &err), 0);
	assert_string_equal(again.domain.p, domain);
	assert_string_equal(again.path.p, path);
	assert_string_equal(again.tag.p, tag);
	assert_int_equal(again.has_digest, r.has_digest);
	assert_int_equal(ref_parse(a, ref_full(a, &r), &again, &err), 0);
	assert_string_equal(again.path.p, path);
}

static void bad(const char *text, const char *says)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(err_dropp) struct err *err = NULL;
	struct ref r;
	if (ref_parse(a, str_c(text), &r, &err) == 0)
		fail_msg("'%s' was taken", text);
	assert_int_equal(err->code, ERR_INVALID);
	assert_non_null(strstr(err->msg, "invalid reference format"));
	if (says && !strstr(err->msg, says))
		fail_msg("'%s': %s", text, err->msg);
}

static void valid_references(void **state)
{
	(void)state;
	good("ubuntu", "docker.io", "library/ubuntu", "", "ubuntu");
	good("ubuntu:22.04", "docker.io", "library/ubuntu", "22.04", "ubuntu:22.04");
	good("docker.io/ubuntu", "docker.io", "library/ubuntu", "", "ubuntu");
	good("index.docker.io/library/ubuntu", "docker.io", "library/ubuntu", "", "ubuntu");
	good("fooo/bar", "docker.io", "fooo/bar", "", "fooo/bar");
	good("index.docker.io/fooo/bar", "docker.io", "fooo/bar", "", "fooo/bar");
	good("other/library", "docker.io", "other/library", "", "other/library");
	good("nonlibrary/ubuntu", "docker.io", "nonlibrary/ubuntu", "", "nonlibrary/ubuntu");
	good("library/a/b", "docker.io", "library/a/b", "", "library/a/b");
	good("localhost/fooo", "localhost", "fooo", "", "localhost/fooo");
	good("LOCALDOMAIN/fooo/bar", "LOCALDOMAIN", "fooo/bar", "", "LOCALDOMAIN/fooo/bar");
	good("Docker/docker", "Docker", "docker", "", "Docker/docker");
	good("example.com:8000/x", "example.com:8000", "x", "", "example.com:8000/x");
	good("127.0.0.1:5000/x", "127.0.0.1:5000", "x", "", "127.0.0.1:5000/x");
	good("[fc00::1]:5000/x", "[fc00::1]:5000", "x", "", "[fc00::1]:5000/x");
	good("[fc00::1]/x", "[fc00::1]", "x", "", "[fc00::1]/x");
	good("[FC00::1]/x:t", "[FC00::1]", "x", "t", "[FC00::1]/x:t");
	good("localhost:5000", "docker.io", "library/localhost", "5000", "localhost:5000");
	good("192.168.0.1", "docker.io", "library/192.168.0.1", "", "192.168.0.1");
	good("192.168.0.1:80", "docker.io", "library/192.168.0.1", "80", "192.168.0.1:80");
	good("192.168.0.1:8/debian", "192.168.0.1:8", "debian", "", "192.168.0.1:8/debian");
	good("localhost:5000/x:y@sha256:" HEX, "localhost:5000", "x", "y",
	     "localhost:5000/x:y@sha256:" HEX);
	good("x@sha256:" HEX, "docker.io", "library/x", "", "x@sha256:" HEX);
	good("docker.io/" HEX, "docker.io", "library/" HEX, "", "docker.io/library/" HEX);
	good("docker.io/a.b/c", "docker.io", "a.b/c", "", "docker.io/a.b/c");
	good("dock__er/x", "docker.io", "dock__er/x", "", "dock__er/x");
	good("docker---rules/x", "docker.io", "docker---rules/x", "", "docker---rules/x");
	good("d/x", "docker.io", "d/x", "", "d/x");
	good("1/2", "docker.io", "1/2", "", "1/2");
	good("r.example/a.b-c__d/e", "r.example", "a.b-c__d/e", "", "r.example/a.b-c__d/e");
	good("x:_A.b-C", "docker.io", "library/x", "_A.b-C", "x:_A.b-C");
}

static void invalid_references(void **state)
{
	(void)state;
	static const char *const texts[] = {
		HEX,
		"https://x/y",
		"-docker/x",
		"docker-/x",
		"_a/_b",
		"____/____",
		"a///b",
		"a/",
		"dock..er/x",
		"dock_.er/x",
		"dock-.er/x",
		"[fc00::1]",
		"[fc00::1]:5000",
		"fc00::1:5000/x",
		"[fe80::1%eth0]:5000/x",
		"[2001:db8::192.0.2.33]:5000/x",
		":tag",
		"a:",
		"a@",
		"a@sha256:zz",
		"",
		"a___b/x",
		"a b",
		"x@sha512:" HEX HEX,
		"x@sha256:" HEX "0",
		"host.:80/x",
		"h.x:/x",
		"h.x:8a/x",
		"/x",
		"a//b",
		"x:.t",
		"x:-t",
		"a\nb",
		"x:t:u",
		"[]/x",
		"[/x",
		"a@sha256:" HEX "@sha256:" HEX,
		"h.x/",
		"..",
		".",
	};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		bad(texts[i], NULL);
	bad("docker/Docker",
	    "invalid reference format: repository name (docker/Docker) must be lowercase");
	bad("Build", "invalid reference format: repository name (library/Build) must be lowercase");
	bad("Build:v1", "repository name (library/Build) must be lowercase");
	struct ref r;
	_cleanup_(err_dropp) struct err *nul = NULL;
	_cleanup_(arena_freep) struct arena *a = arena_new();
	assert_int_equal(ref_parse(a, STR("alpine\0x"), &r, &nul), -1);
	bad("a:", "tag");
	bad("a@", "digest");
	bad("h_.x/y", "host");
	bad("a\033[31m", "\\x1b");
}

static void lengths(void **state)
{
	(void)state;
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(err_dropp) struct err *err = NULL;
	char name[300];
	struct ref r;
	memset(name, 'a', sizeof(name));
	memcpy(name, "h.x/", 4);
	assert_int_equal(ref_parse(a, (struct str){ name, 4 + 255 }, &r, &err), 0);
	assert_int_equal(ref_parse(a, (struct str){ name, 4 + 256 }, &r, &err), -1);
	err_drop(&err);
	char tag[2 + 129];
	memset(tag, 'a', sizeof(tag));
	tag[1] = ':';
	assert_int_equal(ref_parse(a, (struct str){ tag, 2 + 128 }, &r, &err), 0);
	assert_int_equal(r.tag.n, 128);
	assert_int_equal(ref_parse(a, (struct str){ tag, 2 + 129 }, &r, &err), -1);
}

static void full_names(void **state)
{
	(void)state;
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(err_dropp) struct err *err = NULL;
	struct ref r;
	assert_int_equal(ref_parse(a, STR("busybox"), &r, &err), 0);
	assert_string_equal(ref_full(a, &r).p, "docker.io/library/busybox:latest");
	assert_string_equal(ref_familiar_name(a, &r).p, "busybox");
	assert_int_equal(ref_parse(a, STR("busybox@sha256:" HEX), &r, &err), 0);
	assert_string_equal(ref_full(a, &r).p, "docker.io/library/busybox@sha256:" HEX);
	assert_true(r.has_digest);
	assert_int_equal(ref_parse(a, STR("h.x:5000/a/b:1@sha256:" HEX), &r, &err), 0);
	assert_string_equal(ref_full(a, &r).p, "h.x:5000/a/b:1@sha256:" HEX);
	assert_string_equal(ref_familiar_name(a, &r).p, "h.x:5000/a/b");
	assert_int_equal(ref_parse(a, STR("team/Shop"), &r, &err), -1);
	assert_string_equal(err->hint, "write \"team/shop\"");
}

static void ids(void **state)
{
	(void)state;
	assert_true(ref_is_id(STR(HEX), 64));
	assert_true(ref_is_id(STR("abc"), 3));
	assert_false(ref_is_id(STR("ab"), 3));
	assert_false(ref_is_id(STR("abg"), 1));
	assert_false(ref_is_id(STR("ABC"), 1));
	assert_false(ref_is_id(STR(""), 0));
	assert_false(ref_is_id(STR(HEX "0"), 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(valid_references),
		cmocka_unit_test(invalid_references),
		cmocka_unit_test(lengths),
		cmocka_unit_test(full_names),
		cmocka_unit_test(ids),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
