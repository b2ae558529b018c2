#include "parser/dump.h"

#include "parser/mount.h"
#include "parser/parse.h"

/* Members that are not given are left out, which the schema counts as null, false, 0 or empty. */

static void put_text(json_t *o, const char *name, struct str s)
{
	if (s.p)
		json_put_str(o, name, s);
}

/* For what is a plain string in BuildKit: an empty one is as good as none. */
static void put_given(json_t *o, const char *name, struct str s)
{
	if (s.n)
		json_put_str(o, name, s);
}

static void put_true(json_t *o, const char *name, bool v)
{
	if (v)
		json_put(o, name, json_true());
}

static void put_lines(json_t *o, struct span at)
{
	json_t *l = json_array();
	json_push(l, json_integer(at.line));
	json_push(l, json_integer(at.last));
	json_put(o, "lines", l);
}

static void put_list(json_t *o, const char *name, const struct df_list *l)
{
	json_t *v = json_array();
	for (size_t i = 0; i < l->n; i++)
		json_push(v, json_text(l->v[i].text));
	json_put(o, name, v);
}

static void put_heredocs(json_t *o, const char *name, const struct df_heredoc *h, size_t n,
			 bool whole)
{
	json_t *v = json_array();
	for (size_t i = 0; i < n; i++) {
		json_t *d = json_object();
		json_put_str(d, "name", h[i].name);
		json_put(d, "expand", json_boolean(h[i].expand));
		if (whole) {
			json_put_int(d, "fd", h[i].fd);
			json_put(d, "strip_tabs", json_boolean(h[i].strip_tabs));
		}
		json_put_str(d, "content", h[i].content);
		json_push(v, d);
	}
	json_put(o, name, v);
}

static void put_pairs(json_t *o, const struct df_instruction *i)
{
	json_t *v = json_array();
	for (size_t k = 0; k < i->n_pairs; k++) {
		const struct df_pair *p = &i->pairs[k];
		json_t *d = json_object();
		json_put_str(d, "name", p->name);
		if (p->has_value)
			json_put_str(d, "value", p->value);
		put_true(d, "legacy", p->legacy);
		put_text(d, "description", p->description);
		json_push(v, d);
	}
	json_put(o, i->kind == DF_ARG ? "args" : "pairs", v);
}

static void put_command(json_t *o, const struct df_command *c)
{
	json_put_str(o, "form", c->exec ? STR("exec") : STR("shell"));
	put_list(o, "command", &c->words);
}

static void put_number(json_t *o, const char *name, int64_t v)
{
	if (v >= 0)
		json_put_int(o, name, v);
}

static json_t *dump_mount(const struct df_mount *m)
{
	static const char *const sharing[] = {
		[DF_SHARED] = "shared", [DF_PRIVATE] = "private", [DF_LOCKED] = "locked"
	};
	json_t *o = json_object();
	json_put_str(o, "type", str_c(df_mount_type_name(m->type)));
	put_given(o, "from", m->from);
	put_given(o, "source", m->source);
	put_given(o, "target", m->target);
	json_put(o, "readonly", json_boolean(m->readonly));
	json_put(o, "required", json_boolean(m->required));
	put_given(o, "id", m->id);
	if (m->has_sharing)
		json_put_str(o, "sharing", str_c(sharing[m->sharing]));
	put_number(o, "size", m->size_bytes);
	put_number(o, "mode", m->mode);
	put_number(o, "uid", m->uid);
	put_number(o, "gid", m->gid);
	put_text(o, "env", m->env);
	return o;
}

/* Mounts with their values taken literally; an error of one of them in their place. */
static void put_mounts(struct arena *a, json_t *o, const struct df_instruction *i)
{
	_cleanup_(json_unrefp) json_t *v = json_array();
	for (size_t k = 0; k < i->n_mounts; k++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		struct df_mount m;
		if (df_mount_parse(a, i->mounts[k].text, NULL, NULL, &m, &e) < 0) {
			json_put_str(o, "mount_error", str_c(e->msg));
			return;
		}
		json_push(v, dump_mount(&m));
	}
	json_put(o, "mounts", json_incref(v));
}

static void put_run(struct arena *a, json_t *o, const struct df_instruction *i)
{
	json_t *v = json_array();
	put_command(o, &i->command);
	put_heredocs(o, "heredocs", i->heredocs, i->n_heredocs, true);
	put_mounts(a, o, i);
	json_put_str(o, "network", i->network);
	json_put_str(o, "security", i->security);
	for (size_t k = 0; k < i->n_devices; k++) {
		json_t *d = json_object();
		json_put_str(d, "name", i->devices[k].name);
		put_true(d, "required", i->devices[k].required);
		json_push(v, d);
	}
	json_put(o, "devices", v);
}

