/* Templates: from text to a tree. */
#include <stdarg.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"
#include "cmd/template_internal.h"

enum { DEPTH_MAX = 64 };

struct parser {
	struct arena *a;
	struct str rest; /* of the text outside of actions */
	struct str act;  /* of the action that is being read */
	unsigned line;
	int depth;
	struct err **err;
};

static int fail(struct parser *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int fail(struct parser *p, const char *fmt, ...)
{
	va_list ap;
	char *text = NULL;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		mem_fail();
	va_end(ap);
	err_set(p->err, ERR_INVALID, "template parsing error: template: :%u: %s", p->line, text);
	free(text);
	return -1;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_word(char c)
{
	return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		(c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80;
}

static void skip_space(struct parser *p)
{
	while (p->act.n && is_space(p->act.p[0]))
		p->act = str_sub(p->act, 1, p->act.n);
}

static struct str take_word(struct parser *p)
{
	size_t n = 0;
	while (n < p->act.n && is_word(p->act.p[n]))
		n++;
	struct str w = str_sub(p->act, 0, n);
	p->act = str_sub(p->act, n, p->act.n);
	return w;
}

static bool next_is(const struct parser *p, const char *text)
{
	return str_starts(p->act, str_c(text));
}

static bool accept(struct parser *p, const char *text)
{
	if (!next_is(p, text))
		return false;
	p->act = str_sub(p->act, strlen(text), p->act.n);
	return true;
}

/* A keyword, not the beginning of a longer word. */
static bool accept_word(struct parser *p, const char *text)
{
	size_t n = strlen(text);
	if (!next_is(p, text) || (p->act.n > n && is_word(p->act.p[n])))
		return false;
	return accept(p, text);
}

/* ---- operands */

static struct tpl_value *value_new(struct parser *p, enum tpl_value_kind kind)
{
	struct tpl_value *v = arena_alloc(p->a, sizeof(*v));
	*v = (struct tpl_value){ .kind = kind };
	return v;
}

/* "text" with Go's escapes, or `raw`. */
static int parse_string(struct parser *p, struct tpl_value **ret)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	struct tpl_value *v = value_new(p, TPL_STRING);
	size_t i = 1;
	bool raw = p->act.p[0] == '`';
	for (; i < p->act.n && p->act.p[i] != p->act.p[0]; i++) {
		static const char from[] = "ntr\\\"'ab", to[] = "\n\t\r\\\"'\a\b";
		if (raw || p->act.p[i] != '\\') {
			sb_add_ch(&b, p->act.p[i]);
			continue;
		}
		const char *at = ++i < p->act.n && p->act.p[i] ? strchr(from, p->act.p[i]) : NULL;
		if (!at)
			return fail(p, "invalid escape in a string");
		sb_add_ch(&b, to[at - from]);
	}
	if (i >= p->act.n)
		return fail(p, "unterminated quoted string");
	p->act = str_sub(p->act, i + 1, p->act.n);
	v->text = arena_str(p->a, sb_str(&b));
	*ret = v;
	return 0;
}

static int parse_number(struct parser *p, struct tpl_value **ret)
{
	struct tpl_value *v = value_new(p, TPL_NUMBER);
	size_t n = p->act.p[0] == '-' || p->act.p[0] == '+' ? 1 : 0;
	while (n < p->act.n && (is_word(p->act.p[n]) || p->act.p[n] == '.'))
		n++;
	_cleanup_free_ char *text = str_dup(str_sub(p->act, 0, n));
	char *end;
	v->is_int = !strchr(text, '.');
	v->number = strtod(text, &end);
	if (*end)
		return fail(p, "bad number syntax: \"%s\"", text);
	p->act = str_sub(p->act, n, p->act.n);
	*ret = v;
	return 0;
}

static int parse_pipeline(struct parser *p, const char *end, struct tpl_pipe **ret);

/* .A.B behind what it is a path of. */
static void parse_path(struct parser *p, struct tpl_value *v)
{
	struct str names[TPL_PATH_MAX];
	size_t n = 0;
	while (p->act.n > 1 && p->act.p[0] == '.' && is_word(p->act.p[1]) && n < TPL_PATH_MAX) {
		p->act = str_sub(p->act, 1, p->act.n);
		names[n++] = take_word(p);
	}
	v->path = arena_alloc(p->a, (n + 1) * sizeof(*v->path));
	if (n)
		memcpy(v->path, names, n * sizeof(*v->path));
	v->n_path = n;
}

static int parse_group(struct parser *p, struct tpl_value **ret)
{
	struct tpl_value *v = value_new(p, TPL_GROUP);
	p->act = str_sub(p->act, 1, p->act.n);
	if (++p->depth > DEPTH_MAX)
		return fail(p, "too deeply nested");
	if (parse_pipeline(p, ")", &v->group) < 0)
		return -1;
	p->depth--;
	p->act = str_sub(p->act, 1, p->act.n);
	parse_path(p, v);
	*ret = v;
	return 0;
}

static int parse_operand(struct parser *p, struct tpl_value **ret)
{
	char c = p->act.p[0];
	struct tpl_value *v;
	if (c == '"' || c == '`')
		return parse_string(p, ret);
	if ((c >= '0' && c <= '9') ||
	    ((c == '-' || c == '+') && p->act.n > 1 && p->act.p[1] >= '0' && p->act.p[1] <= '9'))
		return parse_number(p, ret);
	if (c == '(')
		return parse_group(p, ret);
	if (c == '.') {
		v = value_new(p, TPL_DOT);
		parse_path(p, v);
		if (!v->n_path)
			p->act = str_sub(p->act, 1, p->act.n);
	} else if (c == '$') {
		v = value_new(p, TPL_VARIABLE);
		p->act = str_sub(p->act, 1, p->act.n);
		v->text = take_word(p);
		parse_path(p, v);
	} else if (is_word(c)) {
		struct str w = take_word(p);
		v = value_new(p,
			      str_eq_c(w, "true") || str_eq_c(w, "false") ? TPL_BOOL
				      : str_eq_c(w, "nil")                ? TPL_NIL
									  : TPL_FUNCTION);
		v->text = w;
		v->number = str_eq_c(w, "true");
		if (v->kind == TPL_FUNCTION && !tpl_function_known(w))
			return fail(p, "function \"%.*s\" not defined", STR_ARG(w));
	} else {
		return fail(p, "unexpected %.*s in operand", (int)(p->act.n < 16 ? p->act.n : 16),
			    p->act.p);
	}
	*ret = v;
	return 0;
}

static int parse_command(struct parser *p, const char *end, struct tpl_command **ret)
{
	struct tpl_command *c = arena_alloc(p->a, sizeof(*c));
	struct tpl_value *v[TPL_ARGS_MAX];
	size_t n = 0;
	for (skip_space(p); p->act.n && p->act.p[0] != '|' && !(*end && next_is(p, end));
	     skip_space(p)) {
		if (n == TPL_ARGS_MAX)
			return fail(p, "too many arguments");
		if (parse_operand(p, &v[n++]) < 0)
			return -1;
	}
	if (!n)
		return fail(p, "missing value for command");
	*c = (struct tpl_command){ .v = arena_alloc(p->a, n * sizeof(*c->v)), .n = n };
	memcpy(c->v, v, n * sizeof(*v));
	*ret = c;
	return 0;
}

/* "$x := ", "$i, $x := ", "$x = ". */
static void parse_declaration(struct parser *p, struct tpl_pipe *pipe)
{
	struct str before = p->act;
	for (size_t n = 0; n < 2 && accept(p, "$"); n++) {
		pipe->names[n] = take_word(p);
		skip_space(p);
		if (accept(p, ":=") || (next_is(p, "=") && !next_is(p, "==") && accept(p, "="))) {
			pipe->n_names = n + 1;
			return;
		}
		if (!accept(p, ","))
			break;
		skip_space(p);
	}
	p->act = before;
}

static int parse_pipeline(struct parser *p, const char *end, struct tpl_pipe **ret)
{
	struct tpl_pipe *pipe = arena_alloc(p->a, sizeof(*pipe));
	*pipe = (struct tpl_pipe){ 0 };
	skip_space(p);
	parse_declaration(p, pipe);
	struct tpl_command **at = &pipe->first;
	do {
		if (parse_command(p, end, at) < 0)
			return -1;
		at = &(*at)->next;
	} while (accept(p, "|"));
	if (*end && !next_is(p, end))
		return fail(p, "unclosed left paren");
	*ret = pipe;
	return 0;
}

/* ---- text and actions */

static void add_text(struct parser *p, struct str text, struct tpl_node ***at)
{
	if (!text.n)
		return;
	_cleanup_(sb_releasep) struct sb b = { 0 };
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i], next = i + 1 < text.n ? text.p[i + 1] : 0;
		if (c == '\\' && (next == 't' || next == 'n')) {
			sb_add_ch(&b, next == 't' ? '\t' : '\n');
			i++;
		} else {
			sb_add_ch(&b, c);
		}
		p->line += c == '\n';
	}
	struct tpl_node *n = arena_alloc(p->a, sizeof(*n));
	*n = (struct tpl_node){ .kind = TPL_TEXT, .text = arena_str(p->a, sb_str(&b)) };
	**at = n;
	*at = &n->next;
}

