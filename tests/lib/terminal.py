# SPDX-License-Identifier: LGPL-2.1-or-later
"""A terminal with somebody typing.

    with Terminal(["sh", "-i"]) as terminal:
        terminal.type("echo $((1 + 1))\\n")
        terminal.expect("2")
"""

import contextlib
import fcntl
import os
import pathlib
import select
import signal
import struct
import subprocess
import termios
import time

from qmp import PATIENCE

INTERRUPT, END, STOP, QUIT = "\x03", "\x04", "\x1a", "\x1c"


def _is_stopped(pid):
    """Also one that is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return text.rpartition(")")[2].split()[0] == "T"


def _prepare():
    """Nothing is ignored at a terminal, though we may run in a background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


class Terminal:
    """A program in a session of its own, on a terminal of its own.

    At the end the terminal hangs up; whoever does not go is killed.
    """

    def __init__(self, command, *, env=None, columns=80, cwd=None):
        self._master, slave = os.openpty()
        size = struct.pack("HHHH", 24, columns, 0, 0)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
        self._text = ""
        self._slave = os.ttyname(slave)
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *map(str, command)], stdin=slave,
            stdout=slave, stderr=slave, cwd=cwd, preexec_fn=_prepare,
            env={**os.environ, "TERM": "xterm", **(env or {})})
        os.close(slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        session = self._session()
        os.close(self._master)
        try:
            self.process.wait(5 * PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in session:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _session(self):
        """Processes of the session besides its first."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            pid = int(path.name)
            with contextlib.suppress(OSError):
                if (os.getsid(pid) == self.process.pid
                        and pid != self.process.pid):
                    found.append(pid)
        return found

    def wait_stopped(self, timeout=20.0):
        """Wait until all but the first process are.

        A shell prompts when its own child is; what that has started may still
        be about to, and takes what is typed.
        """
        deadline = time.monotonic() + timeout * PATIENCE
        while not all(map(_is_stopped, self._session())):
            assert time.monotonic() < deadline, "somebody goes on"
            time.sleep(0.01)

    def type(self, text):
        os.write(self._master, text.encode())

    def expect(self, mark, timeout=20.0):
        """Wait for a text; returns what came before it."""
        deadline = time.monotonic() + timeout * PATIENCE
        while mark not in self._text:
            left = deadline - time.monotonic()
            assert left > 0, f"no {mark!r} in {self._text!r}"
            self._read(left)
        before, _, self._text = self._text.partition(mark)
        return before

    def _read(self, timeout):
        if select.select([self._master], [], [], timeout)[0]:
            try:
                data = os.read(self._master, 4096)
            except OSError:  # nobody has the other end any more
                data = b""
            assert data, f"the terminal was closed after {self._text!r}"
            self._text += data.decode(errors="replace")

    def seen(self):
        """All that came and was not expected."""
        self._read(0)
        return self._text

    def read_rest(self, timeout=20.0):
        """What comes until everybody has gone."""
        deadline = time.monotonic() + timeout * PATIENCE
        with contextlib.suppress(AssertionError):
            while (left := deadline - time.monotonic()) > 0:
                self._read(left)
        text, self._text = self._text, ""
        return text

    def wait(self, timeout=20.0):
        """Exit status of the program."""
        return self.process.wait(timeout * PATIENCE)

    def _flags(self):
        fd = os.open(self._slave, os.O_RDWR | os.O_NOCTTY)
        try:
            return termios.tcgetattr(fd)[3]
        finally:
            os.close(fd)

    def echoes(self):
        """Whether it shows what is typed, as a shell expects it to."""
        return bool(self._flags() & termios.ECHO)

    def sends_signals(self):
        """Whether Ctrl-C is one."""
        return bool(self._flags() & termios.ISIG)
