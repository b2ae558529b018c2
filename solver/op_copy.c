/*
 * op_copy: COPY, ADD of local files, heredoc files, and WORKDIR. One job on the cpu pool: work folder, a read-only view of the parent where
 * there is one, the copy engine (solver/copy), commit. The content of each source is part of the key; what is copied is compared with it
 * while it is written.
 */
#include "solver/internal.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cache/layer.h"
#include "cache/record.h"
#include "runtime/user.h"
#include "solver/copy.h"

static void put(struct digester *h, const char *name, struct str value)
{
	if (!value.n)
		return;
	digest_field_c(h, name);
	digest_field_str(h, value);
}

struct digest op_copy_digest(const struct plan_step *p)
{
	struct digester h;
	digest_fields(&h, "cbuild.op.1");
	digest_field_c(&h, "copy");
	put(&h, "dest", p->dest);
	put(&h, "chown", p->chown);
	put(&h, "chmod", p->chmod);
	if (p->link)
		put(&h, "link", STR("1"));
	if (p->parents)
		put(&h, "parents", STR("1"));
	if (p->unpack)
		put(&h, "unpack", p->unpack < 0 ? STR("auto") : STR("1"));
	_cleanup_(sb_releasep) struct sb list = { 0 };
	for (size_t i = 0; i < p->n_inline_files; i++) {
		digest_put_field(&list, p->inline_files[i].name);
		digest_put_field(&list, p->inline_files[i].content);
	}
	put(&h, "files", sb_str(&list));
	return digest_end(&h);
}

struct digest op_workdir_digest(const struct plan_step *p)
{
	struct digester h;
	digest_fields(&h, "cbuild.op.1");
	digest_field_c(&h, "workdir");
	put(&h, "path", p->path);
	put(&h, "owner", p->owner);
	return digest_end(&h);
}

/* The tree that input i is read through, over the job's own reference to its files. */
static int tree_of(struct step *s, unsigned i, struct files *files, struct cache *c,
		   struct tree **ret, struct err **err)
{
	const struct vertex *u = s->v->inputs[i].vertex;
	if (u->class == &op_context) {
		*ret = ((struct step *)u->owner)->context->tree;
		return 0;
	}
	return files_tree(files, c, s->b->env->store, ret, err);
}

/* ---- contents */

static int find_content(struct step_job *j, struct cache *c, struct err **err)
{
	struct step *s = j->s;
	const struct input *in = &s->v->inputs[j->input];
	struct tree *tree;
	if (tree_of(s, j->input, j->files, c, &tree, err) < 0)
		return err_at(err, s->plan->at);
	if (cache_tree_content(tree, c, &s->selections[j->input], &j->digest, err) < 0) {
		if ((*err)->code == ERR_NOT_FOUND)
			err_wrap(err, "failed to compute cache key: failed to calculate checksum");
		else if ((*err)->code == ERR_INTEGRITY)
			err_wrap(err, "the context changed during the build");
		if (!(*err)->status)
			err_status(err, 3);
		return err_at(err, s->plan->at);
	}
	if (in->vertex->class == &op_context)
		return 0;
	_cleanup_(err_dropp) struct err *e = NULL;
	if (cache_content_put(c, &in->vertex->r, &in->sel, &j->digest, &e) < 0)
		log_debug("keep a content digest: %s", e->msg); /* a cache never fails a build */
	return 0;
}

static void content_found(struct step_job *j, struct err *e)
{
	if (e)
		core_failed(j->s->b->graph, j->s->v, e);
	else
		core_content(j->s->b->graph, j->s->v, j->input, &j->digest);
}

static void content(struct vertex *v, unsigned i)
{
	struct step_job *j = step_job_new(v->owner, find_content, content_found);
	j->input = i;
	if (v->inputs[i].vertex->files)
		j->files = files_ref(v->inputs[i].vertex->files);
	step_job_start(j, NULL);
}

/* ---- running */

static void mark(void *arg, struct str path)
{
	cache_work_mark_time(arg, path);
}

/* --chown and WORKDIR's owner as numbers; named ones are looked up in the parent's root. */
static int owner_of(struct step *s, struct str text, int parent_fd, uint32_t *uid, uint32_t *gid,
		    struct err **err)
{
	bool scratch =
		!s->v->inputs[0].vertex->files || !files_chain(s->v->inputs[0].vertex->files)->n;
	if (runtime_user_chown(scratch ? -1 : parent_fd, text, uid, gid, err) < 0)
		return err_at(err, s->plan->at);
	return 0;
}

