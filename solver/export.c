#include "solver/export.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "registry/layout.h"
#include "solver/internal.h"

static int write_layout(struct build *b, const struct digest *id, struct sink *tar, int dir_fd,
			struct err **err)
{
	struct layout_options o = { .tar = tar,
				    .dir_fd = dir_fd,
				    .form = "gzip",
				    .names = b->o->tags,
				    .n_names = b->o->n_tags,
				    .cancel = b->env->cancel };
	return registry_layout_write(b->env->cache, b->arena, id, &o, err);
}

/* Ends a tar whose writing gave r. */
static int close_tar(struct sink *out, int r, struct err **err)
{
	_cleanup_(err_dropp) struct err *dropped = NULL;
	return io_sink_close(out, !r, r ? &dropped : err) < 0 ? -1 : r;
}

/* What is there and no file (a device, a pipe) is written to, never replaced. */
static int write_through(struct build *b, const struct digest *id, const char *dest,
			 struct err **err)
{
	int fd = open(dest, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_sys(err, "open '%s'", dest);
	struct sink *out = io_sink_fd(fd, true, dest);
	return close_tar(out, write_layout(b, id, out, -1, err), err);
}

/* A tar beside the destination, renamed when it is whole. "-": stdout. */
static int write_tar(struct build *b, const struct digest *id, const char *dest, struct err **err)
{
	struct stat st;
	if (!strcmp(dest, "-")) {
		struct sink *out = io_sink_fd(1, false, "stdout");
		int r = write_layout(b, id, out, -1, err);
		return close_tar(out, r, err);
	}
	if (!stat(dest, &st) && !S_ISREG(st.st_mode))
		return write_through(b, id, dest, err);
	_cleanup_free_ char *part = xasprintf("%s.part.%d", dest, (int)getpid());
	int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0)
		return err_sys(err, "create '%s'", part);
	struct sink *out = io_sink_fd(fd, true, dest);
	int r = close_tar(out, write_layout(b, id, out, -1, err), err);
	if (!r && rename(part, dest) < 0)
		r = err_sys(err, "rename '%s' to '%s'", part, dest);
	if (r)
		unlink(part);
	return r;
}

static int write_dir(struct build *b, const struct digest *id, const char *dest, struct err **err)
{
	if (io_mkdirs(AT_FDCWD, dest, 0755, err) < 0)
		return -1;
	_cleanup_close_ int fd = open(dest, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "open '%s'", dest);
	return write_layout(b, id, NULL, fd, err);
}

int export_write(struct build *b, const struct digest *image_id, const struct build_output *o,
		 struct err **err)
{
	int r = o->kind == OUTPUT_OCI ? write_tar(b, image_id, o->dest, err)
				      : write_dir(b, image_id, o->dest, err);
	return r < 0 ? err_wrap(err, "export to '%s'", o->dest) : 0;
}
