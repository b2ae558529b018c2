#include "solver/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/io.h"
#include "base/path.h"
#include "base/vec.h"
#include "base/zip.h"
#include "cache/layer.h"
#include "cache/tar.h"
#include "cache/xattr.h"
#include "solver/copy_internal.h"

enum { LINKS_MAX = 255 };

/* ---- the merged view: what is in fs_fd, else in the parent */

enum where { NOWHERE, IN_PARENT, IN_FS };

/* Looks at a path in which no symlink is left but the last. */
static int look(const struct copy *cp, const char *path, struct stat *st, enum where *ret,
		struct err **err)
{
	const int fds[] = { cp->fs_fd, cp->parent_fd };
	for (int i = 0; i < 2; i++) {
		if (fds[i] < 0)
			continue;
		if (fstatat(fds[i], path, st, AT_SYMLINK_NOFOLLOW | (*path ? 0 : AT_EMPTY_PATH)) ==
		    0) {
			*ret = i ? IN_PARENT : IN_FS;
			return 0;
		}
		if (errno != ENOENT && errno != ENOTDIR)
			return err_sys(err, "stat '/%s'", path);
	}
	*ret = NOWHERE;
	return 0;
}

static int read_link(const struct copy *cp, enum where where, const char *path, struct sb *out,
		     struct err **err)
{
	char buf[PATH_BYTES_MAX + 1];
	ssize_t n = readlinkat(where == IN_FS ? cp->fs_fd : cp->parent_fd, path, buf, sizeof(buf));
	if (n < 0)
		return err_sys(err, "read link '/%s'", path);
	sb_add(out, buf, (size_t)n);
	return 0;
}

static void up(struct sb *path)
{
	size_t slash = str_rfind(sb_str(path), '/');
	sb_trunc(path, slash == SIZE_MAX ? 0 : slash);
}

static void append(struct sb *path, struct str name)
{
	if (path->n)
		sb_add_ch(path, '/');
	sb_add_str(path, name);
}

/* Resolves a path inside the root, its last component too: the path without symlinks where it is or
 * would be made. */
static int resolve(const struct copy *cp, struct str path, struct sb *out, struct err **err)
{
	_cleanup_(sb_releasep) struct sb rest = { 0 }, next = { 0 };
	sb_reset(out);
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
			up(out);
			continue;
		}
		append(out, name);
		struct stat st;
		enum where where;
		if (out->n > PATH_BYTES_MAX)
			return err_set(err, ERR_LIMIT, "the path '/%.200s…' is too long", out->p);
		if (look(cp, sb_c(out), &st, &where, err) < 0)
			return -1;
		if (where == NOWHERE || !S_ISLNK(st.st_mode))
			continue;
		if (++links > LINKS_MAX)
			return err_set(err, ERR_INVALID, "'/%s': too many symlinks", out->p);
		sb_reset(&next);
		if (read_link(cp, where, sb_c(out), &next, err) < 0)
			return -1;
		bool absolute = next.n && next.p[0] == '/';
		sb_add_ch(&next, '/');
		sb_add_str(&next, str_sub(sb_str(&rest), i, rest.n));
		sb_reset(&rest);
		sb_add_str(&rest, sb_str(&next));
		i = 0;
		if (absolute)
			sb_reset(out);
		else
			up(out);
	}
	return 0;
}

/* ---- folders */

static struct copy_dir *dir_at(struct copy *cp, struct str path)
{
	return map_get(&cp->dirs, path);
}

static struct copy_dir *note_dir(struct copy *cp, struct str path, int64_t mtime_ns, bool mark,
				 bool fresh)
{
	void **slot = map_slot(&cp->dirs, path);
	struct copy_dir *d = *slot ? *slot : (*slot = xcalloc(1, sizeof(*d)));
	*d = (struct copy_dir){ mtime_ns, mark, d->fresh || fresh,
				fresh && !d->fresh ? cp->match : d->match };
	return d;
}

/* The folder of a path got an entry. */
static void touch_parent(struct copy *cp, struct str path)
{
	size_t slash = str_rfind(path, '/');
	struct copy_dir *d = dir_at(cp, slash == SIZE_MAX ? STR("") : str_sub(path, 0, slash));
	if (!d)
		BUG("'/%.*s' was made in a folder that nobody made", STR_ARG(path));
	d->mtime_ns = cp->now_ns;
	d->mark = true;
}

