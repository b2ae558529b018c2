#include "cache/pipe.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

enum { BLOCK = 256 * 1024, BLOCKS = 4 };

struct pipe {
	struct sink sink;
	struct sink *to;
	char *block[BLOCKS];
	size_t n[BLOCKS];
	unsigned head, tail; /* blocks given and taken so far */
	bool end, failed, running;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
};

static void *drain(void *arg)
{
	struct pipe *p = arg;
	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (p->head == p->tail && !p->end)
			pthread_cond_wait(&p->wake, &p->lock);
		if (p->head == p->tail)
			break;
		unsigned i = p->tail % BLOCKS;
		bool failed = p->failed;
		pthread_mutex_unlock(&p->lock);
		if (!failed)
			failed = io_write(p->to, p->block[i], p->n[i]) < 0;
		pthread_mutex_lock(&p->lock);
		p->failed = failed;
		p->n[i] = 0;
		p->tail++;
		pthread_cond_signal(&p->wake);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static bool start(struct pipe *p)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	p->running = pthread_create(&p->thread, NULL, drain, p) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return p->running;
}

/* Hands the block at hand over and waits until the next one is free. */
static int hand_over(struct pipe *p)
{
	if (!p->running && !start(p)) {
		/* No thread to be had: it is slower so, no more. */
		unsigned i = p->head % BLOCKS;
		p->failed = io_write(p->to, p->block[i], p->n[i]) < 0;
		p->n[i] = 0;
		return p->failed ? -1 : 0;
	}
	pthread_mutex_lock(&p->lock);
	p->head++;
	pthread_cond_signal(&p->wake);
	while (p->head - p->tail == BLOCKS)
		pthread_cond_wait(&p->wake, &p->lock);
	bool failed = p->failed;
	pthread_mutex_unlock(&p->lock);
	return failed ? -1 : 0;
}

/* Ends the thread; what was given has been written or has failed. */
static int join(struct pipe *p)
{
	if (!p->running)
		return p->failed ? -1 : 0;
	pthread_mutex_lock(&p->lock);
	p->end = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	p->running = false;
	return p->failed ? -1 : 0;
}

/* After a failure the thread is ended first: `to` and its error belong to it until then. */
static int take_error(struct pipe *p)
{
	if (join(p) < 0 && !p->sink.err)
		return err_move(&p->sink.err, STEAL(p->to->err));
	return -1;
}

static int pipe_write(struct sink *s, const void *data, size_t n)
{
	struct pipe *p = (struct pipe *)s;
	while (n) {
		unsigned i = p->head % BLOCKS;
		if (!p->block[i])
			p->block[i] = xmalloc(BLOCK);
		size_t k = BLOCK - p->n[i] < n ? BLOCK - p->n[i] : n;
		memcpy(p->block[i] + p->n[i], data, k);
		p->n[i] += k;
		data = (const char *)data + k;
		n -= k;
		if (p->n[i] == BLOCK && hand_over(p) < 0)
			return take_error(p);
	}
	return 0;
}

static int pipe_finish(struct sink *s)
{
	struct pipe *p = (struct pipe *)s;
	unsigned i = p->head % BLOCKS;
	/* Little enough never to have needed the thread: written here. */
	if (!p->running && p->n[i] && io_write(p->to, p->block[i], p->n[i]) < 0)
		return err_move(&s->err, STEAL(p->to->err));
	if (p->running && p->n[i] && hand_over(p) < 0)
		return take_error(p);
	if (join(p) < 0)
		return take_error(p);
	return io_sink_close(STEAL(p->to), true, &s->err);
}

static void pipe_close(struct sink *s)
{
	struct pipe *p = (struct pipe *)s;
	struct err *none = NULL;
	if (join(p) < 0)
		p->failed = true;
	if (io_sink_close(p->to, false, &none) < 0)
		err_drop(&none);
	for (int i = 0; i < BLOCKS; i++)
		free(p->block[i]);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->wake);
	free(p);
}

