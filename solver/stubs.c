#include "solver/stubs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/err.h"
#include "base/path.h"

struct stub {
	char *path;            /* target without leading slash */
	size_t keep;           /* length of its nearest parent that was there; 0: the root */
	struct stat parent;    /* of that parent, before */
};

void stubs_init(struct stubs *s)
{
	*s = (struct stubs){ 0 };
}

void stubs_release(struct stubs *s)
{
	for (size_t i = 0; i < s->list.n; i++) {
		free(s->list.v[i]->path);
		free(s->list.v[i]);
	}
	VEC_RELEASE(&s->list);
}

static bool exists(int root, const char *path, struct stat *st)
{
	_cleanup_close_ int fd = path_open_in_nofollow(root, path, O_PATH, 0);
	return fd >= 0 && !fstat(fd, st);
}

int stubs_note(struct stubs *s, int root, const struct runtime_mount *m, size_t n, struct err **err)
{
	for (size_t i = 0; i < n; i++) {
		const char *target = m[i].target + strspn(m[i].target, "/");
		struct stat st;
		/* Below /dev, /proc and /sys the container has file systems of its own. */
		if (!strncmp(target, "dev/", 4) || !strncmp(target, "proc/", 5) || !strncmp(target, "sys/", 4) || exists(root, target, &st))
			continue;
		struct stub *stub = xcalloc(1, sizeof(*stub));
		stub->path = xstrdup(target);
		stub->keep = strlen(target);
		VEC_PUSH(&s->list, stub);
		for (bool found = false; !found;) {
			char *slash = memrchr(stub->path, '/', stub->keep);
			stub->keep = slash ? (size_t)(slash - stub->path) : 0;
			_cleanup_free_ char *parent = xstrndup(stub->path, stub->keep);
			found = exists(root, stub->keep ? parent : ".", &stub->parent);
			if (!found && !stub->keep)
				return err_sys(err, "look at the root of a step");
		}
	}
	return 0;
}

/* Opens the folder that holds `path` in the upper; *ret_base is the last component. The process may have put symlinks anywhere: they are
 * resolved inside the upper. */
static int open_parent(int fs, const char *path, const char **ret_base)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent = slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(".");
	*ret_base = slash ? slash + 1 : path;
	return path_open_in(fs, parent, O_PATH | O_DIRECTORY, 0);
}

/* Unlinks what is at path in the upper when it is empty: a file of size 0, a folder without entries. */
static bool drop_empty(int fs, const char *path)
{
	struct stat st;
	const char *base;
	_cleanup_close_ int dir = open_parent(fs, path, &base);
	if (dir < 0 || fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	if (S_ISDIR(st.st_mode))
		return unlinkat(dir, base, AT_REMOVEDIR) == 0;
	return S_ISREG(st.st_mode) && !st.st_size && unlinkat(dir, base, 0) == 0;
}

/* The folder that was there before: its times as they were, and out of the upper when nothing else changed in it. */
static int restore_parent(int fs, const struct stub *stub, struct err **err)
{
	struct stat st;
	char opaque[4];
	if (!stub->keep)
		return 0;
	_cleanup_free_ char *path = xstrndup(stub->path, stub->keep);
	const char *base;
	_cleanup_close_ int dir = open_parent(fs, path, &base);
	_cleanup_close_ int fd = dir < 0 ? -1 : openat(dir, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return 0;
	struct timespec times[2] = { stub->parent.st_atim, stub->parent.st_mtim };
	if (futimens(fd, times) < 0)
		return err_sys(err, "restore the times of '%s'", path);
	bool is_opaque = fgetxattr(fd, "trusted.overlay.opaque", opaque, sizeof(opaque)) > 0;
	if (!is_opaque && st.st_mode == stub->parent.st_mode && st.st_uid == stub->parent.st_uid && st.st_gid == stub->parent.st_gid)
		unlinkat(dir, base, AT_REMOVEDIR);   /* not empty: it stays */
	return 0;
}

int stubs_remove(struct stubs *s, int fs, struct err **err)
{
	for (size_t i = s->list.n; i-- > 0;) {
		struct stub *stub = s->list.v[i];
		_cleanup_free_ char *path = xstrdup(stub->path);
		bool gone = drop_empty(fs, path);
		for (char *slash; gone && (slash = strrchr(path, '/')) && (size_t)(slash - path) > stub->keep;) {
			*slash = '\0';
			gone = drop_empty(fs, path);
		}
		if (gone && restore_parent(fs, stub, err) < 0)
			return -1;
	}
	return 0;
}
