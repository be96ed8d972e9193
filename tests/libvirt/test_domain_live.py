#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmemctl domain, on a real libvirtd, QEMU and Linux guest."""

import contextlib
import json
import re
import signal

import harness
from ctl import Terminal, started
from harness import MIB, PATIENCE, wait_until
from livedomain import ALIAS, BASE, BLOCK, DEVICE, LOAD, NAME, SIZE, Live
from screen import Screen

LIMIT = 240
PLUG = {"timeout": 60.0}


@contextlib.contextmanager
def watch(live, *args):
    """hostmemctl domain watch --json; yields what reads its next line, or
    None at the end."""
    with started(live.uri, "domain", "watch", *args, "--json", "--interval",
                 "0.2") as process:
        def line():
            text = process.stdout.readline()
            return json.loads(text) if text else None
        line.process = process
        yield line


def until(line, condition):
    """Lines up to the first that a condition holds for; it is the last."""
    lines = []
    while not lines or not condition(lines[-1]):
        lines.append(line())
        assert lines[-1] is not None, lines[-2:]
    return lines


def events(lines, kind):
    return [event for line in lines for event in line["events"]
            if event["event"] == kind]


def stalls(live, size, seconds, *phrases):
    """A plug must fail, whether it has shown progress or not."""
    result = live.run_ctl("plug", NAME, size, "--wait", "--timeout", seconds,
                          **PLUG)
    assert result.returncode == 1, result
    message = result.stderr.splitlines()[-1]
    for phrase in phrases:
        assert phrase in message, result


def memory_of(console):
    """Bytes that the guest says it has."""
    console.send("echo memory $(head -1 /proc/meminfo)")
    return int(console.expect("memory ").split()[1]) * 1024


def current(line):
    return line["domains"][0]["devices"][0]["current"]


@harness.time_limit(LIMIT)
def test_plug_and_unplug_reach_the_guest():
    with Live() as live:
        console = live.start()
        before = memory_of(console)
        for size in 128 * MIB, 64 * MIB, 0:
            result = live.run_ctl("plug", NAME, ALIAS, size, "--wait", **PLUG)
            assert result.returncode == 0 and result.stdout == "", result
            device = live.device()
            assert device["requested"] == device["current"] == size, device
            assert abs(memory_of(console) - before - size) < 24 * MIB, size


@harness.time_limit(LIMIT)
def test_status_of_a_real_domain():
    with Live() as live:
        live.start()
        live.ctl("plug", NAME, 64 * MIB, "--wait", **PLUG)
        status = json.loads(live.ctl("status", "--json"))
        assert status["uri"] == live.uri and status["errors"] == {}, status
        domain, = status["domains"]
        assert domain["name"] == NAME and domain["memory"] == BASE + SIZE
        assert domain["devices"] == [{
            "alias": ALIAS, "model": "virtio-mem", "size": SIZE,
            "block": BLOCK, "requested": 64 * MIB, "current": 64 * MIB,
            "node": 0}], domain
        sizes = {memdev["id"]: memdev["size"] for memdev in domain["memdev"]}
        assert sizes == {f"mem{ALIAS}": SIZE, "ram-node0": BASE}, sizes

        text = live.ctl("status", NAME)
        assert re.search(rf"^{NAME} +{ALIAS} +virtio-mem +\[#+\] 100 % +64 MiB "
                         r"+64 MiB +256 MiB +2 MiB +0$", text, re.M), text
        assert re.search(rf"^{NAME} +mem{ALIAS} +256 MiB ", text, re.M), text


@harness.time_limit(LIMIT)
def test_watch_tells_of_events():
    with Live() as live:
        live.start()
        with watch(live, NAME) as line:
            until(line, lambda status: current(status) == 0)
            live.ctl("plug", NAME, 64 * MIB)
            lines = until(line, lambda status: current(status) == 64 * MIB)
            lines += until(line, lambda status: events([status] + lines, "size"))
        sizes = events(lines, "size")
        assert all(event["device"] == ALIAS and event["domain"] == NAME
                   for event in sizes), sizes
        assert sizes[-1]["size"] <= 64 * MIB, sizes


@harness.time_limit(LIMIT)
def test_watch_draws_in_place():
    with Live() as live:
        live.start()
        with Terminal(live.uri, "domain", "watch", "--interval", "0.2",
                      columns=120) as terminal:
            def rows():
                screen = Screen(120)
                screen.feed(terminal.read().decode())
                return [row for row in screen.rows() if ALIAS in row]
            wait_until(rows, 30, "the first picture")
            live.ctl("plug", NAME, 64 * MIB, "--wait", **PLUG)
            # A row of devices, and of events.
            wait_until(lambda: len(rows()) >= 2 and "64 MiB" in rows()[0], 30,
                       "the second picture")
            assert sum("virtio-mem" in row for row in rows()) == 1, rows()
            terminal.press(b"\x03")
            assert terminal.wait() == 0


@harness.time_limit(LIMIT)
def test_domain_that_ends_while_it_is_watched():
    with Live() as live:
        live.start(driver=False)
        with watch(live, NAME) as one, watch(live) as all_of_them:
            until(one, lambda status: True)
            until(all_of_them, lambda status: status["domains"])
            live.libvirtd.virsh("destroy", NAME)
            lines = until(all_of_them, lambda status: not status["domains"])
            lines += until(all_of_them,
                           lambda status: events([status] + lines, "stopped"))
            while one() is not None:
                pass
            assert one.process.wait(30) == 1
            message = one.process.stderr.read()
            assert f"'{NAME}' has ended" in message, message


