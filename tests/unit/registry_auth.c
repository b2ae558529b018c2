/* Challenges, scopes, base64 and credential files: the pure parts of authentication. Token flows are in registry_client. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>

#include "base/err.h"
#include "base/io.h"
#include "registry/base64.h"
#include "registry/challenge.h"
#include "registry/creds.h"
#include "registry/scope.h"

#define assert_str(s, text)                                                                        \
	(assert_int_equal((s).n, strlen(text)),                                                    \
	 assert_memory_equal((s).p ? (s).p : "", text, strlen(text)))

static struct arena *arena;

static int set_up(void **state)
{
	(void)state;
	arena = arena_new();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	arena_free(arena);
	return 0;
}

static struct challenge v[CHALLENGE_MAX];
static size_t n;

static const struct challenge *parse(const char *a, const char *b)
{
	n = 0;
	challenge_parse(arena, str_c(a), v, &n);
	if (b)
		challenge_parse(arena, str_c(b), v, &n);
	return challenge_choose(v, n);
}

static void test_bearer(void **state)
{
	(void)state;
	const struct challenge *c = parse(
		"Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:a/b:pull,push\"",
		NULL);
	assert_non_null(c);
	assert_int_equal(c->scheme, CHALLENGE_BEARER);
	assert_str(c->realm, "https://a/t");
	assert_str(c->service, "s");
	assert_str(c->scope, "repository:a/b:pull,push");
	assert_null(c->error.p);
}

static void test_several_challenges(void **state)
{
	(void)state;
	const struct challenge *c = parse(
		"Basic realm=\"x, y\", Negotiate, bearer REALM=https://r , Error = \"insufficient_scope\"",
		NULL);
	assert_int_equal(n, 3);
	assert_str(v[0].realm, "x, y");
	assert_int_equal(v[1].scheme, CHALLENGE_OTHER);
	assert_ptr_equal(c, &v[2]);
	assert_str(c->realm, "https://r");
	assert_str(c->error, "insufficient_scope");
	c = parse("Negotiate YIIabc==", "Basic realm=\"q\\\"uo\\\\te\"");
	assert_int_equal(c->scheme, CHALLENGE_BASIC);
	assert_str(c->realm, "q\"uo\\te");
}

static void test_bad_challenges(void **state)
{
	(void)state;
	assert_null(parse("", NULL));
	assert_null(parse(",,,", "= \"x"));
	assert_null(parse("Bearer", NULL)); /* without a realm there is nobody to ask */
	assert_null(parse("NTLM", "Digest qop=\"auth\", realm=\"x\""));
	const struct challenge *c = parse("Bearer realm=\"https://open", NULL);
	assert_str(c->realm, "https://open");
	c = parse("\x01\x02\xff, Basic realm=x", NULL);
	assert_int_equal(c->scheme, CHALLENGE_BASIC);
	char many[2000] = "";
	for (size_t i = 0; i + 8 < sizeof(many); i += 7)
		memcpy(many + i, "Basic, ", 8);
	parse(many, many);
	assert_int_equal(n, CHALLENGE_MAX);
}

static void test_scopes(void **state)
{
	(void)state;
	assert_str(scope_merge(arena, STR("repository:a:pull"),
			       STR("repository:a:push,pull registry:catalog:*")),
		   "repository:a:pull,push registry:catalog:*");
	assert_str(scope_merge(arena, STR("repository:src:pull repository:dst:pull,push"),
			       STR("repository:dst:push")),
		   "repository:src:pull repository:dst:pull,push");
	assert_str(scope_merge(arena, STR(""), STR("  ")), "");
	assert_true(scope_covers(STR("repository:a:pull,push repository:h:5000/b:pull"),
				 STR("repository:a:pull")));
	assert_true(scope_covers(STR("repository:a:pull"), STR("")));
	assert_true(scope_covers(STR("repository:h:5000/b:pull"), STR("repository:h:5000/b:pull")));
	assert_false(scope_covers(STR("repository:a:pull"), STR("repository:a:pull,push")));
	assert_false(scope_covers(STR("repository:a:pull"), STR("repository:ab:pull")));
}

