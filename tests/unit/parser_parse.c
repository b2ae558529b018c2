#include "parser/parse.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/io.h"
#include "parser/diag.h"
#include "parser/dump.h"

/* ---- testdata/parser: a Dockerfile and the dump that is expected */

static char *read_file(const char *dir, const char *name, const char *suffix, struct sb *b)
{
	_cleanup_free_ char *path = xasprintf("%s/%s%s", dir, name, suffix);
	struct err *e = NULL;
	if (io_read_file(AT_FDCWD, path, b, &e) < 0)
		fail_msg("%s", e->msg);
	return b->p;
}

/* Equal but for members that are empty: those may be left out. */
static bool is_empty(const json_t *v)
{
	return !v || json_is_null(v) || json_is_false(v) ||
		(json_is_array(v) && !json_array_size(v)) ||
		(json_is_integer(v) && !json_integer_value(v));
}

static void compare(const char *name, const char *where, const json_t *want, const json_t *got)
{
	const char *key;
	json_t *v;
	size_t i;

	if (is_empty(want) && is_empty(got))
		return;
	if (is_empty(want) || is_empty(got) || json_typeof(want) != json_typeof(got))
		fail_msg("%s: %s", name, where);
	if (json_is_object(want)) {
		json_object_foreach((json_t *)(uintptr_t)want, key, v)
			compare(name, key, v, json_object_get(got, key));
		json_object_foreach((json_t *)(uintptr_t)got, key, v)
			compare(name, key, json_object_get(want, key), v);
	} else if (json_is_array(want)) {
		assert_int_equal(json_array_size(want), json_array_size(got));
		json_array_foreach(want, i, v) compare(name, where, v, json_array_get(got, i));
	} else if (!json_equal(want, got)) {
		fail_msg("%s: %s", name, where);
	}
}

static void test_goldens(void **state)
{
	static const char dir[] = "testdata/parser";
	_cleanup_closedir_ DIR *d = opendir(dir);
	unsigned n = 0;
	(void)state;
	assert_non_null(d);
	for (struct dirent *ent; (ent = readdir(d));) {
		struct str name = str_c(ent->d_name);
		if (!str_ends(name, STR(".Dockerfile")))
			continue;
		_cleanup_free_ char *stem =
			str_dup(str_sub(name, 0, name.n - strlen(".Dockerfile")));
		_cleanup_(arena_freep) struct arena *a = arena_new();
		_cleanup_(sb_releasep) struct sb text = { 0 }, want = { 0 };
		_cleanup_(err_dropp) struct err *e = NULL;
		struct df_file *f;
		read_file(dir, stem, ".Dockerfile", &text);
		read_file(dir, stem, ".json", &want);
		if (df_parse(a, sb_str(&text), &f, NULL, &e) < 0)
			fail_msg("%s: %s", stem, e->msg);
		_cleanup_(json_unrefp) json_t *got = df_dump(a, f),
					      *expected = json_parse(sb_str(&want), stem, &e);
		assert_non_null(expected);
		compare(stem, "", expected, got);
		n++;
	}
	assert_true(n >= 10);
}

/* ---- errors */

struct bad {
	const char *text, *message;
	unsigned line, last;
};

static void check_bad(const struct bad *b)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(err_dropp) struct err *e = NULL;
	struct df_file *f;
	if (df_parse(a, str_c(b->text), &f, NULL, &e) == 0)
		fail_msg("%s: is taken", b->text);
	if (strcmp(e->msg, b->message) != 0 || e->at.line != b->line || e->at.last != b->last)
		fail_msg("%s: %s (%u-%u)", b->text, e->msg, e->at.line, e->at.last);
	assert_int_equal(e->code, ERR_SYNTAX);
}

#define P1 "dockerfile parse error on line 1: "
#define P2 "dockerfile parse error on line 2: "

