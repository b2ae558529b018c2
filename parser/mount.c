#include "parser/mount.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/vec.h"
#include "parser/diag.h"

static const char *const type_names[] = {
	[DF_MOUNT_BIND] = "bind",     [DF_MOUNT_CACHE] = "cache", [DF_MOUNT_TMPFS] = "tmpfs",
	[DF_MOUNT_SECRET] = "secret", [DF_MOUNT_SSH] = "ssh",
};

static const char *const sharing_names[] = {
	[DF_SHARED] = "shared", [DF_PRIVATE] = "private", [DF_LOCKED] = "locked"
};

static const char *const keys[] = {
	"type",     "from", "source",    "src", "target",   "dst",  "destination",
	"readonly", "ro",   "readwrite", "rw",  "required", "size", "id",
	"sharing",  "mode", "uid",       "gid", "env",
};

const char *df_mount_type_name(enum df_mount_type t)
{
	return type_names[t];
}

static int csv_error(struct err **err, size_t at, const char *what)
{
	return err_set(err, ERR_SYNTAX, "parse error on line 1, column %zu: %s", at + 1, what);
}

/* A quoted field behind its first quote at *i, up to the comma or the end. */
static int quoted_field(struct arena *a, struct str line, size_t *i, struct str *ret,
			struct err **err)
{
	static const char stray[] = "extraneous or missing \" in quoted-field";
	_cleanup_(sb_releasep) struct sb b = { 0 };

	for (;;) {
		size_t end = str_find(line, '"', *i);
		if (end == SIZE_MAX)
			return csv_error(err, *i, stray);
		sb_add_str(&b, str_sub(line, *i, end));
		*i = end + 1;
		if (*i == line.n || line.p[*i] == ',')
			break;
		if (line.p[*i] != '"')
			return csv_error(err, *i - 1, stray);
		sb_add_ch(&b, '"');
		++*i;
	}
	*ret = arena_str(a, b.p ? sb_str(&b) : STR(""));
	return 0;
}

int df_csv_fields(struct arena *a, struct str line, struct str **ret, size_t *ret_n,
		  struct err **err)
{
	VEC(struct str) fields = { 0 };
	int r = 0;

	if (str_ends(line, STR("\r\n")))
		line.n -= 2;
	else if (str_ends(line, STR("\n")))
		line.n--;
	if (!line.n)
		return err_set(err, ERR_SYNTAX, "EOF");
	for (size_t i = 0;;) {
		struct str f;
		if (i < line.n && line.p[i] == '"') {
			i++;
			r = quoted_field(a, line, &i, &f, err);
			if (r < 0)
				break;
		} else {
			size_t end = str_find(line, ',', i);
			f = str_sub(line, i, end == SIZE_MAX ? line.n : end);
			size_t quote = str_find(f, '"', 0);
			if (quote != SIZE_MAX) {
				r = csv_error(err, i + quote, "bare \" in non-quoted-field");
				break;
			}
			i += f.n;
		}
		VEC_PUSH(&fields, f);
		if (i == line.n)
			break;
		i++;
	}
	if (r == 0) {
		*ret = arena_array_of(a, struct str, fields.n);
		memcpy(*ret, fields.v, fields.n * sizeof(**ret));
		*ret_n = fields.n;
	}
	VEC_RELEASE(&fields);
	return r;
}

bool df_bool_parse(struct str s, bool *ret)
{
	static const char *const words[] = { "1", "t", "T", "TRUE",  "true",  "True",
					     "0", "f", "F", "FALSE", "false", "False" };
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (str_eq_c(s, words[i])) {
			*ret = i < ARRAY_SIZE(words) / 2;
			return true;
		}
	}
	return false;
}

/* The field's key, lower-cased, and its value; false when it has none. */
static bool cut(struct arena *a, struct str field, struct str *key, struct str *value)
{
	struct str k = field;
	*value = STR("");
	bool has = str_cut(field, '=', &k, value);
	char *lower = arena_cstr(a, k);
	for (size_t i = 0; i < k.n; i++)
		lower[i] = str_lower(lower[i]);
	*key = (struct str){ lower, k.n };
	return has;
}

