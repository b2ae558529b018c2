#include "base/glob.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/path.h"
#include "base/utf8.h"
#include "base/vec.h"

/* ---- Go's path.Match */

/* The character of a class at *i, escapes resolved: false where the pattern is malformed. */
static bool class_char(struct str p, size_t *i, uint32_t *ret)
{
	if (*i >= p.n || p.p[*i] == '-' || p.p[*i] == ']')
		return false;
	if (p.p[*i] == '\\' && ++*i >= p.n)
		return false;
	*i += utf8_next(p, *i, ret);
	return *ret != UTF8_BAD && *i < p.n;
}

/* Reads the class behind `[` at *i, moves behind its `]`, and says whether it holds c. */
static bool class_match(struct str p, size_t *i, uint32_t c, bool *ret_ok)
{
	bool negated = *i < p.n && p.p[*i] == '^', hit = false;
	size_t ranges = 0;

	*i += negated;
	*ret_ok = false;
	for (;; ranges++) {
		uint32_t low, high;
		if (*i < p.n && p.p[*i] == ']' && ranges)
			break;
		if (!class_char(p, i, &low))
			return false;
		high = low;
		if (p.p[*i] == '-') {
			++*i;
			if (!class_char(p, i, &high))
				return false;
		}
		hit |= low <= c && c <= high;
	}
	++*i;
	*ret_ok = true;
	return hit != negated;
}

static bool is_valid(struct str p)
{
	for (size_t i = 0; i < p.n;) {
		char c = p.p[i++];
		bool ok = true;
		if (c == '\\')
			ok = i++ < p.n;
		else if (c == '[')
			class_match(p, &i, 0, &ok);
		if (!ok)
			return false;
	}
	return true;
}

/* Matches a piece of a pattern without `*` at the start of s: how many bytes it took, or SIZE_MAX. */
static size_t piece_match(struct str piece, struct str s)
{
	size_t k = 0;
	for (size_t i = 0; i < piece.n;) {
		uint32_t c;
		if (k >= s.n)
			return SIZE_MAX;
		switch (piece.p[i]) {
		case '[': {
			bool ok;
			k += utf8_next(s, k, &c);
			i++;
			if (!class_match(piece, &i, c == UTF8_BAD ? 0xfffd : c, &ok))
				return SIZE_MAX;
			break;
		}
		case '?':
			if (s.p[k] == '/')
				return SIZE_MAX;
			k += utf8_next(s, k, &c);
			i++;
			break;
		case '\\':
			i++;
			/* fallthrough */
		default:
			if (piece.p[i++] != s.p[k++])
				return SIZE_MAX;
		}
	}
	return k;
}

/* The end of the piece that starts at i: the next `*` outside a class. */
static size_t piece_end(struct str p, size_t i)
{
	bool in_class = false;
	for (; i < p.n; i++) {
		if (p.p[i] == '\\')
			i++;
		else if (p.p[i] == '[')
			in_class = true;
		else if (p.p[i] == ']')
			in_class = false;
		else if (p.p[i] == '*' && !in_class)
			break;
	}
	return i < p.n ? i : p.n;
}

int glob_match(struct str pattern, struct str name)
{
	size_t i = 0, k = 0;

	if (!is_valid(pattern))
		return -1;
	while (i < pattern.n) {
		bool star = false;
		for (; i < pattern.n && pattern.p[i] == '*'; i++)
			star = true;
		size_t end = piece_end(pattern, i);
		struct str piece = str_sub(pattern, i, end);
		bool last = end == pattern.n;
		i = end;
		if (star && !piece.n)
			return str_find(name, '/', k) == SIZE_MAX;
		/* As Go does: the first place that fits is taken for good, but for the last piece, which must end the name. */
		for (;; k++) {
			size_t took = piece_match(piece, str_sub(name, k, name.n));
			if (took != SIZE_MAX && (!last || k + took == name.n)) {
				k += took;
				break;
			}
			if (!star || k >= name.n || name.p[k] == '/')
				return 0;
		}
	}
	return k == name.n;
}

bool glob_has_wildcard(struct str pattern)
{
	for (size_t i = 0; i < pattern.n; i++) {
		if (pattern.p[i] == '\\')
			i++;
		else if (strchr("*?[", pattern.p[i]) && pattern.p[i])
			return true;
	}
	return false;
}

/*
 * ---- moby's patternmatcher: a rule is compared as text, or by a regular expression. The translation is BuildKit's, with its
 * quirks (`\d` is a class, `*` inside brackets is pasted as it is), so the expression is made as text and then compiled.
 */

