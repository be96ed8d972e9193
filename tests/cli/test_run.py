# SPDX-License-Identifier: LGPL-2.1-or-later
"""--run: a command that gets the memory."""

import contextlib
import os
import pathlib
import re
import shlex
import signal
import stat
import sys
import time

import harness
from expect import fails, under
from harness import (Hostmemd, QmpError, need_program, program, raises,
                     run_hostmemd, scratch, wait_until)

MEMFD = "memory-backend-memfd,id=m0,size=2M,prealloc=on"


def run(command, *args, **options):
    return run_hostmemd(["--quiet", *args, "--run", command], **options)


def test_exit_status():
    for status in (0, 1, 7, 255):
        result = run(f"exit {status}", "-object", MEMFD)
        assert result.returncode == status, result
        assert result.stderr == "", result


def test_death_by_a_signal():
    result = run("kill -KILL $$", "-object", MEMFD)
    assert result.returncode == 128 + signal.SIGKILL, result


def test_without_memory():
    assert run("exit 3", "-qmp", "tcp:127.0.0.1:0").returncode == 3


def test_memory_is_handed_over():
    command = "stat -L -c %s {m0}; printf hello | dd of={m0} conv=notrunc " \
              "2>&1 >/dev/null | head -c 0; head -c 5 {m0}"
    result = run(command, "-object", MEMFD)
    assert result.stdout == f"{2 << 20}\nhello", result


def test_two_backends():
    command = "stat -L -c %s {m0} {big.one} {m0}"
    result = run(command, "-object", MEMFD, "-object",
                 "memory-backend-shm,id=big.one,size=4M")
    sizes = [int(line) for line in result.stdout.splitlines()]
    assert sizes == [2 << 20, 4 << 20, 2 << 20], result


def test_children_of_the_command_get_the_memory():
    result = run("sh -c 'sh -c \"stat -L -c %s {m0}; true\"; true'",
                 "-object", MEMFD)
    assert result.stdout == f"{2 << 20}\n", result


def test_only_what_is_named_is_inherited():
    result = run("ls /proc/self/fd; : {m0}", "-object", MEMFD, "-object",
                 "memory-backend-memfd,id=m1,size=2M",
                 "-qmp", "tcp:127.0.0.1:0")
    inherited = [fd for fd in result.stdout.split() if int(fd) > 3]
    assert len(inherited) == 1, result


def test_object_is_a_complete_line():
    result = run("echo {m0:object}", "-object", MEMFD)
    assert re.fullmatch(
        r"memory-backend-file,id=m0,size=2097152,"
        r"mem-path=/proc/self/fd/\d+,share=on\n", result.stdout), result


def test_object_line_makes_the_same_memory():
    """hostmemd knows what QEMU knows of it."""
    other = shlex.quote(str(program("hostmemd")))
    result = run(f"printf hello 1<>{{m0}}; {other} --quiet -object "
                 "{m0:object} --run 'head -c 5 {''m0}'", "-object", MEMFD)
    assert result.stdout == "hello", result


def test_object_of_read_only_memory():
    with scratch() as folder:
        path = folder / "rom"
        path.write_bytes(bytes(2 << 20))
        result = run("echo {m0:object}", "-object",
                     f"memory-backend-file,id=m0,size=2M,mem-path={path},"
                     "share=on,readonly=on")
        assert result.stdout.endswith(",share=on,readonly=on\n"), result


def test_environment_names_the_descriptors():
    for stale in {}, {"HOSTMEM_FDS": "m7=3"}:
        result = run("echo $HOSTMEM_FDS; : {m1} {m0:object}", "-object", MEMFD,
                     "-object", "memory-backend-memfd,id=m1,size=2M",
                     env=stale)
        assert result.stdout == "m1=10,m0=11\n", result


def test_environment_names_nothing_without_memory():
    result = run("echo ${HOSTMEM_FDS-unset}", "-object", MEMFD,
                 env={"HOSTMEM_FDS": "m7=3"})
    assert result.stdout == "unset\n", result


