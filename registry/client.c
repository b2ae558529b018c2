#include "registry/client.h"

#include <inttypes.h>

#include "base/err.h"
#include "base/json.h"
#include "cache/oci.h"
#include "registry/auth.h"
#include "registry/session.h"
#include "registry/url.h"

enum { MANIFEST_MAX = 4 * 1024 * 1024, SHOWN = 200, TRIES_UNSEEN = 3 };

#define ACCEPT OCI_INDEX ", " DOCKER_INDEX ", " OCI_MANIFEST ", " DOCKER_MANIFEST

/* ---- what answers say */

/* "CODE: message; CODE: message" of the protocol's error object, or nothing. */
static void add_codes(struct sb *b, struct str body)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(json_unrefp) json_t *j = json_parse_max(body, 64 * 1024, "answer", &e);
	const json_t *list = json_object_get(j, "errors");
	for (size_t i = 0; i < json_array_size(list) && i < 4; i++) {
		const json_t *one = json_array_get(list, i);
		struct str code = json_get_str(one, "code"), message = json_get_str(one, "message");
		sb_add_c(b, b->n ? "; " : "");
		sb_add_printable(b, str_sub(code, 0, 64));
		sb_add_c(b, code.n && message.n ? ": " : "");
		sb_add_printable(b, str_sub(message, 0, SHOWN));
	}
}

static enum err_code code_of(int status)
{
	switch (status) {
	case 401:
		return ERR_AUTH;
	case 403:
		return ERR_DENIED;
	case 404:
		return ERR_NOT_FOUND;
	case 413:
	case 429:
		return ERR_LIMIT;
	default:
		return status >= 500 || status == 408 ? ERR_NETWORK : ERR_INVALID;
	}
}

/* Who limits, and what helps. */
static void limit_hint(const struct call *c, const struct http_response *r, struct err **err)
{
	struct str limit = http_header(r, "ratelimit-limit", 0),
		   left = http_header(r, "ratelimit-remaining", 0);
	_cleanup_(sb_releasep) struct sb b = { 0 };
	if (limit.n || left.n) {
		sb_printf(&b, "limit ");
		sb_add_printable(&b, str_sub(limit, 0, 64));
		sb_add_c(&b, ", left ");
		sb_add_printable(&b, str_sub(left, 0, 64));
		sb_add_c(&b, "; ");
	}
	if (r->retry_after_s >= 0)
		sb_printf(&b, "again in %" PRId64 " s; ", r->retry_after_s);
	err_hint(err, "%slog in (docker login %s) or use a mirror", sb_c(&b), c->host->name);
}

int client_error(const struct call *c, const struct http_response *r, struct err **err)
{
	_cleanup_(sb_releasep) struct sb text = { 0 };
	add_codes(&text, sb_str(&r->body));
	if (!text.n)
		sb_add_printable(&text, str_trim(str_sub(sb_str(&r->body), 0, SHOWN), " \r\n\t"));
	const char *where = r->foreign ? " (its storage)" : "";
	if (r->status == 401 || r->status == 403)
		err_set(err, code_of(r->status),
			"authentication required or access denied: %s/%.*s%s%s%s", c->host->name,
			STR_ARG(c->repo), where, text.n ? ": " : "", sb_c(&text));
	else
		err_set(err, code_of(r->status), "%s/%.*s%s: status %d%s%s", c->host->name,
			STR_ARG(c->repo), where, r->status, text.n ? ": " : "", sb_c(&text));
	err_status(err, r->status);
	if (r->status == 429)
		limit_hint(c, r, err);
	return -1;
}

/* Warning: 299 - "text": shown, never acted on. */
static void show_warnings(struct registry *r, const struct call *c,
			  const struct http_response *answer)
{
	for (unsigned i = 0; i < 8; i++) {
		struct str w = http_header(answer, "warning", i);
		if (!w.p)
			return;
		size_t quote = str_find(w, '"', 0), end = str_rfind(w, '"');
		if (!str_starts(w, STR("299 ")) || quote == SIZE_MAX || end <= quote)
			continue;
		_cleanup_(sb_releasep) struct sb b = { 0 };
		sb_printf(&b, "%s says: ", c->host->name);
		sb_add_printable(&b, str_sub(str_sub(w, quote + 1, end), 0, SHOWN));
		registry_warn(r, sb_str(&b));
	}
}

/* ---- a call */

/* The caller's head() behind ours, which tells that the authorization was good before a long body comes. */
struct tap {
	struct registry *r;
	struct auth_try *try;
	const struct call *call;
};

static int on_head(void *arg, const struct http_response *r, struct err **err)
{
	struct tap *t = arg;
	auth_accepted(t->r->auth, t->try);
	host_answered(t->call->host);
	return t->call->http.head ? t->call->http.head(t->call->http.arg, r, err) : 0;
}

static int on_data(void *arg, const void *p, size_t n, struct err **err)
{
	const struct call *c = ((struct tap *)arg)->call;
	return c->http.data(c->http.arg, p, n, err);
}

