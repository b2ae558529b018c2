#!/usr/bin/env python3
"""Kills the commands of containers, and their monitors, at every N-th call of a kind, by strace's injection; arguments: CBUILD, store.

After each kill the next commands must find order: `ps -a` works, what it calls ended is gone with all its processes, the next start works, and
after `rm` there are no folders, names, pins, control groups, mounts or processes more than before."""
import glob
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time

CBUILD, STORE = sys.argv[1], sys.argv[2]
EVERY = int(os.environ.get("EVERY", "5"))
MOST = int(os.environ.get("PER_CALL", "4"))
CALLS = ["write", "renameat", "mount", "move_mount", "sendmsg", "clone3", "openat"]
# A program that cannot be mistaken for another's; with another uid it outlives its monitor, as gosu's does.
MARK = str(700000 + os.getpid() % 90000)
PLAIN = ["sleep", MARK]
OTHER_UID = ["su", "app", "-c", "exec sleep " + MARK]


def run(*args, status=None, timeout=60):
    p = subprocess.run([CBUILD, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout)
    if status is not None and p.returncode != status:
        raise AssertionError(f"{args}: exit {p.returncode}: {p.stdout}{p.stderr}")
    return p


def alive(pid):
    """A zombie is dead: who reaps it is not our business."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def marked():
    """Processes of the container's program."""
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            words = open(path, "rb").read().split(b"\0")
        except OSError:
            continue
        pid = int(path.split("/")[2])
        if words[0] in (b"sleep", b"su") and MARK.encode() in b" ".join(words) and alive(pid):
            found.append(pid)
    return found


def short_id():
    uuid = sqlite3.connect(STORE + "/index.db").execute("select v from meta where k = 'uuid'").fetchone()[0]
    return (uuid.hex() if isinstance(uuid, bytes) else uuid.replace("-", ""))[:8]


def rest():
    """All that could be left behind."""
    left = [p for d in ("containers", "names", "leases", "tmp") for p in glob.glob(f"{STORE}/{d}/*") + glob.glob(f"{STORE}/{d}/.[0-9a-f]*")
            if not p.endswith("/partial")]
    left += [f"pin {row[0]}" for row in sqlite3.connect(STORE + "/index.db").execute("select distinct lease from pin where lease like 'c/%'")]
    for top in glob.glob(f"/sys/fs/cgroup/cbuild/{short_id()}") + glob.glob(f"/sys/fs/cgroup/*/cbuild/{short_id()}"):
        left += [f"{top}/{n}" for n in os.listdir(top)
                 if os.path.isdir(f"{top}/{n}") and n != "monitors" and not n.startswith(("containers.", "run."))]
    left += [line for line in open("/proc/self/mountinfo") if STORE in line]
    return left + [f"process {p}" for p in marked()]


def age_hidden():
    """A container that was being made is hidden for a minute before it is swept."""
    for path in glob.glob(f"{STORE}/containers/.[0-9a-f]*") + glob.glob(f"{STORE}/leases/.[0-9a-f]*"):
        os.utime(path, (1, 1))


def check(what):
    """After a kill: order is found, or made by the next command."""
    names = run("ps", "-a", "--format", "{{.Names}} {{.State}} {{.Status}}", status=0).stdout.split("\n")
    mine = [n for n in names if n.startswith("box ")]
    if mine:
        state = mine[0].split()[1]
        if state == "running":
            run("exec", "box", "true", status=0)
        else:
            assert not marked(), f"{what}: it is '{mine[0]}', and runs on"
            assert state == "created" or "Exited (137)" in mine[0] or "Exited (143)" in mine[0] or "Exited (0)" in mine[0], f"{what}: {mine[0]}"
            run("start", "box", status=0)
            run("exec", "box", "true", status=0)
        run("rm", "-f", "box", status=0)
    age_hidden()
    # The next command that makes something sweeps.
    run("run", "--rm", "--name", "next", "busybox:1", "true", status=0)
    for _ in range(100):
        left = rest()
        if not left:
            return
        time.sleep(0.05)
    raise AssertionError(f"{what}: left behind: {left}")


def inject(call, n, argv, pid=None):
    """Runs a command, or watches a process, with SIGKILL at the n-th call. Whether it struck."""
    log = f"{STORE}/../strace.log"
    args = ["strace", "-f", "-qq", "-o", log, "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={n}"]
    if pid:
        p = subprocess.Popen(args + ["-p", str(pid)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(0.3)
        return p, log
    # -D: the tracer is no parent of ours, and stays with a monitor that outlives the command.
    try:
        subprocess.run(args + ["-D"] + argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30)
    except subprocess.TimeoutExpired:
        pass
    time.sleep(0.05)
    with open(log) as f:
        return "killed by SIGKILL" in f.read()


def monitor_of(name):
    pid = run("inspect", "-f", "{{.State.Pid}}", name, status=0).stdout.strip()
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"PPid:\s+(\d+)", f.read()).group(1))


def walk(what, act):
    """act(call, n) sets up, kills and says whether the kill struck; the walk of a call ends where it does not any more."""
    points = 0
    for call in CALLS:
        for k in range(MOST):
            n = 1 + k * EVERY
            struck = act(call, n)
            check(f"{what}, {call} {n}")
            points += struck
            if not struck:
                break
    print(f"{what}: {points} kills", flush=True)
    assert points, f"{what}: nothing was killed"


def start_detached(program):
    return lambda call, n: inject(call, n, [CBUILD, "run", "-d", "--name", "box", "busybox:1"] + program)


def start_foreground(call, n):
    # It ends by itself, so that what is not killed is not waited for.
    return inject(call, n, [CBUILD, "run", "--name", "box", "busybox:1", "sleep", "0.2"])


def in_stop(call, n):
    run("run", "-d", "--name", "box", "busybox:1", *PLAIN, status=0)
    return inject(call, n, [CBUILD, "stop", "-t", "0", "box"])


def in_exec(call, n):
    run("run", "-d", "--name", "box", "busybox:1", *PLAIN, status=0)
    return inject(call, n, [CBUILD, "exec", "box", "true"])


def in_rm(call, n):
    run("run", "-d", "--name", "box", "busybox:1", *PLAIN, status=0)
    return inject(call, n, [CBUILD, "rm", "-f", "box"])


def monitor_in_stop(program):
    def act(call, n):
        run("run", "-d", "--name", "box", "busybox:1", *program, status=0)
        p, log = inject(call, n, None, monitor_of("box"))
        run("exec", "box", "true")
        run("stop", "-t", "0", "box")
        if p.poll() is None:
            time.sleep(0.1)
            p.terminate()
        p.wait(10)
        with open(log) as f:
            return "killed by SIGKILL" in f.read()
    return act


def just_killed():
    """The monitor alone, at any moment, of containers whose pid 1 dies with it and whose does not."""
    for program in (PLAIN, OTHER_UID):
        run("run", "-d", "--name", "box", "busybox:1", *program, status=0)
        for _ in range(100):
            if marked():
                break
            time.sleep(0.02)
        os.kill(monitor_of("box"), signal.SIGKILL)
        status = run("ps", "-a", "--format", "{{.Names}} {{.Status}}", status=0).stdout
        assert "box Exited (137)" in status, status
        assert not marked(), f"{program}: it runs on"
        run("start", "box", status=0)
        check("a killed monitor")
    print("killed monitors: ok", flush=True)


os.environ["CBUILD_ROOT"] = STORE
just_killed()
walk("run -d", start_detached(PLAIN))
walk("run -d of another user", start_detached(OTHER_UID))
walk("run", start_foreground)
walk("stop", in_stop)
walk("exec", in_exec)
walk("rm -f", in_rm)
walk("monitor in exec and stop", monitor_in_stop(OTHER_UID))
