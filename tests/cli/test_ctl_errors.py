# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmemctl: command lines, servers that are none, and hostile ones."""

import os
import re
import signal
import socket
import subprocess
import time

import harness
from ctl import (address_of, command_of, ctl, ctl_fails,
                 environment, error, fake, run_ctl, started)
from harness import Hostmemd, program, scratch

COMMANDS = ("status", "add", "del", "get", "set", "plug", "jobs", "cancel",
            "pools", "exec", "attach", "detach", "advise", "discard",
            "snapshot", "events", "shell", "help", "completion")


# the command line

def test_help_names_each_command():
    text = ctl(None, "--help")
    for name in COMMANDS:
        assert re.search(rf"^  {name}\b", text, re.M), name
    assert "complete -- " not in text, text
    assert ctl(None, "-h") == text
    assert ctl(None, "help") == text


def test_help_of_a_command():
    for name in COMMANDS:
        text = ctl(None, name, "--help")
        assert text.startswith("Usage: hostmemctl "), text
        assert name in text.splitlines()[0], text
        assert "--connect ADDRESS" in text, text
        assert ctl(None, "help", name) == text
    for words in ["domain", "list"], ["domain", "plug"]:
        assert ctl(None, "help", *words) == ctl(None, *words, "--help")
    for topic in ["domain", "nosuch"], ["get", "set"], ["domain", "list", "x"]:
        ctl_fails(None, "help", *topic,
                  phrases=[" ".join(topic), "no such command"])


def test_help_fits_a_terminal():
    for line in ctl(None, "--help").splitlines():
        assert len(line) <= 80, line


def test_version():
    assert re.fullmatch(r"hostmemctl version \d+\.\d+\.\d+\n",
                        ctl(None, "--version"))


def test_command_lines_that_are_wrong():
    for args, phrases in (
            ([], ["no command"]),
            (["nosuch"], ["nosuch: no such command"]),
            (["--nosuch"], ["--nosuch: invalid option"]),
            (["status", "--wait"], ["--wait: invalid option"]),
            (["--json", "status"], ["--json: invalid option"]),
            (["status", "more"], ["unexpected argument 'more'"]),
            (["plug", "vm0"], ["plug: SIZE is missing"]),
            (["add"], ["add: TYPE", "is missing"]),
            (["status", "--json=1"], ["--json: takes no argument"]),
            (["jobs", "--connect"], ["--connect: requires an argument"]),
            (["status", "--watch=soon"], ["--watch", "'soon'"]),
            (["status", "--watch=0"], ["--watch", "'0'"]),
            (["status", "--watch=nan"], ["--watch", "'nan'"]),
            (["completion", "fish"], ["fish", "bash"])):
        ctl_fails(None, *args, phrases=phrases)


def test_no_server_is_given():
    for env in {}, {"HOSTMEM_QMP": ""}:
        ctl_fails(None, "status", phrases=["--connect", "HOSTMEM_QMP"],
                  env=env)


def test_options_stand_anywhere():
    with Hostmemd() as daemon:
        address = address_of(daemon)
        for args in (["-c", address, "jobs"], ["jobs", "-c", address],
                     [f"--connect={address}", "jobs", "--json"],
                     ["jobs", "--json", "--connect", address]):
            assert ctl(None, *args) in ("", "[]\n")
        assert ctl(None, "jobs", env={"HOSTMEM_QMP": address}) == ""
        ctl_fails("unix:/nonexistent", "jobs", env={"HOSTMEM_QMP": address})


def test_words_that_are_no_text():
    ctl_fails("unix:/nonexistent", "get", b"\xff".decode(
        errors="surrogateescape"), "size", phrases=["no UTF-8"])


# servers that are none

def test_nobody_listens():
    with scratch() as folder:
        address = f"unix:{folder}/qmp"
        ctl_fails(address, "status", phrases=[address])
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(f"{folder}/qmp")
        stale.close()
        ctl_fails(address, "status", phrases=[address])


def test_addresses_that_are_none():
    for address in "nonsense", "unix:", "tcp:1.2.3.4", "unix:/x,server=on":
        ctl_fails(address, "status", phrases=[address])


def test_no_qmp_server():
    for text in b"SSH-2.0-OpenSSH_9.2", b"{\"hello\": 1}", b"[]":
        with fake(lambda peer, text=text: peer.send(text)) as address:
            ctl_fails(address, "status", phrases=[address])


def test_server_that_hangs_up():
    with fake(lambda peer: None) as address:
        ctl_fails(address, "status", phrases=[address])


def test_server_goes_while_a_command_runs():
    def serve(peer):
        peer.negotiate()
        peer.recv()

    for args in (["status"], ["jobs"], ["get", "m0", "size"],
                 ["add", "memory-backend-ram,id=m0,size=1M"], ["del", "m0"],
                 ["plug", "vm0", "1G", "--wait"], ["cancel", "m0"]):
        with fake(serve) as address:
            ctl_fails(address, *args, phrases=[address])


