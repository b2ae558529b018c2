#include "cmd/session.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/pool.h"
#include "base/proc.h"
#include "cache/db.h"
#include "cache/store.h"
#include "registry/pull.h"
#include "runtime/spawner.h"
#include "runtime/strays.h"

struct session {
	struct session_options o;
	char *root, *run;
	struct store *store;
	struct cache *cache;
	struct registry *registry;
	struct pool *cpu;
	pthread_mutex_t lock; /* of `spawner` */
	pthread_t stopper;    /* takes SIGTSTP, where `stops` */
	bool stops;
	struct spawner *spawner;
	atomic_bool cancel;
	atomic_int signal;
	int wake;
};

/* The one session that signals are for. */
static struct session *signaled;

struct session *session_new(const struct session_options *o)
{
	struct session *s = xcalloc(1, sizeof(*s));
	s->o = *o;
	s->root = xstrdup(o->root ? o->root : "/var/lib/cbuild");
	s->run = o->root ? xasprintf("%s/run", o->root) : xstrdup("/run/cbuild");
	pthread_mutex_init(&s->lock, NULL);
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return s;
}

/* Starts `cbuild internal tail` in the background: syncfs and what may wait until the result was printed. */
static void start_tail(struct session *s)
{
	const char *const argv[] = { "cbuild", "--root", s->root, "internal", "tail", NULL };
	const char *const argv_default[] = { "cbuild", "internal", "tail", NULL };
	struct proc_options p = { .argv = s->o.root ? argv : argv_default,
				  .fds = { -1, -1, -1 },
				  .new_session = true };
	p.exec_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	pid_t pid;
	_cleanup_(err_dropp) struct err *e = NULL;
	if (p.exec_fd < 0 || proc_start(&p, &pid, NULL, &e) < 0)
		return; /* the next command that writes does it */
	close(p.exec_fd);
}

void session_free(struct session *s)
{
	if (!s)
		return;
	runtime_spawner_stop(s->spawner);
	registry_free(s->registry);
	pool_free(s->cpu);
	if (s->stops) {
		pthread_cancel(s->stopper);
		pthread_join(s->stopper, NULL);
	}
	cache_close(s->cache);
	bool tail = s->store && cache_store_needs_sync(s->store);
	if (tail && s->o.durable) {
		_cleanup_(err_dropp) struct err *e = NULL;
		if (cache_store_sync(s->store, &e) < 0)
			fprintf(stderr, "WARNING: %s\n", e->msg);
		tail = false;
	}
	cache_store_close(s->store);
	if (tail)
		start_tail(s);
	if (signaled == s)
		signaled = NULL;
	close(s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s->root);
	free(s->run);
	free(s);
}

static void warn(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "WARNING: %s\n", text);
}

int session_store(struct session *s, struct store **ret, struct err **err)
{
	if (!s->store) {
		struct store_options o = { .root = s->root,
					   .run = s->run,
					   .durable = s->o.durable,
					   .strays = runtime_strays_kill,
					   .warn = warn };
		s->store = cache_store_open(&o, err);
		if (!s->store)
			return -1;
	}
	*ret = s->store;
	return 0;
}

int session_cache(struct session *s, struct cache **ret, struct err **err)
{
	struct store *store;
	if (session_store(s, &store, err) < 0)
		return -1;
	if (!s->cache && !(s->cache = cache_open(store, err)))
		return -1;
	*ret = s->cache;
	return 0;
}

/* Takes SIGTSTP for the whole process: stops it between two transactions, never in one, so that other processes can write meanwhile. */
static void *stop_on_request(void *session)
{
	struct session *s = session;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	for (int sig; sigwait(&set, &sig) == 0;) {
		cache_store_pause(s->store);
		kill(getpid(), SIGSTOP);
		cache_store_resume(s->store);
	}
	return NULL;
}

/* Before other threads exist: they inherit that SIGTSTP is blocked. Where it is ignored it stays so. */
static void catch_stop(struct session *s)
{
	struct sigaction now;
	sigset_t all, before;
	sigfillset(&all);
	if (sigaction(SIGTSTP, NULL, &now) < 0 || now.sa_handler == SIG_IGN)
		return;
	pthread_sigmask(SIG_SETMASK, &all, &before);
	s->stops = pthread_create(&s->stopper, NULL, stop_on_request, s) == 0;
	if (s->stops)
		sigaddset(&before, SIGTSTP);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int session_cpu_pool(struct session *s, struct pool **ret, struct err **err)
{
	struct store *store;
	if (session_store(s, &store, err) < 0)
		return -1;
	if (!s->cpu) {
		long cores = sysconf(_SC_NPROCESSORS_ONLN);
		struct pool_context context = cache_pool_context(store);
		catch_stop(s);
		s->cpu = pool_new("cpu", cores > 1 ? (unsigned)cores : 2, &context);
	}
	*ret = s->cpu;
	return 0;
}

int session_registry(struct session *s, struct event_sink *events, struct registry **ret,
		     struct err **err)
{
	struct registry_options o = { .cancel = &s->cancel, .events = events };
	if (session_store(s, &o.store, err) < 0 || session_cpu_pool(s, &o.cpu, err) < 0)
		return -1;
	if (!s->registry)
		s->registry = registry_new(&o);
	*ret = s->registry;
	return 0;
}

int session_spawner(void *session, struct spawner **ret, struct err **err)
{
	struct session *s = session;
	pthread_mutex_lock(&s->lock);
	int r = 0;
	if (!s->spawner) {
		struct spawner_options o = { .run_fd = cache_store_run_fd(s->store),
					     .run_path = cache_store_run(s->store),
					     .store = cache_store_short_id(s->store) };
		r = cache_store_lease(s->store, err);
		if (!r) {
			o.lease = cache_store_lease_id(s->store);
			s->spawner = runtime_spawner_start(&o, err);
			r = s->spawner ? 0 : -1;
		}
	}
	*ret = s->spawner;
	pthread_mutex_unlock(&s->lock);
	return r;
}

static void on_signal(int sig)
{
	int saved = errno;
	struct session *s = signaled;
	if (s) {
		if (atomic_exchange(&s->cancel, true))
			_exit(128 + sig);
		atomic_store(&s->signal, sig);
		if (s->store)
			cache_store_cancel(s->store);
		uint64_t one = 1;
		ssize_t r = write(s->wake, &one, sizeof(one));
		(void)r;
	}
	errno = saved;
}

void session_catch_signals(struct session *s)
{
	signaled = s;
	struct sigaction a = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	sigemptyset(&a.sa_mask);
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		struct sigaction before;
		/* nohup: an ignored signal stays ignored */
		if (!sigaction(signals[i], NULL, &before) && before.sa_handler != SIG_IGN)
			sigaction(signals[i], &a, NULL);
	}
}

const atomic_bool *session_cancel_flag(const struct session *s)
{
	return &s->cancel;
}

int session_wake_fd(const struct session *s)
{
	return s->wake;
}

int session_signal(const struct session *s)
{
	return atomic_load(&s->signal);
}
