# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmemctl shell: a batch of lines, and somebody at a terminal."""

import contextlib
import json
import os
import select
import signal
import stat
import subprocess
import time

import harness
from ctl import address_of, command_of, environment, error, fake
from harness import (MIB, PATIENCE, Hostmemd, need_program, program, scratch,
                     skip, wait_until)
from qtest import Qemu
from screen import Screen
from terminal import END, INTERRUPT, STOP, Terminal

MEMFD = "memory-backend-memfd,id=m0,size=4M"
TAB, UP, BACK = "\t", "\x1b[A", "\x12"


# a batch

def batch(server, *lines, args=(), text=None, **options):
    """Its CompletedProcess."""
    text = "".join(f"{line}\n" for line in lines) if text is None else text
    kind = {} if isinstance(text, bytes) else {"text": True}
    return subprocess.run(command_of(server, ["shell", *args]), input=text,
                          capture_output=True, timeout=30 * PATIENCE,
                          env=environment(), **kind, **options)


def answers(server, *lines, **options):
    """What the server returned, line by line."""
    result = batch(server, *lines, **options)
    assert result.returncode == 0 and result.stderr == "", result
    return [json.loads(line) for line in result.stdout.splitlines()]


def stops(server, *lines, phrases=(), printed=0, **options):
    """It ends with an error, after so many lines of output."""
    result = batch(server, *lines, **options)
    assert result.returncode == 1, result
    assert result.stdout.count("\n") == printed, result
    assert result.stderr.count("\n") == 1, result
    assert result.stderr.startswith("hostmemctl: "), result
    for phrase in phrases:
        assert phrase in result.stderr, f"{phrase!r} not in {result.stderr!r}"


def test_commands_in_a_row():
    with Hostmemd() as daemon:
        assert answers(
            daemon,
            "object-add qom-type=memory-backend-memfd id=m0 size=4M "
            "prealloc=on host-nodes=0 policy=bind",
            "qom-get path=/objects/m0 property=size",
            '{"execute": "qom-get", "arguments": '
            '{"path": "/objects/m0", "property": "host-nodes"}}',
            "object-del id=m0") == [{}, 4 * MIB, [0], {}]


def test_blank_lines_and_comments():
    with Hostmemd() as daemon:
        assert answers(daemon, "", "  \t", "# query-status", "query-memdev",
                       "  # more") == [[]]
        assert answers(daemon, text="query-memdev") == [[]]
        assert answers(daemon, text="") == []
        assert answers(daemon, text="query-memdev\r\n") == [[]]


def test_json_over_several_lines():
    with Hostmemd("-object", MEMFD) as daemon:
        assert answers(daemon, '{"execute": "qom-get",', ' "arguments":',
                       '   {"path": "/objects/m0",', '    "property": "size"}}',
                       "query-jobs") == [4 * MIB, []]
        stops(daemon, "query-jobs", '{"execute": "query-jobs",', printed=1,
              phrases=["JSON"])


def test_first_failure_ends_it():
    with Hostmemd("-object", MEMFD) as daemon:
        stops(daemon, "# first", "query-jobs", "object-del id=m1",
              "object-del id=m0", printed=1,
              phrases=["line 3: object-del: ", address_of(daemon),
                       "'m1' not found"])
        assert daemon.qmp.execute("query-memdev"), "it went on"


def test_commands_that_are_none():
    with Hostmemd() as daemon:
        stops(daemon, "nosuch", phrases=["line 1: ", "no command 'nosuch'"])


def test_answers_and_events_as_json():
    with Hostmemd() as daemon:
        result = batch(
            daemon, "object-add qom-type=memory-backend-memfd id=m0 size=4M "
            "prealloc=on prealloc-async=on", "query-status",
            args=["--json"])
        assert result.returncode == 0, result
        messages = [json.loads(line) for line in result.stdout.splitlines()]
        assert {"return": {}} in messages, messages
        kinds = {message.get("event") for message in messages}
        assert "JOB_STATUS_CHANGE" in kinds, messages


