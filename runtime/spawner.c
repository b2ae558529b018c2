#include "runtime/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/io.h"
#include "base/proc.h"
#include "runtime/caps.h"
#include "runtime/cgroup.h"
#include "runtime/helper/proto.h"
#include "runtime/helper/sys.h"
#include "runtime/probe.h"
#include "runtime/record.h"
#include "runtime/seccomp.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

enum { BURY_MS = 10 * 1000, FDS_PER_MOUNT = 2, FDS_FIXED = 8 };

extern const char runtime_helper_start[], runtime_helper_end[];

struct spawner {
	int socket;
	pid_t pid;
	int steps_fd;                 /* the folder of records */
	char *group, *record;         /* run.<lease>: its devices cgroup; <lease>.spawner */
	uint32_t cap_last;
	struct runtime_cgroups cgroups;
};

struct process {
	int answer_fd;
	pthread_mutex_t lock;         /* over pidfd and cgroup_fd: killing is for any thread */
	int pidfd, cgroup_fd;
	bool killed, ended;
	int steps_fd, devices_fd;     /* where the record, and a devices group of its own, are removed from */
	char *record, *devices_group;
	struct err *failed;           /* told by the child before it ended */
};

/* ---- the helper itself */

/* The program in sealed memory: nothing on a disk can be reached through /proc/PID/exe of what runs it. */
static int helper_memfd(struct err **err)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	_cleanup_close_ int fd = -1;
	if (!runtime_kernel_hides(6, 3))
		fd = memfd_create("cbuild", flags | MFD_EXEC);
	else
		errno = EINVAL;
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("cbuild", flags);
	if (fd < 0) {
		err_sys(err, "make the helper's program in memory");
		return (*err)->sys == EACCES ? err_hint(err, "the sysctl vm.memfd_noexec=2 forbids it") : -1;
	}
	if (io_write_full(fd, runtime_helper_start, (size_t)(runtime_helper_end - runtime_helper_start)) < 0)
		return err_sys(err, "write the helper's program into memory");
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return err_sys(err, "seal the helper's program");
	return STEAL_FD(fd);
}

static int start_helper(struct spawner *s, struct err **err)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "make the helper's socket");
	s->socket = pair[0];
	_cleanup_close_ int theirs = pair[1], program = helper_memfd(err);
	if (program < 0)
		return -1;
	static const char *const argv[] = { "cbuild-spawner", NULL }, *const envp[] = { NULL };
	struct proc_options o = { .argv = argv, .envp = envp, .exec_fd = program, .fds = { -1, -1, -1 }, .keep_fd = theirs, .new_session = true };
	return proc_start(&o, &s->pid, NULL, err);
}

static int send_hello(struct spawner *s, int devices_fd, struct err **err)
{
	const struct runtime_cgroups *g = &s->cgroups;
	struct proto_hello h = { .cgroup2 = g->only2, .devices_fd = PROTO_NO_FD, .parent_fd = PROTO_NO_FD };
	int fds[PROTO_MAX_FDS];
	uint32_t n = 0;
	if (devices_fd >= 0) {
		h.devices_fd = n;
		fds[n++] = devices_fd;
	}
	if (g->unified_fd >= 0) {
		h.parent_fd = n;
		fds[n++] = g->unified_fd;
	}
	h.cgroups = xcalloc(g->n_entries, sizeof(*h.cgroups));
	for (size_t i = 0; i < g->n_entries && n < PROTO_MAX_FDS; i++) {
		const struct runtime_cgroup_entry *e = &g->entries[i];
		struct proto_cgroup *c = &h.cgroups[h.n_cgroups++];
		*c = (struct proto_cgroup){ .name = e->name, .link = e->link ? e->link : "", .fd = e->link ? PROTO_NO_FD : n };
		if (!e->link)
			fds[n++] = e->fd;
	}
	_cleanup_(sb_releasep) struct sb b = { 0 };
	proto_hello_put(&b, &h);
	int r = proto_send(s->socket, PROTO_HELLO, sb_str(&b), fds, n, err);
	proto_hello_release(&h);
	return r;
}

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
	_cleanup_free_ char *path = s->cgroups.devices_fd < 0 ? NULL : xasprintf("%s/%s", s->cgroups.devices_path, s->group);
	_cleanup_close_ int record = runtime_record_make(s->steps_fd, s->record, NULL, path, err), devices = -1;
	if (record < 0 || runtime_cgroups_make_devices(&s->cgroups, s->group, false, &devices, err) < 0)
		return -1;
	if (start_helper(s, err) < 0 || runtime_record_add(record, s->pid, err) < 0)
		return -1;
	return send_hello(s, devices, err);
}

