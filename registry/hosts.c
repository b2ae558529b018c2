#include "registry/hosts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#include "base/err.h"
#include "base/io.h"
#include "base/json.h"
#include "base/map.h"
#include "registry/url.h"

enum { CA_MAX = 4 * 1024 * 1024, CONFIG_MAX = 1024 * 1024, MAX_MIRRORS = 16 };

struct hosts {
	pthread_mutex_t lock;
	struct hosts_options options;
	struct map known;  /* domain → struct host */
	struct host **all; /* mirrors too */
	size_t n;
	json_t *configs[2];
	bool read;
};

struct hosts *hosts_new(const struct hosts_options *o)
{
	struct hosts *h = xcalloc(1, sizeof(*h));
	pthread_mutex_init(&h->lock, NULL);
	if (o)
		h->options = *o;
	if (!h->options.certs[0]) {
		h->options.certs[0] = "/etc/docker/certs.d";
		h->options.certs[1] = "/etc/containers/certs.d";
	}
	return h;
}

static void host_free(struct host *h)
{
	free(h->name);
	free(h->authority);
	free(h->prefix);
	free(h->ns);
	free(h->warning);
	free((void *)(uintptr_t)h->peer.ca.p);
	free((void *)(uintptr_t)h->peer.cert);
	free((void *)(uintptr_t)h->peer.key);
	free(h->mirrors);
	free(h);
}

void hosts_free(struct hosts *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->n; i++)
		host_free(h->all[i]);
	free(h->all);
	map_release(&h->known);
	json_decref(h->configs[0]);
	json_decref(h->configs[1]);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

/* ---- configuration */

static int read_config(const char *path, json_t **ret, struct err **err)
{
	_cleanup_(sb_releasep) struct sb text;
	sb_init(&text, CONFIG_MAX);
	_cleanup_(err_dropp) struct err *e = NULL;
	if (io_read_file(AT_FDCWD, path, &text, &e) < 0)
		return e->code == ERR_NOT_FOUND ? 0 : err_move(err, STEAL(e));
	*ret = json_parse(sb_str(&text), path, err);
	return *ret ? 0 : err_wrap(err, "read configuration '%s'", path);
}

static int read_configs(struct hosts *h, struct err **err)
{
	if (h->read)
		return 0;
	if (h->options.config) {
		if (read_config(h->options.config, &h->configs[0], err) < 0)
			return -1;
	} else {
		const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
		_cleanup_free_ char *user = xdg && *xdg ? xasprintf("%s/cbuild/config.json", xdg)
			: home && *home ? xasprintf("%s/.config/cbuild/config.json", home)
					: NULL;
		if (user && read_config(user, &h->configs[0], err) < 0)
			return -1;
		if (read_config("/etc/cbuild/config.json", &h->configs[1], err) < 0)
			return -1;
	}
	h->read = true;
	return 0;
}

static const json_t *settings_of(const struct hosts *h, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(h->configs); i++) {
		const json_t *s =
			json_object_get(json_object_get(h->configs[i], "registries"), name);
		if (s)
			return s;
	}
	return NULL;
}

/* ---- certificates */

static int add_ca(struct sb *pem, int dir, const char *name, struct err **err)
{
	_cleanup_(sb_releasep) struct sb one;
	sb_init(&one, CA_MAX);
	if (io_read_file(dir, name, &one, err) < 0)
		return err_wrap(err, "read certificate '%s'", name);
	sb_add_str(pem, sb_str(&one));
	sb_add_ch(pem, '\n');
	return sb_check(pem, "certificates", err);
}

static bool has_suffix(const char *name, const char *suffix)
{
	return str_ends(str_c(name), str_c(suffix));
}

static int read_certs(struct host *host, const char *folder, struct sb *pem, struct err **err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", folder, host->name);
	_cleanup_closedir_ DIR *d = opendir(path);
	if (!d)
		return errno == ENOENT || errno == ENOTDIR
			? 0
			: err_sys(err, "open certificates '%s'", path);
	for (const struct dirent *e; (e = readdir(d));) {
		if (has_suffix(e->d_name, ".crt") && add_ca(pem, dirfd(d), e->d_name, err) < 0)
			return err_wrap(err, "open certificates '%s'", path);
		if (has_suffix(e->d_name, ".cert") && !host->peer.cert) {
			host->peer.cert = xasprintf("%s/%s", path, e->d_name);
			host->peer.key = xasprintf("%s/%.*s.key", path,
						   (int)(strlen(e->d_name) - 5), e->d_name);
		}
		if (!strcmp(e->d_name, "hosts.toml") && !host->warning)
			host->warning = xasprintf(
				"%s/hosts.toml is not read: mirrors of %s are set in cbuild's config.json, as "
				"{\"registries\":{\"%s\":{\"mirrors\":[{\"url\":\"https://…\",\"resolve\":true}]}}}",
				path, host->name, host->name);
	}
	return 0;
}

static char *own(const json_t *s, const char *name)
{
	struct str v = json_get_str(s, name);
	return v.n ? str_dup(v) : NULL;
}

