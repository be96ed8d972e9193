# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmemctl exec: a command that gets the memory of a running hostmemd."""

import contextlib
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import time

import harness
from ctl import (Peer, command_of, ctl, ctl_fails, environment, error, fake,
                 run_ctl, started)
from harness import (MIB, Hostmemd, need_program, need_root, run_as, scratch,
                     wait_until)
from terminal import INTERRUPT, QUIT, STOP, Terminal

MEMFD = "memory-backend-memfd,id=m0,size=2M"
OTHER = "memory-backend-memfd,id=m1,size=4M"
NOBODY = 65534


def run(daemon, script, *ids, **options):
    """A script of the shell that gets memory."""
    return run_ctl(daemon, "exec", *(ids or ["m0"]), "--", "sh", "-c", script,
                   **options)


def prints(daemon, script, *ids, **options):
    result = run(daemon, script, *ids, **options)
    assert result.returncode == 0 and result.stderr == "", result
    return result.stdout


def refused(server, *args, status=1, phrases=()):
    """It fails before anything runs, with one line that holds each phrase."""
    result = run_ctl(server, "exec", *args)
    assert result.returncode == status, result
    assert result.stdout == "", result
    assert result.stderr.startswith("hostmemctl: "), result
    assert result.stderr.count("\n") == 1, result
    for phrase in phrases:
        assert phrase in result.stderr, f"{phrase!r} not in {result.stderr!r}"


# what the command gets

def test_memory_is_handed_over():
    with Hostmemd("-object", MEMFD) as daemon:
        assert prints(daemon, "stat -L -c %s {m0}; printf hello 1<>{m0}"
                      ) == f"{2 * MIB}\n"
        assert prints(daemon, "head -c 5 {m0}") == "hello"


def test_second_command_with_the_same_memory_is_warned_of():
    with Hostmemd("-object", MEMFD) as daemon:
        script = "echo began; read line"
        with started(daemon, "exec", "m0", "--", "sh", "-c", script,
                     stdin=subprocess.PIPE) as first:
            assert first.stdout.readline() == "began\n"
            result = run(daemon, "echo ran")
            assert result.returncode == 0 and result.stdout == "ran\n", result
            assert result.stderr == (
                "hostmemctl: warning: somebody else has the memory of 'm0' "
                "open or mapped: it must not be another guest\n"), result
            first.stdin.write("end\n")
            first.stdin.flush()
            assert first.wait() == 0
        assert prints(daemon, "echo ran") == "ran\n"


def test_object_is_a_complete_line():
    with Hostmemd("-object", MEMFD) as daemon:
        assert prints(daemon, "echo {m0:object}") == (
            "memory-backend-file,id=m0,size=2097152,"
            "mem-path=/proc/self/fd/10,share=on\n")


def test_object_of_read_only_memory():
    with scratch() as folder:
        path = folder / "rom"
        path.write_bytes(bytes(2 * MIB))
        with Hostmemd("-object", "memory-backend-file,id=m0,size=2M,share=on,"
                      f"readonly=on,mem-path={path}") as daemon:
            assert prints(daemon, "echo {m0:object}").endswith(
                ",share=on,readonly=on\n")


def test_object_of_a_part_of_a_file():
    with scratch() as folder:
        path = folder / "f"
        path.write_bytes(bytes(3 * MIB))
        with Hostmemd("-object", "memory-backend-file,id=m0,size=2M,share=on,"
                      f"offset=1M,mem-path={path}") as daemon:
            assert prints(daemon, "echo {m0:object}").endswith(
                f",share=on,offset={MIB}\n")


def test_environment_lists_all_that_was_told():
    """In that order, named in the command or not, and each once."""
    with Hostmemd("-object", MEMFD, "-object", OTHER) as daemon:
        assert prints(daemon, "echo $HOSTMEM_FDS", "m1", "m0", "m1",
                      env={"HOSTMEM_FDS": "m7=3"}) == "m1=10,m0=11\n"
        assert prints(daemon, "stat -L -c %s {m0} {m1}", "m1", "m0"
                      ) == f"{2 * MIB}\n{4 * MIB}\n"


