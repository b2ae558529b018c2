#include "parser/pattern.h"

#include <stdint.h>

#include "base/err.h"
#include "base/utf8.h"
#include "base/vec.h"
#include "parser/letter.h"

enum { OP_ANY = 0x110000, OP_STAR, BAD_CHAR = 0xfffd, MAX_VALUE = 4 * 1024 * 1024 };
/* Steps (characters × live states) one expansion may take: about a second. */
static const uint64_t max_steps = UINT64_C(1) << 27;

struct chars {
	uint32_t *v;
	uint32_t *at; /* at[i]: byte offset of v[i]; at[n]: the length */
	size_t n;
};

struct thread {
	uint32_t pc;
	size_t start;
};

struct threads {
	struct thread *v;
	size_t n;
	uint64_t mark; /* of the states that are in it */
};

struct machine {
	uint32_t *op; /* a character, OP_ANY or OP_STAR */
	size_t n;
	bool greedy;
	uint64_t steps, marks;
	struct threads now, next;
	uint64_t *mark; /* mark[pc]: that of the list to which pc was added last */
};

static void chars_init(struct chars *c, struct str s)
{
	c->v = xreallocarray(NULL, s.n + 1, sizeof(*c->v));
	c->at = xreallocarray(NULL, s.n + 1, sizeof(*c->at));
	c->n = 0;
	size_t i = 0;
	while (i < s.n) {
		uint32_t ch;
		c->at[c->n] = (uint32_t)i;
		i += utf8_next(s, i, &ch);
		c->v[c->n++] = ch == UTF8_BAD ? BAD_CHAR : ch;
	}
	c->at[c->n] = (uint32_t)i;
}

static void chars_release(struct chars *c)
{
	free(c->v);
	free(c->at);
}

/* Reversed; in a pattern an escape stays before what it escapes. */
static void chars_reverse(struct chars *c, bool is_pattern)
{
	uint32_t *v = xreallocarray(NULL, c->n + 1, sizeof(*v));
	for (size_t i = 0; i < c->n; i++) {
		size_t to = c->n - 1 - i;
		if (is_pattern && c->v[i] == '\\' && i + 1 < c->n) {
			v[to - 1] = '\\';
			v[to] = c->v[i + 1];
			i++;
		} else {
			v[to] = c->v[i];
		}
	}
	free(c->v);
	c->v = v;
}

static void machine_release(struct machine *m)
{
	free(m->op);
	free(m->now.v);
	free(m->next.v);
	free(m->mark);
}

static int bad_pattern(const struct chars *p, uint32_t escaped, struct err **err)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	for (size_t i = 0; i < p->n; i++)
		utf8_add(&b, p->v[i]);
	sb_add_c(&b, ") in substitution: invalid escape '\\");
	utf8_add(&b, escaped);
	return err_set(err, ERR_SYNTAX, "invalid pattern (%s'", sb_c(&b));
}

static int machine_init(struct machine *m, const struct chars *p, bool greedy, struct err **err)
{
	*m = (struct machine){ .greedy = greedy };
	m->op = xreallocarray(NULL, p->n + 1, sizeof(*m->op));
	for (size_t i = 0; i < p->n; i++) {
		uint32_t c = p->v[i];
		if (c == '*') {
			c = OP_STAR;
		} else if (c == '?') {
			c = OP_ANY;
		} else if (c == '\\') {
			uint32_t next = i + 1 < p->n ? p->v[i + 1] : BAD_CHAR;
			if (i + 1 < p->n && (next == '}' || next == '/'))
				continue;
			if (next != '*' && next != '?' && next != '\\')
				return bad_pattern(p, next, err);
			c = next;
			i++;
		}
		m->op[m->n++] = c;
	}
	m->now.v = xreallocarray(NULL, m->n + 1, sizeof(*m->now.v));
	m->next.v = xreallocarray(NULL, m->n + 1, sizeof(*m->next.v));
	m->mark = xcalloc(m->n + 1, sizeof(*m->mark));
	return 0;
}

static void threads_clear(struct machine *m, struct threads *t)
{
	t->n = 0;
	t->mark = ++m->marks;
}

/* Adds the state pc and what it reaches without a character, in order of preference. */
static void add(struct machine *m, struct threads *t, size_t pc, size_t start)
{
	size_t end = pc;
	while (m->mark[end] != t->mark) {
		m->mark[end] = t->mark;
		end++;
		if (end > m->n || m->op[end - 1] != OP_STAR)
			break;
	}
	for (size_t k = pc; k < end; k++)
		t->v[t->n++] =
			(struct thread){ (uint32_t)(m->greedy ? k : end - 1 - (k - pc)), start };
}

static bool takes(uint32_t op, uint32_t c)
{
	return op == c || (op >= OP_ANY && c != '\n');
}

