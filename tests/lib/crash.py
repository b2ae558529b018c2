#!/usr/bin/env python3
"""Walks crash points and faults over a cbuild command by strace's injection; no line for it is in the product.

    crash.py --template DIR --work DIR --every N --points CALL[,CALL…] --faults KILL,ENOSPC [--limit N] -- COMMAND…

For each fault, call and every N-th occurrence: a fresh copy of the template store, the command under `strace -f -e inject=…`, then the same
command again without a fault. Asserted each time: a killed or failed run says so; the second run succeeds and gives the tree that an
undisturbed run gives; `cbuild debug fsck` is clean; the lists of mounts and processes, tmp/ and leases/ are as before.
{store} in the command is the store, {out} an OCI tar that it writes (its tree is what is compared; without {out} only the exit counts)."""
import argparse, hashlib, json, os, re, shutil, signal, subprocess, sys, tarfile, time

a = argparse.ArgumentParser()
a.add_argument("--template", required=True)
a.add_argument("--work", required=True)
a.add_argument("--every", type=int, default=5)
a.add_argument("--points", default="write,pwrite64,rename,renameat,renameat2,fsync,fdatasync,mount,move_mount,fsmount")
a.add_argument("--faults", default="KILL,ENOSPC")
a.add_argument("--limit", type=int, default=100000)
a.add_argument("--max-per-call", type=int, default=100000)
a.add_argument("command", nargs="+")
o = a.parse_args()
cbuild = os.environ["CBUILD"]
store, out = o.work + "/store", o.work + "/out.tar"
# What an error of this kind means for a call of this name; a write of progress to stderr may fail as well.
ERRORS = {"ENOSPC": "ENOSPC"}
FAULTABLE = {"write", "pwrite64", "rename", "renameat", "renameat2", "fsync", "fdatasync", "mount", "move_mount", "fsmount", "mkdir", "mkdirat",
             "openat", "sendmsg"}


def command():
    return [c.replace("{store}", store).replace("{out}", out) for c in o.command]


def env():
    return dict(os.environ, CBUILD_ROOT=store)


def reset():
    subprocess.run(["rm", "-rf", store, out], check=True)
    subprocess.run(["cp", "-a", o.template, store], check=True)


def tree(path):
    """path -> (type, mode, owner, content) of the last image in an OCI tar, whiteouts applied."""
    files = {}
    with tarfile.open(path) as t:
        for m in t:
            if m.isfile():
                files[m.name] = t.extractfile(m).read()
    blob = lambda d: files["blobs/" + d.replace(":", "/")]
    manifest = json.loads(blob(json.loads(files["index.json"])["manifests"][0]["digest"]))
    res = {}
    for l in manifest["layers"]:
        data = blob(l["digest"])
        if "sha256:" + hashlib.sha256(data).hexdigest() != l["digest"]:
            raise ValueError("a blob does not match its digest")
        import io, gzip
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        for m in tarfile.open(fileobj=io.BytesIO(data)):
            n = "/" + m.name.strip("./")
            base = os.path.basename(n)
            if base.startswith(".wh."):
                victim = os.path.join(os.path.dirname(n), base[4:])
                res = {k: v for k, v in res.items() if k != victim and not k.startswith(victim + "/")}
                continue
            body = b""
            if m.isfile():
                body = tarfile.open(fileobj=io.BytesIO(data)).extractfile(m).read()
            res[n] = (m.type.decode(), oct(m.mode), m.uid, m.gid, m.linkname, hashlib.sha256(body).hexdigest())
    return res


def mounts():
    return sorted(l.split(" - ")[0].split()[4] for l in open("/proc/self/mountinfo"))


def short_id():
    """8 hex of the store's uuid: the name of its cgroup folder, by which its processes are told from those of others."""
    import sqlite3
    db = sqlite3.connect(o.template + "/index.db")
    return db.execute("SELECT v FROM meta WHERE k = 'uuid'").fetchone()[0][:4].hex()


SHORT = short_id()


