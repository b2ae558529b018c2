#define CBUILD_MAY_FORK
#include "runtime/helper/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "runtime/helper/child.h"
#include "runtime/helper/nest.h"
#include "runtime/helper/stage1.h"
#include "runtime/helper/sys.h"

enum {
	READ_SIZE = PROTO_INLINE - 16, /* with the stream's number it is one message */
	DRAIN_MAX =
		1024 * 1024, /* what is read after the end of a process whose pipe others hold */
	PIPE_SIZE = 256 * 1024,
	LINGER_MS = 10 * 1000, /* for clients that are slow to take the end */
	RETRY_MS = 2,
	SETTLE_MS = 250,
	RMDIR_TRIES = 8,
};

void monitor_watch(struct monitor *m, struct monitor_watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };
	if (w->fd < 0 || events == w->events)
		return;
	int op = !events ? EPOLL_CTL_DEL : w->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	if (epoll_ctl(m->epoll, op, w->fd, &ev) < 0)
		BUG("epoll_ctl: %s", strerror(errno));
	w->events = events;
}

void monitor_unwatch(struct monitor *m, struct monitor_watch *w)
{
	monitor_watch(m, w, 0);
	mem_closep(&w->fd);
}

/* ---- state */

static void write_state(struct monitor *m, const char *status)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(sb_releasep) struct sb b = { 0 };
	char text[CLOCK_TEXT];
	sb_printf(&b, "{\"status\":\"%s\",\"pid\":%d,\"exit\":%d,\"oom\":%s,\"error\":\"", status,
		  m->main && !m->main->exited ? m->main->number : 0, m->exit.status,
		  m->exit.oom ? "true" : "false");
	for (const char *p = m->error ? m->error : ""; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == '"' || *p == '\\')
			sb_printf(&b, "\\u%04x", (unsigned char)*p);
		else
			sb_add_ch(&b, *p);
	sb_printf(&b, "\",\"started\":\"%s\"",
		  m->started_ns ? clock_text(m->started_ns, text) : "");
	sb_printf(&b, ",\"finished\":\"%s\"}\n",
		  m->finished ? clock_text(clock_real_ns(), text) : "");
	/* Where the disk is full the lock and the record tell the rest. */
	if (io_replace_file(m->dir_fd, "state.json", sb_str(&b), 0600, false, &e) < 0)
		return;
}

/* ---- what a process prints */

/* One read: bytes taken, 0 for none now, -1 at the end. */
static ssize_t pump(struct monitor *m, struct monitor_proc *p, int i)
{
	static char buf[sizeof(uint32_t) + READ_SIZE];
	ssize_t n;
	while ((n = read(p->out[i].fd, buf + sizeof(uint32_t), READ_SIZE)) < 0 && errno == EINTR)
		;
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0) {
		/* EIO is how a terminal says that nobody has it open. Somebody of the session may open it again. */
		if (n < 0 && errno == EIO && p->tty && !p->exited)
			monitor_watch(m, &p->out[i], 0);
		else
			monitor_unwatch(m, &p->out[i]);
		return -1;
	}
	uint32_t stream = (uint32_t)i + 1;
	memcpy(buf, &stream, sizeof(stream));
	if (p == m->main)
		monitor_log_write(&m->log, i + 1, buf + sizeof(stream), (size_t)n, clock_real_ns());
	monitor_send_all(m, p, i ? PROTO_STREAM_ERR : PROTO_STREAM_OUT, PROTO_OUTPUT,
			 (struct str){ buf, sizeof(stream) + (size_t)n });
	return n;
}

static void on_stdout(struct monitor *m, void *owner, uint32_t events)
{
	(void)events;
	pump(m, owner, 0);
}

static void on_stderr(struct monitor *m, void *owner, uint32_t events)
{
	(void)events;
	pump(m, owner, 1);
}

/* What was written before the end comes before the end. */
static void drain_output(struct monitor *m, struct monitor_proc *p)
{
	for (int i = 0; i < 2; i++) {
		ssize_t n;
		for (ssize_t all = 0;
		     p->out[i].fd >= 0 && all < DRAIN_MAX && (n = pump(m, p, i)) > 0;)
			all += n;
	}
}

/* ---- processes */

