#include "runtime/helper/proto.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/io.h"

enum {
	MAGIC = 0x52756263,
	VERSION = 2,
	SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE,
};

struct header {
	uint32_t magic;
	uint16_t version, kind;
	uint32_t size;     /* of the body */
	uint32_t in_memfd; /* 1: the body is the last descriptor */
};

/* ---- writing */

static void put_u32(struct sb *b, uint32_t v)
{
	sb_add(b, &v, sizeof(v));
}

static void put_u64(struct sb *b, uint64_t v)
{
	sb_add(b, &v, sizeof(v));
}

/* With its NUL, so that the reader can point into the body. */
static void put_str(struct sb *b, const char *s)
{
	size_t n = strlen(s) + 1;
	put_u32(b, (uint32_t)n);
	sb_add(b, s, n);
}

static void put_strs(struct sb *b, char *const *v)
{
	uint32_t n = 0;
	while (v[n])
		n++;
	put_u32(b, n);
	for (uint32_t i = 0; i < n; i++)
		put_str(b, v[i]);
}

void proto_hello_put(struct sb *b, const struct proto_hello *h)
{
	put_u32(b, h->cgroup2);
	put_u32(b, h->devices_fd);
	put_u32(b, h->parent_fd);
	put_u32(b, h->n_cgroups);
	for (uint32_t i = 0; i < h->n_cgroups; i++) {
		put_str(b, h->cgroups[i].name);
		put_str(b, h->cgroups[i].link);
		put_u32(b, h->cgroups[i].fd);
	}
}

static void put_mounts(struct sb *b, const struct proto_run *r)
{
	put_u32(b, r->n_mounts);
	for (uint32_t i = 0; i < r->n_mounts; i++) {
		const struct proto_mount *m = &r->mounts[i];
		put_u32(b, m->fd);
		put_u32(b, m->lock_fd);
		put_u32(b, m->attr);
		put_u32(b, m->mode);
		put_u64(b, m->size_bytes);
		put_str(b, m->target);
	}
}

static void put_devices(struct sb *b, const struct proto_run *r)
{
	put_u32(b, r->n_devices);
	for (uint32_t i = 0; i < r->n_devices; i++) {
		put_str(b, r->devices[i].path);
		put_u32(b, r->devices[i].mode);
		put_u32(b, r->devices[i].uid);
		put_u32(b, r->devices[i].gid);
		put_u64(b, r->devices[i].rdev);
	}
}

void proto_run_put(struct sb *b, const struct proto_run *r)
{
	/* First, so that it is aligned in the body. */
	put_u64(b, r->n_filter);
	sb_add(b, r->filter, r->n_filter * sizeof(struct sock_filter));
	const uint32_t words[] = { r->flags,    r->root_fd,  r->record_fd, r->stdio[0],
				   r->stdio[1], r->stdio[2], r->cgroup_fd, r->join_fd,
				   r->uid,      r->gid,      r->cap_last,  r->rows,
				   r->cols,     r->streams };
	sb_add(b, words, sizeof(words));
	const uint64_t masks[] = { r->bounding,    r->permitted, r->effective,
				   r->inheritable, r->ambient,   r->shm_size_bytes };
	sb_add(b, masks, sizeof(masks));
	put_str(b, r->cgroup_name);
	put_str(b, r->cwd);
	put_str(b, r->hostname);
	put_strs(b, r->argv);
	put_strs(b, r->env);
	put_u32(b, r->n_groups);
	sb_add(b, r->groups, r->n_groups * sizeof(*r->groups));
	put_u32(b, r->n_rlimits);
	for (uint32_t i = 0; i < r->n_rlimits; i++) {
		put_u32(b, r->rlimits[i].resource);
		put_u64(b, r->rlimits[i].soft);
		put_u64(b, r->rlimits[i].hard);
	}
	put_mounts(b, r);
	put_devices(b, r);
}

