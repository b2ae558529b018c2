#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/io.h"
#include "cache/ref.h"
#include "cmd/cmd.h"
#include "cmd/commands.h"
#include "cmd/session.h"
#include "cmd/ui.h"
#include "parser/mount.h"
#include "solver/build.h"
#include "solver/call.h"
#include "solver/check.h"

enum { DOCKERFILE_MAX = 64 * 1024 * 1024, SHOWN_MAX = 256 * 1024 * 1024 };

struct build_flags {
	const char *file, *target, *progress, *iidfile, *network, *platform;
	struct opt_list tags, build_args, labels, contexts, outputs;
	const char *call;
	bool no_cache, pull, quiet, check;
	int64_t jobs;
};

#define AT(member) offsetof(struct build_flags, member)
static const struct option_row options[] = {
	{ 0, "build-arg", OPT_LIST, AT(build_args), "NAME[=VALUE]",
	  "Set a build argument; without a value: from the environment" },
	{ 0, "build-context", OPT_LIST, AT(contexts), "NAME=DIR",
	  "A further folder, or docker-image://REF, to COPY from or to stand on" },
	{ 0, "call", OPT_STR, AT(call), "METHOD",
	  "Show something instead of building: check, outline or targets; also with ,format=json" },
	{ 0, "check", OPT_FLAG, AT(check), NULL,
	  "Check the Dockerfile instead of building it (--call=check); warnings give exit 5" },
	{ 0, "compress", OPT_IGNORED, 0, NULL,
	  "Accepted: there is no transfer that could be compressed" },
	{ 'f', "file", OPT_STR, AT(file), "FILE",
	  "The Dockerfile (default: PATH/Dockerfile; -: from stdin)" },
	{ 0, "force-rm", OPT_IGNORED, 0, NULL, "Accepted: there are no intermediate containers" },
	{ 0, "iidfile", OPT_STR, AT(iidfile), "FILE", "Write the image id to FILE" },
	{ 0, "jobs", OPT_INT, AT(jobs), "N", "RUNs at once (default: 4 per core, at least 16)" },
	{ 0, "label", OPT_LIST, AT(labels), "NAME=VALUE", "Set a label of the image" },
	{ 0, "network", OPT_STR, AT(network), "MODE", "Network of RUN: default, host or none" },
	{ 0, "no-cache", OPT_FLAG, AT(no_cache), NULL, "Run each RUN, COPY and ADD anew" },
	{ 'o', "output", OPT_LIST, AT(outputs), "SPEC",
	  "Write the image elsewhere too: type=oci,dest=FILE" },
	{ 0, "platform", OPT_STR, AT(platform), "PLATFORM",
	  "Build for this platform (default: this machine's)" },
	{ 0, "progress", OPT_STR, AT(progress), "MODE",
	  "How progress is shown: auto, plain, tty, quiet, rawjson" },
	{ 0, "pull", OPT_FLAG, AT(pull), NULL, "Ask the registry for newer base images" },
	{ 'q', "quiet", OPT_FLAG, AT(quiet), NULL, "Print the image id only" },
	{ 0, "rm", OPT_IGNORED, 0, NULL, "Accepted: there are no intermediate containers" },
	{ 't', "tag", OPT_LIST, AT(tags), "NAME[:TAG]", "Name of the image; may be repeated" },
	{ 0, "target", OPT_STR, AT(target), "STAGE", "Build this stage (default: the last one)" },
	{ 0 },
};

/* What a build needs from the command line, in one arena. */
struct request {
	struct arena *arena;
	const struct build_flags *flags;
	struct sb dockerfile;
	struct build_options o;
};

