/* The small languages of the options: signals, sizes, limits, tmpfs, environments, detach keys, names. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/json.h"
#include "runtime/container/config.h"
#include "runtime/container/detach.h"
#include "runtime/container/name.h"

static void signals(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int number;
	} good[] = { { "TERM", SIGTERM },    { "SIGTERM", SIGTERM },
		     { "sigusr1", SIGUSR1 }, { "9", 9 },
		     { "RTMIN", 34 },        { "RTMIN+3", 37 },
		     { "SIGRTMAX-2", 62 },   { "64", 64 } };
	static const char *const bad[] = { "",    "0",        "65",    "-1", "NOPE",
					   "SIG", "RTMIN+99", "TERM ", "9x" };
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct err *e = NULL;
		int n = 0;
		assert_int_equal(container_signal_parse(str_c(good[i].text), &n, &e), 0);
		assert_int_equal(n, good[i].number);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		int n;
		if (container_signal_parse(str_c(bad[i]), &n, &e) == 0)
			fail_msg("'%s' is taken for signal %d", bad[i], n);
	}
}

static void sizes(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t bytes;
	} good[] = { { "0", 0 },     { "4096", 4096 }, { "64m", 67108864 }, { "1g", 1073741824 },
		     { "8K", 8192 }, { "2kb", 2048 },  { "5b", 5 } };
	static const char *const bad[] = { "", "m", "1x", "-1", "1.5g", "99999999999999g", "b" };
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct err *e = NULL;
		int64_t n = -1;
		assert_int_equal(container_size_parse(str_c(good[i].text), &n, &e), 0);
		assert_int_equal(n, good[i].bytes);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		int64_t n;
		if (container_size_parse(str_c(bad[i]), &n, &e) == 0)
			fail_msg("'%s' is taken for %lld bytes", bad[i], (long long)n);
	}
}

static void limits(void **state)
{
	(void)state;
	struct err *e = NULL;
	struct container_ulimit u;
	struct str name;
	assert_int_equal(container_ulimit_parse(STR("nofile=1024:2048"), &u, &name, &e), 0);
	assert_int_equal(u.resource, RLIMIT_NOFILE);
	assert_int_equal(u.soft, 1024);
	assert_int_equal(u.hard, 2048);
	assert_int_equal(container_ulimit_parse(STR("core=-1"), &u, &name, &e), 0);
	assert_true(u.soft == RLIM64_INFINITY && u.hard == RLIM64_INFINITY &&
		    str_eq_c(name, "core"));
	static const char *const bad[] = { "nofile",     "nofile=",  "x=1",
					   "nofile=2:1", "nofile=a", "nofile=1:" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (container_ulimit_parse(str_c(bad[i]), &u, &name, &e) == 0)
			fail_msg("'%s' is taken", bad[i]);
		err_drop(&e);
	}
}

static void tmpfs(void **state)
{
	(void)state;
	struct err *e = NULL;
	struct container_tmpfs t;
	assert_int_equal(container_tmpfs_parse(STR(""), &t, &e), 0);
	assert_true(t.noexec && t.nosuid && t.nodev && !t.readonly && t.mode == 01777 &&
		    !t.size_bytes);
	assert_int_equal(container_tmpfs_parse(STR("ro,exec,size=1m,mode=755"), &t, &e), 0);
	assert_true(t.readonly && !t.noexec && t.size_bytes == 1048576 && t.mode == 0755);
	static const char *const bad[] = { "nope", "mode=9", "mode=", "size=x", "mode=77777" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (container_tmpfs_parse(str_c(bad[i]), &t, &e) == 0)
			fail_msg("'%s' is taken", bad[i]);
		err_drop(&e);
	}
}

static void environments(void **state)
{
	(void)state;
	struct container_env env = { 0 };
	static const char *const words[] = { "A=1", "B=2", "A=3", "C", "B", "D=", "E=x=y" };
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		container_env_set(&env, str_c(words[i]));
	const char *const *v = container_env_words(&env);
	assert_string_equal(v[0], "A=3");
	assert_string_equal(v[1], "D=");
	assert_string_equal(v[2], "E=x=y");
	assert_null(v[3]);
	assert_string_equal(container_env_get(&env, "E"), "x=y");
	assert_null(container_env_get(&env, "B"));
	container_env_release(&env);
}

static void environment_options(void **state)
{
	(void)state;
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(json_unrefp) json_t *list = json_array();
	_cleanup_(sb_releasep) struct sb text = { 0 };
	char path[] = "/tmp/cbuild-unit-env-XXXXXX";
	_cleanup_close_ int fd = mkstemp(path);
	static const char lines[] = "\xef\xbb\xbf"
				    "F1=file\r\n  # comment\n\nFROM_US\nGONE_US\nF2=a b  \n";
	assert_int_equal(write(fd, lines, sizeof(lines) - 1), sizeof(lines) - 1);
	setenv("FROM_US", "c", 1);
	unsetenv("GONE_US");
	const char *const files[] = { path }, *const env[] = { "E1=1", "FROM_US", "GONE_US" };
	assert_int_equal(container_env_options(&(struct container_words){ env, 3 },
					       &(struct container_words){ files, 1 }, list, &e),
			 0);
	json_print(list, &text);
	/* A bare name that we do not have stays bare: it takes the image's away. */
	assert_string_equal(
		sb_c(&text),
		"[\"F1=file\",\"FROM_US=c\",\"F2=a b  \",\"E1=1\",\"FROM_US=c\",\"GONE_US\"]");
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, "a b=c\n", 6, 0), 6);
	assert_int_equal(container_env_options(&(struct container_words){ 0 },
					       &(struct container_words){ files, 1 }, list, &e),
			 -1);
	assert_non_null(strstr(e->msg, "contains whitespaces"));
	unlink(path);
}

