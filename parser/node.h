/*
 * node: an instruction between the two stages of parsing: its logical line, parts and arguments are known, nothing of it is
 * judged yet. Internal to parser/.
 */
#pragma once

#include "parser/args.h"
#include "parser/dockerfile.h"
#include "parser/flags.h"
#include "parser/logical.h"

struct df_node {
	struct df_logical line;
	struct df_parts parts;
	struct df_args args;
	struct df_heredoc *heredocs;
	size_t n_heredocs;
	struct df_list comments;
	struct span at;
};

/* Judges a node and builds its instruction; for FROM also *ret_stage, but for its instructions. Errors (ERR_SYNTAX) have
 * neither place nor prefix. */
NODISCARD int df_build(struct arena *a, const struct df_node *n, struct df_instruction **ret,
		       struct df_stage *ret_stage, struct err **err);
