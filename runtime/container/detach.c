#include "runtime/container/detach.h"

#include "base/err.h"

static int key_of(struct str word, char *ret)
{
	static const char specials[] = "@[\\]^_";
	if (word.n == 1) {
		*ret = word.p[0];
		return 0;
	}
	if (str_eq_c(word, "DEL")) {
		*ret = 0x7f;
		return 0;
	}
	if (!str_starts(word, STR("ctrl-")) || word.n != 6)
		return -1;
	char c = word.p[5];
	if (c >= 'a' && c <= 'z')
		*ret = (char)(c - 'a' + 1);
	else if (c == '@')
		*ret = 0;
	else if (memchr(specials + 1, c, sizeof(specials) - 2))
		*ret = (char)(c - '@');
	else
		return -1;
	return 0;
}

int detach_parse(struct str text, struct detach *ret, struct err **err)
{
	struct detach d = { 0 };
	while (text.n) {
		struct str word = text;
		if (!str_cut(text, ',', &word, &text))
			text.n = 0;
		if (d.n == DETACH_MAX)
			return err_set(err, ERR_INVALID, "invalid detach keys: more than %d",
				       DETACH_MAX);
		if (key_of(word, &d.keys[d.n++]) < 0)
			return err_set(err, ERR_INVALID,
				       "invalid detach keys: Unknown character: '%.*s'",
				       STR_ARG(str_sub(word, 0, 32)));
	}
	*ret = d;
	return 0;
}

bool detach_filter(struct detach *d, struct str in, struct sb *out)
{
	if (!d->n) {
		sb_add_str(out, in);
		return false;
	}
	for (size_t i = 0; i < in.n; i++) {
		/* As long as what was held back cannot be the beginning, its first byte goes on and the rest is looked at again. */
		while (d->matched && in.p[i] != d->keys[d->matched]) {
			size_t keep = d->matched;
			do
				keep--;
			while (keep && memcmp(d->keys, d->keys + d->matched - keep, keep));
			sb_add(out, d->keys, d->matched - keep);
			d->matched = keep;
		}
		if (in.p[i] != d->keys[d->matched])
			sb_add_ch(out, in.p[i]);
		else if (++d->matched == d->n)
			return true;
	}
	return false;
}
