#include "parser/mount.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"

/* Options and, for "!…", the error; else what they give: the members that are set, in this order. */
static void show(struct sb *b, const struct df_mount *m)
{
	static const char *const sharing[] = { "shared", "private", "locked" };
	sb_add_c(b, df_mount_type_name(m->type));
	sb_add_c(b, m->readonly ? " ro" : " rw");
	if (m->required)
		sb_add_c(b, " required");
	if (m->from.p)
		sb_printf(b, " from=%.*s", STR_ARG(m->from));
	if (m->source.p)
		sb_printf(b, " source=%.*s", STR_ARG(m->source));
	if (m->target.p)
		sb_printf(b, " target=%.*s", STR_ARG(m->target));
	if (m->id.p)
		sb_printf(b, " id=%.*s", STR_ARG(m->id));
	if (m->env.p)
		sb_printf(b, " env=%.*s", STR_ARG(m->env));
	if (m->has_sharing)
		sb_printf(b, " sharing=%s", sharing[m->sharing]);
	if (m->size_bytes >= 0)
		sb_printf(b, " size=%lld", (long long)m->size_bytes);
	if (m->mode >= 0)
		sb_printf(b, " mode=%llo", (long long unsigned)m->mode);
	if (m->uid >= 0)
		sb_printf(b, " uid=%lld", (long long)m->uid);
	if (m->gid >= 0)
		sb_printf(b, " gid=%lld", (long long)m->gid);
}

static bool get(const struct df_env *env, struct str name, struct str *ret)
{
	(void)env;
	*ret = STR("val");
	return str_eq_c(name, "v");
}

static void check(const char *in, const char *want, bool expand)
{
	static const struct df_env env = { get };
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(sb_releasep) struct sb b = { 0 };
	_cleanup_(err_dropp) struct err *e = NULL;
	struct df_expansion x = { .escape = '\\' };
	struct df_mount m;
	if (df_mount_parse(a, str_c(in), expand ? &env : NULL, &x, &m, &e) < 0)
		sb_printf(&b, "!%s", e->msg);
	else
		show(&b, &m);
	VEC_RELEASE(&x.unmatched);
	if (strcmp(sb_c(&b), want) != 0)
		fail_msg("%s: %s", in, sb_c(&b));
}

