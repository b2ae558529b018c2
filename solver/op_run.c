/*
 * op_run: RUN. One job on a waiter thread: work folder, overlay of the parent's chain, the process through the spawner, its output as
 * events and into the step's log, commit. Sealing follows on the cpu pool. Environment as BuildKit's executor gives it (hostname, hosts,
 * resolv.conf, HOME, no HOSTNAME variable); mount stubs are taken back by runtime/ before the process counts as ended.
 */
#include "solver/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/path.h"
#include "cache/db.h"
#include "cache/store.h"
#include "runtime/spawner.h"
#include "runtime/user.h"

struct digest op_run_digest(const struct plan_step *p)
{
	struct digester h;
	_cleanup_(sb_releasep) struct sb list = { 0 };
	digest_fields(&h, "cbuild.op.1");
	digest_field_c(&h, "run");
	for (size_t i = 0; i < p->n_argv; i++)
		digest_put_field(&list, p->argv[i]);
	digest_field_c(&h, "args");
	digest_field_str(&h, sb_str(&list));
	sb_reset(&list);
	for (size_t i = 0; i < p->n_env; i++) {
		_cleanup_free_ char *pair =
			xasprintf("%.*s=%.*s", STR_ARG(p->env[i].name), STR_ARG(p->env[i].value));
		digest_put_field(&list, str_c(pair));
	}
	digest_field_c(&h, "env");
	digest_field_str(&h, sb_str(&list));
	if (!str_eq_c(p->cwd, "/")) {
		digest_field_c(&h, "cwd");
		digest_field_str(&h, p->cwd);
	}
	if (p->user.n) {
		digest_field_c(&h, "user");
		digest_field_str(&h, p->user);
	}
	digest_field_c(&h, "host");
	digest_field_str(&h, p->hostname);
	if (p->network != PLAN_NET_DEFAULT) {
		digest_field_c(&h, "net");
		digest_field_c(&h, p->network == PLAN_NET_NONE ? "none" : "host");
	}
	digest_field_c(&h, "plat");
	digest_field_str(&h, p->platform);
	if (p->n_files) {
		sb_reset(&list);
		for (size_t i = 0; i < p->n_files; i++) {
			digest_put_field(&list, p->files[i].name);
			digest_put_field(&list, p->files[i].content);
		}
		digest_field_c(&h, "files");
		digest_field_str(&h, sb_str(&list));
	}
	return digest_end(&h);
}

/* A RUN that prints for ever must not fill the disk by its log. */
#define STEP_LOG_MAX (UINT64_C(1) << 30)

/* One RUN while its process runs. */
struct running {
	struct step *s;
	struct process *process;
	int out[2], err[2]; /* pipes: [0] ours, [1] the process's */
	int log;            /* the step's log file, -1: none */
	uint64_t log_left;  /* bytes that it may still take */
	struct runtime_exit exit;
};

static void running_release(struct running *r)
{
	runtime_process_free(r->process);
	for (int i = 0; i < 2; i++) {
		mem_closep(&r->out[i]);
		mem_closep(&r->err[i]);
	}
	mem_closep(&r->log);
}

/* Adds output to the step's log; beyond its bound, and where the disk is full, the log ends and the step goes on. */
static void keep(struct running *r, const char *text, size_t n)
{
	static const char full[] = "\n[the log ends here: a step's log is at most 1 GiB]\n";
	if (r->log < 0)
		return;
	bool fits = n <= r->log_left;
	r->log_left -= fits ? n : r->log_left;
	if (!fits)
		(void)io_write_full(r->log, full, sizeof(full) - 1);
	else if (io_write_full(r->log, text, n) == 0)
		return;
	mem_closep(&r->log);
}

/* Passes on what a pipe has; false at its end. */
static bool pump(struct running *r, int fd, int stream)
{
	char buf[64 * 1024];
	ssize_t n = read(fd, buf, sizeof(buf));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0)
		return false;
	struct event e = { .kind = EVENT_LOG,
			   .vertex = r->s->event_id,
			   .stream = stream,
			   .text = { buf, (size_t)n } };
	event_emit(r->s->b->env->events, &e);
	keep(r, buf, (size_t)n);
	return true;
}