enum op_kind {
	OP_CHAR,
	OP_ANY, /* any but a newline */
	OP_CLASS,
	OP_DIRS, /* what stands for an inner double star: nothing, or anything that ends with "/". An OP_INSIDE follows. */
	OP_INSIDE,
	OP_BEGIN, /* assertions */
	OP_END,
	OP_WORD,
	OP_NOT_WORD,
};

struct range {
	uint32_t low, high;
};

struct op {
	enum op_kind kind;
	bool star, negated;
	uint32_t c;
	size_t first, n; /* OP_CLASS: its ranges */
};

enum rule_kind { RULE_EXACT, RULE_PREFIX, RULE_SUFFIX, RULE_REGEX };

struct rule {
	enum rule_kind kind;
	bool negated, asserts;
	struct str text;    /* cleaned, without "!" */
	struct str literal; /* RULE_REGEX: what every match holds; may be empty */
	size_t first, n;    /* RULE_REGEX: its ops */
};

struct glob_set {
	struct arena *a;
	VEC(struct rule) rules;
	VEC(struct op) ops;
	VEC(struct range) ranges;
	bool has_negation;
};

enum { MAX_PATTERN = 4096, MAX_WORDS = MAX_PATTERN * 6 / 64 + 1 };

struct glob_set *glob_set_new(void)
{
	struct glob_set *s = xcalloc(1, sizeof(*s));
	s->a = arena_new();
	return s;
}

void glob_set_free(struct glob_set *s)
{
	if (!s)
		return;
	arena_free(s->a);
	VEC_RELEASE(&s->rules);
	VEC_RELEASE(&s->ops);
	VEC_RELEASE(&s->ranges);
	free(s);
}

void glob_set_freep(struct glob_set **s)
{
	glob_set_free(*s);
}

/* The kind of a cleaned pattern; for RULE_REGEX its expression in *re. */
static enum rule_kind translate(struct str p, struct sb *re)
{
	enum rule_kind kind = RULE_EXACT;
	size_t i = 0;

	while (i < p.n) {
		size_t at = i;
		char c = p.p[i++];
		if (c == '*' && i < p.n && p.p[i] == '*') {
			i++;
			if (i < p.n && p.p[i] == '/')
				i++;
			if (i < p.n) {
				sb_add_c(re, "(.*/)?");
				kind = RULE_REGEX;
			} else if (kind == RULE_EXACT) {
				kind = RULE_PREFIX;
			} else {
				sb_add_c(re, ".*");
				kind = RULE_REGEX;
			}
			if (at == 0)
				kind = RULE_SUFFIX;
			continue;
		}
		if (c == '*') {
			sb_add_c(re, "[^/]*");
		} else if (c == '?') {
			sb_add_c(re, "[^/]");
		} else if (strchr(".+()|{}$", c) && c) {
			sb_add_ch(re, '\\');
			sb_add_ch(re, c);
			continue;
		} else if (c == '\\') {
			sb_add_ch(re, c);
			if (i == p.n)
				continue;
			sb_add_ch(re, p.p[i++]);
		} else {
			sb_add_ch(re, c);
			if (c != '[' && c != ']')
				continue;
		}
		kind = RULE_REGEX;
	}
	return kind;
}

static void add_range(struct glob_set *s, struct op *op, uint32_t low, uint32_t high)
{
	struct range r = { low, high };
	VEC_PUSH(&s->ranges, r);
	op->n++;
}

