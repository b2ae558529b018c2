#include "registry/auth.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/map.h"
#include "registry/base64.h"
#include "registry/challenge.h"
#include "registry/creds.h"
#include "registry/hosts.h"
#include "registry/http.h"
#include "registry/retry.h"
#include "registry/scope.h"
#include "registry/token.h"
#include "registry/url.h"

enum { MAX_RENEWALS = 6 };

enum token_state { TOKEN_FETCHING, TOKEN_READY, TOKEN_FAILED };

/* Owned by the list until `auth` ends: a request may still hold one that is no longer given out. */
struct token {
	struct token *next;
	char *realm, *service, *scopes;
	unsigned cred; /* id; 0: anonymous */
	bool exclusive;
	enum token_state state;
	bool retired;  /* replaced: not given out any more */
	bool accepted; /* a request has succeeded with it */
	unsigned in_flight;
	char *header;
	int64_t until_ns; /* monotonic */
	/* TOKEN_FAILED */
	enum err_code code;
	int status;
	char *msg, *hint;
};

/* What a host asks for. */
struct known {
	enum challenge_scheme scheme;
	char *realm, *service;
	bool probed; /* GET /v2/ was asked for its challenge */
};

struct auth {
	struct auth_options options;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct map hosts; /* authority → struct known */
	struct token *tokens;
	_Atomic unsigned fetches;
};

struct auth *auth_new(const struct auth_options *o)
{
	struct auth *a = xcalloc(1, sizeof(*a));
	a->options = *o;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->changed, NULL);
	return a;
}

static void token_free(struct token *t)
{
	if (t->header)
		explicit_bzero(t->header, strlen(t->header));
	free(t->realm);
	free(t->service);
	free(t->scopes);
	free(t->header);
	free(t->msg);
	free(t->hint);
	free(t);
}

void auth_free(struct auth *a)
{
	if (!a)
		return;
	for (struct token *t = a->tokens, *next; t; t = next) {
		next = t->next;
		token_free(t);
	}
	size_t i = 0;
	for (struct map_entry *e; (e = map_next(&a->hosts, &i));) {
		struct known *k = e->value;
		free(k->realm);
		free(k->service);
		free(k);
	}
	map_release(&a->hosts);
	pthread_mutex_destroy(&a->lock);
	pthread_cond_destroy(&a->changed);
	free(a);
}

unsigned auth_fetches(const struct auth *a)
{
	return a->fetches;
}

static struct known *known_of(struct auth *a, const struct host *h)
{
	void **slot = map_slot(&a->hosts, str_c(h->authority));
	if (!*slot) {
		*slot = xcalloc(1, sizeof(struct known));
		((struct known *)*slot)->scheme = CHALLENGE_OTHER;
	}
	return *slot;
}

static struct str wanted(const struct auth_try *t)
{
	return t->widened ? str_c(t->widened) : t->scopes;
}

static int denied(const struct auth_try *t, struct err **err)
{
	err_set(err, ERR_AUTH, "authentication required or access denied: %s%s%.*s", t->host->name,
		t->repo.n ? "/" : "", STR_ARG(t->repo));
	err_status(err, 401);
	if (t->origin)
		return err_hint(err, "the credentials are those of %s", t->origin);
	return err_hint(
		err, "credentials are read from docker's config.json, as docker login %s writes it",
		t->host->name);
}

static void let_go(struct auth *a, struct auth_try *t)
{
	if (t->in_flight) {
		t->token->in_flight--;
		pthread_cond_broadcast(&a->changed);
	}
	t->in_flight = false;
}

/* Takes a token into use; under the lock. */
static void take(struct auth_try *t, struct token *token)
{
	t->token = token;
	token->in_flight++;
	t->in_flight = true;
	free(t->header);
	t->header = xstrdup(token->header);
}

static struct token *find_token(struct auth *a, const struct token *like)
{
	for (struct token *t = a->tokens; t; t = t->next) {
		if (t->retired || t->cred != like->cred || t->exclusive != like->exclusive ||
		    strcmp(t->realm, like->realm) || strcmp(t->service, like->service))
			continue;
		bool serves = like->exclusive ? !strcmp(t->scopes, like->scopes)
					      : scope_covers(str_c(t->scopes), str_c(like->scopes));
		if (!serves)
			continue;
		if (t->state == TOKEN_READY && clock_mono_ns() >= t->until_ns)
			t->retired = true;
		else
			return t;
	}
	return NULL;
}

