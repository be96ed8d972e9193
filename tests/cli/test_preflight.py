#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What cannot fit is refused with the limit named; nothing is killed."""

import harness
from harness import MIB


def run_once(backend, size, more="", **options):
    """hostmemd --once on one backend of @size MiB."""
    return harness.run_hostmemd(
        ["--once", "--quiet", "-object",
         f"memory-backend-{backend},id=m0,size={size}M,prealloc=on{more}"],
        **options)


def assert_refused(result, *phrases):
    assert result.returncode == 1, result
    for phrase in phrases:
        assert phrase in result.stderr, f"{phrase!r} not in {result.stderr}"


def refuse_in_cgroup(backend, more=""):
    with harness.MemoryCgroup(128 * MIB) as cgroup:
        result = run_once(backend, 128, more, cgroup=cgroup)
        assert_refused(result, f"memory-backend-{backend} 'm0' needs 128 MiB",
                       str(cgroup.path), "allows 128 MiB")
        assert cgroup.oom_kills() == 0


def fit_in_cgroup(backend, more=""):
    """With room for the shadow memory of an instrumented hostmemd."""
    with harness.MemoryCgroup(128 * MIB) as cgroup:
        result = run_once(backend, 96, more, cgroup=cgroup)
        assert result.returncode == 0, result
        assert cgroup.oom_kills() == 0


def test_private_memory_larger_than_memory_cgroup():
    refuse_in_cgroup("ram")


def test_memfd_larger_than_memory_cgroup():
    refuse_in_cgroup("memfd")


def test_shm_larger_than_memory_cgroup():
    refuse_in_cgroup("shm")


def test_private_copy_of_tmpfs_file_larger_than_memory_cgroup():
    """It takes the memory twice: in the file, and in the copy."""
    with harness.tmpfs(256 * MIB) as folder, \
            harness.MemoryCgroup(128 * MIB) as cgroup:
        result = run_once("file", 80, f",share=off,mem-path={folder}/m0",
                          cgroup=cgroup)
        assert_refused(result, "needs 80 MiB", "allows 128 MiB")
        assert cgroup.oom_kills() == 0


def test_private_memory_that_fits_memory_cgroup():
    fit_in_cgroup("ram", ",prealloc-threads=2")


def test_memfd_that_fits_memory_cgroup():
    fit_in_cgroup("memfd", ",prealloc-threads=2")


def test_larger_than_any_host():
    assert_refused(run_once("ram", 1 << 24), "needs 16 TiB",
                   "of memory and")


def test_file_larger_than_tmpfs():
    with harness.tmpfs(16 * MIB) as folder:
        result = run_once("file", 32, f",share=on,mem-path={folder}/m0")
        assert_refused(result, "needs 32 MiB", "16 MiB free on tmpfs of"
                       f" {folder}/m0")
        assert list(folder.iterdir()) == []


def test_file_that_fills_tmpfs():
    with harness.tmpfs(16 * MIB) as folder:
        result = run_once("file", 16, f",share=on,mem-path={folder}/m0")
        assert result.returncode == 0, result


def test_as_many_huge_pages_as_the_pool_has():
    """Workers do not mistake each other's pages for missing ones."""
    with harness.need_huge_pages(64):
        for _ in range(8):
            result = run_once("memfd", 128, ",hugetlb=on,prealloc-threads=2")
            assert result.returncode == 0, result


def test_more_huge_pages_than_the_pool_has():
    with harness.need_huge_pages(2):
        assert_refused(run_once("memfd", 8, ",hugetlb=on"),
                       "needs 4 huge pages of 2 MiB: 2 are free")
        result = run_once("memfd", 4, ",hugetlb=on")
        assert result.returncode == 0, result


def test_check_can_be_switched_off():
    with harness.tmpfs(16 * MIB) as folder:
        result = run_once("file", 32, ",share=on,prealloc-check=off,"
                          f"mem-path={folder}/m0")
        assert_refused(result, "preallocating memory failed")


if __name__ == "__main__":
    harness.main()
