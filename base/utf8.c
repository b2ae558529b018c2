#include "base/utf8.h"

size_t utf8_next(struct str s, size_t i, uint32_t *ret)
{
	const unsigned char *p = (const unsigned char *)s.p + i;
	size_t left = s.n - i;
	unsigned c = p[0];
	uint32_t v, min;
	size_t n;

	if (c < 0x80) {
		*ret = c;
		return 1;
	}
	*ret = UTF8_BAD;
	if (c >= 0xc2 && c <= 0xdf) {
		n = 2;
		v = c & 0x1f;
		min = 0x80;
	} else if (c >= 0xe0 && c <= 0xef) {
		n = 3;
		v = c & 0x0f;
		min = 0x800;
	} else if (c >= 0xf0 && c <= 0xf4) {
		n = 4;
		v = c & 0x07;
		min = 0x10000;
	} else {
		return 1;
	}
	if (left < n)
		return 1;
	for (size_t k = 1; k < n; k++) {
		if ((p[k] & 0xc0) != 0x80)
			return 1;
		v = v << 6 | (p[k] & 0x3f);
	}
	if (v < min || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
		return 1;
	*ret = v;
	return n;
}

bool utf8_valid(struct str s)
{
	for (size_t i = 0; i < s.n;) {
		uint32_t c;
		i += utf8_next(s, i, &c);
		if (c == UTF8_BAD)
			return false;
	}
	return true;
}

void utf8_add(struct sb *b, uint32_t c)
{
	if (c < 0x80) {
		sb_add_ch(b, (char)c);
	} else if (c < 0x800) {
		sb_add_ch(b, (char)(0xc0 | c >> 6));
		sb_add_ch(b, (char)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		sb_add_ch(b, (char)(0xe0 | c >> 12));
		sb_add_ch(b, (char)(0x80 | (c >> 6 & 0x3f)));
		sb_add_ch(b, (char)(0x80 | (c & 0x3f)));
	} else {
		sb_add_ch(b, (char)(0xf0 | c >> 18));
		sb_add_ch(b, (char)(0x80 | (c >> 12 & 0x3f)));
		sb_add_ch(b, (char)(0x80 | (c >> 6 & 0x3f)));
		sb_add_ch(b, (char)(0x80 | (c & 0x3f)));
	}
}

void utf8_add_clean(struct sb *b, struct str s)
{
	for (size_t i = 0; i < s.n;) {
		uint32_t c;
		size_t n = utf8_next(s, i, &c);
		if (c == UTF8_BAD)
			sb_add_c(b, "\xef\xbf\xbd");
		else
			sb_add(b, s.p + i, n);
		i += n;
	}
}

bool utf8_is_space(uint32_t c)
{
	return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
		(c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
		c == 0x205f || c == 0x3000;
}

struct str utf8_trim_left(struct str s)
{
	size_t i = 0;
	while (i < s.n) {
		uint32_t c;
		size_t n = utf8_next(s, i, &c);
		if (!utf8_is_space(c))
			break;
		i += n;
	}
	return str_sub(s, i, s.n);
}

struct str utf8_trim(struct str s)
{
	s = utf8_trim_left(s);
	while (s.n) {
		size_t at = s.n - 1;
		uint32_t c;
		while (at > 0 && s.n - at < 4 && ((unsigned char)s.p[at] & 0xc0) == 0x80)
			at--;
		if (at + utf8_next(s, at, &c) != s.n || !utf8_is_space(c))
			break;
		s.n = at;
	}
	return s;
}
