# SPDX-License-Identifier: LGPL-2.1-or-later
"""memory-pool, and backends that take their memory from one."""

import contextlib
import ctypes
import mmap
import os
import struct

import harness
from fdclient import FdClient, handed_over
from harness import (MIB, Hostmemd, QmpError, need_huge_pages, need_root,
                     raises, run_as, run_hostmemd, scratch, wait_until)

SEGMENT = 4 * MIB
POOL = "memory-pool,id=p0,size=16M,segment-size=4M"
NOBODY = 65534


def pool_of(client, name="p0"):
    return next(pool for pool in client.execute("query-memory-pools")
                if pool["id"] == name)


def segments(client):
    """How many are ready, lent and dirty."""
    pool = pool_of(client)
    return tuple(pool[f"{state}-size"] // SEGMENT
                 for state in ("ready", "lent", "dirty"))


def await_segments(client, ready, lent=0):
    wait_until(lambda: segments(client) == (ready, lent, 0),
               what=f"{ready} segments")


def add(client, size, name="m0", qom_type="memory-backend-ram", **options):
    return client.execute("object-add", {
        "qom-type": qom_type, "id": name, "size": size, "share": True,
        "pool": "p0", **options})


def remove(client, name="m0"):
    return client.execute("object-del", id=name)


def memdev(client, name="m0"):
    return next(m for m in client.execute("query-memdev") if m["id"] == name)


def inodes(daemon):
    """Of all segments, by what the daemon has open."""
    folder, found = f"/proc/{daemon.pid}/fd", set()
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            status = os.stat(os.path.join(folder, name))
            if status.st_size == SEGMENT:
                found.add(status.st_ino)
    return found


def fill(memory, byte):
    memory[:] = bytes([byte]) * len(memory)


def is_filled(memory, byte):
    return memory[:] == bytes([byte]) * len(memory)


def refuses(*phrases):
    return raises(QmpError, *phrases)


# what there is

def test_query():
    with Hostmemd("-object", POOL) as daemon:
        assert daemon.qmp.execute("query-memory-pools") == [{
            "id": "p0", "size": 16 * MIB, "segment-size": SEGMENT,
            "page-size": mmap.PAGESIZE, "ready-size": 16 * MIB,
            "lent-size": 0, "dirty-size": 0, "low-water": 0}]


def test_take_and_give_back():
    with Hostmemd("-object", POOL) as daemon:
        add(daemon.qmp, 8 * MIB)
        assert segments(daemon.qmp) == (2, 2, 0)
        taken = memdev(daemon.qmp)
        assert taken["pool"] == "/objects/p0", taken
        assert taken["pool-size"] == 8 * MIB, taken
        assert taken["populated-size"] == 8 * MIB, taken
        assert taken["prealloc"] is True, taken
        remove(daemon.qmp)
        await_segments(daemon.qmp, 4)


def test_others_have_no_pool():
    with Hostmemd("-object", "memory-backend-ram,id=m0,size=1M") as daemon:
        assert "pool" not in memdev(daemon.qmp)
        assert daemon.qmp.execute("query-memory-pools") == []


def test_pool_comes_first():
    with Hostmemd("-object", "memory-backend-ram,share=on,id=m0,size=20M,"
                  "pool=p0", "-object", POOL) as daemon:
        assert memdev(daemon.qmp)["pool-size"] == 16 * MIB
        assert "4 MiB of 20 MiB are fresh memory" in daemon.stderr
        lines = daemon.stdout.splitlines()
        assert lines[0].split()[-1] == "pool", lines
        assert lines[1].endswith("0 B ready"), lines
        assert lines[2].endswith("16 MiB of p0"), lines


def test_every_byte_is_zero_again():
    with Hostmemd("-object", POOL) as daemon:
        for byte in 0xff, 0x5a:
            add(daemon.qmp, 16 * MIB)
            with handed_over(daemon) as parts:
                assert len(parts) == 4
                assert all(is_filled(part, 0) for part in parts)
                for part in parts:
                    fill(part, byte)
            remove(daemon.qmp)
            await_segments(daemon.qmp, 4)
        assert "not used again" not in daemon.stderr


