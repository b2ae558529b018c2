/*
 * words: quoting, escapes and ${…} expansion as BuildKit's shell lexer does it (dockerfile specification §3). Pure.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"

/* Where variables come from. */
struct df_env {
	/* true and *ret when the name is set. */
	bool (*get)(const struct df_env *env, struct str name, struct str *ret);
};

struct df_expansion {
	char escape;
	bool keep_quotes;          /* quotes and escapes stay (heredoc look) */
	bool keep_unset;           /* unset variables stay as written */
	VEC(struct str) unmatched; /* names that were not set, in order of use, each once (malloc; caller releases) */
};

/* One word: the result is not split. Errors are prefixed `failed to process "WORD": `. */
NODISCARD int df_expand(struct arena *a, struct str word, const struct df_env *env, struct df_expansion *x, struct str *ret,
			struct err **err);
/* Words mode: results of unquoted expansions are split. */
NODISCARD int df_expand_words(struct arena *a, struct str word, const struct df_env *env, struct df_expansion *x, struct str **ret,
			      size_t *ret_n, struct err **err);