int df_mount_check(struct arena *a, struct df_mount_flag *m, struct err **err)
{
	struct str *fields, key, value;
	size_t n;

	if (df_csv_fields(a, m->text, &fields, &n, err) < 0)
		return err_wrap(err, "failed to parse csv mounts");
	for (size_t i = 0; i < n; i++) {
		if (!cut(a, fields[i], &key, &value) || !str_eq_c(key, "from"))
			continue;
		size_t dollar = str_find(value, '$', 0);
		if (dollar != SIZE_MAX && dollar + 1 < value.n)
			return err_set(
				err, ERR_SYNTAX,
				"'from' doesn't support variable expansion, define alias stage instead");
		m->from = value.n ? value : (struct str){ NULL, 0 };
	}
	return 0;
}

/* ---- the whole list */

struct parsing {
	struct df_mount m;
	bool ro_given;
};

static int invalid_value(struct err **err, struct str key, struct str value)
{
	return err_set(err, ERR_SYNTAX, "invalid value for %.*s: %.*s", STR_ARG(key),
		       STR_ARG(value));
}

static int unexpected_for_type(struct err **err, struct str key, enum df_mount_type t)
{
	return err_set(err, ERR_SYNTAX, "unexpected key '%.*s' for mount type '%s'", STR_ARG(key),
		       type_names[t]);
}

/* The index of a name in any case, or an error with a hint. */
static int name_index(struct str value, const char *const *table, size_t n, const char *what,
		      int *ret, struct err **err)
{
	struct str candidates[8];
	for (size_t i = 0; i < n; i++) {
		candidates[i] = str_c(table[i]);
		if (str_ieq(value, candidates[i])) {
			*ret = (int)i;
			return 0;
		}
	}
	_cleanup_(sb_releasep) struct sb b = { 0 };
	sb_printf(&b, "unsupported %s ", what);
	sb_add_goquote(&b, value);
	struct str near = df_near(value, candidates, n, false);
	if (near.p)
		sb_printf(&b, " (did you mean %.*s?)", STR_ARG(near));
	return err_set(err, ERR_SYNTAX, "%s", sb_c(&b));
}

/* An unsigned number of 32 bits. */
static int number(struct str key, struct str value, unsigned base, int64_t *ret, struct err **err)
{
	int64_t v = 0;
	bool ok = value.n > 0;
	for (size_t i = 0; i < value.n && ok; i++) {
		char c = value.p[i];
		ok = c >= '0' && c < (char)('0' + base);
		v = v * base + (c - '0');
		ok = ok && v <= UINT32_MAX;
	}
	if (!ok)
		return err_set(err, ERR_SYNTAX, "invalid value %.*s for %.*s", STR_ARG(value),
			       STR_ARG(key));
	*ret = v;
	return 0;
}

static size_t skip_digits(struct str s, size_t i)
{
	while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
		i++;
	return i;
}

/* A decimal number with fraction and exponent; -1 when it is none. */
static double decimal(struct str s)
{
	char buf[64];
	size_t i = s.n && s.p[0] == '+', from = i;
	i = skip_digits(s, i);
	size_t digits = i - from;
	if (i < s.n && s.p[i] == '.') {
		from = i + 1;
		i = skip_digits(s, from);
		digits += i - from;
	}
	if (digits && i < s.n && str_lower(s.p[i]) == 'e') {
		i++;
		i += i < s.n && (s.p[i] == '+' || s.p[i] == '-');
		from = i;
		i = skip_digits(s, i);
		digits = i - from;
	}
	if (!digits || i < s.n || s.n >= sizeof(buf))
		return -1;
	memcpy(buf, s.p, s.n);
	buf[s.n] = '\0';
	return strtod(buf, NULL);
}

