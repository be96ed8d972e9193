# SPDX-License-Identifier: LGPL-2.1-or-later
"""Memory that hostmemd made and a guest uses, looked at from hostmemd's side.

The guest fills it with a pattern, by SCRIPT or by write_pattern(); a Donor
counts the pages of its backend that hold it.
"""

import contextlib
import mmap
import os
import pathlib
import stat

from harness import MIB, diag

WRITTEN = 4 * MIB
PAGE = 4096
LINE = "hostmem-guest-wrote-this-pattern".ljust(63, "-")
PATTERN = f"{LINE}\n".encode() * (PAGE // 64)


def write_pattern(path, under=""):
    """Shell: fill a file of the guest; @under starts the command that does."""
    return f"yes {LINE} | {under} head -c {WRITTEN} >{path}"


# What it writes into a file stays in its memory: it has no disk.
SCRIPT = f"""
echo "memory $(awk '/^MemTotal/ {{ print $2 }}' /proc/meminfo)"
{write_pattern("/pattern")}
echo written
read answer
"""


class Donor:
    """One backend, populated and not used yet, by its size."""

    def __init__(self, daemon, size, name="m0"):
        assert daemon.qmp.execute("qom-get", path=f"/objects/{name}",
                                  property="populated-size") == size
        self.size = size
        (self._path,) = [
            entry for entry in pathlib.Path(f"/proc/{daemon.pid}/fd").iterdir()
            if self._is_memory(entry)]
        self._inode = self._path.stat().st_ino
        self.prepared = self.allocated()
        assert self.prepared == size, self.prepared
        assert self.pages_with_pattern() == 0

    def _is_memory(self, path):
        with contextlib.suppress(OSError):
            st = path.stat()
            return stat.S_ISREG(st.st_mode) and st.st_size == self.size

    def allocated(self):
        """Bytes that have storage now."""
        return self._path.stat().st_blocks * 512

    def is_mapped_by(self, pid):
        """Whether another process maps it; hostmemd may be gone."""
        return any(int(line.split()[4]) == self._inode
                   for line in pathlib.Path(f"/proc/{pid}/maps")
                   .read_text().splitlines())

    def pages_with_pattern(self):
        fd = os.open(self._path, os.O_RDONLY)
        try:
            with mmap.mmap(fd, self.size, prot=mmap.PROT_READ) as memory:
                return sum(memory[at:at + PAGE] == PATTERN
                           for at in range(0, self.size, PAGE))
        finally:
            os.close(fd)

    def expect_pattern(self):
        """The guest has written here, and nothing was allocated for that."""
        assert self.pages_with_pattern() >= WRITTEN // PAGE
        assert self.allocated() == self.prepared


def use_guest(linux, donor):
    """Let a guest with SCRIPT use its memory, and look at it from outside."""
    size = int(linux.expect("memory ")) << 10
    diag(f"the guest has {size // MIB} MiB")
    assert 0.8 * donor.size < size < donor.size, size
    assert donor.allocated() == donor.prepared
    linux.expect("written")
    donor.expect_pattern()
    linux.send("power off")
