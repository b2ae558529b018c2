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
	struct str from, source, target, id, env;   /* p NULL: not given */
	enum { DF_SHARED, DF_PRIVATE, DF_LOCKED } sharing;
	bool readonly, required;
	int64_t size_bytes;                         /* -1: not given */
	int64_t mode, uid, gid;                     /* -1: not given */
};

/* What is checked at parse: the CSV and `from`. */
NODISCARD int df_mount_check(struct arena *a, struct df_mount_flag *m, struct err **err);

/* The whole list; values are expanded by env where it is given (NULL: taken literally). */
NODISCARD int df_mount_parse(struct arena *a, struct str text, const struct df_env *env, struct df_expansion *x, struct df_mount *ret,
			     struct err **err);