/* The first stage: raw texts, before any of the second stage wherever they stand. */
static void test_first_stage(void **state)
{
	static const struct bad rows[] = {
		{ "", "the Dockerfile cannot be empty", 0, 0 },
		{ "\n# a\n\n", "file with no instructions", 3, 3 },
		{ "# escape=x\nFROM a\n", "invalid escape token 'x' does not match ` or \\", 0, 0 },
		{ "# syntax=a\n# escape=\\\\\nFROM a\n",
		  "invalid escape token '\\\\' does not match ` or \\", 1, 1 },
		{ "# escape= \nFROM a\n", "invalid escape token ' ' does not match ` or \\", 0, 0 },
		{ "# escape=`\n# Escape=`\nFROM a\n",
		  "only one escape parser directive can be used", 1, 1 },
		{ "FROM a\nBOGUS\nENV x\n", "ENV must have two arguments", 3, 3 },
		{ "FROM a\nLABEL \\\n x\n", "LABEL must have two arguments", 2, 3 },
		{ "FROM a\nENV a=b c\n",
		  "Syntax error - can't find = in \"c\". Must be of the form: name=value", 2, 2 },
		{ "FROM a\nRUN [\"a\", 1]\n",
		  "when using JSON array syntax, arrays must be comprised of strings only", 2, 2 },
		{ "FROM a\nONBUILD CMD [null]\n",
		  "when using JSON array syntax, arrays must be comprised of strings only", 2, 2 },
		{ "FROM a\nRUN <<E\nx\n", "unterminated heredoc", 2, 3 },
		{ "FROM a\nCOPY <<E <<F /x\nE\ny", "unterminated heredoc", 2, 4 },
		{ "FROM a\nRUN <<-E\n x\n E\n", "unterminated heredoc", 2, 4 },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_bad(&rows[i]);
}

static void test_second_stage(void **state)
{
	static const struct bad rows[] = {
		{ "RUN x\n", "no build stage in current context", 1, 1 },
		{ "ARG a\nRUN <<E\nx\nE\n", "no build stage in current context", 2, 4 },
		{ "RUM x\n", P1 "unknown instruction: RUM (did you mean RUN?)", 1, 1 },
		{ "Frm x\n", P1 "unknown instruction: Frm (did you mean from?)", 1, 1 },
		{ "\\", P1 "unknown instruction: ", 1, 1 },
		{ "RUN\xc2\xa0"
		  "echo\n",
		  P1 "unknown instruction: RUN\xc2\xa0"
		     "echo",
		  1, 1 },
		{ "FROM\n", P1 "FROM requires either one or three arguments", 1, 1 },
		{ "FROM a b\n", P1 "FROM requires either one or three arguments", 1, 1 },
		{ "FROM a AS 1x\n",
		  P1
		  "invalid name for build stage: \"1x\", name can't start with a number or contain symbols",
		  1, 1 },
		{ "FROM --platfrm=x a b c d\n", P1 "FROM requires either one or three arguments", 1,
		  1 },
		{ "FROM --platfrm=x a\n", P1 "unknown flag: --platfrm (did you mean platform?)", 1,
		  1 },
		{ "FROM a\nENV\n", P2 "ENV requires at least one argument", 2, 2 },
		{ "FROM a\nENV =b\n", P2 "ENV names can not be blank", 2, 2 },
		{ "FROM a\nARG\n", P2 "ARG requires at least one argument", 2, 2 },
		{ "FROM a\nARG =x\n", P2 "ARG names can not be blank", 2, 2 },
		{ "FROM a\nENV --x a=b\n", P2 "unknown flag: --x", 2, 2 },
		{ "FROM a\nWORKDIR\n", P2 "WORKDIR requires exactly one argument", 2, 2 },
		{ "FROM a\nMAINTAINER\n", P2 "MAINTAINER requires exactly one argument", 2, 2 },
		{ "FROM a\nCOPY a\n",
		  P2
		  "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
		  2, 2 },
		{ "FROM a\nCOPY --frm=x a b\n", P2 "unknown flag: --frm (did you mean from?)", 2,
		  2 },
		{ "FROM a\nADD --from=x a b\n", P2 "unknown flag: --from", 2, 2 },
		{ "FROM a\nCOPY --link --link a b\n", P2 "duplicate flag specified: --link", 2, 2 },
		{ "FROM a\nCOPY --link= a b\n", P2 "missing a value on flag: --link", 2, 2 },
		{ "FROM a\nCOPY --from a b c\n", P2 "missing a value on flag: --from", 2, 2 },
		{ "FROM a\nCOPY --link=yes a b\n",
		  P2 "expecting boolean value for flag --link, not: yes", 2, 2 },
		{ "FROM a\nCOPY a <<E\nE\n", P2 "COPY cannot accept a heredoc as a destination", 2,
		  3 },
		{ "FROM a\nADD [\"a\", \"<<E\"]\n",
		  P2 "ADD cannot accept a heredoc as a destination", 2, 2 },
		{ "FROM a\nSHELL []\n", P2 "SHELL requires at least one argument", 2, 2 },
		{ "FROM a\nSHELL bash\n", P2 "SHELL requires the arguments to be in JSON form", 2,
		  2 },
		{ "FROM a\nVOLUME [\" \"]\n", P2 "VOLUME specified can not be an empty string", 2,
		  2 },
		{ "FROM a\nVOLUME []\n", P2 "VOLUME requires at least one argument", 2, 2 },
		{ "FROM a\nONBUILD\n", P2 "ONBUILD requires at least one argument", 2, 2 },
		{ "FROM a\nONBUILD onbuild RUN x\n",
		  P2 "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", 2, 2 },
		{ "FROM a\nONBUILD from x\n", P2 "FROM isn't allowed as an ONBUILD trigger", 2, 2 },
		{ "FROM a\nONBUILD --x RUN y\n", P2 "unknown flag: --x", 2, 2 },
		{ "FROM a\nHEALTHCHECK\n", P2 "HEALTHCHECK requires at least one argument", 2, 2 },
		{ "FROM a\nHEALTHCHECK CMD\n", P2 "Missing command after HEALTHCHECK CMD", 2, 2 },
		{ "FROM a\nHEALTHCHECK none x\n", P2 "HEALTHCHECK NONE takes no arguments", 2, 2 },
		{ "FROM a\nHEALTHCHECK curl x\n",
		  P2 "Unknown type \"CURL\" in HEALTHCHECK (try CMD)", 2, 2 },
		{ "FROM a\nHEALTHCHECK --interval=1us CMD x\n",
		  P2 "Interval \"interval\" cannot be less than 1ms", 2, 2 },
		{ "FROM a\nHEALTHCHECK --timeout=5 CMD x\n",
		  P2 "time: missing unit in duration \"5\"", 2, 2 },
		{ "FROM a\nHEALTHCHECK --timeout=5x CMD x\n",
		  P2 "time: unknown unit \"x\" in duration \"5x\"", 2, 2 },
		{ "FROM a\nHEALTHCHECK --timeout=x CMD x\n", P2 "time: invalid duration \"x\"", 2,
		  2 },
		{ "FROM a\nHEALTHCHECK --retries=x CMD x\n",
		  P2 "strconv.ParseInt: parsing \"x\": invalid syntax", 2, 2 },
		{ "FROM a\nHEALTHCHECK --retries=9999999999 CMD x\n",
		  P2 "strconv.ParseInt: parsing \"9999999999\": value out of range", 2, 2 },
		{ "FROM a\nHEALTHCHECK --retries=-1 CMD x\n",
		  P2 "--retries cannot be negative (-1)", 2, 2 },
		{ "FROM a\nRUN --network=foo x\n", P2 "invalid network mode \"foo\"", 2, 2 },
		{ "FROM a\nRUN --security=foo x\n", P2 "security \"foo\" is not valid", 2, 2 },
		{ "FROM a\nRUN --mount= x\n", P2 "failed to parse csv mounts: EOF", 2, 2 },
		{ "FROM a\nRUN --mount=a\\\"b x\n",
		  P2
		  "failed to parse csv mounts: parse error on line 1, column 2: bare \" in non-quoted-field",
		  2, 2 },
		{ "FROM a\nRUN --mount=from=$x y\n",
		  P2 "'from' doesn't support variable expansion, define alias stage instead", 2,
		  2 },
		{ "FROM a\nRUN --mont=type=bind x\n",
		  P2 "unknown flag: --mont (did you mean mount?)", 2, 2 },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_bad(&rows[i]);
}

/* ---- long lines: reading stops as at the end of the file */

static void check_long(const char *before, const char *message, unsigned line, unsigned last)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	sb_add_c(&b, before);
	for (int i = 0; i < 65536; i++)
		sb_add_ch(&b, 'x');
	sb_add_c(&b, "\nE\n");
	struct bad bad = { sb_c(&b), message, line, last };
	check_bad(&bad);
}

static void test_long_lines(void **state)
{
	static const char long_line[] = "dockerfile line greater than max allowed size of 65535";
	(void)state;
	check_long("FROM a\nRUN x\n", long_line, 2, 2);
	check_long("FROM a\nENV \\\n", long_line, 2, 2);
	check_long("FROM a\nENV x\\\n", "ENV must have two arguments", 2, 2);
	check_long("FROM a\nRUN <<E\n", "unterminated heredoc", 2, 2);
	check_long("# c\n", "file with no instructions", 1, 1);

	_cleanup_(sb_releasep) struct sb fits = { 0 };
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct err *e = NULL;
	struct df_file *f;
	sb_add_c(&fits, "FROM a\nRUN ");
	while (fits.n < strlen("FROM a\n") + 65535)
		sb_add_ch(&fits, 'x');
	assert_int_equal(df_parse(a, sb_str(&fits), &f, NULL, &e), 0);
}

/* ---- spans */

static void check_span(struct str text, struct span at, const char *want, unsigned line)
{
	struct str got = str_sub(text, at.begin, at.end);
	if (!str_eq_c(got, want) || at.line != line)
		fail_msg("%.*s on line %u, not %s on line %u", STR_ARG(got), at.line, want, line);
}

static void test_spans(void **state)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct str t = STR("FROM a AS b\n"
			   "COPY --from=x \\\n"
			   "  # note\n"
			   "  one \\\n"
			   "  t\\\n"
			   "wo  [\n"
			   "RUN --mount=type=cache,target=/x [\"a\", \"b c\"]\n"
			   "ENV a=1 b=\"x y\"\n"
			   "COPY <<E /x\n"
			   "body\n"
			   "E\n");
	struct err *e = NULL;
	struct df_file *f;
	(void)state;
	assert_int_equal(df_parse(a, t, &f, NULL, &e), 0);
	struct df_instruction **i = f->stages[0].instructions;
	check_span(t, f->stages[0].from->words.v[2].at, "b", 1);
	check_span(t, i[0]->at, "COPY --from=x \\\n  # note\n  one \\\n  t\\\nwo  [", 2);
	check_span(t, i[0]->flags.v[0].at, "--from=x", 2);
	check_span(t, i[0]->words.v[0].at, "one", 4);
	check_span(t, i[0]->words.v[1].at, "t\\\nwo", 5);
	assert_int_equal(i[0]->words.v[1].at.last, 6);
	check_span(t, i[0]->dest.at, "[", 6);
	check_span(t, i[1]->mounts[0].at, "--mount=type=cache,target=/x", 7);
	check_span(t, i[1]->command.words.v[1].at, "\"b c\"", 7);
	check_span(t, i[2]->pairs[1].at, "b=\"x y\"", 8);
	check_span(t, i[3]->heredocs[0].at, "body\n", 10);
	check_span(t, i[3]->inline_files[0].at, "<<E", 9);
	assert_int_equal(i[3]->at.last, 11);
}

