/* How containers end: daemons left behind, cancelling, deaths of cbuild and of the helper, and
 * that nothing grows. */
#include "tests/unit/runtime_box.h"

#include <pthread.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static bool holds(const char *pid, const char *file, const char *text)
{
	_cleanup_(err_dropp) struct err *err = NULL;
	_cleanup_(sb_releasep) struct sb b = { .max = 65536 };
	_cleanup_free_ char *path = xasprintf("/proc/%s/%s", pid, file);
	if (io_read_file(AT_FDCWD, path, &b, &err) < 0)
		return false;
	for (size_t i = 0; i < b.n; i++)
		b.p[i] = b.p[i] ? b.p[i] : ' ';
	return str_find_str(sb_str(&b), str_c(text), 0) != SIZE_MAX;
}

/* Processes of these tests (others may run beside) whose command line, joined by blanks, holds
 * the mark; zombies have none. */
static unsigned alive(const char *mark)
{
	unsigned n = 0;
	_cleanup_closedir_ DIR *d = opendir("/proc");
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] >= '0' && e->d_name[0] <= '9' &&
			holds(e->d_name, "cmdline", mark) && holds(e->d_name, "environ", store);
	return n;
}

/* Until there are so many at one moment: between fork and exec, and within exec, a process
 * counts as what it was or not at all. */
static void wait_alive(const char *mark, unsigned want)
{
	unsigned have = 0;
	for (int i = 0; i < 500; i++) {
		have = alive(mark);
		if (have == want)
			return;
		poll(NULL, 0, 10);
	}
	fail_msg("%u processes of '%s' instead of %u", have, mark, want);
}

static unsigned entries(const char *path)
{
	unsigned n = 0;
	_cleanup_closedir_ DIR *d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d));)
		n += e->d_type == DT_DIR && e->d_name[0] != '.';
	return n;
}

/* Groups of this store in all hierarchies, and records. */
static unsigned left_over(void)
{
	static const char *const hierarchies[] = { "", "unified/", "devices/" };
	unsigned n = 0;
	for (size_t i = 0; i < ARRAY_SIZE(hierarchies); i++) {
		char path[96];
		snprintf(path, sizeof(path), "/sys/fs/cgroup/%scbuild/%s", hierarchies[i], store);
		n += entries(path);
	}
	_cleanup_close_ int fd = openat(run_fd, "steps", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = fdopendir(STEAL_FD(fd));
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	return n;
}

static struct process *start_sh(const char *script, uint32_t uid)
{
	const char *argv[] = { "sh", "-c", script, NULL };
	_cleanup_(err_dropp) struct err *e = NULL;
	struct runtime_spec spec;
	_cleanup_free_ char *mark = xasprintf("BOX=%s", store);
	const char *with[] = { box_env[0], mark, NULL };
	box_spec(&spec, argv);
	spec.env = with;
	spec.uid = spec.gid = uid;
	spec.caps = runtime_caps_default(uid);
	struct process *p = box_start(&spec, -1, &e);
	if (!p)
		fail_msg("%s", e->msg);
	return p;
}

static void test_daemons(void **state)
{
	(void)state;
	poll(NULL, 0, 100);
	unsigned before = left_over();
	_cleanup_(sb_releasep) struct sb out = { 0 };
	_cleanup_free_ char *script = xasprintf(
		"export BOX=%s; (sleep 1001 &); "
		"setsid sh -c 'trap \"\" TERM HUP INT; sleep 1001' & sleep 0.1; echo done",
		store);
	/* In the background, in a session of its own, deaf to signals, holding the pipe. */
	assert_int_equal(box_sh(script, &out), 0);
	assert_string_equal(sb_c(&out), "done\n");
	assert_int_equal(alive("sleep 1001"), 0);
	assert_int_equal(box_sh("kill -9 -1; exit 4", &out), 4);
	for (int i = 0; i < 100 && left_over() != before; i++)
		poll(NULL, 0, 10);
	assert_int_equal(left_over(), before);
}

/* Cancelling, also before the helper has cloned anything; pid 1 that ignores TERM; another user. */
static void test_cancel(void **state)
{
	(void)state;
	for (int round = 0; round < 6; round++) {
		struct process *p =
			start_sh("trap '' TERM INT; setsid sleep 1002 & sleep 1002; true",
				 round % 2 ? 1000 : 0);
		if (round < 4)
			wait_alive("sleep 1002", 3);
		runtime_process_kill(p);
		_cleanup_(err_dropp) struct err *e = NULL;
		struct runtime_exit x;
		assert_int_equal(box_await(p, &x, &e), 128 + SIGKILL);
		assert_true(x.signaled);
		assert_int_equal(alive("sleep 1002"), 0);
		runtime_process_free(p);
	}
	/* Freed while it runs. */
	struct process *p = start_sh("sleep 1003; true", 0);
	wait_alive("sleep 1003", 2);
	runtime_process_free(p);
	wait_alive("sleep 1003", 0);
}

/* Ctrl-C goes to the caller's foreground group: the helper and its containers are not in it. */
static void test_foreground_group(void **state)
{
	(void)state;
	signal(SIGINT, SIG_IGN);
	struct process *p = start_sh("sleep 0.5; exit 9", 0);
	wait_alive("sleep 0.5", 2);
	kill(0, SIGINT);
	_cleanup_(err_dropp) struct err *e = NULL;
	struct runtime_exit x;
	assert_int_equal(box_await(p, &x, &e), 9);
	runtime_process_free(p);
	signal(SIGINT, SIG_DFL);
}

static pid_t helper_pid(void)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(sb_releasep) struct sb b = { .max = 4096 };
	assert_int_equal(io_read_file(run_fd, "steps/" LEASE ".spawner", &b, &e), 0);
	const char *line = strchr(sb_c(&b), '\n');
	assert_non_null(line);
	return (pid_t)strtol(line + 1, NULL, 10);
}

