/*
 * store: one store on disk, one `struct store` a process, shared by its threads: folders, locks, the lease, the write mutex.
 *
 * Folders: index.db cache.db blobs/ layers/<n>/{fs,manifest} tmp/<lease>/ tmp/partial/ trash/ containers/ locks/
 * leases/ logs/ lock images.json hmac.key; the run folder beside: mnt/ steps/.
 * Locks die with their holder: flock on `lock` (shared by every command; exclusive for creation, migration, repair), on
 * leases/<id> for life; OFD byte locks on locks/steps for steps. Never a pid as proof of life.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/mem.h"
#include "base/str.h"

struct err;
struct store;

struct store_options {
	const char *root; /* the store's folder; made when missing */
	const char *run;  /* the run folder; made when missing */
	bool durable;     /* wait for syncfs instead of leaving it to a detached tail */
	bool read_only;   /* the command writes nothing: no sweep */
	/* Kills what the RUNs and containers of a dead lease left and waits until it is gone; called before anything of the lease
	 * is removed. NULL where the process starts none. `run_fd` is the run folder. */
	int (*strays)(void *arg, int run_fd, const char *lease, struct err **err);
	void *strays_arg;
	/* What the user should be told (a damaged row was dropped, cache.db is not written any more); any thread; NULL: the log. */
	void (*warn)(void *arg, const char *text);
	void *warn_arg;
};

/* Opens (and creates) a store: checks the file system (NFS, CIFS, 9p are refused), the schema, takes the shared lock; the first
 * command that writes sweeps what dead leases left. ERR_UNSUPPORTED for a newer schema. Free with cache_store_close(). */
NODISCARD struct store *cache_store_open(const struct store_options *o, struct err **err);
/* Releases the lease and its pins, clears trash, closes. NULL is fine. */
void cache_store_close(struct store *s);

/* O_PATH-like directory descriptors of the root and run folders, and the root's path; owned by the store. */
int cache_store_root_fd(const struct store *s);
int cache_store_run_fd(const struct store *s);
const char *cache_store_root(const struct store *s);
const char *cache_store_run(const struct store *s);
/* 8 hex of the store's uuid: names its cgroup folder. */
const char *cache_store_short_id(const struct store *s);

/* From now on writers that meet another process's write fail with ERR_CANCELED instead of waiting. Any thread, also a handler. */
void cache_store_cancel(struct store *s);
/* Waits until no thread writes and keeps it so until cache_store_resume(): around a stop by SIGTSTP, since a stopped writer would
 * block those of all processes. */
void cache_store_pause(struct store *s);
void cache_store_resume(struct store *s);

/* Makes this process's lease before its first write and the folder tmp/<lease>; idempotent; any thread. */
NODISCARD int cache_store_lease(struct store *s, struct err **err);
/* "<16 hex>" once cache_store_lease() has succeeded, else NULL. */
const char *cache_store_lease_id(const struct store *s);

/* A fresh number for files of this lease (run records, temporary names). Any thread. */
uint64_t cache_store_counter(struct store *s);

/* Renames `path` (below the root) into trash/ and removes it later; absent is fine. */
NODISCARD int cache_store_trash(struct store *s, const char *path, struct err **err);

/* Whether there is something for `internal tail` to do: what this process wrote awaits syncfs, or a database's log is long. */
bool cache_store_needs_sync(const struct store *s);
/* syncfs, boot marks of layers, checkpoints: what runs after the result was printed. */
NODISCARD int cache_store_sync(struct store *s, struct err **err);

/* Step locks: an OFD lock on one byte of locks/steps for key K. 1: taken, *ret_fd holds it until closed; 0: another process
 * holds it; -1 on failure. */
NODISCARD int cache_step_lock(struct store *s, const struct digest *k, int *ret_fd,
			      struct err **err);