def memory_fds(pid, size=2 << 20):
    """The position of each descriptor of memory a process has."""
    found = []
    for path in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            st = path.stat()
            if stat.S_ISREG(st.st_mode) and st.st_size == size:
                info = path.parents[1] / "fdinfo" / path.name
                found.append(int(info.read_text().split()[1]))
    return found


def test_command_has_an_open_file_of_its_own():
    """Were it ours, nobody could tell whether the command still has it."""
    script = "import os, time; os.read(10, 5); print('ready', flush=True); " \
             "time.sleep(100)"
    command = f": {{m0}}; exec {sys.executable} -c {shlex.quote(script)}"
    with Hostmemd("-object", MEMFD, "--run", command, qmp=False) as daemon:
        wait_until_running(daemon)
        shell, = children(daemon)
        assert max(memory_fds(shell)) > 0
        assert memory_fds(daemon.pid) == [0]


def test_unknown_command():
    for command, status in (("no-such-command {m0}", 127),
                            ("/no/such/command", 127), ("/dev/null", 126)):
        result = run(command, "-object", MEMFD)
        assert result.returncode == status, result
        assert command.split()[0] in result.stderr, result


def test_shell_variables_stay():
    result = run("x=1; echo ${x}", "-object", MEMFD)
    assert result.stdout == "1\n", result


def test_other_braces_stay():
    result = run("echo '{ m0 }' '{\"m0\": 1}' '{}'", "-object", MEMFD)
    assert result.stdout == '{ m0 } {"m0": 1} {}\n', result


def test_unknown_id():
    for reference in "{m1}", "{m1:object}":
        fails("--quiet", "-object", MEMFD, "--run", f"true {reference}",
              phrases=["--run: {m1}", "m0"])


def test_too_many_descriptors():
    lines = [f"memory-backend-memfd,id=m{i},size=4K" for i in range(30)]
    fails("--quiet", *(word for line in lines for word in ("-object", line)),
          "--run", "true " + " ".join(f"{{m{i}}}" for i in range(30)),
          phrases=["--run: ", "open files"],
          under=under("prlimit", "--nofile=60"))


def test_private_memory():
    for text in ("memory-backend-ram,id=m0,size=2M",
                 "memory-backend-memfd,id=m0,size=2M,share=off"):
        fails("--quiet", "-object", text, "--run", "true {m0}",
              phrases=["--run: ", "'m0'", "private", "share=on"])


def test_nothing_runs_when_an_object_fails():
    fails("--quiet", "-object", "memory-backend-ram,id=m0,size=0",
          "--run", "echo ran")


def test_table_leaves_stdout_to_the_command():
    result = run_hostmemd(["-object", MEMFD, "--run", "echo mine"])
    assert result.stdout == "mine\n", result
    assert "memory-backend-memfd" in result.stderr, result


def test_vmm_that_dies_at_once():
    qemu = need_program("qemu-system-x86_64")
    with Hostmemd("-object", MEMFD, "--run",
                  f"sleep 0.3; exec {qemu} -object {{m0:object}},wrong=on") as daemon:
        assert daemon.wait() == 1
    assert "wrong" in daemon.stderr, daemon.stderr


def test_command_that_closes_the_descriptors():
    script = "import os; os.closerange(3, 100); print(os.path.exists('{m0}'))"
    result = run(f"exec {sys.executable} -c {shlex.quote(script)}", "-object",
                 MEMFD)
    assert result.stdout == "False\n", result


def test_standard_input():
    result = run("cat", "-object", MEMFD, input="through")
    assert result.stdout == "through", result


def test_broken_pipes_kill_the_command():
    """hostmemd ignores SIGPIPE; the command must not inherit that."""
    result = run("yes | head -n 1", "-object", MEMFD)
    assert result.stdout == "y\n" and result.stderr == "", result


def test_qmp_meanwhile():
    with Hostmemd("-object", MEMFD, "--run", ": {m0}; exec sleep 100") as d:
        with raises(QmpError, "in use"):
            d.qmp.execute("object-del", id="m0")
        d.qmp.execute("quit")
        assert d.wait() == 128 + signal.SIGTERM


def wait_until_running(daemon):
    wait_until(lambda: "ready" in daemon.stdout, what="the command")


