#include "registry/token.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "registry/base64.h"
#include "registry/creds.h"
#include "registry/hosts.h"
#include "registry/http.h"
#include "registry/retry.h"
#include "registry/scope.h"
#include "registry/url.h"

enum { ANSWER_MAX = 1024 * 1024, LIFE_S = 60, LEAST_S = 5, MOST_S = 24 * 3600 };

static void add_param(struct sb *b, char before, const char *name, struct str value)
{
	sb_add_ch(b, before);
	sb_add_c(b, name);
	sb_add_ch(b, '=');
	url_add_escaped(b, value, "/:");
}

/* realm?service=S&scope=A&scope=B, keeping the realm's own query. */
static void add_url(const struct token_request *q, struct sb *b)
{
	sb_add_str(b, q->realm);
	char before = str_find(q->realm, '?', 0) == SIZE_MAX ? '?' : '&';
	if (q->service.n) {
		add_param(b, before, "service", q->service);
		before = '&';
	}
	struct str list = q->scopes;
	for (struct str s; scope_next(&list, &s); before = '&')
		add_param(b, before, "scope", s);
}

static void add_form(const struct token_request *q, struct sb *b)
{
	sb_add_c(b, "grant_type=refresh_token&client_id=cbuild");
	add_param(b, '&', "refresh_token", str_c(q->cred->identity));
	add_param(b, '&', "service", q->service);
	add_param(b, '&', "scope", q->scopes);
}

static char *basic_header(struct str user, struct str secret)
{
	_cleanup_free_ char *pair = xasprintf("%.*s:%.*s", STR_ARG(user), STR_ARG(secret));
	struct sb b = { 0 };
	sb_add_c(&b, "Basic ");
	base64_encode(str_c(pair), &b);
	explicit_bzero(pair, strlen(pair));
	return sb_steal(&b);
}

/* One exchange, tried again while that may help. */
static int exchange(const struct token_request *q, struct http_request *hq, struct http_response *r,
		    struct err **err)
{
	for (;;) {
		_cleanup_(err_dropp) struct err *e = NULL;
		bool failed = http_send(q->http, hq, r, &e) < 0;
		if (failed ? !retry_error(e) : !retry_status(r->status))
			return failed ? err_move(err, STEAL(e)) : 0;
		int again = retry_pause(q->retry, 0, failed ? -1 : r->retry_after_s, err);
		if (again < 0 || (!again && failed)) {
			if (!failed)
				http_response_release(r);
			return again < 0 ? -1 : err_move(err, STEAL(e));
		}
		if (!again)
			return 0;
		if (!failed)
			http_response_release(r);
	}
}

static int read_answer(const struct token_request *q, struct str body, char **ret,
		       int64_t *ret_seconds, struct err **err)
{
	_cleanup_(json_unrefp) json_t *j =
		json_parse_max(body, ANSWER_MAX, "the token server's answer", err);
	if (!j)
		return -1;
	struct str token = json_get_str(j, "token");
	if (!token.n)
		token = json_get_str(j, "access_token");
	if (!token.n)
		return err_set(err, ERR_INVALID, "token server '%.*s': no token in its answer",
			       STR_ARG(q->realm));
	for (size_t i = 0; i < token.n; i++)
		if ((unsigned char)token.p[i] <= ' ' || (unsigned char)token.p[i] >= 0x7f)
			return err_set(err, ERR_INVALID, "token server '%.*s': not a token",
				       STR_ARG(q->realm));
	int64_t life = json_get_int(j, "expires_in", LIFE_S), now = clock_real_ns(), issued = now;
	_cleanup_(err_dropp) struct err *e = NULL;
	if (life <= 0)
		life = LIFE_S;
	if (life > MOST_S)
		life = MOST_S;
	if (clock_parse(json_get_str(j, "issued_at"), &issued, &e) < 0 || issued > now)
		issued = now;
	/* A server whose clock is behind must not make each token old at birth. */
	int64_t seconds = life * 8 / 10 - (now - issued) / 1000000000;
	*ret_seconds = seconds < LEAST_S ? LEAST_S : seconds;
	*ret = str_dup(token);
	return 0;
}

