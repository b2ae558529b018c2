#include "registry/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "cache/store.h"
#include "registry/client.h"
#include "registry/session.h"
#include "registry/url.h"

#define CHUNK_FROM (UINT64_C(64) << 20)
#define CHUNK (UINT64_C(32) << 20)
enum { POLL_S = 60, NOTE_MAX = 64 * 1024 };

/* One blob on its way. */
struct sending {
	struct registry *r;
	struct http *http;
	const struct upload *u;
	char digest[DIGEST_TEXT];
	char *scopes;
	struct sb location; /* the newest; empty: no session */
	uint64_t offset;    /* bytes that the registry has of the session */
	uint64_t shown;     /* bytes that were handed over in this request */
	uint64_t chunk_min;
	struct retry retry;
	int64_t after_s; /* what the last refusal asked to wait; -1 */
	bool told;       /* the last answer has said where the session is */
	bool begun_anew; /* a digest that came out wrong made us send all of it again, once */
	int note_fd;     /* the locked file that remembers the session; -1: none */
	char note[64 + DIGEST_HEX];
};

static void on_sent(void *arg, uint64_t n)
{
	struct sending *s = arg;
	s->shown += n;
	if (s->u->progress)
		s->u->progress(s->u->arg, s->offset + s->shown);
}

static struct call call_of(const struct sending *s, const char *method)
{
	return (struct call){ .host = s->u->host,
			      .repo = s->u->repo,
			      .scopes = str_c(s->scopes),
			      .once = true,
			      .http = { .method = method, .stop = s->u->stop } };
}

static bool ok(int status)
{
	return status >= 200 && status < 300;
}

/* ---- Location */

/* A proxy that ends TLS makes its registry write http: on the same host the connection stays what it is. */
static int keep_tls(struct sending *s, struct str base, struct err **err)
{
	struct url from, to;
	if (url_parse(base, &from, err) < 0 || url_parse(sb_str(&s->location), &to, err) < 0)
		return -1;
	if (!from.tls || to.tls)
		return 0;
	if (!str_ieq(from.host, to.host))
		return err_set(err, ERR_DENIED,
			       "upload to '%.*s': it names a Location of plain http",
			       STR_ARG(to.authority));
	_cleanup_(sb_releasep) struct sb b = { 0 };
	sb_add_c(&b, "https://");
	sb_add_str(&b, to.port == 80 ? from.authority : to.authority);
	sb_add_str(&b, to.rest);
	sb_reset(&s->location);
	sb_add_str(&s->location, sb_str(&b));
	return 0;
}

/* Takes the newest Location; an answer without one keeps the old. */
static int take_location(struct sending *s, const struct http_response *r, struct err **err)
{
	struct str location = http_header(r, "location", 0);
	if (!location.n)
		return s->location.n
			? 0
			: err_set(err, ERR_INVALID, "start an upload at '%s': no Location",
				  s->u->host->name);
	struct sb next = { 0 };
	if (url_join(sb_str(&r->url), location, &next, err) < 0) {
		sb_release(&next);
		return err_wrap(err, "the upload's Location");
	}
	sb_release(&s->location);
	s->location = next;
	return keep_tls(s, sb_str(&r->url), err);
}

static void drop_session(struct sending *s)
{
	sb_release(&s->location);
	s->offset = 0;
}

/* ---- is it there? */

static int is_there(struct sending *s, bool *ret, struct err **err)
{
	_cleanup_free_ char *path = xasprintf("blobs/%s", s->digest);
	struct call c = call_of(s, "HEAD");
	c.path = str_c(path);
	c.once = false;
	_cleanup_(http_response_releasep) struct http_response r = { 0 };
	_cleanup_(err_dropp) struct err *e = NULL;
	*ret = false;
	if (client_call(s->r, s->http, &c, &r, &e) < 0)
		return e->code == ERR_AUTH ? 0 : err_move(err, STEAL(e)); /* the POST decides */
	*ret = r.status == 200;
	return r.status >= 500 || r.status == 429 ? client_error(&c, &r, err) : 0;
}