/* Adds \d, \s, \w or, complemented, \D, \S, \W. */
static void add_perl(struct glob_set *s, struct op *op, char c)
{
	static const struct range d[] = { { '0', '9' } },
				  sp[] = { { '\t', '\n' }, { '\f', '\r' }, { ' ', ' ' } },
				  w[] = { { '0', '9' }, { 'A', 'Z' }, { '_', '_' }, { 'a', 'z' } };
	char kind = str_lower(c);
	const struct range *r = kind == 'd' ? d : kind == 's' ? sp : w;
	size_t n = kind == 'd' ? ARRAY_SIZE(d) : kind == 's' ? ARRAY_SIZE(sp) : ARRAY_SIZE(w);
	uint32_t from = 0;

	for (size_t i = 0; i < n; i++) {
		if (c == kind)
			add_range(s, op, r[i].low, r[i].high);
		else if (r[i].low > from)
			add_range(s, op, from, r[i].low - 1);
		from = r[i].high + 1;
	}
	if (c != kind)
		add_range(s, op, from, 0x10ffff);
}

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (str_lower(c) >= 'a' && str_lower(c) <= 'z');
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = str_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The character that the escape at *i (behind the backslash) stands for; false for one that Go's regexp refuses. */
static bool escaped_char(struct str re, size_t *i, uint32_t *ret)
{
	static const char letters[] = "afnrtv", values[] = "\a\f\n\r\t\v";
	if (*i >= re.n || (unsigned char)re.p[*i] >= 0x80)
		return false;
	char c = re.p[(*i)++];
	if (!is_alnum(c)) {
		*ret = (uint32_t)c;
		return true;
	}
	const char *at = strchr(letters, c);
	if (at) {
		*ret = (uint32_t)values[at - letters];
		return true;
	}
	if (c == 'x') {
		int high = *i + 1 < re.n ? hex_value(re.p[*i]) : -1,
		    low = *i + 1 < re.n ? hex_value(re.p[*i + 1]) : -1;
		if (high < 0 || low < 0)
			return false;
		*i += 2;
		*ret = (uint32_t)(high * 16 + low);
		return true;
	}
	if (c < '0' || c > '7' || (c != '0' && (*i >= re.n || re.p[*i] < '0' || re.p[*i] > '7')))
		return false;
	*ret = (uint32_t)(c - '0');
	for (int k = 0; k < 2 && *i < re.n && re.p[*i] >= '0' && re.p[*i] <= '7'; k++)
		*ret = *ret * 8 + (uint32_t)(re.p[(*i)++] - '0');
	return true;
}

static bool is_perl(struct str re, size_t i)
{
	return i + 1 < re.n && re.p[i] == '\\' && strchr("dDsSwW", re.p[i + 1]) && re.p[i + 1];
}

/* One end of a range inside brackets. */
static bool bracket_char(struct str re, size_t *i, uint32_t *ret)
{
	if (*i >= re.n)
		return false;
	if (re.p[*i] == '\\') {
		++*i;
		return escaped_char(re, i, ret);
	}
	*i += utf8_next(re, *i, ret);
	if (*ret == UTF8_BAD)
		*ret = 0xfffd;
	return true;
}

/* A class in brackets, behind `[`. POSIX names are not known: BuildKit's users have never been told of them. */
static bool compile_class(struct glob_set *s, struct str re, size_t *i, struct op *op)
{
	op->kind = OP_CLASS;
	op->first = s->ranges.n;
	if (*i < re.n && re.p[*i] == '^') {
		op->negated = true;
		++*i;
	}
	for (bool first = true;; first = false) {
		uint32_t low, high;
		if (*i >= re.n)
			return false;
		if (re.p[*i] == ']' && !first)
			break;
		if (re.p[*i] == '[' && *i + 1 < re.n && re.p[*i + 1] == ':')
			return false;
		if (is_perl(re, *i)) {
			add_perl(s, op, re.p[*i + 1]);
			*i += 2;
			continue;
		}
		if (!bracket_char(re, i, &low))
			return false;
		high = low;
		if (*i + 1 < re.n && re.p[*i] == '-' && re.p[*i + 1] != ']') {
			++*i;
			if (!bracket_char(re, i, &high) || high < low)
				return false;
		}
		add_range(s, op, low, high);
	}
	++*i;
	return true;
}

static bool compile_escape(struct glob_set *s, struct str re, size_t *i, struct op *op,
			   bool *asserts)
{
	static const char letters[] = "AzbB";
	static const enum op_kind kinds[] = { OP_BEGIN, OP_END, OP_WORD, OP_NOT_WORD };
	if (is_perl(re, *i - 1)) {
		op->kind = OP_CLASS;
		op->first = s->ranges.n;
		add_perl(s, op, re.p[(*i)++]);
		return true;
	}
	const char *at = *i < re.n && re.p[*i] ? strchr(letters, re.p[*i]) : NULL;
	if (at) {
		op->kind = kinds[at - letters];
		*asserts = true;
		++*i;
		return true;
	}
	op->kind = OP_CHAR;
	return escaped_char(re, i, &op->c);
}

static bool compile(struct glob_set *s, struct str re, struct rule *rule)
{
	rule->first = s->ops.n;
	for (size_t i = 0; i < re.n;) {
		struct op op = { 0 };
		char c = re.p[i];
		if (c == '(') {
			op.kind = OP_DIRS;
			VEC_PUSH(&s->ops, op);
			op.kind = OP_INSIDE;
			VEC_PUSH(&s->ops, op);
			i += strlen("(.*/)?");
			continue;
		}
		i++;
		bool ok = true;
		if (c == '\\') {
			ok = compile_escape(s, re, &i, &op, &rule->asserts);
		} else if (c == '[') {
			ok = compile_class(s, re, &i, &op);
		} else if (c == '.') {
			op.kind = OP_ANY;
		} else if (c == '^') {
			op.kind = OP_BEGIN;
			rule->asserts = true;
		} else {
			i--;
			i += utf8_next(re, i, &op.c);
			if (op.c == UTF8_BAD)
				op.c = 0xfffd;
		}
		if (!ok)
			return false;
		if (i < re.n && re.p[i] == '*') {
			op.star = true;
			i++;
		}
		VEC_PUSH(&s->ops, op);
	}
	rule->n = s->ops.n - rule->first;
	return true;
}

