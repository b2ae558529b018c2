/*
 * dockerfile: the AST of a Dockerfile. Everything lives in the arena given to df_parse() and borrows from the text, which must
 * outlive it. Nothing is expanded here: values are as written, quotes and escapes kept where BuildKit keeps them.
 * Every node knows its span: lines from 1, bytes of the source. Reference: dockerfile specification §1–2.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

enum df_kind {
	DF_ADD,
	DF_ARG,
	DF_CMD,
	DF_COPY,
	DF_ENTRYPOINT,
	DF_ENV,
	DF_EXPOSE,
	DF_FROM,
	DF_HEALTHCHECK,
	DF_LABEL,
	DF_MAINTAINER,
	DF_ONBUILD,
	DF_RUN,
	DF_SHELL,
	DF_STOPSIGNAL,
	DF_USER,
	DF_VOLUME,
	DF_WORKDIR,
};

/* A word of an instruction with its place in the source. */
struct df_word {
	struct str text;
	struct span at;
};

struct df_list {
	struct df_word *v;
	size_t n;
};

struct df_directive {
	struct str name, value; /* name lower-case */
	struct span at;
};

struct df_heredoc {
	struct str name, content; /* body as written: tabs not stripped */
	int fd;
	bool expand, strip_tabs;
	struct span at; /* of the body */
};

/* name[=value] of ENV, LABEL, ARG. */
struct df_pair {
	struct str name, value;
	bool has_value, legacy;
	struct str description; /* ARG: doc comment; p NULL: none */
	struct span at;
};

/* The command of RUN, CMD, ENTRYPOINT: exec form is the JSON array, shell form one text. */
struct df_command {
	bool exec;
	struct df_list words; /* shell form: one word, or none for an empty text */
};

/* A value of RUN --device. */
struct df_device {
	struct str name;
	bool required;
	struct span at;
};

enum df_mount_type { DF_MOUNT_BIND, DF_MOUNT_CACHE, DF_MOUNT_TMPFS, DF_MOUNT_SECRET, DF_MOUNT_SSH };

/* An option list of RUN --mount, after CSV splitting; values are judged and expanded at dispatch (parser/mount.h). */
struct df_mount_flag {
	struct str text; /* the flag's value */
	struct str from; /* p NULL: none */
	struct span at;
};

struct df_instruction {
	enum df_kind kind;
	struct str keyword;      /* as written */
	struct str text;         /* the logical line, outer blanks trimmed, no heredoc bodies */
	struct str args;         /* the rest of the logical line behind keyword and flags */
	struct span at;          /* first … last line, with continuations and heredoc bodies */
	struct df_list flags;    /* as written: "--from=build" */
	struct df_list comments; /* doc comments collected before it, as §1.3 keeps them */

	struct df_pair *pairs; /* ARG, ENV, LABEL */
	size_t n_pairs;
	struct df_list
		words; /* COPY, ADD: sources; EXPOSE (sorted), VOLUME, SHELL; USER, WORKDIR, STOPSIGNAL, MAINTAINER: one */
	struct df_word dest; /* COPY, ADD */
	struct df_heredoc *heredocs;
	size_t n_heredocs;
	struct df_heredoc *inline_files; /* COPY, ADD: heredocs among the sources */
	size_t n_inline_files;
	struct df_command command; /* RUN, CMD, ENTRYPOINT */

	struct str from, chown, chmod, checksum; /* COPY, ADD; p NULL: not given */
	bool link, parents;
	struct df_list excludes;
	int keep_git_dir, unpack; /* ADD: -1 not given, 0, 1 */

	struct df_mount_flag *mounts; /* RUN */
	size_t n_mounts;
	struct str network, security; /* RUN: "default" "none" "host"; "sandbox" "insecure" */
	struct df_device *devices;
	size_t n_devices;

	struct df_list health_test; /* HEALTHCHECK: ["NONE"], ["CMD", …], ["CMD-SHELL", text] */
	int64_t health_interval_ns, health_timeout_ns, health_start_period_ns,
		health_start_interval_ns;
	int health_retries;

	struct str trigger; /* ONBUILD: text; heredoc bodies follow with their terminators */
};

struct df_stage {
	struct str name;        /* lower-cased; p NULL: none */
	struct str base;        /* as written */
	struct str platform;    /* p NULL: none */
	struct str as_keyword;  /* "AS" as written */
	struct str description; /* doc comment; p NULL: none */
	struct df_instruction *from;
	struct df_instruction **instructions;
	size_t n_instructions;
	struct span at; /* of the FROM line */
};

struct df_file {
	struct str text; /* the source */
	char escape;     /* '\\' or '`' */
	struct df_directive *directives;
	size_t n_directives;
	struct df_instruction **global_args;
	size_t n_global_args;
	struct df_stage *stages;
	size_t n_stages;
	unsigned *
		empty_continuations; /* lines that end an instruction with a blank line inside its continuation (lint) */
	size_t n_empty_continuations;
};
