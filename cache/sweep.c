/* What dead processes left: found at opening, removed before anything new is made. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/vec.h"
#include "cache/internal.h"

enum { HIDDEN_GRACE_S = 60 };

static bool is_lease_id(const char *name)
{
	return strlen(name) == LEASE_TEXT - 1 && strspn(name, "0123456789abcdef") == LEASE_TEXT - 1;
}

static bool lease_exists(struct store *s, const char *id)
{
	char path[32];
	struct stat st;
	snprintf(path, sizeof(path), "leases/%s", id);
	return fstatat(s->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- rows */

struct ids {
	int64_t *v;
	size_t n, cap;
};

static void ids_releasep(struct ids *ids)
{
	VEC_RELEASE(ids);
}

/* Layers in a state, of one lease (NULL: of any). */
static int layers_in(struct cache *c, const char *state, const char *lease, struct ids *ids,
		     struct err **err)
{
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		c, DB_INDEX,
		"SELECT id FROM layer WHERE state <> 'ready' AND state = ?1 AND (?2 IS NULL OR lease = ?2)",
		err);
	int r;
	if (!q)
		return -1;
	db_bind_c(q, state);
	db_bind_c(q, lease);
	while ((r = db_step(q, err)) > 0)
		VEC_PUSH(ids, db_int(q, 0));
	return r;
}

static int delete_layer(struct cache *c, int64_t id, const char *state, struct err **err)
{
	_cleanup_(db_donep) struct stmt *q =
		db_prepare(c, DB_INDEX, "DELETE FROM layer WHERE id = ? AND state = ?", err);
	if (!q)
		return -1;
	db_bind_int(q, id);
	db_bind_c(q, state);
	return db_exec(q, NULL, err);
}

static int trash_layers(struct store *s, const struct ids *ids, struct err **err)
{
	for (size_t i = 0; i < ids->n; i++) {
		char path[48];
		snprintf(path, sizeof(path), "layers/%lld", (long long)ids->v[i]);
		if (cache_store_trash(s, path, err) < 0)
			return -1;
	}
	return 0;
}

static int has_pins(struct cache *c, const char *lease, struct err **err)
{
	_cleanup_(db_donep) struct stmt *q =
		db_prepare(c, DB_INDEX, "SELECT 1 FROM pin WHERE lease = ? LIMIT 1", err);
	if (!q)
		return -1;
	db_bind_c(q, lease);
	return db_step(q, err);
}

static int delete_pins(struct cache *c, const char *lease, struct err **err)
{
	_cleanup_(db_donep) struct stmt *q =
		db_prepare(c, DB_INDEX, "DELETE FROM pin WHERE lease = ?", err);
	if (!q)
		return -1;
	db_bind_c(q, lease);
	return db_exec(q, NULL, err);
}

/* Folders go before their rows: a row without folder is found again, whoever dies in between. */
int store_forget_lease(struct store *s, struct cache *c, const char *lease, struct err **err)
{
	_cleanup_(ids_releasep) struct ids ids = { 0 };
	char path[48];
	int pins = has_pins(c, lease, err);
	if (pins < 0 || layers_in(c, "work", lease, &ids, err) < 0 ||
	    trash_layers(s, &ids, err) < 0)
		return -1;
	if (pins || ids.n) {
		_cleanup_(db_write_endp) struct write w = { 0 };
		if (db_write_begin(&w, c, DB_INDEX, DB_NORMAL, err) < 0 ||
		    delete_pins(c, lease, err) < 0)
			return -1;
		for (size_t i = 0; i < ids.n; i++)
			if (delete_layer(c, ids.v[i], "work", err) < 0)
				return -1;
		if (db_write_commit(&w, err) < 0)
			return -1;
	}
	snprintf(path, sizeof(path), "tmp/%s", lease);
	return cache_store_trash(s, path, err);
}