static void put_copy(json_t *o, const struct df_instruction *i)
{
	put_list(o, "sources", &i->words);
	json_put_str(o, "dest", i->dest.text);
	put_heredocs(o, "inline_files", i->inline_files, i->n_inline_files, false);
	put_heredocs(o, "heredocs", i->heredocs, i->n_heredocs, true);
	put_given(o, "from", i->from);
	put_given(o, "chown", i->chown);
	put_given(o, "chmod", i->chmod);
	put_given(o, "checksum", i->checksum);
	put_true(o, "link", i->link);
	put_true(o, "parents", i->parents);
	put_list(o, "exclude", &i->excludes);
	if (i->keep_git_dir >= 0)
		json_put(o, "keep_git_dir", json_boolean(i->keep_git_dir));
	if (i->unpack >= 0)
		json_put(o, "unpack", json_boolean(i->unpack));
}

static void put_health(json_t *o, const struct df_instruction *i)
{
	put_list(o, "test", &i->health_test);
	json_put_int(o, "interval", i->health_interval_ns);
	json_put_int(o, "timeout", i->health_timeout_ns);
	json_put_int(o, "start_period", i->health_start_period_ns);
	json_put_int(o, "start_interval", i->health_start_interval_ns);
	json_put_int(o, "retries", i->health_retries);
}

static void put_one(json_t *o, const char *name, const struct df_instruction *i)
{
	json_put_str(o, name, i->words.v[0].text);
}

static void put_arguments(struct arena *a, json_t *o, const struct df_instruction *i)
{
	switch (i->kind) {
	case DF_ADD:
	case DF_COPY:
		put_copy(o, i);
		break;
	case DF_ARG:
	case DF_ENV:
	case DF_LABEL:
		put_pairs(o, i);
		break;
	case DF_CMD:
	case DF_ENTRYPOINT:
		put_command(o, &i->command);
		break;
	case DF_EXPOSE:
		put_list(o, "ports", &i->words);
		break;
	case DF_FROM:
		break;
	case DF_HEALTHCHECK:
		put_health(o, i);
		break;
	case DF_MAINTAINER:
		put_one(o, "maintainer", i);
		break;
	case DF_ONBUILD:
		json_put_str(o, "trigger", i->trigger);
		break;
	case DF_RUN:
		put_run(a, o, i);
		break;
	case DF_SHELL:
		put_list(o, "shell", &i->words);
		break;
	case DF_STOPSIGNAL:
		put_one(o, "signal", i);
		break;
	case DF_USER:
		put_one(o, "user", i);
		break;
	case DF_VOLUME:
		put_list(o, "volumes", &i->words);
		break;
	case DF_WORKDIR:
		put_one(o, "path", i);
		break;
	}
}

static void put_common(json_t *o, const struct df_instruction *i)
{
	json_put_str(o, "keyword", i->keyword);
	put_lines(o, i->at);
	json_put_str(o, "text", i->text);
	put_list(o, "flags", &i->flags);
}

static json_t *dump_instructions(struct arena *a, struct df_instruction *const *v, size_t n)
{
	json_t *list = json_array();
	for (size_t k = 0; k < n; k++) {
		json_t *o = json_object();
		json_put_str(o, "instruction", str_c(df_kind_name(v[k]->kind)));
		put_common(o, v[k]);
		put_arguments(a, o, v[k]);
		json_push(list, o);
	}
	return list;
}

static json_t *dump_stage(struct arena *a, const struct df_stage *s)
{
	json_t *o = json_object();
	put_text(o, "name", s->name);
	json_put_str(o, "base", s->base);
	put_given(o, "platform", s->platform);
	put_text(o, "description", s->description);
	put_common(o, s->from);
	json_put(o, "instructions", dump_instructions(a, s->instructions, s->n_instructions));
	return o;
}

static void put_directives(json_t *o, const struct df_file *f)
{
	json_t *v = json_array();
	for (size_t i = 0; f && i < f->n_directives; i++) {
		json_t *d = json_object();
		json_put_str(d, "name", f->directives[i].name);
		json_put_str(d, "value", f->directives[i].value);
		json_put_int(d, "line", f->directives[i].at.line);
		json_push(v, d);
	}
	json_put(o, "directives", v);
}

json_t *df_dump(struct arena *a, const struct df_file *f)
{
	json_t *o = json_object(), *stages = json_array();
	put_directives(o, f);
	json_put(o, "global_args", dump_instructions(a, f->global_args, f->n_global_args));
	for (size_t i = 0; i < f->n_stages; i++)
		json_push(stages, dump_stage(a, &f->stages[i]));
	json_put(o, "stages", stages);
	return o;
}

json_t *df_dump_error(const struct df_file *directives, const struct err *e)
{
	json_t *o = json_object(), *error = json_object();
	put_directives(o, directives);
	json_put_str(error, "message", str_c(e->msg));
	if (e->at.line)
		put_lines(error, e->at);
	json_put(o, "error", error);
	return o;
}
