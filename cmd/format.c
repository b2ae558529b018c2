#include "cmd/format.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "base/vec.h"

struct table {
	size_t columns;
	VEC(char *) cells;
};

struct table *table_new(const char *const *headings, size_t n)
{
	struct table *t = xcalloc(1, sizeof(*t));
	t->columns = n;
	for (size_t i = 0; i < n; i++)
		table_add(t, str_c(headings[i]));
	return t;
}

void table_add(struct table *t, struct str cell)
{
	struct sb b = { 0 };
	sb_add_printable(&b, cell);
	VEC_PUSH(&t->cells, sb_steal(&b));
}

void table_printf(struct table *t, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *s = NULL;
	if (vasprintf(&s, fmt, ap) < 0)
		mem_fail();
	va_end(ap);
	table_add(t, str_c(s));
	free(s);
}

static size_t width(const char *s)
{
	size_t n = 0;
	struct str text = str_c(s);
	for (size_t i = 0; i < text.n; n++) {
		uint32_t c;
		i += utf8_next(text, i, &c);
	}
	return n;
}

void table_print(struct table *t)
{
	size_t *wide = xcalloc(t->columns, sizeof(*wide));
	for (size_t i = 0; i < t->cells.n; i++) {
		size_t w = width(t->cells.v[i]);
		if (w > wide[i % t->columns])
			wide[i % t->columns] = w;
	}
	for (size_t i = 0; i < t->cells.n; i++) {
		bool last = i % t->columns == t->columns - 1;
		fputs(t->cells.v[i], stdout);
		if (last)
			putchar('\n');
		else
			printf("%*s", (int)(wide[i % t->columns] - width(t->cells.v[i]) + 3), "");
		free(t->cells.v[i]);
	}
	free(wide);
	VEC_RELEASE(&t->cells);
	free(t);
}

char *format_size(uint64_t bytes, char buf[FORMAT_TEXT])
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
	double v = (double)bytes;
	size_t i = 0;
	while (v >= 1000.0 && i + 1 < ARRAY_SIZE(units)) {
		v /= 1000.0;
		i++;
	}
	snprintf(buf, FORMAT_TEXT, "%.3g%s", v, units[i]);
	return buf;
}

char *format_duration(int64_t ns, char buf[FORMAT_TEXT])
{
	int64_t s = ns / 1000000000, m = s / 60, h = (int64_t)((double)s / 3600.0 + 0.5);
	if (s < 1)
		snprintf(buf, FORMAT_TEXT, "Less than a second");
	else if (s == 1)
		snprintf(buf, FORMAT_TEXT, "1 second");
	else if (s < 60)
		snprintf(buf, FORMAT_TEXT, "%lld seconds", (long long)s);
	else if (m == 1)
		snprintf(buf, FORMAT_TEXT, "About a minute");
	else if (m < 60)
		snprintf(buf, FORMAT_TEXT, "%lld minutes", (long long)m);
	else if (h == 1)
		snprintf(buf, FORMAT_TEXT, "About an hour");
	else if (h < 48)
		snprintf(buf, FORMAT_TEXT, "%lld hours", (long long)h);
	else if (h < 24 * 7 * 2)
		snprintf(buf, FORMAT_TEXT, "%lld days", (long long)(h / 24));
	else if (h < 24 * 30 * 2)
		snprintf(buf, FORMAT_TEXT, "%lld weeks", (long long)(h / 24 / 7));
	else if (h < 24 * 365 * 2)
		snprintf(buf, FORMAT_TEXT, "%lld months", (long long)(h / 24 / 30));
	else
		snprintf(buf, FORMAT_TEXT, "%lld years", (long long)(h / 24 / 365));
	return buf;
}

char *format_short_id(const struct digest *d, char buf[FORMAT_TEXT])
{
	char hex[DIGEST_HEX];
	snprintf(buf, FORMAT_TEXT, "%.12s", digest_hex(d, hex));
	return buf;
}