static int read_all_certs(struct hosts *h, struct host *host, const json_t *s, struct err **err)
{
	_cleanup_(sb_releasep) struct sb pem;
	sb_init(&pem, CA_MAX);
	_cleanup_free_ char *ca = own(s, "ca");
	host->peer.cert = own(s, "cert");
	host->peer.key = own(s, "key");
	if (ca && add_ca(&pem, AT_FDCWD, ca, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(h->options.certs); i++)
		if (h->options.certs[i] && read_certs(host, h->options.certs[i], &pem, err) < 0)
			return -1;
	if (pem.n) {
		size_t n = pem.n;
		host->peer.ca = (struct str){ sb_steal(&pem), n };
	}
	return 0;
}

/* ---- hosts */

/* Authority and prefix of a mirror's URL, whose scheme decides. */
static int set_url(struct host *host, struct str url, struct err **err)
{
	struct url u;
	if (url_parse(url, &u, err) < 0)
		return err_wrap(err, "mirror");
	struct str path = str_trim(str_sub(u.rest, 0, str_find(u.rest, '?', 0)), "/");
	host->authority = str_dup(u.authority);
	host->prefix = path.n ? xasprintf("/%.*s", STR_ARG(path)) : xstrdup("");
	atomic_store(&host->scheme, u.tls ? HOST_HTTPS : HOST_HTTP);
	return 0;
}

static bool authority_is_loopback(const char *authority, bool *ret_443)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_free_ char *text = xasprintf("https://%s", authority);
	struct url u;
	if (url_parse(str_c(text), &u, &e) < 0)
		return false;
	*ret_443 = str_ends(u.authority, STR(":443"));
	return url_is_loopback(u.host);
}

static void set_scheme(struct host *host, const json_t *s)
{
	bool tls_port = false;
	host->loopback = authority_is_loopback(host->authority, &tls_port);
	host->peer.insecure = json_get_bool(s, "insecure");
	host->plain_allowed = host->loopback || host->peer.insecure;
	if (host->ns)
		return;
	if (json_get_bool(s, "http"))
		atomic_store(&host->scheme, HOST_HTTP);
	else if (!host->plain_allowed || tls_port)
		atomic_store(&host->scheme, HOST_HTTPS);
}

/* A host with its settings; url: a mirror's. Added to `all` at once, so it is freed whatever becomes of it. */
static struct host *make(struct hosts *h, struct str name, struct str url, struct str ns,
			 struct err **err)
{
	struct host *host = xcalloc(1, sizeof(*host));
	h->all = xreallocarray(h->all, h->n + 1, sizeof(struct host *));
	h->all[h->n++] = host;
	host->resolves = true;
	if (ns.n)
		host->ns = str_dup(ns);
	if (url.n) {
		if (set_url(host, url, err) < 0)
			return NULL;
		host->name = xstrdup(host->authority);
	} else {
		host->name = str_dup(name);
		host->authority = xstrdup(str_eq(name, STR("docker.io")) ? "registry-1.docker.io"
									 : host->name);
		host->prefix = xstrdup("");
	}
	const json_t *s = settings_of(h, host->name);
	set_scheme(host, s);
	host->chunk = (uint64_t)json_get_int(s, "chunk", 0);
	if (host->chunk > INT64_MAX)
		host->chunk = 0;
	return read_all_certs(h, host, s, err) < 0 ? NULL : host;
}

static int add_mirrors(struct hosts *h, struct host *host, struct err **err)
{
	const json_t *list = json_object_get(settings_of(h, host->name), "mirrors");
	size_t n = json_array_size(list);
	if (n > MAX_MIRRORS)
		return err_set(err, ERR_LIMIT, "more than %d mirrors of '%s'", MAX_MIRRORS,
			       host->name);
	host->mirrors = xcalloc(n + 1, sizeof(struct host *));
	for (size_t i = 0; i < n; i++) {
		const json_t *m = json_array_get(list, i);
		struct str url = json_get_str(m, "url");
		if (!url.n)
			return err_set(err, ERR_INVALID, "mirrors of '%s': one without a url",
				       host->name);
		struct host *mirror = make(h, STR(""), url, str_c(host->name), err);
		if (!mirror)
			return err_wrap(err, "mirrors of '%s'", host->name);
		mirror->resolves = json_get_bool(m, "resolve");
		host->mirrors[host->n_mirrors++] = mirror;
	}
	return 0;
}

int hosts_get(struct hosts *h, struct str domain, struct host **ret, struct err **err)
{
	pthread_mutex_lock(&h->lock);
	struct host *host = map_get(&h->known, domain);
	int r = host ? 0 : read_configs(h, err);
	if (!r && !host) {
		host = make(h, domain, STR(""), STR(""), err);
		r = host && !add_mirrors(h, host, err) ? 0 : -1;
		if (!r)
			map_put(&h->known, domain, host);
	}
	pthread_mutex_unlock(&h->lock);
	if (!r)
		*ret = host;
	return r;
}

bool host_is_plain(const struct host *h)
{
	int scheme = atomic_load(&h->scheme);
	return scheme == HOST_HTTP || (scheme == HOST_UNKNOWN && h->loopback);
}

void host_base(const struct host *h, struct sb *out)
{
	sb_add_c(out, host_is_plain(h) ? "http://" : "https://");
	sb_add_c(out, h->authority);
	sb_add_c(out, h->prefix);
}

bool host_other_scheme(struct host *h, enum http_failure how)
{
	if (atomic_load(&h->scheme) != HOST_UNKNOWN || !h->plain_allowed)
		return false;
	bool refused_443 = how == HTTP_FAIL_REFUSED && !strchr(h->authority, ':');
	if (h->loopback ? how != HTTP_FAIL_GARBLED : how != HTTP_FAIL_NOT_TLS && !refused_443)
		return false;
	int unknown = HOST_UNKNOWN;
	/* Where another thread was faster, its answer is taken. */
	atomic_compare_exchange_strong(&h->scheme, &unknown, h->loopback ? HOST_HTTPS : HOST_HTTP);
	return true;
}

void host_answered(struct host *h)
{
	int unknown = HOST_UNKNOWN;
	atomic_compare_exchange_strong(&h->scheme, &unknown,
				       host_is_plain(h) ? HOST_HTTP : HOST_HTTPS);
	atomic_store(&h->answered, true);
}
