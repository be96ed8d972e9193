# SPDX-License-Identifier: LGPL-2.1-or-later
"""memory-backend-file: what mem-path may be, and what becomes of it."""

import os
import socket

import harness
from expect import (as_nobody, nothing_left, object_fails, object_works,
                    wait_until_populating)
from harness import (MIB, Hostmemd, SlowHost, hugetlbfs, need_huge_pages,
                     scratch, tmpfs)


def backend(path, *more, size="4M"):
    return ",".join(["memory-backend-file", "id=m0", f"size={size}",
                     f"mem-path={path}", *more])


def test_path_missing():
    object_fails("memory-backend-file,id=m0,size=4M",
                 "Parameter 'mem-path' is missing")


def test_folder_missing():
    with scratch() as folder:
        path = folder / "missing" / "file"
        object_fails(backend(path), f"can't open backing store {path} for "
                     "guest RAM: No such file or directory", folder=folder)


def test_new_file():
    with scratch() as folder:
        object_works(backend(folder / "file", "prealloc=on", "share=on"))
        stat = os.stat(folder / "file")
        assert stat.st_size == 4 * MIB, stat
        assert stat.st_blocks * 512 >= 4 * MIB, stat


def test_comma_in_the_path():
    with scratch() as folder:
        object_works(backend(folder / "a,,b"))
        assert os.listdir(folder) == ["a,b"]


def test_folder():
    with scratch() as folder, nothing_left(folder):
        object_works(backend(folder, "prealloc=on"))


def test_existing_file_keeps_its_content():
    with scratch() as folder:
        content = os.urandom(5 * MIB)
        (folder / "file").write_bytes(content)
        object_works(backend(folder / "file", "prealloc=on", "share=on"))
        assert (folder / "file").read_bytes() == content


def test_existing_file_too_small():
    with scratch() as folder:
        (folder / "file").write_bytes(bytes(MIB))
        object_fails(backend(folder / "file"), "backing store size 0x100000",
                     "is too small for 'size' option 0x400000",
                     folder=folder)
        assert os.stat(folder / "file").st_size == MIB


def test_empty_file_is_sized_and_stays_on_failure():
    with scratch() as folder:
        (folder / "file").touch()
        object_works(backend(folder / "file"))
        assert os.stat(folder / "file").st_size == 4 * MIB


def test_fifo():
    with scratch() as folder:
        os.mkfifo(folder / "fifo")
        object_fails(backend(folder / "fifo"), str(folder / "fifo"),
                     folder=folder)
        object_fails(backend(folder / "fifo", "readonly=on"),
                     str(folder / "fifo"), folder=folder)


def test_socket():
    with scratch() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        object_fails(backend(folder / "socket"), str(folder / "socket"),
                     "socket", folder=folder)


def test_device():
    for device in ("/dev/null", "/dev/zero"):
        object_fails(backend(device), device)
        object_fails(backend(device, "share=on", "prealloc=on"), device)


def test_dangling_link():
    with scratch() as folder:
        os.symlink("/nonexistent/file", folder / "link")
        object_fails(backend(folder / "link"), str(folder / "link"),
                     folder=folder)


def test_file_without_write_permission():
    with scratch() as folder:
        folder.chmod(0o755)
        path = folder / "file"
        path.write_bytes(bytes(4 * MIB))
        path.chmod(0o444)
        object_fails(backend(path), f"can't open backing store {path}",
                     "Permission denied", under=as_nobody(), folder=folder)
        object_works(backend(path, "readonly=on"), under=as_nobody())


def test_folder_without_write_permission():
    with scratch() as folder:
        folder.chmod(0o755)
        object_fails(backend(folder / "file"), str(folder / "file"),
                     "Permission denied", under=as_nobody(), folder=folder)
        object_fails(backend(folder), str(folder), "Permission denied",
                     under=as_nobody(), folder=folder)


def test_folder_without_search_permission():
    with scratch() as folder:
        folder.chmod(0o700)
        object_fails(backend(folder / "file"), str(folder / "file"),
                     "Permission denied", under=as_nobody(), folder=folder)


def test_read_only_file_system():
    with tmpfs(8 * MIB, "ro") as folder:
        object_fails(backend(folder / "file"), str(folder / "file"),
                     "Read-only file system", folder=folder)


def test_readonly_and_prealloc():
    """QEMU dies of a write to a read-only mapping here."""
    with scratch() as folder:
        (folder / "file").write_bytes(bytes(4 * MIB))
        object_fails(backend(folder / "file", "readonly=on", "prealloc=on"),
                     "prealloc", "readonly", folder=folder)


def test_readonly_creates_nothing():
    with scratch() as folder:
        object_fails(backend(folder / "file", "readonly=on"),
                     "No such file or directory", folder=folder)
        object_fails(backend(folder, "readonly=on"), "Is a directory",
                     folder=folder)


def test_rom_of_a_writable_file():
    with scratch() as folder:
        object_fails(backend(folder / "file", "rom=on"),
                     "property 'rom' = 'on' is not supported with 'readonly'"
                     " = 'off'", folder=folder)


