#include "solver/journal.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/json.h"
#include "cache/store.h"
#include "solver/internal.h"

enum { KEEP_BUILDS = 200 };
#define KEEP_BYTES (INT64_C(1) << 30)

static void write_line(struct build *b, json_t *j)
{
	_cleanup_(sb_releasep) struct sb line = { 0 };
	json_print(j, &line);
	sb_add_ch(&line, '\n');
	if (b->journal_fd >= 0 && io_write_full(b->journal_fd, line.p, line.n) < 0) {
		mem_closep(&b->journal_fd);
		b->journal_fd = -1;
	}
	json_decref(j);
}

static void put_time(json_t *j, const char *name, int64_t ns)
{
	char buf[CLOCK_TEXT];
	json_put_str(j, name, str_c(clock_text(ns, buf)));
}

static int newest_first(const void *a, const void *b)
{
	return strcmp(*(char *const *)b, *(char *const *)a);
}

static int64_t folder_bytes(int logs, const char *name)
{
	_cleanup_close_ int fd =
		openat(logs, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(STEAL_FD(fd));
	int64_t sum = 0;
	for (struct dirent *e; d && (e = readdir(d));) {
		struct stat st;
		if (!fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
			sum += st.st_size;
	}
	if (d)
		closedir(d);
	return sum;
}

/* Names sort by time. Looked at once in so many builds only: a listing costs more than the rest of a build that does nothing. */
static void trim(struct build *b)
{
	int root = cache_store_root_fd(b->env->store);
	int logs = openat(root, "logs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = logs < 0 ? NULL : fdopendir(logs);
	VEC(char *) names = { 0 };
	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.')
			VEC_PUSH(&names, xstrdup(e->d_name));
	if (names.n)
		qsort(names.v, names.n, sizeof(char *), newest_first);
	int64_t sum = 0;
	for (size_t i = 0; i < names.n; i++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		if (sum <= KEEP_BYTES && i < KEEP_BUILDS)
			sum += folder_bytes(dirfd(d), names.v[i]);
		if ((sum > KEEP_BYTES || i >= KEEP_BUILDS) &&
		    io_remove_tree(dirfd(d), names.v[i], &e) < 0)
			break; /* another process trims it too */
	}
	for (size_t i = 0; i < names.n; i++)
		free(names.v[i]);
	VEC_RELEASE(&names);
	if (d)
		closedir(d);
}

void journal_open(struct build *b)
{
	_cleanup_free_ char *dir = xasprintf("logs/%s", b->id),
			    *path = xasprintf("logs/%s/events.jsonl", b->id);
	_cleanup_(err_dropp) struct err *e = NULL;
	int root = cache_store_root_fd(b->env->store);
	char context[PATH_MAX];
	if (io_mkdirs(root, dir, 0700, &e) < 0)
		return;
	b->journal_fd =
		openat(root, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	json_t *j = json_object();
	put_time(j, "time", clock_real_ns());
	json_put_str(j, "event", STR("begin"));
	json_put_str(j, "context",
		     str_c(realpath(b->o->context, context) ? context : b->o->context));
	json_put_str(j, "dockerfile", str_c(b->o->dockerfile_path ? b->o->dockerfile_path : "-"));
	json_put_str(j, "target", b->o->plan.target);
	write_line(b, j);
	/* The salt of the id is as good as a die. */
	if (b->id[strlen(b->id) - 1] == '0')
		trim(b);
}

static const char *status_of(const struct vertex *v)
{
	if (v->state == VERTEX_FAILED)
		return "failed";
	if (v->state == VERTEX_CANCELED)
		return "canceled";
	return v->how == HOW_CACHED     ? "cached"
		: v->how == HOW_CUT_OFF ? "cut-off"
		: v->how == HOW_RAN     ? "ran"
					: "there";
}

void journal_step(struct step *s)
{
	const struct vertex *v = s->v;
	char key[DIGEST_TEXT];
	if (s->b->journal_fd < 0)
		return;
	json_t *j = json_object();
	put_time(j, "time", clock_real_ns());
	json_put_str(j, "event", STR("step"));
	json_put_int(j, "step", s->plan->index);
	json_put_str(j, "name", s->plan->display);
	json_put_str(j, "stage", s->plan->stage);
	json_put_int(j, "line", s->plan->at.line);
	json_put_str(j, "status", str_c(status_of(v)));
	if (v->has_key)
		json_put_str(j, "key", str_c(digest_text(&v->key, key)));
	if (v->has_r)
		json_put_str(j, "result", str_c(digest_text(&v->r, key)));
	if (v->started_ns)
		put_time(j, "started", v->started_ns);
	if (v->how == HOW_RAN)
		json_put_int(j, "cost_ms", s->cost_ms);
	if (v->error)
		json_put_str(j, "error", str_c(v->error->msg));
	write_line(s->b, j);
}

void journal_close(struct build *b, const struct build_result *result, const struct err *e)
{
	char id[DIGEST_TEXT];
	if (b->journal_fd < 0)
		return;
	json_t *j = json_object();
	put_time(j, "time", clock_real_ns());
	json_put_str(j, "event", STR("end"));
	if (e)
		json_put_str(j, "error", str_c(e->msg));
	else
		json_put_str(j, "image", str_c(digest_text(&result->image_id, id)));
	write_line(b, j);
	mem_closep(&b->journal_fd);
	b->journal_fd = -1;
}