/* kill -9 of the helper: its RUNs die; the answer comes only when they are gone; a new helper
 * works on. */
static void test_helper_killed(void **state)
{
	(void)state;
	static const uint32_t uids[] = { 0, 1000 };
	for (size_t i = 0; i < ARRAY_SIZE(uids); i++) {
		struct process *p = start_sh("setsid sleep 1004 & sleep 1004; true", uids[i]);
		wait_alive("sleep 1004", 3);
		assert_int_equal(kill(helper_pid(), SIGKILL), 0);
		_cleanup_(err_dropp) struct err *e = NULL;
		struct runtime_exit x;
		assert_int_equal(box_await(p, &x, &e), -1);
		assert_string_equal(e->msg, "the helper that runs processes is gone");
		assert_int_equal(alive("sleep 1004"), 0);
		runtime_process_free(p);
		runtime_spawner_stop(spawner);
		spawner = box_spawner();
	}
	assert_sh("echo again", "again\n");
}

static void add(const char *name)
{
	_cleanup_free_ char *path = xasprintf("rootfs/bin/%s", name);
	assert_int_equal(symlinkat("busybox", top_fd, path), 0);
}

/*
 * A process that does as a cbuild would: starts a helper and with it what `work` says; its pid. Its
 * parent stands for an init that reaps at once. Both end with us.
 */
static pid_t start_caller(void (*work)(void), pid_t *ret_init)
{
	int ready[2];
	pid_t pid;
	runtime_spawner_stop(spawner);
	spawner = NULL;
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	*ret_init = (pid_t)syscall(SYS_fork);
	if (*ret_init) {
		assert_int_equal(read(ready[0], &pid, sizeof(pid)), sizeof(pid));
		close(ready[0]);
		close(ready[1]);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGCHLD, SIG_IGN);
	pid = (pid_t)syscall(SYS_fork);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGCHLD, SIG_DFL);
		spawner = box_spawner();
		work();
		pid = (pid_t)syscall(SYS_getpid);
		if (write(ready[1], &pid, sizeof(pid)) < 0)
			_exit(1);
	}
	for (;;)
		pause();
}

static void end_caller(pid_t init)
{
	kill(init, SIGKILL);
	waitpid(init, NULL, 0);
	spawner = box_spawner();
}

static void work_users(void)
{
	start_sh("exec su ann -c 'sleep 1005; true'", 0);
	start_sh("sleep 1005; true", 1000);
}

static void work_plain(void)
{
	start_sh("sleep 1006; true", 0);
}

/*
 * kill -9 of cbuild and helper together. A program that changes its user by a set-uid exec has lost
 * the parent death signal (so does `su`): the record is what finds it.
 */
