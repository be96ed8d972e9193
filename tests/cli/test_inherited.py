# SPDX-License-Identifier: LGPL-2.1-or-later
"""Descriptors that a service manager passes on: checked, then used."""

import contextlib
import os
import signal
import socket

import harness
from expect import fails
from harness import (Hostmemd, QmpClient, SlowHost, run_hostmemd, scratch,
                     tmpfs)
from manager import Manager
from test_notify import need_libsystemd

RAM = "memory-backend-ram,id=m0,size=2M"


@contextlib.contextmanager
def manager():
    need_libsystemd()
    with Manager() as boss:
        yield boss


@contextlib.contextmanager
def listening(path):
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen()
        yield door


def refused(fds, *phrases, args=("-object", RAM), **options):
    """hostmemd must refuse these descriptors."""
    with manager() as boss:
        fails(*args, phrases=phrases, **boss.start(fds, **options))


def test_listening_sockets_are_served():
    """Also by TCP, and the file of a socket stays."""
    with manager() as boss, scratch() as folder, \
            listening(folder / "qmp") as door, \
            socket.create_server(("127.0.0.1", 0)) as tcp:
        start = boss.start([door.fileno(), tcp.fileno()])
        with Hostmemd("-object", RAM, qmp=False, **start) as daemon:
            boss.expect("READY")
            clients = (QmpClient.unix(folder / "qmp"),
                       QmpClient.tcp(*tcp.getsockname()))
            for client in clients:
                with client:
                    client.negotiate()
                    (memdev,) = client.execute("query-memdev")
                    assert memdev["id"] == "m0"
            os.kill(daemon.pid, signal.SIGTERM)
            assert daemon.wait() == 0
        assert (folder / "qmp").exists()


def test_client_is_served_while_memory_is_populated():
    """It may have connected before there was a hostmemd."""
    with manager() as boss, scratch() as folder, SlowHost(10) as slow, \
            listening(folder / "qmp") as door, \
            QmpClient.unix(folder / "qmp") as client:
        start = boss.start([door.fileno()])
        with Hostmemd("-object", "memory-backend-ram,id=m0,size=256M,"
                      "prealloc=on,prealloc-threads=1", qmp=False, cgroup=slow,
                      **start):
            client.negotiate()
            assert client.execute("query-memdev") == []


def test_socket_is_enough_to_do():
    with manager() as boss, scratch() as folder, \
            listening(folder / "qmp") as door:
        with Hostmemd(qmp=False, **boss.start([door.fileno()])), \
                QmpClient.unix(folder / "qmp") as client:
            client.negotiate()
            assert client.execute("query-memdev") == []


def test_descriptors_for_somebody_else_are_left_alone():
    with manager() as boss, scratch() as folder, \
            listening(folder / "qmp") as door:
        start = boss.start([door.fileno()], environment={"LISTEN_PID": "1"})
        with Hostmemd("-object", RAM, **start) as daemon:
            assert daemon.qmp.execute("query-memdev")
            with QmpClient.unix(folder / "qmp") as client, \
                    harness.raises(TimeoutError):
                client.recv(timeout=0.2)


def test_environment_that_makes_no_sense():
    with scratch() as folder, listening(folder / "qmp") as door:
        for number in ("0", "-1", "x", "1x", "2147483647", "99999999999999"):
            refused([door.fileno()], f"LISTEN_FDS={number}",
                    environment={"LISTEN_FDS": number})
        for names in ("a:b", "a:"):
            refused([door.fileno()], f"LISTEN_FDNAMES={names}",
                    environment={"LISTEN_FDNAMES": names})
        refused([door.fileno()], "LISTEN_FDS",
                environment={"LISTEN_PID": "x"})


def test_more_descriptors_than_there_are():
    with scratch() as folder, listening(folder / "qmp") as door:
        refused([door.fileno()], "LISTEN_FDS=2", "Bad file descriptor",
                environment={"LISTEN_FDS": "2"})


def test_names_that_make_no_sense():
    with scratch() as folder, listening(folder / "qmp") as door:
        for name in ("a\nb", "caf\u00e9", "x" * 256):
            refused([door.fileno()], "name must be", names=[name])


def test_socket_that_nobody_can_come_in_by():
    one, two = socket.socketpair()
    with one, two, socket.socket(socket.AF_UNIX) as unbound, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, \
            scratch() as folder, \
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as packets:
        packets.bind(str(folder / "packets"))
        packets.listen()
        for each in (one, unbound, datagrams, packets):
            refused([each.fileno()], "does not listen", "('qmp')",
                    names=["qmp"])


def test_what_is_neither_memory_nor_a_socket():
    reader, writer = os.pipe()
    with open("/dev/null") as null, scratch() as folder:
        there = os.open(folder, os.O_RDONLY)
        path = os.open(folder, os.O_PATH)
        for fd in (reader, null.fileno(), there, path):
            refused([fd], "neither memory nor a socket", "descriptor 3")
    for fd in (reader, writer, there, path):
        os.close(fd)


def test_one_bad_descriptor_among_good_ones():
    with scratch() as folder, listening(folder / "qmp") as door, \
            open("/dev/null") as null:
        refused([door.fileno(), null.fileno()], "descriptor 4 ('b')",
                names=["a", "b"])


def test_command_inherits_none():
    with manager() as boss, scratch() as folder, \
            listening(folder / "qmp") as door, tmpfs(1 << 20) as memory, \
            open(memory / "file", "w+") as file:
        result = run_hostmemd(
            ["--quiet", "-object", RAM, "--run",
             "env | grep ^LISTEN; ls /proc/self/fd"],
            **boss.start([door.fileno(), file.fileno()]))
        assert result.stdout.split() == ["0", "1", "2", "3"], result


if __name__ == "__main__":
    harness.main()
