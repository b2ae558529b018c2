#include "runtime/strays.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "runtime/record.h"

enum { TIMEOUT_MS = 30 * 1000 };

static int kill_others(int steps_fd, const char *prefix, const char *except, struct err **err)
{
	_cleanup_closedir_ DIR *d = fdopendir(fcntl(steps_fd, F_DUPFD_CLOEXEC, 3));
	if (!d)
		return err_sys(err, "list the folder 'steps'");
	for (struct dirent *e; (e = readdir(d));)
		if (!strncmp(e->d_name, prefix, strlen(prefix)) && strcmp(e->d_name, except) &&
		    runtime_record_bury(steps_fd, e->d_name, TIMEOUT_MS, err) < 0)
			return -1;
	return 0;
}

int runtime_strays_kill(void *arg, int run_fd, const char *lease, struct err **err)
{
	(void)arg;
	_cleanup_close_ int steps =
		openat(run_fd, "steps", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (steps < 0)
		return errno == ENOENT ? 0 : err_sys(err, "open the folder 'steps'");
	_cleanup_free_ char *prefix = xasprintf("%s.", lease);
	/* First who could clone more; last its groups, which the others are in. */
	_cleanup_free_ char *spawner = xasprintf("%sspawner", prefix);
	if (runtime_record_kill(steps, spawner, TIMEOUT_MS, err) < 0 ||
	    kill_others(steps, prefix, spawner, err) < 0 ||
	    runtime_record_bury(steps, spawner, TIMEOUT_MS, err) < 0)
		return err_wrap(err, "kill what a dead cbuild left running");
	return 0;
}
