#include "runtime/stubs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/vec.h"
#include "runtime/helper/inroot.h"

/* What was missing below one folder. */
struct made {
	int parent; /* O_PATH */
	char *rest;
	struct timespec before, after; /* mtime of the parent around the making */
};

struct runtime_stubs {
	VEC(struct made) made;
};

static struct timespec mtime(int fd)
{
	struct stat st = { 0 };
	return fstat(fd, &st) < 0 ? (struct timespec){ 0 } : st.st_mtim;
}

static bool same(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static int make(struct runtime_stubs *s, int root_fd, const struct runtime_stub *t,
		struct err **err)
{
	struct inroot w;
	if (inroot_walk(root_fd, t->target, &w) < 0)
		return err_sys(err, "find '%s' in the root", t->target);
	if (!*w.rest) {
		inroot_release(&w);
		return 0;
	}
	struct made *m = VEC_ADD(&s->made);
	*m = (struct made){ .parent = w.fd, .rest = w.rest, .before = mtime(w.fd) };
	_cleanup_close_ int fd = inroot_make(root_fd, t->target, t->folder, t->mode);
	if (fd < 0)
		return err_sys(err, "make '%s' in the root", t->target);
	m->after = mtime(m->parent);
	return 0;
}

struct runtime_stubs *runtime_stubs_make(int root_fd, const struct runtime_stub *v, size_t n,
					 struct err **err)
{
	struct runtime_stubs *s = xcalloc(1, sizeof(*s));
	for (size_t i = 0; i < n; i++)
		if (make(s, root_fd, &v[i], err) < 0) {
			runtime_stubs_remove(s);
			return NULL;
		}
	return s;
}

static bool remove_leaf(int dir, const char *name)
{
	struct stat st;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	if (S_ISDIR(st.st_mode))
		return !unlinkat(dir, name, AT_REMOVEDIR);
	return S_ISREG(st.st_mode) && !st.st_size && !unlinkat(dir, name, 0);
}

/* The components of `rest` from the last to the first; no link that the step put in their place
 * is followed. */
static bool remove_rest(int dir, const char *rest)
{
	char name[NAME_MAX + 1];
	size_t n = strcspn(rest, "/");
	if (!n || n > NAME_MAX)
		return false;
	memcpy(name, rest, n);
	name[n] = 0;
	rest += n + strspn(rest + n, "/");
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	if (*rest) {
		_cleanup_close_ int fd =
			openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 || !remove_rest(fd, rest))
			return false;
	}
	return remove_leaf(dir, name);
}

void runtime_stubs_remove(struct runtime_stubs *s)
{
	if (!s)
		return;
	for (size_t i = s->made.n; i--;) {
		struct made *m = &s->made.v[i];
		struct timespec now = mtime(m->parent);
		/* A part of it may have gone even where the whole did not. */
		remove_rest(m->parent, m->rest);
		struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
					     same(now, m->after) ? m->before : now };
		utimensat(m->parent, "", times, AT_EMPTY_PATH);
		close(m->parent);
		free(m->rest);
	}
	VEC_RELEASE(&s->made);
	free(s);
}