static void test_both_killed(void **state)
{
	(void)state;
	add("su");
	pid_t init, caller = start_caller(work_users, &init);
	wait_alive("sleep 1005", 4);
	/* Neither may notice the other's death. */
	assert_int_equal(kill(helper_pid(), SIGSTOP), 0);
	assert_int_equal(kill(caller, SIGKILL), 0);
	assert_int_equal(kill(helper_pid(), SIGKILL), 0);
	_cleanup_(err_dropp) struct err *e = NULL;
	if (runtime_strays_kill(NULL, run_fd, LEASE, &e) < 0)
		fail_msg("%s", e->msg);
	assert_int_equal(alive("sleep 1005"), 0);
	assert_int_equal(left_over(), 0);
	/* Nothing to do is fine. */
	assert_int_equal(runtime_strays_kill(NULL, run_fd, LEASE, &e), 0);
	end_caller(init);
}

/* cbuild alone is killed: the helper sees its socket end, kills, waits and goes. */
static void test_caller_killed(void **state)
{
	(void)state;
	pid_t init, caller = start_caller(work_plain, &init);
	wait_alive("sleep 1006", 2);
	pid_t helper = helper_pid();
	assert_int_equal(kill(caller, SIGKILL), 0);
	wait_alive("sleep 1006", 0);
	for (int i = 0; i < 200 && !kill(helper, 0); i++)
		poll(NULL, 0, 10);
	assert_int_equal(kill(helper, 0), -1);
	_cleanup_(err_dropp) struct err *e = NULL;
	assert_int_equal(runtime_strays_kill(NULL, run_fd, LEASE, &e), 0);
	assert_int_equal(left_over(), 0);
	end_caller(init);
}

/* A cache mount's lock is free only when the last process of the step is gone, whoever died. */
static void test_lock(void **state)
{
	(void)state;
	const char *argv[] = { "sleep", "0.3", NULL };
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_close_ int lock = openat(top_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600),
			    other = openat(top_fd, "lock", O_RDWR | O_CLOEXEC);
	assert_int_equal(flock(lock, LOCK_EX), 0);
	struct runtime_mount m = { .kind = RUNTIME_MOUNT_TMPFS,
				   .target = "/cache",
				   .lock_fd = lock };
	struct runtime_spec spec;
	box_spec(&spec, argv);
	spec.mounts = &m;
	spec.n_mounts = 1;
	struct process *p = box_start(&spec, -1, &e);
	assert_non_null(p);
	close(STEAL_FD(lock));
	assert_int_equal(flock(other, LOCK_EX | LOCK_NB), -1);
	struct runtime_exit x;
	assert_int_equal(box_await(p, &x, &e), 0);
	assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
	runtime_process_free(p);
}

/* Too little memory in the group that cbuild itself is in (version 1, where a RUN has no memory
 * group of its own). */
/* The test sits in the group too, and a sanitizer's shadow memory counts. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OOM_LIMIT "512m"
#define OOM_SCRIPT "dd if=/dev/zero of=/dev/null bs=1000M count=1"
#else
#define OOM_LIMIT "48m"
#define OOM_SCRIPT "dd if=/dev/zero of=/dev/null bs=100M count=1"
#endif

static void test_oom(void **state)
{
	(void)state;
	char group[64], path[96], text[16];
	snprintf(group, sizeof(group), "/sys/fs/cgroup/memory/cbuild-test-%d", (int)getpid());
	if (mkdir(group, 0755) < 0)
		skip();
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(sb_releasep) struct sb own = { .max = 4096 };
	assert_int_equal(io_read_file(AT_FDCWD, "/proc/self/cgroup", &own, &e), 0);
	const char *mine = strstr(sb_c(&own), ":memory:");
	assert_non_null(mine);
	_cleanup_free_ char *back = xasprintf("/sys/fs/cgroup/memory%.*s/cgroup.procs",
					      (int)strcspn(mine + 8, "\n"), mine + 8);
	runtime_spawner_stop(spawner);
	snprintf(path, sizeof(path), "%s/memory.limit_in_bytes", group);
	int limit = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(write(limit, OOM_LIMIT, strlen(OOM_LIMIT)) > 0);
	close(limit);
	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	int in = open(path, O_WRONLY | O_CLOEXEC), out = open(back, O_WRONLY | O_CLOEXEC);
	snprintf(text, sizeof(text), "%d", (int)getpid());
	assert_true(write(in, text, strlen(text)) > 0);
	spawner = box_spawner();
	static const struct {
		const char *script;
		int status;
		bool oom;
	} cases[] = { { OOM_SCRIPT, 137, true },
		      { "exit 137", 137, false },
		      { "exit 0", 0, false } };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct process *p = start_sh(cases[i].script, 0);
		struct runtime_exit x;
		assert_int_equal(box_await(p, &x, &e), cases[i].status);
		assert_int_equal(x.oom, cases[i].oom);
		runtime_process_free(p);
	}
	runtime_spawner_stop(spawner);
	assert_true(write(out, text, strlen(text)) > 0);
	close(in);
	close(out);
	for (int i = 0; rmdir(group) < 0 && i < 100; i++)
		poll(NULL, 0, 10);
	spawner = box_spawner();
}

/* Requests from several threads. */
static void *spawn_some(void *arg)
{
	(void)arg;
	static const char *const argv[] = { "/bin/true", NULL };
	intptr_t failed = 0;
	for (int i = 0; i < 25; i++) {
		struct err *e = NULL;
		struct runtime_exit x = { .status = -1 };
		struct process *p = NULL;
		struct runtime_spec spec;
		box_spec(&spec, argv);
		spec.root_fd = open_tree(top_fd, "rootfs", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
		int r = runtime_spawn(spawner, &spec, &p, &e);
		close(spec.root_fd);
		while (!r) {
			struct pollfd f = { .fd = runtime_process_fd(p), .events = POLLIN };
			poll(&f, 1, 10000);
			r = runtime_process_next(p, &x, &e);
		}
		failed += x.status != 0;
		err_drop(&e);
		runtime_process_free(p);
	}
	return (void *)failed;
}

static void test_threads(void **state)
{
	(void)state;
	pthread_t threads[4];
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, spawn_some, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		void *failed;
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_int_equal((intptr_t)failed, 0);
	}
}

