/*
 * layer_internal: what the sources behind cache/layer.h share.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"
#include "base/mem.h"
#include "cache/internal.h"
#include "cache/layer.h"

struct err;
struct manifest_total;
struct stat;

struct work {
	struct store *store;
	int64_t id;
	char *path; /* "tmp/<lease>/<number>" below the root */
	int fs_fd;
	bool committed;
	bool lasting;     /* a container's: mounted again and again, never `volatile` */
	struct map marks; /* paths with the step's own time */
};

enum { LAYER_PATH = 48 };

/* "layers/<id>/NAME" below the store's root; returns buf. */
char *layer_path(char buf[LAYER_PATH], int64_t id, const char *name);
/* Opens a layer's fs folder (O_PATH) or its own folder (name ""). ERR_NOT_FOUND. */
NODISCARD int layer_open(struct store *s, int64_t id, const char *name, int *ret_fd,
			 struct err **err);

/* Writes the text of kind. */
const char *layer_kind_text(enum layer_kind kind);

/* Removes overlay's work folder and renames the work to layers/<id>; rows are the caller's. */
NODISCARD int layer_publish(struct work *w, struct err **err);

/* Reads the folder `dir`/fs, writes its manifest beside it; M and diffID in *ret. See
 * cache_layer_seal(). */
NODISCARD int layer_seal_folder(struct store *store, int dir, int64_t started_ns,
				struct manifest_total *ret, struct err **err);

/* The name of the file beside fs that carries a work's marks to the seal; gone after it. */
#define LAYER_MARKS "marks"

/* Digest of the root entry (without its time) of a folder that is open for reading; its attributes
 * and stat beside. */
NODISCARD int layer_root_digest(int fd, struct sb *xattrs, struct stat *st, struct digest *ret,
				struct err **err);

/* Attribute of a work's root: digest of the root entry that it began with. */
#define LAYER_ROOT_XATTR "trusted.overlay.cbuild.root"