@harness.time_limit(LIMIT)
def test_domain_that_ends_while_it_is_plugged():
    with Live() as live:
        live.start(driver=False)
        with started(live.uri, "domain", "plug", NAME, "64M", "--wait",
                     "--timeout", "200") as process:
            wait_until(lambda: live.device()["requested"] == 64 * MIB, 30,
                       "the request")
            live.libvirtd.virsh("destroy", NAME)
            assert process.wait(30 * PATIENCE) == 1
            message = process.stderr.read()
        assert "has ended meanwhile" in message, message


@harness.time_limit(LIMIT)
def test_guest_without_the_driver():
    with Live() as live:
        live.start(driver=False)
        stalls(live, "64M", "2", f"'{ALIAS}' of domain '{NAME}': ",
               "stalled at 0 B, and 64 MiB are requested",
               "driver may be missing")
        device = live.device()
        assert device["requested"] == 64 * MIB and device["current"] == 0
        # It comes late.
        with started(live.uri, "domain", "plug", NAME, "32M", "--wait",
                     "--timeout", "100") as process:
            live.run(LOAD)
            assert process.wait(60 * PATIENCE) == 0, process.stderr.read()
        assert live.device()["current"] == 32 * MIB


@harness.time_limit(LIMIT)
def test_guest_that_does_not_release():
    with Live() as live:
        live.start(driver=False)
        # The kernel's own memory cannot be moved.
        live.run("echo online_kernel "
                 ">/sys/devices/system/memory/auto_online_blocks")
        live.run(LOAD)
        live.ctl("plug", NAME, SIZE, "--wait", **PLUG)
        live.run("mkdir -p /t && mount -t ramfs ramfs /t && "
                 "dd if=/dev/zero of=/t/file bs=1M count=150 2>/dev/null")
        stalls(live, "0", "4", "stalled at ", "does not release")
        assert 0 < live.device()["current"] < SIZE, live.device()


@harness.time_limit(LIMIT)
def test_somebody_else_requests_another_size():
    with Live() as live:
        live.start(driver=False)
        with started(live.uri, "domain", "plug", NAME, "64M", "--wait",
                     "--timeout", "200") as process:
            wait_until(lambda: live.device()["requested"] == 64 * MIB, 30,
                       "the request")
            live.ctl("plug", NAME, "32M")
            assert process.wait(30 * PATIENCE) == 1
            message = process.stderr.read()
        assert "somebody else has requested 32 MiB" in message, message


@harness.time_limit(LIMIT)
def test_size_that_the_device_cannot_have():
    with Live() as live:
        live.start(driver=False)
        live.ctl_fails("plug", NAME, "3M", phrases=["3 MiB", "blocks, 2 MiB"])
        live.ctl_fails("plug", NAME, "1G", phrases=["1 GiB", "size, 256 MiB"])
        live.ctl_fails("plug", NAME, "x9", "2M",
                       phrases=["'x9'", f"there is '{ALIAS}'"])


@harness.time_limit(LIMIT)
def test_one_of_two_devices():
    with Live() as live:
        live.start(DEVICE + DEVICE)
        live.ctl_fails("plug", NAME, "2M",
                       phrases=["several", "'virtiomem0', 'virtiomem1'"])
        live.ctl("plug", NAME, "virtiomem1", "32M", "--wait", **PLUG)
        status = json.loads(live.ctl("list", "--json"))
        sizes = [device["current"]
                 for device in status["domains"][0]["devices"]]
        assert sizes == [0, 32 * MIB], sizes


@harness.time_limit(LIMIT)
def test_domain_that_does_not_run():
    with Live() as live:
        live.libvirtd.define(live.xml())
        assert json.loads(live.ctl("list", "--json"))["domains"] == []
        for words in ["status", NAME], ["watch", NAME], ["plug", NAME, "2M"]:
            live.ctl_fails(*words, phrases=[f"'{NAME}' does not run"])


@harness.time_limit(LIMIT)
def test_libvirtd_that_ends_while_it_is_used():
    with Live() as live:
        live.start(driver=False)
        with watch(live) as line, \
                started(live.uri, "domain", "plug", NAME, "64M", "--wait",
                        "--timeout", "200") as process:
            until(line, lambda status: status["domains"])
            wait_until(lambda: live.device()["requested"] == 64 * MIB, 30,
                       "the request")
            live.libvirtd.kill()
            while line() is not None:
                pass
            assert line.process.wait(30) == 1
            assert live.uri in line.process.stderr.read()
            assert process.wait(30 * PATIENCE) == 1
            message = process.stderr.read()
        assert live.uri in message, message


@harness.time_limit(LIMIT)
def test_libvirtd_that_is_silent():
    """Like a host that has lost its power."""
    with Live() as live:
        with watch(live) as line:
            until(line, lambda status: True)
            with live.libvirtd.silent():
                while line() is not None:
                    pass
                assert line.process.wait(30) == 1
            assert live.uri in line.process.stderr.read()
        # It was only silent.
        assert json.loads(live.ctl("list", "--json"))["domains"] == []


@harness.time_limit(LIMIT)
def test_ctrl_c_while_libvirtd_is_silent():
    with Live() as live:
        with watch(live) as line:
            until(line, lambda status: True)
            with live.libvirtd.silent():
                line.process.send_signal(signal.SIGINT)
                assert line.process.wait(10 * PATIENCE) == 0


if __name__ == "__main__":
    harness.main()