/* The longest run of plain characters: a path without it needs no further look. */
static void find_literal(struct glob_set *s, struct rule *rule)
{
	_cleanup_(sb_releasep) struct sb run = { 0 };
	for (size_t i = 0; i <= rule->n; i++) {
		const struct op *op = i < rule->n ? &s->ops.v[rule->first + i] : NULL;
		if (op && op->kind == OP_CHAR && !op->star && op->c < 0x80) {
			sb_add_ch(&run, (char)op->c);
			continue;
		}
		if (run.n > rule->literal.n)
			rule->literal = arena_str(s->a, sb_str(&run));
		sb_reset(&run);
	}
}

int glob_set_add(struct glob_set *s, struct str pattern, struct err **err)
{
	struct rule rule = { 0 };
	_cleanup_(sb_releasep) struct sb re = { 0 };

	pattern = utf8_trim(pattern);
	if (!pattern.n)
		return 0;
	struct str p = arena_str(s->a, path_clean(s->a, pattern));
	if (p.n > MAX_PATTERN)
		return err_set(err, ERR_LIMIT, "pattern is longer than %d bytes", MAX_PATTERN);
	if (p.p[0] == '!') {
		if (p.n == 1)
			return err_set(err, ERR_SYNTAX, "illegal exclusion pattern: \"!\"");
		rule.negated = true;
		p = str_sub(p, 1, p.n);
	}
	rule.text = p;
	rule.kind = is_valid(p) ? translate(p, &re) : RULE_REGEX;
	if (!is_valid(p) || (rule.kind == RULE_REGEX && !compile(s, sb_str(&re), &rule)))
		return err_set(err, ERR_SYNTAX, "syntax error in pattern");
	if (rule.kind == RULE_REGEX)
		find_literal(s, &rule);
	s->has_negation |= rule.negated;
	VEC_PUSH(&s->rules, rule);
	return 0;
}

/* ---- matching: all states at once, as bits */

struct run {
	const struct glob_set *s;
	const struct op *ops;
	size_t n;
	struct str text;
};

static bool is_word_at(struct str s, size_t i)
{
	return i < s.n && (is_alnum(s.p[i]) || s.p[i] == '_');
}

static bool holds(const struct run *r, enum op_kind kind, size_t pos)
{
	bool edge = is_word_at(r->text, pos) != (pos > 0 && is_word_at(r->text, pos - 1));
	switch (kind) {
	case OP_BEGIN:
		return pos == 0;
	case OP_END:
		return pos == r->text.n;
	case OP_WORD:
		return edge;
	default:
		return !edge;
	}
}

static void set_bit(uint64_t *set, size_t i)
{
	set[i / 64] |= UINT64_C(1) << i % 64;
}

/* Adds what the states reach without a character; such steps only go up. */
static void close_over(const struct run *r, uint64_t *set, size_t pos)
{
	size_t words = r->n / 64 + 1;
	for (size_t w = 0; w < words; w++) {
		uint64_t done = 0;
		while (set[w] & ~done) {
			size_t bit = (size_t)__builtin_ctzll(set[w] & ~done), i = w * 64 + bit;
			done |= UINT64_C(1) << bit;
			if (i >= r->n)
				break;
			const struct op *op = &r->ops[i];
			if (op->kind == OP_DIRS) {
				set_bit(set, i + 1);
				set_bit(set, i + 2);
			} else if (op->star || (op->kind >= OP_BEGIN && holds(r, op->kind, pos))) {
				set_bit(set, i + 1);
			}
		}
	}
}

static bool takes(const struct run *r, const struct op *op, uint32_t c)
{
	switch (op->kind) {
	case OP_CHAR:
		return op->c == c;
	case OP_ANY:
	case OP_INSIDE:
		return c != '\n';
	case OP_CLASS:
		for (size_t i = 0; i < op->n; i++) {
			const struct range *range = &r->s->ranges.v[op->first + i];
			if (range->low <= c && c <= range->high)
				return !op->negated;
		}
		return op->negated;
	default:
		return false;
	}
}

