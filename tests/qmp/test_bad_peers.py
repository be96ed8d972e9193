#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who misuses what he was given, or asks for what cannot be: others do not
notice, and nothing is left behind."""

import contextlib
import fcntl
import os

import harness
from fdclient import FdClient
from harness import (MIB, Hostmemd, MemoryCgroup, QmpError, raises,
                     run_hostmemd, wait_until)

SEGMENT = 4 * MIB
POOL = f"memory-pool,id=p0,size={4 * SEGMENT},segment-size={SEGMENT}"
F_ADD_SEALS = 1033
SEALS = {"SEAL": 0x1, "SHRINK": 0x2, "GROW": 0x4, "WRITE": 0x8,
         "FUTURE_WRITE": 0x10}
# (type, options): sealed, and not
KINDS = (("memory-backend-memfd", {}),
         ("memory-backend-memfd", {"seal": False}),
         ("memory-backend-ram", {"share": True}),
         ("memory-backend-ram", {"share": True, "pool": "p0"}),
         ("memory-backend-shm", {}))


def add(client, qom_type="memory-backend-memfd", name="m0", size=SEGMENT,
        **options):
    client.execute("object-add", {"qom-type": qom_type, "id": name,
                                  "size": size, **options})


def ready(client, name="p0"):
    """Segments."""
    return client.execute("qom-get", path=name,
                          property="ready-size") // SEGMENT


def open_fds(daemon):
    return len(os.listdir(f"/proc/{daemon.pid}/fd"))


@contextlib.contextmanager
def given(daemon, name="m0"):
    with FdClient(daemon.socket) as client:
        _, [fd] = client.execute("get-memory-fd", {"id": name})
        try:
            yield fd
        finally:
            os.close(fd)


@contextlib.contextmanager
def undisturbed(*args):
    """A daemon; another client and its memory are well to the end, and no
    descriptor is left."""
    with Hostmemd("-object", POOL, "-object",
                  f"memory-backend-memfd,id=other,size={MIB}", *args) as daemon:
        other = daemon.connect()
        before = open_fds(daemon)
        with given(daemon, "other") as fd:
            os.pwrite(fd, b"mine", 0)
        yield daemon
        with given(daemon, "other") as fd:
            assert os.pread(fd, 4, 0) == b"mine"
        assert [one["id"] for one in other.execute("query-memdev")] == ["other"]
        wait_until(lambda: ready(other) == 4, what="the pool")
        wait_until(lambda: open_fds(daemon) == before, what="descriptors")


def test_peer_that_seals():
    """A seal would keep the daemon, and the next guest, from writing."""
    for qom_type, options in KINDS:
        with undisturbed() as daemon:
            add(daemon.qmp, qom_type, **options)
            with given(daemon) as fd:
                for name, seal in SEALS.items():
                    with raises(OSError):
                        fcntl.fcntl(fd, F_ADD_SEALS, seal)
                    harness.diag(f"{qom_type} {options}: no {name}")
            daemon.qmp.execute("qom-set", path="m0", property="prealloc",
                               value=True)
            daemon.qmp.execute("object-del", id="m0")


def test_peer_that_truncates():
    for qom_type, options in KINDS:
        if options.get("pool") or (qom_type.endswith("memfd") and not options):
            continue  # sealed: nobody can
        with undisturbed() as daemon:
            add(daemon.qmp, qom_type, **options)
            with given(daemon) as fd:
                os.ftruncate(fd, 0)
            with raises(QmpError, "truncated"):
                daemon.qmp.execute("qom-set", path="m0", property="prealloc",
                                   value=True)
            daemon.qmp.execute("object-del", id="m0")


def test_owner_that_does_not_exist():
    with undisturbed() as daemon:
        for options in ({}, {"pool": "p0"}):
            with raises(QmpError, "no user 'no-such-user'"):
                add(daemon.qmp, **{"export-owner": "no-such-user", **options})
        assert ready(daemon.qmp) == 4


def test_pool_larger_than_memory():
    """It is told before anything is taken, also in the background."""
    for more in {}, {"prealloc-async": True}:
        with undisturbed() as daemon:
            with raises(QmpError, "memory-pool 'p1' needs"):
                add(daemon.qmp, "memory-pool", "p1", 1 << 50,
                    **{"segment-size": 1 << 30, **more})
            assert len(daemon.qmp.execute("query-memory-pools")) == 1


def test_pool_larger_than_the_cgroup():
    with MemoryCgroup(96 * MIB) as cgroup:
        result = run_hostmemd(["--once", "-object",
                               "memory-pool,id=p0,size=256M,segment-size=32M"],
                              cgroup=cgroup)
        assert result.returncode == 1, result
        assert "memory-pool 'p0' needs" in result.stderr, result.stderr
        assert cgroup.oom_kills() == 0


def test_segment_size_that_does_not_fit():
    with undisturbed() as daemon:
        for size, segment, phrase in (
                (4 * MIB, 3 * MIB, "is no multiple of 'segment-size'"),
                (4 * MIB, 8 * MIB, "is larger than its 'size'"),
                (4 * MIB, 4097, "is no multiple of the page size"),
                (1 << 40, 4096, "out of range: at most")):
            with raises(QmpError, phrase):
                add(daemon.qmp, "memory-pool", "p1", size,
                    **{"segment-size": segment})


def test_many_race_for_the_last_segment():
    with undisturbed() as daemon:
        clients = [daemon.connect() for _ in range(8)]
        for _ in range(5):
            add(daemon.qmp, name="most", size=3 * SEGMENT, pool="p0")
            names = [f"r{i}" for i in range(len(clients))]
            calls = [(client, client.start("object-add", {
                "qom-type": "memory-backend-memfd", "id": name,
                "size": SEGMENT, "pool": "p0"}))
                for client, name in zip(clients, names)]
            for client, number in calls:
                client.finish(number)
            taken = [one["pool-size"]
                     for one in daemon.qmp.execute("query-memdev")
                     if one["id"] in names]
            assert sorted(taken) == [0] * 7 + [SEGMENT], taken
            for name in (*names, "most"):
                daemon.qmp.execute("object-del", id=name)
            wait_until(lambda: ready(daemon.qmp) == 4, what="the pool")
        for client in clients:
            client.close()


if __name__ == "__main__":
    harness.main()