def test_events_while_nothing_is_typed():
    with Hostmemd() as daemon, subprocess.Popen(
            command_of(daemon, ["shell"]), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env=environment()) as process:
        process.stdin.write("query-memdev\n")
        process.stdin.flush()
        assert process.stdout.readline() == "[]\n"
        daemon.qmp.execute("object-add", **{
            "qom-type": "memory-backend-memfd", "id": "m0", "size": MIB,
            "prealloc": True, "prealloc-async": True})
        assert 'JOB_STATUS_CHANGE id="m0"' in process.stdout.readline()
        process.communicate(timeout=20)
        assert process.returncode == 0


def test_help():
    with Hostmemd() as daemon:
        text = batch(daemon, "help").stdout
        assert "query-memdev\n" in text and "exit" in text, text
        text = batch(daemon, "help object-add").stdout
        assert "qom-type" in text and "memory-backend-memfd|" in text, text
        assert "prealloc" not in text.split(), text
        text = batch(daemon, "help object-add qom-type=memory-backend-memfd"
                     ).stdout
        rows = [line.split() for line in text.splitlines()]
        assert ["prealloc", "boolean", "yes"] in rows, rows
        assert ["size", "int", "-"] in rows, rows
        assert batch(daemon, "help nosuch").returncode == 0


def test_exit():
    with Hostmemd() as daemon:
        assert answers(daemon, "query-jobs", "exit", "nosuch") == [[]]


def test_server_that_is_told_to_go():
    with Hostmemd() as daemon:
        result = batch(daemon, "query-jobs", "quit")
        assert result.returncode == 0 and result.stderr == "", result
        assert daemon.wait() == 0
    with Hostmemd() as daemon, subprocess.Popen(
            command_of(daemon, ["shell"]), stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=environment()) as process:
        process.stdin.write("quit\n")
        process.stdin.flush()
        assert process.wait(20) == 0, process.stderr.read()
    with Hostmemd() as daemon:
        stops(daemon, "quit", "query-jobs", "query-jobs", printed=2,
              phrases=["line 2: query-jobs: "])


def test_server_that_goes_by_itself():
    with fake(lambda peer: (peer.negotiate(), peer.answer([]))) as address, \
            subprocess.Popen(
                command_of(address, ["shell"]), stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                env=environment()) as process:
        process.stdin.write("query-jobs\n")
        process.stdin.flush()
        assert process.wait(20) == 1
        assert address in process.stderr.read()


def test_full_disk():
    with Hostmemd() as daemon, open("/dev/full", "w") as full:
        result = subprocess.run(
            command_of(daemon, ["shell"]), input="query-jobs\n", text=True,
            stdout=full, stderr=subprocess.PIPE, env=environment())
    assert result.returncode == 1 and "No space left" in result.stderr, result


def test_lines_that_are_no_text():
    with Hostmemd() as daemon:
        result = batch(daemon, text=b"object-del id=\xff\n")
        assert result.returncode == 1 and b"UTF-8" in result.stderr, result
        result = batch(daemon, text=b"query-\0jobs\n")
        assert result.returncode == 1, result


def test_line_that_is_too_long():
    with Hostmemd() as daemon:
        stops(daemon, text="query-jobs\n" + "x" * (65 * MIB), printed=1,
              phrases=["64 MiB"])


# what a line means

SCHEMA = [
    {"name": "cmd", "meta-type": "command", "arg-type": "args",
     "ret-type": "none"},
    {"name": "none", "meta-type": "object", "members": []},
    {"name": "args", "meta-type": "object", "tag": "kind", "members": [
        {"name": "kind", "type": "kinds", "default": None},
        {"name": "text", "type": "str"}, {"name": "number", "type": "int"},
        {"name": "flag", "type": "bool"}, {"name": "list", "type": "[int]"},
        {"name": "inner", "type": "inner"}, {"name": "any", "type": "any"},
        {"name": "alt", "type": "alt"}],
     "variants": [{"case": "one", "type": "one"}]},
    {"name": "one", "meta-type": "object", "members": [
        {"name": "more", "type": "str"}]},
    {"name": "inner", "meta-type": "object", "tag": "mode", "members": [
        {"name": "name", "type": "str"}, {"name": "mode", "type": "kinds"}],
     "variants": [{"case": "two", "type": "two"}]},
    {"name": "two", "meta-type": "object", "members": [
        {"name": "deep", "type": "str"}]},
    {"name": "kinds", "meta-type": "enum",
     "members": [{"name": "one"}, {"name": "two"}], "values": ["one", "two"]},
    {"name": "[int]", "meta-type": "array", "element-type": "int"},
    {"name": "alt", "meta-type": "alternate", "members": [{"type": "str"}]},
    {"name": "str", "meta-type": "builtin", "json-type": "string"},
    {"name": "int", "meta-type": "builtin", "json-type": "int"},
    {"name": "bool", "meta-type": "builtin", "json-type": "boolean"},
    {"name": "any", "meta-type": "builtin", "json-type": "value"},
]

