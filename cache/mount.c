/*
 * Mounting chains of layers: cache_layer_mount() of cache/layer.h.
 *
 * Three forms, by what the kernel takes: descriptors (6.13), one string per layer (6.7), else
 * mount(2) with one string of short names in a throw-away namespace, of which a clone is kept.
 * Strings name layers through /proc/self/fd, so that neither the length nor the characters of the
 * store's path matter (a value has at most 255 characters).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "cache/layer_internal.h"

enum { LOWER_MAX = 500 };

enum form { BY_FD, BY_STRING, BY_NAMESPACE };

/* The best form that works here; found once by trying. */
static atomic_int best_form = BY_FD;

struct stack {
	struct store *store;
	const struct work *upper;
	int64_t lower[LOWER_MAX]; /* numbers of the layers, from the top */
	size_t n_lower;
	size_t n; /* lower folders: one more where an empty one stands in */
	int upper_fd, work_fd;
};

/* CBUILD_TEST_KERNEL=6.1 (or 6.7) makes newer forms unavailable. */
static enum form allowed(void)
{
	const char *v = getenv("CBUILD_TEST_KERNEL");
	unsigned a = 99, b = 0;
	if (v && sscanf(v, "%u.%u", &a, &b) >= 1) {
		if (a < 6 || (a == 6 && b < 7))
			return BY_NAMESPACE;
		if (a == 6 && b < 13)
			return BY_STRING;
	}
	return BY_FD;
}

/* Lower layer i from the top. An empty folder stands in where overlay wants a layer more than there
 * are. Opened one by one: a deep stack is no reason to run out of descriptors. */
