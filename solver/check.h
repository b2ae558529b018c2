/*
 * check: a Dockerfile parsed with its checks set up, as builds and `--check` begin; and planned without a build for the dumps, under the
 * assumptions of the recorded results (linux/amd64, no build args, no context, every image exists with PATH alone).
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "parser/dockerfile.h"
#include "parser/lint.h"
#include "solver/plan.h"

/* Parses a Dockerfile and sets up its checks in lint, which is zeroed but for its arena. The first error of: an empty file, a front
 * end that is not built in (`# syntax=`, the build arg BUILDKIT_SYNTAX; not with no_client), bad check options (of the directive, or the build arg BUILDKIT_DOCKERFILE_CHECK), the text. `text` must outlive the arena. */
NODISCARD int solver_parse(struct arena *a, struct str text, const struct plan_options *o,
			   struct df_lint *lint, struct df_file **ret, struct err **err);

/* Plans without looking any image up: each exists for the platform that is asked for, sets PATH alone and has one layer. `o` and what it
 * points to must outlive *ret. ERR_SYNTAX as plan_graph(). */
NODISCARD int solver_plan_assumed(struct arena *a, const struct df_file *f,
				  const struct plan_options *o, struct plan **ret,
				  struct err **err);

/* Options of the dumps: linux/amd64, nothing given, nothing executed. */
struct plan_options solver_dump_options(void);

/* The member `check` of `debug dump-dockerfile`: {"warnings": [{"rule", "lines", "message"}], "error": null or {"message", "lines"}}, all
 * stages planned; warnings by first line. The caller owns the reference. */
json_t *solver_check_dump(struct arena *a, const struct df_file *f)
	__attribute__((returns_nonnull));

/* The member `image` of `debug dump-image-config`: {"platform", "author", "config", "history"} of the last stage, or null where planning
 * fails. The caller owns the reference. */
json_t *solver_image_dump(struct arena *a, const struct df_file *f)
	__attribute__((returns_nonnull));
