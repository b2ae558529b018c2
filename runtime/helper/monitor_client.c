/* The clients of a monitor: what they say, and what they are sent. */
#define CBUILD_MAY_FORK
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>

#include "base/err.h"
#include "base/io.h"
#include "runtime/helper/monitor.h"
#include "runtime/helper/sys.h"

#define SPOOL_MAX (UINT64_C(1) << 30)

struct spooled {
	uint32_t kind, size;
};

/* ---- to the client */

/* Puts a message behind those that wait. False where it cannot be kept. */
static bool spool(struct monitor *m, struct monitor_client *c, enum proto_kind kind,
		  struct str body)
{
	struct spooled h = { kind, (uint32_t)body.n };
	if (c->spool_fd < 0) {
		c->spool_fd = openat(m->dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (c->spool_fd < 0)
			return false;
		c->spool_from = c->spool_to = 0;
		monitor_watch(m, &c->watch, EPOLLIN | EPOLLOUT);
	}
	if (pwrite(c->spool_fd, &h, sizeof(h), (off_t)c->spool_to) != (ssize_t)sizeof(h) ||
	    pwrite(c->spool_fd, body.p, body.n, (off_t)(c->spool_to + sizeof(h))) !=
		    (ssize_t)body.n)
		return false;
	c->spool_to += sizeof(h) + body.n;
	return true;
}

void monitor_send(struct monitor *m, struct monitor_client *c, enum proto_kind kind,
		  struct str body)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	if (c->dead || (c->dropped && kind == PROTO_OUTPUT))
		return;
	if (c->spool_fd < 0) {
		if (proto_send(c->watch.fd, kind, body, NULL, 0, &e) == 0)
			return;
		if (e->sys != EAGAIN) {
			c->dead = true;
			return;
		}
	}
	if (kind == PROTO_OUTPUT && c->spool_to - c->spool_from > SPOOL_MAX) {
		c->dropped = true;
		kind = PROTO_DROPPED;
		body = STR("");
	}
	if (!spool(m, c, kind, body)) {
		/* No room on the disk: what has begun to wait cannot be completed any more. */
		c->dropped = true;
		c->dead = kind != PROTO_OUTPUT;
	}
}

void monitor_send_all(struct monitor *m, const struct monitor_proc *p, uint32_t stream,
		      enum proto_kind kind, struct str body)
{
	for (struct monitor_client *c = m->clients; c; c = c->next)
		if (c->proc == p && (!stream || c->streams & stream))
			monitor_send(m, c, kind, body);
}

/* Sends what waits, as much as the client takes now. */
static void drain(struct monitor *m, struct monitor_client *c)
{
	static char body[PROTO_INLINE];
	while (c->spool_from < c->spool_to) {
		_cleanup_(err_dropp) struct err *e = NULL;
		struct spooled h;
		if (pread(c->spool_fd, &h, sizeof(h), (off_t)c->spool_from) != (ssize_t)sizeof(h) ||
		    h.size > sizeof(body) ||
		    pread(c->spool_fd, body, h.size, (off_t)(c->spool_from + sizeof(h))) !=
			    (ssize_t)h.size) {
			c->dead = true;
			return;
		}
		if (proto_send(c->watch.fd, (enum proto_kind)h.kind, (struct str){ body, h.size },
			       NULL, 0, &e) < 0) {
			c->dead = e->sys != EAGAIN;
			return;
		}
		c->spool_from += sizeof(h) + h.size;
	}
	close(c->spool_fd);
	c->spool_fd = -1;
	monitor_watch(m, &c->watch, EPOLLIN);
}

/* ---- input */

/* One client's bytes into stdin: false when it takes no more now. */
static bool feed_from(struct monitor *m, struct monitor_proc *p, struct monitor_client *c)
{
	while (c->in_n) {
		ssize_t k = p->in.fd < 0 ? (ssize_t)c->in_n
					 : write(p->in.fd, c->input + c->in_from, c->in_n);
		if (k < 0 && errno == EAGAIN)
			return false;
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0) {
			/* The program has closed it: what still comes is taken and thrown away. */
			monitor_unwatch(m, &p->in);
			continue;
		}
		uint32_t n = (uint32_t)k;
		c->in_from += n;
		c->in_n -= n;
		monitor_send(m, c, PROTO_CREDIT, (struct str){ (const char *)&n, sizeof(n) });
	}
	c->in_from = 0;
	return true;
}

void monitor_feed(struct monitor *m, void *proc, uint32_t events)
{
	struct monitor_proc *p = proc;
	bool all = true, end = false;
	if (events & EPOLLERR && !p->tty)
		monitor_unwatch(m, &p->in);
	for (struct monitor_client *c = m->clients; c; c = c->next) {
		if (c->proc != p || !(c->streams & PROTO_STREAM_IN))
			continue;
		all &= feed_from(m, p, c);
		end |= c->input_ended && !c->in_n;
	}
	/* A terminal's end of input is a character; a pipe that is kept for others ends with none of them. */
	if (p->in.fd >= 0 && end && all && p->once && !p->tty)
		monitor_unwatch(m, &p->in);
	if (p->in.fd >= 0)
		monitor_watch(m, &p->in, all ? 0 : EPOLLOUT);
}

static int input(struct monitor *m, struct monitor_client *c, struct str bytes, struct err **err)
{
	if (!c->proc || !(c->streams & PROTO_STREAM_IN) || c->input_ended ||
	    bytes.n > PROTO_WINDOW - c->in_n)
		return err_set(err, ERR_INVALID, "input that was not agreed on");
	if (!c->input)
		c->input = xmalloc(PROTO_WINDOW);
	if (c->in_from) {
		memmove(c->input, c->input + c->in_from, c->in_n);
		c->in_from = 0;
	}
	memcpy(c->input + c->in_n, bytes.p, bytes.n);
	c->in_n += bytes.n;
	monitor_feed(m, c->proc, 0);
	return 0;
}

