#include "cache/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/err.h"
#include "base/path.h"
#include "cache/store.h"
#include "cache/tree_internal.h"

enum { LINKS_MAX = 255, NEAR_MAX = 2, DEPTH_MAX = 1000, NODES_MAX = 10000000 };

struct tree *cache_tree_open(int root_fd, const struct glob_set *ignore, bool context,
			     struct store *store, struct err **err)
{
	struct stat st;
	if (fstat(root_fd, &st) < 0) {
		err_sys(err, "stat the root of a tree");
		close(root_fd);
		return NULL;
	}
	struct tree *t = xcalloc(1, sizeof(*t));
	t->fd = root_fd;
	t->ignore = ignore;
	t->context = context;
	t->store = store;
	t->arena = arena_new();
	pthread_mutex_init(&t->lock, NULL);
	struct node *n = t->root = arena_new_of(t->arena, struct node);
	n->e = (struct entry){ .path = STR(""), .kind = 'd', .mode = st.st_mode & 07777 };
	if (!context) {
		n->e.uid = st.st_uid;
		n->e.gid = st.st_gid;
	}
	n->e.mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	n->dev = st.st_dev;
	n->ino = st.st_ino;
	if (context && store)
		cache_tree_leave_out(t, cache_store_root_fd(store));
	return t;
}

