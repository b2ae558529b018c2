#include <stdio.h>

#include "base/arena.h"
#include "cache/container.h"
#include "cache/name.h"
#include "cmd/cmd.h"
#include "cmd/commands.h"
#include "cmd/session.h"

struct rmi_options {
	bool force, no_prune;
};

static const struct option_row options[] = {
	{ 'f', "force", OPT_FLAG, offsetof(struct rmi_options, force), NULL,
	  "Remove all names of an image given by its id" },
	{ 0, "no-prune", OPT_IGNORED, 0, NULL,
	  "Accepted: layers are kept for the cache until it is collected" },
	{ 0 },
};

/* As Docker: an image that a container stands on keeps its last name, unless forced; then it stays without one. */
static int check_containers(struct cache *c, struct arena *a, const char *text,
			    const struct image *image, bool by_name, bool force, bool *ret_used,
			    struct err **err)
{
	struct image_row *rows;
	size_t n, names = 0;
	char user[65], id[DIGEST_TEXT];
	if (cache_container_of_image(c, &image->id, ret_used, user, err) < 0 ||
	    cache_image_list(c, a, &rows, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		names += rows[i].name.n && digest_eq(&rows[i].id, &image->id);
	if (!*ret_used || force || (by_name && names > 1))
		return 0;
	digest_text(&image->id, id);
	if (by_name)
		return err_set(
			err, ERR_EXISTS,
			"conflict: unable to remove repository reference \"%s\" (must force) - container %.12s is using its "
			"referenced image %.12s",
			text, user, id + 7);
	return err_set(
		err, ERR_EXISTS,
		"conflict: unable to delete %.12s (must be forced) - image is being used by container %.12s",
		id + 7, user);
}

/* Removes all names of an image, printing each. */
static int untag_all(struct cache *c, struct arena *a, const struct digest *id, bool force,
		     struct err **err)
{
	struct image_row *rows;
	size_t n, names = 0;
	char text[DIGEST_TEXT];
	if (cache_image_list(c, a, &rows, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		names += rows[i].name.n && digest_eq(&rows[i].id, id);
	if (names > 1 && !force)
		return err_set(
			err, ERR_EXISTS,
			"unable to delete %.12s (must be forced) - image is referenced in multiple repositories",
			digest_text(id, text) + 7);
	for (size_t i = 0; i < n; i++) {
		bool last;
		struct digest gone;
		struct ref ref;
		if (!rows[i].name.n || !digest_eq(&rows[i].id, id))
			continue;
		if (ref_parse(a, rows[i].name, &ref, err) < 0 ||
		    cache_name_del(c, rows[i].name, &last, &gone, err) < 0)
			return -1;
		printf("Untagged: %.*s\n", STR_ARG(ref_familiar(a, &ref)));
	}
	return 0;
}

static int remove_one(struct cache *c, struct arena *a, const char *text, bool force,
		      struct err **err)
{
	struct image image;
	struct str name;
	bool last = true, used;
	char id[DIGEST_TEXT];
	if (cache_image_find(c, a, str_c(text), &image, &name, err) < 0 ||
	    check_containers(c, a, text, &image, name.n, force, &used, err) < 0)
		return -1;
	if (name.n) {
		struct digest gone;
		struct ref ref;
		if (cache_name_del(c, name, &last, &gone, err) < 0 ||
		    ref_parse(a, name, &ref, err) < 0)
			return -1;
		printf("Untagged: %.*s\n", STR_ARG(ref_familiar(a, &ref)));
	} else if (untag_all(c, a, &image.id, force, err) < 0) {
		return -1;
	}
	if (!last || used)
		return 0;
	if (cache_image_del(c, &image.id, err) < 0)
		return -1;
	printf("Deleted: %s\n", digest_text(&image.id, id));
	return 0;
}

static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	const struct rmi_options *o = opts;
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct cache *c;
	if (!args->n)
		return cmd_usage(err, "\"cbuild rmi\" requires at least 1 argument");
	if (session_cache(s, &c, err) < 0)
		return -1;
	/* All are tried, and what fails is said at once. */
	for (size_t i = 0; i < args->n; i++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		if (remove_one(c, a, args->v[i], o->force, &e) < 0) {
			fprintf(stderr, "Error response: %s\n", e->msg);
			*ret_status = 1;
		}
	}
	(void)err;
	return 0;
}

const struct command cmd_rmi = {
	.name = "rmi",
	.alias = "image rm",
	.usage = "[OPTIONS] IMAGE [IMAGE...]",
	.summary = "Remove images",
	.options = options,
	.opts_size = sizeof(struct rmi_options),
	.needs = NEEDS_ROOT,
	.run = run,
	.more = "Examples:\n  cbuild rmi shop:v1\n  cbuild rmi -f 5b0d2a7c9e1f\n",
};
