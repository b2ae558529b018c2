/* The small languages of the options. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/err.h"
#include "base/io.h"
#include "base/vec.h"
#include "runtime/container/config.h"

enum { ENV_FILE_MAX = 1024 * 1024 };

/* ---- signals */

static const struct {
	const char *name;
	int number;
} signals[] = {
	{ "ABRT", SIGABRT }, { "ALRM", SIGALRM }, { "BUS", SIGBUS },       { "CHLD", SIGCHLD },
	{ "CLD", SIGCHLD },  { "CONT", SIGCONT }, { "FPE", SIGFPE },       { "HUP", SIGHUP },
	{ "ILL", SIGILL },   { "INT", SIGINT },   { "IO", SIGIO },         { "IOT", SIGIOT },
	{ "KILL", SIGKILL }, { "PIPE", SIGPIPE }, { "POLL", SIGPOLL },     { "PROF", SIGPROF },
	{ "PWR", SIGPWR },   { "QUIT", SIGQUIT }, { "SEGV", SIGSEGV },     { "STKFLT", SIGSTKFLT },
	{ "STOP", SIGSTOP }, { "SYS", SIGSYS },   { "TERM", SIGTERM },     { "TRAP", SIGTRAP },
	{ "TSTP", SIGTSTP }, { "TTIN", SIGTTIN }, { "TTOU", SIGTTOU },     { "URG", SIGURG },
	{ "USR1", SIGUSR1 }, { "USR2", SIGUSR2 }, { "VTALRM", SIGVTALRM }, { "WINCH", SIGWINCH },
	{ "XCPU", SIGXCPU }, { "XFSZ", SIGXFSZ }, { "RTMIN", 34 },         { "RTMAX", 64 },
};

int container_signal_parse(struct str text, int *ret, struct err **err)
{
	struct err *e = NULL;
	int64_t n;
	if (str_int(text, 1, 64, &n, &e) == 0) {
		*ret = (int)n;
		return 0;
	}
	err_drop(&e);
	struct str name = text.n > 3 && str_ieq(str_sub(text, 0, 3), STR("SIG"))
		? str_sub(text, 3, text.n)
		: text;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (str_ieq(name, str_c(signals[i].name))) {
			*ret = signals[i].number;
			return 0;
		}
	bool up = name.n > 6 && str_ieq(str_sub(name, 0, 6), STR("RTMIN+")),
	     down = name.n > 6 && str_ieq(str_sub(name, 0, 6), STR("RTMAX-"));
	if ((up || down) && str_int(str_sub(name, 6, name.n), 0, up ? 15 : 14, &n, &e) == 0) {
		*ret = up ? 34 + (int)n : 64 - (int)n;
		return 0;
	}
	err_drop(&e);
	return err_set(err, ERR_INVALID, "invalid signal: %.*s", STR_ARG(str_sub(text, 0, 32)));
}

/* ---- sizes */

int container_size_parse(struct str text, int64_t *ret, struct err **err)
{
	static const char units[] = "bkmgtp";
	_cleanup_(err_dropp) struct err *e = NULL;
	struct str digits = text;
	int shift = 0;
	if (digits.n > 1 && str_lower(digits.p[digits.n - 1]) == 'b' &&
	    memchr(units + 1, str_lower(digits.p[digits.n - 2]), sizeof(units) - 2))
		digits.n--;
	const char *unit = digits.n
		? memchr(units, str_lower(digits.p[digits.n - 1]), sizeof(units) - 1)
		: NULL;
	if (unit) {
		shift = (int)(unit - units) * 10;
		digits.n--;
	}
	int64_t n;
	if (str_int(digits, 0, INT64_MAX >> shift, &n, &e) < 0)
		return err_set(err, ERR_INVALID, "invalid size: '%.*s'",
			       STR_ARG(str_sub(text, 0, 32)));
	*ret = n << shift;
	return 0;
}

/* ---- environment */

static struct str env_name(struct str word)
{
	return str_sub(word, 0, str_find(word, '=', 0));
}

