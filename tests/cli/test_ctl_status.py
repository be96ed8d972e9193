# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmemctl status, status --watch, events and plug: with a real hostmemd."""

import json
import os
import re
import signal
import time

import harness
from ctl import (Terminal, address_of, ctl, ctl_fails, error, fake,
                 started, wait_until_heard)
from fdclient import FdClient
from harness import MIB, Hostmemd, SlowHost, scratch, wait_until

RAM = "memory-backend-ram,id=m0,size=64M"
VM0 = "virtio-mem,id=vm0,memdev=m0,resize-timeout=1"
PATIENT_VM0 = VM0.replace("=1", "=1000")
JOB = ("memory-backend-memfd,id=m0,size=256M,thp=off,prealloc=on,"
       "prealloc-async=on,prealloc-check=off,prealloc-threads=1")
SLOW = 10  # percent of a CPU: long enough to be looked at
BASE = 4 << 30
UP = re.compile(rb"\x1b\[(\d+)A")


def tables(text):
    """{first heading: [words of each line]} of the blocks of status."""
    blocks = [block.splitlines() for block in text.split("\n\n")]
    return {block[0].split()[0]: [line.split() for line in block[1:]]
            for block in blocks if block and block[0]}


def request(daemon, kind, blocks, at=0):
    device, = daemon.qmp.execute("query-memory-devices")
    size = device["data"]["block-size"]
    answer = daemon.qmp.execute("virtio-mem-request", id="vm0", type=kind,
                                addr=BASE + at * size, nb_blocks=blocks)
    assert answer["type"] == "ack", answer


# status

def test_status_of_nothing():
    with Hostmemd() as daemon:
        text = ctl(daemon, "status")
        assert f" at {address_of(daemon)}" in text.splitlines()[0], text
        assert text.startswith("hostmem "), text
        assert set(tables(text)) >= {"hostmem", "node"}, text


def test_status():
    with Hostmemd("-object", RAM, "-object",
                  "memory-backend-memfd,id=m1,size=32M,prealloc=on",
                  "-device", VM0) as daemon:
        found = tables(ctl(daemon, "status"))
        m0, m1 = found["backend"]
        assert m0[:4] == ["m0", "memory-backend-ram", "64", "MiB"], m0
        assert m1.count("32") == 4, m1  # size, backed, populated, resident
        assert m0.count("0") == 4, m0  # backed, populated, resident, locked
        vm0, = found["device"]
        assert vm0[:3] == ["vm0", "virtio-mem", "m0"], vm0
        assert vm0[-1] == "reached", vm0


def test_status_is_aligned():
    with Hostmemd("-object", RAM, "-object",
                  "memory-backend-memfd,id=a-long-name,size=4M") as daemon:
        lines = ctl(daemon, "status").split("\n\n")[1].splitlines()
    assert len({line.find("memory-backend") for line in lines[1:]}) == 1, lines
    column = lines[0].index("size") + len("size")
    for line in lines[1:]:
        assert line[:column].endswith("MiB"), lines
        assert line == line.rstrip(), lines


def test_status_tells_what_is_in_use():
    def shown(daemon):
        head, *lines = ctl(daemon, "status").split("\n\n")[1].splitlines()
        start = head.index("in use")
        return [line[start:].split()[0] for line in lines]

    with Hostmemd("-object", "memory-backend-memfd,id=m1,size=4M", "-object",
                  RAM) as daemon:
        assert shown(daemon) == ["no", "-"]
        with FdClient(daemon.socket) as client:
            _, (fd,) = client.execute("get-memory-fd", {"id": "m1"})
        assert shown(daemon) == ["yes", "-"]
        os.close(fd)
        assert shown(daemon) == ["no", "-"]


def test_status_as_json():
    with Hostmemd("-object", RAM, "-device", VM0) as daemon:
        status = json.loads(ctl(daemon, "status", "--json"))
    assert status["address"] == address_of(daemon), status
    assert status["memdev"][0]["size"] == 64 * MIB, status
    assert status["memory-devices"][0]["data"]["id"] == "vm0", status
    assert status["host-nodes"][0]["total"] > 0, status
    assert status["jobs"] == [] and "memory-size-summary" in status, status


def test_status_tells_what_is_missing():
    def serve(peer):
        peer.negotiate()
        for value in [], error("no such", "CommandNotFound"), {}, [], [], \
                error("out of order"):
            peer.answer(value)

    with fake(serve) as address:
        text = ctl(address, "status")
    assert "no command 'query-memory-devices'" in text, text
    assert "out of order" in text, text


