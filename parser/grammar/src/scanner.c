/*
 * The external scanner: it makes every token of the grammar.
 *
 * A logical line is one or more physical lines joined by continuations; comment and blank lines between them belong to it.
 * Whether it is in JSON form, and which of its words are heredoc markers, depends on all of it, so at the keyword the scanner
 * looks ahead to its end and asks parser/flags.h, which the lowering asks too: there is one truth. The answer is kept in the
 * state, which tree-sitter saves with each token and restores before each scan; what does not fit becomes a token of its own.
 *
 * Offsets count the bytes of the logical line; a byte that is not UTF-8 counts as U+FFFD, since the lexer does not tell its
 * value.
 */
#include "parser/flags.h"

#include "base/err.h"
#include "base/utf8.h"
#include "base/vec.h"
#include "parser/directive.h"
#include "parser/heredoc.h"
#include "tree_sitter/parser.h"

enum token {
	DIRECTIVE,
	COMMENT,
	BLANK,
	KEYWORD,
	FLAG,
	TEXT,
	CONTINUATION,
	HEREDOC_MARKER,
	HEREDOC_OVERFLOW,
	JSON_START,
	LINE_END,
	HEREDOC_BODY,
	HEREDOC_END,
};

enum mode {
	TOP,       /* at the start of a line, outside of instructions */
	ARGS,      /* behind a keyword */
	NEXT_LINE, /* at the start of a line, behind a continuation */
	BODY,      /* at the start of a line, in the body of the first heredoc */
};

enum { MAX_DOCS = 128, MAX_NAMES = 700, NO_CHAR = -2, BAD = 0xfffd };

struct doc {
	uint32_t begin, end;   /* of the marker */
	uint16_t name, name_n; /* in names */
	bool strip;
};

struct scanner {
	/* the state */
	char escape;
	enum mode mode;
	bool directives; /* still possible */
	bool flags;      /* still possible in this instruction */
	bool overflow;   /* to be said */
	uint32_t offset; /* kept while json or a marker is ahead */
	uint32_t json;   /* where the JSON form begins, + 1 */
	unsigned n_docs, n_marked;
	struct doc docs[MAX_DOCS];
	char names[MAX_NAMES];

	/* room for one scan */
	struct sb line;
	VEC(int32_t) queue; /* characters read ahead */
	size_t queue_at;
	int32_t prev; /* the last one on this physical line */
};

/* ---- the state as bytes */

static unsigned put(char *buf, unsigned at, uint32_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf[at++] = (char)(v | 0x80);
	buf[at++] = (char)v;
	return at;
}

static uint32_t get(const char *buf, unsigned n, unsigned *at)
{
	uint32_t v = 0;
	for (unsigned shift = 0; *at < n && shift < 32; shift += 7) {
		unsigned char c = (unsigned char)buf[(*at)++];
		v |= (uint32_t)(c & 0x7f) << shift;
		if (c < 0x80)
			break;
	}
	return v;
}

/* At most 2 + 10 + 4 + MAX_DOCS × (10 + 3) + MAX_NAMES bytes; plan() sees to it that they fit. */
static unsigned save(const struct scanner *s, char *buf)
{
	unsigned n = 0;
	buf[n++] = s->escape;
	buf[n++] = (char)(s->mode | (unsigned)s->directives << 2 | (unsigned)s->flags << 3 |
			  (unsigned)s->overflow << 4);
	if (!s->n_docs && !s->json)
		return n;
	n = put(buf, n, s->offset);
	n = put(buf, n, s->json);
	n = put(buf, n, s->n_docs);
	n = put(buf, n, s->n_marked);
	for (unsigned i = 0; i < s->n_docs; i++) {
		const struct doc *d = &s->docs[i];
		if (i >= s->n_marked) {
			n = put(buf, n, d->begin);
			n = put(buf, n, d->end - d->begin);
		}
		n = put(buf, n, (uint32_t)d->name_n << 1 | d->strip);
		memcpy(buf + n, s->names + d->name, d->name_n);
		n += d->name_n;
	}
	return n;
}

