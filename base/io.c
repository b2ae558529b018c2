#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

ssize_t io_read_full(int fd, void *p, size_t n)
{
	size_t done = 0;
	while (done < n) {
		ssize_t k = read(fd, (char *)p + done, n - done);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -1;
		if (!k)
			break;
		done += (size_t)k;
	}
	return (ssize_t)done;
}

int io_write_full(int fd, const void *p, size_t n)
{
	while (n) {
		ssize_t k = write(fd, p, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -1;
		p = (const char *)p + k;
		n -= (size_t)k;
	}
	return 0;
}

int io_read_fd(int fd, const char *what, struct sb *b, struct err **err)
{
	for (;;) {
		size_t want = 64 * 1024;
		if (b->max && b->max - b->n < want)
			want = b->max - b->n;
		/* At the bound one byte more is read, to tell a full buffer from an end. */
		char one, *at = want ? sb_reserve(b, want) : &one;
		ssize_t k = read(fd, at, want ? want : 1);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return err_sys(err, "read '%s'", what);
		if (!k)
			break;
		if (!want)
			return err_set(err, ERR_LIMIT, "read '%s': it is larger than %zu bytes",
				       what, b->max);
		b->n += (size_t)k;
	}
	sb_add(b, "", 0);
	return 0;
}

int io_read_file(int dirfd, const char *path, struct sb *b, struct err **err)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return err_sys(err, "open '%s'", path);
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat '%s'", path);
	if (S_ISDIR(st.st_mode))
		return err_set(err, ERR_INVALID, "read '%s': it is a directory", path);
	return io_read_fd(fd, path, b, err);
}

static int sync_parent(int dirfd, const char *path, struct err **err)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir =
		slash ? xstrndup(path, slash == path ? 1 : (size_t)(slash - path)) : xstrdup(".");
	_cleanup_close_ int fd = openat(dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_sys(err, "sync folder '%s'", dir);
	return 0;
}

int io_replace_file(int dirfd, const char *path, struct str data, mode_t mode, bool durable,
		    struct err **err)
{
	static unsigned counter;
	_cleanup_free_ char *tmp = xasprintf("%s.tmp.%d.%u", path, (int)getpid(),
					     __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED));
	_cleanup_close_ int fd =
		openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(err, "create '%s'", tmp);
	if (io_write_full(fd, data.p, data.n) < 0 || fchmod(fd, mode) < 0 ||
	    (durable && fdatasync(fd) < 0)) {
		err_sys(err, "write '%s'", tmp);
		unlinkat(dirfd, tmp, 0);
		return -1;
	}
	if (renameat(dirfd, tmp, dirfd, path) < 0) {
		err_sys(err, "rename '%s' to '%s'", tmp, path);
		unlinkat(dirfd, tmp, 0);
		return -1;
	}
	return durable ? sync_parent(dirfd, path, err) : 0;
}

int io_mkdirs(int dirfd, const char *path, mode_t mode, struct err **err)
{
	_cleanup_free_ char *p = xstrdup(path);
	for (char *s = p; *s;) {
		s += strspn(s, "/");
		s += strcspn(s, "/");
		char keep = *s;
		*s = '\0';
		if (*p && mkdirat(dirfd, p, mode) < 0 && errno != EEXIST)
			return err_sys(err, "make folder '%s'", p);
		*s = keep;
	}
	return 0;
}

/* A removal while it runs. Folders deeper than REMOVE_DEPTH are moved up to the top, to be met
 * again there: a tree of any depth takes a bounded number of descriptors. */
enum { REMOVE_DEPTH = 64 };

struct removal {
	dev_t dev; /* nothing on other devices is touched */
	int top;
	unsigned long moved; /* folders moved to the top so far: their names there */
};

static int move_up(struct removal *r, int at, const char *name, struct err **err)
{
	char buf[32];
	do {
		snprintf(buf, sizeof(buf), ".removed.%lu", r->moved++);
		if (renameat2(at, name, r->top, buf, RENAME_NOREPLACE) == 0 || errno == ENOENT)
			return 0;
	} while (errno == EEXIST);
	return err_sys(err, "move folder '%s' up", name);
}

