/* Content digests of trees: the other half of cache/tree.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/map.h"
#include "cache/internal.h"
#include "cache/tree_internal.h"
#include "cache/xattr.h"

enum { READ_SIZE = 256 * 1024, TRIES = 3 };

#define STAT_AGE_NS INT64_C(2000000000)

struct digest cache_selection_digest(const struct selection *s)
{
	struct digester h;
	_cleanup_(sb_releasep) struct sb list = { 0 };
	digest_fields(&h, "cbuild.select.1");
	digest_field_str(&h, s->source);
	for (size_t i = 0; i < s->n_excludes; i++)
		digest_put_field(&list, s->excludes[i]);
	digest_field_str(&h, sb_str(&list));
	digest_field_int(&h, s->parents);
	digest_field_int(&h, s->mask_mode);
	digest_field_int(&h, s->mask_owner);
	return digest_end(&h);
}

/* ---- one file */

static int64_t ns_of(struct timespec ts)
{
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Whether an open file is what the scan saw. */
static bool same(const struct node *n, const struct stat *st)
{
	return n->dev == st->st_dev && n->ino == st->st_ino && n->st_mode == st->st_mode &&
		n->nlink == st->st_nlink && n->e.size == (uint64_t)st->st_size &&
		n->e.mtime_ns == ns_of(st->st_mtim) && n->ctime_ns == ns_of(st->st_ctim);
}

/* Takes what an open file is now for what the scan saw: it changed since, which is no error before
 * it was used. */
static void take_stat(struct node *n, const struct stat *st)
{
	n->dev = st->st_dev;
	n->ino = st->st_ino;
	n->nlink = st->st_nlink;
	n->st_mode = st->st_mode;
	n->e.mode = st->st_mode & 07777;
	n->e.size = (uint64_t)st->st_size;
	n->e.mtime_ns = ns_of(st->st_mtim);
	n->ctime_ns = ns_of(st->st_ctim);
}

/* Hashes a file, which has `size` bytes: one more shows that it grew. */
static int hash_fd(struct tree *t, int fd, uint64_t size, struct digest *ret, uint64_t *ret_n)
{
	struct digester h;
	uint64_t total = 0;
	ssize_t n;
	if (!t->buf)
		t->buf = xmalloc(READ_SIZE);
	digest_begin(&h);
	while ((n = read(fd, t->buf, READ_SIZE)) > 0 || (n < 0 && errno == EINTR)) {
		if (n < 0)
			continue;
		digest_add(&h, t->buf, (size_t)n);
		total += (uint64_t)n;
		/* A short read of a regular file is its end; the size is compared anyway. */
		if (n < READ_SIZE || total > size)
			break;
		if (t->store && atomic_load_explicit(&t->store->canceled, memory_order_relaxed)) {
			n = -1;
			errno = ECANCELED;
			break;
		}
	}
	*ret = digest_end(&h);
	*ret_n = total;
	return n < 0 ? -1 : 0;
}

static int complete_file(struct tree *t, struct node *n, struct sb *xattrs, struct err **err)
{
	for (int tries = 0;; tries++) {
		struct stat before, after;
		uint64_t got;
		int64_t now = clock_real_ns();
		_cleanup_close_ int fd = tree_open_path(t, n->e.path, O_RDONLY);
		if (fd < 0 || fstat(fd, &before) < 0)
			return err_sys(err, "open '/%.*s'", STR_ARG(n->e.path));
		if (!S_ISREG(before.st_mode))
			return err_set(err, ERR_INTEGRITY, "'/%.*s' changed while it was looked at",
				       STR_ARG(n->e.path));
		if (xattr_read(fd, -1, "", n->e.path.p, xattrs, err) < 0)
			return -1;
		if (same(n, &before) && n->stored)
			return 0; /* the stat cache had the data's digest */
		take_stat(n, &before);
		if (hash_fd(t, fd, n->e.size, &n->e.data, &got) < 0 || fstat(fd, &after) < 0)
			return err_sys(err, "read '/%.*s'", STR_ARG(n->e.path));
		if (got == n->e.size && same(n, &after)) {
			int64_t newest = n->e.mtime_ns > n->ctime_ns ? n->e.mtime_ns : n->ctime_ns;
			n->stored = newest < now - STAT_AGE_NS;
			return 0;
		}
		if (tries == TRIES)
			return err_set(err, ERR_INTEGRITY, "'/%.*s' changes while it is read",
				       STR_ARG(n->e.path));
	}
}

static void mark_dirty(struct tree *t, struct node *n)
{
	struct node *dir = n->parent;
	if (!n->stored || !dir || !dir->cacheable || dir->dirty)
		return;
	dir->dirty = true;
	VEC_PUSH(&t->dirty, dir);
}

/* Attributes of what is not a regular file. */
static int complete_other(struct tree *t, struct node *n, struct sb *xattrs, struct err **err)
{
	if (n->e.kind == 'd') {
		_cleanup_close_ int fd = tree_open_path(t, n->e.path, O_RDONLY | O_DIRECTORY);
		if (fd < 0)
			return err_sys(err, "open folder '/%.*s'", STR_ARG(n->e.path));
		return xattr_read(fd, -1, "", n->e.path.p, xattrs, err);
	}
	_cleanup_close_ int dir = tree_open_path(t, n->parent->e.path, O_PATH | O_DIRECTORY);
	if (dir < 0)
		return err_sys(err, "open folder '/%.*s'", STR_ARG(n->parent->e.path));
	return xattr_read(-1, dir, node_name(n).p, n->e.path.p, xattrs, err);
}

int tree_complete(struct tree *t, struct node *n, bool data, struct err **err)
{
	bool file = n->e.kind == 'f' && !n->empty_socket;
	if (n->complete || (file && !data))
		return 0;
	_cleanup_(sb_releasep) struct sb xattrs = { 0 };
	if (n->empty_socket) {
		n->e.data = digest_of("", 0);
		n->e.has_data = true;
	} else if (file) {
		if (complete_file(t, n, &xattrs, err) < 0)
			return -1;
		n->e.has_data = true;
		mark_dirty(t, n);
	} else if (complete_other(t, n, &xattrs, err) < 0) {
		return -1;
	}
	n->e.xattrs = xattrs.n ? arena_str(t->arena, sb_str(&xattrs)) : STR("");
	n->complete = true;
	return 0;
}

/* ---- what a match holds */

struct items {
	struct tree *t;
	struct cache *c;
	const struct selection *s;
	struct glob_set *excludes;
	bool data;
	struct map groups; /* (dev, ino) → index + 1 of the first item */
	VEC(struct tree_item) v;
};

static void find_group(struct items *x, const struct node *n, struct tree_item *i)
{
	uint64_t key[2] = { n->dev, n->ino };
	if (n->nlink < 2 || n->e.kind == 'd')
		return;
	void **slot = map_slot(&x->groups, (struct str){ (const char *)key, sizeof(key) });
	if (*slot)
		i->e.group = x->v.v[(uintptr_t)*slot - 1].e.path;
	else
		*slot = (void *)(uintptr_t)(x->v.n + 1);
}

static int add_item(struct items *x, struct node *n, struct str as, struct err **err)
{
	if (tree_complete(x->t, n, x->data, err) < 0)
		return -1;
	struct tree_item i = { .e = n->e, .source = n->e.path };
	i.e.path = as;
	find_group(x, n, &i);
	VEC_PUSH(&x->v, i);
	return 0;
}

/* Whether an excluded folder holds something that is not. */
static int holds(struct items *x, struct node *dir, size_t skip, bool *ret, struct err **err)
{
	*ret = false;
	if (!glob_set_descend(x->excludes, str_sub(dir->e.path, skip, dir->e.path.n)))
		return 0;
	if (tree_list(x->t, x->c, dir, err) < 0)
		return -1;
	for (size_t i = 0; i < dir->n_child && !*ret; i++) {
		struct node *n = dir->child[i];
		bool out = glob_set_match(x->excludes, str_sub(n->e.path, skip, n->e.path.n));
		if (!out)
			*ret = true;
		else if (n->e.kind == 'd' && holds(x, n, skip, ret, err) < 0)
			return -1;
	}
	return 0;
}

/* Adds what is in a folder; paths lose their first `skip` bytes. */
static int add_folder(struct items *x, struct node *dir, size_t skip, struct err **err)
{
	if (tree_list(x->t, x->c, dir, err) < 0)
		return -1;
	for (size_t i = 0; i < dir->n_child; i++) {
		struct node *n = dir->child[i];
		struct str as = str_sub(n->e.path, skip, n->e.path.n);
		if (x->excludes && glob_set_match(x->excludes, as)) {
			bool keep = false;
			if (n->e.kind == 'd' && holds(x, n, skip, &keep, err) < 0)
				return -1;
			if (!keep)
				continue;
		}
		if (add_item(x, n, as, err) < 0)
			return -1;
		if (n->e.kind == 'd' && add_folder(x, n, skip, err) < 0)
			return -1;
	}
	return 0;
}

static int add_match(struct items *x, const struct match *m, struct err **err)
{
	struct node *n;
	int r = tree_resolve(x->t, x->c, m->path, &n, NULL, err);
	if (r <= 0)
		return r < 0
			? -1
			: err_set(err, ERR_NOT_FOUND, "\"/%.*s\": not found", STR_ARG(m->path));
	if (n->e.kind != 'd')
		return add_item(x, n, m->name, err);
	if (add_item(x, n, STR(""), err) < 0)
		return -1;
	return add_folder(x, n, n->e.path.n ? n->e.path.n + 1 : 0, err);
}

static int open_excludes(struct items *x, struct err **err)
{
	if (!x->s->n_excludes)
		return 0;
	x->excludes = glob_set_new();
	for (size_t i = 0; i < x->s->n_excludes; i++)
		if (glob_set_add(x->excludes, x->s->excludes[i], err) < 0)
			return -1;
	return 0;
}

static void items_release(struct items *x)
{
	glob_set_free(x->excludes);
	map_release(&x->groups);
	VEC_RELEASE(&x->v);
}

int cache_tree_items(struct tree *t, struct cache *c, const struct selection *s,
		     const struct match *m, struct tree_item **ret, size_t *ret_n, struct err **err)
{
	/* A context's files were hashed for its C; what lies in layers can't change and need not be
	 * hashed to be copied. */
	struct items x = { .t = t, .c = c, .s = s, .data = t->context };
	pthread_mutex_lock(&t->lock);
	int r = open_excludes(&x, err);
	if (!r)
		r = add_match(&x, m, err);
	pthread_mutex_unlock(&t->lock);
	if (!r) {
		*ret = x.v.v;
		*ret_n = x.v.n;
		x.v.v = NULL;
	}
	items_release(&x);
	return r;
}

/* ---- C */

static void put_item(struct digester *h, struct sb *buf, const struct selection *s,
		     struct tree_item *i)
{
	unsigned mask =
		(s->mask_mode ? ENTRY_MASK_MODE : 0) | (s->mask_owner ? ENTRY_MASK_OWNER : 0);
	/* A copied folder lends its destination nothing but its content. */
	if (i->e.kind == 'd' && !i->e.path.n && !s->bind) {
		mask = ENTRY_MASK_MODE | ENTRY_MASK_OWNER;
		i->e.xattrs = STR("");
	}
	sb_reset(buf);
	entry_put(&i->e, mask, buf);
	digest_add(h, buf->p, buf->n);
}

/* Reading the manifests of a stack costs some ms; a few small files are hashed in less. */
enum { LEARN_FILES = 2000 };
#define LEARN_BYTES (UINT64_C(32) << 20)

/* Lists what the matches hold and asks the layers' manifests where much of it would have to be
 * hashed. */
static int learn(struct tree *t, struct cache *c, const struct selection *s, const struct match *m,
		 size_t n, struct err **err)
{
	uint64_t bytes = 0;
	size_t files = 0;
	for (size_t k = 0; k < n; k++) {
		struct items x = { .t = t, .c = c, .s = s };
		int r = open_excludes(&x, err);
		if (!r)
			r = add_match(&x, &m[k], err);
		for (size_t i = 0; !r && i < x.v.n; i++) {
			if (x.v.v[i].e.kind != 'f' || x.v.v[i].e.has_data)
				continue;
			files++;
			bytes += x.v.v[i].e.size;
		}
		items_release(&x);
		if (r < 0)
			return -1;
	}
	if (files > LEARN_FILES || bytes > LEARN_BYTES)
		tree_learn(t);
	return 0;
}

static int content(struct tree *t, struct cache *c, const struct selection *s,
		   const struct match *m, size_t n, struct digest *ret, struct err **err)
{
	struct digester h;
	_cleanup_(sb_releasep) struct sb buf = { 0 };
	if (t->n_layers && learn(t, c, s, m, n, err) < 0)
		return -1;
	digest_fields(&h, "cbuild.content.1");
	for (size_t k = 0; k < n; k++) {
		struct items x = { .t = t, .c = c, .s = s, .data = true };
		int r = open_excludes(&x, err);
		if (!r)
			r = add_match(&x, &m[k], err);
		digest_field_c(&h, "match");
		for (size_t i = 0; !r && i < x.v.n; i++)
			put_item(&h, &buf, s, &x.v.v[i]);
		items_release(&x);
		if (r < 0) {
			digest_abandon(&h);
			return -1;
		}
	}
	*ret = digest_end(&h);
	return 0;
}

int cache_tree_content(struct tree *t, struct cache *c, const struct selection *s,
		       struct digest *ret, struct err **err)
{
	struct match *m;
	size_t n;
	if (cache_tree_matches(t, c, s, &m, &n, err) < 0)
		return -1;
	pthread_mutex_lock(&t->lock);
	int r = content(t, c, s, m, n, ret, err);
	tree_stat_save(t, c);
	pthread_mutex_unlock(&t->lock);
	return r;
}
