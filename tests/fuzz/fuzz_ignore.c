/* .dockerignore: the first line is a path, the rest the file. */
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "parser/ignore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	struct str text = { (const char *)data, size }, path = text, rules = text;
	str_cut(text, '\n', &path, &rules);
	_cleanup_(glob_set_freep) struct glob_set *s = df_ignore_parse(rules, &e);
	if (!s)
		return 0;
	/* A path whose parent is excluded is excluded as well, unless a rule negates. */
	size_t slash = str_rfind(path, '/');
	if (slash != SIZE_MAX && slash > 0 && !glob_set_has_negation(s) &&
	    glob_set_match(s, str_sub(path, 0, slash)) && !glob_set_match(s, path))
		abort();
	glob_set_descend(s, path);
	glob_match(rules, path);
	return 0;
}