static int open_lower(const struct stack *s, size_t i)
{
	char path[LAYER_PATH];
	if (i == s->n_lower)
		return openat(s->store->run_fd, "mnt",
			      O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	layer_path(path, s->lower[i], "fs");
	return openat(s->store->root_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/* The kernel keeps state in the work folder: it is made anew for each mount. */
static int open_work(struct stack *s, struct err **err)
{
	int root = s->store->root_fd;
	_cleanup_free_ char *path = xasprintf("%s/work", s->upper->path);
	if (io_remove_tree(root, path, err) < 0)
		return -1;
	if (mkdirat(root, path, 0700) < 0)
		return err_sys(err, "make folder '%s'", path);
	s->work_fd = openat(root, path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return s->work_fd < 0 ? err_sys(err, "open folder '%s'", path) : 0;
}

/* A layer may be in an image twice (an empty one, say), but overlay refuses that. The upper one
 * alone shows the same: whatever the lower has is in it, or hidden by it. */
static void take_chain(struct stack *s, const struct chain *chain)
{
	for (size_t i = chain->n; i-- > 0;) {
		size_t k = 0;
		while (k < s->n_lower && s->lower[k] != chain->v[i].id)
			k++;
		if (k == s->n_lower)
			s->lower[s->n_lower++] = chain->v[i].id;
	}
}

static int open_stack(struct stack *s, const struct chain *chain, struct err **err)
{
	take_chain(s, chain);
	s->n = s->n_lower;
	if (s->n < (s->upper ? 1 : 2))
		s->n++;
	if (!s->upper)
		return 0;
	s->upper_fd = s->upper->fs_fd;
	if (s->n_lower) {
		_cleanup_close_ int top = open_lower(s, 0);
		if (top < 0)
			return err_sys(err, "open layer %lld", (long long)s->lower[0]);
		if (cache_work_root(s->upper_fd, top, err) < 0)
			return -1;
	}
	return open_work(s, err);
}

/* ---- with fsopen */

static int set_layer(int fs, enum form form, const char *key, int fd)
{
	char path[40];
	if (form == BY_FD)
		return fsconfig(fs, FSCONFIG_SET_FD, key, NULL, fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return fsconfig(fs, FSCONFIG_SET_STRING, key, path, 0);
}

/* What the kernel says about a mount that failed; for the log. */
static void log_reason(int fs)
{
	char text[256];
	ssize_t n;
	while (log_on() && (n = read(fs, text, sizeof(text) - 1)) > 0)
		log_debug("overlay: %.*s", (int)n, text);
}

/* 0 with the mount, or -1 with errno. */
static int mount_new(const struct stack *s, enum form form, int *ret_fd)
{
	static const char *const options[][2] = { { "metacopy", "off" },
						  { "redirect_dir", "off" },
						  { "index", "off" },
						  { "xino", "auto" } };
	_cleanup_close_ int fs = fsopen("overlay", FSOPEN_CLOEXEC);
	if (fs < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (fsconfig(fs, FSCONFIG_SET_STRING, options[i][0], options[i][1], 0) < 0)
			return -1;
	bool bad = false;
	for (size_t i = 0; i < s->n && !bad; i++) {
		_cleanup_close_ int fd = open_lower(s, i);
		if (fd < 0)
			return -1;
		bad = set_layer(fs, form, "lowerdir+", fd) < 0;
	}
	if (!bad && s->upper)
		bad = set_layer(fs, form, "upperdir", s->upper_fd) < 0 ||
			set_layer(fs, form, "workdir", s->work_fd) < 0 ||
			(!s->upper->lasting &&
			 fsconfig(fs, FSCONFIG_SET_FLAG, "volatile", NULL, 0) < 0);
	if (bad || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) {
		int sys = errno;
		log_reason(fs);
		errno = sys;
		return -1;
	}
	int fd = fsmount(fs, FSMOUNT_CLOEXEC, s->upper ? 0 : MOUNT_ATTR_RDONLY);
	if (fd < 0)
		return -1;
	*ret_fd = fd;
	return 0;
}

/* ---- before 6.7 */

struct ns_job {
	const char *layers, *mnt; /* absolute paths */
	struct sb options;
	bool read_only;
	int fd, sys;
};

/* A thread of its own: the namespace and the working folder die with it, those of the process stay
 * as they are. */
static void *in_namespace(void *arg)
{
	struct ns_job *j = arg;
	j->fd = -1;
	/* chdir() is banned for what it does to a process; after unshare() this is the thread's
	 * own. */
	if (unshare(CLONE_NEWNS) == 0 && mount("", "/", NULL, MS_REC | MS_SLAVE, NULL) == 0 &&
	    syscall(SYS_chdir, j->layers) == 0 &&
	    mount("overlay", j->mnt, "overlay", j->read_only ? MS_RDONLY : 0, sb_c(&j->options)) ==
		    0)
		j->fd = open_tree(AT_FDCWD, j->mnt, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	j->sys = errno;
	return NULL;
}

/* The absolute path of a folder, whatever the working folder is. */
static char *path_of(int fd)
{
	char link[40], path[PATH_MAX];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof(path));
	return n > 0 && n < PATH_MAX ? xstrndup(path, (size_t)n) : xstrdup("");
}

static void ns_options(const struct stack *s, const char *mnt, struct sb *out)
{
	sb_add_c(out, "metacopy=off,redirect_dir=off,index=off,xino=auto");
	if (s->upper)
		sb_printf(out, "%s,upperdir=../%s/fs,workdir=../%s/work",
			  s->upper->lasting ? "" : ",volatile", s->upper->path, s->upper->path);
	sb_add_c(out, ",lowerdir=");
	for (size_t i = 0; i < s->n_lower; i++)
		sb_printf(out, "%lld/fs:", (long long)s->lower[i]);
	if (s->n > s->n_lower)
		sb_printf(out, "%s:", mnt);
	sb_trunc(out, out->n - 1);
}

static int mount_in_namespace(const struct stack *s, int *ret_fd)
{
	_cleanup_close_ int layers_fd =
		openat(s->store->root_fd, "layers", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int mnt_fd =
		openat(s->store->run_fd, "mnt", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (layers_fd < 0 || mnt_fd < 0)
		return -1;
	_cleanup_free_ char *layers = path_of(layers_fd), *mnt = path_of(mnt_fd);
	struct ns_job j = { .layers = layers, .mnt = mnt, .read_only = !s->upper };
	_cleanup_free_ char *empty = xasprintf("/proc/self/fd/%d", mnt_fd);
	ns_options(s, empty, &j.options);
	sigset_t all, before;
	pthread_t thread;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(&thread, NULL, in_namespace, &j);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!r)
		pthread_join(thread, NULL);
	sb_release(&j.options);
	errno = r ? r : j.sys;
	if (r || j.fd < 0)
		return -1;
	*ret_fd = j.fd;
	return 0;
}

static int mount_stack(const struct stack *s, int *ret_fd, struct err **err)
{
	int form = atomic_load_explicit(&best_form, memory_order_relaxed), least = (int)allowed();
	if (form < least)
		form = least;
	for (; form < BY_NAMESPACE; form++) {
		if (mount_new(s, (enum form)form, ret_fd) == 0) {
			if (form > least)
				atomic_store_explicit(&best_form, form, memory_order_relaxed);
			return 0;
		}
		/* EINVAL, EBADF: the kernel does not know this form (or not this stack, which the
		 * last form will say). */
		if (errno != EINVAL && errno != EBADF && errno != ENOSYS)
			return err_sys(err, "mount overlay");
	}
	if (mount_in_namespace(s, ret_fd) < 0)
		return err_sys(err, "mount overlay");
	return 0;
}

int cache_layer_mount(struct cache *c, const struct chain *chain, const struct work *upper,
		      int *ret_fd, struct err **err)
{
	if (chain->n > LOWER_MAX)
		return err_set(err, ERR_LIMIT, "%zu layers are more than the %d that overlay takes",
			       chain->n, LOWER_MAX);
	if (!chain->n && !upper) {
		int fd = open_tree(c->store->run_fd, "mnt", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
		if (fd < 0)
			return err_sys(err, "mount an empty folder");
		*ret_fd = fd;
		return 0;
	}
	struct stack s = { .store = c->store, .upper = upper, .upper_fd = -1, .work_fd = -1 };
	int r = open_stack(&s, chain, err);
	if (!r)
		r = mount_stack(&s, ret_fd, err);
	if (s.work_fd >= 0)
		close(s.work_fd);
	return r < 0 ? err_wrap(err, "mount %zu layer%s", chain->n, chain->n == 1 ? "" : "s") : 0;
}