static void load(struct scanner *s, const char *buf, unsigned n)
{
	unsigned at = 2;
	uint16_t names = 0;

	s->escape = n ? buf[0] : '\\';
	unsigned bits = n ? (unsigned char)buf[1] : TOP | 1u << 2;
	s->mode = bits & 3;
	s->directives = bits >> 2 & 1;
	s->flags = bits >> 3 & 1;
	s->overflow = bits >> 4 & 1;
	s->offset = s->json = 0;
	s->n_docs = s->n_marked = 0;
	if (n <= at)
		return;
	s->offset = get(buf, n, &at);
	s->json = get(buf, n, &at);
	s->n_docs = get(buf, n, &at);
	s->n_marked = get(buf, n, &at);
	for (unsigned i = 0; i < s->n_docs; i++) {
		struct doc *d = &s->docs[i];
		d->begin = i >= s->n_marked ? get(buf, n, &at) : 0;
		d->end = i >= s->n_marked ? d->begin + get(buf, n, &at) : 0;
		uint32_t v = get(buf, n, &at);
		d->strip = v & 1;
		d->name = names;
		d->name_n = (uint16_t)(v >> 1);
		memcpy(s->names + names, buf + at, d->name_n);
		names = (uint16_t)(names + d->name_n);
		at += d->name_n;
	}
}

/* ---- characters */

static int32_t look(const TSLexer *l)
{
	return l->lookahead < 0 ? BAD : l->lookahead;
}

static bool at_line_end(const TSLexer *l)
{
	return l->lookahead == '\n' || (l->lookahead == 0 && l->eof(l));
}

static void step(TSLexer *l)
{
	l->advance(l, false);
}

static uint32_t width(int32_t c)
{
	return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
}

static bool is_blank(int32_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r' && c != '\n');
}

/* Printable ASCII that means nothing to the structure of lines. */
static bool is_ordinary(int32_t c, char escape)
{
	return c > ' ' && c < 0x7f && c != escape;
}

static void push(struct scanner *s, int32_t c)
{
	VEC_PUSH(&s->queue, c);
}

static bool queued(const struct scanner *s)
{
	return s->queue_at < s->queue.n;
}

static void start_reading(struct scanner *s)
{
	VEC_CLEAR(&s->queue);
	s->queue_at = 0;
	s->prev = 0;
}

/* Queues blanks and carriage returns; true when the physical line ends behind them. */
static bool queue_to_line_end(struct scanner *s, TSLexer *l)
{
	while (l->lookahead == ' ' || l->lookahead == '\t') {
		push(s, l->lookahead);
		step(l);
	}
	while (l->lookahead == '\r') {
		push(s, l->lookahead);
		step(l);
	}
	return at_line_end(l);
}

/* Behind a continuation: passes comment and blank lines, queues the blanks that the next line begins with. False at the end. */
static bool pass_lines(struct scanner *s, TSLexer *l)
{
	for (;;) {
		if (l->lookahead != '\n')
			return false;
		step(l);
		start_reading(s);
		while (!at_line_end(l) && utf8_is_space((uint32_t)look(l))) {
			push(s, look(l));
			step(l);
		}
		if (l->lookahead == '#')
			while (!at_line_end(l))
				step(l);
		else if (!at_line_end(l))
			break;
	}
	if (queued(s))
		s->prev = s->queue.v[s->queue.n - 1];
	return true;
}

