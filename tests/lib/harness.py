# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tests that talk to real processes: the runner, programs, host set-up.

A test file holds functions test_BEHAVIOUR and ends with

    if __name__ == "__main__":
        harness.main()

Each function is one line of TAP.  skip(reason) says why it cannot run here.
Names on the command line select tests.  Meson sets PYTHONPATH to this folder
and HOSTMEM_BUILD to the build folder; by hand:

    PYTHONPATH=tests/lib python3 tests/cli/test_xyz.py [test_name...]
"""

import contextlib
import ctypes
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import uuid

from hostenv import (MIB, MemoryCgroup, Skip, SlowHost, hugetlbfs, mounted,
                     need_huge_pages, need_memory, need_program, need_root,
                     run_as, skip, tmpfs)
from qmp import PATIENCE, QmpClient, QmpClosed, QmpError

__all__ = ["MIB", "PATIENCE", "Hostmemd", "MemoryCgroup", "QmpClient",
           "QmpClosed", "QmpError", "Skip", "SlowHost", "build_folder", "diag",
           "die_with_parent", "hugetlbfs", "main", "mounted",
           "need_huge_pages", "need_memory", "need_program", "need_root",
           "program", "raises", "run_as", "run_hostmemd", "scratch", "skip",
           "time_limit", "tmpfs", "wait_until"]

TEST_TIMEOUT = 60  # seconds, unless @time_limit says otherwise
PR_SET_PDEATHSIG = 1
FAULTS = (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL,
          signal.SIGSEGV, signal.SIGSYS, signal.SIGTRAP)
_libc = ctypes.CDLL(None)


# the runner

def time_limit(seconds):
    """Decorator: a test may take longer, or must be quicker, than most."""
    def mark(function):
        function.time_limit = seconds
        return function
    return mark


def diag(text):
    """Say something about a test, where meson test shows what failed."""
    for line in str(text).splitlines():
        print("#", line, file=sys.stderr, flush=True)


def main():
    """Run the tests of the main module; exits."""
    # Also under nohup, and in the background of a shell.
    for signum in signal.SIGHUP, signal.SIGQUIT:
        signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    functions = vars(sys.modules["__main__"])
    tests = {name: function for name, function in functions.items()
             if name.startswith("test_") and callable(function)}
    names = sys.argv[1:] or list(tests)
    signal.signal(signal.SIGTERM, _on_sigterm)
    signal.signal(signal.SIGALRM, _on_alarm)
    print(f"1..{len(names)}", flush=True)
    results = [_run(number, name, tests[name])
               for number, name in enumerate(names, 1)]
    sys.exit(0 if all(results) else 1)


def _on_sigterm(*_):
    sys.exit(143)


def _on_alarm(*_):
    raise TimeoutError("the test took too long")


def _run(number, name, function):
    """Run one test and print its line; returns whether it did not fail."""
    line = f"{number} {name.removeprefix('test_')}"
    limit = getattr(function, "time_limit", TEST_TIMEOUT)
    signal.alarm(int(limit * PATIENCE))
    try:
        function()
    except Skip as reason:
        print(f"ok {line} # SKIP {reason}", flush=True)
    except Exception:
        diag(traceback.format_exc())
        print(f"not ok {line}", flush=True)
        return False
    else:
        print(f"ok {line}", flush=True)
    finally:
        signal.alarm(0)
    return True


@contextlib.contextmanager
def raises(kind, *phrases):
    """The block must raise @kind, whose text holds every phrase."""
    try:
        yield
    except kind as error:
        for phrase in phrases:
            assert phrase in str(error), f"{phrase!r} not in {error}"
    else:
        raise AssertionError(f"no {kind.__name__}")


def wait_until(condition, timeout=10.0, what="a condition"):
    """Poll until @condition() is true; returns its value."""
    deadline = time.monotonic() + timeout * PATIENCE
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout} s for {what}")
        time.sleep(0.01)
    return value


@contextlib.contextmanager
def scratch():
    """A folder that goes away; its path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="hm-", dir="/tmp") as folder:
        yield pathlib.Path(folder)


# programs

def build_folder():
    """Where Meson builds, or has built."""
    source = pathlib.Path(__file__).resolve().parents[2]
    return pathlib.Path(os.environ.get("HOSTMEM_BUILD", source / "build"))


def program(name):
    """The path of a program of this build."""
    path = build_folder() / "backends" / "programs" / name
    return path if path.exists() else skip(f"{path} is not built")


