# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is told of a device: its size, and how a resize goes."""

import time

import harness
from harness import MIB, Hostmemd

BASE = 4 << 30
BLOCK = 2 * MIB
PATH = "/machine/peripheral/vm0"
SIZE_CHANGE = "MEMORY_DEVICE_SIZE_CHANGE"
RESIZE = "MEMORY_DEVICE_RESIZE"


def device(options="id=vm0"):
    return Hostmemd("-object", "memory-backend-ram,id=m0,size=64M", "-device",
                    f"virtio-mem,memdev=m0,resize-timeout=1,{options}")


def request(client, kind, first=0, count=1, path="vm0"):
    return client.execute("virtio-mem-request", id=path, type=kind,
                          addr=BASE + first * BLOCK, nb_blocks=count)["type"]


def resize(client, size, path="vm0"):
    client.execute("qom-set", path=path, property="requested-size", value=size)


def stamp(event):
    return (event["timestamp"]["seconds"]
            + event["timestamp"]["microseconds"] / 1e6)


def wait_state(client, state):
    while True:
        event = client.wait_event(RESIZE)
        if event["data"]["state"] == state:
            return event["data"]


def test_size_is_told():
    with device() as daemon:
        resize(daemon.qmp, 16 * MIB)
        request(daemon.qmp, "plug", 0, 2)
        event = daemon.qmp.wait_event(SIZE_CHANGE)
        assert event["data"] == {"id": "vm0", "qom-path": PATH,
                                 "size": 2 * BLOCK}, event


def test_device_without_id():
    path = "/machine/peripheral-anon/device[0]"
    with device("requested-size=16M") as daemon:
        request(daemon.qmp, "plug", path=path)
        event = daemon.qmp.wait_event(SIZE_CHANGE)
        assert event["data"] == {"qom-path": path, "size": BLOCK}, event


def test_one_size_a_second_and_the_last_one():
    with device("id=vm0,requested-size=64M") as daemon:
        for i in range(20):
            assert request(daemon.qmp, "plug", i) == "ack"
        events = [daemon.qmp.wait_event(SIZE_CHANGE)]
        while events[-1]["data"]["size"] != 20 * BLOCK:
            events.append(daemon.qmp.wait_event(SIZE_CHANGE))
        assert events[0]["data"]["size"] < 20 * BLOCK, events
        stamps = [stamp(event) for event in events]
        assert all(b - a > 0.9 for a, b in zip(stamps, stamps[1:])), stamps


def test_times_do_not_go_back():
    with device("id=vm0,requested-size=64M") as daemon:
        for i in range(3):
            request(daemon.qmp, "plug", i)
        daemon.qmp.execute("system_reset")
        while daemon.qmp.wait_event(SIZE_CHANGE)["data"]["size"]:
            pass
    with device("id=vm0,requested-size=64M") as daemon:
        client = daemon.qmp
        for i in range(3):
            client.start("virtio-mem-request", id="vm0", type="plug",
                         addr=BASE + i * BLOCK, nb_blocks=1)
        client.start("system_reset")
        stamps, size = [], None
        while size != 0:
            message = client.recv()
            if "event" in message:
                stamps.append(stamp(message))
                if message["event"] == SIZE_CHANGE:
                    size = message["data"]["size"]
        assert stamps == sorted(stamps), stamps


def test_last_size_comes_before_the_deletion():
    with device("id=vm0,requested-size=64M") as daemon:
        for i in range(3):
            request(daemon.qmp, "plug", i)
        resize(daemon.qmp, 0)
        request(daemon.qmp, "unplug-all")
        daemon.qmp.execute("device_del", id="vm0")
        daemon.qmp.wait_event("DEVICE_DELETED")
        sizes = [e["data"]["size"] for e in daemon.qmp.events
                 if e["event"] == SIZE_CHANGE]
        assert sizes[-1] == 0, daemon.qmp.events


def test_last_size_comes_before_the_end():
    with device("id=vm0,requested-size=64M") as daemon:
        for i in range(3):
            request(daemon.qmp, "plug", i)
        number = daemon.qmp.start("quit")
        messages = daemon.qmp.recv_closed()
        assert any(m.get("id") == number for m in messages), messages
        events = [m for m in daemon.qmp.events + messages if "event" in m]
        sizes = [e["data"]["size"] for e in events
                 if e["event"] == SIZE_CHANGE]
        assert sizes[-1] == 3 * BLOCK, events
        assert events[-1]["event"] == "SHUTDOWN", events


def test_reached():
    with device() as daemon:
        resize(daemon.qmp, 2 * BLOCK)
        assert wait_state(daemon.qmp, "running")["requested-size"] == 2 * BLOCK
        request(daemon.qmp, "plug", 0, 2)
        assert wait_state(daemon.qmp, "reached") == {
            "id": "vm0", "qom-path": PATH, "state": "reached",
            "requested-size": 2 * BLOCK, "size": 2 * BLOCK, "ack-count": 1,
            "nack-count": 0, "busy-count": 0, "error-count": 0}


def test_stalled_and_why():
    with device() as daemon:
        resize(daemon.qmp, 2 * BLOCK)
        assert request(daemon.qmp, "plug", 0, 3) == "nack"
        assert request(daemon.qmp, "unplug") == "error"
        data = wait_state(daemon.qmp, "stalled")
        assert data.pop("last-reason").endswith("not plugged"), data
        assert data == {
            "id": "vm0", "qom-path": PATH, "state": "stalled",
            "requested-size": 2 * BLOCK, "size": 0, "ack-count": 0,
            "nack-count": 1, "busy-count": 0, "error-count": 1}, data


def test_stalled_without_any_request():
    with device() as daemon:
        resize(daemon.qmp, 2 * BLOCK)
        data = wait_state(daemon.qmp, "stalled")
        assert "last-reason" not in data and data["error-count"] == 0, data


def test_stalled_goes_on():
    with device() as daemon:
        resize(daemon.qmp, 2 * BLOCK)
        wait_state(daemon.qmp, "stalled")
        request(daemon.qmp, "plug", 0, 2)
        assert wait_state(daemon.qmp, "reached")["size"] == 2 * BLOCK


def test_a_lively_guest_does_not_flood():
    """A guest that plugs and unplugs makes no more than an event a second."""
    with device("id=vm0,requested-size=2M") as daemon:
        begin = time.monotonic()
        for _ in range(300):
            request(daemon.qmp, "plug")
            request(daemon.qmp, "unplug")
        seconds = time.monotonic() - begin
        for name in SIZE_CHANGE, RESIZE:
            count = sum(e["event"] == name for e in daemon.qmp.events)
            assert count <= seconds + 2, (name, count, seconds)


if __name__ == "__main__":
    harness.main()
