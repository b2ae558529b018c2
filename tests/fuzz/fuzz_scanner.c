/*
 * The grammar: no text has an ERROR node, and parsing again after an edit gives the tree that a fresh parse gives. The first four
 * bytes are the edit: where, how much goes, how much of the text's end comes in its place.
 */
#include <stdint.h>

#include "tests/lib/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 4)
		return 0;
	struct str text = { (const char *)data + 4, size - 4 };
	size_t at = (data[0] | (size_t)data[1] << 8) % (text.n + 1), gone = data[2] % 32,
	       come = data[3] % 32;
	gone = gone > text.n - at ? text.n - at : gone;
	come = come > text.n ? text.n : come;

	TSParser *p = ts_parser_new();
	ts_parser_set_language(p, tree_sitter_dockerfile());
	tree_edit(p, text, at, gone, str_sub(text, text.n - come, text.n));
	ts_parser_delete(p);
	return 0;
}