def die_with_parent():
    """A preexec_fn: the child goes down with us, even when we are killed."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class _Offspring:
    """Marks a process and what descends from it, to find them again."""

    def __init__(self, cgroup):
        self._value = str(uuid.uuid4())
        self._cgroup = cgroup

    def popen_args(self, env):
        """What Popen needs so that the child carries the mark."""
        return {"env": {**os.environ, **(env or {}),
                        "HOSTMEM_TEST_MARK": self._value},
                "preexec_fn": self._prepare}

    def _prepare(self):
        die_with_parent()
        if self._cgroup:
            self._cgroup.join()

    def pids(self):
        """Those that are alive."""
        mark = f"HOSTMEM_TEST_MARK={self._value}".encode()
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in entry.read_bytes().split(b"\0"):
                    found.append(int(entry.parent.name))
        return found

    def expect_none(self, timeout=5.0):
        """Fail, and kill them, when some stay."""
        deadline = time.monotonic() + timeout
        while (pids := self.pids()) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.kill()
        assert not pids, f"left processes behind: {pids}"

    def kill(self):
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def run_hostmemd(args, timeout=30.0, *, input=None, cwd=None, env=None,
                 cgroup=None, under=(), pass_fds=(),
                 may_leave_processes=False):
    """Run hostmemd to its end; returns a CompletedProcess with text.

    @under is a command that starts it, such as ["prlimit", "--nofile=40"];
    @pass_fds are descriptors for that command.  Fails when it takes longer than
    @timeout seconds, or leaves a process behind (-daemonize may).
    """
    offspring = _Offspring(cgroup)
    stdin = {"input": input} if input else {"stdin": subprocess.DEVNULL}
    try:
        result = subprocess.run(
            [*under, program("hostmemd"), *map(str, args)],
            capture_output=True, text=True, timeout=timeout, cwd=cwd,
            pass_fds=pass_fds, **stdin, **offspring.popen_args(env))
    except BaseException:
        offspring.kill()
        raise
    if not may_leave_processes:
        offspring.expect_none()
    return result


class Hostmemd:
    """A running hostmemd whose QMP socket answers.

    with Hostmemd("-object", "memory-backend-ram,id=m0,size=1M") as daemon:
        daemon.qmp.execute("query-memdev")

    All objects are there, unless @ready=False: then the session begins while
    they are made.  @qmp=False starts it without a socket and waits for
    nothing.  @under and @pass_fds are as for run_hostmemd(), but the command
    must become hostmemd.  At the end it gets SIGTERM and must go, without a
    crash, and take its children along unless @may_leave_processes.
    """

    def __init__(self, *args, qmp=True, ready=True, timeout=30.0, cwd=None,
                 env=None, cgroup=None, under=(), pass_fds=(),
                 may_leave_processes=False):
        self._args = [str(arg) for arg in args]
        self._may_leave_processes = may_leave_processes
        self._with_qmp = qmp
        self._until_ready = qmp and ready
        self._timeout = timeout
        self._cwd = cwd
        self._env = env
        self._under = under
        self._pass_fds = pass_fds
        self._offspring = _Offspring(cgroup)
        self._clients = []
        self._output = None
        self.process = None

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._folder = stack.enter_context(scratch())
            self.socket = self._folder / "qmp"
            stack.callback(self._end)
            self._spawn()
            if self._until_ready:
                wait_until(self._is_ready, self._timeout, "the pidfile")
            if self._with_qmp:
                self.qmp = wait_until(self._try_connect, self._timeout,
                                      "the QMP socket")
            self._stack = stack.pop_all()
        return self

    def _spawn(self):
        args = [*self._under, program("hostmemd"), *self._args]
        if self._with_qmp:
            args += ["-qmp", f"unix:{self.socket},server=on,wait=off"]
        if "-pidfile" in args:
            self._pidfile = pathlib.Path(args[args.index("-pidfile") + 1])
        else:
            self._pidfile = self._folder / "pid"
            args += ["-pidfile", self._pidfile]
        with open(self._folder / "stdout", "wb") as stdout, \
                open(self._folder / "stderr", "wb") as stderr:
            self.process = subprocess.Popen(
                args, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                cwd=self._cwd, pass_fds=self._pass_fds,
                **self._offspring.popen_args(self._env))

    def _must_run(self):
        if self.process.poll() is not None:
            raise AssertionError(
                f"hostmemd exited with {self.returncode}: {self.stderr}")

    def _is_ready(self):
        self._must_run()
        return (self._pidfile.exists()
                and self._pidfile.read_text() == f"{self.pid}\n")

    def _try_connect(self):
        self._must_run()
        try:
            return self.connect()
        except (FileNotFoundError, ConnectionRefusedError):
            return None

    def connect(self, negotiate=True):
        """Another session, closed at the end."""
        client = QmpClient.unix(self.socket)
        self._clients.append(client)
        return client.negotiate() if negotiate else client

    def wait(self, timeout=30.0):
        """Wait until it exits by itself; returns its exit status."""
        return self.process.wait(timeout * PATIENCE)

    def __exit__(self, kind, *error):
        if kind and not issubclass(kind, Skip):
            diag(f"hostmemd printed: {self.stdout}{self.stderr}")
        return self._stack.__exit__(kind, *error)

    def _end(self):
        for client in self._clients:
            client.close()
        if self.process is None:
            return
        try:
            self._end_process()
            self._must_not_have_crashed()
            if not self._may_leave_processes:
                self._offspring.expect_none()
        finally:
            self._output = {name: self._read(name)
                            for name in ("stdout", "stderr")}

    def _end_process(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(20)
        except BaseException:
            self._offspring.kill()
            self.process.wait(20)
            raise

    def _must_not_have_crashed(self):
        """Nobody else looks at how a daemon ends, leaks included."""
        assert -self.returncode not in FAULTS, self.returncode
        assert "Sanitizer: " not in self.stderr, self.stderr

    @property
    def pid(self):
        return self.process.pid

    @property
    def returncode(self):
        """Exit status, or minus a signal number; None while it runs."""
        return self.process.poll()

    @property
    def stdout(self):
        """All it has printed so far; stays readable after its end."""
        return self._read("stdout")

    @property
    def stderr(self):
        return self._read("stderr")

    def _read(self, name):
        if self._output:
            return self._output[name]
        return (self._folder / name).read_text(errors="replace")
