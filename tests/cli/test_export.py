# SPDX-License-Identifier: LGPL-2.1-or-later
"""export-path and export-owner: memory that others find by name."""

import contextlib
import mmap
import os
import pathlib
import stat
import tempfile

import harness
from expect import (NOBODY, as_nobody, nothing_left, object_fails,
                    object_works, succeeds, wait_until_populating)
from harness import (MIB, Hostmemd, QmpError, SlowHost, hugetlbfs,
                     need_huge_pages, need_root, raises, scratch, skip, tmpfs)

SIZE = 4 * MIB
MAP_NORESERVE = 0x4000
PATTERN = b"hostmem!" * 512


def backend(path, *more, kind="memory-backend-ram", size="4M"):
    share = ["share=on"] if kind == "memory-backend-ram" else []
    return ",".join([kind, "id=m0", f"size={size}", *share,
                     f"export-path={path}", *more])


@contextlib.contextmanager
def shm_folder(mode=0o755):
    """A folder on the tmpfs that every host has."""
    with tempfile.TemporaryDirectory(prefix="hm-", dir="/dev/shm") as name:
        folder = pathlib.Path(name)
        folder.chmod(mode)
        yield folder


def run_as(uid, function):
    """Call a function in a process of a user; it must not raise."""
    child = os.fork()
    if not child:
        status = 1
        with contextlib.suppress(BaseException):
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            function()
            status = 0
        os._exit(status)
    assert os.waitpid(child, 0)[1] == 0, "the other user failed"


