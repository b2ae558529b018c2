#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#include "base/err.h"

struct str path_clean(struct arena *a, struct str p)
{
	if (!p.n)
		return STR(".");
	bool rooted = p.p[0] == '/';
	char *out = arena_alloc(a, p.n + 2);
	size_t w = 0, r = 0, dotdot = 0;
	if (rooted) {
		out[w++] = '/';
		r = dotdot = 1;
	}
	while (r < p.n) {
		size_t end = str_find(p, '/', r);
		if (end == SIZE_MAX)
			end = p.n;
		struct str c = str_sub(p, r, end);
		r = end + 1;
		if (!c.n || str_eq_c(c, "."))
			continue;
		if (str_eq_c(c, "..")) {
			if (w > dotdot) {
				w--;
				while (w > dotdot && out[w] != '/')
					w--;
			} else if (!rooted) {
				if (w > 0)
					out[w++] = '/';
				out[w++] = '.';
				out[w++] = '.';
				dotdot = w;
			}
			continue;
		}
		if ((rooted && w != 1) || (!rooted && w))
			out[w++] = '/';
		memcpy(out + w, c.p, c.n);
		w += c.n;
	}
	if (!w)
		return STR(".");
	out[w] = '\0';
	return (struct str){ out, w };
}

struct str path_join(struct arena *a, struct str x, struct str y)
{
	if (!x.n && !y.n)
		return STR("");
	if (!x.n)
		return path_clean(a, y);
	if (!y.n)
		return path_clean(a, x);
	/* Not by printf, whose %s ends at a NUL: a path with one must stay another path. */
	char *both = arena_alloc(a, x.n + 1 + y.n);
	memcpy(both, x.p, x.n);
	both[x.n] = '/';
	memcpy(both + x.n + 1, y.p, y.n);
	return path_clean(a, (struct str){ both, x.n + 1 + y.n });
}

struct str path_base(struct str p)
{
	if (!p.n)
		return STR(".");
	while (p.n && p.p[p.n - 1] == '/')
		p.n--;
	size_t i = str_rfind(p, '/');
	if (i != SIZE_MAX)
		p = str_sub(p, i + 1, p.n);
	return p.n ? p : STR("/");
}

struct str path_dir(struct arena *a, struct str p)
{
	size_t i = str_rfind(p, '/');
	return path_clean(a, i == SIZE_MAX ? STR("") : str_sub(p, 0, i + 1));
}

static int open_in(int root, const char *path, struct open_how *how)
{
	for (int tries = 0;; tries++) {
		int fd = (int)syscall(SYS_openat2, root, *path ? path : ".", how, sizeof(*how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR) || tries == 32)
			return fd;
	}
}

int path_open_in(int root, const char *path, int flags, mode_t mode)
{
	struct open_how how = { .flags = (unsigned)(flags | O_CLOEXEC),
				.mode = flags & O_CREAT ? mode : 0,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	return open_in(root, path, &how);
}

int path_open_beneath(int root, const char *path, int flags)
{
	/* openat2 refuses these two beside O_PATH. */
	if (!(flags & O_PATH))
		flags |= O_NONBLOCK | O_NOCTTY;
	struct open_how how = { .flags = (unsigned)(flags | O_CLOEXEC | O_NOFOLLOW),
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
					RESOLVE_NO_MAGICLINKS };
	return open_in(root, path, &how);
}

int path_open_in_nofollow(int root, const char *path, int flags, mode_t mode)
{
	return path_open_in(root, path, flags | O_NOFOLLOW, mode);
}
