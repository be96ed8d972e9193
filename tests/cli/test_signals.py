# SPDX-License-Identifier: LGPL-2.1-or-later
"""Signals, while memory is populated and after."""

import os
import signal

import harness
from expect import nothing_left, wait_until_populating
from harness import MIB, Hostmemd, SlowHost, scratch, tmpfs

RAM = "memory-backend-ram,id=m0,size=2M"


def slow_backend(path):
    return (f"memory-backend-file,id=m0,size=192M,mem-path={path},share=on,"
            "prealloc=on,prealloc-threads=1")


def interrupt_populating(path, signum):
    """Stop a population half way; returns the daemon, ended."""
    with SlowHost(5) as slow, Hostmemd(
            "-object", slow_backend(path), qmp=False, cgroup=slow) as daemon:
        wait_until_populating(daemon.pid)
        os.kill(daemon.pid, signum)
        daemon.wait()
    return daemon


def test_each_signal_ends_a_serving_daemon():
    for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        with Hostmemd("-object", RAM) as daemon:
            os.kill(daemon.pid, signum)
            assert daemon.wait() == 0, signum
            event = daemon.qmp.wait_event("SHUTDOWN")
        assert event["data"] == {"guest": False, "reason": "host-signal"}
        assert daemon.stderr == "", daemon.stderr


def test_socket_is_removed():
    with scratch() as folder:
        address = f"unix:{folder}/qmp,server=on,wait=off"
        with Hostmemd("-qmp", address):
            assert os.listdir(folder) == ["qmp"]
        assert os.listdir(folder) == []


def test_each_signal_interrupts_populating():
    with tmpfs(256 * MIB) as folder:
        for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            with nothing_left(folder):
                daemon = interrupt_populating(folder / "file", signum)
            assert daemon.returncode == 1, daemon.returncode
            assert "interrupted" in daemon.stderr, daemon.stderr
            assert daemon.stdout == "", daemon.stdout


def test_interrupted_in_a_folder():
    with tmpfs(256 * MIB) as folder, nothing_left(folder):
        interrupt_populating(folder, signal.SIGTERM)


def test_interrupted_in_a_file_that_was_there():
    with tmpfs(256 * MIB) as folder:
        with open(folder / "file", "wb") as file:
            file.write(b"mine")
            file.truncate(192 * MIB)
        interrupt_populating(folder / "file", signal.SIGTERM)
        with open(folder / "file", "rb") as file:
            assert file.read(4) == b"mine"
        assert os.stat(folder / "file").st_size == 192 * MIB


def quit_while_populating(*args):
    """Returns the daemon, ended."""
    with tmpfs(256 * MIB) as folder, nothing_left(folder):
        with SlowHost(5) as slow, Hostmemd(
                "-object", slow_backend(folder / "file"), *args, ready=False,
                cgroup=slow) as daemon:
            wait_until_populating(daemon.pid)
            daemon.qmp.execute("quit")
            daemon.wait()
    return daemon


def test_quit_while_populating():
    daemon = quit_while_populating()
    assert daemon.returncode == 0, daemon.returncode
    assert daemon.stderr == "", daemon.stderr


def test_quit_while_somebody_waits_for_the_memory():
    for args in (["--once"], ["--run", "echo ran"]):
        daemon = quit_while_populating(*args)
        assert daemon.returncode == 1, daemon.returncode
        assert "interrupted" in daemon.stderr, daemon.stderr
        assert daemon.stdout == "", daemon.stdout


def test_signals_in_a_row():
    with tmpfs(256 * MIB) as folder, nothing_left(folder):
        with SlowHost(5) as slow, Hostmemd(
                "-object", slow_backend(folder / "file"), qmp=False,
                cgroup=slow) as daemon:
            wait_until_populating(daemon.pid)
            for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
                os.kill(daemon.pid, signum)
            assert daemon.wait() == 1


def test_killed_while_populating():
    """The kernel frees what has no name."""
    with tmpfs(256 * MIB) as folder, nothing_left():
        daemon = interrupt_populating(folder, signal.SIGKILL)
        assert daemon.returncode == -signal.SIGKILL
        assert os.listdir(folder) == []
        stat = os.statvfs(folder)
        assert stat.f_bfree == stat.f_blocks, stat


def test_start_over_after_sigkill():
    with scratch() as folder:
        args = ["-object", RAM, "-pidfile", folder / "pid",
                "-qmp", f"unix:{folder}/qmp,server=on,wait=off"]
        with Hostmemd(*args) as daemon:
            daemon.process.kill()
            daemon.wait()
        assert sorted(os.listdir(folder)) == ["pid", "qmp"]
        with Hostmemd(*args) as daemon:
            daemon.qmp.execute("query-memdev")
        assert os.listdir(folder) == []


def test_hangup_stays_ignored():
    """nohup(1) starts programs like that."""
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Hostmemd("-object", RAM) as daemon:
            os.kill(daemon.pid, signal.SIGHUP)
            daemon.qmp.execute("query-memdev")
            assert daemon.returncode is None
    finally:
        signal.signal(signal.SIGHUP, previous)


if __name__ == "__main__":
    harness.main()