void proto_monitor_put(struct sb *b, const struct proto_monitor *m)
{
	proto_run_put(b, &m->run);
	const uint32_t words[] = { m->dir_fd,       m->lock_fd,      m->listen_fd,  m->host_fd,
				   m->group_fds[0], m->group_fds[1], m->stop_signal };
	sb_add(b, words, sizeof(words));
	put_u64(b, (uint64_t)m->stop_timeout_ms);
	put_str(b, m->id);
	put_str(b, m->idle);
	put_strs(b, m->reap);
}

void proto_error_put(struct sb *b, const struct err *e)
{
	put_u32(b, e->code);
	put_u32(b, (uint32_t)e->sys);
	put_u32(b, (uint32_t)e->status);
	put_str(b, e->msg);
	put_str(b, e->hint ? e->hint : "");
}

void proto_exit_put(struct sb *b, const struct proto_exit *e)
{
	put_u32(b, (uint32_t)e->status);
	put_u32(b, e->signaled);
	put_u32(b, e->oom);
	put_u64(b, (uint64_t)e->user_us);
	put_u64(b, (uint64_t)e->system_us);
	put_u64(b, (uint64_t)e->max_rss_kib);
}

/* ---- reading: the first fault is kept in `bad`, later reads give zeros */

struct reader {
	const char *p;
	size_t n;
	uint32_t n_fds;
	bool bad;
};

static const char *get_bytes(struct reader *r, size_t n)
{
	if (r->bad || n > r->n) {
		r->bad = true;
		return NULL;
	}
	const char *p = r->p;
	r->p += n;
	r->n -= n;
	return p;
}

