#include "registry/push.h"

#include <pthread.h>

#include "base/err.h"
#include "base/log.h"
#include "base/pool.h"
#include "cache/blob.h"
#include "cache/db.h"
#include "cache/name.h"
#include "cache/oci.h"
#include "cache/record.h"
#include "registry/choose.h"
#include "registry/client.h"
#include "registry/hosts.h"
#include "registry/progress.h"
#include "registry/session.h"
#include "registry/upload.h"

enum { MANIFEST_MAX = 4 * 1024 * 1024, ASK_TAGS_FROM = 8, MANIFEST_TRIES = 4 };

struct blob {
	struct push *push;
	const struct oci_descriptor *d;
	bool started, done;
	enum upload_way way;
	struct progress progress;
};

struct push {
	struct registry *r;
	struct cache *c;
	struct host *host;
	const struct ref *to;
	struct str tag;
	struct digest vertex;
	struct oci_descriptor descriptor; /* of the manifest */
	struct oci_manifest manifest;
	struct str bytes; /* the manifest's */
	struct blob *blobs;
	size_t n, running;
	bool ask; /* HEAD before sending */
	atomic_bool mounts_refused, stop;
	struct err *err; /* the first failure */
};

struct job {
	struct pool_job base;
	struct blob *blob; /* NULL once it has run */
};

/* ---- one blob, on a transfer thread */

static int send_blob(struct blob *b, struct cache *c, struct err **err)
{
	struct push *p = b->push;
	struct http *http = NULL;
	_cleanup_close_ int fd = -1;
	uint64_t size;
	_cleanup_(sb_releasep) struct sb from = { .max = 512 };
	if (cache_blob_open(c, &b->d->digest, &fd, &size, err) < 0)
		return -1;
	_cleanup_(err_dropp) struct err *ignored = NULL;
	/* A guess: without it the blob is sent. */
	if (cache_source_get(c, &b->d->digest, str_c(p->host->name), p->to->path, &from, &ignored) <
	    0)
		sb_reset(&from);
	if (registry_http_take(p->r, &http, err) < 0)
		return -1;
	struct upload u = { .host = p->host,
			    .repo = p->to->path,
			    .digest = b->d->digest,
			    .size = size,
			    .fd = fd,
			    .ask = p->ask,
			    .mount_from = sb_str(&from),
			    .mounts_refused = &p->mounts_refused,
			    .stop = &p->stop,
			    .progress = progress_moved,
			    .arg = &b->progress };
	int r = upload_blob(p->r, http, &u, &b->way, err);
	registry_http_give(p->r, http);
	err_drop(&ignored);
	if (!r &&
	    cache_source_put(c, &b->d->digest, str_c(p->host->name), p->to->path, &ignored) < 0)
		log_debug("note where %s is: %s", b->push->host->name, ignored->msg);
	return r;
}

static void ended(struct blob *b, struct err *e)
{
	struct push *p = b->push;
	pthread_mutex_lock(&p->r->lock);
	p->host->running--;
	p->running--;
	b->done = !e;
	if (e && !p->err)
		p->err = e;
	else
		err_drop(&e);
	if (p->err)
		atomic_store(&p->stop, true);
	pthread_cond_broadcast(&p->r->changed);
	pthread_mutex_unlock(&p->r->lock);
}

static void run_job(struct pool_job *base, void *context)
{
	struct blob *b = STEAL(((struct job *)(void *)base)->blob);
	struct err *e = NULL;
	_cleanup_(cache_closep) struct cache *opened = NULL;
	struct cache *c = context ? context : (opened = cache_open(b->push->r->o.store, &e));
	if (c && !send_blob(b, c, &e))
		progress_show(&b->progress, b->d->size, EVENT_DONE);
	ended(b, e);
}

static void job_done(struct pool_job *base)
{
	struct job *j = (struct job *)(void *)base;
	if (j->blob) {
		struct err *e = NULL;
		err_set(&e, ERR_CANCELED, "canceled");
		ended(j->blob, e);
	}
	free(j);
}

/* ---- the coordinator */

