/*
 * letter: which characters are letters and digits, as Go's unicode package has it: names of variables may hold any of them.
 * Pure; no locale.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Whether a character is a letter (general category L) or a decimal digit (Nd). UTF8_BAD is neither. */
bool df_is_letter(uint32_t c);
bool df_is_digit(uint32_t c);
