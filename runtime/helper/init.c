#define CBUILD_MAY_FORK
#include "runtime/helper/init.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "runtime/helper/creds.h"
#include "runtime/helper/proto.h"
#include "runtime/helper/stage1.h"

static _Noreturn void end_as(int status)
{
	_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

/* Whatever comes goes on to the program, as if it were pid 1 itself. */
static _Noreturn void serve(pid_t program, const sigset_t *all)
{
	for (;;) {
		siginfo_t info;
		int sig = sigwaitinfo(all, &info);
		if (sig < 0)
			continue;
		if (sig != SIGCHLD) {
			kill(program, sig);
			continue;
		}
		int status;
		for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
			if (pid == program)
				end_as(status);
	}
}

void init_fork(const struct proto_run *r, int answer_fd)
{
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	pid_t program = fork();
	if (program < 0) {
		struct err *err = NULL;
		err_sys(&err, "start the program below init");
		proto_error_write(answer_fd, err);
		_exit(125);
	}
	if (!program) {
		/* A group of its own, in the foreground where there is a terminal: ctrl-c is the program's, not ours. TTOU is blocked. */
		setpgid(0, 0);
		if (r->flags & PROTO_TTY)
			tcsetpgrp(0, getpid());
		return;
	}
	struct err *err = NULL;
	if (creds_final(r, &err) < 0) {
		proto_error_write(answer_fd, err);
		_exit(125);
	}
	close(answer_fd);
	close(STAGE1_PARENT_FD);
	prctl(PR_SET_NAME, "docker-init");
	serve(program, &all);
}
