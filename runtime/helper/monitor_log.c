#include "runtime/helper/monitor_log.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/utf8.h"

/* The longest form of one byte is \u00XX or the three bytes of U+FFFD; the frame of a line fits into the rest. */
#define ROOM (MONITOR_LOG_LINE * (size_t)6 + 256)
_Static_assert(ROOM < (size_t)MONITOR_LOG_BUFFER, "a line fits into an empty buffer");

/* How the line ends, made once for all lines of one read. */
struct tail {
	char text[96];
	size_t n;
};

static void flush(struct monitor_log *l)
{
	if (l->n && io_write_full(l->fd, l->out, l->n) < 0)
		l->torn = true;
	l->n = 0;
}

static void add(struct monitor_log *l, const void *p, size_t n)
{
	memcpy(l->out + l->n, p, n);
	l->n += n;
}

/* How many of the first bytes need no escape: eight at a time while none of them is a control, quote, backslash or beyond ASCII. */
static size_t plain(const char *p, size_t n)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), high = UINT64_C(0x8080808080808080);
	size_t i = 0;
	for (; i + 8 <= n; i += 8) {
		uint64_t v;
		memcpy(&v, p + i, sizeof(v));
		uint64_t quote = v ^ ones * '"', slash = v ^ ones * '\\', del = v ^ ones * 0x7f;
		if (((v - ones * 0x20) | (quote - ones) | (slash - ones) | (del - ones) | v) & high)
			break;
	}
	for (; i < n; i++) {
		unsigned char c = (unsigned char)p[i];
		if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
			break;
	}
	return i;
}

static void add_escaped(struct monitor_log *l, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	static const char named[][2] = {
		{ '\n', 'n' }, { '\r', 'r' }, { '\t', 't' }, { '"', '"' }, { '\\', '\\' }
	};
	for (size_t i = 0; i < ARRAY_SIZE(named); i++)
		if (named[i][0] == (char)c) {
			add(l, (char[]){ '\\', named[i][1] }, 2);
			return;
		}
	add(l, (char[]){ '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] }, 6);
}

static void add_text(struct monitor_log *l, const char *p, size_t n)
{
	while (n) {
		size_t k = plain(p, n);
		add(l, p, k);
		p += k;
		n -= k;
		if (!n)
			return;
		k = 1;
		if ((unsigned char)*p < 0x80) {
			add_escaped(l, (unsigned char)*p);
		} else {
			uint32_t c;
			k = utf8_next((struct str){ p, n }, 0, &c);
			if (c == UTF8_BAD)
				add(l, "\xef\xbf\xbd", 3);
			else
				add(l, p, k);
		}
		p += k;
		n -= k;
	}
}

static void line(struct monitor_log *l, const char *p, size_t n, const struct tail *t)
{
	if (l->n + ROOM > MONITOR_LOG_BUFFER)
		flush(l);
	if (l->torn && !l->n) {
		add(l, "\n", 1);
		l->torn = false;
	}
	add(l, "{\"log\":\"", 8);
	add_text(l, p, n);
	add(l, t->text, t->n);
}

static void tail_init(struct tail *t, int stream, int64_t now_ns)
{
	char when[CLOCK_TEXT];
	int n = snprintf(t->text, sizeof(t->text), "\",\"stream\":\"%s\",\"time\":\"%s\"}\n",
			 stream == 1 ? "stdout" : "stderr", clock_text(now_ns, when));
	t->n = (size_t)n;
}

/* Where a chunk of at most MONITOR_LOG_LINE bytes ends that must not cut a character in two. */
static size_t whole(const char *p, size_t n)
{
	for (size_t back = 1; back <= 3 && back < n; back++) {
		unsigned char c = (unsigned char)p[n - back];
		if (c < 0x80)
			return n;
		if (c >= 0xc0)
			return back < (c >= 0xf0 ? 4U : c >= 0xe0 ? 3U : 2U) ? n - back : n;
	}
	return n;
}

/* Keeps the beginning of a line. */
static void keep(struct monitor_log *l, int i, const char *p, size_t n)
{
	if (!l->part[i].p)
		l->part[i].p = xmalloc(MONITOR_LOG_LINE);
	memcpy(l->part[i].p + l->part[i].n, p, n);
	l->part[i].n += n;
}

void monitor_log_write(struct monitor_log *l, int stream, const char *p, size_t n, int64_t now_ns)
{
	if (l->fd < 0)
		return;
	if (!l->out)
		l->out = xmalloc(MONITOR_LOG_BUFFER);
	int i = stream == 1 ? 0 : 1;
	struct tail t;
	tail_init(&t, stream, now_ns);
	while (n) {
		size_t had = l->part[i].n, room = MONITOR_LOG_LINE - had,
		       most = n < room ? n : room;
		const char *nl = memchr(p, '\n', most);
		size_t k = nl ? (size_t)(nl - p) + 1 : most;
		if (had || (!nl && most < room))
			keep(l, i, p, k);
		if (!nl && most < room)
			break;
		const char *from = had ? l->part[i].p : p;
		size_t use = nl ? had + k : whole(from, had + k);
		line(l, from, use, &t);
		if (had) {
			l->part[i].n = had + k - use;
			memmove(l->part[i].p, l->part[i].p + use, l->part[i].n);
		} else {
			k = use;
		}
		p += k;
		n -= k;
	}
	flush(l);
}

void monitor_log_flush(struct monitor_log *l, int64_t now_ns)
{
	if (!l->out)
		return;
	for (int i = 0; i < 2; i++) {
		struct tail t;
		if (!l->part[i].n)
			continue;
		tail_init(&t, i + 1, now_ns);
		line(l, l->part[i].p, l->part[i].n, &t);
		l->part[i].n = 0;
	}
	flush(l);
}

void monitor_log_release(struct monitor_log *l)
{
	for (int i = 0; i < 2; i++)
		free(l->part[i].p);
	free(l->out);
	if (l->fd >= 0)
		close(l->fd);
	*l = (struct monitor_log){ .fd = -1 };
}
