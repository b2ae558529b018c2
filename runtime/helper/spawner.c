#define CBUILD_MAY_FORK
#include "runtime/helper/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

#include "base/err.h"
#include "base/io.h"
#include "runtime/helper/child.h"
#include "runtime/helper/monitor.h"
#include "runtime/helper/nest.h"
#include "runtime/helper/proto.h"
#include "runtime/helper/stage1.h"
#include "runtime/helper/sys.h"

enum { RMDIR_TRIES = 8 };

/* One process that runs, and what is held for it. */
struct step {
	struct step *next;
	int pidfd, answer_fd;
	int cgroup_fd;
	char *cgroup_name;
	int *locks; /* of cache mounts: given free with the step's last process */
	size_t n_locks;
	bool watch_oom;
};

/* A cgroup that was still busy when its last process had been reaped. */
struct busy {
	struct busy *next;
	char *name;
	int tries;
};

struct spawner {
	struct nest nest;
	struct err *broken; /* the nest could not be made: the answer to every request */
	int epoll, socket, parent_fd;
	struct step *steps;
	struct busy *busy;
	bool used; /* a request has come: it is no monitor any more */
};

static void answer(int fd, enum proto_kind kind, struct str body, const int *fds, uint32_t n_fds)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	/* Nobody there any more: what it asked for is killed with its handle, or by us when the
	 * socket ends. */
	if (proto_send(fd, kind, body, fds, n_fds, &e) < 0)
		return;
}

static void answer_error(int fd, const struct err *e)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	proto_error_put(&b, e);
	answer(fd, PROTO_ERROR, sb_str(&b), NULL, 0);
}

static bool cgroup_remove(const struct spawner *sp, const char *name)
{
	return !unlinkat(sp->parent_fd, name, AT_REMOVEDIR) || errno != EBUSY;
}

static void busy_retry(struct spawner *sp)
{
	for (struct busy **p = &sp->busy; *p;) {
		struct busy *b = *p;
		if (!cgroup_remove(sp, b->name) && --b->tries) {
			p = &b->next;
			continue;
		}
		*p = b->next;
		free(b->name);
		free(b);
	}
}

static void step_free(struct spawner *sp, struct step *s)
{
	for (size_t i = 0; i < s->n_locks; i++)
		close(s->locks[i]);
	free(s->locks);
	mem_closep(&s->pidfd);
	mem_closep(&s->answer_fd);
	mem_closep(&s->cgroup_fd);
	if (*s->cgroup_name && sp->parent_fd >= 0 && !cgroup_remove(sp, s->cgroup_name)) {
		struct busy *b = xmalloc(sizeof(*b));
		*b = (struct busy){ sp->busy, STEAL(s->cgroup_name), RMDIR_TRIES };
		sp->busy = b;
	}
	free(s->cgroup_name);
	free(s);
}

/* Its pid 1 is dead, and with it its pid namespace: the kernel reaps all others before it lets
 * us reap this one. */
static void step_ended(struct spawner *sp, struct step *s)
{
	struct proto_exit e;
	child_wait(s->pidfd, s->watch_oom ? s->cgroup_fd : -1, &e);
	/* Not left to close: cbuild may hold the same pidfd still, and with it the entry would
	 * live on. */
	epoll_ctl(sp->epoll, EPOLL_CTL_DEL, s->pidfd, NULL);
	for (struct step **p = &sp->steps; *p; p = &(*p)->next)
		if (*p == s) {
			*p = s->next;
			break;
		}
	/* Locks first: whoever reads the answer may take them. */
	for (size_t i = 0; i < s->n_locks; i++)
		close(s->locks[i]);
	s->n_locks = 0;
	_cleanup_(sb_releasep) struct sb b = { 0 };
	proto_exit_put(&b, &e);
	answer(s->answer_fd, PROTO_EXIT, sb_str(&b), NULL, 0);
	step_free(sp, s);
}

static int watch(const struct spawner *sp, struct step *s, struct err **err)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = s };
	return epoll_ctl(sp->epoll, EPOLL_CTL_ADD, s->pidfd, &ev) < 0
		? err_sys(err, "watch the container")
		: 0;
}

static int step_start(struct spawner *sp, struct proto_message *m, struct step *s, struct err **err)
{
	struct proto_run r;
	int pid = proto_run_get(m, &r, err);
	if (!pid) {
		s->cgroup_fd = child_take_fd(m, r.cgroup_fd);
		free(s->cgroup_name);
		s->cgroup_name = xstrdup(r.cgroup_name);
		s->watch_oom = r.flags & PROTO_WATCH_OOM;
		s->locks = xcalloc(r.n_mounts, sizeof(*s->locks));
		for (uint32_t i = 0; i < r.n_mounts; i++)
			if (r.mounts[i].lock_fd != PROTO_NO_FD && m->fds[r.mounts[i].lock_fd] >= 0)
				s->locks[s->n_locks++] = child_take_fd(m, r.mounts[i].lock_fd);
		pid = strchr(r.cgroup_name, '/')
			? err_set(err, ERR_INVALID, "a control group named '%s'", r.cgroup_name)
			: child_clone(&(struct child){ &sp->nest, &r, m, s->cgroup_fd, s->answer_fd,
						       -1 },
				      &s->pidfd, err);
	}
	if (pid > 0 && r.record_fd != PROTO_NO_FD)
		child_record(&sp->nest, m->fds[r.record_fd], pid);
	proto_run_release(&r);
	if (pid < 0)
		return -1;
	if (watch(sp, s, err) < 0) {
		siginfo_t info;
		child_kill(s->pidfd, s->cgroup_fd);
		sys_pidfd_send_signal(s->pidfd, SIGKILL);
		sys_wait_pidfd(s->pidfd, &info, NULL);
		return -1;
	}
	return pid;
}

