# SPDX-License-Identifier: LGPL-2.1-or-later
"""A service manager that keeps descriptors over restarts of hostmemd.

    with keeper.Keeper() as boss:
        with boss.run("-object", "memory-backend-memfd,id=m0,size=4M") as d:
            memory = keeper.Memory(d, "m0")
            ...
            keeper.kill(d)
        with boss.run() as d:                   # the same command line
            ...

It remembers each message with its descriptors, so that a test can go back to
what was kept at any moment.
"""

import contextlib
import mmap
import os
import random
import signal
import socket

from harness import Hostmemd, skip
from manager import Manager
from test_notify import need_libsystemd

STATE = "hostmem-state"


class Keeper(Manager):
    """A Manager with a store; see there."""

    def __init__(self, room=1000):
        need_libsystemd()
        super().__init__()
        self.history = []  # (what, name, descriptor of ours)
        self._room = room
        self._args = ()

    def _take(self, message, fds):
        name = message.get("FDNAME", "stored")
        if message.get("FDSTORE") == "1":
            assert message["FDPOLL"] == "0"
            if len(self.stored) + len(fds) > self._room:  # as systemd does
                for fd in fds:
                    os.close(fd)
                fds = []
            self.history += [("add", name, os.dup(fd)) for fd in fds]
        elif message.get("FDSTOREREMOVE") == "1":
            self.history.append(("remove", name, -1))
        super()._take(message, fds)

    def _forget(self):
        super()._forget()
        for _, _, fd in self.history:
            if fd >= 0:
                os.close(fd)

    def environment(self):
        return {"FDSTORE": str(self._room)}

    def run(self, *args, stored=None, **options):
        """A Hostmemd with what is kept, or @stored instead.

        Without arguments it gets those of the last run.
        """
        self._args = args or self._args
        if stored is None:
            self.drain()
            stored = self.stored
        start = self.start([fd for _, fd in stored],
                           [name for name, _ in stored],
                           environment=self.environment())
        return Hostmemd(*self._args, **start, **options)

    def names(self):
        with self._condition:
            return sorted(name for name, _ in self.stored)

    def settle(self, *names):
        """Wait until exactly these are kept, besides one state.

        A name stands for those that begin with it and a '/'.
        """
        def is_so():
            found = sorted(name.partition("/")[0] for name, _ in self.stored)
            states = [name for name in found if name.startswith(STATE)]
            others = [name for name in found if not name.startswith(STATE)]
            return len(states) == 1 and others == sorted(names)

        with self._condition:
            assert self._condition.wait_for(is_so, 20), \
                (names, [name for name, _ in self.stored])

    def await_empty(self):
        """Wait until nothing is kept any more."""
        with self._condition:
            assert self._condition.wait_for(lambda: not self.stored, 20), \
                self.stored

    def drain(self):
        """Wait until all that was sent before is read: kept, or forgotten."""
        mark = f"X_DRAIN={len(self.said('X_DRAIN'))}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(mark.encode(), self.address)
        name, value = mark.split("=")
        self.expect(name, lambda said: said == value)

    def kept_after(self, count):
        """What was kept after so many messages: [(name, descriptor)]."""
        kept = []
        for what, name, fd in self.history[:count]:
            if what == "add":
                kept.append((name, fd))
            else:
                kept = [entry for entry in kept if entry[0] != name]
        return kept

    def state(self):
        """The text of the one state that is kept."""
        (fd,) = [fd for name, fd in self.stored if name.startswith(STATE)]
        return os.pread(fd, os.fstat(fd).st_size, 0).decode()

    def replace(self, prefix, fd):
        """Keep another descriptor, which is ours now; -1: none."""
        with self._condition:
            (index,) = [i for i, (name, _) in enumerate(self.stored)
                        if name.startswith(prefix)]
            name, old = self.stored.pop(index)
            os.close(old)
            if fd >= 0:
                self.stored.insert(index, (name, fd))

    def replace_state(self, text):
        fd = os.memfd_create("state")
        os.write(fd, text.encode())
        self.replace(STATE, fd)


def kill(daemon):
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.wait()


class Memory:
    """What is in a descriptor of a size, seen from outside: as a guest, it
    stays open whatever becomes of the daemon."""

    def __init__(self, fd, size):
        self.size = size
        self.fd = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
        self._map = mmap.mmap(self.fd, size)

    @classmethod
    def of(cls, daemon, size):
        """That of a daemon which has only one of this size."""
        folder = f"/proc/{daemon.pid}/fd"
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                path = os.path.join(folder, name)
                if os.path.isfile(path) and os.stat(path).st_size == size:
                    fd = os.open(path, os.O_RDWR)
                    try:
                        return cls(fd, size)
                    finally:
                        os.close(fd)
        return skip(f"no descriptor of {size} bytes can be opened")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Let go of it; what is closed may be closed again."""
        self._map.close()
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def fill(self, seed, start=0, end=None):
        self._map[start:end or self.size] = \
            pattern(seed, (end or self.size) - start)

    def check(self, seed, start=0, end=None):
        end = end or self.size
        assert self._map[start:end] == pattern(seed, end - start), seed

    def is_zero(self, start=0, end=None):
        end = end or self.size
        return self._map[start:end] == bytes(end - start)

    def identity(self):
        found = os.fstat(self.fd)
        return found.st_dev, found.st_ino


def pattern(seed, size):
    return random.Random(seed).randbytes(4096) * (size // 4096)
