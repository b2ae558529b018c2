#include "registry/creds.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "base/proc.h"
#include "registry/base64.h"

enum { FILE_MAX = 4 * 1024 * 1024, HELPER_MAX = 64 * 1024, HELPER_MS = 30 * 1000 };

struct creds {
	pthread_mutex_t lock;
	struct map known;   /* "host/repo" → struct cred, or `none` */
	struct map helpers; /* "helper host" → struct cred, or `none` */
	struct map given;   /* host → struct cred, by creds_set() */
	unsigned ids;
	bool offline;
};

static struct cred none;

/* One file of credentials, parsed. */
struct file {
	json_t *json;
	char *path;
};

struct creds *creds_new(bool offline)
{
	struct creds *c = xcalloc(1, sizeof(*c));
	pthread_mutex_init(&c->lock, NULL);
	c->offline = offline;
	return c;
}

static void wipe(char *p)
{
	if (p)
		explicit_bzero(p, strlen(p));
	free(p);
}

static void cred_free(struct cred *c)
{
	if (!c || c == &none)
		return;
	wipe(c->user);
	wipe(c->secret);
	wipe(c->identity);
	wipe(c->token);
	free(c->origin);
	free(c);
}

static void map_free(struct map *m)
{
	size_t i = 0;
	for (struct map_entry *e; (e = map_next(m, &i));)
		cred_free(e->value);
	map_release(m);
}

void creds_free(struct creds *c)
{
	if (!c)
		return;
	/* What a helper said is in both maps. */
	size_t i = 0;
	for (struct map_entry *e; (e = map_next(&c->known, &i));) {
		size_t j = 0;
		for (struct map_entry *h; (h = map_next(&c->helpers, &j));)
			if (h->value == e->value)
				e->value = NULL;
	}
	map_free(&c->known);
	map_free(&c->helpers);
	map_free(&c->given);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static bool is_hub(struct str host)
{
	return str_eq(host, STR("docker.io")) || str_eq(host, STR("index.docker.io")) ||
		str_eq(host, STR("registry-1.docker.io"));
}

struct str creds_server_key(struct str host)
{
	return is_hub(host) ? STR("https://index.docker.io/v1/") : host;
}

static char *home_path(const char *variable, const char *below_home, const char *rest)
{
	const char *v = getenv(variable), *home = getenv("HOME");
	if (v && *v)
		return xasprintf("%s/%s", v, rest);
	return home && *home && below_home ? xasprintf("%s/%s/%s", home, below_home, rest) : NULL;
}

char *creds_docker_file(void)
{
	return home_path("DOCKER_CONFIG", ".docker", "config.json");
}

static void file_release(struct file *f)
{
	json_unrefp(&f->json);
	free(f->path);
}

static int file_parse(struct file *f, struct str text, struct err **err)
{
	f->json = json_parse(text, f->path, err);
	if (f->json && !json_is_object(f->json))
		return err_set(err, ERR_INVALID, "read credentials '%s': not an object", f->path);
	return f->json ? 0 : err_wrap(err, "read credentials '%s'", f->path);
}

/* Reads a file; one that is not there leaves f->json NULL. */
static int file_read(struct file *f, struct err **err)
{
	_cleanup_(sb_releasep) struct sb text;
	sb_init(&text, FILE_MAX);
	_cleanup_(err_dropp) struct err *e = NULL;
	if (io_read_file(AT_FDCWD, f->path, &text, &e) < 0)
		return e->code == ERR_NOT_FOUND ? 0 : err_move(err, STEAL(e));
	int r = sb_str(&text).n ? file_parse(f, sb_str(&text), err) : 0;
	explicit_bzero(text.p, text.n);
	return r;
}

/* The key of `auths` as a host and maybe a path: without scheme, version and closing slash. */
static struct str bare_key(struct str key)
{
	if (str_starts(key, STR("https://")))
		key = str_sub(key, 8, key.n);
	else if (str_starts(key, STR("http://")))
		key = str_sub(key, 7, key.n);
	if (str_ends(key, STR("/")))
		key.n--;
	if (str_ends(key, STR("/v1")) || str_ends(key, STR("/v2")))
		key.n -= 3;
	return key;
}

static bool same_host(struct str key, struct str host)
{
	return str_eq(key, host) || (is_hub(host) && is_hub(key));
}

/* The entry of `auths` for the host itself, or the longest for a prefix of the repository. */
static json_t *find_auth(json_t *auths, struct str host, struct str repo, bool prefix)
{
	json_t *best = NULL, *value;
	size_t best_n = 0;
	const char *key;
	json_object_foreach(auths, key, value)
	{
		struct str k = bare_key(str_c(key)), head, tail;
		if (!prefix) {
			if (same_host(k, host) && (!best || str_eq_c(k, key)))
				best = value;
			continue;
		}
		if (!str_cut(k, '/', &head, &tail) || !same_host(head, host) ||
		    !str_starts(repo, tail) || tail.n < best_n)
			continue;
		if (tail.n && (repo.n == tail.n || repo.p[tail.n] == '/')) {
			best = value;
			best_n = tail.n;
		}
	}
	return best;
}

static char *own(struct str s)
{
	return s.n ? str_dup(s) : NULL;
}

/* Reads an entry; one that says nothing gives NULL. */
static int cred_of_entry(struct creds *c, const json_t *entry, const char *origin,
			 struct cred **ret, struct err **err)
{
	_cleanup_(sb_releasep) struct sb pair = { 0 };
	struct str user = json_get_str(entry, "username"), secret = json_get_str(entry, "password");
	struct str auth = json_get_str(entry, "auth");
	if (auth.n) {
		if (base64_decode(auth, &pair, err) < 0)
			return err_wrap(err, "read credentials '%s'", origin);
		struct str text = sb_str(&pair);
		while (text.n && (!text.p[text.n - 1] || text.p[text.n - 1] == '\n'))
			text.n--;
		if (!str_cut(text, ':', &user, &secret))
			return err_set(err, ERR_INVALID,
				       "read credentials '%s': an entry without a colon", origin);
	}
	struct str identity = json_get_str(entry, "identitytoken"),
		   token = json_get_str(entry, "registrytoken");
	*ret = NULL;
	if (!user.n && !secret.n && !identity.n && !token.n)
		return 0;
	struct cred *k = xcalloc(1, sizeof(*k));
	k->user = own(user);
	k->secret = own(secret);
	k->identity = own(identity);
	k->token = own(token);
	k->origin = xstrdup(origin);
	k->id = ++c->ids;
	if (pair.p)
		explicit_bzero(pair.p, pair.n);
	*ret = k;
	return 0;
}

static bool helper_name_ok(struct str name)
{
	for (size_t i = 0; i < name.n; i++) {
		char c = str_lower(name.p[i]);
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && (!c || !strchr("._-", c)))
			return false;
	}
	return name.n > 0 && name.n < 128;
}

