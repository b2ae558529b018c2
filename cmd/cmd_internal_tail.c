#include "cache/store.h"
#include "cmd/cmd.h"
#include "cmd/commands.h"
#include "cmd/session.h"

/* What may wait until a result was printed: syncfs, marks, checkpoint. Started by session_free() with nothing of the caller's. */
static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	(void)opts;
	(void)args;
	(void)ret_status;
	struct store *store;
	if (session_store(s, &store, err) < 0)
		return -1;
	return cache_store_sync(store, err);
}

const struct command cmd_internal_tail = { .name = "internal tail",
					   .usage = "",
					   .summary = "Bring what was built to the disk",
					   .needs = NEEDS_ROOT,
					   .run = run };
