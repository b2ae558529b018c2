/*
 * main: the command table, dispatch, and the one place where errors are printed and exit codes decided.
 * `cbuild [GLOBAL OPTIONS] COMMAND …`; an option in the command's place means build: `cbuild -t shop .`
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/cmd.h"
#include "cmd/commands.h"
#include "cmd/session.h"
#include "cmd/ui.h"

/* Groups of two words ("debug fsck") stand under their full name. */
static const struct command *const commands[] = {
	&cmd_build,
	&cmd_run,
	&cmd_create,
	&cmd_start,
	&cmd_exec,
	&cmd_attach,
	&cmd_ps,
	&cmd_logs,
	&cmd_stop,
	&cmd_kill,
	&cmd_rm,
	&cmd_wait,
	&cmd_inspect,
	&cmd_rename,
	&cmd_images,
	&cmd_pull,
	&cmd_tag,
	&cmd_rmi,
	&cmd_import,
	&cmd_version,
	&cmd_debug_fsck,
	&cmd_debug_dockerfile,
	&cmd_debug_image,
	&cmd_internal_tail,
	&cmd_internal_reap,
};

static const struct option_row global_options[] = {
	{ 0, "root", OPT_STR, offsetof(struct session_options, root), "DIR",
	  "Keep the store in DIR and the run folder in DIR/run (also CBUILD_ROOT)" },
	{ 0, "durable", OPT_FLAG, offsetof(struct session_options, durable), NULL,
	  "Wait until everything is on disk before ending" },
	{ 0 },
};

static void help(void)
{
	printf("Usage:  cbuild [GLOBAL OPTIONS] COMMAND\n        cbuild [BUILD OPTIONS] PATH\n\n"
	       "Builds Dockerfiles, runs what was built and shares it: one program, no daemon.\n\nCommands:\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strncmp(commands[i]->name, "internal", 8) != 0)
			printf("  %-24s %s\n", commands[i]->name, commands[i]->summary);
	printf("\nGlobal options:\n");
	for (const struct option_row *o = global_options; o->name; o++) {
		char left[64];
		snprintf(left, sizeof(left), "%s%s%s", o->name, o->arg ? " " : "",
			 o->arg ? o->arg : "");
		printf("  --%-22s %s\n", left, o->help);
	}
	printf("\nRun 'cbuild COMMAND --help' for more about a command.\n\n"
	       "Examples:\n  cbuild -t shop .\n  cbuild images\n  cbuild pull 127.0.0.1:5000/library/busybox\n");
}

/* The command that argv begins with; *ret_words: how many words its name has. */
static const struct command *find(int argc, char **argv, int *ret_words)
{
	for (int words = argc > 1 ? 2 : 1; words > 0; words--) {
		char name[128];
		if (words == 2)
			snprintf(name, sizeof(name), "%s %s", argv[0], argv[1]);
		else
			snprintf(name, sizeof(name), "%s", argv[0]);
		for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
			const struct command *c = commands[i];
			if (!strcmp(c->name, name) || (c->alias && !strcmp(c->alias, name))) {
				*ret_words = words;
				return c;
			}
		}
	}
	return NULL;
}

/* 0 ok, 1 failed, 2 usage, 3 Dockerfile or context, 4 built but not exported, 5 a gate, 130/143 cancelled; containers 125. */
static int exit_of(const struct command *c, const struct err *e, const struct session *s)
{
	if (e->code == ERR_CANCELED && session_signal(s))
		return 128 + session_signal(s);
	if (c && c->container_exit)
		return e->status >= 125 && e->status <= 255 ? e->status : 125;
	if (c && c->usage_125 && e->status >= 126 && e->status <= 255)
		return e->status;
	if (c && c->usage_125 && e->code == ERR_INVALID && e->status == 2)
		return 125;
	if (e->code != ERR_EXIT && e->status >= 2 && e->status <= 5)
		return e->status;
	if (e->code == ERR_SYNTAX)
		return 3;
	return 1;
}

static int usage_error(const struct command *c, struct err *e)
{
	fprintf(stderr, "%s\n", e->msg);
	if (c)
		fprintf(stderr, "hint: see 'cbuild %s --help'\n", c->name);
	else
		fprintf(stderr, "hint: see 'cbuild --help'\n");
	return c && (c->container_exit || c->usage_125) ? 125 : 2;
}

