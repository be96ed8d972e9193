# SPDX-License-Identifier: LGPL-2.1-or-later
"""A QMP client that takes descriptors."""

import contextlib
import json
import mmap
import os
import socket

TIMEOUT = 20.0  # seconds
MAX_FDS = 253


class FdClient:
    """One session on a Unix socket, past its negotiation."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(TIMEOUT)
        self._socket.connect(str(path))
        self._input = b""
        self._fds = []
        self._next_id = 0
        self.take_message()
        self.execute("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for fd in self._fds:
            os.close(fd)
        self._socket.close()

    def _request(self, command, arguments):
        self._next_id += 1
        message = {"execute": command, "id": self._next_id}
        if arguments:
            message["arguments"] = arguments
        return json.dumps(message).encode() + b"\n"

    def start(self, command, arguments=None):
        self._socket.sendall(self._request(command, arguments))

    def start_many(self, command, arguments, count):
        """Send it so many times, or until the peer takes no more; returns
        how often, whole."""
        requests = [self._request(command, arguments) for _ in range(count)]
        data = b"".join(requests)
        self._socket.settimeout(1)
        sent = 0
        try:
            while sent < len(data):
                sent += self._socket.send(data[sent:sent + 4096])
        except TimeoutError:
            pass
        self._socket.settimeout(TIMEOUT)
        whole = 0
        for request in requests:
            if sent < len(request):
                break
            sent -= len(request)
            whole += 1
        return whole

    def take_message(self):
        """The next message that is no event, and what came with it."""
        while True:
            while b"\n" not in self._input:
                data, fds, flags, _ = socket.recv_fds(self._socket, 65536,
                                                      MAX_FDS)
                if not data:
                    raise EOFError
                assert not flags & socket.MSG_CTRUNC
                # The kernel ends a read behind the bytes they came with.
                self._input += data
                self._fds += fds
            line, _, self._input = self._input.partition(b"\n")
            message = json.loads(line)
            if "event" not in message:
                return message, self._take_fds(message)

    def _take_fds(self, message):
        """As many as the answer speaks of."""
        value = message.get("return")
        parts = value.get("parts", []) if isinstance(value, dict) else []
        taken, self._fds = self._fds[:len(parts)], self._fds[len(parts):]
        return taken

    def take_answer(self):
        message, fds = self.take_message()
        assert "return" in message, message
        return message["return"], fds

    def execute(self, command, arguments=None):
        self.start(command, arguments)
        return self.take_answer()


@contextlib.contextmanager
def handed_over(daemon, name="m0"):
    """Mappings of all parts, by a process that is not the daemon, and may go."""
    with FdClient(daemon.socket) as client:
        answer, fds = client.execute("get-memory-fd", {"id": name})
    maps = [mmap.mmap(fd, part["length"])
            for fd, part in zip(fds, answer["parts"])]
    for fd in fds:
        os.close(fd)
    try:
        yield maps
    finally:
        for memory in maps:
            memory.close()
