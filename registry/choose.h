/*
 * choose: which entry of an index is meant, and what descriptors say about themselves. Pure.
 */
#pragma once

#include <stdbool.h>

#include "cache/oci.h"

/* The value of an annotation, or {NULL, 0}. */
struct str choose_annotation(const struct oci_descriptor *d, const char *name);

/* The entry that fits a platform best, the first among equals; attestations (platform unknown/unknown) never; one without a platform
 * only where it is alone. NULL where none does. */
const struct oci_descriptor *choose_entry(const struct oci_manifest *index,
					  const struct oci_platform *wanted);

/* Whether a layer is one that may not be distributed: it lies at its `urls`. */
bool choose_is_foreign(const struct oci_descriptor *layer);

/* Whether an entry says something about another one instead of being an image. */
bool choose_is_attestation(const struct oci_descriptor *d);
