#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Linux's virtio_mem driver on our device, in the VMM of this folder.

Each test begins with nothing plugged.  To boot takes longer than all else, so
a guest that a test has left in order is there for the next one that wants the
same memory.
"""

import harness
import vmmhost
from harness import MIB
from vmm import RETRY_TIME

RAM = 256 * MIB
REGION = 1024 * MIB
LITTLE = 32 * MIB  # a guest touches less of memory that it does not use
HOST = vmmhost.Host()


class Current:
    """The guest that waits for the next test."""

    vmm = None
    options = None


def find_vmm(options):
    if Current.vmm and Current.options != options:
        assert Current.vmm.power_off() == 0
        Current.vmm = None
    Current.options = options
    return Current.vmm or HOST.start(options)


def with_guest(backend, prealloc):
    """Decorator: the test gets a Vmm whose virtio-mem has such memory."""
    options = ["--object", f"memory-backend-memfd,id=ram,size={RAM}",
               "--object", f"{backend},id=m0,size={REGION}", "--ram", "ram",
               "--device", f"virtio-mem,memdev=m0,prealloc={prealloc}"]

    def decorate(function):
        @harness.time_limit(300)
        def test():
            try:
                vmm = find_vmm(options)
                Current.vmm = None
                vmm.resize(0)
                function(vmm)
                Current.vmm = None if vmm.ended else vmm
            except BaseException:
                Current.vmm = None
                HOST.close()
                raise
        test.__name__ = function.__name__
        return test
    return decorate


populated_memfd = with_guest("memory-backend-memfd", "on")
lazy_memfd = with_guest("memory-backend-memfd", "off")
populated_ram = with_guest("memory-backend-ram", "on")
lazy_ram = with_guest("memory-backend-ram", "off")


def plug(vmm, size):
    """Plug memory, and see that the guest has it; returns the status."""
    before = vmm.memory()
    vmm.resize(size)
    vmm.wait_for_memory(before + size)
    return vmm.status()


def use(vmm, size):
    """Let the guest touch that much memory, and free it again.

    Linux takes what was plugged first, because that is movable.
    """
    vmm.run("mkdir -p /tmp && mount -t tmpfs none /tmp")
    vmm.run(f"dd if=/dev/zero of=/tmp/file bs=1M count={size // MIB}"
            " 2>/dev/null")
    vmm.run("umount /tmp")


def expect_populated(status, size):
    """Just so much is populated: the library says so, and the kernel."""
    assert status["populated"] == status["resident"] == size, status


# prealloc=on

@populated_memfd
def test_driver_finds_the_device(vmm):
    assert vmm.run("ls -d /sys/bus/virtio/drivers/virtio_mem/virtio0")


@populated_memfd
def test_plug_populates_memfd(vmm):
    expect_populated(vmm.status(), 0)
    expect_populated(plug(vmm, 384 * MIB), 384 * MIB)


@populated_memfd
def test_unplug_gives_populated_memfd_back(vmm):
    before = vmm.memory()
    plug(vmm, 512 * MIB)
    expect_populated(vmm.resize(128 * MIB), 128 * MIB)
    assert vmm.status()["backed"] == 128 * MIB
    vmm.wait_for_memory(before + 128 * MIB)


@populated_memfd
def test_guest_grows_again(vmm):
    plug(vmm, 256 * MIB)
    vmm.resize(0)
    expect_populated(plug(vmm, 512 * MIB), 512 * MIB)


@populated_memfd
def test_steps_may_be_as_small_as_blocks(vmm):
    before = vmm.memory()
    for size in (128, 130, 136, 132, 126, 6):
        expect_populated(vmm.resize(size * MIB), size * MIB)
        vmm.wait_for_memory(before + size * MIB)


@populated_memfd
def test_reboot_unplugs_and_plugs_again(vmm):
    before = vmm.memory()
    plug(vmm, 256 * MIB)
    vmm.send("reboot -f")
    status = vmm.wait_for(lambda status: status["plugged"] == 0)
    expect_populated(status, 0)
    vmm.wait_for_boot()
    expect_populated(vmm.wait_for_size(256 * MIB), 256 * MIB)
    vmm.wait_for_memory(before + 256 * MIB)


@populated_memfd
def test_reset_may_come_while_the_guest_plugs(vmm):
    before = vmm.memory()
    vmm.command(f"requested-size {REGION}")
    vmm.wait_for(lambda status: status["plugged"] > 0)
    vmm.command("reset")
    vmm.command(f"requested-size {128 * MIB}")
    vmm.wait_for_boot()
    expect_populated(vmm.wait_for_size(128 * MIB), 128 * MIB)
    vmm.wait_for_memory(before + 128 * MIB)


@populated_memfd
def test_request_may_be_repeated_after_a_veto(vmm):
    begin_veto(vmm)
    status = vmm.resize(256 * MIB, timeout=RETRY_TIME - 10)
    expect_populated(status, 256 * MIB)


@populated_memfd
def test_driver_retries_after_a_veto(vmm):
    begin_veto(vmm)
    expect_populated(vmm.wait_for_size(256 * MIB), 256 * MIB)


def begin_veto(vmm):
    """Have one request of the guest vetoed; the next would not be."""
    vmm.command("veto on")
    vmm.command(f"requested-size {256 * MIB}")
    status = vmm.wait_for(lambda status: status["busy"] > 0)
    assert "no more memory is to be mapped" in status["reason"], status
    assert status["plugged"] == 0, status
    expect_populated(status, 0)
    vmm.command("veto off")


@populated_memfd
def test_guest_powers_off(vmm):
    plug(vmm, 128 * MIB)
    assert vmm.power_off() == 0


@populated_ram
def test_plug_populates_ram(vmm):
    expect_populated(plug(vmm, 384 * MIB), 384 * MIB)


@populated_ram
def test_unplug_gives_populated_ram_back(vmm):
    before = vmm.memory()
    plug(vmm, 512 * MIB)
    expect_populated(vmm.resize(128 * MIB), 128 * MIB)
    vmm.wait_for_memory(before + 128 * MIB)


# prealloc=off

def check_lazy(vmm):
    """The guest gets the memory, and only what it touches is populated."""
    before = vmm.memory()
    status = plug(vmm, 256 * MIB)
    assert status["resident"] < LITTLE, status
    use(vmm, 2 * LITTLE)
    status = vmm.status()
    assert status["resident"] >= 2 * LITTLE, status
    expect_populated(vmm.resize(0), 0)
    vmm.wait_for_memory(before)


@lazy_memfd
def test_guest_populates_memfd_and_gives_it_back(vmm):
    check_lazy(vmm)


@lazy_ram
def test_guest_populates_ram_and_gives_it_back(vmm):
    check_lazy(vmm)


if __name__ == "__main__":
    with HOST:
        harness.main()