/* The Dockerfile's text, its name for messages and its path. */
static int read_dockerfile(struct request *r, struct err **err)
{
	const char *file = r->flags->file;
	_cleanup_(err_dropp) struct err *e = NULL;
	r->dockerfile.max = DOCKERFILE_MAX;
	r->o.dockerfile_name = file && strcmp(file, "-")
		? (strrchr(file, '/') ? strrchr(file, '/') + 1 : file)
		: "Dockerfile";
	if (file && !strcmp(file, "-")) {
		if (io_read_fd(0, "stdin", &r->dockerfile, err) < 0)
			return err_status(err, 3);
	} else {
		const char *path =
			file ? file : arena_printf(r->arena, "%s/Dockerfile", r->o.context).p;
		if (!file && access(path, F_OK) < 0 && errno == ENOENT) {
			const char *lower = arena_printf(r->arena, "%s/dockerfile", r->o.context).p;
			path = access(lower, F_OK) == 0 ? lower : path;
		}
		if (io_read_file(AT_FDCWD, path, &r->dockerfile, &e) < 0) {
			err_set(err, e->code, "failed to read dockerfile: %s", e->msg);
			if (e->code == ERR_NOT_FOUND)
				err_hint(
					err,
					"name the Dockerfile with -f FILE; relative to the current folder");
			return err_status(err, 3);
		}
		r->o.dockerfile_path = path;
	}
	r->o.dockerfile = sb_str(&r->dockerfile);
	ui_set_source(r->o.dockerfile_name, sb_c(&r->dockerfile), r->dockerfile.n);
	return 0;
}

static int pairs_of(struct request *r, const struct opt_list *l, const char *option, bool from_env,
		    const struct plan_pair **ret, size_t *ret_n, struct err **err)
{
	struct plan_pair *all = arena_array_of(r->arena, struct plan_pair, l->n);
	size_t n = 0;
	for (size_t i = 0; i < l->n; i++) {
		struct str text = str_c(l->v[i]);
		if (!text.n || text.p[0] == '=')
			return cmd_usage(
				err, "invalid argument \"%s\" for \"--%s\": expected NAME=VALUE",
				l->v[i], option);
		if (str_cut(text, '=', &all[n].name, &all[n].value)) {
			n++;
			continue;
		}
		const char *value = from_env ? getenv(l->v[i]) : "";
		if (!value)
			continue; /* not set: as if it were not given */
		all[n++] = (struct plan_pair){ text, str_c(value) };
	}
	*ret = all;
	*ret_n = n;
	return 0;
}

/* --build-context NAME=DIR or docker-image://REF: names are compared like image names, lower-case. */
static int contexts_of(struct request *r, struct err **err)
{
	const struct plan_pair *list;
	if (pairs_of(r, &r->flags->contexts, "build-context", false, &list, &r->o.plan.n_contexts,
		     err) < 0)
		return -1;
	for (size_t i = 0; i < r->o.plan.n_contexts; i++) {
		struct plan_pair *p = (struct plan_pair *)(uintptr_t)&list[i];
		struct stat st;
		bool image = str_starts(p->value, STR("docker-image://"));
		if (!image && str_find_str(p->value, STR("://"), 0) != SIZE_MAX)
			return err_set(
				err, ERR_UNSUPPORTED,
				"not supported yet: --build-context %.*s: only folders and images are",
				STR_ARG(p->value));
		if (!image &&
		    (stat(arena_cstr(r->arena, p->value), &st) < 0 || !S_ISDIR(st.st_mode)))
			return err_set(err, ERR_NOT_FOUND,
				       "build context '%.*s': '%.*s' is no folder",
				       STR_ARG(p->name), STR_ARG(p->value)),
			       err_status(err, 3);
		char *lower = arena_cstr(r->arena, p->name);
		for (size_t k = 0; k < p->name.n; k++)
			lower[k] = str_lower(lower[k]);
		p->name.p = lower;
	}
	r->o.plan.contexts = list;
	return 0;
}

static int tags_of(struct request *r, struct err **err)
{
	struct str *tags = arena_array_of(r->arena, struct str, r->flags->tags.n);
	for (size_t i = 0; i < r->flags->tags.n; i++) {
		struct ref ref;
		if (ref_parse(r->arena, str_c(r->flags->tags.v[i]), &ref, err) < 0) {
			err_wrap(err, "invalid tag \"%s\"", r->flags->tags.v[i]);
			return err_status(err, 2);
		}
		if (ref.has_digest)
			return cmd_usage(err,
					 "invalid tag \"%s\": a tag cannot be a digest reference",
					 r->flags->tags.v[i]);
		tags[i] = ref_full(r->arena, &ref);
	}
	r->o.tags = tags;
	r->o.n_tags = r->flags->tags.n;
	return 0;
}