static void test_base64(void **state)
{
	(void)state;
	static const struct {
		const char *plain, *coded;
	} pairs[] = { { "", "" },        { "f", "Zg==" },        { "fo", "Zm8=" },
		      { "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "\xff\xfe\xfd", "//79" } };
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		_cleanup_(sb_releasep) struct sb b = { 0 };
		_cleanup_(err_dropp) struct err *e = NULL;
		base64_encode(str_c(pairs[i].plain), &b);
		assert_string_equal(sb_c(&b), pairs[i].coded);
		sb_reset(&b);
		assert_int_equal(base64_decode(str_c(pairs[i].coded), &b, &e), 0);
		assert_string_equal(sb_c(&b), pairs[i].plain);
	}
	_cleanup_(sb_releasep) struct sb b = { 0 };
	_cleanup_(err_dropp) struct err *e = NULL;
	assert_int_equal(base64_decode(STR("__79\n"), &b, &e), 0);
	assert_string_equal(sb_c(&b), "\xff\xfe\xfd");
	assert_int_equal(base64_decode(STR("a!b"), &b, &e), -1);
	assert_int_equal(e->code, ERR_INVALID);
	err_drop(&e);
	assert_int_equal(base64_decode(STR("a"), &b, &e), -1);
}

/* ---- credential files */

static char folder[] = "/tmp/registry_auth.XXXXXX";

static void write_config(const char *json)
{
	struct err *e = NULL;
	_cleanup_free_ char *path = xasprintf("%s/config.json", folder);
	assert_int_equal(io_replace_file(AT_FDCWD, path, str_c(json), 0600, false, &e), 0);
}

static int folder_up(void **state)
{
	arena = arena_new();
	memcpy(folder + strlen(folder) - 6, "XXXXXX", 6);
	assert_non_null(mkdtemp(folder));
	setenv("DOCKER_CONFIG", folder, 1);
	setenv("XDG_RUNTIME_DIR", folder, 1);
	setenv("XDG_CONFIG_HOME", folder, 1);
	unsetenv("DOCKER_AUTH_CONFIG");
	unsetenv("REGISTRY_AUTH_FILE");
	(void)state;
	return 0;
}

static int folder_down(void **state)
{
	struct err *e = NULL;
	assert_int_equal(io_remove_tree(AT_FDCWD, folder, &e), 0);
	return tear_down(state);
}

/* "user secret", "" for none, the code of an error as "!2". */
static const char *ask(const char *host, const char *repo)
{
	static char text[256];
	struct creds *c = creds_new(false);
	const struct cred *k = NULL;
	_cleanup_(err_dropp) struct err *e = NULL;
	if (creds_get(c, str_c(host), str_c(repo), &k, &e) < 0)
		snprintf(text, sizeof(text), "!%d %s", e->code, e->msg);
	else if (k && k->identity)
		snprintf(text, sizeof(text), "identity %s", k->identity);
	else
		snprintf(text, sizeof(text), "%s%s%s", k ? k->user : "", k ? " " : "",
			 k ? k->secret : "");
	creds_free(c);
	return text;
}

static void test_key_forms(void **state)
{
	(void)state;
	static const char *const keys[] = { "reg.io",        "https://reg.io",
					    "http://reg.io", "https://reg.io/v1/",
					    "reg.io/v2/",    "reg.io/" };
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		_cleanup_free_ char *json = xasprintf(
			"{\"auths\":{\"%s\":{\"auth\":\"dTpwOnEK\"}}}", keys[i]); /* u:p:q\n */
		write_config(json);
		assert_string_equal(ask("reg.io", "a/b"), "u p:q");
		assert_string_equal(ask("reg.io.evil", "a/b"), "");
		assert_string_equal(ask("xreg.io", "a/b"), "");
	}
	write_config(
		"{\"auths\":{\"https://index.docker.io/v1/\":{\"username\":\"hub\",\"password\":\"s\"}}}");
	assert_string_equal(ask("docker.io", "library/x"), "hub s");
	assert_string_equal(ask("quay.io", "library/x"), "");
}