static size_t env_find(const struct container_env *e, struct str name)
{
	for (size_t i = 0; i < e->n; i++)
		if (str_eq(env_name(str_c(e->v[i])), name))
			return i;
	return SIZE_MAX;
}

void container_env_set(struct container_env *e, struct str word)
{
	size_t i = env_find(e, env_name(word));
	bool removes = str_find(word, '=', 0) == SIZE_MAX;
	if (removes && i != SIZE_MAX) {
		free(e->v[i]);
		memmove(e->v + i, e->v + i + 1, (e->n - i - 1) * sizeof(*e->v));
		e->n--;
	} else if (!removes && i != SIZE_MAX) {
		free(e->v[i]);
		e->v[i] = str_dup(word);
	} else if (!removes) {
		VEC_PUSH(e, str_dup(word));
	}
}

const char *container_env_get(const struct container_env *e, const char *name)
{
	size_t i = env_find(e, str_c(name));
	return i == SIZE_MAX ? NULL : strchr(e->v[i], '=') + 1;
}

const char *const *container_env_words(struct container_env *e)
{
	VEC_PUSH(e, NULL);
	e->n--;
	return (const char *const *)e->v;
}

void container_env_release(struct container_env *e)
{
	for (size_t i = 0; i < e->n; i++)
		free(e->v[i]);
	VEC_RELEASE(e);
}

/* One line of an --env-file: blanks in front are dropped, a comment is passed over, nothing is quoted. */
static int env_line(struct str line, const char *path, json_t *list, struct err **err)
{
	while (line.n && (line.p[0] == ' ' || line.p[0] == '\t'))
		line = str_sub(line, 1, line.n);
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	if (!line.n || line.p[0] == '#')
		return 0;
	struct str name = env_name(line);
	if (!name.n)
		return err_set(
			err, ERR_INVALID,
			"poorly formatted environment: no variable name on line '%.*s' of '%s'",
			STR_ARG(line), path);
	if (str_find(name, ' ', 0) != SIZE_MAX || str_find(name, '\t', 0) != SIZE_MAX)
		return err_set(err, ERR_INVALID,
			       "poorly formatted environment: variable '%.*s' contains whitespaces",
			       STR_ARG(name));
	if (name.n < line.n) {
		json_push(list, json_text(line));
		return 0;
	}
	_cleanup_free_ char *own = str_dup(name);
	const char *value = getenv(own);
	if (value) {
		_cleanup_free_ char *word = xasprintf("%s=%s", own, value);
		json_push(list, json_text(str_c(word)));
	}
	return 0;
}

static int env_file(const char *path, json_t *list, struct err **err)
{
	_cleanup_(sb_releasep) struct sb text = { .max = ENV_FILE_MAX };
	if (io_read_file(AT_FDCWD, path, &text, err) < 0)
		return -1;
	struct str rest = sb_str(&text);
	if (str_starts(rest, STR("\xef\xbb\xbf")))
		rest = str_sub(rest, 3, rest.n);
	while (rest.n) {
		struct str line = rest;
		if (!str_cut(rest, '\n', &line, &rest))
			rest.n = 0;
		if (env_line(line, path, list, err) < 0)
			return -1;
	}
	return 0;
}

int container_env_options(const struct container_words *env, const struct container_words *files,
			  json_t *list, struct err **err)
{
	for (size_t i = 0; i < files->n; i++)
		if (env_file(files->v[i], list, err) < 0)
			return -1;
	for (size_t i = 0; i < env->n; i++) {
		struct str word = str_c(env->v[i]);
		if (!env_name(word).n)
			return err_set(err, ERR_INVALID, "invalid environment variable: %s",
				       env->v[i]);
		const char *value = strchr(env->v[i], '=') ? NULL : getenv(env->v[i]);
		_cleanup_free_ char *own = value ? xasprintf("%s=%s", env->v[i], value) : NULL;
		json_push(list, json_text(own ? str_c(own) : word));
	}
	return 0;
}

/* ---- limits */