static uint32_t get_u32(struct reader *r)
{
	uint32_t v = 0;
	const char *p = get_bytes(r, sizeof(v));
	if (p)
		memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t get_u64(struct reader *r)
{
	uint64_t v = 0;
	const char *p = get_bytes(r, sizeof(v));
	if (p)
		memcpy(&v, p, sizeof(v));
	return v;
}

static char *get_str(struct reader *r)
{
	static char empty[1];
	uint32_t n = get_u32(r);
	const char *p = get_bytes(r, n);
	if (!p || !n || memchr(p, 0, n) != p + n - 1) {
		r->bad = true;
		return empty;
	}
	return (char *)(uintptr_t)p;
}

/* A count of elements that take at least `least` bytes each: a lie cannot make us allocate more
 * than a few times what came. */
static uint32_t get_count(struct reader *r, size_t least)
{
	uint32_t n = get_u32(r);
	if (n > r->n / least) {
		r->bad = true;
		return 0;
	}
	return n;
}

static uint32_t get_fd(struct reader *r)
{
	uint32_t i = get_u32(r);
	if (i != PROTO_NO_FD && i >= r->n_fds)
		r->bad = true;
	return i;
}

static char **get_strs(struct reader *r)
{
	uint32_t n = get_count(r, 5);
	char **v = xcalloc(n + 1, sizeof(*v));
	for (uint32_t i = 0; i < n; i++)
		v[i] = get_str(r);
	return v;
}

static struct reader reader_of(const struct proto_message *m)
{
	return (struct reader){ .p = m->body, .n = m->body_size, .n_fds = m->n_fds };
}

static int reader_end(const struct reader *r, const char *what, struct err **err)
{
	return r->bad || r->n ? err_set(err, ERR_INVALID, "read %s: malformed message", what) : 0;
}

int proto_hello_get(const struct proto_message *m, struct proto_hello *ret, struct err **err)
{
	struct reader r = reader_of(m);
	*ret = (struct proto_hello){ .cgroup2 = get_u32(&r) };
	ret->devices_fd = get_fd(&r);
	ret->parent_fd = get_fd(&r);
	ret->n_cgroups = get_count(&r, 14);
	ret->cgroups = xcalloc(ret->n_cgroups, sizeof(*ret->cgroups));
	for (uint32_t i = 0; i < ret->n_cgroups; i++) {
		ret->cgroups[i].name = get_str(&r);
		ret->cgroups[i].link = get_str(&r);
		ret->cgroups[i].fd = get_fd(&r);
	}
	return reader_end(&r, "the start message", err);
}

void proto_hello_release(struct proto_hello *h)
{
	free(h->cgroups);
	*h = (struct proto_hello){ 0 };
}

static void get_mounts(struct reader *r, struct proto_run *ret)
{
	ret->n_mounts = get_count(r, 29);
	ret->mounts = xcalloc(ret->n_mounts, sizeof(*ret->mounts));
	for (uint32_t i = 0; i < ret->n_mounts; i++) {
		struct proto_mount *m = &ret->mounts[i];
		m->fd = get_fd(r);
		m->lock_fd = get_fd(r);
		m->attr = get_u32(r);
		m->mode = get_u32(r);
		m->size_bytes = get_u64(r);
		m->target = get_str(r);
	}
}

static void get_devices(struct reader *r, struct proto_run *ret)
{
	ret->n_devices = get_count(r, 25);
	ret->devices = xcalloc(ret->n_devices, sizeof(*ret->devices));
	for (uint32_t i = 0; i < ret->n_devices; i++) {
		struct proto_device *d = &ret->devices[i];
		d->path = get_str(r);
		d->mode = get_u32(r);
		d->uid = get_u32(r);
		d->gid = get_u32(r);
		d->rdev = get_u64(r);
	}
}

static void get_lists(struct reader *r, struct proto_run *ret)
{
	ret->argv = get_strs(r);
	ret->env = get_strs(r);
	ret->n_groups = get_count(r, sizeof(*ret->groups));
	ret->groups = xcalloc(ret->n_groups, sizeof(*ret->groups));
	for (uint32_t i = 0; i < ret->n_groups; i++)
		ret->groups[i] = get_u32(r);
	ret->n_rlimits = get_count(r, 20);
	ret->rlimits = xcalloc(ret->n_rlimits, sizeof(*ret->rlimits));
	for (uint32_t i = 0; i < ret->n_rlimits; i++) {
		ret->rlimits[i].resource = get_u32(r);
		ret->rlimits[i].soft = get_u64(r);
		ret->rlimits[i].hard = get_u64(r);
	}
	get_mounts(r, ret);
	get_devices(r, ret);
}

static void get_run(struct reader *r, struct proto_run *ret)
{
	*ret = (struct proto_run){ 0 };
	uint64_t n_filter = get_u64(r);
	if (n_filter > PROTO_MAX_FILTER)
		r->bad = true;
	else
		ret->filter = get_bytes(r, (size_t)n_filter * sizeof(struct sock_filter));
	ret->n_filter = r->bad ? 0 : (uint32_t)n_filter;
	ret->flags = get_u32(r);
	ret->root_fd = get_fd(r);
	ret->record_fd = get_fd(r);
	for (int i = 0; i < 3; i++)
		ret->stdio[i] = get_fd(r);
	ret->cgroup_fd = get_fd(r);
	ret->join_fd = get_fd(r);
	ret->uid = get_u32(r);
	ret->gid = get_u32(r);
	ret->cap_last = get_u32(r);
	ret->rows = get_u32(r);
	ret->cols = get_u32(r);
	ret->streams = get_u32(r);
	uint64_t *masks[] = { &ret->bounding,    &ret->permitted, &ret->effective,
			      &ret->inheritable, &ret->ambient,   &ret->shm_size_bytes };
	for (size_t i = 0; i < ARRAY_SIZE(masks); i++)
		*masks[i] = get_u64(r);
	ret->cgroup_name = get_str(r);
	ret->cwd = get_str(r);
	ret->hostname = get_str(r);
	get_lists(r, ret);
	if ((ret->root_fd == PROTO_NO_FD) != !!(ret->flags & PROTO_JOIN) || !ret->argv[0] ||
	    ret->cwd[0] != '/' || ret->cap_last > 63)
		r->bad = true;
}

int proto_run_get(const struct proto_message *m, struct proto_run *ret, struct err **err)
{
	struct reader r = reader_of(m);
	get_run(&r, ret);
	return reader_end(&r, "a request to run", err);
}

int proto_monitor_get(const struct proto_message *m, struct proto_monitor *ret, struct err **err)
{
	struct reader r = reader_of(m);
	*ret = (struct proto_monitor){ 0 };
	/* The run is first, for the filter's sake. */
	get_run(&r, &ret->run);
	uint32_t *fds[] = { &ret->dir_fd,  &ret->lock_fd,      &ret->listen_fd,
			    &ret->host_fd, &ret->group_fds[0], &ret->group_fds[1] };
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		*fds[i] = get_fd(&r);
	ret->stop_signal = get_u32(&r);
	ret->stop_timeout_ms = (int64_t)get_u64(&r);
	ret->id = get_str(&r);
	ret->idle = get_str(&r);
	ret->reap = get_strs(&r);
	for (size_t i = 0; i < 3; i++)
		r.bad |= *fds[i] == PROTO_NO_FD;
	return reader_end(&r, "a request to watch a container", err);
}

int proto_words_get(const struct proto_message *m, uint32_t *v, size_t n, struct str *rest,
		    struct err **err)
{
	struct reader r = reader_of(m);
	for (size_t i = 0; i < n; i++)
		v[i] = get_u32(&r);
	if (rest) {
		*rest = (struct str){ r.p, r.n };
		r.n = 0;
	}
	return reader_end(&r, "a message", err);
}

void proto_monitor_release(struct proto_monitor *m)
{
	proto_run_release(&m->run);
	free(m->reap);
	m->reap = NULL;
}

void proto_run_release(struct proto_run *r)
{
	free(r->argv);
	free(r->env);
	free(r->groups);
	free(r->rlimits);
	free(r->mounts);
	free(r->devices);
	*r = (struct proto_run){ 0 };
}

int proto_exit_get(const struct proto_message *m, struct proto_exit *ret, struct err **err)
{
	struct reader r = reader_of(m);
	struct proto_exit e = { .status = (int32_t)get_u32(&r) };
	e.signaled = get_u32(&r);
	e.oom = get_u32(&r);
	e.user_us = (int64_t)get_u64(&r);
	e.system_us = (int64_t)get_u64(&r);
	e.max_rss_kib = (int64_t)get_u64(&r);
	if (reader_end(&r, "the end of a process", err) < 0)
		return -1;
	*ret = e;
	return 0;
}

int proto_error_get(const struct proto_message *m, struct err **err)
{
	struct reader r = reader_of(m);
	uint32_t code = get_u32(&r), sys = get_u32(&r), status = get_u32(&r);
	const char *msg = get_str(&r), *hint = get_str(&r);
	if (reader_end(&r, "an error of the helper", err) < 0)
		return -1;
	err_set(err, code >= ERR_SYNTAX && code <= ERR_BUG ? (enum err_code)code : ERR_IO, "%s",
		msg);
	(*err)->sys = (int)sys;
	err_status(err, (int)status);
	return *hint ? err_hint(err, "%s", hint) : -1;
}

/* ---- messages */

static int body_memfd(struct str body, struct err **err)
{
	_cleanup_close_ int fd = memfd_create("cbuild-request", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return err_sys(err, "make a file in memory for a request");
	if (io_write_full(fd, body.p, body.n) < 0)
		return err_sys(err, "write a request");
	if (fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return err_sys(err, "seal a request");
	return STEAL_FD(fd);
}

int proto_send(int sock, enum proto_kind kind, struct str body, const int *fds, uint32_t n_fds,
	       struct err **err)
{
	struct header h = {
		.magic = MAGIC, .version = VERSION, .kind = (uint16_t)kind, .size = (uint32_t)body.n
	};
	if (n_fds > PROTO_MAX_FDS)
		return err_set(err, ERR_LIMIT, "a process with %u descriptors: at most %d", n_fds,
			       PROTO_MAX_FDS);
	if (body.n > PROTO_MAX_BODY)
		return err_set(
			err, ERR_LIMIT,
			"a process whose arguments and environment take %zu bytes: at most %d",
			body.n, PROTO_MAX_BODY);
	int all[PROTO_MAX_FDS + 1];
	if (n_fds)
		memcpy(all, fds, n_fds * sizeof(*fds));
	_cleanup_close_ int memfd = -1;
	if (body.n > PROTO_INLINE) {
		memfd = body_memfd(body, err);
		if (memfd < 0)
			return -1;
		h.in_memfd = 1;
		all[n_fds++] = memfd;
	}
	struct iovec iov[2] = { { &h, sizeof(h) }, { (void *)(uintptr_t)body.p, body.n } };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(all))];
	} control;
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = h.in_memfd || !body.n ? 1 : 2 };
	if (n_fds) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(n_fds * sizeof(int)),
				       .cmsg_level = SOL_SOCKET,
				       .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(c), all, n_fds * sizeof(int));
	}
	while (sendmsg(sock, &msg, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return err_sys(err, "send a message to the other side");
	return 0;
}

void proto_error_write(int sock, const struct err *e)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	struct header h = { .magic = MAGIC, .version = VERSION, .kind = PROTO_ERROR };
	sb_add(&b, &h, sizeof(h));
	proto_error_put(&b, e);
	h.size = (uint32_t)(b.n - sizeof(h));
	memcpy(b.p, &h, sizeof(h));
	/* Where even this fails, the end of the process is all that the other side learns. */
	io_write_full(sock, b.p, b.n);
}

