/* The functions of templates: Go's own and Docker's. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/json.h"
#include "base/utf8.h"
#include "cmd/template_internal.h"

enum { OUTPUT_MAX = 64 * 1024 * 1024 };

typedef int (*function)(struct tpl_run *r, json_t **v, size_t n, json_t **ret);

static int f_json(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	_cleanup_(sb_releasep) struct sb b = { .max = OUTPUT_MAX };
	/* .Label is a method in Docker's formatters, not a member. */
	_cleanup_(json_unrefp) json_t *shown = v[0] == r->root && json_object_get(v[0], "Label")
		? json_copy(v[0])
		: json_incref(v[0]);
	if (shown != v[0])
		json_object_del(shown, "Label");
	if (shown)
		json_print(shown, &b);
	else
		sb_add_c(&b, "null");
	*ret = json_text(sb_str(&b));
	return 0;
}

static int f_len(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	if (json_is_string(v[0]))
		*ret = json_integer((json_int_t)json_string_length(v[0]));
	else if (json_is_array(v[0]) || json_is_null(v[0]))
		*ret = json_integer((json_int_t)json_array_size(v[0]));
	else if (json_is_object(v[0]))
		*ret = json_integer((json_int_t)json_object_size(v[0]));
	else
		return tpl_fail(r, "error calling len: len of a plain value");
	return 0;
}

static int f_index(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
{
	json_t *at = v[0];
	for (size_t i = 1; i < n; i++) {
		if (json_is_object(at) && json_is_string(v[i])) {
			at = json_object_get(at, json_string_value(v[i]));
		} else if (json_is_array(at) && json_is_integer(v[i])) {
			json_int_t k = json_integer_value(v[i]);
			if (k < 0 || (size_t)k >= json_array_size(at))
				return tpl_fail(
					r,
					"error calling index: index out of range: %" JSON_INTEGER_FORMAT,
					k);
			at = json_array_get(at, (size_t)k);
		} else if (!at || json_is_null(at)) {
			return tpl_fail(r, "error calling index: index of untyped nil");
		} else {
			return tpl_fail(r, "error calling index: can't index item");
		}
	}
	*ret = json_incref(at);
	return 0;
}

static int bound(struct tpl_run *r, const json_t *v, size_t most, size_t *ret)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
	    (size_t)json_integer_value(v) > most)
		return tpl_fail(r, "error calling slice: index out of range");
	*ret = (size_t)json_integer_value(v);
	return 0;
}