static void proc_free(struct monitor *m, struct monitor_proc *p)
{
	for (struct monitor_proc **at = &m->procs; *at; at = &(*at)->next)
		if (*at == p) {
			*at = p->next;
			break;
		}
	for (struct monitor_client *c = m->clients; c; c = c->next)
		if (c->proc == p)
			c->proc = NULL;
	monitor_unwatch(m, &p->pid);
	monitor_unwatch(m, &p->answer);
	monitor_unwatch(m, &p->out[0]);
	monitor_unwatch(m, &p->out[1]);
	monitor_unwatch(m, &p->in);
	err_drop(&p->failed);
	free(p);
}

static void tell_end(struct monitor *m, const struct monitor_proc *p)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	if (p->failed)
		proto_error_put(&b, p->failed);
	else
		proto_exit_put(&b, &p->exit);
	monitor_send_all(m, p, 0, p->failed ? PROTO_ERROR : PROTO_EXIT, sb_str(&b));
}

/* The program runs, or did so before it ended. */
static void tell_ready(struct monitor *m, struct monitor_proc *p)
{
	if (p->ready || p->failed)
		return;
	p->ready = true;
	if (p == m->main) {
		m->started_ns = clock_real_ns();
		write_state(m, "running");
	}
	uint32_t pid = (uint32_t)p->number;
	monitor_send_all(m, p, 0, PROTO_STARTED, (struct str){ (const char *)&pid, sizeof(pid) });
}

static void console(struct monitor *m, struct monitor_proc *p, struct proto_message *msg)
{
	if (!p->tty || msg->n_fds != 1 || p->out[0].fd >= 0)
		return;
	p->out[0].fd = STEAL_FD(msg->fds[0]);
	p->in.fd = fcntl(p->out[0].fd, F_DUPFD_CLOEXEC, 3);
	fcntl(p->out[0].fd, F_SETFL, O_RDWR | O_NONBLOCK);
	monitor_watch(m, &p->out[0], EPOLLIN);
	monitor_feed(m, p, 0);
}

/* What stage1 says; false at the end, which execve or its death has brought. */
static bool take_answer(struct monitor *m, struct monitor_proc *p)
{
	_cleanup_(proto_message_release) struct proto_message msg;
	_cleanup_(err_dropp) struct err *e = NULL;
	int r = proto_recv(p->answer.fd, false, &msg, &e);
	if (r <= 0)
		return !r;
	if (msg.kind == PROTO_ERROR) {
		err_drop(&p->failed);
		proto_error_get(&msg, &p->failed);
	} else if (msg.kind == PROTO_CONSOLE) {
		console(m, p, &msg);
	}
	return true;
}

static void on_answer(struct monitor *m, void *owner, uint32_t events)
{
	struct monitor_proc *p = owner;
	(void)events;
	if (take_answer(m, p))
		return;
	monitor_unwatch(m, &p->answer);
	tell_ready(m, p);
}

static void on_end(struct monitor *m, void *owner, uint32_t events)
{
	struct monitor_proc *p = owner;
	(void)events;
	while (p->answer.fd >= 0 && take_answer(m, p)) {
		struct pollfd none = { .fd = p->answer.fd, .events = POLLIN };
		if (poll(&none, 1, 0) <= 0)
			break;
	}
	monitor_unwatch(m, &p->answer);
	tell_ready(m, p);
	child_wait(p->pid.fd, p == m->main && m->watch_oom ? m->cgroup_fd : -1, &p->exit);
	p->exited = true;
	monitor_unwatch(m, &p->pid);
	monitor_unwatch(m, &p->in);
	drain_output(m, p);
	if (p != m->main) {
		tell_end(m, p);
		proc_free(m, p);
		return;
	}
	/* With the host's pid namespace the others live on until they are killed. */
	if (m->cgroup_fd >= 0)
		child_kill(-1, m->cgroup_fd);
}

/* Pipes for what is no terminal: the child's ends go into the message, after what came with it. */
static int make_pipes(struct monitor_proc *p, struct proto_run *r, struct proto_message *msg,
		      struct err **err)
{
	for (int i = 0; i < 3; i++) {
		int pair[2], ours = i ? 0 : 1;
		r->stdio[i] = PROTO_NO_FD;
		if (p->tty || (!i && !(r->flags & PROTO_STDIN)))
			continue;
		if (msg->n_fds >= PROTO_MAX_FDS)
			return err_set(err, ERR_LIMIT, "too many descriptors for one process");
		if (pipe2(pair, O_CLOEXEC) < 0)
			return err_sys(err, "make a pipe");
		r->stdio[i] = msg->n_fds;
		msg->fds[msg->n_fds++] = pair[!ours];
		(i ? &p->out[i - 1] : &p->in)->fd = pair[ours];
		fcntl(pair[ours], F_SETFL, O_NONBLOCK);
		/* Fewer switches between writer and reader; refused where the user has used up what pipes may take. */
		if (i)
			fcntl(pair[ours], F_SETPIPE_SZ, PIPE_SIZE);
	}
	return 0;
}

