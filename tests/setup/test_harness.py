#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""tests/lib/harness.py reports failures and leaves the host as it was."""

import os
import pathlib
import signal
import subprocess
import sys

import harness

HEAD = "import harness, os, pathlib, subprocess, time\n"
TAIL = "\nharness.main()\n"
POOL = pathlib.Path("/proc/sys/vm/nr_hugepages")

# Plays hostmemd: answers QMP, and may leave a process behind.
STAND_IN = """#!/usr/bin/env python3
import json, os, pathlib, signal, socket, subprocess, sys
options = sys.argv[1:]
if "--fail" in options:
    sys.exit("no such luck")
if "--crash" in options:
    signal.signal(signal.SIGTERM, lambda *_: os.abort())
if "--report" in options:
    print("==1==ERROR: LeakSanitizer: detected memory leaks", file=sys.stderr)
if "--leave" in options:
    subprocess.Popen(["sleep", "60"], start_new_session=True,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
if "--once" in options:
    sys.exit(3)
path = options[options.index("-qmp") + 1].removeprefix("unix:")
server = socket.socket(socket.AF_UNIX)
server.bind(path.partition(",")[0])
server.listen()
pathlib.Path(options[options.index("-pidfile") + 1]).write_text(
    f"{os.getpid()}\\n")
while True:
    client = server.accept()[0].makefile("rw")
    print('{"QMP": {}}', file=client, flush=True)
    for line in client:
        message = json.loads(line)
        if message["execute"] == "fail":
            result = {"error": {"class": "GenericError", "desc": "no"}}
        else:
            print('{"event": "SEEN"}', file=client)
            result = {"return": {}}
        print(json.dumps({"id": message["id"], **result}), file=client,
              flush=True)
"""


def start(text):
    return subprocess.Popen([sys.executable, "-c", HEAD + text + TAIL],
                            stdout=subprocess.PIPE, text=True)


def run(text):
    """Run tests; returns (status, lines that are not diagnostics)."""
    with start(text) as process:
        output = process.communicate(timeout=50)[0]
    lines = [line for line in output.splitlines() if line[0] != "#"]
    return process.returncode, lines


def run_with_stand_in(text):
    with harness.scratch() as build:
        path = build / "backends" / "programs" / "hostmemd"
        path.parent.mkdir(parents=True)
        path.write_text(STAND_IN)
        path.chmod(0o755)
        return run(f"os.environ['HOSTMEM_BUILD'] = '{build}'\n{text}")


def test_each_function_is_a_line():
    assert run("def test_a(): pass\n"
               "def test_b(): harness.skip('no moon')\n") == (
        0, ["1..2", "ok 1 a", "ok 2 b # SKIP no moon"])


def test_failure_is_not_ok_and_the_next_runs():
    assert run("def test_a(): assert 1 == 2\n"
               "def test_b(): pass\n") == (
        1, ["1..2", "not ok 1 a", "ok 2 b"])


def test_endless_test_fails():
    assert run("@harness.time_limit(1)\n"
               "def test_a(): time.sleep(40)\n") == (1, ["1..1", "not ok 1 a"])


def test_missing_program_skips():
    status, lines = run("os.environ['HOSTMEM_BUILD'] = '/nowhere'\n"
                        "def test_a(): harness.run_hostmemd([])\n")
    assert status == 0 and "# SKIP" in lines[1], lines


def test_daemon_answers():
    assert run_with_stand_in("""
def test_a():
    with harness.Hostmemd() as daemon:
        assert daemon.qmp.execute("x", some_name=1) == {}
        daemon.qmp.wait_event("SEEN")
        with harness.raises(harness.QmpError, "no"):
            daemon.qmp.execute("fail")
""") == (0, ["1..1", "ok 1 a"])


def test_crash_at_the_end_fails():
    assert run_with_stand_in("""
def test_a():
    with harness.Hostmemd("--crash"):
        pass
def test_b():
    with harness.Hostmemd("--report"):
        pass
""") == (1, ["1..2", "not ok 1 a", "not ok 2 b"])


def test_process_left_behind_fails():
    assert run_with_stand_in("""
def test_a():
    with harness.Hostmemd("--leave"):
        pass
def test_b():
    harness.run_hostmemd(["--leave", "--once"])
""") == (1, ["1..2", "not ok 1 a", "not ok 2 b"])


def test_daemon_that_does_not_start_fails():
    assert run_with_stand_in("""
def test_a():
    with harness.raises(AssertionError, "exited with 1: no such luck"):
        with harness.Hostmemd("--fail"):
            pass
""") == (0, ["1..1", "ok 1 a"])


def test_silent_peer_times_out():
    assert run_with_stand_in("""
def test_a():
    with harness.Hostmemd() as daemon:
        with harness.raises(TimeoutError, "silent"):
            daemon.qmp.recv(timeout=0.1)
""") == (0, ["1..1", "ok 1 a"])


def mounted_on(folder):
    return folder in pathlib.Path("/proc/mounts").read_text()


def test_failure_undoes_the_host():
    harness.need_root()
    with harness.scratch() as folder:
        notes = folder / "notes"
        status, _ = run(f"""
def test_a():
    with harness.tmpfs(1 << 20) as folder, \\
            harness.MemoryCgroup(64 << 20) as cgroup:
        pathlib.Path('{notes}').write_text(f"{{folder}}\\n{{cgroup.path}}")
        raise ValueError
""")
        assert status == 1
        mount, cgroup = notes.read_text().split("\n")
        assert not mounted_on(mount) and not os.path.exists(cgroup)


def test_sigterm_undoes_the_host():
    harness.need_root()
    with harness.need_huge_pages(0):
        before = POOL.read_text()
    with start("""
def test_a():
    with harness.tmpfs(1 << 20) as folder, harness.need_huge_pages(2):
        print(folder, flush=True)
        time.sleep(40)
""") as process:
        process.stdout.readline()
        folder = process.stdout.readline().strip()
        assert mounted_on(folder), folder
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    assert not mounted_on(folder) and not os.path.exists(folder)
    with harness.need_huge_pages(0):
        assert POOL.read_text() == before


if __name__ == "__main__":
    harness.main()
