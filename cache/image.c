/* Image configs: Docker's and OCI's, which differ in what they may have, not in form. */
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "cache/oci.h"
#include "cache/oci_json.h"

enum { MAX_LAYERS = 4096 };

/* Members that say how that very image came to be: wrong in an image that is built on it, so not handed on. */
static const char *const image_known[] = { "created",
					   "author",
					   "architecture",
					   "variant",
					   "os",
					   "os.version",
					   "config",
					   "rootfs",
					   "history",
					   "id",
					   "parent",
					   "container",
					   "container_config",
					   "moby.buildkit.cache.v0",
					   "moby.buildkit.buildinfo.v0",
					   "moby.buildkit.buildinfo.v1",
					   NULL };
static const char *const config_known[] = { "User",        "ExposedPorts", "Env",
					    "Entrypoint",  "Cmd",          "Volumes",
					    "WorkingDir",  "Labels",       "StopSignal",
					    "ArgsEscaped", "OnBuild",      "Shell",
					    "Healthcheck", "Image",        NULL };

static int parse_time(const json_t *obj, const char *name, int64_t *ret, struct err **err)
{
	const json_t *j = json_object_get(obj, name);
	int64_t t = INT64_MIN;
	if (j && !json_is_null(j)) {
		if (!json_is_string(j))
			return err_set(err, ERR_INVALID, "\"%s\" is not a string", name);
		struct str s = { json_string_value(j), json_string_length(j) };
		if (s.n && clock_parse(s, &t, err) < 0)
			return err_wrap(err, "\"%s\"", name);
	}
	*ret = t;
	return 0;
}

/* The keys of a map such as {"80/tcp":{}}. */
static int parse_keys(struct arena *a, const json_t *obj, const char *name, struct oci_list *ret,
		      struct err **err)
{
	const json_t *j = NULL;
	struct oci_list l = { 0 };
	if (oci_json_member(obj, name, JSON_OBJECT, &j, err) < 0)
		return -1;
	json_t *map = (json_t *)(uintptr_t)j;
	if (j) {
		l.set = true;
		l.v = arena_array_of(a, struct str, json_object_size(j));
	}
	for (void *i = map ? json_object_iter(map) : NULL; i; i = json_object_iter_next(map, i))
		l.v[l.n++] = arena_str(a, str_c(json_object_iter_key(i)));
	*ret = l;
	return 0;
}

/* Cmd and Entrypoint: old Docker configs have a bare string for a list of one. */
static int parse_command(struct arena *a, const json_t *obj, const char *name, struct oci_list *ret,
			 struct err **err)
{
	if (!json_is_string(json_object_get(obj, name)))
		return oci_json_strings(a, obj, name, ret, err);
	struct oci_list l = { .v = arena_array_of(a, struct str, 1), .n = 1, .set = true };
	if (oci_json_str(a, obj, name, &l.v[0], err) < 0)
		return -1;
	*ret = l;
	return 0;
}

static int parse_int(const json_t *obj, const char *name, int64_t *ret, struct err **err)
{
	const json_t *j = json_object_get(obj, name);
	if (j && !json_is_null(j) && !json_is_integer(j))
		return err_set(err, ERR_INVALID, "\"%s\" is not an integer", name);
	*ret = json_is_integer(j) ? (int64_t)json_integer_value(j) : 0;
	return 0;
}

static int parse_healthcheck(struct arena *a, const json_t *config, struct oci_healthcheck **ret,
			     struct err **err)
{
	const json_t *j = NULL;
	struct oci_list test;
	if (oci_json_member(config, "Healthcheck", JSON_OBJECT, &j, err) < 0)
		return -1;
	if (!j) {
		*ret = NULL;
		return 0;
	}
	struct oci_healthcheck *h = arena_new_of(a, struct oci_healthcheck);
	if (oci_json_strings(a, j, "Test", &test, err) < 0 ||
	    parse_int(j, "Interval", &h->interval_ns, err) < 0 ||
	    parse_int(j, "Timeout", &h->timeout_ns, err) < 0 ||
	    parse_int(j, "StartPeriod", &h->start_period_ns, err) < 0 ||
	    parse_int(j, "StartInterval", &h->start_interval_ns, err) < 0 ||
	    parse_int(j, "Retries", &h->retries, err) < 0)
		return err_wrap(err, "\"Healthcheck\"");
	h->test = test.v;
	h->n_test = test.n;
	*ret = h;
	return 0;
}

