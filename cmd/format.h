/*
 * format: tables and units as Docker prints them: columns padded with three spaces, decimal sizes, "2 hours ago".
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/str.h"

struct table;

/* A table of `n` columns with these headings. */
struct table *table_new(const char *const *headings, size_t n);
/* Adds a cell of the current row; the text is copied. */
void table_add(struct table *t, struct str cell);
void table_printf(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints to stdout and frees. */
void table_print(struct table *t);

enum { FORMAT_TEXT = 48 };

/* "12.3MB": decimal units, at most four significant digits (go-units HumanSize with %.3g or %.4g). Returns buf. */
char *format_size(uint64_t bytes, char buf[FORMAT_TEXT]);
/* "2 hours", "About a minute" (go-units HumanDuration). Returns buf. */
char *format_duration(int64_t ns, char buf[FORMAT_TEXT]);
/* The first 12 hex digits. Returns buf. */
char *format_short_id(const struct digest *d, char buf[FORMAT_TEXT]);
