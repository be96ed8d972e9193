# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Linux guest in QEMU's software emulation, booted in seconds.

See guestfiles.py for what boots.

    with guest.boot(["-m", "512M", ...], "echo hello; read answer") as linux:
        linux.expect("hello")
        linux.send("go on")
"""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time

from guestfiles import initramfs, kernel
from harness import (diag, die_with_parent, need_program, scratch,
                     wait_until)

BOOT_TIMEOUT = 60.0  # seconds; it takes three when the machine is idle


class Console:
    """The guest's serial line, a socket: what the script prints and reads."""

    def __init__(self, connection):
        self._socket = connection
        self._text = b""

    def expect(self, mark, timeout=BOOT_TIMEOUT):
        """Wait for a line that begins with @mark; returns the rest of it."""
        deadline = time.monotonic() + timeout
        while True:
            line = self.read_line(deadline)
            if line.startswith(mark):
                return line.removeprefix(mark).strip()

    def read_line(self, deadline):
        """The next line; @deadline is a time of time.monotonic()."""
        while b"\n" not in self._text:
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            data = self._socket.recv(4096)
            assert data, f"the guest went away: {self._text}"
            self._text += data
        line, _, self._text = self._text.partition(b"\n")
        return line.decode(errors="replace").rstrip("\r")

    def send(self, line):
        self._socket.sendall(line.encode() + b"\n")


class Setup:
    """How to start a guest: for those who run the command themselves."""

    def __init__(self, folder, script, arguments, files=None):
        self._console = folder / "console"
        self.command = [
            need_program("qemu-system-x86_64"), "-accel", "tcg",
            "-nodefaults", "-no-user-config", "-display", "none",
            "-no-reboot", "-nic", "none",
            "-chardev",
            f"socket,id=serial,path={self._console},server=on,wait=on",
            "-serial", "chardev:serial",
            "-kernel", str(kernel()),
            "-initrd", str(initramfs(folder, script, files)),
            "-append", "console=ttyS0 quiet loglevel=0 panic=-1", *arguments]

    def open_to_others(self):
        """Another user can start the guest."""
        at = self.command.index("-kernel") + 1
        self.command[at] = shutil.copy(self.command[at],
                                       self._console.parent / "kernel")
        os.chmod(self.command[at], 0o644)
        self._console.parent.chmod(0o777)

    @contextlib.contextmanager
    def connect(self, timeout=BOOT_TIMEOUT):
        """The console of the guest that somebody has started.

        What was sent is lost when it is closed before the guest reads it.
        """
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
            wait_until(lambda: self._try_connect(connection), timeout,
                       "the guest")
            yield Console(connection)

    def _try_connect(self, connection):
        try:
            connection.connect(str(self._console))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True


@contextlib.contextmanager
def setup(arguments, script, files=None):
    """A Setup whose files live as long as the context."""
    with scratch() as folder:
        yield Setup(folder, script, arguments, files)


def become(uid):
    """A preexec_fn: the child is a user without any right."""
    def change():
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        die_with_parent()
    return change


@contextlib.contextmanager
def boot(arguments, script, files=None, *, must_power_off=True, uid=None):
    """Start QEMU with more arguments; yields the console of the guest.

    @uid: of the user that QEMU runs as, instead of ours.

    At the end of the context the guest is waited for: it must power off, unless
    @must_power_off=False: then it is killed.
    """
    with setup(arguments, script, files) as ready, \
            tempfile.TemporaryFile("w+") as output:
        if uid is not None:
            ready.open_to_others()
        process = subprocess.Popen(
            ready.command, stdin=subprocess.DEVNULL, stdout=output,
            stderr=output,
            preexec_fn=die_with_parent if uid is None else become(uid))
        try:
            with ready.connect() as console:
                yield console
                if must_power_off:
                    status = process.wait(BOOT_TIMEOUT)
                    assert status == 0, f"QEMU exited with {status}"
        except Exception:
            output.seek(0)
            diag(f"QEMU printed: {output.read()}")
            raise
        finally:
            process.kill()
            process.wait()