static void take_fds(struct msghdr *msg, struct proto_message *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (m->n_fds <= PROTO_MAX_FDS)
				m->fds[m->n_fds++] = fd;
			else
				close(fd);
		}
	}
}

/* The body is mapped privately: sealed, it can neither shrink under us nor change. */
static int map_body(struct proto_message *m, uint32_t size, struct err **err)
{
	if (!m->n_fds || size > PROTO_MAX_BODY)
		return err_set(err, ERR_INVALID,
			       "receive a message: its body is missing or too long");
	int fd = m->fds[--m->n_fds];
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	bool fine = seals >= 0 && (seals & SEALS) == SEALS && !fstat(fd, &st) &&
		st.st_size == (off_t)size;
	void *p = fine ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0) : MAP_FAILED;
	close(fd);
	if (p == MAP_FAILED)
		return err_set(err, ERR_INVALID, "receive a message: its body is not sealed");
	m->body = p;
	m->body_size = size;
	return 1;
}

int proto_recv(int sock, bool wait, struct proto_message *ret, struct err **err)
{
	/* Only the pages that a message fills are ever touched. One thread of each process
	 * receives at a time, but not always the same: the buffer is on the stack. */
	char buf[PROTO_INLINE];
	struct header h = { 0 };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(ret->fds))];
	} control;
	struct iovec iov[2] = { { &h, sizeof(h) }, { buf, sizeof(buf) } };
	struct msghdr msg = { .msg_iov = iov,
			      .msg_iovlen = 2,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	ret->body = NULL;
	ret->body_size = ret->n_fds = 0;
	ssize_t n;
	while ((n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT))) < 0)
		if (errno != EINTR)
			return errno == EAGAIN ? 0 : err_sys(err, "receive a message");
	if (!n)
		return err_set(err, ERR_IO, "receive a message: the other side is gone");
	take_fds(&msg, ret);
	ret->kind = (enum proto_kind)h.kind;
	if (n < (ssize_t)sizeof(h) || h.magic != MAGIC || h.version != VERSION ||
	    msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return err_set(err, ERR_INVALID,
			       "receive a message: it is not of this version of cbuild");
	if (h.in_memfd)
		return map_body(ret, h.size, err);
	if ((size_t)n != sizeof(h) + h.size)
		return err_set(err, ERR_INVALID, "receive a message: its length is wrong");
	/* Aligned for the filter that begins a request. */
	ret->body = aligned_alloc(16, (h.size + 15) / 16 * 16 + 16);
	if (!ret->body)
		mem_fail();
	memcpy(ret->body, buf, h.size);
	explicit_bzero(buf, h.size);
	ret->body_size = h.size;
	return 1;
}

void proto_message_release(struct proto_message *m)
{
	if (m->body_size > PROTO_INLINE) {
		explicit_bzero(m->body, m->body_size);
		munmap(m->body, m->body_size);
	} else if (m->body) {
		explicit_bzero(m->body, m->body_size);
		free(m->body);
	}
	m->body = NULL;
	m->body_size = 0;
	for (uint32_t i = 0; i < m->n_fds; i++)
		if (m->fds[i] >= 0)
			close(m->fds[i]);
	m->n_fds = 0;
}
