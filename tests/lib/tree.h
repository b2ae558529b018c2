/*
 * tree: what a tree of the grammar must be, for the unit test and the fuzz target: no error, nodes in order, and after an
 * edit the tree that a fresh parse gives. Failures print a line and abort.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include <tree_sitter/api.h>

#include "base/str.h"

const TSLanguage *tree_sitter_dockerfile(void);

static inline void tree_fail(const char *why)
{
	fprintf(stderr, "%s\n", why);
	abort();
}

/* Parses s, with an old tree or NULL; looks at the first thousand nodes for their order. */
static TSTree *tree_parse(TSParser *p, TSTree *old, struct str s)
{
	TSTree *t = ts_parser_parse_string(p, old, s.p, (uint32_t)s.n);
	TSNode root = ts_tree_root_node(t);
	size_t end = 0;
	if (ts_node_has_error(root))
		tree_fail("the tree has an error");
	for (uint32_t i = 0, n = ts_node_child_count(root); i < n && i < 1000; i++) {
		TSNode c = ts_node_child(root, i);
		if (ts_node_start_byte(c) < end)
			tree_fail("nodes overlap");
		end = ts_node_end_byte(c);
	}
	return t;
}

/* Moves to the next node in order of their beginning. */
static bool tree_next(TSTreeCursor *c, unsigned *depth)
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

static void tree_compare(TSTree *a, TSTree *b)
{
	TSTreeCursor x = ts_tree_cursor_new(ts_tree_root_node(a)),
		     y = ts_tree_cursor_new(ts_tree_root_node(b));
	unsigned dx = 0, dy = 0;
	bool more;
	do {
		TSNode m = ts_tree_cursor_current_node(&x), n = ts_tree_cursor_current_node(&y);
		if (ts_node_symbol(m) != ts_node_symbol(n) ||
		    ts_node_start_byte(m) != ts_node_start_byte(n) ||
		    ts_node_end_byte(m) != ts_node_end_byte(n) || dx != dy)
			tree_fail("a tree parsed again differs from a fresh one");
		more = tree_next(&x, &dx);
		if (more != tree_next(&y, &dy))
			tree_fail("a tree parsed again has another number of nodes");
	} while (more);
	ts_tree_cursor_delete(&x);
	ts_tree_cursor_delete(&y);
}

static TSPoint tree_point(struct str s, size_t at)
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

/* Replaces `gone` bytes of text at `at` by `come`, parses again and compares with a fresh parse. */
static void tree_edit(TSParser *p, struct str text, size_t at, size_t gone, struct str come)
{
	struct sb b = { 0 };
	sb_add_c(&b, "");
	sb_add_str(&b, str_sub(text, 0, at));
	sb_add_str(&b, come);
	sb_add_str(&b, str_sub(text, at + gone, text.n));
	struct str edited = sb_str(&b);
	TSTree *before = tree_parse(p, NULL, text);
	TSInputEdit edit = {
		.start_byte = (uint32_t)at,
		.old_end_byte = (uint32_t)(at + gone),
		.new_end_byte = (uint32_t)(at + come.n),
		.start_point = tree_point(text, at),
		.old_end_point = tree_point(text, at + gone),
		.new_end_point = tree_point(edited, at + come.n),
	};
	ts_tree_edit(before, &edit);
	TSTree *again = tree_parse(p, before, edited), *fresh = tree_parse(p, NULL, edited);
	tree_compare(again, fresh);
	ts_tree_delete(before);
	ts_tree_delete(again);
	ts_tree_delete(fresh);
	sb_release(&b);
}
