/*
 * directive: parser directives, `# escape=\``, at the head of a file (dockerfile specification §1.2). Pure.
 */
#pragma once

#include <stdbool.h>

#include "base/str.h"

enum df_directive_kind {
	DF_DIRECTIVE_NONE,
	DF_DIRECTIVE_SYNTAX,
	DF_DIRECTIVE_ESCAPE,
	DF_DIRECTIVE_CHECK
};

/* Reads one line, which begins with `#`, without its line ending: NONE for an ordinary comment; else the value, a slice. */
enum df_directive_kind df_directive_parse(struct str line, struct str *ret_value);