static int64_t step_time(const struct build *b, const struct step_job *j)
{
	return b->plan->has_epoch ? b->plan->epoch_s * INT64_C(1000000000) : j->started_ns;
}

static int copy(struct step_job *j, struct cache *c, struct work *w, int parent_fd,
		struct err **err)
{
	struct step *s = j->s;
	const struct plan_step *p = s->plan;
	size_t n = 0;
	_cleanup_free_ struct copy_source *sources =
		xcalloc(p->n_sources + p->n_inline_files, sizeof(*sources));
	for (size_t i = 0; i < p->n_sources; i++, n++) {
		sources[n].selection = &s->selections[i + 1];
		if (tree_of(s, (unsigned)i + 1, j->sources[i + 1], c, &sources[n].tree, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < p->n_inline_files; i++, n++) {
		sources[n].name = p->inline_files[i].name;
		sources[n].content = p->inline_files[i].content;
	}
	struct copy_spec spec = { .parent_fd = parent_fd,
				  .fs_fd = cache_work_fs_fd(w),
				  .sources = sources,
				  .n_sources = n,
				  .dest = p->dest,
				  .has_owner = p->chown.n > 0,
				  .chmod = p->chmod,
				  .unpack = p->unpack != 0,
				  .now_ns = step_time(s->b, j),
				  .mark = mark,
				  .mark_arg = w,
				  .cancel = &s->cancel };
	if (spec.has_owner && owner_of(s, p->chown, parent_fd, &spec.uid, &spec.gid, err) < 0)
		return -1;
	return solver_copy(&spec, c, err);
}

static int workdir(struct step_job *j, struct work *w, int parent_fd, struct err **err)
{
	const struct plan_step *p = j->s->plan;
	struct copy_workdir spec = { .parent_fd = parent_fd,
				     .fs_fd = cache_work_fs_fd(w),
				     .path = p->path,
				     .now_ns = step_time(j->s->b, j),
				     .mark = mark,
				     .mark_arg = w };
	if (p->owner.n && owner_of(j->s, p->owner, parent_fd, &spec.uid, &spec.gid, err) < 0)
		return -1;
	return solver_copy_workdir(&spec, err);
}

static int work(struct step_job *j, struct cache *c, struct err **err)
{
	struct step *s = j->s;
	struct work *w = cache_work_begin(c, err);
	if (!w)
		return -1;
	j->layer = cache_work_id(w);
	int64_t begin = clock_real_ns();
	j->started_ns = begin;
	int parent_fd = -1, r = 0;
	if (files_chain(j->parent)->n)
		r = cache_layer_mount(c, files_chain(j->parent), NULL, &parent_fd, err);
	if (!r)
		r = s->plan->kind == PLAN_WORKDIR ? workdir(j, w, parent_fd, err)
						  : copy(j, c, w, parent_fd, err);
	mem_closep(&parent_fd);
	if (!r)
		r = cache_work_commit(c, w, LAYER_STEP, err);
	else if ((*err)->status == COPY_CHANGED)
		err_wrap(err, "the context changed during the build");
	if (r)
		err_at(err, s->plan->at);
	cache_work_free(w);
	j->created_ns = step_time(s->b, j);
	j->started_ns = INT64_MAX; /* entries with the step's own time are marked one by one */
	s->cost_ms = (clock_real_ns() - begin) / 1000000;
	return r;
}

static void after(struct step_job *j, struct err *e)
{
	struct graph *g = j->s->b->graph;
	if (!e) {
		step_committed(j);
	} else if (e->status == COPY_CHANGED) {
		/* When it stays so: the context does not hold still. */
		err_status(&e, 3);
		core_changed(g, j->s->v, e);
	} else {
		core_failed(g, j->s->v, e);
	}
}

static void run(struct vertex *v)
{
	struct step *s = v->owner;
	struct step_job *j = step_job_new(s, work, after);
	j->parent = files_ref(v->inputs[0].vertex->files);
	j->sources = xcalloc(v->n_inputs, sizeof(struct files *));
	for (unsigned i = 1; i < v->n_inputs; i++)
		if (v->inputs[i].vertex->files)
			j->sources[i] = files_ref(v->inputs[i].vertex->files);
	step_job_start(j, NULL);
}

static void cancel(struct vertex *v)
{
	atomic_store(&((struct step *)v->owner)->cancel, true);
}

const struct op_class op_copy = {
	.kind = "copy", .source = OP_STEP, .run = run, .content = content, .cancel = cancel
};
const struct op_class op_workdir = {
	.kind = "workdir", .source = OP_STEP, .run = run, .cancel = cancel
};