/* 202 to a closing PUT: the registry takes its time. */
static int wait_until_there(struct sending *s, struct err **err)
{
	for (int i = 0; i < POLL_S; i++) {
		bool there;
		if (is_there(s, &there, err) < 0)
			return -1;
		if (there)
			return 0;
		if (retry_sleep(s->r->o.cancel, 1000, err) < 0)
			return -1;
	}
	return err_set(err, ERR_TIMEOUT, "the registry took it, and does not have it after %d s",
		       POLL_S);
}

/* ---- a session */

/* With a token of its own, for both repositories. *ret_done: mounted. A 202 has begun an ordinary upload. Refusals are no errors. */
static int try_mount(struct sending *s, bool *ret_done, struct err **err)
{
	const struct upload *u = s->u;
	_cleanup_(sb_releasep) struct sb path = { 0 };
	_cleanup_free_ char *scopes =
		xasprintf("repository:%.*s:pull %s", STR_ARG(u->mount_from), s->scopes);
	sb_add_c(&path, "blobs/uploads/?mount=");
	url_add_escaped(&path, str_c(s->digest), "");
	sb_add_c(&path, "&from=");
	url_add_escaped(&path, u->mount_from, "/");
	struct call c = call_of(s, "POST");
	c.path = sb_str(&path);
	c.scopes = str_c(scopes);
	c.exclusive = true;
	_cleanup_(http_response_releasep) struct http_response r = { 0 };
	_cleanup_(err_dropp) struct err *e = NULL;
	*ret_done = false;
	bool failed = client_call(s->r, s->http, &c, &r, &e) < 0;
	if (failed && e->code == ERR_CANCELED)
		return err_move(err, STEAL(e));
	*ret_done = !failed && r.status == 201;
	bool refused = failed ? e->code == ERR_AUTH : r.status >= 400 && r.status < 500;
	if (refused && u->mounts_refused)
		atomic_store(u->mounts_refused, true);
	if (!failed && r.status == 202 && take_location(s, &r, &e) < 0)
		drop_session(s);
	return 0;
}

static int begin_session(struct sending *s, struct err **err)
{
	struct call c = call_of(s, "POST");
	c.path = STR("blobs/uploads/");
	c.once = false;
	_cleanup_(http_response_releasep) struct http_response r = { 0 };
	drop_session(s);
	if (client_call(s->r, s->http, &c, &r, err) < 0)
		return -1;
	if (!ok(r.status))
		return client_error(&c, &r, err);
	if (str_eq(http_header(&r, "cbuild-resume", 0), STR("1")))
		atomic_store(&s->u->host->resumes, true);
	_cleanup_(err_dropp) struct err *ignored = NULL;
	int64_t min = 0;
	s->chunk_min = str_int(http_header(&r, "oci-chunk-min-length", 0), 1, INT64_C(1) << 32,
			       &min, &ignored) < 0
		? 0
		: (uint64_t)min;
	return take_location(s, &r, err);
}

/* One DELETE, without a token flow, its answer ignored; also when the command was canceled, so by a handle of its own. */
static void abandon_session(struct sending *s)
{
	if (!s->location.n)
		return;
	_cleanup_(err_dropp) struct err *e = NULL;
	struct http *h = http_new(&(struct http_options){ .stall_s = 2 }, &e);
	_cleanup_(http_response_releasep) struct http_response r = { 0 };
	struct call c = call_of(s, "DELETE");
	c.url = sb_str(&s->location);
	c.quiet = true;
	c.http.stop = NULL;
	if (h && client_call(s->r, h, &c, &r, &e) < 0)
		log_debug("end upload of %s: %s", s->digest, e->msg);
	http_free(h);
	drop_session(s);
}

/* ---- sending */

static void closing_url(const struct sending *s, struct sb *b)
{
	sb_add_str(b, sb_str(&s->location));
	sb_add_ch(b, str_find(sb_str(&s->location), '?', 0) == SIZE_MAX ? '?' : '&');
	sb_add_c(b, "digest=");
	url_add_escaped(b, str_c(s->digest), "");
}

static int check_digest(const struct sending *s, const struct http_response *r, struct err **err)
{
	_cleanup_(err_dropp) struct err *other = NULL;
	struct digest d;
	struct str named = http_header(r, "docker-content-digest", 0);
	if (digest_parse(named, &d, &other) < 0 || digest_eq(&d, &s->u->digest))
		return 0;
	return err_set(err, ERR_INTEGRITY, "the registry stored it as '%.*s'", STR_ARG(named));
}

