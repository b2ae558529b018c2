/*
 * schema: the tables of both databases, their versions, and the column lists that row sums cover. A change of a table raises the
 * version and adds a migration to db.c. Digests are blobs of 32 bytes, times are ns since 1970, all tables are STRICT.
 */
#pragma once

enum { INDEX_VERSION = 1, GUESS_VERSION = 1 };

/* Tables whose rows end in `sum` = rowsum('table', columns…): 8 bytes of H("cbuild.row.1", uuid, table, columns, NULL as ""). */
#define LAYER_COLUMNS "id, state, kind, lease, diffid, m, size, entries, f, bound, boot, used"
#define LAYER_SUM "rowsum('layer', " LAYER_COLUMNS ")"
#define IMAGE_COLUMNS "id, config, manifest, platform, created, used"
#define IMAGE_SUM "rowsum('image', " IMAGE_COLUMNS ")"
#define RECORD_COLUMNS "key, op, deep, r, chain, created, checked, cost_ms, uses, used, worth"
#define RECORD_SUM "rowsum('record', " RECORD_COLUMNS ")"

/*
 * index.db. layer.state: work (being made; or made and not hashed yet), ready, dead (its folder is to be deleted). kind: pulled
 * step link context failed. lease: who made it; counts as a pin while that lease lives. diffid, m: NULL until hashed. f: the pair's
 * lower layer. bound: the chain ID or R(parent) that it may only be used on. boot: NULL once a syncfs has covered it.
 * packed.form: "gzip-1/isal-2.30" as zip_form() has it, from outside its media type. pin.object: a layer's number or a digest.
 */
#define INDEX_SCHEMA                                                                                                          \
	"CREATE TABLE meta(k TEXT PRIMARY KEY, v ANY) STRICT, WITHOUT ROWID;"                                                 \
	"CREATE TABLE blob(digest BLOB PRIMARY KEY, size INTEGER NOT NULL, used INTEGER NOT NULL) STRICT, WITHOUT ROWID;"     \
	"CREATE TABLE packed(diffid BLOB, form TEXT, digest BLOB NOT NULL, PRIMARY KEY(diffid, form)) STRICT, WITHOUT ROWID;" \
	"CREATE TABLE layer(id INTEGER PRIMARY KEY AUTOINCREMENT, state TEXT NOT NULL, kind TEXT NOT NULL, lease TEXT,"       \
	" diffid BLOB, m BLOB, size INTEGER NOT NULL DEFAULT 0, entries INTEGER NOT NULL DEFAULT 0, f INTEGER, bound BLOB,"   \
	" boot TEXT, used INTEGER NOT NULL DEFAULT 0, sum BLOB) STRICT;"                                                      \
	"CREATE UNIQUE INDEX layer_pulled ON layer(diffid)"                                                                   \
	" WHERE kind = 'pulled' AND state = 'ready' AND bound IS NULL;"                                                       \
	"CREATE INDEX layer_diffid ON layer(diffid) WHERE diffid IS NOT NULL;"                                                \
	"CREATE INDEX layer_open ON layer(state) WHERE state <> 'ready';"                                                     \
	"CREATE INDEX layer_boot ON layer(boot) WHERE boot IS NOT NULL;"                                                      \
	"CREATE TABLE image(id BLOB PRIMARY KEY, config BLOB NOT NULL, manifest BLOB, platform TEXT NOT NULL,"                \
	" created INTEGER NOT NULL, used INTEGER NOT NULL, sum BLOB) STRICT, WITHOUT ROWID;"                                  \
	"CREATE TABLE image_layer(image BLOB, pos INTEGER, layer INTEGER NOT NULL, diffid BLOB NOT NULL,"                     \
	" PRIMARY KEY(image, pos)) STRICT, WITHOUT ROWID;"                                                                    \
	"CREATE INDEX image_layer_layer ON image_layer(layer);"                                                               \
	"CREATE TABLE name(ref TEXT PRIMARY KEY, image BLOB NOT NULL, manifest BLOB, updated INTEGER NOT NULL) STRICT,"       \
	" WITHOUT ROWID;"                                                                                                     \
	"CREATE INDEX name_image ON name(image);"                                                                             \
	"CREATE TABLE pin(lease TEXT, kind TEXT, object ANY, PRIMARY KEY(lease, kind, object)) STRICT, WITHOUT ROWID;"        \
	"CREATE INDEX pin_object ON pin(kind, object);"

/* cache.db. record.chain: 48 bytes a layer: number (8, little-endian; 0: absent), diff ID (32), created (8). */
#define GUESS_SCHEMA                                                                                                             \
	"CREATE TABLE meta(k TEXT PRIMARY KEY, v ANY) STRICT, WITHOUT ROWID;"                                                    \
	"CREATE TABLE record(key BLOB PRIMARY KEY, op BLOB NOT NULL, deep BLOB, r BLOB NOT NULL, chain BLOB NOT NULL,"           \
	" created INTEGER NOT NULL, checked INTEGER NOT NULL, cost_ms INTEGER NOT NULL, uses INTEGER NOT NULL,"                  \
	" used INTEGER NOT NULL, worth REAL NOT NULL, sum BLOB) STRICT, WITHOUT ROWID;"                                          \
	"CREATE INDEX record_op ON record(op);"                                                                                  \
	"CREATE INDEX record_deep ON record(deep);"                                                                              \
	"CREATE INDEX record_r ON record(r);"                                                                                    \
	"CREATE TABLE content(r BLOB, sel BLOB, c BLOB NOT NULL, used INTEGER NOT NULL, PRIMARY KEY(r, sel)) STRICT,"            \
	" WITHOUT ROWID;"                                                                                                        \
	"CREATE TABLE input(key BLOB, slot INTEGER, name TEXT, kind TEXT NOT NULL, digest BLOB, text TEXT,"                      \
	" PRIMARY KEY(key, slot, name)) STRICT, WITHOUT ROWID;"                                                                  \
	"CREATE TABLE list(digest BLOB PRIMARY KEY, data BLOB NOT NULL) STRICT;"                                                 \
	"CREATE TABLE stat(dev INTEGER, ino INTEGER, rows BLOB NOT NULL, used INTEGER NOT NULL, PRIMARY KEY(dev, ino)) STRICT;"  \
	"CREATE TABLE tag(ref TEXT, platform TEXT, index_digest BLOB, manifest_digest BLOB NOT NULL, asked INTEGER NOT NULL,"    \
	" used INTEGER NOT NULL, PRIMARY KEY(ref, platform)) STRICT, WITHOUT ROWID;"                                             \
	"CREATE TABLE source(digest BLOB, host TEXT, repo TEXT, used INTEGER NOT NULL, PRIMARY KEY(digest, host, repo)) STRICT," \
	" WITHOUT ROWID;"                                                                                                        \
	"CREATE TABLE http(url TEXT, checksum TEXT, etag TEXT, modified TEXT, digest BLOB NOT NULL, asked INTEGER NOT NULL,"     \
	" used INTEGER NOT NULL, PRIMARY KEY(url, checksum)) STRICT, WITHOUT ROWID;"                                             \
	"CREATE TABLE running(key BLOB PRIMARY KEY, pid INTEGER NOT NULL, boot TEXT, pidns INTEGER, since INTEGER NOT NULL,"     \
	" secrets BLOB) STRICT, WITHOUT ROWID;"
