/* Descriptors, manifests and indexes. Image configs are in image.c, platforms in platform.c. */
#include "cache/oci.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/json.h"
#include "base/utf8.h"
#include "cache/oci_json.h"

enum { MAX_ENTRIES = 4096 };

int oci_json_str(struct arena *a, const json_t *obj, const char *name, struct str *ret,
		 struct err **err)
{
	const json_t *j = json_object_get(obj, name);
	if (!j || json_is_null(j)) {
		*ret = STR("");
		return 0;
	}
	if (!json_is_string(j))
		return err_set(err, ERR_INVALID, "\"%s\" is not a string", name);
	struct str s = { json_string_value(j), json_string_length(j) };
	/* It ends up in C strings (environment, arguments, paths), where a NUL would cut it. */
	if (str_find(s, '\0', 0) != SIZE_MAX)
		return err_set(err, ERR_INVALID, "\"%s\" has a NUL", name);
	*ret = arena_str(a, s);
	return 0;
}

int oci_json_member(const json_t *obj, const char *name, json_type type, const json_t **ret,
		    struct err **err)
{
	const json_t *j = json_object_get(obj, name);
	if (!j || json_is_null(j)) {
		*ret = NULL;
		return 0;
	}
	if (json_typeof(j) != type)
		return err_set(err, ERR_INVALID, "\"%s\" is not %s", name,
			       type == JSON_ARRAY ? "an array" : "an object");
	*ret = j;
	return 0;
}

int oci_json_strings(struct arena *a, const json_t *obj, const char *name, struct oci_list *ret,
		     struct err **err)
{
	const json_t *j = NULL;
	struct oci_list l = { 0 };
	if (oci_json_member(obj, name, JSON_ARRAY, &j, err) < 0)
		return -1;
	if (j) {
		l.set = true;
		l.n = json_array_size(j);
		l.v = arena_array_of(a, struct str, l.n);
	}
	for (size_t i = 0; i < l.n; i++) {
		const json_t *e = json_array_get(j, i);
		if (!json_is_string(e))
			return err_set(err, ERR_INVALID,
				       "\"%s\" has an element that is not a string", name);
		struct str s = { json_string_value(e), json_string_length(e) };
		if (str_find(s, '\0', 0) != SIZE_MAX)
			return err_set(err, ERR_INVALID, "\"%s\" has an element with a NUL", name);
		l.v[i] = arena_str(a, s);
	}
	*ret = l;
	return 0;
}

