/* Starting a container whose lock is ours: its files in /etc, its root, its monitor. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/io.h"
#include "cache/container.h"
#include "cache/db.h"
#include "cache/name.h"
#include "cache/store.h"
#include "runtime/container/internal.h"
#include "runtime/container/process.h"
#include "runtime/monitor.h"

enum { RESOLV_MAX = 64 * 1024, STOP_TIMEOUT_S = 10 };

/* ---- /etc */

static void add_list(struct sb *b, const char *head, const json_t *list, bool one_line)
{
	size_t i;
	json_t *word;
	if (one_line && json_array_size(list))
		sb_add_c(b, head);
	json_array_foreach(list, i, word)
		sb_printf(b, one_line ? " %s" : "nameserver %s\n", json_string_value(word));
	if (one_line && json_array_size(list))
		sb_add_ch(b, '\n');
}

/* What the options say, and the host's lines of the kinds that they say nothing of. */
static void make_resolv(const json_t *host, struct sb *b)
{
	static const char *const kinds[][2] = { { "nameserver", "Dns" },
						{ "search", "DnsSearch" },
						{ "options", "DnsOptions" } };
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(sb_releasep) struct sb text = { .max = RESOLV_MAX };
	bool any = false;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		any |= json_array_size(json_object_get(host, kinds[i][1])) > 0;
	if (io_read_file(AT_FDCWD, "/etc/resolv.conf", &text, &e) < 0)
		sb_reset(&text);
	if (!any) {
		sb_add_str(b, sb_str(&text));
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const json_t *list = json_object_get(host, kinds[i][1]);
		struct str rest = sb_str(&text), line;
		add_list(b, kinds[i][0], list, i > 0);
		while (!json_array_size(list) && str_cut(rest, '\n', &line, &rest))
			if (str_starts(line, str_c(kinds[i][0])))
				sb_printf(b, "%.*s\n", STR_ARG(line));
	}
}

static void make_hosts(const json_t *host, bool host_network, struct sb *b)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	const json_t *list = json_object_get(host, "ExtraHosts");
	size_t i;
	json_t *word;
	if (!host_network || io_read_file(AT_FDCWD, "/etc/hosts", b, &e) < 0)
		sb_add_c(
			b,
			"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n"
			"ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n");
	if (b->n && b->p[b->n - 1] != '\n')
		sb_add_ch(b, '\n');
	json_array_foreach(list, i, word)
	{
		struct str entry = { json_string_value(word), json_string_length(word) }, name, ip;
		if (str_cut(entry, ':', &name, &ip))
			sb_printf(b, "%.*s\t%.*s\n", STR_ARG(ip), STR_ARG(name));
	}
}

static int write_etc(const struct container *k, struct err **err)
{
	const json_t *host = container_section(k, "HostConfig");
	bool host_network = str_eq_c(json_get_str(host, "NetworkMode"), "host");
	_cleanup_(sb_releasep) struct sb name = { 0 }, hosts = { .max = RESOLV_MAX },
					 resolv = { .max = RESOLV_MAX };
	sb_printf(&name, "%.*s\n",
		  STR_ARG(json_get_str(container_section(k, "Config"), "Hostname")));
	make_hosts(host, host_network, &hosts);
	make_resolv(host, &resolv);
	const struct {
		const char *path;
		const struct sb *text;
	} files[] = { { "etc/hostname", &name },
		      { "etc/hosts", &hosts },
		      { "etc/resolv.conf", &resolv } };
	if (mkdirat(k->dir_fd, "etc", 0755) < 0 && errno != EEXIST)
		return err_sys(err, "make folder 'etc' of the container");
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (io_replace_file(k->dir_fd, files[i].path, sb_str(files[i].text), 0644, false,
				    err) < 0)
			return -1;
	return 0;
}

/* ---- the monitor */

static int mount_root(struct cache *c, const struct container *k, int *ret_fd, struct err **err)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct digest id;
	struct image image;
	if (digest_parse(json_get_str(k->config, "Image"), &id, err) < 0 ||
	    cache_image_get(c, a, &id, &image, err) < 0)
		return -1;
	if (!chain_complete(&image.chain))
		return err_set(err, ERR_NOT_FOUND,
			       "the image has lost layers: build or pull it again");
	return cache_container_mount(c, k->id, &image.chain, ret_fd, err);
}

/* `cbuild internal reap ID` of the same program and store. --root also says where the run folder is: the
 * default store has another one and is named by nothing. */
struct reap {
	char exe[PATH_MAX], root[PATH_MAX];
	const char *argv[7]; /* empty: nothing is to be done at the end */
};

