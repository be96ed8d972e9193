# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a service manager hears of a start and an end."""

import contextlib
import os
import pathlib
import re
import signal
import time

import harness
from harness import (MIB, Hostmemd, SlowHost, program, run_hostmemd, scratch,
                     skip, tmpfs, wait_until)
from expect import wait_until_populating
from manager import Manager

RAM = "memory-backend-ram,id=m0,size=2M"
SIZE = 192 * MIB
PROGRESS = re.compile(
    r"m0: populated \S+ (\w+ )?of \S+ \w+, [\d.]+ GiB/s(, \d+ s left)?")


def need_libsystemd():
    if b"libsystemd.so" not in pathlib.Path(program("hostmemd")).read_bytes():
        skip("built without libsystemd")


@contextlib.contextmanager
def manager():
    need_libsystemd()
    with Manager() as boss:
        yield boss


@contextlib.contextmanager
def slow_start(boss, *args):
    """A daemon that populates for some seconds."""
    with tmpfs(256 * MIB) as folder, SlowHost(1) as slow, Hostmemd(
            "-object", f"memory-backend-file,id=m0,size={SIZE},share=on,"
            f"mem-path={folder}/file,prealloc=on,prealloc-threads=1,thp=off",
            *args, qmp=False, cgroup=slow, **boss.start()) as daemon:
        wait_until_populating(daemon.pid)
        yield daemon


def start_fails(*args):
    """Run hostmemd, which must fail; returns (all messages, its stderr)."""
    with manager() as boss:
        result = run_hostmemd(args, **boss.start())
        assert result.returncode == 1, result
        assert not boss.said("READY"), boss.messages
        return list(boss.messages), result.stderr


def test_ready_comes_when_all_objects_are_there():
    with manager() as boss, Hostmemd(
            "-object", f"{RAM},prealloc=on", ready=False,
            **boss.start()) as daemon:
        ready = boss.expect("READY")
        assert ready["READY"] == "1" and ready.pid == daemon.pid
        (memdev,) = daemon.qmp.execute("query-memdev")
        assert memdev["prealloc"] is True
        (value,) = boss.said("READY")


def test_ready_does_not_come_while_memory_is_populated():
    with manager() as boss, slow_start(boss):
        boss.expect("STATUS", PROGRESS.fullmatch)
        assert not boss.said("READY")


def test_ready_does_not_wait_for_a_job():
    with manager() as boss, Hostmemd(
            "-object", f"{RAM},prealloc=on,prealloc-async=on",
            **boss.start()):
        boss.expect("READY")
        boss.expect("STATUS", "ready: 1 backend, 2 MiB".__eq__)


def test_status_tells_of_progress():
    with manager() as boss, slow_start(boss, "--quiet") as daemon:
        status = boss.expect("STATUS", PROGRESS.fullmatch)
        assert status.pid == daemon.pid
        assert daemon.stderr == ""


def test_time_is_extended_while_populating_gets_on():
    with manager() as boss, slow_start(boss):
        for usec in (boss.expect("EXTEND_TIMEOUT_USEC")["EXTEND_TIMEOUT_USEC"],
                     *boss.said("EXTEND_TIMEOUT_USEC")):
            assert 10e6 <= int(usec) <= 120e6, usec


class Freezer:
    """Threads of a process that stand still while the others go on."""

    def __init__(self):
        harness.need_root()
        root = pathlib.Path("/sys/fs/cgroup/freezer")
        if not (root / "tasks").exists():
            skip("no freezer cgroup of version 1 is mounted")
        self._root = root
        self._path = root / f"hostmem-test-{os.getpid()}"

    def __enter__(self):
        self._path.mkdir()
        return self

    def freeze(self, tids):
        for tid in tids:
            (self._path / "tasks").write_text(str(tid))
        state = self._path / "freezer.state"
        state.write_text("FROZEN")
        wait_until(lambda: state.read_text() == "FROZEN\n", what="frost")

    def __exit__(self, *_):
        (self._path / "freezer.state").write_text("THAWED")
        for tid in (self._path / "tasks").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                (self._root / "tasks").write_text(tid)
        wait_until(self._try_remove, what="the cgroup's end")

    def _try_remove(self):
        with contextlib.suppress(OSError):
            self._path.rmdir()
            return True
        return False