static void test_blank_continuations(void **state)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct err *e = NULL;
	struct df_file *f;
	(void)state;
	assert_int_equal(df_parse(a, STR("FROM a\nRUN a \\\n\n b\nRUN cat <<E \\\n \n>x\ny\nE\n"),
				  &f, NULL, &e),
			 0);
	assert_int_equal(f->n_empty_continuations, 2);
	assert_int_equal(f->empty_continuations[0], 4);
	assert_int_equal(f->empty_continuations[1], 7);
}

/* ---- triggers, limits, excerpts */

static void test_trigger(void **state)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct df_instruction *i;
	struct err *e = NULL;
	(void)state;
	assert_int_equal(df_parse_trigger(a, STR("COPY <<E /x\nbody\nE"), &i, &e), 0);
	assert_int_equal(i->kind, DF_COPY);
	assert_true(str_eq_c(i->heredocs[0].content, "body\n"));
	static const struct {
		const char *text, *message;
	} rows[] = {
		{ "FOO x", "unknown instruction: FOO" },
		{ "RUN x\nRUN y", "onbuild trigger should be a single expression" },
		{ "WORKDIR", "WORKDIR requires exactly one argument" },
		{ "FROM x", "FROM isn't allowed as an ONBUILD trigger" },
	};
	for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
		assert_int_equal(df_parse_trigger(a, str_c(rows[k].text), &i, &e), -1);
		if (!strstr(e->msg, rows[k].message))
			fail_msg("%s: %s", rows[k].text, e->msg);
		err_drop(&e);
	}
}

