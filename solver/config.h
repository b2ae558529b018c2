/*
 * config: how instructions change an image config, and the texts that BuildKit's history has for them. Everything lives in an arena.
 * Lists grow in steps of powers of two, so a list must have been made by config_inherit() or here before it is added to.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"
#include "cache/oci.h"

/* PATH where an image sets none. */
#define CONFIG_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* A copy whose lists and labels may be changed without changing `from`; diff_ids, history and raw are shared. */
struct oci_image config_inherit(struct arena *a, const struct oci_image *from);
/* What `FROM scratch` begins with: WorkingDir "/", PATH, the platform. */
struct oci_image config_scratch(struct arena *a, const struct oci_platform *p);

/* name=value in Env: in place of the first of that name, else at the end. */
void config_env_set(struct arena *a, struct oci_config *c, struct str name, struct str value);
bool config_env_has(const struct oci_config *c, struct str name);
/* Sets a label; an old value is replaced in place. */
void config_label_set(struct arena *a, struct oci_config *c, struct str name, struct str value);
/* Adds a key to a set (ExposedPorts, Volumes) unless it is there. */
void config_key_add(struct arena *a, struct oci_list *keys, struct str key);
/* Adds to a list. */
void config_list_add(struct arena *a, struct oci_list *list, struct str item);

/* Texts one after the other, NUL bytes and all (which printf's %s would end at). */
struct str config_text(struct arena *a, const struct str *parts, size_t n);
#define CONFIG_TEXT(a, ...)                                                                        \
	config_text((a), (const struct str[]){ __VA_ARGS__ },                                      \
		    sizeof((const struct str[]){ __VA_ARGS__ }) / sizeof(struct str))
/* A text as Go's %q has it. */
struct str config_quoted(struct arena *a, struct str s);
/* Go's %v of a list: [a b]; its %q: ["a" "b"]. */
struct str config_text_list(struct arena *a, const struct str *v, size_t n);
struct str config_text_quoted(struct arena *a, const struct str *v, size_t n);
/* Go's text of a duration: 1m30s, 1.5s, 20ms, 0s. */
struct str config_text_duration(struct arena *a, int64_t ns);
