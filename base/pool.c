#include "base/pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include "base/err.h"

struct list {
	struct pool_job *head, **tail;
};

struct pool {
	char name[12];
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct list queue, ended;
	pthread_t *threads;
	unsigned max, started, idle;
	size_t pending, queued;
	int event;
	bool stop;
	struct pool_context context;
};

static void put(struct list *l, struct pool_job *job)
{
	job->next_ = NULL;
	*l->tail = job;
	l->tail = &job->next_;
}

static struct pool_job *take_all(struct list *l)
{
	struct pool_job *all = l->head;
	l->head = NULL;
	l->tail = &l->head;
	return all;
}

static struct pool_job *take(struct list *l)
{
	struct pool_job *job = l->head;
	l->head = job->next_;
	if (!l->head)
		l->tail = &l->head;
	return job;
}

static void *worker(void *arg)
{
	struct pool *p = arg;
	prctl(PR_SET_NAME, p->name);
	void *context = NULL;
	bool made = false;
	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (!p->queue.head && !p->stop) {
			p->idle++;
			pthread_cond_wait(&p->wake, &p->lock);
			p->idle--;
		}
		if (p->stop)
			break;
		struct pool_job *job = take(&p->queue);
		p->queued--;
		pthread_mutex_unlock(&p->lock);
		if (!made && p->context.make)
			context = p->context.make(p->context.arg);
		made = true;
		job->run(job, context);
		pthread_mutex_lock(&p->lock);
		put(&p->ended, job);
		uint64_t one = 1;
		if (write(p->event, &one, sizeof(one)) != sizeof(one) && errno != EAGAIN)
			BUG("eventfd of pool %s", p->name);
	}
	pthread_mutex_unlock(&p->lock);
	if (made && p->context.free)
		p->context.free(context);
	return NULL;
}

struct pool *pool_new(const char *name, unsigned threads, const struct pool_context *context)
{
	struct pool *p = xcalloc(1, sizeof(*p));
	snprintf(p->name, sizeof(p->name), "%s", name);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	p->queue.tail = &p->queue.head;
	p->ended.tail = &p->ended.head;
	p->max = threads ? threads : 1;
	p->threads = xcalloc(p->max, sizeof(*p->threads));
	p->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->event < 0)
		BUG("no eventfd for pool %s", name);
	if (context)
		p->context = *context;
	return p;
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->started; i++)
		pthread_join(p->threads[i], NULL);
	pool_reap(p);
	for (struct pool_job *j = take_all(&p->queue), *next; j; j = next) {
		next = j->next_;
		j->done(j);
	}
	close(p->event);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->wake);
	free(p->threads);
	free(p);
}

static void start_thread(struct pool *p)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (!pthread_create(&p->threads[p->started], NULL, worker, p))
		p->started++;
	else if (!p->started)
		BUG("no thread for pool %s", p->name);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void pool_add(struct pool *p, struct pool_job *job)
{
	pthread_mutex_lock(&p->lock);
	put(&p->queue, job);
	p->pending++;
	if (++p->queued > p->idle && p->started < p->max)
		start_thread(p);
	else
		pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
}

int pool_fd(const struct pool *p)
{
	return p->event;
}

void pool_reap(struct pool *p)
{
	uint64_t count;
	ssize_t r = read(p->event, &count, sizeof(count));
	(void)r; /* EAGAIN: nothing new, the list says it */
	pthread_mutex_lock(&p->lock);
	struct pool_job *all = take_all(&p->ended);
	pthread_mutex_unlock(&p->lock);
	for (struct pool_job *next; all; all = next) {
		next = all->next_;
		pthread_mutex_lock(&p->lock);
		p->pending--;
		pthread_mutex_unlock(&p->lock);
		all->done(all);
	}
}

size_t pool_pending(const struct pool *p)
{
	struct pool *q = (struct pool *)(uintptr_t)p;
	pthread_mutex_lock(&q->lock);
	size_t n = p->pending;
	pthread_mutex_unlock(&q->lock);
	return n;
}
