/*
 * tree_internal: nodes of a tree and its stat cache, shared by the sources behind cache/tree.h.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/vec.h"
#include "cache/manifest.h"
#include "cache/tree.h"

struct cache;
struct err;

/* A file or folder. Once complete it is never changed, only replaced by a new node, so readers need
 * no lock. */
struct node {
	struct entry e; /* path: below the root; group stays "" */
	struct node *parent;
	struct node **child; /* by name; of a folder that was listed */
	size_t n_child;
	uint64_t dev, ino, nlink;
	uint32_t st_mode;
	int64_t ctime_ns;
	bool listed, stored; /* stored: the stat cache holds what is known of it */
	bool complete;       /* attributes and, of a file, the data digest are there */
	bool cacheable;      /* a folder: on a file system whose stat can be trusted */
	bool dirty;          /* a folder: the stat cache has to be written for its files */
	bool excluded;       /* a folder that the rules leave out but for something in it */
	bool empty_socket;   /* a socket, which counts as an empty file */
};

struct tree {
	int fd;
	const struct glob_set *ignore;
	bool context;
	struct store *store;
	pthread_mutex_t lock;
	struct arena *arena;
	struct node *root;
	char *buf;       /* for hashing; made when first needed */
	int64_t *layers; /* numbers of the layers that it shows, from the bottom */
	size_t n_layers, n_nodes;
	VEC(struct node *) dirty; /* folders whose stat rows changed */
	struct left_out {
		dev_t dev;
		ino_t ino;
	} out[8];
	size_t n_out;
};

/* Last component of a node's path. */
struct str node_name(const struct node *n);

/* Reads a folder's children, once. */
NODISCARD int tree_list(struct tree *t, struct cache *c, struct node *dir, struct err **err);

/* The node of a path by text: symlinks resolved inside the root. 1, 0 (not there; *ret_near: the
 * folder where the search ended, and the name that is missing), -1. */
struct near {
	struct node *dir;
	struct str name;
};
NODISCARD int tree_resolve(struct tree *t, struct cache *c, struct str path, struct node **ret,
			   struct near *ret_near, struct err **err);

/* Attributes and data digest of a node. */
NODISCARD int tree_complete(struct tree *t, struct node *n, bool data, struct err **err);

/* Opens a file or folder of the tree; no symlink is followed. */
int tree_open_path(const struct tree *t, struct str path, int flags);

/* Takes digests and attributes of what was listed from the manifests of the tree's layers. What
 * can't be read is left to be hashed. */
void tree_learn(struct tree *t);

/* The child of a listed folder, or NULL. */
struct node *tree_child(const struct node *dir, struct str name);
/* The node of a path as far as it was listed, or NULL. */
struct node *tree_at(const struct tree *t, struct str path);

/* Whether stat of this file system says all that the cache needs. */
bool tree_fs_trusted(int fd);
/* Fills what the stat cache knows of a listed folder's files. */
void tree_stat_load(struct tree *t, struct cache *c, struct node *dir);
/* Writes the rows of all folders that changed. A failure costs only the next look. */
void tree_stat_save(struct tree *t, struct cache *c);
