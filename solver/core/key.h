/*
 * key: the digests by which results are found again. Pure.
 *   K(v) = H("cbuild.key.1", op(v), i1 … in)      i = "R"‖R(input) or "C"‖C(selection)
 *   R(step) = H("cbuild.result.1", R(parent), M, nonce or "")      R(scratch) = H("cbuild.scratch.1")
 *   D(v) = H("cbuild.deep.1", op(v), i …)           i = "R"‖R of fixed inputs, "C"‖C of contexts, "D"‖D of steps
 */
#pragma once

#include "base/digest.h"

/* R of the empty root. */
struct digest key_scratch(void);
/* R of a step that ran: its parent's R, M of its layer, a nonce (NULL: none) of 16 bytes. */
struct digest key_result(const struct digest *parent, const struct digest *m, const uint8_t *nonce);

/* Builds K or D field by field. */
void key_begin(struct digester *h, const struct digest *op);
void key_deep_begin(struct digester *h, const struct digest *op);
void key_input(struct digester *h, char tag, const struct digest *d);
/* D of files selected from a step: H("cbuild.deepsel.1", D, sel). */
struct digest key_deep_selection(const struct digest *deep, const struct digest *sel);