def test_shared_ram_of_a_readonly_file():
    with scratch() as folder:
        (folder / "file").write_bytes(bytes(4 * MIB))
        object_fails(
            backend(folder / "file", "readonly=on", "rom=off", "share=on"),
            "property 'rom' = 'off' is incompatible with 'readonly' = 'on' "
            "and 'share' = 'on'", folder=folder)


def test_align_no_page_multiple():
    with scratch() as folder:
        object_fails(backend(folder / "file", "align=1"),
                     "alignment 0x1 must be multiples of page size 0x1000",
                     folder=folder)


def test_align_no_power_of_two():
    with scratch() as folder:
        object_fails(backend(folder / "file", "align=12288"),
                     "alignment 0x3000 must be a power of two", folder=folder)


def test_align_beyond_the_address_space():
    with scratch() as folder:
        object_fails(backend(folder / "file", "align=4E"), "m0",
                     folder=folder)


def test_offset_no_page_multiple():
    with scratch() as folder:
        object_fails(backend(folder / "file", "offset=100"),
                     "offset 0x64 must be multiples of page size 0x1000",
                     folder=folder)


def test_offset_beyond_the_file():
    with scratch() as folder:
        (folder / "file").write_bytes(bytes(4 * MIB))
        object_fails(backend(folder / "file", "offset=4096"),
                     "backing store size 0x400000",
                     "plus 'offset' option 0x1000", folder=folder)


def test_offset_that_overflows():
    with scratch() as folder:
        object_fails(backend(folder / "file", "offset=0x7ffffffffffff000"),
                     "offset", folder=folder)


def test_full_tmpfs():
    """The error of QEMU says Bad address, and its file stays."""
    with tmpfs(2 * MIB) as folder:
        for more in ("prealloc-check=on", "prealloc-check=off"):
            text = backend(folder / "file", "share=on", "prealloc=on", more)
            object_fails(text, "4 MiB", "2 MiB", str(folder), folder=folder)


def test_full_tmpfs_through_a_folder():
    with tmpfs(2 * MIB) as folder:
        for more in ("prealloc-check=on", "prealloc-check=off"):
            object_fails(backend(folder, "share=on", "prealloc=on", more),
                         "4 MiB", "2 MiB", str(folder), folder=folder)


def test_full_tmpfs_and_a_file_that_was_there():
    with tmpfs(2 * MIB) as folder:
        (folder / "file").write_bytes(b"mine")
        os.truncate(folder / "file", 4 * MIB)
        object_fails(backend(folder / "file", "share=on", "prealloc=on",
                             "prealloc-check=off"), "tmpfs",
                     str(folder), folder=folder)
        with open(folder / "file", "rb") as file:
            assert file.read(4) == b"mine"


def test_size_below_the_huge_page():
    with hugetlbfs() as folder:
        object_fails(backend(folder, size="1M"),
                     "memory size 0x100000 must be equal to or larger than "
                     "page size 0x200000", folder=folder)


def test_hugetlbfs_without_pages():
    with hugetlbfs() as folder, need_huge_pages(0):
        for path in (folder, folder / "file"):
            object_fails(backend(path, "prealloc=on", "share=on"), "huge page",
                         folder=folder)


def test_hugetlbfs_with_too_few_pages():
    with hugetlbfs() as folder, need_huge_pages(1):
        object_fails(backend(folder / "file", "prealloc=on", "share=on"),
                     "huge page", folder=folder)


def test_hugetlbfs_that_is_too_small():
    """The limit is the mount's, whether it is looked at before or not."""
    with hugetlbfs(size=2 * MIB) as folder, need_huge_pages(4):
        for check in "on", "off":
            object_fails(backend(folder / "file", "share=on",
                                 f"prealloc-check={check}"),
                         "4 MiB", "2 MiB", "free", "hugetlbfs", folder=folder)


def test_hugetlbfs():
    with hugetlbfs() as folder, need_huge_pages(2):
        with nothing_left(folder):
            words = object_works(backend(folder, "prealloc=on", "share=on"))
        assert words[2:6] == ["4", "MiB", "2", "MiB"], words


def test_file_that_shrinks_meanwhile():
    """Touching a page behind the new end would be SIGBUS."""
    with tmpfs(256 * MIB) as folder, SlowHost(5) as slow:
        path = folder / "file"
        path.touch()
        text = backend(path, "share=on", "prealloc=on",
                       "prealloc-threads=1", size="192M")
        with Hostmemd("-object", text, qmp=False, cgroup=slow) as daemon:
            wait_until_populating(daemon.pid)
            os.truncate(path, 0)
            status = daemon.wait()
        assert status == 1, status
        assert f"hostmemd: -object {text}: " in daemon.stderr, daemon.stderr
        assert "shrank" in daemon.stderr or "truncated" in daemon.stderr


if __name__ == "__main__":
    harness.main()
