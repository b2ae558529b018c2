#include <stdio.h>

#include "cmd/cmd.h"
#include "cmd/commands.h"

static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	(void)s;
	(void)opts;
	(void)ret_status;
	if (args->n)
		return cmd_usage(err, "\"cbuild version\" accepts no arguments");
	printf("cbuild version %s\n", CBUILD_VERSION);
	return 0;
}

const struct command cmd_version = {
	.name = "version", .usage = "", .summary = "Show the version of cbuild", .run = run
};
