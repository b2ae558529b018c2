/* Templates: the tree over a value. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/json.h"
#include "base/utf8.h"
#include "base/vec.h"
#include "cmd/template_internal.h"

enum { OUTPUT_MAX = 64 * 1024 * 1024 };

struct variable {
	struct str name;
	json_t *value;
};

struct run {
	json_t *root, *dot;          /* borrowed */
	const char *const *maps;
	VEC(struct variable) vars;
	struct sb *out;
	struct err **err;
};

/* A value is a JSON one with an own reference. NULL: Go's "no value". */
static int eval_pipe(struct run *r, const struct tpl_pipe *pipe, json_t **ret);

static int fail(const struct run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int fail(const struct run *r, const char *fmt, ...)
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

static bool truth(const json_t *v)
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

static struct str text_of(const json_t *v)
{
	return (struct str){ json_string_value(v), json_string_length(v) };
}

/* As Go's fmt prints it with %v. */
static void print_value(const json_t *v, struct sb *out)
{
	size_t i;
	json_t *one;
	const char *name;
	switch (v ? json_typeof(v) : JSON_NULL) {
	case JSON_STRING:
		sb_add_str(out, text_of(v));
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
		json_array_foreach(v, i, one) {
			if (i)
				sb_add_ch(out, ' ');
			print_value(one, out);
		}
		sb_add_ch(out, ']');
		break;
	case JSON_OBJECT:
		sb_add_c(out, "map[");
		i = 0;
		json_object_foreach((json_t *)(uintptr_t)v, name, one) {
			sb_printf(out, "%s%s:", i++ ? " " : "", name);
			print_value(one, out);
		}
		sb_add_ch(out, ']');
		break;
	default:
		sb_add_c(out, v ? "<nil>" : "<no value>");
	}
}

/* ---- members */

static bool is_map(const struct run *r, struct str name)
{
	for (size_t i = 0; r->maps && r->maps[i]; i++)
		if (str_eq_c(name, r->maps[i]))
			return true;
	return false;
}

/* Goes into the members of a value, whose reference it takes over. */
static int walk(const struct run *r, json_t *from, const struct tpl_value *v, json_t **ret)
{
	json_t *at = from;
	for (size_t i = 0; i < v->n_path; i++) {
		_cleanup_free_ char *name = str_dup(v->path[i]);
		if (at && !json_is_object(at)) {
			bool nil = json_is_null(at);
			json_decref(at);
			return fail(r, nil ? "at <.%s>: nil pointer evaluating it" : "at <.%s>: can't evaluate field of a plain value", name);
		}
		json_t *next = at ? json_object_get(at, name) : NULL;
		bool from_map = i && is_map(r, v->path[i - 1]);
		json_incref(next);
		json_decref(at);
		if (!next && !from_map)
			return fail(r, "at <.%s>: map has no entry for key \"%s\"", name, name);
		at = next;
	}
	*ret = at;
	return 0;
}

static json_t *variable(const struct run *r, struct str name)
{
	for (size_t i = r->vars.n; i-- > 0;)
		if (str_eq(r->vars.v[i].name, name))
			return r->vars.v[i].value;
	return NULL;
}

static bool has_variable(const struct run *r, struct str name)
{
	for (size_t i = 0; i < r->vars.n; i++)
		if (str_eq(r->vars.v[i].name, name))
			return true;
	return !name.n;
}

/* ---- functions: arguments are borrowed */

typedef int (*function)(struct run *r, json_t **v, size_t n, json_t **ret);

static int f_json(struct run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	_cleanup_(sb_releasep) struct sb b = { .max = OUTPUT_MAX };
	/* .Label is a method in Docker's formatters, not a member. */
	_cleanup_(json_unrefp) json_t *shown = v[0] == r->root && json_object_get(v[0], "Label") ? json_copy(v[0]) : json_incref(v[0]);
	if (shown != v[0])
		json_object_del(shown, "Label");
	if (shown)
		json_print(shown, &b);
	else
		sb_add_c(&b, "null");
	*ret = json_text(sb_str(&b));
	return 0;
}

static int f_len(struct run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	if (json_is_string(v[0]))
		*ret = json_integer((json_int_t)json_string_length(v[0]));
	else if (json_is_array(v[0]) || json_is_null(v[0]))
		*ret = json_integer((json_int_t)json_array_size(v[0]));
	else if (json_is_object(v[0]))
		*ret = json_integer((json_int_t)json_object_size(v[0]));
	else
		return fail(r, "error calling len: len of a plain value");
	return 0;
}

static int f_index(struct run *r, json_t **v, size_t n, json_t **ret)
{
	json_t *at = v[0];
	for (size_t i = 1; i < n; i++) {
		if (json_is_object(at) && json_is_string(v[i])) {
			at = json_object_get(at, json_string_value(v[i]));
		} else if (json_is_array(at) && json_is_integer(v[i])) {
			json_int_t k = json_integer_value(v[i]);
			if (k < 0 || (size_t)k >= json_array_size(at))
				return fail(r, "error calling index: index out of range: %" JSON_INTEGER_FORMAT, k);
			at = json_array_get(at, (size_t)k);
		} else if (!at || json_is_null(at)) {
			return fail(r, "error calling index: index of untyped nil");
		} else {
			return fail(r, "error calling index: can't index item");
		}
	}
	*ret = json_incref(at);
	return 0;
}

static int bound(struct run *r, const json_t *v, size_t most, size_t *ret)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0 || (size_t)json_integer_value(v) > most)
		return fail(r, "error calling slice: index out of range");
	*ret = (size_t)json_integer_value(v);
	return 0;
}