/* Fetches a token that is in the list as TOKEN_FETCHING; called without the lock, ends with it. */
static void fetch(struct auth *a, struct http *http, const struct auth_try *t,
		  const struct cred *cred, struct token *token)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_free_ char *text = NULL;
	int64_t seconds = 0;
	struct retry retry = *a->options.retry;
	struct token_request q = { .http = http,
				   .hosts = a->options.hosts,
				   .host = t->host,
				   .realm = str_c(token->realm),
				   .service = str_c(token->service),
				   .scopes = str_c(token->scopes),
				   .cred = cred,
				   .retry = &retry };
	bool ok = !token_fetch(&q, &text, &seconds, &e);
	a->fetches++;
	pthread_mutex_lock(&a->lock);
	if (ok) {
		token->header = xasprintf("Bearer %s", text);
		token->until_ns = clock_mono_ns() + seconds * INT64_C(1000000000);
		token->state = TOKEN_READY;
	} else {
		token->code = e->code;
		token->status = e->status;
		token->msg = xstrdup(e->msg);
		token->hint = e->hint ? xstrdup(e->hint) : NULL;
		token->state = TOKEN_FAILED;
		token->retired = true;
	}
	pthread_cond_broadcast(&a->changed);
}

static int token_failed(const struct token *t, struct err **err)
{
	err_set(err, t->code, "%s", t->msg);
	err_status(err, t->status);
	return t->hint ? err_hint(err, "%s", t->hint) : -1;
}

static int get_token(struct auth *a, struct http *http, struct auth_try *t, const struct known *k,
		     const struct cred *cred, struct err **err)
{
	pthread_mutex_lock(&a->lock);
	struct token like = { .realm = k->realm,
			      .service = k->service,
			      .cred = cred ? cred->id : 0,
			      .exclusive = t->exclusive };
	_cleanup_free_ char *scopes = str_dup(wanted(t));
	like.scopes = scopes;
	struct token *token = find_token(a, &like);
	if (!token) {
		token = xcalloc(1, sizeof(*token));
		*token = like;
		token->realm = xstrdup(k->realm);
		token->service = xstrdup(k->service);
		token->scopes = xstrdup(scopes);
		token->next = a->tokens;
		a->tokens = token;
		pthread_mutex_unlock(&a->lock);
		fetch(a, http, t, cred, token);
	}
	while (token->state == TOKEN_FETCHING)
		pthread_cond_wait(&a->changed, &a->lock);
	int r = token->state == TOKEN_FAILED ? token_failed(token, err) : 0;
	if (!r)
		take(t, token);
	pthread_mutex_unlock(&a->lock);
	return r;
}

static int use_basic(struct auth_try *t, const struct cred *cred, struct err **err)
{
	if (!cred || !cred->user || !cred->secret || t->header) {
		t->origin = cred ? cred->origin : NULL;
		return denied(t, err);
	}
	_cleanup_free_ char *pair = xasprintf("%s:%s", cred->user, cred->secret);
	struct sb b = { 0 };
	sb_add_c(&b, "Basic ");
	base64_encode(str_c(pair), &b);
	explicit_bzero(pair, strlen(pair));
	t->header = sb_steal(&b);
	t->origin = cred->origin;
	return 0;
}

/* Answers what the host asks for. */
static int respond(struct auth *a, struct http *http, struct auth_try *t, const struct known *k,
		   struct err **err)
{
	const struct cred *cred;
	if (creds_get(a->options.creds, str_c(t->host->name), t->repo, &cred, err) < 0)
		return -1;
	bool open = host_is_plain(t->host) && !t->host->plain_allowed;
	if (cred && open)
		return err_set(err, ERR_DENIED,
			       "log in to '%s': credentials are not sent over plain http",
			       t->host->name);
	if (k->scheme == CHALLENGE_BASIC)
		return use_basic(t, cred, err);
	if (cred && cred->token) {
		if (t->header)
			return denied(t, err);
		t->header = xasprintf("Bearer %s", cred->token);
		t->origin = cred->origin;
		return 0;
	}
	return get_token(a, http, t, k, cred, err);
}

/* A copy of what is known that stays as it is while the lock is not held. */
static struct known snapshot(struct auth *a, struct arena *arena, const struct host *h)
{
	pthread_mutex_lock(&a->lock);
	struct known k = *known_of(a, h);
	k.realm = k.realm ? arena_cstr(arena, str_c(k.realm)) : NULL;
	k.service = k.service ? arena_cstr(arena, str_c(k.service)) : NULL;
	pthread_mutex_unlock(&a->lock);
	return k;
}

int auth_begin(struct auth *a, struct http *http, struct auth_try *t, struct err **err)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new();
	struct known k = snapshot(a, arena, t->host);
	if (t->header || k.scheme == CHALLENGE_OTHER)
		return 0;
	_cleanup_(err_dropp) struct err *e = NULL;
	if (!respond(a, http, t, &k, &e))
		return 0;
	/* Not everything there needs to be asked for: bare, the answer says whether this does. */
	return e->code == ERR_AUTH && k.scheme == CHALLENGE_BASIC ? 0 : err_move(err, STEAL(e));
}

