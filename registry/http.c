#include "registry/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "registry/lib_curl.h"
#include "registry/url.h"

enum {
	MAX_HEAD = 64 * 1024,
	MAX_TEXT = 64 * 1024, /* kept of a body that is only shown */
	MAX_HOPS = 10,
	BUFFER = 256 * 1024,
	CONNECT_S = 15,
	STALL_S = 30,
	ANSWER_S = 600, /* for the answer to a blob: object stores assemble it first */
	SLOW = 1024,    /* bytes a second */
	EXPECT_ABOVE = 1024 * 1024,
};

struct http {
	CURL *curl;
	struct http_options options;
	char error[CURL_ERROR_SIZE];
	enum http_failure failure;
	uint64_t connections;
};

/* One hop. */
struct exchange {
	struct http *h;
	const struct http_request *q;
	struct http_response *r;
	struct err *err; /* set by a callback that ended the transfer */
	bool head_done;  /* the head of a final answer is complete and was looked at */
	bool text_only;  /* the body is only shown: what is too much is not read */
	bool body_cut;   /* ended by us after enough text */
	bool private_address;
	uint64_t sent;
	int64_t since_ns; /* since when less than SLOW bytes a second came or went; 0: not begun */
	uint64_t moved;   /* bytes until then */
};

void http_response_release(struct http_response *r)
{
	sb_release(&r->head);
	sb_release(&r->body);
	sb_release(&r->url);
	*r = (struct http_response){ .retry_after_s = -1 };
}

void http_response_releasep(struct http_response *r)
{
	http_response_release(r);
}

struct str http_header(const struct http_response *r, const char *name, unsigned nth)
{
	struct str all = sb_str(&r->head), line, key, value;
	while (str_cut(all, '\n', &line, &all))
		if (str_cut(line, ':', &key, &value) && str_eq_c(key, name) && !nth--)
			return str_trim(value, " \t");
	return (struct str){ 0 };
}

enum http_failure http_failure(const struct http *h)
{
	return h->failure;
}

uint64_t http_connections(const struct http *h)
{
	return h->connections;
}

struct http *http_new(const struct http_options *o, struct err **err)
{
	if (registry_curl_load(err) < 0)
		return NULL;
	struct http *h = xcalloc(1, sizeof(*h));
	h->options = *o;
	if (!h->options.stall_s)
		h->options.stall_s = STALL_S;
	h->curl = curl_easy_init();
	if (!h->curl)
		mem_fail();
	return h;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	curl_easy_cleanup(h->curl);
	free(h);
}

static bool is_set(const atomic_bool *flag)
{
	return flag && atomic_load_explicit(flag, memory_order_relaxed);
}

static bool canceled(const struct http *h, const struct http_request *q)
{
	return is_set(h->options.cancel) || is_set(q->stop);
}

/* ---- callbacks of libcurl; each returns what ends the transfer once an error is set */

static int status_of(const struct exchange *x)
{
	long status = 0;
	curl_easy_getinfo(x->h->curl, CURLINFO_RESPONSE_CODE, &status);
	return (int)status;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
	struct exchange *x = arg;
	struct str line = str_trim((struct str){ p, size * n }, "\r\n");
	if (str_starts(line, STR("HTTP/"))) {
		sb_reset(&x->r->head); /* an interim answer or a proxy's came before */
		return n;
	}
	struct str name, value;
	/* Debian's docker-registry 2.8.2 announces the blob's length with a 416 and sends less: nothing of it is read. */
	if (!line.n && status_of(x) == 416) {
		x->body_cut = true;
		return CURL_WRITEFUNC_ERROR;
	}
	if (!str_cut(line, ':', &name, &value))
		return n;
	for (size_t i = 0; i < name.n; i++)
		sb_add_ch(&x->r->head, str_lower(name.p[i]));
	sb_add_ch(&x->r->head, ':');
	for (size_t i = 0; i < value.n; i++)
		sb_add_ch(&x->r->head, value.p[i] == '\n' || !value.p[i] ? ' ' : value.p[i]);
	sb_add_ch(&x->r->head, '\n');
	if (x->r->head.failed) {
		err_set(&x->err, ERR_LIMIT, "the answer's head is longer than %d bytes", MAX_HEAD);
		return CURL_WRITEFUNC_ERROR;
	}
	return n;
}

