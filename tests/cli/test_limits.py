# SPDX-License-Identifier: LGPL-2.1-or-later
"""Limits of the host and of the process: an error, never a signal."""

import harness
from expect import as_nobody, fails, object_fails, object_works, under
from harness import MIB, need_huge_pages, scratch

RAM = "memory-backend-ram,id=m0"


def test_address_space():
    object_fails(RAM + ",size=4G", "cannot set up guest memory 'm0'",
                 under=under("prlimit", f"--as={1024 * MIB}"))


def test_address_space_of_shared_memory():
    object_fails("memory-backend-memfd,id=m0,size=4G", "RLIMIT_AS is 1 GiB",
                 under=under("prlimit", f"--as={1024 * MIB}"))


def test_private_data():
    for kind in "ram", "memfd,share=off":
        object_fails(f"memory-backend-{kind},id=m0,size=4G",
                     "needs 4 GiB, RLIMIT_DATA is 1 GiB",
                     under=under("prlimit", f"--data={1024 * MIB}"))


def test_locked_memory():
    object_fails(RAM + ",size=64M,mem-lock=on",
                 "memory-backend-ram 'm0' needs 64 MiB locked in memory: "
                 "RLIMIT_MEMLOCK allows 8 MiB and 0 B is used",
                 under=as_nobody("prlimit", f"--memlock={8 * MIB}"))


def test_locked_memory_of_two():
    fails("--once", "-object", RAM + ",size=6M,mem-lock=on-fault", "-object",
          "memory-backend-ram,id=m1,size=6M,mem-lock=on",
          phrases=["needs 6 MiB locked in memory", "6 MiB is used"],
          under=as_nobody("prlimit", f"--memlock={8 * MIB}"))


def test_locked_memory_within_its_limit():
    object_works(RAM + ",size=8M,mem-lock=on",
                 under=as_nobody("prlimit", f"--memlock={8 * MIB}"))


def test_hardly_any_descriptor():
    for count in range(6, 32, 5):
        fails("--once", "-object", RAM + ",size=2M",
              phrases=["RLIMIT_NOFILE", str(count)],
              under=under("prlimit", f"--nofile={count}"))


def test_descriptors_run_out():
    objects = [f"memory-backend-memfd,id=m{i},size=2M" for i in range(60)]
    args = [word for text in objects for word in ("-object", text)]
    fails("--once", *args, phrases=["Too many open files"],
          under=under("prlimit", "--nofile=40"))


def test_no_thread():
    fails("--once", "-object", RAM + ",size=2M", phrases=["thread"],
          under=as_nobody("prlimit", "--nproc=1"))


def test_file_size():
    object_fails("memory-backend-memfd,id=m0,size=64M",
                 "failed to resize memfd to 67108864: File too large "
                 f"(RLIMIT_FSIZE is {MIB})",
                 under=under("prlimit", f"--fsize={MIB}"))


def test_file_size_of_pidfile():
    with scratch() as folder:
        fails("--once", "-pidfile", folder / "pid", "-object", RAM + ",size=2M",
              phrases=["cannot create PID file", "File too large"],
              folder=folder, under=under("prlimit", "--fsize=0"))


def test_no_huge_pages():
    with need_huge_pages(0):
        object_fails("memory-backend-memfd,id=m0,size=4M,hugetlb=on,"
                     "prealloc=on", "huge page", "2 MiB")


def test_too_few_huge_pages():
    with need_huge_pages(1):
        for prealloc in ("off", "on"):
            object_fails("memory-backend-memfd,id=m0,size=4M,hugetlb=on,"
                         f"prealloc={prealloc}", "huge page")


def test_enough_huge_pages():
    with need_huge_pages(2):
        object_works("memory-backend-memfd,id=m0,size=4M,hugetlb=on,"
                     "prealloc=on")


if __name__ == "__main__":
    harness.main()
