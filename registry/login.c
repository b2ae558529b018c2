#include "registry/login.h"

#include <fcntl.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/io.h"
#include "base/json.h"
#include "registry/base64.h"
#include "registry/client.h"
#include "registry/creds.h"
#include "registry/session.h"

enum { FILE_MAX = 4 * 1024 * 1024 };

/* docker's config.json; an empty object where there is none yet. */
struct config {
	char *path;
	json_t *json;
};

static void config_release(struct config *c)
{
	free(c->path);
	json_unrefp(&c->json);
}

static int config_read(struct config *c, struct err **err)
{
	_cleanup_(sb_releasep) struct sb text;
	sb_init(&text, FILE_MAX);
	_cleanup_(err_dropp) struct err *e = NULL;
	c->path = creds_docker_file();
	if (!c->path)
		return err_set(err, ERR_INVALID,
			       "neither HOME nor DOCKER_CONFIG says where credentials are kept");
	if (io_read_file(AT_FDCWD, c->path, &text, &e) < 0 && e->code != ERR_NOT_FOUND)
		return err_move(err, STEAL(e));
	c->json = text.n ? json_parse(sb_str(&text), c->path, err) : json_object();
	if (text.p)
		explicit_bzero(text.p, text.n);
	if (c->json && !json_is_object(c->json))
		return err_set(err, ERR_INVALID, "read '%s': not an object", c->path);
	return c->json ? 0 : -1;
}

static int config_write(const struct config *c, struct err **err)
{
	_cleanup_(sb_releasep) struct sb text = { 0 };
	_cleanup_free_ char *folder =
		str_dup(str_sub(str_c(c->path), 0, str_rfind(str_c(c->path), '/')));
	json_print(c->json, &text);
	sb_add_ch(&text, '\n');
	int r = io_mkdirs(AT_FDCWD, folder, 0700, err);
	if (!r)
		r = io_replace_file(AT_FDCWD, c->path, sb_str(&text), 0600, true, err);
	explicit_bzero(text.p, text.n);
	return r;
}

/* The helper that keeps a host's credentials; {NULL, 0}: the file does. */
static struct str helper_of(const struct config *c, struct str host)
{
	_cleanup_free_ char *key = str_dup(creds_server_key(host)), *name = str_dup(host);
	const json_t *helpers = json_object_get(c->json, "credHelpers");
	struct str helper = json_get_str(helpers, key);
	if (!helper.n)
		helper = json_get_str(helpers, name);
	return helper.n ? helper : json_get_str(c->json, "credsStore");
}

/* GET /v2/ with the credentials, through whatever the registry challenges with. */
static int verify(struct registry *r, struct str host, struct err **err)
{
	struct http *http = NULL;
	struct host *h;
	if (hosts_get(r->hosts, host, &h, err) < 0 || registry_http_take(r, &http, err) < 0)
		return -1;
	struct call c = { .host = h, .http = { .method = "GET" } };
	_cleanup_(http_response_releasep) struct http_response answer = { 0 };
	int rc = client_call(r, http, &c, &answer, err);
	registry_http_give(r, http);
	if (rc < 0)
		return -1;
	if (answer.status == 404)
		return err_set(err, ERR_INVALID, "'%s' is not a registry", h->name);
	return answer.status == 200 ? 0 : client_error(&c, &answer, err);
}

static int store_by_helper(struct str helper, struct str host, struct str user, struct str secret,
			   struct err **err)
{
	_cleanup_(json_unrefp) json_t *j = json_object();
	_cleanup_(sb_releasep) struct sb in = { 0 }, out = { 0 };
	bool known;
	json_put_str(j, "ServerURL", creds_server_key(host));
	json_put_str(j, "Username", user);
	json_put_str(j, "Secret", secret);
	json_print(j, &in);
	int r = creds_helper_run(helper, "store", sb_str(&in), &out, &known, err);
	explicit_bzero(in.p, in.n);
	return r;
}

static int store_in_file(struct config *c, struct str host, struct str user, struct str secret,
			 struct err **err)
{
	_cleanup_(sb_releasep) struct sb pair = { 0 }, coded = { 0 };
	_cleanup_free_ char *key = str_dup(creds_server_key(host));
	json_t *auths = json_object_get(c->json, "auths"), *entry = json_object();
	sb_add_str(&pair, user);
	sb_add_ch(&pair, ':');
	sb_add_str(&pair, secret);
	base64_encode(sb_str(&pair), &coded);
	explicit_bzero(pair.p, pair.n);
	json_put_str(entry, "auth", sb_str(&coded));
	explicit_bzero(coded.p, coded.n);
	if (!json_is_object(auths)) {
		auths = json_object();
		json_put(c->json, "auths", auths);
	}
	json_put(auths, key, entry);
	return config_write(c, err);
}

static int keep(struct config *c, struct str host, struct str user, struct str secret,
		char **ret_where, struct err **err)
{
	struct str helper = helper_of(c, host);
	if (!helper.n) {
		if (store_in_file(c, host, user, secret, err) < 0)
			return -1;
		*ret_where = xstrdup(c->path);
		return 0;
	}
	if (store_by_helper(helper, host, user, secret, err) < 0)
		return -1;
	*ret_where = xasprintf("docker-credential-%.*s", STR_ARG(helper));
	return 0;
}

int registry_login(struct registry *r, struct str host, struct str user, struct str secret,
		   char **ret_where, struct err **err)
{
	if (!user.n || !secret.n || str_find(user, ':', 0) != SIZE_MAX)
		return err_set(
			err, ERR_INVALID,
			"log in to '%.*s': a user name without a colon and a password are needed",
			STR_ARG(host));
	creds_set(r->creds, host, user, secret);
	if (verify(r, host, err) < 0)
		return err_wrap(err, "log in to '%.*s'", STR_ARG(host));
	struct config c = { 0 };
	int rc = config_read(&c, err);
	if (!rc)
		rc = keep(&c, host, user, secret, ret_where, err);
	config_release(&c);
	return rc;
}

static int forget(struct config *c, struct str host, bool *ret_known, struct err **err)
{
	_cleanup_free_ char *key = str_dup(creds_server_key(host)), *name = str_dup(host);
	json_t *auths = json_object_get(c->json, "auths");
	const char *const keys[] = { key, name };
	bool in_file = false;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		in_file |= !json_object_del(auths, keys[i]);
	if (in_file && config_write(c, err) < 0)
		return -1;
	*ret_known = in_file;
	struct str helper = helper_of(c, host);
	_cleanup_(sb_releasep) struct sb out = { 0 };
	bool by_helper = false;
	if (helper.n &&
	    creds_helper_run(helper, "erase", creds_server_key(host), &out, &by_helper, err) < 0)
		return -1;
	*ret_known |= by_helper;
	return 0;
}

int registry_logout(struct str host, bool *ret_known, struct err **err)
{
	struct config c = { 0 };
	int r = config_read(&c, err);
	if (!r)
		r = forget(&c, host, ret_known, err);
	config_release(&c);
	return r < 0 ? err_wrap(err, "log out of '%.*s'", STR_ARG(host)) : 0;
}
