# SPDX-License-Identifier: LGPL-2.1-or-later
"""-export-dir: hostmemd's own tmpfs, where memory has names."""

import contextlib
import os
import pathlib
import stat
import subprocess

import harness
from expect import as_nobody, fails, succeeds
from harness import MIB, Hostmemd, need_root, scratch, tmpfs

RAM = "memory-backend-ram,share=on,size=4M,prealloc=on"


def mounts(folder):
    """Sources and options of what is mounted on a folder."""
    return [(line.split()[-2], line.split()[-1].split(","))
            for line in pathlib.Path("/proc/self/mountinfo").read_text()
            .splitlines() if line.split()[4] == str(folder)]


@contextlib.contextmanager
def export_folder():
    """An empty folder; nothing stays mounted on it."""
    need_root()
    with scratch() as folder:
        try:
            yield folder
        finally:
            while mounts(folder):
                subprocess.run(["umount", "-l", folder], check=True)


def dir_fails(place, *phrases, **options):
    fails("--once", "-export-dir", place, "-object", RAM + ",id=m0",
          phrases=[f"hostmemd: -export-dir {place}: ", *phrases], **options)


def leave_behind(folder, *args):
    """A hostmemd that is killed."""
    with Hostmemd("-export-dir", folder, *args) as daemon:
        daemon.process.kill()
        daemon.wait()
    assert len(mounts(folder)) == 1


def test_names_lie_in_it():
    with export_folder() as folder:
        with Hostmemd("-export-dir", folder, "-object",
                      RAM + ",id=m0,export-path=vm7") as daemon:
            (source, options), = mounts(folder)
            assert source == "hostmem-export", source
            assert "huge=always" in options, options
            assert stat.S_IMODE(folder.stat().st_mode) == 0o711
            assert os.listdir(folder) == ["vm7"]
            assert (folder / "vm7").stat().st_size == 4 * MIB
            assert daemon.qmp.execute(
                "qom-get", path="/objects/m0", property="export-path") == str(
                    folder / "vm7")
            daemon.qmp.execute("object-add", **{
                "qom-type": "memory-backend-shm", "id": "m1", "size": MIB,
                "export-path": "vm8"})
            daemon.qmp.execute("object-del", id="m0")
            assert os.listdir(folder) == ["vm8"]
        assert not mounts(folder)
        assert os.listdir(folder) == []


def test_huge_pages():
    with export_folder() as folder:
        with Hostmemd("-export-dir", folder, "-object",
                      RAM + ",id=m0,export-path=vm7") as daemon:
            report, = daemon.qmp.execute("query-memdev")
            assert report["prealloc-method"] == (
                "huge-tmpfs+hugepage+populate-write"), report
            huge = daemon.qmp.execute("qom-get", path="/objects/m0",
                                      property="populated-huge-size")
            assert huge in (0, 4 * MIB), huge


def test_unmounted_though_somebody_is_in_it():
    with export_folder() as folder:
        with Hostmemd("-export-dir", folder, "-object",
                      RAM + ",id=m0,export-path=vm7"):
            file = open(folder / "vm7", "rb")
        assert not mounts(folder)
        assert len(file.read()) == 4 * MIB
        file.close()


def test_unmounted_after_a_failure():
    with export_folder() as folder:
        for more in (["-object", "memory-backend-ram,id=m0,size=0"],
                     ["-object", RAM + ",id=m0,export-path=a/b"],
                     ["-object", RAM + ",id=m0,export-path=vm7", "-device",
                      "virtio-mem,memdev=nosuch"],
                     ["-qmp", "unix:/nowhere/at/all"]):
            fails("-export-dir", folder, *more, folder=folder)
            assert not mounts(folder)


def test_background():
    with export_folder() as folder, scratch() as other:
        pidfile = other / "pid"
        succeeds("-daemonize", "-export-dir", folder.name, "-pidfile",
                 pidfile, "-object", RAM + ",id=m0,export-path=vm7",
                 cwd=folder.parent, may_leave_processes=True)
        assert os.listdir(folder) == ["vm7"]
        os.kill(int(pidfile.read_text()), 15)
        harness.wait_until(lambda: not mounts(folder), what="the end")
        assert os.listdir(folder) == []


def test_size():
    with export_folder() as folder:
        fails("-export-dir", f"{folder},size=2M", "-object",
              RAM + ",id=m0,export-path=vm7", "--once",
              phrases=["4 MiB", "2 MiB", str(folder)])
        succeeds("--quiet", "-export-dir", f"{folder},size=8M", "-object",
                 RAM + ",id=m0,export-path=vm7", "--run", f"stat {folder}/vm7")


def test_what_is_no_directory_for_it():
    with export_folder() as folder:
        dir_fails(folder / "missing", "No such file or directory")
        dir_fails("/dev/null", "Not a directory")
        dir_fails("/proc", "the root of another filesystem (proc)")
        dir_fails(f"{folder},size=x", "Parameter 'size' expects a size")
        dir_fails(f"{folder},colour=red", "'colour'")
        (folder / "mine").touch()
        dir_fails(folder, "is not empty", folder=folder)
        with tmpfs(8 * MIB) as other:
            dir_fails(other, "the root of another filesystem (tmpfs)")
            assert len(mounts(other)) == 1


def test_without_the_right_to_mount():
    with export_folder() as folder:
        folder.chmod(0o755)
        dir_fails(folder, "CAP_SYS_ADMIN", under=as_nobody())


def test_two_at_a_time():
    with export_folder() as folder, Hostmemd("-export-dir", folder):
        dir_fails(folder, f"another process has {folder} for its memory")
        assert len(mounts(folder)) == 1


def test_killed():
    with export_folder() as folder:
        leave_behind(folder, "-object", RAM + ",id=m0,export-path=vm7")
        assert os.listdir(folder) == ["vm7"]
        with Hostmemd("-export-dir", folder, "-object",
                      RAM + ",id=m0,export-path=vm7") as daemon:
            assert len(mounts(folder)) == 1
            assert os.listdir(folder) == ["vm7"]
            assert "left behind" not in daemon.stderr, daemon.stderr
        assert not mounts(folder)


def test_killed_while_somebody_has_the_memory():
    with export_folder() as folder:
        leave_behind(folder, "-object", RAM + ",id=m0,export-path=vm7",
                     "-object", RAM + ",id=m1,export-path=vm8")
        with open(folder / "vm7", "r+b") as file:
            with Hostmemd("-export-dir", folder) as daemon:
                assert os.listdir(folder) == ["vm7"]
                assert (f"{folder}/vm7 was left behind and stays: somebody has "
                        "it open") in daemon.stderr, daemon.stderr
            file.write(b"still here")


if __name__ == "__main__":
    harness.main()
