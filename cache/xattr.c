#include "cache/xattr.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/xattr.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/vec.h"

#define OPAQUE "trusted.overlay.opaque"

bool xattr_kept(struct str name)
{
	if (str_starts(name, STR("user.")))
		return !str_starts(name, STR("user.overlay."));
	if (str_starts(name, STR("trusted.")))
		return !str_starts(name, STR("trusted.overlay."));
	return str_eq_c(name, "security.capability") || str_eq_c(name, "system.posix_acl_access") ||
		str_eq_c(name, "system.posix_acl_default");
}

/* There is no *at form of these calls before 6.13: an unopened file is reached through the folder's
 * descriptor. */
static void proc_path(char *buf, size_t size, int dirfd, const char *name)
{
	snprintf(buf, size, "/proc/self/fd/%d/%s", dirfd, name);
}

static int by_name(const void *a, const void *b)
{
	const struct xattr_pair *x = a, *y = b;
	return str_cmp(x->name, y->name);
}

void xattr_list(struct xattr_pair *v, size_t n, struct sb *out)
{
	if (n > 1)
		qsort(v, n, sizeof(*v), by_name);
	for (size_t i = 0; i < n; i++) {
		digest_put_field(out, v[i].name);
		digest_put_field(out, v[i].value);
	}
}

static ssize_t get_list(int fd, const char *path, char *p, size_t n)
{
	return fd >= 0 ? flistxattr(fd, p, n) : llistxattr(path, p, n);
}

static ssize_t get_value(int fd, const char *path, const char *name, char *p, size_t n)
{
	return fd >= 0 ? fgetxattr(fd, name, p, n) : lgetxattr(path, name, p, n);
}

/* The value of one attribute as a malloc'ed pair; 1, 0 when it is gone meanwhile, -1 with errno. */
static int read_value(int fd, const char *path, const char *name, struct xattr_pair *ret)
{
	for (int tries = 0; tries < 8; tries++) {
		ssize_t n = get_value(fd, path, name, NULL, 0);
		if (n < 0)
			return errno == ENODATA ? 0 : -1;
		char *value = xmalloc((size_t)n + 1);
		ssize_t k = get_value(fd, path, name, value, (size_t)n + 1);
		if (k >= 0) {
			*ret = (struct xattr_pair){ str_c(name), { value, (size_t)k } };
			return 1;
		}
		free(value);
		if (errno != ERANGE)
			return errno == ENODATA ? 0 : -1;
	}
	return -1;
}

static int read_values(int fd, const char *path, struct str names, const char *what, struct sb *out,
		       struct err **err)
{
	VEC(struct xattr_pair) v = { 0 };
	size_t total = 0;
	int r = 0;
	for (size_t i = 0; i < names.n && !r; i += strlen(names.p + i) + 1) {
		const char *name = names.p + i;
		struct xattr_pair pair;
		if (!xattr_kept(str_c(name)))
			continue;
		int got = read_value(fd, path, name, &pair);
		if (got < 0)
			r = err_sys(err, "read attribute '%s' of '%s'", name, what);
		if (got <= 0)
			continue;
		VEC_PUSH(&v, pair);
		total += pair.name.n + pair.value.n + 16;
		if (total > XATTR_MAX)
			r = err_set(err, ERR_LIMIT,
				    "read attributes of '%s': they are larger than %d bytes", what,
				    XATTR_MAX);
	}
	if (!r)
		xattr_list(v.v, v.n, out);
	for (size_t i = 0; i < v.n; i++)
		free((void *)(uintptr_t)v.v[i].value.p);
	VEC_RELEASE(&v);
	return r;
}

int xattr_read(int fd, int dirfd, const char *name, const char *what, struct sb *out,
	       struct err **err)
{
	char path[300], small[512], *buf = small;
	_cleanup_free_ char *big = NULL;
	sb_reset(out);
	if (fd < 0)
		proc_path(path, sizeof(path), dirfd, name);
	ssize_t n = get_list(fd, path, small, sizeof(small));
	for (size_t size = 8192; n < 0 && errno == ERANGE && size <= 65536; size *= 2) {
		big = xrealloc(big, size);
		buf = big;
		n = get_list(fd, path, buf, size);
	}
	if (n < 0)
		return errno == ENOTSUP ? 0 : err_sys(err, "list attributes of '%s'", what);
	return n ? read_values(fd, path, (struct str){ buf, (size_t)n }, what, out, err) : 0;
}

bool xattr_next(struct str *list, struct str *ret_name, struct str *ret_value)
{
	struct str *out[] = { ret_name, ret_value };
	for (int i = 0; i < 2; i++) {
		if (list->n < 8)
			return false;
		uint64_t n = 0;
		for (int k = 7; k >= 0; k--)
			n = n << 8 | (uint8_t)list->p[k];
		if (n > list->n - 8)
			return false;
		*out[i] = (struct str){ list->p + 8, (size_t)n };
		*list = str_sub(*list, 8 + (size_t)n, list->n);
	}
	return true;
}

int xattr_write(int fd, int dirfd, const char *name, struct str list, const char *what,
		struct err **err)
{
	char path[300];
	struct str key, value;
	if (list.n && fd < 0)
		proc_path(path, sizeof(path), dirfd, name);
	while (xattr_next(&list, &key, &value)) {
		_cleanup_free_ char *k = str_dup(key);
		int r = fd >= 0 ? fsetxattr(fd, k, value.p, value.n, 0)
				: lsetxattr(path, k, value.p, value.n, 0);
		if (r < 0 && errno != ENOTSUP && !(errno == EPERM && str_starts(key, STR("user."))))
			return err_sys(err, "set attribute '%s' of '%s'", k, what);
	}
	return 0;
}

bool xattr_opaque(int fd)
{
	char value[4];
	return fgetxattr(fd, OPAQUE, value, sizeof(value)) == 1 && value[0] == 'y';
}

int xattr_set_opaque(int fd, const char *what, struct err **err)
{
	if (fsetxattr(fd, OPAQUE, "y", 1, 0) < 0)
		return err_sys(err, "mark folder '%s' opaque", what);
	return 0;
}
