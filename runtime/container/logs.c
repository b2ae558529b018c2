#include "runtime/container/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/utf8.h"
#include "runtime/container/container.h"
#include "runtime/monitor.h"

enum { BLOCK = 256 * 1024, LINE_MAX_BYTES = 1024 * 1024 };
#define SECOND INT64_C(1000000000)

/* ---- times */

/* "1h30m", "10m", "1.5s", "300ms": as Go's durations without a sign. */
static bool parse_duration(const char *p, int64_t *ret)
{
	static const struct {
		const char *name;
		int64_t ns;
	} units[] = { { "ns", 1 },     { "us", 1000 },       { "ms", 1000000 },
		      { "s", SECOND }, { "m", 60 * SECOND }, { "h", 3600 * SECOND } };
	double sum = 0;
	if (!*p)
		return false;
	while (*p) {
		char *end;
		double v = strtod(p, &end);
		size_t n = strcspn(end, "0123456789."), i = 0;
		while (i < ARRAY_SIZE(units) &&
		       (strlen(units[i].name) != n || memcmp(units[i].name, end, n)))
			i++;
		if (end == p || i == ARRAY_SIZE(units) || !((*p >= '0' && *p <= '9') || *p == '.'))
			return false;
		sum += v * (double)units[i].ns;
		p = end + n;
	}
	if (sum > 9e18)
		return false;
	*ret = (int64_t)sum;
	return true;
}

/* "1136073845", "1136073845.000000001". */
static bool parse_seconds(struct str text, int64_t *ret)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	struct str whole = text, frac = STR("");
	int64_t s, ns = 0;
	str_cut(text, '.', &whole, &frac);
	if (str_int(whole, 0, INT64_MAX / SECOND - 1, &s, &e) < 0 || frac.n > 9 ||
	    (frac.n && str_int(frac, 0, SECOND - 1, &ns, &e) < 0))
		return false;
	for (size_t i = frac.n; i < 9; i++)
		ns *= 10;
	*ret = s * SECOND + ns;
	return true;
}

/* RFC 3339, whole or from the left; without a zone it is our local time, as Docker's command line has it. */
static bool parse_date(struct str text, int64_t *ret)
{
	static const char *const rests[] = { "", "Z", ":00Z", "T00:00:00Z" };
	_cleanup_(err_dropp) struct err *e = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(rests); i++) {
		_cleanup_free_ char *full = xasprintf("%.*s%s", STR_ARG(text), rests[i]);
		err_drop(&e);
		if (clock_parse(str_c(full), ret, &e) < 0)
			continue;
		time_t t = (time_t)(*ret / SECOND);
		struct tm tm;
		if (i && gmtime_r(&t, &tm)) {
			tm.tm_isdst = -1;
			*ret = (int64_t)mktime(&tm) * SECOND + *ret % SECOND;
		}
		return true;
	}
	return false;
}

int logs_time_parse(struct str text, int64_t now_ns, int64_t *ret_ns, struct err **err)
{
	_cleanup_free_ char *word = str_dup(text);
	int64_t ns;
	if (parse_seconds(text, ret_ns) || parse_date(text, ret_ns))
		return 0;
	if (!parse_duration(word, &ns))
		return err_set(err, ERR_INVALID, "invalid time: %.*s",
			       STR_ARG(str_sub(text, 0, 64)));
	*ret_ns = now_ns - ns;
	return 0;
}

/* ---- lines */

static bool skip(struct str *s, const char *word)
{
	size_t n = strlen(word);
	if (s->n < n || memcmp(s->p, word, n))
		return false;
	*s = str_sub(*s, n, s->n);
	return true;
}

static int hex4(const char *p)
{
	int v = 0;
	for (int i = 0; i < 4; i++) {
		char c = str_lower(p[i]);
		int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
		if (d < 0)
			return -1;
		v = v << 4 | d;
	}
	return v;
}

/* A JSON string, its opening quote already taken; false at the first thing that is none. */
static bool unescape(struct str *s, struct sb *out)
{
	static const char from[] = "ntr\"\\/bf", to[] = "\n\t\r\"\\/\b\f";
	size_t i = 0;
	sb_reset(out);
	while (i < s->n && s->p[i] != '"') {
		size_t run = i;
		while (run < s->n && s->p[run] != '"' && s->p[run] != '\\')
			run++;
		sb_add(out, s->p + i, run - i);
		i = run;
		if (i >= s->n || s->p[i] == '"')
			break;
		if (i + 1 >= s->n)
			return false;
		const char *at = s->p[i + 1] ? strchr(from, s->p[i + 1]) : NULL;
		if (at) {
			sb_add_ch(out, to[at - from]);
			i += 2;
			continue;
		}
		int c = s->p[i + 1] == 'u' && i + 6 <= s->n ? hex4(s->p + i + 2) : -1;
		if (c < 0)
			return false;
		utf8_add(out, c >= 0xd800 && c < 0xe000 ? 0xfffd : (uint32_t)c);
		i += 6;
	}
	if (i >= s->n)
		return false;
	*s = str_sub(*s, i + 1, s->n);
	return true;
}

bool logs_line_parse(struct str line, struct log_line *l)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	if (!skip(&line, "{\"log\":\"") || !unescape(&line, &l->buf) ||
	    !skip(&line, ",\"stream\":\"std"))
		return false;
	l->is_stderr = skip(&line, "err\"");
	if ((!l->is_stderr && !skip(&line, "out\"")) || !skip(&line, ",\"time\":\""))
		return false;
	l->text = sb_str(&l->buf);
	return str_cut(line, '"', &l->time, &line) && str_eq_c(line, "}") &&
		clock_parse(l->time, &l->time_ns, &e) == 0;
}

