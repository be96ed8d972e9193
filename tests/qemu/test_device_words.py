#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What QMP says of devices: QEMU's words and ours, for the same commands.

Ours may say more behind QEMU's words.
"""

import contextlib

import harness
from harness import MIB, Hostmemd, QmpError
from qtest import Qemu

GIB = 1024 * MIB
BASE = 4 * GIB
VM0 = {"driver": "virtio-mem-pci", "id": "vm0", "memdev": "m0"}


class Both:
    """QEMU and hostmemd, asked the same."""

    def __init__(self, stack):
        # q35 takes no device at run time.
        qemu = stack.enter_context(
            Qemu("-M", "pc", ram_size=64 * MIB, maxmem=8 * GIB))
        daemon = stack.enter_context(Hostmemd())
        self._clients = qemu.qmp, daemon.qmp

    def answers(self, command, arguments):
        """For each, what is returned, or class and text of the error."""
        return [self._ask(client, command, arguments)
                for client in self._clients]

    @staticmethod
    def _ask(client, command, arguments):
        try:
            return client.execute(command, arguments)
        except QmpError as error:
            return error.cls, error.desc

    def same(self, command, **arguments):
        """They return the same; returns it."""
        names = {k.replace("_", "-"): v for k, v in arguments.items()}
        theirs, ours = self.answers(command, names)
        assert ours == theirs, (command, names, theirs, ours)
        return ours

    def refuse(self, command, upto="", **arguments):
        """They refuse in the same words, up to @upto if there is that."""
        names = {k.replace("_", "-"): v for k, v in arguments.items()}
        theirs, ours = self.answers(command, names)
        assert isinstance(theirs, tuple), (command, names, theirs)
        assert isinstance(ours, tuple), (command, names, ours)
        words = theirs[1].partition(upto)[0] if upto else theirs[1]
        assert (ours[0] == theirs[0] and words
                and ours[1].startswith(words)), (command, names, theirs, ours)


@contextlib.contextmanager
def both(*devices):
    """Both, with m0 and m1 of 64 MiB and devices."""
    with contextlib.ExitStack() as stack:
        peers = Both(stack)
        for name in "m0", "m1":
            peers.same("object-add", qom_type="memory-backend-ram", id=name,
                       size=64 * MIB)
        for device in devices:
            peers.same("device_add", **device)
        yield peers


def test_devices_that_are_none():
    with both() as peers:
        peers.refuse("device_add")
        for driver in "nosuch", "memory-backend-ram", "device", "":
            peers.refuse("device_add", driver=driver, id="x")


def test_properties_that_do_not_fit():
    with both() as peers:
        for options in [
                {"id": "1v"}, {"foo": 1}, {"size": 1}, {"requested-size": 1},
                {"memdev": "nosuch"}, {"block-size": 1000},
                {"block-size": 3 * MIB}, {"memaddr": BASE + 4096}]:
            peers.refuse("device_add", **{**VM0, **options})
        peers.refuse("device_add", driver="virtio-mem-pci", id="vm0")
        peers.refuse("device_add", upto="usable range",
                     **{**VM0, "memaddr": 2 * MIB})
        peers.same("device_add", **VM0)


def test_what_is_taken():
    other = {**VM0, "id": "vm1", "memdev": "m1"}
    with both(VM0) as peers:
        peers.refuse("device_add", **{**VM0, "memdev": "m1"})
        peers.refuse("device_add", **{**VM0, "id": "vm1"})
        peers.refuse("device_add", **other, memaddr=BASE)
        peers.refuse("device_add", **other, memaddr=BASE + 32 * MIB)
        peers.refuse("object-del", id="m0")
        peers.same("device_add", **other)
        peers.same("query-memory-devices")


def test_device_without_id():
    with both({"driver": "virtio-mem-pci", "memdev": "m1"}) as peers:
        path = "/machine/peripheral-anon/device[0]"
        for name in "memdev", "memaddr", "size", "requested-size":
            peers.same("qom-get", path=path, property=name)
        peers.refuse("device_add", **VM0, memaddr=BASE)
        peers.same("query-memory-devices")


def test_tree():
    with both(VM0) as peers:
        for path in "vm0", "peripheral/vm0", "/machine/peripheral/vm0":
            for name in ("memdev", "memaddr", "size", "block-size", "node",
                         "prealloc", "requested-size"):
                peers.same("qom-get", path=path, property=name)
        for path, name in [("/machine", "peripheral"),
                           ("/machine", "peripheral-anon"),
                           ("/machine/peripheral", "type"),
                           ("/machine/peripheral", "vm0")]:
            peers.same("qom-get", path=path, property=name)
        for path in "/machine/peripheral/x", "/peripheral/vm0", "x":
            peers.refuse("qom-get", path=path, property="type")
            peers.refuse("qom-list", path=path)
        peers.refuse("qom-get", path="/machine/peripheral", property="x")
        peers.refuse("qom-set", path="/machine/peripheral", property="vm0",
                     value=1)


def test_what_cannot_be_set():
    with both(VM0) as peers:
        for name, value in [
                ("requested-size", MIB), ("requested-size", 2 * GIB),
                ("requested-size", "1G"), ("requested-size", 1.5),
                ("size", 1), ("block-size", 4 * MIB)]:
            peers.refuse("qom-set", path="vm0", property=name, value=value)
        peers.same("qom-set", path="vm0", property="requested-size",
                   value=16 * MIB)
        peers.same("qom-get", path="vm0", property="requested-size")
        peers.same("query-memory-devices")


def test_what_cannot_be_deleted():
    with both() as peers:
        for name in ("nosuch", "/nosuch", "/machine", "/objects/m0",
                     "peripheral/vm0"):
            peers.refuse("device_del", id=name)
        peers.refuse("device_del")


def test_properties_of_no_driver():
    with both() as peers:
        for name in "nosuch", "memory-backend-ram", "device":
            peers.refuse("device-list-properties", typename=name)


if __name__ == "__main__":
    harness.main()
