#!/usr/bin/env python3
"""Containers at a terminal: sizes, Ctrl-C, leaving and coming back, several clients, a full-screen program, ways out. Argument: cbuild."""
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from terminal import Terminal  # noqa: E402

CBUILD = sys.argv[1]
IMAGE = "busybox:1"


def run(*args, status=0):
    p = subprocess.run([CBUILD, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert p.returncode == status, f"{args}: exit {p.returncode}: {p.stdout}{p.stderr}"
    return p.stdout.strip()


def shell(t):
    """The prompt is ours, so that what is typed is never mistaken for what is printed."""
    t.expect("# ")
    time.sleep(0.2)
    t.send(b"PS1='rea''dy> '\r")
    t.expect("ready> ")


def say(t, command, expected):
    t.send(command.encode() + b"\r")
    t.expect(expected)
    t.expect("ready> ")


def test_walk():
    t = Terminal([CBUILD, "run", "-it", "--name", "box", IMAGE, "sh"], 31, 91)
    shell(t)
    say(t, "stty size", "31 91")
    say(t, "tty; ls -l /dev/console", "/dev/pts/0")
    t.resize(40, 100)
    time.sleep(0.3)
    say(t, "stty size", "40 100")
    t.send(b"sleep 1000\r")
    time.sleep(0.5)
    t.send(b"\x03")
    t.expect("ready> ")
    say(t, "echo sta''tus $?", "status 130")
    # Half a key sequence is passed on, a whole one leaves.
    t.send(b"\x10")
    say(t, "", "")
    t.send(b"\x10\x11")
    assert t.end() == 0
    assert run("ps", "-q", "--filter", "name=box")

    # Back again, by two clients at once.
    a, b = Terminal([CBUILD, "attach", "box"]), Terminal([CBUILD, "attach", "--detach-keys", "ctrl-x", "box"])
    time.sleep(0.5)
    a.send(b"echo bo''th\r")
    a.expect("both")
    b.expect("both")
    b.expect("ready> ")
    # A full-screen program.
    b.send(b"vi /tmp/text\r")
    b.expect("/tmp/text")
    time.sleep(0.3)
    for keys in (b"i", b"hello from vi", b"\x1b", b":wq", b"\r"):
        b.send(keys)
        time.sleep(0.3)
    b.expect("ready> ")
    b.send(b"cat /tmp/text\r")
    b.expect("hello from vi")
    b.send(b"\x18")
    assert b.end() == 0
    a.send(b"exit 5\r")
    assert a.end() == 5
    assert run("inspect", "-f", "{{.State.ExitCode}}", "box") == "5"
    assert "hello from vi" in run("logs", "box")
    run("rm", "box")


def test_killed():
    """The terminal is given back when the container is killed, and when its monitor is."""
    for victim in ("container", "monitor"):
        t = Terminal([CBUILD, "run", "-it", "--name", "box", IMAGE, "sh"])
        shell(t)
        if victim == "container":
            run("kill", "box")
        else:
            pid = run("inspect", "-f", "{{.State.Pid}}", "box")
            with open(f"/proc/{pid}/status") as f:
                parent = [line.split()[1] for line in f if line.startswith("PPid:")][0]
            os.kill(int(parent), signal.SIGKILL)
        assert t.end() == 137
        assert run("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "box") == "exited 137"
        run("start", "box")
        run("rm", "-f", "box")


def test_terminated():
    """A client that is told to end gives the terminal back; the container goes on."""
    t = Terminal([CBUILD, "run", "-it", "--name", "box", IMAGE, "sh"])
    shell(t)
    t.kill(signal.SIGTERM)
    assert t.end() == 143
    assert run("inspect", "-f", "{{.State.Running}}", "box") == "true"
    run("rm", "-f", "box")


def test_exec():
    run("run", "-d", "--name", "box", IMAGE, "sleep", "1000")
    t = Terminal([CBUILD, "exec", "-it", "-e", "X=42", "box", "sh"], 20, 70)
    shell(t)
    say(t, "stty size; echo x$X", "x42")
    t.send(b"\x10\x11")
    assert t.end() == 0
    t = Terminal([CBUILD, "exec", "-it", "box", "sh", "-c", "exit 9"])
    assert t.end() == 9
    run("rm", "-f", "box")


def test_start():
    run("create", "-it", "--name", "box", IMAGE, "sh")
    t = Terminal([CBUILD, "start", "-ai", "box"])
    shell(t)
    t.send(b"exit 3\r")
    assert t.end() == 3
    run("rm", "box")


for name, fn in list(globals().items()):
    if name.startswith("test_"):
        fn()
        print("ok", name)
