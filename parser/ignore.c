#include "parser/ignore.h"

#include "base/arena.h"
#include "base/path.h"
#include "base/utf8.h"

enum { MAX_LINE = 64 * 1024 };

/* The pattern of a line as BuildKit reads it; empty for a comment or a blank line. */
static struct str line_pattern(struct arena *a, struct str line)
{
	if (str_starts(line, STR("#")))
		return STR("");
	struct str p = utf8_trim(line);
	if (!p.n)
		return p;
	bool negated = p.p[0] == '!';
	if (negated)
		p = utf8_trim(str_sub(p, 1, p.n));
	if (p.n) {
		p = path_clean(a, p);
		if (p.n > 1 && p.p[0] == '/')
			p = str_sub(p, 1, p.n);
	}
	return negated ? arena_printf(a, "!%.*s", STR_ARG(p)) : p;
}

struct glob_set *df_ignore_parse(struct str text, struct err **err)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(glob_set_freep) struct glob_set *set = glob_set_new();

	if (str_starts(text, STR("\xef\xbb\xbf")))
		text = str_sub(text, 3, text.n);
	for (size_t at = 0; at < text.n;) {
		size_t end = str_find(text, '\n', at);
		if (end == SIZE_MAX)
			end = text.n;
		struct str line = str_sub(text, at, end);
		at = end + 1;
		if (line.n >= MAX_LINE) {
			err_set(err, ERR_LIMIT,
				"failed parsing .dockerignore: bufio.Scanner: token too long");
			return NULL;
		}
		struct str p = line_pattern(a, line);
		if (p.n && glob_set_add(set, p, err) < 0)
			return NULL;
	}
	return STEAL(set);
}
