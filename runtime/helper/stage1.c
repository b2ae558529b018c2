#define CBUILD_MAY_FORK
#include "runtime/helper/stage1.h"

#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/err.h"
#include "runtime/helper/console.h"
#include "runtime/helper/creds.h"
#include "runtime/helper/init.h"
#include "runtime/helper/mounts.h"
#include "runtime/helper/nest.h"
#include "runtime/helper/program.h"
#include "runtime/helper/proto.h"
#include "runtime/helper/sys.h"

/* 1. Only what this process needs stays open: the copies of other steps' descriptors, and above
 * all of the locks that the spawner holds (a flock is shared by forked children), go first. */
static int close_foreign(const struct stage1 *s, struct err **err)
{
	const struct proto_run *r = s->run;
	int keep[PROTO_MAX_FDS + 8];
	size_t n = 0;
	keep[n++] = STAGE1_ANSWER_FD;
	keep[n++] = STAGE1_PARENT_FD;
	if (r->root_fd != PROTO_NO_FD)
		keep[n++] = s->message->fds[r->root_fd];
	if (s->container_fd >= 0)
		keep[n++] = s->container_fd;
	for (int i = 0; i < 3; i++)
		if (r->stdio[i] != PROTO_NO_FD)
			keep[n++] = s->message->fds[r->stdio[i]];
	if (r->join_fd != PROTO_NO_FD)
		keep[n++] = s->message->fds[r->join_fd];
	for (uint32_t i = 0; i < r->n_mounts; i++)
		if (r->mounts[i].fd != PROTO_NO_FD)
			keep[n++] = s->message->fds[r->mounts[i].fd];
	for (size_t i = 1; i < n; i++)
		for (size_t j = i; j && keep[j - 1] > keep[j]; j--) {
			int t = keep[j];
			keep[j] = keep[j - 1];
			keep[j - 1] = t;
		}
	for (size_t i = 0; i < n; i++) {
		unsigned from = (unsigned)keep[i] + 1,
			 to = i + 1 < n ? (unsigned)keep[i + 1] : UINT_MAX;
		if (from < to && close_range(from, i + 1 < n ? to - 1 : to, 0) < 0)
			return err_sys(err, "close descriptors");
	}
	return 0;
}

/* 2. Dies with the spawner. getppid() is 0 in a new pid namespace before and after the parent's
 * death: its pidfd tells. */
static int tie_to_parent(struct err **err)
{
	struct pollfd p = { .fd = STAGE1_PARENT_FD, .events = POLLIN };
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return err_sys(err, "ask to die with the parent");
	if (poll(&p, 1, 0) != 0)
		return err_set(err, ERR_CANCELED, "the helper is gone");
	return 0;
}

static int loopback_up(struct err **err)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &req) < 0)
		return err_sys(err, "bring up the loopback interface");
	return 0;
}

/* 3. and 4. Own session, own names. */
static int namespaces(const struct stage1 *s, struct err **err)
{
	const struct proto_run *r = s->run;
	if (setsid() < 0)
		return err_sys(err, "start a session");
	if (*r->hostname && sethostname(r->hostname, strlen(r->hostname)) < 0)
		return err_sys(err, "set the host name '%s'", r->hostname);
	return r->flags & PROTO_NEW_NET ? loopback_up(err) : 0;
}

/* A process that joins a container: as its pid 1 is, but in the pid namespace, which the
 * monitor's clone put it into. */
static int join(const struct stage1 *s, struct err **err)
{
	int flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET |
		(s->nest->cgroup2 ? CLONE_NEWCGROUP : 0);
	if (setns(s->container_fd, flags) < 0)
		return errno == ESRCH ? err_set(err, ERR_NOT_FOUND, "the container is not running")
				      : err_sys(err, "enter the container");
	return setsid() < 0 ? err_sys(err, "start a session") : 0;
}

/* 5. Descriptors 0–2. What is not given is the container's own /dev/null: through the host's its
 * mode could be changed. */
static int place_stdio(const struct stage1 *s, struct err **err)
{
	bool joins = s->container_fd >= 0;
	const char *null_path = joins ? "/dev/null" : "/c/dev/null";
	if (s->run->flags & PROTO_TTY)
		return console_place(s->run, joins ? "/dev/pts/ptmx" : "/c/dev/pts/ptmx",
				     joins ? NULL : "/c/dev/console", STAGE1_ANSWER_FD, err);
	for (int i = 0; i < 3; i++) {
		uint32_t given = s->run->stdio[i];
		_cleanup_close_ int null = given == PROTO_NO_FD
			? open(null_path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW)
			: -1;
		int fd = given == PROTO_NO_FD ? null : s->message->fds[given];
		if (fd < 0 || dup2(fd, i) < 0)
			return err_sys(err, "place descriptor %d", i);
	}
	return 0;
}