int oci_json_map(struct arena *a, const json_t *obj, const char *name, struct oci_annotation **ret,
		 size_t *ret_n, struct err **err)
{
	const json_t *j = NULL;
	if (oci_json_member(obj, name, JSON_OBJECT, &j, err) < 0)
		return -1;
	size_t n = 0, size = j ? json_object_size(j) : 0;
	struct oci_annotation *v = arena_array_of(a, struct oci_annotation, size);
	/* jansson iterates objects by a pointer that is not const, though it changes nothing. */
	json_t *map = (json_t *)(uintptr_t)j;
	for (void *i = map ? json_object_iter(map) : NULL; i; i = json_object_iter_next(map, i)) {
		const json_t *e = json_object_iter_value(i);
		if (!json_is_string(e) && !json_is_null(e))
			return err_set(err, ERR_INVALID, "\"%s\" has a value that is not a string",
				       name);
		v[n].name = arena_str(a, str_c(json_object_iter_key(i)));
		v[n++].value = json_is_null(e)
			? STR("")
			: arena_str(a, (struct str){ json_string_value(e), json_string_length(e) });
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

int oci_json_platform(struct arena *a, const json_t *obj, struct oci_platform *ret,
		      struct err **err)
{
	struct oci_platform p;
	if (oci_json_str(a, obj, "os", &p.os, err) < 0 ||
	    oci_json_str(a, obj, "architecture", &p.arch, err) < 0 ||
	    oci_json_str(a, obj, "variant", &p.variant, err) < 0 ||
	    oci_json_str(a, obj, "os.version", &p.os_version, err) < 0)
		return -1;
	*ret = p;
	return 0;
}

static int parse_descriptor(struct arena *a, const json_t *obj, struct oci_descriptor *ret,
			    struct err **err)
{
	struct oci_descriptor d = { 0 };
	struct oci_list urls;
	struct str digest;
	if (!json_is_object(obj))
		return err_set(err, ERR_INVALID, "a descriptor is not an object");
	if (oci_json_str(a, obj, "mediaType", &d.media_type, err) < 0 ||
	    oci_json_str(a, obj, "digest", &digest, err) < 0 ||
	    digest_parse(digest, &d.digest, err) < 0)
		return -1;
	const json_t *size = json_object_get(obj, "size");
	if (!json_is_integer(size) || json_integer_value(size) < 0)
		return err_set(err, ERR_INVALID, "the descriptor of %.*s has no valid size",
			       STR_ARG(digest));
	d.size = (uint64_t)json_integer_value(size);
	const json_t *platform = NULL;
	if (oci_json_member(obj, "platform", JSON_OBJECT, &platform, err) < 0 ||
	    (platform && oci_json_platform(a, platform, &d.platform, err) < 0) ||
	    oci_json_map(a, obj, "annotations", &d.annotations, &d.n_annotations, err) < 0 ||
	    oci_json_strings(a, obj, "urls", &urls, err) < 0)
		return -1;
	d.urls = urls.v;
	d.n_urls = urls.n;
	*ret = d;
	return 0;
}

/* 1: an image, 2: an index, 0: none of the four types. */
static int kind_of(struct str type)
{
	if (str_eq_c(type, OCI_MANIFEST) || str_eq_c(type, DOCKER_MANIFEST))
		return 1;
	return str_eq_c(type, OCI_INDEX) || str_eq_c(type, DOCKER_INDEX) ? 2 : 0;
}

static bool is_schema1(struct str type)
{
	return str_ends(type, STR(".distribution.manifest.v1+json")) ||
		str_ends(type, STR("+prettyjws"));
}

/* "type/subtype; charset=utf-8" without parameters. */
static struct str without_parameters(struct str type)
{
	struct str rest;
	str_cut(type, ';', &type, &rest);
	return str_trim(type, " \t");
}

/*
 * Decides what the JSON is. Content-Type, `mediaType` and the members must agree: otherwise two readers could take one digest for
 * two things (CVE-2021-41190). A Content-Type that is none of ours (application/json) says nothing.
 */
static int decide(const json_t *obj, struct str content_type, struct str body_type, bool *ret_index,
		  struct err **err)
{
	bool index = json_object_get(obj, "manifests"),
	     image = json_object_get(obj, "layers") || json_object_get(obj, "config");
	const json_t *version = json_object_get(obj, "schemaVersion");
	if (is_schema1(content_type) || is_schema1(body_type) || json_object_get(obj, "fsLayers") ||
	    (json_is_integer(version) && json_integer_value(version) == 1)) {
		err_set(err, ERR_UNSUPPORTED,
			"it is in Docker's schema 1, which registries gave up");
		return err_hint(err, "push the image again with a current tool");
	}
	if (!json_is_integer(version) || json_integer_value(version) != 2)
		return err_set(err, ERR_INVALID, "\"schemaVersion\" is not 2");
	if (index && image)
		return err_set(err, ERR_INVALID, "it has both \"manifests\" and \"%s\"",
			       json_object_get(obj, "layers") ? "layers" : "config");
	if (!index && !image)
		return err_set(err, ERR_INVALID, "it has neither \"manifests\" nor \"layers\"");
	if (body_type.n && !kind_of(body_type))
		return err_set(err, ERR_UNSUPPORTED,
			       "media type '%.*s' is not one of an image or index",
			       STR_ARG(body_type));
	if (body_type.n && kind_of(content_type) && !str_eq(body_type, content_type))
		return err_set(err, ERR_INVALID, "it came as '%.*s' but says that it is '%.*s'",
			       STR_ARG(content_type), STR_ARG(body_type));
	struct str type = body_type.n ? body_type : content_type;
	if (kind_of(type) && kind_of(type) != (index ? 2 : 1))
		return err_set(err, ERR_INVALID, "media type '%.*s' does not fit its members",
			       STR_ARG(type));
	*ret_index = index;
	return 0;
}

static int parse_entries(struct arena *a, const json_t *obj, struct oci_manifest *m,
			 struct err **err)
{
	const char *name = m->is_index ? "manifests" : "layers";
	const json_t *list = NULL;
	if (oci_json_member(obj, name, JSON_ARRAY, &list, err) < 0)
		return -1;
	m->n_entries = list ? json_array_size(list) : 0;
	if (m->n_entries > MAX_ENTRIES)
		return err_set(err, ERR_LIMIT, "it has %zu entries in \"%s\", more than %d",
			       m->n_entries, name, MAX_ENTRIES);
	m->entries = arena_array_of(a, struct oci_descriptor, m->n_entries);
	for (size_t i = 0; i < m->n_entries; i++)
		if (parse_descriptor(a, json_array_get(list, i), &m->entries[i], err) < 0)
			return err_wrap(err, "\"%s\"[%zu]", name, i);
	return 0;
}

static int parse_manifest(struct arena *a, const json_t *obj, struct str content_type,
			  struct oci_manifest *ret, struct err **err)
{
	struct oci_manifest m = { 0 };
	struct str body_type;
	if (!json_is_object(obj))
		return err_set(err, ERR_INVALID, "it is not a JSON object");
	content_type = without_parameters(content_type);
	if (oci_json_str(a, obj, "mediaType", &body_type, err) < 0 ||
	    decide(obj, content_type, body_type, &m.is_index, err) < 0)
		return -1;
	if (body_type.n || kind_of(content_type))
		m.media_type = arena_str(a, body_type.n ? body_type : content_type);
	else
		m.media_type = m.is_index ? STR(OCI_INDEX) : STR(OCI_MANIFEST);
	if (!m.is_index && parse_descriptor(a, json_object_get(obj, "config"), &m.config, err) < 0)
		return err_wrap(err, "\"config\"");
	if (parse_entries(a, obj, &m, err) < 0 ||
	    oci_json_map(a, obj, "annotations", &m.annotations, &m.n_annotations, err) < 0)
		return -1;
	*ret = m;
	return 0;
}

int oci_manifest_parse(struct arena *a, struct str json, struct str media_type,
		       struct oci_manifest *ret, struct err **err)
{
	_cleanup_(json_unrefp) json_t *obj = json_parse(json, "manifest", err);
	if (!obj)
		return -1;
	if (parse_manifest(a, obj, media_type, ret, err) < 0)
		return err_wrap(err, "read manifest");
	return 0;
}

static int by_name(const void *x, const void *y)
{
	const struct oci_annotation *const *a = x, *const *b = y;
	int r = str_cmp((*a)->name, (*b)->name);
	return r ? r : (*a > *b) - (*a < *b);
}

void oci_json_put_map(json_t *obj, const char *name, const struct oci_annotation *v, size_t n)
{
	if (!n)
		return;
	/* Go prints maps sorted; of equal names the last one counts. */
	_cleanup_free_ const struct oci_annotation **sorted = xmalloc(n * sizeof(*sorted));
	for (size_t i = 0; i < n; i++)
		sorted[i] = &v[i];
	qsort(sorted, n, sizeof(*sorted), by_name);
	json_t *map = json_object();
	for (size_t i = 0; i < n; i++) {
		_cleanup_(sb_releasep) struct sb key = { 0 };
		utf8_add_clean(&key, sorted[i]->name);
		json_put_str(map, sb_c(&key), sorted[i]->value);
	}
	json_put(obj, name, map);
}

void oci_json_put_strings(json_t *obj, const char *name, const struct str *v, size_t n)
{
	if (!n)
		return;
	json_t *list = json_array();
	for (size_t i = 0; i < n; i++)
		json_push(list, json_text(v[i]));
	json_put(obj, name, list);
}

void oci_json_put_str(json_t *obj, const char *name, struct str s)
{
	if (s.n)
		json_put_str(obj, name, s);
}

static json_t *print_descriptor(const struct oci_descriptor *d)
{
	json_t *obj = json_object();
	char digest[DIGEST_TEXT];
	json_put_str(obj, "mediaType", d->media_type);
	json_put_str(obj, "digest", str_c(digest_text(&d->digest, digest)));
	json_put_int(obj, "size", (int64_t)d->size);
	oci_json_put_strings(obj, "urls", d->urls, d->n_urls);
	oci_json_put_map(obj, "annotations", d->annotations, d->n_annotations);
	if (d->platform.os.n) {
		json_t *p = json_object();
		json_put_str(p, "architecture", d->platform.arch);
		json_put_str(p, "os", d->platform.os);
		oci_json_put_str(p, "os.version", d->platform.os_version);
		oci_json_put_str(p, "variant", d->platform.variant);
		json_put(obj, "platform", p);
	}
	return obj;
}

void oci_manifest_print(const struct oci_manifest *m, struct sb *b)
{
	_cleanup_(json_unrefp) json_t *obj = json_object(), *list = NULL;
	json_put_int(obj, "schemaVersion", 2);
	json_put_str(obj, "mediaType",
		     m->media_type.n       ? m->media_type
			     : m->is_index ? STR(OCI_INDEX)
					   : STR(OCI_MANIFEST));
	if (!m->is_index)
		json_put(obj, "config", print_descriptor(&m->config));
	list = json_array();
	for (size_t i = 0; i < m->n_entries; i++)
		json_push(list, print_descriptor(&m->entries[i]));
	json_put(obj, m->is_index ? "manifests" : "layers", json_incref(list));
	oci_json_put_map(obj, "annotations", m->annotations, m->n_annotations);
	json_print(obj, b);
}

struct digest oci_chain_id(const struct digest *diff_ids, size_t n)
{
	if (!n)
		BUG("chain id of no layer");
	struct digest chain = diff_ids[0];
	for (size_t i = 1; i < n; i++) {
		char text[2 * DIGEST_TEXT];
		digest_text(&chain, text);
		text[DIGEST_TEXT - 1] = ' ';
		digest_text(&diff_ids[i], text + DIGEST_TEXT);
		chain = digest_of(text, 2 * DIGEST_TEXT - 1);
	}
	return chain;
}
