#include "solver/plan_internal.h"

/* A use that is planned but not executed yet. Rows go as the executor learns. */
struct row {
	const char *what;
	bool (*used)(const struct plan_step *s);
};

static bool mount(const struct plan_step *s, enum df_mount_type type)
{
	for (size_t i = 0; i < s->n_mounts; i++)
		if (s->mounts[i].m.type == type)
			return true;
	return false;
}

static bool mount_bind(const struct plan_step *s)
{
	return mount(s, DF_MOUNT_BIND);
}

static bool mount_cache(const struct plan_step *s)
{
	return mount(s, DF_MOUNT_CACHE);
}

static bool mount_tmpfs(const struct plan_step *s)
{
	return mount(s, DF_MOUNT_TMPFS);
}

static bool mount_secret(const struct plan_step *s)
{
	return mount(s, DF_MOUNT_SECRET);
}

static bool mount_ssh(const struct plan_step *s)
{
	return mount(s, DF_MOUNT_SSH);
}

static bool security(const struct plan_step *s)
{
	return s->insecure;
}

static bool device(const struct plan_step *s)
{
	return s->n_devices;
}

static bool copy_link(const struct plan_step *s)
{
	return s->link && !s->chmod.p; /* with --chmod it is an ordinary copy */
}

static bool copy_parents(const struct plan_step *s)
{
	return s->parents;
}

static bool excludes(const struct plan_step *s)
{
	return s->n_excludes;
}

static bool add_git(const struct plan_step *s)
{
	for (size_t i = 0; i < s->n_sources; i++)
		if (s->sources[i].git)
			return true;
	return false;
}

static bool add_url(const struct plan_step *s)
{
	for (size_t i = 0; i < s->n_sources; i++)
		if (!s->sources[i].from && !s->sources[i].git)
			return true;
	return false;
}

/* A --build-context that is neither a folder nor an image. */
static bool context(const struct plan_step *s)
{
	static const char *const schemes[] = { "oci-layout://", "http://", "https://", "git://",
					       "ssh://",        "git@",    "target:",  "input:" };
	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		if (str_starts(s->context_value, str_c(schemes[i])))
			return true;
	return false;
}

static const struct row rows[] = {
	{ "RUN --mount=type=bind", mount_bind },
	{ "RUN --mount=type=cache", mount_cache },
	{ "RUN --mount=type=tmpfs", mount_tmpfs },
	{ "RUN --mount=type=secret", mount_secret },
	{ "RUN --mount=type=ssh", mount_ssh },
	{ "RUN --security=insecure", security },
	{ "RUN --device", device },
	{ "COPY --link", copy_link },
	{ "COPY --parents", copy_parents },
	{ "--exclude", excludes },
	{ "ADD of a git repository", add_git },
	{ "ADD of a URL", add_url },
	{ "a --build-context that is neither a folder nor an image", context },
};

int plan_unsupported(const struct plan *plan, struct err **err)
{
	for (size_t i = 0; i < plan->n_steps; i++) {
		for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
			if (!rows[k].used(plan->steps[i]))
				continue;
			err_set(err, ERR_UNSUPPORTED, "not supported yet: %s", rows[k].what);
			return err_at(err, plan->steps[i]->at);
		}
	}
	return 0;
}