/* The closing PUT with the bytes that are still to go. */
static int put_rest(struct sending *s, struct err **err)
{
	_cleanup_(sb_releasep) struct sb url = { 0 };
	struct http_header type = { STR("Content-Type"), STR("application/octet-stream") };
	closing_url(s, &url);
	struct call c = call_of(s, "PUT");
	c.url = sb_str(&url);
	c.http.headers = &type;
	c.http.n_headers = 1;
	c.http.has_body = true;
	c.http.body_fd = s->u->fd;
	c.http.body_offset = s->offset;
	c.http.body_size = s->u->size - s->offset;
	c.http.sent = on_sent;
	c.http.arg = s;
	s->shown = 0;
	_cleanup_(http_response_releasep) struct http_response r = { 0 };
	if (client_call(s->r, s->http, &c, &r, err) < 0)
		return -1;
	s->after_s = r.retry_after_s;
	if (!ok(r.status))
		return client_error(&c, &r, err);
	sb_release(&s->location); /* the session is closed */
	return r.status == 202 ? wait_until_there(s, err) : check_digest(s, &r, err);
}

/* Bytes that a session has, from "Range: 0-N": 0-0 is said of none and of one alike, and means none unless one is what was sent. */
static bool range_end(struct str range, uint64_t sent, uint64_t *ret)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	struct str from, to;
	int64_t n;
	if (str_starts(range, STR("bytes=")))
		range = str_sub(range, 6, range.n);
	if (!str_cut(range, '-', &from, &to) || !str_eq(from, STR("0")) ||
	    str_int(to, 0, INT64_MAX - 1, &n, &e) < 0)
		return false;
	*ret = n == 0 && sent != 1 ? 0 : (uint64_t)n + 1;
	return true;
}

/* Asks a session how far it is. *ret false: it is gone. */
static int ask_session(struct sending *s, bool *ret, struct err **err)
{
	struct call c = call_of(s, "GET");
	_cleanup_free_ char *url = str_dup(sb_str(&s->location));
	c.url = str_c(url);
	c.once = false;
	_cleanup_(http_response_releasep) struct http_response r = { 0 };
	if (client_call(s->r, s->http, &c, &r, err) < 0)
		return -1;
	*ret = ok(r.status) && range_end(http_header(&r, "range", 0), s->offset, &s->offset) &&
		s->offset <= s->u->size;
	return *ret ? take_location(s, &r, err) : 0;
}

static void remember(struct sending *s)
{
	if (s->note_fd < 0)
		return;
	_cleanup_(json_unrefp) json_t *j = json_object();
	_cleanup_(sb_releasep) struct sb b = { 0 };
	json_put_str(j, "host", str_c(s->u->host->name));
	json_put_str(j, "repository", s->u->repo);
	json_put_str(j, "digest", str_c(s->digest));
	json_put_str(j, "location", sb_str(&s->location));
	json_put_int(j, "offset", (int64_t)s->offset);
	json_print(j, &b);
	/* A torn note is not JSON, and then nothing is taken up. */
	if (ftruncate(s->note_fd, 0) < 0 || pwrite(s->note_fd, b.p, b.n, 0) < 0)
		log_debug("note of upload %s: %m", s->digest);
}

/* A 416 names the session's Location and how far it is. */
static void read_416(struct sending *s, const struct http_response *r)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	uint64_t end;
	if (r->status != 416 || !http_header(r, "location", 0).n ||
	    !range_end(http_header(r, "range", 0), s->offset, &end) || end > s->u->size ||
	    take_location(s, r, &e) < 0)
		return;
	s->offset = end;
	s->told = true;
}

/* After a PATCH of n bytes: the newest Location, and how far the registry is by its own word. */
static int take_progress(struct sending *s, uint64_t n, const struct http_response *r,
			 struct err **err)
{
	uint64_t want = s->offset + n, end = want;
	struct str said = http_header(r, "range", 0);
	if (take_location(s, r, err) < 0)
		return -1;
	if (said.n && (!range_end(said, want, &end) || end > want || end < s->offset))
		return err_set(err, ERR_INVALID, "the registry's Range is not what it was sent");
	s->offset = end;
	s->told = true;
	return end == want
		? 0
		: err_set(err, ERR_NETWORK, "the registry took less of a chunk than was sent");
}

