/*
 * jsonform: the JSON form of an instruction's arguments, decided as Go's encoding/json does: text after leading blanks that is
 * one valid array and nothing else. Pure; nesting is bounded as Go bounds it, without recursion.
 */
#pragma once

#include "base/arena.h"
#include "base/str.h"

enum df_json {
	DF_JSON_NONE,  /* no array, or not valid: the shell form */
	DF_JSON_OTHER, /* a valid array with something that is no string: an error */
	DF_JSON_STRINGS,
};

/* An item and the bytes of the text that it stands on, with its quotes. */
struct df_json_item {
	struct str text;
	size_t begin, end;
};

/* What the text is; for DF_JSON_STRINGS its items, unless ret is NULL. Escapes are resolved; bad UTF-8 and lone surrogates are
 * U+FFFD. Items without escapes borrow from the text. */
enum df_json df_json_array(struct arena *a, struct str text, struct df_json_item **ret,
			   size_t *ret_n);
