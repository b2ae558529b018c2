#include "cache/lib_archive.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>

/* Hidden: the library itself must go on calling its own. */
#pragma GCC visibility push(hidden)
#include <archive.h>
#include <archive_entry.h>

#include "base/err.h"

/* X(type, name, (parameters), (arguments)): one line a function that we call. */
#define FUNCTIONS(X)                                                                               \
	X(struct archive *, archive_read_new, (void), ())                                          \
	X(int, archive_read_support_format_tar, (struct archive * a), (a))                         \
	X(int, archive_read_set_option,                                                            \
	  (struct archive * a, const char *module, const char *option, const char *value),         \
	  (a, module, option, value))                                                              \
	X(int, archive_read_set_read_callback, (struct archive * a, archive_read_callback * f),    \
	  (a, f))                                                                                  \
	X(int, archive_read_set_callback_data, (struct archive * a, void *data), (a, data))        \
	X(int, archive_read_open1, (struct archive * a), (a))                                      \
	X(int, archive_read_next_header, (struct archive * a, struct archive_entry * *e), (a, e))  \
	X(int, archive_read_data_block,                                                            \
	  (struct archive * a, const void **p, size_t *n, la_int64_t *offset), (a, p, n, offset))  \
	X(int, archive_read_free, (struct archive * a), (a))                                       \
	X(const char *, archive_error_string, (struct archive * a), (a))                           \
	X(const char *, archive_entry_pathname, (struct archive_entry * e), (e))                   \
	X(const char *, archive_entry_pathname_utf8, (struct archive_entry * e), (e))              \
	X(const char *, archive_entry_hardlink, (struct archive_entry * e), (e))                   \
	X(const char *, archive_entry_hardlink_utf8, (struct archive_entry * e), (e))              \
	X(const char *, archive_entry_symlink, (struct archive_entry * e), (e))                    \
	X(const char *, archive_entry_symlink_utf8, (struct archive_entry * e), (e))               \
	X(__LA_MODE_T, archive_entry_filetype, (struct archive_entry * e), (e))                    \
	X(__LA_MODE_T, archive_entry_perm, (struct archive_entry * e), (e))                        \
	X(la_int64_t, archive_entry_uid, (struct archive_entry * e), (e))                          \
	X(la_int64_t, archive_entry_gid, (struct archive_entry * e), (e))                          \
	X(la_int64_t, archive_entry_size, (struct archive_entry * e), (e))                         \
	X(time_t, archive_entry_mtime, (struct archive_entry * e), (e))                            \
	X(long, archive_entry_mtime_nsec, (struct archive_entry * e), (e))                         \
	X(dev_t, archive_entry_rdevmajor, (struct archive_entry * e), (e))                         \
	X(dev_t, archive_entry_rdevminor, (struct archive_entry * e), (e))                         \
	X(int, archive_entry_xattr_reset, (struct archive_entry * e), (e))                         \
	X(int, archive_entry_xattr_next,                                                           \
	  (struct archive_entry * e, const char **name, const void **value, size_t *n),            \
	  (e, name, value, n))

#define SLOT(type, name, params, args) type(*name) params;
static struct {
	FUNCTIONS(SLOT)
} library;

static const char *failure;

static void load(void)
{
	void *h = dlopen("libarchive.so.13", RTLD_NOW | RTLD_LOCAL);
	if (!h) {
		failure = "libarchive.so.13 is missing";
		return;
	}
	/* POSIX lets a pointer from dlsym() be a function; ISO C has no cast for it. */
#define FIND(type, name, params, args)                                                             \
	if (!(*(void **)&library.name = dlsym(h, #name)))                                          \
		failure = "libarchive.so.13 has no " #name;
	FUNCTIONS(FIND)
}

int lib_archive_load(struct err **err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, load);
	if (!failure)
		return 0;
	err_set(err, ERR_UNSUPPORTED, "read a tar: %s", failure);
	return err_hint(err, "install the package libarchive13");
}

#define STUB(type, name, params, args)                                                             \
	type name params                                                                           \
	{                                                                                          \
		return library.name args;                                                          \
	}
FUNCTIONS(STUB)
