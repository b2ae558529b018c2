#include "runtime/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/io.h"
#include "base/proc.h"
#include "runtime/cgroup.h"
#include "runtime/helper/proto.h"
#include "runtime/helper/sys.h"
#include "runtime/launch.h"
#include "runtime/probe.h"
#include "runtime/record.h"
#include "runtime/request.h"
#include "runtime/stubs.h"

enum { BURY_MS = 10 * 1000 };

struct spawner {
	int socket;
	pid_t pid;
	int steps_fd;         /* the folder of records */
	char *group, *record; /* run.<lease>: its devices cgroup; <lease>.spawner */
	struct runtime_cgroups cgroups;
	uint32_t cap_last;
	pthread_mutex_t
		lock; /* over the filter of the last request, which most often serves the next */
	struct sock_filter *filter;
	size_t n_filter;
	uint64_t filter_caps;
};

struct process {
	int answer_fd;
	pthread_mutex_t lock; /* over pidfd and cgroup_fd: killing is for any thread */
	int pidfd, cgroup_fd;
	bool killed, ended;
	/* What is removed from where at the end. Its group goes by the helper, unless that is
	 * gone. */
	int steps_fd, groups_fd, devices_fd;
	char *record, *group, *devices_group;
	int oom_fd; /* see runtime_cgroups; and its count at the start */
	int64_t oom_kills;
	struct runtime_stubs *stubs;
	struct err *failed; /* told by the child before it ended */
};

static int open_steps(int run_fd, struct err **err)
{
	if (io_mkdirs(run_fd, "steps", 0700, err) < 0)
		return -1;
	int fd = openat(run_fd, "steps", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, "open the folder 'steps'") : fd;
}

/* Its record first, so that nobody can come upon a helper that no record names. */
static int start(struct spawner *s, const struct spawner_options *o, struct err **err)
{
	s->steps_fd = open_steps(o->run_fd, err);
	if (s->steps_fd < 0)
		return -1;
	if (runtime_cgroups_open(o->store, &s->cgroups, err) < 0)
		return -1;
	_cleanup_free_ char *path = s->cgroups.devices_fd < 0
		? NULL
		: xasprintf("%s/%s", s->cgroups.devices_path, s->group);
	_cleanup_close_ int record = runtime_record_make(s->steps_fd, s->record, NULL, path, err),
			    devices = -1;
	if (record < 0 ||
	    runtime_cgroups_make_devices(&s->cgroups, s->group, false, &devices, err) < 0)
		return -1;
	if (runtime_helper_start(&s->pid, &s->socket, err) < 0 ||
	    runtime_record_add(record, s->pid, err) < 0)
		return -1;
	return runtime_helper_hello(s->socket, &s->cgroups, devices, err);
}

struct spawner *runtime_spawner_start(const struct spawner_options *o, struct err **err)
{
	struct spawner *s = xcalloc(1, sizeof(*s));
	*s = (struct spawner){ .socket = -1, .steps_fd = -1, .cap_last = runtime_cap_last() };
	pthread_mutex_init(&s->lock, NULL);
	s->group = xasprintf("run.%s", o->lease);
	s->record = xasprintf("%s.spawner", o->lease);
	s->cgroups.unified_fd = s->cgroups.devices_fd = s->cgroups.program_fd = s->cgroups.oom_fd =
		-1;
	if (start(s, o, err) < 0) {
		runtime_spawner_stop(s);
		return NULL;
	}
	return s;
}

void runtime_spawner_stop(struct spawner *s)
{
	if (!s)
		return;
	mem_closep(&s->socket);
	if (s->pid) {
		_cleanup_(err_dropp) struct err *e = NULL;
		int status;
		if (proc_wait(s->pid, &status, &e) < 0)
			err_drop(&e);
	}
	if (s->cgroups.devices_fd >= 0)
		unlinkat(s->cgroups.devices_fd, s->group, AT_REMOVEDIR);
	if (s->steps_fd >= 0)
		unlinkat(s->steps_fd, s->record, 0);
	runtime_cgroups_release(&s->cgroups);
	mem_closep(&s->steps_fd);
	pthread_mutex_destroy(&s->lock);
	free(s->filter);
	free(s->group);
	free(s->record);
	free(s);
}

/* ---- a request */

static int add_groups(const struct spawner *s, struct runtime_request *q,
		      const struct runtime_spec *spec, struct process *p, struct err **err)
{
	if (!spec->cgroup) {
		if (spec->privileged_sys)
			return err_set(
				err, ERR_INVALID,
				"a process with all devices needs a control group of its own");
		return 0;
	}
	if (runtime_cgroups_make(&s->cgroups, spec->cgroup, spec->privileged_sys, &p->cgroup_fd,
				 err) < 0)
		return -1;
	q->run.cgroup_fd = runtime_request_fd(q, p->cgroup_fd);
	q->run.cgroup_name = p->cgroup_fd >= 0 ? spec->cgroup : "";
	if (p->cgroup_fd >= 0) {
		p->groups_fd = fcntl(s->cgroups.unified_fd, F_DUPFD_CLOEXEC, 3);
		p->group = xstrdup(spec->cgroup);
	}
	if (s->cgroups.memory_events)
		q->run.flags |= PROTO_WATCH_OOM;
	if (!spec->privileged_sys)
		return 0;
	int procs;
	if (runtime_cgroups_make_devices(&s->cgroups, spec->cgroup, true, &procs, err) < 0)
		return -1;
	if (procs >= 0) {
		q->run.join_fd = runtime_request_fd(q, runtime_request_own(q, procs));
		p->devices_fd = fcntl(s->cgroups.devices_fd, F_DUPFD_CLOEXEC, 3);
		p->devices_group = xstrdup(spec->cgroup);
	}
	return 0;
}

