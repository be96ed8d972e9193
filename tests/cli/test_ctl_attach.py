# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmemctl attach and detach: a DIMM in a QEMU, and all that can go wrong.

No guest runs here: test_ctl_guest.py has one.
"""

import contextlib
import os
import signal
import subprocess
import time

import harness
from ctl import ctl, ctl_fails, error, fake, run_ctl, started
from fdclient import FdClient
from harness import (MIB, Hostmemd, QmpClient, need_huge_pages, raises,
                     run_as, scratch, wait_until)
from qtest import Qemu

GIB = 1024 * MIB
NOBODY = 65534
SIZE = 128 * MIB
MEMFD = f"memory-backend-memfd,id=m1,size={SIZE}"


class Pair:
    """A hostmemd with m1, and a QEMU with a socket for hostmemctl."""

    def __init__(self, daemon, peer, path):
        self.daemon = daemon
        self.peer = peer
        self.path = path
        self.before = self.contents()

    def contents(self):
        """What attach could leave in QEMU."""
        qmp = self.peer.qmp
        return (sorted(child["name"] for child
                       in qmp.execute("qom-list", path="/objects")),
                qmp.execute("query-memory-devices"),
                qmp.execute("query-fdsets"))

    def fds(self):
        return len(os.listdir(f"/proc/{self.peer.pid}/fd"))

    def attach(self, *options):
        return ctl(self.daemon, "attach", self.path, "m1", *options)

    def attach_fails(self, *options, phrases=()):
        """And QEMU has neither a descriptor nor an object more than before."""
        before, fds = self.contents(), self.fds()
        ctl_fails(self.daemon, "attach", self.path, *(options or ["m1"]),
                  phrases=phrases)
        assert self.contents() == before
        # Its session ends a moment later.
        wait_until(lambda: self.fds() <= fds, what="descriptors to be closed")

    def detach_fails(self, *options, phrases=()):
        ctl_fails(None, "detach", self.path, *(options or ["m1"]),
                  phrases=phrases)


@contextlib.contextmanager
def pair(*objects, arguments=(), **options):
    objects = objects or (MEMFD,)
    with scratch() as folder, \
            Hostmemd(*(w for o in objects for w in ("-object", o))) as daemon, \
            Qemu("-qmp", f"unix:{folder}/ctl,server=on,wait=off", *arguments,
                 ram_size=64 * MIB, maxmem=4 * GIB, **options) as peer:
        # It closes what was removed while it runs.
        peer.qmp.execute("cont")
        yield Pair(daemon, peer, folder / "ctl")


# attach

def test_dimm():
    with pair() as both:
        fds = both.fds()
        assert both.attach() == (
            "m1: 128 MiB, device 'dimm-m1' on 'hostmem-m1'\n")
        device, = both.peer.qmp.execute("query-memory-devices")
        assert device["type"] == "dimm", device
        assert device["data"]["id"] == "dimm-m1", device
        assert device["data"]["size"] == SIZE, device
        assert device["data"]["memdev"] == "/objects/hostmem-m1", device
        assert both.peer.qmp.execute("query-fdsets") == []
        # That of the memory itself.
        wait_until(lambda: both.fds() == fds + 1, what="the session to end")


def test_memory_is_the_same():
    with pair() as both:
        address = both.attach() and both.peer.qmp.execute(
            "query-memory-devices")[0]["data"]["addr"]
        both.peer.write(address + 4096, 8, 0x1122334455667788)
        result = run_ctl(both.daemon, "exec", "m1", "--", "od", "-A", "n",
                         "-t", "x8", "-j", "4096", "-N", "8", "{m1}")
        assert result.stdout.strip() == "1122334455667788", result
        assert "warning: somebody else has the memory" in result.stderr, result


def test_memory_that_somebody_has_is_warned_of():
    with pair() as both, FdClient(both.daemon.socket) as client:
        _, [fd] = client.execute("get-memory-fd", {"id": "m1"})
        result = run_ctl(both.daemon, "attach", both.path, "m1")
        os.close(fd)
        assert result.returncode == 0 and result.stdout, result
        assert result.stderr == (
            "hostmemctl: warning: somebody else has the memory of 'm1' open "
            "or mapped: it must not be another guest\n"), result


def test_huge_pages():
    with need_huge_pages(8), \
            pair("memory-backend-memfd,id=m1,size=16M,hugetlb=on,"
                 "hugetlbsize=2M,prealloc=on") as both:
        both.attach()
        memdev, = (memdev for memdev in both.peer.qmp.execute("query-memdev")
                   if memdev.get("id") == "hostmem-m1")
        assert memdev["size"] == 16 * MIB, memdev


def test_address_instead_of_a_path():
    with pair() as both:
        assert ctl(both.daemon, "attach", f"unix:{both.path}", "m1")


def test_names_and_node():
    nodes = ["-numa", "node,nodeid=0,memdev=ram", "-numa", "node,nodeid=1"]
    with pair(arguments=nodes, machine="q35") as both:
        assert both.attach("--memdev", "obj", "--slot-id", "dev",
                           "--node", "1").endswith("'dev' on 'obj'\n")
        device, = both.peer.qmp.execute("query-memory-devices")
        assert device["data"]["node"] == 1, device
        assert device["data"]["id"] == "dev", device
        assert device["data"]["memdev"] == "/objects/obj", device


def test_several():
    with pair(MEMFD, MEMFD.replace("m1", "m2")) as both:
        both.attach()
        ctl(both.daemon, "attach", both.path, "m2")
        assert len(both.peer.qmp.execute("query-memory-devices")) == 2


def test_node_that_the_guest_does_not_have():
    with pair() as both:
        both.attach_fails("m1", "--node=3", phrases=["device_add: ", "node",
                                                     "3"])
        for text in "-1", "x", "4294967296", "1.5":
            both.attach_fails("m1", f"--node={text}",
                              phrases=[f"--node: '{text}'"])


def test_no_room_for_dimms():
    with pair(arguments=["-m", "64M,slots=0,maxmem=64M"]) as both:
        both.attach_fails(phrases=["device_add: ", str(both.path),
                                   "'slots' option"])


def test_not_enough_slots():
    names = [f"m{i}" for i in range(1, 6)]
    with pair(*(MEMFD.replace("m1", name) for name in names)) as both:
        for name in names[:4]:
            ctl(both.daemon, "attach", both.path, name)
        both.attach_fails("m5", phrases=["device_add: ", "slots"])


def test_not_enough_address_space():
    size = 8 * GIB
    with pair(f"memory-backend-memfd,id=m1,size={size},reserve=off") as both:
        both.attach_fails(phrases=["device_add: ", "not enough space"])


def test_name_of_the_object_is_in_use():
    with pair() as both:
        both.attach_fails("m1", "--memdev", "ram",
                          phrases=["object-add: ", "'ram'"])


def test_name_of_the_device_is_in_use():
    with pair() as both:
        both.attach()
        both.attach_fails(phrases=["object-add: ", "'hostmem-m1'"])
        both.attach_fails("m1", "--memdev=other",
                          phrases=["device_add: ", "'dimm-m1'"])


def test_name_that_qemu_refuses():
    with pair() as both:
        both.attach_fails("m1", "--memdev=9 lives", phrases=["object-add: "])
        both.attach_fails("m1", "--slot-id=9 lives", phrases=["device_add: "])


# memory that cannot be a DIMM

def test_unknown_id():
    with pair() as both:
        both.attach_fails("m9", phrases=["'m9'"])


def test_name_that_is_taken():
    """It is not for want of rights that this fails, and so it says nothing of
    an owner."""
    with pair("memory-pool,id=p0,size=64M,segment-size=64M",
              "memory-backend-memfd,id=m1,size=64M,pool=p0") as both:
        ctl(both.daemon, "attach", both.path, "m1")
        before = both.contents()
        message = ctl_fails(both.daemon, "attach", both.path, "m1",
                            phrases=["object-add: ", "hostmem-m1"])
        assert "export-owner" not in message, message
        assert both.contents() == before


def test_private_memory():
    with pair(f"memory-backend-ram,id=m1,size={SIZE}") as both:
        both.attach_fails(phrases=["'m1'", "private", "share=on"])


def test_memory_in_several_segments():
    with pair("memory-pool,id=p0,size=8M,segment-size=2M",
              "memory-backend-memfd,id=m1,size=8M,pool=p0") as both:
        both.attach_fails(phrases=["4 segments", "pool 'p0'",
                                   "segment-size of 8 MiB"])


def test_read_only_memory():
    with scratch() as folder:
        (folder / "rom").write_bytes(bytes(2 * MIB))
        with pair("memory-backend-file,id=m1,size=2M,share=on,readonly=on,"
                  f"mem-path={folder}/rom") as both:
            both.attach_fails(phrases=["'m1'", "read-only"])


def test_part_of_a_file():
    """A QEMU that has no offset says so, and maps nothing else instead."""
    with scratch() as folder:
        (folder / "f").write_bytes(bytes(4 * MIB))
        with pair("memory-backend-file,id=m1,size=2M,share=on,offset=2M,"
                  f"mem-path={folder}/f") as both:
            result = run_ctl(both.daemon, "attach", both.path, "m1")
            if result.returncode:
                assert "'offset'" in result.stderr, result
                assert both.contents() == both.before


# sockets of QEMU

def test_no_such_socket():
    with Hostmemd("-object", MEMFD) as daemon, scratch() as folder:
        for command in "attach", "detach":
            ctl_fails(daemon, command, folder / "none", "m1",
                      phrases=[f"unix:{folder}/none", "No such file"])


def test_tcp_carries_no_descriptors():
    with Hostmemd("-object", MEMFD) as daemon:
        ctl_fails(daemon, "attach", "tcp:127.0.0.1:1", "m1",
                  phrases=["tcp:127.0.0.1:1", "Unix socket"])


def test_server_that_is_no_qemu():
    with Hostmemd("-object", MEMFD) as daemon:
        ctl_fails(daemon, "attach", daemon.socket, "m1",
                  phrases=["hostmem ", "no command 'add-fd'"])
        ctl_fails(daemon, "detach", daemon.socket, "m1",
                  phrases=["no device 'dimm-m1'", "'hostmem-m1' not found"])
        with fake(lambda peer: peer.send(b"SSH-2.0-x")) as address:
            ctl_fails(daemon, "attach", address, "m1", phrases=[address])


def test_socket_that_another_client_has():
    """It waits for its turn, and comes when that has gone."""
    with pair() as both:
        other = QmpClient.unix(both.path).negotiate()
        with started(both.daemon, "attach", both.path, "m1") as process:
            with raises(subprocess.TimeoutExpired):
                process.wait(1)
            assert both.contents() == both.before
            other.close()
            assert process.wait(20) == 0, process.stderr.read()


@harness.time_limit(90)
def test_socket_that_stays_busy():
    with pair() as both:
        with QmpClient.unix(both.path) as other:
            other.negotiate()
            ctl_fails(both.daemon, "attach", both.path, "m1", timeout=60,
                      phrases=[str(both.path), "one client at a time"])


def test_user_who_must_not_connect():
    harness.need_root()
    with pair() as both:
        both.path.parent.chmod(0o755)
        both.path.chmod(0o600)
        with Hostmemd("-object", MEMFD, "-qmp",
                      f"unix:{both.path.parent}/open,mode=0666,allow-uid={NOBODY}"):
            def ask():
                result = run_ctl(f"unix:{both.path.parent}/open", "attach",
                                 both.path, "m1")
                return [result.returncode, result.stderr]
            status, stderr = run_as(NOBODY, ask)
        assert status == 1 and "Permission denied" in stderr, stderr


@contextlib.contextmanager
def qemu_of_nobody():
    """The path of its socket."""
    harness.need_root()
    with scratch() as folder:
        os.chown(folder, NOBODY, NOBODY)
        folder.chmod(0o755)
        path = folder / "qmp"
        process = subprocess.Popen(
            [harness.need_program("qemu-system-x86_64"), "-accel", "tcg",
             "-nodefaults", "-display", "none", "-m",
             "64M,slots=4,maxmem=4G", "-qmp",
             f"unix:{path},server=on,wait=off"],
            user=NOBODY, group=NOBODY, extra_groups=[], cwd="/",
            stdin=subprocess.DEVNULL, preexec_fn=harness.die_with_parent)
        try:
            wait_until(path.exists, 30, "QEMU")
            yield path
        finally:
            process.kill()
            process.wait()


def test_qemu_of_another_user():
    """It opens the memory itself, where that is not for its owner alone."""
    pool = "memory-pool,id=p0,size=128M,segment-size=64M"
    objects = [pool, MEMFD, "memory-backend-memfd,id=m2,size=64M,pool=p0",
               "memory-backend-memfd,id=m3,size=64M,pool=p0,"
               f"export-owner={NOBODY}"]
    with qemu_of_nobody() as path, Hostmemd(
            *(word for o in objects for word in ("-object", o))) as daemon:
        ctl(daemon, "attach", path, "m1")
        ctl_fails(daemon, "attach", path, "m2", phrases=[
            "object-add: ", "Permission denied", "uid 0", "mode 0600",
            "export-owner of 'm2'"])
        ctl(daemon, "attach", path, "m3")


# peers that fail in the middle: what was done is undone

FD = {"fdset-id": 7, "fd": 11}


def conversation(*answers):
    """A QEMU that gives these answers; yields its address and what it was
    asked."""
    asked = []

    def serve(peer):
        peer.negotiate()
        for value in answers:
            message = peer.answer(value)
            if message:
                asked.append((message["execute"], message.get("arguments")))
        peer.wait_closed()
    return asked, fake(serve)


def attach_at(answers, *phrases):
    asked, server = conversation(*answers)
    with Hostmemd("-object", MEMFD) as daemon, server as address:
        ctl_fails(daemon, "attach", address, "m1", phrases=phrases)
    return [name for name, _ in asked], asked


def test_steps_are_undone():
    no = error("no such luck")
    for answers, names in (
            ([no], ["add-fd"]),
            ([FD, no, {}], ["add-fd", "object-add", "remove-fd"]),
            ([FD, {}, no, {}],
             ["add-fd", "object-add", "remove-fd", "object-del"]),
            ([FD, {}, {}, no, {}],
             ["add-fd", "object-add", "remove-fd", "device_add",
              "object-del"])):
        done, asked = attach_at(answers, "no such luck")
        assert done == names, done
        for name, arguments in asked:
            if name == "remove-fd":
                assert arguments == FD, arguments
            if name == "object-del":
                assert arguments == {"id": "hostmem-m1"}, arguments


def test_what_cannot_be_undone_is_said():
    attach_at([FD, {}, {}, error("no such luck"), error("nor that")],
              "no such luck", "nor could", "object-del", "nor that")


def test_answer_to_add_fd_that_makes_no_sense():
    for answer in {}, [], None, {"fd": 1}, {"fd": "1", "fdset-id": 2}, {
            "fd": -1, "fdset-id": 2}:
        done, _ = attach_at([answer], "add-fd", "makes no sense")
        assert done == ["add-fd"], done


def test_qemu_that_goes_meanwhile():
    def serve(peer):
        peer.negotiate()
        peer.answer(FD)
        peer.recv()

    with Hostmemd("-object", MEMFD) as daemon, fake(serve) as address:
        message = ctl_fails(daemon, "attach", address, "m1",
                            phrases=["object-add: ", address])
        assert "nor could" not in message, message


def test_signal_waits_until_all_is_done():
    """Once; who insists is obeyed."""
    asked = []

    def serve(peer):
        peer.negotiate()
        asked.append(peer.recv())
        for value in FD, {}, {}, {}:
            message = asked[-1]
            time.sleep(0.2)
            peer.send({"return": value, "id": message["id"]})
            asked.append(peer.recv())

    with Hostmemd("-object", MEMFD) as daemon, fake(serve) as address, \
            started(daemon, "attach", address, "m1") as process:
        wait_until(lambda: asked, what="add-fd")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0, process.stderr.read()
        assert [message and message["execute"] for message in asked] == [
            "add-fd", "object-add", "remove-fd", "device_add", None], asked
    asked.clear()
    with Hostmemd("-object", MEMFD) as daemon, \
            fake(lambda peer: (peer.negotiate(), asked.append(peer.recv()),
                               peer.wait_closed())) as address, \
            started(daemon, "attach", address, "m1") as process:
        wait_until(lambda: asked, what="add-fd")
        process.send_signal(signal.SIGINT)
        with raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        # The first may come late, and the second be taken for the first.
        wait_until(lambda: process.send_signal(signal.SIGINT)
                   or process.poll() is not None, 20, "its end")
        assert process.returncode == -signal.SIGINT


# detach

def test_guest_that_says_nothing():
    """Nothing changes; one can try again, as often as one likes."""
    with pair() as both:
        both.attach()
        for _ in range(2):
            both.detach_fails("m1", "--timeout=0.5", phrases=[
                "'dimm-m1'", "within 0.5 s", "may still do so"])
        assert len(both.peer.qmp.execute("query-memory-devices")) == 1


def test_nothing_to_detach():
    with pair() as both:
        both.detach_fails(phrases=["no device 'dimm-m1'",
                                   "'hostmem-m1' not found"])


def test_device_of_other_memory():
    """It is not unplugged, whatever it is."""
    with pair() as both:
        both.attach()
        both.detach_fails("m1", "--memdev=ram", phrases=[
            "'dimm-m1'", "'/objects/hostmem-m1'", "'/objects/ram'"])
        both.detach_fails("m1", "--slot-id=other", phrases=[
            "no device 'other'", "in use"])
        assert len(both.peer.qmp.execute("query-memory-devices")) == 1


def test_object_without_its_device():
    """The guest let go after all, when nobody waited any more."""
    with pair() as both:
        both.peer.qmp.execute("object-add", **{
            "qom-type": "memory-backend-ram", "id": "hostmem-m1",
            "size": SIZE})
        assert ctl(None, "detach", both.path, "m1") == ""
        assert both.contents() == both.before


def about(name, data):
    return {"event": name, "data": data,
            "timestamp": {"seconds": 1, "microseconds": 2}}


def ost(source, status, device="dimm-m1"):
    return about("ACPI_DEVICE_OST", {"info": {
        "device": device, "slot": "0", "slot-type": "DIMM",
        "source": source, "status": status}})


DELETED = about("DEVICE_DELETED", {"device": "dimm-m1",
                                   "path": "/machine/peripheral/dimm-m1"})


def detach_from(events, *args):
    """From a QEMU that reports these events after device_del."""
    def serve(peer):
        peer.negotiate()
        peer.answer("/objects/hostmem-m1")
        peer.answer({})
        for event in events:
            peer.send(event)
        deleted.append(peer.answer({}))
        peer.wait_closed()

    deleted = []
    with fake(serve) as address:
        return run_ctl(None, "detach", address, "m1", *args), deleted


def test_guest_that_refuses():
    path = {"device": "dimm-m1", "path": "/machine/peripheral/dimm-m1"}
    for event, phrase in (
            (about("MEM_UNPLUG_ERROR", {"device": "dimm-m1",
                                        "msg": "not now"}), "not now"),
            (about("DEVICE_UNPLUG_GUEST_ERROR", path), "'dimm-m1'"),
            (ost(3, 0x01), "it fails"), (ost(3, 0x80), "cannot eject"),
            (ost(0x103, 0x81), "application"), (ost(3, 0x82), "busy"),
            (ost(3, 0x83), "depends")):
        result, deleted = detach_from([event])
        assert result.returncode == 1, (event, result)
        assert "the guest refuses to release 'dimm-m1'" in result.stderr
        assert phrase in result.stderr, (event, result)
        assert deleted == [None], "object-del was sent"


def test_events_that_mean_nothing():
    """Of other devices, of other notifications, of an ejection under way, and
    of no shape at all."""
    others = [ost(3, 0x84), ost(3, 0), ost(1, 0x82), ost(3, 0x82, "dimm-m2"),
              ost("3", "130"), ost(3, -1),
              about("MEM_UNPLUG_ERROR", {"device": "dimm-m2", "msg": "no"}),
              about("DEVICE_UNPLUG_GUEST_ERROR", {"path": "/x"}),
              about("DEVICE_DELETED", {"path": "/machine/dimm-m1"}),
              about("ACPI_DEVICE_OST", {"info": []}),
              about("ACPI_DEVICE_OST", {"device": "dimm-m1"}),
              {"event": "DEVICE_DELETED"}, {"event": "MEM_UNPLUG_ERROR",
                                            "data": ["dimm-m1"]}]
    result, _ = detach_from(others, "--timeout=1")
    assert "within 1 s" in result.stderr, result
    result, deleted = detach_from([*others, DELETED])
    assert result.returncode == 0 and result.stderr == "", result
    assert deleted[0]["execute"] == "object-del", deleted
    assert deleted[0]["arguments"] == {"id": "hostmem-m1"}, deleted


def test_timeout_that_is_none():
    for text in "-1", "soon", "nan", "86401":
        ctl_fails(None, "detach", "/nonexistent", "m1", f"--timeout={text}",
                  phrases=["--timeout", f"'{text}'"])


if __name__ == "__main__":
    harness.main()
