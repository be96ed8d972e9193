# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmemctl drives a QEMU's own QMP: what both understand."""

import contextlib
import itertools
import json
import struct
import subprocess

import guest
import harness
from ctl import Terminal, ctl, ctl_fails, started, wait_until_heard
from guestfiles import modules
from harness import MIB, QmpClient, raises, scratch, wait_until
from qtest import Qemu
from virtio_pci import VirtioPci

GIB = 1024 * MIB
BASE = 5 * GIB
SLOT = 4
UNPLUGGED_INACCESSIBLE = 1 << 1
BLOCK = 2 * MIB
SIZE = 64 * MIB
MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev",
           "virtio_pci_modern_dev", "virtio_pci", "virtio_mem")


@contextlib.contextmanager
def qemu(*args):
    """A QEMU with m0 and vm0, and a socket of its own for hostmemctl."""
    with scratch() as folder:
        with Qemu("-object", f"memory-backend-ram,id=m0,size={SIZE}",
                  "-device", f"virtio-mem-pci,id=vm0,memdev=m0,addr={SLOT},"
                  f"memaddr={BASE},block-size={BLOCK},"
                  "unplugged-inaccessible=on",
                  "-qmp", f"unix:{folder}/ctl,server=on,wait=off", *args,
                  ram_size=64 * MIB, maxmem=16 * GIB) as peer:
            yield peer, f"unix:{folder}/ctl"


def plug_blocks(device, first, count):
    """What a guest's driver does."""
    reply, = device.submit([struct.pack("<H6xQH6x", 0, BASE + first * BLOCK,
                                        count)], 10)
    assert struct.unpack("<H6xH", reply)[0] == 0, reply


def test_status():
    with qemu() as (_, address):
        text = ctl(address, "status")
        assert text.startswith("QEMU "), text
        assert "64 MiB base memory, 0 B plugged" in text, text
        assert "virtio-mem" in text and "m0" in text, text
        for command in "query-memory-pools", "query-host-nodes":
            assert f"has no command '{command}'" in text, text
        status = json.loads(ctl(address, "status", "--json"))
        assert status["memory-pools"] is None, status
        ids = {memdev.get("id") for memdev in status["memdev"]}
        assert {"ram", "m0"} <= ids, ids


def test_watch():
    with qemu() as (peer, address), \
            started(address, "status", "--watch=1000", "--json") as process:
        before = json.loads(process.stdout.readline())
        device = VirtioPci(peer, SLOT, UNPLUGGED_INACCESSIBLE)
        peer.qmp.execute("qom-set", path="/machine/peripheral/vm0",
                         property="requested-size", value=SIZE)
        plug_blocks(device, 0, 4)
        after = json.loads(process.stdout.readline())
    size, = {s["data"]["size"] for s in before["memory-devices"]}
    assert size == 0
    size, = {s["data"]["size"] for s in after["memory-devices"]}
    assert size == 4 * BLOCK


def test_plug():
    with qemu() as (peer, address):
        device = VirtioPci(peer, SLOT, UNPLUGGED_INACCESSIBLE)
        ctl(address, "plug", "vm0", "16M")
        assert ctl(address, "get", "vm0", "requested-size") == f"{16 * MIB}\n"
        with started(address, "plug", "vm0", "32M", "--wait") as process:
            wait_until(lambda: peer.qmp.execute(
                "qom-get", path="/machine/peripheral/vm0",
                property="requested-size") == 32 * MIB)
            plug_blocks(device, 0, 8)
            plug_blocks(device, 8, 8)
            assert process.wait(20) == 0, process.stderr.read()


def test_plug_stalls():
    with qemu() as (_, address):
        ctl_fails(address, "plug", "vm0", "32M", "--wait", "--timeout=1",
                  phrases=["'vm0' has 0 B of 32 MiB", "stalled"])


def test_plug_refused():
    with qemu() as (_, address):
        ctl_fails(address, "plug", "vm0", "1G", phrases=["cannot exceed"])
        ctl_fails(address, "plug", "vm1", "1G", phrases=["vm1"])


