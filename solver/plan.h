/*
 * plan: AST → what has to be done, in two passes, as plain data in one arena. plan_bases() finds which stages are reached and which
 * external images they stand on; the caller resolves those (manifest and config, no layers); plan_graph() lowers each reached stage,
 * instruction by instruction, into steps with everything expanded, and computes the image config and history. Pure: no file, clock or
 * environment; knows no store and no process. solver/build turns steps into vertices of the core.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/glob.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "cache/oci.h"
#include "parser/dockerfile.h"
#include "parser/lint.h"
#include "parser/mount.h"

struct plan_pair {
	struct str name, value;
};

struct plan_options {
	struct str target;                  /* empty: the last stage */
	struct oci_platform build_platform; /* this machine */
	struct oci_platform target_platform;
	const struct plan_pair *build_args;
	size_t n_build_args;
	const struct plan_pair *labels; /* --label */
	size_t n_labels;
	const struct plan_pair *contexts; /* --build-context name=value: names lower-case */
	size_t n_contexts;
	enum { PLAN_NET_DEFAULT, PLAN_NET_NONE, PLAN_NET_HOST } network; /* --network */
	bool all_stages;     /* --check without a target, dumps: every stage is planned */
	bool no_client;      /* as the corpus was made: stage names need not be image names */
	struct str hostname; /* of RUN; empty: BUILDKIT_SANDBOX_HOSTNAME, else buildkitsandbox */
	const struct glob_set
		*ignore; /* of the main context, for the lint CopyIgnoredFile; NULL: none */
	struct df_lint
		*lint;   /* where warnings are collected, also when planning fails; NULL: nowhere */
	bool check_only; /* --check, dumps: what cannot be executed yet is no error */
};

/* An external image that a reached stage, COPY --from or mount needs. Filled by plan_bases() and, `config` and after, by the caller. */
struct plan_base {
	struct str ref;                 /* full reference, "docker.io/library/busybox:latest" */
	struct str original;            /* as written */
	struct oci_platform platform;   /* wanted */
	struct span at;                 /* of the instruction that needs it */
	struct str near;                /* did-you-mean for "not found"; p NULL: none */
	const struct oci_image *config; /* set by the caller after resolving */
	void *caller;                   /* the caller's own (its resolved image) */
	struct plan_step *step;         /* the plan's own: its PLAN_IMAGE step, once there is one */
};

struct plan_bases;
struct plan;

/* First pass. Global ARGs, FROM expansion, stage names, --target, --from checks, cycles, references: in the order of §7. */
NODISCARD int plan_bases(struct arena *a, const struct df_file *f, const struct plan_options *o,
			 struct plan_bases **ret, struct err **err);
/* The images to resolve, in file order. After plan_triggers() there may be more at the end. */
struct plan_base **plan_bases_list(struct plan_bases *b, size_t *ret_n);
/* ONBUILD triggers of resolved bases may name further images: call until *ret_more is false. */
NODISCARD int plan_triggers(struct plan_bases *b, bool *ret_more, struct err **err);

enum plan_kind { PLAN_SCRATCH, PLAN_IMAGE, PLAN_CONTEXT, PLAN_RUN, PLAN_COPY, PLAN_WORKDIR };

/* One source of a COPY or ADD. */
struct plan_source {
	struct plan_step *from; /* any step; NULL: ADD of a URL */
	struct str path; /* expanded, absolute, cleaned; may be a wildcard. Of a URL: as expanded */
	bool git;        /* a URL that names a git repository */
};

struct plan_file { /* a heredoc file of COPY, or RUN's script */
	struct str name, content;
};

struct plan_mount {
	struct df_mount m;      /* expanded; target absolute, empty where there is none */
	struct str key;         /* cache: BUILDKIT_CACHE_MOUNT_NS "/" id */
	struct plan_step *from; /* bind, cache with from: the source's step */
	struct span at;
};

/* A step: what makes a layer, or where layers come from. Steps are in an order in which each stands behind its inputs. */
struct plan_step {
	enum plan_kind kind;
	unsigned index;           /* position in plan->steps */
	struct plan_step *parent; /* RUN, COPY, WORKDIR: what it stands on */
	struct str display;       /* "[stage 2/5] RUN …" */
	struct str stage;         /* stage name or "" */
	struct span at;
	struct str keyword; /* "RUN", "COPY", "ADD", "WORKDIR" */

	struct plan_base *base; /* PLAN_IMAGE */
	struct str context,
		context_value; /* PLAN_CONTEXT: name and value of a --build-context, "" for the main one */

	/* RUN */
	struct str *argv;
	size_t n_argv;
	struct plan_pair *env; /* in order; without proxy variables */
	size_t n_env;
	struct plan_pair *proxies; /* added last, in no key */
	size_t n_proxies;
	struct str cwd, user; /* cwd absolute and cleaned */
	struct str hostname;
	int network; /* PLAN_NET_… */
	bool insecure;
	struct plan_file *files; /* heredoc scripts: /dev/pipes/NAME */
	size_t n_files;
	struct plan_mount *mounts;
	size_t n_mounts;
	const struct df_device *devices;
	size_t n_devices;
	struct str platform; /* "linux/amd64" */

	/* COPY, ADD */
	struct plan_source *sources;
	size_t n_sources;
	struct plan_file *inline_files;
	size_t n_inline_files;
	struct str dest;         /* expanded, absolute, trailing slash kept */
	struct str chown, chmod; /* expanded texts; p NULL: none */
	bool link, parents, is_add;
	struct str *excludes;
	size_t n_excludes;
	int unpack;          /* ADD: -1 auto, 0, 1; COPY: 0 */
	struct str checksum; /* ADD of a URL; p NULL: none */
	int keep_git_dir;    /* ADD of a git URL: -1 not given */

	/* WORKDIR */
	struct str path, owner; /* cleaned absolute path; USER as text */
};

/* An entry of the image's history that this build adds. `step` NULL: empty_layer. */
struct plan_history {
	struct str created_by, comment;
	struct plan_step *step;
	struct str author;
};

struct plan {
	struct plan_step **steps; /* all that the target needs, inputs first */
	size_t n_steps;
	struct plan_step *target; /* what the image's layers are */
	struct oci_image image;   /* config of the target; diff_ids and history of the base only */
	struct plan_history *history; /* what comes behind the base's history */
	size_t n_history;
	const struct plan_base *base; /* the target's external base, or NULL (scratch) */
	bool has_epoch;               /* SOURCE_DATE_EPOCH, in seconds */
	int64_t epoch_s;
	size_t n_warnings; /* what options.lint holds now */
};

/* What a target asks of whoever builds it, for --call=outline: by lines of the Dockerfile, each name once. */
struct plan_arg_info {
	struct str name, value, description; /* value empty: unset */
	struct span at;
};

struct plan_need {
	struct str id;
	bool required;
	struct span at;
};

struct plan_outline {
	struct str name, description; /* of the target */
	struct plan_arg_info *args;
	size_t n_args;
	struct plan_need *secrets, *ssh;
	size_t n_secrets, n_ssh;
};

/* Second pass. Every base's `config` must be set. ERR_SYNTAX with BuildKit's message and place; what is parsed but cannot be executed
 * yet and is needed by the target: ERR_UNSUPPORTED "not supported yet: …"; error=true of the checks: ERR_SYNTAX without a place. */
NODISCARD int plan_graph(struct plan_bases *b, struct plan **ret, struct err **err);

/* The outline of the target, after plan_graph(). */
void plan_outline(struct plan_bases *b, struct plan_outline *ret);