/* Starts what can start; true while something is to be waited for. Called with the lock held. */
static bool advance(struct push *p, struct pool *pool)
{
	bool open = false;
	for (size_t i = 0; i < p->n && !p->err; i++) {
		struct blob *b = &p->blobs[i];
		open |= !b->done;
		if (b->started || p->host->running >= TRANSFERS_PER_HOST)
			continue;
		struct job *j = xcalloc(1, sizeof(*j));
		j->base.run = run_job;
		j->base.done = job_done;
		j->blob = b;
		b->started = true;
		p->running++;
		p->host->running++;
		pool_add(pool, &j->base);
	}
	return p->running || (open && !p->err);
}

static int send_blobs(struct push *p, struct err **err)
{
	struct registry *r = p->r;
	struct pool *pool = registry_transfers(r);
	for (size_t i = 0; i < p->n; i++)
		p->blobs[i].started = p->blobs[i].done = false;
	pthread_mutex_lock(&r->lock);
	while (advance(p, pool))
		pthread_cond_wait(&r->changed, &r->lock);
	pthread_mutex_unlock(&r->lock);
	pool_reap(pool);
	return p->err ? err_move(err, STEAL(p->err)) : 0;
}

/* Each blob once; foreign layers stay where they are. */
static void list_blobs(struct push *p)
{
	p->blobs = xcalloc(p->manifest.n_entries + 1, sizeof(*p->blobs));
	for (size_t i = 0; i <= p->manifest.n_entries; i++) {
		const struct oci_descriptor *d =
			i < p->manifest.n_entries ? &p->manifest.entries[i] : &p->manifest.config;
		bool known = choose_is_foreign(d) && d->n_urls;
		for (size_t k = 0; k < p->n && !known; k++)
			known = digest_eq(&p->blobs[k].d->digest, &d->digest);
		if (!known)
			p->blobs[p->n++] = (struct blob){ .push = p,
							  .d = d,
							  .progress = { .events = p->r->o.events,
									.vertex = p->vertex,
									.blob = d } };
	}
}

/* With many blobs one question may spare as many: a repository that is not there has none of them. */
static int look_for_repository(struct push *p, struct http *http, struct err **err)
{
	_cleanup_free_ char *scopes = xasprintf("repository:%.*s:pull,push", STR_ARG(p->to->path));
	struct call c = { .host = p->host,
			  .repo = p->to->path,
			  .path = STR("tags/list?n=1"),
			  .scopes = str_c(scopes),
			  .http = { .method = "GET", .max_body = MANIFEST_MAX } };
	_cleanup_(http_response_releasep) struct http_response r = { 0 };
	p->ask = true;
	if (p->n < ASK_TAGS_FROM)
		return 0;
	if (client_call(p->r, http, &c, &r, err) < 0)
		return -1;
	p->ask = r.status != 404;
	return 0;
}

/* ---- the manifest */

static int manifest_refused(const struct push *p, const struct call *c,
			    const struct http_response *r, struct err **err)
{
	bool oci = str_starts(p->descriptor.media_type, STR("application/vnd.oci."));
	client_error(c, r, err);
	if (r->status == 413)
		err_hint(err, "the registry takes no manifest of %zu bytes", p->bytes.n);
	if (oci &&
	    (r->status == 415 ||
	     (r->status == 400 &&
	      str_find_str(sb_str(&r->body), STR("MANIFEST_INVALID"), 0) != SIZE_MAX)))
		err_hint(
			err,
			"a registry that knows Docker's media types alone needs --output type=image,push=true,oci-mediatypes=false");
	return -1;
}

