#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"

#define NS_PER_S INT64_C(1000000000)
#define DAY INT64_C(86400)

static int64_t fake = -1;

static int64_t now(clockid_t id)
{
	int64_t f = __atomic_load_n(&fake, __ATOMIC_RELAXED);
	if (f >= 0)
		return f;
	struct timespec t;
	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

int64_t clock_mono_ns(void)
{
	return now(CLOCK_MONOTONIC);
}

int64_t clock_real_ns(void)
{
	return now(CLOCK_REALTIME);
}

void clock_fake(int64_t ns)
{
	__atomic_store_n(&fake, ns, __ATOMIC_RELAXED);
}

/* Days from 1970-01-01 to the first of a month, by years that begin in March: the leap day is their last. Own arithmetic instead of timegm()
 * and strftime(), which bring time zones and locales into the static helper. */
static int64_t days_of(int64_t year, int month)
{
	int64_t y = month < 3 ? year - 1 : year, m = (month + 9) % 12;
	int64_t leaps = y / 4 - y / 100 + y / 400;
	return y * 365 + leaps + (m * 153 + 2) / 5 - 719468;
}

/* The date of a day since 1970-01-01, for years after 0. */
static void date_of(int64_t day, int *ret_year, int *ret_month, int *ret_day)
{
	/* A guess that is never too late, then the few steps to the right month. */
	int64_t year = (day + 719468) * 400 / 146097 - 1;
	int month = 1;
	while (days_of(year + 1, 1) <= day)
		year++;
	while (month < 12 && days_of(year, month + 1) <= day)
		month++;
	*ret_year = (int)year;
	*ret_month = month;
	*ret_day = (int)(day - days_of(year, month)) + 1;
}

char *clock_text(int64_t ns, char buf[CLOCK_TEXT])
{
	int64_t s = ns / NS_PER_S, frac = ns % NS_PER_S;
	if (frac < 0) {
		s--;
		frac += NS_PER_S;
	}
	int64_t day = s >= 0 ? s / DAY : -((DAY - 1 - s) / DAY), second = s - day * DAY;
	int y, m, d;
	date_of(day, &y, &m, &d);
	size_t n =
		(size_t)snprintf(buf, CLOCK_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d", y, m, d,
				 (int)(second / 3600), (int)(second / 60 % 60), (int)(second % 60));
	if (frac) {
		n += (size_t)snprintf(buf + n, CLOCK_TEXT - n, ".%09lld", (long long)frac);
		while (buf[n - 1] == '0')
			n--;
	}
	buf[n] = 'Z';
	buf[n + 1] = '\0';
	return buf;
}

/* Exactly n digits at *p, which moves on; -1 when they are not there. */
static int digits(const char **p, const char *end, int n)
{
	int v = 0;
	if (end - *p < n)
		return -1;
	for (int i = 0; i < n; i++, (*p)++) {
		if (**p < '0' || **p > '9')
			return -1;
		v = v * 10 + (**p - '0');
	}
	return v;
}

static int expect(const char **p, const char *end, const char *set)
{
	if (*p == end || !strchr(set, **p))
		return -1;
	return (unsigned char)*(*p)++;
}

/* n digits with a value in [min, max] and, where `then` is given, one of its characters behind them. */
static bool field(const char **p, const char *end, int n, int min, int max, const char *then,
		  int *ret)
{
	*ret = digits(p, end, n);
	return *ret >= min && *ret <= max && (!then || expect(p, end, then) > 0);
}

/* "2006-01-02T15:04:05" */
static bool parse_seconds(const char **p, const char *end, struct tm *tm)
{
	return field(p, end, 4, 0, 9999, "-", &tm->tm_year) &&
		field(p, end, 2, 1, 12, "-", &tm->tm_mon) &&
		field(p, end, 2, 1, 31, "Tt ", &tm->tm_mday) &&
		field(p, end, 2, 0, 23, ":", &tm->tm_hour) &&
		field(p, end, 2, 0, 59, ":", &tm->tm_min) &&
		field(p, end, 2, 0, 60, NULL, &tm->tm_sec);
}

/* "Z", "+01:00": seconds east of UTC. */
static bool parse_zone(const char **p, const char *end, int64_t *ret)
{
	int h = 0, m = 0, zone = expect(p, end, "Zz+-");
	if (zone < 0)
		return false;
	if ((zone == '+' || zone == '-') &&
	    !(field(p, end, 2, 0, 99, ":", &h) && field(p, end, 2, 0, 99, NULL, &m)))
		return false;
	*ret = (int64_t)(h * 60 + m) * (zone == '-' ? -60 : 60);
	return *p == end;
}

int clock_parse(struct str text, int64_t *ret_ns, struct err **err)
{
	const char *p = text.p, *end = text.p + text.n;
	struct tm tm = { 0 };
	int64_t frac = 0, scale = NS_PER_S, offset, ns;
	bool good = text.n && parse_seconds(&p, end, &tm);
	if (good && p < end && *p == '.')
		for (p++; p < end && *p >= '0' && *p <= '9'; p++)
			frac += scale > 1 ? (*p - '0') * (scale /= 10) : 0;
	if (!good || !parse_zone(&p, end, &offset))
		return err_set(err, ERR_INVALID, "'%.*s' is not an RFC 3339 time",
			       (int)(text.n < 64 ? text.n : 64), text.p ? text.p : "");
	/* Go's zero time, 0001-01-01, and others that 64 bits of ns do not reach (1677 to 2262) become the nearest that they do. */
	int64_t s = (days_of(tm.tm_year, tm.tm_mon) + tm.tm_mday - 1) * DAY + tm.tm_hour * 3600 +
		tm.tm_min * 60 + tm.tm_sec - offset;
	if (__builtin_mul_overflow(s, NS_PER_S, &ns) || __builtin_add_overflow(ns, frac, &ns))
		ns = s < 0 ? INT64_MIN : INT64_MAX;
	*ret_ns = ns;
	return 0;
}
