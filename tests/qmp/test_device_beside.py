# SPDX-License-Identifier: LGPL-2.1-or-later
"""A device that populates holds nobody up, and can be ended."""

import pathlib
import time

import harness
from harness import MIB, Hostmemd, QmpError, raises

BASE = 4 << 30
SIZE = 1024 * MIB  # some 0.3 s of populating, in pages of 4 KiB
BLOCK = 2 * MIB


def device():
    """One whose plugs take long: small pages, one thread."""
    harness.need_memory(SIZE)
    return Hostmemd(
        "-object", f"memory-backend-memfd,id=m0,size={SIZE},thp=off,"
        "prealloc-threads=1", "-device",
        f"virtio-mem,id=vm0,memdev=m0,prealloc=on,requested-size={SIZE}")


def start_plug(client):
    return client.start("virtio-mem-request", id="vm0", type="plug", addr=BASE,
                        nb_blocks=SIZE // BLOCK)


def wait_populating(daemon):
    """Until some of the memory is there."""
    status = pathlib.Path(f"/proc/{daemon.pid}/status")

    def resident():
        line, = (n for n in status.read_text().splitlines()
                 if n.startswith("RssShmem"))
        return int(line.split()[1]) > 8 * 1024

    harness.wait_until(resident, what="the first pages")


def test_other_sessions_are_served():
    with device() as daemon:
        other = daemon.connect()
        number = start_plug(daemon.qmp)
        wait_populating(daemon)
        other.execute("query-memory-devices")
        assert other.execute("qom-get", path="vm0", property="size") == 0
        assert daemon.qmp.finish(number) == {"type": "ack"}


def test_requested_size_may_change_meanwhile():
    with device() as daemon:
        other = daemon.connect()
        number = start_plug(daemon.qmp)
        wait_populating(daemon)
        other.execute("qom-set", path="vm0", property="requested-size",
                      value=BLOCK)
        assert other.execute("qom-get", path="vm0",
                             property="requested-size") == BLOCK
        assert daemon.qmp.finish(number) == {"type": "ack"}


def test_device_that_plugs_stays():
    with device() as daemon:
        other = daemon.connect()
        number = start_plug(daemon.qmp)
        wait_populating(daemon)
        with raises(QmpError, "cannot get unplugged"):
            other.execute("device_del", id="vm0")
        with raises(QmpError, "object 'm0' is in use"):
            other.execute("object-del", id="m0")
        assert daemon.qmp.finish(number) == {"type": "ack"}


def test_device_that_plugs_what_nobody_wants_any_more_stays():
    with device() as daemon:
        other = daemon.connect()
        number = start_plug(daemon.qmp)
        wait_populating(daemon)
        other.execute("qom-set", path="vm0", property="requested-size",
                      value=0)
        with raises(QmpError, "cannot get unplugged while"):
            other.execute("device_del", id="vm0")
        assert daemon.qmp.finish(number) == {"type": "ack"}


def test_reset_ends_a_plug():
    with device() as daemon:
        other = daemon.connect()
        number = start_plug(daemon.qmp)
        wait_populating(daemon)
        other.execute("system_reset")
        assert daemon.qmp.finish(number)["type"] in ("busy", "ack")
        assert other.execute("qom-get", path="vm0", property="size") == 0


def test_quit_ends_a_plug():
    with device() as daemon:
        other = daemon.connect()
        number = start_plug(daemon.qmp)
        wait_populating(daemon)
        other.start("quit")
        begin = time.monotonic()
        assert daemon.wait() == 0
        assert time.monotonic() - begin < 10
        answers = [m for m in daemon.qmp.recv_closed() if m.get("id") == number]
        assert answers[0]["return"]["type"] in ("busy", "ack"), answers


def test_removal_waits_for_a_question():
    with device() as daemon:
        daemon.qmp.execute("qom-set", path="vm0", property="requested-size",
                           value=0)
        other = daemon.connect()
        for _ in range(20):
            other.start("qom-get", path="vm0", property="size")
        daemon.qmp.execute("device_del", id="vm0")
        daemon.qmp.execute("object-del", id="m0")


if __name__ == "__main__":
    harness.main()
