/*
 * args: the arguments of an instruction in their form: words, JSON array, name=value, one text (dockerfile specification §1.5).
 * The first stage of errors: they come before any error of the second, wherever they stand in the file. Pure.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "parser/flags.h"

/* An argument and the bytes of the logical line that it stands on. */
struct df_arg {
	struct str text;
	size_t begin, end;
};

struct df_args {
	struct df_arg *v; /* ENV, LABEL: names and values in turn */
	size_t n;
	bool json, legacy;
	struct df_parts
		*child; /* ONBUILD: the instruction in it; v are its keyword and arguments */
};

/* Parses the rest of a line. An unknown keyword has no arguments. */
NODISCARD int df_args_parse(struct arena *a, struct str line, const struct df_parts *p, char escape,
			    struct df_args *ret, struct err **err);
