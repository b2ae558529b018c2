#include "runtime/helper/child.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/io.h"
#include "runtime/helper/nest.h"
#include "runtime/helper/proto.h"
#include "runtime/helper/stage1.h"
#include "runtime/helper/sys.h"

int child_clone(const struct child *c, int *ret_pidfd, struct err **err)
{
	int pidfd = -1;
	struct clone_args a = { .flags = CLONE_PIDFD,
				.pidfd = (uintptr_t)&pidfd,
				.exit_signal = SIGCHLD };
	if (c->container_fd < 0) {
		a.flags |= CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC;
		if (!(c->run->flags & PROTO_HOST_PID))
			a.flags |= CLONE_NEWPID;
		if (c->run->flags & PROTO_NEW_NET)
			a.flags |= CLONE_NEWNET;
		if (c->nest->cgroup2)
			a.flags |= CLONE_NEWCGROUP;
	}
	if (c->cgroup_fd >= 0) {
		a.flags |= CLONE_INTO_CGROUP;
		a.cgroup = (uint64_t)c->cgroup_fd;
	}
	int pid = sys_clone3(&a);
	if (!pid)
		stage1_main(&(struct stage1){ .nest = c->nest,
					      .run = c->run,
					      .message = c->message,
					      .answer_fd = c->answer_fd,
					      .container_fd = c->container_fd });
	if (pid < 0)
		return err_sys(err,
			       c->container_fd < 0 ? "make the container's namespaces"
						   : "start a process in the container");
	*ret_pidfd = pidfd;
	return pid;
}

/* Field 22 of /proc/PID/stat; 0 when it cannot be read. The name in field 2 may hold anything:
 * count from the last bracket. */
static uint64_t start_time(const struct nest *nest, int pid)
{
	char path[32], text[1024];
	snprintf(path, sizeof(path), "%d/stat", pid);
	_cleanup_close_ int fd = openat(nest->proc_fd, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = 0;
	char *at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

void child_record(const struct nest *n, int record_fd, int pid)
{
	char line[64];
	int len = snprintf(line, sizeof(line), "%d %" PRIu64 "\n", pid, start_time(n, pid));
	/* The cgroup in its first line is the sure way; this serves where there is none. */
	if (write(record_fd, line, (size_t)len) != len)
		errno = 0;
}

void child_kill(int pidfd, int cgroup_fd)
{
	_cleanup_close_ int fd =
		cgroup_fd < 0 ? -1 : openat(cgroup_fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "1", 1) != 1)
		sys_pidfd_send_signal(pidfd, SIGKILL);
}

/* Whether the kernel killed a process of the group for want of memory. */
static bool oom_killed(int cgroup_fd)
{
	_cleanup_close_ int fd =
		cgroup_fd < 0 ? -1 : openat(cgroup_fd, "memory.events", O_RDONLY | O_CLOEXEC);
	char text[512];
	ssize_t n = fd < 0 ? -1 : io_read_full(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = 0;
	const char *at = strstr(text, "oom_kill ");
	return at && strtoul(at + strlen("oom_kill "), NULL, 10) > 0;
}

void child_wait(int pidfd, int cgroup_fd, struct proto_exit *ret)
{
	siginfo_t info = { 0 };
	struct rusage u = { 0 };
	while (sys_wait_pidfd(pidfd, &info, &u) < 0 && errno == EINTR)
		;
	*ret = (struct proto_exit){
		.signaled = info.si_code != CLD_EXITED,
		.status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status,
		.oom = oom_killed(cgroup_fd),
		.user_us = u.ru_utime.tv_sec * INT64_C(1000000) + u.ru_utime.tv_usec,
		.system_us = u.ru_stime.tv_sec * INT64_C(1000000) + u.ru_stime.tv_usec,
		.max_rss_kib = u.ru_maxrss,
	};
}

int child_take_fd(struct proto_message *m, unsigned index)
{
	return index == PROTO_NO_FD ? -1 : STEAL_FD(m->fds[index]);
}