def test_signal_is_passed_on():
    command = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    with Hostmemd("-object", MEMFD, "--run", command, qmp=False) as daemon:
        wait_until_running(daemon)
        os.kill(daemon.pid, signal.SIGTERM)
        assert daemon.wait() == 7


def test_signal_reaches_what_the_command_started():
    with Hostmemd("-object", MEMFD, "--run", "sleep 100 & echo ready; wait",
                  qmp=False) as daemon:
        wait_until_running(daemon)
        os.kill(daemon.pid, signal.SIGTERM)
        daemon.wait()


def test_users_signals_are_passed_on():
    for signum in signal.SIGUSR1, signal.SIGUSR2:
        command = f"trap 'exit 7' {signum.name[3:]}; echo ready; " \
                  "while :; do sleep 0.05; done"
        with Hostmemd("-object", MEMFD, "--run", command,
                      qmp=False) as daemon:
            wait_until_running(daemon)
            os.kill(daemon.pid, signum)
            assert daemon.wait() == 7


def test_command_that_stays():
    """A command may take its time after the signal; the memory stays."""
    command = "trap 'sleep 0.3; head -c 2 {m0} | wc -c; exit 0' TERM; " \
              "echo ready; while :; do sleep 0.05; done"
    with Hostmemd("-object", MEMFD, "--run", command, qmp=False) as daemon:
        wait_until_running(daemon)
        os.kill(daemon.pid, signal.SIGTERM)
        assert daemon.wait() == 0
    assert daemon.stdout == "ready\n2\n", daemon.stdout


STUBBORN = "trap 'echo heard' TERM INT HUP; echo ready; " \
           "while :; do sleep 0.05; done"


def await_heard(daemon, count):
    """Until the command has got so many signals, which it ignores."""
    wait_until(lambda: daemon.stdout.count("heard") >= count,
               what="the signal")


def test_command_that_ignores_a_signal_is_killed_by_the_next():
    for signum in signal.SIGTERM, signal.SIGINT:
        with Hostmemd("-object", MEMFD, "--run", STUBBORN,
                      qmp=False) as daemon:
            wait_until_running(daemon)
            os.kill(daemon.pid, signum)
            await_heard(daemon, 1)
            time.sleep(1.1)  # less is not meant
            os.kill(daemon.pid, signum)
            assert daemon.wait() == 128 + signal.SIGKILL
        assert f"after signal {signum:d}" in daemon.stderr, daemon.stderr


def test_command_that_ignores_quit_is_killed_by_the_next():
    with Hostmemd("-object", MEMFD, "--run", STUBBORN) as daemon:
        wait_until_running(daemon)
        daemon.qmp.execute("quit")
        time.sleep(1.1)  # less is not meant
        daemon.qmp.execute("quit")
        assert daemon.wait() == 128 + signal.SIGKILL


def test_signals_at_once_or_of_two_kinds_do_not_kill():
    command = "trap 'exit 7' USR1; " + STUBBORN
    with Hostmemd("-object", MEMFD, "--run", command, qmp=False) as daemon:
        wait_until_running(daemon)
        os.kill(daemon.pid, signal.SIGTERM)
        await_heard(daemon, 1)
        os.kill(daemon.pid, signal.SIGTERM)
        await_heard(daemon, 2)
        time.sleep(1.1)
        os.kill(daemon.pid, signal.SIGINT)
        for count in 4, 5:
            os.kill(daemon.pid, signal.SIGHUP)
            await_heard(daemon, count)
            time.sleep(1.1)
        assert daemon.returncode is None
        shell, = children(daemon)
        os.kill(shell, signal.SIGUSR1)
        assert daemon.wait() == 7


def children(daemon):
    path = f"/proc/{daemon.pid}/task/{daemon.pid}/children"
    with open(path) as pids:
        return [int(pid) for pid in pids.read().split()]


def test_command_goes_when_hostmemd_is_killed():
    with Hostmemd("-object", MEMFD, "--run", "echo ready; exec sleep 100",
                  qmp=False) as daemon:
        wait_until_running(daemon)
        daemon.process.kill()
        daemon.wait()


if __name__ == "__main__":
    harness.main()
