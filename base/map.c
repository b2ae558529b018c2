#include "base/map.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

static uint64_t seed;

static void seed_once(void)
{
	static int done;
	if (__atomic_load_n(&done, __ATOMIC_ACQUIRE))
		return;
	uint64_t s = 0;
	if (getrandom(&s, sizeof(s), GRND_NONBLOCK) != sizeof(s))
		s = (uintptr_t)&done * UINT64_C(0x9e3779b97f4a7c15);
	uint64_t none = 0;
	__atomic_compare_exchange_n(&seed, &none, s | 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
	__atomic_store_n(&done, 1, __ATOMIC_RELEASE);
}

static size_t hash(struct str key)
{
	seed_once();
	uint64_t h = __atomic_load_n(&seed, __ATOMIC_RELAXED);
	for (size_t i = 0; i < key.n; i++) {
		h ^= (unsigned char)key.p[i];
		h *= UINT64_C(0x100000001b3);
		h ^= h >> 29;
	}
	h *= UINT64_C(0x9e3779b97f4a7c15);
	return (size_t)(h ^ h >> 32);
}

void map_release(struct map *m)
{
	for (size_t i = 0; i < m->used; i++)
		if (m->entries[i].live_)
			free((void *)(uintptr_t)m->entries[i].key.p);
	free(m->entries);
	free(m->slots);
	*m = (struct map){ 0 };
}

void map_releasep(struct map *m)
{
	map_release(m);
}

static struct map_entry *find(const struct map *m, struct str key, size_t h)
{
	if (!m->slots)
		return NULL;
	for (size_t i = h & m->mask; m->slots[i]; i = (i + 1) & m->mask) {
		struct map_entry *e = &m->entries[m->slots[i] - 1];
		if (e->live_ && e->hash_ == h && str_eq(e->key, key))
			return e;
	}
	return NULL;
}

/* Makes the tables anew without gaps, with room for one more. */
static void rebuild(struct map *m)
{
	size_t cap = m->n < 8 ? 16 : m->n * 2;
	struct map_entry *fresh = xcalloc(cap, sizeof(*fresh));
	size_t used = 0;
	for (size_t i = 0; i < m->used; i++)
		if (m->entries[i].live_)
			fresh[used++] = m->entries[i];
	free(m->entries);
	free(m->slots);
	size_t slots = 32;
	while (slots < cap * 2)
		slots *= 2;
	m->entries = fresh;
	m->used = used;
	m->cap = cap;
	m->mask = slots - 1;
	m->slots = xcalloc(slots, sizeof(*m->slots));
	for (size_t i = 0; i < used; i++) {
		size_t k = fresh[i].hash_ & m->mask;
		while (m->slots[k])
			k = (k + 1) & m->mask;
		m->slots[k] = (unsigned)i + 1;
	}
}

void **map_slot(struct map *m, struct str key)
{
	size_t h = hash(key);
	struct map_entry *e = find(m, key, h);
	if (!e) {
		if (m->used == m->cap)
			rebuild(m);
		e = &m->entries[m->used++];
		*e = (struct map_entry){ .key = { str_dup(key), key.n },
					 .hash_ = h,
					 .live_ = true };
		size_t k = h & m->mask;
		while (m->slots[k])
			k = (k + 1) & m->mask;
		m->slots[k] = (unsigned)m->used;
		m->n++;
	}
	return &e->value;
}

void *map_put(struct map *m, struct str key, void *value)
{
	void **slot = map_slot(m, key), *old = *slot;
	*slot = value;
	return old;
}

void *map_get(const struct map *m, struct str key)
{
	struct map_entry *e = m->n ? find(m, key, hash(key)) : NULL;
	return e ? e->value : NULL;
}

bool map_has(const struct map *m, struct str key)
{
	return m->n && find(m, key, hash(key));
}

void *map_del(struct map *m, struct str key)
{
	struct map_entry *e = m->n ? find(m, key, hash(key)) : NULL;
	if (!e)
		return NULL;
	void *value = e->value;
	free((void *)(uintptr_t)e->key.p);
	e->live_ = false;
	m->n--;
	return value;
}

struct map_entry *map_next(const struct map *m, size_t *i)
{
	while (*i < m->used) {
		struct map_entry *e = &m->entries[(*i)++];
		if (e->live_)
			return e;
	}
	return NULL;
}
