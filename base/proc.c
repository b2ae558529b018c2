#define CBUILD_MAY_FORK
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"

extern char **environ;

/* Descriptors are first lifted above 3 so that the order of dup2 cannot overwrite one that is still needed. */
static int add_fds(posix_spawn_file_actions_t *fa, const struct proc_options *o, int lifted[4],
		   struct err **err)
{
	for (int i = 0; i < 4; i++) {
		int fd = i < 3 ? o->fds[i] : o->keep_fd > 0 ? o->keep_fd : -1;
		if (i == 3 && fd < 0)
			break;
		lifted[i] = fd < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC)
				   : fcntl(fd, F_DUPFD_CLOEXEC, 10);
		if (lifted[i] < 0)
			return err_sys(err, "prepare descriptor %d", i);
		if (posix_spawn_file_actions_adddup2(fa, lifted[i], i))
			mem_fail();
	}
	return 0;
}

static int spawn(const struct proc_options *o, posix_spawn_file_actions_t *fa, pid_t *pid,
		 struct err **err)
{
	posix_spawnattr_t attr;
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr,
				 (short)(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
					 (o->new_session ? POSIX_SPAWN_SETSID : 0)));
	char *const *envp = o->envp ? (char *const *)(uintptr_t)o->envp : environ;
	char *const *argv = (char *const *)(uintptr_t)o->argv;
	char self[32];
	int r;
	if (o->exec_fd > 0) {
		snprintf(self, sizeof(self), "/proc/self/fd/%d", o->exec_fd);
		r = posix_spawn(pid, self, fa, &attr, argv, envp);
	} else {
		r = posix_spawnp(pid, o->argv[0], fa, &attr, argv, envp);
	}
	posix_spawnattr_destroy(&attr);
	errno = r;
	return r ? err_sys(err, "start '%s'", o->argv[0]) : 0;
}

int proc_start(const struct proc_options *o, pid_t *ret_pid, int *ret_pidfd, struct err **err)
{
	posix_spawn_file_actions_t fa;
	posix_spawn_file_actions_init(&fa);
	int lifted[4] = { -1, -1, -1, -1 };
	pid_t pid = -1;
	int r = add_fds(&fa, o, lifted, err);
	if (!r)
		r = spawn(o, &fa, &pid, err);
	posix_spawn_file_actions_destroy(&fa);
	for (int i = 0; i < 4; i++)
		mem_closep(&lifted[i]);
	if (r < 0)
		return -1;
	if (ret_pidfd) {
		*ret_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		if (*ret_pidfd < 0) {
			err_sys(err, "watch '%s'", o->argv[0]);
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			return -1;
		}
	}
	*ret_pid = pid;
	return 0;
}

int proc_wait(pid_t pid, int *ret_status, struct err **err)
{
	int st;
	while (waitpid(pid, &st, 0) < 0)
		if (errno != EINTR)
			return err_sys(err, "wait for process %d", (int)pid);
	*ret_status = WIFSIGNALED(st) ? 128 + WTERMSIG(st) : WEXITSTATUS(st);
	return 0;
}

/* Feeds `input` and drains `out` until the child closes its output. 0, or -1 with the error set; the child still lives. */
static int exchange(int in, int out_fd, struct str input, int64_t until_ns, struct sb *out,
		    struct err **err)
{
	for (;;) {
		struct pollfd p[2] = { { .fd = out_fd, .events = POLLIN },
				       { .fd = in, .events = POLLOUT } };
		if (in >= 0 && !input.n) {
			close(in);
			in = p[1].fd = -1;
		}
		int64_t left = (until_ns - clock_mono_ns()) / 1000000;
		int r = left <= 0 ? 0 : poll(p, 2, (int)left);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0) {
			if (in >= 0)
				close(in);
			return r ? err_sys(err, "poll")
				 : err_set(err, ERR_TIMEOUT, "no answer in time");
		}
		if (p[1].revents) {
			ssize_t k = write(in, input.p, input.n);
			input = k < 0 && errno != EINTR && errno != EAGAIN
				? STR("")
				: str_sub(input, k > 0 ? (size_t)k : 0, input.n);
		}
		if (p[0].revents) {
			char buf[4096];
			ssize_t k = read(out_fd, buf, sizeof(buf));
			if (k <= 0) {
				if (in >= 0)
					close(in);
				return 0;
			}
			sb_add(out, buf, (size_t)k);
		}
	}
}

int proc_capture(const struct proc_options *o, struct str input, int timeout_ms, struct sb *out,
		 int *ret_status, struct err **err)
{
	int in[2], from[2];
	if (pipe2(in, O_CLOEXEC) < 0)
		return err_sys(err, "make a pipe");
	if (pipe2(from, O_CLOEXEC) < 0) {
		err_sys(err, "make a pipe");
		close(in[0]);
		close(in[1]);
		return -1;
	}
	struct proc_options with = *o;
	with.fds[0] = in[0];
	with.fds[1] = from[1];
	with.fds[2] = with.fds[2] > 0 ? with.fds[2] : 2;
	pid_t pid;
	int r = proc_start(&with, &pid, NULL, err);
	close(in[0]);
	close(from[1]);
	if (r < 0) {
		close(in[1]);
		close(from[0]);
		return -1;
	}
	fcntl(in[1], F_SETFL, O_NONBLOCK);
	r = exchange(in[1], from[0], input, clock_mono_ns() + timeout_ms * INT64_C(1000000), out,
		     err);
	close(from[0]);
	if (r < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return err_wrap(err, "run '%s'", o->argv[0]);
	}
	if (proc_wait(pid, ret_status, err) < 0)
		return -1;
	return sb_check(out, "the output", err);
}
