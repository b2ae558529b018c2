/* The reading half of cache/tar.h. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/err.h"
#include "base/io.h"
#include "base/path.h"
#include "base/vec.h"
#include "cache/lib_archive.h"
#include "cache/tar.h"
#include "cache/xattr.h"

enum { READ_SIZE = 256 * 1024, HEADER_MAX = 4 << 20 };

const struct tar_limits tar_default_limits = { 10000000, UINT64_C(1) << 40, 2000,
					       UINT64_C(4) << 30 };

struct unpack {
	const struct tar_read *t;
	const struct tar_limits *limits;
	struct archive *a;
	struct archive_entry *e;
	char *buf;
	uint64_t raw, header_start; /* bytes read; where the header at hand began */
	bool in_header;
	struct err *err;       /* of the read callback */
	uint64_t bytes;        /* sizes of files so far */
	struct sb path, shown; /* of the entry, clean; and for messages */
	struct sb parent; /* path of the folder that parent_fd is; valid while parent_fd >= 0 */
	int parent_fd;
	FILE *times; /* folders' times, applied at the end: struct dir_time, then the path */
	struct sb xattrs;
	struct tar_read_result result;
};

struct dir_time {
	int64_t sec;
	uint32_t ns, path_n;
};

/* The entry's name for a message; valid until the next call. */
static const char *shown(struct unpack *u)
{
	sb_reset(&u->shown);
	sb_add_printable(&u->shown, sb_str(&u->path));
	return sb_c(&u->shown);
}

static int refuse(struct unpack *u, const char *why, struct err **err)
{
	return err_set(err, ERR_INVALID, "tar entry '%s': %s", shown(u), why);
}

static int failed(struct unpack *u, const char *what, struct err **err)
{
	int sys = errno;
	const char *name = shown(u);
	errno = sys;
	return err_sys(err, "unpack '%s': %s", name, what);
}

/* ---- libarchive's side */

static la_ssize_t on_read(struct archive *a, void *data, const void **ret)
{
	(void)a;
	struct unpack *u = data;
	ssize_t n = io_read(u->t->from, u->buf, READ_SIZE);
	if (n < 0) {
		u->err = STEAL(u->t->from->err);
		return -1;
	}
	u->raw += (uint64_t)n;
	if (u->in_header && u->raw - u->header_start > HEADER_MAX + READ_SIZE) {
		err_set(&u->err, ERR_LIMIT, "a tar header is larger than %d MiB", HEADER_MAX >> 20);
		return -1;
	}
	if (u->raw / 2 > u->limits->bytes ||
	    (u->raw > u->limits->floor && u->t->packed &&
	     u->raw / u->limits->ratio > *u->t->packed)) {
		err_set(&u->err, ERR_LIMIT, "the tar unpacks to far more than it may");
		return -1;
	}
	*ret = u->buf;
	return n;
}

/* What libarchive's failure was; the source's own error where that was it. */
static int archive_failed(struct unpack *u, struct err **err)
{
	if (u->err)
		return err_move(err, STEAL(u->err));
	const char *text = archive_error_string(u->a);
	return err_set(err, ERR_INTEGRITY, "read tar: %s", text ? text : "it is damaged");
}

/* ---- paths */

/* The clean form of a path inside the root: no leading slash, no "." or ".."; -1 where it would
 * leave the root. */
static int clean(const char *raw, struct sb *out)
{
	sb_reset(out);
	for (const char *p = raw; *p;) {
		size_t n = strcspn(p, "/");
		if (n == 2 && !memcmp(p, "..", 2)) {
			if (!out->n)
				return -1;
			size_t slash = str_rfind(sb_str(out), '/');
			sb_trunc(out, slash == SIZE_MAX ? 0 : slash);
		} else if (n && !(n == 1 && *p == '.')) {
			if (out->n)
				sb_add_ch(out, '/');
			sb_add(out, p, n);
		}
		p += n;
		p += strspn(p, "/");
	}
	return 0;
}