# status --watch

def test_watch_on_a_terminal():
    with Hostmemd("-object", RAM) as daemon, \
            Terminal(daemon, "status", "--watch=0.2") as terminal:
        wait_until(lambda: len(UP.findall(terminal.read())) >= 2)
        drawn = terminal.output.split(b"\x1b[J")[1]
        ups = UP.findall(terminal.output)
        assert drawn.count(b"\n") == int(ups[0]), terminal.output
        assert b"m0" in drawn and b"node" in drawn, drawn
        terminal.press(b"\x03")
        assert terminal.wait() == 0
    assert b"Error" not in terminal.output


def test_watch_fits_the_terminal():
    with Hostmemd("-object", RAM) as daemon, \
            Terminal(daemon, "status", "--watch=0.2", lines=4,
                     columns=20) as terminal:
        wait_until(lambda: len(UP.findall(terminal.read())) >= 2)
        frames = terminal.output.split(b"\x1b[J")
        for line in frames[0].split(b"\r\n"):
            assert len(line.replace(b"\x1b[K", b"")) <= 20, line
        assert set(UP.findall(terminal.output)) == {b"3"}, terminal.output


def test_watch_reacts_at_once():
    with Hostmemd("-object", RAM, "-device", VM0) as daemon, \
            started(daemon, "status", "--watch=1000", "--json") as process:
        first = json.loads(process.stdout.readline())
        daemon.qmp.execute("qom-set", path="vm0", property="requested-size",
                           value=32 * MIB)
        request(daemon, "plug", 4)
        sizes = 0
        while not sizes:
            status = json.loads(process.stdout.readline())
            sizes = status["memory-devices"][0]["data"]["size"]
    assert first["memory-devices"][0]["data"]["size"] == 0, first


def test_watch_elsewhere_appends_blocks():
    with Hostmemd("-object", RAM) as daemon, scratch() as folder:
        with open(folder / "out", "w+") as out, \
                started(daemon, "status", "--watch=0.1",
                        stdout=out) as process:
            wait_until(lambda: (folder / "out").read_text().count("m0") >= 3)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
            assert process.stderr.read() == ""
        text = (folder / "out").read_text()
    assert "\x1b" not in text, text
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  hostmem ", text), text


def test_watch_on_a_dumb_terminal():
    with Hostmemd("-object", RAM) as daemon, \
            Terminal(daemon, "status", "--watch=0.1",
                     env={"TERM": "dumb"}) as terminal:
        wait_until(lambda: terminal.read().count(b"m0") >= 3)
        assert b"\x1b" not in terminal.output, terminal.output


def test_watch_shows_what_is_being_made():
    """A backend that is not there yet, by its events."""
    with SlowHost(3) as host, \
            Hostmemd("-object", JOB.replace("prealloc-async=on", "merge=off"),
                     cgroup=host, ready=False) as daemon, \
            started(daemon, "status", "--watch=0.1") as process:
        lines = iter(process.stdout.readline, "")
        assert any(line.startswith("populating") for line in lines)
        assert re.match(r"m0 +\[#*\.*\] +\d+ %", next(lines))


def test_watch_ends_with_the_server():
    with Hostmemd() as daemon, \
            started(daemon, "status", "--watch=0.1") as process:
        process.stdout.readline()
        daemon.process.kill()
        assert process.wait(20) == 1
        assert address_of(daemon) in process.stderr.read()


# events

def wait_until_listening(daemon, process):
    wait_until_heard(process, lambda: daemon.qmp.execute("system_reset"))


def test_events():
    with Hostmemd("-object", RAM, "-device", VM0) as daemon, \
            started(daemon, "events") as process, \
            started(daemon, "events", "--json") as other:
        wait_until_listening(daemon, process)
        wait_until_listening(daemon, other)
        daemon.qmp.execute("device_del", id="vm0")
        lines = iter(process.stdout.readline, "")
        line = next(line for line in lines if "DEVICE_DELETED" in line)
        events = map(json.loads, iter(other.stdout.readline, ""))
        event = next(e for e in events if e["event"] == "DEVICE_DELETED")
        for each in process, other:
            each.send_signal(signal.SIGINT)
            assert each.wait(20) == 0
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} DEVICE_DELETED "
                    r'device="vm0" path="/machine/peripheral/vm0"\n', line)
    assert event["data"]["device"] == "vm0", event