/* The next character of the logical line, or NO_CHAR. */
static int32_t next(struct scanner *s, TSLexer *l)
{
	for (;;) {
		if (queued(s))
			return s->queue.v[s->queue_at++];
		VEC_CLEAR(&s->queue);
		s->queue_at = 0;
		if (at_line_end(l))
			return NO_CHAR;
		int32_t c = look(l);
		if (c == '\r') {
			if (queue_to_line_end(s, l)) {
				VEC_CLEAR(&s->queue);
				return NO_CHAR;
			}
			s->prev = s->queue.v[s->queue.n - 1];
			continue;
		}
		step(l);
		if (c != s->escape || s->prev == s->escape) {
			s->prev = c;
			return c;
		}
		s->prev = c;
		if (!queue_to_line_end(s, l)) {
			if (queued(s))
				s->prev = s->queue.v[s->queue.n - 1];
			return c;
		}
		VEC_CLEAR(&s->queue);
		if (!pass_lines(s, l)) {
			VEC_CLEAR(&s->queue);
			return NO_CHAR;
		}
	}
}

static void add(struct scanner *s, int32_t c)
{
	if (c < 0x80)
		sb_add_ch(&s->line, (char)c);
	else
		utf8_add(&s->line, (uint32_t)c);
}

/* Adds what is ordinary, and blanks, to the line: the short way through most of it. */
static void add_run(struct scanner *s, TSLexer *l)
{
	char buf[256];
	size_t n = 0;
	while (is_ordinary(l->lookahead, s->escape) || l->lookahead == ' ') {
		s->prev = l->lookahead;
		buf[n++] = (char)l->lookahead;
		step(l);
		if (n == sizeof(buf)) {
			sb_add(&s->line, buf, n);
			n = 0;
		}
	}
	if (n)
		sb_add(&s->line, buf, n);
}

/* ---- tokens */

static bool give(TSLexer *l, const bool *valid, enum token t)
{
	l->result_symbol = t;
	return valid[t];
}

static void end_instruction(struct scanner *s)
{
	s->mode = s->n_docs ? BODY : TOP;
	s->n_marked = s->n_docs;
	s->offset = s->json = 0;
	s->flags = false;
}

/* A run of blank lines; true when there is one. Blanks before the next character that counts are skipped. */
static bool blank_lines(TSLexer *l, uint32_t *ret_blanks)
{
	bool any = false;
	*ret_blanks = 0;
	for (;;) {
		if (l->lookahead == '\n') {
			step(l);
			l->mark_end(l);
			any = true;
		} else if (utf8_is_space((uint32_t)look(l))) {
			*ret_blanks += width(look(l));
			l->advance(l, !any);
		} else {
			break;
		}
	}
	if (any && l->eof(l))
		l->mark_end(l);
	return any;
}

static bool comment(struct scanner *s, TSLexer *l, const bool *valid)
{
	enum token t = COMMENT;
	if (s->directives) {
		struct str value;
		sb_reset(&s->line);
		for (; !at_line_end(l); step(l))
			add(s, look(l));
		while (s->line.n && s->line.p[s->line.n - 1] == '\r')
			sb_trunc(&s->line, s->line.n - 1);
		enum df_directive_kind k = df_directive_parse(sb_str(&s->line), &value);
		s->directives = k != DF_DIRECTIVE_NONE;
		if (s->directives)
			t = DIRECTIVE;
		if (k == DF_DIRECTIVE_ESCAPE && (str_eq_c(value, "\\") || str_eq_c(value, "`")))
			s->escape = value.p[0];
	} else {
		while (!at_line_end(l))
			step(l);
	}
	if (l->lookahead == '\n')
		step(l);
	l->mark_end(l);
	return give(l, valid, t);
}

/* Whether the form of an instruction depends on more than its keyword. */
static bool looks_ahead(struct str keyword)
{
	enum df_kind k;
	if (!df_kind_of(keyword, &k))
		return false;
	return k == DF_ADD || k == DF_CMD || k == DF_COPY || k == DF_ENTRYPOINT ||
		k == DF_HEALTHCHECK || k == DF_ONBUILD || k == DF_RUN || k == DF_SHELL ||
		k == DF_VOLUME;
}

