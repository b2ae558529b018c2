#include "runtime/user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/io.h"
#include "base/path.h"
#include "base/vec.h"

enum { FILE_MAX = 10 * 1024 * 1024, ID_MAX = INT32_MAX, GROUPS_MAX = 65536 };

struct passwd_entry {
	struct str name, home;
	uint32_t uid, gid;
};

struct group_entry {
	struct str name, members;
	uint32_t gid;
};

void runtime_user_release(struct runtime_user *u)
{
	free(u->groups);
	free(u->home);
	*u = (struct runtime_user){ 0 };
}

/* The whole file, found inside the root; absent is empty. It is opened only when it is known to
 * be a regular one: a fifo would block, a device could do anything. */
static int read_file(int root_fd, const char *path, struct sb *ret, struct err **err)
{
	_cleanup_close_ int at = path_open_in(root_fd, path, O_PATH, 0);
	struct stat st;
	if (at < 0)
		return errno == ENOENT || errno == ENOTDIR
			? 0
			: err_sys(err, "open '/%s' in the image", path);
	if (fstat(at, &st) < 0)
		return err_sys(err, "look at '/%s' in the image", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_INVALID, "'/%s' in the image is not a regular file", path);
	if (st.st_size > FILE_MAX)
		return err_set(err, ERR_LIMIT, "'/%s' in the image is longer than %d bytes", path,
			       FILE_MAX);
	char self[32];
	snprintf(self, sizeof(self), "/proc/self/fd/%d", at);
	_cleanup_close_ int fd = open(self, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "open '/%s' in the image", path);
	ret->max = FILE_MAX;
	return io_read_fd(fd, path, ret, err);
}

static bool next_line(struct str *text, struct str *ret)
{
	while (text->n) {
		struct str line = *text;
		if (!str_cut(*text, '\n', &line, text))
			text->n = 0;
		*ret = str_trim(line, " \t\r");
		if (ret->n && ret->p[0] != '#')
			return true;
	}
	return false;
}

static bool number(struct str s, uint32_t *ret)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	int64_t v;
	if (str_int(s, 0, UINT32_MAX, &v, &e) < 0)
		return false;
	*ret = (uint32_t)v;
	return true;
}

static struct str field(struct str *line)
{
	struct str f = *line;
	if (!str_cut(*line, ':', &f, line))
		*line = (struct str){ 0 };
	return f;
}

/* The next entry that is well formed: a malformed number must never be taken for 0. */
static bool next_passwd(struct str *text, struct passwd_entry *ret)
{
	for (struct str line; next_line(text, &line);) {
		ret->name = field(&line);
		field(&line);
		struct str uid = field(&line), gid = field(&line);
		field(&line);
		ret->home = field(&line);
		if (ret->name.n && number(uid, &ret->uid) && number(gid, &ret->gid))
			return true;
	}
	return false;
}

static bool next_group(struct str *text, struct group_entry *ret)
{
	for (struct str line; next_line(text, &line);) {
		ret->name = field(&line);
		field(&line);
		struct str gid = field(&line);
		ret->members = field(&line);
		if (ret->name.n && number(gid, &ret->gid))
			return true;
	}
	return false;
}

static bool is_member(struct str members, struct str name)
{
	while (members.n) {
		struct str one = members;
		if (!str_cut(members, ',', &one, &members))
			members.n = 0;
		if (str_eq(str_trim(one, " \t"), name))
			return true;
	}
	return false;
}

/* "name:group" in two; more parts are passed over as Docker does. */
static void split(struct str text, struct str *user, struct str *group)
{
	*user = field(&text);
	*group = field(&text);
}

static int check_range(int64_t id, struct err **err)
{
	return id > ID_MAX
		? err_set(err, ERR_INVALID, "uids and gids must be in range 0-2147483647")
		: 0;
}

/* Digits only, of whatever size: 1 with *ret, 0 for a name, -1 out of range. */
static int numeric(struct str s, uint32_t *ret, struct err **err)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return 0;
	if (!s.n)
		return 0;
	uint32_t v;
	if (!number(s, &v))
		v = UINT32_MAX;
	if (check_range(v, err) < 0)
		return -1;
	*ret = v;
	return 1;
}

static int find_user(struct str passwd, struct str user, struct runtime_user *ret,
		     struct str *ret_name, struct err **err)
{
	uint32_t uid = 0;
	int by_number = user.n ? numeric(user, &uid, err) : 1;
	if (by_number < 0)
		return -1;
	struct passwd_entry e;
	for (struct str left = passwd; next_passwd(&left, &e);) {
		if (by_number ? e.uid != uid : !str_eq(e.name, user))
			continue;
		if (check_range(e.uid, err) < 0 || check_range(e.gid, err) < 0)
			return -1;
		ret->uid = e.uid;
		ret->gid = e.gid;
		*ret_name = e.name;
		ret->home = str_dup(e.home.n ? e.home : STR("/"));
		return 0;
	}
	if (!by_number)
		return err_set(err, ERR_NOT_FOUND,
			       "unable to find user %.*s: no matching entries in passwd file",
			       STR_ARG(user));
	ret->uid = uid;
	ret->home = xstrdup("/");
	return 0;
}

