#include "runtime/container/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/err.h"
#include "runtime/caps.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

enum { ETC_FILES = 3, MAX_GROUPS = 1024 };

static struct str text_of(const json_t *word)
{
	return (struct str){ json_string_value(word), json_string_length(word) };
}

void container_process_release(struct container_process *p)
{
	for (size_t i = 0; p->mounts && i < p->spec.n_mounts; i++)
		if (p->mounts[i].kind == RUNTIME_MOUNT_FILE)
			close(p->mounts[i].fd);
	container_env_release(&p->env);
	runtime_user_release(&p->user);
	for (size_t i = 0; i < p->n_raw; i++)
		free(p->raw[i]);
	free(p->raw);
	free(p->argv);
	free(p->groups);
	free(p->mounts);
	free(p->rlimits);
	free(p->nodes);
	free(p->cwd);
	free(p->hostname);
	*p = (struct container_process){ 0 };
}

/* ---- what pid 1 and exec share */

/* "777", or a name of the container's /etc/group. */
static int group_of(int root_fd, struct str text, gid_t *ret, struct err **err)
{
	_cleanup_free_ char *word = xasprintf("0:%.*s", STR_ARG(text));
	struct runtime_user u = { 0 };
	if (runtime_user_find(root_fd, str_c(word), &u, err) < 0)
		return -1;
	*ret = u.gid;
	runtime_user_release(&u);
	return 0;
}

static int set_user(const json_t *host, int root_fd, struct str user, struct container_process *p,
		    struct err **err)
{
	const json_t *add = json_object_get(host, "GroupAdd");
	if (runtime_user_find(root_fd, user, &p->user, err) < 0)
		return -1;
	size_t n = p->user.n_groups, i;
	json_t *word;
	if (json_array_size(add) > MAX_GROUPS)
		return err_set(err, ERR_LIMIT, "more than %d groups", MAX_GROUPS);
	p->groups = xcalloc(n + json_array_size(add) + 1, sizeof(*p->groups));
	if (n)
		memcpy(p->groups, p->user.groups, n * sizeof(*p->groups));
	json_array_foreach(add, i, word) if (group_of(root_fd, text_of(word), &p->groups[n++],
						      err) < 0) return -1;
	p->spec.uid = p->user.uid;
	p->spec.gid = p->user.gid;
	p->spec.groups = p->groups;
	p->spec.n_groups = n;
	return 0;
}

static size_t words_of(const json_t *list, struct str *v, size_t max)
{
	size_t i, n = 0;
	json_t *word;
	json_array_foreach(list, i, word) if (n < max) v[n++] = text_of(word);
	return n;
}

static int set_caps(const json_t *host, struct container_process *p, struct err **err)
{
	struct str add[64], drop[64];
	uint64_t mask;
	size_t n_add = words_of(json_object_get(host, "CapAdd"), add, ARRAY_SIZE(add));
	size_t n_drop = words_of(json_object_get(host, "CapDrop"), drop, ARRAY_SIZE(drop));
	if (runtime_caps_change(add, n_add, drop, n_drop, &mask, err) < 0)
		return -1;
	p->spec.caps = runtime_caps_of(mask, p->spec.uid);
	return 0;
}

/* Docker's order: PATH, HOSTNAME, TERM, the image's and the user's over them; HOME last where it is missing. */
static void set_env(const struct container *k, bool tty, struct container_process *p)
{
	const json_t *config = container_section(k, "Config"),
		     *list = json_object_get(config, "Env");
	size_t i;
	json_t *word;
	_cleanup_free_ char *host = xasprintf("HOSTNAME=%s", p->hostname ? p->hostname : "");
	container_env_set(&p->env, STR(DEFAULT_PATH));
	container_env_set(&p->env, str_c(host));
	if (tty)
		container_env_set(&p->env, STR("TERM=xterm"));
	json_array_foreach(list, i, word) container_env_set(&p->env, text_of(word));
}

static void end_env(struct container_process *p)
{
	if (!container_env_get(&p->env, "HOME")) {
		_cleanup_free_ char *home = xasprintf("HOME=%s", p->user.home ? p->user.home : "/");
		container_env_set(&p->env, str_c(home));
	}
	p->spec.env = container_env_words(&p->env);
}

