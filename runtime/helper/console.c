#include "runtime/helper/console.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "base/err.h"
#include "runtime/helper/proto.h"
#include "runtime/helper/sys.h"

/* The multiplexer of a devpts and nothing that was put in its place. */
static int open_master(const char *ptmx, struct err **err)
{
	struct open_how how = { .flags = O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK,
				.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	_cleanup_close_ int fd = sys_openat2(AT_FDCWD, ptmx, &how);
	struct stat st;
	struct statfs fs;
	if (fd < 0 || fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
		return err_sys(err, "open '/dev/pts/ptmx' in the container");
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2) || fs.f_type != DEVPTS_SUPER_MAGIC)
		return err_set(err, ERR_DENIED,
			       "'/dev/pts/ptmx' in the container is no terminal multiplexer");
	return STEAL_FD(fd);
}

static int bind_console(int slave, const char *at, struct err **err)
{
	_cleanup_close_ int file = open(at, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	_cleanup_close_ int tree =
		open_tree(slave, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (file < 0 || tree < 0 || move_mount(tree, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(err, "make '/dev/console' in the container");
	return 0;
}

int console_place(const struct proto_run *r, const char *ptmx, const char *bind_at, int sock,
		  struct err **err)
{
	_cleanup_close_ int master = open_master(ptmx, err);
	if (master < 0)
		return -1;
	int unlocked = 0;
	if (ioctl(master, TIOCSPTLCK, &unlocked) < 0)
		return err_sys(err, "unlock the container's terminal");
	_cleanup_close_ int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return err_sys(err, "open the container's terminal");
	struct winsize size = { .ws_row = (unsigned short)r->rows,
				.ws_col = (unsigned short)r->cols };
	if (r->rows && r->cols && ioctl(master, TIOCSWINSZ, &size) < 0)
		return err_sys(err, "set the size of the container's terminal");
	if (bind_at && bind_console(slave, bind_at, err) < 0)
		return -1;
	if (proto_send(sock, PROTO_CONSOLE, STR(""), &master, 1, err) < 0)
		return -1;
	for (int i = 0; i < 3; i++)
		if (dup2(slave, i) < 0)
			return err_sys(err, "place descriptor %d", i);
	return ioctl(0, TIOCSCTTY, 0) < 0 ? err_sys(err, "make it the controlling terminal") : 0;
}