/* Keeps the markers of a line: false when they do not fit the state. */
static bool plan(struct scanner *s, const struct df_shape *shape)
{
	size_t names = 0, size = 20;
	for (size_t i = 0; i < shape->n_markers; i++) {
		const struct df_marker *m = &shape->markers[i];
		names += m->name.n;
		size += m->name.n + 13;
		if (i == MAX_DOCS || names > MAX_NAMES ||
		    size > TREE_SITTER_SERIALIZATION_BUFFER_SIZE)
			return false;
		struct doc *d = &s->docs[i];
		*d = (struct doc){
			.begin = (uint32_t)m->begin,
			.end = (uint32_t)m->end,
			.name = (uint16_t)(names - m->name.n),
			.name_n = (uint16_t)m->name.n,
			.strip = m->strip_tabs,
		};
		memcpy(s->names + d->name, m->name.p, m->name.n);
	}
	s->n_docs = (unsigned)shape->n_markers;
	return true;
}

/* Reads the rest of the logical line and settles its form. */
static void look_ahead(struct scanner *s, TSLexer *l)
{
	for (int32_t c; (c = next(s, l)) != NO_CHAR;) {
		add(s, c);
		if (!queued(s))
			add_run(s, l);
	}
	struct str line = sb_str(&s->line);
	s->n_marked = 0;
	if (str_find(line, '[', 0) == SIZE_MAX && str_find(line, '<', 0) == SIZE_MAX)
		return;

	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(err_dropp) struct err *e = NULL;
	struct df_shape shape;
	if (line.n > UINT32_MAX - 2 || df_shape_of(a, line, s->escape, &shape, &e) < 0 ||
	    !plan(s, &shape)) {
		s->n_docs = 0;
		s->overflow = true;
		return;
	}
	s->json = shape.json == SIZE_MAX ? 0 : (uint32_t)shape.json + 1;
}

static bool keyword(struct scanner *s, TSLexer *l, const bool *valid)
{
	size_t begin = 0, marked = 0;
	bool any = false;

	start_reading(s);
	sb_reset(&s->line);
	for (int32_t c; (c = next(s, l)) != NO_CHAR;) {
		if (any && is_blank(c)) {
			add(s, c);
			break;
		}
		if (!any && utf8_is_space((uint32_t)c)) {
			add(s, c);
			begin = s->line.n;
			continue;
		}
		any = true;
		add(s, c);
		if (!queued(s)) {
			l->mark_end(l);
			marked = s->line.n;
		}
	}
	if (!marked) {
		l->mark_end(l);
		for (; queued(s); s->queue_at++)
			add(s, s->queue.v[s->queue_at]);
		marked = s->line.n;
	}
	size_t end = begin;
	while (end < s->line.n && !is_blank(s->line.p[end]))
		end++;
	s->mode = ARGS;
	s->flags = true;
	s->directives = false;
	s->n_docs = 0;
	s->json = 0;
	if (looks_ahead(str_sub(sb_str(&s->line), begin, end)))
		look_ahead(s, l);
	s->offset = s->n_docs || s->json ? (uint32_t)marked : 0;
	return give(l, valid, KEYWORD);
}

/* Where the next thing starts that has a token of its own. */
static uint32_t ahead(const struct scanner *s)
{
	uint32_t at = s->json ? s->json - 1 : UINT32_MAX;
	return s->n_marked < s->n_docs ? s->docs[s->n_marked].begin : at;
}

/* Ends the token here, where the lexer is not ahead of what was read. No token may end between an escape and a second one,
 * which would look like the start of a continuation to the next. */
static void mark(struct scanner *s, TSLexer *l, uint32_t offset)
{
	if (queued(s))
		return;
	l->mark_end(l);
	s->offset = offset;
}

/* A flag, or `-` as text where none begins. */
static bool flag(struct scanner *s, TSLexer *l, const bool *valid)
{
	uint32_t offset = s->offset + 1;
	int32_t quote = 0, c;
	unsigned n = 2;

	start_reading(s);
	next(s, l);
	l->mark_end(l);
	s->offset = offset++;
	if (next(s, l) != '-') {
		s->flags = false;
		return give(l, valid, TEXT);
	}
	l->mark_end(l);
	s->offset = offset;
	while ((c = next(s, l)) != NO_CHAR && (quote || !is_blank(c))) {
		offset += width(c);
		if (c == quote) {
			quote = 0;
		} else if (!quote && (c == '\'' || c == '"')) {
			quote = c;
		} else {
			n++;
			if (c == s->escape) {
				mark(s, l, offset);
				c = next(s, l);
				if (c == NO_CHAR)
					break;
				offset += width(c);
			}
		}
		mark(s, l, offset);
	}
	if (n == 2)
		s->flags = false;
	return give(l, valid, FLAG);
}