static void set_limits(const json_t *host, struct container_process *p)
{
	const json_t *list = json_object_get(host, "Ulimits");
	size_t i;
	json_t *one;
	p->rlimits = xcalloc(json_array_size(list) + 1, sizeof(*p->rlimits));
	json_array_foreach(list, i, one)
	{
		_cleanup_(err_dropp) struct err *e = NULL;
		_cleanup_free_ char *word = xasprintf("%.*s=0", STR_ARG(json_get_str(one, "Name")));
		struct container_ulimit u;
		struct str name;
		if (container_ulimit_parse(str_c(word), &u, &name, &e) < 0)
			continue;
		p->rlimits[p->spec.n_rlimits++] =
			(struct runtime_rlimit){ u.resource, (uint64_t)json_get_int(one, "Soft", 0),
						 (uint64_t)json_get_int(one, "Hard", 0) };
	}
	p->spec.rlimits = p->rlimits;
}

static void set_dir(struct str dir, struct container_process *p)
{
	p->cwd = dir.n ? str_dup(dir) : xstrdup("/");
	p->spec.cwd = p->cwd;
}

static void begin(const struct container *k, struct container_process *p)
{
	*p = (struct container_process){ 0 };
	runtime_spec_init(&p->spec);
	p->hostname = str_dup(json_get_str(container_section(k, "Config"), "Hostname"));
}

/* ---- pid 1 */

static char *unhex(struct str text)
{
	char *out = xcalloc(text.n / 2 + 1, 1);
	for (size_t i = 0; i + 1 < text.n; i += 2) {
		char pair[3] = { text.p[i], text.p[i + 1], 0 };
		out[i / 2] = (char)strtoul(pair, NULL, 16);
	}
	return out;
}

/* The command's words are the last arguments. */
static void set_raw(const struct container *k, struct container_process *p, size_t argc)
{
	const json_t *raw = json_object_get(k->config, "RawCommand");
	size_t n = json_array_size(raw);
	if (n > argc)
		return;
	p->raw = xcalloc(n + 1, sizeof(*p->raw));
	for (; p->n_raw < n; p->n_raw++) {
		p->raw[p->n_raw] = unhex(text_of(json_array_get(raw, p->n_raw)));
		p->argv[argc - n + p->n_raw] = p->raw[p->n_raw];
	}
}

static void set_argv(const struct container *k, struct container_process *p)
{
	const json_t *args = json_object_get(k->config, "Args");
	size_t i;
	json_t *word;
	p->argv = xcalloc(json_array_size(args) + 2, sizeof(*p->argv));
	p->argv[0] = json_string_value(json_object_get(k->config, "Path"));
	json_array_foreach(args, i, word) p->argv[i + 1] = json_string_value(word);
	set_raw(k, p, json_array_size(args) + 1);
	p->spec.argv = p->argv;
}

static int add_etc(const struct container *k, struct container_process *p, struct err **err)
{
	static const char *const files[ETC_FILES][2] = { { "etc/hostname", "/etc/hostname" },
							 { "etc/hosts", "/etc/hosts" },
							 { "etc/resolv.conf",
							   "/etc/resolv.conf" } };
	for (size_t i = 0; i < ETC_FILES; i++) {
		int fd = openat(k->dir_fd, files[i][0], O_PATH | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0)
			return err_sys(err, "open '%s' of the container", files[i][0]);
		p->mounts[p->spec.n_mounts++] = (struct runtime_mount){ .kind = RUNTIME_MOUNT_FILE,
									.fd = fd,
									.target = files[i][1],
									.mode = 0755,
									.lock_fd = -1 };
	}
	return 0;
}

static int add_tmpfs(const json_t *all, struct container_process *p, struct err **err)
{
	const char *path;
	json_t *options;
	json_object_foreach((json_t *)(uintptr_t)all, path, options)
	{
		struct container_tmpfs t;
		if (container_tmpfs_parse(text_of(options), &t, err) < 0)
			return -1;
		p->mounts[p->spec.n_mounts++] = (struct runtime_mount){
			.kind = RUNTIME_MOUNT_TMPFS,
			.fd = -1,
			.target = path,
			.readonly = t.readonly,
			.noexec = t.noexec,
			.nosuid = t.nosuid,
			.nodev = t.nodev,
			.size_bytes = t.size_bytes,
			.mode = (mode_t)t.mode,
			.lock_fd = -1,
		};
	}
	return 0;
}

static size_t depth(const char *path)
{
	size_t n = 0;
	for (const char *p = path; *p; p++)
		n += *p == '/' && p[1] && p[1] != '/';
	return n;
}

static int by_depth(const void *x, const void *y)
{
	const struct runtime_mount *a = x, *b = y;
	size_t da = depth(a->target), db = depth(b->target);
	return da < db ? -1 : da > db ? 1 : strcmp(a->target, b->target);
}