static int make_cwd(const struct proto_run *r, struct err **err)
{
	char path[PATH_MAX];
	if (strlen(r->cwd) >= sizeof(path))
		return err_set(err, ERR_INVALID, "the working directory's path is too long");
	memcpy(path, r->cwd, strlen(r->cwd) + 1);
	for (char *end = path; end;) {
		end = strchr(end + 1, '/');
		if (end)
			*end = 0;
		if (!mkdir(path, 0755)) {
			if (r->flags & PROTO_CWD_AS_USER && lchown(path, r->uid, r->gid) < 0)
				return err_sys(err, "give the working directory '%s' to the user",
					       r->cwd);
		} else if (errno != EEXIST) {
			return err_sys(err, "make the working directory '%s'", r->cwd);
		}
		if (end)
			*end = '/';
	}
	return 0;
}

/* 1: entered, 0: not permitted (yet). By then no descriptor is left through which a path could
 * lead out; still the result is looked at: getcwd says "(unreachable)" of a folder outside of
 * the root. */
static int enter_cwd(const struct proto_run *r, struct err **err)
{
	if (chdir(r->cwd) < 0) {
		if (errno == EACCES || errno == EPERM)
			return 0;
		if (errno != ENOENT || r->flags & PROTO_JOIN)
			return err_sys(err, "enter the working directory '%s'", r->cwd);
		if (make_cwd(r, err) < 0)
			return -1;
		if (chdir(r->cwd) < 0)
			return err_sys(err, "enter the working directory '%s'", r->cwd);
	}
	char at[PATH_MAX];
	long n = syscall(SYS_getcwd, at, sizeof(at));
	if (n < 2 || at[0] != '/')
		return err_set(err, ERR_DENIED,
			       "the working directory '%s' is not inside the container's root",
			       r->cwd);
	return 1;
}

/* 11. to 15. */
static int identity(const struct proto_run *r, char **ret_program, struct err **err)
{
	if (close_range(STAGE1_PARENT_FD + 1, UINT_MAX, 0) < 0)
		return err_sys(err, "close descriptors");
	int entered = enter_cwd(r, err);
	if (entered < 0 || creds_prepare(r, err) < 0 || creds_become(r, err) < 0)
		return -1;
	if ((r->uid || r->gid) && tie_to_parent(err) < 0)
		return -1;
	if (!entered) {
		entered = enter_cwd(r, err);
		if (entered < 0)
			return -1;
		if (!entered) {
			err_set(err, ERR_DENIED,
				"enter the working directory '%s': permission denied", r->cwd);
			return err_status(err, 126);
		}
	}
	if (creds_before_filter(r, err) < 0)
		return -1;
	*ret_program = program_find(r->argv[0], r->env, err);
	return *ret_program ? 0 : -1;
}

static int prepare(const struct stage1 *s, char **ret_program, struct err **err)
{
	const struct proto_run *r = s->run;
	if (close_foreign(s, err) < 0)
		return -1;
	if (r->join_fd != PROTO_NO_FD && write(s->message->fds[r->join_fd], "0", 1) < 0)
		return err_sys(err, "enter the devices cgroup");
	if (tie_to_parent(err) < 0)
		return -1;
	if (s->container_fd >= 0) {
		if (join(s, err) < 0 || place_stdio(s, err) < 0)
			return -1;
	} else if (namespaces(s, err) < 0 || mounts_make(s->nest, r, err) < 0 ||
		   place_stdio(s, err) < 0 || mounts_enter(s->nest, r, s->message, err) < 0) {
		return -1;
	}
	umask(022);
	return identity(r, ret_program, err);
}

_Noreturn void stage1_main(const struct stage1 *s)
{
	struct err *err = NULL;
	char *program = NULL;
	if (dup3(s->answer_fd, STAGE1_ANSWER_FD, O_CLOEXEC) < 0) {
		err_sys(&err, "place the answer's descriptor");
		proto_error_write(s->answer_fd, err);
		_exit(125);
	}
	if (!prepare(s, &program, &err)) {
		/* 16. The spawner blocks signals instead of ignoring them: one call gives a new
		 * program default actions. */
		if (s->run->flags & PROTO_INIT)
			init_fork(s->run, STAGE1_ANSWER_FD);
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		if (!creds_final(s->run, &err)) {
			execve(program, s->run->argv, s->run->env);
			program_refused(s->run->argv[0], errno, &err);
		}
	}
	proto_error_write(STAGE1_ANSWER_FD, err);
	/* A strict filter may kill us for these reads: what is known was said before, this only
	 * adds the reason. */
	if (program) {
		char *had = err->hint;
		program_explain(program, &err);
		if (err->hint != had)
			proto_error_write(STAGE1_ANSWER_FD, err);
	}
	_exit(125);
}