LINES = {
    "cmd": {},
    "cmd text=7": {"text": "7"},
    "cmd text=": {"text": ""},
    "cmd text=a=b": {"text": "a=b"},
    "cmd text=it's": {"text": "it's"},
    "cmd text='two  words'": {"text": "two  words"},
    'cmd text="a\\u0041 \\"b\\""': {"text": 'aA "b"'},
    "cmd text='{\"x\": 1}'": {"text": '{"x": 1}'},
    "cmd text=é": {"text": "é"},
    "cmd number=7 flag=on": {"number": 7, "flag": True},
    "cmd number=4G flag=false": {"number": 4 << 30, "flag": False},
    "cmd number=-1": {"number": -1},
    "cmd list=0-2,8": {"list": [0, 1, 2, 8]},
    "cmd list=[1, 2]": {"list": [1, 2]},
    "cmd inner.name=5 inner.mode=one": {"inner": {"name": "5", "mode": "one"}},
    "cmd inner.mode=two inner.deep=5": {"inner": {"mode": "two", "deep": "5"}},
    'cmd inner={"name": "a b"}': {"inner": {"name": "a b"}},
    "cmd any=5": {"any": 5},
    "cmd any=1.5": {"any": 1.5},
    "cmd any=true": {"any": True},
    "cmd any=null": {"any": None},
    "cmd any=text": {"any": "text"},
    "cmd any=010": {"any": "010"},
    "cmd any='5'": {"any": "5"},
    "cmd alt=5": {"alt": 5},
    "cmd kind=one more=7": {"kind": "one", "more": "7"},
    "cmd more=7 kind=one": {"kind": "one", "more": "7"},
    "cmd more=7": {"more": 7},
    "cmd unknown=7": {"unknown": 7},
    "  cmd\ttext=x  ": {"text": "x"},
    '{"execute": "cmd", "arguments": {"text": 7}, "id": 3}': {"text": 7},
}


def recorder(asked, schema=SCHEMA):
    """A server that answers anything, and keeps what it was asked."""
    def serve(peer):
        peer.negotiate()
        while message := peer.recv():
            is_schema = message["execute"] == "query-qmp-schema"
            value = {"return": schema if is_schema else {}}
            if is_schema and isinstance(schema, dict):
                value = schema
            if not is_schema:
                asked.append(message)
            peer.send({**value, "id": message["id"]})
    return fake(serve)


def test_values():
    asked = []
    with recorder(asked) as address:
        result = batch(address, *LINES)
    assert result.returncode == 0, result
    assert len(asked) == len(LINES)
    for (line, expected), message in zip(LINES.items(), asked):
        assert message["execute"] == "cmd", message
        assert message.get("arguments", {}) == expected, (line, message)


def test_values_without_a_schema():
    asked = []
    with recorder(asked, error("none", "CommandNotFound")) as address:
        assert batch(address, "cmd a=5 b=x c=true").returncode == 0
    assert asked[0]["arguments"] == {"a": 5, "b": "x", "c": True}, asked