/* Layers that were taken out of use: whoever did it may have died before it removed the folder. */
static int sweep_dead_layers(struct store *s, struct cache *c, struct err **err)
{
	_cleanup_(ids_releasep) struct ids ids = { 0 };
	_cleanup_(db_write_endp) struct write w = { 0 };
	if (layers_in(c, "dead", NULL, &ids, err) < 0)
		return -1;
	if (!ids.n)
		return 0;
	if (trash_layers(s, &ids, err) < 0 || db_write_begin(&w, c, DB_INDEX, DB_NORMAL, err) < 0)
		return -1;
	for (size_t i = 0; i < ids.n; i++)
		if (delete_layer(c, ids.v[i], "dead", err) < 0)
			return -1;
	return db_write_commit(&w, err);
}

/*
 * Folders without a row, after the machine lost power: rows of layers are not synced one by one, folders may be older on disk. A row
 * is written before its folder is made and deleted after the folder is gone, so a folder that was listed and has none is garbage.
 */
static int sweep_strange_layers(struct store *s, struct cache *c, struct err **err)
{
	_cleanup_(store_list_freep) char **names = store_list(s, "layers");
	for (char **n = names; n && *n; n++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		_cleanup_(db_donep) struct stmt *q =
			db_prepare(c, DB_INDEX, "SELECT 1 FROM layer WHERE id = ?", err);
		int64_t id;
		if (!q)
			return -1;
		if (str_int(str_c(*n), 1, INT64_MAX, &id, &e) < 0)
			continue;
		db_bind_int(q, id);
		int r = db_step(q, err);
		if (r < 0)
			return -1;
		struct ids one = { .v = &id, .n = 1 };
		if (!r && trash_layers(s, &one, err) < 0)
			return -1;
	}
	return 0;
}

struct digests {
	struct digest *v;
	size_t n, cap;
};

static void digests_releasep(struct digests *l)
{
	VEC_RELEASE(l);
}

static int has_blob_row(struct cache *c, const struct digest *d, struct err **err)
{
	_cleanup_(db_donep) struct stmt *q =
		db_prepare(c, DB_INDEX, "SELECT 1 FROM blob WHERE digest = ?", err);
	if (!q)
		return -1;
	db_bind_digest(q, d);
	return db_step(q, err);
}

static int find_strange_blobs(struct store *s, struct cache *c, const char *shard,
			      struct digests *found, struct err **err)
{
	_cleanup_free_ char *dir = xasprintf("blobs/sha256/%s", shard);
	_cleanup_(store_list_freep) char **names = store_list(s, dir);
	for (char **n = names; n && *n; n++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		struct digest d;
		if (digest_parse_hex(str_c(*n), &d, &e) < 0)
			continue;
		int r = has_blob_row(c, &d, err);
		if (r < 0)
			return -1;
		if (!r)
			VEC_PUSH(found, d);
	}
	return 0;
}

/* Blobs without a row: whoever published one was killed between rename and commit, or is about to commit. So those found are looked
 * at again within a write, when nobody is in between. */
static int sweep_strange_blobs(struct store *s, struct cache *c, struct err **err)
{
	_cleanup_(store_list_freep) char **shards = store_list(s, "blobs/sha256");
	_cleanup_(digests_releasep) struct digests found = { 0 };
	_cleanup_(db_write_endp) struct write w = { 0 };
	for (char **n = shards; n && *n; n++)
		if (strlen(*n) == 2 && find_strange_blobs(s, c, *n, &found, err) < 0)
			return -1;
	if (!found.n)
		return 0;
	if (db_write_begin(&w, c, DB_INDEX, DB_NORMAL, err) < 0)
		return -1;
	for (size_t i = 0; i < found.n; i++) {
		char path[BLOB_PATH_TEXT];
		int r = has_blob_row(c, &found.v[i], err);
		if (r < 0)
			return -1;
		blob_path(&found.v[i], path);
		if (!r && unlinkat(s->root_fd, path, 0) < 0 && errno != ENOENT)
			return err_sys(err, "remove '%s/%s'", s->root, path);
	}
	return db_write_commit(&w, err);
}

