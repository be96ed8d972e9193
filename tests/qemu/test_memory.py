#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""An unmodified QEMU boots Linux on memory that hostmemd has made ready."""

import contextlib
import mmap
import os
import pathlib
import shlex
import stat

import guest
import harness
from harness import MIB

SIZE = 512 * MIB
WRITTEN = 16 * MIB
PAGE = 4096
POPULATE_TIMEOUT = 60.0  # seconds; it takes less than one
LINE = "hostmem-guest-wrote-this-pattern".ljust(63, "-")
PATTERN = f"{LINE}\n".encode() * (PAGE // 64)

# What it writes into a file stays in its memory: it has no disk.
SCRIPT = f"""
echo "memory $(awk '/^MemTotal/ {{ print $2 }}' /proc/meminfo)"
yes {LINE} | head -c {WRITTEN} >/pattern
echo written
read answer
"""


def qemu_arguments(path):
    return ["-m", "512M", "-machine", "memory-backend=m0", "-object",
            f"memory-backend-file,id=m0,size=512M,mem-path={path},share=on"]


def need_host():
    harness.need_root()
    harness.need_memory(2 * SIZE)


class Donor:
    """The memory as hostmemd holds it, seen through its descriptor."""

    def __init__(self, daemon):
        assert daemon.qmp.execute("qom-get", path="/objects/m0",
                                  property="populated-size") == SIZE
        (self._path,) = [
            entry for entry in pathlib.Path(f"/proc/{daemon.pid}/fd").iterdir()
            if self._is_memory(entry)]
        self.prepared = self.allocated()
        assert self.prepared == SIZE, self.prepared
        assert self.pages_with_pattern() == 0

    @staticmethod
    def _is_memory(path):
        with contextlib.suppress(OSError):
            st = path.stat()
            return stat.S_ISREG(st.st_mode) and st.st_size == SIZE

    def allocated(self):
        """Bytes that have storage now."""
        return self._path.stat().st_blocks * 512

    def pages_with_pattern(self):
        fd = os.open(self._path, os.O_RDONLY)
        try:
            with mmap.mmap(fd, SIZE, prot=mmap.PROT_READ) as memory:
                return sum(memory[at:at + PAGE] == PATTERN
                           for at in range(0, SIZE, PAGE))
        finally:
            os.close(fd)


def use_guest(linux, donor):
    """Let the guest use its memory and look at the other side of it."""
    size = int(linux.expect("memory ")) << 10
    harness.diag(f"the guest has {size // MIB} MiB")
    assert 0.8 * SIZE < size < SIZE, size
    assert donor.allocated() == donor.prepared
    linux.expect("written")
    assert donor.pages_with_pattern() >= WRITTEN // PAGE
    assert donor.allocated() == donor.prepared
    linux.send("power off")


@harness.time_limit(180)
def test_guest_boots_on_a_tmpfs_file_by_name():
    need_host()
    with harness.tmpfs(SIZE) as folder:
        path = folder / "vm7"
        with harness.Hostmemd(
                "-object", f"memory-backend-file,id=m0,size={SIZE},share=on,"
                f"mem-path={path},prealloc=on,prealloc-threads=2",
                timeout=POPULATE_TIMEOUT) as daemon:
            donor = Donor(daemon)
            with guest.boot(qemu_arguments(path), SCRIPT) as linux:
                use_guest(linux, donor)
            assert donor.allocated() == donor.prepared


@harness.time_limit(180)
def test_guest_boots_on_a_memfd_of_its_parent():
    need_host()
    with guest.setup(qemu_arguments("{m0}"), SCRIPT) as ready, \
            harness.Hostmemd(
                "-object", f"memory-backend-memfd,id=m0,size={SIZE},"
                "prealloc=on,prealloc-threads=2",
                "--run", shlex.join(ready.command),
                timeout=POPULATE_TIMEOUT) as daemon:
        donor = Donor(daemon)
        with ready.connect() as linux:
            use_guest(linux, donor)
            assert daemon.wait() == 0


if __name__ == "__main__":
    harness.main()
