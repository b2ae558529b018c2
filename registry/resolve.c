#include "registry/pull.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "cache/blob.h"
#include "cache/record.h"
#include "registry/choose.h"
#include "registry/client.h"
#include "registry/fetch.h"
#include "registry/hosts.h"
#include "registry/session.h"

enum { JSON_MAX = 4 * 1024 * 1024, MAX_NESTING = 4 };

/* One resolution. */
struct resolve {
	struct registry *r;
	struct cache *c;
	struct arena *a;
	const struct ref *ref;
	struct str full; /* full reference */
	const struct oci_platform *wanted;
	struct str platform; /* its text */
	struct http *http;   /* NULL until something is asked */
	struct resolved out;
};

/* ---- what is here */

/* Bytes of a blob; *ret_found false when it is not here. */
static int read_blob(struct resolve *s, const struct digest *d, bool *ret_found, struct str *ret,
		     struct err **err)
{
	_cleanup_(sb_releasep) struct sb b;
	sb_init(&b, JSON_MAX);
	if (cache_blob_has(s->c, d, ret_found, NULL, err) < 0)
		return -1;
	if (!*ret_found)
		return 0;
	if (cache_blob_read(s->c, d, &b, err) < 0)
		return -1;
	*ret = arena_str(s->a, sb_str(&b));
	return 0;
}

/* The local image of that name, where it is of the wanted platform and has all its layers. */
static int from_name(struct resolve *s, bool *ret_found, struct err **err)
{
	struct digest id;
	_cleanup_(err_dropp) struct err *e = NULL;
	*ret_found = false;
	if (cache_name_get(s->c, s->full, &id, &e) < 0)
		return e->code == ERR_NOT_FOUND ? 0 : err_move(err, STEAL(e));
	struct image image;
	if (cache_image_get(s->c, s->a, &id, &image, &e) < 0)
		return e->code == ERR_NOT_FOUND ? 0 : err_move(err, STEAL(e));
	struct resolved *o = &s->out;
	if (oci_image_parse(s->a, image.config, &o->image, err) < 0)
		return -1;
	if (oci_platform_rank(s->wanted, &o->image.platform) < 0 || !chain_complete(&image.chain))
		return 0;
	o->config = image.config;
	o->config_digest = image.id;
	o->manifest_digest = image.manifest;
	o->chain = image.chain;
	o->local = true;
	*ret_found = true;
	return 0;
}

/* ---- what must be asked */

static int get_http(struct resolve *s, struct err **err)
{
	return s->http ? 0 : registry_http_take(s->r, &s->http, err);
}

static int keep(struct resolve *s, struct str bytes, struct err **err)
{
	struct digest d;
	return cache_blob_put(s->c, bytes, &d, err);
}

/* A manifest from the registry: mirrors first, the source last. By tag only where a mirror may resolve. */
static int ask_manifest(struct resolve *s, struct str what, const struct digest *expected,
			struct client_manifest *ret, struct err **err)
{
	struct host *host;
	if (hosts_get(s->r->hosts, s->ref->domain, &host, err) < 0 || get_http(s, err) < 0)
		return -1;
	if (host->warning)
		registry_warn(s->r, str_c(host->warning));
	for (size_t i = 0; i < host->n_mirrors; i++) {
		struct host *m = host->mirrors[i];
		_cleanup_(err_dropp) struct err *e = NULL;
		if ((!expected && !m->resolves) || clock_mono_ns() < atomic_load(&m->dead_until))
			continue;
		if (!client_manifest_get(s->r, s->http, m, s->ref->path, what, expected, ret, &e))
			return 0;
		if (e->code == ERR_CANCELED)
			return err_move(err, STEAL(e));
		if (e->code == ERR_NETWORK || e->code == ERR_TIMEOUT)
			atomic_store(&m->dead_until, clock_mono_ns() + INT64_C(30000000000));
		log_debug("mirror %s: %s", m->name, e->msg);
	}
	return client_manifest_get(s->r, s->http, host, s->ref->path, what, expected, ret, err);
}

/* Bytes and media type of a manifest by digest: from the store, else from the registry, and then kept. */
static int manifest_by_digest(struct resolve *s, const struct digest *d, struct str media_type,
			      bool ask, bool *ret_found, struct str *ret, struct str *ret_type,
			      struct err **err)
{
	*ret_type = media_type;
	if (read_blob(s, d, ret_found, ret, err) < 0)
		return -1;
	if (*ret_found || !ask)
		return 0;
	char text[DIGEST_TEXT];
	_cleanup_(client_manifest_releasep) struct client_manifest m = { 0 };
	if (ask_manifest(s, str_c(digest_text(d, text)), d, &m, err) < 0)
		return -1;
	if (keep(s, sb_str(&m.bytes), err) < 0)
		return -1;
	*ret = arena_str(s->a, sb_str(&m.bytes));
	*ret_type = m.media_type.n ? arena_str(s->a, sb_str(&m.media_type)) : media_type;
	*ret_found = true;
	return 0;
}