static int set_mounts(const struct container *k, const json_t *host, struct container_process *p,
		      struct err **err)
{
	const json_t *tmpfs = json_object_get(host, "Tmpfs");
	p->mounts = xcalloc(ETC_FILES + json_object_size(tmpfs), sizeof(*p->mounts));
	if (add_etc(k, p, err) < 0 || add_tmpfs(tmpfs, p, err) < 0)
		return -1;
	qsort(p->mounts, p->spec.n_mounts, sizeof(*p->mounts), by_depth);
	p->spec.mounts = p->mounts;
	return 0;
}

static int set_nodes(const json_t *host, struct container_process *p, struct err **err)
{
	const json_t *list = json_object_get(host, "Devices");
	size_t i;
	json_t *one;
	p->nodes = xcalloc(json_array_size(list) + 1, sizeof(*p->nodes));
	json_array_foreach(list, i, one)
	{
		const char *from = json_string_value(json_object_get(one, "PathOnHost")),
			   *to = json_string_value(json_object_get(one, "PathInContainer"));
		struct stat st;
		if (stat(from, &st) < 0)
			return err_sys(err, "look at device '%s'", from);
		p->nodes[p->spec.n_nodes++] =
			(struct runtime_node){ to + strlen("/dev/"), st.st_mode, st.st_uid,
					       st.st_gid, st.st_rdev };
	}
	p->spec.nodes = p->nodes;
	return 0;
}

int container_process_main(const struct container *k, int root_fd, struct container_process *ret,
			   struct err **err)
{
	struct container_process *p = ret;
	const json_t *config = container_section(k, "Config"),
		     *host = container_section(k, "HostConfig");
	begin(k, p);
	struct runtime_spec *s = &p->spec;
	if (set_user(host, root_fd, json_get_str(config, "User"), p, err) < 0 ||
	    set_caps(host, p, err) < 0)
		return -1;
	set_argv(k, p);
	set_env(k, json_get_bool(config, "Tty"), p);
	end_env(p);
	set_dir(json_get_str(config, "WorkingDir"), p);
	set_limits(host, p);
	if (set_mounts(k, host, p, err) < 0 || set_nodes(host, p, err) < 0)
		return -1;
	s->root_fd = root_fd;
	s->root_readonly = json_get_bool(host, "ReadonlyRootfs");
	s->net = str_eq_c(json_get_str(host, "NetworkMode"), "host") ? RUNTIME_NET_HOST
								     : RUNTIME_NET_NONE;
	s->net_sysctls = s->net != RUNTIME_NET_HOST;
	s->host_pid = str_eq_c(json_get_str(host, "PidMode"), "host");
	s->hostname = p->hostname;
	s->shm_size_bytes = json_get_int(host, "ShmSize", 0);
	s->init = json_get_bool(host, "Init");
	s->terminal.tty = json_get_bool(config, "Tty");
	s->terminal.open_stdin = json_get_bool(config, "OpenStdin");
	s->terminal.stdin_once = json_get_bool(config, "StdinOnce");
	return 0;
}

/* ---- exec */

int container_process_exec(const struct container *k, int root_fd, const struct container_exec *x,
			   struct container_process *ret, struct err **err)
{
	struct container_process *p = ret;
	const json_t *config = container_section(k, "Config"),
		     *host = container_section(k, "HostConfig");
	_cleanup_(json_unrefp) json_t *more = json_array();
	size_t i;
	json_t *word;
	begin(k, p);
	struct str user = x->user ? str_c(x->user) : json_get_str(config, "User");
	if (set_user(host, root_fd, user, p, err) < 0 || set_caps(host, p, err) < 0 ||
	    container_env_options(&x->env, &x->env_file, more, err) < 0)
		return -1;
	p->argv = xcalloc(x->argv.n + 1, sizeof(*p->argv));
	memcpy(p->argv, x->argv.v, x->argv.n * sizeof(*p->argv));
	p->spec.argv = p->argv;
	set_env(k, x->tty, p);
	json_array_foreach(more, i, word) container_env_set(&p->env, text_of(word));
	end_env(p);
	set_dir(x->workdir ? str_c(x->workdir) : json_get_str(config, "WorkingDir"), p);
	if (p->cwd[0] != '/')
		return err_set(
			err, ERR_INVALID,
			"the working directory '%s' is invalid, it needs to be an absolute path",
			p->cwd);
	set_limits(host, p);
	p->spec.terminal.tty = x->tty;
	p->spec.terminal.open_stdin = x->interactive;
	p->spec.terminal.stdin_once = true;
	return 0;
}