struct spawner *runtime_spawner_start(const struct spawner_options *o, struct err **err)
{
	struct spawner *s = xcalloc(1, sizeof(*s));
	*s = (struct spawner){ .socket = -1, .steps_fd = -1, .cap_last = runtime_cap_last() };
	s->group = xasprintf("run.%s", o->lease);
	s->record = xasprintf("%s.spawner", o->lease);
	s->cgroups.unified_fd = s->cgroups.devices_fd = s->cgroups.program_fd = -1;
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
	free(s->group);
	free(s->record);
	free(s);
}

/* ---- a request */

struct request {
	struct proto_run run;
	int fds[PROTO_MAX_FDS];       /* [0]: the answer's socket */
	uint32_t n_fds;
	int own[PROTO_MAX_FDS];       /* to be closed after the request was sent */
	size_t n_own;
	struct sock_filter *filter;
};

static void request_release(struct request *q)
{
	for (size_t i = 0; i < q->n_own; i++)
		close(q->own[i]);
	free(q->run.mounts);
	free(q->run.rlimits);
	free(q->filter);
}

static uint32_t add_fd(struct request *q, int fd)
{
	if (fd < 0)
		return PROTO_NO_FD;
	q->fds[q->n_fds] = fd;
	return q->n_fds++;
}

static int own_fd(struct request *q, int fd)
{
	return q->own[q->n_own++] = fd;
}

/* A descriptor of our mount namespace becomes a detached mount, which alone may cross into the helper's; never shared with the host. */
static int mount_fd(struct request *q, const struct runtime_mount *m, struct err **err)
{
	int fd = m->fd;
	unsigned recursive = m->recursive ? AT_RECURSIVE : 0;
	if (m->kind == RUNTIME_MOUNT_FILE) {
		fd = open_tree(m->fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | recursive);
		if (fd < 0)
			return err_sys(err, "take what is mounted on '%s'", m->target);
		own_fd(q, fd);
	}
	struct mount_attr a = {
		.attr_set = (m->readonly ? MOUNT_ATTR_RDONLY : 0) | (m->noexec ? MOUNT_ATTR_NOEXEC : 0) | (m->nosuid ? MOUNT_ATTR_NOSUID : 0) |
			    (m->nodev ? MOUNT_ATTR_NODEV : 0),
		.propagation = MS_PRIVATE,
	};
	if (mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &a, sizeof(a)) < 0)
		return err_sys(err, "set the options of the mount on '%s'", m->target);
	return fd;
}

static int add_mounts(struct request *q, const struct runtime_spec *spec, struct err **err)
{
	if (spec->n_mounts > (PROTO_MAX_FDS - FDS_FIXED) / FDS_PER_MOUNT)
		return err_set(err, ERR_LIMIT, "a process with %zu mounts: at most %d", spec->n_mounts,
			       (PROTO_MAX_FDS - FDS_FIXED) / FDS_PER_MOUNT);
	q->run.mounts = xcalloc(spec->n_mounts, sizeof(*q->run.mounts));
	for (size_t i = 0; i < spec->n_mounts; i++) {
		const struct runtime_mount *m = &spec->mounts[i];
		struct proto_mount *to = &q->run.mounts[q->run.n_mounts++];
		*to = (struct proto_mount){ .fd = PROTO_NO_FD, .mode = m->mode, .size_bytes = (uint64_t)m->size_bytes, .target = m->target };
		to->lock_fd = add_fd(q, m->lock_fd);
		if (m->kind == RUNTIME_MOUNT_TMPFS) {
			to->attr = (m->readonly ? MS_RDONLY : 0) | (m->noexec ? MS_NOEXEC : 0) | (m->nosuid ? MS_NOSUID : 0) |
				   (m->nodev ? MS_NODEV : 0);
			continue;
		}
		int fd = mount_fd(q, m, err);
		if (fd < 0)
			return -1;
		to->fd = add_fd(q, fd);
	}
	return 0;
}

