#include "solver/config.h"

#include <inttypes.h>

#include "base/mem.h"

enum { FIRST = 8 };

/* Room for one more of n elements: arrays made here hold FIRST elements or the next power of two. */
static void *grow(struct arena *a, void *v, size_t n, size_t size)
{
	bool full = n == 0 || (n >= FIRST && (n & (n - 1)) == 0);
	if (!full)
		return v;
	void *wider = arena_alloc_array(a, n ? 2 * n : FIRST, size);
	if (n)
		memcpy(wider, v, n * size);
	return wider;
}

/* A copy with the room that grow() expects. */
static void *copied(struct arena *a, const void *v, size_t n, size_t size)
{
	size_t cap = FIRST;
	while (cap < n)
		cap *= 2;
	if (!n)
		return NULL;
	/* A full array is made wider by the next grow(), so cap == n is fine. */
	void *copy = arena_alloc_array(a, cap, size);
	memcpy(copy, v, n * size);
	return copy;
}

static void copy_list(struct arena *a, struct oci_list *l)
{
	l->v = copied(a, l->v, l->n, sizeof(*l->v));
}

struct oci_image config_inherit(struct arena *a, const struct oci_image *from)
{
	struct oci_image image = *from;
	struct oci_config *c = &image.config;
	copy_list(a, &c->env);
	copy_list(a, &c->entrypoint);
	copy_list(a, &c->cmd);
	copy_list(a, &c->onbuild);
	copy_list(a, &c->shell);
	copy_list(a, &c->exposed_ports);
	copy_list(a, &c->volumes);
	c->labels = copied(a, c->labels, c->n_labels, sizeof(*c->labels));
	return image;
}

struct oci_image config_scratch(struct arena *a, const struct oci_platform *p)
{
	struct oci_image image = { .platform = *p,
				   .created_ns = INT64_MIN,
				   .config.working_dir = STR("/") };
	config_list_add(a, &image.config.env, STR("PATH=" CONFIG_PATH));
	return image;
}

static struct str env_name(struct str entry)
{
	struct str name, value;
	return str_cut(entry, '=', &name, &value) ? name : entry;
}

void config_env_set(struct arena *a, struct oci_config *c, struct str name, struct str value)
{
	struct str entry = CONFIG_TEXT(a, name, STR("="), value);
	for (size_t i = 0; i < c->env.n; i++) {
		if (str_eq(env_name(c->env.v[i]), name)) {
			c->env.v[i] = entry;
			return;
		}
	}
	config_list_add(a, &c->env, entry);
}

bool config_env_has(const struct oci_config *c, struct str name)
{
	for (size_t i = 0; i < c->env.n; i++)
		if (str_eq(env_name(c->env.v[i]), name))
			return true;
	return false;
}

void config_label_set(struct arena *a, struct oci_config *c, struct str name, struct str value)
{
	for (size_t i = 0; i < c->n_labels; i++) {
		if (str_eq(c->labels[i].name, name)) {
			c->labels[i].value = value;
			return;
		}
	}
	c->labels = grow(a, c->labels, c->n_labels, sizeof(*c->labels));
	c->labels[c->n_labels++] = (struct oci_annotation){ name, value };
}

void config_key_add(struct arena *a, struct oci_list *keys, struct str key)
{
	for (size_t i = 0; i < keys->n; i++)
		if (str_eq(keys->v[i], key))
			return;
	config_list_add(a, keys, key);
}

void config_list_add(struct arena *a, struct oci_list *list, struct str item)
{
	list->v = grow(a, list->v, list->n, sizeof(*list->v));
	list->v[list->n++] = item;
	list->set = true;
}

struct str config_text(struct arena *a, const struct str *parts, size_t n)
{
	size_t all = 0;
	for (size_t i = 0; i < n; i++)
		all += parts[i].n;
	char *text = arena_alloc(a, all + 1), *end = text;
	for (size_t i = 0; i < n; i++) {
		if (parts[i].n)
			memcpy(end, parts[i].p, parts[i].n);
		end += parts[i].n;
	}
	return (struct str){ text, all };
}

struct str config_quoted(struct arena *a, struct str s)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	sb_add_goquote(&b, s);
	return arena_str(a, sb_str(&b));
}

struct str config_text_list(struct arena *a, const struct str *v, size_t n)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	sb_add_ch(&b, '[');
	for (size_t i = 0; i < n; i++) {
		sb_add_c(&b, i ? " " : "");
		sb_add_str(&b, v[i]);
	}
	sb_add_ch(&b, ']');
	return arena_str(a, sb_str(&b));
}

struct str config_text_quoted(struct arena *a, const struct str *v, size_t n)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	sb_add_ch(&b, '[');
	for (size_t i = 0; i < n; i++) {
		sb_add_c(&b, i ? " " : "");
		sb_add_goquote(&b, v[i]);
	}
	sb_add_ch(&b, ']');
	return arena_str(a, sb_str(&b));
}

/* whole.fraction without trailing zeros, for a value in units of 1/unit. */
static void add_decimal(struct sb *b, uint64_t value, uint64_t unit)
{
	sb_printf(b, "%" PRIu64, value / unit);
	uint64_t rest = value % unit;
	if (!rest)
		return;
	sb_add_ch(b, '.');
	while (rest) {
		unit /= 10;
		sb_add_ch(b, (char)('0' + rest / unit));
		rest %= unit;
	}
}

struct str config_text_duration(struct arena *a, int64_t ns)
{
	static const uint64_t us = 1000, ms = 1000 * us, s = 1000 * ms;
	_cleanup_(sb_releasep) struct sb b = { 0 };
	uint64_t v = ns < 0 ? -(uint64_t)ns : (uint64_t)ns;
	if (ns < 0)
		sb_add_ch(&b, '-');
	if (v == 0) {
		sb_add_c(&b, "0s");
	} else if (v < us) {
		sb_printf(&b, "%" PRIu64 "ns", v);
	} else if (v < s) {
		add_decimal(&b, v, v < ms ? us : ms);
		sb_add_c(&b, v < ms ? "\302\265s" : "ms");
	} else {
		uint64_t minutes = v / s / 60;
		if (minutes >= 60)
			sb_printf(&b, "%" PRIu64 "h", minutes / 60);
		if (minutes)
			sb_printf(&b, "%" PRIu64 "m", minutes % 60);
		add_decimal(&b, v % (60 * s), s);
		sb_add_ch(&b, 's');
	}
	return arena_str(a, sb_str(&b));
}