static int refused(const struct token_request *q, const struct http_response *r, struct err **err)
{
	if (r->status != 401 && r->status != 403 && r->status != 400)
		err_set(err, retry_status(r->status) ? ERR_NETWORK : ERR_AUTH,
			"token server '%.*s': status %d", STR_ARG(q->realm), r->status);
	else if (q->cred)
		err_set(err, ERR_AUTH, "token server '%.*s': the credentials of %s were refused",
			STR_ARG(q->realm), q->cred->origin);
	else
		err_set(err, ERR_AUTH,
			"token server '%.*s': access without credentials was refused",
			STR_ARG(q->realm));
	if (!q->cred)
		err_hint(
			err,
			"credentials are read from docker's config.json, as docker login %s writes it",
			q->host->name);
	return err_status(err, r->status);
}

/* Plain http: for a token only where the registry itself is spoken to so; for credentials only where nobody can listen. */
static int check_realm(const struct token_request *q, const struct url *realm, struct err **err)
{
	if (realm->tls)
		return 0;
	bool own = str_eq_c(realm->authority, q->host->authority);
	if (!host_is_plain(q->host))
		return err_set(err, ERR_DENIED, "token server '%.*s': plain http is not accepted",
			       STR_ARG(q->realm));
	if (q->cred && !url_is_loopback(realm->host) && !(own && q->host->plain_allowed))
		return err_set(err, ERR_DENIED,
			       "token server '%.*s': credentials are not sent over plain http",
			       STR_ARG(q->realm));
	return 0;
}

/* The OAuth form for a refresh token. *ret_done false: the server does not know it. */
static int fetch_oauth(const struct token_request *q, struct http_request *hq,
		       struct http_response *r, bool *ret_done, struct err **err)
{
	_cleanup_(sb_releasep) struct sb form = { 0 };
	add_form(q, &form);
	struct http_header type = { STR("Content-Type"), STR("application/x-www-form-urlencoded") };
	struct http_request post = *hq;
	post.method = "POST";
	post.url = q->realm;
	post.authorization = NULL;
	post.headers = &type;
	post.n_headers = 1;
	post.has_body = true;
	post.body = sb_str(&form);
	post.follow = false;
	int rc = exchange(q, &post, r, err);
	explicit_bzero(form.p, form.n);
	if (rc < 0)
		return -1;
	*ret_done = r->status != 400 && r->status != 401 && r->status != 404 && r->status != 405;
	if (!*ret_done)
		http_response_release(r);
	return 0;
}

static int fetch(const struct token_request *q, struct http_response *r, struct err **err)
{
	struct url realm;
	struct host *at;
	if (url_parse(q->realm, &realm, err) < 0)
		return err_wrap(err, "token server");
	if (check_realm(q, &realm, err) < 0 || hosts_get(q->hosts, realm.authority, &at, err) < 0)
		return -1;
	_cleanup_(sb_releasep) struct sb url = { 0 };
	_cleanup_free_ char *basic = NULL;
	add_url(q, &url);
	struct http_request hq = { .method = "GET",
				   .url = sb_str(&url),
				   .peer = &at->peer,
				   .follow = true,
				   .max_body = ANSWER_MAX };
	const struct cred *c = q->cred;
	bool done = false;
	if (c && c->identity) {
		if (fetch_oauth(q, &hq, r, &done, err) < 0 || done)
			return done ? 0 : -1;
		bool named = c->user && *c->user && strcmp(c->user, "<token>");
		basic = basic_header(
			str_c(named ? c->user : "00000000-0000-0000-0000-000000000000"),
			str_c(c->identity));
	} else if (c && c->user && c->secret) {
		basic = basic_header(str_c(c->user), str_c(c->secret));
	}
	hq.authorization = basic;
	int rc = exchange(q, &hq, r, err);
	if (basic)
		explicit_bzero(basic, strlen(basic));
	return rc;
}

int token_fetch(const struct token_request *q, char **ret, int64_t *ret_seconds, struct err **err)
{
	_cleanup_(http_response_releasep) struct http_response r = { 0 };
	if (fetch(q, &r, err) < 0)
		return err_wrap(err, "get a token for '%s'", q->host->name);
	int rc = r.status == 200 ? read_answer(q, sb_str(&r.body), ret, ret_seconds, err)
				 : refused(q, &r, err);
	if (r.body.p)
		explicit_bzero(r.body.p, r.body.n);
	return rc < 0 ? err_wrap(err, "get a token for '%s'", q->host->name) : 0;
}