/* Looks at a complete head before the first byte of the body. */
static int begin_body(struct exchange *x)
{
	if (x->head_done)
		return x->err ? -1 : 0;
	x->head_done = true;
	x->r->status = status_of(x);
	bool good = x->r->status >= 200 && x->r->status < 300;
	x->text_only = !good;
	sb_init(&x->r->body, good ? (x->q->max_body ? x->q->max_body : MAX_TEXT) : MAX_TEXT);
	if (good && x->q->head && x->q->head(x->q->arg, x->r, &x->err) < 0)
		return -1;
	return 0;
}

static size_t on_data(char *p, size_t size, size_t n, void *arg)
{
	struct exchange *x = arg;
	n *= size;
	if (canceled(x->h, x->q)) {
		if (!x->err)
			err_set(&x->err, ERR_CANCELED, "canceled");
		return CURL_WRITEFUNC_ERROR;
	}
	if (begin_body(x) < 0)
		return CURL_WRITEFUNC_ERROR;
	bool stream = x->q->data && (x->r->status == 200 || x->r->status == 206);
	if (stream)
		return x->q->data(x->q->arg, p, n, &x->err) < 0 ? CURL_WRITEFUNC_ERROR : n;
	if (x->text_only) {
		size_t room = MAX_TEXT - x->r->body.n;
		sb_add(&x->r->body, p, n < room ? n : room);
		x->body_cut = n > room;
		return x->body_cut ? CURL_WRITEFUNC_ERROR : n;
	}
	sb_add(&x->r->body, p, n);
	if (!x->r->body.failed)
		return n;
	err_set(&x->err, ERR_LIMIT, "the answer is longer than %llu bytes",
		(unsigned long long)x->r->body.max);
	return CURL_WRITEFUNC_ERROR;
}

static uint64_t body_size(const struct http_request *q)
{
	return q->body.p ? q->body.n : q->body_size;
}

static size_t on_read(char *p, size_t size, size_t n, void *arg)
{
	struct exchange *x = arg;
	const struct http_request *q = x->q;
	uint64_t left = body_size(q) - x->sent;
	n *= size;
	if (n > left)
		n = (size_t)left;
	if (canceled(x->h, x->q))
		return CURL_READFUNC_ABORT;
	if (q->body.p) {
		memcpy(p, q->body.p + x->sent, n);
	} else if (n) {
		ssize_t k = pread(q->body_fd, p, n, (off_t)(q->body_offset + x->sent));
		if (k <= 0) {
			errno = k ? errno : EIO;
			if (!x->err)
				err_sys(&x->err, "read what is to be sent");
			return CURL_READFUNC_ABORT;
		}
		n = (size_t)k;
	}
	x->sent += n;
	if (q->sent)
		q->sent(q->arg, n);
	return n;
}

static int on_seek(void *arg, curl_off_t offset, int origin)
{
	struct exchange *x = arg;
	if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > body_size(x->q))
		return CURL_SEEKFUNC_FAIL;
	x->sent = (uint64_t)offset;
	return CURL_SEEKFUNC_OK;
}

/* How long the connection may move next to nothing. */
static int64_t patience_s(const struct exchange *x, curl_off_t received)
{
	bool waits = x->q->has_body && !x->q->body.p && x->sent == body_size(x->q) && !received;
	return waits ? ANSWER_S : x->h->options.stall_s;
}

/* libcurl's own low-speed limit would count the time in which a registry stores what it got. */
static int on_progress(void *arg, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal,
		       curl_off_t ulnow)
{
	(void)dltotal, (void)ultotal;
	struct exchange *x = arg;
	if (canceled(x->h, x->q))
		return 1;
	int64_t now = clock_mono_ns(), patience = patience_s(x, dlnow);
	uint64_t moved = (uint64_t)(dlnow + ulnow);
	if (!x->since_ns || moved - x->moved >= (uint64_t)patience * SLOW) {
		x->since_ns = now;
		x->moved = moved;
	} else if (now - x->since_ns >= patience * INT64_C(1000000000)) {
		if (!x->err)
			err_set(&x->err, ERR_TIMEOUT, "nothing moved for %lld s",
				(long long)patience);
		return 1;
	}
	return 0;
}

