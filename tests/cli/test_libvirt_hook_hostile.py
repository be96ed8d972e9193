#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmem-libvirt-hook among those who mean harm: a hostmemd that lies, and
the user of QEMU, who may write to libvirt's folder."""

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import threading

import harness
from harness import MIB
from hook import OWNER, Hook, domain_xml

SIZE = 8 * MIB
GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0},
                                "package": "hostmem 1"}, "capabilities": []}}
POOL = {"id": "p0", "segment-size": SIZE, "ready-size": SIZE,
        "page-size": os.sysconf("SC_PAGESIZE")}
NOT_FOUND = {"class": "DeviceNotFound", "desc": "there is none"}
GENERIC = {"class": "GenericError", "desc": "there is none"}


def serve(connection, answers):
    """QMP whose answers are @answers: values, functions, or None for an error;
    what is not there is never answered."""
    lines = connection.makefile("rwb")

    def put(message):
        lines.write(json.dumps(message).encode() + b"\n")
        lines.flush()

    put(GREETING)
    for line in lines:
        request = json.loads(line)
        name = request["execute"]
        if name == "qmp_capabilities":
            put({"return": {}, "id": request["id"]})
            continue
        if name not in answers:
            continue
        value = answers[name]
        if callable(value):
            value = value(request.get("arguments"))
        value = NOT_FOUND if value is None else value
        put({"error": value, "id": request["id"]}
            if value in (NOT_FOUND, GENERIC) else {"return": value, "id": request["id"]})


@contextlib.contextmanager
def as_user(uid):
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


@contextlib.contextmanager
def liar(uid=0, **answers):
    """A Hook on a tmpfs, and a hostmemd of @uid's that says what it likes."""
    answers = {name.replace("_", "-"): value
               for name, value in answers.items()}
    harness.need_root()
    with harness.scratch() as folder, harness.tmpfs(4 * SIZE) as backing, \
            socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "qmp"))
        with as_user(uid):
            listener.listen()
        hook = Hook(backing, f"unix:{folder}/qmp")
        hook.base.mkdir(parents=True)
        connections = []

        def accept():
            with contextlib.suppress(OSError, ValueError):
                while True:
                    connections.append(listener.accept()[0])
                    threading.Thread(target=talk, daemon=True,
                                     args=[connections[-1]]).start()

        def talk(connection):
            with contextlib.suppress(OSError, ValueError):
                serve(connection, answers)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield hook
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(20)
            for connection in connections:
                connection.close()


def with_file(name, **answers):
    """A liar for whom @name, a path, is the memory of each domain."""
    return liar(qom_get=str(name), query_memory_pools=[], object_del={},
                **answers)


def make(path, size=SIZE, owner=0):
    with open(path, "wb") as file:
        file.truncate(size)
    os.chown(path, owner, owner)
    return path


def is_tmpfs(folder):
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], check=True,
                          capture_output=True, text=True).stdout
    return kind.strip() == "tmpfs"


def owner_of(path):
    return path.lstat().st_uid, path.lstat().st_gid


# a hostmemd that lies

def test_file_of_another_filesystem_keeps_its_owner():
    with harness.scratch() as folder:
        victim = make(folder / "victim")
        with with_file(victim) as hook:
            said = hook.prepare()
            assert "another filesystem" in said, said
            assert owner_of(victim) == (0, 0)
            assert hook.files() == []


def test_folder_that_has_no_memory_is_not_written_to():
    """Where all else of a host may be, too."""
    with harness.scratch() as folder, with_file(folder / "victim") as hook:
        if is_tmpfs(folder):
            harness.skip("/tmp is a tmpfs")
        victim = make(folder / "victim")
        (folder / "libvirt" / "qemu").mkdir(parents=True)
        said = hook.prepare(None, "--memory-backing-dir", folder)
        assert "no tmpfs and no hugetlbfs" in said, said
        assert victim.exists() and owner_of(victim) == (0, 0)
        assert os.listdir(folder / "libvirt" / "qemu") == []


def test_what_is_no_file_is_not_moved():
    for kind in "folder", "link", "fifo", "missing":
        with with_file("/") as outer:
            base = outer.base
            path = base / "victim"
            target = make(base / "target")
            with contextlib.ExitStack() as stack:
                if kind == "folder":
                    path.mkdir()
                elif kind == "link":
                    path.symlink_to(target)
                elif kind == "fifo":
                    os.mkfifo(path)
                inner = stack.enter_context(with_file(path))
                said = inner.prepare(None, "--memory-backing-dir",
                                     outer.folder)
                assert said.count("\n") == 1 and str(path) in said, said
            assert os.path.lexists(path) == (kind != "missing"), kind
            assert owner_of(target) == (0, 0), kind


