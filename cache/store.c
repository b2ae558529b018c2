#include "cache/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/vec.h"
#include "cache/db.h"
#include "cache/internal.h"
#include "cache/schema.h"

enum { PATIENCE_MS = 10 * 1000, WAL_WORTH_BYTES = 256 * 1024 };

static const char *const folders[] = { "blobs/sha256", "layers", "tmp/partial", "trash",
				       "containers",   "locks",  "leases",      "logs" };

/* ---- small things */

static void random_hex(char text[LEASE_TEXT])
{
	uint64_t v;
	if (getrandom(&v, sizeof(v), 0) != sizeof(v))
		BUG("getrandom failed");
	snprintf(text, LEASE_TEXT, "%016llx", (unsigned long long)v);
}

void store_warn(struct store *s, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	_cleanup_free_ char *text = NULL;
	if (vasprintf(&text, fmt, ap) < 0)
		mem_fail();
	va_end(ap);
	if (s->warn)
		s->warn(s->warn_arg, text);
	else
		log_debug("%s", text);
}

void store_dirty(struct store *s)
{
	atomic_store(&s->dirty, true);
}

void store_note_held(struct store *s, struct str key)
{
	pthread_mutex_lock(&s->state);
	map_put(&s->held, key, s);
	pthread_mutex_unlock(&s->state);
}

bool store_is_held(struct store *s, struct str key)
{
	pthread_mutex_lock(&s->state);
	bool is = map_has(&s->held, key);
	pthread_mutex_unlock(&s->state);
	return is;
}

void store_note_pinned(struct store *s, int64_t layer)
{
	store_note_held(s, (struct str){ (const char *)&layer, sizeof(layer) });
}

char **store_list_at(int at, const char *path)
{
	VEC(char *) names = { 0 };
	int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		mem_closep(&fd);
		return NULL;
	}
	for (struct dirent *e; (e = readdir(d));)
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			VEC_PUSH(&names, xstrdup(e->d_name));
	VEC_PUSH(&names, NULL);
	return names.v;
}

char **store_list(struct store *s, const char *path)
{
	return store_list_at(s->root_fd, path);
}

void store_list_freep(char ***names)
{
	for (char **n = *names; n && *n; n++)
		free(*n);
	free(*names);
}

int store_flock(struct store *s, int fd, int op, struct err **err)
{
	int64_t end = clock_mono_ns() + s->patience_ms * INT64_C(1000000);
	while (flock(fd, op | LOCK_NB) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK)
			return err_sys(err, "lock store '%s'", s->root);
		if (atomic_load(&s->canceled))
			return err_set(err, ERR_CANCELED, "lock store '%s': canceled", s->root);
		if (clock_mono_ns() > end)
			return err_set(
				err, ERR_TIMEOUT,
				op == LOCK_EX
					? "lock store '%s': other commands are using it"
					: "lock store '%s': another command makes or repairs it",
				s->root);
		struct timespec t = { 0, 20 * 1000 * 1000 };
		nanosleep(&t, NULL);
	}
	return 0;
}

/* ---- opening */

const char *store_refused_fs(long f_type)
{
	/* SQLite's log lives in shared memory and our locks die with their holder: neither holds across machines. */
	static const struct {
		long type;
		const char *name;
	} table[] = {
		{ NFS_SUPER_MAGIC, "NFS" }, { SMB_SUPER_MAGIC, "SMB" },
		{ 0xff534d42, "CIFS" },     { 0xfe534d42, "SMB2" },
		{ V9FS_MAGIC, "9p" },       { AFS_SUPER_MAGIC, "AFS" },
		{ 0x6b414653, "AFS" },      { CODA_SUPER_MAGIC, "Coda" },
		{ NCP_SUPER_MAGIC, "NCP" }, { 0x00c36400, "Ceph" },
		{ 0x0bd00bd0, "Lustre" },   { 0x47504653, "GPFS" },
		{ 0x7461636f, "OCFS2" },    { 0x01161970, "GFS2" },
		{ 0x19830326, "BeeGFS" },   { 0x0bd00bd1, "Lustre" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if ((f_type & 0xffffffff) == table[i].type)
			return table[i].name;
	return NULL;
}

/* Opens a folder of ours, made when missing: nobody else's, since root would follow whatever its owner puts there. */
static int open_folder(const char *path, int *ret_fd, struct err **err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		if (io_mkdirs(AT_FDCWD, path, 0700, err) < 0)
			return -1;
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "open folder '%s'", path);
	if (st.st_uid != geteuid())
		return err_set(err, ERR_DENIED, "open folder '%s': it belongs to user %u", path,
			       st.st_uid);
	if (st.st_mode & S_IWOTH)
		return err_set(err, ERR_DENIED, "open folder '%s': everybody may write to it",
			       path);
	*ret_fd = STEAL_FD(fd);
	return 0;
}

static int open_folders(struct store *s, struct err **err)
{
	struct statfs fs;
	if (open_folder(s->root, &s->root_fd, err) < 0)
		return err_wrap(err, "open the store");
	if (fstatfs(s->root_fd, &fs) < 0)
		return err_sys(err, "open store '%s'", s->root);
	const char *refused = store_refused_fs((long)fs.f_type);
	if (refused) {
		err_set(err, ERR_UNSUPPORTED,
			"open store '%s': it is on %s, which several machines share", s->root,
			refused);
		return err_hint(err, "choose a folder on a local disk with --root or CBUILD_ROOT");
	}
	if (open_folder(s->run, &s->run_fd, err) < 0)
		return err_wrap(err, "open the run folder");
	if (io_mkdirs(s->run_fd, "mnt", 0700, err) < 0 ||
	    io_mkdirs(s->run_fd, "steps", 0700, err) < 0)
		return err_wrap(err, "'%s'", s->run);
	return 0;
}

static int read_boot(struct store *s, struct err **err)
{
	_cleanup_(sb_releasep) struct sb b;
	sb_init(&b, 64);
	if (io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &b, err) < 0)
		return -1;
	struct str id = str_trim(sb_str(&b), "\n");
	snprintf(s->boot, sizeof(s->boot), "%.*s", STR_ARG(id));
	return 0;
}

