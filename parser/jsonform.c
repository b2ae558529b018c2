#include "parser/jsonform.h"

#include <math.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "base/vec.h"

enum { MAX_DEPTH = 10000, MAX_NUMBER = 1000, NO_CHAR = 0x110000 };

struct reader {
	struct str s;
	size_t i;
	size_t depth;
	unsigned char stack[MAX_DEPTH / 8 + 1]; /* a bit a level: 1 is an object */
};

static int peek(const struct reader *r)
{
	return r->i < r->s.n ? (unsigned char)r->s.p[r->i] : -1;
}

static void skip_blanks(struct reader *r)
{
	while (r->i < r->s.n && strchr(" \t\r\n", r->s.p[r->i]) && r->s.p[r->i])
		r->i++;
}

static bool skip_word(struct reader *r, const char *w)
{
	size_t n = strlen(w);
	if (r->s.n - r->i < n || memcmp(r->s.p + r->i, w, n) != 0)
		return false;
	r->i += n;
	return true;
}

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

/* Whether a valid number is beyond float64, which Go refuses. */
static bool overflows(struct str n)
{
	if (n.n <= MAX_NUMBER) {
		char buf[MAX_NUMBER + 1];
		memcpy(buf, n.p, n.n);
		buf[n.n] = '\0';
		return isinf(strtod(buf, NULL));
	}
	/* Too long to convert: the decimal exponent of the first digit that counts decides. */
	int64_t point = -1, first = -1, digits = 0, exponent = 0;
	bool negative = false;
	size_t i = 0;
	for (; i < n.n && n.p[i] != 'e' && n.p[i] != 'E'; i++) {
		if (n.p[i] == '.')
			point = digits;
		if (!is_digit(n.p[i]))
			continue;
		if (n.p[i] != '0' && first < 0)
			first = digits;
		digits++;
	}
	for (; i < n.n; i++) {
		negative |= n.p[i] == '-';
		if (is_digit(n.p[i]) && exponent < INT32_MAX)
			exponent = exponent * 10 + (n.p[i] - '0');
	}
	if (first < 0)
		return false;
	return (point < 0 ? digits : point) - first - 1 + (negative ? -exponent : exponent) > 308;
}

static bool skip_digits(struct reader *r)
{
	size_t from = r->i;
	while (is_digit(peek(r)))
		r->i++;
	return r->i > from;
}

static bool skip_number(struct reader *r)
{
	size_t from = r->i;
	if (peek(r) == '-')
		r->i++;
	if (peek(r) == '0')
		r->i++;
	else if (!skip_digits(r))
		return false;
	if (peek(r) == '.') {
		r->i++;
		if (!skip_digits(r))
			return false;
	}
	if (peek(r) == 'e' || peek(r) == 'E') {
		r->i++;
		if (peek(r) == '+' || peek(r) == '-')
			r->i++;
		if (!skip_digits(r))
			return false;
	}
	return !overflows(str_sub(r->s, from, r->i));
}

