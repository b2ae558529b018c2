/* Folders and names of containers. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/vec.h"
#include "cache/container.h"
#include "cache/db.h"
#include "cache/store.h"
#include "runtime/container/internal.h"

enum { CONFIG_MAX = 4 * 1024 * 1024, HIDDEN_GRACE_S = 60, LOOK_MS = 1000, NAME_ATTEMPTS = 20 };

static int root_of(struct cache *c)
{
	return cache_store_root_fd(cache_store_of(c));
}

void container_free(struct container *k)
{
	if (!k)
		return;
	mem_closep(&k->dir_fd);
	mem_closep(&k->lock_fd);
	json_decref(k->config);
	free(k->name);
	free(k->state.error);
	free(k->state.started);
	free(k->state.finished);
	free(k);
}

void container_freep(struct container **k)
{
	container_free(*k);
	*k = NULL;
}

const json_t *container_section(const struct container *k, const char *section)
{
	const json_t *s = json_object_get(k->config, section);
	return json_is_object(s) ? s : k->config;
}

bool container_auto_remove(const struct container *k)
{
	return json_get_bool(container_section(k, "HostConfig"), "AutoRemove");
}

int64_t container_created_ns(const struct container *k)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	int64_t ns;
	return clock_parse(json_get_str(k->config, "Created"), &ns, &e) < 0 ? 0 : ns;
}

/* ---- names */

int container_name_get(int root_fd, const char *name, char ret_id[CONTAINER_ID])
{
	_cleanup_free_ char *path = xasprintf("names/%s", name);
	ssize_t n = readlinkat(root_fd, path, ret_id, CONTAINER_ID);
	if (n < 0)
		return -1;
	if (n == CONTAINER_ID || !container_is_id((struct str){ ret_id, (size_t)n })) {
		errno = ENOENT;
		return -1;
	}
	ret_id[n] = 0;
	return 0;
}

static bool exists(int root_fd, const char *id)
{
	_cleanup_free_ char *made = xasprintf("containers/%s", id),
			    *making = xasprintf("containers/.%s", id);
	return !faccessat(root_fd, made, F_OK, AT_SYMLINK_NOFOLLOW) ||
		!faccessat(root_fd, making, F_OK, AT_SYMLINK_NOFOLLOW);
}

/* A name of a container that is gone: whoever removed it died in between. One at a time, so that nobody removes what another just took. */
static int drop_stale(int root_fd, const char *name)
{
	char id[CONTAINER_ID];
	_cleanup_close_ int dir = openat(root_fd, "names", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || flock(dir, LOCK_EX) < 0 || container_name_get(root_fd, name, id) < 0 ||
	    exists(root_fd, id))
		return -1;
	return unlinkat(dir, name, 0);
}

int container_name_take(int root_fd, const char *name, const char *id, struct err **err)
{
	char other[CONTAINER_ID];
	_cleanup_free_ char *path = xasprintf("names/%s", name);
	if (mkdirat(root_fd, "names", 0700) < 0 && errno != EEXIST)
		return err_sys(err, "make folder 'names'");
	for (int i = 0; i < 2; i++) {
		if (symlinkat(id, root_fd, path) == 0)
			return 0;
		if (errno != EEXIST)
			return err_sys(err, "take the name '%s'", name);
		if (drop_stale(root_fd, name) < 0)
			break;
	}
	if (container_name_get(root_fd, name, other) < 0)
		snprintf(other, sizeof(other), "?");
	return err_set(
		err, ERR_EXISTS,
		"Conflict. The container name \"/%s\" is already in use by container \"%s\". You have to remove (or rename) that container to be "
		"able to reuse that name.",
		name, other);
}

void container_name_drop(int root_fd, const char *name, const char *id)
{
	char is[CONTAINER_ID];
	_cleanup_free_ char *path = xasprintf("names/%s", name);
	if (container_name_get(root_fd, name, is) == 0 && !strcmp(is, id))
		unlinkat(root_fd, path, 0);
}

