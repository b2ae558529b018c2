#include "runtime/container/config.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/utf8.h"
#include "cache/oci.h"
#include "runtime/caps.h"
#include "runtime/device.h"

enum { SHM_SIZE = 64 * 1024 * 1024 };

static json_t *words(const struct container_words *w)
{
	json_t *list = json_array();
	for (size_t i = 0; i < w->n; i++)
		json_push(list, json_text(str_c(w->v[i])));
	return list;
}

static json_t *oci_words(const struct oci_list *l)
{
	json_t *list = json_array();
	for (size_t i = 0; i < l->n; i++)
		json_push(list, json_text(l->v[i]));
	return list;
}

/* null instead of an empty list, as Docker shows what was not given. */
static json_t *or_null(json_t *list)
{
	if (json_array_size(list))
		return list;
	json_decref(list);
	return json_null();
}

/* ---- the process */

static bool has_env(const json_t *list, struct str name)
{
	size_t i;
	json_t *word;
	json_array_foreach(list, i, word)
	{
		struct str w = { json_string_value(word), json_string_length(word) };
		if (str_eq(str_sub(w, 0, str_find(w, '=', 0)), name))
			return true;
	}
	return false;
}

/* The user's first, then what the image has besides: as Docker stores it. */
static int put_env(const struct container_options *o, json_t *config, struct err **err)
{
	json_t *env = json_array();
	json_put(config, "Env", env);
	if (container_env_options(&o->env, &o->env_file, env, err) < 0)
		return -1;
	for (size_t i = 0; i < o->oci->config.env.n; i++) {
		struct str word = o->oci->config.env.v[i];
		if (!has_env(env, str_sub(word, 0, str_find(word, '=', 0))))
			json_push(env, json_text(word));
	}
	return 0;
}

/* JSON has no place for bytes that are no UTF-8: such arguments are kept beside, in hex, and it is those that are run. */
static void put_raw(const struct container_options *o, json_t *root)
{
	static const char hex[] = "0123456789abcdef";
	_cleanup_(json_unrefp) json_t *raw = json_array();
	bool needed = false;
	for (size_t i = 0; i < o->command.n; i++) {
		_cleanup_(sb_releasep) struct sb b = { 0 };
		for (const char *p = o->command.v[i]; *p; p++) {
			sb_add_ch(&b, hex[(unsigned char)*p >> 4]);
			sb_add_ch(&b, hex[*p & 15]);
		}
		needed |= !utf8_valid(str_c(o->command.v[i]));
		json_push(raw, json_text(sb_str(&b)));
	}
	if (needed)
		json_put(root, "RawCommand", json_incref(raw));
}

/* --entrypoint clears the image's command; words behind the image replace it. */
static int put_command(const struct container_options *o, json_t *root, json_t *config,
		       struct err **err)
{
	const struct oci_config *image = &o->oci->config;
	json_t *entrypoint, *cmd = words(&o->command);
	if (o->entrypoint) {
		entrypoint = json_array();
		if (*o->entrypoint)
			json_push(entrypoint, json_text(str_c(o->entrypoint)));
	} else {
		entrypoint = oci_words(&image->entrypoint);
		if (!o->command.n) {
			json_decref(cmd);
			cmd = oci_words(&image->cmd);
		}
	}
	json_t *argv = json_array();
	json_array_extend(argv, entrypoint);
	json_array_extend(argv, cmd);
	put_raw(o, root);
	json_put(config, "Cmd", or_null(cmd));
	json_put(config, "Entrypoint", or_null(entrypoint));
	bool none = !json_array_size(argv) || !json_string_length(json_array_get(argv, 0));
	if (!none) {
		json_put(root, "Path", json_incref(json_array_get(argv, 0)));
		json_array_remove(argv, 0);
	}
	json_put(root, "Args", argv);
	return none ? err_set(err, ERR_INVALID, "no command specified") : 0;
}

