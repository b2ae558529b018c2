/* Templates: the tree over a value. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/json.h"
#include "cmd/template_internal.h"

/* A value is a JSON one with an own reference. NULL: Go's "no value". */
static int eval_pipe(struct tpl_run *r, const struct tpl_pipe *pipe, json_t **ret);

int tpl_fail(const struct tpl_run *r, const char *fmt, ...)
{
	va_list ap;
	char *text = NULL;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		mem_fail();
	va_end(ap);
	err_set(r->err, ERR_INVALID, "template: : executing \"\": %s", text);
	free(text);
	return -1;
}

bool tpl_truth(const json_t *v)
{
	switch (v ? json_typeof(v) : JSON_NULL) {
	case JSON_TRUE:
		return true;
	case JSON_STRING:
		return json_string_length(v) > 0;
	case JSON_INTEGER:
		return json_integer_value(v) != 0;
	case JSON_REAL:
		return json_real_value(v) != 0;
	case JSON_ARRAY:
		return json_array_size(v) > 0;
	case JSON_OBJECT:
		return json_object_size(v) > 0;
	default:
		return false;
	}
}

struct str tpl_text(const json_t *v)
{
	return (struct str){ json_string_value(v), json_string_length(v) };
}

/* As Go's fmt prints it with %v. */
void tpl_print(const json_t *v, struct sb *out)
{
	size_t i;
	json_t *one;
	const char *name;
	switch (v ? json_typeof(v) : JSON_NULL) {
	case JSON_STRING:
		sb_add_str(out, tpl_text(v));
		break;
	case JSON_INTEGER:
		sb_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		break;
	case JSON_REAL:
		sb_printf(out, "%g", json_real_value(v));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		sb_add_c(out, json_is_true(v) ? "true" : "false");
		break;
	case JSON_ARRAY:
		sb_add_ch(out, '[');
		json_array_foreach(v, i, one)
		{
			if (i)
				sb_add_ch(out, ' ');
			tpl_print(one, out);
		}
		sb_add_ch(out, ']');
		break;
	case JSON_OBJECT:
		sb_add_c(out, "map[");
		i = 0;
		json_object_foreach((json_t *)(uintptr_t)v, name, one)
		{
			sb_printf(out, "%s%s:", i++ ? " " : "", name);
			tpl_print(one, out);
		}
		sb_add_ch(out, ']');
		break;
	default:
		sb_add_c(out, v ? "<nil>" : "<no value>");
	}
}

/* ---- members */

static bool is_map(const struct tpl_run *r, struct str name)
{
	for (size_t i = 0; r->maps && r->maps[i]; i++)
		if (str_eq_c(name, r->maps[i]))
			return true;
	return false;
}

/* Goes into the members of a value, whose reference it takes over. */
static int walk(const struct tpl_run *r, json_t *from, const struct tpl_value *v, json_t **ret)
{
	json_t *at = from;
	for (size_t i = 0; i < v->n_path; i++) {
		_cleanup_free_ char *name = str_dup(v->path[i]);
		if (at && !json_is_object(at)) {
			bool nil = json_is_null(at);
			json_decref(at);
			return tpl_fail(r,
					nil ? "at <.%s>: nil pointer evaluating it"
					    : "at <.%s>: can't evaluate field of a plain value",
					name);
		}
		json_t *next = at ? json_object_get(at, name) : NULL;
		bool from_map = i && is_map(r, v->path[i - 1]);
		json_incref(next);
		json_decref(at);
		if (!next && !from_map)
			return tpl_fail(r, "at <.%s>: map has no entry for key \"%s\"", name, name);
		at = next;
	}
	*ret = at;
	return 0;
}

static json_t *variable(const struct tpl_run *r, struct str name)
{
	for (size_t i = r->vars.n; i-- > 0;)
		if (str_eq(r->vars.v[i].name, name))
			return r->vars.v[i].value;
	return NULL;
}

static bool has_variable(const struct tpl_run *r, struct str name)
{
	for (size_t i = 0; i < r->vars.n; i++)
		if (str_eq(r->vars.v[i].name, name))
			return true;
	return !name.n;
}

/* ---- pipelines */

static int eval_value(struct tpl_run *r, const struct tpl_value *v, json_t **ret)
{
	json_t *from = NULL;
	switch (v->kind) {
	case TPL_DOT:
		return walk(r, json_incref(r->dot), v, ret);
	case TPL_VARIABLE:
		if (!has_variable(r, v->text))
			return tpl_fail(r, "undefined variable \"$%.*s\"", STR_ARG(v->text));
		return walk(r, json_incref(v->text.n ? variable(r, v->text) : r->root), v, ret);
	case TPL_GROUP:
		return eval_pipe(r, v->group, &from) < 0 ? -1 : walk(r, from, v, ret);
	case TPL_STRING:
		*ret = json_text(v->text);
		return 0;
	case TPL_NUMBER:
		*ret = v->is_int && fabs(v->number) < 9e18 ? json_integer((json_int_t)v->number)
							   : json_real(v->number);
		return 0;
	case TPL_BOOL:
		*ret = json_boolean(v->number != 0);
		return 0;
	case TPL_NIL:
		*ret = json_null();
		return 0;
	default:
		return tpl_call(r, v->text, NULL, 0, ret);
	}
}