def test_get_and_set():
    with qemu() as (_, address):
        assert ctl(address, "get", "m0", "size") == f"{SIZE}\n"
        assert ctl(address, "get", "m0", "merge") == "on\n"
        ctl(address, "set", "m0", "merge", "off")
        assert ctl(address, "get", "/objects/m0", "merge") == "off\n"
        assert ctl(address, "get", "vm0", "block-size") == f"{BLOCK}\n"
        ctl_fails(address, "get", "m1", "size", phrases=["m1"])


def test_add_and_del():
    with qemu() as (_, address):
        ctl(address, "add", "memory-backend-memfd,id=m1,size=4M,merge=off")
        assert ctl(address, "get", "m1", "merge") == "off\n"
        ctl(address, "add", '{"qom-type": "iothread", "id": "io0"}')
        ctl(address, "del", "m1")
        ctl_fails(address, "del", "m1", phrases=["m1"])


def test_jobs_and_help():
    with qemu() as (_, address):
        assert ctl(address, "jobs") == ""
        assert "requested-size" in ctl(address, "help", "virtio-mem-pci")
        assert "prealloc" in ctl(address, "help", "memory-backend-ram")
        ctl_fails(address, "pools", phrases=["QEMU", "query-memory-pools"])


def test_events():
    with qemu() as (peer, address), \
            started(address, "events", "--json") as process:
        device = VirtioPci(peer, SLOT, UNPLUGGED_INACCESSIBLE)
        peer.qmp.execute("qom-set", path="/machine/peripheral/vm0",
                         property="requested-size", value=SIZE)
        blocks = itertools.count()
        wait_until_heard(process,
                         lambda: plug_blocks(device, next(blocks), 1))
        event = json.loads(process.stdout.readline())
    assert event["event"] == "MEMORY_DEVICE_SIZE_CHANGE", event


def test_socket_that_another_client_has():
    """It waits for its turn, and comes when that has gone."""
    with qemu() as (_, address):
        other = QmpClient.unix(address.removeprefix("unix:")).negotiate()
        with started(address, "jobs") as process:
            with raises(subprocess.TimeoutExpired):
                process.wait(1)
            other.close()
            assert process.wait(20) == 0


def test_del_of_a_device_without_a_guest():
    with qemu("-M", "pc", "-device", "virtio-rng-pci,id=rng0") as (_, address):
        ctl_fails(address, "del", "--device", "rng0", "--timeout=1",
                  phrases=["'rng0'", "within 1 s"])
        ctl_fails(address, "del", "--device", "vm0", phrases=["unplug"])


SCRIPT = """
echo online >/sys/devices/system/memory/auto_online_blocks
for module in {}; do insmod /lib/$module.ko; done
echo ready
read answer
"""


def test_plug_of_a_linux_guest():
    with scratch() as folder, guest.boot(
            ["-m", "256M,maxmem=2G", "-smp", "1",
             "-object", "memory-backend-ram,id=m0,size=512M",
             "-device", "virtio-mem-pci,id=vm0,memdev=m0",
             "-qmp", f"unix:{folder}/qmp,server=on,wait=off"],
            SCRIPT.format(" ".join(MODULES)), modules(*MODULES)) as linux:
        linux.expect("ready")
        address = f"unix:{folder}/qmp"
        ctl_or_progress(address, "plug", "vm0", "256M", "--wait")
        assert ctl(address, "get", "vm0", "size") == f"{256 * MIB}\n"
        ctl_or_progress(address, "plug", "vm0", "128M", "--wait")
        assert ctl(address, "get", "vm0", "size") == f"{128 * MIB}\n"
        linux.send("go on")


def ctl_or_progress(address, *args):
    """On a terminal, where progress is drawn over and leaves nothing."""
    with Terminal(address, *args) as terminal:
        assert terminal.wait(60) == 0, terminal.output


if __name__ == "__main__":
    harness.main()
