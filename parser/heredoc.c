#include "parser/heredoc.h"

#include <limits.h>

#include "base/err.h"
#include "base/vec.h"
#include "parser/words.h"

static size_t count_quotes(struct str s)
{
	size_t n = 0;
	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == '\'' || s.p[i] == '"';
	return n;
}

/* The one word that `text` lexes to, with or without its quotes. */
static bool one_word(struct arena *a, struct str text, bool keep_quotes, struct str *ret)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	struct str *v;
	size_t n;

	if (df_name_words(a, text, keep_quotes, &v, &n, &e) < 0 || n != 1)
		return false;
	*ret = v[0];
	return true;
}

bool df_marker_parse(struct arena *a, struct str word, struct df_marker *ret)
{
	size_t i = 0;
	int64_t fd = 0;
	while (i < word.n && word.p[i] >= '0' && word.p[i] <= '9') {
		if (fd <= INT_MAX)
			fd = fd * 10 + (word.p[i] - '0');
		i++;
	}
	if (i + 2 > word.n || word.p[i] != '<' || word.p[i + 1] != '<')
		return false;
	i += 2;
	bool strip = i < word.n && word.p[i] == '-';
	i += strip;
	while (i < word.n && strchr("\t\n\f\r ", word.p[i]) && word.p[i])
		i++;
	struct str rest = str_sub(word, i, word.n), name, quoted;
	if (!rest.n || str_find(rest, '<', 0) != SIZE_MAX)
		return false;
	if (!one_word(a, rest, false, &name) || !one_word(a, rest, true, &quoted))
		return false;
	*ret = (struct df_marker){
		.name = name,
		.fd = fd > INT_MAX ? INT_MAX : (int)fd,
		.expand = count_quotes(name) == count_quotes(quoted),
		.strip_tabs = strip,
		.end = word.n,
	};
	return true;
}

static bool has_angles(struct str s)
{
	for (size_t i = str_find(s, '<', 0); i != SIZE_MAX; i = str_find(s, '<', i + 1))
		if (i + 1 < s.n && s.p[i + 1] == '<')
			return true;
	return false;
}

int df_markers_find(struct arena *a, struct str line, struct df_marker **ret, size_t *ret_n,
		    struct err **err)
{
	struct err *e = NULL;
	struct df_shell_word *words;
	size_t n;
	VEC(struct df_marker) found = { 0 };

	*ret = NULL;
	*ret_n = 0;
	if (!has_angles(line))
		return 0;
	if (df_shell_words(a, line, &words, &n, &e) < 0) {
		if (e->code == ERR_LIMIT)
			return err_move(err, e);
		err_drop(&e);
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		struct df_marker m;
		if (!df_marker_parse(a, words[i].text, &m))
			continue;
		m.begin = words[i].begin;
		m.end = words[i].end;
		VEC_PUSH(&found, m);
	}
	*ret = arena_array_of(a, struct df_marker, found.n);
	if (found.n)
		memcpy(*ret, found.v, found.n * sizeof(**ret));
	*ret_n = found.n;
	VEC_RELEASE(&found);
	return 0;
}

struct str df_strip_tabs(struct arena *a, struct str s)
{
	char *out = arena_alloc(a, s.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < s.n;) {
		while (i < s.n && s.p[i] == '\t')
			i++;
		size_t end = str_find(s, '\n', i);
		end = end == SIZE_MAX ? s.n : end + 1;
		memcpy(out + n, s.p + i, end - i);
		n += end - i;
		i = end;
	}
	return (struct str){ out, n };
}
