/*
 * lint: BuildKit's build checks under BuildKit's names (dockerfile specification §8). The table of rules, the settings of
 * `# check=…`, and the rules that need the text alone; rules that need values or stages are found while planning and reported here
 * by df_lint_warn(). Warnings are kept in the order of finding. Pure; everything lives in an arena.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "parser/dockerfile.h"

enum df_lint_rule {
	LINT_STAGE_NAME_CASING,
	LINT_FROM_AS_CASING,
	LINT_NO_EMPTY_CONTINUATION,
	LINT_CONSISTENT_INSTRUCTION_CASING,
	LINT_DUPLICATE_STAGE_NAME,
	LINT_RESERVED_STAGE_NAME,
	LINT_JSON_ARGS_RECOMMENDED,
	LINT_MAINTAINER_DEPRECATED,
	LINT_UNDEFINED_ARG_IN_FROM,
	LINT_WORKDIR_RELATIVE_PATH,
	LINT_UNDEFINED_VAR,
	LINT_MULTIPLE_INSTRUCTIONS_DISALLOWED,
	LINT_LEGACY_KEY_VALUE_FORMAT,
	LINT_INVALID_BASE_IMAGE_PLATFORM,
	LINT_REDUNDANT_TARGET_PLATFORM,
	LINT_SECRETS_USED_IN_ARG_OR_ENV,
	LINT_INVALID_DEFAULT_ARG_IN_FROM,
	LINT_FROM_PLATFORM_FLAG_CONST_DISALLOWED,
	LINT_COPY_IGNORED_FILE,
	LINT_INVALID_DEFINITION_DESCRIPTION,
	LINT_EXPOSE_PROTO_CASING,
	LINT_EXPOSE_INVALID_FORMAT,
	LINT_RULES,
};

struct df_lint_info {
	struct str name, url, description; /* url empty: none */
	bool experimental;
};

/* `# check=`: which rules are silent, which experimental ones speak, and whether a warning is an error. */
struct df_lint_settings {
	struct df_list skip, experimental;
	bool skip_all, experimental_all, error;
};

struct df_lint_warning {
	enum df_lint_rule rule;
	struct str message;
	struct span at;
	const struct df_lint_warning *next; /* in order of finding */
};

/* A collector. Zeroed with an arena it is valid: default settings, nothing found. */
struct df_lint {
	struct arena *a;
	struct df_lint_settings settings; /* of the file */
	const struct df_lint_warning *first;
	struct df_lint_warning *last;
	size_t n;
};

/* Name, address and description of a rule. Static. */
const struct df_lint_info *df_lint_info(enum df_lint_rule rule);

/* Parses the value of a check option ("skip=A,B;error=true"). ERR_SYNTAX "invalid check option …", without a place. */
NODISCARD int df_lint_settings_parse(struct arena *a, struct str text, struct df_lint_settings *ret,
				     struct err **err);

/* Takes the file's setting: `override` (BUILDKIT_DOCKERFILE_CHECK, taken whole) where its p is not NULL, else the directive `check`,
 * cut at its first blank. `file` may be what df_parse() leaves when it fails. ERR_SYNTAX "failed to parse check options: …". */
NODISCARD int df_lint_configure(struct df_lint *l, const struct df_file *file, struct str override,
				struct err **err);

/* Reports a warning unless the settings silence its rule. l NULL: nothing is done. `local`: the instruction whose own `# check=`
 * counts too, or NULL. */
void df_lint_warn(struct df_lint *l, enum df_lint_rule rule, const struct df_instruction *local,
		  struct span at, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* The rules that need the text alone: NoEmptyContinuation … ConsistentInstructionCasing, in BuildKit's order. */
void df_lint_syntax(struct df_lint *l, const struct df_file *f);

/* The l->n warnings by first line, in the order of finding within one. An array that the caller frees. */
const struct df_lint_warning **df_lint_by_line(const struct df_lint *l);

/* Whether a name of ARG or ENV looks like that of a secret (SecretsUsedInArgOrEnv). */
bool df_lint_is_secret(struct str name);

/* ERR_SYNTAX "lint violation found for rules: …" where the file says error=true and something was found. */
NODISCARD int df_lint_verdict(const struct df_lint *l, struct err **err);
