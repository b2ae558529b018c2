/*
 * json: jansson with cbuild's limits. Reading: depth 64, at most 4 MiB unless said, duplicate names are refused. Writing:
 * compact, members in the order of insertion. Text that is not UTF-8 becomes U+FFFD in json_text() alone.
 * Bytes that came from outside and are digested are kept as they came and never written anew from the tree.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"

struct err;

enum { JSON_MAX_BYTES = 4 * 1024 * 1024, JSON_MAX_DEPTH = 64 };

/* For _cleanup_(json_unrefp). */
void json_unrefp(json_t **j);

/* Parses one value, nothing behind it; `what` names it in errors (ERR_INVALID, ERR_LIMIT). The caller owns the reference. */
NODISCARD json_t *json_parse(struct str text, const char *what, struct err **err);
NODISCARD json_t *json_parse_max(struct str text, size_t max, const char *what, struct err **err);

/* Appends the compact text of a value. */
void json_print(const json_t *j, struct sb *b);

/* A string value of any bytes: bad UTF-8 becomes U+FFFD. Never NULL. */
json_t *json_text(struct str s) __attribute__((returns_nonnull));

/* obj[name] as text; an absent or null member, or one of another kind, gives `{NULL, 0}`. Valid as long as the object. */
struct str json_get_str(const json_t *obj, const char *name);
/* obj[name] as an integer, or `or`. */
int64_t json_get_int(const json_t *obj, const char *name, int64_t or);
bool json_get_bool(const json_t *obj, const char *name);

/* Sets obj[name]; the value's reference is taken over. */
void json_put(json_t *obj, const char *name, json_t *value);
void json_put_str(json_t *obj, const char *name, struct str value);
void json_put_int(json_t *obj, const char *name, int64_t value);
/* Appends to an array; the reference is taken over. */
void json_push(json_t *array, json_t *value);
