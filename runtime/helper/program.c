#include "runtime/helper/program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "base/err.h"
#include "base/io.h"
#include "base/str.h"

enum { NOT_FOUND = 127, DENIED = 126, REFUSED = 255 };

/* As Docker's messages have it, where the C library begins with a capital. */
static const char *reason(int sys)
{
	switch (sys) {
	case ENOENT:
		return "no such file or directory";
	case ENOTDIR:
		return "not a directory";
	case ENOEXEC:
		return "exec format error";
	case EACCES:
		return "permission denied";
	case E2BIG:
		return "argument list too long";
	default:
		return strerror(sys);
	}
}

/* 0, or an errno as Go's LookPath has them: a folder is EISDIR, no x bit or a noexec mount
 * EACCES. */
static int executable(const char *path)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return errno;
	if (S_ISDIR(st.st_mode))
		return EISDIR;
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? errno : 0;
}

static char *find_by_path(const char *name, struct err **err)
{
	int r = executable(name);
	if (!r)
		return xstrdup(name);
	if (r == EACCES || r == EISDIR || r == EPERM) {
		err_set(err, ERR_DENIED, "exec: \"%s\": %s", name,
			r == EISDIR ? "is a directory: permission denied" : "permission denied");
		err_status(err, DENIED);
	} else {
		err_set(err, ERR_NOT_FOUND, "exec: \"%s\": %s", name, reason(r));
		err_status(err, NOT_FOUND);
	}
	return NULL;
}

char *program_find(const char *name, char *const *env, struct err **err)
{
	if (strchr(name, '/'))
		return find_by_path(name, err);
	struct str left = { 0 };
	for (size_t i = 0; env[i]; i++)
		if (!strncmp(env[i], "PATH=", 5))
			left = str_c(env[i] + 5);
	while (*name && left.n) {
		struct str dir = left;
		if (!str_cut(left, ':', &dir, &left))
			left.n = 0;
		char path[PATH_MAX];
		if (!dir.n)
			dir = STR(".");
		int n = snprintf(path, sizeof(path), "%.*s/%s", STR_ARG(dir), name);
		if (n > 0 && (size_t)n < sizeof(path) && !executable(path))
			return xstrdup(path);
	}
	err_set(err, ERR_NOT_FOUND, "exec: \"%s\": executable file not found in $PATH", name);
	err_status(err, NOT_FOUND);
	return NULL;
}

int program_refused(const char *name, int sys, struct err **err)
{
	bool denied = sys == EACCES || sys == EPERM;
	err_set(err,
		denied                 ? ERR_DENIED
			: sys == E2BIG ? ERR_LIMIT
				       : ERR_INVALID,
		"exec %s: %s", name, reason(sys));
	(*err)->sys = sys;
	return err_status(err, denied ? DENIED : REFUSED);
}

static void explain_script(struct str text, struct err **err)
{
	struct str line = text, rest;
	str_cut(text, '\n', &line, &rest);
	struct str name = str_trim(str_sub(line, 2, line.n), " \t");
	size_t end = 0;
	while (end < name.n && name.p[end] != ' ' && name.p[end] != '\t')
		end++;
	name.n = end;
	_cleanup_free_ char *path = str_dup(name);
	_cleanup_(sb_releasep) struct sb shown = { 0 };
	sb_add_goquote(&shown, name);
	if (name.n && name.p[name.n - 1] == '\r')
		err_hint(err, "interpreter %s: the script has CRLF line ends", sb_c(&shown));
	else if (name.n && access(path, F_OK) < 0)
		err_hint(err, "interpreter %s is not in the image", sb_c(&shown));
}

static const struct {
	uint16_t machine;
	const char *name, *uname;
} machines[] = {
	{ EM_X86_64, "amd64", "x86_64" },   { EM_386, "386", "i686" },
	{ EM_AARCH64, "arm64", "aarch64" }, { EM_ARM, "arm", "armv7l" },
	{ EM_PPC64, "ppc64le", "ppc64le" }, { EM_S390, "s390x", "s390x" },
	{ EM_RISCV, "riscv64", "riscv64" },
};

static void explain_machine(uint16_t machine, struct err **err)
{
	struct utsname u;
	if (uname(&u) < 0)
		return;
	const char *is = "another machine", *here = u.machine;
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		if (machines[i].machine == machine)
			is = machines[i].name;
		if (!strcmp(machines[i].uname, u.machine))
			here = machines[i].name;
	}
	if (strcmp(is, here))
		err_hint(
			err,
			"the program is for %s, this machine is %s (install qemu-user-static to run it)",
			is, here);
}

/* The program's loader, where the file names one and the image lacks it. */
static void explain_loader(int fd, uint64_t offset, uint64_t size, struct err **err)
{
	char path[PATH_MAX];
	if (size < 2 || size > sizeof(path) ||
	    pread(fd, path, (size_t)size, (off_t)offset) != (ssize_t)size || path[size - 1])
		return;
	if (!access(path, F_OK))
		return;
	bool glibc = strstr(path, "ld-linux") || strstr(path, "ld64.so");
	_cleanup_(sb_releasep) struct sb shown = { 0 };
	sb_add_goquote(&shown, str_c(path));
	err_hint(err, "the program needs the loader %s, which the image lacks%s", sb_c(&shown),
		 glibc                             ? " (a glibc program in a musl image?)"
			 : strstr(path, "ld-musl") ? " (a musl program in a glibc image?)"
						   : "");
}

static void explain_elf(int fd, const char *head, size_t n, struct err **err)
{
	Elf64_Ehdr e64;
	Elf32_Ehdr e32;
	bool wide = head[EI_CLASS] == ELFCLASS64;
	if (head[EI_DATA] != ELFDATA2LSB || n < sizeof(e64))
		return;
	memcpy(&e64, head, sizeof(e64));
	memcpy(&e32, head, sizeof(e32));
	explain_machine(e64.e_machine, err);
	uint64_t table = wide ? e64.e_phoff : e32.e_phoff;
	unsigned count = wide ? e64.e_phnum : e32.e_phnum;
	for (unsigned i = 0; i < count && i < 128; i++) {
		Elf64_Phdr p64;
		Elf32_Phdr p32;
		size_t size = wide ? sizeof(p64) : sizeof(p32);
		off_t at = (off_t)(table + i * size);
		if (pread(fd, wide ? (void *)&p64 : (void *)&p32, size, at) != (ssize_t)size)
			return;
		if ((wide ? p64.p_type : p32.p_type) == PT_INTERP)
			explain_loader(fd, wide ? p64.p_offset : p32.p_offset,
				       wide ? p64.p_filesz : p32.p_filesz, err);
	}
}

void program_explain(const char *path, struct err **err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	char head[512] = { 0 };
	ssize_t n = io_read_full(fd, head, sizeof(head));
	if (n >= 2 && head[0] == '#' && head[1] == '!')
		explain_script((struct str){ head, (size_t)n }, err);
	else if (n >= 4 && !memcmp(head, ELFMAG, SELFMAG))
		explain_elf(fd, head, (size_t)n, err);
	else if (n >= 0 && (*err)->sys == ENOEXEC)
		err_hint(err,
			 n ? "a script needs a first line such as #!/bin/sh" : "the file is empty");
}
