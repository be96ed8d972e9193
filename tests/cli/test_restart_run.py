#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command of --run goes on when its hostmemd is replaced."""

import contextlib
import json
import os
import pathlib
import signal
import time

import harness
from harness import MIB, QmpError, raises, scratch, wait_until
from keeper import Keeper, Memory, kill

SIZE = 12 * MIB
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
