#include "runtime/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/io.h"
#include "base/proc.h"
#include "runtime/cgroup.h"
#include "runtime/helper/proto.h"
#include "runtime/probe.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

extern const char runtime_helper_bytes[], runtime_helper_bytes_end[];

/* The program in sealed memory: nothing on a disk can be reached through /proc/PID/exe of what
 * runs it. */
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
		return (*err)->sys == EACCES
			? err_hint(err, "the sysctl vm.memfd_noexec=2 forbids it")
			: -1;
	}
	if (io_write_full(fd, runtime_helper_bytes,
			  (size_t)(runtime_helper_bytes_end - runtime_helper_bytes)) < 0)
		return err_sys(err, "write the helper's program into memory");
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return err_sys(err, "seal the helper's program");
	return STEAL_FD(fd);
}

int runtime_helper_start(pid_t *ret_pid, int *ret_socket, struct err **err)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "make the helper's socket");
	_cleanup_close_ int ours = pair[0], theirs = pair[1], program = helper_memfd(err);
	if (program < 0)
		return -1;
	static const char *const argv[] = { "cbuild-spawner", NULL }, *const envp[] = { NULL };
	struct proc_options o = { .argv = argv,
				  .envp = envp,
				  .exec_fd = program,
				  .fds = { -1, -1, -1 },
				  .keep_fd = theirs,
				  .new_session = true };
	if (proc_start(&o, ret_pid, NULL, err) < 0)
		return -1;
	*ret_socket = STEAL_FD(ours);
	return 0;
}

int runtime_helper_hello(int sock, const struct runtime_cgroups *g, int devices_fd,
			 struct err **err)
{
	struct proto_hello h = { .cgroup2 = g->only2,
				 .devices_fd = PROTO_NO_FD,
				 .parent_fd = PROTO_NO_FD };
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
		*c = (struct proto_cgroup){ .name = e->name,
					    .link = e->link ? e->link : "",
					    .fd = e->link ? PROTO_NO_FD : n };
		if (!e->link)
			fds[n++] = e->fd;
	}
	_cleanup_(sb_releasep) struct sb b = { 0 };
	proto_hello_put(&b, &h);
	int r = proto_send(sock, PROTO_HELLO, sb_str(&b), fds, n, err);
	proto_hello_release(&h);
	return r;
}
