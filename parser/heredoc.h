/*
 * heredoc: which words of a logical line are heredoc markers (dockerfile specification §1.7). The one place that decides it:
 * the grammar's scanner asks it before it opens a body, the lowering asks it again for names and forms. Pure.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/str.h"

struct df_marker {
	struct str name;
	int fd;
	bool expand, strip_tabs;
	size_t begin, end; /* bytes of the logical line */
};

/* Whether one word is a marker: `3<<-"EOF"`. begin and end are the whole word. */
bool df_marker_parse(struct arena *a, struct str word, struct df_marker *ret);

/* The markers of a logical line, keyword included, in order: none where the line does not lex. ERR_LIMIT: nested too deep. */
NODISCARD int df_markers_find(struct arena *a, struct str line, struct df_marker **ret,
			      size_t *ret_n, struct err **err);

/* A body of `<<-`: without the tabs at the start of each line. */
struct str df_strip_tabs(struct arena *a, struct str body);
