#include "parser/duration.h"

static int bad(struct err **err, const char *before, struct str value, const char *after)
{
	_cleanup_(sb_releasep) struct sb q = { 0 };
	sb_add_goquote(&q, value);
	return err_set(err, ERR_SYNTAX, "%s %s%s", before, sb_c(&q), after);
}

static int invalid(struct err **err, struct str s)
{
	return bad(err, "time: invalid duration", s, "");
}

static bool is_digit(struct str s, size_t i)
{
	return i < s.n && s.p[i] >= '0' && s.p[i] <= '9';
}

/* Nanoseconds of a unit, or 0. */
static uint64_t unit_ns(struct str u)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {
		{ "ns", 1 },
		{ "us", 1000 },
		{ "\xc2\xb5s", 1000 },
		{ "\xce\xbcs", 1000 },
		{ "ms", 1000000 },
		{ "s", 1000000000 },
		{ "m", UINT64_C(60000000000) },
		{ "h", UINT64_C(3600000000000) },
	};
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (str_eq_c(u, units[i].name))
			return units[i].ns;
	return 0;
}

/* Digits before the point: false beyond 2^63. */
static bool whole(struct str s, size_t *i, uint64_t *v)
{
	for (*v = 0; is_digit(s, *i); ++*i) {
		if (*v > (UINT64_C(1) << 63) / 10)
			return false;
		*v = *v * 10 + (uint64_t)(s.p[*i] - '0');
		if (*v > UINT64_C(1) << 63)
			return false;
	}
	return true;
}

/* Digits behind the point, as many as matter. */
static uint64_t fraction(struct str s, size_t *i, double *scale)
{
	uint64_t v = 0;
	bool full = false;
	*scale = 1;
	for (; is_digit(s, *i); ++*i) {
		if (full || v > INT64_MAX / 10) {
			full = true;
			continue;
		}
		v = v * 10 + (uint64_t)(s.p[*i] - '0');
		*scale *= 10;
	}
	return v;
}

/* One number with its unit at *i, added to *sum. */
static int item(struct str s, size_t *i, uint64_t *sum, struct err **err)
{
	uint64_t v, f = 0;
	double scale = 1;
	size_t from = *i;

	if (!is_digit(s, *i) && s.p[*i] != '.')
		return invalid(err, s);
	if (!whole(s, i, &v))
		return invalid(err, s);
	bool digits = *i > from;
	if (*i < s.n && s.p[*i] == '.') {
		from = ++*i;
		f = fraction(s, i, &scale);
		digits |= *i > from;
	}
	if (!digits)
		return invalid(err, s);
	from = *i;
	while (*i < s.n && s.p[*i] != '.' && !is_digit(s, *i))
		++*i;
	if (*i == from)
		return bad(err, "time: missing unit in duration", s, "");
	struct str u = str_sub(s, from, *i);
	uint64_t unit = unit_ns(u);
	if (!unit) {
		_cleanup_(sb_releasep) struct sb q = { 0 };
		sb_add_c(&q, " in duration ");
		sb_add_goquote(&q, s);
		return bad(err, "time: unknown unit", u, sb_c(&q));
	}
	if (v > (UINT64_C(1) << 63) / unit)
		return invalid(err, s);
	v *= unit;
	if (f)
		v += (uint64_t)((double)f * ((double)unit / scale));
	*sum += v;
	if (v > UINT64_C(1) << 63 || *sum > UINT64_C(1) << 63)
		return invalid(err, s);
	return 0;
}

int df_duration_parse(struct str s, int64_t *ret_ns, struct err **err)
{
	size_t i = s.n && (s.p[0] == '-' || s.p[0] == '+');
	bool negative = i && s.p[0] == '-';
	uint64_t sum = 0;

	if (str_eq_c(str_sub(s, i, s.n), "0")) {
		*ret_ns = 0;
		return 0;
	}
	if (i == s.n)
		return invalid(err, s);
	while (i < s.n)
		if (item(s, &i, &sum, err) < 0)
			return -1;
	if (!negative && sum > INT64_MAX)
		return invalid(err, s);
	*ret_ns = negative ? (int64_t)-sum : (int64_t)sum;
	return 0;
}

int df_int32_parse(struct str s, int *ret, struct err **err)
{
	size_t i = s.n && (s.p[0] == '-' || s.p[0] == '+');
	bool negative = i && s.p[0] == '-', over = false;
	int64_t v = 0;

	if (i == s.n)
		return bad(err, "strconv.ParseInt: parsing", s, ": invalid syntax");
	for (; i < s.n; i++) {
		if (!is_digit(s, i))
			return bad(err, "strconv.ParseInt: parsing", s, ": invalid syntax");
		v = over ? v : v * 10 + (s.p[i] - '0');
		over |= v > (int64_t)INT32_MAX + negative;
	}
	if (over)
		return bad(err, "strconv.ParseInt: parsing", s, ": value out of range");
	*ret = (int)(negative ? -v : v);
	return 0;
}
