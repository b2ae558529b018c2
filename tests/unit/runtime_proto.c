/* The helper's protocol: what is written is read; whatever else arrives is refused, never
 * trusted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "runtime/helper/proto.h"

static char *argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, (char[]){ "" }, NULL };
static char *env[] = { (char[]){ "A=1" }, NULL };
static uint32_t groups[] = { 4, 5 };
static struct sock_filter filter[] = { { 6, 0, 0, 1 }, { 6, 1, 2, 3 } };

static struct proto_run sample(struct proto_mount *mount, struct proto_rlimit *limit,
			       struct proto_device *device)
{
	*mount = (struct proto_mount){ .fd = 1,
				       .lock_fd = PROTO_NO_FD,
				       .attr = 3,
				       .mode = 0755,
				       .size_bytes = 7,
				       .target = "/t" };
	*limit = (struct proto_rlimit){ .soft = 1, .hard = UINT64_MAX, .resource = 7 };
	*device = (struct proto_device){
		.path = "loop0", .mode = 060600, .uid = 1, .gid = 2, .rdev = 0x700
	};
	return (struct proto_run){
		.flags = PROTO_MASK_PATHS,
		.root_fd = 0,
		.record_fd = PROTO_NO_FD,
		.stdio = { PROTO_NO_FD, 2, 2 },
		.cgroup_fd = PROTO_NO_FD,
		.join_fd = 1,
		.cgroup_name = "g",
		.uid = 1000,
		.gid = 100,
		.cap_last = 40,
		.bounding = 1,
		.permitted = 2,
		.effective = 3,
		.inheritable = 4,
		.ambient = 5,
		.shm_size_bytes = 6,
		.cwd = "/w",
		.hostname = "h",
		.argv = argv,
		.env = env,
		.groups = groups,
		.n_groups = 2,
		.rlimits = limit,
		.n_rlimits = 1,
		.mounts = mount,
		.n_mounts = 1,
		.devices = device,
		.n_devices = 1,
		.filter = filter,
		.n_filter = 2,
	};
}

static void sample_body(struct sb *b)
{
	struct proto_mount mount;
	struct proto_rlimit limit;
	struct proto_device device;
	struct proto_run r = sample(&mount, &limit, &device);
	proto_run_put(b, &r);
}

static int decode(const char *p, size_t n, uint32_t n_fds, struct proto_run *ret)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	struct proto_message m = {
		.kind = PROTO_RUN, .body = (char *)(uintptr_t)p, .body_size = n, .n_fds = n_fds
	};
	return proto_run_get(&m, ret, &e);
}

static void test_run(void **state)
{
	(void)state;
	_cleanup_(sb_releasep) struct sb b = { 0 };
	struct proto_run r;
	sample_body(&b);
	assert_int_equal(decode(b.p, b.n, 3, &r), 0);
	assert_int_equal(r.flags, PROTO_MASK_PATHS);
	assert_int_equal(r.record_fd, PROTO_NO_FD);
	assert_int_equal(r.stdio[2], 2);
	assert_int_equal(r.join_fd, 1);
	assert_string_equal(r.cgroup_name, "g");
	assert_string_equal(r.cwd, "/w");
	assert_string_equal(r.hostname, "h");
	assert_string_equal(r.argv[2], "");
	assert_null(r.argv[3]);
	assert_string_equal(r.env[0], "A=1");
	assert_null(r.env[1]);
	assert_int_equal(r.groups[1], 5);
	assert_int_equal(r.ambient, 5);
	assert_int_equal(r.rlimits[0].hard, UINT64_MAX);
	assert_string_equal(r.mounts[0].target, "/t");
	assert_int_equal(r.mounts[0].size_bytes, 7);
	assert_int_equal(r.devices[0].rdev, 0x700);
	assert_int_equal(r.n_filter, 2);
	assert_memory_equal(r.filter, filter, sizeof(filter));
	proto_run_release(&r);
}

/* Cut anywhere, longer, with each byte changed, with fewer descriptors: refused or read within
 * bounds (the sanitizer watches). */
static void test_malformed(void **state)
{
	(void)state;
	_cleanup_(sb_releasep) struct sb b = { 0 };
	sample_body(&b);
	struct proto_run r;
	for (size_t n = 0; n < b.n; n++) {
		/* In memory of exactly this size, so that reading beyond is seen. */
		_cleanup_free_ char *copy = xmemdup(b.p, n);
		assert_int_equal(decode(copy, n, 3, &r), -1);
		proto_run_release(&r);
	}
	for (uint32_t fds = 0; fds < 3; fds++) {
		assert_int_equal(decode(b.p, b.n, fds, &r), -1);
		proto_run_release(&r);
	}
	static const unsigned char bytes[] = { 0, 1, 0x7f, 0x80, 0xff };
	for (size_t i = 0; i < b.n; i++)
		for (size_t v = 0; v < ARRAY_SIZE(bytes); v++) {
			_cleanup_free_ char *copy = xmemdup(b.p, b.n);
			copy[i] = (char)bytes[v];
			if (!decode(copy, b.n, 3, &r)) {
				assert_true(r.root_fd < 3 && r.n_filter <= PROTO_MAX_FILTER &&
					    r.cwd[0] == '/');
				for (char **s = r.argv; *s; s++)
					assert_true(strlen(*s) < b.n);
			}
			proto_run_release(&r);
		}
	sb_add_ch(&b, 0);
	assert_int_equal(decode(b.p, b.n, 3, &r), -1);
	proto_run_release(&r);
}

static void pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
}

