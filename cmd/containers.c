#include "cmd/containers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/io.h"
#include "cache/db.h"
#include "cmd/session.h"
#include "cmd/ui.h"
#include "registry/image.h"
#include "runtime/container/config.h"
#include "runtime/monitor.h"

enum { END_MS = 10 * 1000 };

/* ---- the options */

static struct container_words words(const struct opt_list *l)
{
	return (struct container_words){ l->v, l->n };
}

static int pull_policy(const char *text, enum registry_pull_policy *ret, struct err **err)
{
	if (!text || !strcmp(text, "missing"))
		*ret = REGISTRY_PULL_MISSING;
	else if (!strcmp(text, "always"))
		*ret = REGISTRY_PULL_ALWAYS;
	else if (!strcmp(text, "never"))
		*ret = REGISTRY_PULL_NEVER;
	else
		return cmd_usage(
			err,
			"invalid pull option: '%s': must be one of \"always\", \"missing\" or \"never\"",
			text);
	return 0;
}

/* Where progress is shown, opened only if something has to be pulled. */
struct puller {
	struct session *s;
	bool quiet;
	struct event_sink *ui;
};

static int open_registry(void *arg, struct registry **ret, struct err **err)
{
	struct puller *p = arg;
	enum ui_mode mode;
	if (ui_mode_of(NULL, p->quiet, &mode, err) < 0)
		return err_status(err, 2);
	session_catch_signals(p->s);
	p->ui = ui_open(mode);
	return session_registry(p->s, p->ui, ret, err);
}

static int get_image(struct session *s, struct cache *c, struct arena *a,
		     const struct container_flags *f, const char *text, struct image *ret,
		     struct err **err)
{
	struct puller p = { .s = s, .quiet = f->quiet };
	struct oci_platform host = oci_platform_host(), platform;
	enum registry_pull_policy policy = REGISTRY_PULL_MISSING;
	if (pull_policy(f->pull, &policy, err) < 0 ||
	    (f->platform && oci_platform_parse(a, str_c(f->platform), &host, &platform, err) < 0))
		return -1;
	int r = registry_image_get(open_registry, &p, c, a, text, f->platform ? &platform : NULL,
				   policy, ret, err);
	if (p.ui)
		ui_close(p.ui, r < 0);
	return r;
}

static int attach_streams(const struct container_flags *f, bool detach, unsigned *ret,
			  struct err **err)
{
	static const char *const names[] = { "stdin", "stdout", "stderr" };
	*ret = 0;
	if (detach && f->attach.n)
		return cmd_usage(err,
				 "conflicting options: cannot specify both --attach and --detach");
	for (size_t i = 0; i < f->attach.n; i++) {
		size_t k = 0;
		while (k < ARRAY_SIZE(names) && strcasecmp(f->attach.v[i], names[k]))
			k++;
		if (k == ARRAY_SIZE(names))
			return cmd_usage(
				err,
				"invalid argument \"%s\" for \"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR",
				f->attach.v[i]);
		*ret |= 1U << k;
	}
	if (!detach && !f->attach.n)
		*ret = PROTO_STREAM_OUT | PROTO_STREAM_ERR | (f->interactive ? PROTO_STREAM_IN : 0);
	return 0;
}

static int open_cidfile(const char *path, int *ret, struct err **err)
{
	*ret = path ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666) : -1;
	if (!path || *ret >= 0)
		return 0;
	if (errno == EEXIST)
		return err_set(
			err, ERR_EXISTS,
			"container ID file found, make sure the other container isn't running or delete %s",
			path);
	return err_sys(err, "failed to create the container ID file '%s'", path);
}

static int make(struct session *s, struct cache *c, const struct container_flags *f,
		const struct args *args, bool detach, struct container **ret, struct err **err)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct image image;
	struct oci_image oci;
	struct container_options o = {
		.image = args->v[0],
		.command = { args->v + 1, args->n - 1 },
		.env = words(&f->env),
		.env_file = words(&f->env_file),
		.label = words(&f->label),
		.cap_add = words(&f->cap_add),
		.cap_drop = words(&f->cap_drop),
		.group_add = words(&f->group_add),
		.add_host = words(&f->add_host),
		.dns = words(&f->dns),
		.dns_search = words(&f->dns_search),
		.dns_option = words(&f->dns_option),
		.tmpfs = words(&f->tmpfs),
		.ulimit = words(&f->ulimit),
		.device = words(&f->device),
		.entrypoint = f->entrypoint,
		.user = f->user,
		.workdir = f->workdir,
		.hostname = f->hostname,
		.domainname = f->domainname,
		.network = f->network,
		.pid = f->pid,
		.stop_signal = f->stop_signal,
		.shm_size = f->shm_size,
		.tty = f->tty,
		.interactive = f->interactive,
		.detach = detach,
		.auto_remove = f->rm,
		.read_only = f->read_only,
		.init = f->init,
		.has_stop_timeout = f->stop_timeout,
	};
	if (f->stop_timeout &&
	    str_int(str_c(f->stop_timeout), 0, INT32_MAX, &o.stop_timeout_s, err) < 0)
		return err_wrap(err, "invalid argument for --stop-timeout"), err_status(err, 2);
	if (get_image(s, c, a, f, args->v[0], &image, err) < 0 ||
	    oci_image_parse(a, image.config, &oci, err) < 0)
		return -1;
	o.image_id = image.id;
	o.oci = &oci;
	json_t *config = container_config_make(&o, err);
	*ret = config ? container_create(c, f->name, config, err) : NULL;
	return *ret ? 0 : -1;
}