static void on_sent(void *arg, uint64_t n)
{
	const struct call *c = ((struct tap *)arg)->call;
	c->http.sent(c->http.arg, n);
}

static void make_url(const struct call *c, struct sb *url)
{
	sb_reset(url);
	if (c->url.n) {
		sb_add_str(url, c->url);
		return;
	}
	host_base(c->host, url);
	sb_add_c(url, "/v2/");
	if (c->repo.n) {
		sb_add_str(url, c->repo);
		sb_add_ch(url, '/');
	}
	sb_add_str(url, c->path);
	if (c->host->ns && strcmp(c->host->ns, c->host->authority)) {
		sb_add_ch(url, str_find(c->path, '?', 0) == SIZE_MAX ? '?' : '&');
		sb_add_c(url, "ns=");
		url_add_escaped(url, str_c(c->host->ns), ":");
	}
}

/* Whether a Location is of the host that we are authorized at. */
static bool own_origin(const struct call *c, struct str url)
{
	_cleanup_(sb_releasep) struct sb base = { 0 };
	_cleanup_(err_dropp) struct err *e = NULL;
	struct url a, b;
	host_base(c->host, &base);
	return !url_parse(sb_str(&base), &a, &e) && !url_parse(url, &b, &e) &&
		url_same_origin(&a, &b);
}

static int send_once(struct registry *r, struct http *http, const struct call *c,
		     struct auth_try *try, struct http_response *ret, struct err **err)
{
	_cleanup_(sb_releasep) struct sb url = { 0 };
	make_url(c, &url);
	struct tap tap = { r, try, c };
	struct http_request q = c->http;
	q.url = sb_str(&url);
	bool own = !c->url.n || own_origin(c, sb_str(&url));
	q.peer = own ? &c->host->peer : NULL;
	q.follow = !strcmp(q.method, "GET") || !strcmp(q.method, "HEAD");
	q.authorization = own ? try->header : NULL;
	q.head = on_head;
	q.data = c->http.data ? on_data : NULL;
	q.sent = c->http.sent ? on_sent : NULL;
	q.arg = &tap;
	return http_send(http, &q, ret, err);
}

/* A TLS server that was spoken to in plain http says so with 400. */
static bool complains_of_plain(const struct call *c, const struct http_response *r)
{
	return r->status == 400 && host_is_plain(c->host) &&
		str_find_str(sb_str(&r->body), STR("HTTPS"), 0) != SIZE_MAX;
}

struct attempt {
	struct retry retry;
	bool foreign_again; /* a redirect's target refused, the registry was asked once more */
};

/* What a failed exchange means: 1 again, -1 the error. */
static int after_failure(const struct call *c, enum http_failure how, struct attempt *a,
			 struct err *e, struct err **err)
{
	if (e->code == ERR_NETWORK && !c->url.n && host_other_scheme(c->host, how)) {
		err_drop(&e);
		return 1;
	}
	if (!retry_error(e) || c->once)
		return err_move(err, e);
	int again = retry_pause(&a->retry, 0, -1, err);
	if (again <= 0) {
		if (again)
			err_drop(&e);
		return again ? -1 : err_move(err, e);
	}
	err_drop(&e);
	return 1;
}

/* What an answer means: 1 again (it is released), 0 it stands, -1. */
static int after_answer(struct registry *r, struct http *http, const struct call *c,
			struct auth_try *try, struct attempt *a, struct http_response *answer,
			struct err **err)
{
	if (complains_of_plain(c, answer) && host_other_scheme(c->host, HTTP_FAIL_GARBLED))
		return 1;
	host_answered(c->host);
	if (!c->host->ns)
		a->retry.tries = 0; /* it is there: the usual patience */
	show_warnings(r, c, answer);
	int again = auth_answer(r->auth, http, try, answer, err);
	if (again)
		return again;
	bool refused = answer->status == 401 || answer->status == 403;
	if (answer->foreign && refused && !a->foreign_again) {
		a->foreign_again = true;
		return 1;
	}
	bool spent = answer->status == 429 &&
		str_starts(http_header(answer, "ratelimit-remaining", 0), STR("0")) &&
		answer->retry_after_s < 0;
	if (!retry_status(answer->status) || c->once || spent)
		return 0;
	return retry_pause(&a->retry, 0, answer->retry_after_s, err);
}

