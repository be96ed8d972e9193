# SPDX-License-Identifier: LGPL-2.1-or-later
"""A service manager, as far as a service can tell: see sd_notify(3).

    with manager.Manager() as boss:
        with harness.Hostmemd(..., **boss.start()) as daemon:
            boss.expect("READY")

It hears what the service says, keeps what the service wants kept (FDSTORE) and
passes descriptors on (LISTEN_FDS).
"""

import array
import contextlib
import os
import socket
import struct
import sys
import threading
import time

from harness import PATIENCE, scratch

TIMEOUT = 20.0 * PATIENCE  # seconds
MESSAGE_MAX = 4096  # bytes; systemd drops what is longer
FDS_MAX = 253  # with one message
FIRST_FD = 3

# Puts descriptors where they are looked for, and becomes the program.
_EXEC = """
import fcntl, os, sys
count = int(sys.argv[1])
end = 3 + count
fds = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, end) for fd in sys.argv[2:2 + count]]
for at, fd in enumerate(fds, 3):
    os.dup2(fd, at)
os.closerange(end, os.sysconf("SC_OPEN_MAX"))
os.environ.setdefault("LISTEN_PID", str(os.getpid()))
os.execv(sys.argv[2 + count], sys.argv[2 + count:])
"""


class Message(dict):
    """What was said at once, {name: value}, when, and by whom."""

    def __init__(self, data, pid):
        lines = data.decode().splitlines()
        super().__init__(line.split("=", 1) for line in lines)
        self.time = time.monotonic()
        self.pid = pid


class Manager:
    """Listens as long as the context lasts."""

    def __init__(self):
        self.messages = []
        self.stored = []  # (name, descriptor), in the order of storing
        self._condition = threading.Condition()
        self._deaf = False
        self._parked = False

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            path = str(stack.enter_context(scratch()) / "notify")
            self._socket = stack.enter_context(
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.bind(path)
            self.address = path
            thread = threading.Thread(target=self._listen)
            thread.start()
            stack.callback(self._forget)
            stack.callback(thread.join)
            stack.callback(self._hang_up)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def _hang_up(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", self.address)

    def _forget(self):
        for _, fd in self.stored:
            os.close(fd)
        self.stored.clear()

    # hearing

    def _listen(self):
        room = (socket.CMSG_SPACE(FDS_MAX * array.array("i").itemsize)
                + socket.CMSG_SPACE(struct.calcsize("3i")))
        while True:
            self._park()
            data, extras, flags, _ = self._socket.recvmsg(MESSAGE_MAX, room)
            if not data:
                return
            assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC), data
            fds, pid = self._read_extras(extras)
            with self._condition:
                self._take(Message(data, pid), fds)
                self._condition.notify_all()

    def _park(self):
        with self._condition:
            self._parked = True
            self._condition.notify_all()
            self._condition.wait_for(lambda: not self._deaf)
            self._parked = False

    def _send(self, data):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(data, self.address)

    @contextlib.contextmanager
    def deaf(self):
        """Meanwhile it hears nothing, and whoever says something waits."""
        with self._condition:
            self._deaf = True
        with contextlib.suppress(BlockingIOError):
            self._send(b"X_WAKE=1")
        with self._condition:
            assert self._condition.wait_for(lambda: self._parked, TIMEOUT)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._send(b"X_FULL=1")
        try:
            yield
        finally:
            with self._condition:
                self._deaf = False
                self._condition.notify_all()

    @contextlib.contextmanager
    def away(self):
        """Meanwhile there is nobody to say anything to."""
        os.rename(self.address, self.address + ".away")
        try:
            yield
        finally:
            os.rename(self.address + ".away", self.address)

    @staticmethod
    def _read_extras(extras):
        fds, pid = array.array("i"), 0
        for _, kind, data in extras:
            if kind == socket.SCM_RIGHTS:
                fds.frombytes(data)
            elif kind == socket.SCM_CREDENTIALS:
                pid = struct.unpack("3i", data)[0]
        return list(fds), pid

    def _take(self, message, fds):
        self.messages.append(message)
        name = message.get("FDNAME", "stored")
        if message.get("FDSTORE") == "1":
            self.stored += [(name, fd) for fd in fds]
            return
        for fd in fds:
            os.close(fd)
        if message.get("FDSTOREREMOVE") == "1":
            for entry in [entry for entry in self.stored if entry[0] == name]:
                self.stored.remove(entry)
                os.close(entry[1])

    def said(self, name):
        """All values of a name so far, oldest first."""
        with self._condition:
            return [message[name] for message in self.messages
                    if name in message]

    def expect(self, name, matches=lambda value: True, timeout=TIMEOUT):
        """Wait for the first message with a name; returns it."""
        def find():
            return next((message for message in self.messages
                         if name in message and matches(message[name])), None)

        with self._condition:
            assert self._condition.wait_for(find, timeout), \
                f"no {name} in {self.messages}"
            return find()

    # starting

    def start(self, fds=(), names=None, environment=()):
        """How to start a service with descriptors: keywords for the harness.

        @names are those of the descriptors; @environment is what else it gets,
        or what it gets instead.
        """
        env = {"NOTIFY_SOCKET": self.address}
        if fds:
            env["LISTEN_FDS"] = str(len(fds))
        if names:
            env["LISTEN_FDNAMES"] = ":".join(names)
        env.update(environment)
        if not fds:
            return {"env": env}
        return {"env": env, "pass_fds": tuple(fds),
                "under": [sys.executable, "-c", _EXEC, str(len(fds)),
                          *map(str, fds)]}

    def restart(self, **more):
        """start() with all that is stored."""
        return self.start([fd for _, fd in self.stored],
                          [name for name, _ in self.stored], **more)
