#include "cache/container.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/io.h"
#include "cache/internal.h"
#include "cache/layer_internal.h"
#include "cache/name.h"

static int add_pin(struct cache *c, const char *lease, const struct digest *image, int64_t layer,
		   struct err **err)
{
	_cleanup_(db_donep) struct stmt *s = db_prepare(
		c, DB_INDEX, "INSERT OR IGNORE INTO pin(lease, kind, object) VALUES(?, ?, ?)", err);
	if (!s)
		return -1;
	db_bind_c(s, lease);
	db_bind_c(s, image ? "image" : "layer");
	if (image)
		db_bind_digest(s, image);
	else
		db_bind_int(s, layer);
	return db_exec(s, NULL, err);
}

int cache_container_pin(struct cache *c, const char *id, const struct digest *image,
			struct err **err)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(db_write_endp) struct write w = { 0 };
	_cleanup_free_ char *lease = xasprintf("c/%s", id);
	struct image i;
	if (db_write_begin(&w, c, DB_INDEX, DB_NORMAL, err) < 0 ||
	    cache_image_get(c, a, image, &i, err) < 0)
		return -1;
	if (add_pin(c, lease, image, 0, err) < 0)
		return -1;
	for (size_t n = 0; n < i.chain.n; n++) {
		if (i.chain.v[n].absent)
			return err_set(err, ERR_NOT_FOUND,
				       "the image has lost layers: build or pull it again");
		if (add_pin(c, lease, NULL, i.chain.v[n].id, err) < 0)
			return -1;
	}
	return db_write_commit(&w, err);
}

int cache_container_unpin(struct cache *c, const char *id, struct err **err)
{
	_cleanup_(db_write_endp) struct write w = { 0 };
	_cleanup_free_ char *lease = xasprintf("c/%s", id);
	if (db_write_begin(&w, c, DB_INDEX, DB_NORMAL, err) < 0)
		return -1;
	_cleanup_(db_donep) struct stmt *q =
		db_prepare(c, DB_INDEX, "DELETE FROM pin WHERE lease = ?", err);
	if (!q)
		return -1;
	db_bind_c(q, lease);
	if (db_exec(q, NULL, err) < 0)
		return -1;
	db_done(STEAL(q));
	return db_write_commit(&w, err);
}

int cache_container_of_image(struct cache *c, const struct digest *image, bool *ret_found,
			     char ret_id[65], struct err **err)
{
	_cleanup_(db_donep) struct stmt *q = db_prepare(
		c, DB_INDEX,
		"SELECT substr(lease, 3) FROM pin WHERE kind = 'image' AND object = ? AND lease GLOB 'c/*' LIMIT 1",
		err);
	if (!q)
		return -1;
	db_bind_digest(q, image);
	int r = db_step(q, err);
	if (r < 0)
		return -1;
	*ret_found = r;
	if (r)
		snprintf(ret_id, 65, "%.*s", STR_ARG(db_text(q, 0)));
	return 0;
}

int cache_container_mount(struct cache *c, const char *id, const struct chain *chain, int *ret_fd,
			  struct err **err)
{
	int root = c->store->root_fd;
	_cleanup_free_ char *path = xasprintf("containers/%s/rw", id),
			    *fs = xasprintf("%s/fs", path);
	/* 0755 but for what the base's own root says, which the first mount takes over. */
	if (io_mkdirs(root, fs, 0755, err) < 0)
		return -1;
	_cleanup_close_ int fd = openat(root, fs, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_sys(err, "open folder '%s'", fs);
	struct work upper = { .store = c->store, .path = path, .fs_fd = fd, .lasting = true };
	return cache_layer_mount(c, chain, &upper, ret_fd, err);
}
