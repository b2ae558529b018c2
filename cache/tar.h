/*
 * tar: reading a foreign tar into a layer's folder, and writing byte-reproducible tars by entries
 * of a manifest.
 *
 * Reading is libarchive's job; what its entries may do to the folder is decided here. Every path is
 * resolved inside the folder; `.wh.NAME` and `.wh..wh..opq` become overlay's forms and mean lower
 * layers only; whiteouts can't be faked (no device 0:0, no attributes of overlay, no name that
 * begins with .wh. in between). chown, chmod, attributes, mtime are set in this order, folders'
 * times last. Sizes, entries and ratio are bounded.
 *
 * Writing is ours: libarchive's pax writer has an own order of records and own extra records, and
 * its bytes are not promised to stay. USTAR where a header fits, else a PAX record for each thing
 * that does not, sorted by key: bytes depend on the entry alone. Only mtime, nanoseconds included,
 * never atime or ctime; no user or group names; folders end in "/"; whiteouts are empty files of
 * mode 0 and time 0; two blocks of zeros end it. The name in the header of a PAX block means
 * nothing.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "cache/manifest.h"

struct err;
struct sink;
struct source;

struct tar_limits {
	uint64_t entries;      /* at most so many */
	uint64_t bytes;        /* of unpacked data, holes included */
	uint64_t ratio, floor; /* unpacked may be ratio × packed once it is above floor */
};

/* 10 M entries, 1 TiB, 2,000 × above 4 GiB: gzip can't reach the ratio, zstd's bombs do. */
extern const struct tar_limits tar_default_limits;

struct tar_read {
	struct source *from;             /* the uncompressed tar; borrowed, read to its end */
	const struct tar_limits *limits; /* NULL: the default ones */
	const uint64_t *packed; /* bytes read so far in packed form, for the ratio; may be NULL */
	int fs_fd;              /* the folder; its root is there already */
	/* A hard link whose target is not in this tar: makes `path` (clean, inside the root) in the
	 * folder from the layers below. NULL: an error. ERR_NOT_FOUND when it is not there
	 * either. */
	int (*borrow)(void *arg, const char *path, struct err **err);
	void *arg;
	const atomic_bool *cancel; /* looked at per entry; may be NULL */
};

struct tar_read_result {
	uint64_t entries;
	uint64_t skipped; /* sockets, unknown types, aufs' own names */
	bool root;        /* it has an entry for the root itself */
};

/* Unpacks. On failure the folder is half full: the caller removes it. ERR_INVALID: what the tar
 * wants is not allowed (with the entry's name), ERR_LIMIT, ERR_INTEGRITY: it does not parse or ends
 * early, ERR_CANCELED. */
NODISCARD int tar_unpack(const struct tar_read *t, struct tar_read_result *ret, struct err **err);

/* Whether the first bytes of a file (decompressed) are a tar whose first header parses: what ADD
 * unpacks. 512 are looked at. */
bool tar_detect(const void *p, size_t n);

/* A tar is written in these steps: tar_writer_init(); for each entry tar_writer_add() and, where it
 * said so, exactly e->size bytes by tar_writer_data(); tar_writer_end(). The writer has no memory
 * of its own but a buffer for headers. */
struct tar_writer {
	struct sink *to;
	uint64_t left; /* data of the current entry that are still to come */
	unsigned pad;  /* zeros behind them */
	struct sb head;
};

/* Begins to write into `to` (borrowed). */
void tar_writer_init(struct tar_writer *w, struct sink *to);
/* Frees the buffer. */
void tar_writer_release(struct tar_writer *w);
/* Writes an entry's header; 'w' and 'o' in their tar forms. *ret_data: its data must follow.
 * ERR_UNSUPPORTED for an attribute whose name has a "=". */
NODISCARD int tar_writer_add(struct tar_writer *w, const struct entry *e, bool *ret_data,
			     struct err **err);
/* Writes data of the entry. */
NODISCARD int tar_writer_data(struct tar_writer *w, const void *p, size_t n, struct err **err);
/* Ends the tar; does not close the sink. */
NODISCARD int tar_writer_end(struct tar_writer *w, struct err **err);