static int f_slice(struct run *r, json_t **v, size_t n, json_t **ret)
{
	size_t size = json_is_string(v[0]) ? json_string_length(v[0]) : json_array_size(v[0]), from = 0, to = size;
	if (!json_is_string(v[0]) && !json_is_array(v[0]))
		return fail(r, "error calling slice: can't slice item");
	if ((n > 1 && bound(r, v[1], size, &from) < 0) || (n > 2 && bound(r, v[2], size, &to) < 0))
		return -1;
	if (from > to)
		return fail(r, "error calling slice: invalid slice index");
	if (json_is_string(v[0])) {
		*ret = json_text(str_sub(text_of(v[0]), from, to));
		return 0;
	}
	*ret = json_array();
	for (size_t i = from; i < to; i++)
		json_array_append(*ret, json_array_get(v[0], i));
	return 0;
}

static int print(json_t **v, size_t n, bool line, json_t **ret)
{
	_cleanup_(sb_releasep) struct sb b = { .max = OUTPUT_MAX };
	for (size_t i = 0; i < n; i++) {
		if (i && (line || (!json_is_string(v[i]) && !json_is_string(v[i - 1]))))
			sb_add_ch(&b, ' ');
		print_value(v[i], &b);
	}
	if (line)
		sb_add_ch(&b, '\n');
	*ret = json_text(sb_str(&b));
	return 0;
}

static int f_print(struct run *r, json_t **v, size_t n, json_t **ret)
{
	(void)r;
	return print(v, n, false, ret);
}

static int f_println(struct run *r, json_t **v, size_t n, json_t **ret)
{
	(void)r;
	return print(v, n, true, ret);
}

/* Text in a field as Go counts it, in characters. */
static void add_padded(struct sb *out, struct str text, int width, bool left, char fill)
{
	int have = 0;
	uint32_t c;
	for (size_t i = 0; i < text.n; have++)
		i += utf8_next(text, i, &c);
	for (int i = have; !left && i < width; i++)
		sb_add_ch(out, fill);
	sb_add_str(out, text);
	for (int i = have; left && i < width; i++)
		sb_add_ch(out, ' ');
}

