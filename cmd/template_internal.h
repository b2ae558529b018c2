/*
 * template_internal: the tree that template_parse.c makes and template_run.c walks.
 */
#pragma once

#include "base/arena.h"
#include "cmd/template.h"

enum { TPL_PATH_MAX = 32, TPL_ARGS_MAX = 32 };

enum tpl_value_kind { TPL_DOT, TPL_VARIABLE, TPL_STRING, TPL_NUMBER, TPL_BOOL, TPL_NIL, TPL_FUNCTION, TPL_GROUP };

struct tpl_value {
	enum tpl_value_kind kind;
	struct str text;             /* string, function or variable ("" is $) */
	double number;
	bool is_int;
	struct tpl_pipe *group;
	struct str *path;            /* members to go into */
	size_t n_path;
};

struct tpl_command {
	struct tpl_command *next;    /* gets this one's value as its last argument */
	struct tpl_value **v;
	size_t n;
};

struct tpl_pipe {
	struct str names[2];         /* variables that it sets */
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

struct template {
	struct arena *a;
	struct tpl_node *first;
};

/* Whether a function of this name is there. */
bool tpl_function_known(struct str name);