# too little

def test_rest_is_fresh():
    with Hostmemd("-object", POOL) as daemon:
        add(daemon.qmp, 12 * MIB)
        add(daemon.qmp, 8 * MIB, "m1")
        assert memdev(daemon.qmp, "m1")["pool-size"] == 4 * MIB
        assert memdev(daemon.qmp, "m1")["populated-size"] == 8 * MIB
        assert daemon.qmp.execute("qom-get", path="m1",
                                  property="pool-size") == 4 * MIB
        assert "4 MiB of 8 MiB are fresh memory" in daemon.stderr
        with handed_over(daemon, "m1") as parts:
            assert len(parts) == 2 and all(is_filled(p, 0) for p in parts)
        remove(daemon.qmp)
        remove(daemon.qmp, "m1")
        await_segments(daemon.qmp, 4)


def test_two_want_the_last_one():
    with Hostmemd("-object", POOL) as daemon:
        other = daemon.connect()
        add(daemon.qmp, 12 * MIB)
        calls = [(client, client.start("object-add", {
            "qom-type": "memory-backend-ram", "id": name, "size": SEGMENT,
            "share": True, "pool": "p0"}))
            for client, name in ((daemon.qmp, "m1"), (other, "m2"))]
        for client, number in calls:
            client.finish(number)
        taken = sorted(memdev(daemon.qmp, name)["pool-size"]
                       for name in ("m1", "m2"))
        assert taken == [0, SEGMENT], taken


# size

def resize(client, size):
    return client.execute("qom-set", path="p0", property="size", value=size)


def test_grow():
    with Hostmemd("-object", POOL) as daemon:
        resize(daemon.qmp, 24 * MIB)
        assert pool_of(daemon.qmp)["size"] == 24 * MIB
        await_segments(daemon.qmp, 6)


def test_shrink():
    with Hostmemd("-object", POOL) as daemon:
        add(daemon.qmp, 12 * MIB)
        resize(daemon.qmp, 8 * MIB)
        assert segments(daemon.qmp) == (0, 3, 0)
        remove(daemon.qmp)
        await_segments(daemon.qmp, 2)


def test_resize_errors():
    with Hostmemd("-object", POOL) as daemon:
        with refuses("'size' of memory-pool, 6 MiB, is no multiple of "
                     "'segment-size', 4 MiB"):
            resize(daemon.qmp, 6 * MIB)
        with refuses("preallocating memory failed: memory-pool 'p0' needs"):
            resize(daemon.qmp, 1 << 40)
        assert pool_of(daemon.qmp)["size"] == 16 * MIB
        assert segments(daemon.qmp) == (4, 0, 0)


# the mark

def test_low_water():
    with Hostmemd("-object", POOL + ",low-water=8M") as daemon:
        add(daemon.qmp, 8 * MIB)
        add(daemon.qmp, 4 * MIB, "m1")
        assert daemon.qmp.wait_event("MEMORY_POOL_LOW")["data"] == {
            "id": "p0", "ready-size": 4 * MIB, "low-water": 8 * MIB}
        add(daemon.qmp, 4 * MIB, "m2")
        for name in "m0", "m1", "m2":
            remove(daemon.qmp, name)
        await_segments(daemon.qmp, 4)
        add(daemon.qmp, 16 * MIB)
        event = daemon.qmp.wait_event("MEMORY_POOL_LOW")
        assert event["data"]["ready-size"] == 0, event


# what is refused

def test_creation_errors():
    for options, phrase in (
            ("size=16M,segment-size=6M",
             "'size' of memory-pool, 16 MiB, is no multiple of"),
            ("size=16M", "'segment-size' of memory-pool, 1 GiB, is larger "
             "than its 'size', 16 MiB"),
            ("size=16M,segment-size=4097", "is no multiple of the page size"),
            ("size=1P,segment-size=1G", "memory-pool 'p0' needs"),
            ("segment-size=1G", "Parameter 'size' is missing")):
        result = run_hostmemd(["--once", "-object",
                               "memory-pool,id=p0," + options])
        assert result.returncode == 1, result
        assert phrase in result.stderr, result.stderr