/* Our children get the container's pid namespace for the time of one clone. */
static int clone_proc(struct monitor *m, struct monitor_proc *p, struct proto_run *r,
		      struct proto_message *msg, int answer_fd, struct err **err)
{
	struct child c = {
		m->nest, r, msg, m->cgroup_fd, answer_fd, p->exec ? m->main->pid.fd : -1
	};
	if (p->exec && setns(m->main->pid.fd, CLONE_NEWPID) < 0)
		return err_set(err, ERR_NOT_FOUND, "the container is not running");
	int pid = child_clone(&c, &p->pid.fd, err);
	if (p->exec && setns(m->pidns_fd, CLONE_NEWPID) < 0)
		BUG("return to the pid namespace: %s", strerror(errno));
	return pid;
}

int monitor_start(struct monitor *m, struct proto_run *r, struct proto_message *msg,
		  struct monitor_client *client, struct err **err)
{
	int pair[2];
	if (r->flags & PROTO_JOIN && (!m->main || m->main->exited || !m->main->ready))
		return err_set(err, ERR_NOT_FOUND, "the container is not running");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "make a socket for answers");
	struct monitor_proc *p = xcalloc(1, sizeof(*p));
	*p = (struct monitor_proc){
		.next = m->procs,
		.pid = { -1, 0, on_end, p },
		.answer = { pair[0], 0, on_answer, p },
		.out = { { -1, 0, on_stdout, p }, { -1, 0, on_stderr, p } },
		.in = { -1, 0, monitor_feed, p },
		.tty = r->flags & PROTO_TTY,
		.exec = r->flags & PROTO_JOIN,
		.once = r->flags & PROTO_STDIN_ONCE,
	};
	m->procs = p;
	_cleanup_close_ int theirs = pair[1];
	int pid = make_pipes(p, r, msg, err);
	if (!pid)
		pid = clone_proc(m, p, r, msg, theirs, err);
	if (pid < 0) {
		proc_free(m, p);
		return -1;
	}
	p->number = pid;
	client->proc = p;
	client->streams = r->streams;
	if (!p->exec && m->record_fd >= 0)
		child_record(m->nest, m->record_fd, pid);
	/* The child's ends are only the child's. */
	for (int i = 0; i < 3; i++)
		if (r->stdio[i] != PROTO_NO_FD)
			mem_closep(&msg->fds[r->stdio[i]]);
	monitor_watch(m, &p->pid, EPOLLIN);
	monitor_watch(m, &p->answer, EPOLLIN);
	for (int i = 0; i < 2; i++)
		monitor_watch(m, &p->out[i], EPOLLIN);
	return 0;
}

/* ---- stopping */

void monitor_stop(struct monitor *m, uint32_t sig, int64_t timeout_ms)
{
	if (!m->main || m->main->exited || !sig || sig > 64)
		return;
	sys_pidfd_send_signal(m->main->pid.fd, (int)sig);
	int64_t at = timeout_ms < 0 || timeout_ms > INT64_MAX / 2000000
		? INT64_MAX
		: clock_mono_ns() + timeout_ms * 1000000;
	if (at < m->kill_at_ns)
		m->kill_at_ns = at;
}

static void on_signal(struct monitor *m, void *owner, uint32_t events)
{
	struct signalfd_siginfo info;
	(void)owner;
	(void)events;
	if (read(m->signals.fd, &info, sizeof(info)) == (ssize_t)sizeof(info) &&
	    info.ssi_signo == SIGTERM)
		monitor_stop(m, m->stop_signal, m->stop_timeout_ms);
}

/* ---- the end */

