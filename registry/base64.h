/*
 * base64: what credentials and tokens are written in. Pure.
 */
#pragma once

#include "base/mem.h"
#include "base/str.h"

struct err;

/* Adds data in the standard alphabet with padding. */
void base64_encode(struct str data, struct sb *out);

/* Adds the bytes of a text in either alphabet; padding and line ends may be missing or there. ERR_INVALID for anything else. */
NODISCARD int base64_decode(struct str text, struct sb *out, struct err **err);