/* `last`: the value of the command before, an own reference or NULL; piped says that there is one. */
static int eval_command(struct tpl_run *r, const struct tpl_command *c, bool piped, json_t *last,
			json_t **ret)
{
	json_t *args[TPL_ARGS_MAX + 1] = { NULL };
	size_t n = 0;
	bool calls = c->v[0]->kind == TPL_FUNCTION;
	int result = 0;
	if (!calls) {
		/* Docker's formatters have a method with an argument: .Label "k". */
		if (c->n == 2 && c->v[1]->kind == TPL_STRING && c->v[0]->n_path && !piped) {
			json_t *from;
			if (eval_value(r, c->v[0], &from) < 0)
				return -1;
			_cleanup_free_ char *key = str_dup(c->v[1]->text);
			json_t *found = json_object_get(from, key);
			*ret = found ? json_incref(found) : json_text(STR(""));
			json_decref(from);
			return 0;
		}
		if (c->n > 1 || piped)
			return tpl_fail(r, "can't give argument to non-function");
		return eval_value(r, c->v[0], ret);
	}
	for (size_t i = 1; i < c->n && !result; i++)
		result = eval_value(r, c->v[i], &args[n++]);
	if (piped && n <= TPL_ARGS_MAX)
		args[n++] = json_incref(last);
	if (!result)
		result = tpl_call(r, c->v[0]->text, args, n, ret);
	for (size_t i = 0; i < n; i++)
		json_decref(args[i]);
	return result;
}

static int eval_pipe(struct tpl_run *r, const struct tpl_pipe *pipe, json_t **ret)
{
	json_t *value = NULL;
	for (const struct tpl_command *c = pipe->first; c; c = c->next) {
		json_t *next = NULL;
		int e = eval_command(r, c, c != pipe->first, value, &next);
		json_decref(value);
		if (e < 0)
			return -1;
		value = next;
	}
	*ret = value;
	return 0;
}

static void set_variable(struct tpl_run *r, struct str name, json_t *value)
{
	VEC_PUSH(&r->vars, ((struct tpl_variable){ name, json_incref(value) }));
}

static void drop_variables(struct tpl_run *r, size_t n)
{
	while (r->vars.n > n)
		json_decref(VEC_POP(&r->vars).value);
}

/* ---- nodes */

static int run_list(struct tpl_run *r, const struct tpl_node *n);

static int run_with(struct tpl_run *r, const struct tpl_node *n, json_t *dot)
{
	json_t *before = r->dot;
	r->dot = dot;
	int e = run_list(r, n);
	r->dot = before;
	return e;
}

static int run_one(struct tpl_run *r, const struct tpl_node *n, json_t *index, json_t *one)
{
	size_t vars = r->vars.n;
	if (n->pipe->n_names == 2)
		set_variable(r, n->pipe->names[0], index);
	if (n->pipe->n_names)
		set_variable(r, n->pipe->names[n->pipe->n_names - 1], one);
	int e = run_with(r, n->then, one);
	drop_variables(r, vars);
	return e;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* In the order of the names, as Go does. */
static int range_object(struct tpl_run *r, const struct tpl_node *n, json_t *v)
{
	VEC(const char *) names = { 0 };
	const char *name;
	json_t *one;
	int e = 0;
	json_object_foreach(v, name, one) VEC_PUSH(&names, name);
	qsort(names.v, names.n, sizeof(*names.v), by_name);
	for (size_t i = 0; i < names.n && !e; i++) {
		_cleanup_(json_unrefp) json_t *index = json_text(str_c(names.v[i]));
		e = run_one(r, n, index, json_object_get(v, names.v[i]));
	}
	VEC_RELEASE(&names);
	return e;
}

static int run_range(struct tpl_run *r, const struct tpl_node *n, json_t *v)
{
	if (v && !json_is_array(v) && !json_is_object(v) && !json_is_null(v))
		return tpl_fail(r, "range can't iterate over a plain value");
	if (!tpl_truth(v))
		return run_list(r, n->otherwise);
	if (json_is_object(v))
		return range_object(r, n, v);
	for (size_t i = 0; i < json_array_size(v); i++) {
		_cleanup_(json_unrefp) json_t *index = json_integer((json_int_t)i);
		if (run_one(r, n, index, json_array_get(v, i)) < 0)
			return -1;
	}
	return 0;
}

static int run_node(struct tpl_run *r, const struct tpl_node *n)
{
	if (n->kind == TPL_TEXT) {
		sb_add_str(r->out, n->text);
		return 0;
	}
	_cleanup_(json_unrefp) json_t *v = NULL;
	if (eval_pipe(r, n->pipe, &v) < 0)
		return -1;
	if (n->kind == TPL_PRINT) {
		if (n->pipe->n_names)
			set_variable(r, n->pipe->names[0], v);
		else
			tpl_print(v, r->out);
		return 0;
	}
	if (n->kind == TPL_RANGE)
		return run_range(r, n, v);
	size_t vars = r->vars.n;
	if (n->pipe->n_names)
		set_variable(r, n->pipe->names[0], v);
	int e = !tpl_truth(v)         ? run_list(r, n->otherwise)
		: n->kind == TPL_WITH ? run_with(r, n->then, v)
				      : run_list(r, n->then);
	drop_variables(r, vars);
	return e;
}

static int run_list(struct tpl_run *r, const struct tpl_node *n)
{
	size_t vars = r->vars.n;
	int e = 0;
	for (; n && !e; n = n->next)
		e = run_node(r, n);
	drop_variables(r, vars);
	return e;
}

int template_run(const struct template *t, json_t *data, const char *const *maps, struct sb *out,
		 struct err **err)
{
	struct tpl_run r = { .root = data, .dot = data, .maps = maps, .out = out, .err = err };
	int e = run_list(&r, t->first);
	VEC_RELEASE(&r.vars);
	return e;
}