static void put_labels(const struct container_options *o, json_t *config)
{
	json_t *labels = json_object();
	for (size_t i = 0; i < o->oci->config.n_labels; i++) {
		_cleanup_free_ char *name = str_dup(o->oci->config.labels[i].name);
		json_put(labels, name, json_text(o->oci->config.labels[i].value));
	}
	for (size_t i = 0; i < o->label.n; i++) {
		struct str name = str_c(o->label.v[i]), value = STR("");
		str_cut(name, '=', &name, &value);
		_cleanup_free_ char *key = str_dup(name);
		json_put(labels, key, json_text(value));
	}
	json_put(config, "Labels", labels);
}

static struct str first_of(const char *given, struct str image)
{
	return given ? str_c(given) : image;
}

static int put_config(const struct container_options *o, json_t *root, struct err **err)
{
	json_t *c = json_object();
	json_put(root, "Config", c);
	struct str dir = first_of(o->workdir, o->oci->config.working_dir),
		   stop = first_of(o->stop_signal, o->oci->config.stop_signal);
	int number;
	if (dir.n && dir.p[0] != '/')
		return err_set(
			err, ERR_INVALID,
			"the working directory '%.*s' is invalid, it needs to be an absolute path",
			STR_ARG(dir));
	if (stop.n && container_signal_parse(stop, &number, err) < 0)
		return -1;
	json_put(c, "Hostname", json_text(str_c(o->hostname ? o->hostname : "")));
	json_put(c, "Domainname", json_text(str_c(o->domainname ? o->domainname : "")));
	json_put(c, "User", json_text(first_of(o->user, o->oci->config.user)));
	json_put(c, "AttachStdin", json_boolean(o->interactive && !o->detach));
	json_put(c, "AttachStdout", json_boolean(!o->detach));
	json_put(c, "AttachStderr", json_boolean(!o->detach));
	json_put(c, "Tty", json_boolean(o->tty));
	json_put(c, "OpenStdin", json_boolean(o->interactive));
	json_put(c, "StdinOnce", json_boolean(o->interactive && !o->detach));
	if (put_env(o, c, err) < 0)
		return -1;
	json_put(c, "Image", json_text(str_c(o->image)));
	json_put(c, "Volumes", json_null());
	json_put(c, "WorkingDir", json_text(dir));
	json_put(c, "OnBuild", json_null());
	put_labels(o, c);
	if (stop.n)
		json_put(c, "StopSignal", json_text(stop));
	if (o->has_stop_timeout)
		json_put_int(c, "StopTimeout", o->stop_timeout_s);
	return put_command(o, root, c, err);
}

/* ---- the machine */

static int check_network(const char *network, struct err **err)
{
	if (!network || !strcmp(network, "none") || !strcmp(network, "host"))
		return 0;
	err_set(err, ERR_UNSUPPORTED, "not supported yet: --network %s", network);
	return err_hint(err, "use --network host or --network none");
}

static int check_caps(const struct container_options *o, struct err **err)
{
	struct str add[64], drop[64];
	uint64_t mask;
	if (o->cap_add.n > ARRAY_SIZE(add) || o->cap_drop.n > ARRAY_SIZE(drop))
		return err_set(err, ERR_LIMIT, "more than %zu capabilities", ARRAY_SIZE(add));
	for (size_t i = 0; i < o->cap_add.n; i++)
		add[i] = str_c(o->cap_add.v[i]);
	for (size_t i = 0; i < o->cap_drop.n; i++)
		drop[i] = str_c(o->cap_drop.v[i]);
	return runtime_caps_change(add, o->cap_add.n, drop, o->cap_drop.n, &mask, err);
}

static bool is_address(struct str text)
{
	unsigned char b[sizeof(struct in6_addr)];
	_cleanup_free_ char *word = str_dup(text);
	return inet_pton(AF_INET, word, b) == 1 || inet_pton(AF_INET6, word, b) == 1;
}

