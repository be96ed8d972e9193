# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the VMM runs: this machine, or one that QEMU emulates.

Many a /dev/kvm is good for small guests only, or there is none; then QEMU
emulates a processor that has SVM, boots Linux on it, and the VMM runs there.
Which it is to be is found out by booting a guest here, once.

    with vmmhost.Host() as host:
        vmm = host.start(["--object", ...])
        vmm.command("requested-size 1G")
        vmm.run("cat /proc/meminfo")
"""

import contextlib
import functools
import shlex
import socket
import subprocess

import guest
import guestfiles
from harness import (MIB, build_folder, diag, die_with_parent, need_memory,
                     scratch, skip)
from vmm import READY, Vmm

HERE_TIMEOUT = 8.0  # seconds for a guest to boot on a /dev/kvm that is good

# The guest's script: virtio_mem finds the device, then it does as it is told.
MODULES = ("virtio_ring", "virtio", "virtio_mmio", "virtio_mem")
SCRIPT = f"""
echo online_movable >/sys/devices/system/memory/auto_online_blocks
for module in {' '.join(MODULES)}; do insmod /lib/$module.ko; done
echo {READY}
while read -r line; do eval "$line"; echo "end $?"; done
"""

# The script of the machine around it, which has KVM.
KVM_MODULES = ("irqbypass", "kvm", "kvm-amd")
KVM_MEMORY = 2048 * MIB
KVM_MACHINE = ["-cpu", "EPYC,+svm,+npt", "-m", f"{KVM_MEMORY // MIB}M"]
KVM_SCRIPT = f"""
export LD_LIBRARY_PATH=/lib
for module in {' '.join(KVM_MODULES)}; do insmod /lib/$module.ko; done
test -c /dev/kvm; echo "kvm $?"
while read -r line; do eval "$line"; echo "exit $?"; done
"""

# A small guest: what is booted to see whether that works.
SMALL = ["--object", "memory-backend-memfd,id=ram,size=256M", "--ram", "ram",
         "--object", "memory-backend-memfd,id=m0,size=128M",
         "--device", "virtio-mem,memdev=m0"]


def _program():
    path = build_folder() / "tests" / "guest" / "vmm"
    return path if path.exists() else skip(
        "the VMM was not built: it takes iasl (acpica-tools) and x86_64")


def _command(program, kernel, initramfs, options):
    return [str(program), "--kernel", str(kernel), "--initramfs",
            str(initramfs), "--append",
            "console=ttyS0 quiet loglevel=0 panic=-1 nokaslr", *options]


class _Here:
    """On the /dev/kvm of this machine."""

    def __init__(self, initramfs):
        self._initramfs = initramfs
        self._process = None
        self._stack = contextlib.ExitStack()

    def start(self, options):
        ours, theirs = socket.socketpair()
        self._stack.enter_context(ours)
        with theirs:
            self._process = subprocess.Popen(
                _command(_program(), guestfiles.kernel(), self._initramfs,
                         options),
                stdin=theirs, stdout=theirs, stderr=theirs,
                preexec_fn=die_with_parent)
        self._stack.callback(self._kill)
        return guest.Console(ours)

    def wait(self, _console):
        status = self._process.wait(guest.BOOT_TIMEOUT)
        self._stack.close()
        return status

    def _kill(self):
        self._process.kill()
        self._process.wait()

    def close(self):
        self._stack.close()


class _Nested:
    """In a guest of QEMU; it is this one that prints "exit STATUS"."""

    def __init__(self, initramfs):
        need_memory(KVM_MEMORY)
        files = {"vmm": _program(), "vmlinuz": guestfiles.kernel(),
                 "initramfs": initramfs, **guestfiles.libraries(_program()),
                 **guestfiles.modules(*KVM_MODULES)}
        with contextlib.ExitStack() as stack:
            self._console = stack.enter_context(guest.boot(
                KVM_MACHINE, KVM_SCRIPT, files, must_power_off=False))
            assert self._console.expect("kvm ") == "0", "no /dev/kvm"
            self._stack = stack.pop_all()

    def start(self, options):
        self._console.send(shlex.join(
            _command("/vmm", "/vmlinuz", "/initramfs", options)))
        return self._console

    def wait(self, console):
        return int(console.expect("exit "))

    def close(self):
        self._stack.close()


class Host:
    """One VMM after the other; its place is looked for when it is needed."""

    def __init__(self):
        self._stack = contextlib.ExitStack()
        self._place = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()
        self._stack.close()

    def start(self, options):
        """A Vmm whose guest has booted; the one before must have ended."""
        self._place = self._place or self._find_place()
        vmm = Vmm(self._place, self._place.start(options))
        vmm.wait_for_boot()
        return vmm

    def close(self):
        """End all that runs, whatever it does; start() begins anew."""
        place, self._place = self._place, None
        if place:
            place.close()

    @functools.cached_property
    def _initramfs(self):
        folder = self._stack.enter_context(scratch())
        return guestfiles.initramfs(folder, SCRIPT,
                                    guestfiles.modules(*MODULES))

    @functools.cached_property
    def _kvm_is_good(self):
        """Whether a guest boots on this machine's KVM, and soon."""
        here = _Here(self._initramfs)
        try:
            Vmm(here, here.start(SMALL)).wait_for_boot(HERE_TIMEOUT)
        except (TimeoutError, AssertionError, OSError) as error:
            diag(f"no guest boots on this machine's /dev/kvm: {error}")
            return False
        finally:
            here.close()
        return True

    def _find_place(self):
        place = _Here if self._kvm_is_good else _Nested
        return place(self._initramfs)