/* ---- leases */

/* Whether the dead lease has records of processes that we could not kill, because this command starts none. */
static bool has_processes(struct store *s, const char *lease)
{
	_cleanup_(store_list_freep) char **names = store_list_at(s->run_fd, "steps");
	for (char **n = names; n && *n; n++)
		if (!strncmp(*n, lease, LEASE_TEXT - 1))
			return true;
	return false;
}

/* Removes what a dead lease left. Its processes go first: they may still write into what is removed. */
static int sweep_lease(struct store *s, struct cache *c, const char *lease, struct err **err)
{
	if (s->strays ? s->strays(s->strays_arg, s->run_fd, lease, err) < 0
		      : has_processes(s, lease))
		return s->strays ? -1 : 1;
	return store_forget_lease(s, c, lease, err);
}

/* Locks a lease's file if its holder is dead: a descriptor; -1 when it is alive or gone. */
static int lock_dead(struct store *s, const char *path)
{
	_cleanup_close_ int fd = openat(s->root_fd, path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0 || !st.st_nlink)
		return -1;
	return STEAL_FD(fd);
}

static int sweep_one(struct store *s, struct cache *c, const char *name, bool *swept,
		     struct err **err)
{
	char path[64];
	snprintf(path, sizeof(path), "leases/%s", name);
	_cleanup_close_ int fd = lock_dead(s, path);
	if (fd < 0)
		return 0;
	if (*name == '.') {
		struct stat st;
		/* Between making it and locking it a new one looks the same. */
		if (fstat(fd, &st) == 0 &&
		    clock_real_ns() / 1000000000 - st.st_mtime > HIDDEN_GRACE_S)
			unlinkat(s->root_fd, path, 0);
		return 0;
	}
	int r = sweep_lease(s, c, name, err);
	if (r < 0)
		return err_wrap(err, "clean up after a command that died (lease %s)", name);
	if (r == 0)
		unlinkat(s->root_fd, path, 0);
	*swept = true;
	return 0;
}

/* Pins of a container whose folder is gone; while it is made, the folder is hidden. */
static int sweep_container(struct store *s, struct cache *c, const char *lease, struct err **err)
{
	/* It may be renamed between two looks: made, being made, made. */
	for (int look = 0; look < 3; look++) {
		_cleanup_free_ char *path =
			xasprintf("containers/%s%s", look == 1 ? "." : "", lease + 2);
		if (!faccessat(s->root_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) || errno != ENOENT)
			return 0;
	}
	_cleanup_(db_write_endp) struct write w = { 0 };
	return db_write_begin(&w, c, DB_INDEX, DB_NORMAL, err) < 0 || delete_pins(c, lease, err) < 0
		? -1
		: db_write_commit(&w, err);
}

/* Pins and work whose lease has no file: it was lost with the machine's power. Rows are read before the file is looked for, and a
 * lease in use has its file from before its first row until after its last. */
static int sweep_lost(struct store *s, struct cache *c, bool *swept, struct err **err)
{
	VEC(char *) lost = { 0 };
	int r;
	{
		_cleanup_(db_donep) struct stmt *q = db_prepare(
			c, DB_INDEX,
			"SELECT DISTINCT lease FROM pin UNION "
			"SELECT lease FROM layer WHERE state <> 'ready' AND lease IS NOT NULL",
			err);
		if (!q)
			return -1;
		while ((r = db_step(q, err)) > 0)
			VEC_PUSH(&lost, str_dup(db_text(q, 0)));
	}
	for (size_t i = 0; i < lost.n; i++) {
		if (r == 0 && is_lease_id(lost.v[i]) && !lease_exists(s, lost.v[i])) {
			*swept = true;
			r = sweep_lease(s, c, lost.v[i], err) < 0 ? -1 : 0;
		} else if (r == 0 && !strncmp(lost.v[i], "c/", 2)) {
			r = sweep_container(s, c, lost.v[i], err);
		}
		free(lost.v[i]);
	}
	VEC_RELEASE(&lost);
	return r;
}

