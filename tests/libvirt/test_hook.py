#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Domains of a real libvirtd on memory that a hostmemd has ready."""

import contextlib
import mmap
import os
import pathlib
import signal
import time

import harness
import libvirtd
from donor import PAGE, PATTERN, WRITTEN, write_pattern
from harness import MIB, Hostmemd

SIZE = 192 * MIB
HALF = 128 * MIB  # of a domain with two cells

# What it writes into a file stays in its memory: it has no disk.
SCRIPT = f"""
echo "nodes $(ls -d /sys/devices/system/node/node* | wc -l)"
{write_pattern("/pattern")}
echo written
read answer
"""

# A guest with two nodes writes from a CPU of each.
TWO_SCRIPT = f"""
echo "nodes $(ls -d /sys/devices/system/node/node* | wc -l)"
{write_pattern("/pattern1", "taskset 1")}
{write_pattern("/pattern2", "taskset 2")}
echo written
read answer
"""

SHARED_FILE = """<memoryBacking><source type='file'/><access mode='shared'/>
<allocation mode='immediate'/></memoryBacking>"""
TWO_CELLS = SHARED_FILE + f"""<cpu><numa>
<cell id='0' cpus='0' memory='{HALF}' unit='b'/>
<cell id='1' cpus='1' memory='{HALF}' unit='b'/></numa></cpu>"""
HUGE_PAGES = """<memoryBacking><hugepages/><access mode='shared'/>
</memoryBacking>"""


class Host:
    """A libvirtd with the hook; hostmemd may run or not."""

    def __init__(self, daemon, folder):
        self.libvirtd = daemon
        self.base = daemon.memory / "libvirt" / "qemu"
        self.log = folder / "log"
        self.log.write_text("")
        self.log.chmod(0o666)

    def install(self, address, *options, timeout=20):
        hook = harness.program("hostmem-libvirt-hook")
        more = " ".join(map(str, options))
        self.libvirtd.install_hook(
            f"#!/bin/sh\nexec {hook} --connect {address} "
            f"--memory-backing-dir {self.libvirtd.memory} "
            f"--timeout {timeout * harness.PATIENCE} {more} -- \"$@\" "
            f"2>>{self.log}\n")

    @contextlib.contextmanager
    def hostmemd(self, *args, options=(), timeout=20):
        with Hostmemd("-export-dir", self.base, *args, timeout=60) as daemon:
            self.install(f"unix:{daemon.socket}", *options, timeout=timeout)
            yield daemon

    def said(self):
        return self.log.read_text()

    def visible(self):
        return sorted(str(path.relative_to(self.base))
                      for path in self.base.rglob("[!.]*"))


@contextlib.contextmanager
def host(**settings):
    harness.need_root()
    harness.need_memory(4 * SIZE)
    with harness.scratch() as folder, \
            libvirtd.Libvirtd(**settings) as daemon:
        folder.chmod(0o755)
        yield Host(daemon, folder)


def backend(id, size=SIZE):
    return "-object", (f"memory-backend-ram,id={id},size={size},share=on,"
                       f"prealloc=on,export-path={id}")


def pool(folder, *more, segment=SIZE, count=1):
    return "-object", ",".join(
        [f"memory-pool,id=p0,size={count * segment},segment-size={segment}",
         f"seal=off,export-dir={folder}", *more])


def status(daemon):
    entry, = daemon.qmp.execute("query-memory-pools")
    return entry


def await_ready(daemon):
    harness.wait_until(
        lambda: status(daemon)["ready-size"] == status(daemon)["size"],
        60, "a pool that is ready again")


def ids(daemon):
    return sorted(report["id"]
                  for report in daemon.qmp.execute("query-memdev"))


