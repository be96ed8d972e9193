# SPDX-License-Identifier: LGPL-2.1-or-later
"""The greeting, and what may be said before and after negotiation."""

import socket

import harness
from harness import Hostmemd, QmpError, raises


def test_greeting_has_version_and_oob():
    with Hostmemd() as daemon:
        greeting = daemon.connect(negotiate=False).recv()
    version = greeting["QMP"]["version"]
    assert set(version["qemu"]) == {"major", "minor", "micro"}, version
    assert version["package"].startswith("hostmem "), version
    assert greeting["QMP"]["capabilities"] == ["oob"], greeting


def test_messages_end_in_cr_lf():
    with Hostmemd() as daemon, socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(daemon.socket))
        lines = peer.makefile("rb")
        lines.readline()
        peer.sendall(b'{"execute": "qmp_capabilities"}')
        assert lines.readline() == b'{"return": {}}\r\n'


def test_commands_wait_for_negotiation():
    with Hostmemd() as daemon:
        client = daemon.connect(negotiate=False)
        client.recv()
        for command in "query-version", "nosuch":
            with raises(QmpError, "CommandNotFound: Expecting capabilities "
                        "negotiation with 'qmp_capabilities'"):
                client.execute(command)


def test_malformed_before_negotiation_is_called_malformed():
    with Hostmemd() as daemon:
        client = daemon.connect(negotiate=False)
        client.recv()
        client.send({"execute": 1})
        assert client.recv()["error"]["desc"] == (
            "QMP input member 'execute' must be a string")


def test_negotiation_is_done_once():
    with Hostmemd() as daemon:
        with raises(QmpError, "CommandNotFound: Capabilities negotiation is "
                    "already complete, command ignored"):
            daemon.qmp.execute("qmp_capabilities")
        daemon.qmp.execute("query-version")


def test_unknown_capability_leaves_negotiation_open():
    with Hostmemd() as daemon:
        client = daemon.connect(negotiate=False)
        client.recv()
        with raises(QmpError, "GenericError: ",
                    "does not accept value 'foo'"):
            client.execute("qmp_capabilities", enable=["foo"])
        client.execute("qmp_capabilities", enable=["oob"])


def test_capabilities_are_a_list_of_strings():
    with Hostmemd() as daemon:
        client = daemon.connect(negotiate=False)
        client.recv()
        with raises(QmpError, "Invalid parameter type for 'enable', "
                    "expected: array"):
            client.execute("qmp_capabilities", enable="oob")
        with raises(QmpError, "Invalid parameter type for 'enable', "
                    "expected: string"):
            client.execute("qmp_capabilities", enable=[1])


def test_negotiation_starts_anew_in_each_session():
    with Hostmemd() as daemon:
        with daemon.connect() as first:
            first.execute("query-version")
        second = daemon.connect(negotiate=False)
        second.recv()
        with raises(QmpError, "Expecting capabilities negotiation"):
            second.execute("query-version")


def test_no_events_before_negotiation():
    with Hostmemd() as daemon:
        silent = daemon.connect(negotiate=False)
        silent.recv()
        daemon.qmp.execute("quit")
        assert silent.recv_closed() == []


def test_oob_must_be_enabled():
    with Hostmemd() as daemon:
        with raises(QmpError,
                    "GenericError: QMP input member 'exec-oob' is unexpected"):
            daemon.qmp.execute("query-version", oob=True)


def test_oob_command_is_answered():
    with Hostmemd() as daemon:
        client = daemon.connect(negotiate=False).negotiate("oob")
        assert "qemu" in client.execute("query-version", oob=True)


def test_oob_right_behind_negotiation():
    with Hostmemd() as daemon:
        client = daemon.connect(negotiate=False)
        client.recv()
        client.send_raw(b'{"execute":"qmp_capabilities","arguments":'
                        b'{"enable":["oob"]},"id":1}'
                        b'{"exec-oob":"query-version","id":2}'
                        b'{"execute":"query-version","id":3}')
        assert [client.recv()["id"] for _ in range(3)] == [1, 2, 3]


def test_oob_is_refused_for_other_commands():
    with Hostmemd() as daemon:
        client = daemon.connect(negotiate=False).negotiate("oob")
        with raises(QmpError, "GenericError: The command object-add does not "
                    "support OOB"):
            client.execute("object-add", {"qom-type": "memory-backend-ram",
                                          "id": "m0", "size": 4096}, oob=True)


def test_execute_and_exec_oob_clash():
    with Hostmemd() as daemon:
        client = daemon.connect(negotiate=False).negotiate("oob")
        client.send({"execute": "query-version", "exec-oob": "query-version"})
        assert client.recv()["error"]["desc"] == (
            "QMP input member 'exec-oob' clashes with 'execute'")


if __name__ == "__main__":
    harness.main()
