#include <fcntl.h>
#include <sys/stat.h>

#include "cmd/commands.h"
#include "cmd/containers.h"
#include "cmd/session.h"

enum { LOCK_FD = 3 };

/* Executed by a container's monitor at its end (--rm), with the container's lock as descriptor 3: nobody finds it free in between. */
static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	struct cache *c;
	struct stat ours, its;
	(void)opts;
	(void)ret_status;
	if (args->n != 1 || session_cache(s, &c, err) < 0)
		return args->n != 1 ? cmd_usage(err, "this is for cbuild itself") : -1;
	_cleanup_(container_freep) struct container *k = container_find(c, str_c(args->v[0]), err);
	if (!k)
		return -1;
	if (fstat(LOCK_FD, &ours) < 0 ||
	    fstatat(k->dir_fd, "lock", &its, AT_SYMLINK_NOFOLLOW) < 0 ||
	    ours.st_ino != its.st_ino || ours.st_dev != its.st_dev)
		return err_set(err, ERR_INVALID, "this is for cbuild itself");
	k->lock_fd = LOCK_FD;
	return container_remove(c, k, err);
}

const struct command cmd_internal_reap = { .name = "internal reap",
					   .usage = "ID",
					   .summary = "Remove a container that has ended",
					   .needs = NEEDS_ROOT,
					   .run = run };
