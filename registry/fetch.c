#include "registry/fetch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "cache/blob.h"
#include "cache/store.h"
#include "registry/choose.h"
#include "registry/client.h"
#include "registry/session.h"
#include "registry/url.h"

enum { OLD_S = 24 * 3600, BLOCK = 512 * 1024 };
/* Written back in steps, so that the fdatasync at the end finds little to do. */
#define FLUSH_STEP (UINT64_C(8) << 20)
#define DEAD_NS INT64_C(30000000000)

/* A blob on its way. */
struct transfer {
	struct registry *r;
	const struct fetch *f;
	int fd;
	char path[32 + DIGEST_HEX]; /* below the store's root */
	uint64_t have, size;        /* bytes in the file; of the descriptor */
	uint64_t flushed;
	struct digester hash; /* of these */
	char *block; /* what came and is not yet in the file: libcurl gives 16 KiB at a time */
	size_t block_n;
	uint64_t asked_from; /* of the request under way */
	bool restarted;      /* a 416 made us begin anew, once */
};

/* ---- the file */

static bool stopped(const struct registry *r, const struct fetch *f)
{
	return registry_canceled(r) ||
		(f->stop && atomic_load_explicit(f->stop, memory_order_relaxed));
}

/* Opens and locks tmp/partial/<hex>; waits for another who writes it. *ret_done: he has brought it meanwhile. */
static int open_partial(struct transfer *t, struct cache *c, bool *ret_done, struct err **err)
{
	int root = cache_store_root_fd(t->r->o.store);
	for (bool made = false;;) {
		_cleanup_close_ int fd =
			openat(root, t->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0 && errno == ENOENT && !made) {
			if (io_mkdirs(root, "tmp/partial", 0700, err) < 0)
				return -1;
			made = true;
			continue;
		}
		if (fd < 0)
			return err_sys(err, "open download '%s'", t->path);
		while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
			if (errno != EWOULDBLOCK && errno != EINTR)
				return err_sys(err, "lock download '%s'", t->path);
			if (stopped(t->r, t->f))
				return err_set(err, ERR_CANCELED, "canceled");
			if (retry_sleep(t->r->o.cancel, 50, err) < 0)
				return -1;
		}
		/* Whoever had the lock may have renamed or removed the file. */
		struct stat mine, there;
		if (fstat(fd, &mine) < 0)
			return err_sys(err, "look at download '%s'", t->path);
		if (fstatat(root, t->path, &there, AT_SYMLINK_NOFOLLOW) < 0 ||
		    mine.st_ino != there.st_ino || mine.st_dev != there.st_dev)
			continue;
		if (cache_blob_has(c, &t->f->blob->digest, ret_done, NULL, err) < 0)
			return -1;
		if (*ret_done)
			unlinkat(root, t->path, 0);
		else
			t->fd = STEAL_FD(fd);
		return 0;
	}
}

static int restart(struct transfer *t, struct err **err)
{
	digest_abandon(&t->hash);
	digest_begin(&t->hash);
	t->have = t->flushed = t->block_n = 0;
	return ftruncate(t->fd, 0) < 0 ? err_sys(err, "empty download '%s'", t->path) : 0;
}

/* Takes up what lies there: hashed again, because no hash's state can be kept. */
static int take_up(struct transfer *t, struct err **err)
{
	digest_begin(&t->hash);
	struct stat st;
	if (fstat(t->fd, &st) < 0)
		return err_sys(err, "look at download '%s'", t->path);
	if ((uint64_t)st.st_size > t->size)
		return restart(t, err);
	for (;;) {
		if (stopped(t->r, t->f))
			return err_set(err, ERR_CANCELED, "canceled");
		ssize_t n = pread(t->fd, t->block, BLOCK, (off_t)t->have);
		if (n < 0)
			return err_sys(err, "read download '%s'", t->path);
		if (!n)
			return 0;
		digest_add(&t->hash, t->block, (size_t)n);
		t->have += (uint64_t)n;
	}
}

/* ---- one request */

/* "bytes 5-9/10": begins where we asked, and its total, where given, is ours. */
static bool range_fits(const struct transfer *t, struct str range)
{
	struct str first, rest, last, total;
	_cleanup_(err_dropp) struct err *e = NULL;
	int64_t from, all;
	if (!str_starts(range, STR("bytes ")) ||
	    !str_cut(str_sub(range, 6, range.n), '-', &first, &rest) ||
	    !str_cut(rest, '/', &last, &total) || str_int(first, 0, INT64_MAX, &from, &e) < 0)
		return false;
	if ((uint64_t)from != t->asked_from)
		return false;
	return str_eq(total, STR("*")) ||
		(!str_int(total, 0, INT64_MAX, &all, &e) && (uint64_t)all == t->size);
}

