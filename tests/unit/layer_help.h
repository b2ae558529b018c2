/*
 * layer_help: what the unit programs of layers share: a store, and making layers in it.
 */
#pragma once

#include "base/digest.h"
#include "cache/layer.h"
#include "tests/unit/cache_help.h"

struct fixture {
	struct world w;
	struct store *s;
	struct cache *c;
};

static inline int setup(void **state)
{
	static struct fixture f;
	if (geteuid() != 0)
		return 0;
	f.w = world_begin();
	f.s = open_store(&f.w);
	f.c = must_open(f.s);
	*state = &f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;
	if (!f)
		return 0;
	cache_close(f->c);
	cache_store_close(f->s);
	world_end(&f->w);
	return 0;
}

#define MUST(call)                                                                                 \
	do {                                                                                       \
		struct err *err = NULL;                                                            \
		if ((call) < 0)                                                                    \
			fail_msg("%s: %s", #call, err->msg);                                       \
	} while (0)

static inline void put(int fs, const char *path, const char *text, mode_t mode)
{
	int fd = openat(fs, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(io_write_full(fd, text, strlen(text)), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	struct timespec ts[2] = { { 1000000000, 5 }, { 1000000000, 123456789 } };
	assert_int_equal(futimens(fd, ts), 0);
	close(fd);
}

static inline struct work *begin(struct fixture *f)
{
	struct err *err = NULL;
	struct work *w = cache_work_begin(f->c, &err);
	if (!w)
		fail_msg("%s", err->msg);
	return w;
}

/* Commits and seals; the layer. */
static inline struct layer finish(struct fixture *f, struct work *w, int64_t started,
				  struct layer_info *ret)
{
	struct layer l = { .id = cache_work_id(w) };
	MUST(cache_work_commit(f->c, w, LAYER_STEP, &err));
	cache_work_free(w);
	MUST(cache_layer_seal(f->c, l.id, started, ret, &err));
	l.diffid = ret->diffid;
	return l;
}

static inline void to_file(struct fixture *f, int64_t id, const char *name, struct digest *ret)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", f->w.path, name);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	struct sink *s = io_sink_fd(fd, false, name);
	MUST(cache_layer_tar(f->c, id, s, &err));
	MUST(io_sink_close(s, true, &err));
	_cleanup_(sb_releasep) struct sb b = { 0 };
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	MUST(io_read_fd(fd, name, &b, &err));
	*ret = digest_of(b.p, b.n);
	close(fd);
}

static inline int mount_chain(struct fixture *f, const struct chain *chain,
			      const struct work *upper)
{
	int fd = -1;
	MUST(cache_layer_mount(f->c, chain, upper, &fd, &err));
	return fd;
}

static inline void unpack_file(struct fixture *f, const char *name, const struct digest *diffid,
			       const struct chain *parents, struct layer *ret)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", f->w.path, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	MUST(cache_layer_unpack(f->c, io_source_fd(fd, true, name), diffid, parents, NULL, ret,
				&err));
}