/* -o type=oci,dest=FILE[,tar=false] */
static int output_of(struct request *r, const char *spec, struct build_output *ret,
		     struct err **err)
{
	struct str rest = str_c(spec), field, key, value, type = { 0 };
	bool more = true, tar = true;
	while (more) {
		more = str_cut(rest, ',', &field, &rest);
		if (!more)
			field = rest;
		if (!str_cut(field, '=', &key, &value))
			return err_set(err, ERR_UNSUPPORTED,
				       "not supported yet: --output %s: use type=oci,dest=FILE",
				       spec),
			       err_status(err, 2);
		if (str_eq_c(key, "type"))
			type = value;
		else if (str_eq_c(key, "dest"))
			ret->dest = arena_cstr(r->arena, value);
		else if (str_eq_c(key, "tar") &&
			 (str_eq_c(value, "true") || str_eq_c(value, "false")))
			tar = str_eq_c(value, "true");
		else
			return err_set(err, ERR_UNSUPPORTED,
				       "not supported yet: --output %s: attribute '%.*s'", spec,
				       STR_ARG(key)),
			       err_status(err, 2);
	}
	if (!str_eq_c(type, "oci"))
		return err_set(err, ERR_UNSUPPORTED,
			       "not supported yet: --output type=%.*s: use type=oci,dest=FILE",
			       STR_ARG(type)),
		       err_status(err, 2);
	if (!ret->dest || !*ret->dest)
		return cmd_usage(err, "--output %s: dest=FILE is missing", spec);
	ret->kind = tar ? OUTPUT_OCI : OUTPUT_OCI_DIR;
	return 0;
}

static int outputs_of(struct request *r, struct err **err)
{
	struct build_output *all =
		arena_array_of(r->arena, struct build_output, r->flags->outputs.n);
	for (size_t i = 0; i < r->flags->outputs.n; i++)
		if (output_of(r, r->flags->outputs.v[i], &all[i], err) < 0)
			return -1;
	r->o.outputs = all;
	r->o.n_outputs = r->flags->outputs.n;
	return 0;
}

static int platform_of(struct request *r, struct err **err)
{
	struct oci_platform host = oci_platform_host();
	const char *text =
		r->flags->platform ? r->flags->platform : getenv("DOCKER_DEFAULT_PLATFORM");
	r->o.plan.build_platform = r->o.plan.target_platform = host;
	if (!text || !*text || !strcmp(text, "local"))
		return 0;
	if (strchr(text, ','))
		return err_set(err, ERR_UNSUPPORTED,
			       "not supported yet: several platforms in one build (--platform %s)",
			       text),
		       err_status(err, 2);
	return oci_platform_parse(r->arena, str_c(text), &host, &r->o.plan.target_platform, err) < 0
		? err_status(err, 2)
		: 0;
}

static int network_of(struct request *r, struct err **err)
{
	const char *n = r->flags->network;
	r->o.plan.network = n && !strcmp(n, "none") ? PLAN_NET_NONE
		: n && !strcmp(n, "host")           ? PLAN_NET_HOST
						    : PLAN_NET_DEFAULT;
	if (n && *n && strcmp(n, "none") && strcmp(n, "host") && strcmp(n, "default"))
		return cmd_usage(err, "invalid network mode \"%s\": use default, host or none", n);
	return 0;
}

static int request_of(struct request *r, const struct args *args, struct err **err)
{
	if (args->n != 1)
		return cmd_usage(err, "\"cbuild build\" requires exactly 1 argument");
	r->o.context = args->v[0];
	if (!strcmp(r->o.context, "-") || strstr(r->o.context, "://"))
		return err_set(err, ERR_UNSUPPORTED,
			       "not supported yet: a build context that is no folder ('%s')",
			       r->o.context),
		       err_status(err, 2);
	struct stat st;
	if (stat(r->o.context, &st) < 0) {
		err_sys(err, "open build context '%s'", r->o.context);
		return err_status(err, 3);
	}
	if (!S_ISDIR(st.st_mode))
		return err_set(err, ERR_INVALID, "open build context '%s': it is no folder",
			       r->o.context),
		       err_status(err, 3);
	r->o.no_cache = r->flags->no_cache;
	r->o.pull = r->flags->pull;
	r->o.plan.target = str_c(r->flags->target);
	if (pairs_of(r, &r->flags->build_args, "build-arg", true, &r->o.plan.build_args,
		     &r->o.plan.n_build_args, err) < 0 ||
	    pairs_of(r, &r->flags->labels, "label", false, &r->o.plan.labels, &r->o.plan.n_labels,
		     err) < 0 ||
	    contexts_of(r, err) < 0 || tags_of(r, err) < 0 || outputs_of(r, err) < 0 ||
	    platform_of(r, err) < 0 || network_of(r, err) < 0)
		return -1;
	return read_dockerfile(r, err);
}