static const struct {
	const char *name;
	int resource;
} limits[] = {
	{ "core", RLIMIT_CORE },         { "cpu", RLIMIT_CPU },
	{ "data", RLIMIT_DATA },         { "fsize", RLIMIT_FSIZE },
	{ "locks", RLIMIT_LOCKS },       { "memlock", RLIMIT_MEMLOCK },
	{ "msgqueue", RLIMIT_MSGQUEUE }, { "nice", RLIMIT_NICE },
	{ "nofile", RLIMIT_NOFILE },     { "nproc", RLIMIT_NPROC },
	{ "rss", RLIMIT_RSS },           { "rtprio", RLIMIT_RTPRIO },
	{ "rttime", RLIMIT_RTTIME },     { "sigpending", RLIMIT_SIGPENDING },
	{ "stack", RLIMIT_STACK },
};

static int limit_value(struct str text, uint64_t *ret, struct err **err)
{
	int64_t n;
	if (str_eq_c(text, "-1")) {
		*ret = (uint64_t)RLIM64_INFINITY;
		return 0;
	}
	if (str_int(text, 0, INT64_MAX, &n, err) < 0)
		return -1;
	*ret = (uint64_t)n;
	return 0;
}

int container_ulimit_parse(struct str text, struct container_ulimit *ret, struct str *ret_name,
			   struct err **err)
{
	struct str name, soft, hard;
	_cleanup_(err_dropp) struct err *e = NULL;
	struct container_ulimit u;
	if (!str_cut(text, '=', &name, &soft))
		return err_set(err, ERR_INVALID, "invalid ulimit argument: %.*s", STR_ARG(text));
	hard = soft;
	str_cut(soft, ':', &soft, &hard);
	size_t i = 0;
	while (i < ARRAY_SIZE(limits) && !str_eq_c(name, limits[i].name))
		i++;
	if (i == ARRAY_SIZE(limits))
		return err_set(err, ERR_INVALID, "invalid ulimit type: %.*s", STR_ARG(name));
	if (limit_value(soft, &u.soft, &e) < 0 || limit_value(hard, &u.hard, &e) < 0)
		return err_set(err, ERR_INVALID, "invalid ulimit argument: %.*s", STR_ARG(text));
	if (u.soft > u.hard)
		return err_set(err, ERR_INVALID,
			       "ulimit soft limit must be less than or equal to hard limit: %.*s",
			       STR_ARG(text));
	u.resource = limits[i].resource;
	*ret = u;
	*ret_name = name;
	return 0;
}

int container_tmpfs_parse(struct str options, struct container_tmpfs *ret, struct err **err)
{
	struct container_tmpfs t = { .noexec = true, .nosuid = true, .nodev = true, .mode = 01777 };
	const struct {
		const char *name;
		bool *flag, value;
	} flags[] = { { "ro", &t.readonly, true },   { "rw", &t.readonly, false },
		      { "noexec", &t.noexec, true }, { "exec", &t.noexec, false },
		      { "nosuid", &t.nosuid, true }, { "suid", &t.nosuid, false },
		      { "nodev", &t.nodev, true },   { "dev", &t.nodev, false } };
	while (options.n) {
		struct str one = options;
		if (!str_cut(options, ',', &one, &options))
			options.n = 0;
		size_t i = 0;
		while (i < ARRAY_SIZE(flags) && !str_eq_c(one, flags[i].name))
			i++;
		if (i < ARRAY_SIZE(flags)) {
			*flags[i].flag = flags[i].value;
		} else if (str_starts(one, STR("size="))) {
			if (container_size_parse(str_sub(one, 5, one.n), &t.size_bytes, err) < 0)
				return -1;
		} else if (str_starts(one, STR("mode="))) {
			_cleanup_free_ char *digits = str_dup(str_sub(one, 5, one.n));
			char *end;
			unsigned long mode = strtoul(digits, &end, 8);
			if (!*digits || *end || mode > 07777)
				return err_set(err, ERR_INVALID, "invalid tmpfs option %.*s",
					       STR_ARG(one));
			t.mode = (unsigned)mode;
		} else {
			return err_set(err, ERR_INVALID, "invalid tmpfs option [\"%.*s\"]",
				       STR_ARG(one));
		}
	}
	*ret = t;
	return 0;
}
