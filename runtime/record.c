#include "runtime/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "runtime/cgroup.h"
#include "runtime/helper/sys.h"

enum { RECORD_MAX = 4096 };

static int boot_id(struct sb *ret, struct err **err)
{
	ret->max = 64;
	if (io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", ret, err) < 0)
		return -1;
	sb_trunc(ret, str_trim(sb_str(ret), "\n").n);
	return 0;
}

/* 0 when it cannot be read: the process is gone. The name in field 2 may hold anything: counted
 * from the last bracket. */
static uint64_t start_time(pid_t pid)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(sb_releasep) struct sb b = { .max = RECORD_MAX };
	char path[32];
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (io_read_file(AT_FDCWD, path, &b, &e) < 0)
		return 0;
	const char *at = strrchr(sb_c(&b), ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

int runtime_record_make(int steps_fd, const char *name, const char *group, const char *devices,
			struct err **err)
{
	_cleanup_(sb_releasep) struct sb boot = { 0 }, text = { 0 };
	if (boot_id(&boot, err) < 0)
		return -1;
	sb_printf(&text, "%s %s %s\n", sb_c(&boot), group ? group : "-", devices ? devices : "-");
	_cleanup_close_ int fd =
		openat(steps_fd, name,
		       O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_APPEND, 0600);
	if (fd < 0 || io_write_full(fd, text.p, text.n) < 0)
		return err_sys(err, "write record 'steps/%s'", name);
	return STEAL_FD(fd);
}

int runtime_record_add(int fd, pid_t pid, struct err **err)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "%d %" PRIu64 "\n", (int)pid, start_time(pid));
	return io_write_full(fd, line, (size_t)n) < 0 ? err_sys(err, "write a record") : 0;
}

static char *path_field(struct str *line)
{
	struct str f = *line;
	if (!str_cut(*line, ' ', &f, line))
		*line = (struct str){ 0 };
	return f.n && !str_eq(f, STR("-")) ? str_dup(f) : NULL;
}

int runtime_record_read(int steps_fd, const char *name, struct runtime_record *ret,
			struct err **err)
{
	_cleanup_(sb_releasep) struct sb b = { .max = RECORD_MAX };
	if (io_read_file(steps_fd, name, &b, err) < 0)
		return -1;
	struct str text = sb_str(&b), line, pid;
	/* Cut short: the maker died while it wrote, before anything was cloned. */
	if (!str_cut(text, '\n', &line, &text))
		return err_set(err, ERR_INVALID, "record 'steps/%s' is cut short", name);
	*ret = (struct runtime_record){ .boot = path_field(&line) };
	ret->group = path_field(&line);
	ret->devices = path_field(&line);
	int64_t n;
	_cleanup_(err_dropp) struct err *e = NULL;
	if (str_cut(text, '\n', &line, &text) && str_cut(line, ' ', &pid, &line) &&
	    !str_int(pid, 2, INT32_MAX, &n, &e)) {
		ret->pid = (pid_t)n;
		ret->start = strtoull(line.p, NULL, 10);
	}
	return 0;
}

void runtime_record_release(struct runtime_record *r)
{
	free(r->boot);
	free(r->group);
	free(r->devices);
	*r = (struct runtime_record){ 0 };
}

static int bury_group(const char *path, int timeout_ms, struct err **err)
{
	/* Ours alone, whatever is written there. */
	if (!strstr(path, "/cbuild/") || strstr(path, ".."))
		return err_set(err, ERR_INVALID, "'%s' is no control group of cbuild", path);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, "open control group '%s'", path);
	return runtime_cgroup_bury(fd, timeout_ms, err);
}

/* By its pidfd, and only if that is still the process which was recorded: the number may have
 * been given again. */
static int bury_pid(pid_t pid, uint64_t start, int timeout_ms, struct err **err)
{
	_cleanup_close_ int fd = sys_pidfd_open(pid);
	if (fd < 0 || start_time(pid) != start || !start)
		return 0;
	if (sys_pidfd_send_signal(fd, SIGKILL) < 0 && errno != ESRCH)
		return err_sys(err, "kill process %d", (int)pid);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	if (poll(&p, 1, timeout_ms) == 0)
		return err_set(err, ERR_TIMEOUT, "wait for process %d to end", (int)pid);
	return 0;
}

/* Zombies may keep it busy until somebody reaps them. An empty group that stays hurts nobody. */
static void remove_group(const char *path)
{
	for (int wait_ms = 1;
	     strstr(path, "/cbuild/") && rmdir(path) < 0 && errno == EBUSY && wait_ms <= 512;
	     wait_ms *= 2)
		poll(NULL, 0, wait_ms);
}

/* 1 with a record of this boot, 0 when there is nothing to kill. */
static int read_current(int steps_fd, const char *name, struct runtime_record *ret,
			struct err **err)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(sb_releasep) struct sb boot = { 0 };
	if (boot_id(&boot, err) < 0)
		return -1;
	if (runtime_record_read(steps_fd, name, ret, &e) < 0)
		return e->code == ERR_NOT_FOUND || e->code == ERR_INVALID ? 0
									  : err_move(err, STEAL(e));
	return ret->boot && !strcmp(ret->boot, sb_c(&boot));
}

static int kill_all(const struct runtime_record *r, int timeout_ms, struct err **err)
{
	if (r->pid && bury_pid(r->pid, r->start, timeout_ms, err) < 0)
		return -1;
	return r->group ? bury_group(r->group, timeout_ms, err) : 0;
}

int runtime_record_kill(int steps_fd, const char *name, int timeout_ms, struct err **err)
{
	struct runtime_record r = { 0 };
	int got = read_current(steps_fd, name, &r, err);
	if (got > 0 && kill_all(&r, timeout_ms, err) < 0)
		got = -1;
	runtime_record_release(&r);
	return got < 0 ? -1 : 0;
}

int runtime_record_bury(int steps_fd, const char *name, int timeout_ms, struct err **err)
{
	struct runtime_record r = { 0 };
	int got = read_current(steps_fd, name, &r, err);
	if (got > 0 && kill_all(&r, timeout_ms, err) < 0)
		got = -1;
	if (got > 0 && r.group)
		remove_group(r.group);
	if (got > 0 && r.devices)
		remove_group(r.devices);
	runtime_record_release(&r);
	if (got < 0)
		return -1;
	return unlinkat(steps_fd, name, 0) < 0 && errno != ENOENT
		? err_sys(err, "remove record 'steps/%s'", name)
		: 0;
}