/* Where the action ends: "}}" outside of strings. */
static size_t action_end(struct str s)
{
	char quote = 0;
	for (size_t i = 0; i + 1 < s.n; i++) {
		if (quote && s.p[i] == '\\' && quote != '`')
			i++;
		else if (quote)
			quote = s.p[i] == quote ? 0 : quote;
		else if (s.p[i] == '"' || s.p[i] == '`')
			quote = s.p[i];
		else if (s.p[i] == '}' && s.p[i + 1] == '}')
			return i;
	}
	return SIZE_MAX;
}

/* The next action into p->act, the text before it as a node: 1, 0 at the end, -1. */
static int next_action(struct parser *p, struct tpl_node ***at)
{
	size_t open = str_find_str(p->rest, STR("{{"), 0);
	struct str text = str_sub(p->rest, 0, open);
	if (open == SIZE_MAX) {
		p->rest.n = 0;
		add_text(p, text, at);
		return 0;
	}
	p->rest = str_sub(p->rest, open + 2, p->rest.n);
	if (p->rest.n > 1 && p->rest.p[0] == '-' && is_space(p->rest.p[1])) {
		while (text.n && is_space(text.p[text.n - 1]))
			text.n--;
		p->rest = str_sub(p->rest, 1, p->rest.n);
	}
	add_text(p, text, at);
	size_t comment = 0;
	while (comment < p->rest.n && is_space(p->rest.p[comment]))
		comment++;
	size_t end = str_starts(str_sub(p->rest, comment, p->rest.n), STR("/*"))
		? str_find_str(p->rest, STR("*/"), comment)
		: 0;
	size_t close =
		end == SIZE_MAX ? SIZE_MAX : end + action_end(str_sub(p->rest, end, p->rest.n));
	if (end == SIZE_MAX || close < end || close == SIZE_MAX)
		return fail(p, "unclosed action");
	p->act = str_sub(p->rest, 0, close);
	p->rest = str_sub(p->rest, close + 2, p->rest.n);
	if (p->act.n > 1 && p->act.p[p->act.n - 1] == '-' && is_space(p->act.p[p->act.n - 2])) {
		p->act.n--;
		while (p->rest.n && is_space(p->rest.p[0]))
			p->rest = str_sub(p->rest, 1, p->rest.n);
	}
	if (end)
		p->act.n = 0;
	return 1;
}

