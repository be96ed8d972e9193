#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What ready memory is worth to libvirt: seconds of `virsh start`.

    bench_start.py [--size 4G] [--rounds 5] [--threads N]

In turns, a domain is started whose memory QEMU allocates, on a tmpfs as one
mounts it (<allocation mode='immediate'/>); one whose memory is a segment of a
pool of hostmemd, through the hook, with that element, for which QEMU fills page
tables, and without it; and one whose memory nobody has allocated.  Ratios are
those of the first one's median to the others'.  As root; see
docs/benchmarking.rst.
"""

import argparse
import contextlib
import os
import statistics
import time

import harness
import libvirtd
from harness import MIB, Hostmemd

UNITS = {"M": MIB, "G": 1024 * MIB}
HUGE_POLICY = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--size", default="4G", help="of the domain's memory")
    parser.add_argument("--rounds", type=int, default=5, help="starts of each")
    parser.add_argument("--threads", type=int, default=len(
        os.sched_getaffinity(0)), help="that QEMU allocates with")
    return parser.parse_args()


def backing(allocation):
    return ("<memoryBacking><source type='file'/><access mode='shared'/>"
            f"{allocation}</memoryBacking>")


class Way:
    """One way to get memory, and the seconds that starts with it took."""

    def __init__(self, what, daemon, name, memory, size, after=lambda: None):
        self.what = what
        self.seconds = []
        self._daemon = daemon
        self._name = name
        self._after = after
        daemon.define(libvirtd.domain_xml(name, size, more=memory))

    def start(self):
        begin = time.monotonic()
        self._daemon.virsh("start", self._name)
        self.seconds.append(time.monotonic() - begin)
        self._daemon.virsh("destroy", self._name)
        self._after()

    def median(self):
        return statistics.median(self.seconds)


@contextlib.contextmanager
def hooked(size):
    """(libvirtd, what waits until the pool is ready again)."""
    with libvirtd.Libvirtd() as daemon:
        base = daemon.memory / "libvirt" / "qemu"
        with Hostmemd(
                "-export-dir", base, "-object",
                f"memory-pool,id=p0,size={size},segment-size={size},seal=off,"
                f"export-dir={base}", timeout=300) as donor:
            hook = harness.program("hostmem-libvirt-hook")
            daemon.install_hook(
                f"#!/bin/sh\nexec {hook} --connect unix:{donor.socket} "
                f"--memory-backing-dir {daemon.memory} --pool p0 "
                f"--timeout 60 -- \"$@\" 2>>{daemon.folder}/hook\n")

            def await_ready():
                said = (daemon.folder / "hook").read_text()
                assert not said, said
                harness.wait_until(
                    lambda: donor.qmp.execute("query-memory-pools")[0]
                    ["ready-size"] == size, 300, "the pool")

            yield daemon, await_ready


@contextlib.contextmanager
def on_tmpfs(size):
    """A libvirtd with a tmpfs such as one mounts."""
    with harness.tmpfs(size) as folder:
        folder.chmod(0o755)
        with libvirtd.Libvirtd(memory_backing_dir=folder) as daemon:
            yield daemon


def report(ways, arguments):
    with open(HUGE_POLICY) as file:
        policy = file.read().strip()
    print(f"virsh start, {arguments.size}, {arguments.rounds} rounds, "
          f"QEMU's threads: {arguments.threads}, "
          f"CPUs: {len(os.sched_getaffinity(0))}, shmem: {policy}")
    for way in ways:
        print(f"  {way.what:28} best {min(way.seconds):7.3f} s"
              f"  median {way.median():7.3f} s"
              f"  ratio {ways[0].median() / way.median():5.1f}")


def main():
    arguments = parse_arguments()
    size = int(arguments.size[:-1]) * UNITS[arguments.size[-1]]
    harness.need_root()
    harness.need_memory(2 * size + 512 * MIB)
    immediate = f"<allocation mode='immediate' threads='{arguments.threads}'/>"
    with on_tmpfs(size) as plain, hooked(size) as (daemon, await_ready):
        ways = [Way("QEMU allocates", plain, "allocates", backing(immediate),
                    size),
                Way("ready, page tables filled", daemon, "filled",
                    backing(immediate), size, await_ready),
                Way("ready", daemon, "ready", backing(""), size, await_ready),
                Way("nobody has allocated", plain, "lazy", backing(""), size)]
        for number in range(arguments.rounds + 1):
            for way in ways:
                way.start()
                if not number:
                    way.seconds.clear()  # libvirt has looked at QEMU
        report(ways, arguments)


if __name__ == "__main__":
    main()