def test_nothing_else_is_inherited():
    with Hostmemd("-object", MEMFD) as daemon:
        fds = prints(daemon, "ls /proc/self/fd", "m0").split()
        # The third is how ls looks.
        assert sorted(map(int, fds)) == [0, 1, 2, 3, 10], fds


def test_memory_of_a_pool_in_one_segment():
    with Hostmemd("-object", "memory-pool,id=p0,size=8M,segment-size=4M",
                  "-object", "memory-backend-memfd,id=m0,size=4M,pool=p0"
                  ) as daemon:
        assert prints(daemon, "stat -L -c %s {m0}") == f"{4 * MIB}\n"


def test_memory_outlives_its_backend():
    with Hostmemd("-object", MEMFD) as daemon:
        with started(daemon, "exec", "m0", "--", "sh", "-c",
                     "printf hello 1<>{m0}; echo ready; read x; head -c 5 {m0}",
                     stdin=subprocess.PIPE) as process:
            assert process.stdout.readline() == "ready\n"
            daemon.qmp.execute("object-del", id="m0")
            assert process.communicate("go on\n", 20)[0] == "hello"


def test_session_ends_before_the_command_runs():
    with Hostmemd("-object", MEMFD) as daemon, \
            started(daemon, "exec", "m0", "--", "sh", "-c",
                    "echo ready; read x", stdin=subprocess.PIPE) as process:
        assert process.stdout.readline() == "ready\n"
        def names():
            return [os.readlink(path) for path in
                    pathlib.Path(f"/proc/{process.pid}/fd").iterdir()]
        assert not [name for name in names() if "socket:" in name], names()
        # The command may be quicker than who started it.
        wait_until(lambda: not [name for name in names() if "memfd" in name],
                   what="its memory to be closed")


# braces

def test_braces_that_were_not_told_stay():
    with Hostmemd("-object", MEMFD, "-object", OTHER) as daemon:
        assert prints(daemon, "echo '{m1} {} ${m0} {m0 }'"
                      ) == "{m1} {} ${m0} {m0 }\n"


def test_object_that_was_not_told():
    with Hostmemd("-object", MEMFD, "-object", OTHER) as daemon:
        refused(daemon, "m0", "--", "echo", "{m1:object}",
                phrases=["{m1:object}", "'m1'", "before '--'"])


# the command stands where hostmemctl stood

def test_exit_status():
    with Hostmemd("-object", MEMFD) as daemon:
        for status in 0, 1, 7, 255:
            result = run(daemon, f"exit {status}")
            assert result.returncode == status, result
            assert result.stderr == "", result


def test_death_by_a_signal():
    with Hostmemd("-object", MEMFD) as daemon:
        result = run(daemon, "kill -KILL $$")
        assert result.returncode == 128 + signal.SIGKILL, result


def test_standard_input():
    with Hostmemd("-object", MEMFD) as daemon:
        result = subprocess.run(
            command_of(daemon, ["exec", "m0", "--", "cat"]), input="through",
            capture_output=True, text=True, timeout=20, env=environment())
    assert result.stdout == "through", result


def test_signals_are_passed_on():
    with Hostmemd("-object", MEMFD) as daemon:
        for name in "HUP", "INT", "TERM", "USR1", "USR2":
            with started(daemon, "exec", "m0", "--", "sh", "-c",
                         f"trap 'exit 7' {name}; echo ready; "
                         "while kill -0 $PPID; do sleep 0.05; done") as process:
                assert process.stdout.readline() == "ready\n"
                process.send_signal(getattr(signal, f"SIG{name}"))
                assert process.wait(20) == 7, name