static void add_process(struct request *q, const struct runtime_spec *spec)
{
	struct proto_run *r = &q->run;
	r->uid = spec->uid;
	r->gid = spec->gid;
	r->bounding = spec->caps.bounding;
	r->permitted = spec->caps.permitted;
	r->effective = spec->caps.effective;
	r->inheritable = spec->caps.inheritable;
	r->ambient = spec->caps.ambient;
	r->shm_size_bytes = (uint64_t)spec->shm_size_bytes;
	r->cwd = spec->cwd;
	r->hostname = spec->hostname ? spec->hostname : "";
	static const char *const none[] = { NULL };
	r->argv = (char **)(uintptr_t)spec->argv;
	r->env = (char **)(uintptr_t)(spec->env ? spec->env : none);
	r->groups = (uint32_t *)(uintptr_t)spec->groups;
	r->n_groups = (uint32_t)spec->n_groups;
	r->rlimits = xcalloc(spec->n_rlimits, sizeof(*r->rlimits));
	for (size_t i = 0; i < spec->n_rlimits; i++)
		r->rlimits[r->n_rlimits++] = (struct proto_rlimit){ .soft = spec->rlimits[i].soft, .hard = spec->rlimits[i].hard,
								    .resource = (uint32_t)spec->rlimits[i].resource };
	r->flags = (spec->root_readonly ? PROTO_ROOT_READONLY : 0) | (spec->cwd_as_user ? PROTO_CWD_AS_USER : 0) |
		   (spec->no_new_privs ? PROTO_NO_NEW_PRIVS : 0) | (spec->mask_paths ? PROTO_MASK_PATHS : 0) |
		   (spec->privileged_sys ? PROTO_SYS_WRITABLE : 0) | (spec->net == RUNTIME_NET_NONE ? PROTO_NEW_NET : 0) |
		   (spec->init ? PROTO_INIT : 0);
}

static int add_groups(const struct spawner *s, struct request *q, const struct runtime_spec *spec, struct process *p, struct err **err)
{
	q->run.cgroup_fd = q->run.join_fd = PROTO_NO_FD;
	q->run.cgroup_name = "";
	if (!spec->cgroup) {
		if (spec->privileged_sys)
			return err_set(err, ERR_INVALID, "a process with all devices needs a control group of its own");
		return 0;
	}
	if (runtime_cgroups_make(&s->cgroups, spec->cgroup, spec->privileged_sys, &p->cgroup_fd, err) < 0)
		return -1;
	q->run.cgroup_fd = add_fd(q, p->cgroup_fd);
	q->run.cgroup_name = p->cgroup_fd >= 0 ? spec->cgroup : "";
	if (s->cgroups.memory_events)
		q->run.flags |= PROTO_WATCH_OOM;
	if (!spec->privileged_sys)
		return 0;
	int procs;
	if (runtime_cgroups_make_devices(&s->cgroups, spec->cgroup, true, &procs, err) < 0)
		return -1;
	if (procs >= 0) {
		q->run.join_fd = add_fd(q, own_fd(q, procs));
		p->devices_fd = fcntl(s->cgroups.devices_fd, F_DUPFD_CLOEXEC, 3);
		p->devices_group = xstrdup(spec->cgroup);
	}
	return 0;
}