/* A device or a pipe as --iidfile: it is written to, never removed nor replaced. */
static bool is_special(const char *path)
{
	struct stat st;
	return !stat(path, &st) && !S_ISREG(st.st_mode);
}

static int write_iid(const char *path, const struct digest *id, struct err **err)
{
	char text[DIGEST_TEXT];
	if (is_special(path)) {
		_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
		if (fd < 0 ||
		    io_write_full(fd, digest_text(id, text), strlen(digest_text(id, text))) < 0) {
			err_sys(err, "write '%s'", path);
			return err_status(err, 4);
		}
		return 0;
	}
	if (io_replace_file(AT_FDCWD, path, str_c(digest_text(id, text)), 0644, false, err) < 0)
		return err_status(err, 4);
	return 0;
}

static int environment(struct session *s, const struct request *r, struct event_sink *ui,
		       struct build_env *env, struct err **err)
{
	*env = (struct build_env){ .spawner = session_spawner,
				   .spawner_arg = s,
				   .events = ui,
				   .cancel = session_cancel_flag(s),
				   .wake_fd = session_wake_fd(s),
				   .jobs = r->flags->jobs > 0 ? (unsigned)r->flags->jobs : 0 };
	if (session_store(s, &env->store, err) < 0 || session_cache(s, &env->cache, err) < 0 ||
	    session_cpu_pool(s, &env->cpu, err) < 0)
		return -1;
	return session_registry(s, ui, &env->registry, err);
}

static int build(struct session *s, struct request *r, struct event_sink *ui,
		 struct build_result *result, struct err **err)
{
	struct build_env env;
	return environment(s, r, ui, &env, err) < 0 ? -1 : solver_build(&env, &r->o, result, err);
}

enum method { METHOD_BUILD, METHOD_CHECK, METHOD_OUTLINE, METHOD_TARGETS };

struct call {
	enum method method;
	bool json, ignore_status;
};

static void put_json(struct sb *out, json_t *j)
{
	json_print(j, out);
	sb_add_ch(out, '\n');
	json_decref(j);
}

/* What the checks say, and a failure of planning as an error. A warning is a gate: exit 5. */
static int check(struct session *s, struct request *r, const struct call *call, struct sb *out,
		 int *ret_status, struct err **err)
{
	struct build_env env;
	struct df_lint lint = { .a = r->arena };
	_cleanup_(err_dropp) struct err *e = NULL;
	struct str name = str_c(r->o.dockerfile_name);
	if (environment(s, r, NULL, &env, err) < 0)
		return -1;
	int status = solver_check(&env, &r->o, r->arena, &lint, &e);
	if (call->json)
		put_json(out, call_check_json(&lint, e, name, r->o.dockerfile));
	else if (!e || lint.n)
		call_check_text(&lint, name, r->o.dockerfile, out);
	if (status < 0 && call->ignore_status)
		ui_print_error(e);
	else if (status < 0)
		return err_move(err, STEAL(e));
	*ret_status = lint.n && !call->ignore_status ? 5 : 0;
	return 0;
}

static int outline(struct session *s, struct request *r, const struct call *call, struct sb *out,
		   struct err **err)
{
	struct build_env env;
	struct plan_outline o;
	if (environment(s, r, NULL, &env, err) < 0 ||
	    solver_outline(&env, &r->o, r->arena, &o, err) < 0)
		return -1;
	if (call->json)
		put_json(out, call_outline_json(&o, r->o.dockerfile));
	else
		call_outline_text(&o, out);
	return 0;
}

static int targets(struct request *r, const struct call *call, struct sb *out, struct err **err)
{
	struct df_lint lint = { .a = r->arena };
	struct df_file *file;
	if (solver_parse(r->arena, r->o.dockerfile, &r->o.plan, &lint, &file, err) < 0)
		return -1;
	if (call->json)
		put_json(out, call_targets_json(file));
	else
		call_targets_text(file, out);
	return 0;
}