def test_schemas_of_any_shape():
    for schema in ([], {}, None, "x", [1], [{}], [{"name": "cmd"}],
                   [{"name": "cmd", "meta-type": "command"}],
                   [{"name": "cmd", "meta-type": "command", "arg-type": 1}],
                   [{"name": "cmd", "meta-type": "command",
                     "arg-type": "cmd"}],
                   [{"name": "cmd", "meta-type": "command", "arg-type": "a"},
                    {"name": "a", "meta-type": "object", "members": [
                        1, {}, {"name": 1}, {"name": "x", "type": "a"}],
                     "tag": "x", "variants": [{"case": "1", "type": "a"}]}]):
        asked = []
        with recorder(asked, {"return": schema}) as address:
            result = batch(address, "cmd x=1 x.y.z=2", "help cmd", "help")
            assert result.returncode in (0, 1), result
        with recorder(asked, {"return": schema}) as address:
            result = batch(address, "cmd x=1", "help cmd x=1", "help")
            assert result.returncode == 0, (schema, result)


def test_lines_that_are_wrong():
    for line, phrases in (
            ("cmd text", ["'text'", "argument=value"]),
            ("cmd =x", ["'=x'"]),
            ("cmd .a=x", ["'.a=x'"]),
            ("cmd a.=x", ["'a.=x'"]),
            ("cmd text=a text=b", ["'text'", "twice"]),
            ("cmd inner.name=a inner=b", ["'inner'"]),
            ("cmd any=5 any.x=5", ["'any.x'", "twice"]),
            ("cmd number=x", ["'number'", "'x'", "number"]),
            ("cmd number=9223372036854775808", ["'number'"]),
            ("cmd flag=maybe", ["'flag'", "'maybe'", "'on' or 'off'"]),
            ("cmd list=a", ["'list'", "0-3,8"]),
            ("cmd inner=x", ["'inner'", "JSON"]),
            ("cmd any={x}", ["'any'", "JSON"]),
            ("cmd text='a", ["not closed"]),
            ('cmd text="a\\', ["not closed"]),
            ("cmd any=[1, 2", ["not closed"]),
            ('{"execute": 1}', ["execute"]),
            ('{"arguments": {}}', ["execute"]),
            ('{"execute": "cmd", "arguments": []}', ["arguments"]),
            ('{"exec-oob": "cmd"}', ["execute"]),
            ('{"execute": "cmd", "more": 1}', ["more"]),
            ('{"execute": "cmd"} x', ["JSON"])):
        asked = []
        with recorder(asked) as address:
            stops(address, line, phrases=["line 1: ", *phrases])
        assert not asked, (line, asked)


def test_no_escape_reaches_the_terminal():
    evil = "m0\x1b[2J\u009b31m\u202e"
    schema = [{"name": evil, "meta-type": "command", "arg-type": "a"},
              {"name": "cmd", "meta-type": "command", "arg-type": "a"},
              {"name": "a", "meta-type": "object",
               "members": [{"name": evil, "type": evil}]},
              {"name": evil, "meta-type": "enum",
               "members": [{"name": evil}]}]

    def serve(peer):
        peer.negotiate()
        while message := peer.recv():
            value = {"return": {evil: evil}}
            if message["execute"] == "query-qmp-schema":
                value = {"return": schema}
            if message["execute"] == "fails":
                value = error(evil)
            peer.send({"event": evil, "data": {evil: evil}})
            peer.send({**value, "id": message["id"]})

    with fake(serve) as address:
        result = batch(address, "help", "help cmd", "cmd", "fails")
    for text in result.stdout, result.stderr:
        assert "m0" in text, result
        for character in "\x1b\u009b\u202e":
            assert character not in text, result


def test_qemu():
    """Values of devices are what the driver says."""
    with scratch() as folder, Qemu(
            "-qmp", f"unix:{folder}/ctl,server=on,wait=off",
            ram_size=64 * MIB, maxmem=1 << 30):
        address = f"unix:{folder}/ctl"
        assert answers(
            address, "object-add qom-type=memory-backend-ram id=m0 size=64M",
            "device_add driver=pc-dimm id=d7 memdev=m0 node=0",
            "qom-get path=/machine/peripheral/d7 property=memdev"
        ) == [{}, {}, "/objects/m0"]


# somebody at a terminal

