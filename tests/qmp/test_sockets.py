# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where QMP is served: Unix sockets, TCP, standard input and output."""

import os
import signal
import socket
import stat
import subprocess

import harness
from harness import (Hostmemd, QmpClient, program, run_hostmemd, scratch,
                     wait_until)


def fails(*args, phrases):
    result = run_hostmemd(args)
    assert result.returncode == 1, result
    assert result.stdout == "", result
    for phrase in phrases:
        assert phrase in result.stderr, result


def free_port(family, host):
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def test_socket_file_is_for_its_owner():
    with Hostmemd() as daemon:
        mode = os.stat(daemon.socket).st_mode
        assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600, oct(mode)


def test_socket_file_goes_with_the_daemon():
    with Hostmemd() as daemon:
        os.kill(daemon.pid, signal.SIGTERM)
        assert daemon.wait() == 0
        assert not daemon.socket.exists()


def test_file_of_another_is_left_alone():
    with Hostmemd() as daemon:
        daemon.socket.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(daemon.socket))
            os.kill(daemon.pid, signal.SIGTERM)
            assert daemon.wait() == 0
            assert daemon.socket.exists()


def test_stale_socket_is_replaced():
    with scratch() as folder:
        path = folder / "s"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        with Hostmemd("-qmp", f"unix:{path},server=on,wait=off"):
            with QmpClient.unix(path) as client:
                client.negotiate()
        assert not path.exists()


def test_live_socket_is_not_taken():
    with Hostmemd() as daemon:
        fails("-qmp", f"unix:{daemon.socket},server=on,wait=off",
              phrases=["another process listens there"])
        daemon.connect().execute("query-version")


def test_other_file_is_not_taken():
    with scratch() as folder:
        path = folder / "file"
        path.write_text("precious")
        fails("-qmp", f"unix:{path},server=on,wait=off",
              phrases=["a file that is no socket is there"])
        assert path.read_text() == "precious"


def test_path_that_is_too_long():
    with scratch() as folder:
        path = folder / ("x" * 120)
        fails("-qmp", f"unix:{path},server=on,wait=off",
              phrases=["UNIX socket path", "is too long"])


def test_path_in_no_folder():
    with scratch() as folder:
        fails("-qmp", f"unix:{folder}/nodir/s,server=on,wait=off",
              phrases=["cannot listen on", "No such file or directory"])


def test_path_with_a_comma():
    with scratch() as folder:
        path = folder / "a,b"
        with Hostmemd("-qmp", f"unix:{folder}/a,,b,server=on,wait=off"):
            QmpClient.unix(path).negotiate().close()


def test_bad_addresses():
    for text in ("", "unix:", "foo:bar", "tcp:", "tcp:1", "tcp::x",
                 "tcp:localhost:65536", "tcp:localhost:-1", "tcp:::1:4444",
                 "unix:/tmp/x,server=off", "unix:/tmp/x,foo=on"):
        fails("-qmp", text, phrases=["-qmp"])


def test_tcp():
    port = free_port(socket.AF_INET, "127.0.0.1")
    with Hostmemd("-qmp", f"tcp:127.0.0.1:{port},server=on,wait=off"):
        QmpClient.tcp("127.0.0.1", port).negotiate().close()


def test_tcp_without_a_host_is_local():
    port = free_port(socket.AF_INET, "127.0.0.1")
    with Hostmemd("-qmp", f"tcp::{port},server=on,wait=off") as daemon:
        QmpClient.tcp("127.0.0.1", port).negotiate().close()
        with open(f"/proc/{daemon.pid}/net/tcp") as table:
            addresses = [line.split()[1] for line in table]
        assert f"0100007F:{port:04X}" in addresses, addresses
        assert f"00000000:{port:04X}" not in addresses, addresses


def test_tcp_on_ipv6():
    try:
        port = free_port(socket.AF_INET6, "::1")
    except OSError as error:
        harness.skip(f"no IPv6: {error}")
    with Hostmemd("-qmp", f"tcp:[::1]:{port},server=on,wait=off"):
        with socket.create_connection(("::1", port), 10) as peer:
            assert b'"QMP"' in peer.recv(1000)


def test_tcp_port_in_use():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        fails("-qmp", f"tcp:127.0.0.1:{port},server=on,wait=off",
              phrases=["cannot listen on", "in use"])


def test_two_sockets():
    with scratch() as folder, Hostmemd(
            "-qmp", f"unix:{folder}/a,server=on,wait=off") as daemon:
        with QmpClient.unix(folder / "a") as client:
            client.negotiate().execute("query-version")
        daemon.qmp.execute("query-version")


def test_standard_input_and_output():
    with subprocess.Popen([program("hostmemd"), "-qmp", "stdio"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          bufsize=0) as process:
        client = QmpClient(os.dup(process.stdout.fileno()),
                           os.dup(process.stdin.fileno()))
        with client:
            client.negotiate().execute("query-version")
            client.execute("quit")
        assert process.wait(10) == 0


def test_short_forms_of_options():
    with scratch() as folder:
        for options in "server,nowait", "server=on", "":
            path = folder / "s"
            with Hostmemd("-qmp", f"unix:{path},{options}".rstrip(",")):
                wait_until(path.exists)
                QmpClient.unix(path).negotiate().close()


if __name__ == "__main__":
    harness.main()
