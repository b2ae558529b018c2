/*
 * blob: content-addressed files blobs/sha256/ab/<hex>, verified on arrival. Publish: data complete and fdatasynced; then inside
 * one IMMEDIATE transaction rename, fsync of the folder, row, pin of the lease.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/mem.h"
#include "base/str.h"

struct blob_writer;
struct cache;
struct err;
struct sink;

/* Whether the blob is here; its size in *ret_size (may be NULL). Pins it for the lease where one is held. */
NODISCARD int cache_blob_has(struct cache *c, const struct digest *d, bool *ret_has,
			     uint64_t *ret_size, struct err **err);

/* Opens a blob for reading; the caller closes it. ERR_NOT_FOUND. */
NODISCARD int cache_blob_open(struct cache *c, const struct digest *d, int *ret_fd,
			      uint64_t *ret_size, struct err **err);

/* The whole content of a small blob, bounded by out->max. */
NODISCARD int cache_blob_read(struct cache *c, const struct digest *d, struct sb *out,
			      struct err **err);

/* Publishes bytes from memory; their digest in *ret. */
NODISCARD int cache_blob_put(struct cache *c, struct str data, struct digest *ret,
			     struct err **err);

/* A writer into tmp/<lease>/ingest; hashes what it takes. `max`: bound on the size (0: none). */
NODISCARD struct blob_writer *cache_blob_begin(struct cache *c, uint64_t max, struct err **err);
NODISCARD int cache_blob_write(struct blob_writer *w, const void *p, size_t n, struct err **err);
/* Verifies against `expected` and `size` where given (ERR_INTEGRITY), publishes and frees the writer; also on failure. */
NODISCARD int cache_blob_commit(struct cache *c, struct blob_writer *w,
				const struct digest *expected, const uint64_t *size,
				struct digest *ret, struct err **err);
void cache_blob_abort(struct blob_writer *w);

/* Publishes a complete, verified file by renaming it (a download of tmp/partial): path is below the store's root. */
NODISCARD int cache_blob_adopt(struct cache *c, int fd, const char *path, const struct digest *d,
			       uint64_t size, struct err **err);