def need_editor():
    need_program("ldd")
    linked = subprocess.run(["ldd", program("hostmemctl")], text=True,
                            capture_output=True, check=True).stdout
    if "libedit" not in linked:
        skip("hostmemctl is built without libedit")


class Shell(Terminal):
    """hostmemctl's shell, and what is on its screen."""

    def __init__(self, server, folder, *, columns=80, prompt="hostmem>",
                 **env):
        need_editor()
        self.screen = Screen(columns)
        self._prompt = prompt
        super().__init__(command_of(server, ["shell"]), columns=columns, env={
            **environment(), "XDG_STATE_HOME": str(folder), **env})

    def __enter__(self):
        self.shows("")
        return self

    def look(self):
        """Take in what there is."""
        while select.select([self._master], [], [], 0.02)[0]:
            try:
                self._read(0)
            except AssertionError:
                break
        self.screen.feed(self._text)
        self._text = ""

    def until(self, condition):
        deadline = time.monotonic() + 20 * PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.screen.rows()
            self.look()

    def shows(self, line):
        """Wait until that is the line at hand."""
        row = f"{self._prompt} {line}".rstrip()
        self.until(lambda: self.screen.row()[1] == row)

    def printed(self, text):
        """Wait until a row is that, or begins with it."""
        self.until(lambda: [row for row in self.screen.rows()
                            if row.startswith(text)])

    def press(self, keys, line):
        self.type(keys)
        self.shows(line)

    def leave(self):
        self.type(END)
        assert self.wait() == 0


@contextlib.contextmanager
def shell(*objects, **options):
    with scratch() as folder, \
            Hostmemd(*(w for o in objects for w in ("-object", o))) as daemon, \
            Shell(daemon, folder, **options) as terminal:
        yield daemon, terminal


def test_completion_of_commands():
    with shell() as (_, at):
        at.press("query-memd" + TAB, "query-memdev")
        at.press("\n", "")
        at.printed("[]")
        at.press("query-mem" + TAB, "query-mem")
        at.printed("query-memdev")
        at.shows("query-mem")
        at.press("o" + TAB, "query-memory-")
        at.press(INTERRUPT, "")
        at.press("nosuch" + TAB, "nosuch")
        at.press(INTERRUPT, "")
        at.press("exi" + TAB, "exit")
        at.type("\n")
        assert at.wait() == 0


def test_completion_of_arguments():
    with shell(columns=120) as (_, at):
        at.press("object-add qo" + TAB, "object-add qom-type=")
        at.press("memory-backend-me" + TAB,
                 "object-add qom-type=memory-backend-memfd")
        at.press("id=m0 si" + TAB,
                 "object-add qom-type=memory-backend-memfd id=m0 size=")
        line = "object-add qom-type=memory-backend-memfd id=m0 size=1M "
        at.press("1M preallo" + TAB, line + "prealloc")
        at.press(TAB, line + "prealloc")
        at.printed("prealloc=")
        at.press("=t" + TAB, line + "prealloc=true")
        # Each may be given once.
        at.press("prealloc=" + TAB, line + "prealloc=true prealloc=")
        at.press(INTERRUPT, "")
        at.press("object-add qom-type=memory-backend-memfd policy=b" + TAB,
                 "object-add qom-type=memory-backend-memfd policy=bind")


def test_completion_of_names():
    with shell(MEMFD, MEMFD.replace("m0", "other")) as (_, at):
        at.press("object-del id=o" + TAB, "object-del id=other")
        at.press(INTERRUPT, "")
        line = "qom-get path=/objects/m0"
        at.press("qom-get pa" + TAB + "/objects/m" + TAB, line)
        at.press("prop" + TAB, line + " property=")
        at.press("prealloc-th" + TAB, line + " property=prealloc-threads")
        at.press("\n", "")
        at.press("qom-list-properties type" + TAB + "memory-poo" + TAB,
                 "qom-list-properties typename=memory-pool")
        at.press(INTERRUPT, "")
        at.press("device_add dr" + TAB + "virtio-m" + TAB,
                 "device_add driver=virtio-mem")
        at.press(" memdev=ot" + TAB, "device_add driver=virtio-mem memdev=other")


