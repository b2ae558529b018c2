/* Containers as they are seen from inside. */
#include "tests/unit/runtime_box.h"

#include <linux/fs.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/time.h>

static void test_status(void **state)
{
	(void)state;
	_cleanup_(sb_releasep) struct sb out = { 0 };
	assert_int_equal(box_sh("exit 7", &out), 7);
	/* pid 1 does not die by a signal of its own namespace that it has no handler for. */
	assert_int_equal(box_sh("kill -9 $$; exit 3", &out), 3);
	assert_sh("echo hello; echo error >&2", "hello\nerror\n");
	assert_sh("cat; wc -c </dev/stdin", "0\n");
}

static void test_identity(void **state)
{
	(void)state;
	assert_sh(
		"grep -E '^(Cap|Seccomp:|NoNewPrivs|SigIgn|SigBlk|Groups|Umask|Pid)' /proc/self/status | tr -d '\\t ' | grep -v ^Pid",
		"Umask:0022\nGroups:\nSigBlk:0000000000000000\nSigIgn:0000000000000000\nCapInh:0000000000000000\n"
		"CapPrm:00000000a80425fb\nCapEff:00000000a80425fb\nCapBnd:00000000a80425fb\nCapAmb:0000000000000000\nNoNewPrivs:0\nSeccomp:2\n");
	assert_sh("echo $$; cut -d' ' -f1,5,6 /proc/1/stat; cat /proc/self/oom_score_adj",
		  "1\n1 1 1\n0\n");
	gid_t groups[] = { 10, 29 };
	struct runtime_spec spec;
	runtime_spec_init(&spec);
	spec.uid = 1000;
	spec.gid = 100;
	spec.caps = runtime_caps_default(1000);
	spec.groups = groups;
	spec.n_groups = 2;
	assert_spec(
		&spec,
		"id -u; id -g; grep -E '^(Cap|Groups)' /proc/self/status | tr -d '\\t'; echo >/dev/stdout",
		"1000\n100\nGroups:10 29 \nCapInh:0000000000000000\nCapPrm:0000000000000000\nCapEff:0000000000000000\n"
		"CapBnd:00000000a80425fb\nCapAmb:0000000000000000\n\n");
	spec.no_new_privs = true;
	assert_spec(&spec, "grep NoNew /proc/self/status", "NoNewPrivs:\t1\n");
}