enum stop { STOP_END_OF_TEXT, STOP_END, STOP_ELSE };

static int parse_list(struct parser *p, bool inner, struct tpl_node **ret, enum stop *ret_stop);

/* if, with or range behind its word, to its end. `else if` is an if inside of the else, which takes the same end. */
static int parse_block(struct parser *p, enum tpl_node_kind kind, struct tpl_node **ret)
{
	struct tpl_node *n = arena_alloc(p->a, sizeof(*n));
	enum stop stop;
	*n = (struct tpl_node){ .kind = kind };
	if (++p->depth > DEPTH_MAX)
		return fail(p, "too deeply nested");
	if (parse_pipeline(p, "", &n->pipe) < 0 || parse_list(p, true, &n->then, &stop) < 0)
		return -1;
	if (stop == STOP_ELSE) {
		skip_space(p);
		if (accept_word(p, "if") || accept_word(p, "with")) {
			enum tpl_node_kind inner = p->act.p[-1] == 'f' ? TPL_IF : TPL_WITH;
			if (parse_block(p, inner, &n->otherwise) < 0)
				return -1;
			stop = STOP_END;
		} else if (p->act.n) {
			return fail(p, "unexpected %.*s in else",
				    (int)(p->act.n < 16 ? p->act.n : 16), p->act.p);
		} else if (parse_list(p, true, &n->otherwise, &stop) < 0) {
			return -1;
		}
	}
	if (stop != STOP_END)
		return fail(p,
			    stop == STOP_ELSE ? "expected end; found {{else}}" : "unexpected EOF");
	p->depth--;
	*ret = n;
	return 0;
}

