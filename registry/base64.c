#include "registry/base64.h"

#include "base/err.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct str data, struct sb *out)
{
	for (size_t i = 0; i < data.n; i += 3) {
		size_t have = data.n - i < 3 ? data.n - i : 3;
		unsigned v = 0;
		for (size_t j = 0; j < 3; j++)
			v = v << 8 | (j < have ? (unsigned char)data.p[i + j] : 0);
		for (size_t j = 0; j < 4; j++)
			sb_add_ch(out, j <= have ? alphabet[v >> (18 - 6 * j) & 63] : '=');
	}
}

static int value_of(char c)
{
	if (c == '-')
		c = '+';
	if (c == '_')
		c = '/';
	const char *at = c ? strchr(alphabet, c) : NULL;
	return at ? (int)(at - alphabet) : -1;
}

int base64_decode(struct str text, struct sb *out, struct err **err)
{
	text = str_trim(text, " \r\n\t");
	text = str_trim(text, "=");
	unsigned v = 0, bits = 0;
	size_t digits = 0;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '\r' || text.p[i] == '\n')
			continue;
		int d = value_of(text.p[i]);
		if (d < 0)
			return err_set(err, ERR_INVALID, "not base64");
		digits++;
		v = v << 6 | (unsigned)d;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			sb_add_ch(out, (char)(v >> bits & 255));
		}
	}
	return digits % 4 == 1 ? err_set(err, ERR_INVALID, "not base64") : 0;
}
