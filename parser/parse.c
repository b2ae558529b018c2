#include "parser/parse.h"

#include <tree_sitter/api.h>

#include "base/err.h"
#include "base/utf8.h"
#include "base/vec.h"
#include "parser/directive.h"
#include "parser/heredoc.h"
#include "parser/node.h"

enum {
	MAX_TEXT = 64 * 1024 * 1024,
	MAX_LINES = 1024 * 1024,
	MAX_LINE = 65535, /* BuildKit's, without the newline */
};

const TSLanguage *tree_sitter_dockerfile(void);

struct symbols {
	TSSymbol directive, comment, instruction, overflow, heredoc, body;
};

struct parser {
	struct arena *a;
	struct str text; /* up to the first line that is too long */
	bool cut;
	unsigned n_lines;
	char escape;
	unsigned seen; /* directives, as bits */
	struct symbols sym;
	TSTreeCursor cursor;
	VEC(struct df_node *) nodes;
	VEC(struct df_word) comments;
	VEC(unsigned) blanks; /* df_file.empty_continuations */
};

static void parser_release(struct parser *p)
{
	VEC_RELEASE(&p->nodes);
	VEC_RELEASE(&p->comments);
	VEC_RELEASE(&p->blanks);
}

/* ---- lines and directives */

static int at(struct err **err, struct span where)
{
	return err_at(err, where);
}

static struct span lines(unsigned first, unsigned last)
{
	return (struct span){ .line = first, .last = last };
}

/* Counts lines, and stops before the first that is too long, as BuildKit's reader does. */
static int measure(struct parser *p, struct str text, struct err **err)
{
	size_t i = 0;
	if (!text.n)
		return err_set(err, ERR_SYNTAX, "the Dockerfile cannot be empty");
	if (text.n > MAX_TEXT)
		return err_set(err, ERR_LIMIT, "the Dockerfile is larger than %d bytes", MAX_TEXT);
	while (i < text.n) {
		const char *nl = memchr(text.p + i, '\n', text.n - i);
		size_t end = nl ? (size_t)(nl - text.p) : text.n;
		if (end - i > MAX_LINE) {
			p->cut = true;
			break;
		}
		if (++p->n_lines > MAX_LINES)
			return err_set(err, ERR_LIMIT, "the Dockerfile has more than %d lines",
				       MAX_LINES);
		i = nl ? end + 1 : end;
	}
	p->text = str_sub(text, 0, i);
	return 0;
}

static struct str line_at(struct str text, size_t from)
{
	size_t end = str_find(text, '\n', from);
	struct str s = str_sub(text, from, end == SIZE_MAX ? text.n : end);
	while (s.n && s.p[s.n - 1] == '\r')
		s.n--;
	return s;
}

/* BuildKit's second look at the directives: column 1 only, after a `#!` line, ended by a repeat. */
static void find_directives(struct arena *a, struct str text, struct df_file *f)
{
	static const struct str names[] = {
		[DF_DIRECTIVE_SYNTAX] = { "syntax", 6 },
		[DF_DIRECTIVE_ESCAPE] = { "escape", 6 },
		[DF_DIRECTIVE_CHECK] = { "check", 5 },
	};
	unsigned line = 1, seen = 0;
	size_t from = str_starts(text, STR("\xef\xbb\xbf")) ? 3 : 0;

	f->directives = arena_array_of(a, struct df_directive, ARRAY_SIZE(names));
	for (; from < text.n; line++) {
		struct str s = line_at(text, from), value;
		size_t begin = from, nl = str_find(text, '\n', from);
		from = nl == SIZE_MAX ? text.n : nl + 1;
		if (line == 1 && str_starts(s, STR("#!")))
			continue;
		if (!s.n || s.p[0] != '#')
			break;
		enum df_directive_kind k = df_directive_parse(s, &value);
		if (k == DF_DIRECTIVE_NONE || seen & 1u << k)
			break;
		seen |= 1u << k;
		f->directives[f->n_directives++] = (struct df_directive){
			.name = names[k],
			.value = value,
			.at = { line, line, begin, begin + s.n },
		};
	}
}

