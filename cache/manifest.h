/*
 * manifest: the list of what is in a layer, and the canonical bytes E of one entry, over which M
 * and C are digests.
 *
 * E = L(path) L(kind) L(mode) L(uid) L(gid) L(rdev) L(size) L(link) L(group) L(xattrs) L(data);
 * what doesn't apply is "". No times, inodes or holes. Entries come in the order of their paths,
 * bytewise with "/" as the lowest byte: a folder comes right before what is in it. M =
 * sha256(L("cbuild.manifest.1") E…).
 *
 * The file is zstd frames of at most MANIFEST_FRAME raw bytes, each ending at an entry; per entry
 * E, L(mtime in ns), L(flags); last L("end") L(M) L(diffID) L(entries) L(bytes). M is "" where data
 * digests are missing (a pulled layer). Small frames keep a merged view of many layers small;
 * readers take frames up to 1 MiB. Readers and writers hold one frame, whatever the layer's size.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/mem.h"
#include "base/str.h"

struct err;
struct manifest_reader;
struct manifest_view;
struct manifest_writer;

enum { MANIFEST_FRAME = 128 * 1024, MANIFEST_FRAME_MAX = 1 << 20 };

enum { PATH_BYTES_MAX = 4095 }; /* longest path of an entry */

/* One file, folder or mark. Texts are borrowed. */
struct entry {
	struct str path; /* without leading slash; "": the root itself */
	char kind; /* f file, d folder, l symlink, c b devices, p fifo, w whiteout, o opaque folder */
	uint32_t mode;         /* 07777 bits; not for l, w */
	uint32_t uid, gid;     /* not for w */
	uint32_t major, minor; /* c, b */
	uint64_t size;         /* f */
	struct str link;       /* l: its text */
	struct str group;      /* first name of its hard-link group; "" for that one itself */
	struct str xattrs;     /* cache/xattr's list */
	bool has_data;
	struct digest data; /* f: sha256 of its content, where has_data */
	int64_t mtime_ns;
	bool time; /* flag t: the time is of the step's own making */
	bool pair; /* flag F: a pair's data lies in its lower layer */
};

/* What entry_put() leaves out, written as "0": modes (but of l), owners. */
enum { ENTRY_MASK_MODE = 1, ENTRY_MASK_OWNER = 2 };

/* Appends E. */
void entry_put(const struct entry *e, unsigned mask, struct sb *out);

/* Order of paths: bytewise, "/" lowest. */
int entry_path_cmp(struct str a, struct str b);

/* Whether `path` is `dir` or lies below it; "" holds all. */
bool entry_path_under(struct str path, struct str dir);

struct manifest_total {
	struct digest m; /* zero: not known (data digests are missing) */
	struct digest diffid;
	uint64_t entries, bytes; /* bytes: sum of the sizes of f, each hard-link group once */
};

/* Starts a manifest as `name` (replaced by rename at the end) in a folder. Free with
 * manifest_writer_free(), which removes what was not ended. */
NODISCARD struct manifest_writer *manifest_writer_new(int dirfd, const char *name,
						      struct err **err);
/* Adds the next entry; the order is the caller's duty (BUG). */
NODISCARD int manifest_writer_add(struct manifest_writer *w, const struct entry *e,
				  struct err **err);
/* Writes the end and puts the file in its place. *ret: M (zero when an f had no digest), the diffID
 * given, entries, bytes. */
NODISCARD int manifest_writer_end(struct manifest_writer *w, const struct digest *diffid,
				  struct manifest_total *ret, struct err **err);
void manifest_writer_free(struct manifest_writer *w);
void manifest_writer_freep(struct manifest_writer **w);

/* Opens a manifest for reading. */
NODISCARD struct manifest_reader *manifest_open(int dirfd, const char *name, struct err **err);
/* The next entry: 1, 0 at the end, -1 (ERR_INTEGRITY: damaged; M is verified at the end where it is
 * there). Texts are valid until the next call. */
NODISCARD int manifest_next(struct manifest_reader *r, struct entry *ret, struct err **err);
/* What the end says; only after manifest_next() gave 0. */
void manifest_total(const struct manifest_reader *r, struct manifest_total *ret);
void manifest_close(struct manifest_reader *r);
void manifest_closep(struct manifest_reader **r);

/*
 * The merged view of a stack of layers: what a mount of them shows, in the order of paths, o as d
 * and without w.
 */

/* Makes a view of readers from the bottom, which it owns (also on failure, which can't be). */
struct manifest_view *manifest_view_new(struct manifest_reader **readers, size_t n);
/* The next entry and the number of its layer from the bottom; 1, 0, -1. `group` names a path of
 * that layer, which may be hidden. */
NODISCARD int manifest_view_next(struct manifest_view *v, struct entry *ret, size_t *ret_layer,
				 struct err **err);
void manifest_view_free(struct manifest_view *v);
void manifest_view_freep(struct manifest_view **v);
