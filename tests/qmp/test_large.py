# SPDX-License-Identifier: LGPL-2.1-or-later
"""Messages that take long to parse: in order, and beside everybody else."""

import contextlib
import os
import time

import harness
from harness import Hostmemd, QmpError, raises, wait_until

# More than a MiB that costs the parser much: each is too large for an integer.
ARRAY = b"[" + b"99999999999999999999," * 60_000 + b"1]"


def large(command, number, key=b"execute"):
    return (b'{"' + key + b'":"' + command + b'","id":%d,"arguments":{"a":'
            % number + ARRAY + b"}}\n")


def small(number, key=b"execute"):
    return b'{"' + key + b'":"query-version","id":%d}\n' % number


def ids_of_answers(client, count):
    return [client.recv()["id"] for _ in range(count)]


def test_errors_are_those_of_small_ones():
    with Hostmemd() as daemon:
        daemon.qmp.send_raw(large(b"query-version", 1))
        assert daemon.qmp.recv()["error"]["desc"] == \
            "Parameter 'a' is unexpected"
        daemon.qmp.send_raw(large(b"query-version", 1)[:-3] + b"]}\n")
        assert "JSON parse error" in daemon.qmp.recv()["error"]["desc"]
        daemon.qmp.execute("query-version")


def test_answers_come_in_order():
    with Hostmemd() as daemon:
        daemon.qmp.send_raw(small(1) + large(b"query-version", 2) + small(3)
                            + large(b"query-version", 4) + small(5))
        assert ids_of_answers(daemon.qmp, 5) == [1, 2, 3, 4, 5]


def test_out_of_band_too():
    with Hostmemd() as daemon:
        client = daemon.connect(negotiate=False).negotiate("oob")
        oob = b"exec-oob"
        client.send_raw(large(b"object-del", 1, oob) + small(2, oob))
        assert ids_of_answers(client, 2) == [1, 2]


def test_answers_come_after_the_last_byte():
    with Hostmemd() as daemon:
        daemon.qmp.send_raw(large(b"query-version", 1) + small(2))
        daemon.qmp.close_write()
        assert [m["id"] for m in daemon.qmp.recv_closed()] == [1, 2]


@harness.time_limit(120)
def test_others_are_answered_meanwhile():
    shares = []
    with Hostmemd() as daemon:
        probe = daemon.connect()
        # Whoever else uses the host may hold up a round, but hardly each.
        while len(shares) < 20 and not any(share < 1 / 4 for share in shares):
            daemon.qmp.send_raw(large(b"query-version", 1))
            begin = time.monotonic()
            slowest = slowest_answer(daemon, probe)
            shares.append(slowest / (time.monotonic() - begin))
    harness.diag(f"slowest answer, of the time to parse: {shares}")
    assert shares[-1] < 1 / 4, shares


def slowest_answer(daemon, probe):
    """Seconds, until the large message of daemon.qmp is answered."""
    slowest = 0
    while True:
        begin = time.monotonic()
        probe.execute("query-version")
        slowest = max(slowest, time.monotonic() - begin)
        try:
            daemon.qmp.recv(timeout=0.001)
            return slowest
        except TimeoutError:
            pass


def parses(daemon):
    """Whether a thread does."""
    folder = harness.pathlib.Path(f"/proc/{daemon.pid}/task")
    names = []
    for task in folder.iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            names.append((task / "comm").read_text())
    return "hostmem-parse\n" in names


def test_client_leaves_meanwhile():
    with Hostmemd() as daemon:
        for _ in range(4):
            client = daemon.connect()
            client.send_raw(large(b"query-version", 1))
            client.close()
        daemon.qmp.execute("query-version")
        wait_until(lambda: not parses(daemon), what="the parser to end")


def test_quit_meanwhile():
    with Hostmemd() as daemon:
        other = daemon.connect()
        other.send_raw(large(b"query-version", 1))
        wait_until(lambda: parses(daemon), what="the parser")
        daemon.qmp.execute("quit")
        assert daemon.wait(10) == 0


def test_signal_meanwhile():
    with Hostmemd() as daemon:
        daemon.qmp.send_raw(large(b"query-version", 1))
        wait_until(lambda: parses(daemon), what="the parser")
        os.kill(daemon.pid, harness.signal.SIGTERM)
        assert daemon.wait(10) == 0


def test_before_negotiation():
    with Hostmemd() as daemon:
        client = daemon.connect(negotiate=False)
        client.recv()
        client.send_raw(large(b"query-version", 1))
        assert client.recv()["error"]["class"] == "CommandNotFound"
        with raises(QmpError, "CommandNotFound"):
            client.execute("query-version")


if __name__ == "__main__":
    harness.main()
