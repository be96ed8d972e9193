# SPDX-License-Identifier: LGPL-2.1-or-later
"""Running hostmemctl: against a hostmemd, a QEMU, or a peer that misbehaves."""

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time

from harness import PATIENCE, die_with_parent, program, scratch

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0},
                                "package": "hostmem 0.0.0"},
                    "capabilities": ["oob"]}}


def address_of(daemon):
    return f"unix:{daemon.socket}"


def command_of(server, args):
    """The command line; @server is an address, a Hostmemd, or None."""
    if server is not None and not isinstance(server, str):
        server = address_of(server)
    connect = ["--connect", server] if server else []
    return [str(program("hostmemctl")), *connect, *map(str, args)]


def environment(env=None):
    kept = {name: value for name, value in os.environ.items()
            if name != "HOSTMEM_QMP"}
    return {**kept, **(env or {})}


def run_ctl(server, *args, timeout=30.0, env=None):
    """Run it to its end; returns a CompletedProcess with text."""
    result = subprocess.run(
        command_of(server, args), capture_output=True, text=True,
        timeout=timeout * PATIENCE, stdin=subprocess.DEVNULL,
        env=environment(env), preexec_fn=die_with_parent)
    assert result.returncode >= 0, result
    assert "Sanitizer: " not in result.stderr, result.stderr
    return result


def ctl(server, *args, **options):
    """It must succeed without a message; returns what it printed."""
    result = run_ctl(server, *args, **options)
    assert result.returncode == 0, result
    assert result.stderr == "", result
    return result.stdout


def ctl_fails(server, *args, phrases=(), **options):
    """It must fail with one line of a message that holds every phrase."""
    result = run_ctl(server, *args, **options)
    message = result.stderr
    assert result.returncode == 1, result
    assert result.stdout == "", result
    assert message.startswith("hostmemctl: "), message
    assert message.count("\n") == 1 and message.endswith("\n"), message
    for phrase in phrases:
        assert phrase in message, f"{phrase!r} not in {message!r}"
    return message


def _prepare():
    """It minds signals, though we may run in a background."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def started(server, *args, env=None, **options):
    """It runs meanwhile, and is killed at the end; yields a Popen."""
    process = subprocess.Popen(
        command_of(server, args), env=environment(env), preexec_fn=_prepare,
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
           "text": True, **options})
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until_heard(process, cause):
    """Repeat an event until a process that prints events has printed one.

    Nothing else tells when it listens.  To be read before anything else.
    """
    deadline = time.monotonic() + 20 * PATIENCE
    while not select.select([process.stdout], [], [], 0.2)[0]:
        assert time.monotonic() < deadline, "no event was printed"
        cause()


class Peer:
    """One session of a server that says whatever a test wants.

    @serve gets it, in a thread of its own.
    """

    def __init__(self, connection):
        self._connection = connection
        self._file = connection.makefile("rb")

    def send(self, message):
        """A JSON value, or bytes as they are."""
        data = (message if isinstance(message, bytes)
                else json.dumps(message).encode())
        self._connection.sendall(data + b"\r\n")

    def send_fds(self, message, fds):
        """A JSON value, with descriptors."""
        data = json.dumps(message).encode() + b"\r\n"
        socket.send_fds(self._connection, [data], list(fds))

    def recv(self):
        """The next message; None at the end."""
        line = self._file.readline()
        return json.loads(line) if line else None

    def negotiate(self, greeting=None):
        self.send(greeting or GREETING)
        self.answer({})

    def answer(self, value, *before):
        """Wait for a command, and return a value; messages come before."""
        message = self.recv()
        if message is None:
            return None
        for other in before:
            self.send(other)
        answer = (value if isinstance(value, dict) and "error" in value
                  else {"return": value})
        self.send({**answer, "id": message.get("id")})
        return message

    def wait_closed(self):
        while self.recv() is not None:
            pass


@contextlib.contextmanager
def fake(serve):
    """A server for one client; yields its address."""
    def run():
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError, ValueError):
                serve(Peer(connection))

    with scratch() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = folder / "peer"
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(30 * PATIENCE)
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield f"unix:{path}"
        finally:
            # Wakes a thread that nobody has connected to.
            with contextlib.suppress(OSError), \
                    socket.socket(socket.AF_UNIX) as last:
                last.connect(str(path))
            thread.join(30 * PATIENCE)


def error(text, kind="GenericError"):
    return {"error": {"class": kind, "desc": text}}


class Terminal:
    """hostmemctl on a pseudo-terminal of so many lines and columns."""

    def __init__(self, server, *args, lines=24, columns=100, env=None):
        self._command = command_of(server, args)
        self._size = lines, columns
        self._env = environment({"TERM": "xterm", **(env or {})})
        self.output = b""

    def __enter__(self):
        self.master, slave = os.openpty()
        lines, columns = self._size
        fcntl.ioctl(slave, termios.TIOCSWINSZ,
                    struct.pack("HHHH", lines, columns, 0, 0))
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *self._command], stdin=slave,
            stdout=slave, stderr=slave, env=self._env,
            preexec_fn=die_with_parent)
        os.close(slave)
        os.set_blocking(self.master, False)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.master)

    def read(self):
        """Take in what is there."""
        with contextlib.suppress(BlockingIOError, OSError):
            while data := os.read(self.master, 1 << 16):
                self.output += data
        return self.output

    def press(self, keys):
        os.write(self.master, keys)

    def wait(self, timeout=20.0):
        """The exit status; what it prints is taken in."""
        deadline = time.monotonic() + timeout * PATIENCE
        while (status := self.process.poll()) is None:
            assert time.monotonic() < deadline, self.output
            self.read()
            time.sleep(0.01)
        self.read()
        return status