void cache_tree_free(struct tree *t)
{
	if (!t)
		return;
	close(t->fd);
	VEC_RELEASE(&t->dirty);
	free(t->buf);
	free(t->layers);
	arena_free(t->arena);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

int cache_tree_fd(const struct tree *t)
{
	return t->fd;
}

void cache_tree_leave_out(struct tree *t, int fd)
{
	struct stat st;
	if (t->n_out < ARRAY_SIZE(t->out) && fstat(fd, &st) == 0)
		t->out[t->n_out++] = (struct left_out){ st.st_dev, st.st_ino };
}

struct str node_name(const struct node *n)
{
	size_t slash = str_rfind(n->e.path, '/');
	return slash == SIZE_MAX ? n->e.path : str_sub(n->e.path, slash + 1, n->e.path.n);
}

int tree_open_path(const struct tree *t, struct str path, int flags)
{
	char buf[PATH_BYTES_MAX + 1];
	if (path.n > PATH_BYTES_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(buf, path.n ? path.p : "", path.n);
	buf[path.n] = '\0';
	return path_open_beneath(t->fd, buf, flags);
}

/* ---- listing */

static bool left_out(const struct tree *t, const struct stat *st)
{
	for (size_t i = 0; i < t->n_out; i++)
		if (t->out[i].dev == st->st_dev && t->out[i].ino == st->st_ino)
			return true;
	return false;
}

/* The kind of a file for an entry, or 0 where it does not count. */
static char kind_of(const struct tree *t, const struct stat *st)
{
	switch (st->st_mode & S_IFMT) {
	case S_IFREG:
		return 'f';
	case S_IFDIR:
		return 'd';
	case S_IFLNK:
		return 'l';
	case S_IFCHR:
		return 'c';
	case S_IFBLK:
		return 'b';
	case S_IFIFO:
		return 'p';
	case S_IFSOCK:
		return t->context ? 'f' : 0;
	default:
		return 0;
	}
}

static struct str join(struct tree *t, struct str dir, struct str name)
{
	size_t head = dir.n ? dir.n + 1 : 0;
	char *p = arena_alloc(t->arena, head + name.n + 1);
	if (dir.n) {
		memcpy(p, dir.p, dir.n);
		p[dir.n] = '/';
	}
	memcpy(p + head, name.p, name.n);
	return (struct str){ p, head + name.n };
}

static struct node *make_node(struct tree *t, struct node *dir, const char *name,
			      const struct stat *st)
{
	struct node *n = arena_new_of(t->arena, struct node);
	n->e.path = join(t, dir->e.path, str_c(name));
	n->e.kind = kind_of(t, st);
	n->e.mode = n->e.kind == 'l' ? 0 : st->st_mode & 07777;
	if (!t->context) {
		n->e.uid = st->st_uid;
		n->e.gid = st->st_gid;
	}
	if (n->e.kind == 'c' || n->e.kind == 'b') {
		n->e.major = major(st->st_rdev);
		n->e.minor = minor(st->st_rdev);
	}
	n->empty_socket = S_ISSOCK(st->st_mode);
	if (n->e.kind == 'f' && !n->empty_socket)
		n->e.size = (uint64_t)st->st_size;
	n->e.mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
	n->ctime_ns = (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;
	n->parent = dir;
	n->dev = st->st_dev;
	n->ino = st->st_ino;
	n->nlink = st->st_nlink;
	n->st_mode = st->st_mode;
	return n;
}

static int read_link(struct tree *t, int dirfd, const char *name, struct node *n, struct err **err)
{
	char buf[PATH_BYTES_MAX + 1];
	ssize_t k = readlinkat(dirfd, name, buf, sizeof(buf));
	if (k < 0)
		return err_sys(err, "read link '%.*s'", STR_ARG(n->e.path));
	n->e.link = arena_str(t->arena, (struct str){ buf, (size_t)k });
	return 0;
}

static size_t depth_of(const struct node *n)
{
	size_t depth = 0;
	for (; n; n = n->parent)
		depth++;
	return depth;
}

/* Whether an excluded folder is kept for something in it. */
static int keeps(struct tree *t, struct cache *c, struct node *dir, bool *ret, struct err **err)
{
	*ret = false;
	if (!glob_set_descend(t->ignore, dir->e.path))
		return 0;
	if (tree_list(t, c, dir, err) < 0)
		return -1;
	*ret = dir->n_child > 0;
	return 0;
}

/* Adds a child where the rules let it count. */
static int add_child(struct tree *t, struct cache *c, struct node *dir, int fd, const char *name,
		     struct err **err)
{
	struct stat st;
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0
				       : err_sys(err, "stat '%.*s/%s'", STR_ARG(dir->e.path), name);
	if (!kind_of(t, &st) || (S_ISDIR(st.st_mode) && left_out(t, &st)))
		return 0;
	if (++t->n_nodes > NODES_MAX)
		return err_set(err, ERR_LIMIT, "the build context has more than %d files",
			       NODES_MAX);
	struct node *n = make_node(t, dir, name, &st);
	if (n->e.path.n > PATH_BYTES_MAX || depth_of(n) > DEPTH_MAX)
		return err_set(err, ERR_LIMIT, "'%.200s…': its path is too long", n->e.path.p);
	if (t->ignore && glob_set_match(t->ignore, n->e.path)) {
		bool keep = false;
		if (n->e.kind == 'd' && keeps(t, c, n, &keep, err) < 0)
			return -1;
		if (!keep)
			return 0;
		n->excluded = true;
	}
	if (n->e.kind == 'l' && read_link(t, fd, name, n, err) < 0)
		return -1;
	if (dir->n_child % 64 == 0)
		dir->child = xreallocarray(dir->child, dir->n_child + 64, sizeof(struct node *));
	dir->child[dir->n_child++] = n;
	return 0;
}

static int by_path(const void *a, const void *b)
{
	return entry_path_cmp((*(struct node *const *)a)->e.path,
			      (*(struct node *const *)b)->e.path);
}

static int read_children(struct tree *t, struct cache *c, struct node *dir, DIR *d,
			 struct err **err)
{
	for (;;) {
		errno = 0;
		struct dirent *e = readdir(d);
		if (!e && errno)
			return err_sys(err, "read folder '/%.*s'", STR_ARG(dir->e.path));
		if (!e)
			return 0;
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (add_child(t, c, dir, dirfd(d), e->d_name, err) < 0)
			return -1;
	}
}

int tree_list(struct tree *t, struct cache *c, struct node *dir, struct err **err)
{
	if (dir->listed)
		return 0;
	int fd = tree_open_path(t, dir->e.path, O_RDONLY | O_DIRECTORY);
	_cleanup_closedir_ DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	if (!d) {
		err_sys(err, "open folder '/%.*s'", STR_ARG(dir->e.path));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	int r = read_children(t, c, dir, d, err);
	/* The list grew by realloc; what stays is the arena's. */
	struct node **list = dir->child;
	dir->child = arena_array_of(t->arena, struct node *, dir->n_child);
	if (dir->n_child)
		memcpy(dir->child, list, dir->n_child * sizeof(*list));
	free(list);
	if (r < 0) {
		dir->n_child = 0;
		return -1;
	}
	if (dir->n_child > 1)
		qsort(dir->child, dir->n_child, sizeof(*dir->child), by_path);
	dir->listed = true;
	dir->cacheable = t->context && tree_fs_trusted(dirfd(d));
	if (dir->cacheable)
		tree_stat_load(t, c, dir);
	return 0;
}

/* ---- looking up */

struct node *tree_child(const struct node *dir, struct str name)
{
	size_t lo = 0, hi = dir->n_child;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int cmp = str_cmp(node_name(dir->child[mid]), name);
		if (!cmp)
			return dir->child[mid];
		if (cmp < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

int tree_resolve(struct tree *t, struct cache *c, struct str path, struct node **ret,
		 struct near *ret_near, struct err **err)
{
	_cleanup_(sb_releasep) struct sb rest = { 0 }, next = { 0 };
	struct node *at = t->root;
	sb_add_str(&rest, path);
	for (size_t i = 0, links = 0; i < rest.n;) {
		size_t end = str_find(sb_str(&rest), '/', i);
		if (end == SIZE_MAX)
			end = rest.n;
		struct str name = str_sub(sb_str(&rest), i, end);
		i = end + 1;
		if (!name.n || str_eq_c(name, "."))
			continue;
		if (str_eq_c(name, "..")) {
			at = at->parent ? at->parent : at;
			continue;
		}
		struct node *n = NULL;
		if (at->e.kind == 'd') {
			if (tree_list(t, c, at, err) < 0)
				return -1;
			n = tree_child(at, name);
		}
		if (!n || (n->e.kind == 'l' && ++links > LINKS_MAX)) {
			if (ret_near)
				*ret_near = (struct near){ at, arena_str(t->arena, name) };
			return 0;
		}
		if (n->e.kind != 'l') {
			at = n;
			continue;
		}
		/* The link's text stands in for its name. */
		sb_reset(&next);
		sb_add_str(&next, n->e.link);
		sb_add_ch(&next, '/');
		sb_add_str(&next, str_sub(sb_str(&rest), i, rest.n));
		sb_reset(&rest);
		sb_add_str(&rest, sb_str(&next));
		i = 0;
		if (str_starts(n->e.link, STR("/")))
			at = t->root;
	}
	*ret = at;
	return 1;
}

/* Edits that make one name of the other, up to NEAR_MAX; case counts for nothing. */
static unsigned distance(struct str a, struct str b)
{
	enum { LONGEST = 64 };
	unsigned row[LONGEST + 1];
	if (a.n > LONGEST || b.n > LONGEST)
		return NEAR_MAX + 1;
	for (unsigned j = 0; j <= b.n; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a.n; i++) {
		unsigned diagonal = row[0];
		row[0] = i;
		for (unsigned j = 1; j <= b.n; j++) {
			unsigned same = diagonal + (str_lower(a.p[i - 1]) != str_lower(b.p[j - 1]));
			unsigned edit = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
			diagonal = row[j];
			row[j] = same < edit ? same : edit;
		}
	}
	return row[b.n];
}

/* `"/path": not found`, with the nearest name that is there as hint. */
static int not_found(const struct near *near, struct str path, struct err **err)
{
	_cleanup_(sb_releasep) struct sb shown = { 0 };
	sb_add_printable(&shown, path);
	err_set(err, ERR_NOT_FOUND, "\"/%s\": not found", sb_c(&shown));
	struct node *best = NULL;
	unsigned least = NEAR_MAX + 1;
	for (size_t i = 0; i < near->dir->n_child; i++) {
		unsigned d = distance(node_name(near->dir->child[i]), near->name);
		/* A name of one or two letters is near to everything; a link that leads nowhere has
		 * the very name. */
		if (d < least && d < near->name.n &&
		    !str_eq(node_name(near->dir->child[i]), near->name)) {
			least = d;
			best = near->dir->child[i];
		}
	}
	if (best) {
		sb_reset(&shown);
		sb_add_printable(&shown, best->e.path);
		err_hint(err, "did you mean \"/%s\"?", sb_c(&shown));
	}
	return -1;
}

/* ---- matches */

struct found {
	VEC(struct match) v;
};

/* Adds one match: what `path` is, under the name `name`. */
static int add_match(struct tree *t, struct cache *c, struct str path, struct str name,
		     struct found *out, struct err **err)
{
	struct node *n;
	struct near near = { 0 };
	int r = tree_resolve(t, c, path, &n, &near, err);
	if (r <= 0)
		return r < 0 ? -1 : not_found(&near, path, err);
	VEC_PUSH(&out->v,
		 ((struct match){ .path = n->e.path,
				  .name = arena_str(t->arena, name),
				  .is_dir = n->e.kind == 'd' }));
	return 0;
}

/* Walks the folders that the pattern's first components match; `pattern` is relative to `base`. */
static int match_below(struct tree *t, struct cache *c, struct node *base, struct node *dir,
		       struct str pattern, size_t depth, struct found *out, struct err **err)
{
	struct str head = pattern;
	for (size_t i = 0, from = 0; i <= depth; i++) {
		size_t slash = str_find(pattern, '/', from);
		head = str_sub(pattern, from, slash == SIZE_MAX ? pattern.n : slash);
		from = slash == SIZE_MAX ? pattern.n : slash + 1;
		if (slash == SIZE_MAX && i < depth)
			return 0;
	}
	bool last = head.p + head.n == pattern.p + pattern.n;
	if (tree_list(t, c, dir, err) < 0)
		return -1;
	for (size_t i = 0; i < dir->n_child; i++) {
		struct node *n = dir->child[i];
		if (glob_match(head, node_name(n)) != 1)
			continue;
		if (last && add_match(t, c, n->e.path, node_name(n), out, err) < 0)
			return -1;
		if (!last && n->e.kind == 'd' &&
		    match_below(t, c, base, n, pattern, depth + 1, out, err) < 0)
			return -1;
	}
	return 0;
}

/* The wildcard-free head of a path is resolved like any path; the rest is matched below it. */
static int match_pattern(struct tree *t, struct cache *c, struct str path, struct found *out,
			 struct err **err)
{
	size_t cut = 0;
	for (size_t i = 0; i < path.n;) {
		size_t slash = str_find(path, '/', i);
		struct str part = str_sub(path, i, slash == SIZE_MAX ? path.n : slash);
		if (glob_has_wildcard(part))
			break;
		i = cut = slash == SIZE_MAX ? path.n : slash + 1;
	}
	struct node *base;
	int r = tree_resolve(t, c, str_sub(path, 0, cut), &base, NULL, err);
	if (r <= 0 || base->e.kind != 'd')
		return r < 0 ? -1 : 0;
	return match_below(t, c, base, base, str_sub(path, cut, path.n), 0, out, err);
}

static int find_matches(struct tree *t, struct cache *c, const struct selection *s,
			struct found *out, struct err **err)
{
	struct str path = path_clean(t->arena, arena_printf(t->arena, "/%.*s", STR_ARG(s->source)));
	path = str_sub(path, 1, path.n);
	if (s->parents)
		return err_set(err, ERR_UNSUPPORTED, "not supported yet: --parents");
	if (glob_has_wildcard(path))
		return match_pattern(t, c, path, out, err);
	return add_match(t, c, path, path.n ? path_base(path) : STR(""), out, err);
}

int cache_tree_matches(struct tree *t, struct cache *c, const struct selection *s,
		       struct match **ret, size_t *ret_n, struct err **err)
{
	struct found found = { 0 };
	pthread_mutex_lock(&t->lock);
	int r = find_matches(t, c, s, &found, err);
	if (!r) {
		*ret = arena_array_of(t->arena, struct match, found.v.n);
		if (found.v.n)
			memcpy(*ret, found.v.v, found.v.n * sizeof(**ret));
		*ret_n = found.v.n;
	}
	pthread_mutex_unlock(&t->lock);
	VEC_RELEASE(&found.v);
	return r;
}

/* ---- what changed */

void cache_tree_forget(struct tree *t, struct str path)
{
	pthread_mutex_lock(&t->lock);
	struct node *at = t->root;
	for (size_t i = 0; i < path.n && at->listed;) {
		size_t slash = str_find(path, '/', i);
		struct str name = str_sub(path, i, slash == SIZE_MAX ? path.n : slash);
		i = slash == SIZE_MAX ? path.n : slash + 1;
		struct node *n = tree_child(at, name);
		if (!n)
			break;
		at = n;
	}
	/* The folder it is in is listed anew; nodes that were handed out live on in the arena. */
	struct node *dir = at->parent ? at->parent : at;
	dir->listed = false;
	dir->child = NULL;
	dir->n_child = 0;
	pthread_mutex_unlock(&t->lock);
}

struct node *tree_at(const struct tree *t, struct str path)
{
	struct node *at = t->root;
	for (size_t i = 0; at && i < path.n;) {
		size_t slash = str_find(path, '/', i);
		struct str name = str_sub(path, i, slash == SIZE_MAX ? path.n : slash);
		at = at->listed ? tree_child(at, name) : NULL;
		i = slash == SIZE_MAX ? path.n : slash + 1;
	}
	return at;
}

bool cache_tree_data(struct tree *t, struct str path, struct digest *ret)
{
	pthread_mutex_lock(&t->lock);
	const struct node *n = tree_at(t, path);
	bool has = n && n->e.has_data;
	if (has)
		*ret = n->e.data;
	pthread_mutex_unlock(&t->lock);
	return has;
}