/* What must not be there when index.db is not: a store that lost it would be filled with strangers. */
static int check_empty(struct store *s, struct err **err)
{
	static const char *const full[] = { "layers", "blobs/sha256" };
	for (size_t i = 0; i < ARRAY_SIZE(full); i++) {
		_cleanup_(store_list_freep) char **names = store_list(s, full[i]);
		if (!names || !names[0])
			continue;
		err_set(err, ERR_INTEGRITY,
			"open store '%s': index.db is gone but %s/ is not empty", s->root, full[i]);
		return err_hint(err, "bring index.db back, or remove the folder to begin anew");
	}
	return 0;
}

static int make_secret(struct store *s, struct err **err)
{
	char key[32];
	struct stat st;
	if (fstatat(s->root_fd, "hmac.key", &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	if (getrandom(key, sizeof(key), 0) != sizeof(key))
		return err_sys(err, "make '%s/hmac.key'", s->root);
	return io_replace_file(s->root_fd, "hmac.key", (struct str){ key, sizeof(key) }, 0600, true,
			       err);
}

/* Makes what is missing of a new store; the lock is held exclusively. */
static int make_store(struct store *s, struct cache *c, struct err **err)
{
	struct stat st;
	if (fstatat(s->root_fd, "index.db", &st, 0) < 0 && check_empty(s, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		if (io_mkdirs(s->root_fd, folders[i], 0700, err) < 0)
			return err_wrap(err, "make store '%s'", s->root);
	if (make_secret(s, err) < 0)
		return -1;
	if (getrandom(s->uuid, sizeof(s->uuid), 0) != sizeof(s->uuid))
		return err_sys(err, "make store '%s'", s->root);
	return db_open_index(c, true, err);
}

/* Opens index.db and leaves its connection as the spare one. A store that is not complete is made under the exclusive lock. */
static int open_index(struct store *s, struct err **err)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	s->lock_fd = openat(s->root_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock_fd < 0)
		return err_sys(err, "open '%s/lock'", s->root);
	if (store_flock(s, s->lock_fd, LOCK_SH, err) < 0)
		return -1;
	_cleanup_(cache_closep) struct cache *c = db_new(s);
	if (db_open_index(c, false, &e) < 0) {
		if (e->code != ERR_NOT_FOUND)
			return err_move(err, STEAL(e));
		cache_close(c);
		c = db_new(s);
		if (store_flock(s, s->lock_fd, LOCK_EX, err) < 0 || make_store(s, c, err) < 0 ||
		    store_flock(s, s->lock_fd, LOCK_SH, err) < 0)
			return -1;
	}
	s->spare = STEAL(c);
	return 0;
}

struct store *cache_store_open(const struct store_options *o, struct err **err)
{
	struct store *s = xcalloc(1, sizeof(*s));
	s->root = xstrdup(o->root);
	s->run = xstrdup(o->run);
	s->root_fd = s->run_fd = s->lock_fd = s->lease_fd = -1;
	s->patience_ms = PATIENCE_MS;
	s->durable = o->durable;
	s->read_only = o->read_only;
	s->strays = o->strays;
	s->strays_arg = o->strays_arg;
	s->warn = o->warn;
	s->warn_arg = o->warn_arg;
	pthread_mutex_init(&s->write, NULL);
	pthread_mutex_init(&s->state, NULL);
	random_hex(s->unique);
	if (open_folders(s, err) < 0 || read_boot(s, err) < 0 || open_index(s, err) < 0) {
		cache_store_close(s);
		return NULL;
	}
	for (size_t i = 0; i < 4; i++)
		snprintf(s->short_id + 2 * i, 3, "%02x", s->uuid[i]);
	s->opened = true;
	/* What cannot be cleaned up now (a full disk, a stopped writer) is no reason not to work. */
	_cleanup_(err_dropp) struct err *e = NULL;
	if (!s->read_only && store_sweep(s, s->spare, &e) < 0)
		store_warn(s, "clean up the store: %s", e->msg);
	return s;
}

/* ---- closing */

/* Gives pins and work back. Where that fails (a full disk, a stopped writer) the lease is left as a dead one to the next command. */
static void end_lease(struct store *s)
{
	if (atomic_load(&s->names_stale))
		return;
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(cache_closep) struct cache *c = cache_open(s, &e);
	char path[32];
	snprintf(path, sizeof(path), "leases/%s", s->lease);
	if (!c || store_forget_lease(s, c, s->lease, &e) < 0)
		log_debug("end lease %s: %s", s->lease, e->msg);
	else
		unlinkat(s->root_fd, path, 0);
}

void store_clear_trash(struct store *s)
{
	_cleanup_close_ int fd = openat(s->root_fd, "trash", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* One at a time: two that remove one tree get in each other's way. */
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return;
	_cleanup_(store_list_freep) char **names = store_list(s, "trash");
	for (char **n = names; n && *n; n++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		if (io_remove_tree(fd, *n, &e) < 0)
			log_debug("clear trash: %s", e->msg);
	}
}

void cache_store_close(struct store *s)
{
	if (!s)
		return;
	if (atomic_load(&s->have_lease))
		end_lease(s);
	if (atomic_load(&s->trashed) && s->root_fd >= 0)
		store_clear_trash(s);
	cache_close(s->spare);
	map_release(&s->held);
	map_release(&s->seen);
	mem_closep(&s->lease_fd);
	mem_closep(&s->lock_fd);
	mem_closep(&s->run_fd);
	mem_closep(&s->root_fd);
	pthread_mutex_destroy(&s->write);
	pthread_mutex_destroy(&s->state);
	free(s->root);
	free(s->run);
	free(s);
}

/* ---- what others ask */

int cache_store_root_fd(const struct store *s)
{
	return s->root_fd;
}

int cache_store_run_fd(const struct store *s)
{
	return s->run_fd;
}

const char *cache_store_root(const struct store *s)
{
	return s->root;
}

const char *cache_store_run(const struct store *s)
{
	return s->run;
}

const char *cache_store_short_id(const struct store *s)
{
	return s->short_id;
}

void cache_store_cancel(struct store *s)
{
	atomic_store(&s->canceled, true);
}

void cache_store_pause(struct store *s)
{
	pthread_mutex_lock(&s->write);
}

void cache_store_resume(struct store *s)
{
	pthread_mutex_unlock(&s->write);
}

uint64_t cache_store_counter(struct store *s)
{
	return atomic_fetch_add(&s->counter, 1) + 1;
}

/* ---- lease */

/* Made under a name that nobody sweeps, locked, then renamed: a lease that is seen is held, or its holder is dead. */
static int make_lease(struct store *s, struct err **err)
{
	char id[LEASE_TEXT], hidden[40], path[40];
	random_hex(id);
	snprintf(hidden, sizeof(hidden), "leases/.%s", id);
	snprintf(path, sizeof(path), "leases/%s", id);
	_cleanup_close_ int fd =
		openat(s->root_fd, hidden, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, "make '%s/%s'", s->root, hidden);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 ||
	    renameat(s->root_fd, hidden, s->root_fd, path) < 0) {
		err_sys(err, "make '%s/%s'", s->root, path);
		unlinkat(s->root_fd, hidden, 0);
		return -1;
	}
	snprintf(hidden, sizeof(hidden), "tmp/%s/ingest", id);
	if (io_mkdirs(s->root_fd, hidden, 0700, err) < 0) {
		unlinkat(s->root_fd, path, 0);
		return err_wrap(err, "'%s'", s->root);
	}
	memcpy(s->lease, id, sizeof(id));
	s->lease_fd = STEAL_FD(fd);
	atomic_store(&s->have_lease, true);
	return 0;
}

int cache_store_lease(struct store *s, struct err **err)
{
	if (atomic_load(&s->have_lease))
		return 0;
	pthread_mutex_lock(&s->state);
	int r = atomic_load(&s->have_lease) ? 0 : make_lease(s, err);
	pthread_mutex_unlock(&s->state);
	return r;
}

const char *cache_store_lease_id(const struct store *s)
{
	return atomic_load(&s->have_lease) ? s->lease : NULL;
}

int cache_store_trash(struct store *s, const char *path, struct err **err)
{
	char to[64];
	struct stat st;
	snprintf(to, sizeof(to), "trash/%s.%llu", s->unique,
		 (unsigned long long)cache_store_counter(s));
	if (renameat(s->root_fd, path, s->root_fd, to) < 0) {
		int sys = errno;
		if (sys == ENOENT && fstatat(s->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return 0;
		errno = sys;
		return err_sys(err, "move '%s/%s' to the trash", s->root, path);
	}
	atomic_store(&s->trashed, true);
	return 0;
}

int cache_step_lock(struct store *s, const struct digest *k, int *ret_fd, struct err **err)
{
	_cleanup_close_ int fd =
		openat(s->root_fd, "locks/steps", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(err, "open '%s/locks/steps'", s->root);
	uint64_t first = 0;
	for (int i = 0; i < 8; i++)
		first = first << 8 | k->b[i];
	struct flock l = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)(first >> 2), .l_len = 1
	};
	while (fcntl(fd, F_OFD_SETLK, &l) < 0) {
		if (errno == EAGAIN || errno == EACCES)
			return 0;
		if (errno != EINTR)
			return err_sys(err, "lock a step in '%s/locks/steps'", s->root);
	}
	*ret_fd = STEAL_FD(fd);
	return 1;
}

/* ---- durability */

/* Whether a log is so long that it slows each opening (1 ms a MiB). */
static bool wal_is_long(const struct store *s, enum db_which which)
{
	struct stat st;
	return fstatat(s->root_fd, which == DB_INDEX ? "index.db-wal" : "cache.db-wal", &st, 0) ==
		0 &&
		st.st_size > WAL_WORTH_BYTES;
}

bool cache_store_needs_sync(const struct store *s)
{
	return atomic_load(&s->dirty) || wal_is_long(s, DB_INDEX) || wal_is_long(s, DB_GUESS);
}

static int layers_to_mark(struct store *s, struct cache *c, int64_t **ret, size_t *ret_n,
			  struct err **err)
{
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		c, DB_INDEX, "SELECT id FROM layer WHERE boot = ? AND state = 'ready'", err);
	VEC(int64_t) ids = { 0 };
	int r;
	if (!q)
		return -1;
	db_bind_c(q, s->boot);
	while ((r = db_step(q, err)) > 0)
		VEC_PUSH(&ids, db_int(q, 0));
	if (r < 0) {
		VEC_RELEASE(&ids);
		return -1;
	}
	*ret = ids.v;
	*ret_n = ids.n;
	return 0;
}

static int mark_synced(struct cache *c, const int64_t *ids, size_t n, struct err **err)
{
	_cleanup_(db_write_endp) struct write w = { 0 };
	if (db_write_begin(&w, c, DB_INDEX, DB_NORMAL, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		_cleanup_(db_donep) struct stmt *q = db_prepare(
			c, DB_INDEX,
			"UPDATE layer SET boot = NULL WHERE id = ? AND state = 'ready'", err);
		if (!q)
			return -1;
		db_bind_int(q, ids[i]);
		if (db_exec(q, NULL, err) < 0 || db_layer_sum(c, ids[i], err) < 0)
			return -1;
	}
	return db_write_commit(&w, err);
}

int cache_store_sync(struct store *s, struct err **err)
{
	_cleanup_(cache_closep) struct cache *c = cache_open(s, err);
	_cleanup_free_ int64_t *ids = NULL;
	_cleanup_(err_dropp) struct err *e = NULL;
	size_t n = 0;
	atomic_store(&s->dirty, false);
	if (!c || layers_to_mark(s, c, &ids, &n, err) < 0)
		return -1;
	if (n) {
		if (syncfs(s->root_fd) < 0)
			return err_sys(err, "sync '%s'", s->root);
		if (mark_synced(c, ids, n, err) < 0)
			return -1;
	}
	/* Guesses may stay where they are. */
	if (wal_is_long(s, DB_GUESS) && db_checkpoint(c, DB_GUESS, &e) < 0)
		log_debug("%s", e->msg);
	return wal_is_long(s, DB_INDEX) ? db_checkpoint(c, DB_INDEX, err) : 0;
}