/* A directive of the tree, on line `line`. Its errors carry the line before it, as BuildKit's do. */
static int take_directive(struct parser *p, struct str s, unsigned line, struct err **err)
{
	static const char *const names[] = { NULL, "syntax", "escape", "check" };
	struct str value;
	enum df_directive_kind k = df_directive_parse(s, &value);

	if (k ==
	    DF_DIRECTIVE_NONE) /* can't be: the scanner asked the same function, but of cleaned text */
		return 0;
	if (p->seen & 1u << k) {
		err_set(err, ERR_SYNTAX, "only one %s parser directive can be used", names[k]);
		return at(err, lines(line - 1, line - 1));
	}
	p->seen |= 1u << k;
	if (k != DF_DIRECTIVE_ESCAPE)
		return 0;
	if (!str_eq_c(value, "\\") && !str_eq_c(value, "`")) {
		err_set(err, ERR_SYNTAX, "invalid escape token '%.*s' does not match ` or \\",
			STR_ARG(value));
		return at(err, lines(line - 1, line - 1));
	}
	p->escape = value.p[0];
	return 0;
}

/* A comment between instructions: the line without its first byte, trimmed; an empty one clears what was collected. */
static void take_comment(struct parser *p, size_t from, unsigned line)
{
	size_t begin = from;
	while (begin > 0 && p->text.p[begin - 1] != '\n')
		begin--;
	if (begin == 0 && str_starts(p->text, STR("\xef\xbb\xbf")))
		begin = 3;
	struct str s = line_at(p->text, begin), t = utf8_trim(str_sub(s, 1, s.n));
	if (!t.n) {
		VEC_CLEAR(&p->comments);
		return;
	}
	size_t t_begin = (size_t)(t.p - p->text.p);
	struct df_word w = { t, { line, line, t_begin, t_begin + t.n } };
	VEC_PUSH(&p->comments, w);
}

/* ---- instructions */

/* Where the parts of an instruction stand, as the tree tells. */
struct shape {
	struct span header;
	VEC(struct span) bodies;
	bool unterminated;
	TSNode node;
	size_t end;
	unsigned last;
};

static unsigned last_line(TSPoint end)
{
	return end.column == 0 && end.row > 0 ? end.row : end.row + 1;
}

static void take_body(struct parser *p, struct shape *s)
{
	TSNode n = ts_tree_cursor_current_node(&p->cursor);
	struct span body = { ts_node_start_point(n).row + 1, ts_node_start_point(n).row,
			     ts_node_start_byte(n), ts_node_start_byte(n) };
	if (!s->bodies.n)
		s->header.end = body.begin;
	ts_tree_cursor_goto_first_child(&p->cursor);
	n = ts_tree_cursor_current_node(&p->cursor);
	if (ts_node_symbol(n) == p->sym.body) {
		body.end = ts_node_end_byte(n);
		body.last = last_line(ts_node_end_point(n));
		if (ts_tree_cursor_goto_next_sibling(&p->cursor))
			n = ts_tree_cursor_current_node(&p->cursor);
	}
	/* A missing terminator is an empty one at the end of the file. */
	s->unterminated |=
		ts_node_start_byte(n) == ts_node_end_byte(n) && ts_node_symbol(n) != p->sym.body;
	ts_tree_cursor_goto_parent(&p->cursor);
	VEC_PUSH(&s->bodies, body);
}