static void check_limit(struct sb *text)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(err_dropp) struct err *e = NULL;
	struct df_file *f;
	assert_int_equal(df_parse(a, sb_str(text), &f, NULL, &e), -1);
	if (e->code != ERR_LIMIT)
		fail_msg("%s", e->msg);
	sb_reset(text);
}

/* What does not fit the scanner's state or a bound is an error with a name, and never dropped. */
static void test_limits(void **state)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	(void)state;
	sb_add_c(&b, "FROM a\nRUN cat");
	for (int i = 0; i < 200; i++)
		sb_printf(&b, " <<E%d", i);
	sb_add_c(&b, "\n");
	check_limit(&b);
	sb_add_c(&b, "FROM a\nRUN <<");
	for (int i = 0; i < 800; i++)
		sb_add_ch(&b, 'E');
	sb_add_c(&b, "\n");
	check_limit(&b);
	sb_add_c(&b, "FROM a\nRUN <<E ");
	for (int i = 0; i < 5000; i++)
		sb_add_c(&b, "${a:-");
	sb_add_c(&b, "\nE\n");
	check_limit(&b);
	sb_add_c(&b, "FROM a\n");
	for (int i = 0; i < 1024 * 1024; i++)
		sb_add_ch(&b, '\n');
	check_limit(&b);

	/* Just below. */
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct err *e = NULL;
	struct df_file *f;
	sb_add_c(&b, "FROM a\nRUN cat");
	for (int i = 0; i < 50; i++)
		sb_printf(&b, " <<E%d", i);
	for (int i = 0; i < 50; i++)
		sb_printf(&b, "\nx\nE%d", i);
	assert_int_equal(df_parse(a, sb_str(&b), &f, NULL, &e), 0);
	assert_int_equal(f->stages[0].instructions[0]->n_heredocs, 50);
	assert_true(str_eq_c(f->stages[0].instructions[0]->heredocs[49].name, "E49"));
}

