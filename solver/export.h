/*
 * export: an image of the store as something else: one function per kind of output.
 */
#pragma once

#include "base/mem.h"

struct build;
struct build_output;
struct digest;
struct err;

/* Writes an image to one output. A destination that fails is removed. */
NODISCARD int export_write(struct build *b, const struct digest *image_id,
			   const struct build_output *o, struct err **err);