/* Reads the instruction the cursor is at. */
static void take_shape(struct parser *p, struct shape *s)
{
	TSNode n = s->node = ts_tree_cursor_current_node(&p->cursor);
	s->end = ts_node_end_byte(n);
	s->last = last_line(ts_node_end_point(n));
	s->header = (struct span){ ts_node_start_point(n).row + 1, s->last, ts_node_start_byte(n),
				   s->end };
	/* Keyword and arguments; more only with heredocs. */
	if (ts_node_child_count(n) <= 2)
		return;
	ts_tree_cursor_goto_first_child(&p->cursor);
	do {
		if (ts_node_symbol(ts_tree_cursor_current_node(&p->cursor)) == p->sym.heredoc)
			take_body(p, s);
	} while (ts_tree_cursor_goto_next_sibling(&p->cursor));
	ts_tree_cursor_goto_parent(&p->cursor);
}

/* Whether the scanner could not keep the heredocs of an instruction; it says so first of all. */
static bool has_overflow(const struct parser *p, const struct shape *s)
{
	TSNode arguments = ts_node_child(s->node, 1);
	return !ts_node_is_null(arguments) &&
		ts_node_symbol(ts_node_child(arguments, 0)) == p->sym.overflow;
}

static bool has_heredocs(const struct df_node *n)
{
	enum df_kind k;
	const struct df_parts *parts = &n->parts;
	if (n->args.json || !df_kind_of(parts->keyword, &k))
		return false;
	if (k == DF_ONBUILD && n->args.child && !df_kind_of(n->args.child->keyword, &k))
		return false;
	return k == DF_ADD || k == DF_COPY || k == DF_RUN;
}

/* Names and bodies of a node's heredocs. */
static int take_heredocs(struct parser *p, const struct shape *s, struct df_node *n,
			 struct err **err)
{
	struct df_marker *m = NULL;
	size_t count = 0;

	if (has_heredocs(n) && df_markers_find(p->a, n->line.text, &m, &count, err) < 0)
		return -1;
	if (count != s->bodies.n && has_overflow(p, s))
		return err_set(err, ERR_LIMIT,
			       "too many heredocs in one instruction, or too long names");
	if (count != s->bodies.n)
		return err_set(err, ERR_UNSUPPORTED,
			       "cannot tell the heredocs of a line whose flags are not UTF-8");
	if (s->unterminated)
		return err_set(err, ERR_SYNTAX, "unterminated heredoc");
	n->heredocs = arena_array_of(p->a, struct df_heredoc, count);
	n->n_heredocs = count;
	for (size_t i = 0; i < count; i++) {
		struct span b = s->bodies.v[i];
		n->heredocs[i] = (struct df_heredoc){
			.name = m[i].name,
			.content = str_sub(p->text, b.begin, b.end),
			.fd = m[i].fd,
			.expand = m[i].expand,
			.strip_tabs = m[i].strip_tabs,
			.at = b,
		};
	}
	return 0;
}

/* The first stage: everything that BuildKit's line parser reports. */
static int fill_node(struct parser *p, const struct shape *s, struct df_node *n, struct err **err)
{
	if (df_logical_join(p->a, p->text, s->header, p->escape, &n->line, err) < 0)
		return -1;
	n->at = (struct span){ s->header.line, n->line.last, s->header.begin, s->header.end };
	df_split(p->a, n->line.text, p->escape, &n->parts);
	if (df_args_parse(p->a, n->line.text, &n->parts, p->escape, &n->args, err) < 0)
		return at(err, n->at);
	n->at.last = s->last;
	n->at.end = s->end;
	while (n->at.end > n->at.begin && strchr("\r\n", p->text.p[n->at.end - 1]) &&
	       p->text.p[n->at.end - 1])
		n->at.end--;
	if (take_heredocs(p, s, n, err) < 0)
		return at(err, n->at);
	return 0;
}

