# SPDX-License-Identifier: LGPL-2.1-or-later
"""Memory that is populated in the background: when hostmemd is ready."""

import os
import signal
import time

import harness
from expect import succeeds
from harness import MIB, Hostmemd, SlowHost, run_hostmemd, scratch, wait_until

SIZE = 512 * MIB
ASYNC = ("memory-backend-memfd,id=m0,size=512M,prealloc=on,"
         "prealloc-async=on,prealloc-threads=1")
SLOW = 10  # percent of a CPU: long enough to be looked at


def test_once_waits_for_the_jobs():
    lines = succeeds("--once", "-object", ASYNC).splitlines()
    assert "populate-write" in lines[1], lines


def test_once_is_interrupted_in_a_job():
    with SlowHost(SLOW) as host, scratch() as folder, \
            Hostmemd("--once", "-object", ASYNC, "-pidfile", folder / "pid",
                     qmp=False, cgroup=host) as daemon:
        wait_until((folder / "pid").exists)
        os.kill(daemon.pid, signal.SIGINT)
        assert daemon.wait() == 1
        assert "interrupted before the memory was ready" in daemon.stderr
        assert daemon.stdout == ""


def test_ready_when_backed():
    with SlowHost(SLOW) as host, Hostmemd("-object", ASYNC,
                                          cgroup=host) as daemon:
        memdev, = daemon.qmp.execute("query-memdev")
        assert memdev["backed-size"] == SIZE
        assert memdev["populated-size"] < SIZE


def test_command_runs_when_backed():
    with SlowHost(SLOW) as host:
        result = run_hostmemd(["-object", ASYNC, "--run", "echo started"],
                              cgroup=host)
    assert result.returncode == 0, result
    assert result.stdout == "started\n", result


def test_table_comes_when_all_is_populated():
    with SlowHost(SLOW) as host, Hostmemd("-object", ASYNC,
                                          cgroup=host) as daemon:
        assert daemon.stdout == ""
        host.lift()
        wait_until(lambda: "populate-write" in daemon.stdout, 30, "the table")
        job, = daemon.qmp.execute("query-jobs")
        assert job["status"] == "concluded", job


def test_progress_line():
    """However fast the host is: it stands still until a line is due.

    Private memory leaves all of the work to the job.
    """
    line = ("memory-backend-ram,id=m0,size=512M,prealloc=on,prealloc-async=on,"
            "prealloc-threads=1")
    with SlowHost(2) as host, Hostmemd("-object", line, cgroup=host) as daemon:
        os.kill(daemon.pid, signal.SIGSTOP)
        time.sleep(6)
        os.kill(daemon.pid, signal.SIGCONT)
        wait_until(lambda: "m0: populated " in daemon.stderr, 30, "progress")
        host.lift()


def test_several_backends():
    lines = succeeds("--once", "-object", ASYNC, "-object",
                     ASYNC.replace("m0", "m1")).splitlines()
    assert [line.split()[0] for line in lines] == ["id", "m0", "m1"], lines


def test_deadline_is_no_failure():
    with SlowHost(SLOW) as host:
        result = run_hostmemd(
            ["--once", "-object", "memory-backend-ram,id=m0,size=2G,"
             "prealloc=on,prealloc-threads=1,prealloc-deadline=1,"
             "prealloc-check=off"], cgroup=host)
    assert result.returncode == 0, result
    assert "the deadline passed after" in result.stderr, result


def test_failed_job_fails_once():
    """The file shrinks while it is populated."""
    with SlowHost(SLOW) as host, harness.tmpfs("256M") as folder:
        path = folder / "memory"
        with Hostmemd("--once", "-object",
                      "memory-backend-file,id=m0,share=on,size=192M,"
                      f"prealloc=on,prealloc-async=on,mem-path={path}",
                      "-pidfile", folder / "pid", qmp=False,
                      cgroup=host) as daemon:
            wait_until((folder / "pid").exists)
            os.truncate(path, 4096)
            assert daemon.wait() == 1
            assert "job 'm0': preallocating memory failed: the file was " \
                "truncated" in daemon.stderr, daemon.stderr


if __name__ == "__main__":
    harness.main()