def test_time_is_not_extended_while_populating_hangs():
    with manager() as boss, slow_start(boss) as daemon, \
            Freezer() as freezer:
        # Without any progress the words would stay the same.
        boss.expect("EXTEND_TIMEOUT_USEC")
        tids = {int(path.name) for path
                in pathlib.Path(f"/proc/{daemon.pid}/task").iterdir()}
        freezer.freeze(tids - {daemon.pid})
        # Progress that was made before the frost may still be told.
        seen = len(boss.said("STATUS"))
        wait_until(lambda: len(boss.said("STATUS")) >= seen + 2, what="words")
        extended = len(boss.said("EXTEND_TIMEOUT_USEC"))
        wait_until(lambda: len(boss.said("STATUS")) >= seen + 4, what="words")
        assert len(boss.said("EXTEND_TIMEOUT_USEC")) == extended


def test_status_comes_once_a_second_at_most():
    with manager() as boss, slow_start(boss):
        first = boss.expect("STATUS")
        wait_until(lambda: len(boss.said("STATUS")) > 3, what="words")
        elapsed = time.monotonic() - first.time
        assert len(boss.said("STATUS")) <= elapsed + 2


def test_end_is_told():
    with manager() as boss:
        with Hostmemd("-object", RAM, **boss.start()):
            assert not boss.said("STOPPING")
        assert boss.said("STOPPING") == ["1"]


def test_ready_service_tells_what_comes_and_goes():
    with manager() as boss, Hostmemd(**boss.start()) as daemon:
        boss.expect("STATUS", "ready: 0 backends, 0 B".__eq__)
        daemon.qmp.execute("object-add", {
            "qom-type": "memory-backend-ram", "id": "m0", "size": 4 * MIB})
        boss.expect("STATUS", "ready: 1 backend, 4 MiB".__eq__)
        seen = len(boss.messages)
        daemon.qmp.execute("object-del", id="m0")
        wait_until(lambda: len(boss.messages) > seen, what="words")
        assert boss.messages[-1]["STATUS"] == "ready: 0 backends, 0 B"


def test_error_becomes_the_status():
    for args in (["-object", f"{RAM},size=x"], ["-nonsense"],
                 ["-pidfile", "/nonexistent/pid", "-object", RAM]):
        messages, stderr = start_fails(*args)
        texts = [message["STATUS"] for message in messages
                 if "STATUS" in message]
        assert stderr == f"hostmemd: {texts[-1]}\n", (messages, stderr)


def test_error_cannot_say_anything_else():
    messages, stderr = start_fails(
        "-object", "memory-backend-ram,id=m0\nREADY=1\nMAINPID=1,size=1M")
    assert "\nREADY=1\n" in stderr, stderr
    (status,) = (message["STATUS"] for message in messages
                 if "STATUS" in message)
    assert "m0 READY=1 MAINPID=1" in status, status


def test_long_error_is_cut():
    messages, stderr = start_fails(
        "-object", f"memory-backend-ram,id={'é' * 50000},size=1M")
    assert len(stderr) > 50000
    (status,) = (message["STATUS"] for message in messages
                 if "STATUS" in message)
    assert 1000 < len(status.encode()) < 1100 and status.endswith("...")


def test_command_is_not_heard_of():
    with manager() as boss:
        result = run_hostmemd(
            ["--quiet", "-object", RAM, "--run",
             "env | grep -E '^(NOTIFY|LISTEN)_'; ls /proc/self/fd"],
            **boss.start())
        assert result.stdout.split() == ["0", "1", "2", "3"], result
        boss.expect("READY")


def test_background_process_becomes_the_one_to_watch():
    with manager() as boss, scratch() as folder:
        result = run_hostmemd(
            ["-daemonize", "-pidfile", folder / "pid", "-object", RAM],
            may_leave_processes=True, **boss.start())
        pid = int((folder / "pid").read_text())
        assert result.returncode == 0, result
        ready = boss.expect("READY")
        assert ready["MAINPID"] == str(pid) and ready.pid == pid
        os.kill(pid, signal.SIGTERM)
        boss.expect("STOPPING")
        wait_until(lambda: not (folder / "pid").exists(), what="its end")


def test_nobody_listens():
    with scratch() as folder:
        for address in (folder / "nobody", "relative", "", "@nobody"):
            with Hostmemd("-object", RAM,
                          env={"NOTIFY_SOCKET": str(address)}) as daemon:
                assert daemon.qmp.execute("query-memdev")
                assert daemon.stderr == "", daemon.stderr


if __name__ == "__main__":
    harness.main()