static bool marker(struct scanner *s, TSLexer *l, const bool *valid)
{
	uint32_t end = s->docs[s->n_marked].end;
	start_reading(s);
	for (int32_t c; s->offset < end && (c = next(s, l)) != NO_CHAR;)
		s->offset += width(c);
	l->mark_end(l);
	for (; queued(s); s->queue_at++)
		s->offset += width(s->queue.v[s->queue_at]);
	/* Words out of one expansion share its place. */
	while (s->n_marked < s->n_docs && s->docs[s->n_marked].begin < s->offset)
		s->n_marked++;
	return give(l, valid, HEREDOC_MARKER);
}

/* The continuation at an escape character, behind which the physical line ends. */
static bool continuation(struct scanner *s, TSLexer *l, const bool *valid)
{
	if (l->lookahead == '\n')
		step(l);
	l->mark_end(l);
	s->mode = NEXT_LINE;
	return give(l, valid, CONTINUATION);
}

/* Text up to a continuation, the end of the line or the next thing ahead, without the blanks at its end; or the continuation. */
static bool text(struct scanner *s, TSLexer *l, const bool *valid)
{
	bool any = false, open = false; /* open: the end is not marked yet */
	uint32_t stop = ahead(s), offset = s->offset;
	int32_t prev = 0;

	start_reading(s);
	while (!at_line_end(l) && !(any && offset >= stop)) {
		int32_t c = look(l);
		bool escape = c == s->escape && prev != s->escape;
		if (open && (escape || is_blank(c))) {
			mark(s, l, offset);
			open = false;
		}
		step(l);
		if (escape && queue_to_line_end(s, l))
			return any ? give(l, valid, TEXT) : continuation(s, l, valid);
		offset += width(c) + (uint32_t)s->queue.n;
		prev = s->queue.n ? s->queue.v[s->queue.n - 1] : c;
		start_reading(s);
		if (!is_blank(c))
			any = open = true;
		if (stop != UINT32_MAX)
			continue;
		/* Nothing is ahead, so the offset does not matter: the short way through what is ordinary. */
		for (; is_ordinary(l->lookahead, s->escape); step(l)) {
			any = open = true;
			prev = 0;
		}
	}
	if (open)
		mark(s, l, offset);
	s->flags = false;
	return give(l, valid, TEXT);
}

static bool arguments(struct scanner *s, TSLexer *l, const bool *valid)
{
	if (s->overflow) {
		s->overflow = false;
		l->mark_end(l);
		return give(l, valid, HEREDOC_OVERFLOW);
	}
	while (is_blank(l->lookahead)) {
		s->offset++;
		l->advance(l, true);
	}
	bool r;
	if (at_line_end(l)) {
		if (l->lookahead == '\n')
			step(l);
		l->mark_end(l);
		end_instruction(s);
		r = give(l, valid, LINE_END);
	} else if (s->json && s->offset >= s->json - 1) {
		s->json = 0;
		l->mark_end(l);
		r = give(l, valid, JSON_START);
	} else if (s->flags && l->lookahead == '-') {
		r = flag(s, l, valid);
	} else if (s->n_marked < s->n_docs && s->offset >= s->docs[s->n_marked].begin) {
		r = marker(s, l, valid);
	} else {
		r = text(s, l, valid);
	}
	/* Where nothing is ahead the offset is not part of the state, so that more of a tree can be used again after an edit. */
	if (!s->json && s->n_marked == s->n_docs)
		s->offset = 0;
	return r;
}