struct sink *pipe_sink(struct sink *to)
{
	struct pipe *p = xcalloc(1, sizeof(*p));
	p->sink = (struct sink){ .write = pipe_write, .finish = pipe_finish, .close = pipe_close };
	p->to = to;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	return &p->sink;
}

/* ---- hashing */

struct digest_sink {
	struct sink sink;
	struct sink *to;
	struct digester h;
	struct digest *ret;
};

static int digest_write(struct sink *s, const void *p, size_t n)
{
	struct digest_sink *d = (struct digest_sink *)s;
	digest_add(&d->h, p, n);
	if (d->to && io_write(d->to, p, n) < 0)
		return err_move(&s->err, STEAL(d->to->err));
	return 0;
}

static int digest_finish(struct sink *s)
{
	struct digest_sink *d = (struct digest_sink *)s;
	*d->ret = digest_peek(&d->h);
	return io_sink_close(STEAL(d->to), true, &s->err);
}

static void digest_close(struct sink *s)
{
	struct digest_sink *d = (struct digest_sink *)s;
	struct err *none = NULL;
	if (io_sink_close(d->to, false, &none) < 0)
		err_drop(&none);
	digest_abandon(&d->h);
	free(d);
}

struct sink *pipe_digest(struct sink *to, struct digest *ret)
{
	struct digest_sink *d = xcalloc(1, sizeof(*d));
	d->sink = (struct sink){ .write = digest_write,
				 .finish = digest_finish,
				 .close = digest_close };
	d->to = to;
	d->ret = ret;
	digest_begin(&d->h);
	return &d->sink;
}

struct digest_source {
	struct source source;
	struct source *from;
	struct sink *pipe; /* into a pipe_digest() */
	struct digest digest;
};

static ssize_t hashed_read(struct source *s, void *p, size_t n)
{
	struct digest_source *d = (struct digest_source *)s;
	ssize_t k = io_read(d->from, p, n);
	if (k < 0)
		return err_move(&s->err, STEAL(d->from->err));
	if (k && io_write(d->pipe, p, (size_t)k) < 0)
		return err_move(&s->err, STEAL(d->pipe->err));
	return k;
}

static void hashed_close(struct source *s)
{
	struct digest_source *d = (struct digest_source *)s;
	struct err *none = NULL;
	if (io_sink_close(d->pipe, false, &none) < 0)
		err_drop(&none);
	if (io_source_close(d->from, &none) < 0)
		err_drop(&none);
	free(d);
}

struct source *pipe_source(struct source *from)
{
	struct digest_source *d = xcalloc(1, sizeof(*d));
	d->source = (struct source){ .read = hashed_read, .close = hashed_close };
	d->from = from;
	d->pipe = pipe_sink(pipe_digest(NULL, &d->digest));
	return &d->source;
}

void pipe_source_end(struct source *s, struct digest *ret)
{
	struct digest_source *d = (struct digest_source *)s;
	struct err *e = NULL;
	if (io_sink_close(STEAL(d->pipe), true, &e) < 0)
		BUG("a hashing sink failed: %s", e->msg);
	*ret = d->digest;
}

struct count_source {
	struct source source;
	struct source *from;
	uint64_t *count;
};

static ssize_t counted_read(struct source *s, void *p, size_t n)
{
	struct count_source *c = (struct count_source *)s;
	ssize_t k = io_read(c->from, p, n);
	if (k < 0)
		return err_move(&s->err, STEAL(c->from->err));
	*c->count += (uint64_t)k;
	return k;
}

static void counted_close(struct source *s)
{
	struct count_source *c = (struct count_source *)s;
	struct err *none = NULL;
	if (io_source_close(c->from, &none) < 0)
		err_drop(&none);
	free(c);
}

struct source *pipe_count(struct source *from, uint64_t *count)
{
	struct count_source *c = xcalloc(1, sizeof(*c));
	c->source = (struct source){ .read = counted_read, .close = counted_close };
	c->from = from;
	c->count = count;
	return &c->source;
}
