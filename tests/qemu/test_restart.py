#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Linux guest goes on while the hostmemd that made its memory is replaced."""

import contextlib
import mmap
import os
import shlex
import signal

import guest
import harness
from ctl import started
from donor import Donor, write_pattern
from fdclient import FdClient
from harness import MIB, need_program, wait_until
from keeper import Keeper, kill

SIZE = 256 * MIB
TIMEOUT = 60.0  # seconds
BACKEND = f"memory-backend-memfd,id=m0,size={SIZE},prealloc=on"
POOL = f"memory-pool,id=p0,size={SIZE},segment-size={SIZE}"
MEMORY = ["-m", f"{SIZE // MIB}M", "-machine", "memory-backend=m0", "-object"]

# Counts all the time, so that a stop would be seen.
SCRIPT = f"""
mkdir /t
mount -t tmpfs tmpfs /t
(i=0; while true; do i=$((i + 1)); echo $i >/t/count; done) &
{write_pattern("/t/pattern")}
echo written
while read answer; do
    case $answer in
    check) {write_pattern("/t/again")}; cmp /t/pattern /t/again && echo same ;;
    count) echo "count $(cat /t/count)" ;;
    go) break ;;
    esac
done
"""


def terminate(daemon):
    os.kill(daemon.pid, signal.SIGTERM)
    assert daemon.wait() == 0


class Guest:
    def __init__(self, linux, wait):
        self._linux = linux
        self._wait = wait
        linux.expect("written")

    def _count(self):
        """What it has counted to; empty while it writes the next number."""
        while True:
            self._linux.send("count")
            text = self._linux.expect("count ")
            if text:
                return int(text)

    def goes_on(self):
        self._linux.send("check")
        self._linux.expect("same")
        before = self._count()
        wait_until(lambda: self._count() > before, TIMEOUT, "the guest")

    def end(self):
        self._linux.send("go")
        assert self._wait(TIMEOUT) == 0


@contextlib.contextmanager
def by_exec(daemon):
    """A child of hostmemctl, with an inherited descriptor."""
    with guest.setup([*MEMORY, "{m0:object}"], SCRIPT) as ready, \
            started(daemon, "exec", "m0", "--", *ready.command) as process, \
            ready.connect() as linux:
        yield Guest(linux, process.wait)


def by_path(path):
    @contextlib.contextmanager
    def start(_):
        line = f"memory-backend-file,id=m0,size={SIZE},share=on,mem-path={path}"
        with guest.boot([*MEMORY, line], SCRIPT, must_power_off=False) as linux:
            yield Guest(linux, lambda _: 0)
    return start


def memory_of(daemon):
    (memdev,) = daemon.qmp.execute("query-memdev")
    memdev.pop("prealloc-method", None)
    return memdev


@contextlib.contextmanager
def outlived(args, start):
    """A guest sees two ends of hostmemd, the third one its own."""
    harness.need_memory(4 * SIZE)
    need_program("qemu-system-x86_64")
    with Keeper() as boss, boss.run(*args, timeout=TIMEOUT,
                                    may_leave_processes=True) as first:
        donor = Donor(first, SIZE)
        with start(first) as running:
            donor.expect_pattern()
            before = memory_of(first)
            kill(first)
            running.goes_on()
            with boss.run(timeout=TIMEOUT) as second:
                assert memory_of(second) == before, before
                running.goes_on()
                terminate(second)
            running.goes_on()
            with boss.run(timeout=TIMEOUT) as third:
                assert memory_of(third) == before, before
                running.goes_on()
                running.end()
                yield third
                assert "warning" not in third.stderr, third.stderr


@harness.time_limit(240)
def test_memory_by_descriptor():
    with outlived(["-object", BACKEND], by_exec):
        pass


@harness.time_limit(240)
def test_memory_by_path():
    harness.need_root()
    with harness.tmpfs(2 * SIZE) as folder:
        path = folder / "vm"
        line = (f"memory-backend-ram,id=m0,size={SIZE},share=on,prealloc=on,"
                f"export-path={path}")
        with outlived(["-object", line], by_path(path)) as daemon:
            daemon.qmp.execute("object-del", id="m0")
            assert not path.exists()


@harness.time_limit(240)
def test_memory_of_a_pool():
    """Afterwards nothing of the guest is left in it."""
    with outlived(["-object", POOL, "-object", BACKEND + ",pool=p0"],
                  by_exec) as daemon:
        daemon.qmp.execute("object-del", id="m0")
        wait_until(lambda: daemon.qmp.execute("qom-get", path="p0",
                                              property="ready-size") == SIZE,
                   TIMEOUT, "the pool")
        assert "not used again" not in daemon.stderr, daemon.stderr
        daemon.qmp.execute("object-add", {
            "qom-type": "memory-backend-memfd", "id": "m1", "size": SIZE,
            "pool": "p0"})
        with FdClient(daemon.socket) as client:
            _, [fd] = client.execute("get-memory-fd", {"id": "m1"})
        with mmap.mmap(fd, SIZE) as memory:
            assert memory[:] == bytes(SIZE)
        os.close(fd)


@harness.time_limit(240)
def test_guest_of_run():
    with guest.setup([*MEMORY, "{m0:object}"], SCRIPT) as ready:
        @contextlib.contextmanager
        def start(_):
            with ready.connect() as linux:
                yield Guest(linux, lambda _: 0)

        with outlived(["-object", BACKEND, "--run", shlex.join(ready.command)],
                      start) as daemon:
            assert daemon.wait(TIMEOUT) == 0
            assert "has ended; how is not known" in daemon.stderr


if __name__ == "__main__":
    harness.main()