def test_interrupt_ends_what_waits():
    with fake(lambda peer: (peer.negotiate(), peer.wait_closed())) as address:
        with started(address, "jobs") as process:
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == -signal.SIGINT


# hostile servers

EVIL = "m0\x1b[2J\x1b]0;owned\x07\n\r\u202e\u009b31m\u2028 space"
ESCAPED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028]")


def assert_safe(result):
    text = result.stdout + result.stderr
    assert not ESCAPED.search(text), text
    assert re.search(r"m0(\\x1b|\\u001B|\?)\[2J", text), text


def serve_with(*answers, before=()):
    def serve(peer):
        peer.negotiate()
        for value in answers:
            peer.answer(value, *before)
        peer.wait_closed()
    return serve


def test_no_escape_reaches_the_terminal():
    job = {"id": EVIL, "type": EVIL, "status": "running",
           "current-progress": 1, "total-progress": 2, "error": EVIL}
    memdev = {"id": EVIL, "size": 1, "policy": EVIL, "host-nodes": [EVIL]}
    event = {"event": EVIL, "data": {EVIL: EVIL},
             "timestamp": {"seconds": 1, "microseconds": 2}}
    for args, answers in (
            (["jobs"], [[job]]),
            (["jobs", "--json"], [[job]]),
            (["status"], [[memdev], [], {}, [job], [], []]),
            (["get", "m0", "x"], [EVIL]),
            (["get", "m0", "x"], [[EVIL]]),
            (["get", "m0", "x"], [error(EVIL)]),
            (["set", "m0", "x", "1"], [error(EVIL)]),
            (["add", "memory-backend-ram,id=m0,size=1M"], [error(EVIL)]),
            (["help", "x"], [[{"name": EVIL, "type": EVIL}]])):
        with fake(serve_with(*answers)) as address:
            assert_safe(run_ctl(address, *args))
    for args in ["events"], ["events", "--json"]:
        with fake(lambda peer: (peer.negotiate(), peer.send(event))) as address:
            assert_safe(run_ctl(address, *args))


def test_name_of_the_server_is_safe():
    greeting = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2,
                                             "micro": 0},
                                    "package": "hostmem " + EVIL},
                        "capabilities": []}}

    def serve(peer):
        peer.negotiate(greeting)
        for value in [], [], {}, [], [], []:
            peer.answer(value)

    with fake(serve) as address:
        assert_safe(run_ctl(address, "status"))


def test_answers_of_any_shape():
    """What comes is not what was asked for: no crash."""
    shapes = [None, True, 1, -1, 1.5, "x", [], {}, [[]], [None], [1], [{}],
              [{"id": 1, "size": "x", "data": []}],
              [{"data": {"id": [], "size": -1, "requested-size": 1e300}}],
              {"return": {}}, [{"huge-pages": [{"total": {}}, 1]}]]
    for args in (["status"], ["jobs"], ["pools"], ["get", "m0", "x"],
                 ["help", "x"], ["status", "--json"]):
        for shape in shapes:
            with fake(serve_with(*[shape] * 6)) as address:
                result = run_ctl(address, *args)
                assert result.returncode in (0, 1), result


def test_numbers_beyond_64_bits():
    def serve(peer):
        peer.negotiate()
        message = peer.recv()
        peer.send(b'{"return": 36893488147419103232, "id": %s}'
                  % str(message["id"]).encode()
                  if isinstance(message["id"], int) else
                  b'{"return": 36893488147419103232, "id": "%s"}'
                  % message["id"].encode())
        peer.wait_closed()

    with fake(serve) as address:
        assert ctl(address, "get", "m0", "x").startswith("3.68")


# what a terminal has no part in

def test_full_disk():
    with Hostmemd() as daemon, open("/dev/full", "w") as full:
        result = subprocess.run(command_of(daemon, ["status"]), stdout=full,
                                stderr=subprocess.PIPE, text=True, timeout=20,
                                env=environment())
    assert result.returncode == 1, result
    assert "No space left" in result.stderr, result


def test_reader_that_goes():
    with Hostmemd() as daemon:
        reader, writer = os.pipe()
        os.close(reader)
        result = subprocess.run(command_of(daemon, ["status"]), stdout=writer,
                                stderr=subprocess.PIPE, timeout=20,
                                env=environment(), restore_signals=True)
        os.close(writer)
    assert result.returncode == -signal.SIGPIPE, result


def test_closed_standard_streams():
    with Hostmemd() as daemon:
        result = subprocess.run(
            ["sh", "-c", '"$@" <&- >&-', "sh", program("hostmemctl"), "-c",
             address_of(daemon), "status"],
            stderr=subprocess.PIPE, text=True, timeout=20, env=environment())
        assert result.returncode == 0, result
        assert daemon.qmp.execute("query-status")["running"]


if __name__ == "__main__":
    harness.main()
