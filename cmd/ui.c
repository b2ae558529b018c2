#include "cmd/ui.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/vec.h"
#include "cmd/ui_internal.h"
#include "parser/diag.h"

struct ui {
	struct event_sink sink;
	pthread_mutex_t lock;
	const struct ui_renderer *r;
	VEC(struct ui_vertex *) vertices;
	void *state;
	pthread_t ticker;
	bool ticking, stop;
};

static struct {
	const char *name, *text;
	size_t n;
} source;

char *ui_seconds(int64_t ns, char buf[24])
{
	snprintf(buf, 24, "%.1fs", (double)ns / 1e9);
	return buf;
}

struct ui_vertex **ui_vertices(struct ui *u, size_t *ret_n)
{
	*ret_n = u->vertices.n;
	return u->vertices.v;
}

void **ui_state(struct ui *u)
{
	return &u->state;
}

int ui_mode_of(const char *progress, bool quiet, enum ui_mode *ret, struct err **err)
{
	static const struct {
		const char *word;
		enum ui_mode mode;
	} words[] = { { "auto", UI_AUTO },   { "plain", UI_PLAIN },     { "tty", UI_TTY },
		      { "quiet", UI_QUIET }, { "rawjson", UI_RAWJSON }, { "none", UI_QUIET } };
	const char *word = progress ? progress : getenv("BUILDKIT_PROGRESS");
	*ret = UI_AUTO;
	bool known = !word || !*word;
	for (size_t i = 0; i < ARRAY_SIZE(words) && !known; i++) {
		if (!strcmp(words[i].word, word)) {
			*ret = words[i].mode;
			known = true;
		}
	}
	if (!known)
		return err_set(err, ERR_INVALID,
			       "invalid progress mode '%s': use auto, plain, tty, quiet or rawjson",
			       word);
	if (quiet)
		*ret = UI_QUIET;
	const char *term = getenv("TERM");
	if (*ret == UI_AUTO)
		*ret = isatty(2) && !getenv("CI") && term && strcmp(term, "dumb") != 0 ? UI_TTY
										       : UI_PLAIN;
	return 0;
}

static struct ui_vertex *vertex_of(struct ui *u, const struct digest *id)
{
	for (size_t i = u->vertices.n; i-- > 0;)
		if (digest_eq(&u->vertices.v[i]->id, id))
			return u->vertices.v[i];
	struct ui_vertex *v = xcalloc(1, sizeof(*v));
	v->id = *id;
	VEC_PUSH(&u->vertices, v);
	return v;
}

/* Keeps the last lines for the error block. */
static void keep_line(struct ui_vertex *v, struct str line)
{
	sb_add_str(&v->tail, str_c(v->stamp));
	sb_add_str(&v->tail, line);
	sb_add_ch(&v->tail, '\n');
	if (v->tail.n > UI_TAIL_BYTES) {
		size_t drop = str_find(sb_str(&v->tail), '\n', v->tail.n - UI_TAIL_BYTES / 2);
		drop = drop == SIZE_MAX ? v->tail.n - UI_TAIL_BYTES / 2 : drop + 1;
		memmove(v->tail.p, v->tail.p + drop, v->tail.n - drop);
		sb_trunc(&v->tail, v->tail.n - drop);
	}
}

