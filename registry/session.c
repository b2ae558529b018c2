#include "registry/session.h"

#include <unistd.h>

#include "base/err.h"
#include "base/pool.h"
#include "cache/db.h"
#include "registry/auth.h"
#include "registry/creds.h"
#include "registry/hosts.h"
#include "registry/http.h"

struct registry *registry_new_with(const struct registry_options *o,
				   const struct hosts_options *hosts, unsigned retry_ms,
				   unsigned stall_s)
{
	struct registry *r = xcalloc(1, sizeof(*r));
	r->o = *o;
	r->retry = (struct retry){ .cancel = o->cancel, .unit_ms = retry_ms };
	r->stall_s = stall_s;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->changed, NULL);
	r->hosts = hosts_new(hosts);
	r->creds = creds_new(o->offline);
	r->auth = auth_new(
		&(struct auth_options){ .hosts = r->hosts, .creds = r->creds, .retry = &r->retry });
	return r;
}

struct registry *registry_new(const struct registry_options *o)
{
	return registry_new_with(o, NULL, 0, 0);
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	pool_free(r->transfers);
	pool_free(r->own_cpu);
	for (unsigned i = 0; i < r->n_idle; i++)
		http_free(r->idle[i]);
	auth_free(r->auth);
	creds_free(r->creds);
	hosts_free(r->hosts);
	map_release(&r->warned);
	map_release(&r->fetching);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->changed);
	free(r);
}

int registry_http_take(struct registry *r, struct http **ret, struct err **err)
{
	if (r->o.offline)
		return err_set(err, ERR_NETWORK, "no connection is made: --offline");
	struct http *h = NULL;
	pthread_mutex_lock(&r->lock);
	if (r->n_idle)
		h = r->idle[--r->n_idle];
	pthread_mutex_unlock(&r->lock);
	if (!h)
		h = http_new(&(struct http_options){ .cancel = r->o.cancel, .stall_s = r->stall_s },
			     err);
	if (!h)
		return -1;
	*ret = h;
	return 0;
}

void registry_http_give(struct registry *r, struct http *h)
{
	if (!h)
		return;
	pthread_mutex_lock(&r->lock);
	bool kept = r->n_idle < ARRAY_SIZE(r->idle);
	if (kept)
		r->idle[r->n_idle++] = h;
	pthread_mutex_unlock(&r->lock);
	if (!kept)
		http_free(h);
}

static struct pool *pool_of(struct registry *r, struct pool **at, const char *name,
			    unsigned threads)
{
	const struct pool_context context = cache_pool_context(r->o.store);
	pthread_mutex_lock(&r->lock);
	if (!*at)
		*at = pool_new(name, threads, &context);
	struct pool *p = *at;
	pthread_mutex_unlock(&r->lock);
	return p;
}

struct pool *registry_transfers(struct registry *r)
{
	return pool_of(r, &r->transfers, "transfer", TRANSFERS);
}

struct pool *registry_cpu(struct registry *r)
{
	if (r->o.cpu)
		return r->o.cpu;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	return pool_of(r, &r->own_cpu, "cpu", cores > 1 && cores < 64 ? (unsigned)cores : 2);
}

void registry_warn(struct registry *r, struct str text)
{
	pthread_mutex_lock(&r->lock);
	bool fresh = !map_has(&r->warned, text) && r->warned.n < 100;
	if (fresh)
		map_put(&r->warned, text, r);
	pthread_mutex_unlock(&r->lock);
	if (fresh)
		event_emit(r->o.events, &(struct event){ .kind = EVENT_WARNING, .text = text });
}

bool registry_canceled(const struct registry *r)
{
	return r->o.cancel && atomic_load_explicit(r->o.cancel, memory_order_relaxed);
}