static int config_of(struct resolve *s, bool ask, bool *ret_found, struct err **err)
{
	struct resolved *o = &s->out;
	const struct oci_descriptor *d = &o->manifest.config;
	if (d->size > JSON_MAX)
		return err_set(err, ERR_LIMIT, "its config has %llu bytes, %d are the limit",
			       (unsigned long long)d->size, JSON_MAX);
	if (read_blob(s, &d->digest, ret_found, &o->config, err) < 0)
		return -1;
	if (!*ret_found && !ask)
		return 0;
	if (!*ret_found) {
		struct host *host;
		if (hosts_get(s->r->hosts, s->ref->domain, &host, err) < 0)
			return -1;
		struct fetch f = { .host = host, .repo = s->ref->path, .blob = d };
		_cleanup_(sb_releasep) struct sb bytes = { 0 };
		if (get_http(s, err) < 0 || fetch_small(s->r, s->http, &f, &bytes, err) < 0 ||
		    keep(s, sb_str(&bytes), err) < 0)
			return -1;
		o->config = arena_str(s->a, sb_str(&bytes));
	}
	*ret_found = true;
	o->config_digest = d->digest;
	if (oci_image_parse(s->a, o->config, &o->image, err) < 0)
		return -1;
	if (o->image.n_diff_ids != o->manifest.n_entries)
		return err_set(err, ERR_INVALID, "its config names %zu layers, its manifest %zu",
			       o->image.n_diff_ids, o->manifest.n_entries);
	return 0;
}

/* From a manifest's or index's bytes down to the config. *ret_found false: something is not here (and `ask` is false). */
static int descend(struct resolve *s, struct digest d, struct str bytes, struct str type, bool ask,
		   bool *ret_found, struct err **err)
{
	struct resolved *o = &s->out;
	for (int depth = 0;; depth++) {
		if (oci_manifest_parse(s->a, bytes, type, &o->manifest, err) < 0)
			return -1;
		if (!o->manifest.is_index)
			break;
		if (depth == MAX_NESTING)
			return err_set(err, ERR_LIMIT, "indexes nested deeper than %d",
				       MAX_NESTING);
		if (!depth)
			o->index = d;
		const struct oci_descriptor *entry = choose_entry(&o->manifest, s->wanted);
		if (!entry)
			return err_set(err, ERR_NOT_FOUND, "no match for platform %.*s in manifest",
				       STR_ARG(s->platform));
		d = entry->digest;
		if (manifest_by_digest(s, &d, entry->media_type, ask, ret_found, &bytes, &type,
				       err) < 0)
			return -1;
		if (!*ret_found)
			return 0;
		if (bytes.n != entry->size)
			return err_set(err, ERR_INTEGRITY,
				       "a manifest has %zu bytes, its descriptor says %llu",
				       bytes.n, (unsigned long long)entry->size);
	}
	o->manifest_digest = d;
	return config_of(s, ask, ret_found, err);
}

/* By a digest that is known: from the store, and from the registry where `ask`. */
static int from_digest(struct resolve *s, const struct digest *d, bool ask, bool *ret_found,
		       struct err **err)
{
	struct str bytes, type;
	if (manifest_by_digest(s, d, STR(""), ask, ret_found, &bytes, &type, err) < 0)
		return -1;
	if (!*ret_found)
		return 0;
	return descend(s, *d, bytes, type, ask, ret_found, err);
}

static void note_tag(struct resolve *s)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	struct tag_row row = { .index = s->out.index,
			       .manifest = s->out.manifest_digest,
			       .asked_ns = clock_real_ns() };
	/* A guess for the next time: no build fails for it. */
	if (cache_tag_put(s->c, s->full, s->platform, &row, &e) < 0)
		log_debug("row of %.*s: %s", STR_ARG(s->full), e->msg);
}

static int from_tag_row(struct resolve *s, bool *ret_found, struct err **err)
{
	struct tag_row row;
	if (cache_tag_get(s->c, s->full, s->platform, ret_found, &row, err) < 0)
		return -1;
	if (!*ret_found)
		return 0;
	const struct digest *d = digest_is_zero(&row.index) ? &row.manifest : &row.index;
	return from_digest(s, d, false, ret_found, err);
}

/* The tag has not moved since the row was written, says a HEAD (which the Hub does not count): what is here is taken. */
static int from_unmoved_tag(struct resolve *s, bool *ret_found, struct err **err)
{
	struct tag_row row;
	struct host *host;
	struct digest now;
	if (cache_tag_get(s->c, s->full, s->platform, ret_found, &row, err) < 0)
		return -1;
	if (!*ret_found)
		return 0;
	if (hosts_get(s->r->hosts, s->ref->domain, &host, err) < 0 || get_http(s, err) < 0)
		return -1;
	*ret_found = false;
	bool known;
	if (host->n_mirrors)
		return 0;
	if (client_manifest_head(s->r, s->http, host, s->ref->path,
				 s->ref->tag.n ? s->ref->tag : STR("latest"), &known, &now,
				 err) < 0)
		return -1;
	const struct digest *d = digest_is_zero(&row.index) ? &row.manifest : &row.index;
	return known && digest_eq(d, &now) ? from_digest(s, &now, true, ret_found, err) : 0;
}