int containers_create(struct session *s, const struct container_flags *f, const struct args *args,
		      bool detach, struct container **ret, unsigned *ret_streams, struct err **err)
{
	struct cache *c;
	_cleanup_close_ int cidfile = -1;
	if (attach_streams(f, detach, ret_streams, err) < 0 ||
	    open_cidfile(f->cidfile, &cidfile, err) < 0)
		return -1;
	int r = session_cache(s, &c, err) < 0 ? -1 : make(s, c, f, args, detach, ret, err);
	if (cidfile >= 0 && r < 0)
		unlink(f->cidfile);
	if (!r && cidfile >= 0 && io_write_full(cidfile, (*ret)->id, strlen((*ret)->id)) < 0)
		return err_sys(err, "failed to write the container ID to '%s'", f->cidfile);
	return r;
}

/* ---- our terminal */

bool containers_no_tty(bool tty, bool input)
{
	if (!tty || !input || isatty(STDIN_FILENO))
		return false;
	fputs("the input device is not a TTY\n", stderr);
	return true;
}

int containers_detach_keys(const char *text, struct detach *ret, struct err **err)
{
	return detach_parse(text ? str_c(text) : STR("ctrl-p,ctrl-q"), ret, err) < 0
		? err_status(err, 2)
		: 0;
}

int containers_attach(struct cache *c, struct container *k, struct attach *a,
		      enum attach_end *ret_end, int *ret_status, struct err **err)
{
	_cleanup_(err_dropp) struct err *gone = NULL;
	if (attach_run(a, ret_end, err) < 0)
		return -1;
	*ret_status = a->status;
	/* A monitor that was killed says nothing: what is left is put in order, and recorded. */
	if (*ret_end == ATTACH_LOST && container_lock_wait(c, k, END_MS, &gone) == 0)
		*ret_status = k->state.exit;
	return 0;
}

int containers_remove_ended(struct cache *c, struct container *k, struct err **err)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	if ((k->lock_fd >= 0 || container_lock_wait(c, k, END_MS, &e) == 0) &&
	    container_remove(c, k, &e) == 0)
		return 0;
	return e->code == ERR_NOT_FOUND ? 0 : err_move(err, STEAL(e));
}

/* ---- running ones */

int containers_watch(const struct container *k, int *ret_conn, struct err **err)
{
	_cleanup_close_ int conn = -1;
	if (runtime_monitor_connect(k->dir_fd, &conn, err) < 0 ||
	    runtime_monitor_send(conn, PROTO_ATTACH, (uint32_t[]){ 0 }, 1, err) < 0)
		return -1;
	*ret_conn = STEAL_FD(conn);
	return 0;
}

int containers_wait(struct cache *c, struct container *k, int conn, int *ret_status,
		    struct err **err)
{
	for (;;) {
		_cleanup_(proto_message_release) struct proto_message m;
		_cleanup_(err_dropp) struct err *e = NULL;
		struct proto_exit x;
		int r = proto_recv(conn, true, &m, &e);
		if (r > 0 && m.kind == PROTO_EXIT) {
			if (proto_exit_get(&m, &x, err) < 0)
				return -1;
			*ret_status = x.status;
			return 0;
		}
		if (r >= 0 && m.kind != PROTO_ERROR)
			continue;
		if (container_lock_wait(c, k, END_MS, err) < 0)
			return -1;
		*ret_status = k->state.exit;
		mem_closep(&k->lock_fd);
		return 0;
	}
}

void containers_say(const struct err *e)
{
	fflush(stdout);
	fprintf(stderr, "Error response: %s\n", e->msg);
	if (e->hint)
		fprintf(stderr, "hint: %s\n", e->hint);
}

int containers_each(struct session *s, const struct args *args, bool silent, containers_fn fn,
		    void *arg, int *ret_status, struct err **err)
{
	struct cache *c;
	if (session_cache(s, &c, err) < 0)
		return -1;
	for (size_t i = 0; i < args->n; i++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		_cleanup_(container_freep) struct container *k =
			container_find(c, str_c(args->v[i]), &e);
		if (!k || fn(c, k, arg, &e) < 0) {
			containers_say(e);
			*ret_status = 1;
		} else if (!silent) {
			puts(args->v[i]);
		}
	}
	return 0;
}
