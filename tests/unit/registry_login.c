/* Logging in and out: checked with the registry, kept where Docker keeps it. */
#include <sys/stat.h>

#include "tests/unit/registry_fake.h"
#include "registry/creds.h"
#include "registry/login.h"
#include "registry/session.h"

static struct fake fake;
static char folder[64];
static struct err *e;
static char *where;

static void begin(const char *config)
{
	fake = fake_start(config);
	snprintf(folder, sizeof(folder), "/tmp/registry_login.XXXXXX");
	assert_non_null(mkdtemp(folder));
	_cleanup_free_ char *docker = xasprintf("%s/.docker", folder);
	setenv("DOCKER_CONFIG", docker, 1);
	setenv("XDG_RUNTIME_DIR", folder, 1);
	setenv("XDG_CONFIG_HOME", folder, 1);
}

static void end(void)
{
	err_drop(&e);
	assert_int_equal(io_remove_tree(AT_FDCWD, folder, &e), 0);
	fake_stop(&fake);
}

/* 0 or the error's code. */
static int login(const char *user, const char *secret)
{
	struct registry *r = registry_new_with(&(struct registry_options){ 0 }, NULL, 1, 20);
	err_drop(&e);
	free(where);
	where = NULL;
	int rc = registry_login(r, str_c(fake.host), str_c(user), str_c(secret), &where, &e) < 0
		? (int)e->code
		: 0;
	registry_free(r);
	return rc;
}

static const char *file_text(void)
{
	static char text[4096];
	_cleanup_free_ char *path = xasprintf("%s/.docker/config.json", folder);
	_cleanup_(sb_releasep) struct sb b = { .max = sizeof(text) - 1 };
	struct err *none = NULL;
	if (io_read_file(AT_FDCWD, path, &b, &none) < 0) {
		err_drop(&none);
		return "";
	}
	snprintf(text, sizeof(text), "%s", sb_c(&b));
	return text;
}

static void put(const char *name, const char *data, mode_t mode)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", folder, name),
			    *docker = xasprintf("%s/.docker", folder);
	assert_int_equal(io_mkdirs(AT_FDCWD, docker, 0700, &e), 0);
	assert_int_equal(io_replace_file(AT_FDCWD, path, str_c(data), mode, false, &e), 0);
}

static void test_file(void **state)
{
	(void)state;
	static const char *const kinds[] = { "'basic':'u:p:q'", "'bearer':true,'user':'u:p:q'" };
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		_cleanup_free_ char *config = xasprintf("'auth':{%s}", kinds[i]);
		begin(config);
		assert_int_equal(login("u", "wrong"), ERR_AUTH);
		assert_null(strstr(e->msg, "wrong"));
		assert_string_equal(file_text(), "");
		assert_int_equal(login("u", "p:q"), 0);
		assert_non_null(strstr(where, "/.docker/config.json"));
		_cleanup_free_ char *want =
			xasprintf("{\"auths\":{\"%s\":{\"auth\":\"dTpwOnE=\"}}}\n", fake.host);
		assert_string_equal(file_text(), want);
		struct stat st;
		assert_int_equal(stat(where, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
		bool known;
		assert_int_equal(registry_logout(str_c(fake.host), &known, &e), 0);
		assert_true(known);
		assert_string_equal(file_text(), "{\"auths\":{}}\n");
		assert_int_equal(registry_logout(str_c(fake.host), &known, &e), 0);
		assert_false(known);
		end();
	}
}

static void test_other_members_stay(void **state)
{
	(void)state;
	begin("'auth':{'basic':'u:p'}");
	put(".docker/config.json",
	    "{\"zeta\":[1,2],\"auths\":{\"other.io\":{\"auth\":\"eA==\",\"x\":1}},\"HttpHeaders\":{\"a\":\"b\"}}",
	    0644);
	assert_int_equal(login("u", "p"), 0);
	_cleanup_free_ char *want = xasprintf(
		"{\"zeta\":[1,2],\"auths\":{\"other.io\":{\"auth\":\"eA==\",\"x\":1},\"%s\":{\"auth\":\"dTpw\"}},"
		"\"HttpHeaders\":{\"a\":\"b\"}}\n",
		fake.host);
	assert_string_equal(file_text(), want);
	put(".docker/config.json", "{broken", 0600);
	assert_int_equal(login("u", "p"), ERR_INVALID);
	assert_string_equal(file_text(), "{broken");
	end();
}

static void test_helper(void **state)
{
	(void)state;
	begin("'auth':{'basic':'u:p'}");
	_cleanup_free_ char *old = xstrdup(getenv("PATH")), *path = xasprintf("%s:%s", folder, old);
	setenv("PATH", path, 1);
	put("docker-credential-keep",
	    "#!/bin/sh\n{ echo \"$1\"; cat; echo; } >> \"${0%/*}/kept\"\n", 0755);
	put(".docker/config.json", "{\"credsStore\":\"keep\"}", 0600);
	assert_int_equal(login("u", "p"), 0);
	assert_string_equal(where, "docker-credential-keep");
	assert_string_equal(file_text(), "{\"credsStore\":\"keep\"}");
	bool known;
	assert_int_equal(registry_logout(str_c(fake.host), &known, &e), 0);
	_cleanup_free_ char *kept = xasprintf("%s/kept", folder);
	_cleanup_(sb_releasep) struct sb b = { .max = 4096 };
	assert_int_equal(io_read_file(AT_FDCWD, kept, &b, &e), 0);
	_cleanup_free_ char *want = xasprintf(
		"store\n{\"ServerURL\":\"%s\",\"Username\":\"u\",\"Secret\":\"p\"}\nerase\n%s\n",
		fake.host, fake.host);
	assert_string_equal(sb_c(&b), want);
	setenv("PATH", old, 1);
	end();
}

static void test_refusals(void **state)
{
	(void)state;
	begin("'rules':[{'on':'/v2/','status':404}]");
	assert_int_equal(login("u", "p"), ERR_INVALID);
	assert_non_null(strstr(e->msg, "is not a registry"));
	assert_int_equal(login("u:x", "p"), ERR_INVALID);
	assert_int_equal(login("u", ""), ERR_INVALID);
	end();
}

int main(void)
{
	/* As cbuild does: a helper may end before it has read what it is given. */
	signal(SIGPIPE, SIG_IGN);
	fake_needs("python3");
	unsetenv("DOCKER_AUTH_CONFIG");
	unsetenv("REGISTRY_AUTH_FILE");
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_file),
					    cmocka_unit_test(test_other_members_stay),
					    cmocka_unit_test(test_helper),
					    cmocka_unit_test(test_refusals) };
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	free(where);
	return r;
}