def test_link_errors():
    with Hostmemd("-object", POOL, "-object",
                  "memory-backend-ram,id=x,size=1M") as daemon:
        with refuses("Device 'p1' not found"):
            add(daemon.qmp, SEGMENT, pool="p1")
        with refuses("memory-pool"):
            add(daemon.qmp, SEGMENT, pool="x")
        with refuses("property 'pool' does not go with 'share=off'"):
            add(daemon.qmp, SEGMENT, share=False)
        with refuses("property 'pool' does not go with memory-backend-file"):
            add(daemon.qmp, SEGMENT, qom_type="memory-backend-file",
                **{"mem-path": "/tmp"})
        with refuses("property 'pool' does not go with 'export-path'"):
            add(daemon.qmp, SEGMENT, **{"export-path": "/tmp/x"})
        with refuses("memory-pool 'p0' has pages of 4 KiB, but"):
            add(daemon.qmp, SEGMENT, qom_type="memory-backend-memfd",
                hugetlb=True, hugetlbsize=2 * MIB)
        assert segments(daemon.qmp) == (4, 0, 0)


def test_pool_in_use():
    with Hostmemd("-object", POOL) as daemon:
        add(daemon.qmp, SEGMENT)
        with refuses("object 'p0' is in use, can not be deleted"):
            remove(daemon.qmp, "p0")
        remove(daemon.qmp)
        remove(daemon.qmp, "p0")
        assert daemon.qmp.execute("query-memory-pools") == []


def test_no_virtio_mem():
    """It would give all of the memory back when it starts."""
    with Hostmemd("-object", POOL) as daemon:
        add(daemon.qmp, 16 * MIB)
        with refuses("preallocation enabled: m0"):
            daemon.qmp.execute("device_add", driver="virtio-mem-pci",
                               id="vm0", memdev="m0")


# who still has it

def test_held_is_never_used_again():
    with Hostmemd("-object", POOL) as daemon:
        add(daemon.qmp, 8 * MIB)
        with handed_over(daemon) as old:
            fill(old[0], 1)
            remove(daemon.qmp)
            await_segments(daemon.qmp, 4)
            add(daemon.qmp, 16 * MIB)
            with handed_over(daemon) as new:
                assert all(is_filled(part, 0) for part in new)
                for part in new:
                    fill(part, 2)
                assert is_filled(old[0], 1) and is_filled(old[1], 0)
        assert daemon.stderr.count("another process still has it") == 2