def test_memory_that_goes_back_has_its_owner_again():
    """Two cells, and a file for one: what the first has had is as it was."""
    more = ("<memoryBacking><source type='file'/><access mode='shared'/>"
            "</memoryBacking><cpu><numa><cell id='0' memory='8' unit='MiB'/>"
            "<cell id='1' memory='8' unit='MiB'/></numa></cpu>")
    names = {}
    with liar(1234, qom_get=lambda what: names[what["path"]],
              query_memory_pools=[], object_del={}) as hook:
        first = make(hook.base / "first", owner=1234)
        names["/objects/vm7-node0"] = str(first)
        names["/objects/vm7-node1"] = str(hook.base / "missing")
        said = hook.prepare(domain_xml(more=more, size=2 * SIZE))
        assert "missing" in said, said
        assert hook.files() == ["first"]
        assert owner_of(first) == (1234, 1234)


def test_memory_of_somebody_else_is_not_given_away():
    """A hostmemd without rights gets none from root."""
    for owner in 0, 4321:
        with with_file("/") as outer:
            path = make(outer.base / "vm8", owner=owner)
            with with_file(path, uid=1234) as inner:
                said = inner.prepare(None, "--memory-backing-dir",
                                     outer.folder)
            assert f"is user {owner}'s" in said and "1234" in said, said
            assert outer.files() == ["vm8"]
            assert owner_of(path) == (owner, owner)


def test_memory_of_qemus_user_may_be_named_by_anybody():
    with with_file("/") as outer:
        path = make(outer.base / "vm8", owner=OWNER)
        with with_file(path, uid=1234) as inner:
            said = inner.prepare(None, "--memory-backing-dir", outer.folder)
        assert said == "" and outer.files() == ["1-vm7", "1-vm7/pc.ram"], said


def test_memory_that_was_promised_and_is_not_there():
    with liar(qom_get=None, query_memory_pools=[POOL], object_add={},
              object_del={}) as hook:
        said = hook.prepare(None, "--pool", "p0")
        assert "there is no" in said and "pc.ram" in said, said
        assert hook.files() == []


def test_question_that_is_not_answered_is_the_reason():
    """Whether an object is gone was asked, and the time was over."""
    with liar(qom_get=None, query_memory_pools=[POOL],
              object_del=lambda _: GENERIC) as hook:
        said = hook.prepare(None, "--pool", "p0", timeout=1)
        assert "no answer in time" in said, said


def test_answers_of_other_types():
    for value in (None, [], {}, 7, "x", [[]], [7], {"id": 3}, "\x1b[2J"):
        with liar(qom_get=value, query_memory_pools=value, object_add=value,
                  object_del=value, qom_list=value) as hook:
            said = hook.prepare(None, "--pool", "p0")
            assert said.count("\n") == 1 and "\x1b" not in said, (value, said)
            assert hook.files() == [], value
            hook.release(None, "--pool", "p0")


def test_answers_that_do_not_end():
    def forever(_):
        return "x" * (256 * MIB)

    with liar(qom_get=forever, query_memory_pools=[], object_del={}) as hook:
        said = hook.prepare()
        assert said.count("\n") == 1, said[:1000]
        assert hook.files() == []


# the user of QEMU

def test_folder_that_is_a_link_by_the_user_of_qemu():
    """hostmemd's files do not go where that leads."""
    with liar(qom_get=None, query_memory_pools=[POOL], object_del={}) as hook:
        elsewhere = hook.folder / "elsewhere"
        elsewhere.mkdir()
        os.chown(hook.base, OWNER, OWNER)
        (hook.base / "1-vm7").symlink_to(elsewhere)
        said = hook.prepare(None, "--pool", "p0")
        assert "1-vm7" in said, said
        assert os.listdir(elsewhere) == []


def test_memory_that_is_replaced_while_it_is_moved():
    """Whoever loses the race, only memory gets the owner of the domain."""
    stop = threading.Event()
    with with_file("/") as outer:
        path, other = outer.base / "vm7", outer.base / "other"
        make(path)

        def swap():
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    make(other, MIB, 1234)
                    os.replace(other, path)
                    make(other, SIZE, 0)
                    os.replace(other, path)

        thread = threading.Thread(target=swap)
        with with_file(path) as hook:
            thread.start()
            try:
                for run in range(30):
                    hook.prepare(domain_xml(id=run), "--memory-backing-dir",
                                 outer.folder)
            finally:
                stop.set()
                thread.join()
        for path in outer.base.glob("*-vm7/pc.ram"):
            assert path.stat().st_size == SIZE, path
            assert owner_of(path) == (OWNER, OWNER), path


# several calls at once

@contextlib.contextmanager
def stuck(owner=0):
    """(hook, asked, go): hostmemd lets the first question of the first call wait
    until @go is set; @asked has an entry for each."""
    asked, go = [], threading.Event()

    def answer(_):
        asked.append(1)
        if len(asked) == 1:
            go.wait(60)
        return str(path)

    with liar(qom_get=answer, query_memory_pools=[], object_del={}) as hook:
        path = make(hook.base / "vm7", owner=owner)
        try:
            yield hook, asked, go
        finally:
            go.set()
            # Of calls that were killed.
            hook.lock().unlink(missing_ok=True)