static void flush_line(struct ui *u, struct ui_vertex *v, int64_t now)
{
	/* The lines of one event have one time: it is written once, not for each of a million lines. */
	if (now != v->stamp_ns || !v->stamp[0]) {
		int64_t since = v->started_ns ? now - v->started_ns : 0;
		snprintf(v->stamp, sizeof(v->stamp), "%.3f ", (double)since / 1e9);
		v->stamp_ns = now;
	}
	struct str line = sb_str(&v->partial);
	while (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	keep_line(v, line);
	if (u->r->line)
		u->r->line(u, v, line);
	sb_reset(&v->partial);
}

static void on_log(struct ui *u, const struct event *e)
{
	struct ui_vertex *v = vertex_of(u, &e->vertex);
	struct str text = e->text;
	while (text.n) {
		size_t nl = str_find(text, '\n', 0);
		size_t take = nl == SIZE_MAX ? text.n : nl;
		if (v->partial.n + take >
		    64 * 1024) { /* a line without an end is cut, on the screen only */
			sb_add_str(&v->partial, str_sub(text, 0, 64 * 1024 - v->partial.n));
			text = str_sub(text, 64 * 1024 - v->partial.n, text.n);
			flush_line(u, v, e->time_ns);
			continue;
		}
		sb_add_str(&v->partial, str_sub(text, 0, take));
		text = str_sub(text, take + 1, text.n);
		if (nl != SIZE_MAX)
			flush_line(u, v, e->time_ns);
	}
}

static void on_vertex(struct ui *u, const struct event *e)
{
	struct ui_vertex *v = vertex_of(u, &e->vertex);
	if (e->name.n) {
		free(v->name);
		v->name = str_dup(e->name);
	}
	if (e->text.n) {
		free(v->error);
		v->error = str_dup(e->text);
	}
	v->state = e->state;
	v->cut_off = e->cut_off;
	if (e->started_ns)
		v->started_ns = e->started_ns;
	if (e->state == EVENT_STARTED && !v->started_ns)
		v->started_ns = e->time_ns;
	if (e->state > EVENT_STARTED) {
		v->completed_ns = e->completed_ns ? e->completed_ns : e->time_ns;
		if (v->partial.n)
			flush_line(u, v, e->time_ns);
	}
	if (u->r->vertex)
		u->r->vertex(u, v);
}

static void emit(struct event_sink *s, const struct event *e)
{
	struct ui *u = (struct ui *)s;
	pthread_mutex_lock(&u->lock);
	if (u->r->raw)
		u->r->raw(u, e);
	if (e->kind == EVENT_VERTEX) {
		on_vertex(u, e);
	} else if (e->kind == EVENT_LOG) {
		on_log(u, e);
	} else if (e->kind == EVENT_STATUS) {
		struct ui_vertex *v = vertex_of(u, &e->vertex);
		v->current = e->current;
		v->total = e->total;
		if (u->r->status)
			u->r->status(u, v, e);
	} else if (u->r->text) {
		u->r->text(u, e);
	}
	fflush(stderr);
	pthread_mutex_unlock(&u->lock);
}

static void *tick_loop(void *arg)
{
	struct ui *u = arg;
	for (;;) {
		struct timespec t = { .tv_nsec = 100000000 };
		nanosleep(&t, NULL);
		pthread_mutex_lock(&u->lock);
		bool stop = u->stop;
		if (!stop)
			u->r->tick(u);
		pthread_mutex_unlock(&u->lock);
		if (stop)
			return NULL;
	}
}

struct event_sink *ui_open(enum ui_mode mode)
{
	struct ui *u = xcalloc(1, sizeof(*u));
	u->sink.emit = emit;
	pthread_mutex_init(&u->lock, NULL);
	u->r = mode == UI_TTY        ? &ui_tty
		: mode == UI_QUIET   ? &ui_quiet
		: mode == UI_RAWJSON ? &ui_rawjson
				     : &ui_plain;
	/* One write for an event, not for each piece of a line: a RUN may print a gigabyte. */
	setvbuf(stderr, NULL, _IOFBF, 64 * 1024);
	if (u->r->tick)
		u->ticking = !pthread_create(&u->ticker, NULL, tick_loop, u);
	return &u->sink;
}

/* BuildKit's block: the last lines of each failed step. */
static void print_failed(const struct ui_vertex *v)
{
	struct str tail = sb_str(&v->tail);
	size_t lines = 0, from = tail.n;
	while (from > 0 && lines <= UI_TAIL_LINES) {
		from--;
		if (tail.p[from] == '\n' && ++lines > UI_TAIL_LINES) {
			from++;
			break;
		}
	}
	fprintf(stderr, "------\n > %s:\n", v->name ? v->name : "");
	fwrite(tail.p ? tail.p + from : "", 1, tail.n - from, stderr);
	fprintf(stderr, "------\n");
}

void ui_close(struct event_sink *s, bool failed)
{
	struct ui *u = (struct ui *)s;
	if (!u)
		return;
	pthread_mutex_lock(&u->lock);
	u->stop = true;
	pthread_mutex_unlock(&u->lock);
	if (u->ticking)
		pthread_join(u->ticker, NULL);
	if (u->r->close)
		u->r->close(u);
	fflush(stderr);
	setvbuf(stderr, NULL, _IONBF, 0);
	for (size_t i = 0; i < u->vertices.n; i++) {
		struct ui_vertex *v = u->vertices.v[i];
		if (failed && v->state == EVENT_FAILED && u->r != &ui_rawjson)
			print_failed(v);
		free(v->name);
		free(v->error);
		free(v->status);
		sb_release(&v->partial);
		sb_release(&v->tail);
		free(v);
	}
	VEC_RELEASE(&u->vertices);
	pthread_mutex_destroy(&u->lock);
	free(u->state);
	free(u);
}

void ui_set_source(const char *name, const char *text, size_t n)
{
	source.name = name;
	source.text = text;
	source.n = n;
}

void ui_print_error(const struct err *e)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	if (e->at.line && source.text)
		df_excerpt(&b, str_c(source.name), (struct str){ source.text, source.n }, e->at);
	sb_add_c(&b, "ERROR: ");
	struct str msg = str_c(e->msg), line;
	/* Line by line: what came from outside must not drive the terminal. */
	for (bool more = true; more;) {
		more = str_cut(msg, '\n', &line, &msg);
		sb_add_printable(&b, more ? line : msg);
		sb_add_ch(&b, '\n');
	}
	if (e->hint) {
		sb_add_c(&b, "hint: ");
		sb_add_printable(&b, str_c(e->hint));
		sb_add_ch(&b, '\n');
	}
	fwrite(b.p, 1, b.n, stderr);
}
