/* The data of a copy: see solver/copy.h. */
#include "solver/copy_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/err.h"
#include "base/io.h"
#include "base/path.h"
#include "cache/xattr.h"

enum { READ_SIZE = 256 * 1024, THREADS_MAX = 4, PER_THREAD = 32 };

/* One thread's share of the work. */
struct worker {
	struct copy *cp;
	struct tree *t;
	const struct copy_job *v;
	size_t n;
	atomic_size_t *next;
	atomic_bool *stop;
	char *buf;
	struct sb xattrs;
	struct err *err;
};

static int changed(const struct worker *w, const struct tree_item *i, struct err **err)
{
	cache_tree_forget(w->t, i->source);
	_cleanup_(sb_releasep) struct sb name = { 0 };
	sb_add_printable(&name, i->source);
	err_set(err, ERR_INTEGRITY, "the context changed during the build: \"%s\"", sb_c(&name));
	return err_status(err, COPY_CHANGED);
}

static bool canceled(const struct copy *cp)
{
	return cp->cancel && atomic_load_explicit(cp->cancel, memory_order_relaxed);
}

/* ---- data */

struct data {
	int from, to;
	uint64_t size;
	struct digester h;
	bool hash;
};

/* What an open file is read from and written to: 0 bytes at the end, -1 with errno. */
static ssize_t read_some(int fd, char *buf, size_t n)
{
	ssize_t k;
	do
		k = read(fd, buf, n);
	while (k < 0 && errno == EINTR);
	return k;
}

/* Reads, hashes and writes the bytes [at, end): 1 done, 0 the file is shorter, -1. */
static int copy_range(struct worker *w, struct data *d, uint64_t at, uint64_t end, struct err **err)
{
	while (at < end) {
		size_t want = end - at < READ_SIZE ? (size_t)(end - at) : READ_SIZE;
		ssize_t k = read_some(d->from, w->buf, want);
		if (k < 0)
			return err_sys(err, "read");
		if (!k)
			return 0;
		if (d->hash)
			digest_add(&d->h, w->buf, (size_t)k);
		if (d->to >= 0 && io_write_full(d->to, w->buf, (size_t)k) < 0)
			return err_sys(err, "write");
		if (canceled(w->cp))
			return err_set(err, ERR_CANCELED, "canceled");
		at += (uint64_t)k;
	}
	return 1;
}

static void hash_zeros(struct data *d, uint64_t n)
{
	static const char zeros[64 * 1024];
	for (; d->hash && n; n -= n < sizeof(zeros) ? n : sizeof(zeros))
		digest_add(&d->h, zeros, n < sizeof(zeros) ? (size_t)n : sizeof(zeros));
}

/* The same for a file with holes, which stay holes. */
static int copy_sparse(struct worker *w, struct data *d, struct err **err)
{
	uint64_t at = 0;
	while (at < d->size) {
		off_t from = lseek(d->from, (off_t)at, SEEK_DATA), to;
		if (from < 0 && errno != ENXIO)
			return copy_range(w, d, at, d->size, err);
		if (from < 0 || (uint64_t)from > d->size)
			from = (off_t)d->size;
		hash_zeros(d, (uint64_t)from - at);
		at = (uint64_t)from;
		if (at == d->size)
			break;
		to = lseek(d->from, from, SEEK_HOLE);
		if (to < 0 || (uint64_t)to > d->size)
			to = (off_t)d->size;
		if (lseek(d->from, from, SEEK_SET) < 0 || lseek(d->to, from, SEEK_SET) < 0)
			return err_sys(err, "seek");
		int r = copy_range(w, d, at, (uint64_t)to, err);
		if (r <= 0)
			return r;
		at = (uint64_t)to;
	}
	return ftruncate(d->to, (off_t)d->size) < 0 ? err_sys(err, "write") : 1;
}

/* Shares the blocks and reads the clone, which is ours alone: 1 done, 0 the file is shorter, -1; 2
 * where blocks can't be shared. */
static int clone_data(struct worker *w, struct data *d, const char *dest, struct err **err)
{
	if (atomic_load_explicit(&w->cp->no_clone, memory_order_relaxed))
		return 2;
	if (ioctl(d->to, FICLONE, d->from) < 0) {
		atomic_store_explicit(&w->cp->no_clone, true, memory_order_relaxed);
		return 2;
	}
	if (!d->hash)
		return 1;
	_cleanup_close_ int own = openat(w->cp->fs_fd, dest, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (own < 0)
		return err_sys(err, "open");
	struct data clone = { .from = own, .to = -1, .size = d->size, .h = d->h, .hash = true };
	return copy_range(w, &clone, 0, d->size, err);
}

static int copy_data(struct worker *w, struct data *d, const struct stat *st, const char *dest,
		     struct err **err)
{
	int r = clone_data(w, d, dest, err);
	if (r != 2)
		return r;
	if ((uint64_t)st->st_blocks * 512 < d->size)
		return copy_sparse(w, d, err);
	return copy_range(w, d, 0, d->size, err);
}

/* Copies and compares with what the scan says. */
static int fill(struct worker *w, const struct tree_item *i, int from, int to, const char *dest,
		struct err **err)
{
	struct stat st;
	char more;
	if (fstat(from, &st) < 0)
		return err_sys(err, "stat");
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != i->e.size)
		return changed(w, i, err);
	struct data d = { .from = from, .to = to, .size = i->e.size, .hash = i->e.has_data };
	if (d.hash)
		digest_begin(&d.h);
	int r = copy_data(w, &d, &st, dest, err);
	struct digest got = { 0 };
	if (d.hash)
		got = digest_end(&d.h);
	if (r < 0)
		return -1;
	/* Longer now, shorter, or other bytes. */
	if (!r ||
	    (d.hash && (!digest_eq(&got, &i->e.data) || pread(from, &more, 1, (off_t)d.size) != 0)))
		return changed(w, i, err);
	return 0;
}

