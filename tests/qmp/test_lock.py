# SPDX-License-Identifier: LGPL-2.1-or-later
"""mem-lock, as the kernel accounts for it; memory-discard and memory-advise."""

import os
import pathlib
import re

import harness
from fdclient import handed_over
from harness import (MIB, Hostmemd, MemoryCgroup, QmpError,
                     need_huge_pages, raises, scratch, skip, wait_until)

SIZE = 4 * MIB
MEMFD = "memory-backend-memfd,id=m0,size=4M"
ODD = "memory-backend-ram,id=m0,size=4100K,thp=off"
ODD_SIZE = 4100 << 10


def memdev(daemon, object_id="m0"):
    found, = [entry for entry in daemon.qmp.execute("query-memdev")
              if entry["id"] == object_id]
    return found


def locked(daemon):
    """Bytes that the process has locked, address space and all."""
    text = pathlib.Path(f"/proc/{daemon.pid}/status").read_text()
    return int(re.search(r"^VmLck:\s+(\d+) kB", text, re.M).group(1)) << 10


def smaps(pid, size):
    """{field: value} of the only mapping of that size."""
    text = pathlib.Path(f"/proc/{pid}/smaps").read_text()
    for block in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text, flags=re.M):
        fields = dict(re.findall(r"^(\w+):\s+(.*)$", block, re.M))
        if fields.get("Size") == f"{size >> 10} kB":
            return fields
    raise AssertionError("no such mapping")


def test_on():
    with Hostmemd("-object", ODD + ",mem-lock=on") as daemon:
        fields = smaps(daemon.pid, ODD_SIZE)
        assert fields["Rss"] == fields["Locked"] == "4100 kB", fields
        assert {"lo", "lf"} <= set(fields["VmFlags"].split()), fields
        entry = memdev(daemon)
        assert entry["mem-lock"] == "on", entry
        for name in "mapped", "backed", "populated", "resident", "locked":
            assert entry[f"{name}-size"] == ODD_SIZE, entry


def test_on_fault():
    with Hostmemd("-object", ODD + ",mem-lock=on-fault") as daemon:
        fields = smaps(daemon.pid, ODD_SIZE)
        assert fields["Rss"] == fields["Locked"] == "0 kB", fields
        assert {"lo", "lf"} <= set(fields["VmFlags"].split()), fields
        daemon.qmp.execute("qom-set", path="/objects/m0", property="prealloc",
                           value=True)
        assert smaps(daemon.pid, ODD_SIZE)["Locked"] == "4100 kB"
        entry = memdev(daemon)
        assert entry["locked-size"] == entry["resident-size"] == ODD_SIZE


def test_off():
    with Hostmemd("-object", ODD + ",prealloc=on") as daemon:
        assert memdev(daemon)["locked-size"] == 0
        assert locked(daemon) == 0


def test_huge_pages_of_a_pool():
    with need_huge_pages(2), Hostmemd(
            "-object", MEMFD + ",hugetlb=on,hugetlbsize=2M,mem-lock=on") as daemon:
        assert locked(daemon) == 0
        entry = memdev(daemon)
        assert entry["populated-size"] == SIZE, entry
        assert entry["locked-size"] == entry["resident-size"] == SIZE, entry
        wait_until(lambda: "nothing to do with huge pages" in daemon.stderr)


def flags(pid):
    return set(smaps(pid, ODD_SIZE)["VmFlags"].split())


def test_hand_over_locks_one_side():
    """Whoever is given memory has no lock, and takes none away."""
    options = ODD.replace("-ram", "-memfd") + ",mem-lock=on-fault"
    with Hostmemd("-object", options) as daemon:
        with handed_over(daemon) as [memory]:
            memory[0] = 1
            assert {"lo", "lf"} <= flags(daemon.pid)
            assert not {"lo", "lf"} & flags("self")
            assert smaps("self", ODD_SIZE)["Locked"] == "0 kB"
            assert locked(daemon) == ODD_SIZE
            daemon.qmp.execute("quit")
            daemon.wait()
            assert memory[0] == 1
            assert not {"lo", "lf"} & flags("self")


def test_limit_is_given_back():
    with Hostmemd() as daemon:
        for _ in range(3):
            daemon.qmp.execute("object-add", {
                "qom-type": "memory-backend-ram", "id": "m0", "size": SIZE,
                "mem-lock": "on-fault"})
            assert locked(daemon) == SIZE
            daemon.qmp.execute("object-del", id="m0")
            assert locked(daemon) == 0


def test_virtio_mem_locks_what_is_plugged():
    with Hostmemd("-object", MEMFD + ",mem-lock=on-fault", "-device",
                  "virtio-mem,id=vm0,memdev=m0,block-size=2M,prealloc=on,"
                  "requested-size=4M") as daemon:
        assert memdev(daemon)["locked-size"] == 0
        for kind, size in ("plug", 2 * MIB), ("unplug", 0):
            answer = daemon.qmp.execute("virtio-mem-request", id="vm0",
                                        type=kind, addr=4 << 30, nb_blocks=1)
            assert answer["type"] == "ack", answer
            assert memdev(daemon)["locked-size"] == size


