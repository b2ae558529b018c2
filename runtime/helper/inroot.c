#include "runtime/helper/inroot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"

enum { DEPTH = 256, LINKS = 40, TEXT = 2 * PATH_MAX };

/* The folders between the root and where the walk is; [0] is the root. */
struct stack {
	int fds[DEPTH];
	size_t n;
};

static void stack_cut(struct stack *s, size_t to)
{
	while (s->n > to)
		close(s->fds[--s->n]);
}

/* Puts the text of the link at `fd` before `todo`. */
static int follow(int fd, struct stack *s, char *todo)
{
	char text[PATH_MAX];
	ssize_t n = readlinkat(fd, "", text, sizeof(text));
	if (n < 0)
		return -1;
	size_t rest = strlen(todo);
	if (!n || (size_t)n + rest + 2 > TEXT) {
		errno = n ? ENAMETOOLONG : ENOENT;
		return -1;
	}
	memmove(todo + n + 1, todo, rest + 1);
	memcpy(todo, text, (size_t)n);
	todo[n] = '/';
	if (text[0] == '/')
		stack_cut(s, 1);
	return 0;
}

/* One component: 1 done, 0 it does not exist, -1 errno. *leaf gets what is no folder. */
static int step(struct stack *s, const char *name, char *todo, int *links, int *leaf)
{
	if (!strcmp(name, "."))
		return 1;
	if (!strcmp(name, "..")) {
		stack_cut(s, s->n > 1 ? s->n - 1 : 1);
		return 1;
	}
	_cleanup_close_ int fd = openat(s->fds[s->n - 1], name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -1;
	if (S_ISLNK(st.st_mode)) {
		if (++*links > LINKS) {
			errno = ELOOP;
			return -1;
		}
		return follow(fd, s, todo) < 0 ? -1 : 1;
	}
	if (!S_ISDIR(st.st_mode)) {
		*leaf = STEAL_FD(fd);
		return 1;
	}
	if (s->n == DEPTH) {
		errno = ENAMETOOLONG;
		return -1;
	}
	s->fds[s->n++] = STEAL_FD(fd);
	return 1;
}

static int walk(struct stack *s, char *todo, struct inroot *ret)
{
	int links = 0;
	for (;;) {
		char *at = todo + strspn(todo, "/");
		size_t n = strcspn(at, "/");
		if (!n)
			break;
		char name[NAME_MAX + 1];
		if (n > NAME_MAX) {
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(name, at, n);
		name[n] = 0;
		char *missing = xstrdup(at);
		memmove(todo, at + n, strlen(at + n) + 1);
		_cleanup_close_ int leaf = -1;
		int r = step(s, name, todo, &links, &leaf);
		if (r)
			free(missing);
		if (r < 0)
			return -1;
		if (!r) {
			*ret = (struct inroot){ .fd = s->fds[--s->n], .rest = missing };
			return 0;
		}
		if (leaf < 0)
			continue;
		if (todo[strspn(todo, "/")]) {
			errno = ENOTDIR;
			return -1;
		}
		*ret = (struct inroot){ .fd = STEAL_FD(leaf), .rest = xstrdup("") };
		return 0;
	}
	*ret = (struct inroot){ .fd = s->fds[--s->n], .rest = xstrdup("") };
	return 0;
}

int inroot_walk(int root, const char *path, struct inroot *ret)
{
	if (strlen(path) >= PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	_cleanup_free_ char *todo = xmalloc(TEXT + 1);
	memcpy(todo, path, strlen(path) + 1);
	struct stack s = { .n = 1 };
	s.fds[0] = openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s.fds[0] < 0)
		return -1;
	int r = walk(&s, todo, ret);
	int saved = errno;
	stack_cut(&s, 0);
	errno = saved;
	return r;
}

void inroot_release(struct inroot *w)
{
	mem_closep(&w->fd);
	free(w->rest);
	w->rest = NULL;
}

/* Makes the first missing component. */
static int make_one(const struct inroot *w, bool folder, mode_t mode)
{
	size_t n = strcspn(w->rest, "/");
	char name[NAME_MAX + 1];
	if (n > NAME_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(name, w->rest, n);
	name[n] = 0;
	bool last = !w->rest[n + strspn(w->rest + n, "/")];
	if (!last || folder)
		return mkdirat(w->fd, name, last ? mode : 0755);
	_cleanup_close_ int fd =
		openat(w->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	return fd < 0 ? -1 : 0;
}

int inroot_make(int root, const char *path, bool folder, mode_t mode)
{
	/* Each round makes one component, or finds that somebody else did. */
	for (int round = 0; round < 2 * DEPTH; round++) {
		struct inroot w;
		if (inroot_walk(root, path, &w) < 0)
			return -1;
		if (!*w.rest) {
			free(w.rest);
			return w.fd;
		}
		int r = make_one(&w, folder, mode);
		int saved = errno;
		inroot_release(&w);
		errno = saved;
		if (r < 0 && errno != EEXIST)
			return -1;
	}
	errno = ELOOP;
	return -1;
}