/* Until the process has ended and its output is drained. */
static int wait_process(struct running *r, struct err **err)
{
	bool ended = false, killed = false;
	while (!ended || r->out[0] >= 0 || r->err[0] >= 0) {
		struct pollfd p[4] = { { .fd = r->out[0], .events = POLLIN },
				       { .fd = r->err[0], .events = POLLIN },
				       { .fd = ended ? -1 : runtime_process_fd(r->process),
					 .events = POLLIN },
				       { .fd = killed ? -1 : r->s->cancel_fd, .events = POLLIN } };
		/* Once everything of it is gone nobody can hold the pipes' other ends but by mistake: what is left is read, no more. */
		int n = poll(p, 4, ended ? 0 : -1);
		if (n < 0 && errno != EINTR)
			return err_sys(err, "wait for a step's output");
		if (n <= 0 && ended)
			break;
		if (p[3].revents) {
			runtime_process_kill(r->process);
			killed = true;
		}
		if (p[0].revents && !pump(r, r->out[0], 1))
			mem_closep(&r->out[0]);
		if (p[1].revents && !pump(r, r->err[0], 2))
			mem_closep(&r->err[0]);
		if (p[2].revents) {
			int got = runtime_process_next(r->process, &r->exit, err);
			if (got < 0)
				return -1;
			ended = got > 0;
		}
	}
	if (killed || atomic_load(&r->s->cancel))
		return err_set(err, ERR_CANCELED, "canceled");
	return 0;
}

/* argv as one line, as messages show it. */
static void add_command(struct sb *b, const struct plan_step *p)
{
	for (size_t i = 0; i < p->n_argv; i++) {
		if (i)
			sb_add_ch(b, ' ');
		sb_add_str(b, p->argv[i]);
	}
}

static int failed_exit(const struct plan_step *p, const struct runtime_exit *x, struct err **err)
{
	_cleanup_(sb_releasep) struct sb cmd = { 0 };
	add_command(&cmd, p);
	err_set(err, ERR_EXIT, "process \"%s\" did not complete successfully: %sexit code: %d",
		sb_c(&cmd), x->oom ? "it was killed because memory ran out: " : "", x->status);
	err_status(err, x->status);
	return err_at(err, p->at);
}

/* The process could not be started: BuildKit's sentence around our reason. */
static int failed_start(const struct plan_step *p, struct err **err)
{
	if ((*err)->code == ERR_CANCELED)
		return -1;
	_cleanup_(sb_releasep) struct sb cmd = { 0 };
	add_command(&cmd, p);
	int status = (*err)->status == 126 || (*err)->status == 127 ? 1 : (*err)->status;
	if (status)
		err_wrap(err, "process \"%s\" did not complete successfully: exit code: %d",
			 sb_c(&cmd), status);
	else
		err_wrap(err, "run \"%s\"", sb_c(&cmd));
	(*err)->code = ERR_EXIT;
	err_status(err, status ? status : 1);
	return err_at(err, p->at);
}

/* argv and env as C strings in an arena of the job. */
static const char **to_argv(struct arena *a, const struct plan_step *p)
{
	const char **v = arena_array_of(a, const char *, p->n_argv + 1);
	for (size_t i = 0; i < p->n_argv; i++)
		v[i] = arena_cstr(a, p->argv[i]);
	return v;
}

static const char **to_env(struct arena *a, const struct plan_step *p, const char *home)
{
	const char **v = arena_array_of(a, const char *, p->n_env + p->n_proxies + 2);
	size_t n = 0;
	bool has_home = false;
	for (size_t i = 0; i < p->n_env + p->n_proxies; i++) {
		const struct plan_pair *e = i < p->n_env ? &p->env[i] : &p->proxies[i - p->n_env];
		has_home = has_home || str_eq_c(e->name, "HOME");
		v[n++] = arena_printf(a, "%.*s=%.*s", STR_ARG(e->name), STR_ARG(e->value)).p;
	}
	if (!has_home)
		v[n++] = arena_printf(a, "HOME=%s", home).p;
	return v;
}

/* What RUN sees as /etc/resolv.conf: the host's, for it uses the host's network. */
static int write_resolv(struct build *b, const char *path, struct err **err)
{
	_cleanup_(sb_releasep) struct sb text = { .max = 1 << 20 };
	_cleanup_(err_dropp) struct err *e = NULL;
	if (io_read_file(AT_FDCWD, "/etc/resolv.conf", &text, &e) < 0 && e->code != ERR_NOT_FOUND)
		return err_move(err, STEAL(e));
	return io_replace_file(cache_store_root_fd(b->env->store), path, sb_str(&text), 0644, false,
			       err);
}