static int parse_config(struct arena *a, const json_t *image, struct oci_config *c,
			struct err **err)
{
	const json_t *j = NULL;
	if (oci_json_member(image, "config", JSON_OBJECT, &j, err) < 0)
		return -1;
	if (!j)
		return 0;
	if (oci_json_str(a, j, "User", &c->user, err) < 0 ||
	    oci_json_str(a, j, "WorkingDir", &c->working_dir, err) < 0 ||
	    oci_json_str(a, j, "StopSignal", &c->stop_signal, err) < 0 ||
	    oci_json_strings(a, j, "Env", &c->env, err) < 0 ||
	    parse_command(a, j, "Entrypoint", &c->entrypoint, err) < 0 ||
	    parse_command(a, j, "Cmd", &c->cmd, err) < 0 ||
	    oci_json_strings(a, j, "OnBuild", &c->onbuild, err) < 0 ||
	    oci_json_strings(a, j, "Shell", &c->shell, err) < 0 ||
	    parse_keys(a, j, "ExposedPorts", &c->exposed_ports, err) < 0 ||
	    parse_keys(a, j, "Volumes", &c->volumes, err) < 0 ||
	    oci_json_map(a, j, "Labels", &c->labels, &c->n_labels, err) < 0 ||
	    parse_healthcheck(a, j, &c->healthcheck, err) < 0)
		return err_wrap(err, "\"config\"");
	c->args_escaped = json_get_bool(j, "ArgsEscaped");
	return 0;
}

static int parse_rootfs(struct arena *a, const json_t *image, struct oci_image *i, struct err **err)
{
	const json_t *rootfs = NULL;
	struct oci_list ids = { 0 };
	struct str type;
	if (oci_json_member(image, "rootfs", JSON_OBJECT, &rootfs, err) < 0)
		return -1;
	if (!rootfs)
		return 0;
	if (oci_json_str(a, rootfs, "type", &type, err) < 0 ||
	    oci_json_strings(a, rootfs, "diff_ids", &ids, err) < 0)
		return err_wrap(err, "\"rootfs\"");
	if (type.n && !str_eq_c(type, "layers"))
		return err_set(err, ERR_UNSUPPORTED, "\"rootfs\" is of type '%.*s', not 'layers'",
			       STR_ARG(type));
	if (ids.n > MAX_LAYERS)
		return err_set(err, ERR_LIMIT, "it has %zu layers, more than %d", ids.n,
			       MAX_LAYERS);
	i->n_diff_ids = ids.n;
	i->diff_ids = arena_array_of(a, struct digest, ids.n);
	for (size_t k = 0; k < ids.n; k++)
		if (digest_parse(ids.v[k], &i->diff_ids[k], err) < 0)
			return err_wrap(err, "\"diff_ids\"[%zu]", k);
	return 0;
}

static int parse_history(struct arena *a, const json_t *image, struct oci_image *i,
			 struct err **err)
{
	const json_t *list = NULL;
	if (oci_json_member(image, "history", JSON_ARRAY, &list, err) < 0)
		return -1;
	i->n_history = list ? json_array_size(list) : 0;
	i->history = arena_array_of(a, struct oci_history, i->n_history);
	for (size_t k = 0; k < i->n_history; k++) {
		const json_t *j = json_array_get(list, k);
		struct oci_history *h = &i->history[k];
		if (!json_is_object(j))
			return err_set(err, ERR_INVALID, "\"history\"[%zu] is not an object", k);
		if (parse_time(j, "created", &h->created_ns, err) < 0 ||
		    oci_json_str(a, j, "created_by", &h->created_by, err) < 0 ||
		    oci_json_str(a, j, "author", &h->author, err) < 0 ||
		    oci_json_str(a, j, "comment", &h->comment, err) < 0)
			return err_wrap(err, "\"history\"[%zu]", k);
		h->empty_layer = json_get_bool(j, "empty_layer");
	}
	return 0;
}

int oci_image_parse(struct arena *a, struct str json, struct oci_image *ret, struct err **err)
{
	_cleanup_(json_unrefp) json_t *j = json_parse(json, "image config", err);
	struct oci_image i = { 0 };
	if (!j)
		return -1;
	if (!json_is_object(j))
		return err_set(err, ERR_INVALID, "read image config: it is not a JSON object");
	if (oci_json_platform(a, j, &i.platform, err) < 0 ||
	    parse_time(j, "created", &i.created_ns, err) < 0 ||
	    oci_json_str(a, j, "author", &i.author, err) < 0 ||
	    parse_config(a, j, &i.config, err) < 0 || parse_rootfs(a, j, &i, err) < 0 ||
	    parse_history(a, j, &i, err) < 0)
		return err_wrap(err, "read image config");
	i.raw = arena_str(a, json);
	*ret = i;
	return 0;
}

static void put_time(json_t *obj, const char *name, int64_t ns)
{
	char buf[CLOCK_TEXT];
	if (ns != INT64_MIN)
		json_put_str(obj, name, str_c(clock_text(ns, buf)));
}