/* ---- printing */

struct printer {
	const struct logs_options *o;
	struct log_line line;
	struct sb rest; /* the beginning of a line */
	bool past;      /* until_ns was reached */
	bool broken;    /* nobody reads what we print */
};

/* Docker's form of a time: always nine digits. */
static void print_time(FILE *f, struct str time)
{
	size_t dot = str_find(time, '.', 0), n = dot == SIZE_MAX ? 0 : time.n - dot - 2;
	fprintf(f, "%.*s%s%.*sZ ", STR_ARG(str_sub(time, 0, time.n - 1)),
		dot == SIZE_MAX ? "." : "", (int)(9 - n), "000000000");
}

static void print_line(struct printer *p, struct str text)
{
	struct log_line *l = &p->line;
	if (!logs_line_parse(text, l) || l->time_ns < p->o->since_ns)
		return;
	if (l->time_ns > p->o->until_ns) {
		p->past = true;
		return;
	}
	FILE *f = l->is_stderr ? stderr : stdout;
	if (p->o->timestamps)
		print_time(f, l->time);
	if (p->o->details)
		fputc(' ', f);
	p->broken = fwrite(l->text.p, 1, l->text.n, f) != l->text.n;
}

/* Prints whole lines from `fd`'s place to its end. */
static int print_rest(struct printer *p, int fd, struct err **err)
{
	_cleanup_free_ char *block = xmalloc(BLOCK);
	ssize_t n;
	while (!p->past && !p->broken && (n = read(fd, block, BLOCK)) != 0) {
		if (n < 0)
			return err_sys(err, "read the container's log");
		struct str rest = { block, (size_t)n }, line;
		while (!p->past && !p->broken && str_cut(rest, '\n', &line, &rest)) {
			if (p->rest.n) {
				sb_add_str(&p->rest, line);
				line = sb_str(&p->rest);
			}
			print_line(p, line);
			sb_reset(&p->rest);
		}
		sb_add_str(&p->rest, rest);
	}
	p->broken |= fflush(stdout) || fflush(stderr);
	return 0;
}

/* Where the last n lines begin. */
static int seek_tail(int fd, int64_t lines, struct err **err)
{
	_cleanup_free_ char *block = xmalloc(BLOCK);
	off_t at = lseek(fd, 0, SEEK_END);
	int64_t seen = -1; /* the end of the last line is not a beginning */
	if (at < 0)
		return err_sys(err, "read the container's log");
	if (lines <= 0)
		return 0;
	while (at > 0) {
		size_t n = at < BLOCK ? (size_t)at : BLOCK;
		if (pread(fd, block, n, at - (off_t)n) != (ssize_t)n)
			return err_sys(err, "read the container's log");
		for (size_t i = n; i-- > 0;)
			if (block[i] == '\n' && ++seen == lines)
				return lseek(fd, at - (off_t)n + (off_t)i + 1, SEEK_SET) < 0
					? err_sys(err, "read the container's log")
					: 0;
		at -= (off_t)n;
	}
	return lseek(fd, 0, SEEK_SET) < 0 ? err_sys(err, "read the container's log") : 0;
}

/* Waits for more; false when the container has ended (its log is complete then). */
static bool wait_more(int notify, int conn, int64_t until_ns)
{
	struct pollfd p[2] = { { .fd = notify, .events = POLLIN },
			       { .fd = conn, .events = POLLIN } };
	int64_t left = until_ns == INT64_MAX ? -1 : (until_ns - clock_real_ns()) / 1000000 + 1;
	if (poll(p, 2, left < 0 ? -1 : left > 60000 ? 60000 : (int)left) <= 0)
		return until_ns == INT64_MAX || clock_real_ns() < until_ns;
	if (p[0].revents) {
		char events[4096];
		if (read(notify, events, sizeof(events)) < 0)
			errno = 0;
	}
	/* The monitor has nothing to say to who takes no stream but the end. */
	return !p[1].revents;
}

static int follow(struct printer *p, const struct container *k, int fd, struct err **err)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_close_ int notify = inotify_init1(IN_CLOEXEC), conn = -1;
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (notify < 0 || inotify_add_watch(notify, path, IN_MODIFY) < 0)
		return err_sys(err, "watch the container's log");
	bool runs = runtime_monitor_connect(k->dir_fd, &conn, &e) == 0 &&
		runtime_monitor_send(conn, PROTO_ATTACH, (uint32_t[]){ 0 }, 1, &e) == 0;
	for (;;) {
		if (print_rest(p, fd, err) < 0)
			return -1;
		if (!runs || p->past || p->broken)
			return 0;
		runs = wait_more(notify, conn, p->o->until_ns);
	}
}

int logs_print(const struct container *k, const struct logs_options *o, struct err **err)
{
	struct printer p = { .o = o, .rest.max = LINE_MAX_BYTES };
	_cleanup_close_ int fd = openat(k->dir_fd, "log.json", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, "open the container's log");
	int r = o->tail >= 0 ? seek_tail(fd, o->tail, err) : 0;
	if (!r)
		r = o->follow ? follow(&p, k, fd, err) : print_rest(&p, fd, err);
	sb_release(&p.rest);
	sb_release(&p.line.buf);
	return r;
}
