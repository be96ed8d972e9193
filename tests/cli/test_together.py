# SPDX-License-Identifier: LGPL-2.1-or-later
"""The backends of one command line are populated in one run, or none is."""

import os
import re
import signal

import harness
from expect import fails, nothing_left, succeeds, under, wait_until_populating
from harness import MIB, Hostmemd, SlowHost, skip, tmpfs


def line(name, size, more=""):
    return (f"memory-backend-memfd,id={name},size={size},thp=off,prealloc=on,"
            f"prealloc-threads=1{more}")


def seconds(table):
    """How long each backend was being populated, as the table says."""
    units = {"ms": 1e-3, "s": 1.0}
    found = re.findall(r" ([\d.]+) (ms|s) ", table)
    return [float(number) * units[unit] for number, unit in found]


def shares(enough, *under_what):
    """Time of the first of two equal backends over that of the second, until
    it is enough: half when they come one after the other, all when together.
    """
    seen = []
    while len(seen) < 20 and (not seen or not enough(seen[-1])):
        table = succeeds("--once", "-object", line("a", "256M"),
                         "-object", line("b", "256M"),
                         under=under(*under_what) if under_what else ())
        first, second = seconds(table)
        seen.append(first / second)
    assert enough(seen[-1]), seen


def test_two_cpus_are_for_two_backends():
    """They are done together, however busy the host is."""
    if len(os.sched_getaffinity(0)) < 2:
        skip("this host has one CPU")
    shares(lambda share: share >= 0.8)


def test_one_cpu_is_for_one_backend_at_a_time():
    """Sharing it, they would be done together."""
    shares(lambda share: share < 0.8, "taskset", "-c",
           str(min(os.sched_getaffinity(0))))


def test_table_tells_of_each():
    table = succeeds("--once", "-object", line("a", "8M"),
                     "-object", "memory-backend-ram,id=b,size=8M",
                     "-object", "memory-backend-ram,id=c,size=8M,prealloc=on")
    rows = [row.split()[0] for row in table.splitlines()[1:]]
    assert rows == ["a", "b", "c"], table
    assert len(seconds(table)) == 2, table


def test_context_of_the_same_line():
    succeeds("--once", "-object",
             "memory-backend-ram,id=m0,size=2M,prealloc=on,prealloc-context=tc",
             "-object", "thread-context,id=tc")


def test_failure_of_one_undoes_all():
    """Also what was there before: a file without data has none."""
    with tmpfs(64 * MIB) as folder:
        path = folder / "mine"
        with open(path, "wb") as file:
            file.truncate(32 * MIB)
        fails("-object",
              f"memory-backend-file,id=a,size=32M,mem-path={path},share=on,"
              "prealloc=on",
              "-object",
              f"memory-backend-file,id=b,size=48M,mem-path={folder},share=on,"
              "prealloc=on,prealloc-check=off",
              phrases=["-object memory-backend-file,id="], folder=folder)
        assert os.stat(path).st_blocks == 0


def test_lines_are_checked_before_anything_is_made():
    with tmpfs(64 * MIB) as folder:
        fails("-object",
              f"memory-backend-file,id=a,size=8M,mem-path={folder}/new,"
              "share=on,prealloc=on",
              "-object", "memory-backend-ram,id=b,size=8M,colour=red",
              phrases=["-object memory-backend-ram,id=b", "colour"],
              folder=folder)


def test_signal_ends_all():
    with tmpfs(256 * MIB) as folder, nothing_left(folder):
        objects = []
        for name in ("a", "b"):
            objects += ["-object",
                        f"memory-backend-file,id={name},size=96M,share=on,"
                        f"mem-path={folder}/{name},prealloc=on"]
        with SlowHost(5) as slow, Hostmemd(*objects, qmp=False,
                                           cgroup=slow) as daemon:
            wait_until_populating(daemon.pid)
            os.kill(daemon.pid, signal.SIGTERM)
            assert daemon.wait() == 1
        assert "interrupted" in daemon.stderr, daemon.stderr


if __name__ == "__main__":
    harness.main()
