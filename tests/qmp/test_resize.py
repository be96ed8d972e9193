#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Backends that become larger and smaller."""

import contextlib
import mmap
import os

import harness
from fdclient import FdClient
from harness import (MIB, Hostmemd, QmpError, need_huge_pages, raises, scratch,
                     tmpfs)

SIZE = 4 * MIB
MOST = 16 * MIB
MEMFD = f"memory-backend-memfd,id=m0,size={SIZE},max-size={MOST}"
RAM = f"memory-backend-ram,id=m0,size={SIZE},max-size={MOST},share=on"


def resize(daemon, size, path="m0"):
    return daemon.qmp.execute("qom-set", path=path, property="size",
                              value=size)


def refuses(daemon, size, *phrases):
    before = get(daemon, "size")
    with raises(QmpError, *phrases):
        resize(daemon, size)
    assert get(daemon, "size") == before


def get(daemon, name, path="m0"):
    return daemon.qmp.execute("qom-get", path=path, property=name)


def memdev(daemon):
    return daemon.qmp.execute("query-memdev")[0]


@contextlib.contextmanager
def handed_over(daemon):
    """The answer, and the descriptor of the only part."""
    with FdClient(daemon.socket) as client:
        answer, (fd,) = client.execute("get-memory-fd", {"id": "m0"})
        try:
            yield answer, fd
        finally:
            os.close(fd)


def test_larger_and_smaller():
    with Hostmemd("-object", f"{MEMFD},prealloc=on,thp=off") as daemon:
        assert (memdev(daemon)["size"], memdev(daemon)["max-size"]) \
            == (SIZE, MOST)
        for size in 2 * SIZE, MOST, SIZE // 2, SIZE:
            assert resize(daemon, size) == {}
            assert get(daemon, "size") == memdev(daemon)["size"] == size
            assert get(daemon, "populated-size") == size
            assert get(daemon, "backed-size") == size


def test_everybody_hears_of_it():
    with Hostmemd("-object", MEMFD) as daemon, daemon.connect() as other:
        for size in 2 * SIZE, SIZE:
            resize(daemon, size)
            event = other.wait_event("MEMORY_BACKEND_SIZE_CHANGE")
            assert event["data"] == {"id": "m0", "size": size,
                                     "qom-path": "/objects/m0"}, event


def test_bad_sizes():
    with Hostmemd("-object", MEMFD) as daemon:
        refuses(daemon, 0, "GenericError: ")
        refuses(daemon, -1, "GenericError: ")
        refuses(daemon, "8M", "GenericError: ")
        refuses(daemon, MOST + 4096, "'max-size' is 16 MiB")
        refuses(daemon, 1 << 63, "GenericError: ")
        refuses(daemon, SIZE + 1, "multiple of 4 KiB")


def test_a_size_stays_without_max_size():
    with Hostmemd("-object", "memory-backend-ram,id=m0,size=1M") as daemon:
        refuses(daemon, 2 * MIB, "cannot change property size of "
                "memory-backend-ram ")
        assert "max-size" not in memdev(daemon)


def test_a_peer_of_a_sealed_memfd():
    """It maps all of it at once, and finds there what comes."""
    with Hostmemd("-object", MEMFD) as daemon, \
            handed_over(daemon) as (answer, fd), \
            mmap.mmap(fd, MOST) as memory:
        assert answer["sealed"] and answer["size"] == SIZE, answer
        assert answer["parts"][0]["length"] == SIZE, answer
        assert os.fstat(fd).st_size == MOST
        resize(daemon, 2 * SIZE)
        memory[SIZE:2 * SIZE] = b"x" * SIZE
        assert get(daemon, "backed-size") == SIZE
        refuses(daemon, SIZE, "another process has its memory open or mapped")
        with handed_over(daemon) as (again, _):
            assert again["parts"][0]["length"] == 2 * SIZE, again


def test_a_peer_that_has_let_go():
    for line in MEMFD, RAM:
        with Hostmemd("-object", line) as daemon:
            with handed_over(daemon) as (_, fd):
                memory = mmap.mmap(fd, SIZE)
            with memory:
                refuses(daemon, MIB, "open or mapped")
            resize(daemon, MIB)
            with handed_over(daemon) as (answer, _):
                assert answer["parts"][0]["length"] == MIB, answer


def test_a_peer_of_a_file_that_grows():
    with Hostmemd("-object", RAM) as daemon, \
            handed_over(daemon) as (answer, fd):
        assert not answer["sealed"] and os.fstat(fd).st_size == SIZE, answer
        resize(daemon, 2 * SIZE)
        assert os.fstat(fd).st_size == 2 * SIZE
        with mmap.mmap(fd, 2 * SIZE) as memory:
            memory[SIZE:] = b"x" * SIZE