static int check_length(const struct transfer *t, const struct http_response *r, struct err **err)
{
	struct str length = http_header(r, "content-length", 0);
	_cleanup_(err_dropp) struct err *e = NULL;
	int64_t n;
	if (r->status != 200 || !length.n || str_int(length, 0, INT64_MAX, &n, &e) < 0 ||
	    (uint64_t)n == t->size)
		return 0;
	return err_set(err, ERR_INTEGRITY,
		       "it has %" PRId64 " bytes there, its descriptor says %" PRIu64, n, t->size);
}

static int on_head(void *arg, const struct http_response *r, struct err **err)
{
	struct transfer *t = arg;
	struct str encoding = http_header(r, "content-encoding", 0);
	if (encoding.n && !str_ieq(encoding, STR("identity")))
		return err_set(err, ERR_INVALID,
			       "the answer is encoded though that was not asked for");
	if (check_length(t, r, err) < 0)
		return -1;
	if (r->status == 206 && !range_fits(t, http_header(r, "content-range", 0)))
		return err_set(err, ERR_INVALID, "another range came than was asked for");
	/* 200 to a Range: it was ignored, all of it comes. */
	return r->status == 200 && t->have ? restart(t, err) : 0;
}

/* Moves the block into the file and the hash. */
static int flush(struct transfer *t, struct err **err)
{
	for (size_t done = 0; done < t->block_n;) {
		ssize_t k =
			pwrite(t->fd, t->block + done, t->block_n - done, (off_t)(t->have + done));
		if (k < 0 && errno != EINTR)
			return err_sys(err, "write download '%s'", t->path);
		done += k > 0 ? (size_t)k : 0;
	}
	digest_add(&t->hash, t->block, t->block_n);
	t->have += t->block_n;
	t->block_n = 0;
	if (t->have - t->flushed >= FLUSH_STEP) {
		sync_file_range(t->fd, (off64_t)t->flushed, (off64_t)(t->have - t->flushed),
				SYNC_FILE_RANGE_WRITE);
		t->flushed = t->have;
	}
	if (t->f->progress)
		t->f->progress(t->f->arg, t->have);
	return 0;
}

static int on_data(void *arg, const void *p, size_t n, struct err **err)
{
	struct transfer *t = arg;
	if (n > t->size - t->have - t->block_n)
		return err_set(err, ERR_INTEGRITY,
			       "more bytes came than the %" PRIu64 " of its descriptor", t->size);
	for (size_t done = 0; done < n;) {
		size_t room = BLOCK - t->block_n, k = n - done < room ? n - done : room;
		memcpy(t->block + t->block_n, (const char *)p + done, k);
		t->block_n += k;
		done += k;
		if (t->block_n == BLOCK && flush(t, err) < 0)
			return -1;
	}
	return 0;
}

enum outcome { OUT_COMPLETE, OUT_MORE, OUT_FAILED };

/* A 416: what we have is all (then only its digest is to be seen), or the file is no beginning of it: anew, once. */
static enum outcome after_416(struct transfer *t, const struct call *call,
			      const struct http_response *answer, struct err **err)
{
	if (t->restarted || !t->asked_from) {
		client_error(call, answer, err);
		return OUT_FAILED;
	}
	t->restarted = true;
	return restart(t, err) < 0 ? OUT_FAILED : OUT_MORE;
}

/* Whether a failure is to be tried again at this host. A transfer that ends early is one of curl's network errors. */
static enum outcome after_failure(struct transfer *t, struct retry *retry, uint64_t new_bytes,
				  int64_t after_s, struct err *e, struct err **err)
{
	int again = retry_error(e) ? retry_pause(retry, new_bytes, after_s, err) : 0;
	if (again < 0) {
		err_drop(&e);
		return OUT_FAILED;
	}
	if (again) {
		log_debug("download %s: again from %" PRIu64 ": %s", t->path, t->have, e->msg);
		err_drop(&e);
		return OUT_MORE;
	}
	err_move(err, e);
	return OUT_FAILED;
}