/* ---- files */

static int set_attributes(struct worker *w, const struct tree_item *i, int from, int to,
			  struct err **err)
{
	uid_t uid;
	gid_t gid;
	struct str xattrs = i->e.xattrs;
	copy_owner_of(w->cp, &i->e, &uid, &gid);
	if (fchown(to, uid, gid) < 0 || fchmod(to, copy_mode_of(w->cp, &i->e)) < 0)
		return err_sys(err, "set owner and mode");
	if (!i->e.has_data && from >= 0) {
		if (xattr_read(from, -1, "", i->source.p, &w->xattrs, err) < 0)
			return -1;
		xattrs = sb_str(&w->xattrs);
	}
	if (xattrs.n && xattr_write(to, -1, "", xattrs, i->source.p, err) < 0)
		return -1;
	struct timespec ts = { i->e.mtime_ns / 1000000000, i->e.mtime_ns % 1000000000 };
	if (ts.tv_nsec < 0) {
		ts.tv_sec--;
		ts.tv_nsec += 1000000000;
	}
	struct timespec both[2] = { ts, ts };
	return futimens(to, both) < 0 ? err_sys(err, "set time") : 0;
}

static int copy_one(struct worker *w, const struct copy_job *j, struct err **err)
{
	const struct tree_item *i = j->item;
	_cleanup_close_ int from = -1;
	/* What the scan saw as empty is made empty without a look: a file, or a socket that can't
	 * be opened. */
	if (i->e.size || !i->e.has_data) {
		from = path_open_beneath(cache_tree_fd(w->t), i->source.p, O_RDONLY);
		if (from < 0 &&
		    (errno == ENOENT || errno == ELOOP || errno == ENOTDIR || errno == ENXIO))
			return changed(w, i, err);
		if (from < 0)
			return err_sys(err, "open");
	}
	_cleanup_close_ int to = openat(w->cp->fs_fd, j->dest.p,
					O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (to < 0)
		return err_sys(err, "create '/%s'", j->dest.p);
	if (i->e.size && fill(w, i, from, to, j->dest.p, err) < 0)
		return -1;
	return set_attributes(w, i, from, to, err);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	w->buf = xmalloc(READ_SIZE);
	for (size_t k; !atomic_load(w->stop) && (k = atomic_fetch_add(w->next, 1)) < w->n;) {
		int r = canceled(w->cp) ? err_set(&w->err, ERR_CANCELED, "canceled")
					: copy_one(w, &w->v[k], &w->err);
		if (r < 0) {
			if (!w->err->status && w->err->code != ERR_CANCELED)
				err_wrap(&w->err, "copy '/%.*s'", STR_ARG(w->v[k].item->source));
			atomic_store(w->stop, true);
		}
	}
	free(w->buf);
	sb_release(&w->xattrs);
	return NULL;
}

static unsigned threads_for(size_t n)
{
	cpu_set_t set;
	size_t cpus = sched_getaffinity(0, sizeof(set), &set) == 0 ? (size_t)CPU_COUNT(&set) : 1;
	if (cpus > THREADS_MAX)
		cpus = THREADS_MAX;
	size_t useful = n / PER_THREAD + 1;
	return (unsigned)(useful < cpus ? useful : cpus);
}

int copy_files(struct copy *cp, struct tree *t, const struct copy_job *v, size_t n,
	       struct err **err)
{
	struct worker w[THREADS_MAX];
	pthread_t id[THREADS_MAX];
	atomic_size_t next = 0;
	atomic_bool stop = false;
	unsigned threads = threads_for(n), started = 1;
	sigset_t all, before;
	for (unsigned i = 0; i < threads; i++)
		w[i] = (struct worker){
			.cp = cp, .t = t, .v = v, .n = n, .next = &next, .stop = &stop
		};
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (started < threads && pthread_create(&id[started], NULL, work, &w[started]) == 0)
		started++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	work(&w[0]);
	struct err *first = w[0].err;
	for (unsigned i = 1; i < started; i++) {
		pthread_join(id[i], NULL);
		/* A changed file is what the caller can do something about. */
		bool better = w[i].err &&
			(!first ||
			 (w[i].err->status == COPY_CHANGED && first->status != COPY_CHANGED));
		if (better) {
			err_drop(&first);
			first = w[i].err;
		} else {
			err_drop(&w[i].err);
		}
	}
	return first ? err_move(err, first) : 0;
}