static bool is_private(const struct sockaddr *sa)
{
	const struct sockaddr_in6 *v6 = (const void *)sa;
	uint32_t a;
	if (sa->sa_family == AF_INET) {
		a = ntohl(((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr);
	} else if (sa->sa_family == AF_INET6 && (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))) {
		memcpy(&a, v6->sin6_addr.s6_addr + 12, 4);
		a = ntohl(a);
	} else if (sa->sa_family == AF_INET6) {
		const uint8_t *b = v6->sin6_addr.s6_addr;
		return (b[0] & 0xe0) != 0x20; /* global unicast is 2000::/3 */
	} else {
		return true;
	}
	return a >> 24 == 0 || a >> 24 == 10 || a >> 24 == 127 || a >> 16 == 0xa9fe ||
		a >> 20 == 0xac1 || a >> 16 == 0xc0a8 || a >> 22 == 0x191 || a >> 28 >= 0xe;
}

static curl_socket_t on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	(void)purpose;
	struct exchange *x = arg;
	if (x->q->public_only && is_private(&address->addr)) {
		x->private_address = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* ---- one hop */

/* Another origin, to which the peer redirected us, is not meant by its exceptions nor by its client certificate. */
static void set_tls(CURL *c, const struct http_peer *peer, bool foreign)
{
	curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (!peer)
		return;
	if (peer->insecure && !foreign) {
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (peer->ca.n) {
		/* Instead of the one bundle; the system's folder of certificates stays in use beside it. */
		struct curl_blob ca = { .data = (void *)(uintptr_t)peer->ca.p,
					.len = peer->ca.n,
					.flags = CURL_BLOB_COPY };
		curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &ca);
		curl_easy_setopt(c, CURLOPT_CAPATH, "/etc/ssl/certs");
	}
	if (peer->cert && !foreign)
		curl_easy_setopt(c, CURLOPT_SSLCERT, peer->cert);
	if (peer->key && !foreign)
		curl_easy_setopt(c, CURLOPT_SSLKEY, peer->key);
}

static void set_proxy(CURL *c, const struct url *u)
{
	/* libcurl reads the variables itself, but not HTTP_PROXY in capitals, which matters in CGI programs alone. */
	const char *upper = getenv("HTTP_PROXY");
	if (url_is_loopback(u->host))
		curl_easy_setopt(c, CURLOPT_PROXY, "");
	else if (!u->tls && !getenv("http_proxy") && upper && *upper)
		curl_easy_setopt(c, CURLOPT_PROXY, upper);
}

static void set_method(struct exchange *x)
{
	CURL *c = x->h->curl;
	const struct http_request *q = x->q;
	if (!strcmp(q->method, "HEAD")) {
		curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	} else if (!q->has_body && !strcmp(q->method, "GET")) {
		curl_easy_setopt(c, CURLOPT_HTTPGET, 1L);
	} else if (q->has_body) {
		curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)body_size(q));
		curl_easy_setopt(c, CURLOPT_READFUNCTION, on_read);
		curl_easy_setopt(c, CURLOPT_READDATA, x);
		curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, on_seek);
		curl_easy_setopt(c, CURLOPT_SEEKDATA, x);
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, q->method);
		curl_easy_setopt(c, CURLOPT_EXPECT_100_TIMEOUT_MS, 1000L);
	} else {
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, q->method);
	}
}

static struct curl_slist *add_header(struct curl_slist *list, struct str name, struct str value)
{
	_cleanup_free_ char *line = value.n ? xasprintf("%.*s: %.*s", STR_ARG(name), STR_ARG(value))
					    : xasprintf("%.*s:", STR_ARG(name));
	struct curl_slist *next = curl_slist_append(list, line);
	if (!next)
		mem_fail();
	return next;
}

static struct curl_slist *headers_of(const struct http_request *q, bool authorized)
{
	struct curl_slist *list = NULL;
	for (size_t i = 0; i < q->n_headers; i++)
		list = add_header(list, q->headers[i].name, q->headers[i].value);
	if (authorized && q->authorization)
		list = add_header(list, STR("Authorization"), str_c(q->authorization));
	if (!q->has_body || body_size(q) <= EXPECT_ABOVE)
		list = add_header(list, STR("Expect"), STR(""));
	if (!q->has_body && (!strcmp(q->method, "POST") || !strcmp(q->method, "PUT")))
		list = add_header(list, STR("Content-Length"), STR("0"));
	return list;
}

