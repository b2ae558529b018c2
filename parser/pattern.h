/*
 * pattern: the shell patterns of ${v#p} ${v%p} ${v/p/r}: `*` any run, `?` one character, neither crosses a newline; `[` is
 * literal; `\*` `\?` `\\` escape, `\}` and `\/` stand for `}` and `/`. Matches are those of Go's regexp, into which BuildKit
 * translates them: leftmost, and of these the one that the stars prefer. Pure; time is bounded (ERR_LIMIT).
 */
#pragma once

#include <stdbool.h>

#include "base/mem.h"
#include "base/str.h"

struct err;

/* The value without its longest (greedy) or shortest matching prefix, or suffix; a slice of value. ERR_SYNTAX: bad pattern. */
NODISCARD int df_pattern_trim(struct str pattern, struct str value, bool suffix, bool greedy,
			      struct str *ret, struct err **err);

/* Appends the value with the first match replaced by the text `with`, or, for `all`, each match by `with` as a template of Go's
 * regexp: `$0` is the match, `$$` a dollar sign, other groups are empty. */
NODISCARD int df_pattern_replace(struct str pattern, struct str with, struct str value, bool all,
				 struct sb *out, struct err **err);
