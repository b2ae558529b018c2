/*
 * The stat cache of contexts: one packed row a folder in table `stat` of cache.db, by the folder's
 * (dev, inode).
 *
 * A row is a list of fields, per file: name, numbers (dev, inode, size, mode, nlink, mtime, ctime
 * as 8 bytes each, little-endian), then one byte (1: it has extended attributes, which are read
 * anew) and the digest of the data. Only files are stored whose times were older than 2 s when they
 * were hashed: an edit within the grain of the clock would not show.
 */
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/clock.h"
#include "base/err.h"
#include "cache/internal.h"
#include "cache/tree_internal.h"
#include "cache/xattr.h"

enum { NUMBERS = 7, PACKED = NUMBERS * 8 + 1 + 32 };

#ifndef BCACHEFS_SUPER_MAGIC
#define BCACHEFS_SUPER_MAGIC 0xca451a4e
#endif
#define ZFS_SUPER_MAGIC 0x2fc12fc1

bool tree_fs_trusted(int fd)
{
	static const unsigned trusted[] = { EXT4_SUPER_MAGIC,     XFS_SUPER_MAGIC,
					    BTRFS_SUPER_MAGIC,    F2FS_SUPER_MAGIC,
					    ZFS_SUPER_MAGIC,      BCACHEFS_SUPER_MAGIC,
					    OVERLAYFS_SUPER_MAGIC };
	struct statfs fs;
	if (fstatfs(fd, &fs) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(trusted); i++)
		if ((unsigned)fs.f_type == trusted[i])
			return true;
	return false;
}

static void put_number(char *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (char)(v >> (8 * i));
}

static void pack(const struct node *n, char out[PACKED])
{
	const uint64_t v[NUMBERS] = { n->dev,
				      n->ino,
				      n->e.size,
				      n->st_mode,
				      n->nlink,
				      (uint64_t)n->e.mtime_ns,
				      (uint64_t)n->ctime_ns };
	for (int i = 0; i < NUMBERS; i++)
		put_number(out + 8 * i, v[i]);
	out[8 * NUMBERS] = n->e.xattrs.n ? 1 : 0;
	memcpy(out + 8 * NUMBERS + 1, n->e.data.b, 32);
}

/* Takes a stored digest for a file whose stat is equal. Attributes that it had are read again: they
 * are part of C as they are. */
static void use(struct node *n, struct str packed)
{
	char now[PACKED];
	pack(n, now);
	if (n->e.kind != 'f' || n->empty_socket || packed.n != PACKED ||
	    memcmp(now, packed.p, 8 * NUMBERS))
		return;
	memcpy(n->e.data.b, packed.p + 8 * NUMBERS + 1, 32);
	n->stored = true;
	if (packed.p[8 * NUMBERS])
		return;
	n->e.has_data = true;
	n->e.xattrs = STR("");
	n->complete = true;
}

void tree_stat_load(struct tree *t, struct cache *c, struct node *dir)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	(void)t;
	if (!c)
		return;
	_cleanup_(db_donep) struct stmt *s =
		db_prepare(c, DB_GUESS, "SELECT rows FROM stat WHERE dev = ? AND ino = ?", &e);
	if (!s)
		return;
	db_bind_int(s, (int64_t)dir->dev);
	db_bind_int(s, (int64_t)dir->ino);
	if (db_step(s, &e) <= 0)
		return;
	/* Both lists are in order of names. */
	struct str rows = db_blob(s, 0), name, packed;
	size_t i = 0;
	while (xattr_next(&rows, &name, &packed)) {
		while (i < dir->n_child && str_cmp(node_name(dir->child[i]), name) < 0)
			i++;
		if (i < dir->n_child && str_eq(node_name(dir->child[i]), name))
			use(dir->child[i++], packed);
	}
}

static void put_rows(const struct node *dir, struct sb *out)
{
	for (size_t i = 0; i < dir->n_child; i++) {
		const struct node *n = dir->child[i];
		char packed[PACKED];
		if (!n->stored || n->e.kind != 'f')
			continue;
		pack(n, packed);
		digest_put_field(out, node_name(n));
		digest_put_field(out, (struct str){ packed, sizeof(packed) });
	}
}

static int save(struct tree *t, struct cache *c, struct err **err)
{
	_cleanup_(sb_releasep) struct sb rows = { 0 };
	_cleanup_(db_write_endp) struct write w = { 0 };
	if (db_write_begin(&w, c, DB_GUESS, DB_NORMAL, err) < 0)
		return -1;
	for (size_t i = 0; i < t->dirty.n; i++) {
		const struct node *dir = t->dirty.v[i];
		sb_reset(&rows);
		put_rows(dir, &rows);
		struct stmt *s = db_prepare(
			c, DB_GUESS,
			"INSERT OR REPLACE INTO stat(dev, ino, rows, used) VALUES (?, ?, ?, ?)",
			err);
		if (!s)
			return -1;
		db_bind_int(s, (int64_t)dir->dev);
		db_bind_int(s, (int64_t)dir->ino);
		db_bind_blob(s, sb_str(&rows));
		db_bind_int(s, clock_real_ns());
		if (db_exec(s, NULL, err) < 0)
			return -1;
	}
	return db_write_commit(&w, err);
}

void tree_stat_save(struct tree *t, struct cache *c)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	if (!t->dirty.n)
		return;
	if (c && save(t, c, &e) < 0)
		store_warn(c->store, "the stat cache was not written: %s", e->msg);
	for (size_t i = 0; i < t->dirty.n; i++)
		t->dirty.v[i]->dirty = false;
	VEC_CLEAR(&t->dirty);
}
