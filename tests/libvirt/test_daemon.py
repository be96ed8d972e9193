#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The libvirtd of these tests: it works, and this machine does not notice."""

import os
import pathlib

import harness
import libvirtd
from harness import MIB

SIZE = 192 * MIB
SCRIPT = """
echo "memory $(awk '/MemTotal/ { print $2 }' /proc/meminfo)"
read answer
"""


def snapshot():
    """What a libvirtd would change if it could."""
    return [sorted(map(str, pathlib.Path(folder).glob("libvirt*/**")))
            for folder in ("/etc", "/run", "/var/lib", "/var/cache",
                           "/var/log")]


def processes_in(namespace):
    """Those of a mount namespace."""
    found = []
    for link in pathlib.Path("/proc").glob("[0-9]*/ns/mnt"):
        try:
            if os.readlink(link) == namespace:
                found.append(link.parts[2])
        except OSError:
            continue
    return found


@harness.time_limit(180)
def test_domain_boots_and_ends():
    harness.need_memory(2 * SIZE)
    with libvirtd.Libvirtd() as daemon, libvirtd.Linux(SCRIPT) as linux:
        daemon.start(linux.domain_xml("vm7", SIZE))
        console = linux.connect()
        memory = int(console.expect("memory ")) << 10
        assert 0.6 * SIZE < memory < SIZE, memory
        assert daemon.state("vm7") == "running"
        console.send("power off")
        daemon.wait_gone("vm7")
        assert daemon.virsh("list", "--all", "--name").strip() == ""


@harness.time_limit(120)
def test_qemu_is_another_user():
    with libvirtd.Libvirtd() as daemon:
        daemon.start(libvirtd.domain_xml("vm7", SIZE))
        uids = {os.stat(f"/proc/{pid}").st_uid
                for pid in processes_in(daemon.mount_namespace)
                if "qemu" in pathlib.Path(f"/proc/{pid}/comm").read_text()}
        assert uids == {daemon.user_id}, uids


@harness.time_limit(120)
def test_nothing_is_left_of_it_and_its_domains():
    before = snapshot()
    with libvirtd.Libvirtd() as daemon:
        daemon.define(libvirtd.domain_xml("vm7", SIZE))
        daemon.virsh("start", "vm7")
        namespace = daemon.mount_namespace
        assert len(processes_in(namespace)) >= 3  # a shell, libvirtd and QEMU
        assert snapshot() == before
    harness.wait_until(lambda: not processes_in(namespace),
                       what="the end of all its processes")
    assert snapshot() == before
    assert not daemon.folder.exists()


if __name__ == "__main__":
    harness.main()
