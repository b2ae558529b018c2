#include <stdio.h>

#include "cache/record.h"
#include "cmd/cmd.h"
#include "cmd/commands.h"
#include "cmd/debug_dump.h"
#include "cmd/debug_dump_image.h"
#include "cmd/session.h"

struct fsck_options {
	bool data;
};

static const struct option_row fsck_table[] = {
	{ 0, "data", OPT_FLAG, offsetof(struct fsck_options, data), NULL,
	  "Check the data of every file too" },
	{ 0 },
};

static void say(void *arg, const char *text)
{
	(void)arg;
	printf("%s\n", text);
}

static int run_fsck(struct session *s, const void *opts, const struct args *args, int *ret_status,
		    struct err **err)
{
	const struct fsck_options *o = opts;
	struct cache *c;
	size_t bad = 0;
	if (args->n)
		return cmd_usage(err, "\"cbuild debug fsck\" accepts no arguments");
	if (session_cache(s, &c, err) < 0 || cache_fsck(c, o->data, say, NULL, &bad, err) < 0)
		return -1;
	printf(bad ? "%zu problems\n" : "clean\n", bad);
	*ret_status = bad ? 1 : 0;
	return 0;
}

const struct command cmd_debug_fsck = { .name = "debug fsck",
					.usage = "[--data]",
					.summary = "Check the store",
					.options = fsck_table,
					.opts_size = sizeof(struct fsck_options),
					.needs = NEEDS_ROOT,
					.run = run_fsck };

struct dump_options {
	bool json;
};

static const struct option_row dump_table[] = {
	{ 0, "json", OPT_FLAG, offsetof(struct dump_options, json), NULL,
	  "As JSON, one object a line (the only form)" },
	{ 0 },
};

static int dump(const struct args *args, int (*f)(int, char **), int *ret_status, struct err **err)
{
	if (!args->n)
		return cmd_usage(err, "a dump requires at least 1 file");
	*ret_status = f((int)args->n, (char **)(uintptr_t)args->v);
	return 0;
}

static int run_dockerfile(struct session *s, const void *opts, const struct args *args,
			  int *ret_status, struct err **err)
{
	(void)s;
	(void)opts;
	return dump(args, cmd_debug_dump_dockerfile, ret_status, err);
}

static int run_image(struct session *s, const void *opts, const struct args *args, int *ret_status,
		     struct err **err)
{
	(void)s;
	(void)opts;
	return dump(args, cmd_debug_dump_image_config, ret_status, err);
}

const struct command cmd_debug_dockerfile = { .name = "debug dump-dockerfile",
					      .usage = "--json FILE...",
					      .summary = "Show how Dockerfiles are read",
					      .options = dump_table,
					      .opts_size = sizeof(struct dump_options),
					      .run = run_dockerfile };
const struct command cmd_debug_image = { .name = "debug dump-image-config",
					 .usage = "--json FILE...",
					 .summary = "Show the image config that Dockerfiles give",
					 .options = dump_table,
					 .opts_size = sizeof(struct dump_options),
					 .run = run_image };
