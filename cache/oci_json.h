/*
 * oci_json: reading and writing single members of OCI documents, for oci.c and image.c. An absent and a null member are the same.
 * Texts read are copied into the arena and hold no NUL. Messages name the member; the caller says of what.
 */
#pragma once

#include <stddef.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cache/oci.h"

struct err;

/* A text ("" when absent), an array of texts, a map of texts; ERR_INVALID for another type. */
NODISCARD int oci_json_str(struct arena *a, const json_t *obj, const char *name, struct str *ret,
			   struct err **err);
NODISCARD int oci_json_strings(struct arena *a, const json_t *obj, const char *name,
			       struct oci_list *ret, struct err **err);
NODISCARD int oci_json_map(struct arena *a, const json_t *obj, const char *name,
			   struct oci_annotation **ret, size_t *ret_n, struct err **err);
/* An array or object (JSON_ARRAY, JSON_OBJECT); NULL when absent. Borrowed. */
NODISCARD int oci_json_member(const json_t *obj, const char *name, json_type type,
			      const json_t **ret, struct err **err);
/* os, architecture, variant and os.version of an object. */
NODISCARD int oci_json_platform(struct arena *a, const json_t *obj, struct oci_platform *ret,
				struct err **err);

/* Set a member unless it is empty. */
void oci_json_put_str(json_t *obj, const char *name, struct str s);
void oci_json_put_strings(json_t *obj, const char *name, const struct str *v, size_t n);
void oci_json_put_map(json_t *obj, const char *name, const struct oci_annotation *v, size_t n);
