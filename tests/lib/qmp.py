# SPDX-License-Identifier: LGPL-2.1-or-later
"""A QMP client for tests: plain, strict, and never waits without a limit."""

import json
import os
import select
import socket
import time

# How many times longer than usual things may take: a set-up says so.
PATIENCE = float(os.environ.get("HOSTMEM_TEST_PATIENCE", "1"))
TIMEOUT = 20.0 * PATIENCE  # seconds, for whatever has no limit of its own
HANGUP = select.POLLHUP | select.POLLERR


class QmpError(Exception):
    """The peer answered a command with an error."""

    def __init__(self, error):
        self.cls = error["class"]
        self.desc = error["desc"]
        super().__init__(f"{self.cls}: {self.desc}")


class QmpClosed(Exception):
    """The peer closed the session."""


class QmpClient:
    """One session over a pair of descriptors, which it owns."""

    def __init__(self, read_fd, write_fd):
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._input = bytearray()
        self._next_id = 0
        self._replies = {}
        self.greeting = None
        self.events = []  # seen and not taken yet, oldest first
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)

    @classmethod
    def unix(cls, path, timeout=TIMEOUT):
        return cls._connect(socket.AF_UNIX, str(path), timeout)

    @classmethod
    def tcp(cls, host, port, timeout=TIMEOUT):
        return cls._connect(socket.AF_INET, (host, port), timeout)

    @classmethod
    def _connect(cls, family, address, timeout):
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout)
            sock.connect(address)
            fd = sock.detach()
        return cls(fd, fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for fd in {self._read_fd, self._write_fd} - {-1}:
            os.close(fd)
        self._read_fd = self._write_fd = -1

    def close_write(self):
        """End of input for the peer; its answers can still be read."""
        if self._read_fd == self._write_fd:
            with socket.socket(fileno=os.dup(self._write_fd)) as sock:
                sock.shutdown(socket.SHUT_WR)
        else:
            os.close(self._write_fd)
            self._write_fd = -1

    # bytes

    def send_raw(self, data, timeout=TIMEOUT):
        """Send bytes as they are, taking in what arrives meanwhile."""
        deadline = time.monotonic() + timeout
        view = memoryview(data)
        while view:
            readable, writable = self._wait(deadline, writing=True)
            if writable:
                view = view[self._write_some(view):]
            if readable:
                self._read_some()

    def _write_some(self, view):
        try:
            return os.write(self._write_fd, view)
        except BlockingIOError:
            return 0
        except (BrokenPipeError, ConnectionResetError):
            raise QmpClosed("while sending") from None

    def _read_some(self):
        try:
            data = os.read(self._read_fd, 1 << 16)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            raise QmpClosed("end of session")
        self._input += data

    def _wait(self, deadline, writing=False):
        """Wait for the peer; returns whether to read, whether to write."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the QMP peer is silent")
        wanted = {self._read_fd: select.POLLIN}
        if writing:
            wanted[self._write_fd] = (wanted.get(self._write_fd, 0)
                                      | select.POLLOUT)
        poller = select.poll()
        for fd, events in wanted.items():
            poller.register(fd, events)
        ready = dict(poller.poll(left * 1000))
        return (ready.get(self._read_fd, 0) & (select.POLLIN | HANGUP),
                ready.get(self._write_fd, 0) & (select.POLLOUT | HANGUP))

    def recv(self, timeout=TIMEOUT):
        """The next message of any kind, as a dict."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._input:
            if self._wait(deadline)[0]:
                self._read_some()
        line, _, self._input = self._input.partition(b"\n")
        return json.loads(line)

    def recv_closed(self, timeout=TIMEOUT):
        """Wait until the peer closes; returns the messages before that."""
        deadline = time.monotonic() + timeout
        messages = []
        try:
            while True:
                messages.append(self.recv(deadline - time.monotonic()))
        except QmpClosed:
            return messages

    # messages

    def negotiate(self, *enable, timeout=TIMEOUT):
        """Take the greeting and leave negotiation mode; returns itself."""
        self.greeting = self.recv(timeout)
        assert "QMP" in self.greeting, self.greeting
        arguments = {"enable": list(enable)} if enable else {}
        assert self.execute("qmp_capabilities", arguments,
                            timeout=timeout) == {}
        return self

    def send(self, message, timeout=TIMEOUT):
        self.send_raw(json.dumps(message).encode() + b"\n", timeout)

    def start(self, command, arguments=None, *, oob=False, **more):
        """Send a command; returns the id that finish() takes.

        Arguments come as a dict, or as keywords with _ for -.
        """
        self._next_id += 1
        arguments = dict(arguments or {})
        arguments.update((k.replace("_", "-"), v) for k, v in more.items())
        message = {"exec-oob" if oob else "execute": command,
                   "id": self._next_id}
        if arguments:
            message["arguments"] = arguments
        self.send(message)
        return self._next_id

    def finish(self, number, timeout=TIMEOUT):
        """The return value of a started command, or QmpError."""
        deadline = time.monotonic() + timeout
        while number not in self._replies:
            self._sort(self.recv(deadline - time.monotonic()))
        reply = self._replies.pop(number)
        if "error" in reply:
            raise QmpError(reply["error"])
        return reply["return"]

    def execute(self, command, arguments=None, *, timeout=TIMEOUT, **more):
        """start() and finish() in one."""
        return self.finish(self.start(command, arguments, **more), timeout)

    def wait_event(self, name, timeout=TIMEOUT):
        """Take the first event of that name out of those seen or to come."""
        deadline = time.monotonic() + timeout
        while True:
            for i, event in enumerate(self.events):
                if event["event"] == name:
                    return self.events.pop(i)
            self._sort(self.recv(deadline - time.monotonic()))

    def _sort(self, message):
        if "event" in message:
            self.events.append(message)
        elif message.get("id") in range(1, self._next_id + 1):
            self._replies[message["id"]] = message
        else:
            raise AssertionError(f"unexpected message: {message}")
