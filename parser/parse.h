/*
 * parse: text → AST. Drives tree-sitter over our one-level grammar and lowers the tree. Pure: no file, clock or environment.
 */
#pragma once

#include "base/mem.h"
#include "parser/dockerfile.h"

/* Parses a Dockerfile. The text must outlive the arena. ERR_SYNTAX with BuildKit's first message and its place; ERR_LIMIT for
 * bounds of ours. On failure *ret_directives (may be NULL) still holds the directives found: struct df_file with those alone. */
NODISCARD int df_parse(struct arena *a, struct str text, struct df_file **ret,
		       struct df_file **ret_directives, struct err **err);

/* Parses one instruction of an ONBUILD trigger: escape is `\`, no directives. Errors have no "dockerfile parse error" prefix. */
NODISCARD int df_parse_trigger(struct arena *a, struct str text, struct df_instruction **ret,
			       struct err **err);

/* "ADD" … "WORKDIR". */
const char *df_kind_name(enum df_kind k);
