# Read from inside a RUN: capabilities, seccomp, descriptors, environment, mounts, what is refused.
. "$(dirname "$0")/lib.sh"
import_busybox
need gcc
mkdir ctx
cat > calls.c <<'END'
/* Tries calls that a container must be refused; prints the name of each that succeeds, or gives another error than EPERM, EACCES, ENOSYS. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <unistd.h>
static void refused(const char *name, long r)
{
	if (r >= 0 || (errno != EPERM && errno != EACCES && errno != ENOSYS))
		printf("%s: %s\n", name, r >= 0 ? "allowed" : strerror(errno));
}
int main(void)
{
	struct timeval tv = { 1, 0 };
	refused("mount", mount("none", "/tmp", "tmpfs", 0, ""));
	refused("umount2", umount2("/proc", MNT_DETACH));
	refused("pivot_root", syscall(SYS_pivot_root, "/tmp", "/tmp"));
	refused("unshare", unshare(CLONE_NEWUSER));
	refused("setns", setns(open("/proc/self/ns/net", O_RDONLY), 0));
	refused("clone3", syscall(SYS_clone3, NULL, 0));
	refused("bpf", syscall(SYS_bpf, 0, NULL, 0));
	refused("keyctl", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, -1, 0));
	refused("perf_event_open", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
	refused("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, 0));
	refused("init_module", syscall(SYS_init_module, NULL, 0, ""));
	refused("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0));
	refused("swapon", syscall(SYS_swapon, "/x", 0));
	refused("reboot", reboot(RB_DISABLE_CAD));
	refused("settimeofday", settimeofday(&tv, NULL));
	refused("mknod and open of a disk", mknod("/sda", S_IFBLK | 0600, makedev(8, 0)) < 0 ? -1 : open("/sda", O_RDONLY));
	unlink("/sda");
	refused("sethostname", sethostname("x", 1));
	refused("AF_VSOCK", socket(AF_VSOCK, SOCK_STREAM, 0) < 0 ? (errno = EPERM, -1) : 0);
	return 0;
}
END
gcc -static -O1 -w -o ctx/calls calls.c
cat > ctx/Dockerfile <<'END'
FROM busybox:1
COPY calls /calls
ENV SEEN=yes
RUN grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|Seccomp|NoNewPrivs):' /proc/self/status > /status
RUN for f in $(seq 0 40); do [ -e /proc/$$/fd/$f ] && r="$r $f"; done; echo $r > /fds
RUN env | sort > /env; cat /proc/1/environ | tr '\0' '\n' | sort > /env1
RUN cat /proc/self/mountinfo > /mountinfo
RUN cat /proc/kcore 2> /dev/null | head -c 10 | wc -c > /kcore; cat /proc/keys /proc/timer_list > /keys 2> /dev/null; true
RUN { echo core > /proc/sys/kernel/core_pattern; touch /sys/x; mkdir /proc/irq/x; } 2> /err; true
RUN /calls > /calls.out
RUN hostname > /host; cat /etc/hosts > /hostsfile; readlink /proc/self/exe > /exe; cat > /stdin; ls /proc | grep -c '^[0-9]' > /procs
USER 1000
RUN grep -E '^(CapPrm|CapEff|CapBnd):' /proc/self/status > /tmp/status
END
export SECRET_OF_THE_CALLER=leaked
expect 0 cbuild build --progress plain --output type=oci,dest=o.tar ctx
python3 - o.tar "$work" <<'END'
import gzip, io, json, sys, tarfile
t = tarfile.open(sys.argv[1])
get = lambda d: t.extractfile("blobs/" + d.replace(":", "/")).read()
m = json.loads(get(json.load(t.extractfile("index.json"))["manifests"][0]["digest"]))
f = {}
for l in m["layers"]:
    u = tarfile.open(fileobj=io.BytesIO(gzip.decompress(get(l["digest"]))))
    for e in u:
        if e.isfile():
            f[e.name] = u.extractfile(e).read().decode(errors="replace")
bad = []
def want(what, ok):
    if not ok:
        bad.append(what)
s = dict(l.split(":\t") for l in f["status"].splitlines())
want("capabilities: %r" % s, s["CapBnd"] == s["CapEff"] == s["CapPrm"] == "00000000a80425fb" and s["CapInh"] == s["CapAmb"] == "0" * 16)
want("seccomp 2", s["Seccomp"] == "2")
want("no_new_privs off, as BuildKit's RUN", s["NoNewPrivs"] == "0")
want("descriptors 0-2 only: " + f["fds"], f["fds"].split() == ["0", "1", "2"])
env = f["env"].splitlines()
want("environment: %r" % env, {e.split("=")[0] for e in env} <= {"PATH", "HOME", "SEEN", "PWD", "SHLVL", "OLDPWD"})
want("pid 1's environment: " + f["env1"], "SECRET" not in f["env1"])
for l in f["mountinfo"].splitlines():
    p, root, fstype = l.split()[4], l.split()[3], l.split(" - ")[1].split()[0]
    want("mount " + l, sys.argv[2] not in p and p in ("/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/etc/hosts", "/etc/resolv.conf")
         or p.startswith(("/proc/", "/sys/")))
want("/proc/kcore: " + f["kcore"], f["kcore"].strip() == "0")
want("/proc/keys: " + f["keys"], not f["keys"].strip())
want("read-only paths: " + f["err"], f["err"].count("Read-only") >= 2 and not f["err"].count("\n") < 3)
want("calls that were not refused:\n" + f["calls.out"], not f["calls.out"])
want("host name " + f["host"], f["host"].strip() == "buildkitsandbox")
want("hosts", "buildkitsandbox" in f["hostsfile"])
want("stdin is empty", f["stdin"] == "")
want("processes: " + f["procs"], int(f["procs"]) <= 6)
s = dict(l.split(":\t") for l in f["tmp/status"].splitlines())
want("capabilities of a user: %r" % s, s["CapBnd"] == "00000000a80425fb" and s["CapEff"] == s["CapPrm"] == "0" * 16)
want("no stub in the layer", "etc/hosts" not in f and "etc/resolv.conf" not in f)
for b in bad:
    print("WRONG: " + b)
sys.exit(bool(bad))
END

# A daemon that a RUN leaves behind is killed, and what it would have written is not in the layer.
printf 'FROM busybox:1\nRUN (sleep 1; echo late > /late) & echo now > /now\nRUN sleep 1.5; test ! -e /late\n' > ctx/Dockerfile.daemon
expect 0 cbuild build --progress plain -f ctx/Dockerfile.daemon ctx

# WORKDIR tricks and roots with links in place of mount points.
printf 'FROM busybox:1\nWORKDIR /proc/self/fd/7\nRUN pwd\n' > ctx/Dockerfile.fd
expect 1 cbuild build --progress plain -f ctx/Dockerfile.fd ctx
printf 'FROM busybox:1\nRUN rmdir /proc; ln -s /etc /proc; rmdir /sys /dev; ln -s etc /dev; ln -s ../../../etc /sys; true\nRUN true\n' > ctx/Dockerfile.links
before=$(ls -la /etc | md5sum)
"$CBUILD" --durable build --progress plain -f ctx/Dockerfile.links ctx > links.out 2>&1 || true
same "$(ls -la /etc | md5sum)" "$before" "the host's /etc"
expect 0 cbuild debug fsck
no_leftovers