def test_locked_memory_is_not_reclaimed():
    """All that can be is taken from a cgroup: page cache of a file."""
    with scratch() as folder, MemoryCgroup(512 * MIB) as group:
        left = {}
        for lock in "off", "on":
            path = folder / lock
            with Hostmemd("-object", f"memory-backend-file,id=m0,size=16M,"
                          f"share=on,prealloc=on,mem-path={path},"
                          f"mem-lock={lock}", cgroup=group) as daemon:
                with open(path, "rb") as file:
                    os.fsync(file.fileno())
                reclaim(group)
                left[lock] = memdev(daemon)["resident-size"]
    if left["off"] == 16 * MIB:
        skip("the kernel reclaims nothing of this file")
    assert left["on"] == 16 * MIB, left


def reclaim(group):
    """Ask a cgroup for all its memory; it gives what it can."""
    name, text = (("memory.force_empty", "0") if group.version == 1
                  else ("memory.reclaim", str(64 * MIB)))
    try:
        (group.path / name).write_text(text)
    except OSError:
        pass  # not all of it


# memory-discard

def test_discard():
    with Hostmemd("-object", MEMFD + ",prealloc=on") as daemon:
        daemon.qmp.execute("memory-discard", id="m0", ranges=[
            {"offset": 0, "length": MIB},
            {"offset": 2 * MIB, "length": 2 * MIB}])
        assert memdev(daemon)["backed-size"] == MIB


def test_discard_of_locked_memory():
    with Hostmemd("-object", ODD + ",mem-lock=on") as daemon:
        daemon.qmp.execute("memory-discard", id="m0",
                           ranges=[{"offset": 0, "length": SIZE}])
        assert memdev(daemon)["locked-size"] == ODD_SIZE - SIZE


def test_ranges_are_checked_first():
    bad = [5, [], {}, [1], [{}], [{"offset": 0}], [{"offset": -1, "length": 1}],
           [{"offset": 0, "length": 0}], [{"offset": 1, "length": 4096}],
           [{"offset": 0, "length": 8 * MIB}], [{"offset": 0, "length": "1"}],
           [{"offset": 0, "length": MIB, "more": 1}],
           [{"offset": 0, "length": MIB},
            {"offset": (1 << 63) - 4096, "length": 4096}]]
    with Hostmemd("-object", MEMFD + ",prealloc=on") as daemon:
        for ranges in bad:
            with raises(QmpError, "GenericError"):
                daemon.qmp.execute("memory-discard", id="m0", ranges=ranges)
            with raises(QmpError, "GenericError"):
                daemon.qmp.execute("memory-advise", id="m0", ranges=ranges,
                                   advice="cold")
        assert memdev(daemon)["backed-size"] == SIZE


def test_virtio_mem_gives_back_itself():
    with Hostmemd("-object", MEMFD, "-device",
                  "virtio-mem,id=vm0,memdev=m0,block-size=1M") as daemon:
        everything = [{"offset": 0, "length": SIZE}]
        with raises(QmpError, "it is the memory of virtio-mem 'vm0'"):
            daemon.qmp.execute("memory-discard", id="m0", ranges=everything)
        with raises(QmpError, "blocks are smaller than huge pages"):
            daemon.qmp.execute("memory-advise", id="m0", ranges=everything,
                               advice="collapse")
        daemon.qmp.execute("memory-advise", id="m0", ranges=everything,
                           advice="cold")


def test_what_is_no_backend():
    with Hostmemd("-object", "thread-context,id=t0") as daemon:
        with raises(QmpError, "DeviceNotFound"):
            daemon.qmp.execute("memory-discard", id="m0", ranges=[])
        with raises(QmpError, "expected: memory-backend"):
            daemon.qmp.execute("memory-advise", id="t0", ranges=[],
                               advice="cold")


# memory-advise

def test_advice():
    with Hostmemd("-object", MEMFD + ",prealloc=on") as daemon:
        for advice in "will-need", "cold", "page-out":
            daemon.qmp.execute("memory-advise", id="m0", advice=advice,
                               ranges=[{"offset": 0, "length": SIZE}])
        assert memdev(daemon)["backed-size"] == SIZE
        with raises(QmpError, "does not accept value 'free'"):
            daemon.qmp.execute("memory-advise", id="m0", advice="free",
                               ranges=[{"offset": 0, "length": SIZE}])


def test_locked_memory_is_never_cold():
    with Hostmemd("-object", ODD + ",mem-lock=on") as daemon:
        with raises(QmpError, "'page-out' for 0x400000 bytes at offset 0x0 of",
                    "'m0': it is locked in memory"):
            daemon.qmp.execute("memory-advise", id="m0", advice="page-out",
                               ranges=[{"offset": 0, "length": SIZE}])


def test_collapse_is_a_job():
    with Hostmemd("-object", MEMFD + ",prealloc=on") as daemon:
        try:
            daemon.qmp.execute("memory-advise", id="m0", advice="collapse",
                               ranges=[{"offset": 0, "length": SIZE}])
        except QmpError as error:
            skip(str(error))

        def over():
            job, = daemon.qmp.execute("query-jobs")
            return job if job["status"] == "concluded" else None

        job = wait_until(over)
        answer = daemon.qmp.execute("memory-advise", id="m0",
                                    advice="collapse",
                                    ranges=[{"offset": 0, "length": SIZE}])
        assert answer == {"job": "m0:collapse"}, answer
        assert job["id"] == "m0:collapse" and job["type"] == "collapse", job
        assert job["current-progress"] == job["total-progress"], job
        with raises(QmpError, "expects one range"):
            daemon.qmp.execute("memory-advise", id="m0", advice="collapse",
                               ranges=[{"offset": 0, "length": MIB},
                                       {"offset": MIB, "length": MIB}])


if __name__ == "__main__":
    harness.main()
