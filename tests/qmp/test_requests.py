# SPDX-License-Identifier: LGPL-2.1-or-later
"""The envelope of a request: members, ids, arguments, framing."""

import json

import harness
from harness import Hostmemd, QmpError, raises


def answer(client, message):
    client.send(message)
    return client.recv()


def error_of(client, message):
    reply = answer(client, message)
    return f"{reply['error']['class']}: {reply['error']['desc']}"


def test_id_of_any_kind_is_echoed():
    ids = [1, -1, 2**53, 1.5, "x", "\u00e9\U0001f600", "", True, False, None,
           [], {}, {"a": [1, None, True, {"b": "c"}]}]
    with Hostmemd() as daemon:
        for value in ids:
            reply = answer(daemon.qmp,
                           {"execute": "query-version", "id": value})
            assert "return" in reply and "id" in reply, reply
            assert reply["id"] == value, reply
            assert type(reply["id"]) is type(value), reply


def test_id_is_echoed_in_errors():
    with Hostmemd() as daemon:
        for message in ({"execute": "nosuch"}, {"execute": 1}, {},
                        {"execute": "object-del"}):
            reply = answer(daemon.qmp, {**message, "id": [1]})
            assert "error" in reply and reply["id"] == [1], reply


def test_no_id_none_echoed():
    with Hostmemd() as daemon:
        assert set(answer(daemon.qmp, {"execute": "query-version"})) == {
            "return"}


def test_unknown_command():
    with Hostmemd() as daemon:
        with raises(QmpError, "CommandNotFound: The command nosuch has not "
                    "been found"):
            daemon.qmp.execute("nosuch")


def test_unknown_member():
    with Hostmemd() as daemon:
        assert error_of(daemon.qmp, {"execute": "query-version", "bogus": 1}
                        ) == ("GenericError: QMP input member 'bogus' is "
                              "unexpected")


def test_execute_is_missing():
    with Hostmemd() as daemon:
        assert error_of(daemon.qmp, {"arguments": {}}) == (
            "GenericError: QMP input lacks member 'execute'")


def test_execute_is_a_string():
    with Hostmemd() as daemon:
        assert error_of(daemon.qmp, {"execute": None}) == (
            "GenericError: QMP input member 'execute' must be a string")


def test_arguments_are_an_object():
    with Hostmemd() as daemon:
        assert error_of(daemon.qmp, {"execute": "query-version",
                                     "arguments": []}) == (
            "GenericError: QMP input member 'arguments' must be an object")


def test_request_is_an_object():
    with Hostmemd() as daemon:
        for message in [1, 2], "x", 1, True, None:
            assert error_of(daemon.qmp, message) == (
                "GenericError: QMP input must be a JSON object")


def test_unexpected_argument():
    with Hostmemd() as daemon:
        with raises(QmpError, "GenericError: Parameter 'x' is unexpected"):
            daemon.qmp.execute("query-version", x=1)


def test_missing_argument():
    with Hostmemd() as daemon:
        with raises(QmpError, "GenericError: Parameter 'id' is missing"):
            daemon.qmp.execute("object-del")


def test_argument_of_another_type():
    with Hostmemd() as daemon:
        with raises(QmpError, "GenericError: Invalid parameter type for 'id', "
                    "expected: string"):
            daemon.qmp.execute("object-del", id=1)


def test_syntax_error_is_answered_and_survived():
    with Hostmemd() as daemon:
        daemon.qmp.send_raw(b'{"execute": }\n')
        error = daemon.qmp.recv()["error"]
        assert error["class"] == "GenericError", error
        assert error["desc"].startswith("JSON parse error"), error
        daemon.qmp.execute("query-version")


def test_requests_need_no_newline_between():
    with Hostmemd() as daemon:
        daemon.qmp.send_raw(b'{"execute":"query-status","id":1}'
                            b'{"execute":"query-status","id":2}')
        assert [daemon.qmp.recv()["id"], daemon.qmp.recv()["id"]] == [1, 2]


def test_request_may_come_byte_by_byte():
    request = json.dumps({"execute": "query-version", "id": "\u20ac"},
                         ensure_ascii=False).encode()
    with Hostmemd() as daemon:
        for byte in request:
            daemon.qmp.send_raw(bytes([byte]))
        assert daemon.qmp.recv()["id"] == "\u20ac"


def test_many_requests_are_answered_in_order():
    count = 1000
    with Hostmemd() as daemon:
        daemon.qmp.send_raw(b"".join(
            b'{"execute":"query-version","id":%d}' % i for i in range(count)))
        assert [daemon.qmp.recv()["id"] for _ in range(count)] == list(
            range(count))


def test_answers_still_come_after_the_client_closed_its_side():
    with Hostmemd() as daemon:
        daemon.qmp.send({"execute": "query-version", "id": 1})
        daemon.qmp.close_write()
        assert [m["id"] for m in daemon.qmp.recv_closed()] == [1]


def test_half_a_message_is_an_error_at_the_end():
    with Hostmemd() as daemon:
        daemon.qmp.send_raw(b'{"execute": "query-ver')
        daemon.qmp.close_write()
        messages = daemon.qmp.recv_closed()
        assert len(messages) == 1, messages
        assert "premature EOI" in messages[0]["error"]["desc"], messages


def test_commands_that_query_commands_names_exist():
    with Hostmemd() as daemon:
        names = {c["name"] for c in daemon.qmp.execute("query-commands")}
        assert {"qmp_capabilities", "query-version", "query-commands",
                "query-status", "quit", "object-add", "object-del", "qom-list",
                "qom-get", "qom-set", "qom-list-types",
                "qom-list-properties", "query-memdev",
                "query-qmp-schema"} <= names, names
        for name in names - {"quit"}:
            reply = answer(daemon.qmp, {"execute": name, "arguments": {
                "no-such-argument": 1}})
            assert reply["error"]["class"] == "GenericError", (name, reply)


def test_status_is_running():
    with Hostmemd() as daemon:
        status = daemon.qmp.execute("query-status")
    assert status["status"] == "running" and status["running"] is True, status


if __name__ == "__main__":
    harness.main()
