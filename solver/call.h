/*
 * call: what `--check` and `--call=…` print, as text and as the JSON of BuildKit's subrequests.
 */
#pragma once

#include "base/err.h"
#include "base/json.h"
#include "parser/dockerfile.h"
#include "parser/lint.h"
#include "solver/plan.h"

/* Appends the warnings: "Check complete, …", then each with its excerpt, by line. */
void call_check_text(const struct df_lint *lint, struct str name, struct str text, struct sb *out);
/* warnings in the order of finding, sources, buildError (error may be NULL). The caller owns the reference. */
json_t *call_check_json(const struct df_lint *lint, const struct err *error, struct str name,
			struct str text) __attribute__((returns_nonnull));

/* Appends tables of the build args, secrets and ssh sockets that a target needs. */
void call_outline_text(const struct plan_outline *o, struct sb *out);
json_t *call_outline_json(const struct plan_outline *o, struct str text)
	__attribute__((returns_nonnull));

/* Appends a table of the stages with their descriptions; the last one is the default. */
void call_targets_text(const struct df_file *f, struct sb *out);
json_t *call_targets_json(const struct df_file *f) __attribute__((returns_nonnull));