/* Makes hosts and resolv.conf of this build, once. */
static int make_etc(struct build *b, const struct plan_step *p, struct err **err)
{
	pthread_mutex_lock(&b->etc_lock);
	int r = 0;
	if (!b->hosts) {
		r = cache_store_lease(b->env->store, err);
		const char *lease = cache_store_lease_id(b->env->store);
		_cleanup_free_ char *hosts = r ? NULL : xasprintf("tmp/%s/hosts", lease);
		_cleanup_free_ char *resolv = r ? NULL : xasprintf("tmp/%s/resolv.conf", lease);
		_cleanup_free_ char *text = xasprintf(
			"127.0.0.1\tlocalhost %.*s\n::1\tlocalhost ip6-localhost ip6-loopback\n",
			STR_ARG(p->hostname));
		if (!r)
			r = io_replace_file(cache_store_root_fd(b->env->store), hosts, str_c(text),
					    0644, false, err);
		if (!r)
			r = write_resolv(b, resolv, err);
		if (!r) {
			b->hosts = STEAL(hosts);
			b->resolv = STEAL(resolv);
		}
	}
	pthread_mutex_unlock(&b->etc_lock);
	return r;
}

/* The mounts of every RUN: /etc/hosts, /etc/resolv.conf, and a heredoc script. */
struct run_mounts {
	struct runtime_mount v[8];
	size_t n;
	int fds[8];
};

static void mounts_release(struct run_mounts *m)
{
	for (size_t i = 0; i < m->n; i++)
		mem_closep(&m->fds[i]);
}

static int add_mount(struct run_mounts *m, int dirfd, const char *path, const char *target,
		     bool exec, struct err **err)
{
	if (m->n == ARRAY_SIZE(m->v))
		return err_set(err, ERR_LIMIT, "more than %zu files are mounted into a RUN",
			       ARRAY_SIZE(m->v));
	int fd = openat(dirfd, path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "open '%s'", path);
	m->fds[m->n] = fd;
	m->v[m->n++] = (struct runtime_mount){ .kind = RUNTIME_MOUNT_FILE,
					       .fd = fd,
					       .target = target,
					       .readonly = true,
					       .nosuid = true,
					       .nodev = true,
					       .noexec = !exec,
					       .mode = 0755,
					       .lock_fd = -1 };
	return 0;
}

static int make_mounts(struct step *s, struct arena *a, struct run_mounts *m, struct err **err)
{
	struct build *b = s->b;
	int root = cache_store_root_fd(b->env->store);
	if (make_etc(b, s->plan, err) < 0 ||
	    add_mount(m, root, b->resolv, "/etc/resolv.conf", false, err) < 0 ||
	    add_mount(m, root, b->hosts, "/etc/hosts", false, err) < 0)
		return -1;
	for (size_t i = 0; i < s->plan->n_files; i++) {
		const struct plan_file *f = &s->plan->files[i];
		struct str path =
			arena_printf(a, "tmp/%s/script-%llu", cache_store_lease_id(b->env->store),
				     (unsigned long long)cache_store_counter(b->env->store));
		struct str target = arena_printf(a, "/dev/pipes/%.*s", STR_ARG(f->name));
		if (io_replace_file(root, path.p, f->content, 0755, false, err) < 0 ||
		    add_mount(m, root, path.p, target.p, true, err) < 0)
			return -1;
	}
	return 0;
}

static void say_network(struct step *s)
{
	struct build *b = s->b;
	pthread_mutex_lock(&b->etc_lock);
	bool say = !b->said_network && s->plan->network == PLAN_NET_DEFAULT;
	b->said_network |= say;
	pthread_mutex_unlock(&b->etc_lock);
	if (say) {
		struct event e = { .kind = EVENT_LOG,
				   .vertex = s->event_id,
				   .stream = 2,
				   .text = STR("note: RUN uses the host's network\n") };
		event_emit(b->env->events, &e);
	}
}

