#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmemctl domain, on the libvirt that everybody has: test:///default."""

import json
import os
import signal
import socket
import subprocess

import harness
from ctl import command_of, ctl, ctl_fails, run_ctl, started
from expect import as_nobody
from harness import PATIENCE, scratch, wait_until

URI = "test:///default"
GIB = 1 << 30


def need_libvirt():
    result = run_ctl(URI, "domain", "list")
    if "built without libvirt" in result.stderr \
            or "cannot be loaded" in result.stderr:
        harness.skip(result.stderr.strip())


def domain(*args, uri=URI, **options):
    need_libvirt()
    return ctl(uri, "domain", *args, **options)


def domain_fails(*args, uri=URI, **options):
    need_libvirt()
    return ctl_fails(uri, "domain", *args, **options)


def test_list():
    lines = domain("list").splitlines()
    assert lines[0].split() == ["domain", "id", "memory", "current", "max",
                                "devices", "requested", "plugged"], lines
    assert lines[1].split() == ["test", "1", "8", "GiB", "2", "GiB", "-", "0",
                                "-", "-"], lines
    assert len(lines) == 2, lines


def test_list_json():
    found = json.loads(domain("list", "--json"))
    entry, = found.pop("domains")
    assert found == {"uri": URI}, found
    assert entry.pop("uuid")
    assert entry == {"name": "test", "id": 1, "memory": 8 * GIB,
                     "current": 2 * GIB, "devices": []}, entry


def test_uri_from_the_environment():
    need_libvirt()
    env = {"LIBVIRT_DEFAULT_URI": URI, "HOSTMEM_QMP": "unix:/nowhere"}
    found = json.loads(ctl(None, "domain", "list", "--json", env=env))
    assert found["uri"] == URI, found


def test_uri_may_stand_anywhere():
    need_libvirt()
    for words in (["-c", URI, "domain", "list"], ["domain", "-c", URI, "list"],
                  ["domain", "list", "--connect=" + URI]):
        assert "test" in ctl(None, *words), words


def test_status_by_name_and_uuid():
    entry, = json.loads(domain("status", "test", "--json"))["domains"]
    again, = json.loads(domain("status", entry["uuid"], "--json"))["domains"]
    assert entry == again and entry["name"] == "test", (entry, again)


def test_driver_without_a_monitor_has_no_backends():
    status = json.loads(domain("status", "--json"))
    assert status["domains"][0]["memdev"] is None, status
    assert status["errors"] == {}, status
    assert "backend" not in domain("status")


def test_read_only_asks_no_monitor():
    status = json.loads(domain("status", "--json", "--read-only"))
    assert "memdev" not in status["domains"][0], status


def test_unknown_domain():
    for words in (["status", "nope"], ["watch", "nope"], ["plug", "nope", "1G"],
                  ["status", "6695eb01-f6a4-8304-79aa-000000000000"]):
        domain_fails(*words, phrases=[URI, f"'{words[1]}'", "not found"])


def test_domain_without_a_device():
    domain_fails("plug", "test", "1G", phrases=["'test'", "no virtio-mem"])
    domain_fails("plug", "test", "x0", "1G", "--wait",
                 phrases=["'test'", "'x0'"])


def test_size_that_is_none():
    domain_fails("plug", "test", "1X", phrases=["domain plug: ", "1X"])
    domain_fails("plug", "test", "1G", "--timeout", "x", phrases=["'x'"])
    domain_fails("watch", "--interval", "0", phrases=["--interval"])


def test_uri_that_is_none():
    for uri in "::", "nothing at all", "qemu":
        domain_fails("list", uri=uri, phrases=[uri, "cannot connect"])


def test_driver_that_is_none():
    domain_fails("list", uri="furlong:///", phrases=["furlong:///"])


def test_nobody_is_there():
    uri = "qemu+unix:///system?socket=/nonexistent/socket"
    for words in (["list"], ["status"], ["watch"], ["plug", "a", "1G"]):
        domain_fails(*words, uri=uri, phrases=[uri, "/nonexistent/socket"])