static int parse_action(struct parser *p, struct tpl_node **ret)
{
	static const char *const refused[] = { "define", "block", "template", "break", "continue" };
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (accept_word(p, refused[i]))
			return fail(p, "not supported: {{%s}}", refused[i]);
	if (accept_word(p, "if"))
		return parse_block(p, TPL_IF, ret);
	if (accept_word(p, "with"))
		return parse_block(p, TPL_WITH, ret);
	if (accept_word(p, "range"))
		return parse_block(p, TPL_RANGE, ret);
	struct tpl_node *n = arena_alloc(p->a, sizeof(*n));
	*n = (struct tpl_node){ .kind = TPL_PRINT };
	*ret = n;
	return parse_pipeline(p, "", &n->pipe);
}

static int parse_list(struct parser *p, bool inner, struct tpl_node **ret, enum stop *ret_stop)
{
	struct tpl_node **at = ret;
	int r;
	*ret = NULL;
	while ((r = next_action(p, &at)) > 0) {
		skip_space(p);
		if (!p->act.n)
			continue;
		bool ends = accept_word(p, "end"), other = !ends && accept_word(p, "else");
		if (ends || other) {
			*ret_stop = ends ? STOP_END : STOP_ELSE;
			return inner ? 0 : fail(p, "unexpected {{%s}}", ends ? "end" : "else");
		}
		if (parse_action(p, at) < 0)
			return -1;
		at = &(*at)->next;
	}
	*ret_stop = STOP_END_OF_TEXT;
	return r;
}

struct template *template_parse(struct str text, struct err **err)
{
	struct template *t = xcalloc(1, sizeof(*t));
	t->a = arena_new();
	struct parser p = { .a = t->a, .rest = arena_str(t->a, text), .line = 1, .err = err };
	enum stop stop;
	if (parse_list(&p, false, &t->first, &stop) < 0) {
		template_free(t);
		return NULL;
	}
	return t;
}

void template_free(struct template *t)
{
	if (!t)
		return;
	arena_free(t->a);
	free(t);
}

void template_freep(struct template **t)
{
	template_free(*t);
	*t = NULL;
}

bool template_is_table(struct str text, struct str *ret)
{
	if (!str_starts(text, STR("table")) ||
	    (text.n > 5 && !is_space(text.p[5]) && text.p[5] != '\\'))
		return false;
	struct str rest = str_sub(text, 5, text.n);
	if (str_starts(rest, STR("\\t")))
		rest = str_sub(rest, 2, rest.n);
	*ret = str_trim(rest, " \t");
	return true;
}