static void check_excerpt(struct span at, const char *want)
{
	_cleanup_(sb_releasep) struct sb out = { 0 };
	df_excerpt(&out, STR("Dockerfile"), STR("a\nb\nc\n\td e\ne\x1b[0m\nf\n"), at);
	assert_string_equal(sb_c(&out), want);
}

static void test_excerpt(void **state)
{
	(void)state;
	check_excerpt((struct span){ 0, 0, 0, 0 }, "");
	check_excerpt(
		(struct span){ 3, 3, 4, 5 },
		"Dockerfile:3\n--------------------\n"
		"   1 |     a\n   2 |     b\n   3 | >>> c\n   4 |     \td e\n   5 |     e\\x1b[0m\n"
		"--------------------\n");
	check_excerpt(
		(struct span){ 4, 4, 9, 10 },
		"Dockerfile:4\n--------------------\n"
		"   2 |     b\n   3 |     c\n   4 | >>> \td e\n     |     \t  ^\n   5 |     e\\x1b[0m\n   6 |     f\n"
		"--------------------\n");
	check_excerpt((struct span){ 1, 2, 0, 0 },
		      "Dockerfile:1\n--------------------\n"
		      "   1 | >>> a\n   2 | >>> b\n   3 |     c\n--------------------\n");
}

static void test_near(void **state)
{
	static const struct str names[] = { { "mount", 5 }, { "network", 7 }, { "security", 8 } };
	(void)state;
	assert_true(str_eq_c(df_near(STR("mont"), names, 3, false), "mount"));
	assert_null(df_near(STR("MOUNT"), names, 3, false).p);
	assert_null(df_near(STR("MOUNT"), names, 3, true).p);
	assert_true(str_eq_c(df_near(STR("MOUNTS"), names, 3, true), "mount"));
	assert_null(df_near(STR("x"), names, 3, false).p);
	assert_null(df_near(STR(""), names, 3, false).p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_goldens),      cmocka_unit_test(test_first_stage),
		cmocka_unit_test(test_second_stage), cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_spans),        cmocka_unit_test(test_blank_continuations),
		cmocka_unit_test(test_trigger),      cmocka_unit_test(test_limits),
		cmocka_unit_test(test_excerpt),      cmocka_unit_test(test_near),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