/* Only 0, 1, 2 (and what ls opens itself); all of the container. */
static void test_descriptors(void **state)
{
	(void)state;
	assert_sh("exec ls /proc/self/fd", "0\n1\n2\n3\n");
	assert_sh(
		"ls /proc/1/fd; readlink /proc/1/fd/0; grep -c . /proc/1/environ; tr '\\0' '\\n' </proc/1/environ; true",
		"0\n1\n2\n/dev/null\n1\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\nHOME=/root\n");
	/* Of the container's own /dev: were it the host's, its mode could be changed from here. */
	assert_sh("chmod 600 /proc/self/fd/0; stat -c %a /dev/null", "600\n");
	struct stat st;
	assert_int_equal(stat("/dev/null", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0666);
}

static void test_mounts(void **state)
{
	(void)state;
	_cleanup_(sb_releasep) struct sb out = { 0 };
	assert_int_equal(
		box_sh("cut -d' ' -f5 /proc/self/mountinfo | grep -v -E '^/(sys|proc)/' | sort",
		       &out),
		0);
	assert_string_equal(sb_c(&out), "/\n/dev\n/dev/mqueue\n/dev/pts\n/dev/shm\n/proc\n/sys\n");
	assert_sh(
		"awk '$5 !~ /^\\/(|dev|proc|sys|dev\\/(pts|shm|mqueue)|proc\\/[a-z_-]*|sys\\/fs\\/cgroup(\\/.*)?|sys\\/firmware|"
		"sys\\/devices\\/.*)$/' /proc/self/mountinfo",
		"");
	/* No peer group: nothing goes out or comes in. */
	assert_sh("grep -c -E 'shared|master' /proc/self/mountinfo; true", "0\n");
	assert_sh(
		"for i in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/irq/x /sys/kernel/uevent_helper /sys/fs/cgroup/x; do "
		"(echo x >$i) 2>/dev/null && echo written $i; done; true",
		"");
	assert_sh(
		"for i in /proc/kcore /proc/keys /proc/interrupts /proc/timer_list; do [ ! -e $i ] || cat $i; done; ls /sys/firmware /proc/acpi",
		"/proc/acpi:\n\n/sys/firmware:\n");
	assert_sh(
		"mount -t tmpfs x /tmp 2>&1 | grep -o -i 'permission denied'; umount /proc 2>&1 | grep -o -i 'not permitted'; "
		"(chmod 777 /proc/keys || chmod 777 /sys/firmware) 2>&1 | grep -c -i 'read-only'",
		"permission denied\nnot permitted\n2\n");
	assert_sh(
		"stat -c '%n %a %t:%T' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty; for i in fd stdin ptmx; do readlink /dev/$i; done",
		"/dev/null 666 1:3\n/dev/zero 666 1:5\n/dev/full 666 1:7\n/dev/random 666 1:8\n/dev/urandom 666 1:9\n/dev/tty 666 5:0\n"
		"/proc/self/fd\n/proc/self/fd/0\npts/ptmx\n");
	/* A /dev of its own each time. */
	assert_sh("touch /dev/mine; rm /dev/zero; ls /dev/mine", "/dev/mine\n");
	assert_sh("ls /dev/mine 2>&1 | grep -c 'No such'; ls /dev/zero", "1\n/dev/zero\n");
}

static void test_root_readonly(void **state)
{
	(void)state;
	struct runtime_spec spec;
	runtime_spec_init(&spec);
	spec.root_readonly = true;
	assert_spec(&spec, "touch /x 2>&1 | grep -o 'Read-only.*'; touch /dev/shm/x && echo fine",
		    "Read-only file system\nfine\n");
}

static void test_cwd(void **state)
{
	(void)state;
	struct runtime_spec spec;
	runtime_spec_init(&spec);
	spec.cwd = "/a/../b/c";
	assert_spec(&spec, "pwd; stat -c %a:%u /b", "/b/c\n755:0\n");
	spec.cwd = "/w/own";
	spec.cwd_as_user = true;
	spec.uid = spec.gid = 1000;
	spec.caps = runtime_caps_default(1000);
	assert_spec(&spec, "pwd; stat -c %a:%u:%g /w /w/own",
		    "/w/own\n755:1000:1000\n755:1000:1000\n");
	/* root's folder, entered by root's capabilities, seen by a user who could not enter it. */
	spec.cwd = "/root";
	assert_spec(&spec, "pwd", "/root\n");
	spec.argv = (const char *const[]){ "true", NULL };
	static const char *const bad[] = { "/proc/self/fd/7", "/proc/self/fd/3", "/proc/self/fd/4",
					   "/proc/1/fd/5/..", "/bin/sh" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(err_dropp) struct err *e = NULL;
		_cleanup_(sb_releasep) struct sb out = { 0 };
		spec.cwd = bad[i];
		assert_int_equal(box_run(&spec, &out, &e), -1);
		assert_non_null(strstr(e->msg, "working directory"));
	}
}

static void refuse(const char *const argv[], enum err_code code, int status, const char *message,
		   const char *hint)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(sb_releasep) struct sb out = { 0 };
	struct runtime_spec spec;
	box_spec(&spec, argv);
	assert_int_equal(box_run(&spec, &out, &e), -1);
	assert_string_equal(e->msg, message);
	assert_int_equal(e->code, code);
	assert_int_equal(e->status, status);
	if (hint)
		assert_string_equal(e->hint, hint);
	else
		assert_null(e->hint);
}

#define ARGV(...)                                                                                  \
	(const char *const[])                                                                      \
	{                                                                                          \
		__VA_ARGS__, NULL                                                                  \
	}

