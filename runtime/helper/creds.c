#include "runtime/helper/creds.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/err.h"
#include "runtime/helper/proto.h"
#include "runtime/helper/sys.h"

static int give_stdio(const struct proto_run *r, struct err **err)
{
	for (int fd = 0; fd < 3; fd++) {
		struct stat st;
		if (fstat(fd, &st) < 0)
			return err_sys(err, "look at descriptor %d", fd);
		if (st.st_uid == r->uid || (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3)))
			continue;
		if (fchown(fd, r->uid, (gid_t)-1) < 0 && errno != EPERM && errno != EROFS &&
		    errno != EINVAL)
			return err_sys(err, "give descriptor %d to the user", fd);
	}
	return 0;
}

int creds_prepare(const struct proto_run *r, struct err **err)
{
	if (give_stdio(r, err) < 0)
		return -1;
	for (uint32_t i = 0; i < r->n_rlimits; i++) {
		const struct proto_rlimit *l = &r->rlimits[i];
		struct rlimit64 set = { l->soft, l->hard };
		if (prlimit64(0, (__rlimit_resource_t)l->resource, &set, NULL) < 0)
			return err_sys(err,
				       "set resource limit %" PRIu32 " to %" PRIu64 ":%" PRIu64,
				       l->resource, l->soft, l->hard);
	}
	for (uint32_t cap = 0; cap <= r->cap_last; cap++)
		if (!(r->bounding >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return err_sys(err, "drop capability %" PRIu32, cap);
	return 0;
}

int creds_become(const struct proto_run *r, struct err **err)
{
	if (r->uid && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return err_sys(err, "keep capabilities");
	/* The spawner has no groups and is 0:0 already. */
	if (r->n_groups && setgroups(r->n_groups, r->groups) < 0)
		return err_sys(err, "set the groups");
	if (r->gid && setresgid(r->gid, r->gid, r->gid) < 0)
		return err_sys(err, "become group %" PRIu32, r->gid);
	if (r->uid && setresuid(r->uid, r->uid, r->uid) < 0)
		return err_sys(err, "become user %" PRIu32, r->uid);
	return 0;
}

int creds_before_filter(const struct proto_run *r, struct err **err)
{
	uint64_t more =
		r->n_filter && !(r->flags & PROTO_NO_NEW_PRIVS) ? UINT64_C(1) << CAP_SYS_ADMIN : 0;
	if (sys_capset(r->permitted | more, r->effective | more, r->inheritable) < 0)
		return err_sys(err, "set the capabilities");
	return 0;
}

int creds_final(const struct proto_run *r, struct err **err)
{
	if (r->flags & PROTO_NO_NEW_PRIVS && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, "set no_new_privs");
	if (r->n_filter) {
		struct sock_fprog prog = { (unsigned short)r->n_filter,
					   (struct sock_filter *)(uintptr_t)r->filter };
		/* As Docker: without SPEC_ALLOW kernels before 5.16 run every container with the
		 * store bypass mitigation. */
		if (sys_seccomp_filter(SECCOMP_FILTER_FLAG_SPEC_ALLOW, &prog) < 0)
			return err_sys(err, "load the system call filter");
		if (sys_capset(r->permitted, r->effective, r->inheritable) < 0)
			return err_sys(err, "set the capabilities under the filter");
	}
	for (uint32_t cap = 0; cap <= r->cap_last; cap++)
		if (r->ambient >> cap & 1 &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			return err_sys(err, "raise ambient capability %" PRIu32, cap);
	return 0;
}