/* A size as Docker writes it: "1.5m", "10 GiB"; 1024-based. -1 when it is none. */
static int64_t size_bytes(struct str s)
{
	static const char letters[] = "kmgtp";
	size_t sep = s.n;
	while (sep && !strchr("0123456789. ", s.p[sep - 1]))
		sep--;
	if (!sep)
		return -1;
	struct str suffix = str_sub(s, sep, s.n);
	double v = decimal(str_sub(s, 0, s.p[sep - 1] == ' ' ? sep - 1 : sep));
	if (v < 0 || suffix.n > 3)
		return -1;
	if (suffix.n && !str_ieq(suffix, STR("b"))) {
		const char *at = suffix.p[0] ? strchr(letters, str_lower(suffix.p[0])) : NULL;
		struct str rest = str_sub(suffix, 1, suffix.n);
		if (!at || (rest.n == 1 && !str_ieq(rest, STR("b"))) ||
		    (rest.n == 2 && !str_ieq(rest, STR("ib"))))
			return -1;
		for (const char *p = letters; p <= at; p++)
			v *= 1024;
	}
	return v < 9e18 ? (int64_t)v : -1;
}

/* A field without a value. */
static int bare(struct parsing *p, struct str key, struct str field, struct err **err)
{
	bool ro = str_eq_c(key, "ro") || str_eq_c(key, "readonly");
	if (ro || str_eq_c(key, "rw") || str_eq_c(key, "readwrite")) {
		p->m.readonly = ro;
		p->ro_given = true;
		return 0;
	}
	if (!str_eq_c(key, "required"))
		return err_set(err, ERR_SYNTAX, "invalid field '%.*s' must be a key=value pair",
			       STR_ARG(field));
	if (p->m.type != DF_MOUNT_SECRET && p->m.type != DF_MOUNT_SSH)
		return unexpected_for_type(err, key, p->m.type);
	p->m.required = true;
	return 0;
}

static int set_type(struct parsing *p, struct str value, struct err **err)
{
	int i;
	if (name_index(value, type_names, ARRAY_SIZE(type_names), "mount type", &i, err) < 0)
		return -1;
	p->m.type = (enum df_mount_type)i;
	return 0;
}

static int set_sharing(struct parsing *p, struct str value, struct err **err)
{
	int i;
	if (name_index(value, sharing_names, ARRAY_SIZE(sharing_names), "sharing value", &i, err) <
	    0)
		return -1;
	p->m.sharing = (unsigned)i;
	p->m.has_sharing = true;
	return 0;
}

static int set_bool(struct parsing *p, struct str key, struct str value, struct err **err)
{
	bool v, required = str_eq_c(key, "required");
	if (required && p->m.type != DF_MOUNT_SECRET && p->m.type != DF_MOUNT_SSH)
		return unexpected_for_type(err, key, p->m.type);
	if (!df_bool_parse(value, &v))
		return invalid_value(err, key, value);
	if (required) {
		p->m.required = v;
	} else {
		p->m.readonly = (key.p[1] == 'o' || str_eq_c(key, "readonly")) == v;
		p->ro_given = true;
	}
	return 0;
}

static int set_size(struct parsing *p, struct str key, struct str value, struct err **err)
{
	if (p->m.type != DF_MOUNT_TMPFS)
		return unexpected_for_type(err, key, p->m.type);
	int64_t v = size_bytes(value);
	if (v < 0)
		return invalid_value(err, key, value);
	p->m.size_bytes = v;
	return 0;
}

static int unexpected_key(struct str key, struct str field, struct err **err)
{
	struct str candidates[ARRAY_SIZE(keys)];
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		candidates[i] = str_c(keys[i]);
	struct str near = df_near(key, candidates, ARRAY_SIZE(keys), false);
	if (near.p)
		return err_set(err, ERR_SYNTAX,
			       "unexpected key '%.*s' in '%.*s' (did you mean %.*s?)", STR_ARG(key),
			       STR_ARG(field), STR_ARG(near));
	return err_set(err, ERR_SYNTAX, "unexpected key '%.*s' in '%.*s'", STR_ARG(key),
		       STR_ARG(field));
}

