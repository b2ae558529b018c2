#include <stdio.h>

#include "base/arena.h"
#include "cmd/cmd.h"
#include "cmd/commands.h"
#include "cmd/session.h"
#include "cmd/ui.h"
#include "registry/pull.h"

struct pull_options {
	const char *platform, *progress;
	bool quiet;
};

static const struct option_row options[] = {
	{ 0, "platform", OPT_STR, offsetof(struct pull_options, platform), "PLATFORM",
	  "Pull for this platform (default: this machine's)" },
	{ 0, "progress", OPT_STR, offsetof(struct pull_options, progress), "MODE",
	  "How progress is shown: auto, plain, tty, quiet, rawjson" },
	{ 'q', "quiet", OPT_FLAG, offsetof(struct pull_options, quiet), NULL,
	  "Print the reference only" },
	{ 0 },
};

static void print_result(struct arena *a, const struct resolved *r, bool fresh, bool quiet)
{
	char text[DIGEST_TEXT];
	struct str familiar = ref_familiar(a, &r->ref);
	if (!quiet) {
		printf("Digest: %s\n",
		       digest_text(digest_is_zero(&r->index) ? &r->manifest_digest : &r->index,
				   text));
		printf("Status: %s for %.*s\n",
		       fresh ? "Downloaded newer image" : "Image is up to date", STR_ARG(familiar));
	}
	printf("%.*s\n", STR_ARG(r->ref_text));
}

static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	(void)ret_status;
	const struct pull_options *o = opts;
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct oci_platform host = oci_platform_host(), platform = host;
	struct registry *registry;
	struct cache *c;
	enum ui_mode mode;
	if (args->n != 1)
		return cmd_usage(err, "\"cbuild pull\" requires exactly 1 argument");
	if (o->platform && oci_platform_parse(a, str_c(o->platform), &host, &platform, err) < 0)
		return err_status(err, 2);
	if (ui_mode_of(o->progress, o->quiet, &mode, err) < 0)
		return err_status(err, 2);
	session_catch_signals(s);
	struct event_sink *ui = ui_open(mode);
	struct resolved image;
	bool fresh;
	int r = session_cache(s, &c, err);
	if (!r)
		r = session_registry(s, ui, &registry, err);
	if (!r)
		r = registry_pull(registry, c, a, str_c(args->v[0]), &platform, &image, &fresh,
				  err);
	ui_close(ui, r < 0);
	if (!r)
		print_result(a, &image, fresh, o->quiet);
	return r;
}

const struct command cmd_pull = {
	.name = "pull",
	.alias = "image pull",
	.usage = "[OPTIONS] NAME[:TAG|@DIGEST]",
	.summary = "Bring an image from a registry",
	.options = options,
	.opts_size = sizeof(struct pull_options),
	.needs = NEEDS_ROOT,
	.run = run,
	.more = "Examples:\n  cbuild pull debian:12-slim\n  cbuild pull --platform linux/arm64 127.0.0.1:5000/library/busybox\n",
};
