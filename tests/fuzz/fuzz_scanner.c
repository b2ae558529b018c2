/*
 * The grammar: no text has an ERROR node, tokens cover it in order, and parsing again after an edit gives the tree that a fresh
 * parse gives. The first four bytes are the edit: where, how much goes, how much of the text's end comes in its place.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <tree_sitter/api.h>

#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const TSLanguage *tree_sitter_dockerfile(void);

static TSPoint point(struct str s, size_t at)
{
	TSPoint p = { 0, 0 };
	for (size_t i = 0; i < at; i++) {
		p.column++;
		if (s.p[i] == '\n') {
			p.row++;
			p.column = 0;
		}
	}
	return p;
}

static void fail(const char *why)
{
	fprintf(stderr, "%s\n", why);
	abort();
}

static bool advance(TSTreeCursor *c, unsigned *depth)
{
	if (ts_tree_cursor_goto_first_child(c)) {
		++*depth;
		return true;
	}
	while (!ts_tree_cursor_goto_next_sibling(c)) {
		if (!ts_tree_cursor_goto_parent(c))
			return false;
		--*depth;
	}
	return true;
}

static void compare(TSTree *a, TSTree *b)
{
	TSTreeCursor x = ts_tree_cursor_new(ts_tree_root_node(a)), y = ts_tree_cursor_new(ts_tree_root_node(b));
	unsigned dx = 0, dy = 0;
	bool more;
	do {
		TSNode m = ts_tree_cursor_current_node(&x), n = ts_tree_cursor_current_node(&y);
		if (ts_node_symbol(m) != ts_node_symbol(n) || ts_node_start_byte(m) != ts_node_start_byte(n) ||
		    ts_node_end_byte(m) != ts_node_end_byte(n) || dx != dy)
			fail("a tree parsed again differs from a fresh one");
		more = advance(&x, &dx);
		if (more != advance(&y, &dy))
			fail("a tree parsed again has another number of nodes");
	} while (more);
	ts_tree_cursor_delete(&x);
	ts_tree_cursor_delete(&y);
}

static TSTree *parse(TSParser *p, TSTree *old, struct str s)
{
	TSTree *t = ts_parser_parse_string(p, old, s.p, (uint32_t)s.n);
	TSNode root = ts_tree_root_node(t);
	if (ts_node_has_error(root))
		fail("the tree has an error");
	size_t end = 0;
	for (uint32_t i = 0, n = ts_node_child_count(root); i < n && n < 1000; i++) {
		TSNode c = ts_node_child(root, i);
		if (ts_node_start_byte(c) < end)
			fail("nodes overlap");
		end = ts_node_end_byte(c);
	}
	return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 4)
		return 0;
	struct str text = { (const char *)data + 4, size - 4 };
	size_t at = (data[0] | (size_t)data[1] << 8) % (text.n + 1), gone = data[2] % 32, come = data[3] % 32;
	gone = gone > text.n - at ? text.n - at : gone;
	come = come > text.n ? text.n : come;
	_cleanup_(sb_releasep) struct sb b = { 0 };
	sb_add_str(&b, str_sub(text, 0, at));
	sb_add_str(&b, str_sub(text, text.n - come, text.n));
	sb_add_str(&b, str_sub(text, at + gone, text.n));
	struct str edited = b.p ? sb_str(&b) : STR("");

	TSParser *p = ts_parser_new();
	ts_parser_set_language(p, tree_sitter_dockerfile());
	TSTree *before = parse(p, NULL, text);
	TSInputEdit edit = {
		.start_byte = (uint32_t)at,
		.old_end_byte = (uint32_t)(at + gone),
		.new_end_byte = (uint32_t)(at + come),
		.start_point = point(text, at),
		.old_end_point = point(text, at + gone),
		.new_end_point = point(edited, at + come),
	};
	ts_tree_edit(before, &edit);
	TSTree *again = parse(p, before, edited), *fresh = parse(p, NULL, edited);
	compare(again, fresh);
	ts_tree_delete(before);
	ts_tree_delete(again);
	ts_tree_delete(fresh);
	ts_parser_delete(p);
	return 0;
}