/* The text member that a key sets, or NULL. */
static struct str *text_member(struct df_mount *m, struct str key)
{
	if (str_eq_c(key, "from"))
		return &m->from;
	if (str_eq_c(key, "source") || str_eq_c(key, "src"))
		return &m->source;
	if (str_eq_c(key, "target") || str_eq_c(key, "dst") || str_eq_c(key, "destination"))
		return &m->target;
	if (str_eq_c(key, "id"))
		return &m->id;
	if (str_eq_c(key, "env"))
		return &m->env;
	return NULL;
}

static int set(struct parsing *p, struct str key, struct str value, struct str field,
	       struct err **err)
{
	struct str *text = text_member(&p->m, key);
	if (text) {
		/* An empty value is none, but for env, whose empty name makes the step fail. */
		*text = value.n || text == &p->m.env ? value : (struct str){ NULL, 0 };
		return 0;
	}
	if (str_eq_c(key, "type"))
		return set_type(p, value, err);
	if (str_eq_c(key, "sharing"))
		return set_sharing(p, value, err);
	if (str_eq_c(key, "size"))
		return set_size(p, key, value, err);
	if (str_eq_c(key, "mode"))
		return number(key, value, 8, &p->m.mode, err);
	if (str_eq_c(key, "uid"))
		return number(key, value, 10, &p->m.uid, err);
	if (str_eq_c(key, "gid"))
		return number(key, value, 10, &p->m.gid, err);
	if (str_eq_c(key, "ro") || str_eq_c(key, "rw") || str_eq_c(key, "readonly") ||
	    str_eq_c(key, "readwrite") || str_eq_c(key, "required"))
		return set_bool(p, key, value, err);
	return unexpected_key(key, field, err);
}

static int judge(struct parsing *p, struct err **err)
{
	struct df_mount *m = &p->m;
	if (m->type == DF_MOUNT_BIND || m->type == DF_MOUNT_TMPFS) {
		const char *which = m->mode >= 0 ? "mode"
			: m->uid >= 0            ? "uid"
			: m->gid >= 0            ? "gid"
						 : NULL;
		if (which)
			return err_set(err, ERR_SYNTAX, "%s not allowed for \"%s\" type mounts",
				       which, type_names[m->type]);
	}
	if (!p->ro_given)
		m->readonly = m->type != DF_MOUNT_CACHE && m->type != DF_MOUNT_TMPFS;
	if (m->type == DF_MOUNT_SECRET) {
		if (m->from.n)
			return err_set(err, ERR_SYNTAX, "secret mount should not have a from");
		if (m->has_sharing)
			return err_set(err, ERR_SYNTAX, "secret mount should not define sharing");
		if (!m->source.n && !m->target.n && !m->id.n)
			return err_set(err, ERR_SYNTAX,
				       "invalid secret mount. one of source, target required");
		if (m->source.n && m->id.n)
			return err_set(err, ERR_SYNTAX, "both source and id can't be set");
	}
	if (m->has_sharing && m->type != DF_MOUNT_CACHE)
		return err_set(err, ERR_SYNTAX, "invalid cache sharing set for %s mount",
			       type_names[m->type]);
	return 0;
}

int df_mount_parse(struct arena *a, struct str text, const struct df_env *env,
		   struct df_expansion *x, struct df_mount *ret, struct err **err)
{
	struct parsing p = { .m = { .size_bytes = -1, .mode = -1, .uid = -1, .gid = -1 } };
	struct str *fields, key, value;
	size_t n;

	if (df_csv_fields(a, text, &fields, &n, err) < 0)
		return err_wrap(err, "failed to parse csv mounts");
	for (size_t i = 0; i < n; i++) {
		int r;
		if (!cut(a, fields[i], &key, &value))
			r = bare(&p, key, fields[i], err);
		else if (env && df_expand(a, value, env, x, &value, err) < 0)
			r = -1;
		else
			r = set(&p, key, value, fields[i], err);
		if (r < 0)
			return -1;
	}
	if (judge(&p, err) < 0)
		return -1;
	*ret = p.m;
	return 0;
}