static void forget_parent(struct unpack *u)
{
	if (u->parent_fd >= 0)
		close(u->parent_fd);
	u->parent_fd = -1;
}

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == 0;
}

/* Makes a folder that no entry was there for: 0755, root. */
static int make_implied(struct unpack *u, int at, const char *name, struct err **err)
{
	struct stat st;
	bool opaque = fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_whiteout(&st);
	if (opaque && unlinkat(at, name, 0) < 0)
		return failed(u, "remove a whiteout", err);
	if (mkdirat(at, name, 0755) < 0)
		return errno == EEXIST ? refuse(u, "one of its parents is not a folder", err)
				       : failed(u, "make folder", err);
	_cleanup_close_ int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fchown(fd, 0, 0) < 0 || fchmod(fd, 0755) < 0)
		return failed(u, "make folder", err);
	return opaque ? xattr_set_opaque(fd, name, err) : 0;
}

/* Opens a folder by a clean path, symlinks resolved inside the root, missing ones made. */
static int open_dir(struct unpack *u, const char *dir, struct err **err)
{
	int fd = path_open_in(u->t->fs_fd, dir, O_RDONLY | O_DIRECTORY, 0);
	if (fd >= 0)
		return fd;
	if (errno != ENOENT && errno != ENOTDIR)
		return failed(u, "open its folder", err);
	_cleanup_close_ int at = path_open_in(u->t->fs_fd, "", O_RDONLY | O_DIRECTORY, 0);
	_cleanup_free_ char *part = xstrdup(dir);
	for (char *name = part; *name;) {
		char *end = name + strcspn(name, "/"), keep = *end;
		*end = '\0';
		int next = path_open_in(u->t->fs_fd, part, O_RDONLY | O_DIRECTORY, 0);
		if (next < 0) {
			if (make_implied(u, at, name, err) < 0)
				return -1;
			next = path_open_in(u->t->fs_fd, part, O_RDONLY | O_DIRECTORY, 0);
		}
		if (next < 0)
			return failed(u, "open its folder", err);
		close(at);
		at = next;
		*end = keep;
		name = end + (keep == '/');
	}
	return STEAL_FD(at);
}

/* The folder of the entry at hand (borrowed from the cache) and the entry's base name in it. */
static int open_parent(struct unpack *u, const char **ret_base, struct err **err)
{
	struct str p = sb_str(&u->path);
	size_t slash = str_rfind(p, '/');
	struct str dir = slash == SIZE_MAX ? STR("") : str_sub(p, 0, slash);
	*ret_base = u->path.p + (slash == SIZE_MAX ? 0 : slash + 1);
	if (u->parent_fd >= 0 && str_eq(sb_str(&u->parent), dir))
		return u->parent_fd;
	forget_parent(u);
	sb_reset(&u->parent);
	sb_add_str(&u->parent, dir);
	u->parent_fd = open_dir(u, sb_c(&u->parent), err);
	return u->parent_fd;
}

/* Removes what is at a name, whatever it is. What the cached folder was opened through may be gone
 * with it. */