static void test_program(void **state)
{
	(void)state;
	char elf[128] = "\177ELF\2\1\1";
	elf[16] = 2;
	elf[18] = (char)183;
	elf[20] = 1;
	box_put("bin/crlf", STR("#!/bin/sh\r\necho hi\r\n"), 0755);
	box_put("bin/noint", STR("#!/opt/python x\n"), 0755);
	box_put("bin/plain", STR("echo hi\n"), 0755);
	box_put("bin/empty", STR(""), 0755);
	box_put("bin/nox", STR("#!/bin/sh\n"), 0644);
	box_put("bin/arm", (struct str){ elf, sizeof(elf) }, 0755);
	refuse(ARGV("nosuch"), ERR_NOT_FOUND, 127,
	       "exec: \"nosuch\": executable file not found in $PATH", NULL);
	refuse(ARGV("nox"), ERR_NOT_FOUND, 127, "exec: \"nox\": executable file not found in $PATH",
	       NULL);
	refuse(ARGV("/no/such"), ERR_NOT_FOUND, 127,
	       "exec: \"/no/such\": no such file or directory", NULL);
	refuse(ARGV("/bin/nox"), ERR_DENIED, 126, "exec: \"/bin/nox\": permission denied", NULL);
	refuse(ARGV("/etc"), ERR_DENIED, 126, "exec: \"/etc\": is a directory: permission denied",
	       NULL);
	refuse(ARGV("/bin/crlf"), ERR_INVALID, 255, "exec /bin/crlf: no such file or directory",
	       "interpreter \"/bin/sh\\r\": the script has CRLF line ends");
	refuse(ARGV("noint"), ERR_INVALID, 255, "exec noint: no such file or directory",
	       "interpreter \"/opt/python\" is not in the image");
	refuse(ARGV("plain"), ERR_INVALID, 255, "exec plain: exec format error",
	       "a script needs a first line such as #!/bin/sh");
	refuse(ARGV("empty"), ERR_INVALID, 255, "exec empty: exec format error",
	       "the file is empty");
#ifdef __x86_64__
	refuse(ARGV("arm"), ERR_INVALID, 255, "exec arm: exec format error",
	       "the program is for arm64, this machine is amd64 (install qemu-user-static to run it)");
#endif
}

/* Images that lay links where file systems are mounted: all stays inside, or fails. */
static void test_traps(void **state)
{
	(void)state;
	static const char *const names[] = { "proc", "dev", "sys" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *path = xasprintf("rootfs/%s", names[i]),
				    *aside = xasprintf("rootfs/.%s", names[i]);
		assert_int_equal(renameat(top_fd, path, top_fd, aside), 0);
		assert_int_equal(symlinkat("../../../../etc", top_fd, path), 0);
		_cleanup_free_ char *script =
			xasprintf("cut -d' ' -f5 /%s*/self/mountinfo 2>/dev/null | grep -x /etc",
				  i ? "proc" : "etc");
		assert_sh(script, "/etc\n");
		assert_int_equal(unlinkat(top_fd, path, 0), 0);
		assert_int_equal(renameat(top_fd, aside, top_fd, path), 0);
	}
	/* A fifo where a file is mounted blocks nobody. */
	_cleanup_close_ int file = open("/etc/passwd", O_PATH | O_CLOEXEC);
	const struct runtime_mount mount_file = { .kind = RUNTIME_MOUNT_FILE,
						  .fd = file,
						  .target = "/etc/hosts",
						  .readonly = true,
						  .lock_fd = -1 };
	assert_int_equal(mkfifoat(top_fd, "rootfs/etc/hosts", 0644), 0);
	struct runtime_spec with;
	runtime_spec_init(&with);
	with.mounts = &mount_file;
	with.n_mounts = 1;
	assert_spec(&with, "grep -c ^root: /etc/hosts", "1\n");
	assert_int_equal(unlinkat(top_fd, "rootfs/etc/hosts", 0), 0);
	/* A file in the way. */
	assert_int_equal(renameat(top_fd, "rootfs/proc", top_fd, "rootfs/.proc"), 0);
	box_put("proc", STR("x"), 0644);
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(sb_releasep) struct sb out = { 0 };
	struct runtime_spec spec;
	box_spec(&spec, ARGV("true"));
	assert_int_equal(box_run(&spec, &out, &e), -1);
	assert_string_equal(e->msg, "mount a folder on '/proc', which is a file");
	unlinkat(top_fd, "rootfs/proc", 0);
	assert_int_equal(renameat(top_fd, "rootfs/.proc", top_fd, "rootfs/proc"), 0);
}

/* Binds, files and tmpfs; targets that were missing are gone afterwards and their folders as
 * they were. */