static int64_t ns_of(struct timespec ts)
{
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static struct timespec timespec_of(int64_t ns)
{
	struct timespec ts = { ns / 1000000000, ns % 1000000000 };
	if (ts.tv_nsec < 0) {
		ts.tv_sec--;
		ts.tv_nsec += 1000000000;
	}
	return ts;
}

struct attributes {
	uint32_t mode, uid, gid;
	struct str xattrs;
};

static int set_dir(struct copy *cp, const char *path, const struct attributes *a, struct err **err)
{
	_cleanup_close_ int fd =
		openat(cp->fs_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fchown(fd, a->uid, a->gid) < 0 || fchmod(fd, a->mode) < 0)
		return err_sys(err, "set owner and mode of '/%s'", path);
	return xattr_write(fd, -1, "", a->xattrs, path, err);
}

/* Makes a folder in fs with the attributes that it has in the parent. */
static int copy_up(struct copy *cp, const char *path, const struct stat *st, struct err **err)
{
	_cleanup_(sb_releasep) struct sb xattrs = { 0 };
	_cleanup_close_ int from = path_open_beneath(cp->parent_fd, path, O_RDONLY | O_DIRECTORY);
	if (from < 0)
		return err_sys(err, "open folder '/%s'", path);
	if (xattr_read(from, -1, "", path, &xattrs, err) < 0)
		return -1;
	if (mkdirat(cp->fs_fd, path, 0700) < 0)
		return err_sys(err, "make folder '/%s'", path);
	struct attributes a = { st->st_mode & 07777, st->st_uid, st->st_gid, sb_str(&xattrs) };
	note_dir(cp, str_c(path), ns_of(st->st_mtim), false, false);
	return set_dir(cp, path, &a, err);
}

/* Makes a new folder; the one that it is in gets a new time. */
static int make_dir(struct copy *cp, const char *path, const struct attributes *a, struct err **err)
{
	if (mkdirat(cp->fs_fd, path, 0700) < 0)
		return err_sys(err, "make folder '/%s'", path);
	touch_parent(cp, str_c(path));
	note_dir(cp, str_c(path), cp->now_ns, true, true);
	return set_dir(cp, path, a, err);
}

/* Has the folder `path`, which look() found to be `where`, in fs; a new one with attributes `a`. */
static int bring(struct copy *cp, const char *path, const struct stat *st, enum where where,
		 const struct attributes *a, struct err **err)
{
	if (where == NOWHERE)
		return make_dir(cp, path, a, err);
	if (where == IN_PARENT)
		return copy_up(cp, path, st, err);
	note_dir(cp, str_c(path), ns_of(st->st_mtim), false, false);
	return 0;
}

/* What folders have that the step makes by itself: 0755, or octal --chmod's bits; root, or
 * --chown. */
static struct attributes own_attributes(const struct copy *cp)
{
	return (struct attributes){ cp->mode_kind > 0 ? cp->mode : 0755,
				    cp->has_owner ? cp->uid : 0, cp->has_owner ? cp->gid : 0,
				    STR("") };
}

/* Makes sure that a folder and all above it are in fs. `path` has no symlinks. */
static int ensure_dir(struct copy *cp, const char *path, struct err **err)
{
	_cleanup_free_ char *part = xstrdup(path);
	const struct attributes own = own_attributes(cp);
	for (char *p = part; *p;) {
		char *end = p + strcspn(p, "/"), keep = *end;
		*end = '\0';
		struct stat st;
		enum where where;
		if (!dir_at(cp, str_c(part))) {
			if (look(cp, part, &st, &where, err) < 0)
				return -1;
			if (where != NOWHERE && !S_ISDIR(st.st_mode))
				return err_set(err, ERR_INVALID, "mkdir /%s: not a directory",
					       part);
			if (bring(cp, part, &st, where, &own, err) < 0)
				return -1;
		}
		*end = keep;
		p = end + (keep == '/');
	}
	return 0;
}

static int apply_times(struct copy *cp, struct err **err)
{
	size_t i = 0;
	for (struct map_entry *e; (e = map_next(&cp->dirs, &i));) {
		const struct copy_dir *d = e->value;
		struct timespec ts = timespec_of(d->mtime_ns), both[2] = { ts, ts };
		int r = e->key.n ? utimensat(cp->fs_fd, e->key.p, both, AT_SYMLINK_NOFOLLOW)
				 : futimens(cp->fs_fd, both);
		if (r < 0)
			return err_sys(err, "set the time of '/%s'", e->key.p);
		if (d->mark && cp->mark)
			cp->mark(cp->mark_arg, e->key);
	}
	return 0;
}

/* The root is there already: as the parent has it. */
static int begin(struct copy *cp, struct err **err)
{
	struct stat st;
	if (cp->parent_fd >= 0 && cache_work_root(cp->fs_fd, cp->parent_fd, err) < 0)
		return -1;
	if (fstat(cp->fs_fd, &st) < 0)
		return err_sys(err, "stat the root of a layer");
	note_dir(cp, STR(""), ns_of(st.st_mtim), false, cp->parent_fd < 0);
	return 0;
}

static void release(struct copy *cp)
{
	size_t i = 0;
	for (struct map_entry *e; (e = map_next(&cp->dirs, &i));)
		free(e->value);
	map_release(&cp->dirs);
}

/* ---- entries of a match */

struct match_copy {
	struct copy *cp;
	struct tree *t;
	struct arena *a;   /* paths of this match */
	struct str target; /* where the match lands, without symlinks */
	VEC(struct copy_job) jobs;
	VEC(struct copy_job) links; /* dest is a hard link to the destination of item->e.group */
};

static struct str dest_of(struct match_copy *m, struct str path)
{
	if (!path.n || !m->target.n)
		return arena_str(m->a, path.n ? path : m->target);
	return arena_printf(m->a, "%.*s/%.*s", STR_ARG(m->target), STR_ARG(path));
}

/* Makes room for what is not a folder: nothing is left at dest in fs, and it is no folder in the
 * view. */
static int make_room(struct match_copy *m, struct str dest, struct err **err)
{
	struct stat st;
	enum where where;
	size_t slash = str_rfind(dest, '/');
	const struct copy_dir *dir =
		dir_at(m->cp, slash == SIZE_MAX ? STR("") : str_sub(dest, 0, slash));
	struct str base = slash == SIZE_MAX ? dest : str_sub(dest, slash + 1, dest.n);
	if (str_starts(base, STR(".wh.")))
		return err_set(
			err, ERR_INVALID,
			"'/%.*s': names that begin with .wh. mean deletions in an image layer",
			STR_ARG(dest));
	if (!dest.n)
		return err_set(err, ERR_INVALID, "cannot replace to directory / with file");
	if (!dir)
		BUG("no folder for '/%.*s'", STR_ARG(dest));
	/* The names of one match differ, so in a folder that it made there is nothing to look
	 * for. */
	if (dir->fresh && dir->match && dir->match == m->cp->match)
		return 0;
	if (look(m->cp, dest.p, &st, &where, err) < 0)
		return -1;
	if (where == NOWHERE)
		return 0;
	if (S_ISDIR(st.st_mode))
		return err_set(err, ERR_INVALID, "cannot replace to directory /%.*s with file",
			       STR_ARG(dest));
	if (where == IN_FS && unlinkat(m->cp->fs_fd, dest.p, 0) < 0)
		return err_sys(err, "replace '/%.*s'", STR_ARG(dest));
	return 0;
}

/* A folder below the match's own: existing ones take the source's attributes. */
static int put_dir(struct match_copy *m, const struct tree_item *i, struct err **err)
{
	struct str dest = dest_of(m, i->e.path);
	struct attributes a = { .mode = copy_mode_of(m->cp, &i->e), .xattrs = i->e.xattrs };
	struct copy_dir *d = dir_at(m->cp, dest);
	bool fresh = d && d->fresh;
	copy_owner_of(m->cp, &i->e, &a.uid, &a.gid);
	if (str_starts(path_base(dest), STR(".wh.")))
		return err_set(
			err, ERR_INVALID,
			"'/%.*s': names that begin with .wh. mean deletions in an image layer",
			STR_ARG(dest));
	if (!d) {
		struct stat st;
		enum where where;
		if (look(m->cp, dest.p, &st, &where, err) < 0)
			return -1;
		if (where != NOWHERE && !S_ISDIR(st.st_mode))
			return err_set(err, ERR_INVALID, "cannot copy to non-directory: /%.*s",
				       STR_ARG(dest));
		fresh = where == NOWHERE;
		/* An existing one is brought up first: attributes that the source does not have
		 * stay. */
		if (bring(m->cp, dest.p, &st, where, &a, err) < 0)
			return -1;
	}
	if ((d || !fresh) && set_dir(m->cp, dest.p, &a, err) < 0)
		return -1;
	note_dir(m->cp, dest, i->e.mtime_ns, false, fresh);
	return 0;
}

/* A symlink, device or pipe: made of what the scan says. */
static int put_node(struct match_copy *m, const struct tree_item *i, struct str dest,
		    struct err **err)
{
	uid_t uid;
	gid_t gid;
	int at = m->cp->fs_fd, r;
	if (i->e.kind == 'c' && !i->e.major && !i->e.minor)
		return err_set(err, ERR_INVALID,
			       "copy '/%.*s': device 0:0 would delete a file of the layers below",
			       STR_ARG(i->source));
	if (i->e.kind == 'l')
		r = symlinkat(arena_cstr(m->a, i->e.link), at, dest.p);
	else
		r = mknodat(at, dest.p,
			    (mode_t)(i->e.kind == 'c'           ? S_IFCHR
					     : i->e.kind == 'b' ? S_IFBLK
								: S_IFIFO) |
				    0600,
			    makedev(i->e.major, i->e.minor));
	copy_owner_of(m->cp, &i->e, &uid, &gid);
	if (r < 0 || fchownat(at, dest.p, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "make '/%s'", dest.p);
	if (i->e.kind != 'l' && fchmodat(at, dest.p, copy_mode_of(m->cp, &i->e), 0) < 0)
		return err_sys(err, "set the mode of '/%s'", dest.p);
	if (i->e.xattrs.n) {
		size_t slash = str_rfind(dest, '/');
		_cleanup_free_ char *dir =
			slash == SIZE_MAX ? xstrdup(".") : xstrndup(dest.p, slash);
		_cleanup_close_ int fd = openat(at, dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return err_sys(err, "open the folder of '/%s'", dest.p);
		if (xattr_write(-1, fd, dest.p + (slash == SIZE_MAX ? 0 : slash + 1), i->e.xattrs,
				dest.p, err) < 0)
			return -1;
	}
	struct timespec ts = timespec_of(i->e.mtime_ns), both[2] = { ts, ts };
	return utimensat(at, dest.p, both, AT_SYMLINK_NOFOLLOW) < 0
		? err_sys(err, "set the time of '/%s'", dest.p)
		: 0;
}

static int put_item(struct match_copy *m, const struct tree_item *i, struct str dest,
		    struct err **err)
{
	if (make_room(m, dest, err) < 0)
		return -1;
	touch_parent(m->cp, dest);
	if (i->e.group.n)
		VEC_PUSH(&m->links, ((struct copy_job){ i, dest }));
	else if (i->e.kind == 'f')
		VEC_PUSH(&m->jobs, ((struct copy_job){ i, dest }));
	else
		return put_node(m, i, dest, err);
	return 0;
}

static int finish_items(struct match_copy *m, struct err **err)
{
	if (copy_files(m->cp, m->t, m->jobs.v, m->jobs.n, err) < 0)
		return -1;
	for (size_t k = 0; k < m->links.n; k++) {
		const struct copy_job *l = &m->links.v[k];
		struct str first = dest_of(m, l->item->e.group);
		if (linkat(m->cp->fs_fd, first.p, m->cp->fs_fd, l->dest.p, 0) < 0)
			return err_sys(err, "link '/%s' to '/%s'", l->dest.p, first.p);
	}
	return 0;
}

/* A folder's content into the folder `target`. Its time becomes the source's in the end, whatever
 * was put into it. */
static int copy_folder(struct match_copy *m, const struct tree_item *v, size_t n, struct err **err)
{
	struct stat st;
	enum where where;
	if (look(m->cp, m->target.p, &st, &where, err) < 0)
		return -1;
	if (where != NOWHERE && !S_ISDIR(st.st_mode))
		return err_set(err, ERR_INVALID, "cannot copy to non-directory: /%.*s",
			       STR_ARG(m->target));
	if (ensure_dir(m->cp, m->target.p, err) < 0)
		return -1;
	for (size_t i = 1; i < n; i++) {
		int r = v[i].e.kind == 'd' ? put_dir(m, &v[i], err)
					   : put_item(m, &v[i], dest_of(m, v[i].e.path), err);
		if (r < 0)
			return -1;
	}
	if (finish_items(m, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct copy_dir *d =
			v[i].e.kind == 'd' ? dir_at(m->cp, dest_of(m, v[i].e.path)) : NULL;
		if (d) {
			d->mtime_ns = v[i].e.mtime_ns;
			d->mark = false;
		}
	}
	return 0;
}

/* ---- sources and destination */

static bool wants_folder(struct str dest)
{
	return str_ends(dest, STR("/")) || str_ends(dest, STR("/.")) || str_eq_c(dest, ".") ||
		str_eq_c(dest, "..") || str_ends(dest, STR("/.."));
}

/* The folder that has to be there before anything is looked at: dest itself with a trailing slash,
 * else what it is in. */
static int ensure_dest(struct copy *cp, struct str dest, struct err **err)
{
	_cleanup_(sb_releasep) struct sb path = { 0 };
	if (!wants_folder(dest)) {
		size_t slash = str_rfind(dest, '/');
		dest = slash == SIZE_MAX ? STR("") : str_sub(dest, 0, slash);
	}
	if (resolve(cp, dest, &path, err) < 0)
		return -1;
	return ensure_dir(cp, sb_c(&path), err);
}

/* Where a file lands: in dest under its name where dest is a folder, else at dest itself. Its
 * folder is there afterwards. */
static int file_target(struct copy *cp, struct str dest, struct str name, struct sb *out,
		       struct err **err)
{
	struct stat st;
	enum where where;
	if (ensure_dest(cp, dest, err) < 0 || resolve(cp, dest, out, err) < 0 ||
	    look(cp, sb_c(out), &st, &where, err) < 0)
		return -1;
	if (where != NOWHERE && S_ISDIR(st.st_mode)) {
		/* A heredoc's delimiter may be any word; as with sources its last component
		 * counts. */
		name = path_base(name);
		if (str_eq_c(name, ".") || str_eq_c(name, "..") || str_eq_c(name, "/"))
			return err_set(err, ERR_INVALID, "'%.*s' is no file name", STR_ARG(name));
		append(out, name);
	}
	/* A symlink as dest may lead anywhere. */
	_cleanup_(sb_releasep) struct sb dir = { 0 };
	sb_add_str(&dir, sb_str(out));
	up(&dir);
	return ensure_dir(cp, sb_c(&dir), err);
}

/* ADD: whether a file is an archive, by its content. */
static int refuse_archive(struct tree *t, const struct tree_item *i, struct err **err)
{
	int fd = i->e.kind == 'f' && i->e.size
		? path_open_beneath(cache_tree_fd(t), i->source.p, O_RDONLY)
		: -1;
	if (fd < 0)
		return 0; /* what is wrong with it is said when it is copied */
	_cleanup_(err_dropp) struct err *e = NULL;
	struct source *s = zip_source(io_source_fd(fd, true, i->source.p), NULL, &e);
	char head[512];
	size_t n = 0;
	bool archive =
		!s && e->code == ERR_UNSUPPORTED; /* bzip2, xz: what is in it can't be seen yet */
	while (s && n < sizeof(head)) {
		ssize_t k = io_read(s, head + n, sizeof(head) - n);
		if (k <= 0)
			break;
		n += (size_t)k;
	}
	if (s && io_source_close(s, &e) < 0)
		err_drop(&e);
	if (archive || tar_detect(head, n))
		return err_set(err, ERR_UNSUPPORTED,
			       "not supported yet: ADD of an archive that unpacks ('%.*s')",
			       STR_ARG(i->source));
	return 0;
}

static int copy_match(struct copy *cp, const struct copy_spec *s, struct tree *t,
		      const struct match *match, const struct tree_item *v, size_t n,
		      struct err **err)
{
	_cleanup_(sb_releasep) struct sb target = { 0 };
	struct match_copy m = { .cp = cp, .t = t, .a = arena_new() };
	int r;
	cp->match++;
	if (match->is_dir) {
		r = ensure_dest(cp, s->dest, err);
		if (!r)
			r = resolve(cp, s->dest, &target, err);
		m.target = arena_str(m.a, sb_str(&target));
		if (!r)
			r = copy_folder(&m, v, n, err);
	} else {
		r = s->unpack ? refuse_archive(t, &v[0], err) : 0;
		if (!r)
			r = file_target(cp, s->dest, match->name, &target, err);
		if (!r)
			r = put_item(&m, &v[0], arena_str(m.a, sb_str(&target)), err);
		if (!r)
			r = finish_items(&m, err);
	}
	VEC_RELEASE(&m.jobs);
	VEC_RELEASE(&m.links);
	arena_free(m.a);
	return r;
}

static int copy_tree(struct copy *cp, const struct copy_spec *s, const struct copy_source *src,
		     struct cache *c, struct err **err)
{
	struct match *match;
	size_t n;
	if (cache_tree_matches(src->tree, c, src->selection, &match, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct tree_item *items;
		size_t n_items;
		if (cache_tree_items(src->tree, c, src->selection, &match[i], &items, &n_items,
				     err) < 0)
			return -1;
		int r = copy_match(cp, s, src->tree, &match[i], items, n_items, err);
		free(items);
		if (r < 0)
			return -1;
	}
	return 0;
}

static int copy_heredoc(struct copy *cp, const struct copy_spec *s, const struct copy_source *src,
			struct err **err)
{
	_cleanup_(sb_releasep) struct sb path = { 0 };
	struct match_copy m = { .cp = cp };

	cp->match++;
	if (file_target(cp, s->dest, src->name, &path, err) < 0)
		return -1;
	const char *dest = sb_c(&path);
	if (make_room(&m, sb_str(&path), err) < 0)
		return -1;
	touch_parent(cp, sb_str(&path));
	struct entry e = { .kind = 'f', .mode = 0644 };
	struct timespec ts = timespec_of(cp->now_ns), both[2] = { ts, ts };
	_cleanup_close_ int fd =
		openat(cp->fs_fd, dest, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || io_write_full(fd, src->content.p, src->content.n) < 0 ||
	    fchown(fd, own_attributes(cp).uid, own_attributes(cp).gid) < 0 ||
	    fchmod(fd, copy_mode_of(cp, &e)) < 0 || futimens(fd, both) < 0)
		return err_sys(err, "write '/%s'", dest);
	if (cp->mark)
		cp->mark(cp->mark_arg, sb_str(&path));
	return 0;
}

int solver_copy(const struct copy_spec *s, struct cache *c, struct err **err)
{
	struct copy cp = { .parent_fd = s->parent_fd,
			   .fs_fd = s->fs_fd,
			   .now_ns = s->now_ns,
			   .mark = s->mark,
			   .mark_arg = s->mark_arg,
			   .cancel = s->cancel,
			   .has_owner = s->has_owner,
			   .uid = s->uid,
			   .gid = s->gid,
			   .mode_kind = -1,
			   .chmod = s->chmod };
	if (s->chmod.p && (cp.mode_kind = solver_copy_mode(s->chmod, &cp.mode)) < 0)
		return err_set(err, ERR_INVALID, "invalid chmod parameter: '%.*s'",
			       STR_ARG(s->chmod));
	int r = begin(&cp, err);
	for (size_t i = 0; !r && i < s->n_sources; i++)
		r = s->sources[i].tree ? copy_tree(&cp, s, &s->sources[i], c, err)
				       : copy_heredoc(&cp, s, &s->sources[i], err);
	if (!r)
		r = apply_times(&cp, err);
	release(&cp);
	return r;
}

int solver_copy_workdir(const struct copy_workdir *s, struct err **err)
{
	struct copy cp = { .parent_fd = s->parent_fd,
			   .fs_fd = s->fs_fd,
			   .now_ns = s->now_ns,
			   .mark = s->mark,
			   .mark_arg = s->mark_arg,
			   .has_owner = true,
			   .uid = s->uid,
			   .gid = s->gid,
			   .mode_kind = -1 };
	_cleanup_(sb_releasep) struct sb path = { 0 };
	int r = begin(&cp, err);
	if (!r)
		r = resolve(&cp, s->path, &path, err);
	struct stat st;
	enum where where = NOWHERE;
	if (!r)
		r = look(&cp, sb_c(&path), &st, &where, err);
	if (!r && (where == NOWHERE || !S_ISDIR(st.st_mode)))
		r = ensure_dir(&cp, sb_c(&path), err);
	if (!r)
		r = apply_times(&cp, err);
	release(&cp);
	return r;
}