static void test_prefix_and_order(void **state)
{
	(void)state;
	write_config(
		"{\"auths\":{\"r.io\":{\"auth\":\"YTph\"},\"r.io/team\":{\"auth\":\"Yjpi\"},\"r.io/team/x\":{\"auth\":\"Yzpj\"},"
		"\"empty.io\":{}}}");
	assert_string_equal(ask("r.io", "other"), "a a");
	assert_string_equal(ask("r.io", "team/y"), "b b");
	assert_string_equal(ask("r.io", "team/x/z"), "c c");
	assert_string_equal(ask("r.io", "teamx"), "a a");
	assert_string_equal(ask("empty.io", "x"), "");
	setenv("DOCKER_AUTH_CONFIG",
	       "{\"auths\":{\"r.io\":{\"auth\":\"ZDpk\"},\"tok.io\":{\"identitytoken\":\"T\"}}}",
	       1);
	assert_string_equal(ask("r.io", "other"), "d d");
	assert_string_equal(ask("tok.io", "other"), "identity T");
	unsetenv("DOCKER_AUTH_CONFIG");
	setenv("REGISTRY_AUTH_FILE", "/nonexistent/auth.json", 1);
	assert_string_equal(ask("r.io", "other"), "");
}

static void test_broken_file(void **state)
{
	(void)state;
	write_config("{\"auths\":");
	assert_true(strstr(ask("r.io", "x"), "!2 ") != NULL);
	assert_true(strstr(ask("r.io", "x"), "config.json") != NULL);
	write_config("{\"auths\":{\"r.io\":{\"auth\":\"!!\"}}}");
	assert_true(strstr(ask("r.io", "x"), "!2 ") != NULL);
	write_config("");
	assert_string_equal(ask("r.io", "x"), "");
}

static void write_helper(const char *name, const char *script)
{
	struct err *e = NULL;
	_cleanup_free_ char *path = xasprintf("%s/docker-credential-%s", folder, name);
	assert_int_equal(io_replace_file(AT_FDCWD, path, str_c(script), 0755, false, &e), 0);
}

static void test_helpers(void **state)
{
	(void)state;
	_cleanup_free_ char *old = xstrdup(getenv("PATH"));
	_cleanup_free_ char *path = xasprintf("%s:%s", folder, old);
	setenv("PATH", path, 1);
	write_helper(
		"good",
		"#!/bin/sh\nread -r h || :\necho \"{\\\"Username\\\":\\\"$1\\\",\\\"Secret\\\":\\\"$h\\\"}\"\n");
	write_helper("none",
		     "#!/bin/sh\necho 'credentials not found in native keychain'\nexit 1\n");
	write_helper("bad", "#!/bin/sh\necho 'no keyring'\necho secret line\nexit 1\n");
	write_helper(
		"tok",
		"#!/bin/sh\ncat >/dev/null\necho '{\"Username\":\"<token>\",\"Secret\":\"I\"}'\n");
	write_config(
		"{\"credHelpers\":{\"g.io\":\"good\",\"b.io\":\"bad\",\"t.io\":\"tok\",\"docker.io\":\"good\",\"e.io\":\"../x\"},"
		"\"credsStore\":\"none\",\"auths\":{\"n.io\":{\"auth\":\"YTph\"}}}");
	assert_string_equal(ask("g.io", "x"), "get g.io");
	assert_string_equal(ask("docker.io", "x"), "get https://index.docker.io/v1/");
	assert_string_equal(ask("t.io", "x"), "identity I");
	assert_string_equal(ask("n.io", "x"), "a a");
	assert_true(strstr(ask("b.io", "x"), "no keyring") != NULL);
	assert_true(strstr(ask("b.io", "x"), "secret line") == NULL);
	assert_true(strstr(ask("e.io", "x"), "not a valid name") != NULL);
	setenv("PATH", old, 1);
}

int main(void)
{
	/* As cbuild does: a helper may end before it has read what it is given. */
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bearer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_several_challenges, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bad_challenges, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_scopes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_base64, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_key_forms, folder_up, folder_down),
		cmocka_unit_test_setup_teardown(test_prefix_and_order, folder_up, folder_down),
		cmocka_unit_test_setup_teardown(test_broken_file, folder_up, folder_down),
		cmocka_unit_test_setup_teardown(test_helpers, folder_up, folder_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