static int run(const struct command *c, int argc, char **argv, const struct session_options *so)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_free_ void *opts = xcalloc(1, c->opts_size ? c->opts_size : 1);
	struct args args;
	bool want_help;
	if (opt_parse(c, argc, argv, opts, &args, &want_help, &e) < 0)
		return usage_error(c, e);
	if (want_help) {
		opt_help(c);
		opt_release(c, opts, &args);
		return 0;
	}
	if (c->needs & NEEDS_ROOT && geteuid() != 0) {
		fprintf(stderr,
			"ERROR: cbuild %s must be run as root (without root it does not work yet)\n",
			c->name);
		return c->container_exit ? 125 : 1;
	}
	struct session *s = session_new(so);
	int status = 0;
	if (c->run(s, opts, &args, &status, &e) < 0) {
		status = exit_of(c, e, s);
		if (e->status == 2 && e->code == ERR_INVALID)
			usage_error(c, e);
		else
			ui_print_error(e);
	}
	if (fflush(stdout) < 0 && !status)
		status = 1;
	session_free(s);
	opt_release(c, opts, &args);
	return status;
}

/* Reads the global options in front; *i moves behind them. The first option that is none of them means build. 0, or the exit status. */
static int parse_global(int argc, char **argv, int *i, struct session_options *so)
{
	static const struct command global = { .name = "",
					       .options = global_options,
					       .opts_size = sizeof(struct session_options) };
	while (*i < argc && argv[*i][0] == '-' && argv[*i][1] == '-') {
		const char *name = argv[*i] + 2;
		size_t n = strcspn(name, "=");
		const struct option_row *o = global_options;
		while (o->name && (strlen(o->name) != n || memcmp(o->name, name, n)))
			o++;
		if (!o->name)
			break;
		int words = o->kind == OPT_STR && !name[n] ? 2 : 1;
		struct args none;
		bool want_help;
		_cleanup_(err_dropp) struct err *e = NULL;
		if (opt_parse(&global, words > argc - *i ? argc - *i : words, argv + *i, so, &none,
			      &want_help, &e) < 0)
			return usage_error(NULL, e);
		free((void *)(uintptr_t)none.v);
		*i += words;
	}
	return 0;
}

/* `cbuild`, `cbuild --help`, `cbuild help [COMMAND]`. */
static int show_help(int argc, char **argv)
{
	int words;
	const struct command *c = argc > 1 ? find(argc - 1, argv + 1, &words) : NULL;
	if (c)
		opt_help(c);
	else
		help();
	return argc ? 0 : 2;
}

static int unknown(const char *word)
{
	struct stat st;
	fprintf(stderr, "cbuild: '%s' is not a cbuild command\n", word);
	if (!stat(word, &st) && S_ISDIR(st.st_mode))
		fprintf(stderr, "hint: to build the Dockerfile of that folder: cbuild build %s\n",
			word);
	else
		fprintf(stderr, "hint: see 'cbuild --help'\n");
	return 2;
}

static bool is_word(const char *arg, const char *a, const char *b)
{
	return !strcmp(arg, a) || !strcmp(arg, b);
}

int main(int argc, char **argv)
{
	/* Descriptors 0–2 must be there, or the store's files would become them. */
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return 1;
	signal(SIGPIPE, SIG_IGN);
	log_init(getenv("CBUILD_LOG"));
	struct session_options so = { .root = getenv("CBUILD_ROOT") };
	if (so.root && !*so.root)
		so.root = NULL;
	int i = 1, words = 0, status = parse_global(argc, argv, &i, &so);
	if (status)
		return status;
	if (i >= argc || is_word(argv[i], "--help", "-h") || !strcmp(argv[i], "help"))
		return show_help(argc - i, argv + i);
	if (is_word(argv[i], "--version", "-v")) {
		printf("cbuild version %s\n", CBUILD_VERSION);
		return 0;
	}
	if (argv[i][0] == '-')
		return run(&cmd_build, argc - i, argv + i, &so);
	const struct command *c = find(argc - i, argv + i, &words);
	return c ? run(c, argc - i - words, argv + i + words, &so) : unknown(argv[i]);
}
