#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A second process serves a guest's disk on memory that hostmemd made.

qemu-storage-daemon (vhost-user-blk) gets the guest's memory from QEMU, which got
it from hostmemd: three processes map one file.
"""

import contextlib
import os
import shlex
import subprocess

import guest
import guestfiles
import harness
from donor import Donor
from harness import MIB, die_with_parent, need_program, wait_until

SIZE = 512 * MIB
DISK = 64 * MIB
CHUNK = 8 * MIB
POPULATE_TIMEOUT = 60.0  # seconds; it takes less than one
MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev",
           "virtio_pci_modern_dev", "virtio_pci", "virtio_blk")

# It copies one part of the disk to another, past the page cache.
SCRIPT = f"""
for module in {" ".join(MODULES)}; do insmod /lib/$module.ko; done
until [ -b /dev/vda ]; do sleep 0.1; done
echo "sectors $(cat /sys/block/vda/size)"
echo "sum $(dd if=/dev/vda bs=1M count={CHUNK // MIB} iflag=direct \\
    2>/dev/null | md5sum)"
dd if=/dev/vda bs=1M count={CHUNK // MIB} iflag=direct 2>/dev/null |
    dd of=/dev/vda bs=4k seek={DISK // 2 // 4096} conv=fsync 2>/dev/null
echo copied
read answer
"""


@contextlib.contextmanager
def served_disk(folder):
    """A disk image behind a vhost-user socket; yields (image, socket, pid)."""
    command = need_program("qemu-storage-daemon")
    image, socket = folder / "disk", folder / "blk"
    with open(image, "wb") as file:
        file.write(os.urandom(CHUNK))
        file.truncate(DISK)
    process = subprocess.Popen(
        [command, "--blockdev", f"driver=file,node-name=disk,filename={image}",
         "--export", "type=vhost-user-blk,id=blk,node-name=disk,writable=on,"
         f"addr.type=unix,addr.path={socket}"],
        stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
    try:
        wait_until(socket.exists, what="qemu-storage-daemon")
        yield image, socket, process.pid
    finally:
        process.terminate()
        process.wait(20)


def qemu_arguments(socket):
    return ["-m", "512M", "-machine", "memory-backend=m0", "-object",
            "memory-backend-file,id=m0,size=512M,mem-path={m0},share=on",
            "-chardev", f"socket,id=blk,path={socket}",
            "-device", "vhost-user-blk-pci,chardev=blk"]


def read_chunk(image, offset):
    with open(image, "rb") as file:
        file.seek(offset)
        return file.read(CHUNK)


def md5(data):
    return subprocess.run(["md5sum"], input=data, capture_output=True,
                          check=True).stdout.decode().split()[0]


@harness.time_limit(180)
def test_guest_uses_a_disk_that_is_served_on_the_same_memory():
    harness.need_root()
    harness.need_memory(2 * SIZE)
    with harness.scratch() as folder, \
            served_disk(folder) as (image, socket, server), \
            guest.setup(qemu_arguments(socket), SCRIPT,
                        guestfiles.modules(*MODULES)) as ready, \
            harness.Hostmemd(
                "-object", f"memory-backend-memfd,id=m0,size={SIZE},"
                "prealloc=on,prealloc-threads=2",
                "--run", shlex.join(ready.command),
                timeout=POPULATE_TIMEOUT) as daemon:
        donor = Donor(daemon, SIZE)
        with ready.connect() as linux:
            assert int(linux.expect("sectors ")) * 512 == DISK
            assert donor.is_mapped_by(server)
            content = read_chunk(image, 0)
            assert linux.expect("sum ").split()[0] == md5(content)
            linux.expect("copied")
            assert read_chunk(image, DISK // 2) == content
            assert donor.allocated() == donor.prepared
            linux.send("power off")
            assert daemon.wait() == 0
        wait_until(lambda: not donor.is_mapped_by(server),
                   what="qemu-storage-daemon to let go")


if __name__ == "__main__":
    harness.main()
