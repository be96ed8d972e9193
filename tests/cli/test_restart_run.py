#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command of --run goes on when its hostmemd is replaced."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import harness
from harness import (MIB, QmpError, die_with_parent, raises, scratch, skip,
                     wait_until)
from keeper import Keeper, Memory, kill

SIZE = 12 * MIB
# What Linux calls that on x86 and on Arm.
WRITES_TO_STDERR = (["1", "0x2"], ["64", "0x2"])
MEMFD = f"memory-backend-memfd,id=m0,size={SIZE}"


def terminate(daemon):
    os.kill(daemon.pid, signal.SIGTERM)
    assert daemon.wait() == 0


def is_gone(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
        return state.split()[0] == "Z"
    except FileNotFoundError:
        return True


class Command:
    """A command that says each time when it is started, and stays."""

    def __init__(self, folder, more=""):
        self._starts = folder / "starts"
        self.line = (f"echo $$ >>{self._starts}; : {{m0}}; {more} "
                     "while true; do sleep 0.05; done")

    def starts(self):
        """Process ids, oldest first."""
        if not self._starts.exists():
            return []
        return [int(line) for line in self._starts.read_text().split("\n")[:-1]]

    def await_start(self, count=1):
        wait_until(lambda: len(self.starts()) == count, what="the command")
        return self.starts()[-1]

    def end(self):
        for pid in self.starts():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


@contextlib.contextmanager
def command(more=""):
    with scratch() as folder:
        made = Command(folder, more)
        try:
            yield made
        finally:
            made.end()


def begin(boss, made, end=kill):
    """It runs, and its hostmemd is no more; returns its process id."""
    with boss.run("-object", MEMFD, "--run", made.line,
                  may_leave_processes=True) as daemon:
        pid = made.await_start()
        daemon.qmp.execute("query-status")
        boss.drain()
        end(daemon)
    assert not is_gone(pid)
    return pid


def test_command_goes_on():
    for end in kill, terminate:
        with Keeper() as boss, command() as made:
            pid = begin(boss, made, end)
            with boss.run() as daemon:
                said = f"the command of an earlier start goes on: process {pid}"
                wait_until(lambda: said in daemon.stderr, what="the message")
                assert "warning" not in daemon.stderr, daemon.stderr
                assert made.starts() == [pid] and not is_gone(pid)
                with raises(QmpError, "in use"):
                    daemon.qmp.execute("object-del", id="m0")
                daemon.qmp.execute("quit")
                assert daemon.wait() == 0
                wait_until(lambda: is_gone(pid), what="the command's end")
            boss.await_empty()


def test_again_and_again():
    with Keeper() as boss, command() as made:
        pid = begin(boss, made)
        for end in kill, terminate, kill:
            with boss.run(may_leave_processes=True) as daemon:
                daemon.qmp.execute("query-status")
                wait_until(lambda: "goes on" in daemon.stderr)
                boss.drain()
                end(daemon)
            assert made.starts() == [pid] and not is_gone(pid)


def test_end_of_the_command_is_seen():
    with Keeper() as boss, command() as made:
        pid = begin(boss, made)
        with boss.run() as daemon:
            wait_until(lambda: "goes on" in daemon.stderr)
            os.killpg(pid, signal.SIGKILL)
            assert daemon.wait() == 0
            assert "has ended; how is not known" in daemon.stderr
        boss.await_empty()


def test_command_that_ended_meanwhile_is_not_started_again():
    with Keeper() as boss, command() as made:
        pid = begin(boss, made)
        os.killpg(pid, signal.SIGKILL)
        wait_until(lambda: is_gone(pid))
        with boss.run(qmp=False) as daemon:
            assert daemon.wait() == 0
            assert "has ended; how is not known" in daemon.stderr
        assert made.starts() == [pid]
        boss.await_empty()


def test_next_start_begins_anew():
    with Keeper() as boss, command() as made:
        pid = begin(boss, made)
        os.killpg(pid, signal.SIGKILL)
        with boss.run(qmp=False) as daemon:
            assert daemon.wait() == 0
        boss.await_empty()
        with boss.run() as daemon:
            assert made.await_start(2) != pid
            daemon.qmp.execute("quit")
            assert daemon.wait() == 128 + signal.SIGTERM


def test_another_command_is_not_started():
    with Keeper() as boss, command() as made:
        pid = begin(boss, made)
        with boss.run("-object", MEMFD, "--run", "echo other") as daemon:
            wait_until(lambda: "is another one, and is not started"
                       in daemon.stderr)
            assert "other\n" not in daemon.stdout
            daemon.qmp.execute("quit")
            assert daemon.wait() == 0
        assert made.starts() == [pid]


def test_start_without_a_command_leaves_it_to_itself():
    with Keeper() as boss, command() as made:
        pid = begin(boss, made)
        with boss.run("-object", MEMFD) as daemon:
            wait_until(lambda: f"process {pid}, and is left to itself"
                       in daemon.stderr)
            daemon.qmp.execute("object-del", id="m0")
            daemon.qmp.execute("quit")
            assert daemon.wait() == 0
        assert not is_gone(pid)


def test_memory_of_the_command_is_the_same():
    with Keeper() as boss, command() as made:
        with boss.run("-object", MEMFD, "--run", made.line,
                      may_leave_processes=True) as daemon:
            made.await_start()
            memory = Memory.of(daemon, SIZE)
            memory.fill(1)
            boss.drain()
            kill(daemon)
        with boss.run() as daemon, memory, Memory.of(daemon, SIZE) as again:
            again.check(1)
            assert again.identity() == memory.identity()
            daemon.qmp.execute("quit")
            daemon.wait()


def test_signals_of_the_user_are_passed_on():
    with scratch() as folder, Keeper() as boss, \
            command(f"trap 'echo one >>{folder}/got' USR1;") as made:
        begin(boss, made)
        with boss.run() as daemon:
            wait_until(lambda: "goes on" in daemon.stderr)
            os.kill(daemon.pid, signal.SIGUSR1)
            wait_until(lambda: (folder / "got").exists(), what="the signal")
            daemon.qmp.execute("quit")
            assert daemon.wait() == 0


def test_command_that_ignores_quit_is_killed_by_the_next():
    with Keeper() as boss, command("trap '' TERM;") as made:
        pid = begin(boss, made)
        with boss.run() as daemon:
            daemon.qmp.execute("quit")
            time.sleep(1.1)  # less is not meant
            assert not is_gone(pid)
            with daemon.connect() as client:
                client.execute("quit")
            assert daemon.wait() == 0
            assert "it is killed" in daemon.stderr
        wait_until(lambda: is_gone(pid))


class FullPipe:
    """A hostmemd that prints its table into it waits there, before it starts
    its command, until we read it."""

    def __init__(self, folder):
        path = folder / "stderr"
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._read = b""
        self.under = ["/bin/sh", "-c", f'exec "$@" 2>{path}', "sh"]
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self._fd, b"\n" * 4096)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._fd)

    @staticmethod
    def await_writer(daemon):
        """Wait until it waits."""
        path = pathlib.Path(f"/proc/{daemon.pid}/syscall")
        try:
            path.read_text()
        except OSError as error:
            skip(f"nobody tells what a process waits for: {error}")
        wait_until(lambda: path.read_text().split()[:2] in WRITES_TO_STDERR,
                   what="the table")

    def read(self):
        """Make room; returns all that was said so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._read += os.read(self._fd, 4096)
        return self._read.decode().strip()


def children(pid):
    path = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()]


@contextlib.contextmanager
def at_the_gate(boss, made):
    """A hostmemd whose manager does not hear that there is a command.

    Yields it, the process that waits to become the command, and what lets the
    manager hear again.
    """
    with scratch() as folder, FullPipe(folder) as pipe, \
            boss.run("-object", MEMFD, "--run", made.line, qmp=False,
                     under=pipe.under, may_leave_processes=True) as daemon, \
            contextlib.ExitStack() as deaf:
        pipe.await_writer(daemon)
        deaf.enter_context(boss.deaf())
        pipe.read()
        wait_until(lambda: children(daemon.pid), what="the process")
        yield daemon, children(daemon.pid)[0], deaf.close


def test_command_does_not_begin_before_it_is_known():
    with Keeper() as boss, command() as made:
        with at_the_gate(boss, made) as (daemon, pid, _):
            assert not made.starts()
            kill(daemon)
            wait_until(lambda: is_gone(pid), what="the end of who waits")
        assert not made.starts()
        with boss.run() as daemon:
            assert made.await_start() != pid
            daemon.qmp.execute("quit")
            daemon.wait()
        assert len(made.starts()) == 1


def test_command_begins_when_it_is_known():
    with Keeper() as boss, command() as made:
        with at_the_gate(boss, made) as (_, pid, hear):
            hear()
            assert made.await_start() == pid


def known_before_it_began(boss):
    """What was kept when the command waited to begin."""
    for count, (what, name, fd) in enumerate(boss.history, 1):
        if what == "add" and name.startswith("hostmem-state"):
            text = os.pread(fd, os.fstat(fd).st_size, 0)
            note = json.loads(text).get("note")
            if note and not note.endswith("])"):
                return boss.kept_after(count)
    raise AssertionError("no such note")


# A process at a gate, which is at descriptor 9.
WAITS = """
import os, sys, time
os.dup2(int(sys.argv[1]), 9)
print("there", flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def who_waits():
    """A process, when it was born, and what it waits at."""
    reader, writer = os.pipe()
    gate = os.fstat(reader).st_ino
    with subprocess.Popen([sys.executable, "-c", WAITS, str(reader)],
                          pass_fds=(reader,), stdout=subprocess.PIPE,
                          preexec_fn=die_with_parent) as process:
        os.close(reader)
        try:
            assert process.stdout.read(5) == b"there"
            stat = pathlib.Path(f"/proc/{process.pid}/stat").read_text()
            yield process, stat.rpartition(")")[2].split()[19], gate
        finally:
            process.kill()
            os.close(writer)


def test_who_waits_for_nobody_never_begins():
    """hostmemd was killed before it could let it through."""
    for is_there in True, False:
        with Keeper() as boss, command() as made, \
                who_waits() as (process, born, gate):
            os.killpg(begin(boss, made), signal.SIGKILL)
            at = gate if is_there else gate + 1
            change_note(boss, lambda _: f"({process.pid}, {born}, false, '', "
                        f"['m0'], {at})")
            with boss.run() as daemon:
                if is_there:
                    made.await_start(2)
                    assert process.wait() == -signal.SIGKILL
                else:
                    wait_until(lambda: f"goes on: process {process.pid}"
                               in daemon.stderr)
                    assert process.poll() is None
                    process.kill()
                    assert daemon.wait() == 0
                    continue
                daemon.qmp.execute("quit")
                daemon.wait()


def test_command_that_has_just_begun_goes_on():
    """hostmemd was killed before it could say that it has let it through."""
    with Keeper() as boss, command() as made:
        pid = begin(boss, made)
        with boss.run(stored=known_before_it_began(boss)) as daemon:
            wait_until(lambda: f"goes on: process {pid}" in daemon.stderr)
            daemon.qmp.execute("quit")
            daemon.wait()
        assert made.starts() == [pid]


def test_command_that_may_have_begun():
    """It is gone: nobody has its memory, or it has left that to somebody."""
    for has_left in False, True:
        with Keeper() as boss, command() as made, contextlib.ExitStack() as held:
            with boss.run("-object", MEMFD, "--run", made.line,
                          may_leave_processes=True) as daemon:
                pid = made.await_start()
                if has_left:
                    held.enter_context(Memory.of(daemon, SIZE))
                boss.expect("READY")
                boss.drain()
                kill(daemon)
            os.killpg(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: is_gone(pid))
            stored = known_before_it_began(boss)
            if has_left:
                with boss.run(stored=stored, qmp=False) as daemon:
                    assert daemon.wait() == 0
                    assert "has ended; how is not known" in daemon.stderr
                assert made.starts() == [pid]
                continue
            with boss.run(stored=stored) as daemon:
                assert made.await_start(2) != pid
                daemon.qmp.execute("quit")
                daemon.wait()


def test_command_that_cannot_be_made_known_is_not_started():
    with Keeper() as boss, command() as made, scratch() as folder, \
            FullPipe(folder) as pipe:
        with boss.run("-object", MEMFD, "--run", made.line, qmp=False,
                      under=pipe.under) as daemon:
            pipe.await_writer(daemon)
            with boss.away():
                pipe.read()
                assert daemon.wait() == 1
        said = pipe.read()
        assert "--run: the command is not started" in said, said
        assert "cannot tell the service manager" in said, said
        assert not made.starts()
        with boss.run() as daemon:
            made.await_start()
            daemon.qmp.execute("quit")
            daemon.wait()


def test_too_many_ids_to_be_kept():
    ids = [f"m{number}{'x' * 240}" for number in range(260)]
    line = ": " + " ".join(f"{{{name}}}" for name in ids)
    args = [word for name in ids
            for word in ("-object", f"memory-backend-memfd,id={name},size=4K")]
    with Keeper() as boss:
        with boss.run(*args, "--run", line, qmp=False) as daemon:
            assert daemon.wait() == 1
            assert "the ids of all that the command gets take" \
                in daemon.stderr, daemon.stderr


def change_note(boss, change):
    state = json.loads(boss.state())
    state["note"] = change(state["note"])
    boss.replace_state(json.dumps(state))


def test_number_of_another_process():
    """The number alone means nothing: it was given to another one since."""
    with Keeper() as boss, command() as made:
        pid = begin(boss, made)
        change_note(boss, lambda note: note.replace(
            note.split(",")[1], f" uint64 {1 << 60}"))
        with boss.run(qmp=False) as daemon:
            assert daemon.wait() == 0
            assert "has ended; how is not known" in daemon.stderr
        assert not is_gone(pid)


def test_note_that_is_none():
    for note in "", "x", "(1, 2)", "(-1, uint64 1, false, '', @as [])[", "[1]":
        with Keeper() as boss, command() as made:
            begin(boss, made)
            change_note(boss, lambda _: note)
            with boss.run(qmp=False) as daemon:
                assert daemon.wait() == 1, note
                assert "does not tell whether the command" in daemon.stderr
            assert len(made.starts()) == 1


def test_numbers_that_are_no_process():
    for number in -1, 0, 1:
        with Keeper() as boss, command() as made:
            begin(boss, made)
            change_note(boss, lambda _: f"({number}, uint64 1, true, '', @as [])")
            with boss.run(qmp=False) as daemon:
                assert daemon.wait() == 0
                assert "has ended" in daemon.stderr
            assert len(made.starts()) == 1


def test_without_a_store_it_ends_with_its_hostmemd():
    with command() as made, harness.Hostmemd("-object", MEMFD, "--run",
                                             made.line) as daemon:
        pid = made.await_start()
        daemon.process.kill()
        daemon.wait()
        wait_until(lambda: is_gone(pid), what="the command's end")


if __name__ == "__main__":
    harness.main()