static void filter(const char *keys, const char *const *in, const char *out, bool leaves)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(sb_releasep) struct sb got = { 0 };
	struct detach d;
	bool left = false;
	assert_int_equal(detach_parse(str_c(keys), &d, &e), 0);
	for (; *in && !left; in++)
		left = detach_filter(&d, str_c(*in), &got);
	if (left != leaves || strcmp(sb_c(&got), out))
		fail_msg("%s: got '%s' and %s", keys, sb_c(&got), left ? "left" : "stayed");
}

static void detach_keys(void **state)
{
	(void)state;
	filter("ctrl-p,ctrl-q",
	       (const char *const[]){ "ab\x10\x11"
				      "cd",
				      NULL },
	       "ab", true);
	filter("ctrl-p,ctrl-q", (const char *const[]){ "ab\x10", "\x11", NULL }, "ab", true);
	filter("ctrl-p,ctrl-q", (const char *const[]){ "ab\x10", "x\x11", NULL }, "ab\x10x\x11",
	       false);
	filter("ctrl-p,ctrl-q", (const char *const[]){ "\x10\x10\x11z", NULL }, "\x10", true);
	filter("ctrl-p,ctrl-q", (const char *const[]){ "\x10", NULL }, "", false);
	/* What was held back may begin the sequence anew. */
	filter("a,a,b", (const char *const[]){ "aaab", NULL }, "a", true);
	filter("a,b,a,c", (const char *const[]){ "ababac", NULL }, "ab", true);
	filter("a,b,a,c", (const char *const[]){ "abab", "x", NULL }, "ababx", false);
	filter("", (const char *const[]){ "\x10\x11", NULL }, "\x10\x11", false);
	filter("DEL,ctrl-[,ctrl-_", (const char *const[]){ "\x7f\x1b\x1f", NULL }, "", true);
	static const char *const bad[] = {
		"ctrl-", "ctrl-P", "ctrl-1", "pq", "ctrl-p,", "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q"
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		struct detach d;
		/* An empty word at the end is none. */
		if (strcmp(bad[i], "ctrl-p,") && detach_parse(str_c(bad[i]), &d, &e) == 0)
			fail_msg("'%s' is taken", bad[i]);
	}
}

static void names(void **state)
{
	(void)state;
	static const char *const good[] = { "web", "a1", "Web_1.x-y", "0a" };
	static const char *const bad[] = {
		"", "a", "-ab", ".ab", "a b", "a/b", "..", "a\nb", "ä1"
	};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct err *e = NULL;
		assert_int_equal(container_name_check(str_c(good[i]), &e), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		if (container_name_check(str_c(bad[i]), &e) == 0)
			fail_msg("'%s' is taken", bad[i]);
	}
	for (unsigned i = 0; i < 1000; i++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		_cleanup_free_ char *name = container_name_new(i);
		char id[CONTAINER_ID];
		assert_int_equal(container_name_check(str_c(name), &e), 0);
		assert_non_null(strchr(name, '_'));
		assert_true(container_is_id(str_c(container_id_new(id))));
		/* Never a decimal number: `cbuild rm 123…` must not be ambiguous with one. */
		assert_true(strcspn(id, "abcdef") < CONTAINER_SHORT_ID);
	}
	assert_true(container_is_id_prefix(STR("0")) && !container_is_id_prefix(STR("")) &&
		    !container_is_id_prefix(STR("xyz")));
	assert_false(container_is_id_prefix(STR("ABC")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signals),      cmocka_unit_test(sizes),
		cmocka_unit_test(limits),       cmocka_unit_test(tmpfs),
		cmocka_unit_test(environments), cmocka_unit_test(environment_options),
		cmocka_unit_test(detach_keys),  cmocka_unit_test(names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
