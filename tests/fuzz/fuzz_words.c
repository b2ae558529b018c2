/* The shell lexer in all its modes. The first byte chooses the mode, the first line is the value of $v, the rest the word. */
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/utf8.h"
#include "parser/heredoc.h"
#include "parser/jsonform.h"
#include "parser/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct env {
	struct df_env base;
	struct str value;
};

static bool get(const struct df_env *env, struct str name, struct str *ret)
{
	if (!str_eq_c(name, "v"))
		return false;
	*ret = ((const struct env *)env)->value;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(err_dropp) struct err *e2 = NULL;
	_cleanup_(err_dropp) struct err *e3 = NULL;
	struct str text = { (const char *)data + 1, size - 1 }, word = text, one, *many;
	struct env env = { .base = { get } };
	struct df_expansion x = {
		.escape = data[0] & 1 ? '`' : '\\',
		.keep_quotes = data[0] & 2,
		.keep_unset = data[0] & 4,
		.plain_quotes = data[0] & 8,
	};
	struct df_marker *markers;
	struct df_json_item *items;
	size_t n;

	str_cut(text, '\n', &env.value, &word);
	if (df_expand(a, word, &env.base, &x, &one, &e) == 0 && utf8_valid(env.value) &&
	    !utf8_valid(one) && !(data[0] & 4))
		abort();
	if (df_expand_words(a, word, &env.base, &x, &many, &n, &e2) == 0)
		for (size_t i = 0; i < n; i++)
			if (!many[i].n)
				abort();
	if (df_markers_find(a, word, &markers, &n, &e3) == 0)
		for (size_t i = 0; i < n; i++)
			if (markers[i].begin >= markers[i].end || markers[i].end > word.n ||
			    !markers[i].name.n)
				abort();
	if (df_json_array(a, word, &items, &n) == DF_JSON_STRINGS)
		for (size_t i = 0; i < n; i++)
			if (items[i].begin >= items[i].end || items[i].end > word.n)
				abort();
	VEC_RELEASE(&x.unmatched);
	return 0;
}
