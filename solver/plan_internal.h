/*
 * plan_internal: what the files of plan share. One `struct plan_state` is BuildKit's dispatch state: a stage of the file, or a hidden
 * one for an image that COPY --from or a mount names. Everything lives in the arena of plan_bases(). Not for other rooms.
 *
 *     plan_bases.c    first pass: global ARGs, FROM lines, --target
 *     plan_source.c   named contexts, what commands read from, cycles, references, reachability, triggers
 *     plan_env.c      variables, expansion with its lint
 *     plan_graph.c    second pass: stage by stage, instruction by instruction; what the target needs
 *     plan_meta.c     instructions that change the config alone, and WORKDIR;  plan_expose.c  EXPOSE's grammar
 *     plan_run.c, plan_copy.c   the others
 *     plan_name.c     progress names;  plan_outline.c  what --call=outline shows
 *     plan_unsupported.c   what is planned but not executed yet
 */
#pragma once

#include "base/path.h"
#include "parser/parse.h"
#include "solver/config.h"
#include "solver/plan.h"

/* Variables in order; an assignment moves its name to the end, as BuildKit's build env does. */
struct plan_env {
	struct plan_pair *v;
	size_t n, cap;
	bool shared; /* v is given away: copy before the next change */
};

/* Names in order, each once. */
struct plan_names {
	struct str *v;
	size_t n, cap;
};

/* An environment for the lexer. */
struct plan_scope {
	struct df_env env;               /* first */
	const struct plan_env *vars;     /* NULL: none */
	const struct plan_names *masked; /* NULL: none; these read as **** */
	struct arena *a;
	struct plan_names *matched; /* NULL, or collects the names that were found */
};

struct plan_state;

struct plan_cmd {
	const struct df_instruction *ins;
	struct span at; /* of its instruction, or of the FROM that replays it */
	bool trigger;
	struct plan_state **sources; /* COPY: one if --from is given; RUN: one for each mount */
	size_t n_sources;
};

/* A declared ARG of a stage chain: each name once, at its first place with its last value. */
struct plan_arg {
	struct str name, value; /* value p NULL: unset */
};

/* ARGs and needs that an instruction declares, for the outline. */
struct plan_infos {
	struct plan_arg_info *v;
	size_t n, cap;
};

struct plan_global {
	struct plan_arg_info info;
	struct plan_names uses; /* names that its default uses */
};

struct plan_needs {
	struct plan_need *v;
	size_t n, cap;
};

struct plan_past {
	struct plan_history h;
	const struct plan_past *before;
};

struct plan_state {
	const struct df_stage *st; /* NULL: hidden */
	size_t number;             /* position among all states */
	struct str name;           /* lower-case, p NULL: none */
	struct str label;          /* what errors call it: its name or stage-N */
	struct str base_name;      /* expanded */
	struct str base_text;      /* as written */
	struct span at;
	struct plan_state *base; /* FROM a stage above */
	struct str ref;          /* of the external base; p NULL: none */
	struct plan_base *image; /* the external base, once it is known to be needed */
	/* A named context, in the base's place or, when `replaced`, in the stage's. */
	const struct plan_pair *context;
	bool scratch, replaced;
	bool has_platform;
	struct oci_platform platform;
	struct plan_cmd *cmds;
	size_t n_cmds;
	bool reached, triggered, planned;

	/* while and after planning */
	unsigned step_no, step_total; /* of progress names */
	bool workdir_set, cmd_set;
	const struct plan_cmd *last[3]; /* CMD, ENTRYPOINT, HEALTHCHECK of this stage */
	struct plan_env env;
	struct plan_arg *args;
	size_t n_args, cap_args;
	struct oci_image img;
	const struct plan_past *past;
	size_t n_past;
	struct plan_step *step;       /* what it has come to */
	const struct plan_base *root; /* the external image below it, or NULL */

	/* for the outline */
	struct plan_names used;  /* ARGs: of FROM, and declared */
	struct plan_infos infos; /* ARGs with a value of their own here */
	struct plan_needs secrets, ssh;
	bool outlined;
};

struct plan_bases {
	struct arena *a;
	const struct df_file *f;
	const struct plan_options *o;
	struct df_lint *lint;
	struct plan_env globals;    /* automatic and global ARGs that have a value */
	struct plan_names declared; /* names of both, with and without a value */
	struct plan_global *infos;  /* of the global ARGs, for the outline */
	size_t n_infos, cap_infos;
	struct plan_state **states; /* the file's stages first */
	size_t n_states, cap_states, n_stages;
	struct plan_state *target;
	bool one; /* one stage and no other source: progress names need no stage */
	struct plan_base **images;
	size_t n_images, cap_images;
	bool has_epoch;
	int64_t epoch_s;
	size_t arena_before;
	uint64_t work; /* comparisons along lists, about: bounded by plan_check_size() */

	/* second pass */
	struct plan_step **steps;
	size_t n_steps, cap_steps;
	struct plan_step *scratch, *context;
	struct plan_step **named; /* of the options' contexts, by their position; or NULL */
};