def test_completion_of_a_qemu():
    with scratch() as folder, Qemu(
            "-qmp", f"unix:{folder}/ctl,server=on,wait=off",
            ram_size=64 * MIB, maxmem=1 << 30), \
            Shell(f"unix:{folder}/ctl", folder, prompt="qemu>") as at:
        at.press("device_add driver=pc-di" + TAB, "device_add driver=pc-dimm")
        at.press("memd" + TAB, "device_add driver=pc-dimm memdev=")
        at.press("r" + TAB, "device_add driver=pc-dimm memdev=ram")
        at.press(INTERRUPT, "")
        at.press("blockdev-add driver=qcow2 file.dr" + TAB,
                 "blockdev-add driver=qcow2 file.driver=")
        at.press("null-c" + TAB,
                 "blockdev-add driver=qcow2 file.driver=null-co")
        at.press("file.si" + TAB,
                 "blockdev-add driver=qcow2 file.driver=null-co file.size=")


def test_names_that_are_not_plain_are_not_offered():
    def serve(peer):
        peer.negotiate()
        while message := peer.recv():
            value = [{"name": "query-x\x1b[2J", "meta-type": "command"},
                     {"name": "query-ok", "meta-type": "command"}]
            peer.send({"return": value, "id": message["id"]})

    with scratch() as folder, fake(serve) as address, \
            Shell(address, folder) as at:
        at.press("query-" + TAB, "query-ok")


def test_history():
    with scratch() as folder, Hostmemd() as daemon:
        with Shell(daemon, folder) as at:
            at.press("query-jobs\n", "")
            at.press("query-memdev\n", "")
            at.press(" query-status\n", "")
            at.press(UP, "query-memdev")
            at.press(UP, "query-jobs")
            at.press(INTERRUPT, "")
            at.leave()
        path = folder / "hostmem" / "history"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        with Shell(daemon, folder) as at:
            at.press(UP, "query-memdev")
            at.press(INTERRUPT, "")
            at.type(BACK + "jobs")
            at.until(lambda: "query-jobs" in at.screen.rows()[-2]
                     or "query-jobs" in at.screen.rows()[-1])
            at.type("\n")
            at.printed("[]")


def test_history_that_cannot_be_kept():
    with Hostmemd() as daemon, Shell(daemon, "/dev/null/no") as at:
        at.press("query-jobs\n", "")
        at.press(UP, "query-jobs")
        at.press(INTERRUPT, "")
        at.leave()


def test_lines_that_come_at_once():
    with shell(MEMFD) as (_, at):
        at.type("qom-get path=/objects/m0 property=size\n"
                "qom-get path=/objects/m0 property=prealloc\n"
                "qom-get path=/objects/m0 property=policy\n")
        for answer in "4194304", "false", '"default"':
            at.printed(answer)
        at.shows("")
        at.leave()


def test_error_is_told_and_life_goes_on():
    with shell(MEMFD) as (daemon, at):
        at.press("object-del id=m7\n", "")
        at.printed("hostmemctl: object-del: ")
        at.press("object-del id=m0\n", "")
        at.printed("{}")
        assert daemon.qmp.execute("query-memdev") == []
        at.leave()


def test_json_over_several_lines_at_a_terminal():
    with shell() as (_, at):
        at.type('{"execute":\n')
        at.until(lambda: at.screen.row()[1] == "...")
        at.press('"query-memdev"}\n', "")
        at.printed("[]")
        at.type('{"execute":\n')
        at.until(lambda: at.screen.row()[1] == "...")
        at.press(INTERRUPT, "")
        at.leave()


def test_event_comes_above_the_line():
    for columns in 80, 24:
        with shell(columns=columns) as (daemon, at):
            at.press("object", "object")
            daemon.qmp.execute("object-add", **{
                "qom-type": "memory-backend-memfd", "id": "m0", "size": MIB,
                "prealloc": True, "prealloc-async": True})
            at.until(lambda: "concluded" in "".join(at.screen.rows()))
            at.shows("object")
            rows = at.screen.rows()
            assert rows[-1] == "hostmem> object", rows
            assert sum("> object" in row for row in rows) == 1, rows
            at.press("-del id=m0\n", "")
            at.printed("{}")