/* The preferred leftmost match at or after `from`: 1 with [begin, end), 0 none, -1 too much work. */
static int find(struct machine *m, const struct chars *s, size_t from, bool anchored, size_t *begin,
		size_t *end, struct err **err)
{
	bool found = false;
	threads_clear(m, &m->now);
	for (size_t pos = from; pos <= s->n; pos++) {
		if (!found && (!anchored || pos == from))
			add(m, &m->now, 0, pos);
		else if (!m->now.n)
			break;
		threads_clear(m, &m->next);
		for (size_t i = 0; i < m->now.n; i++) {
			struct thread t = m->now.v[i];
			if (t.pc == m->n) {
				*begin = t.start;
				*end = pos;
				found = true;
				break;
			}
			if (pos < s->n && takes(m->op[t.pc], s->v[pos]))
				add(m, &m->next, m->op[t.pc] == OP_STAR ? t.pc : t.pc + 1, t.start);
		}
		m->steps += m->now.n + 1;
		if (m->steps > max_steps)
			return err_set(err, ERR_LIMIT, "pattern in substitution takes too long");
		struct threads swap = m->now;
		m->now = m->next;
		m->next = swap;
	}
	return found;
}

static int check_size(struct str pattern, struct str value, struct err **err)
{
	if (pattern.n <= MAX_VALUE && value.n <= MAX_VALUE)
		return 0;
	return err_set(err, ERR_LIMIT, "pattern or value in substitution is larger than %d bytes",
		       MAX_VALUE);
}

int df_pattern_trim(struct str pattern, struct str value, bool suffix, bool greedy, struct str *ret,
		    struct err **err)
{
	_cleanup_(chars_release) struct chars p = { 0 }, s = { 0 };
	_cleanup_(machine_release) struct machine m = { 0 };
	size_t begin, end;

	if (check_size(pattern, value, err) < 0)
		return -1;
	chars_init(&p, pattern);
	chars_init(&s, value);
	if (suffix) {
		chars_reverse(&p, true);
		chars_reverse(&s, false);
	}
	if (machine_init(&m, &p, greedy, err) < 0)
		return -1;
	int r = find(&m, &s, 0, true, &begin, &end, err);
	if (r < 0)
		return -1;
	if (!r)
		*ret = value;
	else if (suffix)
		*ret = str_sub(value, 0, s.at[s.n - end]);
	else
		*ret = str_sub(value, s.at[end], value.n);
	return 0;
}

/* Adds the template `with` for a match. */
static void add_template(struct sb *out, struct str with, struct str match)
{
	for (size_t i = 0; i < with.n;) {
		if (with.p[i] != '$') {
			size_t to = str_find(with, '$', i);
			if (to == SIZE_MAX)
				to = with.n;
			sb_add(out, with.p + i, to - i);
			i = to;
			continue;
		}
		if (i + 1 < with.n && with.p[i + 1] == '$') {
			sb_add_ch(out, '$');
			i += 2;
			continue;
		}
		bool brace = i + 1 < with.n && with.p[i + 1] == '{';
		size_t from = i + 1 + brace, to = from;
		while (to < with.n) {
			uint32_t c;
			size_t n = utf8_next(with, to, &c);
			if (!df_is_letter(c) && !df_is_digit(c) && c != '_')
				break;
			to += n;
		}
		if (to == from || (brace && (to == with.n || with.p[to] != '}'))) {
			sb_add_ch(out, '$');
			i++;
			continue;
		}
		if (str_eq_c(str_sub(with, from, to), "0"))
			sb_add_str(out, match);
		i = to + brace;
	}
}

static int replace_all(struct machine *m, const struct chars *s, struct str with, struct str value,
		       struct sb *out, struct err **err)
{
	size_t done = 0, pos = 0, begin, end;
	while (pos <= s->n) {
		int r = find(m, s, pos, false, &begin, &end, err);
		if (r < 0)
			return -1;
		if (!r)
			break;
		sb_add_str(out, str_sub(value, s->at[done], s->at[begin]));
		/* An empty match right behind another is none. */
		if (end > done || begin == 0)
			add_template(out, with, str_sub(value, s->at[begin], s->at[end]));
		done = end;
		pos = end > pos ? end : pos + 1;
	}
	sb_add_str(out, str_sub(value, s->at[done], value.n));
	return 0;
}

int df_pattern_replace(struct str pattern, struct str with, struct str value, bool all,
		       struct sb *out, struct err **err)
{
	_cleanup_(chars_release) struct chars p = { 0 }, s = { 0 };
	_cleanup_(machine_release) struct machine m = { 0 };
	size_t begin, end;

	if (check_size(pattern, value, err) < 0)
		return -1;
	chars_init(&p, pattern);
	chars_init(&s, value);
	if (machine_init(&m, &p, true, err) < 0)
		return -1;
	if (all)
		return replace_all(&m, &s, with, value, out, err);
	int r = find(&m, &s, 0, false, &begin, &end, err);
	if (r < 0)
		return -1;
	if (!r) {
		sb_add_str(out, value);
		return 0;
	}
	sb_add_str(out, str_sub(value, 0, s.at[begin]));
	sb_add_str(out, with);
	sb_add_str(out, str_sub(value, s.at[end], value.n));
	return 0;
}