/* *ret_missing: the registry does not see a blob that it has told us it has. */
static int put_manifest(struct push *p, struct http *http, bool *ret_missing, struct err **err)
{
	_cleanup_free_ char *path = xasprintf("manifests/%.*s", STR_ARG(p->tag));
	_cleanup_free_ char *scopes = xasprintf("repository:%.*s:pull,push", STR_ARG(p->to->path));
	struct http_header type = { STR("Content-Type"), p->descriptor.media_type };
	struct call c = { .host = p->host,
			  .repo = p->to->path,
			  .path = str_c(path),
			  .scopes = str_c(scopes),
			  .http = { .method = "PUT",
				    .headers = &type,
				    .n_headers = 1,
				    .has_body = true,
				    .body = p->bytes } };
	_cleanup_(http_response_releasep) struct http_response r = { 0 };
	if (client_call(p->r, http, &c, &r, err) < 0)
		return -1;
	*ret_missing = (r.status == 400 || r.status == 404) &&
		str_find_str(sb_str(&r.body), STR("BLOB_UNKNOWN"), 0) != SIZE_MAX;
	if (r.status != 201 && r.status != 200 && r.status != 202)
		return manifest_refused(p, &c, &r, err);
	struct digest d;
	_cleanup_(err_dropp) struct err *other = NULL;
	if (!digest_parse(http_header(&r, "docker-content-digest", 0), &d, &other) &&
	    !digest_eq(&d, &p->descriptor.digest))
		return err_set(err, ERR_INTEGRITY,
			       "the registry stored the manifest with another digest");
	return 0;
}

/* A blob may become visible late, or have been collected between HEAD and PUT: then all are asked for again, once. */
static int finish(struct push *p, struct http *http, struct err **err)
{
	for (int i = 0;; i++) {
		struct err *e = NULL;
		bool missing = false;
		if (!put_manifest(p, http, &missing, &e))
			return 0;
		if (!missing || i + 1 == MANIFEST_TRIES)
			return err_move(err, e);
		err_drop(&e);
		int64_t unit = p->r->retry.unit_ms ? p->r->retry.unit_ms : 500;
		p->ask = true;
		if (retry_sleep(p->r->o.cancel, unit << i, err) < 0 ||
		    (i == 0 && send_blobs(p, err) < 0))
			return -1;
	}
}

static void count(const struct push *p, struct pushed *ret)
{
	*ret = (struct pushed){ .manifest = p->descriptor.digest,
				.manifest_size = p->descriptor.size };
	for (size_t i = 0; i < p->n; i++) {
		ret->there += p->blobs[i].way == UPLOAD_THERE;
		ret->mounted += p->blobs[i].way == UPLOAD_MOUNTED;
		ret->sent += p->blobs[i].way == UPLOAD_SENT;
		ret->sent_bytes += p->blobs[i].way == UPLOAD_SENT ? p->blobs[i].d->size : 0;
	}
}

static int run(struct push *p, struct err **err)
{
	struct http *http = NULL;
	if (registry_http_take(p->r, &http, err) < 0)
		return -1;
	int r = look_for_repository(p, http, err);
	if (!r)
		r = send_blobs(p, err);
	if (!r)
		r = finish(p, http, err);
	registry_http_give(p->r, http);
	return r;
}

static int prepare(struct push *p, struct arena *a, const struct digest *image_id,
		   const struct push_options *o, struct err **err)
{
	_cleanup_(sb_releasep) struct sb bytes;
	sb_init(&bytes, MANIFEST_MAX);
	if (cache_image_manifest(p->c, a, image_id, o->form ? o->form : "gzip", &p->descriptor,
				 err) < 0 ||
	    cache_blob_read(p->c, &p->descriptor.digest, &bytes, err) < 0)
		return -1;
	p->bytes = arena_str(a, sb_str(&bytes));
	if (oci_manifest_parse(a, p->bytes, p->descriptor.media_type, &p->manifest, err) < 0)
		return -1;
	list_blobs(p);
	return hosts_get(p->r->hosts, p->to->domain, &p->host, err);
}

int registry_push(struct registry *r, struct cache *c, struct arena *a,
		  const struct digest *image_id, const struct ref *to, const struct push_options *o,
		  struct pushed *ret, struct err **err)
{
	struct push p = { .r = r,
			  .c = c,
			  .to = to,
			  .vertex = o->vertex,
			  .tag = to->tag.n ? to->tag : STR("latest") };
	struct str name = ref_full(a, to);
	int rc = prepare(&p, a, image_id, o, err);
	if (!rc)
		rc = run(&p, err);
	if (!rc)
		count(&p, ret);
	free(p.blobs);
	return rc < 0 ? err_wrap(err, "push '%.*s'", STR_ARG(name)) : 0;
}