def test_driver_in_the_process_does_not_log():
    need_libvirt()
    uri = "qemu:///embed?root=/proc/nowhere"
    # Who is not root makes nothing elsewhere for it.
    before = as_nobody() if os.geteuid() == 0 else []
    result = subprocess.run(
        [*before, *command_of(uri, ["domain", "list"])], capture_output=True,
        text=True, timeout=60 * PATIENCE, stdin=subprocess.DEVNULL)
    assert result.returncode == 1, result
    message, = result.stderr.splitlines()
    assert uri in message and "cannot connect" in message, result


def test_somebody_else_is_there():
    """A socket behind which nobody speaks libvirt."""
    need_libvirt()
    with scratch() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen()
        uri = f"qemu+unix:///system?socket={folder}/socket"
        with started(uri, "domain", "list") as process:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            assert process.wait(30) == 1
            assert uri in process.stderr.read()


def test_watch_until_ctrl_c():
    need_libvirt()
    for signum in signal.SIGINT, signal.SIGTERM:
        with started(URI, "domain", "watch", "--interval", "0.1") as process:
            blocks = [process.stdout.readline() for _ in range(9)]
            process.send_signal(signum)
            assert process.wait(20) == 0, process.stderr.read()
        assert URI in blocks[0] and "test" in "".join(blocks), blocks


def test_watch_json_is_a_line_each():
    need_libvirt()
    with started(URI, "domain", "watch", "test", "--json", "--interval",
                 "0.1") as process:
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
    for line in lines:
        assert line["uri"] == URI and line["events"] == [], line
        assert line["domains"][0]["name"] == "test", line


def test_watch_whose_reader_goes():
    need_libvirt()
    with started(URI, "domain", "watch", "--interval", "0.1") as process:
        process.stdout.readline()
        process.stdout.close()
        process.stdout = None
        wait_until(lambda: process.poll() is not None, 20, "its end")
        assert process.returncode == -signal.SIGPIPE, process.returncode


def test_family_without_a_command():
    ctl_fails(None, "domain", phrases=["domain:", "hostmemctl domain --help"])
    ctl_fails(None, "domain", "x", phrases=["domain x: no such command"])
    ctl_fails(None, "list", phrases=["list: no such command"])


def test_help_of_the_family():
    text = ctl(None, "domain", "--help")
    assert text == ctl(None, "help", "domain")
    for name in "list", "status", "plug DOMAIN [ALIAS] SIZE", "watch":
        assert f"  domain {name}" in text, text


def test_help_of_a_command():
    text = ctl(None, "domain", "plug", "--help")
    assert text.startswith("Usage: hostmemctl [--connect URI] domain plug "
                           "[OPTION]... DOMAIN [ALIAS] SIZE\n"), text
    assert text.count("--connect") == 2, text
    assert "ADDRESS" not in text, text


def complete(*words):
    return ctl(None, "complete", "--", *words).split()


def test_completion_of_domains():
    need_libvirt()
    assert complete("domain", "-c", URI, "status", "") == ["test"]
    assert complete("domain", "plug", f"--connect={URI}", "te") == ["test"]
    assert complete("domain", "list", "-c", URI, "") == []
    assert "qemu:///system" in complete("domain", "list", "-c", "")


def test_completion_asks_nobody_far_away():
    """ssh, or whatever takes its place, may ask for a password."""
    need_libvirt()
    with scratch() as folder:
        ssh = folder / "ssh"
        ssh.write_text(f"#!/bin/sh\ntouch {folder}/called\n")
        ssh.chmod(0o755)
        uri = f"qemu+ssh://nowhere.invalid/system?command={ssh}"
        assert complete("domain", "-c", uri, "status", "") == []
        assert not (folder / "called").exists()
        # It is what would be called.
        domain_fails("list", uri=uri, phrases=["nowhere.invalid"])
        assert (folder / "called").exists()


def test_plug_takes_two_words_or_three():
    ctl_fails(None, "domain", "plug", "vm7", phrases=["SIZE is missing"])
    ctl_fails(None, "domain", "plug", "a", "b", "1G", "c",
              phrases=["unexpected argument 'c'"])


if __name__ == "__main__":
    harness.main()
