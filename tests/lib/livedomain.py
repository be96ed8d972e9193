# SPDX-License-Identifier: LGPL-2.1-or-later
"""A domain with a virtio-mem device, whose Linux does what a test says.

    with livedomain.Live() as live:
        live.start()
        live.ctl("plug", "vm7", "64M", "--wait")
"""

import contextlib
import json

import guestfiles
import libvirtd
from ctl import ctl, ctl_fails, run_ctl
from harness import MIB, need_memory

NAME = "vm7"
ALIAS = "virtiomem0"  # libvirt's name for the device
BASE = 192 * MIB
SIZE = 256 * MIB  # of the device
BLOCK = 2 * MIB

MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev",
           "virtio_pci_modern_dev", "virtio_pci", "virtio_mem")
SCRIPT = """
echo online_movable >/sys/devices/system/memory/auto_online_blocks
load() { for name in "$@"; do insmod /lib/$name.ko; done; }
echo ready
while read -r line; do eval "$line"; echo "end $?"; done
"""
LOAD = f"load {' '.join(MODULES)}"

MORE = f"""<maxMemory slots='4' unit='b'>{1024 * MIB}</maxMemory>
<cpu><numa><cell id='0' cpus='0' memory='{BASE}' unit='b'/></numa></cpu>"""
DEVICE = f"""<memory model='virtio-mem'><target><size unit='b'>{SIZE}</size>
<node>0</node><block unit='b'>{BLOCK}</block>
<requested unit='b'>0</requested></target></memory>"""


class Live:
    """A libvirtd, and what is to boot in its domain; both end with the
    context."""

    def __enter__(self):
        need_memory(2 * (BASE + SIZE))
        with contextlib.ExitStack() as stack:
            self.libvirtd = stack.enter_context(libvirtd.Libvirtd())
            self._linux = stack.enter_context(libvirtd.Linux(
                SCRIPT, guestfiles.modules(*MODULES)))
            self._stack = stack.pop_all()
        self.uri = self.libvirtd.uri
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def xml(self, devices=DEVICE):
        return self._linux.domain_xml(NAME, BASE, more=MORE, devices=devices)

    def start(self, devices=DEVICE, *, driver=True):
        """Boot it; the guest has the drivers, or none.  Returns its console."""
        self.libvirtd.start(self.xml(devices))
        return self.connect(driver=driver)

    def connect(self, *, driver=True):
        """The same when somebody else has started it."""
        self._console = self._linux.connect()
        self._console.expect("ready")
        if driver:
            self.run(LOAD)
        return self._console

    def run(self, command):
        """Have the guest do something, which must work."""
        self._console.send(command)
        assert self._console.expect("end ") == "0", command

    # hostmemctl domain

    def ctl(self, *args, **options):
        """It must succeed; what it prints."""
        return ctl(self.uri, "domain", *args, **options)

    def ctl_fails(self, *args, **options):
        return ctl_fails(self.uri, "domain", *args, **options)

    def run_ctl(self, *args, **options):
        return run_ctl(self.uri, "domain", *args, **options)

    def device(self):
        """It, as domain status has it."""
        status = json.loads(self.ctl("status", NAME, "--read-only", "--json"))
        domain, = status["domains"]
        device, = domain["devices"]
        return device