/* A helper says on stdout why it failed. */
static int helper_failed(struct str helper, struct str said, bool *found, struct err **err)
{
	said = str_trim(said, " \r\n\t");
	if (str_eq(said, STR("credentials not found in native keychain"))) {
		*found = false;
		return 0;
	}
	_cleanup_(sb_releasep) struct sb line = { 0 };
	sb_add_printable(&line, str_sub(said, 0, str_find(said, '\n', 0)));
	return err_set(err, ERR_AUTH, "ask credential helper '%.*s': %s", STR_ARG(helper),
		       line.n ? sb_c(&line) : "it failed");
}

int creds_helper_run(struct str helper, const char *verb, struct str input, struct sb *out,
		     bool *ret_found, struct err **err)
{
	if (!helper_name_ok(helper))
		return err_set(err, ERR_INVALID, "credential helper '%.*s': not a valid name",
			       STR_ARG(helper));
	_cleanup_free_ char *program = xasprintf("docker-credential-%.*s", STR_ARG(helper));
	const char *argv[] = { program, verb, NULL };
	_cleanup_close_ int null = log_on() ? -1 : open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct proc_options o = { .argv = argv, .fds = { -1, -1, null }, .new_session = true };
	int status = 0;
	sb_init(out, HELPER_MAX);
	if (proc_capture(&o, input, HELPER_MS, out, &status, err) < 0)
		return err_wrap(err, "ask credential helper '%.*s'", STR_ARG(helper));
	*ret_found = true;
	return status ? helper_failed(helper, sb_str(out), ret_found, err) : 0;
}

static int cred_of_answer(struct creds *c, struct str helper, struct str answer, struct cred **ret,
			  struct err **err)
{
	_cleanup_(json_unrefp) json_t *j = json_parse(answer, "its answer", err);
	if (!j)
		return err_wrap(err, "ask credential helper '%.*s'", STR_ARG(helper));
	struct str user = json_get_str(j, "Username"), secret = json_get_str(j, "Secret");
	if (!secret.n)
		return 0;
	struct cred *k = xcalloc(1, sizeof(*k));
	if (str_eq(user, STR("<token>"))) {
		k->identity = str_dup(secret);
	} else {
		k->user = str_dup(user);
		k->secret = str_dup(secret);
	}
	k->origin = xasprintf("docker-credential-%.*s", STR_ARG(helper));
	k->id = ++c->ids;
	*ret = k;
	return 0;
}

