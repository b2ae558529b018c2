#include "parser/directive.h"

/* What \s is to Go's regexp. */
static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r';
}

static size_t skip_blanks(struct str s, size_t i)
{
	while (i < s.n && is_blank(s.p[i]))
		i++;
	return i;
}

static bool is_key(struct str s, const char *name)
{
	if (s.n != strlen(name))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (str_lower(s.p[i]) != name[i])
			return false;
	return true;
}

enum df_directive_kind df_directive_parse(struct str line, struct str *ret_value)
{
	size_t i = skip_blanks(line, 1), from = i;
	while (i < line.n &&
	       ((str_lower(line.p[i]) >= 'a' && str_lower(line.p[i]) <= 'z') ||
		(i > from && line.p[i] >= '0' && line.p[i] <= '9')))
		i++;
	struct str key = str_sub(line, from, i);
	i = skip_blanks(line, i);
	if (!key.n || i >= line.n || line.p[i] != '=' || i + 1 >= line.n)
		return DF_DIRECTIVE_NONE;
	size_t value = skip_blanks(line, i + 1), end = line.n;
	/* BuildKit's expression wants one character at least: of blanks alone, it is the last. */
	if (value == line.n)
		value--;
	else
		while (is_blank(line.p[end - 1]))
			end--;
	*ret_value = str_sub(line, value, end);
	if (is_key(key, "syntax"))
		return DF_DIRECTIVE_SYNTAX;
	if (is_key(key, "escape"))
		return DF_DIRECTIVE_ESCAPE;
	if (is_key(key, "check"))
		return DF_DIRECTIVE_CHECK;
	return DF_DIRECTIVE_NONE;
}
