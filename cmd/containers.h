/*
 * containers: what the commands of containers share: the options of run and create, our terminal at a container, going through names.
 */
#pragma once

#include "cache/oci.h"
#include "cmd/cmd.h"
#include "runtime/container/attach.h"
#include "runtime/container/container.h"

struct cache;
struct session;

/* Options of run and create. First member of the options struct of both, so that one table of rows serves them. */
struct container_flags {
	struct opt_list env, env_file, label, cap_add, cap_drop, group_add, add_host, dns,
		dns_search, dns_option, tmpfs, ulimit, device, attach;
	const char *name, *user, *workdir, *entrypoint, *hostname, *domainname, *network, *pid,
		*stop_signal, *shm_size, *cidfile, *platform, *pull, *stop_timeout;
	bool tty, interactive, rm, read_only, init, quiet;
};

#define CONTAINER_FLAG(letter, name, kind, member, arg, help)                                      \
	{                                                                                          \
		letter, name, kind, offsetof(struct container_flags, member), arg, help            \
	}
#define CONTAINER_REFUSED(letter, name)                                                            \
	{                                                                                          \
		letter, name, OPT_REFUSED, 0, NULL, NULL                                           \
	}
#define CONTAINER_FLAGS                                                                                             \
	CONTAINER_FLAG(0, "add-host", OPT_LIST, add_host, "NAME:IP", "Add a line to /etc/hosts"),                   \
		CONTAINER_FLAG('a', "attach", OPT_LIST, attach, "STREAM",                                           \
			       "Attach to stdin, stdout or stderr only"),                                           \
		CONTAINER_FLAG(0, "cap-add", OPT_LIST, cap_add, "CAP", "Add a capability"),                         \
		CONTAINER_FLAG(0, "cap-drop", OPT_LIST, cap_drop, "CAP", "Drop a capability"),                      \
		CONTAINER_FLAG(0, "cidfile", OPT_STR, cidfile, "FILE",                                              \
			       "Write the container's id to FILE"),                                                 \
		CONTAINER_FLAG(0, "device", OPT_LIST, device, "DEVICE",                                             \
			       "Add a device of the host: PATH[:PATH[:rwm]]"),                                      \
		CONTAINER_FLAG(0, "dns", OPT_LIST, dns, "IP", "Use this DNS server"),                               \
		CONTAINER_FLAG(0, "dns-option", OPT_LIST, dns_option, "OPTION",                                     \
			       "Set a DNS option"),                                                                 \
		CONTAINER_FLAG(0, "dns-search", OPT_LIST, dns_search, "DOMAIN",                                     \
			       "Set a DNS search domain"),                                                          \
		CONTAINER_FLAG(0, "domainname", OPT_STR, domainname, "NAME",                                        \
			       "Set the container's domain name in what inspect shows"),                            \
		CONTAINER_FLAG(0, "entrypoint", OPT_STR, entrypoint, "PROGRAM",                                     \
			       "Instead of the image's entry point; \"\" for none"),                                \
		CONTAINER_FLAG('e', "env", OPT_LIST, env, "NAME[=VALUE]",                                           \
			       "Set a variable; without a value, from the environment"),                            \
		CONTAINER_FLAG(0, "env-file", OPT_LIST, env_file, "FILE",                                           \
			       "Read variables from FILE"),                                                         \
		CONTAINER_FLAG(0, "group-add", OPT_LIST, group_add, "GROUP",                                        \
			       "Add a supplementary group"),                                                        \
		CONTAINER_FLAG('h', "hostname", OPT_STR, hostname, "NAME",                                          \
			       "Set the host name (default: the short id)"),                                        \
		CONTAINER_FLAG(0, "init", OPT_FLAG, init, NULL,                                                     \
			       "Run an init that passes signals on and reaps processes"),                           \
		CONTAINER_FLAG('i', "interactive", OPT_FLAG, interactive, NULL,                                     \
			       "Keep stdin open"),                                                                  \
		CONTAINER_FLAG('l', "label", OPT_LIST, label, "NAME[=VALUE]", "Set a label"),                       \
		CONTAINER_FLAG(0, "name", OPT_STR, name, "NAME", "Name the container"),                             \
		CONTAINER_FLAG(                                                                                     \
			0, "network", OPT_STR, network, "host|none",                                                \
			"Use the host's network, or none but loopback (default: none, until cbuild has a bridge)"), \
		CONTAINER_FLAG(0, "net", OPT_STR, network, "host|none", "The same as --network"),                   \
		CONTAINER_FLAG(0, "pid", OPT_STR, pid, "host", "Use the host's pid namespace"),                     \
		CONTAINER_FLAG(0, "platform", OPT_STR, platform, "PLATFORM",                                        \
			       "Use the image of this platform"),                                                   \
		CONTAINER_FLAG(0, "pull", OPT_STR, pull, "always|missing|never",                                    \
			       "When the image is pulled (default: missing)"),                                      \
		CONTAINER_FLAG('q', "quiet", OPT_FLAG, quiet, NULL,                                                 \
			       "Print nothing while the image is pulled"),                                          \
		CONTAINER_FLAG(0, "read-only", OPT_FLAG, read_only, NULL,                                           \
			       "Make the root file system read-only"),                                              \
		CONTAINER_FLAG(0, "rm", OPT_FLAG, rm, NULL, "Remove the container when it ends"),                   \
		CONTAINER_FLAG(0, "shm-size", OPT_STR, shm_size, "BYTES",                                           \
			       "Size of /dev/shm (default: 64m)"),                                                  \
		CONTAINER_FLAG(0, "stop-signal", OPT_STR, stop_signal, "SIGNAL",                                    \
			       "What stops the container (default: the image's, or TERM)"),                         \
		CONTAINER_FLAG(0, "stop-timeout", OPT_STR, stop_timeout, "SECONDS",                                 \
			       "When a container that does not stop is killed (default: 10)"),                      \
		CONTAINER_FLAG(0, "tmpfs", OPT_LIST, tmpfs, "PATH[:OPTIONS]", "Mount a tmpfs"),                     \
		CONTAINER_FLAG('t', "tty", OPT_FLAG, tty, NULL, "Give it a terminal"),                              \
		CONTAINER_FLAG(0, "ulimit", OPT_LIST, ulimit, "NAME=SOFT[:HARD]",                                   \
			       "Set a resource limit"),                                                             \
		CONTAINER_FLAG('u', "user", OPT_STR, user, "USER[:GROUP]", "Run as this user"),                     \
		CONTAINER_FLAG('w', "workdir", OPT_STR, workdir, "DIR",                                             \
			       "Start in this folder, made when missing"),                                          \
		CONTAINER_REFUSED(0, "annotation"), CONTAINER_REFUSED(0, "blkio-weight"),                           \
		CONTAINER_REFUSED(0, "blkio-weight-device"),                                                        \
		CONTAINER_REFUSED(0, "cgroup-parent"), CONTAINER_REFUSED(0, "cgroupns"),                            \
		CONTAINER_REFUSED('c', "cpu-shares"), CONTAINER_REFUSED(0, "cpu-period"),                           \
		CONTAINER_REFUSED(0, "cpu-quota"), CONTAINER_REFUSED(0, "cpu-rt-period"),                           \
		CONTAINER_REFUSED(0, "cpu-rt-runtime"), CONTAINER_REFUSED(0, "cpus"),                               \
		CONTAINER_REFUSED(0, "cpuset-cpus"), CONTAINER_REFUSED(0, "cpuset-mems"),                           \
		CONTAINER_REFUSED(0, "device-cgroup-rule"),                                                         \
		CONTAINER_REFUSED(0, "device-read-bps"), CONTAINER_REFUSED(0, "device-read-iops"),                  \
		CONTAINER_REFUSED(0, "device-write-bps"),                                                           \
		CONTAINER_REFUSED(0, "device-write-iops"),                                                          \
		CONTAINER_REFUSED(0, "disable-content-trust"), CONTAINER_REFUSED(0, "expose"),                      \
		CONTAINER_REFUSED(0, "gpus"), CONTAINER_REFUSED(0, "health-cmd"),                                   \
		CONTAINER_REFUSED(0, "health-interval"), CONTAINER_REFUSED(0, "health-retries"),                    \
		CONTAINER_REFUSED(0, "health-start-interval"),                                                      \
		CONTAINER_REFUSED(0, "health-start-period"),                                                        \
		CONTAINER_REFUSED(0, "health-timeout"), CONTAINER_REFUSED(0, "no-healthcheck"),                     \
		CONTAINER_REFUSED(0, "ip"), CONTAINER_REFUSED(0, "ip6"),                                            \
		CONTAINER_REFUSED(0, "ipc"), CONTAINER_REFUSED(0, "isolation"),                                     \
		CONTAINER_REFUSED(0, "kernel-memory"), CONTAINER_REFUSED(0, "label-file"),                          \
		CONTAINER_REFUSED(0, "link"), CONTAINER_REFUSED(0, "link-local-ip"),                                \
		CONTAINER_REFUSED(0, "log-driver"), CONTAINER_REFUSED(0, "log-opt"),                                \
		CONTAINER_REFUSED(0, "mac-address"), CONTAINER_REFUSED('m', "memory"),                              \
		CONTAINER_REFUSED(0, "memory-reservation"), CONTAINER_REFUSED(0, "memory-swap"),                    \
		CONTAINER_REFUSED(0, "memory-swappiness"), CONTAINER_REFUSED(0, "mount"),                           \
		CONTAINER_REFUSED(0, "network-alias"), CONTAINER_REFUSED(0, "net-alias"),                           \
		CONTAINER_REFUSED(0, "oom-kill-disable"), CONTAINER_REFUSED(0, "oom-score-adj"),                    \
		CONTAINER_REFUSED(0, "pids-limit"), CONTAINER_REFUSED(0, "privileged"),                             \
		CONTAINER_REFUSED('p', "publish"), CONTAINER_REFUSED('P', "publish-all"),                           \
		CONTAINER_REFUSED(0, "restart"), CONTAINER_REFUSED(0, "runtime"),                                   \
		CONTAINER_REFUSED(0, "security-opt"), CONTAINER_REFUSED(0, "storage-opt"),                          \
		CONTAINER_REFUSED(0, "sysctl"), CONTAINER_REFUSED(0, "userns"),                                     \
		CONTAINER_REFUSED(0, "uts"), CONTAINER_REFUSED('v', "volume"),                                      \
		CONTAINER_REFUSED(0, "volume-driver"), CONTAINER_REFUSED(0, "volumes-from")