/* *ret NULL: it has none. Asked once for a host. */
static int ask_helper(struct creds *c, struct str helper, struct str host, struct cred **ret,
		      struct err **err)
{
	_cleanup_free_ char *key = xasprintf("%.*s %.*s", STR_ARG(helper), STR_ARG(host));
	struct cred *k = map_get(&c->helpers, str_c(key));
	if (!k) {
		_cleanup_(sb_releasep) struct sb out = { 0 };
		bool found = false;
		if (creds_helper_run(helper, "get", creds_server_key(host), &out, &found, err) < 0)
			return -1;
		if (found && cred_of_answer(c, helper, sb_str(&out), &k, err) < 0)
			return -1;
		if (out.p)
			explicit_bzero(out.p, out.n);
		map_put(&c->helpers, str_c(key), k ? k : &none);
	}
	*ret = k == &none ? NULL : k;
	return 0;
}

static struct str helper_of_host(const json_t *json, struct str host)
{
	const json_t *helpers = json_object_get(json, "credHelpers");
	_cleanup_free_ char *key = str_dup(host);
	struct str helper = json_get_str(helpers, key);
	static const char *const hub[] = { "https://index.docker.io/v1/", "docker.io",
					   "index.docker.io" };
	for (size_t i = 0; is_hub(host) && !helper.n && i < ARRAY_SIZE(hub); i++)
		helper = json_get_str(helpers, hub[i]);
	return helper;
}

static int look_in(struct creds *c, const struct file *f, struct str host, struct str repo,
		   struct cred **ret, struct err **err)
{
	json_t *auths = json_object_get(f->json, "auths");
	json_t *entry = find_auth(auths, host, repo, true);
	if (entry && (cred_of_entry(c, entry, f->path, ret, err) < 0 || *ret))
		return *ret ? 0 : -1;
	struct str helpers[] = { helper_of_host(f->json, host),
				 json_get_str(f->json, "credsStore") };
	for (size_t i = 0; i < ARRAY_SIZE(helpers) && !c->offline; i++) {
		if (helpers[i].n && ask_helper(c, helpers[i], host, ret, err) < 0)
			return err_wrap(err, "read credentials '%s'", f->path);
		if (*ret)
			return 0;
	}
	entry = find_auth(auths, host, repo, false);
	return entry ? cred_of_entry(c, entry, f->path, ret, err) : 0;
}

/* The n-th place, or NULL behind the last. A file that cannot exist gives "". */
static char *place(size_t n)
{
	const char *only = getenv("REGISTRY_AUTH_FILE");
	if (only && *only)
		return n ? NULL : xstrdup(only);
	char *p = NULL;
	switch (n) {
	case 0:
		p = creds_docker_file();
		break;
	case 1:
		p = home_path("XDG_RUNTIME_DIR", NULL, "containers/auth.json");
		if (!p)
			p = xasprintf("/run/containers/%u/auth.json", getuid());
		break;
	case 2:
		p = home_path("XDG_CONFIG_HOME", ".config", "containers/auth.json");
		break;
	default:
		return NULL;
	}
	return p ? p : xstrdup("");
}

static int search(struct creds *c, struct str host, struct str repo, struct cred **ret,
		  struct err **err)
{
	const char *inline_json = getenv("DOCKER_AUTH_CONFIG");
	if (inline_json && *inline_json) {
		struct file f = { .path = xstrdup("$DOCKER_AUTH_CONFIG") };
		int r = file_parse(&f, str_c(inline_json), err);
		if (!r)
			r = look_in(c, &f, host, repo, ret, err);
		file_release(&f);
		if (r < 0 || *ret)
			return r;
	}
	char *path;
	for (size_t n = 0; (path = place(n)); n++) {
		struct file f = { .path = path };
		int r = *path ? file_read(&f, err) : 0;
		if (!r && f.json)
			r = look_in(c, &f, host, repo, ret, err);
		file_release(&f);
		if (r < 0 || *ret)
			return r;
	}
	return 0;
}

void creds_set(struct creds *c, struct str host, struct str user, struct str secret)
{
	struct cred *k = xcalloc(1, sizeof(*k));
	k->user = str_dup(user);
	k->secret = str_dup(secret);
	k->origin = xstrdup("this log in");
	pthread_mutex_lock(&c->lock);
	k->id = ++c->ids;
	cred_free(map_put(&c->given, host, k));
	pthread_mutex_unlock(&c->lock);
}

int creds_get(struct creds *c, struct str host, struct str repo, const struct cred **ret,
	      struct err **err)
{
	_cleanup_free_ char *key = xasprintf("%.*s/%.*s", STR_ARG(host), STR_ARG(repo));
	pthread_mutex_lock(&c->lock);
	struct cred *k = map_get(&c->given, host);
	if (!k)
		k = map_get(&c->known, str_c(key));
	int r = 0;
	if (!k) {
		r = search(c, host, repo, &k, err);
		if (!r)
			map_put(&c->known, str_c(key), k ? k : &none);
	}
	pthread_mutex_unlock(&c->lock);
	if (r < 0)
		return err_wrap(err, "find credentials for '%.*s'", STR_ARG(host));
	*ret = k == &none ? NULL : k;
	return 0;
}
