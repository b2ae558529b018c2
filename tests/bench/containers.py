#!/usr/bin/env python3
"""What containers cost, one line a metric (`--json`: one object): medians of commands, a monitor's private memory, the log's throughput.
Arguments: CBUILD (default build/release/cbuild). Needs root and /bin/busybox (package busybox-static)."""
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

args = [a for a in sys.argv[1:] if a != "--json"]
cbuild = os.path.abspath(args[0] if args else "build/release/cbuild")
work = tempfile.mkdtemp(prefix="cbuild-bench.")
os.environ["CBUILD_ROOT"] = work + "/store"
results = {}


def run(*words, **kw):
    return subprocess.run([cbuild, *words], check=True, stdin=subprocess.DEVNULL, **kw)


def timed(name, n, *words):
    """Medians and the ninth decile in ms, of n runs after three that are not counted."""
    times = []
    for i in range(n + 3):
        begin = time.perf_counter()
        run(*words, stdout=subprocess.DEVNULL)
        if i >= 3:
            times.append((time.perf_counter() - begin) * 1000)
    times.sort()
    results[name] = {"median_ms": round(statistics.median(times), 2), "p90_ms": round(times[len(times) * 9 // 10], 2),
                     "least_ms": round(times[0], 2)}


def image():
    root = work + "/root"
    os.makedirs(root + "/bin")
    os.makedirs(root + "/etc")
    shutil.copy("/bin/busybox", root + "/bin/busybox")
    for applet in ("sh", "true", "sleep", "cat"):
        os.symlink("busybox", f"{root}/bin/{applet}")
    with open(root + "/big", "wb") as f:
        f.write((b"x" * 99 + b"\n") * 2000000)
    subprocess.run(["tar", "-C", root, "-cf", work + "/image.tar", "."], check=True)
    run("import", work + "/image.tar", "bench:1", stdout=subprocess.DEVNULL)


def monitor_memory(name):
    pid = run("inspect", "-f", "{{.State.Pid}}", name, capture_output=True, text=True).stdout.strip()
    with open(f"/proc/{pid}/status") as f:
        parent = re.search(r"PPid:\s+(\d+)", f.read()).group(1)
    with open(f"/proc/{parent}/smaps_rollup") as f:
        return sum(int(line.split()[1]) for line in f if line.startswith("Private_"))


try:
    image()
    timed("version", 50, "version")
    timed("run --rm true", 100, "run", "--rm", "--network", "none", "bench:1", "true")
    run("run", "-d", "--name", "steady", "bench:1", "sleep", "100000", stdout=subprocess.DEVNULL)
    timed("exec true", 100, "exec", "steady", "true")
    results["monitor, private"] = {"kib": monitor_memory("steady")}
    begin = time.perf_counter()
    run("run", "-d", "--name", "loud", "bench:1", "cat", "/big", stdout=subprocess.DEVNULL)
    run("wait", "loud", stdout=subprocess.DEVNULL)
    results["log, lines of 100 bytes"] = {"mb_per_s": round(200 / (time.perf_counter() - begin))}
    for i in range(198):
        run("create", "--name", f"many{i}", "bench:1", "true", stdout=subprocess.DEVNULL)
    timed("ps -a of 200", 30, "ps", "-a")
finally:
    ids = subprocess.run([cbuild, "ps", "-aq"], capture_output=True, text=True).stdout.split()
    if ids:
        subprocess.run([cbuild, "rm", "-f", *ids], stdout=subprocess.DEVNULL)
    shutil.rmtree(work, ignore_errors=True)
if "--json" in sys.argv:
    print(json.dumps(results))
else:
    for name, values in results.items():
        print(f"{name}: " + ", ".join(f"{k} {v}" for k, v in values.items()))
