/*
 * cmd: what a command is. One `const struct command` per cmd_*.c, listed in one array in main.c. A command turns options into one call
 * and prints its result; policy is never here. Results go to stdout, progress and errors to stderr.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/vec.h"

struct session;

enum opt_kind {
	OPT_FLAG,    /* bool: --x, --x=true|false; short ones bundle */
	OPT_NOT,     /* bool, true when the option is given as false: for what is on by default */
	OPT_STR,     /* const char * */
	OPT_LIST,    /* struct opt_list: may be repeated */
	OPT_INT,     /* int64_t */
	OPT_IGNORED, /* accepted and without effect, as the help says: it cannot change the result */
	OPT_REFUSED, /* Docker's, and not there yet: a usage error that names it; not in the help */
};

struct opt_list {
	const char **v;
	size_t n, cap;
};

struct option_row {
	char letter;      /* 0: none */
	const char *name; /* long name without dashes */
	enum opt_kind kind;
	size_t offset;   /* of the member in the command's options struct */
	const char *arg; /* what the value is, "NAME"; NULL for flags */
	const char *help;
};

enum command_needs {
	NEEDS_NOTHING = 0,
	NEEDS_ROOT = 1, /* refused in one sentence for others */
};

struct args {
	const char *const *v; /* what is left behind the options */
	size_t n;
};

struct command {
	const char *name;                 /* "build"; "debug fsck" for one of a group */
	const char *alias;                /* another name, or NULL */
	const char *usage;                /* "[OPTIONS] PATH" */
	const char *summary;              /* one line */
	const char *more;                 /* further text with examples, or NULL */
	const struct option_row *options; /* ends with name NULL; may be NULL */
	size_t opts_size;
	unsigned needs;
	bool stop_at_first;  /* options end at the first word (run IMAGE …) */
	bool container_exit; /* all errors of ours exit 125, as docker run has it */
	bool usage_125; /* usage errors do, and what a program could not be started for is its status: create, start, exec */
	/* 0 and *ret_status (0 unless the command gives another, as `run` does), or -1. */
	int (*run)(struct session *s, const void *opts, const struct args *args, int *ret_status,
		   struct err **err);
};

/* Parses argv into a zeroed options struct; what is left over in *ret_args (points into argv memory; arrays live until exit).
 * ERR_INVALID for a wrong use, in Docker's words ("unknown flag: --x"). *ret_help: --help was given. */
NODISCARD int opt_parse(const struct command *c, int argc, char **argv, void *opts,
			struct args *ret_args, bool *ret_help, struct err **err);

/* Frees the lists in an options struct and what is left over. */
void opt_release(const struct command *c, void *opts, struct args *args);

/* Prints a command's help to stdout. */
void opt_help(const struct command *c);

/* A usage error, by which exit_of() gives 2. Always -1. */
int cmd_usage(struct err **err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
