/*
 * words: quoting, escapes and ${…} expansion as BuildKit's shell lexer does it (dockerfile specification §3). Pure.
 *
 * Invalid UTF-8 becomes U+FFFD, one for each byte, and one U+FEFF at the start of a word is dropped. Nesting of ${…} is bounded
 * (ERR_LIMIT); time and memory are linear in the word and the values that it names, but for patterns (parser/pattern.h).
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
	bool keep_quotes;  /* quotes and escapes stay (heredoc look, names of RUN steps) */
	bool keep_unset;   /* unset variables stay as written */
	bool plain_quotes; /* quotes are ordinary characters (bodies of COPY heredocs) */
	VEC(struct str)
	unmatched; /* names that were not set, in order of use, each once (malloc; caller releases) */
};

/* One word: the result is not split; it may borrow from `word`, else it is in the arena. env NULL: nothing is set. Names in
 * x->unmatched borrow from `word`. Errors (ERR_SYNTAX, ERR_LIMIT) are prefixed `failed to process "WORD": `. */
NODISCARD int df_expand(struct arena *a, struct str word, const struct df_env *env,
			struct df_expansion *x, struct str *ret, struct err **err);
/* Words mode: text and the results of unquoted expansions are split at Unicode spaces; an empty quoted word is no word. */
NODISCARD int df_expand_words(struct arena *a, struct str word, const struct df_env *env,
			      struct df_expansion *x, struct str **ret, size_t *ret_n,
			      struct err **err);

/* A word of words mode and the bytes of the input it came from. Words out of one expansion share its bytes. */
struct df_shell_word {
	struct str text;
	size_t begin, end;
};

/* The look at a line for heredocs (specification §1.7): words mode, escape `\`, nothing set, quotes, escapes and variables
 * kept. Only words that hold `<` are given; ERR_LIMIT: more than 1000 of them. */
NODISCARD int df_shell_words(struct arena *a, struct str line, struct df_shell_word **ret,
			     size_t *ret_n, struct err **err);

/* The words of a heredoc name: as df_shell_words(), but escapes are processed, and quotes too unless they are kept. */
NODISCARD int df_name_words(struct arena *a, struct str text, bool keep_quotes, struct str **ret,
			    size_t *ret_n, struct err **err);
