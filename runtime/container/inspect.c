#include "runtime/container/inspect.h"

#include "cache/db.h"
#include "cache/store.h"
#include "runtime/container/container.h"

#define NEVER "0001-01-01T00:00:00Z"

const char *container_status_name(const struct container *k)
{
	static const char *const names[] = { "created", "running", "exited" };
	return names[k->state.status];
}

static json_t *state(const struct container *k)
{
	const struct container_state *s = &k->state;
	json_t *j = json_object();
	bool running = s->status == CONTAINER_RUNNING;
	json_put_str(j, "Status", str_c(container_status_name(k)));
	json_put(j, "Running", json_boolean(running));
	json_put(j, "Paused", json_false());
	json_put(j, "Restarting", json_false());
	json_put(j, "OOMKilled", json_boolean(s->oom));
	json_put(j, "Dead", json_false());
	json_put_int(j, "Pid", running ? s->pid : 0);
	json_put_int(j, "ExitCode", running ? 0 : s->exit);
	json_put(j, "Error", json_text(str_c(s->error)));
	json_put_str(j, "StartedAt", str_c(*s->started ? s->started : NEVER));
	json_put_str(j, "FinishedAt", str_c(*s->finished ? s->finished : NEVER));
	return j;
}

static void put_path(struct cache *c, const struct container *k, json_t *j, const char *name,
		     const char *file)
{
	_cleanup_free_ char *path =
		xasprintf("%s/containers/%s/%s", cache_store_root(cache_store_of(c)), k->id, file);
	json_put(j, name, json_text(str_c(path)));
}

/* As Docker shows a container of the networks host and none: one network, no address. */
static json_t *network(const struct container *k)
{
	static const char *const empty[] = { "EndpointID",  "Gateway",           "IPAddress",
					     "IPv6Gateway", "GlobalIPv6Address", "MacAddress" };
	json_t *j = json_object(), *all = json_object(), *one = json_object();
	_cleanup_free_ char *mode =
		str_dup(json_get_str(container_section(k, "HostConfig"), "NetworkMode"));
	json_put(j, "Ports", json_object());
	json_put_str(j, "Gateway", STR(""));
	json_put_str(j, "IPAddress", STR(""));
	json_put_int(j, "IPPrefixLen", 0);
	json_put_str(j, "MacAddress", STR(""));
	for (size_t i = 0; i < ARRAY_SIZE(empty); i++)
		json_put_str(one, empty[i], STR(""));
	json_put(all, mode, one);
	json_put(j, "Networks", all);
	return j;
}

json_t *container_inspect(struct cache *c, const struct container *k)
{
	static const char *const plain[] = { "Id", "Created", "Path", "Args" };
	json_t *j = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
		json_put(j, plain[i], json_incref(json_object_get(k->config, plain[i])));
	json_put(j, "State", state(k));
	json_put(j, "Image", json_incref(json_object_get(k->config, "Image")));
	put_path(c, k, j, "ResolvConfPath", "etc/resolv.conf");
	put_path(c, k, j, "HostnamePath", "etc/hostname");
	put_path(c, k, j, "HostsPath", "etc/hosts");
	put_path(c, k, j, "LogPath", "log.json");
	_cleanup_free_ char *name = xasprintf("/%s", k->name);
	json_put(j, "Name", json_text(str_c(name)));
	json_put_int(j, "RestartCount", 0);
	json_put_str(j, "Driver", STR("overlay2"));
	json_put(j, "Platform", json_incref(json_object_get(k->config, "Platform")));
	json_put(j, "ExecIDs", json_null());
	json_put(j, "HostConfig", json_incref(json_object_get(k->config, "HostConfig")));
	json_put(j, "Mounts", json_array());
	json_put(j, "Config", json_incref(json_object_get(k->config, "Config")));
	json_put(j, "NetworkSettings", network(k));
	return j;
}