static int f_slice(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
{
	size_t size = json_is_string(v[0]) ? json_string_length(v[0]) : json_array_size(v[0]),
	       from = 0, to = size;
	if (!json_is_string(v[0]) && !json_is_array(v[0]))
		return tpl_fail(r, "error calling slice: can't slice item");
	if ((n > 1 && bound(r, v[1], size, &from) < 0) || (n > 2 && bound(r, v[2], size, &to) < 0))
		return -1;
	if (from > to)
		return tpl_fail(r, "error calling slice: invalid slice index");
	if (json_is_string(v[0])) {
		*ret = json_text(str_sub(tpl_text(v[0]), from, to));
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
		tpl_print(v[i], &b);
	}
	if (line)
		sb_add_ch(&b, '\n');
	*ret = json_text(sb_str(&b));
	return 0;
}

static int f_print(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
{
	(void)r;
	return print(v, n, false, ret);
}

static int f_println(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
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
		sb_add_goquote(one, tpl_text(v));
	else if (verb == 'd' && json_is_integer(v))
		tpl_print(v, one);
	else if (verb == 'x' && json_is_integer(v))
		sb_printf(one, "%" PRIx64, (uint64_t)json_integer_value(v));
	else if (strchr("feg", verb) && json_is_number(v) && precision >= 0)
		sb_printf(one, "%.*f", precision > 40 ? 40 : precision, json_number_value(v));
	else if (strchr("feg", verb) && json_is_number(v))
		sb_printf(one, verb == 'f' ? "%f" : "%g", json_number_value(v));
	else if (verb == 'v' || (verb == 's' && (json_is_string(v) || json_is_array(v))) ||
		 (verb == 't' && json_is_boolean(v)))
		tpl_print(v, one);
	else {
		sb_printf(one, "%%!%c(", verb);
		tpl_print(v, one);
		sb_add_ch(one, ')');
	}
}

static int f_printf(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
{
	if (!json_is_string(v[0]))
		return tpl_fail(r, "error calling printf: the format is no string");
	_cleanup_(sb_releasep) struct sb out = { .max = OUTPUT_MAX };
	struct str f = tpl_text(v[0]);
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
			for (precision = 0, i++;
			     i < f.n && f.p[i] >= '0' && f.p[i] <= '9' && precision < 10000; i++)
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
		*ret = str_cmp(tpl_text(a), tpl_text(b));
	} else {
		return -1;
	}
	return 0;
}

static int f_eq(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
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
			return tpl_fail(r, "error calling eq: incompatible types for comparison");
	}
	*ret = json_boolean(same);
	return 0;
}

static int f_ne(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
{
	_cleanup_(json_unrefp) json_t *same = NULL;
	if (f_eq(r, v, n, &same) < 0)
		return -1;
	*ret = json_boolean(!json_is_true(same));
	return 0;
}

static int order(struct tpl_run *r, json_t **v, bool less, bool equal, json_t **ret)
{
	int c;
	if (compare(v[0], v[1], &c) < 0)
		return tpl_fail(r, "error calling lt: incompatible types for comparison");
	*ret = json_boolean((c < 0 && less) || (c > 0 && !less) || (!c && equal));
	return 0;
}

static int f_lt(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	return order(r, v, true, false, ret);
}

static int f_le(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	return order(r, v, true, true, ret);
}

static int f_gt(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	return order(r, v, false, false, ret);
}

static int f_ge(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	return order(r, v, false, true, ret);
}

static int f_and(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
{
	(void)r;
	size_t i = 0;
	while (i + 1 < n && tpl_truth(v[i]))
		i++;
	*ret = json_incref(v[i]);
	return 0;
}

static int f_or(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
{
	(void)r;
	size_t i = 0;
	while (i + 1 < n && !tpl_truth(v[i]))
		i++;
	*ret = json_incref(v[i]);
	return 0;
}

static int f_not(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
{
	(void)r;
	(void)n;
	*ret = json_boolean(!tpl_truth(v[0]));
	return 0;
}

static int f_join(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	if ((!json_is_array(v[0]) && v[0] && !json_is_null(v[0])) || !json_is_string(v[1]))
		return tpl_fail(r, "error calling join: expected a list and a separator");
	_cleanup_(sb_releasep) struct sb b = { .max = OUTPUT_MAX };
	size_t i;
	json_t *one;
	json_array_foreach(v[0], i, one)
	{
		if (i)
			sb_add_str(&b, tpl_text(v[1]));
		tpl_print(one, &b);
	}
	*ret = json_text(sb_str(&b));
	return 0;
}

static int f_split(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	if (!json_is_string(v[0]) || !json_is_string(v[1]) || !json_string_length(v[1]))
		return tpl_fail(r, "error calling split: expected a string and a separator");
	struct str s = tpl_text(v[0]), by = tpl_text(v[1]);
	*ret = json_array();
	for (size_t at; (at = str_find_str(s, by, 0)) != SIZE_MAX; s = str_sub(s, at + by.n, s.n))
		json_push(*ret, json_text(str_sub(s, 0, at)));
	json_push(*ret, json_text(s));
	return 0;
}

enum letter_case { LOWER, UPPER, TITLE };

static int change_case(struct tpl_run *r, json_t **v, enum letter_case to, json_t **ret)
{
	if (!json_is_string(v[0]))
		return tpl_fail(r, "wrong type for value; expected string");
	_cleanup_free_ char *s = str_dup(tpl_text(v[0]));
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

static int f_lower(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	return change_case(r, v, LOWER, ret);
}

static int f_upper(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	return change_case(r, v, UPPER, ret);
}

static int f_title(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	return change_case(r, v, TITLE, ret);
}

static int f_pad(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	if (!json_is_string(v[0]) || !json_is_integer(v[1]) || !json_is_integer(v[2]))
		return tpl_fail(r, "error calling pad: expected a string and two numbers");
	_cleanup_(sb_releasep) struct sb b = { .max = OUTPUT_MAX };
	json_int_t before = json_integer_value(v[1]), after = json_integer_value(v[2]);
	if (json_string_length(v[0]))
		sb_printf(&b, "%*s%s%*s", (int)(before < 0 || before > 4096 ? 0 : before), "",
			  json_string_value(v[0]), (int)(after < 0 || after > 4096 ? 0 : after),
			  "");
	*ret = json_text(sb_str(&b));
	return 0;
}

static int f_truncate(struct tpl_run *r, json_t **v, size_t n, json_t **ret)
{
	(void)n;
	if (!json_is_string(v[0]) || !json_is_integer(v[1]) || json_integer_value(v[1]) < 0)
		return tpl_fail(r, "error calling truncate: expected a string and a number");
	*ret = json_text(str_sub(tpl_text(v[0]), 0, (size_t)json_integer_value(v[1])));
	return 0;
}

static const struct {
	const char *name;
	size_t least, most;
	function fn;
} functions[] = {
	{ "json", 1, 1, f_json },
	{ "len", 1, 1, f_len },
	{ "index", 1, TPL_ARGS_MAX, f_index },
	{ "slice", 1, 3, f_slice },
	{ "print", 0, TPL_ARGS_MAX, f_print },
	{ "println", 0, TPL_ARGS_MAX, f_println },
	{ "printf", 1, TPL_ARGS_MAX, f_printf },
	{ "eq", 2, TPL_ARGS_MAX, f_eq },
	{ "ne", 2, 2, f_ne },
	{ "lt", 2, 2, f_lt },
	{ "le", 2, 2, f_le },
	{ "gt", 2, 2, f_gt },
	{ "ge", 2, 2, f_ge },
	{ "and", 1, TPL_ARGS_MAX, f_and },
	{ "or", 1, TPL_ARGS_MAX, f_or },
	{ "not", 1, 1, f_not },
	{ "join", 2, 2, f_join },
	{ "split", 2, 2, f_split },
	{ "lower", 1, 1, f_lower },
	{ "upper", 1, 1, f_upper },
	{ "title", 1, 1, f_title },
	{ "pad", 3, 3, f_pad },
	{ "truncate", 2, 2, f_truncate },
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

int tpl_call(struct tpl_run *r, struct str name, json_t **v, size_t n, json_t **ret)
{
	size_t i = find_function(name);
	if (i == ARRAY_SIZE(functions) || n < functions[i].least || n > functions[i].most)
		return tpl_fail(r, "at <%.*s>: wrong number of args for %.*s", STR_ARG(name),
				STR_ARG(name));
	return functions[i].fn(r, v, n, ret);
}