static void test_extra_mounts(void **state)
{
	(void)state;
	_cleanup_(err_dropp) struct err *e = NULL;
	assert_int_equal(
		io_replace_file(top_fd, "resolv", STR("nameserver 1.1.1.1\n"), 0644, false, &e), 0);
	assert_int_equal(io_mkdirs(top_fd, "data/sub", 0755, &e), 0);
	_cleanup_close_ int file = openat(top_fd, "resolv", O_PATH | O_CLOEXEC),
			    folder = openat(top_fd, "data", O_PATH | O_CLOEXEC);
	assert_int_equal(symlinkat("../run/x/stub", top_fd, "rootfs/etc/resolv.conf"), 0);
	const struct runtime_mount mounts[] = {
		{ .kind = RUNTIME_MOUNT_FILE,
		  .fd = file,
		  .target = "/etc/resolv.conf",
		  .readonly = true,
		  .noexec = true,
		  .lock_fd = -1 },
		{ .kind = RUNTIME_MOUNT_FILE,
		  .fd = folder,
		  .target = "/m/n/data",
		  .recursive = true,
		  .lock_fd = -1 },
		{ .kind = RUNTIME_MOUNT_TMPFS,
		  .target = "/m/t",
		  .size_bytes = 65536,
		  .mode = 01770,
		  .nosuid = true,
		  .lock_fd = -1 },
		{ .kind = RUNTIME_MOUNT_TMPFS,
		  .target = "/m/t/deep/er",
		  .readonly = true,
		  .lock_fd = -1 },
	};
	struct timespec old[2] = { { 1000, 0 }, { 1000, 5 } };
	utimensat(top_fd, "rootfs", old, 0);
	struct runtime_spec spec;
	runtime_spec_init(&spec);
	spec.mounts = mounts;
	spec.n_mounts = ARRAY_SIZE(mounts);
	spec.remove_stubs = true;
	assert_spec(
		&spec,
		"cat /etc/resolv.conf; echo x 2>/dev/null >/etc/resolv.conf || echo ro; touch /m/n/data/new; stat -c %a /m/t; "
		"dd if=/dev/zero of=/m/t/f bs=100k count=1 2>/dev/null || echo full; touch /m/t/deep/er/x 2>/dev/null || echo ro; ls /m/t",
		"nameserver 1.1.1.1\nro\n1770\nfull\nro\ndeep\nf\n");
	assert_int_equal(faccessat(top_fd, "data/new", F_OK, 0), 0);
	assert_int_equal(faccessat(top_fd, "rootfs/m", F_OK, 0), -1);
	assert_int_equal(faccessat(top_fd, "rootfs/run", F_OK, 0), -1);
	struct stat st;
	assert_int_equal(fstatat(top_fd, "rootfs", &st, 0), 0);
	assert_int_equal(st.st_mtim.tv_sec * 10 + st.st_mtim.tv_nsec, 10005);
	/* What the step put beside a target stays, and then its folder keeps the step's time. */
	assert_spec(&spec, "echo kept >/m/file", "");
	assert_int_equal(faccessat(top_fd, "rootfs/m/file", F_OK, 0), 0);
	assert_int_equal(faccessat(top_fd, "rootfs/m/n", F_OK, 0), -1);
	unlinkat(top_fd, "rootfs/etc/resolv.conf", 0);
}

static atomic_bool swapping;

/* A folder and a link out of the shared folder, in turn, under one name. */
static void *swap(void *arg)
{
	(void)arg;
	while (atomic_load(&swapping))
		syscall(SYS_renameat2, top_fd, "shared/a", top_fd, "shared/b", RENAME_EXCHANGE);
	return NULL;
}

/* Somebody who shares a folder with us swaps a part of a target for a link while we mount: either is
 * found, inside the root, never the host's. */
static void test_race(void **state)
{
	(void)state;
	_cleanup_(err_dropp) struct err *e = NULL;
	assert_int_equal(io_mkdirs(top_fd, "shared/a", 0755, &e), 0);
	assert_int_equal(symlinkat("../../../../../../etc", top_fd, "shared/b"), 0);
	_cleanup_close_ int shared = openat(top_fd, "shared", O_PATH | O_CLOEXEC);
	const struct runtime_mount mounts[] = {
		{ .kind = RUNTIME_MOUNT_FILE, .fd = shared, .target = "/s", .lock_fd = -1 },
		{ .kind = RUNTIME_MOUNT_TMPFS, .target = "/s/a/cbuild-race", .lock_fd = -1 },
	};
	struct runtime_spec spec;
	box_spec(&spec, ARGV("sh", "-c", "cut -d' ' -f5 /proc/self/mountinfo | grep race"));
	spec.mounts = mounts;
	spec.n_mounts = ARRAY_SIZE(mounts);
	pthread_t thread;
	atomic_store(&swapping, true);
	assert_int_equal(pthread_create(&thread, NULL, swap, NULL), 0);
	unsigned inside = 0;
	for (int i = 0; i < 100; i++) {
		_cleanup_(sb_releasep) struct sb out = { 0 };
		if (box_run(&spec, &out, &e))
			assert_non_null(e);
		else if (!strcmp(sb_c(&out), "/etc/cbuild-race\n") ||
			 str_starts(sb_str(&out), STR("/s/")))
			inside++;
		else
			fail_msg("'%s'", sb_c(&out));
		err_drop(&e);
	}
	atomic_store(&swapping, false);
	pthread_join(thread, NULL);
	assert_true(inside > 0);
	assert_int_equal(access("/etc/cbuild-race", F_OK), -1);
}