static int from_registry(struct resolve *s, struct err **err)
{
	bool found = false;
	if (s->ref->has_digest)
		return from_digest(s, &s->ref->digest, true, &found, err);
	if (from_unmoved_tag(s, &found, err) < 0)
		return -1;
	if (!found) {
		_cleanup_(client_manifest_releasep) struct client_manifest m = { 0 };
		if (ask_manifest(s, s->ref->tag.n ? s->ref->tag : STR("latest"), NULL, &m, err) <
			    0 ||
		    keep(s, sb_str(&m.bytes), err) < 0)
			return -1;
		struct str bytes = arena_str(s->a, sb_str(&m.bytes)),
			   type = arena_str(s->a, sb_str(&m.media_type));
		s->out.index = (struct digest){ 0 };
		if (descend(s, m.digest, bytes, type, true, &found, err) < 0)
			return -1;
	}
	note_tag(s);
	return 0;
}

/* ---- in which order */

/* What the store can answer without a connection. */
static int from_here(struct resolve *s, bool *ret_found, struct err **err)
{
	if (from_name(s, ret_found, err) < 0)
		return -1;
	if (*ret_found)
		return 0;
	s->out.local = false;
	if (s->ref->has_digest)
		return from_digest(s, &s->ref->digest, false, ret_found, err);
	return from_tag_row(s, ret_found, err);
}

/* --pull of a name that no registry gave us: what was built here is used, with a note. */
static int local_only(struct resolve *s, bool *ret_found, struct err **err)
{
	struct tag_row row;
	bool has_row = false;
	*ret_found = false;
	if (cache_tag_get(s->c, s->full, s->platform, &has_row, &row, err) < 0)
		return -1;
	s->out.index = s->out.manifest_digest = (struct digest){ 0 };
	if (from_name(s, ret_found, err) < 0)
		return -1;
	if (*ret_found && has_row && digest_eq(&row.manifest, &s->out.manifest_digest))
		*ret_found = false;
	if (*ret_found) {
		struct str text =
			arena_printf(s->a, "%.*s is an image of this store and could not be pulled",
				     STR_ARG(s->full));
		registry_warn(s->r, text);
	}
	return 0;
}

static int not_here(const struct resolve *s, const char *hint, struct err **err)
{
	err_set(err, ERR_NOT_FOUND, "%.*s: not found", STR_ARG(s->full));
	return err_hint(err, "%s", hint);
}

/* What the registry says of a name that it does not have. */
static int explain(const struct resolve *s, struct err *e, struct err **err)
{
	if (e->code != ERR_NOT_FOUND || e->status != 404) {
		err_move(err, e);
		return err_wrap(err, "resolve '%.*s'", STR_ARG(s->full));
	}
	err_drop(&e);
	err_set(err, ERR_NOT_FOUND, "%.*s: not found", STR_ARG(s->full));
	return err_status(err, 404);
}

static int run(struct resolve *s, enum registry_pull_policy policy, struct err **err)
{
	bool found = false;
	if (policy != REGISTRY_PULL_ALWAYS && from_here(s, &found, err) < 0)
		return -1;
	if (found)
		return 0;
	if (policy == REGISTRY_PULL_NEVER)
		return not_here(
			s, "it is not in the store and --pull=never forbids to ask the registry",
			err);
	if (s->r->o.offline)
		return not_here(
			s, "it is not in the store and --offline forbids to ask the registry", err);
	struct err *e = NULL;
	if (!from_registry(s, &e))
		return 0;
	if (policy == REGISTRY_PULL_ALWAYS && e->code != ERR_CANCELED) {
		if (local_only(s, &found, err) < 0 || found) {
			err_drop(&e);
			return found ? 0 : -1;
		}
	}
	return explain(s, e, err);
}

int registry_resolve(struct registry *r, struct cache *c, struct arena *a, const struct ref *ref,
		     const struct oci_platform *platform, enum registry_pull_policy policy,
		     struct resolved *ret, struct err **err)
{
	struct resolve s = { .r = r,
			     .c = c,
			     .a = a,
			     .ref = ref,
			     .full = ref_full(a, ref),
			     .wanted = platform,
			     .platform = oci_platform_text(a, platform) };
	int rc = run(&s, policy, err);
	registry_http_give(r, s.http);
	if (rc < 0)
		return -1;
	s.out.ref = *ref;
	s.out.ref_text = s.full;
	s.out.wanted = *platform;
	*ret = s.out;
	return 0;
}