/* Folders of tmp/ whose lease is gone. A lease's file is made before its folder and removed after it. */
static int sweep_tmp(struct store *s, struct err **err)
{
	_cleanup_(store_list_freep) char **names = store_list(s, "tmp");
	for (char **n = names; n && *n; n++) {
		char path[64];
		if (!is_lease_id(*n) || lease_exists(s, *n))
			continue;
		snprintf(path, sizeof(path), "tmp/%s", *n);
		if (cache_store_trash(s, path, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- after a crash of the machine */

struct unsynced {
	int64_t id;
	bool pulled;
};

/* A layer that a syncfs had not covered when the machine went down: right as far as its manifest says so. Pulled ones have no data
 * digests until something asks for them; they are unpacked again. */
static int check_unsynced(struct store *s, struct cache *c, const struct unsynced *u,
			  struct err **err)
{
	_cleanup_(db_write_endp) struct write w = { 0 };
	size_t bad = 1;
	if (!u->pulled && cache_layer_check(c, u->id, true, NULL, NULL, &bad, err) < 0)
		return -1;
	if (bad)
		store_warn(s, "layer %lld was not on disk when the machine stopped: it was dropped",
			   (long long)u->id);
	if (db_write_begin(&w, c, DB_INDEX, DB_NORMAL, err) < 0)
		return -1;
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		c, DB_INDEX,
		"UPDATE layer SET boot = NULL, state = ? WHERE id = ? AND state = 'ready'", err);
	if (!q)
		return -1;
	db_bind_c(q, bad ? "dead" : "ready");
	db_bind_int(q, u->id);
	return db_exec(q, NULL, err) < 0 || db_layer_sum(c, u->id, err) < 0
		? -1
		: db_write_commit(&w, err);
}

static int sweep_unsynced(struct store *s, struct cache *c, struct err **err)
{
	VEC(struct unsynced) list = { 0 };
	int r;
	{
		_cleanup_(db_donep) struct stmt *q =
			db_prepare(c, DB_INDEX,
				   "SELECT id, kind = 'pulled' FROM layer "
				   "WHERE boot IS NOT NULL AND boot <> ? AND state = 'ready'",
				   err);
		if (!q)
			return -1;
		db_bind_c(q, s->boot);
		while ((r = db_step(q, err)) > 0)
			VEC_PUSH(&list, ((struct unsynced){ db_int(q, 0), db_int(q, 1) != 0 }));
	}
	for (size_t i = 0; r == 0 && i < list.n; i++)
		r = check_unsynced(s, c, &list.v[i], err);
	VEC_RELEASE(&list);
	return r;
}

int store_sweep(struct store *s, struct cache *c, struct err **err)
{
	_cleanup_(store_list_freep) char **trash = store_list(s, "trash");
	if (trash && trash[0])
		atomic_store(&s->trashed, true);
	_cleanup_(store_list_freep) char **names = store_list(s, "leases");
	bool swept = false;
	for (char **n = names; n && *n; n++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		if (!is_lease_id(**n == '.' ? *n + 1 : *n))
			continue;
		/* One that cannot be cleaned up now (a process that does not die) is tried again by the next command. */
		if (sweep_one(s, c, *n, &swept, &e) < 0)
			store_warn(s, "%s", e->msg);
	}
	if (sweep_tmp(s, err) < 0 || sweep_lost(s, c, &swept, err) < 0 ||
	    sweep_unsynced(s, c, err) < 0 || sweep_dead_layers(s, c, err) < 0)
		return -1;
	if (swept &&
	    (sweep_strange_layers(s, c, err) < 0 || sweep_strange_blobs(s, c, err) < 0 ||
	     names_renew_copy(c, err) < 0))
		return -1;
	return 0;
}