def use_memory(path, size=SIZE):
    """What a cloud-hypervisor does with --memory-zone file=,shared=on.

    It maps the file in two parts, around the guest's hole below 4 GiB.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    assert os.fstat(fd).st_size == size
    for offset in 0, size // 2:
        with mmap.mmap(fd, size // 2, flags=mmap.MAP_SHARED | MAP_NORESERVE,
                       prot=mmap.PROT_READ | mmap.PROT_WRITE,
                       offset=offset) as memory:
            assert memory[:4096] == bytes(4096)
            memory[:4096] = PATTERN
            memory[-4096:] = PATTERN
    os.close(fd)


def get(daemon, name, path="/objects/m0"):
    return daemon.qmp.execute("qom-get", path=path, property=name)


# a name

def test_name_lives_as_long_as_the_object():
    with shm_folder() as folder:
        path = folder / "vm7"
        with Hostmemd("-object", backend(path, "prealloc=on")) as daemon:
            status = path.stat()
            assert stat.S_IMODE(status.st_mode) == 0o600, status
            assert status.st_size == SIZE, status
            assert status.st_uid == os.geteuid(), status
            assert get(daemon, "export-path") == str(path)
            daemon.qmp.execute("object-del", id="m0")
            assert not path.exists()
            daemon.qmp.execute("object-add", **{
                "qom-type": "memory-backend-shm", "id": "m0", "size": SIZE,
                "export-path": str(path)})
            assert path.exists()
        assert not path.exists()


def test_each_kind_of_memory():
    for kind, *more in [("memory-backend-ram",), ("memory-backend-shm",),
                        ("memory-backend-memfd", "seal=off")]:
        with shm_folder() as folder:
            out = succeeds("--quiet", "-object",
                           backend(folder / "vm7", *more, kind=kind), "--run",
                           f"stat -c '%s %a' {folder}/vm7")
            assert out == f"{SIZE} 600\n", out
            assert os.listdir(folder) == []


def test_no_name_before_all_is_ready():
    with shm_folder() as folder, SlowHost(5) as slow:
        text = backend(folder / "vm7", "prealloc=on", "prealloc-threads=1",
                       "thp=off", size="192M")
        with Hostmemd("-object", text, ready=False, cgroup=slow) as daemon:
            wait_until_populating(daemon.pid)
            assert os.listdir(folder) == []
            daemon.process.terminate()
            assert daemon.wait() == 1
        assert os.listdir(folder) == []


def test_name_when_all_is_backed():
    with shm_folder() as folder:
        with Hostmemd("-object", backend(folder / "vm7", "prealloc=on",
                                         "prealloc-async=on")) as daemon:
            assert get(daemon, "backed-size") == SIZE
            assert (folder / "vm7").exists()


def test_several_nodes():
    with shm_folder() as folder:
        objects = [arg for node in range(2) for arg in
                   ("-object", backend(folder / f"node{node}").replace(
                       "id=m0", f"id=m{node}"))]
        with Hostmemd(*objects):
            assert sorted(os.listdir(folder)) == ["node0", "node1"]
        assert os.listdir(folder) == []


def test_name_that_others_took_over_stays():
    with shm_folder() as folder:
        path = folder / "vm7"
        with Hostmemd("-object", backend(path)):
            path.unlink()
            path.write_text("mine")
        assert path.read_text() == "mine"


# where it cannot be

def test_what_does_not_go_together():
    with shm_folder() as folder:
        path = folder / "vm7"
        object_fails(f"memory-backend-ram,id=m0,size=4M,export-path={path}",
                     "property 'export-path' needs 'share' = 'on'")
        object_fails(backend(path, kind="memory-backend-memfd"),
                     "property 'export-path' needs 'seal' = 'off'")
        object_fails(backend(path, f"mem-path={folder}/f", "share=on",
                             kind="memory-backend-file"),
                     "others find its memory by mem-path", folder=folder)
        assert os.listdir(folder) == []


def test_name_without_a_directory():
    object_fails(backend("vm7"), "start hostmemd with -export-dir")
    object_fails(backend("a/b"), "neither a name nor an absolute path")


def test_folder_missing():
    with shm_folder() as folder:
        object_fails(backend(folder / "missing" / "vm7"),
                     f"{folder}/missing: No such file or directory")


def test_name_taken():
    with shm_folder() as folder:
        path = folder / "vm7"
        path.write_text("mine")
        object_fails(backend(path, "prealloc=on"), f"{path}: File exists",
                     folder=folder)
        path.unlink()
        path.symlink_to("elsewhere")
        object_fails(backend(path), f"{path}: File exists", folder=folder)


def test_other_filesystem():
    with scratch() as folder:
        if os.statvfs(folder).f_fsid == os.statvfs("/dev/shm").f_fsid:
            skip("/tmp is a tmpfs")
        message = object_fails(backend(folder / "vm7"), str(folder / "vm7"),
                               "a tmpfs or a hugetlbfs only", folder=folder)
        assert " is on " in message, message


def test_full_tmpfs():
    with tmpfs(2 * MIB) as folder:
        for check in "on", "off":
            object_fails(backend(folder / "vm7", "prealloc=on",
                                 f"prealloc-check={check}"),
                         "4 MiB", "2 MiB", str(folder), folder=folder)


def test_read_only_tmpfs():
    with tmpfs(8 * MIB, "ro") as folder:
        object_fails(backend(folder / "vm7"), "Read-only file system",
                     folder=folder)


def test_hugetlbfs():
    text = "memory-backend-memfd", "hugetlb=on", "hugetlbsize=2M", "seal=off"
    with hugetlbfs() as folder, need_huge_pages(2):
        path = folder / "vm7"
        folder.chmod(0o755)
        with Hostmemd("-object", backend(path, *text[1:], "prealloc=on",
                                         f"export-owner={NOBODY}",
                                         kind=text[0])) as daemon:
            assert get(daemon, "page-size") == 2 * MIB
            assert path.stat().st_size == SIZE
            run_as(NOBODY, lambda: use_memory(path))
        object_fails(backend(path), "hugetlb=on,hugetlbsize=2048K",
                     folder=folder)
        with shm_folder() as other:
            object_fails(backend(other / "vm7", *text[1:], kind=text[0]),
                         "mount -t hugetlbfs -o pagesize=2048K",
                         folder=other)


def test_base_pages_on_a_huge_tmpfs():
    with tmpfs(64 * MIB, "huge=always") as folder:
        object_fails(backend(folder / "vm7", "thp=off"), "'thp' = 'off'",
                     folder=folder)
        with Hostmemd("-object", backend(folder / "vm7", "prealloc=on",
                                         "thp=on")) as daemon:
            assert get(daemon, "populated-huge-size") in (0, SIZE)


# whose it is

def test_owner():
    need_root()
    with shm_folder() as folder:
        path = folder / "vm7"
        with Hostmemd("-object", backend(path, "prealloc=on",
                                         f"export-owner={NOBODY}:1")):
            status = path.stat()
            assert (status.st_uid, status.st_gid) == (NOBODY, 1), status
            assert stat.S_IMODE(status.st_mode) == 0o600, status
            run_as(NOBODY, lambda: use_memory(path))
            assert path.read_bytes()[-4096:] == PATTERN
            with raises(AssertionError):
                run_as(NOBODY - 1, lambda: use_memory(path))
        assert os.listdir(folder) == []


def test_owner_of_a_descriptor():
    """An unprivileged peer opens what it got through /proc once more."""
    need_root()
    for kind in "memory-backend-memfd", "memory-backend-ram,share=on":
        with Hostmemd("-object", f"{kind},id=m0,size=4M,"
                      f"export-owner={NOBODY}") as daemon:
            (path,) = [
                entry for entry in
                pathlib.Path(f"/proc/{daemon.pid}/fd").iterdir()
                if entry.exists() and stat.S_ISREG(entry.stat().st_mode)
                and entry.stat().st_size == SIZE]
            fd = os.open(path, os.O_RDWR)
            run_as(NOBODY, lambda: use_memory(f"/proc/self/fd/{fd}"))
            os.close(fd)


def test_owner_that_does_not_exist():
    with shm_folder() as folder:
        object_fails(backend(folder / "vm7", "export-owner=no-such-user"),
                     "property 'export-owner': this host has no user "
                     "'no-such-user'", folder=folder)


def test_another_user():
    with shm_folder(0o1777) as folder:
        path = folder / "vm7"
        out = succeeds("--quiet", "-object",
                       backend(path, f"export-owner={NOBODY}"), "--run",
                       f"stat -c '%u %a' {path}", under=as_nobody())
        assert out == f"{NOBODY} 600\n", out
        assert os.listdir(folder) == []
        object_fails(backend(path, "export-owner=0"), "'0'", "CAP_CHOWN",
                     under=as_nobody(), folder=folder)


def test_folder_of_another_user():
    with shm_folder() as folder:
        object_fails(backend(folder / "vm7"), "Permission denied",
                     under=as_nobody(), folder=folder)
        folder.chmod(0o700)
        object_fails(backend(folder / "vm7"), "Permission denied",
                     under=as_nobody(), folder=folder)


def test_owner_in_a_sticky_folder():
    """Its owner may remove the file there, and put something else there."""
    need_root()
    with shm_folder(0o1777) as folder:
        path = folder / "vm7"

        def replace():
            path.unlink()
            path.write_text("mine")

        with Hostmemd("-object", backend(path, f"export-owner={NOBODY}")):
            run_as(NOBODY, replace)
        assert path.read_text() == "mine"


# what a peer may do

def test_peer_that_truncates_it():
    with shm_folder() as folder:
        path = folder / "vm7"
        with Hostmemd("-object", backend(path)) as daemon:
            os.truncate(path, MIB)
            with raises(QmpError, "truncated"):
                daemon.qmp.execute("qom-set", path="/objects/m0",
                                   property="prealloc", value=True)
            assert get(daemon, "prealloc") is False
            daemon.qmp.execute("object-del", id="m0")
            assert not path.exists()
            daemon.qmp.execute("query-memdev")


def test_peer_that_truncates_what_is_populated():
    with shm_folder() as folder, SlowHost(5) as slow:
        path = folder / "vm7"
        with Hostmemd("-object", backend(path, size="192M"),
                      cgroup=slow) as daemon:
            daemon.qmp.execute("qom-set", path="/objects/m0",
                               property="prealloc-async", value=True)
            os.truncate(path, 96 * MIB)
            with raises(QmpError, "truncated"):
                daemon.qmp.execute("qom-set", path="/objects/m0",
                                   property="prealloc", value=True)
            daemon.qmp.execute("object-del", id="m0")


def test_peer_that_keeps_it():
    """It keeps the memory as well, and nobody else finds it."""
    with shm_folder() as folder:
        path = folder / "vm7"
        with Hostmemd("-object", backend(path, "prealloc=on")) as daemon:
            with open(path, "r+b") as file, \
                    mmap.mmap(file.fileno(), SIZE) as memory:
                memory[:4096] = PATTERN
                daemon.qmp.execute("object-del", id="m0")
                assert not path.exists()
                assert memory[:4096] == PATTERN


def test_killed():
    """On a tmpfs of others the name stays, and says so at the next start."""
    with shm_folder() as folder:
        path = folder / "vm7"
        with Hostmemd("-object", backend(path)) as daemon:
            daemon.process.kill()
            daemon.wait()
        object_fails(backend(path), f"{path}: File exists", folder=folder)


def test_table():
    with shm_folder() as folder, nothing_left(folder):
        words = object_works(backend(folder / "vm7", "prealloc=on"))
    assert words[:4] == ["m0", "memory-backend-ram", "4", "MiB"], words


if __name__ == "__main__":
    harness.main()