def pages_with_pattern(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        with mmap.mmap(fd, size, prot=mmap.PROT_READ) as memory:
            return sum(memory[at:at + PAGE] == PATTERN
                       for at in range(0, size, PAGE))
    finally:
        os.close(fd)


def inode_that_qemu_maps(path):
    """Of a file that a QEMU has mapped by that path."""
    for maps in pathlib.Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            for line in maps.read_text().splitlines():
                if line.endswith(str(path)):
                    return int(line.split()[4])
    raise AssertionError(f"nobody has mapped {path}")


@contextlib.contextmanager
def booted(place, linux, name, size, **more):
    """A domain that has written its pattern; it ends with the context."""
    place.libvirtd.start(linux.domain_xml(name, size, **more))
    console = linux.connect()
    nodes = console.expect("nodes ")
    console.expect("written")
    yield nodes
    console.send("power off")
    place.libvirtd.wait_gone(name)


# what it is for

@harness.time_limit(240)
def test_linux_boots_on_memory_of_its_name():
    with host() as place, libvirtd.Linux(SCRIPT) as linux, \
            place.hostmemd(*backend("vm7"), *backend("vm8", MIB)) as daemon:
        inode = (place.base / "vm7").stat().st_ino
        with booted(place, linux, "vm7", SIZE, more=SHARED_FILE):
            path = place.base / "1-vm7" / "pc.ram"
            assert inode_that_qemu_maps(path) == inode
            assert pages_with_pattern(path) >= WRITTEN // PAGE
            assert path.stat().st_blocks * 512 == SIZE
        harness.wait_until(lambda: ids(daemon) == ["vm8"],
                           what="the memory to be given back")
        assert place.visible() == ["vm8"]
        assert place.said() == ""


@harness.time_limit(240)
def test_linux_boots_again_and_again_on_memory_of_a_pool():
    with host() as place, libvirtd.Linux(SCRIPT) as linux, \
            place.hostmemd(*pool(place.base),
                           options=["--pool", "p0"]) as daemon:
        inodes = set()
        for run in 1, 2:
            with booted(place, linux, "vm7", SIZE, more=SHARED_FILE):
                path = place.base / f"{run}-vm7" / "pc.ram"
                inodes.add(inode_that_qemu_maps(path))
                assert pages_with_pattern(path) >= WRITTEN // PAGE
                assert status(daemon)["lent-size"] == SIZE
                report, = daemon.qmp.execute("query-memdev")
                assert report["pool-size"] == SIZE, report
            await_ready(daemon)
            assert ids(daemon) == []
        assert len(inodes) == 1, inodes  # it was the same segment
        assert place.visible() == []
        assert place.said() == ""


@harness.time_limit(240)
def test_linux_with_two_cells():
    with host() as place, libvirtd.Linux(TWO_SCRIPT) as linux, \
            place.hostmemd(*backend("vm7-node0", HALF),
                           *backend("vm7-node1", HALF)) as daemon:
        with booted(place, linux, "vm7", 2 * HALF, cpus=2,
                    more=TWO_CELLS) as nodes:
            assert nodes == "2"
            for k in 0, 1:
                path = place.base / "1-vm7" / f"ram-node{k}"
                assert pages_with_pattern(path) >= WRITTEN // 2 // PAGE, k
                assert path.stat().st_blocks * 512 == HALF
        harness.wait_until(lambda: ids(daemon) == [],
                           what="the memory to be given back")
        assert place.said() == ""


@harness.time_limit(240)
def test_linux_on_huge_pages():
    """Those that libvirt takes from a hugetlbfs."""
    with harness.hugetlbfs() as folder, \
            harness.need_huge_pages(SIZE // (2 * MIB)), \
            host(hugetlbfs_mount=folder) as place, \
            libvirtd.Linux(SCRIPT) as linux:
        folder.chmod(0o755)
        base = folder / "libvirt" / "qemu"
        with Hostmemd(*pool(base, "hugetlb=on", "hugetlbsize=2M"),
                      timeout=60) as daemon:
            place.install(f"unix:{daemon.socket}", "--hugetlbfs", folder,
                          "--pool", "p0")
            with booted(place, linux, "vm7", SIZE, more=HUGE_PAGES):
                assert pages_with_pattern(base / "1-vm7") >= WRITTEN // PAGE
                assert status(daemon)["lent-size"] == SIZE
            await_ready(daemon)
            assert [path.name for path in base.glob("[!.]*")] == []
        assert place.said() == ""


@harness.time_limit(240)
def test_two_cells_on_a_backing_dir_of_huge_pages():
    """Where libvirt's own huge pages could not be told apart."""
    with harness.hugetlbfs() as folder, \
            harness.need_huge_pages(2 * HALF // (2 * MIB)), \
            host(memory_backing_dir=folder) as place, \
            libvirtd.Linux(TWO_SCRIPT) as linux:
        folder.chmod(0o755)
        base = folder / "libvirt" / "qemu"
        with Hostmemd(*pool(base, "hugetlb=on", "hugetlbsize=2M",
                            segment=HALF, count=2), timeout=60) as daemon:
            place.install(f"unix:{daemon.socket}", "--pool", "p0",
                          "--memory-backing-dir", folder)
            with booted(place, linux, "vm7", 2 * HALF, cpus=2,
                        more=TWO_CELLS):
                for k in 0, 1:
                    path = base / "1-vm7" / f"ram-node{k}"
                    assert pages_with_pattern(path) > 0, k
                assert status(daemon)["lent-size"] == 2 * HALF
            await_ready(daemon)
        assert place.said() == ""


# domains that start as if it were not there

def starts(place, phrase, more=SHARED_FILE, name="vm7"):
    """A domain starts and ends; returns the seconds that the start took."""
    begin = time.monotonic()
    place.libvirtd.start(libvirtd.domain_xml(name, SIZE, more=more))
    seconds = time.monotonic() - begin
    assert place.libvirtd.state(name) == "running"
    place.libvirtd.virsh("destroy", name)
    if phrase:
        assert phrase in place.said(), place.said()
    else:
        assert place.said() == "", place.said()
    return seconds


@harness.time_limit(120)
def test_without_hostmemd():
    with host() as place:
        place.install("unix:/nowhere")
        starts(place, "starts as if hostmem were not there: unix:/nowhere")


@harness.time_limit(120)
def test_after_the_end_of_hostmemd():
    with host() as place:
        with place.hostmemd(*backend("vm7")):
            pass
        starts(place, "starts as if")


@harness.time_limit(120)
def test_domain_that_asks_for_no_such_memory():
    with host() as place:
        place.install("unix:/nowhere")
        starts(place, None, more="")


@harness.time_limit(180)
def test_short_hostmemd():
    with host() as place, \
            place.hostmemd(*backend("vm7", SIZE // 2), *pool(
                place.base, segment=4 * MIB), options=["--pool", "p0"]) \
            as daemon:
        starts(place, str(SIZE // 2))
        starts(place, "neither a backend 'vm8'", name="vm8")
        assert ids(daemon) == ["vm7"]
        assert place.visible() == ["vm7"]


@harness.time_limit(180)
def test_hostmemd_that_hangs_costs_no_more_than_the_limit():
    with host() as place, \
            place.hostmemd(*backend("vm7"), timeout=2) as daemon:
        usual = starts(place, None, more="")
        os.kill(daemon.pid, signal.SIGSTOP)
        try:
            seconds = starts(place, "no answer in time")
        finally:
            os.kill(daemon.pid, signal.SIGCONT)
        limit = 2 * harness.PATIENCE
        assert seconds < limit + 5 * usual + 10, (seconds, usual)
        assert ids(daemon) == ["vm7"]


# domains that do not start

@harness.time_limit(180)
def test_domain_that_fails_to_start_gives_back():
    nowhere = """<serial type='unix'>
        <source mode='connect' path='/nowhere/x'/></serial>"""
    with host() as place, \
            place.hostmemd(*pool(place.base), *backend("vm7"),
                           options=["--pool", "p0"]) as daemon:
        for name in "vm7", "vm8":
            output = place.libvirtd.virsh(
                "create", "/dev/stdin", check=False,
                input=libvirtd.domain_xml(name, SIZE, more=SHARED_FILE,
                                          devices=nowhere))
            assert "/nowhere/x" in output, output
        await_ready(daemon)
        assert ids(daemon) == []
        assert place.visible() == []
        assert place.said() == ""


if __name__ == "__main__":
    harness.main()