def processes():
    """pids of our own: in a cgroup of this store, or with the store in their command line."""
    res = []
    for p in os.listdir("/proc"):
        if not p.isdigit() or int(p) == os.getpid():
            continue
        try:
            exe = os.readlink("/proc/%s/exe" % p)
            cmd = open("/proc/%s/cmdline" % p, "rb").read()
            group = open("/proc/%s/cgroup" % p).read()
        except OSError:
            continue
        if "/cbuild/" + SHORT in group or (exe == cbuild and store.encode() in open("/proc/%s/environ" % p, "rb").read()):
            res.append((p, exe, cmd[:80]))
    return res


def wait_gone(limit=5.0):
    end = time.time() + limit
    while time.time() < end:
        left = processes()
        if not left:
            return []
        time.sleep(0.02)
    return left


def leftovers():
    bad = []
    for d, keep in (("tmp", {"partial"}), ("leases", set()), ("run/steps", set())):
        try:
            # A lease that was not renamed yet (".<id>") is swept a minute later: it holds nothing.
            bad += [d + "/" + n for n in os.listdir(store + "/" + d) if n not in keep and not (d == "leases" and n[0] == ".")]
        except FileNotFoundError:
            pass
    return bad


def run(extra=()):
    return subprocess.run(list(extra) + command(), env=env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)


def count(call):
    """How often the busiest traced thread makes a call: strace counts occurrences per thread."""
    reset()
    log = o.work + "/count"
    subprocess.run("rm -f %s.*" % log, shell=True)
    r = run(["strace", "-ff", "-qq", "-e", "signal=none", "-e", "trace=" + call, "-o", log])
    if r.returncode:
        sys.exit("the undisturbed run failed under strace: " + r.stderr.decode()[-500:])
    n = 0
    for f in os.listdir(o.work):
        if f.startswith("count."):
            n = max(n, sum(1 for l in open(o.work + "/" + f, errors="replace") if re.match(r"(\d+ )?" + call + r"\(", l)))
            os.unlink(o.work + "/" + f)
    return n


reset()
r = run()
if r.returncode:
    sys.exit("the undisturbed run failed: " + r.stderr.decode()[-800:])
want = tree(out) if any("{out}" in c for c in o.command) else None
mounts_before = mounts()
points = bad = hit = 0
for fault in o.faults.split(","):
    for call in o.points.split(","):
        n = count(call)
        step = max(o.every, (n + o.max_per_call - 1) // o.max_per_call)
        for when in range(1, n + 1, step):
            if points >= o.limit:
                break
            points += 1
            reset()
            inject = "inject=%s:%s:when=%d" % (call, "signal=KILL" if fault == "KILL" else "error=" + fault, when)
            where = "%s %s #%d" % (fault, call, when)
            problems = []
            try:
                first = run(["strace", "-f", "-qq", "-o", "/dev/null", "-e", "signal=none", "-e", "trace=" + call, "-e", inject])
                if first.returncode:
                    hit += 1
                    if fault != "KILL" and not first.stderr.strip() and not (call == "write"):
                        problems.append("it failed without a word")
                second = run()
                if second.returncode:
                    problems.append("the next run failed: " + second.stderr.decode()[-400:])
                elif want is not None and tree(out) != want:
                    problems.append("the next run gave another tree")
                fsck = subprocess.run([cbuild, "debug", "fsck", "--data"], env=env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                if fsck.returncode:
                    problems.append("fsck: " + fsck.stdout.decode()[-400:])
            except subprocess.TimeoutExpired:
                problems.append("it hung")
            left = wait_gone()
            if left:
                problems.append("processes are left: %r" % (left,))
                for p, _, _ in left:
                    os.kill(int(p), signal.SIGKILL)
            if mounts() != mounts_before:
                problems.append("mounts are left")
            if leftovers():
                problems.append("left behind: %s" % leftovers()[:5])
            for p in problems:
                print("%s: %s" % (where, p), flush=True)
            bad += bool(problems)
print("%d points, %d of them ended the command, %d with problems" % (points, hit, bad))
sys.exit(1 if bad else 0)