/* One verb with its value; what Go says of a wrong one. */
static void add_verb(char verb, int precision, const json_t *v, struct sb *one)
{
	if (verb == 'q' && json_is_string(v))
		sb_add_goquote(one, text_of(v));
	else if (verb == 'd' && json_is_integer(v))
		print_value(v, one);
	else if (verb == 'x' && json_is_integer(v))
		sb_printf(one, "%" PRIx64, (uint64_t)json_integer_value(v));
	else if (strchr("feg", verb) && json_is_number(v) && precision >= 0)
		sb_printf(one, "%.*f", precision > 40 ? 40 : precision, json_number_value(v));
	else if (strchr("feg", verb) && json_is_number(v))
		sb_printf(one, verb == 'f' ? "%f" : "%g", json_number_value(v));
	else if (verb == 'v' || (verb == 's' && (json_is_string(v) || json_is_array(v))) || (verb == 't' && json_is_boolean(v)))
		print_value(v, one);
	else {
		sb_printf(one, "%%!%c(", verb);
		print_value(v, one);
		sb_add_ch(one, ')');
	}
}

static int f_printf(struct run *r, json_t **v, size_t n, json_t **ret)
{
	if (!json_is_string(v[0]))
		return fail(r, "error calling printf: the format is no string");
	_cleanup_(sb_releasep) struct sb out = { .max = OUTPUT_MAX };
	struct str f = text_of(v[0]);
	size_t next = 1;
	for (size_t i = 0; i < f.n; i++) {
		if (f.p[i] != '%' || ++i >= f.n) {
			sb_add_ch(&out, f.p[i < f.n ? i : f.n - 1]);
			continue;
		}
		bool left = false;
		char fill = ' ';
		int width = 0, precision = -1;
		for (; i < f.n && strchr("-+# 0", f.p[i]); i++) {
			left |= f.p[i] == '-';
			fill = f.p[i] == '0' ? '0' : fill;
		}
		for (; i < f.n && f.p[i] >= '0' && f.p[i] <= '9' && width < 10000; i++)
			width = width * 10 + f.p[i] - '0';
		if (i < f.n && f.p[i] == '.')
			for (precision = 0, i++; i < f.n && f.p[i] >= '0' && f.p[i] <= '9' && precision < 10000; i++)
				precision = precision * 10 + f.p[i] - '0';
		if (i >= f.n || f.p[i] == '%') {
			sb_add_ch(&out, '%');
			continue;
		}
		_cleanup_(sb_releasep) struct sb one = { .max = OUTPUT_MAX };
		if (next < n)
			add_verb(f.p[i], precision, v[next], &one);
		else
			sb_printf(&one, "%%!%c(MISSING)", f.p[i]);
		next++;
		struct str shown = sb_str(&one);
		if (precision >= 0 && f.p[i] == 's')
			shown = str_sub(shown, 0, (size_t)precision);
		add_padded(&out, shown, width, left, fill);
	}
	*ret = json_text(sb_str(&out));
	return 0;
}

static int compare(const json_t *a, const json_t *b, int *ret)
{
	if (json_is_number(a) && json_is_number(b)) {
		double x = json_number_value(a), y = json_number_value(b);
		*ret = x < y ? -1 : x > y;
	} else if (json_is_string(a) && json_is_string(b)) {
		*ret = str_cmp(text_of(a), text_of(b));
	} else {
		return -1;
	}
	return 0;
}

static int f_eq(struct run *r, json_t **v, size_t n, json_t **ret)
{
	bool same = false;
	for (size_t i = 1; i < n && !same; i++) {
		int c;
		if (json_is_boolean(v[0]) && json_is_boolean(v[i]))
			same = json_is_true(v[0]) == json_is_true(v[i]);
		else if (!v[0] || !v[i] || json_is_null(v[0]) || json_is_null(v[i]))
			same = (!v[0] || json_is_null(v[0])) && (!v[i] || json_is_null(v[i]));
		else if (compare(v[0], v[i], &c) == 0)
			same = !c;
		else
			return fail(r, "error calling eq: incompatible types for comparison");
	}
	*ret = json_boolean(same);
	return 0;
}