/* Where a link of /proc leads, absolute whatever the working folder is; false where it is gone. */
static bool read_link(const char *link, char path[PATH_MAX])
{
	ssize_t n = readlink(link, path, PATH_MAX - 1);
	if (n <= 0 || path[0] != '/')
		return false;
	path[n] = 0;
	return true;
}

static void make_reap(struct cache *c, const struct container *k, struct reap *r)
{
	struct store *store = cache_store_of(c);
	_cleanup_free_ char *link = xasprintf("/proc/self/fd/%d", cache_store_root_fd(store));
	_cleanup_free_ char *inner = xasprintf("%s/run", cache_store_root(store));
	size_t n = 0;
	r->argv[0] = NULL;
	if (!container_auto_remove(k) || !read_link("/proc/self/exe", r->exe) ||
	    !read_link(link, r->root))
		return;
	r->argv[n++] = r->exe;
	if (!strcmp(inner, cache_store_run(store))) {
		r->argv[n++] = "--root";
		r->argv[n++] = r->root;
	}
	r->argv[n++] = "internal";
	r->argv[n++] = "reap";
	r->argv[n++] = k->id;
	r->argv[n] = NULL;
}

static int run_monitor(struct cache *c, struct container *k, struct runtime_monitor_seed **seed,
		       const struct container_process *p, int *ret_conn, struct err **err)
{
	const json_t *config = container_section(k, "Config");
	struct str stop = json_get_str(config, "StopSignal");
	struct reap reap;
	_cleanup_close_ int listen_fd = -1;
	make_reap(c, k, &reap);
	struct runtime_monitor m = {
		.id = k->id,
		.dir_fd = k->dir_fd,
		.lock_fd = k->lock_fd,
		.idle = k->state.started && *k->state.started ? "exited" : "created",
		.stop_timeout_ms = json_get_int(config, "StopTimeout", STOP_TIMEOUT_S) * 1000,
		.reap = reap.argv[0] ? reap.argv : NULL,
	};
	if (container_signal_parse(stop.n ? stop : STR("TERM"), &m.stop_signal, err) < 0 ||
	    runtime_monitor_listen(k->dir_fd, &listen_fd, err) < 0)
		return -1;
	m.listen_fd = listen_fd;
	return runtime_monitor_start(STEAL(*seed), &m, &p->spec, ret_conn, err);
}

static int start(struct cache *c, struct container *k, const struct container_attach *attach,
		 int *ret_conn, struct err **err)
{
	struct runtime_monitor_seed *seed = NULL;
	struct container_process p = { 0 };
	_cleanup_close_ int root = -1;
	if (runtime_monitor_seed(cache_store_short_id(cache_store_of(c)), &seed, err) < 0)
		return -1;
	int r = write_etc(k, err) < 0 || mount_root(c, k, &root, err) < 0
		? -1
		: container_process_main(k, root, &p, err);
	p.spec.terminal.rows = attach->rows;
	p.spec.terminal.cols = attach->cols;
	p.spec.terminal.streams = attach->streams;
	if (!r)
		r = run_monitor(c, k, &seed, &p, ret_conn, err);
	container_process_release(&p);
	runtime_monitor_seed_free(seed);
	return r;
}

int container_start(struct cache *c, struct container *k, const struct container_attach *attach,
		    int *ret_conn, struct err **err)
{
	if (start(c, k, attach, ret_conn, err) < 0) {
		/* What was made for it goes; the reason is what is told. */
		_cleanup_(err_dropp) struct err *e = NULL;
		if (container_settle(k, &e) < 0)
			return -1;
		return -1;
	}
	mem_closep(&k->lock_fd);
	return 0;
}

int container_wait_started(struct cache *c, struct container *k, int conn, struct err **err)
{
	for (;;) {
		_cleanup_(proto_message_release) struct proto_message m;
		_cleanup_(err_dropp) struct err *e = NULL, *gone = NULL;
		int r = proto_recv(conn, true, &m, &e);
		if (r > 0 && m.kind == PROTO_STARTED)
			return 0;
		if (r > 0 && m.kind != PROTO_ERROR)
			continue;
		if (r > 0)
			proto_error_get(&m, err);
		else
			err_set(err, ERR_IO, "the container's monitor has ended: %s", e->msg);
		/* The lock is free when nothing of it is left; what a monitor that could not begin left is put in order by us. */
		if (container_lock_wait(c, k, 10000, &gone) == 0)
			mem_closep(&k->lock_fd);
		return -1;
	}
}