static void test_network(void **state)
{
	(void)state;
	struct runtime_spec spec;
	runtime_spec_init(&spec);
	spec.net = RUNTIME_NET_NONE;
	spec.hostname = "buildkitsandbox";
	assert_spec(
		&spec,
		"hostname; ip -o link | awk '{print $2, $3}'; ls /sys/class/net; ls -d /sys/fs/cgroup /sys/firmware/* 2>/dev/null",
		"buildkitsandbox\nlo: <LOOPBACK,UP,LOWER_UP>\nlo\n/sys/fs/cgroup\n");
	assert_sh("hostname x 2>&1 | grep -c -i 'not permitted'", "1\n");
}

/* RUN --security=insecure. */
static void test_privileged(void **state)
{
	(void)state;
	struct runtime_spec spec;
	runtime_spec_init(&spec);
	spec.caps = runtime_caps_of(runtime_caps_all(), 0);
	spec.seccomp = spec.mask_paths = false;
	spec.privileged_sys = true;
	assert_spec(
		&spec,
		"mount -t tmpfs x /tmp && echo mounted; grep Seccomp: /proc/self/status | tr -d '\\t'; head -c3 /proc/interrupts | wc -c; "
		"awk '$5 == \"/sys\" {print substr($6, 1, 2)}' /proc/self/mountinfo; mknod /dev/kmsg2 c 1 11 && : </dev/kmsg2 && echo open",
		"mounted\nSeccomp:0\n3\nrw\nopen\n");
	assert_sh(
		"mknod /tmp/sda b 8 0 && echo made; cat /tmp/sda 2>&1 | grep -o -i 'not permitted'; rm /tmp/sda; "
		"mknod /dev/kmsg2 c 1 11 && (: </dev/kmsg2) 2>&1 | grep -o -i 'not permitted'",
		"made\nnot permitted\nnot permitted\n");
}

/* ---- calls that a container must not make, by this very program run inside */

static void report(const char *name, long r)
{
	printf("%s %s\n", name, r >= 0 ? "ALLOWED" : strerrorname_np(errno));
}