static int add_filter(struct request *q, const struct runtime_spec *spec, struct err **err)
{
	if (!spec->seccomp)
		return 0;
	size_t n;
	q->filter = runtime_seccomp_default(spec->caps.bounding, &n, err);
	q->run.filter = q->filter;
	q->run.n_filter = (uint32_t)n;
	return q->filter ? 0 : -1;
}

static int fill(struct spawner *s, struct request *q, const struct runtime_spec *spec, struct process *p, struct err **err)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "make a socket for answers");
	p->answer_fd = pair[0];
	add_fd(q, own_fd(q, pair[1]));
	add_process(q, spec);
	q->run.cap_last = s->cap_last;
	q->run.root_fd = add_fd(q, spec->root_fd);
	for (int i = 0; i < 3; i++)
		q->run.stdio[i] = add_fd(q, spec->stdio[i]);
	if (add_groups(s, q, spec, p, err) < 0 || add_mounts(q, spec, err) < 0 || add_filter(q, spec, err) < 0)
		return -1;
	q->run.record_fd = PROTO_NO_FD;
	if (!spec->record)
		return 0;
	_cleanup_free_ char *group = p->cgroup_fd >= 0 ? xasprintf("%s/%s", s->cgroups.unified_path, spec->cgroup) : NULL;
	_cleanup_free_ char *devices = p->devices_group ? xasprintf("%s/%s", s->cgroups.devices_path, spec->cgroup) : NULL;
	int record = runtime_record_make(s->steps_fd, spec->record, group, devices, err);
	if (record < 0)
		return -1;
	p->record = xstrdup(spec->record);
	q->run.record_fd = add_fd(q, own_fd(q, record));
	return 0;
}

/* What was made for it outside of the helper goes. */
static void finish(struct process *p)
{
	pthread_mutex_lock(&p->lock);
	p->ended = true;
	pthread_mutex_unlock(&p->lock);
	if (p->record)
		unlinkat(p->steps_fd, p->record, 0);
	if (p->devices_group)
		unlinkat(p->devices_fd, p->devices_group, AT_REMOVEDIR);
}

int runtime_spawn(struct spawner *s, const struct runtime_spec *spec, struct process **ret, struct err **err)
{
	struct process *p = xcalloc(1, sizeof(*p));
	*p = (struct process){ .answer_fd = -1, .pidfd = -1, .cgroup_fd = -1, .devices_fd = -1 };
	p->steps_fd = fcntl(s->steps_fd, F_DUPFD_CLOEXEC, 3);
	pthread_mutex_init(&p->lock, NULL);
	struct request *q = xcalloc(1, sizeof(*q));
	int r = fill(s, q, spec, p, err);
	_cleanup_(sb_releasep) struct sb b = { 0 };
	if (!r) {
		proto_run_put(&b, &q->run);
		r = proto_send(s->socket, PROTO_RUN, sb_str(&b), q->fds, q->n_fds, err);
		/* It may hold secrets of the step's environment. */
		explicit_bzero(b.p, b.n);
	}
	request_release(q);
	free(q);
	if (r < 0) {
		finish(p);
		if (p->cgroup_fd >= 0)
			unlinkat(s->cgroups.unified_fd, spec->cgroup, AT_REMOVEDIR);
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
	_cleanup_close_ int fd = p->cgroup_fd < 0 ? -1 : openat(p->cgroup_fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);
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

/* The helper is gone without a word: nothing of the process may be left when its root is looked at. */
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
}

static int ended(struct process *p, const struct proto_message *m, struct runtime_exit *ret, struct err **err)
{
	struct proto_exit e;
	if (proto_exit_get(m, &e, err) < 0)
		return -1;
	finish(p);
	if (p->failed)
		return err_move(err, STEAL(p->failed));
	*ret = (struct runtime_exit){ .status = e.status, .signaled = e.signaled, .oom = e.oom, .user_us = e.user_us,
				      .system_us = e.system_us, .max_rss_kib = e.max_rss_kib };
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
	mem_closep(&p->devices_fd);
	free(p->record);
	free(p->devices_group);
	err_drop(&p->failed);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