static int take_instruction(struct parser *p, struct err **err)
{
	struct shape s = { 0 };
	struct df_node *n = arena_new_of(p->a, struct df_node);

	take_shape(p, &s);
	int r = fill_node(p, &s, n, err);
	VEC_RELEASE(&s.bodies);
	if (r < 0)
		return -1;
	if (p->comments.n) {
		n->comments.n = p->comments.n;
		n->comments.v = arena_array_of(p->a, struct df_word, p->comments.n);
		memcpy(n->comments.v, p->comments.v, p->comments.n * sizeof(*p->comments.v));
		VEC_CLEAR(&p->comments);
	}
	if (n->line.has_blank)
		VEC_PUSH(&p->blanks, n->line.last);
	VEC_PUSH(&p->nodes, n);
	return 0;
}

/* ---- the tree */

static int walk(struct parser *p, struct err **err)
{
	if (!ts_tree_cursor_goto_first_child(&p->cursor))
		return 0;
	do {
		TSNode n = ts_tree_cursor_current_node(&p->cursor);
		TSSymbol sym = ts_node_symbol(n);
		size_t from = ts_node_start_byte(n);
		unsigned line = ts_node_start_point(n).row + 1;
		int r = 0;
		if (sym == p->sym.instruction)
			r = take_instruction(p, err);
		else if (sym == p->sym.comment)
			take_comment(p, from, line);
		else if (sym == p->sym.directive)
			r = take_directive(p, line_at(p->text, from), line, err);
		if (r < 0)
			return -1;
	} while (ts_tree_cursor_goto_next_sibling(&p->cursor));
	return 0;
}

static TSSymbol symbol(const TSLanguage *l, const char *name)
{
	return ts_language_symbol_for_name(l, name, (uint32_t)strlen(name), true);
}

static void parser_deletep(TSParser **p)
{
	if (*p)
		ts_parser_delete(*p);
}

static void tree_deletep(TSTree **t)
{
	if (*t)
		ts_tree_delete(*t);
}

/* Nodes of all instructions, in order. */
static int parse_nodes(struct parser *p, struct err **err)
{
	const TSLanguage *l = tree_sitter_dockerfile();
	_cleanup_(parser_deletep) TSParser *ts = ts_parser_new();
	_cleanup_(tree_deletep) TSTree *tree = NULL;

	if (ts_language_version(l) < TREE_SITTER_MIN_COMPATIBLE_LANGUAGE_VERSION ||
	    ts_language_version(l) > TREE_SITTER_LANGUAGE_VERSION || !ts_parser_set_language(ts, l))
		return err_set(err, ERR_UNSUPPORTED,
			       "this libtree-sitter reads grammars of version %d to %d, not %u",
			       TREE_SITTER_MIN_COMPATIBLE_LANGUAGE_VERSION,
			       TREE_SITTER_LANGUAGE_VERSION, ts_language_version(l));
	p->sym = (struct symbols){
		symbol(l, "directive"),        symbol(l, "comment"), symbol(l, "instruction"),
		symbol(l, "heredoc_overflow"), symbol(l, "heredoc"), symbol(l, "heredoc_body"),
	};
	tree = ts_parser_parse_string(ts, NULL, p->text.p, (uint32_t)p->text.n);
	if (!tree)
		return err_set(err, ERR_BUG, "the grammar gives no tree");
	p->cursor = ts_tree_cursor_new(ts_tree_root_node(tree));
	int r = walk(p, err);
	ts_tree_cursor_delete(&p->cursor);
	if (r < 0)
		return -1;
	if (!p->nodes.n) {
		err_set(err, ERR_SYNTAX, "file with no instructions");
		return at(err, lines(p->n_lines, p->n_lines));
	}
	if (p->cut) {
		err_set(err, ERR_SYNTAX, "dockerfile line greater than max allowed size of %d",
			MAX_LINE);
		return at(err, lines(p->n_lines, p->n_lines));
	}
	return 0;
}

/* ---- the second stage: stages and instructions */

struct gathering {
	VEC(struct df_instruction *) args, all;
	VEC(struct df_stage) stages;
	VEC(size_t) firsts; /* of each stage: its first instruction in `all` */
};

