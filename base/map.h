/*
 * map: a hash map from byte strings to pointers. Keys are copied; values belong to the caller. Iteration is in the order of
 * insertion. The hash is keyed at random per process, so that input cannot aim at it. One thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct map_entry {
	struct str key; /* owned by the map */
	void *value;
	size_t hash_;
	bool live_;
};

struct map {
	struct map_entry *entries; /* in order of insertion; gaps have live_ false */
	size_t n, used, cap;       /* n live ones of `used` */
	unsigned *slots;           /* index + 1, or 0 */
	size_t mask;
};

/* A zeroed struct map is an empty map. Frees keys and tables, not values. */
void map_release(struct map *m);
void map_releasep(struct map *m);

/* The value of a key, or NULL. */
void *map_get(const struct map *m, struct str key);
bool map_has(const struct map *m, struct str key);

/* Sets a key's value; the value it had before, or NULL. */
void *map_put(struct map *m, struct str key, void *value);

/* The address of a key's value, made with NULL where it was not there. Valid until the next change. */
void **map_slot(struct map *m, struct str key);

/* Removes a key; its value, or NULL. */
void *map_del(struct map *m, struct str key);

/* Iterates: `size_t i = 0; struct map_entry *e; while ((e = map_next(&m, &i)))`. Values may change meanwhile, keys may not. */
struct map_entry *map_next(const struct map *m, size_t *i);
