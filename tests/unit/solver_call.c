/* What --check and --call print. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "solver/call.h"
#include "solver/check.h"

struct planned {
	struct arena *a;
	struct df_lint lint;
	struct df_file *file;
	struct plan_bases *bases;
	struct plan_options o;
	struct err *err;
};

static void plan(struct planned *p, const char *text)
{
	struct plan *plan;
	*p = (struct planned){ .a = arena_new(), .o = solver_dump_options() };
	p->lint.a = p->a;
	p->o.lint = &p->lint;
	if (solver_parse(p->a, str_c(text), &p->o, &p->lint, &p->file, &p->err) < 0 ||
	    plan_bases(p->a, p->file, &p->o, &p->bases, &p->err) < 0)
		return;
	size_t n;
	struct plan_base **list = plan_bases_list(p->bases, &n);
	static const struct oci_image empty;
	for (size_t i = 0; i < n; i++)
		list[i]->config = &empty;
	bool more;
	if (plan_triggers(p->bases, &more, &p->err) < 0 || plan_graph(p->bases, &plan, &p->err) < 0)
		return;
}

static void done(struct planned *p)
{
	err_drop(&p->err);
	arena_free(p->a);
}

static void assert_json(json_t *j, const char *want)
{
	_cleanup_(sb_releasep) struct sb out = { 0 };
	json_print(j, &out);
	json_decref(j);
	assert_string_equal(sb_c(&out), want);
}

static void check_text(void **state)
{
	(void)state;
	static const char *const text = "FROM b\nCMD x\nENV a b\n";
	_cleanup_(sb_releasep) struct sb out = { 0 };
	struct planned p;
	plan(&p, text);
	call_check_text(&p.lint, STR("Dockerfile"), str_c(text), &out);
	assert_string_equal(
		sb_c(&out),
		"Check complete, 2 warnings have been found!\n\n"
		"WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/\n"
		"JSON arguments recommended for CMD to prevent unintended behavior related to OS signals\n"
		"Dockerfile:2\n--------------------\n   1 |     FROM b\n   2 | >>> CMD x\n   3 |     ENV a b\n   4 |     \n"
		"--------------------\n\n"
		"WARNING: LegacyKeyValueFormat - https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/\n"
		"\"ENV key=value\" should be used instead of legacy \"ENV key value\" format\n"
		"Dockerfile:3\n--------------------\n   1 |     FROM b\n   2 |     CMD x\n   3 | >>> ENV a b\n   4 |     \n"
		"--------------------\n");
	done(&p);
	sb_reset(&out);
	plan(&p, "FROM b\n");
	call_check_text(&p.lint, STR("Dockerfile"), str_c("FROM b\n"), &out);
	assert_string_equal(sb_c(&out), "Check complete, no warnings found.\n");
	done(&p);
}

static void check_json(void **state)
{
	(void)state;
	static const char *const text = "FROM b\nCMD \\\nx\nSTOPSIGNAL x\n";
	struct planned p;
	plan(&p, text);
	assert_json(
		call_check_json(&p.lint, p.err, STR("D"), str_c(text)),
		"{\"warnings\":[{\"ruleName\":\"JSONArgsRecommended\",\"description\":\"JSON arguments recommended for ENTRYPOINT/CMD to "
		"prevent unintended behavior related to OS signals\",\"url\":\"https://docs.docker.com/go/dockerfile/rule/"
		"json-args-recommended/\",\"detail\":\"JSON arguments recommended for CMD to prevent unintended behavior related to OS "
		"signals\",\"location\":{\"ranges\":[{\"start\":{\"line\":2},\"end\":{\"line\":2}},{\"start\":{\"line\":3},\"end\":{\"line\":3}}]}}],"
		"\"sources\":[{\"filename\":\"D\",\"language\":\"Dockerfile\",\"data\":\"RlJPTSBiCkNNRCBcCngKU1RPUFNJR05BTCB4Cg==\"}],"
		"\"buildError\":{\"message\":\"invalid signal: x\",\"location\":{\"ranges\":[{\"start\":{\"line\":4},\"end\":{\"line\":4}}]}}}");
	done(&p);
}

static void outline(void **state)
{
	(void)state;
	_cleanup_(sb_releasep) struct sb out = { 0 };
	struct planned p;
	struct plan_outline o;
	plan(&p,
	     "# V is the version\nARG V=1\nARG U=$V\nARG unused\nFROM b:$U AS base\nRUN --mount=type=secret,id=s x\n"
	     "FROM b AS dead\nARG nothing\n# one is it\nFROM base AS one\n# W is another\nARG W\nARG V\n"
	     "RUN --mount=type=secret,id=tok,required=true --mount=type=ssh true\n");
	plan_outline(p.bases, &o);
	call_outline_text(&o, &out);
	assert_string_equal(
		sb_c(&out),
		"TARGET:      one\nDESCRIPTION: is it\n\nBUILD ARG   VALUE   DESCRIPTION\nV           1       is the version\n"
		"U           1       \nW                   is another\n\nSECRET   REQUIRED\ns        \ntok      true\n\n"
		"SSH       REQUIRED\ndefault   \n\n");
	done(&p);
}

static void targets(void **state)
{
	(void)state;
	_cleanup_(sb_releasep) struct sb out = { 0 };
	struct planned p;
	plan(&p,
	     "# one is the first stage\nFROM b AS one\nFROM one\n# three is last\nFROM --platform=linux/arm64 scratch AS three\n");
	call_targets_text(p.file, &out);
	assert_string_equal(
		sb_c(&out),
		"TARGET          DESCRIPTION\none             is the first stage\n                \n"
		"three (default) is last\n");
	json_t *j = call_targets_json(p.file);
	json_object_del(j, "sources");
	assert_json(
		j,
		"{\"targets\":[{\"name\":\"one\",\"description\":\"is the first stage\",\"base\":\"b\",\"location\":{\"ranges\":[{\"start\":"
		"{\"line\":2},\"end\":{\"line\":2}}]}},{\"base\":\"one\",\"location\":{\"ranges\":[{\"start\":{\"line\":3},\"end\":{\"line\":3}}]}},"
		"{\"name\":\"three\",\"default\":true,\"description\":\"is last\",\"base\":\"scratch\",\"platform\":\"linux/arm64\",\"location\":"
		"{\"ranges\":[{\"start\":{\"line\":5},\"end\":{\"line\":5}}]}}]}");
	done(&p);
}

/* A warning for each word of an instruction of many lines must not make the answer quadratic. */
static void places_are_bounded(void **state)
{
	(void)state;
	_cleanup_(sb_releasep) struct sb text = { 0 }, out = { 0 };
	struct planned p;
	sb_add_c(&text, "FROM b\nLABEL");
	for (int i = 0; i < 2000; i++)
		sb_printf(&text, " \\\n l%d=$u%d", i, i);
	plan(&p, sb_c(&text));
	assert_null(p.err);
	assert_int_equal(p.lint.n, 2000);
	json_t *j = call_check_json(&p.lint, NULL, STR("D"), sb_str(&text));
	json_print(j, &out);
	json_decref(j);
	assert_true(out.n < 10 << 20);
	sb_reset(&out);
	call_check_text(&p.lint, STR("D"), sb_str(&text), &out);
	assert_true(out.n < 10 << 20);
	done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(check_text),
		cmocka_unit_test(check_json),
		cmocka_unit_test(outline),
		cmocka_unit_test(targets),
		cmocka_unit_test(places_are_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