def test_signal_that_is_ignored_stays_so():
    """Of nohup, and of a shell's background."""
    for name in "HUP", "INT":
        with Hostmemd("-object", MEMFD) as daemon:
            line = shlex.join(command_of(daemon, [
                "exec", "m0", "--", "sh", "-c",
                f"kill -{name} $$; kill -{name} $PPID; echo alive"]))
            result = subprocess.run(
                ["sh", "-c", f"trap '' {name}; {line}"], capture_output=True,
                text=True, timeout=20, env=environment())
        assert result.stdout == "alive\n", result
        assert result.returncode == 0, result


def test_command_that_ignores_a_signal_is_killed_by_the_next():
    with Hostmemd("-object", MEMFD) as daemon, \
            started(daemon, "exec", "m0", "--", "sh", "-c",
                    "trap 'echo heard' TERM; echo ready; "
                    "while kill -0 $PPID; do sleep 0.05; done"
                    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.readline() == "heard\n"
        time.sleep(1.1)  # less is not meant
        process.terminate()
        assert process.wait(20) == 128 + signal.SIGKILL
        assert "after signal 15" in process.stderr.read()


def test_command_goes_on_when_hostmemctl_is_killed():
    """Guest and memory need neither of us."""
    with Hostmemd("-object", MEMFD) as daemon, \
            started(daemon, "exec", "m0", "--", "sh", "-c",
                    "echo $$; read x; echo got $x", stdin=subprocess.PIPE
                    ) as process:
        pid = int(process.stdout.readline())
        process.kill()
        process.wait()
        daemon.process.kill()
        daemon.wait()
        os.kill(pid, 0)
        process.stdin.write("words\n")
        process.stdin.flush()
        assert process.stdout.readline() == "got words\n"


def test_terminal_is_the_commands():
    with Hostmemd("-object", MEMFD) as daemon:
        with Terminal(command_of(daemon, [
                "exec", "m0", "--", "sh", "-c",
                "trap 'n=$((n+1)); echo got $n' INT; "
                "trap 'echo quit; exit 6' QUIT; echo ready; "
                "while kill -0 $PPID; do sleep 0.05; done"]),
                env=environment()) as terminal:
            terminal.expect("ready")
            terminal.type(INTERRUPT)
            terminal.expect("got 1")
            terminal.type(QUIT)
            assert terminal.wait() == 6
            assert "got 2" not in terminal.read_rest()


def test_job_control():
    with Hostmemd("-object", MEMFD) as daemon, \
            Terminal(["sh", "-i"], env={"PS1": "shell> ", "ENV": ""}) as shell:
        shell.expect("shell> ")
        line = shlex.join(command_of(daemon, [
            "exec", "m0", "--", "sh", "-c",
            "echo re''ady; read x; echo got $x; exit 9"]))
        shell.type(f"{line}\n")
        shell.expect("ready\r\n")
        shell.type(STOP)
        shell.expect("shell> ")
        shell.wait_stopped()
        shell.type("fg\nwords\n")
        shell.expect("got words")
        shell.type("echo status=$?\n")
        shell.expect("status=9")


# commands that are none

def test_program_that_does_not_exist():
    with Hostmemd("-object", MEMFD) as daemon:
        refused(daemon, "m0", "--", "no-such-vmm", "{m0}", status=127,
                phrases=["exec: ", "'no-such-vmm'", "PATH"])
        refused(daemon, "m0", "--", "/no/such/vmm", status=127,
                phrases=["'/no/such/vmm'", "No such file"])


def test_program_that_cannot_be_run():
    with Hostmemd("-object", MEMFD) as daemon:
        refused(daemon, "m0", "--", "/dev/null", status=126,
                phrases=["'/dev/null'", "Permission denied"])


def test_vmm_that_dies_at_once():
    """Its words and its status; the memory is there for the next one."""
    need_program("qemu-system-x86_64")
    with Hostmemd("-object", MEMFD) as daemon:
        result = run_ctl(daemon, "exec", "m0", "--", "qemu-system-x86_64",
                         "-object", "{m0:object},wrong=on")
        assert result.returncode == 1, result
        assert "wrong" in result.stderr, result
        assert prints(daemon, "stat -L -c %s {m0}") == f"{2 * MIB}\n"


def test_command_that_closes_the_descriptors():
    script = "import os; os.closerange(3, 100); print(os.path.exists('{m0}'))"
    with Hostmemd("-object", MEMFD) as daemon:
        assert ctl(daemon, "exec", "m0", "--", sys.executable, "-c",
                   script) == "False\n"
        assert prints(daemon, "stat -L -c %s {m0}") == f"{2 * MIB}\n"


def test_command_line_without_a_command():
    for args, phrase in ((["m0"], "exec: COMMAND is missing"),
                         (["m0", "--"], "exec: COMMAND is missing"),
                         (["--", "true"], "exec: ID is missing")):
        ctl_fails("unix:/nonexistent", "exec", *args, phrases=[phrase])


# memory that is not to be had; nothing runs then

def test_unknown_id():
    with Hostmemd("-object", MEMFD) as daemon:
        refused(daemon, "m0", "m9", "--", "echo", "ran", phrases=["'m9'"])


def test_object_without_memory():
    with Hostmemd("-object", "thread-context,id=t0") as daemon:
        refused(daemon, "t0", "--", "echo", "ran", phrases=["t0"])


def test_private_memory():
    with Hostmemd("-object", "memory-backend-ram,id=m0,size=2M") as daemon:
        refused(daemon, "m0", "--", "echo", "ran",
                phrases=["'m0'", "private", "share=on"])


def test_memory_in_several_segments():
    with Hostmemd("-object", "memory-pool,id=p0,size=8M,segment-size=2M",
                  "-object", "memory-backend-memfd,id=m0,size=6M,pool=p0"
                  ) as daemon:
        refused(daemon, "m0", "--", "echo", "ran",
                phrases=["'m0'", "3 segments", "pool 'p0'",
                         "segment-size of 6 MiB"])


def test_memory_that_somebody_has_truncated():
    with Hostmemd("-object", MEMFD + ",seal=off") as daemon:
        assert prints(daemon, "truncate -s 1M {m0}") == ""
        refused(daemon, "m0", "--", "echo", "ran",
                phrases=["'m0'", "1 MiB", "2 MiB", "truncated"])


def test_memory_that_cannot_be_truncated():
    with Hostmemd("-object", MEMFD) as daemon:
        result = run(daemon, "truncate -s 1M {m0}")
        assert result.returncode == 1, result
        assert prints(daemon, "stat -L -c %s {m0}") == f"{2 * MIB}\n"


def test_memory_that_cannot_be_sealed():
    """So that nobody keeps the next one from writing to it."""
    script = ("import fcntl\nfor seal in 1, 2, 4, 8, 16:\n"
              "    try: fcntl.fcntl(10, 1033, seal)\n"
              "    except OSError: continue\n"
              "    print('sealed', seal)")
    for options in MEMFD, MEMFD + ",seal=off", "memory-backend-shm,id=m0,size=2M":
        with Hostmemd("-object", options) as daemon:
            assert ctl(daemon, "exec", "m0", "--", sys.executable, "-c",
                       script) == ""
            assert prints(daemon, "printf hello 1<>{m0}; head -c 5 {m0}"
                          ) == "hello"


def test_too_many_descriptors():
    lines = [f"memory-backend-memfd,id=m{i},size=4K" for i in range(30)]
    with Hostmemd(*(w for line in lines for w in ("-object", line))) as daemon:
        ids = [f"m{i}" for i in range(30)]
        result = subprocess.run(
            ["prlimit", "--nofile=30",
             *command_of(daemon, ["exec", *ids, "--", "echo", "ran"])],
            capture_output=True, text=True, timeout=20, env=environment())
    assert result.returncode == 1 and result.stdout == "", result
    assert "hostmemctl: " in result.stderr, result


def test_refused_peer():
    need_root()
    with scratch() as folder:
        folder.chmod(0o755)
        path = folder / "open"
        with Hostmemd("-object", MEMFD, "-qmp",
                      f"unix:{path},mode=0666") as daemon:
            def ask():
                result = run_ctl(f"unix:{path}", "exec", "m0", "--", "echo")
                return [result.returncode, result.stdout, result.stderr]
            status, stdout, stderr = run_as(NOBODY, ask)
            assert f"uid {NOBODY}" in daemon.stderr, daemon.stderr
    assert status == 1 and stdout == "", stdout
    assert "'m0'" in stderr and f"uid {NOBODY}" in stderr, stderr


def test_not_over_tcp():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Hostmemd("-object", MEMFD, "-qmp", f"tcp:127.0.0.1:{port}"):
        refused(f"tcp:127.0.0.1:{port}", "m0", "--", "echo",
                phrases=["Unix socket"])


def test_server_that_has_no_such_command():
    def serve(peer):
        peer.negotiate()
        peer.answer(error("nosuch", "CommandNotFound"))

    with fake(serve) as address:
        refused(address, "m0", "--", "echo",
                phrases=["has no command 'get-memory-fd'"])


def test_server_that_goes_meanwhile():
    with fake(lambda peer: (peer.negotiate(), peer.recv())) as address:
        refused(address, "m0", "--", "echo", phrases=[address])


# servers whose answers are wrong

def part(**changes):
    return {"offset": 0, "length": 4096, "fd-offset": 0, **changes}


def answer_with(value, *fds):
    """A server that sends these descriptors, whatever they are."""
    def serve(peer: Peer):
        peer.negotiate()
        message = peer.recv()
        peer.send_fds({"return": value, "id": message["id"]}, fds)
        peer.wait_closed()
    return serve


def test_answers_that_make_no_sense():
    with contextlib.ExitStack() as stack:
        fd = os.memfd_create("x")
        stack.callback(os.close, fd)
        os.truncate(fd, 4096)
        for value, fds in (
                ({}, []), ([], []), (None, [fd]), ({"size": 4096}, [fd]),
                ({"size": 4096, "parts": []}, []),
                ({"size": 4096, "parts": []}, [fd]),
                ({"size": 4096, "parts": [part()]}, []),
                ({"size": 4096, "parts": [part()]}, [fd, fd]),
                ({"size": -1, "parts": [part()]}, [fd]),
                ({"size": "4096", "parts": [part()]}, [fd]),
                ({"size": 4096, "parts": [1]}, [fd]),
                ({"size": 4096, "parts": [part(**{"fd-offset": -1})]}, [fd])):
            with fake(answer_with(value, *fds)) as address:
                refused(address, "m0", "--", "echo",
                        phrases=[address, "makes no sense"])


def test_descriptors_that_are_no_memory():
    reader, writer = os.pipe()
    fd = os.memfd_create("x")
    os.truncate(fd, 4096)
    try:
        for sent, value, phrase in (
                (reader, {"size": 4096, "parts": [part()]}, "no file"),
                (fd, {"size": 8192, "parts": [part()]}, "truncated"),
                (fd, {"size": 4096, "parts": [part(**{"fd-offset": 1})]},
                 "truncated"),
                (fd, {"size": 2 ** 63 - 1, "parts": [
                    part(**{"fd-offset": 2 ** 63 - 1})]}, "truncated")):
            with fake(answer_with(value, sent)) as address:
                refused(address, "m0", "--", "echo",
                        phrases=[address, "'m0'", phrase])
    finally:
        for end in reader, writer, fd:
            os.close(end)


if __name__ == "__main__":
    harness.main()