/* What is shown instead of a build, on stdout, also where it ends with an error. */
static int show(struct session *s, struct request *r, const struct call *call, int *ret_status,
		struct err **err)
{
	_cleanup_(sb_releasep) struct sb out = { .max = SHOWN_MAX };
	int status;
	if (call->method == METHOD_CHECK)
		status = check(s, r, call, &out, ret_status, err);
	else if (call->method == METHOD_OUTLINE)
		status = outline(s, r, call, &out, err);
	else
		status = targets(r, call, &out, err);
	fwrite(sb_c(&out), 1, out.n, stdout);
	return status;
}

/* --call=METHOD[,format=json|text][,ignorestatus=BOOL], --check. */
static int call_of(const struct build_flags *f, struct call *ret, struct err **err)
{
	static const struct {
		const char *name;
		enum method method;
	} methods[] = { { "build", METHOD_BUILD },     { "", METHOD_BUILD },
			{ "check", METHOD_CHECK },     { "lint", METHOD_CHECK },
			{ "outline", METHOD_OUTLINE }, { "targets", METHOD_TARGETS } };
	const char *text = f->call ? f->call : f->check ? "check" : "build";
	struct str rest = str_c(text), field, key, value;
	bool more = str_cut(rest, ',', &field, &rest), known = false;
	if (!more)
		field = rest;
	for (size_t i = 0; i < ARRAY_SIZE(methods) && !known; i++) {
		known = str_eq_c(field, methods[i].name);
		ret->method = methods[i].method;
	}
	while (known && more) {
		more = str_cut(rest, ',', &field, &rest);
		if (!more)
			field = rest;
		known = str_cut(field, '=', &key, &value);
		if (known && str_eq_c(key, "format") &&
		    (str_eq_c(value, "json") || str_eq_c(value, "text")))
			ret->json = str_eq_c(value, "json");
		else
			known = known && str_eq_c(key, "ignorestatus") &&
				df_bool_parse(value, &ret->ignore_status);
	}
	return known ? 0 : cmd_usage(err, "invalid print value: %s", text);
}

static int run(struct session *s, const void *opts, const struct args *args, int *ret_status,
	       struct err **err)
{
	struct request r = { .arena = arena_new(), .flags = opts };
	struct build_result result;
	enum ui_mode mode;
	if (r.flags->iidfile && !is_special(r.flags->iidfile))
		unlink(r.flags->iidfile);
	if (ui_mode_of(r.flags->progress, r.flags->quiet, &mode, err) < 0)
		return err_status(err, 2);
	struct call call = { 0 };
	if (call_of(r.flags, &call, err) < 0 || request_of(&r, args, err) < 0)
		return -1;
	session_catch_signals(s);
	if (call.method != METHOD_BUILD)
		return show(s, &r, &call, ret_status, err);
	struct event_sink *ui = ui_open(mode);
	int status = build(s, &r, ui, &result, err);
	ui_close(ui, status < 0);
	if (!status && r.flags->iidfile)
		status = write_iid(r.flags->iidfile, &result.image_id, err);
	if (!status && result.n_warnings && mode != UI_RAWJSON && mode != UI_QUIET)
		fprintf(stderr, "%zu warning%s found (use --check to see them)\n",
			result.n_warnings, result.n_warnings == 1 ? "" : "s");
	char text[DIGEST_TEXT];
	if (!status && mode == UI_QUIET)
		printf("%s\n", digest_text(&result.image_id, text));
	else if (!status && mode != UI_RAWJSON)
		fprintf(stderr, "image %s\n", digest_text(&result.image_id, text));
	return status;
}

const struct command cmd_build = {
	.name = "build",
	.alias = "image build",
	.usage = "[OPTIONS] PATH",
	.summary = "Build an image from a Dockerfile",
	.options = options,
	.opts_size = sizeof(struct build_flags),
	.needs = NEEDS_ROOT,
	.run = run,
	.more = "Examples:\n  cbuild build -t shop .\n  cbuild -t shop .                          the same\n"
		"  cbuild build -f docker/Dockerfile --target test --build-arg VERSION=2 .\n"
		"  cbuild build --output type=oci,dest=shop.tar .\n",
};
