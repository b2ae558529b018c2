/*
 * logical: a logical line: the physical lines of an instruction joined, and the map back to the source. Pure.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

/* A part of a logical line that came from one physical line. */
struct df_segment {
	size_t at;     /* where it begins in the logical line */
	size_t source; /* and in the source */
	unsigned line;
};

struct df_logical {
	struct str text; /* one physical line: a slice of the source */
	struct df_segment *segments;
	size_t n_segments;
	unsigned last;  /* the last physical line, trailing comments and blank lines included */
	bool has_blank; /* a blank line stands inside a continuation */
};

/* Joins the lines of source bytes [begin, end), of which the first has number `line`; begin is behind its leading blanks.
 * ERR_BUG when the range is not one logical line. */
NODISCARD int df_logical_join(struct arena *a, struct str source, struct span range, char escape,
			      struct df_logical *ret, struct err **err);

/* The place of bytes [begin, end) of a logical line in the source. */
struct span df_logical_span(const struct df_logical *l, size_t begin, size_t end);