def test_memory_with_a_name():
    with tmpfs(2 * MOST) as folder, \
            Hostmemd("-object", f"{RAM},export-path={folder}/m0") as daemon:
        resize(daemon, 2 * SIZE)
        assert os.stat(folder / "m0").st_size == 2 * SIZE
        refuses(daemon, SIZE, "other processes may open its memory, which has "
                "a name")


def test_a_file():
    with scratch() as folder:
        path = folder / "m0"
        with Hostmemd("-object", f"memory-backend-file,id=m0,size={SIZE},"
                      f"max-size={MOST},share=on,mem-path={path}") as daemon:
            for size in MOST, SIZE // 2:
                resize(daemon, size)
                assert path.stat().st_size == size
            with path.open("rb"):
                refuses(daemon, MIB, "another process has its memory open")
            resize(daemon, MIB)
            assert path.stat().st_size == MIB


def test_no_room_for_it():
    """Nothing is left of what did not fit."""
    with tmpfs(2 * SIZE) as folder:
        path = folder / "m0"
        with Hostmemd("-object", f"memory-backend-file,id=m0,size={SIZE},"
                      f"max-size={MOST},share=on,prealloc=on,"
                      f"mem-path={path}") as daemon:
            refuses(daemon, MOST, "preallocating memory failed",
                    "needs 12 MiB: 4 MiB free")
            assert path.stat().st_size == SIZE
            assert get(daemon, "populated-size") == SIZE
            resize(daemon, 2 * SIZE)
            assert get(daemon, "populated-size") == 2 * SIZE


def test_huge_pages():
    with need_huge_pages(MOST // (2 * MIB)), \
            Hostmemd("-object", f"{MEMFD},hugetlb=on,hugetlbsize=2M,"
                     "prealloc=on") as daemon:
        refuses(daemon, SIZE + MIB, "multiple of 2 MiB")
        resize(daemon, 2 * SIZE)
        assert get(daemon, "populated-size") == 2 * SIZE
        resize(daemon, SIZE // 2)
        assert get(daemon, "populated-size") == SIZE // 2
        resize(daemon, MOST)
        assert get(daemon, "populated-size") == MOST


def test_more_huge_pages_than_there_are():
    many = 2 * MOST
    with need_huge_pages(SIZE // (2 * MIB)), \
            Hostmemd("-object", f"memory-backend-memfd,id=m0,size={SIZE},"
                     f"max-size={many},hugetlb=on,hugetlbsize=2M") as daemon:
        refuses(daemon, many, "huge pages of 2 MiB")
        resize(daemon, SIZE // 2)
        resize(daemon, SIZE)


def test_huge_pages_that_were_reserved_are_free():
    """They were never touched; what they are for now says that they are."""
    with need_huge_pages(SIZE // (2 * MIB)), \
            Hostmemd("-object", f"{MEMFD},hugetlb=on,hugetlbsize=2M") as daemon:
        rest = {"qom-type": "memory-backend-memfd", "id": "m1",
                "hugetlb": True, "hugetlbsize": 2 * MIB, "size": SIZE // 2}
        with raises(QmpError, "huge pages"):
            daemon.qmp.execute("object-add", rest)
        resize(daemon, SIZE // 2)
        daemon.qmp.execute("object-add", rest)
        refuses(daemon, SIZE, "huge pages")
        daemon.qmp.execute("object-del", id="m1")
        resize(daemon, SIZE)


def test_a_device_needs_its_region():
    region = 128 * MIB
    line = f"memory-backend-ram,id=m0,size={region},max-size={2 * region}"
    with Hostmemd("-object", line, "-device",
                  "virtio-mem-pci,id=vm0,memdev=m0") as daemon:
        execute = daemon.qmp.execute
        resize(daemon, 2 * region)
        assert execute("query-memory-devices")[0]["data"]["max-size"] == region
        with raises(QmpError, "requested-size"):
            execute("qom-set", path="/machine/peripheral/vm0",
                    property="requested-size", value=2 * region)
        resize(daemon, region)
        refuses(daemon, region - MIB, "128 MiB of it are in use")
        execute("device_del", id="vm0")
        daemon.qmp.wait_event("DEVICE_DELETED")
        resize(daemon, MIB)


def test_a_job():
    with Hostmemd("-object", f"{MEMFD},prealloc=on,prealloc-async=on,"
                  "thp=off") as daemon:
        def await_job():
            harness.wait_until(
                lambda: daemon.qmp.execute("query-jobs")[0]["status"]
                == "concluded", what="the end of the job")

        await_job()
        resize(daemon, MOST)
        assert get(daemon, "backed-size") == MOST
        await_job()
        job = daemon.qmp.execute("query-jobs")[0]
        assert job["total-progress"] == MOST - SIZE, job
        assert get(daemon, "populated-size") == MOST


if __name__ == "__main__":
    harness.main()
