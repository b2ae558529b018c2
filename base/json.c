#include "base/json.h"

#include "base/err.h"
#include "base/utf8.h"

void json_unrefp(json_t **j)
{
	json_decref(*j);
}

/* Refuses depth beyond the limit before jansson recurses. */
static int check_depth(struct str text, const char *what, struct err **err)
{
	int depth = 0;
	bool quoted = false;
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		if (quoted) {
			if (c == '\\')
				i++;
			else if (c == '"')
				quoted = false;
		} else if (c == '"') {
			quoted = true;
		} else if (c == '[' || c == '{') {
			if (++depth > JSON_MAX_DEPTH)
				return err_set(err, ERR_LIMIT,
					       "read %s: JSON is nested deeper than %d", what,
					       JSON_MAX_DEPTH);
		} else if (c == ']' || c == '}') {
			depth--;
		}
	}
	return 0;
}

json_t *json_parse_max(struct str text, size_t max, const char *what, struct err **err)
{
	if (text.n > max) {
		err_set(err, ERR_LIMIT, "read %s: JSON of %zu bytes is larger than %zu", what,
			text.n, max);
		return NULL;
	}
	if (check_depth(text, what, err) < 0)
		return NULL;
	json_error_t e;
	json_t *j = json_loadb(text.n ? text.p : "", text.n,
			       JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
	if (!j)
		err_set(err, ERR_INVALID, "read %s: not valid JSON: %s (line %d)", what, e.text,
			e.line);
	return j;
}

json_t *json_parse(struct str text, const char *what, struct err **err)
{
	return json_parse_max(text, JSON_MAX_BYTES, what, err);
}

static int dump_to(const char *p, size_t n, void *b)
{
	sb_add(b, p, n);
	return 0;
}

void json_print(const json_t *j, struct sb *b)
{
	if (json_dump_callback(j, dump_to, b,
			       JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY) < 0)
		BUG("JSON does not print");
}

json_t *json_text(struct str s)
{
	json_t *j = json_stringn(s.n ? s.p : "", s.n);
	if (j)
		return j;
	_cleanup_(sb_releasep) struct sb b = { 0 };
	utf8_add_clean(&b, s);
	j = json_stringn_nocheck(sb_c(&b), b.n);
	if (!j)
		mem_fail();
	return j;
}

struct str json_get_str(const json_t *obj, const char *name)
{
	const json_t *j = json_object_get(obj, name);
	return json_is_string(j) ? (struct str){ json_string_value(j), json_string_length(j) }
				 : (struct str){ NULL, 0 };
}

int64_t json_get_int(const json_t *obj, const char *name, int64_t or)
{
	const json_t *j = json_object_get(obj, name);
	return json_is_integer(j) ? (int64_t)json_integer_value(j) : or ;
}

bool json_get_bool(const json_t *obj, const char *name)
{
	return json_is_true(json_object_get(obj, name));
}

void json_put(json_t *obj, const char *name, json_t *value)
{
	if (json_object_set_new(obj, name, value) < 0)
		mem_fail();
}

void json_put_str(json_t *obj, const char *name, struct str value)
{
	json_put(obj, name, json_text(value));
}

void json_put_int(json_t *obj, const char *name, int64_t value)
{
	json_put(obj, name, json_integer(value));
}

void json_push(json_t *array, json_t *value)
{
	if (json_array_append_new(array, value) < 0)
		mem_fail();
}