static int remove_old(struct unpack *u, int at, const char *base, struct err **err)
{
	struct stat st;
	if (fstatat(at, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : failed(u, "stat", err);
	if (S_ISDIR(st.st_mode))
		return io_remove_tree(at, base, err);
	return unlinkat(at, base, 0) < 0 && errno != ENOENT ? failed(u, "replace", err) : 0;
}

/* ---- attributes */

static void collect_xattrs(struct unpack *u)
{
	VEC(struct xattr_pair) v = { 0 };
	const char *name;
	const void *value;
	size_t n;
	sb_reset(&u->xattrs);
	archive_entry_xattr_reset(u->e);
	while (archive_entry_xattr_next(u->e, &name, &value, &n) == ARCHIVE_OK)
		if (name && xattr_kept(str_c(name)))
			VEC_PUSH(&v, ((struct xattr_pair){ str_c(name), { value, n } }));
	xattr_list(v.v, v.n, &u->xattrs);
	VEC_RELEASE(&v);
}

static int owner_of(struct unpack *u, uid_t *uid, gid_t *gid, struct err **err)
{
	int64_t x = archive_entry_uid(u->e), y = archive_entry_gid(u->e);
	if (x < 0 || x >= UINT32_MAX || y < 0 || y >= UINT32_MAX)
		return refuse(u, "its owner is out of range", err);
	*uid = (uid_t)x;
	*gid = (gid_t)y;
	return 0;
}

static void times_of(struct unpack *u, struct timespec ts[2])
{
	ts[0] = ts[1] =
		(struct timespec){ archive_entry_mtime(u->e), archive_entry_mtime_nsec(u->e) };
}

/* chown, chmod, attributes: chown clears setuid and security.capability, so it comes first. */
static int set_attributes(struct unpack *u, int fd, struct err **err)
{
	uid_t uid = 0;
	gid_t gid = 0;
	if (owner_of(u, &uid, &gid, err) < 0)
		return -1;
	if (fchown(fd, uid, gid) < 0)
		return failed(u, "set its owner", err);
	if (fchmod(fd, archive_entry_perm(u->e) & 07777) < 0)
		return failed(u, "set its mode", err);
	collect_xattrs(u);
	return xattr_write(fd, -1, NULL, sb_str(&u->xattrs), sb_c(&u->path), err);
}

/* The same and the time, for what can't be opened. */
static int set_attributes_at(struct unpack *u, int at, const char *base, bool has_mode,
			     struct err **err)
{
	uid_t uid = 0;
	gid_t gid = 0;
	struct timespec ts[2];
	if (owner_of(u, &uid, &gid, err) < 0)
		return -1;
	if (fchownat(at, base, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return failed(u, "set its owner", err);
	if (has_mode && fchmodat(at, base, archive_entry_perm(u->e) & 07777, 0) < 0)
		return failed(u, "set its mode", err);
	collect_xattrs(u);
	if (xattr_write(-1, at, base, sb_str(&u->xattrs), sb_c(&u->path), err) < 0)
		return -1;
	times_of(u, ts);
	return utimensat(at, base, ts, AT_SYMLINK_NOFOLLOW) < 0 ? failed(u, "set its time", err)
								: 0;
}

static int note_time(struct unpack *u, struct err **err)
{
	struct dir_time d = { archive_entry_mtime(u->e), (uint32_t)archive_entry_mtime_nsec(u->e),
			      (uint32_t)u->path.n };
	if (!u->times) {
		int fd = openat(u->t->fs_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (fd < 0)
			fd = memfd_create("times",
					  MFD_CLOEXEC); /* not every file system has O_TMPFILE */
		u->times = fd >= 0 ? fdopen(fd, "w+") : NULL;
		if (!u->times) {
			failed(u, "make a temporary file", err);
			if (fd >= 0)
				close(fd);
			return -1;
		}
	}
	if (fwrite(&d, sizeof(d), 1, u->times) != 1 ||
	    (u->path.n && fwrite(u->path.p, u->path.n, 1, u->times) != 1))
		return failed(u, "write a temporary file", err);
	return 0;
}

static int apply_times(struct unpack *u, struct err **err)
{
	struct dir_time d;
	char path[PATH_BYTES_MAX + 1];
	if (!u->times)
		return 0;
	if (fflush(u->times) || fseek(u->times, 0, SEEK_SET))
		return err_sys(err, "unpack: read back folders' times");
	while (fread(&d, sizeof(d), 1, u->times) == 1) {
		if (d.path_n > PATH_BYTES_MAX ||
		    (d.path_n && fread(path, d.path_n, 1, u->times) != 1))
			return err_sys(err, "unpack: read back folders' times");
		path[d.path_n] = '\0';
		/* It may have been replaced by something else, or be gone. */
		_cleanup_close_ int fd =
			path_open_in_nofollow(u->t->fs_fd, path, O_RDONLY | O_DIRECTORY, 0);
		struct timespec ts[2] = { { d.sec, d.ns }, { d.sec, d.ns } };
		if (fd >= 0 && futimens(fd, ts) < 0)
			return err_sys(err, "unpack '%s': set its time", path);
	}
	return 0;
}

/* ---- entries */

static int count_size(struct unpack *u, uint64_t n, struct err **err)
{
	u->bytes += n;
	if (u->bytes < n || u->bytes > u->limits->bytes)
		return err_set(err, ERR_LIMIT, "unpack '%s': the layer is larger than %llu bytes",
			       shown(u), (unsigned long long)u->limits->bytes);
	return 0;
}

/* Writes the data of the entry to fd (-1: drops them). Holes stay holes. */
static int copy_data(struct unpack *u, int fd, uint64_t size, struct err **err)
{
	const void *p;
	size_t n;
	la_int64_t offset;
	uint64_t end = 0;
	for (;;) {
		int r = archive_read_data_block(u->a, &p, &n, &offset);
		if (r == ARCHIVE_EOF)
			break;
		if (r != ARCHIVE_OK && r != ARCHIVE_WARN) {
			archive_failed(u, err);
			return err_wrap(err, "unpack '%s'", shown(u));
		}
		if (fd < 0 || !n)
			continue;
		if (offset < 0 || (uint64_t)offset > size || n > size - (uint64_t)offset)
			return refuse(u, "it has more data than its size says", err);
		for (size_t done = 0; done < n;) {
			ssize_t k = pwrite(fd, (const char *)p + done, n - done,
					   (off_t)offset + (off_t)done);
			if (k < 0 && errno == EINTR)
				continue;
			if (k < 0)
				return failed(u, "write", err);
			done += (size_t)k;
		}
		end = (uint64_t)offset + n;
	}
	if (fd >= 0 && end < size && ftruncate(fd, (off_t)size) < 0)
		return failed(u, "write", err);
	return 0;
}

static int put_file(struct unpack *u, int at, const char *base, struct err **err)
{
	enum { FLAGS = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW };
	int64_t size = archive_entry_size(u->e);
	if (size < 0)
		return refuse(u, "its size is negative", err);
	if (count_size(u, (uint64_t)size, err) < 0)
		return -1;
	_cleanup_close_ int fd = openat(at, base, FLAGS, 0600);
	if (fd < 0 && errno == EEXIST) {
		if (remove_old(u, at, base, err) < 0)
			return -1;
		fd = openat(at, base, FLAGS, 0600);
	}
	if (fd < 0)
		return failed(u, "create", err);
	struct timespec ts[2];
	times_of(u, ts);
	if (copy_data(u, fd, (uint64_t)size, err) < 0 || set_attributes(u, fd, err) < 0)
		return -1;
	return futimens(fd, ts) < 0 ? failed(u, "set its time", err) : 0;
}

static int put_folder(struct unpack *u, int at, const char *base, struct err **err)
{
	struct stat st;
	bool opaque = false;
	if (mkdirat(at, base, 0700) < 0) {
		if (errno != EEXIST)
			return failed(u, "make folder", err);
		if (fstatat(at, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return failed(u, "stat", err);
		opaque = is_whiteout(&st);
		if (!S_ISDIR(st.st_mode)) {
			if (remove_old(u, at, base, err) < 0)
				return -1;
			if (mkdirat(at, base, 0700) < 0)
				return failed(u, "make folder", err);
		}
	}
	_cleanup_close_ int fd = openat(at, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return failed(u, "open folder", err);
	if (set_attributes(u, fd, err) < 0 || (opaque && xattr_set_opaque(fd, base, err) < 0))
		return -1;
	return note_time(u, err);
}

static int put_root(struct unpack *u, struct err **err)
{
	if (archive_entry_filetype(u->e) != AE_IFDIR)
		return refuse(u, "the root is not a folder", err);
	u->result.root = true;
	_cleanup_close_ int fd = path_open_in(u->t->fs_fd, "", O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return failed(u, "open the root", err);
	return set_attributes(u, fd, err) < 0 ? -1 : note_time(u, err);
}

static int put_node(struct unpack *u, int at, const char *base, struct err **err)
{
	mode_t type = archive_entry_filetype(u->e);
	if (type == AE_IFLNK) {
		const char *text = archive_entry_symlink(u->e);
		if (!text)
			text = archive_entry_symlink_utf8(u->e);
		if (!text || !*text)
			return refuse(u, "the symlink has no text", err);
		if (remove_old(u, at, base, err) < 0)
			return -1;
		if (symlinkat(text, at, base) < 0)
			return failed(u, "make symlink", err);
		return set_attributes_at(u, at, base, false, err);
	}
	dev_t dev = 0;
	if (type != AE_IFIFO) {
		dev_t x = archive_entry_rdevmajor(u->e), y = archive_entry_rdevminor(u->e);
		if (x > 0xfff || y > 0xfffff)
			return refuse(u, "its device number is out of range", err);
		if (type == AE_IFCHR && !x && !y)
			return refuse(u, "device 0:0 would delete a file of the layers below", err);
		dev = makedev((unsigned)x, (unsigned)y);
	}
	if (remove_old(u, at, base, err) < 0)
		return -1;
	if (mknodat(at, base, (type & S_IFMT) | 0600, dev) < 0)
		return failed(u, "make device", err);
	return set_attributes_at(u, at, base, true, err);
}

/* Opens the folder of a hard link's target and finds it: 1; 0 where it is not there; -1. */
static int find_target(struct unpack *u, const char *target, int *ret_at, const char **ret_base,
		       struct stat *ret_st, struct err **err)
{
	const char *slash = strrchr(target, '/');
	_cleanup_free_ char *dir = slash ? xstrndup(target, (size_t)(slash - target)) : xstrdup("");
	*ret_base = slash ? slash + 1 : target;
	_cleanup_close_ int at = path_open_in(u->t->fs_fd, dir, O_RDONLY | O_DIRECTORY, 0);
	if (at < 0 || fstatat(at, *ret_base, ret_st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT || errno == ENOTDIR
			? 0
			: failed(u, "find the target of the hard link", err);
	if (is_whiteout(ret_st))
		return refuse(u, "the target of the hard link is deleted by this layer", err);
	*ret_at = STEAL_FD(at);
	return 1;
}

static int put_hard_link(struct unpack *u, int at, const char *base, const char *raw,
			 struct err **err)
{
	_cleanup_(sb_releasep) struct sb target = { 0 };
	if (clean(raw, &target) < 0 || !target.n)
		return refuse(u, "invalid hard link: it leads outside of the layer", err);
	_cleanup_close_ int from = -1;
	const char *name;
	struct stat st, old;
	int r = find_target(u, sb_c(&target), &from, &name, &st, err);
	if (!r && u->t->borrow) {
		if (u->t->borrow(u->t->arg, sb_c(&target), err) < 0)
			return err_wrap(err, "hard link '%s'", shown(u));
		r = find_target(u, sb_c(&target), &from, &name, &st, err);
	}
	if (r < 0)
		return -1;
	if (!r)
		return refuse(u, "the target of the hard link does not exist", err);
	if (S_ISDIR(st.st_mode))
		return refuse(u, "the target of the hard link is a folder", err);
	if (fstatat(at, base, &old, AT_SYMLINK_NOFOLLOW) == 0 && old.st_ino == st.st_ino &&
	    old.st_dev == st.st_dev)
		return 0;
	if (remove_old(u, at, base, err) < 0)
		return -1;
	return linkat(from, name, at, base, 0) < 0 ? failed(u, "make hard link", err) : 0;
}

/* A whiteout deletes NAME of lower layers only: what this layer has there stays, as a folder it
 * hides the lower one. */
static int put_whiteout(struct unpack *u, int at, const char *name, struct err **err)
{
	struct stat st;
	if (!strcmp(name, "") || !strcmp(name, ".") || !strcmp(name, ".."))
		return refuse(u, "a whiteout without a name", err);
	if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (!S_ISDIR(st.st_mode))
			return 0;
		_cleanup_close_ int fd =
			openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		return fd < 0 ? failed(u, "open folder", err) : xattr_set_opaque(fd, name, err);
	}
	return mknodat(at, name, S_IFCHR, 0) < 0 ? failed(u, "make whiteout", err) : 0;
}

static int put_opaque(struct unpack *u, int at, struct err **err)
{
	/* Overlay does not look at the mark of a layer's root. */
	if (str_rfind(sb_str(&u->path), '/') == SIZE_MAX)
		return refuse(u, "not supported yet: a layer that deletes everything below it",
			      err);
	return xattr_set_opaque(at, sb_c(&u->path), err);
}

enum mark { MARK_NONE, MARK_WHITEOUT, MARK_OPAQUE, MARK_SKIP, MARK_BAD };

/* What the names of a path say: only the last may be a mark; aufs' own files and folders are left
 * out. */
static enum mark mark_of(struct str path)
{
	for (size_t i = 0; i < path.n;) {
		size_t end = str_find(path, '/', i);
		struct str name = str_sub(path, i, end == SIZE_MAX ? path.n : end);
		bool last = end == SIZE_MAX;
		if (last && str_eq_c(name, ".wh..wh..opq"))
			return MARK_OPAQUE;
		if (str_starts(name, STR(".wh..wh.")))
			return MARK_SKIP;
		if (str_starts(name, STR(".wh.")))
			return last ? MARK_WHITEOUT : MARK_BAD;
		i = last ? path.n : end + 1;
	}
	return MARK_NONE;
}

static int put_typed(struct unpack *u, int at, const char *base, struct err **err)
{
	const char *link = archive_entry_hardlink(u->e);
	if (!link)
		link = archive_entry_hardlink_utf8(u->e);
	if (link)
		return put_hard_link(u, at, base, link, err);
	switch (archive_entry_filetype(u->e)) {
	case AE_IFREG:
		return put_file(u, at, base, err);
	case AE_IFDIR:
		return put_folder(u, at, base, err);
	case AE_IFLNK:
	case AE_IFCHR:
	case AE_IFBLK:
	case AE_IFIFO:
		/* What a folder was opened through may be replaced here: a symlink by a device, a
		 * folder by a link. */
		return put_node(u, at, base, err);
	default:
		u->result.skipped++;
		return 0;
	}
}

static int put_entry(struct unpack *u, struct err **err)
{
	const char *raw = archive_entry_pathname(u->e);
	if (!raw)
		raw = archive_entry_pathname_utf8(u->e);
	if (!raw)
		return err_set(err, ERR_INVALID, "a tar entry has no name");
	if (clean(raw, &u->path) < 0) {
		sb_reset(&u->path);
		sb_add_c(&u->path, raw);
		return refuse(u, "it leads outside of the layer", err);
	}
	if (u->path.n > PATH_BYTES_MAX)
		return err_set(err, ERR_LIMIT,
			       "tar entry '%.200s…': its name is longer than %d bytes", u->path.p,
			       PATH_BYTES_MAX);
	if (!u->path.n) {
		sb_add_c(&u->path, "");
		return put_root(u, err);
	}
	enum mark mark = mark_of(sb_str(&u->path));
	if (mark == MARK_SKIP) {
		u->result.skipped++;
		return 0;
	}
	if (mark == MARK_BAD)
		return refuse(u, "names that begin with .wh. mean deletions and can't be folders",
			      err);
	const char *base;
	int at = open_parent(u, &base, err);
	if (at < 0)
		return -1;
	if (mark == MARK_WHITEOUT)
		return put_whiteout(u, at, base + 4, err);
	if (mark == MARK_OPAQUE)
		return put_opaque(u, at, err);
	return put_typed(u, at, base, err);
}

static int unpack_all(struct unpack *u, struct err **err)
{
	for (;;) {
		u->in_header = true;
		u->header_start = u->raw;
		int r = archive_read_next_header(u->a, &u->e);
		u->in_header = false;
		if (r == ARCHIVE_EOF)
			break;
		if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
			return archive_failed(u, err);
		if (++u->result.entries > u->limits->entries)
			return err_set(err, ERR_LIMIT, "the tar has more than %llu entries",
				       (unsigned long long)u->limits->entries);
		if (u->t->cancel && atomic_load_explicit(u->t->cancel, memory_order_relaxed))
			return err_set(err, ERR_CANCELED, "canceled");
		if (put_entry(u, err) < 0)
			return -1;
		/* A replaced symlink or folder may have been on the way of the cached one: paths
		 * through it must be looked up anew. */
		if (archive_entry_filetype(u->e) != AE_IFREG)
			forget_parent(u);
		/* Data that nobody wanted, so that the next header's bytes can be counted. */
		if (archive_entry_filetype(u->e) != AE_IFREG || archive_entry_hardlink(u->e))
			if (copy_data(u, -1, 0, err) < 0)
				return -1;
	}
	/* What lies behind the end belongs to the digest too. */
	const void *p;
	la_ssize_t n;
	while ((n = on_read(u->a, u, &p)) > 0)
		;
	return n < 0 ? archive_failed(u, err) : apply_times(u, err);
}

int tar_unpack(const struct tar_read *t, struct tar_read_result *ret, struct err **err)
{
	if (lib_archive_load(err) < 0)
		return -1;
	struct unpack u = { .t = t,
			    .limits = t->limits ? t->limits : &tar_default_limits,
			    .parent_fd = -1 };
	u.buf = xmalloc(READ_SIZE);
	u.a = archive_read_new();
	if (!u.a)
		mem_fail();
	int r = -1;
	if (archive_read_support_format_tar(u.a) != ARCHIVE_OK ||
	    archive_read_set_read_callback(u.a, on_read) != ARCHIVE_OK ||
	    archive_read_set_callback_data(u.a, &u) != ARCHIVE_OK)
		archive_failed(&u, err);
	else if (archive_read_open1(u.a) == ARCHIVE_OK)
		r = unpack_all(&u, err);
	else if (!u.raw && !u.err)
		r = 0; /* nothing at all is an empty tar */
	else
		archive_failed(&u, err);
	archive_read_free(u.a);
	forget_parent(&u);
	if (u.times)
		fclose(u.times);
	err_drop(&u.err);
	sb_release(&u.path);
	sb_release(&u.shown);
	sb_release(&u.parent);
	sb_release(&u.xattrs);
	free(u.buf);
	if (r == 0)
		*ret = u.result;
	return r;
}

bool tar_detect(const void *p, size_t n)
{
	const uint8_t *h = p;
	if (n < 512)
		return false;
	unsigned sum = 0, want = 0;
	int difference = 0, digits = 0;
	for (int i = 0; i < 512; i++) {
		uint8_t c = i >= 148 && i < 156 ? ' ' : h[i];
		sum += c;
		difference += (int8_t)c; /* some old tars summed signed characters */
	}
	for (int i = 148; i < 156 && h[i]; i++) {
		if (h[i] == ' ' && digits)
			break;
		if (h[i] == ' ')
			continue;
		if (h[i] < '0' || h[i] > '7')
			return false;
		want = want * 8 + (h[i] - '0');
		digits++;
	}
	return digits && (want == sum || (int)want == difference);
}
