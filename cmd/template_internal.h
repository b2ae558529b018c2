/*
 * template_internal: the tree that template_parse.c makes and template_run.c walks.
 */
#pragma once

#include "base/arena.h"
#include "base/vec.h"
#include "cmd/template.h"

enum { TPL_PATH_MAX = 32, TPL_ARGS_MAX = 32 };

enum tpl_value_kind {
	TPL_DOT,
	TPL_VARIABLE,
	TPL_STRING,
	TPL_NUMBER,
	TPL_BOOL,
	TPL_NIL,
	TPL_FUNCTION,
	TPL_GROUP
};

struct tpl_value {
	enum tpl_value_kind kind;
	struct str text; /* string, function or variable ("" is $) */
	double number;
	bool is_int;
	struct tpl_pipe *group;
	struct str *path; /* members to go into */
	size_t n_path;
};

struct tpl_command {
	struct tpl_command *next; /* gets this one's value as its last argument */
	struct tpl_value **v;
	size_t n;
};

struct tpl_pipe {
	struct str names[2]; /* variables that it sets */
	size_t n_names;
	struct tpl_command *first;
};

enum tpl_node_kind { TPL_TEXT, TPL_PRINT, TPL_IF, TPL_WITH, TPL_RANGE };

struct tpl_node {
	struct tpl_node *next;
	enum tpl_node_kind kind;
	struct str text;
	struct tpl_pipe *pipe;
	struct tpl_node *then, *otherwise;
};

struct template
{
	struct arena *a;
	struct tpl_node *first;
};

struct tpl_variable {
	struct str name;
	json_t *value;
};

struct tpl_run {
	json_t *root, *dot; /* borrowed */
	const char *const *maps;
	VEC(struct tpl_variable) vars;
	struct sb *out;
	struct err **err;
};

/* What went wrong while it runs. Always -1. */
int tpl_fail(const struct tpl_run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Go's truth of a value, its text, and how fmt prints it with %v. NULL is "no value". */
bool tpl_truth(const json_t *v);
struct str tpl_text(const json_t *v);
void tpl_print(const json_t *v, struct sb *out);

/* Calls a function; arguments are borrowed, *ret is a new reference. */
NODISCARD int tpl_call(struct tpl_run *r, struct str name, json_t **v, size_t n, json_t **ret);

/* Whether a function of this name is there. */
bool tpl_function_known(struct str name);