static int make_stubs(struct process *p, const struct runtime_spec *spec, struct err **err)
{
	struct runtime_stub *v = xcalloc(spec->n_mounts, sizeof(*v));
	int r = 0;
	for (size_t i = 0; i < spec->n_mounts && !r; i++) {
		const struct runtime_mount *m = &spec->mounts[i];
		struct stat st = { .st_mode = S_IFDIR };
		if (m->kind != RUNTIME_MOUNT_TMPFS && fstat(m->fd, &st) < 0)
			r = err_sys(err, "look at what is mounted on '%s'", m->target);
		mode_t usual = S_ISDIR(st.st_mode) ? 0755 : 0644;
		/* The mode of a tmpfs is its root's, not its target's. */
		mode_t mode = m->kind == RUNTIME_MOUNT_TMPFS || !m->mode ? usual : m->mode;
		v[i] = (struct runtime_stub){ m->target, S_ISDIR(st.st_mode), mode };
	}
	if (!r) {
		p->stubs = runtime_stubs_make(spec->root_fd, v, spec->n_mounts, err);
		r = p->stubs ? 0 : -1;
	}
	free(v);
	return r;
}

static void lend_filter(struct spawner *s, struct runtime_request *q,
			const struct runtime_spec *spec)
{
	pthread_mutex_lock(&s->lock);
	if (spec->seccomp && s->filter && s->filter_caps == spec->caps.bounding) {
		q->filter = xmemdup(s->filter, s->n_filter * sizeof(*s->filter));
		q->n_filter = s->n_filter;
	}
	pthread_mutex_unlock(&s->lock);
}

static void keep_filter(struct spawner *s, const struct runtime_request *q,
			const struct runtime_spec *spec)
{
	pthread_mutex_lock(&s->lock);
	if (spec->seccomp && (!s->filter || s->filter_caps != spec->caps.bounding)) {
		free(s->filter);
		s->filter = xmemdup(q->filter, q->n_filter * sizeof(*s->filter));
		s->n_filter = q->n_filter;
		s->filter_caps = spec->caps.bounding;
	}
	pthread_mutex_unlock(&s->lock);
}

static int fill(struct spawner *s, struct runtime_request *q, const struct runtime_spec *spec,
		struct process *p, struct err **err)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "make a socket for answers");
	p->answer_fd = pair[0];
	runtime_request_fd(q, runtime_request_own(q, pair[1]));
	if (spec->remove_stubs && make_stubs(p, spec, err) < 0)
		return -1;
	q->run.cap_last = s->cap_last;
	lend_filter(s, q, spec);
	if (runtime_request_fill(q, spec, err) < 0 || add_groups(s, q, spec, p, err) < 0)
		return -1;
	keep_filter(s, q, spec);
	if (!spec->record)
		return 0;
	_cleanup_free_ char *group = p->cgroup_fd >= 0
		? xasprintf("%s/%s", s->cgroups.unified_path, spec->cgroup)
		: NULL;
	_cleanup_free_ char *devices =
		p->devices_group ? xasprintf("%s/%s", s->cgroups.devices_path, spec->cgroup) : NULL;
	int record = runtime_record_make(s->steps_fd, spec->record, group, devices, err);
	if (record < 0)
		return -1;
	p->record = xstrdup(spec->record);
	q->run.record_fd = runtime_request_fd(q, runtime_request_own(q, record));
	return 0;
}

/* What was made for it outside of the helper goes. Whether it had been killed. */
static bool finish(struct process *p)
{
	pthread_mutex_lock(&p->lock);
	p->ended = true;
	bool killed = p->killed;
	pthread_mutex_unlock(&p->lock);
	if (p->record)
		unlinkat(p->steps_fd, p->record, 0);
	runtime_stubs_remove(STEAL(p->stubs));
	if (p->devices_group)
		unlinkat(p->devices_fd, p->devices_group, AT_REMOVEDIR);
	return killed;
}