/* The value of four hexadecimal digits at i, or NO_CHAR. */
static uint32_t hex4(struct str s, size_t i)
{
	uint32_t v = 0;
	if (s.n - i < 4)
		return NO_CHAR;
	for (size_t k = i; k < i + 4; k++) {
		char c = str_lower(s.p[k]);
		if (is_digit(c))
			v = v * 16 + (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v * 16 + (uint32_t)(c - 'a' + 10);
		else
			return NO_CHAR;
	}
	return v;
}

/* A string from its opening quote on; *plain: it needs no decoding. */
static bool skip_string(struct reader *r, bool *plain)
{
	*plain = true;
	for (r->i++; r->i < r->s.n; r->i++) {
		unsigned char c = (unsigned char)r->s.p[r->i];
		if (c == '"') {
			r->i++;
			return true;
		}
		if (c < 0x20)
			return false;
		if (c >= 0x80)
			*plain = false;
		if (c != '\\')
			continue;
		*plain = false;
		r->i++;
		int e = peek(r);
		if (e == 'u') {
			if (hex4(r->s, r->i + 1) == NO_CHAR)
				return false;
			r->i += 4;
		} else if (e <= 0 || !strchr("\"\\/bfnrt", e)) {
			return false;
		}
	}
	return false;
}

static void decode_escape(struct str s, size_t *i, struct sb *out)
{
	static const char letters[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	char c = s.p[(*i)++];
	if (c != 'u') {
		sb_add_ch(out, values[strchr(letters, c) - letters]);
		return;
	}
	uint32_t v = hex4(s, *i);
	*i += 4;
	if (v >= 0xd800 && v < 0xdc00 && *i + 6 <= s.n && s.p[*i] == '\\' && s.p[*i + 1] == 'u') {
		uint32_t low = hex4(s, *i + 2);
		if (low >= 0xdc00 && low < 0xe000) {
			*i += 6;
			v = 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00);
		}
	}
	utf8_add(out, v >= 0xd800 && v < 0xe000 ? 0xfffd : v);
}

/* The text of a valid string, without its quotes. */
static struct str decode(struct arena *a, struct str s)
{
	_cleanup_(sb_releasep) struct sb out = { 0 };
	size_t i = 0;
	while (i < s.n) {
		size_t end = str_find(s, '\\', i);
		if (end == SIZE_MAX)
			end = s.n;
		utf8_add_clean(&out, str_sub(s, i, end));
		i = end;
		if (i < s.n) {
			i++;
			decode_escape(s, &i, &out);
		}
	}
	return arena_str(a, out.p ? sb_str(&out) : STR(""));
}

static bool in_object(const struct reader *r)
{
	return r->stack[r->depth / 8] >> r->depth % 8 & 1;
}

static bool push(struct reader *r, bool object)
{
	if (++r->depth > MAX_DEPTH)
		return false;
	unsigned char bit = (unsigned char)(1 << r->depth % 8);
	if (object)
		r->stack[r->depth / 8] |= bit;
	else
		r->stack[r->depth / 8] &= (unsigned char)~bit;
	return true;
}

/* A name and its colon. */
static bool skip_name(struct reader *r)
{
	bool plain;
	skip_blanks(r);
	if (peek(r) != '"' || !skip_string(r, &plain))
		return false;
	skip_blanks(r);
	if (peek(r) != ':')
		return false;
	r->i++;
	return true;
}

/* A value that is no array and no object. */
static bool skip_scalar(struct reader *r)
{
	bool plain;
	switch (peek(r)) {
	case '"':
		return skip_string(r, &plain);
	case 't':
		return skip_word(r, "true");
	case 'f':
		return skip_word(r, "false");
	case 'n':
		return skip_word(r, "null");
	default:
		return skip_number(r);
	}
}

/* Opens an array or object at r->i: 0 when a value follows, 1 when it was empty and is closed, -1 malformed. */
static int open_value(struct reader *r)
{
	bool object = peek(r) == '{';
	if (!push(r, object))
		return -1;
	r->i++;
	skip_blanks(r);
	if (peek(r) == (object ? '}' : ']')) {
		r->i++;
		r->depth--;
		return 1;
	}
	return !object || skip_name(r) ? 0 : -1;
}

/* Behind a value: 0 when another follows at the same depth, 1 when the surrounding one is closed too, -1 malformed. */
static int after_value(struct reader *r)
{
	skip_blanks(r);
	int c = peek(r);
	if (c == ',') {
		r->i++;
		return !in_object(r) || skip_name(r) ? 0 : -1;
	}
	if (c != (in_object(r) ? '}' : ']'))
		return -1;
	r->i++;
	r->depth--;
	return 1;
}

/* One value of any kind. */
static bool skip_value(struct reader *r)
{
	size_t base = r->depth;
	for (;;) {
		skip_blanks(r);
		int c = peek(r), done = 1;
		if (c == '[' || c == '{')
			done = open_value(r);
		else if (!skip_scalar(r))
			return false;
		while (done == 1) {
			if (r->depth == base)
				return true;
			done = after_value(r);
		}
		if (done < 0)
			return false;
	}
}

enum df_json df_json_array(struct arena *a, struct str text, struct df_json_item **ret,
			   size_t *ret_n)
{
	struct str s = utf8_trim_left(text);
	size_t offset = text.n - s.n;
	VEC(struct df_json_item) items = { 0 };
	enum df_json kind = DF_JSON_STRINGS;

	if (!s.n || s.p[0] != '[')
		return DF_JSON_NONE;
	struct reader r;
	r.s = s;
	r.i = r.depth = 0;
	r.stack[0] = 0;
	int done = open_value(&r);
	while (done == 0) {
		bool plain;
		skip_blanks(&r);
		size_t from = r.i;
		if (peek(&r) == '"') {
			if (!skip_string(&r, &plain)) {
				done = -1;
				break;
			}
			if (ret) {
				struct str inner = str_sub(s, from + 1, r.i - 1);
				struct df_json_item item = { plain ? inner : decode(a, inner),
							     offset + from, offset + r.i };
				VEC_PUSH(&items, item);
			}
		} else {
			kind = DF_JSON_OTHER;
			if (!skip_value(&r)) {
				done = -1;
				break;
			}
		}
		done = after_value(&r);
	}
	skip_blanks(&r);
	if (done < 0 || r.i < s.n)
		kind = DF_JSON_NONE;
	if (kind == DF_JSON_STRINGS && ret) {
		*ret = arena_array_of(a, struct df_json_item, items.n);
		if (items.n)
			memcpy(*ret, items.v, items.n * sizeof(**ret));
		*ret_n = items.n;
	}
	VEC_RELEASE(&items);
	return kind;
}
