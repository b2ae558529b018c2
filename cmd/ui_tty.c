/* tty: a block of lines that is drawn anew ten times a second: one per running step, with the last lines of the active log. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "cmd/ui_internal.h"

enum { LOG_LINES = 6 };

struct tty {
	int64_t begin_ns;
	unsigned drawn;           /* lines of the block on the screen */
	struct ui_vertex *active; /* whose log is shown */
	char *log[LOG_LINES];
	bool color;
};

static struct tty *tty(struct ui *u)
{
	void **p = ui_state(u);
	if (!*p) {
		struct tty *t = xcalloc(1, sizeof(*t));
		t->begin_ns = clock_real_ns();
		t->color = !getenv("NO_COLOR");
		*p = t;
	}
	return *p;
}

static unsigned columns(void)
{
	struct winsize w;
	return !ioctl(2, TIOCGWINSZ, &w) && w.ws_col > 20 ? w.ws_col : 80;
}

/* Adds text cut to `wide` characters, control characters made visible. */
static size_t add_cut(struct sb *b, struct str s, size_t wide)
{
	_cleanup_(sb_releasep) struct sb clean = { 0 };
	sb_add_printable(&clean, s);
	size_t used = 0;
	struct str c = sb_str(&clean);
	for (size_t i = 0; i < c.n && used < wide; used++) {
		uint32_t ch;
		size_t n = utf8_next(c, i, &ch);
		sb_add(b, c.p + i, n);
		i += n;
	}
	return used;
}

static void draw_vertex(struct sb *b, const struct tty *t, const struct ui_vertex *v, int64_t now,
			unsigned wide)
{
	char buf[24];
	bool ended = v->state > EVENT_STARTED;
	int64_t ns = v->started_ns ? (ended ? v->completed_ns : now) - v->started_ns : 0;
	const char *word = v->state == EVENT_CACHED ? (v->cut_off ? "CUT-OFF " : "CACHED ")
		: v->state == EVENT_FAILED          ? "ERROR "
		: v->state == EVENT_CANCELED        ? "CANCELED "
						    : "";
	if (t->color)
		sb_add_c(b, v->state == EVENT_FAILED ? "\033[31m" : ended ? "\033[34m" : "");
	sb_add_c(b, " => ");
	sb_add_c(b, word);
	size_t room = wide - 14 - strlen(word);
	size_t used = add_cut(b, str_c(v->name ? v->name : ""), room);
	if (!ended && v->total && used + 24 < room)
		used += (size_t)snprintf(NULL, 0, "  %.1f / %.1fMB", (double)v->current / 1e6,
					 (double)v->total / 1e6),
			sb_printf(b, "  %.1f / %.1fMB", (double)v->current / 1e6,
				  (double)v->total / 1e6);
	while (used++ < room)
		sb_add_ch(b, ' ');
	sb_printf(b, " %8s", ui_seconds(ns, buf));
	sb_add_c(b, t->color ? "\033[0m\033[K\n" : "\033[K\n");
}

static void draw(struct ui *u, bool last)
{
	struct tty *t = tty(u);
	size_t n;
	struct ui_vertex **all = ui_vertices(u, &n);
	int64_t now = clock_real_ns();
	unsigned wide = columns(), lines = 1;
	size_t done = 0, shown = 0;
	for (size_t i = 0; i < n; i++) {
		done += all[i]->state > EVENT_STARTED;
		shown += all[i]->name != NULL;
	}
	_cleanup_(sb_releasep) struct sb b = { 0 };
	if (t->drawn)
		sb_printf(&b, "\033[%uA\r", t->drawn);
	char buf[24];
	sb_printf(&b, "[+] Building %s (%zu/%zu)%s\033[K\n", ui_seconds(now - t->begin_ns, buf),
		  done, shown, last ? " FINISHED" : "");
	/* The block must fit the screen, else the cursor cannot go back: running steps and the newest others. */
	size_t from = n > 30 && !last ? n - 30 : 0;
	for (size_t i = 0; i < n; i++) {
		if (!all[i]->name || all[i]->state == EVENT_PENDING ||
		    (i < from && all[i]->state != EVENT_STARTED))
			continue;
		draw_vertex(&b, t, all[i], now, wide);
		lines++;
		if (all[i] == t->active && all[i]->state == EVENT_STARTED && !last) {
			for (size_t k = 0; k < LOG_LINES; k++) {
				if (!t->log[k])
					continue;
				sb_add_c(&b, " => => # ");
				add_cut(&b, str_c(t->log[k]), wide - 10);
				sb_add_c(&b, "\033[K\n");
				lines++;
			}
		}
	}
	sb_add_c(&b, "\033[J");
	fwrite(b.p, 1, b.n, stderr);
	fflush(stderr);
	t->drawn = lines;
}

static void line(struct ui *u, struct ui_vertex *v, struct str text)
{
	struct tty *t = tty(u);
	if (t->active != v)
		for (size_t k = 0; k < LOG_LINES; k++) {
			free(t->log[k]);
			t->log[k] = NULL;
		}
	t->active = v;
	free(t->log[0]);
	memmove(t->log, t->log + 1, sizeof(t->log) - sizeof(t->log[0]));
	t->log[LOG_LINES - 1] = str_dup(str_sub(text, 0, 1024));
}

static void vertex(struct ui *u, struct ui_vertex *v)
{
	(void)v;
	tty(u);
}

static void tick(struct ui *u)
{
	draw(u, false);
}

static void close_tty(struct ui *u)
{
	draw(u, true);
	struct tty *t = tty(u);
	for (size_t k = 0; k < LOG_LINES; k++)
		free(t->log[k]);
}

static void text(struct ui *u, const struct event *e)
{
	fprintf(stderr, "\r\033[J%.*s\n", STR_ARG(e->text));
	tty(u)->drawn = 0;
}

const struct ui_renderer ui_tty = {
	.vertex = vertex, .line = line, .text = text, .tick = tick, .close = close_tty
};
