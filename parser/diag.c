#include "parser/diag.h"

#include "base/utf8.h"

enum { MAX_NEAR = 32, FAR = 3 };

/* A word as characters, lower-cased where asked: how many, or MAX_NEAR + 1 for more. */
static size_t characters(struct str s, bool ignore_case, uint32_t *out)
{
	size_t n = 0;
	for (size_t i = 0; i < s.n && n <= MAX_NEAR; n++) {
		uint32_t c;
		i += utf8_next(s, i, &c);
		if (n < MAX_NEAR)
			out[n] = ignore_case && c < 0x80 ? (uint32_t)str_lower((char)c) : c;
	}
	return n;
}

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;
	return m < c ? m : c;
}

/* The Levenshtein distance of two words, FAR where it is that or more. */
static size_t distance(const uint32_t *a, size_t n, const uint32_t *b, size_t m)
{
	size_t row[MAX_NEAR + 1];
	if (n > MAX_NEAR || m > MAX_NEAR || n + 2 < m || m + 2 < n)
		return FAR;
	for (size_t k = 0; k <= m; k++)
		row[k] = k;
	for (size_t i = 0; i < n; i++) {
		size_t diagonal = row[0];
		row[0] = i + 1;
		for (size_t k = 0; k < m; k++) {
			size_t up = row[k + 1];
			row[k + 1] = min3(up + 1, row[k] + 1, diagonal + (a[i] != b[k]));
			diagonal = up;
		}
	}
	return row[m] < FAR ? row[m] : FAR;
}

struct str df_near(struct str word, const struct str *candidates, size_t n, bool ignore_case)
{
	uint32_t a[MAX_NEAR], b[MAX_NEAR];
	size_t len = characters(word, ignore_case, a), best = FAR;
	struct str ret = { NULL, 0 };

	if (!word.n)
		return ret;
	for (size_t i = 0; i < n; i++) {
		size_t d = distance(a, len, b, characters(candidates[i], ignore_case, b));
		if (d == 0)
			return (struct str){ NULL, 0 };
		if (d < best || (d == best && ret.p && str_cmp(candidates[i], ret) < 0)) {
			best = d;
			ret = candidates[i];
		}
	}
	return ret;
}

struct lines {
	struct str text;
	size_t at;
	unsigned line;
	bool done;
};

/* The next line; l->line is its number, from 1. A final newline is followed by an empty line. */
static bool next_line(struct lines *l, struct str *ret)
{
	if (l->done)
		return false;
	size_t end = str_find(l->text, '\n', l->at);
	l->done = end == SIZE_MAX;
	*ret = str_sub(l->text, l->at, l->done ? l->text.n : end);
	l->at = l->done ? l->text.n : end + 1;
	l->line++;
	return true;
}

static unsigned count_lines(struct str text)
{
	struct lines l = { .text = text };
	struct str s;
	while (next_line(&l, &s))
		;
	return l.line;
}

/* A line as a terminal may see it: tabs stay, other control characters do not. */
static void add_line(struct sb *out, struct str s)
{
	struct str head;
	while (s.n && s.p[s.n - 1] == '\r')
		s.n--;
	while (str_cut(s, '\t', &head, &s)) {
		sb_add_printable(out, head);
		sb_add_ch(out, '\t');
	}
	sb_add_printable(out, s);
	sb_add_ch(out, '\n');
}

/* Underlines the bytes of a span within its one line; a tab stays a tab, so that the columns fit. */
static void underline(struct sb *out, struct str line, size_t from, size_t to)
{
	sb_add_c(out, "     |     ");
	for (size_t i = 0; i < line.n && i < to;) {
		uint32_t c;
		size_t n = utf8_next(line, i, &c);
		sb_add_ch(out, i >= from ? '^' : c == '\t' ? '\t' : ' ');
		i += n;
	}
	sb_add_ch(out, '\n');
}

void df_excerpt(struct sb *out, struct str name, struct str text, struct span at)
{
	static const char dashes[] = "--------------------\n";
	if (!at.line)
		return;
	unsigned total = count_lines(text), last = at.last < at.line ? at.line : at.last;
	unsigned from = at.line, to = last < total ? last : total, pad = last == at.line ? 4 : 2;
	for (unsigned used = 0; used < pad; used++) {
		if (from > 1) {
			from--;
			used++;
		}
		if (to < total) {
			to++;
			used++;
		}
	}
	sb_printf(out, "%.*s:%u\n%s", STR_ARG(name), at.line, dashes);
	struct lines l = { .text = text };
	struct str s;
	while (next_line(&l, &s) && l.line <= to) {
		if (l.line < from)
			continue;
		bool inside = l.line >= at.line && l.line <= last;
		sb_printf(out, " %3u | %s ", l.line, inside ? ">>>" : "   ");
		add_line(out, s);
		size_t begin = (size_t)(s.p - text.p);
		struct str part = str_sub(text, at.begin, at.end);
		bool within = at.line == last && inside && part.n && at.begin >= begin &&
			at.end <= begin + s.n;
		if (within && !str_eq(utf8_trim(part), utf8_trim(s)))
			underline(out, s, at.begin - begin, at.end - begin);
	}
	sb_add_c(out, dashes);
}