static int find_group(struct str groups, struct str group, struct runtime_user *ret,
		      struct err **err)
{
	int by_number = numeric(group, &ret->gid, err);
	if (by_number)
		return by_number < 0 ? -1 : 0;
	struct group_entry e;
	while (next_group(&groups, &e))
		if (str_eq(e.name, group)) {
			ret->gid = e.gid;
			return check_range(e.gid, err);
		}
	return err_set(err, ERR_NOT_FOUND,
		       "unable to find group %.*s: no matching entries in group file",
		       STR_ARG(group));
}

static int add_groups(struct str groups, struct str name, struct runtime_user *ret,
		      struct err **err)
{
	VEC(gid_t) v = { 0 };
	struct group_entry e;
	int r = 0;
	while (!r && next_group(&groups, &e)) {
		if (e.gid == ret->gid || !is_member(e.members, name))
			continue;
		r = v.n == GROUPS_MAX
			? err_set(err, ERR_LIMIT, "the user is in more than %d groups", GROUPS_MAX)
			: check_range(e.gid, err);
		VEC_PUSH(&v, e.gid);
	}
	ret->groups = v.v;
	ret->n_groups = v.n;
	return r;
}

static int find(int root_fd, struct str text, struct runtime_user *ret, struct err **err)
{
	struct str user, group, name = { 0 };
	split(text, &user, &group);
	_cleanup_(sb_releasep) struct sb passwd = { 0 }, groups = { 0 };
	if (read_file(root_fd, "etc/passwd", &passwd, err) < 0 ||
	    find_user(sb_str(&passwd), user, ret, &name, err) < 0)
		return -1;
	/* Two numbers need no group file. */
	uint32_t ignored;
	_cleanup_(err_dropp) struct err *e = NULL;
	if ((!group.n || !numeric(group, &ignored, &e)) && !e &&
	    read_file(root_fd, "etc/group", &groups, err) < 0)
		return -1;
	if (group.n)
		return find_group(sb_str(&groups), group, ret, err);
	return name.n ? add_groups(sb_str(&groups), name, ret, err) : 0;
}

/* The primary group is one of the supplementary ones too, whatever was asked: containerd's rule,
 * seen in `id` (run/user-name-group). */
static void put_primary_first(struct runtime_user *u)
{
	u->groups = xreallocarray(u->groups, u->n_groups + 1, sizeof(gid_t));
	memmove(u->groups + 1, u->groups, u->n_groups * sizeof(gid_t));
	u->groups[0] = u->gid;
	u->n_groups++;
}

int runtime_user_find(int root_fd, struct str text, struct runtime_user *ret, struct err **err)
{
	struct runtime_user u = { 0 };
	_cleanup_(err_dropp) struct err *e = NULL;
	/* No USER at all is root even where the image's files cannot be read. */
	if (find(root_fd, text, &u, &e) < 0) {
		runtime_user_release(&u);
		if (text.n)
			return err_move(err, STEAL(e));
		u.home = xstrdup("/");
	}
	put_primary_first(&u);
	*ret = u;
	return 0;
}

/* 1 found, 0 unknown. */
static int chown_user(int root_fd, struct str user, uint32_t *uid, uint32_t *gid, struct err **err)
{
	int r = numeric(user, uid, err);
	if (r) {
		*gid = *uid;
		return r;
	}
	if (!user.n || str_eq(user, STR("root")))
		return 1;
	if (root_fd < 0)
		return err_set(err, ERR_INVALID, "invalid user index: -1");
	_cleanup_(sb_releasep) struct sb passwd = { 0 };
	if (read_file(root_fd, "etc/passwd", &passwd, err) < 0)
		return -1;
	struct passwd_entry e;
	for (struct str left = sb_str(&passwd); next_passwd(&left, &e);)
		if (str_eq(e.name, user)) {
			*uid = e.uid;
			*gid = e.gid;
			return 1;
		}
	return 0;
}

static int chown_group(int root_fd, struct str group, uint32_t *gid, struct err **err)
{
	int r = numeric(group, gid, err);
	if (r)
		return r;
	if (str_eq(group, STR("root"))) {
		*gid = 0;
		return 1;
	}
	if (root_fd < 0)
		return err_set(err, ERR_INVALID, "invalid user index: -1");
	_cleanup_(sb_releasep) struct sb groups = { 0 };
	if (read_file(root_fd, "etc/group", &groups, err) < 0)
		return -1;
	struct group_entry e;
	for (struct str left = sb_str(&groups); next_group(&left, &e);)
		if (str_eq(e.name, group)) {
			*gid = e.gid;
			return 1;
		}
	return 0;
}

int runtime_user_chown(int root_fd, struct str text, uint32_t *ret_uid, uint32_t *ret_gid,
		       struct err **err)
{
	struct str user, group;
	uint32_t uid = 0, gid = 0;
	split(text, &user, &group);
	if (chown_user(root_fd, user, &uid, &gid, err) < 0 ||
	    (group.n && chown_group(root_fd, group, &gid, err) < 0))
		return -1;
	*ret_uid = uid;
	*ret_gid = gid;
	return 0;
}
