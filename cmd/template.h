/*
 * template: the part of Go's text/template that people use with --format and -f, over JSON: field paths, variables, pipelines, if, else if, with,
 * range, else, index, slice, len, print, printf, println, comparisons, and, or, not; and Docker's json, join, split, lower, upper, title, pad,
 * truncate. `{{-` and `-}}` trim, comments are dropped. define, block, template, call, html and urlquery are refused by name.
 *
 * A member that an object does not have is an error, as of a struct in Go; but of an object that is a map there (`template_maps`) it prints
 * "<no value>".
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/mem.h"
#include "base/str.h"

struct err;
struct template;

/* Parses; ERR_INVALID in Go's words. `\t` and `\n` outside of actions are taken for a tab and a line end, as Docker does. Free with
 * template_free(). */
NODISCARD struct template *template_parse(struct str text, struct err **err);
void template_free(struct template *t);
void template_freep(struct template **t);

/* Runs it over a value and appends what it prints. `maps`: NULL-terminated names of members whose objects are maps; may be NULL. */
NODISCARD int template_run(const struct template *t, json_t *data, const char *const *maps,
			   struct sb *out, struct err **err);

/* Whether text asks for a table ("table {{…}}"): the text behind it in *ret. */
bool template_is_table(struct str text, struct str *ret);