def test_events_until_shutdown():
    with Hostmemd() as daemon, started(daemon, "events") as process:
        wait_until_listening(daemon, process)
        daemon.qmp.execute("quit")
        assert process.wait(20) == 0
        assert "SHUTDOWN" in process.stdout.read()


def test_events_of_a_server_that_is_killed():
    with Hostmemd() as daemon, started(daemon, "events") as process:
        wait_until_listening(daemon, process)
        daemon.process.kill()
        assert process.wait(20) == 1
        assert address_of(daemon) in process.stderr.read()


# plug

def test_plug():
    with Hostmemd("-object", RAM, "-device", VM0) as daemon:
        assert ctl(daemon, "plug", "vm0", "32M") == ""
        assert ctl(daemon, "get", "vm0", "requested-size") == f"{32 * MIB}\n"


def test_plug_refused():
    with Hostmemd("-object", RAM, "-device", VM0) as daemon:
        for args, phrase in ((["vm0", "some"], "size"),
                             (["vm0", "-1"], "size"),
                             (["vm0", "1G"], "requested"),
                             (["vm0", "1"], "requested"),
                             (["vm1", "1G"], "vm1"),
                             (["m0", "1G"], "m0"),
                             (["vm0", "0", "--timeout=x"], "--timeout")):
            ctl_fails(daemon, "plug", *args, phrases=[phrase])


def test_plug_waits():
    with Hostmemd("-object", RAM, "-device", PATIENT_VM0) as daemon, \
            started(daemon, "plug", "vm0", "32M", "--wait") as process:
        wait_until(lambda: daemon.qmp.execute(
            "qom-get", path="vm0", property="requested-size"))
        device, = daemon.qmp.execute("query-memory-devices")
        blocks = 32 * MIB // device["data"]["block-size"]
        request(daemon, "plug", blocks // 2)
        time.sleep(0.2)
        assert process.poll() is None
        request(daemon, "plug", blocks // 2, blocks // 2)
        assert process.wait(20) == 0
        assert ctl(daemon, "plug", "vm0", "32M", "--wait") == ""


def test_plug_stalls():
    """Nobody plugs: the server says so after its resize-timeout."""
    with Hostmemd("-object", RAM, "-device", VM0) as daemon:
        ctl_fails(daemon, "plug", "vm0", "32M", "--wait",
                  phrases=[address_of(daemon), "'vm0' has 0 B of 32 MiB",
                           "stalled"])


def test_plug_stalls_after_a_time_of_ours():
    with Hostmemd("-object", RAM, "-device", PATIENT_VM0) as daemon:
        ctl_fails(daemon, "plug", "vm0", "32M", "--wait", "--timeout=0.5",
                  phrases=["stalled"])


def test_plug_says_the_last_refusal():
    with Hostmemd("-object", RAM, "-device", PATIENT_VM0) as daemon, \
            started(daemon, "plug", "vm0", "32M", "--wait") as process:
        wait_until(lambda: daemon.qmp.execute(
            "qom-get", path="vm0", property="requested-size"))
        answer = daemon.qmp.execute("virtio-mem-request", id="vm0",
                                    type="plug", addr=BASE, nb_blocks=60000)
        assert answer["type"] != "ack", answer
        daemon.qmp.execute("qom-set", path="vm0", property="resize-timeout",
                           value=1)
        assert process.wait(20) == 1
        assert answer["reason"] in process.stderr.read()


def test_plug_of_a_device_that_goes():
    with Hostmemd("-object", RAM, "-device", PATIENT_VM0) as daemon, \
            started(daemon, "plug", "vm0", "32M", "--wait",
                    "--timeout=100") as process:
        wait_until(lambda: daemon.qmp.execute(
            "qom-get", path="vm0", property="requested-size"))
        daemon.qmp.execute("qom-set", path="vm0", property="requested-size",
                           value=0)
        assert process.wait(20) == 1
        assert "somebody else" in process.stderr.read()


def test_plug_draws_on_a_terminal():
    with Hostmemd("-object", RAM, "-device", PATIENT_VM0) as daemon, \
            Terminal(daemon, "plug", "vm0", "32M", "--wait") as terminal:
        wait_until(lambda: b"vm0 plugged [" in terminal.read())
        device, = daemon.qmp.execute("query-memory-devices")
        request(daemon, "plug", 32 * MIB // device["data"]["block-size"])
        assert terminal.wait() == 0
    assert terminal.output.endswith(b"\r\x1b[K"), terminal.output


if __name__ == "__main__":
    harness.main()
