#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Huge pages are had also where the kernel has to make room for them."""

import subprocess
import sys

import harness
from harness import MIB, Hostmemd

LIMIT = 256 * MIB
SIZE = 128 * MIB

WRITE = """
import os, sys
with open(sys.argv[1], "wb") as file:
    for _ in range(int(sys.argv[2])):
        file.write(bytes(1 << 20))
    os.fsync(file.fileno())
"""


def page_cache(cgroup):
    """Bytes of files that a cgroup is charged for."""
    prefix = "total_" if cgroup.version == 1 else ""
    names = (prefix + "active_file", prefix + "inactive_file")
    lines = (cgroup.path / "memory.stat").read_text().splitlines()
    return sum(int(value) for name, value in map(str.split, lines)
               if name in names)


def fill_with_page_cache(cgroup, path):
    """Nothing is free in it then, and nearly all can be.

    Where the folder is on a tmpfs the cgroup ends who writes: it is full.
    """
    writer = subprocess.run(
        [sys.executable, "-c", WRITE, path, str(LIMIT // MIB)],
        preexec_fn=cgroup.join)
    if writer.returncode or page_cache(cgroup) < LIMIT * 3 // 4:
        harness.skip(f"files in {path.parent} are not kept in page cache")


def huge_bytes(options):
    """What populated memory has in huge pages, in a cgroup full of files."""
    with harness.scratch() as folder, harness.MemoryCgroup(LIMIT) as cgroup:
        fill_with_page_cache(cgroup, folder / "file")
        with Hostmemd("-object", f"memory-backend-ram,id=m0,size={SIZE},"
                      f"prealloc=on,{options}", cgroup=cgroup) as daemon:
            return daemon.qmp.execute("qom-get", path="/objects/m0",
                                      property="populated-huge-size")


def test_page_cache_makes_room_for_huge_pages_of_shared_memory():
    harness.need_root()
    if huge_bytes("share=off") < SIZE * 3 // 4:
        harness.skip("nobody gets huge pages here")
    huge = huge_bytes("share=on")
    assert huge >= SIZE // 2, huge // MIB


if __name__ == "__main__":
    harness.main()