int client_call(struct registry *r, struct http *http, const struct call *c,
		struct http_response *ret, struct err **err)
{
	_cleanup_free_ char *pull =
		c->repo.n ? xasprintf("repository:%.*s:pull", STR_ARG(c->repo)) : xstrdup("");
	struct auth_try try = { .host = c->host,
				.repo = c->repo,
				.scopes = c->scopes.n ? c->scopes : str_c(pull),
				.exclusive = c->exclusive,
				.quiet = c->quiet };
	struct attempt a = { .retry = r->retry };
	if (c->host->ns)
		a.retry.tries = 1; /* there is another host to ask */
	else if (!atomic_load(&c->host->answered))
		a.retry.tries = TRIES_UNSEEN;
	struct http_response answer = { 0 };
	int again = auth_begin(r->auth, http, &try, err) < 0 ? -1 : 1;
	while (again > 0) {
		struct err *e = NULL;
		if (send_once(r, http, c, &try, &answer, &e) < 0) {
			again = after_failure(c, http_failure(http), &a, e, err);
			continue;
		}
		again = after_answer(r, http, c, &try, &a, &answer, err);
		if (again)
			http_response_release(&answer);
	}
	auth_end(r->auth, &try);
	if (!again)
		*ret = answer;
	return again;
}

/* ---- manifests */

void client_manifest_release(struct client_manifest *m)
{
	sb_release(&m->bytes);
	sb_release(&m->media_type);
}

void client_manifest_releasep(struct client_manifest *m)
{
	client_manifest_release(m);
}

static struct http_header accept_header(void)
{
	return (struct http_header){ STR("Accept"), STR(ACCEPT) };
}

static void set_media_type(struct client_manifest *m, const struct http_response *r)
{
	struct str type = http_header(r, "content-type", 0);
	type = str_trim(str_sub(type, 0, str_find(type, ';', 0)), " \t");
	if (!str_eq(type, STR("text/plain")) && !str_eq(type, STR("application/json")) &&
	    !str_eq(type, STR("application/octet-stream")))
		sb_add_str(&m->media_type, type);
}

/* The digest that the registry names, where it is of our algorithm. */
static bool named_digest(const struct http_response *r, struct digest *ret)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	return !digest_parse(http_header(r, "docker-content-digest", 0), ret, &e);
}

static int check_manifest(const struct http_response *r, const struct digest *expected,
			  struct client_manifest *m, struct err **err)
{
	struct str encoding = http_header(r, "content-encoding", 0);
	if (encoding.n && !str_ieq(encoding, STR("identity")))
		return err_set(err, ERR_INVALID,
			       "the answer is encoded though that was not asked for");
	char want[DIGEST_TEXT], have[DIGEST_TEXT];
	struct digest named;
	m->digest = digest_of(m->bytes.p, m->bytes.n);
	if (!expected && named_digest(r, &named))
		expected = &named;
	if (expected && !digest_eq(expected, &m->digest))
		return err_set(err, ERR_INTEGRITY, "digest '%s' was expected, the bytes have '%s'",
			       digest_text(expected, want), digest_text(&m->digest, have));
	return 0;
}

int client_manifest_get(struct registry *r, struct http *http, struct host *host, struct str repo,
			struct str what, const struct digest *expected, struct client_manifest *ret,
			struct err **err)
{
	_cleanup_free_ char *path = xasprintf("manifests/%.*s", STR_ARG(what));
	struct http_header headers[] = { accept_header(),
					 { STR("Accept-Encoding"), STR("identity") } };
	struct call c = { .host = host,
			  .repo = repo,
			  .path = str_c(path),
			  .http = { .method = "GET",
				    .headers = headers,
				    .n_headers = ARRAY_SIZE(headers),
				    .max_body = MANIFEST_MAX } };
	_cleanup_(http_response_releasep) struct http_response answer = { 0 };
	if (client_call(r, http, &c, &answer, err) < 0)
		return err_wrap(err, "get manifest '%.*s' of '%s/%.*s'", STR_ARG(what), host->name,
				STR_ARG(repo));
	if (answer.status != 200)
		return client_error(&c, &answer, err);
	struct client_manifest m = { .bytes = answer.body };
	answer.body = (struct sb){ 0 };
	set_media_type(&m, &answer);
	if (check_manifest(&answer, expected, &m, err) < 0) {
		client_manifest_release(&m);
		return err_wrap(err, "get manifest '%.*s' of '%s/%.*s'", STR_ARG(what), host->name,
				STR_ARG(repo));
	}
	*ret = m;
	return 0;
}

int client_manifest_head(struct registry *r, struct http *http, struct host *host, struct str repo,
			 struct str what, bool *ret_known, struct digest *ret, struct err **err)
{
	_cleanup_free_ char *path = xasprintf("manifests/%.*s", STR_ARG(what));
	struct http_header accept = accept_header();
	struct call c = { .host = host,
			  .repo = repo,
			  .path = str_c(path),
			  .http = { .method = "HEAD", .headers = &accept, .n_headers = 1 } };
	_cleanup_(http_response_releasep) struct http_response answer = { 0 };
	if (client_call(r, http, &c, &answer, err) < 0)
		return err_wrap(err, "ask for manifest '%.*s' of '%s/%.*s'", STR_ARG(what),
				host->name, STR_ARG(repo));
	/* Without a digest, or refused: only a GET tells more. */
	*ret_known = answer.status == 200 && named_digest(&answer, ret);
	return 0;
}