/* Whether the line ends the first heredoc; else it is passed to its end. */
static bool terminator(struct scanner *s, TSLexer *l)
{
	const struct doc *d = &s->docs[0];
	struct str name = { s->names + d->name, d->name_n };
	size_t i = 0;

	while (d->strip && l->lookahead == '\t')
		step(l);
	/* A carriage return is part of the line ending, so no line can be a name that ends with one. */
	while (i < name.n && !at_line_end(l) && l->lookahead >= 0 && name.p[name.n - 1] != '\r') {
		uint32_t c;
		size_t n = utf8_next(name, i, &c);
		if ((uint32_t)l->lookahead != c)
			break;
		i += n;
		step(l);
	}
	if (i == name.n) {
		while (l->lookahead == '\r')
			step(l);
		if (at_line_end(l))
			return true;
	}
	while (!at_line_end(l))
		step(l);
	return false;
}

static bool body(struct scanner *s, TSLexer *l, const bool *valid)
{
	bool any = false;

	l->mark_end(l);
	while (!l->eof(l)) {
		if (terminator(s, l)) {
			if (any)
				return give(l, valid, HEREDOC_BODY);
			break;
		}
		if (l->lookahead == '\n')
			step(l);
		l->mark_end(l);
		any = true;
	}
	if (any)
		return give(l, valid, HEREDOC_BODY);
	if (l->lookahead == '\n')
		step(l);
	l->mark_end(l);
	uint16_t gone = s->docs[0].name_n;
	memmove(s->names, s->names + gone, MAX_NAMES - gone);
	memmove(s->docs, s->docs + 1, (MAX_DOCS - 1) * sizeof(s->docs[0]));
	s->n_docs--;
	for (unsigned i = 0; i < s->n_docs; i++)
		s->docs[i].name = (uint16_t)(s->docs[i].name - gone);
	end_instruction(s);
	return give(l, valid, HEREDOC_END);
}

static bool scan(struct scanner *s, TSLexer *l, const bool *valid)
{
	uint32_t blanks;

	if (s->mode == BODY)
		return body(s, l, valid);
	if (s->mode == ARGS)
		return arguments(s, l, valid);
	if (blank_lines(l, &blanks)) {
		s->directives = false;
		return give(l, valid, BLANK);
	}
	if (l->lookahead == '#')
		return comment(s, l, valid);
	if (s->mode == NEXT_LINE) {
		s->mode = ARGS;
		s->offset += blanks;
		return arguments(s, l, valid);
	}
	if (l->eof(l)) {
		/* Blanks without a newline at the end of the file. */
		l->mark_end(l);
		return blanks && give(l, valid, BLANK);
	}
	return keyword(s, l, valid);
}

/* ---- what tree-sitter calls */

void *tree_sitter_dockerfile_external_scanner_create(void);
void tree_sitter_dockerfile_external_scanner_destroy(void *p);
unsigned tree_sitter_dockerfile_external_scanner_serialize(void *p, char *buf);
void tree_sitter_dockerfile_external_scanner_deserialize(void *p, const char *buf, unsigned n);
bool tree_sitter_dockerfile_external_scanner_scan(void *p, TSLexer *l, const bool *valid);

void *tree_sitter_dockerfile_external_scanner_create(void)
{
	struct scanner *s = xcalloc(1, sizeof(*s));
	load(s, NULL, 0);
	return s;
}

void tree_sitter_dockerfile_external_scanner_destroy(void *p)
{
	struct scanner *s = p;
	sb_release(&s->line);
	VEC_RELEASE(&s->queue);
	free(s);
}

unsigned tree_sitter_dockerfile_external_scanner_serialize(void *p, char *buf)
{
	return save(p, buf);
}

void tree_sitter_dockerfile_external_scanner_deserialize(void *p, const char *buf, unsigned n)
{
	load(p, buf, n);
}

bool tree_sitter_dockerfile_external_scanner_scan(void *p, TSLexer *l, const bool *valid)
{
	return scan(p, l, valid);
}
