#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/io.h"
#include "cache/layer.h"
#include "cache/name.h"
#include "cmd/cmd.h"
#include "cmd/commands.h"
#include "cmd/session.h"

struct import_options {
	const char *message, *platform;
};

static const struct option_row options[] = {
	{ 'm', "message", OPT_STR, offsetof(struct import_options, message), "TEXT",
	  "Comment in the image's history" },
	{ 0, "platform", OPT_STR, offsetof(struct import_options, platform), "PLATFORM",
	  "Platform of the image (default: this machine's)" },
	{ 0 },
};

static int open_tar(const char *path, int *ret, struct err **err)
{
	*ret = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : fcntl(0, F_DUPFD_CLOEXEC, 3);
	return *ret < 0 ? err_sys(err, "open '%s'", path) : 0;
}

/* The config of an image with one layer that came as a tar, with Docker's PATH. */
static int make_config(struct arena *a, const struct import_options *o, const struct layer *l,
		       struct sb *out, struct err **err)
{
	static struct str path = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 65
	};
	struct oci_platform host = oci_platform_host();
	struct oci_image image = { .platform = host,
				   .created_ns = clock_real_ns(),
				   .diff_ids = arena_new_of(a, struct digest),
				   .n_diff_ids = 1 };
	struct oci_history history = { .created_ns = image.created_ns,
				       .created_by = STR("import"),
				       .comment = str_c(o->message) };
	if (o->platform &&
	    oci_platform_parse(a, str_c(o->platform), &host, &image.platform, err) < 0)
		return -1;
	path.n = strlen(path.p);
	image.config.env = (struct oci_list){ &path, 1, true };
	image.diff_ids[0] = l->diffid;
	image.history = &history;
	image.n_history = 1;
	return oci_image_print(&image, out, err);
}

static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	(void)ret_status;
	const struct import_options *o = opts;
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(sb_releasep) struct sb config = { .max = 4 << 20 };
	struct cache *c;
	struct layer layer;
	struct ref ref;
	struct str name = STR("");
	if (args->n < 1 || args->n > 2)
		return cmd_usage(err, "\"cbuild import\" requires 1 or 2 arguments");
	if (args->n == 2) {
		if (ref_parse(a, str_c(args->v[1]), &ref, err) < 0)
			return err_wrap(err, "import as '%s'", args->v[1]);
		name = ref_full(a, &ref);
	}
	int fd;
	if (session_cache(s, &c, err) < 0 || open_tar(args->v[0], &fd, err) < 0)
		return -1;
	session_catch_signals(s);
	if (cache_layer_unpack(c, io_source_fd(fd, true, args->v[0]), NULL, NULL, NULL, &layer,
			       err) < 0)
		return err_wrap(err, "import '%s'", args->v[0]);
	struct chain chain = { &layer, 1 };
	struct digest id;
	char text[DIGEST_TEXT];
	if (make_config(a, o, &layer, &config, err) < 0 ||
	    cache_image_put(c, sb_str(&config), &chain, NULL, &name, name.n ? 1 : 0, &id, err) < 0)
		return -1;
	printf("%s\n", digest_text(&id, text));
	return 0;
}

const struct command cmd_import = {
	.name = "import",
	.alias = "image import",
	.usage = "[OPTIONS] FILE|- [REPOSITORY[:TAG]]",
	.summary = "Make an image from a tar of a root file system",
	.options = options,
	.opts_size = sizeof(struct import_options),
	.needs = NEEDS_ROOT,
	.run = run,
	.more = "The tar may be compressed by gzip or zstd.\n\nExamples:\n  cbuild import rootfs.tar.zst debian:12-slim\n"
		"  mmdebstrap --variant=minbase bookworm - | cbuild import - debian:12\n",
};