static enum outcome request(struct transfer *t, struct http *http, struct host *host,
			    struct str url, struct retry *retry, struct err **err)
{
	char digest[DIGEST_TEXT], range[48];
	_cleanup_free_ char *path = xasprintf("blobs/%s", digest_text(&t->f->blob->digest, digest));
	struct http_header headers[] = { { STR("Accept-Encoding"), STR("identity") },
					 { STR("Range"), { 0 } } };
	t->asked_from = t->have;
	snprintf(range, sizeof(range), "bytes=%" PRIu64 "-", t->have);
	headers[1].value = str_c(range);
	struct call call = { .host = host,
			     .repo = t->f->repo,
			     .path = str_c(path),
			     .url = url,
			     .once = true,
			     .quiet = url.n > 0,
			     .http = { .method = "GET",
				       .headers = headers,
				       .n_headers = t->have ? 2 : 1,
				       .head = on_head,
				       .data = on_data,
				       .arg = t,
				       .stop = t->f->stop,
				       .public_only = url.n > 0 && !host->loopback } };
	_cleanup_(http_response_releasep) struct http_response answer = { 0 };
	struct err *e = NULL;
	uint64_t before = t->have;
	bool failed = client_call(t->r, http, &call, &answer, &e) < 0;
	/* What came before it broke is kept. */
	if (flush(t, err) < 0) {
		err_drop(&e);
		return OUT_FAILED;
	}
	uint64_t fresh = t->have > before ? t->have - before : 0;
	if (failed)
		return after_failure(t, retry, fresh, -1, e, err);
	if (answer.status == 416)
		return after_416(t, &call, &answer, err);
	if (answer.status != 200 && answer.status != 206) {
		client_error(&call, &answer, &e);
		return after_failure(t, retry, 0, answer.retry_after_s, e, err);
	}
	if (t->have == t->size)
		return OUT_COMPLETE;
	err_set(&e, ERR_NETWORK, "the answer ended after %" PRIu64 " of %" PRIu64 " bytes", t->have,
		t->size);
	return after_failure(t, retry, fresh, -1, e, err);
}

/* Receives from one host until the file has its size. */
static int receive(struct transfer *t, struct http *http, struct host *host, struct str url,
		   struct err **err)
{
	struct retry retry = t->r->retry;
	if (host->ns)
		retry.tries = 1;
	enum outcome now = t->have == t->size ? OUT_COMPLETE : OUT_MORE;
	while (now == OUT_MORE)
		now = request(t, http, host, url, &retry, err);
	if (now == OUT_FAILED)
		return -1;
	char have[DIGEST_TEXT];
	struct digest d = digest_peek(&t->hash);
	if (digest_eq(&d, &t->f->blob->digest))
		return 0;
	err_set(err, ERR_INTEGRITY, "the bytes have digest '%s'", digest_text(&d, have));
	return -1;
}

/* ---- which host */

/* Keeps the last failure; begins anew after bytes that were wrong. 1: go on to the next host. */
static int next_host(struct transfer *t, struct err **last, struct err **err)
{
	if ((*last)->code == ERR_CANCELED || (*last)->code == ERR_IO)
		return err_move(err, STEAL(*last));
	if ((*last)->code == ERR_INTEGRITY && restart(t, err) < 0) {
		err_drop(last);
		return -1;
	}
	return 1;
}

/* Foreign layers may lie elsewhere: asked without credentials, never at private addresses. */
static int from_urls(struct transfer *t, struct http *http, struct err *last, struct err **err)
{
	for (size_t i = 0; choose_is_foreign(t->f->blob) && i < t->f->blob->n_urls && i < 8; i++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		struct url u;
		if (url_parse(t->f->blob->urls[i], &u, &e) < 0)
			continue;
		if (!receive(t, http, t->f->host, t->f->blob->urls[i], &e)) {
			err_drop(&last);
			return 0;
		}
		if (next_host(t, &e, err) < 0) {
			err_drop(&last);
			return -1;
		}
	}
	return err_move(err, last);
}

static int from_hosts(struct transfer *t, struct http *http, struct err **err)
{
	struct host *host = t->f->host;
	struct err *last = NULL;
	for (size_t i = 0; i <= host->n_mirrors; i++) {
		struct host *at = i < host->n_mirrors ? host->mirrors[i] : host;
		if (at != host && clock_mono_ns() < atomic_load(&at->dead_until))
			continue;
		/* Bytes that were wrong are fetched once more; from the source itself only where no mirror gave them. */
		for (int turn = 0; turn < 2; turn++) {
			err_drop(&last);
			if (!receive(t, http, at, STR(""), &last))
				return 0;
			bool wrong = last->code == ERR_INTEGRITY;
			if (next_host(t, &last, err) < 0)
				return -1;
			if (!wrong || at != host)
				break;
		}
		if (at != host && last->code == ERR_NETWORK)
			atomic_store(&at->dead_until, clock_mono_ns() + DEAD_NS);
	}
	return from_urls(t, http, last, err);
}

