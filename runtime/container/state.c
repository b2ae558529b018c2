/* state.json: read, written where no monitor does, and put in order where one has died. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "runtime/container/internal.h"
#include "runtime/record.h"

enum { STATE_MAX = 64 * 1024, BURY_MS = 10 * 1000, KILLED = 137, REBOOTED = 255 };

static const char *const statuses[] = { "created", "running", "exited" };

static void release(struct container_state *s)
{
	free(s->error);
	free(s->started);
	free(s->finished);
	*s = (struct container_state){ 0 };
}

int container_read_state(struct container *k, struct err **err)
{
	_cleanup_(sb_releasep) struct sb text = { .max = STATE_MAX };
	if (io_read_file(k->dir_fd, "state.json", &text, err) < 0)
		return -1;
	_cleanup_(json_unrefp) json_t *j = json_parse(sb_str(&text), "state.json", err);
	if (!j)
		return -1;
	struct container_state s = { .pid = (int)json_get_int(j, "pid", 0),
				     .exit = (int)json_get_int(j, "exit", 0),
				     .oom = json_get_bool(j, "oom") };
	struct str status = json_get_str(j, "status");
	size_t i = 0;
	while (i < ARRAY_SIZE(statuses) && !str_eq_c(status, statuses[i]))
		i++;
	if (i == ARRAY_SIZE(statuses))
		return err_set(err, ERR_INVALID, "read state.json of container %.12s: no status",
			       k->id);
	s.status = (enum container_status)i;
	s.error = str_dup(json_get_str(j, "error"));
	s.started = str_dup(json_get_str(j, "started"));
	s.finished = str_dup(json_get_str(j, "finished"));
	release(&k->state);
	k->state = s;
	return 0;
}

int container_write_state(struct container *k, enum container_status status, int exit,
			  const char *error, struct err **err)
{
	_cleanup_(sb_releasep) struct sb text = { 0 };
	_cleanup_(json_unrefp) json_t *j = json_object();
	char now[CLOCK_TEXT];
	json_put_str(j, "status", str_c(statuses[status]));
	json_put_int(j, "pid", 0);
	json_put_int(j, "exit", exit);
	json_put(j, "oom", json_boolean(k->state.oom));
	json_put(j, "error", json_text(str_c(error)));
	json_put_str(j, "started", str_c(k->state.started ? k->state.started : ""));
	json_put_str(j, "finished",
		     str_c(status == CONTAINER_EXITED ? clock_text(clock_real_ns(), now) : ""));
	json_print(j, &text);
	return io_replace_file(k->dir_fd, "state.json", sb_str(&text), 0600, false, err) < 0
		? -1
		: container_read_state(k, err);
}

/* Whether what the record names was started in an earlier life of the machine. */
static bool of_another_boot(const struct runtime_record *r)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(sb_releasep) struct sb boot = { .max = 64 };
	return r->boot &&
		io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &boot, &e) == 0 &&
		!str_eq(str_trim(sb_str(&boot), "\n"), str_c(r->boot));
}

int container_settle(struct container *k, struct err **err)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	struct runtime_record r = { 0 };
	int ended = KILLED;
	if (container_read_state(k, err) < 0)
		return -1;
	if (faccessat(k->dir_fd, "record", F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
		/* One that was not even written whole names nothing: nothing was started. */
		if (runtime_record_read(k->dir_fd, "record", &r, &e) < 0)
			unlinkat(k->dir_fd, "record", 0);
		else if (of_another_boot(&r))
			ended = REBOOTED;
		runtime_record_release(&r);
		if (!e && runtime_record_bury(k->dir_fd, "record", BURY_MS, err) < 0)
			return err_wrap(err, "end what is left of container %.12s", k->id);
	}
	return k->state.status == CONTAINER_RUNNING
		? container_write_state(k, CONTAINER_EXITED, ended, "", err)
		: 0;
}