def pin(fd, size):
    """Have a pipe keep the first page of a file that is not kept otherwise."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int,
                          ctypes.c_int, ctypes.c_int, ctypes.c_long)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    address = libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE,
                        mmap.MAP_SHARED, fd, 0)
    pipe, end = os.pipe()
    vector = struct.pack("NN", address, mmap.PAGESIZE)
    taken = libc.vmsplice(end, vector, 1, 0)
    assert taken == mmap.PAGESIZE, os.strerror(ctypes.get_errno())
    libc.munmap(address, size)
    os.close(end)
    return pipe


def test_pinned_is_never_used_again_without_reuse():
    with Hostmemd("-object", POOL + ",reuse=off") as daemon:
        add(daemon.qmp, SEGMENT)
        with FdClient(daemon.socket) as client:
            _, [fd] = client.execute("get-memory-fd", {"id": "m0"})
        os.pwrite(fd, b"mine", 0)
        before = os.fstat(fd).st_ino
        pipe = pin(fd, SEGMENT)
        os.close(fd)
        remove(daemon.qmp)
        await_segments(daemon.qmp, 4)
        add(daemon.qmp, 16 * MIB)
        with FdClient(daemon.socket) as client:
            _, fds = client.execute("get-memory-fd", {"id": "m0"})
        for fd in fds:
            assert os.fstat(fd).st_ino != before
            os.pwrite(fd, b"ours", 0)
            os.close(fd)
        assert os.read(pipe, 4) == b"mine"
        os.close(pipe)
        assert "not used again" not in daemon.stderr


def test_what_nobody_else_has_had_is_used_again_without_reuse():
    with Hostmemd("-object", POOL + ",reuse=off") as daemon:
        before = inodes(daemon)
        add(daemon.qmp, SEGMENT)
        remove(daemon.qmp)
        await_segments(daemon.qmp, 4)
        assert inodes(daemon) == before


def test_truncating_is_impossible():
    with Hostmemd("-object", POOL) as daemon:
        add(daemon.qmp, SEGMENT)
        with FdClient(daemon.socket) as client:
            _, [fd] = client.execute("get-memory-fd", {"id": "m0"})
            with raises(PermissionError):
                os.ftruncate(fd, 0)
            os.close(fd)


def test_truncated_is_replaced():
    with Hostmemd("-object", POOL + ",seal=off") as daemon:
        add(daemon.qmp, SEGMENT)
        with FdClient(daemon.socket) as client:
            _, [fd] = client.execute("get-memory-fd", {"id": "m0"})
            os.ftruncate(fd, 0)
            os.close(fd)
        remove(daemon.qmp)
        await_segments(daemon.qmp, 4)
        assert "it was resized" in daemon.stderr
        add(daemon.qmp, 16 * MIB)
        assert memdev(daemon.qmp)["backed-size"] == 16 * MIB


def test_peer_of_another_user():
    """What it gets is its own, so that a VMM can open it once more."""
    need_root()
    with scratch() as folder:
        folder.chmod(0o755)
        path = folder / "open"

        def use():
            with FdClient(path) as client:
                _, [fd] = client.execute("get-memory-fd", {"id": "m0"})
                os.close(os.open(f"/proc/self/fd/{fd}", os.O_RDWR))

        with Hostmemd("-object", POOL, "-qmp", f"unix:{path},mode=0666,"
                      f"allow-uid={NOBODY}") as daemon:
            add(daemon.qmp, SEGMENT)
            run_as(NOBODY, use)
            remove(daemon.qmp)
            await_segments(daemon.qmp, 4)
            assert "not used again" not in daemon.stderr


def test_kept_path_opens_nothing():
    """O_PATH is a descriptor that nobody counts: the mode keeps it closed."""
    need_root()
    with Hostmemd("-object", POOL) as daemon:
        add(daemon.qmp, SEGMENT, **{"export-owner": str(NOBODY)})
        with FdClient(daemon.socket) as client:
            _, [fd] = client.execute("get-memory-fd", {"id": "m0"})
        kept = os.open(f"/proc/self/fd/{fd}", os.O_PATH)
        assert os.fstat(fd).st_uid == NOBODY
        os.close(fd)
        remove(daemon.qmp)
        await_segments(daemon.qmp, 4)
        assert "not used again" not in daemon.stderr
        assert os.stat(kept).st_mode & 0o7777 == 0o600
        assert os.stat(kept).st_uid == 0
        os.close(kept)


# huge pages

def test_hugetlb():
    with need_huge_pages(8), \
            Hostmemd("-object", POOL + ",hugetlb=on,hugetlbsize=2M") as daemon:
        assert pool_of(daemon.qmp)["page-size"] == 2 * MIB
        for byte in 1, 2:
            add(daemon.qmp, 16 * MIB, qom_type="memory-backend-memfd",
                hugetlb=True, hugetlbsize=2 * MIB)
            assert memdev(daemon.qmp)["pool-size"] == 16 * MIB
            with handed_over(daemon) as parts:
                for part in parts:
                    assert is_filled(part, 0)
                    fill(part, byte)
            remove(daemon.qmp)
            await_segments(daemon.qmp, 4)
        with refuses("'size', 1 MiB, is no multiple of the page size of "
                     "memory-pool 'p0', 2 MiB"):
            add(daemon.qmp, MIB)
        with refuses("huge pages of 2 MiB"):
            add(daemon.qmp, 20 * MIB)
        await_segments(daemon.qmp, 4)


def test_hugetlb_is_short():
    with need_huge_pages(6):
        result = run_hostmemd(["--once", "-object", POOL +
                               ",hugetlb=on,hugetlbsize=2M"])
        assert result.returncode == 1, result
        assert "needs 8 huge pages of 2 MiB: 6 are free" in result.stderr


if __name__ == "__main__":
    harness.main()
