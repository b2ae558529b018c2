#include "runtime/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/err.h"
#include "runtime/cgroup.h"
#include "runtime/launch.h"
#include "runtime/record.h"
#include "runtime/request.h"

enum { BACKLOG = 64 };

/* Where the monitor itself lives, so that nothing takes it down with the command that started it. */
#define MONITORS "monitors"
/* The rules' version is in the name: a group is never changed once containers are in it. */
#define DEVICES "containers.1"

/* The record names the cgroup before it exists. */
static int add_groups(const struct runtime_monitor *o, const struct runtime_cgroups *g,
		      struct runtime_request *q, struct err **err)
{
	_cleanup_free_ char *path =
		g->unified_fd >= 0 ? xasprintf("%s/%s", g->unified_path, o->id) : NULL;
	int fd = runtime_record_make(o->dir_fd, "record", path, NULL, err);
	if (fd < 0)
		return -1;
	q->run.record_fd = runtime_request_fd(q, runtime_request_own(q, fd));
	if (runtime_cgroups_make(g, o->id, false, &fd, err) < 0)
		return -1;
	if (fd < 0)
		return 0;
	q->run.cgroup_fd = runtime_request_fd(q, runtime_request_own(q, fd));
	q->run.cgroup_name = o->id;
	q->run.flags |= g->memory_events ? PROTO_WATCH_OOM : 0;
	return 0;
}

static int own_groups(const struct runtime_cgroups *g, struct runtime_request *q,
		      struct proto_monitor *m, struct err **err)
{
	m->group_fds[0] = m->group_fds[1] = PROTO_NO_FD;
	int folder;
	if (runtime_cgroups_make(g, MONITORS, true, &folder, err) < 0)
		return -1;
	if (folder < 0)
		return 0;
	runtime_request_own(q, folder);
	int procs = openat(folder, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (procs < 0)
		return err_sys(err, "open the control group of monitors");
	m->group_fds[0] = runtime_request_fd(q, runtime_request_own(q, procs));
	return 0;
}

static int fill(const struct runtime_monitor *o, const struct runtime_cgroups *g,
		const struct runtime_spec *spec, struct runtime_request *q, struct sb *body,
		struct err **err)
{
	static const char *const none[] = { NULL };
	struct proto_monitor m = { .stop_signal = (uint32_t)o->stop_signal,
				   .stop_timeout_ms = o->stop_timeout_ms,
				   .id = o->id,
				   .idle = o->idle };
	if (spec->host_pid && g->unified_fd < 0)
		return err_set(
			err, ERR_UNSUPPORTED,
			"the host's pid namespace needs a control group of version 2, by which the container can be ended");
	if (runtime_request_fill(q, spec, err) < 0 || add_groups(o, g, q, err) < 0 ||
	    own_groups(g, q, &m, err) < 0)
		return -1;
	m.dir_fd = runtime_request_fd(q, o->dir_fd);
	m.lock_fd = runtime_request_fd(q, o->lock_fd);
	m.listen_fd = runtime_request_fd(q, o->listen_fd);
	m.host_fd = PROTO_NO_FD;
	m.reap = (char **)(uintptr_t)(o->reap ? o->reap : none);
	if (o->reap) {
		int host = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
		if (host < 0)
			return err_sys(err, "open the mount namespace");
		m.host_fd = runtime_request_fd(q, runtime_request_own(q, host));
	}
	m.run = q->run;
	proto_monitor_put(body, &m);
	return 0;
}

struct runtime_monitor_seed {
	struct runtime_cgroups groups;
	int sock;
};

static int grow(struct runtime_monitor_seed *s, const char *store, struct err **err)
{
	_cleanup_close_ int devices = -1;
	pid_t pid;
	if (runtime_cgroups_open(store, &s->groups, err) < 0 ||
	    runtime_cgroups_share_devices(&s->groups, DEVICES, &devices, err) < 0)
		return -1;
	/* It is init's, or whoever reaps for this command, once the command ends: nobody waits for it. */
	return runtime_helper_start(&pid, &s->sock, err) < 0
		? -1
		: runtime_helper_hello(s->sock, &s->groups, devices, err);
}

int runtime_monitor_seed(const char *store, struct runtime_monitor_seed **ret, struct err **err)
{
	struct runtime_monitor_seed *s = xcalloc(1, sizeof(*s));
	s->sock = s->groups.unified_fd = s->groups.devices_fd = s->groups.program_fd = -1;
	if (grow(s, store, err) < 0) {
		runtime_monitor_seed_free(s);
		return -1;
	}
	*ret = s;
	return 0;
}

void runtime_monitor_seed_free(struct runtime_monitor_seed *s)
{
	if (!s)
		return;
	mem_closep(&s->sock);
	runtime_cgroups_release(&s->groups);
	free(s);
}

static int start(const struct runtime_monitor_seed *s, const struct runtime_monitor *o,
		 const struct runtime_spec *spec, struct runtime_request *q, int *ret_conn,
		 struct err **err)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "make a connection to the monitor");
	_cleanup_close_ int conn = pair[0];
	runtime_request_fd(q, runtime_request_own(q, pair[1]));
	_cleanup_(sb_releasep) struct sb body = { 0 };
	int r = fill(o, &s->groups, spec, q, &body, err);
	if (!r)
		r = proto_send(s->sock, PROTO_MONITOR, sb_str(&body), q->fds, q->n_fds, err);
	if (body.p)
		explicit_bzero(body.p, body.n);
	if (!r)
		*ret_conn = STEAL_FD(conn);
	return r;
}

int runtime_monitor_start(struct runtime_monitor_seed *seed, const struct runtime_monitor *o,
			  const struct runtime_spec *spec, int *ret_conn, struct err **err)
{
	struct runtime_request *q = xcalloc(1, sizeof(*q));
	int r = start(seed, o, spec, q, ret_conn, err);
	runtime_request_release(q);
	free(q);
	runtime_monitor_seed_free(seed);
	return r;
}

/* sun_path holds 108 bytes, whatever the store's path is: the folder's descriptor is the way. */
static struct sockaddr_un address(int dir_fd)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/attach.sock", dir_fd);
	return a;
}

int runtime_monitor_connect(int dir_fd, int *ret_conn, struct err **err)
{
	struct sockaddr_un a = address(dir_fd);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(err, "make a socket");
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return err_set(err, ERR_NOT_FOUND, "the container is not running");
		return err_sys(err, "connect to the container's monitor");
	}
	*ret_conn = STEAL_FD(fd);
	return 0;
}

int runtime_monitor_listen(int dir_fd, int *ret_fd, struct err **err)
{
	struct sockaddr_un a = address(dir_fd);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || (unlinkat(dir_fd, "attach.sock", 0) < 0 && errno != ENOENT) ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(err, "make 'attach.sock'");
	*ret_fd = STEAL_FD(fd);
	return 0;
}

int runtime_monitor_exec(int conn, const struct runtime_spec *spec, struct err **err)
{
	struct runtime_request *q = xcalloc(1, sizeof(*q));
	int r = runtime_request_fill(q, spec, err);
	q->run.flags |= PROTO_JOIN;
	if (!r)
		r = runtime_request_send(q, conn, PROTO_EXEC, err);
	runtime_request_release(q);
	free(q);
	return r;
}

int runtime_monitor_send(int conn, enum proto_kind kind, const uint32_t *v, size_t n,
			 struct err **err)
{
	return proto_send(conn, kind, (struct str){ (const char *)v, n * sizeof(*v) }, NULL, 0,
			  err);
}
