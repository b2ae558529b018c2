/* The merged view of manifests: declared in cache/manifest.h. */
#include <stdlib.h>

#include "base/err.h"
#include "base/vec.h"
#include "cache/manifest.h"

/* What lies below `dir` comes from layer `level` and above only. */
struct scope {
	char *dir;
	size_t n, level;
};

struct cursor {
	struct manifest_reader *r;
	struct entry e;
	size_t layer;
};

struct manifest_view {
	struct cursor *all;
	size_t n_all;
	struct cursor **heap; /* least path first; of equal ones the highest layer */
	size_t n;
	VEC(struct scope) scopes; /* each lies within the one before */
	struct cursor *out;       /* whose entry was given: advanced at the next call */
	bool started;
};

struct manifest_view *manifest_view_new(struct manifest_reader **readers, size_t n)
{
	struct manifest_view *v = xcalloc(1, sizeof(*v));
	v->all = xcalloc(n ? n : 1, sizeof(*v->all));
	v->heap = xcalloc(n ? n : 1, sizeof(struct cursor *));
	v->n_all = n;
	for (size_t i = 0; i < n; i++)
		v->all[i] = (struct cursor){ .r = readers[i], .layer = i };
	return v;
}

static bool before(const struct cursor *a, const struct cursor *b)
{
	int c = entry_path_cmp(a->e.path, b->e.path);
	return c < 0 || (c == 0 && a->layer > b->layer);
}

static void sift_up(struct manifest_view *v, size_t i)
{
	for (; i && before(v->heap[i], v->heap[(i - 1) / 2]); i = (i - 1) / 2) {
		struct cursor *c = v->heap[i];
		v->heap[i] = v->heap[(i - 1) / 2];
		v->heap[(i - 1) / 2] = c;
	}
}

static struct cursor *pop(struct manifest_view *v)
{
	struct cursor *top = v->heap[0];
	v->heap[0] = v->heap[--v->n];
	for (size_t i = 0, least;; i = least) {
		least = i;
		for (size_t k = 2 * i + 1; k <= 2 * i + 2; k++)
			if (k < v->n && before(v->heap[k], v->heap[least]))
				least = k;
		if (least == i)
			return top;
		struct cursor *c = v->heap[i];
		v->heap[i] = v->heap[least];
		v->heap[least] = c;
	}
}

static int advance(struct manifest_view *v, struct cursor *c, struct err **err)
{
	int r = manifest_next(c->r, &c->e, err);
	if (r < 0)
		return -1;
	if (r) {
		v->heap[v->n++] = c;
		sift_up(v, v->n - 1);
	}
	return 0;
}

/* Lowest layer that is seen at a path; forgets the scopes that were left. */
static size_t level_at(struct manifest_view *v, struct str path)
{
	while (v->scopes.n) {
		struct scope *s = VEC_LAST(&v->scopes);
		struct str dir = { s->dir, s->n };
		if (entry_path_under(path, dir) && path.n > dir.n)
			return s->level;
		free(s->dir);
		v->scopes.n--;
	}
	return 0;
}

int manifest_view_next(struct manifest_view *v, struct entry *ret, size_t *ret_layer,
		       struct err **err)
{
	for (size_t i = 0; !v->started && i < v->n_all; i++)
		if (advance(v, &v->all[i], err) < 0)
			return -1;
	v->started = true;
	for (;;) {
		struct cursor *given = v->out;
		v->out = NULL;
		if (given && advance(v, given, err) < 0)
			return -1;
		if (!v->n)
			return 0;
		struct cursor *c = pop(v);
		size_t level = level_at(v, c->e.path);
		if (c->layer < level) {
			if (advance(v, c, err) < 0)
				return -1;
			continue;
		}
		/* What lower layers have at the same path is hidden; whether it shows below depends
		 * on the kind. */
		bool merged = c->e.kind == 'd';
		size_t hide = merged ? 0 : c->layer;
		while (v->n && str_eq(v->heap[0]->e.path, c->e.path)) {
			struct cursor *lower = pop(v);
			if (merged && lower->e.kind != 'd') {
				merged = false;
				hide = lower->layer;
			}
			if (advance(v, lower, err) < 0)
				return -1;
		}
		if (hide)
			VEC_PUSH(&v->scopes,
				 ((struct scope){ str_dup(c->e.path), c->e.path.n, hide }));
		v->out = c;
		if (c->e.kind == 'w')
			continue;
		*ret = c->e;
		if (ret->kind == 'o')
			ret->kind = 'd';
		*ret_layer = c->layer;
		return 1;
	}
}

void manifest_view_free(struct manifest_view *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->n_all; i++)
		manifest_close(v->all[i].r);
	for (size_t i = 0; i < v->scopes.n; i++)
		free(v->scopes.v[i].dir);
	VEC_RELEASE(&v->scopes);
	free(v->all);
	free(v->heap);
	free(v);
}

void manifest_view_freep(struct manifest_view **v)
{
	manifest_view_free(*v);
}