static void step(const struct run *r, const uint64_t *now, uint64_t *next, uint32_t c)
{
	size_t words = r->n / 64 + 1;
	memset(next, 0, words * sizeof(*next));
	for (size_t w = 0; w < words; w++) {
		for (uint64_t left = now[w]; left; left &= left - 1) {
			size_t i = w * 64 + (size_t)__builtin_ctzll(left);
			if (i >= r->n || !takes(r, &r->ops[i], c))
				continue;
			bool inside = r->ops[i].kind == OP_INSIDE;
			if (inside || r->ops[i].star)
				set_bit(next, i);
			if (!r->ops[i].star && (!inside || c == '/'))
				set_bit(next, i + 1);
		}
	}
}

/* Whether the expression matches all of the text, or, for `parents`, also the part before one of its slashes. */
static bool run_match(const struct run *r, bool parents)
{
	uint64_t sets[2][MAX_WORDS];
	size_t words = r->n / 64 + 1, cur = 0;

	memset(sets[0], 0, words * sizeof(uint64_t));
	set_bit(sets[0], 0);
	close_over(r, sets[0], 0);
	for (size_t pos = 0;;) {
		bool accepts = sets[cur][r->n / 64] >> r->n % 64 & 1;
		if (accepts && (pos == r->text.n || (parents && r->text.p[pos] == '/' && pos)))
			return true;
		if (pos == r->text.n)
			return false;
		uint32_t c;
		pos += utf8_next(r->text, pos, &c);
		step(r, sets[cur], sets[!cur], c == UTF8_BAD ? 0xfffd : c);
		cur = !cur;
		close_over(r, sets[cur], pos);
		bool dead = true;
		for (size_t w = 0; w < words; w++)
			dead = dead && !sets[cur][w];
		if (dead)
			return false;
	}
}

static bool regex_match(const struct glob_set *s, const struct rule *rule, struct str path)
{
	struct run r = { s, s->ops.v + rule->first, rule->n, path };
	if (rule->literal.n && str_find_str(path, rule->literal, 0) == SIZE_MAX)
		return false;
	if (!rule->asserts)
		return run_match(&r, true);
	for (size_t end = str_find(path, '/', 1); end != SIZE_MAX;
	     end = str_find(path, '/', end + 1)) {
		r.text = str_sub(path, 0, end);
		if (run_match(&r, false))
			return true;
	}
	r.text = path;
	return run_match(&r, false);
}

static bool suffix_match(struct str suffix, struct str path)
{
	return str_ends(path, suffix) ||
		(suffix.n && suffix.p[0] == '/' && str_eq(path, str_sub(suffix, 1, suffix.n)));
}

/* Whether a rule matches a path or one of its parents. */
static bool rule_match(const struct glob_set *s, const struct rule *rule, struct str path)
{
	switch (rule->kind) {
	case RULE_EXACT:
		return str_starts(path, rule->text) &&
			(path.n == rule->text.n || path.p[rule->text.n] == '/');
	case RULE_PREFIX:
		return str_starts(path, str_sub(rule->text, 0, rule->text.n - 2));
	case RULE_SUFFIX: {
		struct str suffix = str_sub(rule->text, 2, rule->text.n);
		for (size_t end = str_find(path, '/', 1); end != SIZE_MAX;
		     end = str_find(path, '/', end + 1))
			if (suffix_match(suffix, str_sub(path, 0, end)))
				return true;
		return suffix_match(suffix, path);
	}
	default:
		return regex_match(s, rule, path);
	}
}

bool glob_set_match(const struct glob_set *s, struct str path)
{
	bool excluded = false;
	for (size_t i = 0; i < s->rules.n; i++) {
		const struct rule *rule = &s->rules.v[i];
		if (rule->negated == excluded && rule_match(s, rule, path))
			excluded = !rule->negated;
	}
	return excluded;
}

bool glob_set_descend(const struct glob_set *s, struct str dir)
{
	for (size_t i = 0; i < s->rules.n; i++) {
		struct str t = s->rules.v[i].text;
		if (!s->rules.v[i].negated)
			continue;
		if (str_ends(t, STR("/**")))
			t.n -= 3;
		else if (str_ends(t, STR("/*")))
			t.n -= 2;
		if (glob_has_wildcard(t) || str_find(t, '\\', 0) != SIZE_MAX)
			return true;
		if (str_starts(t, dir) && (t.n == dir.n || t.p[dir.n] == '/'))
			return true;
	}
	return false;
}

size_t glob_set_size(const struct glob_set *s)
{
	return s->rules.n;
}

bool glob_set_has_negation(const struct glob_set *s)
{
	return s->has_negation;
}