static int f_ne(struct run *r, json_t **v, size_t n, json_t **ret)
{
	_cleanup_(json_unrefp) json_t *same = NULL;
	if (f_eq(r, v, n, &same) < 0)
		return -1;
	*ret = json_boolean(!json_is_true(same));
	return 0;
}

static int order(struct run *r, json_t **v, bool less, bool equal, json_t **ret)
{
	int c;
	if (compare(v[0], v[1], &c) < 0)
		return fail(r, "error calling lt: incompatible types for comparison");
	*ret = json_boolean((c < 0 && less) || (c > 0 && !less) || (!c && equal));
	return 0;
}

static int f_lt(struct run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	return order(r, v, true, false, ret);
}

static int f_le(struct run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	return order(r, v, true, true, ret);
}

static int f_gt(struct run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	return order(r, v, false, false, ret);
}

static int f_ge(struct run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	return order(r, v, false, true, ret);
}

static int f_and(struct run *r, json_t **v, size_t n, json_t **ret)
{
	(void)r;
	size_t i = 0;
	while (i + 1 < n && truth(v[i]))
		i++;
	*ret = json_incref(v[i]);
	return 0;
}

static int f_or(struct run *r, json_t **v, size_t n, json_t **ret)
{
	(void)r;
	size_t i = 0;
	while (i + 1 < n && !truth(v[i]))
		i++;
	*ret = json_incref(v[i]);
	return 0;
}

static int f_not(struct run *r, json_t **v, size_t n, json_t **ret)
{
	(void)r;
	(void)n;
	*ret = json_boolean(!truth(v[0]));
	return 0;
}

static int f_join(struct run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	if ((!json_is_array(v[0]) && v[0] && !json_is_null(v[0])) || !json_is_string(v[1]))
		return fail(r, "error calling join: expected a list and a separator");
	_cleanup_(sb_releasep) struct sb b = { .max = OUTPUT_MAX };
	size_t i;
	json_t *one;
	json_array_foreach(v[0], i, one) {
		if (i)
			sb_add_str(&b, text_of(v[1]));
		print_value(one, &b);
	}
	*ret = json_text(sb_str(&b));
	return 0;
}

static int f_split(struct run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	if (!json_is_string(v[0]) || !json_is_string(v[1]) || !json_string_length(v[1]))
		return fail(r, "error calling split: expected a string and a separator");
	struct str s = text_of(v[0]), by = text_of(v[1]);
	*ret = json_array();
	for (size_t at; (at = str_find_str(s, by, 0)) != SIZE_MAX; s = str_sub(s, at + by.n, s.n))
		json_push(*ret, json_text(str_sub(s, 0, at)));
	json_push(*ret, json_text(s));
	return 0;
}

enum letter_case { LOWER, UPPER, TITLE };

static int change_case(struct run *r, json_t **v, enum letter_case to, json_t **ret)
{
	if (!json_is_string(v[0]))
		return fail(r, "wrong type for value; expected string");
	_cleanup_free_ char *s = str_dup(text_of(v[0]));
	bool begin = true;
	for (char *p = s; *p; p++) {
		bool low = *p >= 'a' && *p <= 'z', up = *p >= 'A' && *p <= 'Z';
		if (up && to == LOWER)
			*p = (char)(*p + 32);
		else if (low && (to == UPPER || (to == TITLE && begin)))
			*p = (char)(*p - 32);
		begin = *p == ' ' || *p == '\t' || *p == '-';
	}
	*ret = json_text(str_c(s));
	return 0;
}

static int f_lower(struct run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	return change_case(r, v, LOWER, ret);
}

