/*
 * The grammar itself: highlights.scm fits it, no file has an ERROR node, edits parse as fresh. Files named on the command line are
 * looked at instead of testdata/parser (tests/lib/corpus).
 */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/io.h"
#include "tests/lib/tree.h"

static char **files;
static int n_files;

static void read_file(const char *path, struct sb *b)
{
	struct err *e = NULL;
	sb_add_c(b, "");
	if (io_read_file(AT_FDCWD, path, b, &e) < 0)
		fail_msg("%s", e->msg);
}

static TSParser *parser(void)
{
	TSParser *p = ts_parser_new();
	assert_true(ts_parser_set_language(p, tree_sitter_dockerfile()));
	return p;
}

static void test_highlights(void **state)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	uint32_t at;
	TSQueryError kind;
	(void)state;
	read_file("parser/grammar/queries/highlights.scm", &b);
	TSQuery *q = ts_query_new(tree_sitter_dockerfile(), b.p, (uint32_t)b.n, &at, &kind);
	if (!q)
		fail_msg("error %d at byte %u", kind, at);
	assert_true(ts_query_capture_count(q) > 4);
	ts_query_delete(q);
}

static void test_version(void **state)
{
	(void)state;
	assert_in_range(ts_language_version(tree_sitter_dockerfile()), 13, 14);
}

/* The named nodes of a text as an S-expression. */
static void check_tree(const char *text, const char *want)
{
	TSParser *p = parser();
	TSTree *t = tree_parse(p, NULL, str_c(text));
	char *got = ts_node_string(ts_tree_root_node(t));
	assert_string_equal(got, want);
	free(got);
	ts_tree_delete(t);
	ts_parser_delete(p);
}

#define INSTRUCTION(args) "(instruction (keyword) (arguments " args "))"

static void test_trees(void **state)
{
	(void)state;
	check_tree("", "(file)");
	check_tree("\n \n", "(file (blank))");
	check_tree("# escape=`\n# x\nFROM a",
		   "(file (directive) (comment) " INSTRUCTION("(text)") ")");
	check_tree("\n# escape=`\n", "(file (blank) (comment))");
	check_tree("FROM\n", "(file (instruction (keyword)))");
	check_tree("RUN a \\\n  # c\n\n b\n",
		   "(file " INSTRUCTION("(text) (continuation) (comment) (blank) (text)") ")");
	check_tree("RUN --a='b c' -- --d", "(file " INSTRUCTION("(flag) (flag) (text)") ")");
	check_tree("CMD --x [\"a\"]", "(file " INSTRUCTION("(flag) (json_start) (text)") ")");
	check_tree("CMD ['a']", "(file " INSTRUCTION("(text)") ")");
	check_tree(
		"RUN x <<A <<B y\na\nA\nB\n",
		"(file (instruction (keyword) (arguments (text) (heredoc_marker) (heredoc_marker) (text)) "
		"(heredoc (heredoc_body) (heredoc_end)) (heredoc (heredoc_end))))");
	check_tree("RUN [\"<<A\"]\nA\n",
		   "(file " INSTRUCTION("(json_start) (text)") " (instruction (keyword)))");
	check_tree("RUN \"<<A\n", "(file " INSTRUCTION("(text)") ")");
	check_tree("# escape=`\nRUN a `\n b \\\nX",
		   "(file (directive) " INSTRUCTION(
			   "(text) (continuation) (text)") " (instruction (keyword)))");
}

static uint32_t next_random(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	return *seed ^= *seed << 5;
}

static void check_file(TSParser *p, const char *path, unsigned edits, uint32_t *seed)
{
	static const struct str pieces[] = {
		{ "", 0 },     { "\n", 1 },
		{ "\\\n", 2 }, { "\\", 1 },
		{ "`", 1 },    { "#", 1 },
		{ "<<E", 3 },  { "\"", 1 },
		{ "E\n", 2 },  { "# escape=`\n", 11 },
		{ " ", 1 },    { "\r\n", 2 },
		{ "x", 1 },    { "[\"a\"]", 5 },
		{ "--", 2 },   { "\xff", 1 },
		{ "${", 2 },
	};
	_cleanup_(sb_releasep) struct sb b = { 0 };
	read_file(path, &b);
	ts_tree_delete(tree_parse(p, NULL, sb_str(&b)));
	for (unsigned i = 0; i < edits; i++) {
		size_t at = next_random(seed) % (b.n + 1), gone = next_random(seed) % 8;
		tree_edit(p, sb_str(&b), at, gone > b.n - at ? b.n - at : gone,
			  pieces[next_random(seed) % ARRAY_SIZE(pieces)]);
	}
}

static void test_files(void **state)
{
	uint32_t seed = 20260721;
	TSParser *p = parser();
	(void)state;
	for (int i = 0; i < n_files; i++)
		check_file(p, files[i], 2, &seed);
	if (!n_files) {
		static const char dir[] = "testdata/parser";
		_cleanup_closedir_ DIR *d = opendir(dir);
		assert_non_null(d);
		for (struct dirent *e; (e = readdir(d));) {
			_cleanup_free_ char *path = xasprintf("%s/%s", dir, e->d_name);
			if (str_ends(str_c(e->d_name), STR(".Dockerfile")))
				check_file(p, path, 300, &seed);
		}
	}
	ts_parser_delete(p);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_highlights),
		cmocka_unit_test(test_version),
		cmocka_unit_test(test_trees),
		cmocka_unit_test(test_files),
	};
	files = argv + 1;
	n_files = argc - 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
