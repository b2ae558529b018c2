#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"

#define NS_PER_S INT64_C(1000000000)

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

char *clock_text(int64_t ns, char buf[CLOCK_TEXT])
{
	int64_t s = ns / NS_PER_S, frac = ns % NS_PER_S;
	if (frac < 0) {
		s--;
		frac += NS_PER_S;
	}
	time_t t = (time_t)s;
	struct tm tm;
	gmtime_r(&t, &tm);
	size_t n = strftime(buf, CLOCK_TEXT - 12, "%Y-%m-%dT%H:%M:%S", &tm);
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
static bool field(const char **p, const char *end, int n, int min, int max, const char *then, int *ret)
{
	*ret = digits(p, end, n);
	return *ret >= min && *ret <= max && (!then || expect(p, end, then) > 0);
}

/* "2006-01-02T15:04:05" */
static bool parse_seconds(const char **p, const char *end, struct tm *tm)
{
	return field(p, end, 4, 0, 9999, "-", &tm->tm_year) && field(p, end, 2, 1, 12, "-", &tm->tm_mon) &&
	       field(p, end, 2, 1, 31, "Tt ", &tm->tm_mday) && field(p, end, 2, 0, 23, ":", &tm->tm_hour) &&
	       field(p, end, 2, 0, 59, ":", &tm->tm_min) && field(p, end, 2, 0, 60, NULL, &tm->tm_sec);
}

/* "Z", "+01:00": seconds east of UTC. */
static bool parse_zone(const char **p, const char *end, int64_t *ret)
{
	int h = 0, m = 0, zone = expect(p, end, "Zz+-");
	if (zone < 0)
		return false;
	if ((zone == '+' || zone == '-') && !(field(p, end, 2, 0, 99, ":", &h) && field(p, end, 2, 0, 99, NULL, &m)))
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
		return err_set(err, ERR_INVALID, "'%.*s' is not an RFC 3339 time", (int)(text.n < 64 ? text.n : 64), text.p ? text.p : "");
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	/* Go's zero time, 0001-01-01, and others that 64 bits of ns do not reach (1677 to 2262) become the nearest that they do. */
	int64_t s = (int64_t)timegm(&tm) - offset;
	if (__builtin_mul_overflow(s, NS_PER_S, &ns) || __builtin_add_overflow(ns, frac, &ns))
		ns = s < 0 ? INT64_MIN : INT64_MAX;
	*ret_ns = ns;
	return 0;
}