/* Removes what is in the folder fd; closes fd. */
static int remove_content(struct removal *r, int fd, unsigned depth, struct err **err)
{
	_cleanup_closedir_ DIR *d = fdopendir(fd);
	if (!d) {
		close(fd);
		return err_sys(err, "read folder");
	}
	for (;;) {
		errno = 0;
		struct dirent *e = readdir(d);
		if (!e)
			return errno ? err_sys(err, "read folder") : 0;
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (e->d_type != DT_DIR &&
		    (unlinkat(dirfd(d), e->d_name, 0) == 0 || errno == ENOENT))
			continue;
		if (e->d_type != DT_DIR && errno != EISDIR && errno != EPERM)
			return err_sys(err, "remove '%s'", e->d_name);
		_cleanup_close_ int sub = openat(dirfd(d), e->d_name,
						 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		struct stat st;
		if (sub < 0 && errno == ENOENT)
			continue;
		if (sub < 0 || fstat(sub, &st) < 0)
			return err_sys(err, "open folder '%s'", e->d_name);
		if (st.st_dev != r->dev)
			return err_set(err, ERR_DENIED,
				       "remove '%s': another file system is mounted there",
				       e->d_name);
		if (depth == REMOVE_DEPTH) {
			if (move_up(r, dirfd(d), e->d_name, err) < 0)
				return -1;
			continue;
		}
		if (remove_content(r, STEAL_FD(sub), depth + 1, err) < 0)
			return err_wrap(err, "%s", e->d_name);
		if (unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			return err_sys(err, "remove folder '%s'", e->d_name);
	}
}

int io_remove_tree(int dirfd, const char *path, struct err **err)
{
	if (unlinkat(dirfd, path, 0) == 0 || errno == ENOENT)
		return 0;
	_cleanup_close_ int top =
		openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	if (top < 0 || fstat(top, &st) < 0)
		return err_sys(err, "remove '%s'", path);
	struct removal r = { .dev = st.st_dev, .top = top };
	for (unsigned long moved = 0;; moved = r.moved) {
		int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return err_sys(err, "remove '%s'", path);
		if (remove_content(&r, fd, 1, err) < 0)
			return err_wrap(err, "remove '%s'", path);
		if (unlinkat(dirfd, path, AT_REMOVEDIR) == 0 || errno == ENOENT)
			return 0;
		/* Moved ones may have been put where this pass had been already. */
		if (errno != ENOTEMPTY || r.moved == moved)
			return err_sys(err, "remove folder '%s'", path);
	}
}

ssize_t io_read(struct source *s, void *p, size_t n)
{
	return s->err ? -1 : s->read(s, p, n);
}

int io_write(struct sink *s, const void *p, size_t n)
{
	if (s->err)
		return -1;
	return n ? s->write(s, p, n) : 0;
}

int io_source_close(struct source *s, struct err **err)
{
	if (!s)
		return 0;
	struct err *e = s->err;
	s->close(s);
	return e ? err_move(err, e) : 0;
}

int io_sink_close(struct sink *s, bool commit, struct err **err)
{
	if (!s)
		return 0;
	if (commit && !s->err && s->finish && s->finish(s) < 0 && !s->err)
		BUG("a sink failed without an error");
	struct err *e = s->err;
	s->close(s);
	if (e && commit)
		return err_move(err, e);
	err_drop(&e);
	return 0;
}

struct fd_stream {
	union {
		struct source source;
		struct sink sink;
	};
	int fd;
	bool own;
	char *what;
};

static ssize_t fd_read(struct source *s, void *p, size_t n)
{
	struct fd_stream *f = (struct fd_stream *)s;
	for (;;) {
		ssize_t k = read(f->fd, p, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return err_sys(&s->err, "read '%s'", f->what);
		return k;
	}
}

static int fd_write(struct sink *s, const void *p, size_t n)
{
	struct fd_stream *f = (struct fd_stream *)s;
	if (io_write_full(f->fd, p, n) < 0)
		return err_sys(&s->err, "write '%s'", f->what);
	return 0;
}

static void fd_free(struct fd_stream *f)
{
	if (f->own)
		close(f->fd);
	free(f->what);
	free(f);
}

static void fd_source_close(struct source *s)
{
	fd_free((struct fd_stream *)s);
}

static void fd_sink_close(struct sink *s)
{
	fd_free((struct fd_stream *)s);
}

static struct fd_stream *fd_stream(int fd, bool own, const char *what)
{
	struct fd_stream *f = xcalloc(1, sizeof(*f));
	f->fd = fd;
	f->own = own;
	f->what = xstrdup(what);
	return f;
}

struct source *io_source_fd(int fd, bool own, const char *what)
{
	struct fd_stream *f = fd_stream(fd, own, what);
	f->source = (struct source){ .read = fd_read, .close = fd_source_close };
	return &f->source;
}

struct sink *io_sink_fd(int fd, bool own, const char *what)
{
	struct fd_stream *f = fd_stream(fd, own, what);
	f->sink = (struct sink){ .write = fd_write, .close = fd_sink_close };
	return &f->sink;
}

struct mem_source {
	struct source source;
	struct str left;
};

static ssize_t mem_read(struct source *s, void *p, size_t n)
{
	struct mem_source *m = (struct mem_source *)s;
	if (n > m->left.n)
		n = m->left.n;
	if (n)
		memcpy(p, m->left.p, n);
	m->left = str_sub(m->left, n, m->left.n);
	return (ssize_t)n;
}

static void mem_close(struct source *s)
{
	free(s);
}

struct source *io_source_mem(struct str data)
{
	struct mem_source *m = xcalloc(1, sizeof(*m));
	m->source = (struct source){ .read = mem_read, .close = mem_close };
	m->left = data;
	return &m->source;
}

int io_copy(struct source *from, struct sink *to, uint64_t max, uint64_t *ret_n, struct err **err)
{
	enum { SIZE = 256 * 1024 };
	_cleanup_free_ char *buf = xmalloc(SIZE);
	uint64_t total = 0;
	for (;;) {
		ssize_t k = io_read(from, buf, SIZE);
		if (k < 0)
			return err_move(err, STEAL(from->err));
		if (!k)
			break;
		total += (uint64_t)k;
		if (total > max)
			return err_set(err, ERR_LIMIT, "more than %llu bytes",
				       (unsigned long long)max);
		if (io_write(to, buf, (size_t)k) < 0)
			return err_move(err, STEAL(to->err));
	}
	*ret_n = total;
	return 0;
}
