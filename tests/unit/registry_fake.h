/*
 * registry_fake: starts tests/lib/fake_registry.py for a unit program and reads what it saw. Programs run from the top folder or from
 * anywhere below it.
 */
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <sys/wait.h>

#include "base/err.h"
#include "base/io.h"
#include "base/json.h"
#include "base/proc.h"

struct fake {
	pid_t pid;
	int stdin_fd;
	int port, storage;
	char log[64];
	char host[32]; /* "127.0.0.1:PORT" */
};

/* Says why and leaves, where a part is missing. */
__attribute__((unused)) static void fake_needs(const char *program)
{
	_cleanup_free_ char *which = xasprintf("command -v %s >/dev/null", program);
	const char *argv[] = { "sh", "-c", which, NULL };
	struct proc_options o = { .argv = argv, .fds = { -1, -1, -1 } };
	_cleanup_(err_dropp) struct err *e = NULL;
	pid_t pid;
	int status = 1;
	if (proc_start(&o, &pid, NULL, &e) < 0 || proc_wait(pid, &status, &e) < 0 || status) {
		printf("skipped: %s is not installed\n", program);
		exit(77);
	}
}

/* Starts it with a configuration (single quotes stand for double ones). */
__attribute__((unused)) static struct fake fake_start(const char *config)
{
	struct fake f = { 0 };
	static int started;
	snprintf(f.log, sizeof(f.log), "/tmp/fake_registry.%d.%d.log", getpid(), started++);
	_cleanup_free_ char *json =
		xasprintf("{\"log\":\"%s\"%s%s}", f.log, *config ? "," : "", config);
	for (char *p = json; *p; p++)
		if (*p == '\'')
			*p = '"';
	const char *script = access("tests/lib/fake_registry.py", R_OK)
		? "../../../tests/lib/fake_registry.py"
		: "tests/lib/fake_registry.py";
	const char *argv[] = { "python3", script, json, NULL };
	int in[2], out[2];
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	struct proc_options o = { .argv = argv, .fds = { in[0], out[1], 2 } };
	struct err *e = NULL;
	assert_int_equal(proc_start(&o, &f.pid, NULL, &e), 0);
	close(in[0]);
	close(out[1]);
	f.stdin_fd = in[1];
	char line[128] = "";
	for (size_t n = 0; n + 1 < sizeof(line) && !strchr(line, '\n');) {
		ssize_t k = read(out[0], line + n, sizeof(line) - 1 - n);
		assert_true(k > 0);
		n += (size_t)k;
	}
	close(out[0]);
	assert_int_equal(sscanf(line, "port %d storage %d", &f.port, &f.storage), 2);
	snprintf(f.host, sizeof(f.host), "127.0.0.1:%d", f.port);
	return f;
}

__attribute__((unused)) static void fake_stop(struct fake *f)
{
	close(f->stdin_fd);
	kill(f->pid, SIGKILL);
	waitpid(f->pid, NULL, 0);
	unlink(f->log);
}

/* One request as the fake saw it. */
struct seen {
	char method[8], path[512], authorization[512], range[64], content_range[64], type[128];
	int conn;
	bool storage;
};

/* All requests so far; malloc. */
__attribute__((unused)) static struct seen *fake_seen(const struct fake *f, size_t *ret_n)
{
	_cleanup_(sb_releasep) struct sb text;
	sb_init(&text, 16 * 1024 * 1024);
	struct err *e = NULL;
	assert_int_equal(io_read_file(AT_FDCWD, f->log, &text, &e), 0);
	struct seen *v = NULL;
	size_t n = 0;
	struct str all = sb_str(&text), line;
	while (str_cut(all, '\n', &line, &all)) {
		_cleanup_(json_unrefp) json_t *j = json_parse(line, "log", &e);
		assert_non_null(j);
		v = xreallocarray(v, n + 1, sizeof(*v));
		struct seen *s = &v[n++];
		memset(s, 0, sizeof(*s));
		snprintf(s->method, sizeof(s->method), "%.*s", STR_ARG(json_get_str(j, "method")));
		snprintf(s->path, sizeof(s->path), "%.*s", STR_ARG(json_get_str(j, "path")));
		snprintf(s->authorization, sizeof(s->authorization), "%.*s",
			 STR_ARG(json_get_str(j, "authorization")));
		snprintf(s->range, sizeof(s->range), "%.*s", STR_ARG(json_get_str(j, "range")));
		snprintf(s->content_range, sizeof(s->content_range), "%.*s",
			 STR_ARG(json_get_str(j, "content_range")));
		snprintf(s->type, sizeof(s->type), "%.*s", STR_ARG(json_get_str(j, "type")));
		s->conn = (int)json_get_int(j, "conn", 0);
		s->storage = json_get_bool(j, "storage");
	}
	*ret_n = n;
	return v;
}

/* How many requests have a method ("" any) and a text in their path. */
__attribute__((unused)) static unsigned fake_count(const struct fake *f, const char *method,
						   const char *in_path)
{
	size_t n;
	unsigned count = 0;
	_cleanup_free_ struct seen *v = fake_seen(f, &n);
	for (size_t i = 0; i < n; i++)
		count += (!*method || !strcmp(v[i].method, method)) && strstr(v[i].path, in_path);
	return count;
}

/* A key and certificate for 127.0.0.1 in PREFIX.pem, the certificate alone in PREFIX.crt; false without openssl. */
__attribute__((unused)) static bool fake_certificate(const char *prefix)
{
	_cleanup_free_ char *make = xasprintf(
		"openssl req -x509 -newkey rsa:2048 -nodes -keyout %s.key -out %s.crt -days 2 -subj /CN=127.0.0.1 "
		"-addext subjectAltName=IP:127.0.0.1 2>/dev/null && cat %s.key %s.crt > %s.pem && rm %s.key",
		prefix, prefix, prefix, prefix, prefix, prefix);
	const char *argv[] = { "sh", "-c", make, NULL };
	struct proc_options o = { .argv = argv, .fds = { -1, -1, -1 } };
	struct err *e = NULL;
	pid_t pid;
	int status;
	assert_int_equal(proc_start(&o, &pid, NULL, &e), 0);
	assert_int_equal(proc_wait(pid, &status, &e), 0);
	if (status)
		printf("openssl is not installed: TLS is not tried\n");
	return !status;
}

/* Writes PREFIX.json: settings in which a host has the certificate of PREFIX. */
__attribute__((unused)) static void fake_settings(const char *prefix, const char *host)
{
	_cleanup_free_ char *path = xasprintf("%s.json", prefix);
	_cleanup_free_ char *json =
		xasprintf("{\"registries\":{\"%s\":{\"ca\":\"%s.crt\"}}}", host, prefix);
	struct err *e = NULL;
	assert_int_equal(io_replace_file(AT_FDCWD, path, str_c(json), 0600, false, &e), 0);
}

__attribute__((unused)) static void fake_certificate_remove(const char *prefix)
{
	static const char *const parts[] = { ".pem", ".crt", ".json" };
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		_cleanup_free_ char *path = xasprintf("%s%s", prefix, parts[i]);
		unlink(path);
	}
}