static bool cgroup_empty(const struct monitor *m)
{
	_cleanup_close_ int fd =
		m->cgroup_fd < 0 ? -1 : openat(m->cgroup_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	char text[128] = "";
	return fd < 0 || io_read_full(fd, text, sizeof(text) - 1) <= 0 ||
		!strstr(text, "populated 1");
}

static bool client_reaps(const struct monitor *m)
{
	for (const struct monitor_client *c = m->clients; c; c = c->next)
		if (!c->dead && c->streams & PROTO_STREAM_REAPS)
			return true;
	return false;
}

/* What needs libraries is done by cbuild itself, which gets the lock: nobody finds it free in between. */
static void start_reap(struct monitor *m)
{
	if (!m->reap[0] || m->host_fd < 0 || client_reaps(m) || fork())
		return;
	char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char *const env[] = { path, NULL };
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (setns(m->host_fd, CLONE_NEWNS) < 0 || chdir("/") < 0 ||
	    dup2(m->lock_fd, PROTO_SOCKET) < 0)
		_exit(1);
	close_range(PROTO_SOCKET + 1, ~0U, 0);
	fcntl(PROTO_SOCKET, F_SETFD, 0);
	execve(m->reap[0], m->reap, env);
	_exit(1);
}

static void remove_cgroup(struct monitor *m)
{
	mem_closep(&m->cgroup_fd);
	for (int i = 0; *m->cgroup_name && m->parent_fd >= 0 && i < RMDIR_TRIES; i++) {
		if (!unlinkat(m->parent_fd, m->cgroup_name, AT_REMOVEDIR) || errno != EBUSY)
			return;
		usleep(1000U << i);
	}
}

static void finish(struct monitor *m)
{
	struct monitor_proc *p = m->main;
	m->exit = p->exit;
	if (p->failed) {
		m->exit.status = p->failed->status >= 125 && p->failed->status <= 255
			? p->failed->status
			: 128;
		m->error = xstrdup(p->failed->msg);
	}
	monitor_log_flush(&m->log, clock_real_ns());
	m->finished = true;
	write_state(m, p->failed ? m->idle : "exited");
	remove_cgroup(m);
	unlinkat(m->dir_fd, "record", 0);
	start_reap(m);
	mem_closep(&m->lock_fd);
	monitor_unwatch(m, &m->listen);
	tell_end(m, p);
	m->until_ns = clock_mono_ns() + LINGER_MS * INT64_C(1000000);
}

/* Whether nothing of the container runs any more. */
static bool all_gone(const struct monitor *m)
{
	return m->main && m->main->exited && m->procs == m->main && !m->main->next &&
		cgroup_empty(m);
}

static int timeout_ms(const struct monitor *m)
{
	if (m->finished)
		return RETRY_MS * 10;
	if (m->main->exited)
		return RETRY_MS;
	int64_t at = m->kill_at_ns < m->settle_at_ns ? m->kill_at_ns : m->settle_at_ns;
	if (at == INT64_MAX)
		return -1;
	int64_t left = (at - clock_mono_ns() + 999999) / 1000000;
	return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

/* Into groups where nobody takes us down with the command that started us. The kernel may make us wait 20 ms for it, in which a short
 * container has come and gone: only one that lasts is worth it. Where it fails we stay where we are. */
static void move_home(struct monitor *m)
{
	m->settle_at_ns = INT64_MAX;
	for (size_t i = 0; i < ARRAY_SIZE(m->group_fds); i++) {
		if (m->group_fds[i] >= 0 && write(m->group_fds[i], "0", 1) < 0)
			errno = 0;
		mem_closep(&m->group_fds[i]);
	}
}

static void on_time(struct monitor *m)
{
	if (!m->main->exited && clock_mono_ns() >= m->settle_at_ns)
		move_home(m);
	if (m->kill_at_ns == INT64_MAX || clock_mono_ns() < m->kill_at_ns || m->main->exited)
		return;
	m->kill_at_ns = INT64_MAX;
	child_kill(m->main->pid.fd, m->cgroup_fd);
}

static _Noreturn void loop(struct monitor *m)
{
	for (;;) {
		struct epoll_event ev;
		/* One event at a time: what it frees cannot be in the rest of a batch. */
		int n = epoll_wait(m->epoll, &ev, 1, timeout_ms(m));
		if (n == 1) {
			struct monitor_watch *w = ev.data.ptr;
			w->fn(m, w->owner, ev.events);
		}
		on_time(m);
		bool waits = monitor_sweep_clients(m);
		if (!m->finished && all_gone(m)) {
			finish(m);
			waits = monitor_sweep_clients(m);
		}
		if (m->finished && (!waits || clock_mono_ns() > m->until_ns))
			_exit(0);
	}
}

/* ---- the beginning */

static int open_watches(struct monitor *m, struct err **err)
{
	sigset_t term;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	m->signals = (struct monitor_watch){ signalfd(-1, &term, SFD_CLOEXEC | SFD_NONBLOCK), 0,
					     on_signal, NULL };
	if (m->signals.fd < 0)
		return err_sys(err, "watch the container");
	monitor_watch(m, &m->signals, EPOLLIN);
	monitor_watch(m, &m->listen, EPOLLIN);
	fcntl(m->listen.fd, F_SETFL, O_NONBLOCK);
	m->pidns_fd = openat(m->nest->proc_fd, "self/ns/pid", O_RDONLY | O_CLOEXEC);
	return m->pidns_fd < 0 ? err_sys(err, "open the own pid namespace") : 0;
}

/* A session keyring for this container alone. Our own groups come later: see move_home(). */
static int settle(struct monitor *m, const struct proto_monitor *q, struct proto_message *msg,
		  struct err **err)
{
	char ring[96];
	for (size_t i = 0; i < ARRAY_SIZE(q->group_fds); i++)
		m->group_fds[i] = child_take_fd(msg, q->group_fds[i]);
	m->settle_at_ns = clock_mono_ns() + SETTLE_MS * INT64_C(1000000);
	snprintf(ring, sizeof(ring), "_ses.%.64s", m->id);
	if (sys_join_session_keyring(ring) < 0 && errno != ENOSYS)
		return err_sys(err, "make a session keyring"),
		       err_hint(err, "see /proc/sys/kernel/keys/root_maxkeys");
	prctl(PR_SET_NAME, "cbuild-monitor");
	return 0;
}

static char **copy_words(char *const *v)
{
	size_t n = 0;
	while (v[n])
		n++;
	char **copy = xcalloc(n + 1, sizeof(*copy));
	for (size_t i = 0; i < n; i++)
		copy[i] = xstrdup(v[i]);
	return copy;
}

static int begin(struct monitor *m, struct proto_message *msg, struct monitor_client *first,
		 struct proto_monitor *q, struct err **err)
{
	if (strchr(q->run.cgroup_name, '/') || q->run.flags & PROTO_JOIN)
		return err_set(err, ERR_INVALID, "a malformed request for a container");
	m->dir_fd = child_take_fd(msg, q->dir_fd);
	m->lock_fd = child_take_fd(msg, q->lock_fd);
	m->listen =
		(struct monitor_watch){ child_take_fd(msg, q->listen_fd), 0, monitor_accept, NULL };
	m->host_fd = child_take_fd(msg, q->host_fd);
	m->record_fd = child_take_fd(msg, q->run.record_fd);
	m->cgroup_fd = child_take_fd(msg, q->run.cgroup_fd);
	m->cgroup_name = xstrdup(q->run.cgroup_name);
	m->id = xstrdup(q->id);
	m->idle = xstrdup(q->idle);
	m->reap = copy_words(q->reap);
	m->watch_oom = q->run.flags & PROTO_WATCH_OOM;
	m->stop_signal = q->stop_signal;
	m->stop_timeout_ms = q->stop_timeout_ms;
	if (open_watches(m, err) < 0 || settle(m, q, msg, err) < 0)
		return -1;
	m->log.fd = openat(m->dir_fd, "log.json",
			   O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (m->log.fd < 0)
		return err_sys(err, "open the container's log");
	if (monitor_start(m, &q->run, msg, first, err) < 0)
		return -1;
	m->main = first->proc;
	/* Who lets go of an overlay last waits until the kernel has written out all that is dirty in the file system below it, which takes
	 * seconds after much output. That is us, when everybody has been told of the end, not pid 1 in its exit. */
	m->root_fd = child_take_fd(msg, q->run.root_fd);
	return 0;
}

_Noreturn void monitor_main(const struct nest *n, int parent_fd, struct proto_message *msg)
{
	struct monitor m = { .nest = n,
			     .parent_fd = parent_fd,
			     .kill_at_ns = INT64_MAX,
			     .log.fd = -1,
			     .record_fd = -1,
			     .root_fd = -1 };
	struct proto_monitor q;
	struct err *e = NULL;
	int r = proto_monitor_get(msg, &q, &e);
	m.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (m.epoll < 0 || !msg->n_fds || msg->fds[0] < 0)
		_exit(1);
	struct monitor_client *first = monitor_client_new(&m, STEAL_FD(msg->fds[0]));
	if (r < 0 || begin(&m, msg, first, &q, &e) < 0) {
		_cleanup_(sb_releasep) struct sb b = { 0 };
		proto_error_put(&b, e);
		monitor_send(&m, first, PROTO_ERROR, sb_str(&b));
		_exit(1);
	}
	proto_monitor_release(&q);
	proto_message_release(msg);
	loop(&m);
}
