/*
 * pool: n threads and one queue. A job is a message: its inputs are moved in, its result is read by whoever waits for its
 * completion, which comes by `done` on the thread that calls pool_reap() (woken by an eventfd). A job never waits for a job.
 * Workers block all signals. Threads start with the first job.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "base/mem.h"

struct err;
struct pool;

struct pool_job {
	void (*run)(struct pool_job *job,
		    void *context);         /* on a worker; context is the thread's own */
	void (*done)(struct pool_job *job); /* on the reaping thread; may free the job */
	struct pool_job *next_;
};

struct pool_context {
	void *(*make)(void *arg);    /* on the worker at its first job; may be NULL */
	void (*free)(void *context); /* on the worker at its end */
	void *arg;
};

/* A pool of at most `threads`; context callbacks are copied. */
struct pool *pool_new(const char *name, unsigned threads, const struct pool_context *context);

/* Ends the workers after the jobs that run now; jobs in the queue are given to `done` without having run. */
void pool_free(struct pool *p);

/* Adds a job. Any thread. */
void pool_add(struct pool *p, struct pool_job *job);

/* Readable when a job has ended. */
int pool_fd(const struct pool *p);

/* Calls `done` for each job that has ended; the loop thread only. */
void pool_reap(struct pool *p);

/* Jobs added and not yet reaped. */
size_t pool_pending(const struct pool *p);
