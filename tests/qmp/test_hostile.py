# SPDX-License-Identifier: LGPL-2.1-or-later
"""Peers that misbehave: an error or the door, and nobody else notices."""

import contextlib
import os
import random
import resource
import socket
import time

import harness
from harness import MIB, Hostmemd, QmpClosed, QmpError, raises, wait_until


def memory_of(daemon):
    """Bytes of private memory that the process holds."""
    with open(f"/proc/{daemon.pid}/status") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) << 10
    raise AssertionError("no RssAnon")


def is_served(daemon):
    daemon.qmp.execute("query-version")
    with daemon.connect() as client:
        client.execute("query-version")


def send_and_leave(client, data):
    with contextlib.suppress(QmpClosed):
        client.send_raw(data)
    client.close()


def raw_peer(daemon):
    """A negotiated session as a socket that never waits."""
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(str(daemon.socket))
    lines = peer.makefile("rb")
    lines.readline()
    peer.sendall(b'{"execute":"qmp_capabilities"}')
    lines.readline()
    peer.setblocking(False)
    return peer


def first_error(client, data):
    client.send_raw(data)
    error = client.recv()["error"]
    assert error["class"] == "GenericError", error
    return error["desc"]


def test_garbage():
    noise = random.Random(1).randbytes(MIB)
    with Hostmemd() as daemon:
        send_and_leave(daemon.connect(), noise)
        is_served(daemon)


def test_every_byte_alone():
    with Hostmemd() as daemon:
        for byte in range(256):
            send_and_leave(daemon.connect(), bytes([byte, 10]))
        is_served(daemon)


def test_half_a_message_and_gone():
    with Hostmemd() as daemon:
        for end in range(1, 29):
            send_and_leave(daemon.connect(),
                           b'{"execute":"query-version"}'[:end])
        is_served(daemon)


def test_brackets():
    with Hostmemd() as daemon:
        for bracket in b"[", b'{"a":':
            client = daemon.connect()
            assert "nesting" in first_error(client, bracket * 100_000 + b"\n")
            client.close()
        is_served(daemon)


def test_depth_within_the_limit_is_echoed():
    nested = b"[" * 1000 + b"]" * 1000
    with Hostmemd() as daemon, raw_peer(daemon) as peer:
        peer.setblocking(True)
        peer.sendall(b'{"execute":"query-version","id":' + nested + b"}")
        assert nested in peer.makefile("rb").readline()


def hostmemd_that_frees():
    """AddressSanitizer would keep freed memory for a while."""
    options = os.environ.get("ASAN_OPTIONS", "")
    return Hostmemd(env={"ASAN_OPTIONS": f"{options}:quarantine_size_mb=1"})


def test_string_of_64_mib():
    with hostmemd_that_frees() as daemon:
        before = memory_of(daemon)
        client = daemon.connect()
        assert "64" in first_error(
            client, b'{"execute":"' + b"x" * (64 * MIB) + b'"}\n')
        client.close()
        is_served(daemon)
        wait_until(lambda: memory_of(daemon) < before + 16 * MIB,
                   what="the memory to be given back")


def test_string_that_never_ends():
    with hostmemd_that_frees() as daemon:
        before = memory_of(daemon)
        client = daemon.connect()
        client.send_raw(b'"')
        most = 0
        for _ in range(160):
            client.send_raw(b"x" * MIB)
            most = max(most, memory_of(daemon) - before)
        client.close()
        harness.diag(f"at most {most // MIB} MiB")
        assert most < 160 * MIB, most
        wait_until(lambda: memory_of(daemon) < before + 16 * MIB,
                   what="the memory to be given back")
        is_served(daemon)


def test_name_of_a_mebibyte_is_not_repeated():
    with Hostmemd() as daemon:
        for message in ({"execute": "x" * MIB}, {"x" * MIB: 1}):
            daemon.qmp.send(message)
            assert len(daemon.qmp.recv()["error"]["desc"]) < 2000
        with raises(QmpError, "not found"):
            daemon.qmp.execute("qom-get", path="y" * MIB, property="x")