static void gathering_release(struct gathering *g)
{
	VEC_RELEASE(&g->args);
	VEC_RELEASE(&g->all);
	VEC_RELEASE(&g->stages);
	VEC_RELEASE(&g->firsts);
}

static int gather(struct parser *p, struct gathering *g, struct err **err)
{
	for (size_t k = 0; k < p->nodes.n; k++) {
		const struct df_node *n = p->nodes.v[k];
		struct df_instruction *i;
		struct df_stage stage;
		if (df_build(p->a, n, &i, &stage, err) < 0) {
			err_wrap(err, "dockerfile parse error on line %u", n->at.line);
			return at(err, n->at);
		}
		if (i->kind == DF_FROM) {
			VEC_PUSH(&g->stages, stage);
			VEC_PUSH(&g->firsts, g->all.n);
		} else if (g->stages.n) {
			VEC_PUSH(&g->all, i);
		} else if (i->kind == DF_ARG) {
			VEC_PUSH(&g->args, i);
		} else {
			err_set(err, ERR_SYNTAX, "no build stage in current context");
			return at(err, n->at);
		}
	}
	return 0;
}

static struct df_instruction **keep(struct arena *a, struct df_instruction **v, size_t n)
{
	struct df_instruction **r = arena_array_of(a, struct df_instruction *, n);
	if (n)
		memcpy(r, v, n * sizeof(*r));
	return r;
}

static void finish(struct parser *p, const struct gathering *g, struct df_file *f)
{
	struct df_instruction **all = keep(p->a, g->all.v, g->all.n);
	f->escape = p->escape;
	f->global_args = keep(p->a, g->args.v, g->args.n);
	f->n_global_args = g->args.n;
	f->stages = arena_array_of(p->a, struct df_stage, g->stages.n);
	f->n_stages = g->stages.n;
	for (size_t k = 0; k < g->stages.n; k++) {
		size_t end = k + 1 < g->stages.n ? g->firsts.v[k + 1] : g->all.n;
		f->stages[k] = g->stages.v[k];
		f->stages[k].instructions = all + g->firsts.v[k];
		f->stages[k].n_instructions = end - g->firsts.v[k];
	}
	f->empty_continuations = arena_array_of(p->a, unsigned, p->blanks.n);
	f->n_empty_continuations = p->blanks.n;
	if (p->blanks.n)
		memcpy(f->empty_continuations, p->blanks.v, p->blanks.n * sizeof(unsigned));
}

int df_parse(struct arena *a, struct str text, struct df_file **ret,
	     struct df_file **ret_directives, struct err **err)
{
	_cleanup_(parser_release) struct parser p = { .a = a, .escape = '\\' };
	_cleanup_(gathering_release) struct gathering g = { 0 };
	struct df_file *f = arena_new_of(a, struct df_file);

	f->text = text;
	f->escape = '\\';
	find_directives(a, text, f);
	if (ret_directives)
		*ret_directives = f;
	if (measure(&p, text, err) < 0 || parse_nodes(&p, err) < 0 || gather(&p, &g, err) < 0)
		return -1;
	finish(&p, &g, f);
	*ret = f;
	return 0;
}

int df_parse_trigger(struct arena *a, struct str text, struct df_instruction **ret,
		     struct err **err)
{
	_cleanup_(parser_release) struct parser p = { .a = a, .escape = '\\' };
	struct df_stage stage;

	if (measure(&p, text, err) < 0 || parse_nodes(&p, err) < 0)
		return -1;
	if (p.nodes.n != 1)
		return err_set(err, ERR_SYNTAX, "onbuild trigger should be a single expression");
	if (df_build(a, p.nodes.v[0], ret, &stage, err) < 0)
		return at(err, p.nodes.v[0]->at);
	if ((*ret)->kind == DF_FROM)
		return err_set(err, ERR_SYNTAX, "FROM isn't allowed as an ONBUILD trigger");
	return 0;
}
