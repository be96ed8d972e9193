# SPDX-License-Identifier: LGPL-2.1-or-later
"""What hostmemd prints: the table, progress, messages; QMP on stdio."""

import contextlib
import fcntl
import os
import re
import subprocess

import harness
from expect import succeeds
from harness import (Hostmemd, QmpClient, SlowHost, program, run_hostmemd,
                     scratch, wait_until)

RAM = "memory-backend-ram,id=m0,size=2M"
SLOW = ("memory-backend-memfd,id=m0,size=192M,prealloc=on,"
        "prealloc-threads=1")
HEADING = ["id", "type", "size", "page size", "method", "threads", "time",
           "GiB/s"]


def cells(line):
    """Columns are two blanks apart; a cell has single ones."""
    return re.split(r" {2,}", line.strip())


def test_table():
    lines = succeeds(
        "--once", "-object", RAM + ",prealloc=on,prealloc-threads=1",
        "-object", "memory-backend-memfd,id=second,size=1536K").splitlines()
    assert cells(lines[0]) == HEADING, lines
    first, second = cells(lines[1]), cells(lines[2])
    assert first[:4] == ["m0", "memory-backend-ram", "2 MiB", "4 KiB"], lines
    assert first[5] == "1", lines
    assert re.fullmatch(r"[\d.]+ (ms|s)", first[6]), lines
    assert re.fullmatch(r"[\d.]+", first[7]), lines
    assert second == ["second", "memory-backend-memfd", "1.5 MiB", "4 KiB",
                      "-", "-", "-", "-"], lines


def test_table_is_aligned():
    lines = succeeds("--once", "-object", RAM, "-object",
                     "memory-backend-shm,id=a-long-one,size=4M").splitlines()
    assert len({line.index("memory-backend") for line in lines[1:]}) == 1
    assert len({line.index("MiB") for line in lines[1:]}) == 1
    assert all(line == line.rstrip() for line in lines)


def test_table_of_a_thread_context():
    lines = succeeds("--once", "-object", "thread-context,id=tc0").splitlines()
    assert cells(lines[1]) == ["tc0", "thread-context"] + ["-"] * 6, lines


def test_quiet():
    assert succeeds("--once", "--quiet", "-object", RAM) == ""


def test_serving_daemon_prints_the_table():
    with Hostmemd("-object", RAM) as daemon:
        wait_until(lambda: "memory-backend-ram" in daemon.stdout,
                   what="the table")


@contextlib.contextmanager
def on_terminal(*args, cgroup=None):
    """hostmemd with standard error on a terminal; yields that's other end."""
    master, slave = os.openpty()
    with subprocess.Popen(
            [program("hostmemd"), *args], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=slave,
            env={**os.environ, "TERM": "vt100"},
            preexec_fn=cgroup.join if cgroup else None) as process:
        os.close(slave)
        try:
            yield master
        finally:
            process.terminate()
            process.wait(20)
            os.close(master)


def read_until(fd, pattern):
    """Read a terminal until what came matches; returns all of it."""
    text = ""
    while not re.search(pattern, text):
        text += os.read(fd, 4096).decode()
    return text


def read_rest(fd):
    """Read a terminal until nobody is at its other end."""
    text = ""
    with contextlib.suppress(OSError):
        while data := os.read(fd, 4096):
            text += data.decode()
    return text


def test_progress_on_a_terminal():
    with SlowHost(5) as slow, on_terminal("-object", SLOW,
                                           cgroup=slow) as terminal:
        text = read_until(terminal, r"s left(.|\n)*s left")
    # The first line may come before the first page.
    assert re.search(r"\r\x1b\[Km0 \[#*\.*\] +\d+ % [\d.]+ [KM]iB of 192 MiB, "
                     r"[\d.]+ GiB/s, \d+ s left", text), text
    assert "\n" not in text, text


def test_progress_leaves_no_line_behind():
    with SlowHost(20) as slow, on_terminal("--once", "-object", SLOW,
                                           cgroup=slow) as terminal:
        text = read_rest(terminal)
    assert "s left" in text, text
    assert text.endswith("\r\x1b[K"), text


def test_progress_without_a_terminal():
    with SlowHost(2) as slow, Hostmemd("-object", SLOW, qmp=False,
                                        cgroup=slow) as daemon:
        wait_until(lambda: "s left\n" in daemon.stderr, 30, "progress")
        text = daemon.stderr
    assert re.search(r"^hostmemd: m0: populated [\d.]+ [KM]iB of 192 MiB, "
                     r"[\d.]+ GiB/s, \d+ s left$", text, re.M), text


def test_no_progress_when_quiet():
    with SlowHost(20) as slow:
        result = run_hostmemd(["--once", "--quiet", "-object", SLOW],
                              cgroup=slow)
    assert result.stderr == "", result
    assert result.returncode == 0, result


def test_no_progress_for_quick_work():
    assert run_hostmemd(["--once", "-object", RAM]).stderr == ""


class Stdio:
    """hostmemd with QMP on its standard input and output, both pipes."""

    def __init__(self, *args):
        self.args = args

    def __enter__(self):
        stdin, to_daemon = os.pipe()
        from_daemon, stdout = os.pipe()
        self.process = subprocess.Popen(
            [program("hostmemd"), "-qmp", "stdio", "-object", RAM,
             *self.args], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)
        os.close(stdin)
        os.close(stdout)
        heading = self.process.stderr.readline().decode()
        assert cells(heading) == HEADING, heading  # printed when it is ready
        self.client = QmpClient(from_daemon, to_daemon).negotiate()
        return self

    def __exit__(self, *_):
        self.client.close()
        self.process.terminate()
        self.process.communicate(timeout=20)


def test_session_on_stdio():
    with Stdio() as daemon:
        assert daemon.client.execute("query-memdev")[0]["id"] == "m0"
        daemon.client.execute("quit")
        assert daemon.process.wait(20) == 0


def test_end_of_input_does_not_end_the_daemon():
    with scratch() as folder, Stdio(
            "-qmp", f"unix:{folder}/qmp,server=on,wait=off") as daemon:
        daemon.client.close_write()
        with QmpClient.unix(folder / "qmp") as other:
            other.negotiate().execute("query-memdev")
            other.execute("quit")
        assert daemon.process.wait(20) == 0


def test_descriptors_are_given_back_as_they_were():
    """A shell whose terminal stays non-blocking prints errors."""
    read_end, write_end = os.pipe()
    flags = fcntl.fcntl(read_end, fcntl.F_GETFL)
    process = subprocess.Popen(
        [program("hostmemd"), "-qmp", "stdio", "--quiet"], stdin=read_end,
        stdout=subprocess.PIPE)
    wait_until(lambda: fcntl.fcntl(read_end, fcntl.F_GETFL) != flags,
               what="the session")
    process.terminate()
    process.communicate(timeout=20)
    assert fcntl.fcntl(read_end, fcntl.F_GETFL) == flags
    os.close(read_end)
    os.close(write_end)


if __name__ == "__main__":
    harness.main()