/* Starts the process over `root`. */
static int start(struct running *r, struct arena *a, int root, struct run_mounts *m,
		 struct err **err)
{
	struct step *s = r->s;
	const struct plan_step *p = s->plan;
	struct runtime_user user = { 0 };
	struct runtime_spec spec;
	struct spawner *spawner;
	if (s->b->env->spawner(s->b->env->spawner_arg, &spawner, err) < 0)
		return -1;
	if (pipe2(r->out, O_CLOEXEC) < 0 || pipe2(r->err, O_CLOEXEC) < 0)
		return err_sys(err, "make a pipe");
	if (runtime_user_find(root, p->user, &user, err) < 0)
		return err_at(err, p->at);
	runtime_spec_init(&spec);
	spec.root_fd = root;
	spec.argv = to_argv(a, p);
	spec.env = to_env(a, p, user.home);
	spec.cwd = arena_cstr(a, p->cwd);
	spec.cwd_as_user = true;
	spec.uid = user.uid;
	spec.gid = user.gid;
	spec.groups = user.groups;
	spec.n_groups = user.n_groups;
	spec.caps = runtime_caps_default(user.uid);
	spec.seccomp = spec.mask_paths = true;
	spec.net = p->network == PLAN_NET_NONE ? RUNTIME_NET_NONE : RUNTIME_NET_HOST;
	spec.hostname = arena_cstr(a, p->hostname);
	spec.mounts = m->v;
	spec.n_mounts = m->n;
	spec.remove_stubs = true;
	spec.stdio[0] = -1;
	spec.stdio[1] = r->out[1];
	spec.stdio[2] = r->err[1];
	struct str record = arena_printf(a, "%s.%llu", cache_store_lease_id(s->b->env->store),
					 (unsigned long long)cache_store_counter(s->b->env->store));
	spec.record = record.p;
	spec.cgroup = arena_printf(a, "run.%.*s", STR_ARG(record)).p;
	say_network(s);
	int result = runtime_spawn(spawner, &spec, &r->process, err);
	runtime_user_release(&user);
	mem_closep(&r->out[1]);
	mem_closep(&r->err[1]);
	r->out[1] = r->err[1] = -1;
	return result;
}

/* Runs the step's process over the work folder; the root is closed when it returns. */
static int execute(struct step_job *j, struct cache *c, struct work *w, struct err **err)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct running r = { .s = j->s,
			     .out = { -1, -1 },
			     .err = { -1, -1 },
			     .log = build_log_open(j->s->b, j->s),
			     .log_left = STEP_LOG_MAX };
	struct run_mounts m = { 0 };
	_cleanup_close_ int root = -1;
	int result = make_mounts(j->s, a, &m, err);
	if (!result)
		result = cache_layer_mount(c, files_chain(j->parent), w, &root, err);
	if (!result)
		result = start(&r, a, root, &m, err);
	mem_closep(&root);
	root = -1;
	if (!result && wait_process(&r, err) < 0)
		result = failed_start(j->s->plan, err);
	if (!result && r.exit.status)
		result = failed_exit(j->s->plan, &r.exit, err);
	running_release(&r);
	mounts_release(&m);
	return result;
}

static int work(struct step_job *j, struct cache *c, struct err **err)
{
	struct step *s = j->s;
	struct work *w = cache_work_begin(c, err);
	if (!w)
		return -1;
	j->layer = cache_work_id(w);
	j->started_ns = clock_real_ns();
	int r = execute(j, c, w, err);
	if (!r)
		r = cache_work_commit(c, w, LAYER_STEP, err);
	cache_work_free(w);
	j->created_ns = clock_real_ns();
	s->cost_ms = (j->created_ns - j->started_ns) / 1000000;
	return r;
}

static void after(struct step_job *j, struct err *e)
{
	if (e)
		core_failed(j->s->b->graph, j->s->v, e);
	else
		step_committed(j);
}

static void run(struct vertex *v)
{
	struct step *s = v->owner;
	if (s->cancel_fd < 0)
		s->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct step_job *j = step_job_new(s, work, after);
	j->parent = files_ref(v->inputs[0].vertex->files);
	step_job_start(j, build_waiters(s->b));
}

static void cancel(struct vertex *v)
{
	struct step *s = v->owner;
	atomic_store(&s->cancel, true);
	uint64_t one = 1;
	if (s->cancel_fd >= 0 && write(s->cancel_fd, &one, sizeof(one)) < 0)
		return;
}

const struct op_class op_run = {
	.kind = "run", .source = OP_STEP, .slot = true, .run = run, .cancel = cancel
};
