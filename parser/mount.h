/*
 * mount: the option list of RUN --mount (dockerfile specification §2.5). Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "parser/dockerfile.h"
#include "parser/words.h"

struct df_mount {
	enum df_mount_type type;
	struct str from, source, target, id, env; /* p NULL: not given */
	enum { DF_SHARED, DF_PRIVATE, DF_LOCKED } sharing;
	bool has_sharing; /* it was given */
	bool readonly, required;
	int64_t size_bytes;     /* -1: not given */
	int64_t mode, uid, gid; /* -1: not given */
};

/* "bind" … "ssh". */
const char *df_mount_type_name(enum df_mount_type t);

/* Fields of one line of CSV, or an error as Go's encoding/csv words it: used by --mount and --device. */
NODISCARD int df_csv_fields(struct arena *a, struct str line, struct str **ret, size_t *ret_n,
			    struct err **err);

/* "1", "t", "TRUE" … as Go's strconv.ParseBool; false for anything else. */
bool df_bool_parse(struct str s, bool *ret);

/* What is checked at parse: the CSV and `from`, which is set. */
NODISCARD int df_mount_check(struct arena *a, struct df_mount_flag *m, struct err **err);

/* The whole list; values are expanded by env where it is given (NULL: taken literally). Errors (ERR_SYNTAX) as BuildKit words
 * them, without prefix. What needs the stage is left to the planner: a target of "/", a source of ssh. */
NODISCARD int df_mount_parse(struct arena *a, struct str text, const struct df_env *env,
			     struct df_expansion *x, struct df_mount *ret, struct err **err);