void auth_accepted(struct auth *a, struct auth_try *t)
{
	if (!t->token)
		return;
	pthread_mutex_lock(&a->lock);
	if (!t->token->accepted) {
		t->token->accepted = true;
		pthread_cond_broadcast(&a->changed);
	}
	pthread_mutex_unlock(&a->lock);
}

void auth_end(struct auth *a, struct auth_try *t)
{
	pthread_mutex_lock(&a->lock);
	let_go(a, t);
	pthread_mutex_unlock(&a->lock);
	free(t->header);
	free(t->widened);
	t->header = t->widened = NULL;
	t->token = NULL;
}

static void learn(struct auth *a, const struct host *h, const struct challenge *c)
{
	pthread_mutex_lock(&a->lock);
	struct known *k = known_of(a, h);
	k->scheme = c->scheme;
	free(k->realm);
	free(k->service);
	k->realm = str_dup(c->realm);
	k->service = str_dup(c->service);
	pthread_mutex_unlock(&a->lock);
}

static const struct challenge *read_challenges(struct arena *arena, const struct http_response *r)
{
	struct challenge *v = arena_array_of(arena, struct challenge, CHALLENGE_MAX);
	size_t n = 0;
	for (unsigned i = 0; i < CHALLENGE_MAX; i++) {
		struct str header = http_header(r, "www-authenticate", i);
		if (!header.p)
			break;
		challenge_parse(arena, header, v, &n);
	}
	return challenge_choose(v, n);
}

/* gcr.io answers 401 without a challenge; GET /v2/ has one. Once a host. */
static const struct challenge *probe(struct auth *a, struct arena *arena, struct http *http,
				     const struct host *h)
{
	pthread_mutex_lock(&a->lock);
	struct known *k = known_of(a, h);
	bool done = k->probed;
	k->probed = true;
	pthread_mutex_unlock(&a->lock);
	if (done)
		return NULL;
	_cleanup_(sb_releasep) struct sb url = { 0 };
	host_base(h, &url);
	sb_add_c(&url, "/v2/");
	struct http_request q = { .method = "GET", .url = sb_str(&url), .peer = &h->peer };
	_cleanup_(http_response_releasep) struct http_response r = { 0 };
	_cleanup_(err_dropp) struct err *e = NULL;
	return http_send(http, &q, &r, &e) < 0 || r.status != 401 ? NULL
								  : read_challenges(arena, &r);
}

static void widen(struct auth_try *t, struct arena *arena, struct str scope)
{
	struct str all = scope_merge(arena, wanted(t), scope);
	free(t->widened);
	t->widened = str_dup(all);
}

/* Whether a token that was refused may be replaced: it was good before, or another thread has replaced it. */
static bool may_renew(struct auth *a, struct auth_try *t)
{
	pthread_mutex_lock(&a->lock);
	struct token *token = t->token;
	while (token->in_flight && !token->accepted && !token->retired)
		pthread_cond_wait(&a->changed, &a->lock);
	bool good = token->accepted || token->retired;
	token->retired = true;
	pthread_mutex_unlock(&a->lock);
	return good;
}

static bool insufficient(struct auth_try *t, const struct challenge *c)
{
	return c && c->scheme == CHALLENGE_BEARER && str_eq(c->error, STR("insufficient_scope")) &&
		c->scope.n && !t->asked_scope;
}

static int challenged(struct auth *a, struct arena *arena, struct http *http, struct auth_try *t,
		      const struct challenge *c, struct err **err)
{
	bool more = insufficient(t, c);
	t->asked_scope |= more;
	if (!c)
		c = probe(a, arena, http, t->host);
	if (c)
		learn(a, t->host, c);
	struct known k = snapshot(a, arena, t->host);
	if (k.scheme == CHALLENGE_OTHER)
		return denied(t, err);
	if (c && c->scope.n && k.scheme == CHALLENGE_BEARER)
		widen(t, arena, c->scope);
	if (t->token && !more && !may_renew(a, t))
		return denied(t, err);
	if (t->token) {
		t->token = NULL;
		free(t->header);
		t->header = NULL;
	}
	return respond(a, http, t, &k, err) < 0 ? -1 : 1;
}

int auth_answer(struct auth *a, struct http *http, struct auth_try *t,
		const struct http_response *r, struct err **err)
{
	pthread_mutex_lock(&a->lock);
	let_go(a, t);
	pthread_mutex_unlock(&a->lock);
	if (r->status != 401 && r->status != 403) {
		if (r->status < 500 && r->status != 429)
			auth_accepted(a, t);
		return 0;
	}
	if (t->quiet || r->foreign)
		return 0;
	_cleanup_(arena_freep) struct arena *arena = arena_new();
	const struct challenge *c = read_challenges(arena, r);
	if (r->status == 403 && !insufficient(t, c))
		return 0;
	if (t->renewals++ >= MAX_RENEWALS)
		return denied(t, err);
	return challenged(a, arena, http, t, c, err);
}
