"""A program at a pseudo terminal, for tests: Terminal(argv).send(bytes), .expect(text), .resize(rows, cols), .end()."""
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time


class Terminal:
    def __init__(self, argv, rows=24, cols=80):
        self.master, self.slave = pty.openpty()
        self.set_size(rows, cols)
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        self.process = subprocess.Popen(argv, stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def set_size(self, rows, cols):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def resize(self, rows, cols):
        """The kernel tells the foreground group by SIGWINCH itself."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def send(self, data):
        os.write(self.master, data)

    def expect(self, text, timeout=30):
        """Waits until text is shown after what was expected before; what came until then."""
        want, until = text.encode() if isinstance(text, str) else text, time.time() + timeout
        while want not in self.seen:
            if time.time() > until:
                raise AssertionError(f"no {want!r} in {self.seen[-2000:]!r}")
            ready, _, _ = select.select([self.master], [], [], 0.2)
            if ready:
                self.seen += os.read(self.master, 65536)
        at = self.seen.index(want) + len(want)
        before, self.seen = self.seen[:at], self.seen[at:]
        return before

    def end(self, timeout=30):
        """The exit status, with the terminal as it was before."""
        status = self.process.wait(timeout)
        now = termios.tcgetattr(self.slave)
        assert now[:4] == self.before[:4], f"the terminal was not given back: {now[:4]} is not {self.before[:4]}"
        os.close(self.master)
        os.close(self.slave)
        return status

    def kill(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)