static int put_hosts(const struct container_options *o, json_t *h, struct err **err)
{
	json_t *list = json_array();
	json_put(h, "ExtraHosts", list);
	for (size_t i = 0; i < o->add_host.n; i++) {
		struct str word = str_c(o->add_host.v[i]), name, ip;
		if (!str_cut(word, '=', &name, &ip) && !str_cut(word, ':', &name, &ip))
			return err_set(err, ERR_INVALID, "bad format for add-host: \"%s\"",
				       o->add_host.v[i]);
		if (ip.n > 2 && ip.p[0] == '[' && ip.p[ip.n - 1] == ']')
			ip = str_sub(ip, 1, ip.n - 1);
		if (str_eq_c(ip, "host-gateway"))
			return err_set(err, ERR_UNSUPPORTED, "not supported yet: --add-host %s",
				       o->add_host.v[i]);
		if (!name.n || str_find(name, '\n', 0) != SIZE_MAX || !is_address(ip))
			return err_set(err, ERR_INVALID, "invalid IP address in add-host: \"%.*s\"",
				       STR_ARG(ip));
		_cleanup_free_ char *entry = xasprintf("%.*s:%.*s", STR_ARG(name), STR_ARG(ip));
		json_push(list, json_text(str_c(entry)));
	}
	return 0;
}

static int put_dns(const struct container_options *o, json_t *h, struct err **err)
{
	const struct container_words *texts[] = { &o->dns_search, &o->dns_option };
	for (size_t i = 0; i < o->dns.n; i++)
		if (!is_address(str_c(o->dns.v[i])))
			return err_set(err, ERR_INVALID, "%s is not an ip address", o->dns.v[i]);
	for (size_t t = 0; t < ARRAY_SIZE(texts); t++)
		for (size_t i = 0; i < texts[t]->n; i++)
			if (!*texts[t]->v[i] || strpbrk(texts[t]->v[i], " \t\r\n"))
				return err_set(err, ERR_INVALID, "%s is not a valid domain",
					       texts[t]->v[i]);
	json_put(h, "Dns", words(&o->dns));
	json_put(h, "DnsOptions", words(&o->dns_option));
	json_put(h, "DnsSearch", words(&o->dns_search));
	return 0;
}

static int put_tmpfs(const struct container_options *o, json_t *h, struct err **err)
{
	json_t *all = json_object();
	json_put(h, "Tmpfs", all);
	for (size_t i = 0; i < o->tmpfs.n; i++) {
		struct str path = str_c(o->tmpfs.v[i]), options = STR("");
		struct container_tmpfs t;
		str_cut(path, ':', &path, &options);
		if (!path.n || path.p[0] != '/' || str_eq_c(path, "/"))
			return err_set(err, ERR_INVALID,
				       "invalid mount path: '%.*s' mount path must be absolute",
				       STR_ARG(path));
		if (container_tmpfs_parse(options, &t, err) < 0)
			return -1;
		_cleanup_free_ char *key = str_dup(path);
		json_put(all, key, json_text(options));
	}
	return 0;
}

static int put_ulimits(const struct container_options *o, json_t *h, struct err **err)
{
	json_t *list = json_array();
	json_put(h, "Ulimits", list);
	for (size_t i = 0; i < o->ulimit.n; i++) {
		struct container_ulimit u;
		struct str name;
		if (container_ulimit_parse(str_c(o->ulimit.v[i]), &u, &name, err) < 0)
			return -1;
		json_t *one = json_object();
		json_put_str(one, "Name", name);
		json_put_int(one, "Hard", (int64_t)u.hard);
		json_put_int(one, "Soft", (int64_t)u.soft);
		json_push(list, one);
	}
	return 0;
}

/* Whether Docker's default rules open it already: own rules for further devices are not there yet. */
static bool allowed(const struct stat *st)
{
	size_t n;
	const struct runtime_device_rule *r = runtime_device_rules(&n);
	char type = S_ISCHR(st->st_mode) ? 'c' : 'b';
	bool yes = false;
	for (size_t i = 0; i < n; i++)
		if ((r[i].type == type || r[i].type == 'a') &&
		    (r[i].major < 0 || (unsigned)r[i].major == major(st->st_rdev)) &&
		    (r[i].minor < 0 || (unsigned)r[i].minor == minor(st->st_rdev)) &&
		    strchr(r[i].access, 'r'))
			yes = r[i].allow;
	return yes;
}

