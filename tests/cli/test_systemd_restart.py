#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Memory that a real systemd keeps over restarts of hostmemd."""

import contextlib
import mmap
import os
import pathlib
import re

import harness
from fdclient import FdClient
from harness import MIB, need_program, wait_until
from keeper import pattern
from test_systemd import SERVICE, SOCKET, booted, connect

SIZE = 4 * MIB
MEMFD = f"-object memory-backend-memfd,id=m0,size={SIZE},prealloc=on"
POOL = (f"-object memory-pool,id=p0,size={2 * SIZE},segment-size={SIZE} "
        f"-object memory-backend-memfd,id=m1,size={SIZE},pool=p0")


@contextlib.contextmanager
def served(options):
    """A systemd with a hostmemd that can be asked."""
    with booted(f'"{options}"', start=False) as systemd:
        systemd.control("start", SOCKET)
        systemd.control("start", SERVICE)
        yield systemd


@contextlib.contextmanager
def memory_of(systemd, name):
    with FdClient(systemd.path("/run/hostmem/qmp.sock")) as client:
        _, [fd] = client.execute("get-memory-fd", {"id": name})
    try:
        with mmap.mmap(fd, SIZE) as memory:
            yield memory
    finally:
        os.close(fd)


def fill(systemd):
    for name in "m0", "m1":
        with memory_of(systemd, name) as memory:
            memory[:] = pattern(1, SIZE)


def has_pattern(systemd, name="m0"):
    with memory_of(systemd, name) as memory:
        return memory[:] == pattern(1, SIZE)


def is_as_it_was(systemd):
    assert has_pattern(systemd, "m0") and has_pattern(systemd, "m1")
    with contextlib.closing(connect(systemd)) as client:
        assert {one["path"]: one["status"]
                for one in client.execute("query-restore")} == {
                    f"/objects/{name}": "restored"
                    for name in ("m0", "m1", "p0")}
        (pool,) = client.execute("query-memory-pools")
        assert (pool["lent-size"], pool["ready-size"]) == (SIZE, SIZE), pool


def main_pid(systemd):
    return int(systemd.show(SERVICE, "MainPID"))


def test_restart():
    with served(f"{MEMFD} {POOL}") as systemd:
        fill(systemd)
        for _ in range(2):
            before = main_pid(systemd)
            systemd.control("restart", SERVICE)
            assert main_pid(systemd) != before
            is_as_it_was(systemd)


def test_crash():
    with served(f"{MEMFD} {POOL}") as systemd:
        fill(systemd)
        before = main_pid(systemd)
        systemd.control("kill", "--kill-who=main", "--signal=KILL", SERVICE)
        wait_until(lambda: main_pid(systemd) not in (0, before)
                   and systemd.show(SERVICE, "ActiveState") == "active",
                   what="the restart")
        is_as_it_was(systemd)


def version(systemd):
    return int(re.search(r"\d+", systemd.control("--version"))[0])


def test_stop():
    """From release 254 on a stop keeps the memory until it is cleaned."""
    with served(f"{MEMFD} {POOL}") as systemd:
        fill(systemd)
        systemd.control("stop", SERVICE)
        if version(systemd) >= 254:
            systemd.control("start", SERVICE)
            is_as_it_was(systemd)
            systemd.control("stop", SERVICE)
            systemd.control("clean", "--what=fdstore", SERVICE)
        systemd.control("start", SERVICE)
        assert not has_pattern(systemd)


def test_quit_gives_all_up():
    with served(f"{MEMFD} {POOL}") as systemd:
        fill(systemd)
        with contextlib.closing(connect(systemd)) as client:
            client.execute("quit")
        wait_until(lambda: systemd.show(SERVICE, "ActiveState") == "inactive",
                   what="the end")
        assert systemd.show(SERVICE, "NFileDescriptorStore") == "0"
        systemd.control("start", SERVICE)
        assert not has_pattern(systemd)


def test_guest_of_run():
    """It goes on over a restart, and over a crash."""
    need_program("qemu-system-x86_64")
    name = f"hostmem-test-{os.getpid()}"
    qemu = (f"exec qemu-system-x86_64 -name {name} -nodefaults -no-user-config"
            " -display none -S -accel tcg -m 4M -machine memory-backend=m0 -object"
            " {m0:object}")
    with served(f"{MEMFD} --run '{qemu}'") as systemd:
        def guests():
            """Processes that are a QEMU of this test."""
            pids = set()
            for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    words = path.read_text().split("\0")
                    if name in words:
                        pids.add(int(path.parent.name))
            return pids

        (guest,) = wait_until(guests, what="the guest")
        with memory_of(systemd, "m0") as memory:
            memory[:] = pattern(1, SIZE)
        systemd.control("restart", SERVICE)
        assert guests() == {guest} and has_pattern(systemd)
        before = main_pid(systemd)
        systemd.control("kill", "--kill-who=main", "--signal=KILL", SERVICE)
        wait_until(lambda: main_pid(systemd) not in (0, before)
                   and systemd.show(SERVICE, "ActiveState") == "active",
                   what="the restart")
        assert guests() == {guest} and has_pattern(systemd)
        with contextlib.closing(connect(systemd)) as client:
            client.execute("quit")
        wait_until(lambda: not guests(), what="the guest's end")


if __name__ == "__main__":
    harness.main()
