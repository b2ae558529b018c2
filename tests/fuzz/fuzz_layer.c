/*
 * A layer's tar, compressed or not, into a folder: whatever it holds, nothing appears outside of
 * the folder, what was unpacked can be scanned, and its own tar, unpacked again, gives the same
 * tar.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/io.h"
#include "base/zip.h"
#include "cache/pipe.h"
#include "cache/scan.h"
#include "cache/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct mem_sink {
	struct sink sink;
	struct sb out;
};

static int mem_write(struct sink *s, const void *p, size_t n)
{
	sb_add(&((struct mem_sink *)s)->out, p, n);
	return 0;
}

static int put(void *arg, struct entry *e, int dirfd, const char *name, int fd, struct err **err)
{
	struct tar_writer *w = arg;
	char buf[4096];
	bool wants;
	(void)dirfd;
	(void)name;
	if (e->kind == 'w')
		return 0;
	if (tar_writer_add(w, e, &wants, err) < 0)
		return -1;
	for (ssize_t n; wants && w->left && (n = read(fd, buf, sizeof(buf))) > 0;)
		if (tar_writer_data(w, buf, (size_t)n, err) < 0)
			return -1;
	return 0;
}

static int put_early(void *arg, const struct entry *e, struct err **err)
{
	bool wants;
	return tar_writer_add(arg, e, &wants, err);
}

static int unpack(int top, const char *name, struct str tar, struct err **err)
{
	const struct tar_limits limits = { 1000, 8 << 20, 2000, 1 << 20 };
	uint64_t packed = 0;
	_cleanup_close_ int fs = -1;
	if (mkdirat(top, name, 0755) < 0 ||
	    (fs = openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		abort();
	struct source *s = zip_source(pipe_count(io_source_mem(tar), &packed), NULL, err);
	if (!s)
		return -1;
	struct tar_read_result result;
	struct tar_read t = { .from = s, .limits = &limits, .packed = &packed, .fs_fd = fs };
	int r = tar_unpack(&t, &result, err);
	struct err *none = NULL;
	if (io_source_close(s, &none) < 0)
		err_drop(&none);
	return r;
}

/* The tar of a folder; false where it can't be one (a name in it is too long). */
static bool pack(int top, const char *name, struct sb *out)
{
	_cleanup_(err_dropp) struct err *err = NULL;
	_cleanup_close_ int fs = openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct mem_sink m = { .sink = { .write = mem_write } };
	struct tar_writer w;
	tar_writer_init(&w, &m.sink);
	const struct scan scan = { .entry = put, .early = put_early, .arg = &w, .root = true };
	bool good = scan_run(fs, &scan, &err) == 0 && tar_writer_end(&w, &err) == 0;
	if (!good && err->code != ERR_LIMIT && err->code != ERR_UNSUPPORTED)
		abort();
	tar_writer_release(&w);
	*out = m.out;
	return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char dir[] = "/tmp/cbuild-fuzz-XXXXXX";
	_cleanup_(err_dropp) struct err *err = NULL;
	_cleanup_(sb_releasep) struct sb one = { 0 }, two = { 0 };
	if (geteuid() != 0)
		return 0;
	if (!mkdtemp(dir))
		abort();
	_cleanup_close_ int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (unpack(top, "1", (struct str){ (const char *)data, size }, &err) == 0 &&
	    pack(top, "1", &one)) {
		if (unpack(top, "2", sb_str(&one), &err) < 0 || !pack(top, "2", &two) ||
		    !str_eq(sb_str(&one), sb_str(&two)))
			abort();
	}
	struct stat st;
	if (fstat(top, &st) < 0 || st.st_nlink > 4)
		abort();
	struct err *none = NULL;
	if (io_remove_tree(AT_FDCWD, dir, &none) < 0)
		abort();
	return 0;
}