/* ---- from the client */

static void attach(struct monitor *m, struct monitor_client *c, uint32_t streams)
{
	c->proc = m->main;
	c->streams = streams;
	if (!m->finished)
		return;
	_cleanup_(sb_releasep) struct sb b = { 0 };
	proto_exit_put(&b, &m->exit);
	monitor_send(m, c, PROTO_EXIT, sb_str(&b));
}

static int exec(struct monitor *m, struct monitor_client *c, struct proto_message *msg,
		struct err **err)
{
	struct proto_run r;
	_cleanup_(err_dropp) struct err *e = NULL;
	int ok = c->proc ? err_set(err, ERR_INVALID, "a client of one process asks for another")
			 : proto_run_get(msg, &r, err);
	if (!ok && !(r.flags & PROTO_JOIN))
		ok = err_set(err, ERR_INVALID, "a process that is to be a container of its own");
	if (!ok && monitor_start(m, &r, msg, c, &e) < 0) {
		_cleanup_(sb_releasep) struct sb b = { 0 };
		proto_error_put(&b, e);
		monitor_send(m, c, PROTO_ERROR, sb_str(&b));
	}
	proto_run_release(&r);
	return ok;
}

static int signal_proc(const struct monitor_client *c, uint32_t sig, struct err **err)
{
	if (!c->proc || !sig || sig > 64)
		return err_set(err, ERR_INVALID, "a signal for nobody");
	if (!c->proc->exited)
		sys_pidfd_send_signal(c->proc->pid.fd, (int)sig);
	return 0;
}

static int resize(const struct monitor_client *c, uint32_t rows, uint32_t cols)
{
	struct winsize size = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols };
	if (c->proc && c->proc->tty && c->proc->out[0].fd >= 0)
		ioctl(c->proc->out[0].fd, TIOCSWINSZ, &size);
	return 0;
}

static int message(struct monitor *m, struct monitor_client *c, struct proto_message *msg,
		   struct err **err)
{
	uint32_t v[4];
	switch (msg->kind) {
	case PROTO_INPUT:
		return input(m, c, (struct str){ msg->body, msg->body_size }, err);
	case PROTO_INPUT_END:
		c->input_ended = true;
		if (c->proc)
			monitor_feed(m, c->proc, 0);
		return 0;
	case PROTO_ATTACH:
		if (proto_words_get(msg, v, 1, NULL, err) < 0)
			return -1;
		if (c->proc)
			return err_set(err, ERR_INVALID, "a client attaches twice");
		attach(m, c, v[0]);
		return 0;
	case PROTO_EXEC:
		return exec(m, c, msg, err);
	case PROTO_RESIZE:
		return proto_words_get(msg, v, 2, NULL, err) < 0 ? -1 : resize(c, v[0], v[1]);
	case PROTO_SIGNAL:
		return proto_words_get(msg, v, 1, NULL, err) < 0 ? -1 : signal_proc(c, v[0], err);
	case PROTO_STOP:
		if (proto_words_get(msg, v, 3, NULL, err) < 0)
			return -1;
		monitor_stop(m, v[0], (int64_t)(v[1] | (uint64_t)v[2] << 32));
		return 0;
	default:
		return err_set(err, ERR_INVALID, "an unexpected message");
	}
}

static void on_client(struct monitor *m, void *owner, uint32_t events)
{
	struct monitor_client *c = owner;
	if (events & EPOLLOUT && c->spool_fd >= 0)
		drain(m, c);
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	_cleanup_(proto_message_release) struct proto_message msg;
	_cleanup_(err_dropp) struct err *e = NULL;
	int r = proto_recv(c->watch.fd, false, &msg, &e);
	if (r < 0 || (r && message(m, c, &msg, &e) < 0))
		c->dead = true;
}

struct monitor_client *monitor_client_new(struct monitor *m, int fd)
{
	struct monitor_client *c = xcalloc(1, sizeof(*c));
	*c = (struct monitor_client){ .next = m->clients,
				      .watch = { fd, 0, on_client, c },
				      .spool_fd = -1 };
	m->clients = c;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	monitor_watch(m, &c->watch, EPOLLIN);
	return c;
}

/* Only who we are ourselves may talk to us: the folder is closed to others, this is the second lock on the door. */
void monitor_accept(struct monitor *m, void *owner, uint32_t events)
{
	(void)owner;
	(void)events;
	struct ucred peer;
	socklen_t n = sizeof(peer);
	int fd = accept4(m->listen.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0 || peer.uid != geteuid())
		close(fd);
	else
		monitor_client_new(m, fd);
}

static void client_free(struct monitor *m, struct monitor_client *c)
{
	struct monitor_proc *p = c->proc;
	/* Its unread input is lost with it; a pipe that was its own ends. */
	bool ends = p && p->once && !p->tty && c->streams & PROTO_STREAM_IN && p->in.fd >= 0;
	monitor_unwatch(m, &c->watch);
	mem_closep(&c->spool_fd);
	free(c->input);
	free(c);
	if (ends)
		monitor_unwatch(m, &p->in);
}

bool monitor_sweep_clients(struct monitor *m)
{
	bool waits = false;
	for (struct monitor_client **at = &m->clients; *at;) {
		struct monitor_client *c = *at;
		if (!c->dead) {
			waits |= c->spool_fd >= 0;
			at = &c->next;
			continue;
		}
		*at = c->next;
		client_free(m, c);
	}
	return waits;
}