static int patch(struct sending *s, uint64_t chunk, struct err **err)
{
	uint64_t left = s->u->size - s->offset, n = left < chunk ? left : chunk;
	char range[64];
	snprintf(range, sizeof(range), "%" PRIu64 "-%" PRIu64, s->offset, s->offset + n - 1);
	struct http_header headers[] = { { STR("Content-Type"), STR("application/octet-stream") },
					 { STR("Content-Range"), str_c(range) } };
	_cleanup_free_ char *url = str_dup(sb_str(&s->location));
	struct call c = call_of(s, "PATCH");
	c.url = str_c(url);
	c.http.headers = headers;
	c.http.n_headers = ARRAY_SIZE(headers);
	c.http.has_body = true;
	c.http.body_fd = s->u->fd;
	c.http.body_offset = s->offset;
	c.http.body_size = n;
	c.http.sent = on_sent;
	c.http.arg = s;
	s->shown = 0;
	s->told = false;
	remember(s);
	_cleanup_(http_response_releasep) struct http_response r = { 0 };
	if (client_call(s->r, s->http, &c, &r, err) < 0)
		return -1;
	s->after_s = r.retry_after_s;
	read_416(s, &r);
	if (!ok(r.status))
		return client_error(&c, &r, err);
	return take_progress(s, n, &r, err);
}

static uint64_t chunk_of(const struct sending *s)
{
	const struct host *h = s->u->host;
	uint64_t chunk = h->chunk                                      ? h->chunk
		: s->u->size >= CHUNK_FROM && atomic_load(&h->resumes) ? CHUNK
								       : 0;
	return chunk && chunk < s->chunk_min ? s->chunk_min : chunk;
}

/* What may be tried again: lost connections, 429, a lost session (the POST has succeeded, so a 404 is not the repository's), and once a
 * chunked upload whose digest came out wrong (docker-registry 2.8 appends a chunk that is out of order). */
static bool worth_it(struct sending *s, bool chunked, const struct err *e)
{
	if (retry_error(e) || e->status == 404 || e->status == 416)
		return true;
	bool anew = chunked && e->status == 400 && !s->begun_anew;
	s->begun_anew |= anew;
	return anew;
}

/* 0: try again. A broken PATCH is asked about; everything else begins a new session. */
static int after_failure(struct sending *s, bool chunked, uint64_t had, struct err *e,
			 struct err **err)
{
	if (!worth_it(s, chunked, e))
		return err_move(err, e);
	uint64_t fresh = s->offset > had ? s->offset - had : 0;
	int again = retry_pause(&s->retry, fresh, s->after_s, err);
	if (!again)
		return err_move(err, e);
	log_debug("upload %s: again: %s", s->digest, e->msg);
	bool alive = chunked && s->told && e->status != 400,
	     ask = chunked && !alive && s->location.n && e->status != 400;
	err_drop(&e);
	if (again < 0)
		return -1;
	_cleanup_(err_dropp) struct err *gone = NULL;
	if (ask && ask_session(s, &alive, &gone) < 0 && gone->code == ERR_CANCELED)
		return err_move(err, STEAL(gone));
	if (!alive)
		drop_session(s);
	return 0;
}

/* Sends until it is stored. A session that is given up is left to the caller. */
static int send_all(struct sending *s, struct err **err)
{
	for (;;) {
		struct err *e = NULL;
		uint64_t had = s->offset;
		if (!s->location.n && begin_session(s, err) < 0)
			return -1;
		uint64_t chunk = chunk_of(s);
		bool chunked = chunk && (s->offset || s->u->size > chunk);
		s->after_s = -1;
		int r = chunked && s->offset < s->u->size ? patch(s, chunk, &e) : put_rest(s, &e);
		if (!r && !s->location.n)
			return 0;
		if (!r)
			s->retry.fruitless = 0;
		else if (after_failure(s, chunked, had, e, err) < 0)
			return -1;
	}
}

