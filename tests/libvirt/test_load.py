# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who does not use libvirt does not load it."""

import pathlib
import re
import subprocess

import harness
from ctl import started
from harness import Hostmemd, program


def libraries(pid):
    maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
    return set(re.findall(r"/(lib[^/\n]*)\.so", maps))


def test_a_daemon_without_libvirt():
    with Hostmemd("-object", "memory-backend-ram,id=m0,size=1M") as daemon:
        found = libraries(daemon.process.pid)
    assert "libhostmem" in found, found
    assert not [name for name in found if "virt" in name], found


def test_a_hostmemctl_that_is_not_about_domains():
    with Hostmemd("-object", "memory-backend-ram,id=m0,size=1M") as daemon, \
            started(daemon, "status", "--watch") as process:
        process.stdout.readline()
        found = libraries(process.pid)
    assert "libhostmem" in found, found
    assert not [name for name in found if "virt" in name], found


def test_nothing_is_linked_with_it():
    for name in "hostmemd", "hostmemctl", "hostmem-bench":
        text = subprocess.check_output(["ldd", program(name)], text=True)
        assert "libhostmem" in text, text
        assert "libvirt" not in text, text


if __name__ == "__main__":
    harness.main()
