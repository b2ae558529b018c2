/*
 * dump: the AST as the JSON of `cbuild debug dump-dockerfile --json`. Pure.
 */
#pragma once

#include "base/json.h"
#include "parser/dockerfile.h"

/* The file object without `path` and `check`; the caller owns the reference. */
json_t *df_dump(struct arena *a, const struct df_file *f);
/* The file object of a file that does not parse: directives (may be NULL) and the error. */
json_t *df_dump_error(const struct df_file *directives, const struct err *e);
