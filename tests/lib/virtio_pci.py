# SPDX-License-Identifier: LGPL-2.1-or-later
"""A driver of virtio-pci devices (virtio 1.2, 4.1) over qtest.

The device sits on bus 0; its modern registers, in one BAR, and one split ring
are all there is.  Requests are buffers: one that the device reads, one that it
writes.  The ring lies in guest RAM from RING on.
"""

import struct

CONFIG_ADDRESS = 0xcf8
CONFIG_DATA = 0xcfc
BAR_ADDRESS = 0xe0000000  # where q35 has its hole for PCI

PCI_COMMAND = 0x04
PCI_CAPABILITIES = 0x34
PCI_CAP_VENDOR = 0x09
PCI_COMMAND_MEMORY_MASTER = 0x6

CAP_COMMON = 1
CAP_NOTIFY = 2
CAP_DEVICE = 4

# common configuration: offset, size
FEATURE_SELECT = (0, 4)
FEATURE = (4, 4)
DRIVER_FEATURE_SELECT = (8, 4)
DRIVER_FEATURE = (12, 4)
STATUS = (20, 1)
QUEUE_SELECT = (22, 2)
QUEUE_SIZE = (24, 2)
QUEUE_ENABLE = (28, 2)
QUEUE_NOTIFY_OFF = (30, 2)
QUEUE_DESC = 32
QUEUE_DRIVER = 40
QUEUE_DEVICE = 48

ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK = 1, 2, 4, 8
VERSION_1 = 1 << 32

# the ring, in guest RAM; a buffer each for what goes out and what comes in
RING = 0x100000
AVAIL = RING + 0x1000
USED = RING + 0x2000
BUFFERS = RING + 0x4000
BUFFER_SIZE = 64
DESC_NEXT, DESC_WRITE = 1, 2


class VirtioPci:
    """A device in a slot of bus 0, ready: DRIVER_OK is set."""

    def __init__(self, qemu, slot, features=0):
        self._qemu = qemu
        self._slot = slot
        self._map()
        self._negotiate(VERSION_1 | features)
        self._make_queue()
        self._set(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)

    # PCI

    def _pci_read(self, offset):
        self._qemu.outl(CONFIG_ADDRESS,
                        1 << 31 | self._slot << 11 | offset & ~3)
        return self._qemu.inl(CONFIG_DATA)

    def _pci_write(self, offset, value):
        self._qemu.outl(CONFIG_ADDRESS, 1 << 31 | self._slot << 11 | offset)
        self._qemu.outl(CONFIG_DATA, value)

    def _capabilities(self):
        """(type, BAR, offset in it, multiplier) of each that is virtio's."""
        at = self._pci_read(PCI_CAPABILITIES) & 0xff
        while at:
            head = self._pci_read(at)
            if head & 0xff == PCI_CAP_VENDOR:
                yield (head >> 24, self._pci_read(at + 4) & 0xff,
                       self._pci_read(at + 8), self._pci_read(at + 16))
            at = head >> 8 & 0xff

    def _map(self):
        found = {kind: rest for kind, *rest in self._capabilities()}
        (bar,) = {found[kind][0]
                  for kind in (CAP_COMMON, CAP_NOTIFY, CAP_DEVICE)}
        self._pci_write(0x10 + 4 * bar, BAR_ADDRESS)
        self._pci_write(0x14 + 4 * bar, 0)  # it has 64 bits
        self._pci_write(PCI_COMMAND, PCI_COMMAND_MEMORY_MASTER)
        self._common = BAR_ADDRESS + found[CAP_COMMON][1]
        self._notify = BAR_ADDRESS + found[CAP_NOTIFY][1]
        self._multiplier = found[CAP_NOTIFY][2]
        self._config = BAR_ADDRESS + found[CAP_DEVICE][1]

    # registers

    def _get(self, register):
        offset, size = register
        return self._qemu.read(self._common + offset, size)

    def _set(self, register, value):
        offset, size = register
        self._qemu.write(self._common + offset, size, value)

    def _set_address(self, offset, value):
        self._set((offset, 4), value & 0xffffffff)
        self._set((offset + 4, 4), value >> 32)

    def status(self):
        return self._get(STATUS)

    def config(self, offset, size):
        """An integer of the device's configuration."""
        return self._qemu.read(self._config + offset, size)

    def _negotiate(self, features):
        self._set(STATUS, 0)
        self._set(STATUS, ACKNOWLEDGE | DRIVER)
        for half in (0, 1):
            mine = features >> 32 * half & 0xffffffff
            self._set(FEATURE_SELECT, half)
            offered = self._get(FEATURE)
            assert not mine & ~offered, f"{mine:#x} of {offered:#x}"
            self._set(DRIVER_FEATURE_SELECT, half)
            self._set(DRIVER_FEATURE, mine)
        self._set(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK)
        assert self.status() & FEATURES_OK, "the features are refused"

    # the ring

    def _make_queue(self):
        self._set(QUEUE_SELECT, 0)
        self._size = self._get(QUEUE_SIZE)
        self._set_address(QUEUE_DESC, RING)
        self._set_address(QUEUE_DRIVER, AVAIL)
        self._set_address(QUEUE_DEVICE, USED)
        self._notify += self._get(QUEUE_NOTIFY_OFF) * self._multiplier
        self._set(QUEUE_ENABLE, 1)
        self._index = 0

    def _put(self, slot, request, reply_size):
        """Fill the two descriptors of a slot, which is number 2 * @slot."""
        out = BUFFERS + 2 * slot * BUFFER_SIZE
        back = out + BUFFER_SIZE
        self._qemu.ram[out:out + len(request)] = request
        self._qemu.ram[back:back + reply_size] = b"\xff" * reply_size
        struct.pack_into("<QIHHQIHH", self._qemu.ram, RING + 32 * slot,
                         out, len(request), DESC_NEXT, 2 * slot + 1,
                         back, reply_size, DESC_WRITE, 0)

    def submit(self, requests, reply_size):
        """Let the device serve requests with one notify; their replies.

        Half as many as the ring has entries, at most.  QEMU serves them
        before it answers the notify.
        """
        assert 2 * len(requests) <= self._size
        ram = self._qemu.ram
        for slot, request in enumerate(requests):
            self._put(slot, request, reply_size)
            entry = (self._index + slot) % self._size
            struct.pack_into("<H", ram, AVAIL + 4 + 2 * entry, 2 * slot)
        self._index = (self._index + len(requests)) & 0xffff
        struct.pack_into("<H", ram, AVAIL + 2, self._index)
        self._qemu.write(self._notify, 2, 0)
        (used,) = struct.unpack_from("<H", ram, USED + 2)
        assert used == self._index, (
            f"{used} instead of {self._index} requests are served,"
            f" the status is {self.status():#x}")
        return [self._reply(slot, reply_size)
                for slot in range(len(requests))]

    def _reply(self, slot, size):
        start = BUFFERS + (2 * slot + 1) * BUFFER_SIZE
        return self._qemu.ram[start:start + size]