static int f_upper(struct run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	return change_case(r, v, UPPER, ret);
}

static int f_title(struct run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	return change_case(r, v, TITLE, ret);
}

static int f_pad(struct run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	if (!json_is_string(v[0]) || !json_is_integer(v[1]) || !json_is_integer(v[2]))
		return fail(r, "error calling pad: expected a string and two numbers");
	_cleanup_(sb_releasep) struct sb b = { .max = OUTPUT_MAX };
	json_int_t before = json_integer_value(v[1]), after = json_integer_value(v[2]);
	if (json_string_length(v[0]))
		sb_printf(&b, "%*s%s%*s", (int)(before < 0 || before > 4096 ? 0 : before), "", json_string_value(v[0]),
			  (int)(after < 0 || after > 4096 ? 0 : after), "");
	*ret = json_text(sb_str(&b));
	return 0;
}

static int f_truncate(struct run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	if (!json_is_string(v[0]) || !json_is_integer(v[1]) || json_integer_value(v[1]) < 0)
		return fail(r, "error calling truncate: expected a string and a number");
	*ret = json_text(str_sub(text_of(v[0]), 0, (size_t)json_integer_value(v[1])));
	return 0;
}

static const struct {
	const char *name;
	size_t least, most;
	function fn;
} functions[] = {
	{ "json", 1, 1, f_json },	{ "len", 1, 1, f_len },	      { "index", 1, TPL_ARGS_MAX, f_index }, { "slice", 1, 3, f_slice },
	{ "print", 0, TPL_ARGS_MAX, f_print }, { "println", 0, TPL_ARGS_MAX, f_println }, { "printf", 1, TPL_ARGS_MAX, f_printf },
	{ "eq", 2, TPL_ARGS_MAX, f_eq }, { "ne", 2, 2, f_ne },	      { "lt", 2, 2, f_lt },		     { "le", 2, 2, f_le },
	{ "gt", 2, 2, f_gt },		{ "ge", 2, 2, f_ge },	      { "and", 1, TPL_ARGS_MAX, f_and },     { "or", 1, TPL_ARGS_MAX, f_or },
	{ "not", 1, 1, f_not },		{ "join", 2, 2, f_join },     { "split", 2, 2, f_split },	     { "lower", 1, 1, f_lower },
	{ "upper", 1, 1, f_upper },	{ "title", 1, 1, f_title },   { "pad", 3, 3, f_pad },		     { "truncate", 2, 2, f_truncate },
};

static size_t find_function(struct str name)
{
	size_t i = 0;
	while (i < ARRAY_SIZE(functions) && !str_eq_c(name, functions[i].name))
		i++;
	return i;
}

bool tpl_function_known(struct str name)
{
	return find_function(name) < ARRAY_SIZE(functions);
}

static int call(struct run *r, struct str name, json_t **v, size_t n, json_t **ret)
{
	size_t i = find_function(name);
	if (i == ARRAY_SIZE(functions) || n < functions[i].least || n > functions[i].most)
		return fail(r, "at <%.*s>: wrong number of args for %.*s", STR_ARG(name), STR_ARG(name));
	return functions[i].fn(r, v, n, ret);
}

/* ---- pipelines */

static int eval_value(struct run *r, const struct tpl_value *v, json_t **ret)
{
	json_t *from = NULL;
	switch (v->kind) {
	case TPL_DOT:
		return walk(r, json_incref(r->dot), v, ret);
	case TPL_VARIABLE:
		if (!has_variable(r, v->text))
			return fail(r, "undefined variable \"$%.*s\"", STR_ARG(v->text));
		return walk(r, json_incref(v->text.n ? variable(r, v->text) : r->root), v, ret);
	case TPL_GROUP:
		return eval_pipe(r, v->group, &from) < 0 ? -1 : walk(r, from, v, ret);
	case TPL_STRING:
		*ret = json_text(v->text);
		return 0;
	case TPL_NUMBER:
		*ret = v->is_int && fabs(v->number) < 9e18 ? json_integer((json_int_t)v->number) : json_real(v->number);
		return 0;
	case TPL_BOOL:
		*ret = json_boolean(v->number != 0);
		return 0;
	case TPL_NIL:
		*ret = json_null();
		return 0;
	default:
		return call(r, v->text, NULL, 0, ret);
	}
}