/* All names; the caller frees each and the array. */
static size_t all_names(int root_fd, char ***ret)
{
	VEC(char *) v = { 0 };
	int fd = openat(root_fd, "names", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.')
			VEC_PUSH(&v, xstrdup(e->d_name));
	*ret = v.v;
	return v.n;
}

static void free_names(char **v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(v[i]);
	free(v);
}

/* ---- reading */

static int read_config(struct container *k, struct err **err)
{
	_cleanup_(sb_releasep) struct sb text = { .max = CONFIG_MAX };
	if (io_read_file(k->dir_fd, "config.json", &text, err) < 0)
		return -1;
	k->config = json_parse(sb_str(&text), "config.json", err);
	return k->config ? 0 : -1;
}

struct container *container_open(struct cache *c, const char *id, struct err **err)
{
	_cleanup_free_ char *path = xasprintf("containers/%s", id);
	_cleanup_(container_freep) struct container *k = xcalloc(1, sizeof(*k));
	*k = (struct container){
		.lock_fd = -1,
		.dir_fd = openat(root_of(c), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
	};
	memcpy(k->id, id, CONTAINER_ID);
	if (k->dir_fd < 0) {
		if (errno == ENOENT)
			err_set(err, ERR_NOT_FOUND, "No such container: %s", id);
		else
			err_sys(err, "open container %.12s", id);
		return NULL;
	}
	if (read_config(k, err) < 0 || container_read_state(k, err) < 0) {
		err_wrap(err, "read container %.12s", id);
		return NULL;
	}
	return STEAL(k);
}

/* The name that means it; the one it was made with where a command died while it renamed. */
static void find_name(struct cache *c, struct container *k)
{
	char id[CONTAINER_ID], **names;
	_cleanup_free_ char *first = str_dup(json_get_str(k->config, "Name"));
	free(k->name);
	k->name = NULL;
	if (*first && container_name_get(root_of(c), first, id) == 0 && !strcmp(id, k->id)) {
		k->name = STEAL(first);
		return;
	}
	size_t n = all_names(root_of(c), &names);
	for (size_t i = 0; i < n && !k->name; i++)
		if (container_name_get(root_of(c), names[i], id) == 0 && !strcmp(id, k->id))
			k->name = xstrdup(names[i]);
	free_names(names, n);
	if (!k->name)
		k->name = STEAL(first);
}

/* The id of a unique prefix: 1, 0 for none, -1. */
static int find_prefix(int root_fd, struct str prefix, char ret[CONTAINER_ID], struct err **err)
{
	int found = 0, fd = openat(root_fd, "containers", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
	for (struct dirent *e; d && (e = readdir(d));) {
		struct str id = str_c(e->d_name);
		if (!container_is_id(id) || !str_starts(id, prefix))
			continue;
		if (found++)
			return err_set(err, ERR_INVALID,
				       "Multiple IDs found with provided prefix: %.*s",
				       STR_ARG(prefix));
		memcpy(ret, e->d_name, CONTAINER_ID);
	}
	return found;
}

/* Docker's order: whole id, name, prefix. */
static int resolve(struct cache *c, struct str text, char ret[CONTAINER_ID], struct err **err)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_free_ char *word = str_dup(text);
	const char *name = *word == '/' ? word + 1 : word;
	if (container_is_id(text) && exists(root_of(c), word)) {
		memcpy(ret, word, CONTAINER_ID);
		return 0;
	}
	if (container_name_check(str_c(name), &e) == 0 &&
	    container_name_get(root_of(c), name, ret) == 0 && exists(root_of(c), ret))
		return 0;
	int r = container_is_id_prefix(text) ? find_prefix(root_of(c), text, ret, err) : 0;
	if (r)
		return r < 0 ? -1 : 0;
	_cleanup_(sb_releasep) struct sb shown = { 0 };
	sb_add_printable(&shown, str_sub(text, 0, 128));
	return err_set(err, ERR_NOT_FOUND, "No such container: %s", sb_c(&shown));
}

struct container *container_find(struct cache *c, struct str text, struct err **err)
{
	char id[CONTAINER_ID];
	_cleanup_(container_freep) struct container *k = NULL;
	if (resolve(c, text, id, err) < 0 || !(k = container_open(c, id, err)) ||
	    container_refresh(c, k, err) < 0)
		return NULL;
	find_name(c, k);
	return STEAL(k);
}

/* ---- locks */

/* Whether the folder that was opened is still the container's. */
static bool is_there(struct cache *c, const struct container *k)
{
	struct stat a, b;
	_cleanup_free_ char *path = xasprintf("containers/%s", k->id);
	return !fstat(k->dir_fd, &a) && !fstatat(root_of(c), path, &b, AT_SYMLINK_NOFOLLOW) &&
		a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* 1: ours, 0: another's. */
static int try_lock(struct container *k, struct err **err)
{
	_cleanup_close_ int fd =
		openat(k->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(err, "open the lock of container %.12s", k->id);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? 0 : err_sys(err, "lock container %.12s", k->id);
	k->lock_fd = STEAL_FD(fd);
	return 1;
}

static int locked(struct cache *c, struct container *k, struct err **err)
{
	if (is_there(c, k))
		return container_settle(k, err) < 0 ? -1 : 1;
	mem_closep(&k->lock_fd);
	return err_set(err, ERR_NOT_FOUND, "No such container: %s", k->id);
}

int container_lock(struct cache *c, struct container *k, struct err **err)
{
	for (int waited = 0;; waited += 2) {
		int r = try_lock(k, err);
		if (r)
			return r < 0 ? -1 : locked(c, k, err);
		/* A monitor says that it runs; without one, somebody looks at it, starts it or lets go of it. */
		if (container_read_state(k, err) < 0)
			return -1;
		if (k->state.status == CONTAINER_RUNNING || waited > LOOK_MS)
			return 0;
		poll(NULL, 0, 2);
	}
}

int container_lock_wait(struct cache *c, struct container *k, int timeout_ms, struct err **err)
{
	int64_t until = clock_mono_ns() + timeout_ms * INT64_C(1000000);
	for (int wait_ms = 1;; wait_ms = wait_ms < 20 ? wait_ms * 2 : wait_ms) {
		int r = try_lock(k, err);
		if (r)
			return r < 0 || locked(c, k, err) < 0 ? -1 : 0;
		if (clock_mono_ns() > until)
			return err_set(err, ERR_TIMEOUT, "container %.12s is still running", k->id);
		poll(NULL, 0, wait_ms);
	}
}

int container_refresh(struct cache *c, struct container *k, struct err **err)
{
	if (container_read_state(k, err) < 0)
		return -1;
	bool to_remove = container_auto_remove(k) && k->state.status == CONTAINER_EXITED;
	if (k->state.status != CONTAINER_RUNNING && !to_remove)
		return 0;
	int r = try_lock(k, err);
	if (r <= 0)
		return r;
	if (locked(c, k, err) < 0)
		return -1;
	if (container_auto_remove(k) && k->state.status == CONTAINER_EXITED) {
		if (container_remove(c, k, err) < 0)
			return -1;
		return err_set(err, ERR_NOT_FOUND, "No such container: %s", k->id);
	}
	mem_closep(&k->lock_fd);
	return 0;
}

/* ---- all of them */

static int by_creation(const void *x, const void *y)
{
	const struct container *a = *(struct container *const *)x,
			       *b = *(struct container *const *)y;
	return -str_cmp(json_get_str(a->config, "Created"), json_get_str(b->config, "Created"));
}

/* One look at the folder of names instead of one for each container. */
static void name_all(struct cache *c, struct container_list *l)
{
	char id[CONTAINER_ID], **names;
	size_t n = all_names(root_of(c), &names);
	for (size_t i = 0; i < n; i++) {
		bool found = false;
		if (container_name_get(root_of(c), names[i], id) < 0)
			continue;
		for (size_t j = 0; j < l->n && !found; j++) {
			found = !memcmp(l->v[j]->id, id, CONTAINER_ID);
			if (found && !l->v[j]->name)
				l->v[j]->name = xstrdup(names[i]);
		}
		/* Of one that is gone, and whoever removed it with it. */
		if (!found && drop_stale(root_of(c), names[i]) < 0)
			continue;
	}
	free_names(names, n);
	for (size_t j = 0; j < l->n; j++)
		if (!l->v[j]->name)
			l->v[j]->name = str_dup(json_get_str(l->v[j]->config, "Name"));
}

int container_list(struct cache *c, struct container_list *ret, struct err **err)
{
	VEC(struct container *) v = { 0 };
	int fd = openat(root_of(c), "containers", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return err_sys(err, "list containers");
	for (struct dirent *e; (e = readdir(d));) {
		_cleanup_(err_dropp) struct err *one = NULL;
		if (!container_is_id(str_c(e->d_name)))
			continue;
		_cleanup_(container_freep) struct container *k = container_open(c, e->d_name, &one);
		if (k && container_refresh(c, k, &one) == 0)
			VEC_PUSH(&v, STEAL(k));
		/* One that is being removed is no longer there; one that cannot be read must not hide the others. */
		else if (one->code != ERR_NOT_FOUND && !(one->code == ERR_IO && one->sys == ENOENT))
			fprintf(stderr, "WARNING: %s\n", one->msg);
	}
	struct container_list l = { v.v, v.n };
	if (l.n)
		qsort(l.v, l.n, sizeof(struct container *), by_creation);
	name_all(c, &l);
	*ret = l;
	return 0;
}

void container_list_release(struct container_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		container_free(l->v[i]);
	free(l->v);
	*l = (struct container_list){ 0 };
}

/* ---- making and removing */

static int write_config(struct container *k, struct err **err)
{
	_cleanup_(sb_releasep) struct sb text = { .max = CONFIG_MAX };
	json_print(k->config, &text);
	return sb_check(&text, "the container's configuration", err) < 0
		? -1
		: io_replace_file(k->dir_fd, "config.json", sb_str(&text), 0600, false, err);
}

static int take_name(struct cache *c, struct container *k, const char *name, struct err **err)
{
	if (name) {
		k->name = xstrdup(name);
		return container_name_take(root_of(c), name, k->id, err);
	}
	for (unsigned i = 0;; i++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		free(k->name);
		k->name = container_name_new(i);
		if (container_name_take(root_of(c), k->name, k->id, &e) == 0)
			return 0;
		if (e->code != ERR_EXISTS || i == NAME_ATTEMPTS)
			return err_move(err, STEAL(e));
	}
}

/* The short id, or with the host's network the host's. */
static void set_hostname(struct container *k)
{
	json_t *config = json_object_get(k->config, "Config");
	char name[256] = "";
	if (json_get_str(config, "Hostname").n)
		return;
	bool host =
		str_eq_c(json_get_str(container_section(k, "HostConfig"), "NetworkMode"), "host");
	if (!host || gethostname(name, sizeof(name) - 1) < 0)
		snprintf(name, sizeof(name), "%.*s", CONTAINER_SHORT_ID, k->id);
	json_put(config, "Hostname", json_text(str_c(name)));
}

static int fill(struct cache *c, struct container *k, const char *name, struct err **err)
{
	struct digest image;
	if (take_name(c, k, name, err) < 0)
		return -1;
	if (digest_parse(json_get_str(k->config, "Image"), &image, err) < 0 ||
	    cache_container_pin(c, k->id, &image, err) < 0)
		return -1;
	json_put_str(k->config, "Id", str_c(k->id));
	json_put_str(k->config, "Name", str_c(k->name));
	set_hostname(k);
	return write_config(k, err) < 0 ||
			container_write_state(k, CONTAINER_CREATED, 0, "", err) < 0
		? -1
		: 0;
}

static void unmake(struct cache *c, struct container *k, const char *path)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	if (k->name)
		container_name_drop(root_of(c), k->name, k->id);
	if (cache_store_trash(cache_store_of(c), path, &e) < 0 ||
	    cache_container_unpin(c, k->id, &e) < 0)
		return; /* hidden, it is swept later, and its pins with it */
}

struct container *container_create(struct cache *c, const char *name, json_t *config,
				   struct err **err)
{
	_cleanup_(container_freep) struct container *k = xcalloc(1, sizeof(*k));
	*k = (struct container){ .dir_fd = -1, .lock_fd = -1, .config = config };
	if (name && container_name_check(str_c(name), err) < 0)
		return NULL;
	container_sweep_hidden(c);
	container_id_new(k->id);
	_cleanup_free_ char *hidden = xasprintf("containers/.%s", k->id),
			    *path = xasprintf("containers/%s", k->id);
	if (mkdirat(root_of(c), hidden, 0700) < 0) {
		err_sys(err, "make a container");
		return NULL;
	}
	k->dir_fd = openat(root_of(c), hidden, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int r = k->dir_fd < 0 ? err_sys(err, "open container %.12s", k->id) : try_lock(k, err);
	if (r >= 0)
		r = fill(c, k, name, err);
	if (!r && renameat(root_of(c), hidden, root_of(c), path) < 0)
		r = err_sys(err, "make container %.12s", k->id);
	if (r < 0) {
		unmake(c, k, hidden);
		return NULL;
	}
	return STEAL(k);
}

static void sweep_names(struct cache *c)
{
	char id[CONTAINER_ID], **names;
	size_t n = all_names(root_of(c), &names);
	for (size_t i = 0; i < n; i++)
		if (container_name_get(root_of(c), names[i], id) == 0 && !exists(root_of(c), id) &&
		    drop_stale(root_of(c), names[i]) < 0)
			continue;
	free_names(names, n);
}

void container_sweep_hidden(struct cache *c)
{
	bool swept = false;
	int fd = openat(root_of(c), "containers", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
	for (struct dirent *e; d && (e = readdir(d));) {
		_cleanup_(err_dropp) struct err *ignored = NULL;
		struct stat st;
		if (e->d_name[0] != '.' || !container_is_id(str_c(e->d_name + 1)) ||
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    clock_real_ns() / 1000000000 - st.st_mtime < HIDDEN_GRACE_S)
			continue;
		struct container k = { .lock_fd = -1,
				       .dir_fd = openat(dirfd(d), e->d_name,
							O_RDONLY | O_DIRECTORY | O_CLOEXEC |
								O_NOFOLLOW) };
		_cleanup_free_ char *path = xasprintf("containers/%s", e->d_name);
		memcpy(k.id, e->d_name + 1, CONTAINER_ID);
		if (k.dir_fd >= 0 && try_lock(&k, &ignored) == 1) {
			unmake(c, &k, path);
			swept = true;
		}
		mem_closep(&k.lock_fd);
		mem_closep(&k.dir_fd);
	}
	if (swept)
		sweep_names(c);
}

int container_remove(struct cache *c, struct container *k, struct err **err)
{
	_cleanup_free_ char *path = xasprintf("containers/%s", k->id);
	if (!k->name)
		find_name(c, k);
	if (cache_store_trash(cache_store_of(c), path, err) < 0)
		return -1;
	container_name_drop(root_of(c), k->name, k->id);
	mem_closep(&k->lock_fd);
	return cache_container_unpin(c, k->id, err);
}

int container_rename(struct cache *c, struct container *k, struct str name, struct err **err)
{
	_cleanup_free_ char *word = str_dup(name);
	const char *to = *word == '/' ? word + 1 : word;
	if (container_name_check(str_c(to), err) < 0)
		return -1;
	if (!strcmp(to, k->name))
		return err_set(err, ERR_INVALID,
			       "Renaming a container with the same name as its current name");
	if (flock(k->dir_fd, LOCK_EX) < 0)
		return err_sys(err, "lock container %.12s", k->id);
	find_name(c, k);
	if (container_name_take(root_of(c), to, k->id, err) < 0)
		return -1;
	container_name_drop(root_of(c), k->name, k->id);
	free(k->name);
	k->name = xstrdup(to);
	flock(k->dir_fd, LOCK_UN);
	return 0;
}
