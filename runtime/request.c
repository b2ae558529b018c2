#include "runtime/request.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <sys/mount.h>

#include "base/err.h"
#include "runtime/probe.h"
#include "runtime/seccomp.h"
#include "runtime/spec.h"

enum { FDS_PER_MOUNT = 2, FDS_FIXED = 8 };

void runtime_request_release(struct runtime_request *q)
{
	for (size_t i = 0; i < q->n_own; i++)
		close(q->own[i]);
	free(q->run.mounts);
	free(q->run.rlimits);
	free(q->run.devices);
	free(q->filter);
}

uint32_t runtime_request_fd(struct runtime_request *q, int fd)
{
	if (fd < 0)
		return PROTO_NO_FD;
	q->fds[q->n_fds] = fd;
	return q->n_fds++;
}

int runtime_request_own(struct runtime_request *q, int fd)
{
	return q->own[q->n_own++] = fd;
}

/* A descriptor of our mount namespace becomes a detached mount, which alone may cross into the
 * helper's; never shared with the host. */
static int mount_fd(struct runtime_request *q, const struct runtime_mount *m, struct err **err)
{
	int fd = m->fd;
	unsigned recursive = m->recursive ? AT_RECURSIVE : 0;
	if (m->kind == RUNTIME_MOUNT_FILE) {
		fd = open_tree(m->fd, "",
			       OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | recursive);
		if (fd < 0)
			return err_sys(err, "take what is mounted on '%s'", m->target);
		runtime_request_own(q, fd);
	}
	struct mount_attr a = {
		.attr_set = (m->readonly ? MOUNT_ATTR_RDONLY : 0) |
			(m->noexec ? MOUNT_ATTR_NOEXEC : 0) | (m->nosuid ? MOUNT_ATTR_NOSUID : 0) |
			(m->nodev ? MOUNT_ATTR_NODEV : 0),
		.propagation = MS_PRIVATE,
	};
	if (mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &a, sizeof(a)) < 0)
		return err_sys(err, "set the options of the mount on '%s'", m->target);
	return fd;
}

static int add_mounts(struct runtime_request *q, const struct runtime_spec *spec, struct err **err)
{
	if (spec->n_mounts > (PROTO_MAX_FDS - FDS_FIXED) / FDS_PER_MOUNT)
		return err_set(err, ERR_LIMIT, "a process with %zu mounts: at most %d",
			       spec->n_mounts, (PROTO_MAX_FDS - FDS_FIXED) / FDS_PER_MOUNT);
	q->run.mounts = xcalloc(spec->n_mounts, sizeof(*q->run.mounts));
	for (size_t i = 0; i < spec->n_mounts; i++) {
		const struct runtime_mount *m = &spec->mounts[i];
		struct proto_mount *to = &q->run.mounts[q->run.n_mounts++];
		*to = (struct proto_mount){ .fd = PROTO_NO_FD,
					    .mode = m->mode,
					    .size_bytes = (uint64_t)m->size_bytes,
					    .target = m->target };
		to->lock_fd = runtime_request_fd(q, m->lock_fd);
		if (m->kind == RUNTIME_MOUNT_TMPFS) {
			to->attr = (m->readonly ? MS_RDONLY : 0) | (m->noexec ? MS_NOEXEC : 0) |
				(m->nosuid ? MS_NOSUID : 0) | (m->nodev ? MS_NODEV : 0);
			continue;
		}
		int fd = mount_fd(q, m, err);
		if (fd < 0)
			return -1;
		to->fd = runtime_request_fd(q, fd);
	}
	return 0;
}

static void add_process(struct runtime_request *q, const struct runtime_spec *spec)
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
		r->rlimits[r->n_rlimits++] =
			(struct proto_rlimit){ .soft = spec->rlimits[i].soft,
					       .hard = spec->rlimits[i].hard,
					       .resource = (uint32_t)spec->rlimits[i].resource };
	r->flags = (spec->root_readonly ? PROTO_ROOT_READONLY : 0) |
		(spec->cwd_as_user ? PROTO_CWD_AS_USER : 0) |
		(spec->no_new_privs ? PROTO_NO_NEW_PRIVS : 0) |
		(spec->mask_paths ? PROTO_MASK_PATHS : 0) |
		(spec->privileged_sys ? PROTO_SYS_WRITABLE : 0) |
		(spec->net == RUNTIME_NET_NONE ? PROTO_NEW_NET : 0) |
		(spec->init ? PROTO_INIT : 0) | (spec->host_pid ? PROTO_HOST_PID : 0) |
		(spec->net_sysctls ? PROTO_NET_SYSCTLS : 0) | (spec->terminal.tty ? PROTO_TTY : 0) |
		(spec->terminal.open_stdin ? PROTO_STDIN : 0) |
		(spec->terminal.stdin_once ? PROTO_STDIN_ONCE : 0);
	r->rows = spec->terminal.rows;
	r->cols = spec->terminal.cols;
	r->streams = spec->terminal.streams;
	r->devices = xcalloc(spec->n_nodes, sizeof(*r->devices));
	for (size_t i = 0; i < spec->n_nodes; i++) {
		const struct runtime_node *n = &spec->nodes[i];
		r->devices[r->n_devices++] = (struct proto_device){ .path = n->path,
								    .mode = n->mode,
								    .uid = n->uid,
								    .gid = n->gid,
								    .rdev = n->rdev };
	}
}

static int add_filter(struct runtime_request *q, const struct runtime_spec *spec, struct err **err)
{
	if (!spec->seccomp)
		return 0;
	if (!q->filter) {
		q->filter = runtime_seccomp_default(spec->caps.bounding, &q->n_filter, err);
		if (!q->filter)
			return -1;
	}
	q->run.filter = q->filter;
	q->run.n_filter = (uint32_t)q->n_filter;
	return 0;
}

int runtime_request_fill(struct runtime_request *q, const struct runtime_spec *spec,
			 struct err **err)
{
	add_process(q, spec);
	q->run.cgroup_fd = q->run.join_fd = q->run.record_fd = PROTO_NO_FD;
	q->run.cgroup_name = "";
	if (!q->run.cap_last)
		q->run.cap_last = runtime_cap_last();
	q->run.root_fd = runtime_request_fd(q, spec->root_fd);
	for (int i = 0; i < 3; i++)
		q->run.stdio[i] = runtime_request_fd(q, spec->stdio[i]);
	return add_mounts(q, spec, err) < 0 || add_filter(q, spec, err) < 0 ? -1 : 0;
}

int runtime_request_send(struct runtime_request *q, int sock, enum proto_kind kind,
			 struct err **err)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	proto_run_put(&b, &q->run);
	int r = proto_send(sock, kind, sb_str(&b), q->fds, q->n_fds, err);
	/* It may hold secrets of the environment. */
	explicit_bzero(b.p, b.n);
	return r;
}