static int probe(void)
{
	struct perf_event_attr perf = { .size = sizeof(perf), .type = PERF_TYPE_SOFTWARE };
	struct timeval now;
	struct iovec iov = { &now, 1 };
	char buf[64] = "";
	gettimeofday(&now, NULL);
	report("mount", mount("x", "/tmp", "tmpfs", 0, NULL));
	report("umount2", umount2("/proc", MNT_DETACH));
	report("pivot_root", syscall(SYS_pivot_root, ".", "."));
	report("unshare", unshare(CLONE_NEWUSER));
	report("clone", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
	report("clone3", syscall(SYS_clone3, buf, sizeof(buf)));
	report("setns", setns(0, 0));
	report("bpf", syscall(SYS_bpf, 0, buf, sizeof(buf)));
	report("keyctl", syscall(SYS_keyctl, 11, -3, buf, sizeof(buf)));
	report("perf_event_open", syscall(SYS_perf_event_open, &perf, 0, -1, -1, 0));
	report("open_by_handle_at", syscall(SYS_open_by_handle_at, 0, buf, 0));
	report("init_module", syscall(SYS_init_module, buf, 0, buf));
	report("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0));
	report("swapon", swapon("/tmp", 0));
	report("reboot", reboot(RB_DISABLE_CAD));
	report("settimeofday", settimeofday(&now, NULL));
	report("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
	report("open_tree", open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE));
	report("process_vm_writev", syscall(SYS_process_vm_writev, 4194000, &iov, 1, &iov, 1, 0));
	report("af_alg", socket(AF_ALG, SOCK_SEQPACKET, 0));
	report("af_vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
	report("af_inet", socket(AF_INET, SOCK_STREAM, 0));
	report("userfaultfd", syscall(SYS_userfaultfd, 0));
	report("io_uring_setup", syscall(SYS_io_uring_setup, 1, buf));
	report("future", syscall(1000));
	report("personality", syscall(SYS_personality, 0x40000));
	report("exe", open("/proc/1/exe", O_WRONLY | O_CLOEXEC));
	return 0;
}

static void test_refused_calls(void **state)
{
	(void)state;
	static const char *const paths[] = { "/usr", "/lib", "/lib64", "/proc/self/exe" };
	static const char *const targets[] = { "/usr", "/lib", "/lib64", "/probe" };
	static const char *const with[] = { "PATH=/bin", "ASAN_OPTIONS=detect_leaks=0", NULL };
	struct runtime_mount mounts[4];
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		int fd = open(paths[i], O_PATH | O_CLOEXEC);
		if (fd >= 0)
			mounts[n++] = (struct runtime_mount){ .fd = fd,
							      .target = targets[i],
							      .readonly = true,
							      .recursive = true,
							      .lock_fd = -1 };
	}
	struct runtime_spec spec;
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(sb_releasep) struct sb out = { 0 };
	box_spec(&spec, ARGV("/probe", "probe"));
	spec.mounts = mounts;
	spec.n_mounts = n;
	spec.env = with;
	spec.remove_stubs = true;
	int r = box_run(&spec, &out, &e);
	while (n)
		close(mounts[--n].fd);
	if (r)
		fail_msg("%d %s %s", r, e ? e->msg : "", sb_c(&out));
	assert_string_equal(
		sb_c(&out),
		"mount EPERM\numount2 EPERM\npivot_root EPERM\nunshare EPERM\nclone EPERM\nclone3 ENOSYS\nsetns EPERM\nbpf EPERM\n"
		"keyctl EPERM\nperf_event_open EPERM\nopen_by_handle_at EPERM\ninit_module EPERM\nkexec_load EPERM\nswapon EPERM\n"
		"reboot EPERM\nsettimeofday EPERM\nfsopen EPERM\nopen_tree EPERM\nprocess_vm_writev ESRCH\naf_alg EPERM\n"
		"af_vsock EPERM\naf_inet ALLOWED\nuserfaultfd EPERM\nio_uring_setup EPERM\nfuture ENOSYS\npersonality EPERM\n"
		"exe ETXTBSY\n");
}

/* The kernel runs the helper as the container's process: it does nothing. */
static void test_self_exe(void **state)
{
	(void)state;
	box_put("bin/entry", STR("#!/proc/self/exe\n"), 0755);
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(sb_releasep) struct sb out = { 0 };
	struct runtime_spec spec;
	box_spec(&spec, ARGV("/bin/entry", "--", "sh"));
	assert_int_equal(box_run(&spec, &out, &e), 1);
	assert_string_equal(sb_c(&out),
			    "this program is a part of cbuild, which starts it itself\n");
}

static void test_large(void **state)
{
	(void)state;
	enum { N = 20, SIZE = 100 * 1024 };
	const char *argv[N + 5] = { "sh", "-c", "echo $# ${#20}", "sh" };
	_cleanup_free_ char *big = xmalloc(SIZE + 1);
	memset(big, 'x', SIZE);
	big[SIZE] = 0;
	for (size_t i = 0; i < N; i++)
		argv[i + 4] = big;
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(sb_releasep) struct sb out = { 0 };
	struct runtime_spec spec;
	box_spec(&spec, argv);
	assert_int_equal(box_run(&spec, &out, &e), 0);
	assert_string_equal(sb_c(&out), "20 102400\n");
}

static void test_rlimits(void **state)
{
	(void)state;
	const struct runtime_rlimit limits[] = { { 7, 4, 4 }, { 4, 0, 0 } };
	struct runtime_spec spec;
	runtime_spec_init(&spec);
	spec.rlimits = limits;
	spec.n_rlimits = 2;
	assert_spec(&spec, "ulimit -n; ulimit -Hn; ulimit -c", "4\n4\n0\n");
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "probe"))
		return probe();
	const char *why = box_refused();
	if (why) {
		puts(why);
		return 77;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status),        cmocka_unit_test(test_identity),
		cmocka_unit_test(test_descriptors),   cmocka_unit_test(test_mounts),
		cmocka_unit_test(test_cwd),           cmocka_unit_test(test_root_readonly),
		cmocka_unit_test(test_program),       cmocka_unit_test(test_traps),
		cmocka_unit_test(test_extra_mounts),  cmocka_unit_test(test_race),
		cmocka_unit_test(test_network),       cmocka_unit_test(test_privileged),
		cmocka_unit_test(test_refused_calls), cmocka_unit_test(test_self_exe),
		cmocka_unit_test(test_large),         cmocka_unit_test(test_rlimits),
	};
	return cmocka_run_group_tests(tests, box_setup, box_teardown) || box_again();
}