static void set_up(struct exchange *x, const struct url *u, const char *url,
		   struct curl_slist *headers)
{
	CURL *c = x->h->curl;
	curl_easy_reset(c); /* options, not connections */
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, x->h->error);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, u->tls ? "https" : "http");
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "cbuild/" CBUILD_VERSION " (buildkit-compatible)");
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, (long)BUFFER);
	curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, (long)BUFFER);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
	curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, x);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, x);
	curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(c, CURLOPT_XFERINFODATA, x);
	curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_socket);
	curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, x);
	if (x->q->public_only)
		curl_easy_setopt(c, CURLOPT_FRESH_CONNECT,
				 1L); /* a kept connection was not asked for its address */
	set_tls(c, x->q->peer, x->r->foreign);
	set_proxy(c, u);
	set_method(x);
}

static enum err_code code_of(CURLcode rc)
{
	switch (rc) {
	case CURLE_OPERATION_TIMEDOUT:
		return ERR_TIMEOUT;
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
		return ERR_INVALID;
	case CURLE_PEER_FAILED_VERIFICATION:
		return ERR_DENIED;
	case CURLE_OUT_OF_MEMORY:
		mem_fail();
	default:
		return ERR_NETWORK;
	}
}

static enum http_failure failure_of(const struct http *h, CURLcode rc)
{
	switch (rc) {
	case CURLE_COULDNT_CONNECT:
		return HTTP_FAIL_REFUSED;
	case CURLE_SSL_CONNECT_ERROR:
		/* OpenSSL reads "HTTP/…" as a record of an unknown version. */
		return strstr(h->error, "wrong version number") ||
				strstr(h->error, "packet length too long")
			? HTTP_FAIL_NOT_TLS
			: HTTP_FAIL_OTHER;
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return HTTP_FAIL_GARBLED;
	default:
		return HTTP_FAIL_OTHER;
	}
}

/* Why, in fewer words than libcurl's where it is a common case. */
static void add_reason(const struct http *h, CURLcode rc, struct sb *text)
{
	char buf[128];
	long sys = 0;
	curl_easy_getinfo(h->curl, CURLINFO_OS_ERRNO, &sys);
	if (rc == CURLE_COULDNT_RESOLVE_HOST)
		sb_add_c(text, "no such host");
	else if (rc == CURLE_COULDNT_CONNECT && sys)
		sb_add_c(text, strerror_r((int)sys, buf, sizeof(buf)));
	else
		sb_add_printable(text, str_c(h->error[0] ? h->error : curl_easy_strerror(rc)));
}

/* Turns the end of a failed transfer into an error; the callback's own comes first. */
static int fail(struct exchange *x, CURLcode rc, const struct url *u, struct err **err)
{
	struct http *h = x->h;
	if (x->err)
		return err_move(err, STEAL(x->err));
	if (canceled(h, x->q))
		return err_set(err, ERR_CANCELED, "canceled");
	if (x->private_address)
		return err_set(err, ERR_DENIED, "connect to '%.*s': its address is private",
			       STR_ARG(u->authority));
	if (rc == CURLE_ABORTED_BY_CALLBACK)
		return err_set(err, ERR_CANCELED, "canceled");
	h->failure = failure_of(h, rc);
	_cleanup_(sb_releasep) struct sb text = { 0 };
	add_reason(h, rc, &text);
	bool never = rc == CURLE_COULDNT_RESOLVE_HOST || rc == CURLE_COULDNT_CONNECT ||
		rc == CURLE_SSL_CONNECT_ERROR || rc == CURLE_PEER_FAILED_VERIFICATION;
	err_set(err, code_of(rc), "%s '%.*s': %s", never ? "connect to" : "exchange with",
		STR_ARG(u->authority), sb_c(&text));
	if (rc == CURLE_PEER_FAILED_VERIFICATION)
		err_hint(err, "put its CA certificate into /etc/docker/certs.d/%.*s/ca.crt",
			 STR_ARG(u->authority));
	return -1;
}

