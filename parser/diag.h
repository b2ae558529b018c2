/*
 * diag: errors and warnings of a Dockerfile as text: the excerpt that BuildKit prints, and did-you-mean hints. Pure.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

/* Appends BuildKit's snippet for a span: "NAME:line", dashes, numbered lines with >>> marks, dashes (specification §1.8). The
 * columns of a span within one line are underlined with ^. Nothing when at.line is 0. */
void df_excerpt(struct sb *out, struct str name, struct str text, struct span at);

/* The nearest candidate within Levenshtein distance 2, or p NULL; ties: alphabetically first; none when one is equal. */
struct str df_near(struct str word, const struct str *candidates, size_t n, bool ignore_case);
