#include "solver/check.h"

#include "base/path.h"
#include "cache/ref.h"
#include "parser/parse.h"
#include "solver/config.h"

static struct str build_arg(const struct plan_options *o, const char *name)
{
	struct str value = { 0 };
	for (size_t i = 0; i < o->n_build_args; i++)
		if (str_eq_c(o->build_args[i].name, name))
			value = o->build_args[i].value;
	return value;
}

/* BuildKit fetches the front end that `# syntax=` names. What is built in here is docker/dockerfile, of whatever registry. */
static int check_syntax(struct arena *a, const struct plan_options *o, const struct df_file *f,
			struct err **err)
{
	struct str value = build_arg(o, "BUILDKIT_SYNTAX"), rest;
	struct span at = { 0 };
	struct ref ref;
	_cleanup_(err_dropp) struct err *ignored = NULL;
	for (size_t i = 0; f && !value.n && i < f->n_directives; i++) {
		if (!str_eq_c(f->directives[i].name, "syntax"))
			continue;
		value = f->directives[i].value;
		at = f->directives[i].at;
	}
	if (!value.n)
		return 0;
	str_cut(value, ' ', &value, &rest);
	if (ref_parse(a, value, &ref, &ignored) == 0) {
		struct str name = path_base(ref.path);
		if (str_eq_c(name, "dockerfile") || str_eq_c(name, "dockerfile-upstream"))
			return 0;
	}
	err_set(err, ERR_UNSUPPORTED,
		"the front end '%.*s' of \"# syntax=\" cannot be used: docker/dockerfile is built in",
		STR_ARG(value));
	return err_at(err, at);
}

int solver_parse(struct arena *a, struct str text, const struct plan_options *o,
		 struct df_lint *lint, struct df_file **ret, struct err **err)
{
	struct df_file *file, *directives = NULL;
	struct err *bad = NULL;
	struct str options = build_arg(o, "BUILDKIT_DOCKERFILE_CHECK");
	int r = df_parse(a, text, &file, &directives, &bad);
	const struct df_file *known = r < 0 ? directives : file;
	if (text.n &&
	    ((!o->no_client && check_syntax(a, o, known, err) < 0) ||
	     df_lint_configure(lint, known, options, err) < 0)) {
		err_drop(&bad);
		return -1;
	}
	if (r < 0)
		return err_move(err, bad);
	*ret = file;
	return 0;
}

static const struct oci_image *assumed_image(struct arena *a, const struct oci_platform *p)
{
	struct oci_image *image = arena_new_of(a, struct oci_image);
	*image = (struct oci_image){
		.platform = *p, .created_ns = INT64_MIN, .n_history = 1, .n_diff_ids = 1
	};
	config_list_add(a, &image->config.env, STR("PATH=" CONFIG_PATH));
	image->history = arena_new_of(a, struct oci_history);
	image->history[0] =
		(struct oci_history){ .created_ns = INT64_MIN, .created_by = STR("base") };
	image->diff_ids = arena_new_of(a, struct digest);
	return image;
}

int solver_plan_assumed(struct arena *a, const struct df_file *f, const struct plan_options *o,
			struct plan **ret, struct err **err)
{
	struct plan_bases *bases;
	if (plan_bases(a, f, o, &bases, err) < 0)
		return -1;
	for (bool more = true; more;) {
		size_t n;
		struct plan_base **list = plan_bases_list(bases, &n);
		for (size_t i = 0; i < n; i++)
			if (!list[i]->config)
				list[i]->config = assumed_image(a, &list[i]->platform);
		if (plan_triggers(bases, &more, err) < 0)
			return -1;
	}
	return plan_graph(bases, ret, err);
}

struct plan_options solver_dump_options(void)
{
	struct oci_platform p = {
		.os = STR("linux"), .arch = STR("amd64"), .variant = STR(""), .os_version = STR("")
	};
	return (struct plan_options){
		.build_platform = p, .target_platform = p, .no_client = true, .check_only = true
	};
}

/* ---- check */

static json_t *lines(struct span at)
{
	json_t *j = json_array();
	json_push(j, json_integer(at.line));
	json_push(j, json_integer(at.last));
	return j;
}

static json_t *warnings(const struct df_lint *l)
{
	_cleanup_free_ const struct df_lint_warning **v = df_lint_by_line(l);
	json_t *list = json_array();
	for (size_t i = 0; i < l->n; i++) {
		json_t *j = json_object();
		json_put_str(j, "rule", df_lint_info(v[i]->rule)->name);
		json_put(j, "lines", lines(v[i]->at));
		json_put_str(j, "message", v[i]->message);
		json_push(list, j);
	}
	return list;
}

/* ---- dumps */

json_t *solver_check_dump(struct arena *a, const struct df_file *f)
{
	struct df_lint lint = { .a = a };
	struct plan_options o = solver_dump_options();
	struct plan *plan;
	_cleanup_(err_dropp) struct err *e = NULL;
	o.all_stages = true;
	o.lint = &lint;
	int r = df_lint_configure(&lint, f, (struct str){ 0 }, &e);
	if (r == 0)
		r = solver_plan_assumed(a, f, &o, &plan, &e);
	json_t *j = json_object();
	json_put(j, "warnings", warnings(&lint));
	if (r < 0) {
		json_t *error = json_object();
		json_put_str(error, "message", str_c(e->msg));
		if (e->at.line)
			json_put(error, "lines", lines(e->at));
		json_put(j, "error", error);
	}
	return j;
}

static void add_history(json_t *list, struct str created_by, bool empty)
{
	json_t *j = json_object();
	json_put_str(j, "created_by", created_by);
	json_put(j, "empty_layer", json_boolean(empty));
	json_push(list, j);
}

/* The config as Docker writes it: printed and read again, so that there is one place that knows its JSON. */
static json_t *config(const struct oci_image *image)
{
	_cleanup_(sb_releasep) struct sb text = { 0 };
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(json_unrefp) json_t *whole = NULL;
	if (oci_image_print(image, &text, &e) < 0 ||
	    !(whole = json_parse(sb_str(&text), "image config", &e)))
		return json_null();
	json_t *c = json_object_get(whole, "config");
	return c ? json_incref(c) : json_object();
}

json_t *solver_image_dump(struct arena *a, const struct df_file *f)
{
	struct plan_options o = solver_dump_options();
	struct plan *plan;
	_cleanup_(err_dropp) struct err *e = NULL;
	if (solver_plan_assumed(a, f, &o, &plan, &e) < 0)
		return json_null();
	json_t *j = json_object(), *history = json_array();
	json_put_str(j, "platform", oci_platform_text(a, &plan->image.platform));
	if (plan->image.author.n)
		json_put_str(j, "author", plan->image.author);
	json_put(j, "config", config(&plan->image));
	for (size_t i = 0; i < plan->image.n_history; i++)
		add_history(history, plan->image.history[i].created_by,
			    plan->image.history[i].empty_layer);
	for (size_t i = 0; i < plan->n_history; i++)
		add_history(history, plan->history[i].created_by, !plan->history[i].step);
	json_put(j, "history", history);
	return j;
}