static int hop(struct exchange *x, const struct url *u, bool authorized, struct err **err)
{
	struct http *h = x->h;
	h->error[0] = '\0';
	h->failure = HTTP_FAIL_OTHER;
	sb_release(&x->r->head);
	sb_release(&x->r->body);
	sb_init(&x->r->head, MAX_HEAD);
	struct curl_slist *headers = headers_of(x->q, authorized);
	set_up(x, u, sb_c(&x->r->url), headers);
	CURLcode rc = curl_easy_perform(h->curl);
	curl_slist_free_all(headers);
	long made = 0;
	curl_easy_getinfo(h->curl, CURLINFO_NUM_CONNECTS, &made);
	h->connections += (uint64_t)made;
	/* An answer that came before all of the body was sent decides (413, 401), whatever became of the rest. */
	bool early = (rc == CURLE_SEND_ERROR || rc == CURLE_RECV_ERROR) && !x->err &&
		x->q->has_body && status_of(x) >= 400;
	if (rc != CURLE_OK && !x->body_cut && !early)
		return fail(x, rc, u, err);
	if (begin_body(x) < 0)
		return err_move(err, STEAL(x->err));
	curl_off_t after = 0;
	x->r->retry_after_s = -1;
	if (http_header(x->r, "retry-after", 0).n &&
	    curl_easy_getinfo(h->curl, CURLINFO_RETRY_AFTER, &after) == CURLE_OK)
		x->r->retry_after_s = after;
	return 0;
}

static bool is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static int redirect_target(const struct url *from, struct http_response *r, struct err **err)
{
	_cleanup_(sb_releasep) struct sb next = { 0 };
	struct url to;
	if (url_join(sb_str(&r->url), http_header(r, "location", 0), &next, err) < 0 ||
	    url_parse(sb_str(&next), &to, err) < 0)
		return err_wrap(err, "follow a redirect of '%.*s'", STR_ARG(from->authority));
	if (from->tls && !to.tls)
		return err_set(err, ERR_DENIED,
			       "follow a redirect of '%.*s': from https to http ('%.*s')",
			       STR_ARG(from->authority), STR_ARG(to.authority));
	sb_release(&r->url);
	r->url = next;
	next = (struct sb){ 0 };
	return 0;
}

static int send_all(struct http *h, const struct http_request *q, struct http_response *r,
		    struct err **err)
{
	struct url first, now;
	if (url_parse(q->url, &first, err) < 0)
		return -1;
	sb_add_str(&r->url, q->url);
	for (int hops = 0;; hops++) {
		if (url_parse(sb_str(&r->url), &now, err) < 0)
			return -1;
		if (!url_same_origin(&first, &now))
			r->foreign = true;
		struct exchange x = { .h = h, .q = q, .r = r };
		if (hop(&x, &now, !r->foreign, err) < 0)
			return -1;
		if (!q->follow || !is_redirect(r->status))
			return 0;
		if (hops == MAX_HOPS)
			return err_set(err, ERR_LIMIT, "follow redirects of '%.*s': more than %d",
				       STR_ARG(first.authority), MAX_HOPS);
		if (redirect_target(&now, r, err) < 0)
			return -1;
	}
}

/* libcurl leaves SIGPIPE to the program: it is held back on this thread while it works. */
static void hold_sigpipe(sigset_t *before, bool *was_pending)
{
	sigset_t pipe_only, pending;
	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	sigpending(&pending);
	*was_pending = sigismember(&pending, SIGPIPE) == 1;
	pthread_sigmask(SIG_BLOCK, &pipe_only, before);
}

static void release_sigpipe(const sigset_t *before, bool was_pending)
{
	sigset_t pipe_only;
	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	const struct timespec now = { 0 };
	if (!was_pending)
		sigtimedwait(&pipe_only, NULL, &now);
	pthread_sigmask(SIG_SETMASK, before, NULL);
}

int http_send(struct http *h, const struct http_request *q, struct http_response *ret,
	      struct err **err)
{
	struct http_response r = { .retry_after_s = -1 };
	if (canceled(h, q))
		return err_set(err, ERR_CANCELED, "canceled");
	sigset_t before;
	bool was_pending;
	hold_sigpipe(&before, &was_pending);
	int rc = send_all(h, q, &r, err);
	release_sigpipe(&before, was_pending);
	if (rc < 0) {
		http_response_release(&r);
		return -1;
	}
	*ret = r;
	return 0;
}
