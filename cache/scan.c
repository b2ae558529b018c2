#include "cache/scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/err.h"
#include "base/map.h"
#include "base/path.h"
#include "base/vec.h"
#include "cache/xattr.h"

/* A hard-link group of which not all names were seen yet. */
struct group {
	char *first;
	nlink_t left;
};

struct name {
	unsigned at; /* offset in names */
	unsigned char type;
};

struct folder {
	int fd;        /* -1: closed for now, opened again by its path */
	size_t path_n; /* its path is the first so many bytes of walk.path */
	struct sb names;
	VEC(struct name) v;
	size_t next;
};

struct walk {
	const struct scan *s;
	int fs_fd;
	struct sb path, xattrs, link;
	VEC(struct folder) stack;
	struct map groups; /* (dev, ino) → struct group; forgotten once all names were seen */
};

static int by_name(const void *a, const void *b, void *names)
{
	return strcmp((const char *)names + ((const struct name *)a)->at,
		      (const char *)names + ((const struct name *)b)->at);
}

static int read_names(struct folder *f, const char *what, struct err **err)
{
	/* An own open: the caller's descriptor keeps its position, and may be of O_PATH. */
	int fd = openat(f->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	if (!d) {
		err_sys(err, "read folder '%s'", what);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	for (;;) {
		errno = 0;
		struct dirent *e = readdir(d);
		if (!e && errno)
			return err_sys(err, "read folder '%s'", what);
		if (!e)
			break;
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (!strncmp(e->d_name, ".wh.", 4))
			return err_set(
				err, ERR_INVALID,
				"the step made '%s/%s': names that begin with .wh. mean deletions in an image layer",
				what, e->d_name);
		if (f->names.n > UINT32_MAX / 2)
			return err_set(err, ERR_LIMIT, "read folder '%s': it has too many names",
				       what);
		VEC_PUSH(&f->v, ((struct name){ (unsigned)f->names.n, e->d_type }));
		sb_add(&f->names, e->d_name, strlen(e->d_name) + 1);
	}
	if (f->v.n > 1)
		qsort_r(f->v.v, f->v.n, sizeof(*f->v.v), by_name, f->names.p);
	return 0;
}

/* Descriptor of the folder on top of the stack, opened again where it had been closed. */
static int top_fd(struct walk *w, struct err **err)
{
	struct folder *f = VEC_LAST(&w->stack);
	if (f->fd >= 0)
		return f->fd;
	_cleanup_free_ char *path = xstrndup(sb_c(&w->path), f->path_n);
	f->fd = path_open_beneath(w->fs_fd, path, O_RDONLY | O_DIRECTORY);
	return f->fd >= 0 ? f->fd : err_sys(err, "open folder '%s'", path);
}

static int push(struct walk *w, int fd, struct err **err)
{
	if (w->stack.n > SCAN_FDS) {
		struct folder *outer = &w->stack.v[w->stack.n - SCAN_FDS];
		if (outer->fd >= 0 && outer->fd != w->fs_fd) {
			close(outer->fd);
			outer->fd = -1;
		}
	}
	VEC_PUSH(&w->stack, ((struct folder){ .fd = fd, .path_n = w->path.n }));
	return read_names(VEC_LAST(&w->stack), sb_c(&w->path), err);
}

static void pop(struct walk *w)
{
	struct folder *f = VEC_LAST(&w->stack);
	if (f->fd >= 0 && f->fd != w->fs_fd)
		close(f->fd);
	sb_release(&f->names);
	VEC_RELEASE(&f->v);
	w->stack.n--;
}

/* Sets e->group and forgets the group with its last name. `first` stays valid until the next
 * call. */
static void find_group(struct walk *w, const struct stat *st, struct entry *e, char **first)
{
	free(*first);
	*first = NULL;
	uint64_t key[2] = { st->st_dev, st->st_ino };
	struct str k = { (const char *)key, sizeof(key) };
	struct group *g = map_get(&w->groups, k);
	if (!g) {
		g = xcalloc(1, sizeof(*g));
		*g = (struct group){ str_dup(e->path), st->st_nlink - 1 };
		map_put(&w->groups, k, g);
		return;
	}
	*first = xstrdup(g->first);
	e->group = str_c(*first);
	if (!--g->left) {
		map_del(&w->groups, k);
		free(g->first);
		free(g);
	}
}

static char kind_of(const struct stat *st)
{
	switch (st->st_mode & S_IFMT) {
	case S_IFREG:
		return 'f';
	case S_IFDIR:
		return 'd';
	case S_IFLNK:
		return 'l';
	case S_IFBLK:
		return 'b';
	case S_IFIFO:
		return 'p';
	case S_IFCHR:
		return st->st_rdev ? 'c' : 'w';
	default:
		return 0;
	}
}

static int read_link(struct walk *w, int dirfd, const char *name, const struct stat *st,
		     struct entry *e, struct err **err)
{
	sb_reset(&w->link);
	size_t room = st->st_size > 0 && st->st_size < PATH_BYTES_MAX ? (size_t)st->st_size + 1
								      : PATH_BYTES_MAX + 1;
	char *p = sb_reserve(&w->link, room);
	ssize_t n = readlinkat(dirfd, name, p, room);
	if (n < 0)
		return err_sys(err, "read link '%.*s'", STR_ARG(e->path));
	w->link.n += (size_t)n;
	e->link = sb_str(&w->link);
	return 0;
}

static void fill(struct entry *e, const struct stat *st)
{
	e->kind = kind_of(st);
	if (e->kind == 'w' || !e->kind)
		return;
	e->mode = e->kind == 'l' ? 0 : st->st_mode & 07777;
	e->uid = st->st_uid;
	e->gid = st->st_gid;
	if (e->kind == 'c' || e->kind == 'b') {
		e->major = major(st->st_rdev);
		e->minor = minor(st->st_rdev);
	}
	if (e->kind == 'f')
		e->size = (uint64_t)st->st_size;
	e->mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/* Gives one entry; an open descriptor of a folder in *ret_dir. */
static int visit(struct walk *w, int dirfd, const char *name, char **group, int *ret_dir,
		 struct err **err)
{
	struct stat st;
	struct entry e = { .path = sb_str(&w->path) };
	if (w->path.n > PATH_BYTES_MAX)
		return err_set(err, ERR_LIMIT, "the path '%.200s…' is longer than %d bytes",
			       w->path.p, PATH_BYTES_MAX);
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "stat '%.*s'", STR_ARG(e.path));
	fill(&e, &st);
	if (!e.kind)
		return 0; /* a socket */
	_cleanup_close_ int fd = -1;
	bool wants_fd = e.kind == 'd' || (e.kind == 'f' && !w->s->no_open);
	if (wants_fd)
		fd = openat(dirfd, name,
			    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK |
				    (e.kind == 'd' ? O_DIRECTORY : 0));
	if (wants_fd && fd < 0)
		return err_sys(err, "open '%.*s'", STR_ARG(e.path));
	if (e.kind != 'w' && xattr_read(fd, dirfd, name, sb_c(&w->path), &w->xattrs, err) < 0)
		return -1;
	e.xattrs = e.kind == 'w' ? STR("") : sb_str(&w->xattrs);
	if (e.kind == 'd' && xattr_opaque(fd))
		e.kind = 'o';
	if (e.kind == 'l' && read_link(w, dirfd, name, &st, &e, err) < 0)
		return -1;
	/* Whiteouts may share one inode (overlay makes them so): no group is meant by that. */
	if (!S_ISDIR(st.st_mode) && e.kind != 'w' && st.st_nlink > 1)
		find_group(w, &st, &e, group);
	if (w->s->entry(w->s->arg, &e, dirfd, name, e.kind == 'f' ? fd : -1, err) < 0)
		return -1;
	if (S_ISDIR(st.st_mode))
		*ret_dir = STEAL_FD(fd);
	return 0;
}

/* Sets walk.path to a name within the folder on top. */
static void set_path(struct walk *w, const char *name)
{
	sb_trunc(&w->path, VEC_LAST(&w->stack)->path_n);
	if (w->path.n)
		sb_add_ch(&w->path, '/');
	sb_add_c(&w->path, name);
}

static int early(struct walk *w, struct err **err)
{
	struct folder *f = VEC_LAST(&w->stack);
	for (size_t i = 0; w->s->early && i < f->v.n; i++) {
		struct stat st;
		const char *name = f->names.p + f->v.v[i].at;
		if (f->v.v[i].type != DT_CHR && f->v.v[i].type != DT_UNKNOWN)
			continue;
		set_path(w, name);
		struct entry e = { .path = sb_str(&w->path) };
		if (fstatat(f->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_sys(err, "stat '%.*s'", STR_ARG(e.path));
		fill(&e, &st);
		if (e.kind == 'w' && w->s->early(w->s->arg, &e, err) < 0)
			return -1;
	}
	sb_trunc(&w->path, f->path_n);
	return 0;
}

static int give_root(struct walk *w, struct err **err)
{
	struct stat st;
	struct entry e = { .path = STR("") };
	if (fstat(w->fs_fd, &st) < 0)
		return err_sys(err, "stat the layer's root");
	fill(&e, &st);
	if (xattr_read(w->fs_fd, -1, "", "/", &w->xattrs, err) < 0)
		return -1;
	e.xattrs = sb_str(&w->xattrs);
	return w->s->entry(w->s->arg, &e, w->fs_fd, "", -1, err);
}

static int walk_all(struct walk *w, char **group, struct err **err)
{
	if (w->s->root && give_root(w, err) < 0)
		return -1;
	if (push(w, w->fs_fd, err) < 0 || early(w, err) < 0)
		return -1;
	while (w->stack.n) {
		struct folder *f = VEC_LAST(&w->stack);
		if (f->next == f->v.n) {
			pop(w);
			continue;
		}
		sb_trunc(&w->path, f->path_n);
		int dirfd = top_fd(w, err), sub = -1;
		if (dirfd < 0)
			return -1;
		const char *name = f->names.p + f->v.v[f->next++].at;
		set_path(w, name);
		if (visit(w, dirfd, name, group, &sub, err) < 0)
			return -1;
		if (sub >= 0 && (push(w, sub, err) < 0 || early(w, err) < 0))
			return -1;
	}
	return 0;
}

int scan_run(int fs_fd, const struct scan *s, struct err **err)
{
	struct walk w = { .s = s, .fs_fd = fs_fd };
	char *group = NULL;
	int r = walk_all(&w, &group, err);
	while (w.stack.n)
		pop(&w);
	size_t i = 0;
	for (struct map_entry *e; (e = map_next(&w.groups, &i));) {
		struct group *g = e->value;
		free(g->first);
		free(g);
	}
	map_release(&w.groups);
	VEC_RELEASE(&w.stack);
	sb_release(&w.path);
	sb_release(&w.xattrs);
	sb_release(&w.link);
	free(group);
	return r;
}