static void run(struct spawner *sp, struct proto_message *m)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	struct step *s = xcalloc(1, sizeof(*s));
	*s = (struct step){ .pidfd = -1,
			    .cgroup_fd = -1,
			    .answer_fd = child_take_fd(m, 0),
			    .cgroup_name = xstrdup("") };
	int32_t pid = step_start(sp, m, s, &e);
	if (pid < 0) {
		answer_error(s->answer_fd, e);
		step_free(sp, s);
		return;
	}
	s->next = sp->steps;
	sp->steps = s;
	answer(s->answer_fd, PROTO_STARTED, (struct str){ (const char *)&pid, sizeof(pid) },
	       &s->pidfd, 1);
}

/* One message of the socket: false at its end. */
static bool serve(struct spawner *sp)
{
	_cleanup_(proto_message_release) struct proto_message m;
	_cleanup_(err_dropp) struct err *e = NULL;
	int r = proto_recv(sp->socket, false, &m, &e);
	if (r <= 0)
		return !r;
	if ((m.kind != PROTO_RUN && (m.kind != PROTO_MONITOR || sp->used)) || !m.n_fds)
		return false;
	sp->used = true;
	if (sp->broken) {
		answer_error(m.fds[0], sp->broken);
	} else if (m.kind == PROTO_MONITOR) {
		close(sp->socket);
		close(sp->epoll);
		monitor_main(&sp->nest, sp->parent_fd, &m);
	} else {
		run(sp, &m);
	}
	return true;
}

static int hello(struct spawner *sp, struct err **err)
{
	_cleanup_(proto_message_release) struct proto_message m;
	_cleanup_(proto_hello_release) struct proto_hello h = { 0 };
	if (proto_recv(sp->socket, true, &m, err) < 0)
		return -1;
	if (m.kind != PROTO_HELLO)
		return err_set(err, ERR_INVALID, "start the helper: the first message is another");
	if (proto_hello_get(&m, &h, err) < 0 || nest_enter(&m, &h, &sp->nest, err) < 0)
		return -1;
	sp->parent_fd = child_take_fd(&m, h.parent_fd);
	return 0;
}

static int prepare(struct spawner *sp, struct err **err)
{
	/* Blocked, not ignored: see stage1. TERM stays: a stray one must not leave us alive and
	 * deaf. */
	sigset_t block;
	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGQUIT);
	sigaddset(&block, SIGHUP);
	sigaddset(&block, SIGPIPE);
	sigprocmask(SIG_BLOCK, &block, NULL);
	/* posix_spawn leaves the two signals that glibc keeps for itself ignored, and every
	 * container would see that. */
	static const char deflt[sizeof(long) * 4];
	for (long sig = 32; sig <= 33; sig++)
		syscall(SYS_rt_sigaction, sig, deflt, NULL, sizeof(uint64_t));
	if (close_range(PROTO_SOCKET + 1, ~0U, 0) < 0)
		return err_sys(err, "close descriptors");
	int self = sys_pidfd_open(getpid());
	if (self < 0)
		return err_sys(err, "open the helper's own pidfd");
	if (self != STAGE1_PARENT_FD)
		BUG("descriptor %d is taken", STAGE1_PARENT_FD);
	sp->epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };
	if (sp->epoll < 0 || fcntl(sp->socket, F_SETFD, FD_CLOEXEC) < 0 ||
	    epoll_ctl(sp->epoll, EPOLL_CTL_ADD, sp->socket, &ev) < 0)
		return err_sys(err, "watch the helper's socket");
	return 0;
}

static void loop(struct spawner *sp)
{
	bool open = true;
	while (open || sp->steps) {
		struct epoll_event ev[32];
		int n = epoll_wait(sp->epoll, ev, (int)ARRAY_SIZE(ev), sp->busy ? 5 : -1);
		bool readable = false;
		for (int i = 0; i < n; i++) {
			if (ev[i].data.ptr)
				step_ended(sp, ev[i].data.ptr);
			else
				readable = true;
		}
		busy_retry(sp);
		if (!readable || serve(sp))
			continue;
		open = false;
		epoll_ctl(sp->epoll, EPOLL_CTL_DEL, sp->socket, NULL);
		for (struct step *s = sp->steps; s; s = s->next)
			child_kill(s->pidfd, s->cgroup_fd);
	}
	for (int i = 0; sp->busy && i < RMDIR_TRIES; i++) {
		usleep(2000);
		busy_retry(sp);
	}
}

int spawner_main(void)
{
	struct spawner sp = { .socket = PROTO_SOCKET, .parent_fd = -1, .nest.proc_fd = -1 };
	prctl(PR_SET_NAME, "cbuild-spawner");
	/* Without what it watches with it could answer nobody: its end is the answer. */
	if (prepare(&sp, &sp.broken) < 0)
		return 1;
	if (hello(&sp, &sp.broken) < 0)
		err_wrap(&sp.broken, "start the helper");
	loop(&sp);
	err_drop(&sp.broken);
	return 0;
}