static int transfer(struct transfer *t, struct cache *c, struct err **err)
{
	bool there = false;
	if (open_partial(t, c, &there, err) < 0)
		return -1;
	if (there)
		return 0;
	if (take_up(t, err) < 0)
		return -1;
	struct http *http = NULL;
	if (t->have < t->size && registry_http_take(t->r, &http, err) < 0)
		return -1;
	int r = from_hosts(t, http, err);
	registry_http_give(t->r, http);
	/* What can be taken up stays; what was wrong is gone, and a full disk is not kept full. */
	if (r < 0 && (!t->have || (*err)->code == ERR_IO))
		unlinkat(cache_store_root_fd(t->r->o.store), t->path, 0);
	return r < 0 ? -1 : cache_blob_adopt(c, t->fd, t->path, &t->f->blob->digest, t->size, err);
}

int fetch_blob(struct registry *r, struct cache *c, const struct fetch *f, struct err **err)
{
	char hex[DIGEST_HEX];
	bool there = false;
	if (cache_blob_has(c, &f->blob->digest, &there, NULL, err) < 0)
		return -1;
	if (there)
		return 0;
	fetch_sweep(r);
	struct transfer t = {
		.r = r, .f = f, .fd = -1, .size = f->blob->size, .block = xmalloc(BLOCK)
	};
	snprintf(t.path, sizeof(t.path), "tmp/partial/%s", digest_hex(&f->blob->digest, hex));
	int rc = transfer(&t, c, err);
	free(t.block);
	if (t.hash.ctx)
		digest_abandon(&t.hash);
	mem_closep(&t.fd);
	return rc < 0 ? err_wrap(err, "get blob 'sha256:%s' of '%s/%.*s'", hex, f->host->name,
				 STR_ARG(f->repo))
		      : 0;
}

/* ---- small blobs */

static int small_from(struct registry *r, struct http *http, struct host *host,
		      const struct fetch *f, struct sb *ret, struct err **err)
{
	char digest[DIGEST_TEXT];
	_cleanup_free_ char *path = xasprintf("blobs/%s", digest_text(&f->blob->digest, digest));
	struct http_header identity = { STR("Accept-Encoding"), STR("identity") };
	struct call call = { .host = host,
			     .repo = f->repo,
			     .path = str_c(path),
			     .http = { .method = "GET",
				       .headers = &identity,
				       .n_headers = 1,
				       .max_body = f->blob->size,
				       .stop = f->stop } };
	_cleanup_(http_response_releasep) struct http_response answer = { 0 };
	if (client_call(r, http, &call, &answer, err) < 0)
		return -1;
	if (answer.status != 200)
		return client_error(&call, &answer, err);
	struct digest d = digest_of(answer.body.p, answer.body.n);
	if (answer.body.n != f->blob->size || !digest_eq(&d, &f->blob->digest))
		return err_set(err, ERR_INTEGRITY, "its %zu bytes do not have this digest or size",
			       answer.body.n);
	*ret = answer.body;
	answer.body = (struct sb){ 0 };
	return 0;
}

int fetch_small(struct registry *r, struct http *http, const struct fetch *f, struct sb *ret,
		struct err **err)
{
	char digest[DIGEST_TEXT];
	for (size_t i = 0; i < f->host->n_mirrors; i++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		if (clock_mono_ns() < atomic_load(&f->host->mirrors[i]->dead_until))
			continue;
		if (!small_from(r, http, f->host->mirrors[i], f, ret, &e))
			return 0;
		if (e->code == ERR_CANCELED)
			return err_move(err, STEAL(e));
	}
	if (!small_from(r, http, f->host, f, ret, err))
		return 0;
	return err_wrap(err, "get blob '%s' of '%s/%.*s'", digest_text(&f->blob->digest, digest),
			f->host->name, STR_ARG(f->repo));
}

static void sweep_one(int dir, const char *name)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) &&
	    st.st_mtime < clock_real_ns() / 1000000000 - OLD_S && !flock(fd, LOCK_EX | LOCK_NB))
		unlinkat(dir, name, 0);
}

void fetch_sweep(struct registry *r)
{
	pthread_mutex_lock(&r->lock);
	bool done = r->swept;
	r->swept = true;
	pthread_mutex_unlock(&r->lock);
	if (done)
		return;
	_cleanup_close_ int fd = openat(cache_store_root_fd(r->o.store), "tmp/partial",
					O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return;
	_cleanup_closedir_ DIR *d = fdopendir(fd);
	if (!d)
		return;
	fd = -1;
	for (const struct dirent *e; (e = readdir(d));)
		sweep_one(dirfd(d), e->d_name);
}