static long helper_value(const char *file, const char *name)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(sb_releasep) struct sb b = { .max = 65536 };
	_cleanup_free_ char *path = xasprintf("/proc/%d/%s", helper_pid(), file);
	assert_int_equal(io_read_file(AT_FDCWD, path, &b, &e), 0);
	const char *at = name ? strstr(sb_c(&b), name) : sb_c(&b);
	assert_non_null(at);
	if (name)
		return strtol(at + strlen(name), NULL, 10);
	long lines = 0;
	for (; *at; at++)
		lines += *at == '\n';
	return lines;
}

static long helper_fds(void)
{
	long n = 0;
	_cleanup_free_ char *path = xasprintf("/proc/%d/fd", helper_pid());
	_cleanup_closedir_ DIR *d = opendir(path);
	while (readdir(d))
		n++;
	return n;
}

/* 1,000 in sequence, 100 at once. */
static void test_many(void **state)
{
	(void)state;
	const char *argv[] = { "true", NULL };
	struct process *all[100];
	long mounts = 0, fds = 0, rss = 0;
	struct runtime_spec spec;
	box_spec(&spec, argv);
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(sb_releasep) struct sb out = { 0 };
	poll(NULL, 0, 100);
	unsigned before = left_over();
	for (int i = 0; i < 1000; i++) {
		if (box_run(&spec, &out, &e))
			fail_msg("round %d: %s", i, e ? e->msg : sb_c(&out));
		if (i != 20)
			continue;
		/* What the helper does after an answer, it does while nobody waits. */
		poll(NULL, 0, 100);
		mounts = helper_value("mountinfo", NULL);
		fds = helper_fds();
		rss = helper_value("status", "VmRSS:");
	}
	poll(NULL, 0, 100);
	assert_int_equal(helper_value("mountinfo", NULL), mounts);
	assert_int_equal(helper_fds(), fds);
	assert_true(helper_value("status", "VmRSS:") <= rss + 64);
	assert_true(rss <= 1024);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		all[i] = box_start(&spec, -1, &e);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct runtime_exit x;
		assert_non_null(all[i]);
		assert_int_equal(box_await(all[i], &x, &e), 0);
		runtime_process_free(all[i]);
	}
	for (int i = 0; i < 100 && left_over() != before; i++)
		poll(NULL, 0, 10);
	assert_int_equal(left_over(), before);
	assert_int_equal(helper_fds(), fds);
}

int main(void)
{
	const char *why = box_refused();
	if (why) {
		puts(why);
		return 77;
	}
	/* Signals to our group must not reach who runs the tests. */
	setpgid(0, 0);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_daemons),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_foreground_group),
		cmocka_unit_test(test_helper_killed),
		cmocka_unit_test(test_both_killed),
		cmocka_unit_test(test_caller_killed),
		cmocka_unit_test(test_lock),
		cmocka_unit_test(test_oom),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_many),
	};
	return cmocka_run_group_tests(tests, box_setup, box_teardown) || box_again();
}