/* Small and large bodies, descriptors, nothing there, the end. */
static void test_messages(void **state)
{
	(void)state;
	static const size_t sizes[] = { 0, 1, PROTO_INLINE, PROTO_INLINE + 1, 3 * 1024 * 1024 };
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		int fds[2];
		_cleanup_(err_dropp) struct err *e = NULL;
		_cleanup_free_ char *body = xmalloc(sizes[i] + 1);
		memset(body, 'x', sizes[i]);
		pair(fds);
		struct proto_message m;
		assert_int_equal(proto_recv(fds[1], false, &m, &e), 0);
		proto_message_release(&m);
		assert_int_equal(proto_send(fds[0], PROTO_RUN, (struct str){ body, sizes[i] },
					    (const int[]){ 0, 1 }, 2, &e),
				 0);
		assert_int_equal(proto_recv(fds[1], true, &m, &e), 1);
		assert_int_equal(m.kind, PROTO_RUN);
		assert_int_equal(m.body_size, sizes[i]);
		assert_int_equal(m.n_fds, 2);
		if (sizes[i])
			assert_memory_equal(m.body, body, sizes[i]);
		assert_true(fcntl(m.fds[1], F_GETFD) & FD_CLOEXEC);
		int fd = m.fds[1];
		proto_message_release(&m);
		assert_int_equal(fcntl(fd, F_GETFD), -1);
		close(fds[0]);
		assert_int_equal(proto_recv(fds[1], true, &m, &e), -1);
		assert_int_equal(e->code, ERR_IO);
		proto_message_release(&m);
		err_drop(&e);
		assert_int_equal(proto_send(fds[1], PROTO_RUN, STR("x"), NULL, 0, &e), -1);
		close(fds[1]);
	}
	_cleanup_(err_dropp) struct err *e = NULL;
	int many[PROTO_MAX_FDS + 1] = { 0 };
	assert_int_equal(proto_send(0, PROTO_RUN, STR(""), many, PROTO_MAX_FDS + 1, &e), -1);
	assert_int_equal(e->code, ERR_LIMIT);
}

static void refuse_raw(const void *p, size_t n, int fd)
{
	int fds[2];
	_cleanup_(err_dropp) struct err *e = NULL;
	pair(fds);
	struct iovec iov = { (void *)(uintptr_t)p, n };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { .buf = { 0 } };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	if (fd >= 0) {
		control.align = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)),
						  .cmsg_level = SOL_SOCKET,
						  .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
	}
	assert_true(sendmsg(fds[0], &msg, 0) >= 0);
	struct proto_message m;
	assert_int_equal(proto_recv(fds[1], true, &m, &e), -1);
	assert_int_equal(e->code, ERR_INVALID);
	proto_message_release(&m);
	close(fds[0]);
	close(fds[1]);
}

/* Foreign messages, another version, a wrong length, a body that is not sealed, is shorter than
 * said, or no memfd at all. */
static void test_foreign(void **state)
{
	(void)state;
	struct {
		uint32_t magic;
		uint16_t version, kind;
		uint32_t size, in_memfd;
		char body[8];
	} h;
	int fds[2];
	_cleanup_(err_dropp) struct err *e = NULL;
	pair(fds);
	assert_int_equal(proto_send(fds[0], PROTO_RUN, STR("12345678"), NULL, 0, &e), 0);
	assert_int_equal(recv(fds[1], &h, sizeof(h), 0), sizeof(h));
	close(fds[0]);
	close(fds[1]);
	refuse_raw("x", 1, -1);
	refuse_raw(&h, sizeof(h) - 1, -1);
	h.size = 7;
	refuse_raw(&h, sizeof(h), -1);
	h.size = 8;
	h.version++;
	refuse_raw(&h, sizeof(h), -1);
	h.version--;
	h.in_memfd = 1;
	refuse_raw(&h, 16, -1);
	_cleanup_close_ int fd = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(io_write_full(fd, "12345678", 8), 0);
	refuse_raw(&h, 16, fd);
	assert_int_equal(
		fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE),
		0);
	h.size = 4096;
	refuse_raw(&h, 16, fd);
	refuse_raw(&h, 16, 0);
}

static void test_answers(void **state)
{
	(void)state;
	int fds[2];
	_cleanup_(err_dropp) struct err *e = NULL, *got = NULL;
	pair(fds);
	err_set(&e, ERR_DENIED, "exec \"x\": permission denied");
	err_hint(&e, "chmod +x");
	err_status(&e, 126);
	proto_error_write(fds[0], e);
	struct proto_message m;
	assert_int_equal(proto_recv(fds[1], true, &m, &got), 1);
	assert_int_equal(m.kind, PROTO_ERROR);
	assert_int_equal(proto_error_get(&m, &got), -1);
	assert_string_equal(got->msg, "exec \"x\": permission denied");
	assert_string_equal(got->hint, "chmod +x");
	assert_int_equal(got->code, ERR_DENIED);
	assert_int_equal(got->status, 126);
	proto_message_release(&m);
	err_drop(&got);
	_cleanup_(sb_releasep) struct sb b = { 0 };
	const struct proto_exit x = { .status = 137,
				      .signaled = true,
				      .oom = true,
				      .user_us = -1,
				      .system_us = 2,
				      .max_rss_kib = 3 };
	struct proto_exit back;
	proto_exit_put(&b, &x);
	m = (struct proto_message){ .kind = PROTO_EXIT, .body = b.p, .body_size = b.n };
	assert_int_equal(proto_exit_get(&m, &back, &got), 0);
	assert_int_equal(back.status, 137);
	assert_true(back.signaled && back.oom);
	assert_int_equal(back.user_us, -1);
	m.body_size--;
	assert_int_equal(proto_exit_get(&m, &back, &got), -1);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_run),      cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_messages), cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_answers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