int runtime_spawn(struct spawner *s, const struct runtime_spec *spec, struct process **ret,
		  struct err **err)
{
	struct process *p = xcalloc(1, sizeof(*p));
	*p = (struct process){ .answer_fd = -1,
			       .pidfd = -1,
			       .cgroup_fd = -1,
			       .groups_fd = -1,
			       .devices_fd = -1,
			       .oom_fd = -1 };
	p->steps_fd = fcntl(s->steps_fd, F_DUPFD_CLOEXEC, 3);
	if (s->cgroups.oom_fd >= 0 && !s->cgroups.memory_events)
		p->oom_fd = fcntl(s->cgroups.oom_fd, F_DUPFD_CLOEXEC, 3);
	p->oom_kills = runtime_cgroups_oom_kills(p->oom_fd);
	pthread_mutex_init(&p->lock, NULL);
	struct runtime_request *q = xcalloc(1, sizeof(*q));
	int r = fill(s, q, spec, p, err);
	if (!r)
		r = runtime_request_send(q, s->socket, PROTO_RUN, err);
	runtime_request_release(q);
	free(q);
	if (r < 0) {
		finish(p);
		if (p->group)
			unlinkat(p->groups_fd, p->group, AT_REMOVEDIR);
		runtime_process_free(p);
		return -1;
	}
	*ret = p;
	return 0;
}

/* ---- a process */

int runtime_process_fd(const struct process *p)
{
	return p->answer_fd;
}

static void kill_locked(struct process *p)
{
	_cleanup_close_ int fd =
		p->cgroup_fd < 0 ? -1 : openat(p->cgroup_fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);
	if ((fd < 0 || write(fd, "1", 1) != 1) && p->pidfd >= 0)
		sys_pidfd_send_signal(p->pidfd, SIGKILL);
}

void runtime_process_kill(struct process *p)
{
	pthread_mutex_lock(&p->lock);
	p->killed = true;
	if (!p->ended)
		kill_locked(p);
	pthread_mutex_unlock(&p->lock);
}

/* The helper has cloned it. A kill that came before that reached nobody. */
static void started(struct process *p, struct proto_message *m)
{
	pthread_mutex_lock(&p->lock);
	if (m->n_fds == 1 && p->pidfd < 0)
		p->pidfd = STEAL_FD(m->fds[0]);
	if (p->killed)
		kill_locked(p);
	pthread_mutex_unlock(&p->lock);
}

/* The helper is gone without a word: nothing of the process may be left when its root is looked
 * at. */
static void bury(struct process *p)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	pthread_mutex_lock(&p->lock);
	kill_locked(p);
	pthread_mutex_unlock(&p->lock);
	if (p->pidfd >= 0) {
		struct pollfd poll_fd = { .fd = p->pidfd, .events = POLLIN };
		sys_pidfd_send_signal(p->pidfd, SIGKILL);
		poll(&poll_fd, 1, BURY_MS);
	}
	if (p->cgroup_fd >= 0 && runtime_cgroup_bury(p->cgroup_fd, BURY_MS, &e) < 0)
		err_drop(&e);
	for (int wait_ms = 1; p->group && unlinkat(p->groups_fd, p->group, AT_REMOVEDIR) < 0 &&
	     errno == EBUSY && wait_ms <= 64;
	     wait_ms *= 2)
		poll(NULL, 0, wait_ms);
}

static int ended(struct process *p, const struct proto_message *m, struct runtime_exit *ret,
		 struct err **err)
{
	struct proto_exit e;
	if (proto_exit_get(m, &e, err) < 0)
		return -1;
	bool killed = finish(p);
	if (p->failed)
		return err_move(err, STEAL(p->failed));
	/* Of a group that others share only a death by SIGKILL while the count rose is a sign. */
	if (e.status == 128 + SIGKILL && !killed &&
	    runtime_cgroups_oom_kills(p->oom_fd) > p->oom_kills)
		e.oom = true;
	*ret = (struct runtime_exit){ .status = e.status,
				      .signaled = e.signaled,
				      .oom = e.oom,
				      .user_us = e.user_us,
				      .system_us = e.system_us,
				      .max_rss_kib = e.max_rss_kib };
	return 1;
}

int runtime_process_next(struct process *p, struct runtime_exit *ret, struct err **err)
{
	if (p->ended)
		return err_set(err, ERR_BUG, "a process that has ended is asked again");
	for (;;) {
		_cleanup_(proto_message_release) struct proto_message m;
		_cleanup_(err_dropp) struct err *e = NULL;
		int r = proto_recv(p->answer_fd, false, &m, &e);
		if (!r)
			return 0;
		if (r < 0) {
			bury(p);
			finish(p);
			if (p->failed)
				return err_move(err, STEAL(p->failed));
			return err_set(err, ERR_IO, "the helper that runs processes is gone");
		}
		if (m.kind == PROTO_STARTED) {
			started(p, &m);
		} else if (m.kind == PROTO_ERROR) {
			err_drop(&p->failed);
			proto_error_get(&m, &p->failed);
		} else if (m.kind == PROTO_EXIT) {
			return ended(p, &m, ret, err);
		}
	}
}

void runtime_process_free(struct process *p)
{
	if (!p)
		return;
	runtime_process_kill(p);
	mem_closep(&p->answer_fd);
	mem_closep(&p->pidfd);
	mem_closep(&p->cgroup_fd);
	mem_closep(&p->steps_fd);
	mem_closep(&p->groups_fd);
	mem_closep(&p->oom_fd);
	mem_closep(&p->devices_fd);
	free(p->group);
	runtime_stubs_remove(p->stubs);
	free(p->record);
	free(p->devices_group);
	err_drop(&p->failed);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
