# SPDX-License-Identifier: LGPL-2.1-or-later
"""-daemonize and -pidfile."""

import contextlib
import os
import pathlib
import signal
import stat

import harness
from expect import fails, is_populating
from harness import (Hostmemd, QmpClient, SlowHost, run_hostmemd,
                     scratch, wait_until)

RAM = "memory-backend-ram,id=m0,size=2M"


def alive(pid):
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        status = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in "XZ"


def end(pid):
    """SIGTERM, and wait."""
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not alive(pid), what="the daemon's end")


@contextlib.contextmanager
def daemonized(folder, *args):
    """A daemon in the background, started in @folder; yields its pid."""
    result = run_hostmemd(["-daemonize", "-pidfile", "pid", *args],
                          cwd=folder, may_leave_processes=True)
    assert result.returncode == 0, result
    pid = int((folder / "pid").read_text())
    try:
        yield pid
    finally:
        if alive(pid):
            end(pid)


def test_ready_when_the_command_returns():
    with scratch() as folder, daemonized(
            folder, "-object", RAM, "-qmp", "unix:qmp,server=on,wait=off"):
        with QmpClient.unix(folder / "qmp") as client:
            memdevs = client.negotiate().execute("query-memdev")
        assert [memdev["id"] for memdev in memdevs] == ["m0"]


def test_relative_paths_are_found_again():
    with scratch() as folder:
        with daemonized(folder, "-object", RAM, "-object",
                        "memory-backend-file,id=m1,size=2M,mem-path=file",
                        "-qmp", "unix:qmp,server=on,wait=off"):
            assert sorted(os.listdir(folder)) == ["file", "pid", "qmp"]
        assert os.listdir(folder) == ["file"]


def test_socket_in_a_folder_with_a_comma():
    with scratch() as top:
        folder = top / "a,b"
        folder.mkdir()
        with daemonized(folder, "-qmp", "unix:qmp,server=on,wait=off"):
            assert (folder / "qmp").is_socket()
        assert os.listdir(folder) == []


def test_nothing_of_the_starter_is_kept():
    with scratch() as folder, daemonized(folder, "-object", RAM) as pid:
        proc = pathlib.Path("/proc", str(pid))
        assert os.readlink(proc / "cwd") == "/"
        assert os.getsid(pid) not in (os.getsid(0), pid)
        for fd in "012":
            assert os.readlink(proc / "fd" / fd) == "/dev/null"


def test_table_is_printed_before():
    with scratch() as folder:
        result = run_hostmemd(
            ["-daemonize", "-pidfile", "pid", "-object", RAM], cwd=folder,
            may_leave_processes=True)
        end(int((folder / "pid").read_text()))
        assert "memory-backend-ram" in result.stdout, result


def test_failure_reaches_the_starter():
    with scratch() as folder:
        text = "memory-backend-ram,id=m0,size=0"
        fails("-daemonize", "-pidfile", folder / "pid", "-object", text,
              phrases=[f"-object {text}: "], folder=folder)


def test_starter_that_is_interrupted():
    """Ctrl-C must not leave a daemon that populates on in the background."""
    text = ("memory-backend-memfd,id=m0,size=192M,prealloc=on,"
            "prealloc-threads=1")
    with scratch() as folder, SlowHost(5) as slow, Hostmemd(
            "-daemonize", "-pidfile", folder / "pid", "-object", text,
            qmp=False, cgroup=slow) as starter:
        daemon = wait_until(lambda: next(filter(is_populating, slow.pids()),
                                         None), what="the first page")
        starter.process.terminate()
        wait_until(lambda: not alive(daemon), what="the daemon's end")
        assert os.listdir(folder) == []


def test_pidfile_holds_the_pid():
    with scratch() as folder:
        with Hostmemd("-object", RAM, "-pidfile", folder / "pid") as daemon:
            wait_until((folder / "pid").exists, what="the pidfile")
            assert (folder / "pid").read_text() == f"{daemon.pid}\n"
            mode = os.stat(folder / "pid").st_mode
            assert stat.S_IMODE(mode) == 0o600, oct(mode)
        assert os.listdir(folder) == []


def test_pidfile_means_ready():
    with scratch() as folder:
        fails("--once", "-pidfile", folder / "pid", "-object",
              "memory-backend-ram,id=m0,size=0", folder=folder)


def test_pidfile_of_a_living_process():
    with scratch() as folder:
        path = folder / "pid"
        with Hostmemd("-pidfile", path) as daemon:
            wait_until(path.exists, what="the pidfile")
            fails("-object", RAM, "-pidfile", path, "--quiet",
                  phrases=["cannot create PID file", str(path),
                           "Resource temporarily unavailable"])
            assert path.read_text() == f"{daemon.pid}\n"


def test_pidfile_of_a_dead_process():
    with scratch() as folder:
        (folder / "pid").write_text("123456789\n")
        with daemonized(folder, "-object", RAM) as pid:
            assert alive(pid)


def test_pidfile_that_is_none_stays_as_it_is():
    with scratch() as folder:
        path = folder / "pid"
        path.symlink_to("theirs")
        for text in "a: 1\n", "1" * 40:
            (folder / "theirs").write_text(text)
            fails("--once", "-object", RAM, "-pidfile", path,
                  phrases=["cannot create PID file", str(path),
                           "something else in it"])
            assert (folder / "theirs").read_text() == text
    # Such a file looks empty.
    fails("--once", "-object", RAM, "-pidfile", "/proc/self/oom_score_adj",
          phrases=["something else in it"])


def test_pidfile_is_tried_before_any_object():
    bad = "memory-backend-ram,id=m0,size=0"
    with scratch() as folder:
        for path in folder / "none" / "pid", folder:
            fails("-object", bad, "--quiet", "-pidfile", path,
                  phrases=["cannot create PID file", str(path)])
        with Hostmemd("-pidfile", folder / "pid"):
            fails("-object", bad, "--quiet", "-pidfile", folder / "pid",
                  phrases=["cannot create PID file"])


def test_pidfile_without_a_folder():
    fails("-object", RAM, "--quiet", "-pidfile", "/nonexistent/pid",
          phrases=["cannot create PID file", "/nonexistent/pid",
                   "No such file or directory"])


if __name__ == "__main__":
    harness.main()
