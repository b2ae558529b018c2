/*
 * scope: sets of token scopes, written "repository:a/b:pull,push repository:c:pull". Pure.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"

/* The union, each resource once with the union of its actions, in the order of first appearance (servers that honour one scope
 * alone take the last: who asks for a mount puts the destination there). */
struct str scope_merge(struct arena *a, struct str x, struct str y);

/* Whether `have` gives all that `want` asks for. */
bool scope_covers(struct str have, struct str want);

/* Cuts the first scope off a list: false at its end. */
bool scope_next(struct str *list, struct str *ret);
