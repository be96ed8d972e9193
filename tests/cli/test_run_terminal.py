# SPDX-License-Identifier: LGPL-2.1-or-later
"""--run on a terminal: it is the command's, and the shell's job control works.

What the kernel does for a job in a shell is between the two of them; hostmemd
must neither stand in the way nor do it twice.
"""

import shlex
import signal

import harness
from harness import program
from terminal import INTERRUPT, QUIT, STOP, Terminal

MEMFD = "memory-backend-memfd,id=m0,size=2M,prealloc=on"
PROMPT = "shell> "


def hostmemd(command):
    return [program("hostmemd"), "--quiet", "-object", MEMFD, "--run", command]


class Shell(Terminal):
    """A shell with job control."""

    def __init__(self):
        super().__init__(["sh", "-i"], env={"PS1": PROMPT, "ENV": ""})
        self.expect(PROMPT)

    def run(self, command, more=""):
        """Type a line that starts hostmemd with that command."""
        line = shlex.join(map(str, hostmemd(command)))
        self.type(f"{line} {more}\n")


def test_interrupt_reaches_the_command_once():
    """The terminal tells both; hostmemd must not tell the command again."""
    command = ("trap 'n=$((n+1)); echo got $n' INT; echo ready; "
               "for i in 1 2 3 4 5 6 7 8; do sleep 0.1; done; exit 5")
    with Terminal(hostmemd(command)) as terminal:
        terminal.expect("ready")
        terminal.type(INTERRUPT)
        assert terminal.wait() == 5
        assert terminal.read_rest().count("got") == 1


def test_command_that_is_interrupted():
    with Terminal(hostmemd("echo ready; exec sleep 100")) as terminal:
        terminal.expect("ready")
        terminal.type(INTERRUPT)
        assert terminal.wait() == 128 + signal.SIGINT


def test_quit_character_is_the_commands():
    command = "trap 'echo got; exit 6' QUIT; echo ready; " \
              "while :; do sleep 0.05; done"
    with Terminal(hostmemd(command)) as terminal:
        terminal.expect("ready")
        terminal.type(QUIT)
        assert terminal.wait() == 6


def test_command_reads_the_terminal():
    with Terminal(hostmemd("echo ready; read x; echo got $x")) as terminal:
        terminal.expect("ready")
        terminal.type("words\n")
        terminal.expect("got words")
        assert terminal.wait() == 0


def test_hang_up_ends_the_command():
    with Terminal(hostmemd("echo ready; exec sleep 100")) as terminal:
        terminal.expect("ready")
    assert terminal.process.returncode == 128 + signal.SIGHUP


def test_stop_and_go_on():
    with Shell() as shell:
        shell.run("echo ready; read x; echo got $x; exit 9")
        shell.expect("ready\r\n")
        shell.type(STOP)
        shell.expect(PROMPT)
        shell.wait_stopped()
        shell.type("fg\n")
        shell.type("words\n")
        shell.expect("got words")
        shell.type("echo status=$?\n")
        shell.expect("status=9")


def test_command_in_the_background_goes_on():
    with Shell() as shell:
        shell.run("sleep 0.3; echo re''ady; exit 9", "& wait $!; echo st''=$?")
        shell.expect("ready\r\n")
        shell.expect("st=9")


def test_background_command_that_reads_waits_for_the_foreground():
    with Shell() as shell:
        shell.run("read x; echo got $x", "&")
        shell.expect(PROMPT)
        shell.type("sleep 0.5; jobs\n")
        shell.expect("Stopped")
        shell.type("fg\n")
        shell.type("words\n")
        shell.expect("got words")


def test_pager_behind_a_pipe_has_the_terminal():
    """It is in our process group, and reads the keys itself."""
    with Shell() as shell:
        shell.run("echo re''ady; exec sleep 0.5",
                  "| sh -c 'cat; read x </dev/tty; echo pager $x'")
        shell.expect("ready\r\n")
        shell.type("key\n")
        shell.expect("pager key")


def test_script_is_interrupted_as_well():
    script = ("for i in 1 2 3; do "
              + shlex.join(map(str, hostmemd("echo re''ady; sleep 5")))
              + "; done; echo end")
    with Terminal(["sh", "-c", script]) as terminal:
        terminal.expect("ready\r\n")
        terminal.type(INTERRUPT)
        assert terminal.wait() in (-signal.SIGINT, 128 + signal.SIGINT)
        assert "end" not in terminal.read_rest()


def test_terminal_is_restored_after_a_command_that_was_killed():
    with Shell() as shell:
        shell.run("stty raw -echo; echo re''ady; kill -KILL $$")
        shell.expect("\nready")
        shell.expect(PROMPT)
        assert shell.echoes()


def test_command_may_leave_the_terminal_as_it_likes():
    with Terminal(["sh", "-c", shlex.join(map(str, hostmemd(
            "stty -echo; exit 3"))) + "; echo st=$?; sleep 100"]) as terminal:
        terminal.expect("st=3")
        assert not terminal.echoes()


if __name__ == "__main__":
    harness.main()
