/*
 * flags: a logical line as keyword, flags and rest (dockerfile specification §1.5–1.6). Pure.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "parser/dockerfile.h"
#include "parser/logical.h"

/* A flag: quotes and escapes are resolved. */
struct df_flag {
	struct str text;
	size_t begin, end; /* bytes of the line */
};

struct df_parts {
	struct str keyword; /* as written */
	struct df_flag *flags;
	size_t n_flags;
	struct str rest; /* trimmed; a slice of the line */
};

/* Splits a logical line, or the text of an ONBUILD instruction. */
void df_split(struct arena *a, struct str line, char escape, struct df_parts *ret);

/* The kind of a keyword in any case: false for one that is no instruction. */
bool df_kind_of(struct str keyword, enum df_kind *ret);

/* What the grammar's scanner must know of a logical line before it reads on. */
struct df_shape {
	size_t json; /* where its JSON form begins, or SIZE_MAX */
	struct df_marker *markers;
	size_t n_markers;
};

/* ERR_LIMIT: words nested too deep to look for heredocs. */
NODISCARD int df_shape_of(struct arena *a, struct str line, char escape, struct df_shape *ret,
			  struct err **err);

enum df_option_type { DF_OPTION_BOOL, DF_OPTION_STRING, DF_OPTION_STRINGS };

/* A flag that an instruction takes, and what was given; that of a bool is "true" or "false". */
struct df_option {
	const char *name;
	enum df_option_type type;
	struct df_list given;
};

/* Judges the flags of a line, left to right, against the options. */
NODISCARD int df_options_parse(struct arena *a, const struct df_logical *l,
			       const struct df_parts *p, struct df_option *options, size_t n,
			       struct err **err);
