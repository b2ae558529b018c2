#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum err_code err_code_of(int sys)
{
	switch (sys) {
	case ENOENT:
	case ENOTDIR:
		return ERR_NOT_FOUND;
	case EEXIST:
		return ERR_EXISTS;
	case EACCES:
	case EPERM:
	case EROFS:
		return ERR_DENIED;
	case EINVAL:
	case ENAMETOOLONG:
	case ELOOP:
		return ERR_INVALID;
	case ENOSYS:
	case EOPNOTSUPP:
		return ERR_UNSUPPORTED;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	case ECONNREFUSED:
	case ECONNRESET:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return ERR_NETWORK;
	case E2BIG:
	case EMFILE:
	case EFBIG:
		return ERR_LIMIT;
	case ECANCELED:
		return ERR_CANCELED;
	default:
		return ERR_IO;
	}
}

static char *vformat(const char *fmt, va_list ap)
{
	char *s = NULL;
	if (vasprintf(&s, fmt, ap) < 0)
		mem_fail();
	return s;
}

static struct err *err_make(struct err **err, enum err_code code, char *msg)
{
	if (*err)
		BUG("error set twice: '%s' after '%s'", msg, (*err)->msg);
	struct err *e = xcalloc(1, sizeof(*e));
	e->code = code;
	e->msg = msg;
	*err = e;
	return e;
}

int err_set(struct err **err, enum err_code code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	err_make(err, code, vformat(fmt, ap));
	va_end(ap);
	return -1;
}

static void prefix(struct err *e, const char *fmt, va_list ap)
{
	_cleanup_free_ char *head = vformat(fmt, ap);
	char *whole = NULL;
	if (asprintf(&whole, "%s: %s", head, e->msg) < 0)
		mem_fail();
	free(e->msg);
	e->msg = whole;
}

int err_sys(struct err **err, const char *fmt, ...)
{
	int sys = errno;
	char buf[128];
	struct err *e = err_make(err, err_code_of(sys), xstrdup(strerror_r(sys, buf, sizeof(buf))));
	e->sys = sys;
	va_list ap;
	va_start(ap, fmt);
	prefix(e, fmt, ap);
	va_end(ap);
	return -1;
}

int err_wrap(struct err **err, const char *fmt, ...)
{
	if (!*err)
		BUG("err_wrap without an error");
	va_list ap;
	va_start(ap, fmt);
	prefix(*err, fmt, ap);
	va_end(ap);
	return -1;
}

int err_hint(struct err **err, const char *fmt, ...)
{
	if ((*err)->hint)
		return -1;
	va_list ap;
	va_start(ap, fmt);
	(*err)->hint = vformat(fmt, ap);
	va_end(ap);
	return -1;
}

int err_at(struct err **err, struct span at)
{
	if (!(*err)->at.line)
		(*err)->at = at;
	return -1;
}

int err_status(struct err **err, int status)
{
	(*err)->status = status;
	return -1;
}

int err_move(struct err **err, struct err *from)
{
	if (*err)
		BUG("error set twice: '%s' after '%s'", from->msg, (*err)->msg);
	*err = from;
	return -1;
}

void err_drop(struct err **err)
{
	if (!*err)
		return;
	free((*err)->msg);
	free((*err)->hint);
	free(*err);
	*err = NULL;
}

void err_dropp(struct err **err)
{
	err_drop(err);
}

void err_bug(const char *file, int line, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fprintf(stderr, "cbuild: bug at %s:%d: ", file, line);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	abort();
}