/* ---- over a kill */

static void open_note(struct sending *s)
{
	const struct upload *u = s->u;
	char hex[DIGEST_HEX], where[DIGEST_HEX];
	_cleanup_free_ char *at = xasprintf("%s/%.*s", u->host->name, STR_ARG(u->repo));
	struct digest d = digest_of(at, strlen(at));
	_cleanup_(err_dropp) struct err *e = NULL;
	if (u->size < CHUNK_FROM || !s->r->o.store)
		return;
	int root = cache_store_root_fd(s->r->o.store);
	snprintf(s->note, sizeof(s->note), "tmp/partial/%s.push-%.8s", digest_hex(&u->digest, hex),
		 digest_hex(&d, where));
	if (io_mkdirs(root, "tmp/partial", 0700, &e) < 0)
		return;
	_cleanup_close_ int fd =
		openat(root, s->note, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	/* Another process sends the same: both may, without a note. */
	if (fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB))
		s->note_fd = STEAL_FD(fd);
}

/* Takes up the session of a command that was killed, where the registry still has it. */
static int take_up(struct sending *s, struct err **err)
{
	_cleanup_(sb_releasep) struct sb text;
	sb_init(&text, NOTE_MAX);
	_cleanup_(err_dropp) struct err *e = NULL;
	open_note(s);
	if (s->note_fd < 0 || io_read_fd(s->note_fd, s->note, &text, &e) < 0 || !text.n)
		return 0;
	_cleanup_(json_unrefp) json_t *j = json_parse(sb_str(&text), s->note, &e);
	struct str location = json_get_str(j, "location");
	bool ours = j && str_eq_c(json_get_str(j, "digest"), s->digest) &&
		str_eq_c(json_get_str(j, "host"), s->u->host->name) &&
		str_eq(json_get_str(j, "repository"), s->u->repo);
	if (!ours || !location.n)
		return 0;
	sb_add_str(&s->location, location);
	s->offset = (uint64_t)json_get_int(j, "offset", 0);
	bool alive = false;
	err_drop(&e);
	if (ask_session(s, &alive, &e) < 0 && e->code == ERR_CANCELED)
		return err_move(err, STEAL(e));
	if (!alive)
		drop_session(s);
	return 0;
}

static void close_note(struct sending *s, bool done)
{
	if (s->note_fd < 0)
		return;
	/* Without a session there is nothing to take up. */
	if (done || !s->location.n)
		unlinkat(cache_store_root_fd(s->r->o.store), s->note, 0);
	mem_closep(&s->note_fd);
}

static int run(struct sending *s, enum upload_way *ret, struct err **err)
{
	const struct upload *u = s->u;
	bool done = false;
	*ret = UPLOAD_THERE;
	if (u->ask && is_there(s, &done, err) < 0)
		return -1;
	if (done)
		return 0;
	*ret = UPLOAD_MOUNTED;
	bool may_mount = u->mount_from.n && (!u->mounts_refused || !atomic_load(u->mounts_refused));
	if (may_mount && try_mount(s, &done, err) < 0)
		return -1;
	if (done)
		return 0;
	*ret = UPLOAD_SENT;
	if (!s->location.n && take_up(s, err) < 0)
		return -1;
	int r = send_all(s, err);
	bool keep = r < 0 && s->note_fd >= 0 && s->offset && atomic_load(&u->host->resumes);
	close_note(s, !r || !keep);
	if (r < 0 && !keep)
		abandon_session(s);
	return r;
}

int upload_blob(struct registry *r, struct http *http, const struct upload *u, enum upload_way *ret,
		struct err **err)
{
	struct sending s = { .r = r, .http = http, .u = u, .note_fd = -1, .retry = r->retry };
	digest_text(&u->digest, s.digest);
	s.scopes = xasprintf("repository:%.*s:pull,push", STR_ARG(u->repo));
	enum upload_way way;
	int rc = run(&s, &way, err);
	sb_release(&s.location);
	free(s.scopes);
	if (rc < 0)
		return err_wrap(err, "send blob '%s' to '%s/%.*s'", s.digest, u->host->name,
				STR_ARG(u->repo));
	*ret = way;
	return 0;
}