def test_invalid_utf8():
    bad = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xe2\x82", b"\xf8\x88"]
    with Hostmemd() as daemon:
        for text in bad:
            client = daemon.connect()
            assert "JSON parse error" in first_error(
                client, b'{"execute":"' + text + b'"}\n')
            client.close()
        is_served(daemon)


def test_nul():
    with Hostmemd() as daemon:
        for text in b"\\u0000", b"\0":
            client = daemon.connect()
            first_error(client, b'{"execute":"query-version' + text + b'"}\n')
            client.close()
        is_served(daemon)


def test_numbers_that_fit_nothing():
    with Hostmemd() as daemon:
        for number in b"1e999", b"-", b"01", b"0x10", b"1.", b"NaN":
            client = daemon.connect()
            first_error(client, b'{"execute":"query-version","id":'
                        + number + b"}\n")
            client.close()
        is_served(daemon)


def test_duplicate_key():
    with Hostmemd() as daemon:
        assert "duplicate" in first_error(
            daemon.qmp, b'{"execute":"query-version","execute":"quit"}\n')
        is_served(daemon)


@harness.time_limit(120)
def test_200_clients():
    with Hostmemd() as daemon:
        clients = [daemon.connect() for _ in range(200)]
        numbers = [client.start("query-version") for client in clients]
        for client, number in zip(clients, numbers):
            client.finish(number)
        daemon.qmp.execute("quit")
        for client in clients:
            assert client.recv_closed()[-1]["event"] == "SHUTDOWN"
        assert daemon.wait(10) == 0


def test_clients_beyond_512_wait():
    with Hostmemd() as daemon:
        clients = []
        for _ in range(511):  # and daemon.qmp
            clients.append(daemon.connect(negotiate=False))
            clients[-1].recv()
        late = daemon.connect(negotiate=False)
        with raises(TimeoutError):
            late.recv(timeout=0.5)
        daemon.qmp.execute("query-version")
        clients[0].close()
        late.recv()


def test_no_descriptors_left_for_clients():
    with Hostmemd() as daemon:
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (40, 40))
        clients = [daemon.connect(negotiate=False) for _ in range(100)]
        daemon.qmp.execute("query-version")
        before = cpu_time(daemon)
        time.sleep(1)
        assert cpu_time(daemon) - before < 0.5
        for client in clients:
            client.close()
        wait_until(lambda: daemon.connect(), what="a new session")


def cpu_time(daemon):
    """Seconds of CPU that the process has used."""
    with open(f"/proc/{daemon.pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def test_client_that_does_not_read_replies():
    request = b'{"execute":"query-qmp-schema"}' * 100
    with Hostmemd() as daemon:
        before = memory_of(daemon)
        deaf = raw_peer(daemon)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 64 * MIB:
                sent += deaf.send(request)
        assert sent < 64 * MIB, "requests are read without end"
        is_served(daemon)
        assert memory_of(daemon) < before + 32 * MIB
        deaf.close()
        is_served(daemon)


def test_client_that_floods_leaves_time_for_others():
    request = b'{"execute":"query-version"}' * 1000
    with Hostmemd() as daemon:
        flood = raw_peer(daemon)
        for _ in range(1000):
            with contextlib.suppress(BlockingIOError):
                flood.send(request)
            with contextlib.suppress(BlockingIOError):
                flood.recv(1 << 20)
            daemon.qmp.execute("query-version")
        flood.close()


def test_clients_that_come_and_go():
    with Hostmemd() as daemon:
        descriptors = harness.pathlib.Path(f"/proc/{daemon.pid}/fd")
        before = len(list(descriptors.iterdir()))
        for _ in range(500):
            client = daemon.connect(negotiate=False)
            client.recv()
            client.close()
        wait_until(lambda: len(list(descriptors.iterdir())) == before,
                   what="all descriptors to be closed")
        is_served(daemon)


if __name__ == "__main__":
    harness.main()
