/*
 * ignore: .dockerignore text → a glob set (dockerfile specification §5). Pure.
 */
#pragma once

#include "base/err.h"
#include "base/glob.h"
#include "base/mem.h"

/* ERR_SYNTAX with BuildKit's message for a bad pattern; the caller owns the set. */
NODISCARD struct glob_set *df_ignore_parse(struct str text, struct err **err);