def test_event_above_a_line_of_two_rows():
    with shell(columns=40) as (daemon, at):
        word = "x" * 50
        at.type(word)
        at.until(lambda: "".join(at.screen.rows()).endswith(word))
        daemon.qmp.execute("object-add", **{
            "qom-type": "memory-backend-memfd", "id": "m0", "size": MIB,
            "prealloc": True, "prealloc-async": True})
        at.until(lambda: "concluded" in "".join(at.screen.rows())
                 and "".join(at.screen.rows()).endswith(word))
        assert "".join(at.screen.rows()).count("xx>") == 0
        assert "".join(at.screen.rows()).count(word) == 1, at.screen.rows()


def test_interrupt_ends_waiting_for_an_answer():
    """The server goes on; so does the session."""
    def serve(peer):
        peer.negotiate()
        first = peer.recv()
        second = peer.recv()
        peer.send({"return": "late", "id": first["id"]})
        peer.send({"return": "second", "id": second["id"]})
        peer.wait_closed()

    with scratch() as folder, fake(serve) as address, \
            Shell(address, folder) as at:
        at.type("first\n")
        at.until(lambda: at.screen.row()[1] == "")
        at.press(INTERRUPT, "")
        at.press("second\n", "")
        at.printed('"second"')
        assert "late" not in "".join(at.screen.rows())
        at.leave()


def test_interrupt_ends_waiting_for_completion():
    def serve(peer):
        peer.negotiate()
        peer.recv()
        command = peer.recv()
        peer.send({"return": "there", "id": command["id"]})
        peer.wait_closed()

    with scratch() as folder, fake(serve) as address, \
            Shell(address, folder) as at:
        at.type("comm" + TAB)
        at.until(at.sends_signals)
        at.press(INTERRUPT, "")
        at.press("command\n", "")
        at.printed('"there"')
        at.leave()


def test_stop_and_go_on():
    with scratch() as folder, Hostmemd() as daemon, \
            Terminal(["sh", "-i"], env={
                **environment(), "PS1": "shell> ", "ENV": "", "TERM": "dumb",
                "HOSTMEM_QMP": address_of(daemon),
                "XDG_STATE_HOME": str(folder)}) as at:
        need_editor()
        at.expect("shell> ")
        at.type(f"{program('hostmemctl')} shell\n")
        at.expect("hostmem> ")
        at.type(STOP)
        at.expect("shell> ")
        assert at.echoes(), "the terminal is not as it was"
        at.type("fg\n")
        at.expect("hostmem> ")
        at.type("query-memdev\n")
        at.expect("[]")
        at.expect("hostmem> ")
        at.type(END)
        at.expect("shell> ")
        at.type("echo status=$?\n")
        at.expect("status=0")


def test_terminal_is_restored():
    for signum in signal.SIGTERM, signal.SIGHUP:
        with scratch() as folder, Hostmemd() as daemon, \
                Shell(daemon, folder) as at:
            at.press("query", "query")
            assert not at.echoes() and not at.sends_signals()
            at.process.send_signal(signum)
            assert at.wait() == -signum
            assert at.echoes()


def test_server_that_goes_meanwhile():
    with shell() as (daemon, at):
        at.press("query", "query")
        daemon.process.kill()
        assert at.wait() == 1
    with shell() as (daemon, at):
        at.type("quit\n")
        assert at.wait() == 0


def test_lines_read_plainly():
    """As without libedit: who types is no batch."""
    with Hostmemd() as daemon, Terminal(
            ["sh", "-c", '"$@" | cat; echo end', "sh",
             *command_of(daemon, ["shell"])], env=environment()) as at:
        at.expect("hostmem> ")
        at.type("nosuch\n")
        at.expect("no command 'nosuch'")
        at.type("query-memdev\n")
        at.expect("[]")
        at.type(END)
        at.expect("end")


def test_terminal_that_can_do_nothing():
    with shell(TERM="dumb") as (_, at):
        at.type("query-memd" + TAB + "\n")
        at.printed("[]")
        at.leave()


if __name__ == "__main__":
    harness.main()
