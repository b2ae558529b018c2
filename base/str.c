#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/utf8.h"

int str_cmp(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n ? memcmp(a.p, b.p, n) : 0;
	return c ? c : (a.n > b.n) - (a.n < b.n);
}

bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (!a.n || !memcmp(a.p, b.p, a.n));
}

bool str_eq_c(struct str a, const char *b)
{
	return str_eq(a, str_c(b));
}

bool str_ieq(struct str a, struct str b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (str_lower(a.p[i]) != str_lower(b.p[i]))
			return false;
	return true;
}

bool str_starts(struct str s, struct str head)
{
	return s.n >= head.n && str_eq(str_sub(s, 0, head.n), head);
}

bool str_ends(struct str s, struct str tail)
{
	return s.n >= tail.n && str_eq(str_sub(s, s.n - tail.n, s.n), tail);
}

size_t str_find(struct str s, char c, size_t from)
{
	if (from >= s.n)
		return SIZE_MAX;
	const char *p = memchr(s.p + from, c, s.n - from);
	return p ? (size_t)(p - s.p) : SIZE_MAX;
}

size_t str_rfind(struct str s, char c)
{
	const char *p = s.n ? memrchr(s.p, c, s.n) : NULL;
	return p ? (size_t)(p - s.p) : SIZE_MAX;
}

size_t str_find_str(struct str s, struct str what, size_t from)
{
	if (from > s.n)
		return SIZE_MAX;
	if (!what.n)
		return from;
	const char *p = s.n > from ? memmem(s.p + from, s.n - from, what.p, what.n) : NULL;
	return p ? (size_t)(p - s.p) : SIZE_MAX;
}

struct str str_sub(struct str s, size_t from, size_t to)
{
	if (to > s.n)
		to = s.n;
	if (from > to)
		from = to;
	return (struct str){ s.p ? s.p + from : NULL, to - from };
}

struct str str_trim(struct str s, const char *set)
{
	while (s.n && s.p[0] && strchr(set, s.p[0]))
		s = str_sub(s, 1, s.n);
	while (s.n && s.p[s.n - 1] && strchr(set, s.p[s.n - 1]))
		s.n--;
	return s;
}

bool str_cut(struct str s, char c, struct str *head, struct str *tail)
{
	size_t i = str_find(s, c, 0);
	if (i == SIZE_MAX)
		return false;
	*head = str_sub(s, 0, i);
	*tail = str_sub(s, i + 1, s.n);
	return true;
}

int str_int(struct str s, int64_t min, int64_t max, int64_t *ret, struct err **err)
{
	int64_t v = 0;
	bool bad = !s.n || s.n > 19;
	for (size_t i = 0; i < s.n && !bad; i++) {
		bad = s.p[i] < '0' || s.p[i] > '9';
		if (!bad &&
		    (__builtin_mul_overflow(v, 10, &v) ||
		     __builtin_add_overflow(v, s.p[i] - '0', &v)))
			bad = true;
	}
	if (bad)
		return err_set(err, ERR_INVALID, "'%.*s' is not a number", STR_ARG(s));
	if (v < min || v > max)
		return err_set(err, ERR_INVALID, "%lld is not between %lld and %lld", (long long)v,
			       (long long)min, (long long)max);
	*ret = v;
	return 0;
}

char *str_dup(struct str s)
{
	char *p = xmalloc(s.n + 1);
	if (s.n)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return p;
}

void sb_init(struct sb *b, size_t max)
{
	*b = (struct sb){ .max = max };
}

void sb_release(struct sb *b)
{
	free(b->p);
	*b = (struct sb){ .max = b->max };
}

void sb_releasep(struct sb *b)
{
	free(b->p);
}

void sb_reset(struct sb *b)
{
	b->n = 0;
	b->failed = false;
	if (b->p)
		b->p[0] = '\0';
}

char *sb_reserve(struct sb *b, size_t n)
{
	if (b->failed || (b->max && (n > b->max || b->n > b->max - n))) {
		b->failed = true;
		return NULL;
	}
	if (n >= SIZE_MAX / 2 - b->n)
		mem_fail();
	if (b->n + n + 1 > b->cap) {
		size_t cap = b->cap ? b->cap * 2 : 64;
		if (cap < b->n + n + 1)
			cap = b->n + n + 1;
		b->p = xrealloc(b->p, cap);
		b->cap = cap;
	}
	return b->p + b->n;
}

void sb_add(struct sb *b, const void *p, size_t n)
{
	char *at = sb_reserve(b, n);
	if (!at)
		return;
	if (n)
		memcpy(at, p, n);
	b->n += n;
	b->p[b->n] = '\0';
}

void sb_add_str(struct sb *b, struct str s)
{
	sb_add(b, s.p, s.n);
}

void sb_add_c(struct sb *b, const char *s)
{
	sb_add(b, s, strlen(s));
}

void sb_add_ch(struct sb *b, char c)
{
	sb_add(b, &c, 1);
}

void sb_printf(struct sb *b, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		mem_fail();
	char *at = sb_reserve(b, (size_t)n);
	if (at) {
		vsnprintf(at, (size_t)n + 1, fmt, again);
		b->n += (size_t)n;
	}
	va_end(again);
}

void sb_trunc(struct sb *b, size_t n)
{
	if (n < b->n) {
		b->n = n;
		b->p[n] = '\0';
	}
}

const char *sb_c(const struct sb *b)
{
	return b->p ? b->p : "";
}

char *sb_steal(struct sb *b)
{
	char *p = b->p ? b->p : xstrdup("");
	*b = (struct sb){ .max = b->max };
	return p;
}

int sb_check(const struct sb *b, const char *what, struct err **err)
{
	if (b->failed)
		return err_set(err, ERR_LIMIT, "%s is larger than %zu bytes", what, b->max);
	return 0;
}

void sb_add_printable(struct sb *b, struct str s)
{
	for (size_t i = 0; i < s.n;) {
		uint32_t c;
		size_t n = utf8_next(s, i, &c);
		if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c == UTF8_BAD ||
		    (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
		    (c >= 0x2066 && c <= 0x2069))
			for (size_t k = 0; k < n; k++)
				sb_printf(b, "\\x%02x", (unsigned char)s.p[i + k]);
		else
			sb_add(b, s.p + i, n);
		i += n;
	}
}

void sb_add_goquote(struct sb *b, struct str s)
{
	static const char named[] = "\a\b\f\n\r\t\v", letters[] = "abfnrtv";
	sb_add_ch(b, '"');
	for (size_t i = 0; i < s.n;) {
		uint32_t c;
		size_t n = utf8_next(s, i, &c);
		const char *p = c && c < 0x20 ? strchr(named, (int)c) : NULL;
		if (c == '"' || c == '\\')
			sb_printf(b, "\\%c", (char)c);
		else if (p)
			sb_printf(b, "\\%c", letters[p - named]);
		else if (c == UTF8_BAD)
			sb_printf(b, "\\x%02x", (unsigned char)s.p[i]);
		else if (c < 0x20 || c == 0x7f)
			sb_printf(b, "\\x%02x", c);
		else if ((c >= 0x80 && c <= 0xa0) || c == 0xad || (c >= 0x200b && c <= 0x200f) ||
			 (c >= 0x2028 && c <= 0x202f) || (c >= 0xe000 && c <= 0xf8ff) ||
			 c == 0xfeff)
			sb_printf(b, "\\u%04x", c);
		else
			sb_add(b, s.p + i, n);
		i += n;
	}
	sb_add_ch(b, '"');
}
