#include "registry/image.h"

#include "base/err.h"

/* Whether an image is of the platform that was asked for. */
static bool fits(struct arena *a, const struct image *i, const struct oci_platform *platform)
{
	struct oci_image config;
	_cleanup_(err_dropp) struct err *e = NULL;
	return !platform ||
		(oci_image_parse(a, i->config, &config, &e) == 0 &&
		 oci_platform_rank(platform, &config.platform) >= 0);
}

int registry_image_get(int (*registry)(void *arg, struct registry **ret, struct err **err),
		       void *arg, struct cache *c, struct arena *a, const char *text,
		       const struct oci_platform *platform, enum registry_pull_policy policy,
		       struct image *ret, struct err **err)
{
	struct oci_platform host = oci_platform_host();
	struct registry *r;
	struct resolved resolved;
	bool fresh;
	if (policy != REGISTRY_PULL_ALWAYS) {
		_cleanup_(err_dropp) struct err *e = NULL;
		struct image found;
		struct str name;
		bool here = cache_image_find(c, a, str_c(text), &found, &name, &e) == 0;
		if (here && chain_complete(&found.chain) && fits(a, &found, platform)) {
			*ret = found;
			return 0;
		}
		if (!here && (e->code != ERR_NOT_FOUND || policy == REGISTRY_PULL_NEVER))
			return err_move(err, STEAL(e));
		if (policy == REGISTRY_PULL_NEVER)
			return err_set(err, ERR_NOT_FOUND, "image '%s' is here, but %s", text,
				       chain_complete(&found.chain) ? "for another platform"
								    : "it has lost layers");
	}
	if (registry(arg, &r, err) < 0 ||
	    registry_pull(r, c, a, str_c(text), platform ? platform : &host, &resolved, &fresh,
			  err) < 0)
		return -1;
	return cache_image_get(c, a, &resolved.config_digest, ret, err);
}
