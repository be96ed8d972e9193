# SPDX-License-Identifier: LGPL-2.1-or-later
"""A QEMU whose devices a test drives in the place of a guest.

No guest code runs.  QEMU's qtest protocol reads and writes ports and physical
addresses; guest RAM is a memfd, which is mapped here too.

    with Qemu("-device", "virtio-mem-pci,...") as qemu:
        qemu.outl(0xcf8, 0x80000000)
        qemu.ram[0:4] = bytes(4)
        qemu.qmp.execute("query-status")
"""

import contextlib
import mmap
import os
import socket
import subprocess

from harness import die_with_parent, need_program, scratch, wait_until
from qmp import QmpClient

START_TIMEOUT = 30.0  # seconds
TIMEOUT = 20.0


class Qemu:
    """QEMU with @ram_size bytes of RAM, the object ram, and nothing else."""

    def __init__(self, *args, ram_size, maxmem,
                 machine="q35,memory-backend=ram"):
        self._args = [str(arg) for arg in args]
        self._machine = machine
        self._ram_size = ram_size
        self._maxmem = maxmem
        self._input = b""
        self._stack = None
        self._process = None
        self._socket = None
        self.qmp = None
        self.ram = None  # guest RAM from address 0, a mmap

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(scratch())
            self._start(stack, folder)
            self._socket = stack.enter_context(socket.socket(socket.AF_UNIX))
            self._socket.settimeout(TIMEOUT)
            wait_until(lambda: self._try_connect(folder / "qtest"),
                       START_TIMEOUT, "QEMU")
            self.qmp = stack.enter_context(QmpClient.unix(folder / "qmp"))
            self.qmp.negotiate()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def _start(self, stack, folder):
        fd = os.memfd_create("guest-ram", os.MFD_CLOEXEC)
        try:
            os.truncate(fd, self._ram_size)
            self.ram = stack.enter_context(mmap.mmap(fd, self._ram_size))
            self._process = subprocess.Popen(
                [*self._command(fd, folder), *self._args], pass_fds=[fd],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                preexec_fn=die_with_parent)
        finally:
            os.close(fd)
        stack.callback(self._end)

    def _command(self, fd, folder):
        return [
            need_program("qemu-system-x86_64"), "-accel", "tcg", "-S",
            "-nodefaults", "-no-user-config", "-display", "none",
            "-M", self._machine,
            "-m", f"{self._ram_size}B,slots=4,maxmem={self._maxmem}B",
            "-object", f"memory-backend-file,id=ram,size={self._ram_size},"
            f"mem-path=/proc/self/fd/{fd},share=on",
            "-qtest", f"unix:{folder}/qtest,server=on,wait=off",
            "-qtest-log", "none",
            "-qmp", f"unix:{folder}/qmp,server=on,wait=off"]

    def _end(self):
        self._process.kill()
        self._process.wait()

    def _try_connect(self, path):
        assert self._process.poll() is None, "QEMU did not start"
        try:
            self._socket.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    @property
    def pid(self):
        return self._process.pid

    # the protocol: a line there, a line back

    def command(self, *words):
        """What QEMU answers after OK."""
        self._socket.sendall(" ".join(map(str, words)).encode() + b"\n")
        line = self._read_line()
        assert line.startswith("OK"), f"{words}: {line}"
        return line.removeprefix("OK").strip()

    def _read_line(self):
        while b"\n" not in self._input:
            data = self._socket.recv(1 << 16)
            assert data, "QEMU went away"
            self._input += data
        line, _, self._input = self._input.partition(b"\n")
        return line.decode()

    def outl(self, port, value):
        self.command("outl", port, value)

    def inl(self, port):
        return int(self.command("inl", port), 16)

    def read(self, address, size):
        """An integer of 1, 2, 4 or 8 bytes at a physical address."""
        return int(self.command(f"read{'?bw?l???q'[size]}", address), 16)

    def write(self, address, size, value):
        self.command(f"write{'?bw?l???q'[size]}", address, value)
