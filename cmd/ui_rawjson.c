/* rawjson: one JSON object a line on stderr, in the form of BuildKit's SolveStatus (vertexes, statuses, logs, warnings). */
#include <stdio.h>

#include <openssl/evp.h>

#include "base/clock.h"
#include "base/json.h"
#include "cmd/ui_internal.h"

static void put_time(json_t *j, const char *name, int64_t ns)
{
	char buf[CLOCK_TEXT];
	json_put_str(j, name, str_c(clock_text(ns, buf)));
}

static json_t *of_vertex(const struct event *e, const char *id)
{
	json_t *v = json_object();
	json_put_str(v, "digest", str_c(id));
	json_put_str(v, "name", e->name);
	if (e->state != EVENT_PENDING)
		put_time(v, "started", e->started_ns ? e->started_ns : e->time_ns);
	if (e->state > EVENT_STARTED)
		put_time(v, "completed", e->completed_ns ? e->completed_ns : e->time_ns);
	if (e->state == EVENT_CACHED)
		json_put(v, "cached", json_true());
	if (e->state == EVENT_FAILED || e->state == EVENT_CANCELED)
		json_put_str(v, "error", e->text.n ? e->text : STR("canceled"));
	return v;
}

static json_t *of_log(const struct event *e, const char *id)
{
	json_t *l = json_object();
	json_put_str(l, "vertex", str_c(id));
	json_put_int(l, "stream", e->stream);
	_cleanup_free_ unsigned char *b64 = xmalloc(4 * (e->text.n / 3 + 1) + 1);
	int n = EVP_EncodeBlock(b64, (const unsigned char *)(e->text.p ? e->text.p : ""),
				(int)e->text.n);
	json_put_str(l, "data", (struct str){ (char *)b64, (size_t)n });
	put_time(l, "timestamp", e->time_ns);
	return l;
}

static json_t *of_status(const struct event *e, const char *id)
{
	json_t *s = json_object();
	json_put_str(s, "id", e->name);
	json_put_str(s, "vertex", str_c(id));
	json_put_int(s, "current", (int64_t)e->current);
	if (e->total)
		json_put_int(s, "total", (int64_t)e->total);
	put_time(s, "timestamp", e->time_ns);
	if (e->started_ns)
		put_time(s, "started", e->started_ns);
	if (e->state == EVENT_DONE)
		put_time(s, "completed", e->time_ns);
	return s;
}

static void raw(struct ui *u, const struct event *e)
{
	(void)u;
	static const char *const names[] = { "vertexes", "logs", "statuses", "warnings" };
	char id[DIGEST_TEXT];
	digest_text(&e->vertex, id);
	json_t *item;
	if (e->kind == EVENT_VERTEX) {
		item = of_vertex(e, id);
	} else if (e->kind == EVENT_LOG) {
		item = of_log(e, id);
	} else if (e->kind == EVENT_STATUS) {
		item = of_status(e, id);
	} else {
		item = json_object();
		json_put_str(item, "short", e->text);
		json_put_int(item, "line", e->line);
	}
	_cleanup_(json_unrefp) json_t *j = json_object();
	json_t *list = json_array();
	json_push(list, item);
	json_put(j, names[e->kind], list);
	_cleanup_(sb_releasep) struct sb b = { 0 };
	json_print(j, &b);
	sb_add_ch(&b, '\n');
	fwrite(b.p, 1, b.n, stderr);
}

const struct ui_renderer ui_rawjson = { .raw = raw };
