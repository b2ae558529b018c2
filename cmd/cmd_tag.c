#include "base/arena.h"
#include "cache/name.h"
#include "cmd/cmd.h"
#include "cmd/commands.h"
#include "cmd/session.h"

static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	(void)opts;
	(void)ret_status;
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct cache *c;
	struct image image;
	struct str found;
	struct ref ref;
	if (args->n != 2)
		return cmd_usage(err, "\"cbuild tag\" requires exactly 2 arguments");
	if (ref_parse(a, str_c(args->v[1]), &ref, err) < 0)
		return err_wrap(err, "tag '%s'", args->v[1]);
	if (ref.has_digest)
		return err_set(err, ERR_INVALID,
			       "refusing to create a tag with a digest reference");
	if (session_cache(s, &c, err) < 0 ||
	    cache_image_find(c, a, str_c(args->v[0]), &image, &found, err) < 0)
		return -1;
	return cache_name_set(c, ref_full(a, &ref), &image.id, err);
}

const struct command cmd_tag = {
	.name = "tag",
	.alias = "image tag",
	.usage = "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
	.summary = "Give an image another name",
	.needs = NEEDS_ROOT,
	.run = run,
	.more = "Examples:\n  cbuild tag shop shop:v1\n  cbuild tag shop 127.0.0.1:5000/me/shop\n",
};
