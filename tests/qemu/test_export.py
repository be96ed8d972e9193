#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""An unmodified QEMU, run by another user, finds its memory by name."""

import contextlib
import mmap
import os
import subprocess

import guest
import harness
from harness import MIB

VMM = 65534  # uid
SIZE = 256 * MIB
WRITTEN = 16 * MIB
PAGE = 4096
LINE = "hostmem-guest-wrote-this-pattern".ljust(63, "-")
PATTERN = f"{LINE}\n".encode() * (PAGE // 64)

# What it writes into a file stays in its memory: it has no disk.
SCRIPT = f"""
echo "nodes $(ls -d /sys/devices/system/node/node* | wc -l)"
yes {LINE} | head -c {WRITTEN} >/pattern
echo written
read answer
"""


def need_host():
    harness.need_root()
    harness.need_memory(3 * SIZE)


def backend(id, path, *more, kind="memory-backend-ram,share=on"):
    return "-object", ",".join(
        [kind, f"id={id}", f"size={SIZE}", "prealloc=on",
         f"export-owner={VMM}", f"export-path={path}", *more])


def qemu_arguments(*paths):
    """A guest of one NUMA node for each path."""
    args = ["-m", f"{len(paths) * SIZE // MIB}M", "-smp", str(len(paths))]
    for i, path in enumerate(paths):
        args += ["-object", f"memory-backend-file,id=m{i},size={SIZE},"
                 f"mem-path={path},share=on"]
    if len(paths) == 1:
        return [*args, "-machine", "memory-backend=m0"]
    for i in range(len(paths)):
        args += ["-numa", f"node,nodeid={i},cpus={i},memdev=m{i}"]
    return args


def pages_with_pattern(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        with mmap.mmap(fd, SIZE, prot=mmap.PROT_READ) as memory:
            return sum(memory[at:at + PAGE] == PATTERN
                       for at in range(0, SIZE, PAGE))
    finally:
        os.close(fd)


def boot_on(*paths):
    """A guest writes, and hostmemd's file has it; nothing was allocated."""
    before = [os.stat(path).st_blocks * 512 for path in paths]
    assert before == [SIZE] * len(paths) or before[0] == 0, before
    assert sum(map(pages_with_pattern, paths)) == 0
    with guest.boot(qemu_arguments(*paths), SCRIPT, uid=VMM) as linux:
        assert linux.expect("nodes ") == str(len(paths))
        linux.expect("written")
        assert sum(map(pages_with_pattern, paths)) >= WRITTEN // PAGE
        linux.send("power off")
    after = [os.stat(path).st_blocks * 512 for path in paths]
    assert after == before, (before, after)


@contextlib.contextmanager
def export_dir(*args):
    """A hostmemd with a directory of its own; yields that."""
    with harness.scratch() as folder:
        folder.chmod(0o755)
        place = folder / "memory"
        place.mkdir()
        with harness.Hostmemd("-export-dir", place, *args, timeout=60):
            yield place
        assert not os.path.ismount(place)


@harness.time_limit(180)
def test_guest_boots_on_a_name_in_the_export_dir():
    need_host()
    with export_dir(*backend("m0", "vm7")) as folder:
        boot_on(folder / "vm7")
        assert (folder / "vm7").exists()


@harness.time_limit(180)
def test_guest_with_two_nodes():
    need_host()
    with export_dir(*backend("m0", "node0"),
                    *backend("m1", "node1")) as folder:
        boot_on(folder / "node0", folder / "node1")


@harness.time_limit(180)
def test_guest_boots_on_hugetlbfs():
    need_host()
    with harness.hugetlbfs() as folder, \
            harness.need_huge_pages(SIZE // (2 * MIB)):
        folder.chmod(0o755)
        with harness.Hostmemd(*backend(
                "m0", folder / "vm7", "hugetlb=on", "hugetlbsize=2M",
                "seal=off", kind="memory-backend-memfd"), timeout=60):
            boot_on(folder / "vm7")
        assert os.listdir(folder) == []


@harness.time_limit(60)
def test_name_of_another_user_is_refused():
    need_host()
    with harness.scratch() as folder:
        folder.chmod(0o755)
        place = folder / "memory"
        place.mkdir()
        with harness.Hostmemd("-export-dir", place, "-object",
                              "memory-backend-ram,id=m0,share=on,size=4M,"
                              "export-path=vm7"):
            result = subprocess.run(
                [harness.need_program("qemu-system-x86_64"), "-nodefaults",
                 "-display", "none", "-S", "-m", "4M", "-object",
                 f"memory-backend-file,id=m0,size=4M,mem-path={place}/vm7,"
                 "share=on", "-machine", "memory-backend=m0"],
                capture_output=True, text=True, timeout=40,
                preexec_fn=guest.become(VMM))
            assert result.returncode == 1, result
            assert "Permission denied" in result.stderr, result


if __name__ == "__main__":
    harness.main()