/* The options' container, made of the image (pulled where it has to be) and written to --cidfile. *ret_streams: PROTO_STREAM_… that --attach and
 * the defaults give. */
NODISCARD int containers_create(struct session *s, const struct container_flags *f,
				const struct args *args, bool detach, struct container **ret,
				unsigned *ret_streams, struct err **err);

/* Says Docker's sentence and gives true where a terminal is asked for and stdin is none. */
bool containers_no_tty(bool tty, bool input);

/* --detach-keys, or ctrl-p,ctrl-q. */
NODISCARD int containers_detach_keys(const char *text, struct detach *ret, struct err **err);

/* Takes part in a container over a connection until its end; its exit status, or ours where we left, in *ret_status. *ret_end says which. */
NODISCARD int containers_attach(struct cache *c, struct container *k, struct attach *a,
				enum attach_end *ret_end, int *ret_status, struct err **err);

/* Removes a container of --rm after its end; fine where another command did. */
NODISCARD int containers_remove_ended(struct cache *c, struct container *k, struct err **err);

/* Waits on a connection until the monitor says the end, or is gone. Its exit status in *ret_status. */
NODISCARD int containers_wait(struct cache *c, struct container *k, int conn, int *ret_status,
			      struct err **err);

/* A connection to a container's monitor, over which nothing but the end is told. ERR_NOT_FOUND: it does not run. */
NODISCARD int containers_watch(const struct container *k, int *ret_conn, struct err **err);

/* Calls fn for each name; says what fails and goes on; prints the names that did not, unless `silent`. *ret_status 1 where one failed. */
typedef int (*containers_fn)(struct cache *c, struct container *k, void *arg, struct err **err);
NODISCARD int containers_each(struct session *s, const struct args *args, bool silent,
			      containers_fn fn, void *arg, int *ret_status, struct err **err);

/* "Error response: …" on stderr, with its hint. */
void containers_say(const struct err *e);