static void test_lists(void **state)
{
	static const char *const rows[][2] = {
		{ "target=/a", "bind ro target=/a" },
		{ "type=bind,src=a,dst=/b,rw", "bind rw source=a target=/b" },
		{ "TYPE=Cache,Target=/c", "cache rw target=/c" },
		{ "type=cache,destination=/c,ro,id=x,sharing=LOCKED,mode=0755,uid=1,gid=2",
		  "cache ro target=/c id=x sharing=locked mode=755 uid=1 gid=2" },
		{ "type=tmpfs,target=/t,size=1.5m", "tmpfs rw target=/t size=1572864" },
		{ "type=tmpfs,size=10 GiB", "tmpfs rw size=10737418240" },
		{ "type=tmpfs,size=1e3", "tmpfs rw size=1000" },
		{ "type=tmpfs,size=5B", "tmpfs rw size=5" },
		{ "type=tmpfs,size=2kb", "tmpfs rw size=2048" },
		{ "type=secret,id=s,required", "secret ro required id=s" },
		{ "type=secret,target=/s,env=", "secret ro target=/s env=" },
		{ "type=ssh,required=false,mode=600", "ssh ro mode=600" },
		{ "from=a,from=", "bind ro" },
		{ "readwrite=T,target=/x", "bind rw target=/x" },
		{ "readonly=0,target=/x", "bind rw target=/x" },
		{ "rw=false,target=/x", "bind ro target=/x" },
		{ "\"type=cache\",\"target=/a,b\"", "cache rw target=/a,b" },
		{ "\"target=/a\"\"b\"", "bind ro target=/a\"b" },
		{ "target=$v", "bind ro target=$v" },
		{ "", "!failed to parse csv mounts: EOF" },
		{ "a\"b",
		  "!failed to parse csv mounts: parse error on line 1, column 2: bare \" in non-quoted-field" },
		{ "\"a\"b",
		  "!failed to parse csv mounts: parse error on line 1, column 3: extraneous or missing \" in quoted-field" },
		{ "\"a",
		  "!failed to parse csv mounts: parse error on line 1, column 2: extraneous or missing \" in quoted-field" },
		{ "type=tmp", "!unsupported mount type \"tmp\" (did you mean tmpfs?)" },
		{ "type=x", "!unsupported mount type \"x\"" },
		{ "x", "!invalid field 'x' must be a key=value pair" },
		{ "env", "!invalid field 'env' must be a key=value pair" },
		{ "typ=tmpfs", "!unexpected key 'typ' in 'typ=tmpfs' (did you mean type?)" },
		{ "nonsense=1", "!unexpected key 'nonsense' in 'nonsense=1'" },
		{ "rw=yes", "!invalid value for rw: yes" },
		{ "required", "!unexpected key 'required' for mount type 'bind'" },
		{ "type=cache,required=true", "!unexpected key 'required' for mount type 'cache'" },
		{ "required,type=secret", "!unexpected key 'required' for mount type 'bind'" },
		{ "size=1", "!unexpected key 'size' for mount type 'bind'" },
		{ "type=tmpfs,size=foo", "!invalid value for size: foo" },
		{ "type=tmpfs,size=1x", "!invalid value for size: 1x" },
		{ "type=tmpfs,size=-1", "!invalid value for size: -1" },
		{ "type=tmpfs,size=1kbb", "!invalid value for size: 1kbb" },
		{ "type=tmpfs,size=1e99", "!invalid value for size: 1e99" },
		{ "type=cache,sharing=foo", "!unsupported sharing value \"foo\"" },
		{ "type=cache,sharing=lock",
		  "!unsupported sharing value \"lock\" (did you mean locked?)" },
		{ "sharing=shared", "!invalid cache sharing set for bind mount" },
		{ "type=secret,id=a,sharing=shared", "!secret mount should not define sharing" },
		{ "type=secret,id=a,from=b", "!secret mount should not have a from" },
		{ "type=secret", "!invalid secret mount. one of source, target required" },
		{ "type=secret,id=a,src=b", "!both source and id can't be set" },
		{ "mode=0755", "!mode not allowed for \"bind\" type mounts" },
		{ "type=tmpfs,uid=1", "!uid not allowed for \"tmpfs\" type mounts" },
		{ "gid=1", "!gid not allowed for \"bind\" type mounts" },
		{ "type=cache,mode=8", "!invalid value 8 for mode" },
		{ "type=cache,mode=", "!invalid value  for mode" },
		{ "type=cache,uid=-1", "!invalid value -1 for uid" },
		{ "type=cache,gid=4294967296", "!invalid value 4294967296 for gid" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check(rows[i][0], rows[i][1], false);
	check("target=/$v,id=\\'", "bind ro target=/val id='", true);
	check("type=cache,target=${v:-x}", "cache rw target=val", true);
	check("target=${", "!failed to process \"${\": syntax error: missing '}'", true);
}

static void check_from(const char *in, const char *from, const char *message)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(err_dropp) struct err *e = NULL;
	struct df_mount_flag m = { .text = str_c(in) };
	int r = df_mount_check(a, &m, &e);
	assert_int_equal(r, message ? -1 : 0);
	if (message)
		assert_string_equal(e->msg, message);
	else if (from)
		assert_true(str_eq_c(m.from, from));
	else
		assert_null(m.from.p);
}

static void test_check(void **state)
{
	static const char variable[] =
		"'from' doesn't support variable expansion, define alias stage instead";
	(void)state;
	check_from("type=nonsense,x", NULL, NULL);
	check_from("FROM=a", "a", NULL);
	check_from("from=a$", "a$", NULL);
	check_from("from=$a", NULL, variable);
	check_from("from=a$$", NULL, variable);
	check_from("target=$a", NULL, NULL);
	check_from("", NULL, "failed to parse csv mounts: EOF");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_lists),
					    cmocka_unit_test(test_check) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