@contextlib.contextmanager
def calling(hook, operation="prepare", xml=None, **options):
    """A call that goes on; what it must end with is up to the caller."""
    with subprocess.Popen(hook.command(operation, **options), text=True,
                          stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                          preexec_fn=harness.die_with_parent) as process:
        process.stdin.write(xml or domain_xml())
        process.stdin.close()
        try:
            yield process
        finally:
            process.kill()


def has_open(process, path):
    with contextlib.suppress(OSError):
        return any(os.readlink(entry.path) == str(path)
                   for entry in os.scandir(f"/proc/{process.pid}/fd"))
    return False


def test_second_call_waits_for_the_first():
    with stuck() as (hook, asked, go), calling(hook, timeout=60) as first:
        harness.wait_until(lambda: asked, what="the first question")
        with calling(hook, timeout=60) as second:
            harness.wait_until(lambda: has_open(second, hook.lock()),
                               what="the second call to wait")
            assert len(asked) == 1 and second.poll() is None
            go.set()
            for call in first, second:
                assert call.wait(60) == 0
                assert call.stderr.read() == ""
        assert hook.files() == ["1-vm7", "1-vm7/pc.ram"]
        assert not hook.lock().exists()


def test_second_call_does_not_wait_for_ever():
    for operation in "prepare", "release":
        with stuck() as (hook, asked, go), calling(hook, timeout=60) as first:
            harness.wait_until(lambda: asked, what="the first question")
            said = hook.run(operation, domain_xml(), timeout=1)
            assert said.startswith(f"hostmem-libvirt-hook: {operation} of "
                                   "domain 'vm7': another call"), said
            assert len(asked) == 1
            go.set()
            assert first.wait(60) == 0
        assert not hook.lock().exists()


def test_other_domains_do_not_wait():
    with stuck() as (hook, asked, go), calling(hook, timeout=60) as first:
        harness.wait_until(lambda: asked, what="the first question")
        assert hook.prepare(domain_xml("vm8", id=2), name="vm8") == ""
        assert hook.files() == ["2-vm8", "2-vm8/pc.ram"]
        assert first.poll() is None
        go.set()
        assert first.wait(60) == 0


def test_call_that_was_killed_keeps_nobody_waiting():
    with stuck() as (hook, asked, _):
        with calling(hook, timeout=60):
            harness.wait_until(lambda: asked, what="the first question")
        assert hook.lock().exists()
        assert hook.prepare() == ""
        assert not hook.lock().exists()


# the end is a good one

def end_of(*args, set_up=None, **more):
    result = subprocess.run(
        [harness.program("hostmem-libvirt-hook"), *args],
        preexec_fn=set_up, timeout=60, **more)
    assert result.returncode == 0, result
    return result


def test_nobody_reads_what_is_said():
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        end_of("vm7", "prepare", stdin=subprocess.DEVNULL, stderr=write_end,
               set_up=lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL))
    finally:
        os.close(write_end)


def test_lease_that_is_broken_is_no_end():
    """Whoever opens what the hook has a lease on has SIGIO sent to it."""
    def ignored(process):
        with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
            bits, = (line.split()[1] for line in status
                     if line.startswith("SigIgn:"))
        return int(bits, 16) >> (signal.SIGIO - 1) & 1

    with subprocess.Popen([harness.program("hostmem-libvirt-hook"), "--timeout",
                           "60", "vm7", "release"], stdin=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as process:
        harness.wait_until(lambda: ignored(process), what="signals to be set")
        process.stdin.close()
        assert process.wait(60) == 0


def test_no_thread_can_be_made():
    harness.need_root()

    def set_up():
        os.setgroups([])
        os.setgid(12345)
        os.setuid(12345)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))

    result = end_of("vm7", "prepare", input=domain_xml(), set_up=set_up,
                    capture_output=True, text=True, cwd="/")
    assert "gives up" in result.stderr, result


def test_signals_are_blocked_by_the_parent():
    """The time ends, although hostmemd is asked to undo and does not."""
    def set_up():
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())

    with liar(qom_get=None, query_memory_pools=[POOL],
              object_del=lambda _: {}) as hook:
        stuck = threading.Event()
        with liar(qom_get=None, query_memory_pools=[POOL],
                  object_del=lambda _: stuck.wait(60) and {}) as silent:
            end_of("--connect", silent.address, "--pool", "p0",
                   "--memory-backing-dir", hook.folder, "--timeout", "1",
                   "vm7", "prepare", input=domain_xml(), text=True,
                   capture_output=True, set_up=set_up)
            stuck.set()


if __name__ == "__main__":
    harness.main()