/* Where planning is: the arguments that every instruction needs. */
struct plan_at {
	struct plan_bases *b;
	struct plan_state *s;
	const struct plan_cmd *cmd;
};

/* An array in the arena with room for one more; the new array. */
void *plan_grow(struct arena *a, void *v, size_t n, size_t *cap, size_t size);
/* Adds x to such an array. */
#define PLAN_ADD(a, v, n, cap, x)                                                                  \
	((v) = plan_grow((a), (v), (n), &(cap), sizeof(*(v))), (void)((v)[(n)++] = (x)))

/* plan_env.c */
void plan_env_set(struct arena *a, struct plan_env *e, struct str name, struct str value);
bool plan_env_get(const struct plan_env *e, struct str name, struct str *ret);
/* The variables for keeps: later changes of e do not show. */
struct plan_pair *plan_env_share(struct plan_env *e);
void plan_names_add(struct arena *a, struct plan_names *l, struct str name);
bool plan_names_has(const struct plan_names *l, struct str name);
struct plan_scope plan_scope(struct arena *a, const struct plan_env *vars);
const struct plan_pair *plan_build_arg(const struct plan_options *o, struct str name);
/* Settings of a scanner: shown in history, never variables. */
bool plan_is_scan_arg(struct str name);
/* Expands a word, or a heredoc body, with the stage's variables; reports those that nothing defines. */
NODISCARD int plan_expand(const struct plan_at *p, struct str word, struct str *ret,
			  struct err **err);
NODISCARD int plan_expand_body(const struct plan_at *p, struct str body, struct str *ret,
			       struct err **err);
/* UndefinedVar for what an expansion found no value for. */
void plan_report_undefined(const struct plan_at *p, const struct df_expansion *x);
/* The nearest of an environment's names. */
struct str plan_env_near(struct arena *a, const struct plan_env *e, struct str name);
/* ERR_LIMIT when a Dockerfile makes the plan, or a stage's lists (s may be NULL), grow beyond what any real one needs. */
NODISCARD int plan_check_size(struct plan_bases *b, const struct plan_state *s, struct err **err);

/* plan_source.c */
struct plan_state *plan_state_new(struct plan_bases *b);
/* The --build-context of a name for a platform (NULL: the target's), or NULL in *ret. */
NODISCARD int plan_context_find(struct plan_bases *b, struct str name,
				const struct oci_platform *platform, const struct plan_pair **ret,
				struct err **err);
/* Sets what a command reads from; new hidden states are appended. */
NODISCARD int plan_cmd_sources(struct plan_bases *b, struct plan_cmd *cmd, struct err **err);
NODISCARD int plan_cycles(struct plan_bases *b, struct err **err);
/* Finds for each state, that has none yet, what it stands on: scratch, a context, an image (whose reference is parsed). */
NODISCARD int plan_references(struct plan_bases *b, struct err **err);
/* Marks what the target (or with all_stages: everything) needs; lists the images of that. */
NODISCARD int plan_reach(struct plan_bases *b, struct err **err);

/* plan_graph.c */
/* A step on what the stage has come to. Once its inputs are known, so that it stands behind them, plan_step_add() makes it part of the
 * plan and the stage's last. */
struct plan_step *plan_step_new(const struct plan_at *p, enum plan_kind kind);
void plan_step_add(const struct plan_at *p, struct plan_step *step);
/* The step of a named context; NULL: of the main one. */
struct plan_step *plan_context_step(struct plan_bases *b, const struct plan_pair *context);
/* Adds a history entry; step NULL: empty_layer. */
void plan_commit(const struct plan_at *p, struct plan_step *step, struct str text);
struct oci_platform plan_platform(const struct plan_bases *b, const struct plan_state *s);
struct str plan_cwd(const struct plan_at *p);

/* plan_meta.c, plan_expose.c, plan_run.c, plan_copy.c */
NODISCARD int plan_meta(const struct plan_at *p, struct err **err);
NODISCARD int plan_workdir(const struct plan_at *p, struct err **err);
void plan_workdir_set(struct plan_bases *b, struct plan_state *s, struct str path);
NODISCARD int plan_expose(const struct plan_at *p, struct err **err);
NODISCARD int plan_run(const struct plan_at *p, struct err **err);
NODISCARD int plan_copy(const struct plan_at *p, struct err **err);
/* The words of a shell form: SHELL, then the text. */
struct oci_list plan_with_shell(struct arena *a, const struct oci_config *c, struct str text);

/* plan_name.c */
/* "[stage 2/5] " and the text with its variables, on one line; counts the step. `link`: COPY --link. */
struct str plan_name(const struct plan_at *p, struct str text, bool link);
/* As RUN has it: set variables alone are replaced, quotes stay, `masked` names read as ****. */
struct str plan_name_run(const struct plan_at *p, struct str text, const struct plan_names *masked);
/* "[1/2] FROM ref". */
struct str plan_name_from(struct plan_bases *b, struct plan_state *s, struct str ref);

/* plan_unsupported.c */
NODISCARD int plan_unsupported(const struct plan *plan, struct err **err);
