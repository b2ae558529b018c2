/*
 * utf8: decoding as Go does it: each byte that is not part of a valid sequence is one bad character. Pure.
 */
#pragma once

#include "base/str.h"

#define UTF8_BAD UINT32_C(0xffffffff)

/* The character at s.p[i] in *ret (UTF8_BAD where the byte is no valid sequence) and its length, 1 for a bad one. i < s.n. */
size_t utf8_next(struct str s, size_t i, uint32_t *ret);

/* Whether all of s is valid. */
bool utf8_valid(struct str s);

/* Adds a character (a valid scalar value) as UTF-8. */
void utf8_add(struct sb *b, uint32_t c);

/* Adds s with each bad byte replaced by U+FFFD. */
void utf8_add_clean(struct sb *b, struct str s);

/* Unicode White_Space, as Go's unicode.IsSpace. */
bool utf8_is_space(uint32_t c);

/* Go's strings.TrimSpace, and the same at the left alone. */
struct str utf8_trim(struct str s);
struct str utf8_trim_left(struct str s);