static int put_devices(const struct container_options *o, json_t *h, struct err **err)
{
	json_t *list = json_array();
	json_put(h, "Devices", list);
	for (size_t i = 0; i < o->device.n; i++) {
		struct str host = str_c(o->device.v[i]), inside, rights = STR("rwm");
		struct stat st;
		if (str_cut(host, ':', &host, &inside)) {
			if (!str_cut(inside, ':', &inside, &rights) && inside.n &&
			    inside.p[0] != '/') {
				rights = inside;
				inside = host;
			}
		} else {
			inside = host;
		}
		_cleanup_free_ char *path = str_dup(host);
		if (stat(path, &st) < 0)
			return err_sys(
				err,
				"error gathering device information while adding custom device \"%s\"",
				path);
		if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
			return err_set(err, ERR_INVALID, "\"%s\" is not a device node", path);
		for (size_t k = 0; k < rights.n; k++)
			if (!memchr("rwm", rights.p[k], 3))
				return err_set(err, ERR_INVALID, "invalid device mode: %.*s",
					       STR_ARG(rights));
		if (!str_starts(inside, STR("/dev/")) ||
		    str_find_str(inside, STR(".."), 0) != SIZE_MAX)
			return err_set(err, ERR_UNSUPPORTED,
				       "not supported yet: a device at '%.*s', outside of /dev",
				       STR_ARG(inside));
		if (!allowed(&st))
			return err_set(
				err, ERR_UNSUPPORTED,
				"not supported yet: --device %s: only devices that every container may open",
				path);
		json_t *one = json_object();
		json_put_str(one, "PathOnHost", host);
		json_put(one, "PathInContainer", json_text(inside));
		json_put_str(one, "CgroupPermissions", rights);
		json_push(list, one);
	}
	return 0;
}

static int put_host_config(const struct container_options *o, json_t *root, struct err **err)
{
	json_t *h = json_object();
	json_put(root, "HostConfig", h);
	int64_t shm = SHM_SIZE;
	if (check_network(o->network, err) < 0 || check_caps(o, err) < 0 ||
	    (o->shm_size && container_size_parse(str_c(o->shm_size), &shm, err) < 0))
		return -1;
	if (o->pid && strcmp(o->pid, "host") && *o->pid)
		return err_set(err, ERR_UNSUPPORTED, "not supported yet: --pid %s", o->pid);
	json_t *policy = json_object(), *log = json_object();
	json_put(h, "Binds", json_null());
	json_put_str(log, "Type", STR("json-file"));
	json_put(log, "Config", json_object());
	json_put(h, "LogConfig", log);
	json_put_str(h, "NetworkMode", str_c(o->network ? o->network : "none"));
	json_put(h, "PortBindings", json_object());
	json_put_str(policy, "Name", STR("no"));
	json_put_int(policy, "MaximumRetryCount", 0);
	json_put(h, "RestartPolicy", policy);
	json_put(h, "AutoRemove", json_boolean(o->auto_remove));
	json_put(h, "CapAdd", or_null(words(&o->cap_add)));
	json_put(h, "CapDrop", or_null(words(&o->cap_drop)));
	json_put(h, "GroupAdd", or_null(words(&o->group_add)));
	json_put_str(h, "PidMode", str_c(o->pid ? o->pid : ""));
	json_put(h, "Privileged", json_false());
	json_put(h, "ReadonlyRootfs", json_boolean(o->read_only));
	json_put_int(h, "ShmSize", shm);
	json_put(h, "Init", o->init ? json_true() : json_null());
	json_put_int(h, "Memory", 0);
	json_put_int(h, "NanoCpus", 0);
	return put_hosts(o, h, err) < 0 || put_dns(o, h, err) < 0 || put_tmpfs(o, h, err) < 0 ||
			put_ulimits(o, h, err) < 0 || put_devices(o, h, err) < 0
		? -1
		: 0;
}

json_t *container_config_make(const struct container_options *o, struct err **err)
{
	_cleanup_(json_unrefp) json_t *root = json_object();
	char text[DIGEST_TEXT], now[CLOCK_TEXT];
	/* Filled in when it is made; first, so that they are read first. */
	json_put_str(root, "Id", STR(""));
	json_put_str(root, "Created", str_c(clock_text(clock_real_ns(), now)));
	json_put_str(root, "Name", STR(""));
	json_put_str(root, "Image", str_c(digest_text(&o->image_id, text)));
	json_put_str(root, "Platform", STR("linux"));
	if (put_config(o, root, err) < 0 || put_host_config(o, root, err) < 0)
		return NULL;
	return json_incref(root);
}
