/*
 * glob: Go's filepath.Match, and the pattern language of .dockerignore and --exclude (moby's patternmatcher). Pure.
 * Reference: Dockerfile specification, section on .dockerignore.
 */
#pragma once

#include <stdbool.h>

#include "base/mem.h"
#include "base/str.h"

struct err;
struct glob_set;

/* Go's path.Match: `*` and `?` never match "/". 1 match, 0 none, -1 malformed pattern (whatever the name). */
int glob_match(struct str pattern, struct str name);

/* Whether a COPY source has a wildcard: an unescaped one of `*?[`. */
bool glob_has_wildcard(struct str pattern);

/* A set of patternmatcher rules, in order; the last that matches decides. Free with glob_set_free(). */
struct glob_set *glob_set_new(void);
void glob_set_free(struct glob_set *s);
void glob_set_freep(struct glob_set **s);

/* Adds a rule as patternmatcher does: trimmed, nothing when empty, path.Clean'ed; a leading "!" negates. ERR_SYNTAX: "illegal
 * exclusion pattern: …" or "syntax error in pattern"; ERR_LIMIT: longer than 4096 bytes. */
NODISCARD int glob_set_add(struct glob_set *s, struct str pattern, struct err **err);

/* Whether a path (relative, "/" between components) is excluded by the rules: it or one of its parents matches. */
bool glob_set_match(const struct glob_set *s, struct str path);

/* Whether an excluded directory may hold included entries, so that a walk must descend. */
bool glob_set_descend(const struct glob_set *s, struct str dir);

/* How many rules; whether one of them negates. */
size_t glob_set_size(const struct glob_set *s);
bool glob_set_has_negation(const struct glob_set *s);
