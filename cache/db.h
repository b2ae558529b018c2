/*
 * db: a thread's connections to index.db (truth) and cache.db (guesses) over one store. `struct cache` belongs to the thread that
 * opened it. Reads take no lock; writes are short, BEGIN IMMEDIATE, one at a time in a process by the store's mutex; no I/O, wait
 * or lock inside. A build's loop thread only reads until its graph has ended. Schema and row sums: cache/schema.h.
 */
#pragma once

#include "base/mem.h"
#include "base/pool.h"

struct cache;
struct err;
struct store;

/* Opens this thread's connections (0.1 ms). Free with cache_close() on the same thread. */
NODISCARD struct cache *cache_open(struct store *s, struct err **err);
void cache_close(struct cache *c);
void cache_closep(struct cache **c);

/* For pool_new(): each worker has its own struct cache; NULL where it did not open (a job then tries again or fails; why: the log). */
struct pool_context cache_pool_context(struct store *s);

/* The store it was opened over. */
struct store *cache_store_of(const struct cache *c);
