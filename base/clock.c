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

int clock_parse(struct str text, int64_t *ret_ns, struct err **err)
{
	const char *p = text.p, *end = text.p + text.n;
	struct tm tm = { 0 };
	bool good = text.n && (tm.tm_year = digits(&p, end, 4)) >= 0 && expect(&p, end, "-") > 0 && (tm.tm_mon = digits(&p, end, 2)) >= 1 &&
		    tm.tm_mon <= 12 && expect(&p, end, "-") > 0 && (tm.tm_mday = digits(&p, end, 2)) >= 1 && tm.tm_mday <= 31 &&
		    expect(&p, end, "Tt ") > 0 && (tm.tm_hour = digits(&p, end, 2)) >= 0 && tm.tm_hour < 24 && expect(&p, end, ":") > 0 &&
		    (tm.tm_min = digits(&p, end, 2)) >= 0 && tm.tm_min < 60 && expect(&p, end, ":") > 0 &&
		    (tm.tm_sec = digits(&p, end, 2)) >= 0 && tm.tm_sec <= 60;
	int64_t frac = 0, scale = NS_PER_S, offset = 0;
	if (good && p < end && *p == '.') {
		for (p++; p < end && *p >= '0' && *p <= '9'; p++)
			if (scale > 1)
				frac += (*p - '0') * (scale /= 10);
	}
	int zone = good ? expect(&p, end, "Zz+-") : -1;
	if (zone == '+' || zone == '-') {
		int h = digits(&p, end, 2);
		good = h >= 0 && expect(&p, end, ":") > 0;
		int m = good ? digits(&p, end, 2) : -1;
		good = good && m >= 0;
		offset = (int64_t)(h * 60 + m) * (zone == '-' ? -60 : 60);
	}
	if (!good || zone < 0 || p != end)
		return err_set(err, ERR_INVALID, "'%.*s' is not an RFC 3339 time", (int)(text.n < 64 ? text.n : 64), text.p ? text.p : "");
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	/* Go's zero time, 0001-01-01, and others that 64 bits of ns do not reach (1677 to 2262) become the nearest that they do. */
	int64_t s = (int64_t)timegm(&tm) - offset, ns;
	if (__builtin_mul_overflow(s, NS_PER_S, &ns) || __builtin_add_overflow(ns, frac, &ns))
		ns = s < 0 ? INT64_MIN : INT64_MAX;
	*ret_ns = ns;
	return 0;
}
