# SPDX-License-Identifier: LGPL-2.1-or-later
"""What every failure of hostmemd has in common."""

import contextlib
import os
import pathlib
import re
import subprocess

from harness import MIB, need_program, program, run_hostmemd, skip, wait_until

NOBODY = 65534  # uid and gid
# What util names things in /dev/shm: POSIX shared memory, temporary files.
OURS = re.compile(r"hostmem-\d+-[0-9a-f]{8}|hostmem\..*\.[0-9a-f]{8}")


def _leftovers():
    """Names in /dev/shm that a hostmemd could have left."""
    return set(filter(OURS.fullmatch, os.listdir("/dev/shm")))


@contextlib.contextmanager
def nothing_left(folder=None):
    """No new name in /dev/shm; @folder is as it was."""
    before = _leftovers()
    files = os.listdir(folder) if folder else []
    yield
    # Other tests may run at the same time: give their names time to go.
    wait_until(lambda: _leftovers() <= before, what="leftovers to go")
    if folder:
        assert os.listdir(folder) == files, os.listdir(folder)


# A host that is slow now gets to see it.
PROGRESS = re.compile(r"hostmemd: [\w ]+: populated .* left\n")


def succeeds(*args, **options):
    """Run hostmemd, which must succeed without a message; returns stdout."""
    result = run_hostmemd(args, **options)
    assert result.returncode == 0, (result.returncode, result.stderr)
    assert PROGRESS.sub("", result.stderr) == "", result.stderr
    return result.stdout


def fails(*args, phrases=(), folder=None, **options):
    """Run hostmemd, which must fail cleanly; returns its message.

    That is: exit status 1, one line of a message that holds every phrase, and
    nothing left behind.
    """
    with nothing_left(folder):
        result = run_hostmemd(args, **options)
    message = result.stderr
    assert result.returncode == 1, (result.returncode, message)
    assert result.stdout == "", result.stdout
    assert message.startswith("hostmemd: "), message
    assert message.count("\n") == 1 and message.endswith("\n"), message
    for phrase in phrases:
        assert phrase in message, f"{phrase!r} not in {message!r}"
    return message


def object_works(text, **options):
    """Make one object; returns its line of the table as words."""
    table = succeeds("--once", "-object", text, **options).splitlines()
    assert len(table) == 2, table
    return table[1].split()


def object_fails(text, *phrases, **options):
    """Make one object, which must fail cleanly; returns the message."""
    message = fails("--once", "-object", text, phrases=phrases, **options)
    prefix = f"hostmemd: -object {text}: "
    assert message.startswith(prefix), message
    return message.removeprefix(prefix).rstrip("\n")


def under(*command):
    """What run_hostmemd() needs to start it by a command, if that can."""
    need_program(command[0])
    tried = subprocess.run([*command, program("hostmemd"), "--version"],
                           capture_output=True, timeout=20)
    return list(command) if tried.returncode == 0 else skip(
        f"{command[0]} cannot start hostmemd")


def as_nobody(*command):
    """The same for a user without any right."""
    return under("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}",
                 "--clear-groups", "--inh-caps=-all", *command)


def is_populating(pid):
    """Whether a process has begun to populate shared memory."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
    return any(int(line.split()[1]) << 10 > MIB
               for line in status.splitlines() if line.startswith("RssShmem:"))


def wait_until_populating(pid):
    wait_until(lambda: is_populating(pid), what="the first page")