/* `last`: the value of the command before, an own reference or NULL; piped says that there is one. */
static int eval_command(struct run *r, const struct tpl_command *c, bool piped, json_t *last, json_t **ret)
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
			return fail(r, "can't give argument to non-function");
		return eval_value(r, c->v[0], ret);
	}
	for (size_t i = 1; i < c->n && !result; i++)
		result = eval_value(r, c->v[i], &args[n++]);
	if (piped && n <= TPL_ARGS_MAX)
		args[n++] = json_incref(last);
	if (!result)
		result = call(r, c->v[0]->text, args, n, ret);
	for (size_t i = 0; i < n; i++)
		json_decref(args[i]);
	return result;
}

static int eval_pipe(struct run *r, const struct tpl_pipe *pipe, json_t **ret)
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

static void set_variable(struct run *r, struct str name, json_t *value)
{
	VEC_PUSH(&r->vars, ((struct variable){ name, json_incref(value) }));
}

static void drop_variables(struct run *r, size_t n)
{
	while (r->vars.n > n)
		json_decref(VEC_POP(&r->vars).value);
}

/* ---- nodes */

static int run_list(struct run *r, const struct tpl_node *n);

static int run_with(struct run *r, const struct tpl_node *n, json_t *dot)
{
	json_t *before = r->dot;
	r->dot = dot;
	int e = run_list(r, n);
	r->dot = before;
	return e;
}

static int run_one(struct run *r, const struct tpl_node *n, json_t *index, json_t *one)
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
static int range_object(struct run *r, const struct tpl_node *n, json_t *v)
{
	VEC(const char *) names = { 0 };
	const char *name;
	json_t *one;
	int e = 0;
	json_object_foreach(v, name, one)
		VEC_PUSH(&names, name);
	qsort(names.v, names.n, sizeof(*names.v), by_name);
	for (size_t i = 0; i < names.n && !e; i++) {
		_cleanup_(json_unrefp) json_t *index = json_text(str_c(names.v[i]));
		e = run_one(r, n, index, json_object_get(v, names.v[i]));
	}
	VEC_RELEASE(&names);
	return e;
}

static int run_range(struct run *r, const struct tpl_node *n, json_t *v)
{
	if (v && !json_is_array(v) && !json_is_object(v) && !json_is_null(v))
		return fail(r, "range can't iterate over a plain value");
	if (!truth(v))
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

static int run_node(struct run *r, const struct tpl_node *n)
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
			print_value(v, r->out);
		return 0;
	}
	if (n->kind == TPL_RANGE)
		return run_range(r, n, v);
	size_t vars = r->vars.n;
	if (n->pipe->n_names)
		set_variable(r, n->pipe->names[0], v);
	int e = !truth(v) ? run_list(r, n->otherwise) : n->kind == TPL_WITH ? run_with(r, n->then, v) : run_list(r, n->then);
	drop_variables(r, vars);
	return e;
}

static int run_list(struct run *r, const struct tpl_node *n)
{
	size_t vars = r->vars.n;
	int e = 0;
	for (; n && !e; n = n->next)
		e = run_node(r, n);
	drop_variables(r, vars);
	return e;
}

int template_run(const struct template *t, json_t *data, const char *const *maps, struct sb *out, struct err **err)
{
	struct run r = { .root = data, .dot = data, .maps = maps, .out = out, .err = err };
	int e = run_list(&r, t->first);
	VEC_RELEASE(&r.vars);
	return e;
}