static void put_int(json_t *obj, const char *name, int64_t v)
{
	if (v)
		json_put_int(obj, name, v);
}

static void put_list(json_t *obj, const char *name, const struct oci_list *l)
{
	oci_json_put_strings(obj, name, l->v, l->n);
}

static void put_keys(json_t *obj, const char *name, const struct oci_list *l)
{
	/* A map of the same names gives Go's order; its values are replaced by empty objects. */
	_cleanup_free_ struct oci_annotation *v = xcalloc(l->n + 1, sizeof(*v));
	for (size_t i = 0; i < l->n; i++)
		v[i].name = l->v[i];
	oci_json_put_map(obj, name, v, l->n);
	json_t *map = json_object_get(obj, name);
	for (void *i = json_object_iter(map); i; i = json_object_iter_next(map, i))
		json_object_iter_set_new(map, i, json_object());
}

static json_t *print_healthcheck(const struct oci_healthcheck *h)
{
	json_t *j = json_object();
	oci_json_put_strings(j, "Test", h->test, h->n_test);
	put_int(j, "Interval", h->interval_ns);
	put_int(j, "Timeout", h->timeout_ns);
	put_int(j, "StartPeriod", h->start_period_ns);
	put_int(j, "StartInterval", h->start_interval_ns);
	put_int(j, "Retries", h->retries);
	return j;
}

static json_t *print_config(const struct oci_config *c)
{
	json_t *j = json_object();
	oci_json_put_str(j, "User", c->user);
	put_keys(j, "ExposedPorts", &c->exposed_ports);
	put_list(j, "Env", &c->env);
	put_list(j, "Entrypoint", &c->entrypoint);
	put_list(j, "Cmd", &c->cmd);
	put_keys(j, "Volumes", &c->volumes);
	oci_json_put_str(j, "WorkingDir", c->working_dir);
	oci_json_put_map(j, "Labels", c->labels, c->n_labels);
	oci_json_put_str(j, "StopSignal", c->stop_signal);
	if (c->args_escaped)
		json_put(j, "ArgsEscaped", json_true());
	put_list(j, "OnBuild", &c->onbuild);
	put_list(j, "Shell", &c->shell);
	if (c->healthcheck)
		json_put(j, "Healthcheck", print_healthcheck(c->healthcheck));
	return j;
}

static json_t *print_history(const struct oci_history *h)
{
	json_t *j = json_object();
	put_time(j, "created", h->created_ns);
	oci_json_put_str(j, "created_by", h->created_by);
	oci_json_put_str(j, "author", h->author);
	oci_json_put_str(j, "comment", h->comment);
	if (h->empty_layer)
		json_put(j, "empty_layer", json_true());
	return j;
}

/* Hands on the members of `from` that we do not know. */
static void keep_unknown(json_t *to, json_t *from, const char *const *known)
{
	for (void *i = json_object_iter(from); i; i = json_object_iter_next(from, i)) {
		const char *const *k = known;
		while (*k && strcmp(*k, json_object_iter_key(i)))
			k++;
		if (!*k)
			json_put(to, json_object_iter_key(i),
				 json_incref(json_object_iter_value(i)));
	}
}

int oci_image_print(const struct oci_image *i, struct sb *b, struct err **err)
{
	_cleanup_(json_unrefp) json_t *raw =
		i->raw.n ? json_parse(i->raw, "image config", err) : json_object();
	if (!raw)
		return -1;
	_cleanup_(json_unrefp) json_t *j = json_object();
	put_time(j, "created", i->created_ns);
	oci_json_put_str(j, "author", i->author);
	json_put_str(j, "architecture", i->platform.arch);
	oci_json_put_str(j, "variant", i->platform.variant);
	json_put_str(j, "os", i->platform.os);
	oci_json_put_str(j, "os.version", i->platform.os_version);
	json_t *config = print_config(&i->config);
	keep_unknown(config, json_object_get(raw, "config"), config_known);
	json_put(j, "config", config);
	json_t *rootfs = json_object(), *ids = json_array();
	json_put_str(rootfs, "type", STR("layers"));
	for (size_t k = 0; k < i->n_diff_ids; k++) {
		char text[DIGEST_TEXT];
		json_push(ids, json_text(str_c(digest_text(&i->diff_ids[k], text))));
	}
	json_put(rootfs, "diff_ids", ids);
	json_put(j, "rootfs", rootfs);
	if (i->n_history) {
		json_t *history = json_array();
		for (size_t k = 0; k < i->n_history; k++)
			json_push(history, print_history(&i->history[k]));
		json_put(j, "history", history);
	}
	keep_unknown(j, raw, image_known);
	json_print(j, b);
	return 0;
}
