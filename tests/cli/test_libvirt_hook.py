#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmem-libvirt-hook: what becomes of its domain, and how long it takes."""

import contextlib
import os
import socket
import stat
import subprocess
import threading

import harness
from harness import MIB, Hostmemd
from hook import OWNER, SHARED_FILE, domain_xml, places
from keeper import Keeper

SIZE = 8 * MIB
TWO_CELLS = SHARED_FILE + """<cpu><numa>
<cell id='0' memory='8' unit='MiB'/><cell id='1' memory='4' unit='MiB'/>
</numa></cpu>"""


def backend(id, size=SIZE, *more):
    return "-object", ",".join(
        [f"memory-backend-ram,id={id},size={size},share=on,prealloc=on",
         f"export-path={id}", *more])


@contextlib.contextmanager
def ready(*args):
    """(hook, hostmemd): memory is where libvirt's is."""
    with places() as hook, \
            Hostmemd("-export-dir", hook.base, *args) as daemon:
        hook.address = f"unix:{daemon.socket}"
        yield hook, daemon


def ids(daemon):
    return sorted(report["id"]
                  for report in daemon.qmp.execute("query-memdev"))


# the memory

def test_memory_of_the_domain_is_where_qemu_maps_it():
    with ready(*backend("vm7")) as (hook, _):
        inode = (hook.base / "vm7").stat().st_ino
        assert hook.prepare() == ""
        assert hook.files() == ["1-vm7", "1-vm7/pc.ram"]
        folder, file = hook.base / "1-vm7", hook.base / "1-vm7" / "pc.ram"
        assert file.stat().st_ino == inode
        for path, mode in (folder, 0o700), (file, 0o600):
            info = path.stat()
            assert (info.st_uid, info.st_gid) == (OWNER, OWNER), path
            assert stat.S_IMODE(info.st_mode) == mode, path
        assert file.stat().st_size == SIZE
        assert file.stat().st_blocks * 512 == SIZE


def test_each_cell_has_memory_of_its_own():
    with ready(*backend("vm7-node0"), *backend("vm7-node1", 4 * MIB)) \
            as (hook, daemon):
        xml = domain_xml(more=TWO_CELLS, size=12 * MIB)
        assert hook.prepare(xml) == ""
        assert hook.files() == ["1-vm7", "1-vm7/ram-node0", "1-vm7/ram-node1"]
        assert (hook.base / "1-vm7/ram-node1").stat().st_size == 4 * MIB
        assert hook.release(
            domain_xml(more=TWO_CELLS, size=12 * MIB, id=None)) == ""
        assert ids(daemon) == []


def test_memory_goes_back_at_the_end():
    with ready(*backend("vm7"), *backend("other")) as (hook, daemon):
        hook.prepare()
        assert ids(daemon) == ["other", "vm7"]
        assert hook.release() == ""
        assert ids(daemon) == ["other"]
        assert "other" in hook.files()


def test_domain_that_never_starts_gives_back_what_it_has():
    with ready(*backend("vm7")) as (hook, daemon):
        hook.prepare()
        # As libvirt does before it tells of the end.
        (hook.base / "1-vm7/pc.ram").unlink()
        (hook.base / "1-vm7").rmdir()
        assert hook.release() == ""
        assert ids(daemon) == []
        assert hook.files() == []


def test_second_call_changes_nothing():
    with ready(*backend("vm7")) as (hook, daemon):
        assert hook.prepare() == ""
        before = (hook.base / "1-vm7/pc.ram").stat().st_ino
        assert hook.prepare() == ""
        assert (hook.base / "1-vm7/pc.ram").stat().st_ino == before
        assert hook.release() == ""
        assert hook.release() == ""
        assert ids(daemon) == []


def test_release_without_prepare_takes_nothing():
    with ready(*backend("vm7")) as (hook, daemon):
        assert hook.release() == ""
        assert ids(daemon) == ["vm7"]
        assert hook.files() == ["vm7"]


def test_owner_is_that_of_the_folder():
    with ready(*backend("vm7")) as (hook, _):
        os.chown(hook.base, 12345, 12345)
        xml = domain_xml().replace("+65534:+65534", "")
        assert hook.prepare(xml) == ""
        assert (hook.base / "1-vm7/pc.ram").stat().st_uid == 12345


def test_owner_may_be_names():
    """Those of a label in the domain, which libvirt leaves as they are."""
    with ready(*backend("vm7")) as (hook, _):
        xml = domain_xml().replace("+65534:+65534", "nobody:+1234")
        assert hook.prepare(xml) == ""
        info = (hook.base / "1-vm7/pc.ram").stat()
        assert (info.st_uid, info.st_gid) == (OWNER, 1234)


def test_owner_can_be_told():
    with ready(*backend("vm7")) as (hook, _):
        xml = domain_xml().replace("+65534:+65534", "")
        assert hook.prepare(xml, "--owner", "nobody") == ""
        assert (hook.base / "1-vm7/pc.ram").stat().st_uid == OWNER


# the memory of a pool

def pool(folder, *more, id="p0", segment=SIZE):
    return "-object", ",".join(
        [f"memory-pool,id={id},size={2 * segment},segment-size={segment}",
         f"seal=off,export-dir={folder}", *more])


@contextlib.contextmanager
def ready_pool(*more, **options):
    """ready() with a pool of two segments."""
    with places() as hook, \
            Hostmemd("-export-dir", hook.base,
                     *pool(hook.base, *more, **options)) as daemon:
        hook.address = f"unix:{daemon.socket}"
        yield hook, daemon


def status(daemon, id="p0"):
    return next(entry for entry in daemon.qmp.execute("query-memory-pools")
                if entry["id"] == id)


def ready_again(daemon):
    """All of the pool is ready, which takes a moment."""
    return status(daemon)["ready-size"] == status(daemon)["size"]


def visible(hook):
    return [name for name in hook.files() if not name.startswith(".")]


def test_pool_lends_and_gets_back():
    with ready_pool() as (hook, daemon):
        for run in range(3):
            xml = domain_xml(id=run)
            assert hook.prepare(xml, "--pool", "p0") == ""
            path = hook.base / f"{run}-vm7" / "pc.ram"
            info = path.stat()
            assert (info.st_uid, stat.S_IMODE(info.st_mode)) == (OWNER, 0o600)
            assert (info.st_size, info.st_blocks * 512) == (SIZE, SIZE)
            assert not path.read_bytes().strip(b"\0")
            path.write_bytes(b"x" * SIZE)
            assert status(daemon)["lent-size"] == SIZE
            # As libvirt does before it tells of the end.
            path.unlink()
            path.parent.rmdir()
            assert hook.release(domain_xml(id=None), "--pool", "p0") == ""
            harness.wait_until(lambda: ready_again(daemon), what="zeroes")
        assert ids(daemon) == []
        assert visible(hook) == []


def test_pool_lends_to_each_cell_on_its_nodes():
    with ready_pool() as (hook, daemon):
        more = TWO_CELLS + ("<numatune><memory mode='strict' nodeset='0'/>"
                            "</numatune>")
        assert hook.prepare(domain_xml(more=more), "--pool", "p0") == ""
        assert visible(hook) == ["1-vm7", "1-vm7/ram-node0",
                                 "1-vm7/ram-node1"]
        for report in daemon.qmp.execute("query-memdev"):
            assert report["host-nodes"] == [0], report
            assert report["policy"] == "bind", report
            assert report["pool-size"] == report["size"], report
        assert hook.release(domain_xml(more=more, id=None)) == ""
        assert ids(daemon) == []


def test_second_call_borrows_nothing_more():
    with ready_pool() as (hook, daemon):
        for _ in range(2):
            assert hook.prepare(domain_xml(), "--pool", "p0") == ""
            assert status(daemon)["lent-size"] == SIZE
        assert hook.release() == ""
        assert hook.release() == ""


def test_what_a_lost_run_had_goes_back_first():
    with ready_pool() as (hook, daemon):
        assert hook.prepare(domain_xml(id=1), "--pool", "p0") == ""
        assert hook.prepare(domain_xml(id=2), "--pool", "p0") == ""
        assert len(ids(daemon)) == 1
        assert (hook.base / "2-vm7" / "pc.ram").exists()


def test_pool_that_fits_is_chosen():
    with places() as hook, Hostmemd(
            "-export-dir", hook.base,
            *pool(hook.base, id="small", segment=4 * MIB),
            *pool(hook.base, id="large", segment=16 * MIB)) as daemon:
        hook.address = f"unix:{daemon.socket}"
        options = ["--pool", "missing", "--pool", "small", "--pool", "large"]
        assert hook.prepare(domain_xml(), *options) == ""
        assert status(daemon, "large")["lent-size"] == 16 * MIB
        starts_without(hook, domain_xml(size=17 * MIB, id=2), "17 MiB",
                       options=options)


def test_backend_of_the_domain_comes_before_a_pool():
    with places() as hook, Hostmemd(
            "-export-dir", hook.base, *pool(hook.base),
            *backend("vm7")) as daemon:
        hook.address = f"unix:{daemon.socket}"
        assert hook.prepare(domain_xml(), "--pool", "p0") == ""
        assert status(daemon)["lent-size"] == 0
        assert "1-vm7/pc.ram" in hook.files() and "vm7" not in hook.files()


def test_domain_of_any_name_gets_memory_of_a_pool():
    """One of an object that is no backend, and such as no object can have."""
    with ready_pool() as (hook, daemon):
        for run, name in enumerate(("p0", "7 vm", "..", "w\u00fcrm")):
            assert hook.prepare(domain_xml(name, id=run), "--pool", "p0",
                                name=name) == ""
            path = hook.base / f"{run}-{name}" / "pc.ram"
            assert path.stat().st_size == SIZE, name
            assert hook.release(domain_xml(name, id=None), name=name) == ""
            harness.wait_until(lambda: ready_again(daemon), what="zeroes")


def test_pool_without_names():
    with ready("-object", "memory-pool,id=p0,size=8M,segment-size=8M") \
            as (hook, daemon):
        starts_without(hook, domain_xml(), "without 'export-dir'",
                       options=["--pool", "p0"])
        assert ids(daemon) == []


def test_node_that_there_is_not():
    with ready_pool() as (hook, daemon):
        more = SHARED_FILE + ("<numatune><memory mode='strict' nodeset='63'/>"
                              "</numatune>")
        starts_without(hook, domain_xml(more=more), "no node 63",
                       options=["--pool", "p0"])
        assert status(daemon)["lent-size"] == 0


def test_short_pool_and_no_room_for_more():
    """What it lacks does not fit into the tmpfs; both cells start without."""
    with places() as hook, Hostmemd(
            "-export-dir", f"{hook.base},size=9M",
            *pool(hook.base, segment=4 * MIB), *backend("other", MIB)) \
            as daemon:
        hook.address = f"unix:{daemon.socket}"
        more = SHARED_FILE + """<cpu><numa>
            <cell id='0' memory='4' unit='MiB'/>
            <cell id='1' memory='4' unit='MiB'/>
            <cell id='2' memory='4' unit='MiB'/></numa></cpu>"""
        starts_without(hook, domain_xml(more=more), "needs 4 MiB",
                       options=["--pool", "p0"])
        harness.wait_until(lambda: ready_again(daemon), what="zeroes")
        assert ids(daemon) == ["other"]


def test_memory_that_is_not_ready_in_time_is_given_up():
    """The pool is empty, and the host slow."""
    size = 1024 * MIB
    harness.need_memory(4 * size)
    with harness.SlowHost(1) as slow, places() as hook, Hostmemd(
            "-export-dir", hook.base,
            *pool(hook.base, "prealloc-async=on", segment=size),
            cgroup=slow) as daemon:
        hook.address = f"unix:{daemon.socket}"
        starts_without(hook, domain_xml(size=size), "no answer in time",
                       options=["--pool", "p0"], timeout=3)
        slow.lift()  # sanitizers look for leaks at the end, which takes long
        harness.wait_until(lambda: not ids(daemon), what="the cancelling")


# over a restart of hostmemd

def test_domain_keeps_its_memory_over_a_restart():
    for kill in True, False:
        with places() as hook, Keeper() as boss:
            args = ("-export-dir", hook.base, *pool(hook.base), *backend("vm8"))
            with boss.run(*args) as daemon:
                boss.settle("p0", "p0", "vm8")
                hook.address = f"unix:{daemon.socket}"
                assert hook.prepare(domain_xml(), "--pool", "p0") == ""
                assert hook.prepare(domain_xml("vm8", id=2), name="vm8") == ""
                for path in "1-vm7/pc.ram", "2-vm8/pc.ram":
                    (hook.base / path).write_bytes(b"x" * SIZE)
                boss.settle("p0", "p0", "vm8")
                (daemon.process.kill if kill else daemon.process.terminate)()
                daemon.wait()
            with boss.run() as daemon:
                boss.settle("p0", "p0", "vm8")
                hook.address = f"unix:{daemon.socket}"
                for path in "1-vm7/pc.ram", "2-vm8/pc.ram":
                    assert (hook.base / path).read_bytes() == b"x" * SIZE
                assert status(daemon)["lent-size"] == SIZE
                assert hook.release() == ""
                assert hook.release(domain_xml("vm8", id=None),
                                    name="vm8") == ""
                harness.wait_until(lambda: ready_again(daemon), what="zeroes")
                assert ids(daemon) == []
                daemon.qmp.execute("quit")
                assert daemon.wait() == 0


# huge pages

def huge_pages(hook, count):
    """A hugetlbfs as libvirt has it, for Hook.run()."""
    stack = contextlib.ExitStack()
    folder = stack.enter_context(harness.hugetlbfs())
    stack.enter_context(harness.need_huge_pages(count))
    (folder / "libvirt" / "qemu").mkdir(parents=True)
    return stack, folder


HUGE = ("<memoryBacking><hugepages/><access mode='shared'/></memoryBacking>")


def test_huge_pages_are_a_file_in_the_place_of_the_folder():
    with places() as hook:
        stack, folder = huge_pages(hook, 8)
        base = folder / "libvirt" / "qemu"
        options = ["--hugetlbfs", folder, "--pool", "p0"]
        with stack, Hostmemd(*pool(base, "hugetlb=on", "hugetlbsize=2M")) \
                as daemon:
            hook.address = f"unix:{daemon.socket}"
            assert hook.prepare(domain_xml(more=HUGE), *options) == ""
            info = (base / "1-vm7").stat()
            assert stat.S_ISREG(info.st_mode) and info.st_size == SIZE
            assert info.st_uid == OWNER
            assert hook.release(domain_xml(more=HUGE, id=None), *options) == ""
            harness.wait_until(lambda: ready_again(daemon), what="zeroes")
            assert [path.name for path in base.glob("[!.]*")] == []


def test_backing_dir_of_huge_pages():
    with places() as hook:
        stack, folder = huge_pages(hook, 12)
        base = folder / "libvirt" / "qemu"
        options = ["--memory-backing-dir", folder, "--pool", "p0"]
        with stack, Hostmemd(*pool(base, "hugetlb=on", "hugetlbsize=2M")) \
                as daemon:
            hook.address = f"unix:{daemon.socket}"
            assert hook.prepare(domain_xml(more=TWO_CELLS), *options) == ""
            assert [(base / "1-vm7" / f"ram-node{k}").stat().st_size
                    for k in (0, 1)] == [SIZE, SIZE]
            assert hook.release(domain_xml(more=TWO_CELLS, id=None),
                                *options) == ""
            harness.wait_until(lambda: ready_again(daemon), what="zeroes")


def test_huge_pages_of_the_domain_do_not_stay():
    """libvirt cannot remove a file that it takes for a folder."""
    with places() as hook:
        stack, folder = huge_pages(hook, 4)
        base = folder / "libvirt" / "qemu"
        options = ["--hugetlbfs", folder]
        with stack, Hostmemd(
                "-object", f"memory-backend-memfd,id=vm7,size={SIZE},"
                "hugetlb=on,hugetlbsize=2M,seal=off,prealloc=on,"
                f"export-path={base}/vm7") as daemon:
            hook.address = f"unix:{daemon.socket}"
            assert hook.prepare(domain_xml(more=HUGE), *options) == ""
            assert os.listdir(base) == ["1-vm7"]
            assert hook.release(domain_xml(more=HUGE, id=None), *options) == ""
            assert ids(daemon) == []
            assert os.listdir(base) == []


def test_huge_pages_that_others_have_stay():
    with places() as hook:
        stack, folder = huge_pages(hook, 4)
        base = folder / "libvirt" / "qemu"
        with stack, ready() as (other, _):
            hook.address = other.address
            for name in "7-vm7", "8-vm7", "x-vm7", "9-vm77":
                with open(base / name, "wb") as file:
                    file.truncate(2 * MIB)
            with open(base / "8-vm7", "rb"):
                said = hook.release(domain_xml(more=HUGE, id=None),
                                    "--hugetlbfs", folder)
                assert said == "", said
            assert sorted(os.listdir(base)) == ["8-vm7", "9-vm77", "x-vm7"]


# domains that ask for nothing

def test_domain_without_such_memory_is_left_alone():
    with places() as hook:  # and nobody is asked
        for more in ("", "<memoryBacking><hugepages/></memoryBacking>",
                     SHARED_FILE.replace("shared", "private"),
                     SHARED_FILE.replace("'file'", "'memfd'")):
            for call in hook.prepare, hook.release:
                assert call(domain_xml(more=more)) == "", more
        assert hook.files() == []


def test_other_steps_are_none_of_its_business():
    with places() as hook:
        for step in ("start", "started", "stopped", "reconnect", "migrate",
                     "restore", "attach", "whatever"):
            assert hook.run(step, "no XML") == "", step


# what goes wrong

def starts_without(hook, xml, *phrases, options=(), **more):
    """One line that says why, and nothing is left."""
    before = visible(hook)
    said = hook.prepare(xml, *options, **more)
    assert said.count("\n") == 1, said
    for phrase in phrases:
        assert phrase in said, (phrase, said)
    assert visible(hook) == before, hook.files()
    return said


def test_no_hostmemd():
    with places() as hook:
        starts_without(hook, domain_xml(), "domain 'vm7' starts as if",
                       "nobody")
        assert "is not given back" in hook.release()


def test_hostmemd_without_memory_for_it():
    with ready(*backend("vm8")) as (hook, _):
        starts_without(hook, domain_xml(), "neither a backend 'vm7' with")


def test_backend_without_a_name():
    with ready("-object", "memory-backend-ram,id=vm7,size=8M,share=on") \
            as (hook, daemon):
        starts_without(hook, domain_xml(), "'vm7' with an export-path")
        hook.release()
        assert ids(daemon) == ["vm7"]


def test_memory_of_another_size():
    with ready(*backend("vm7", 4 * MIB)) as (hook, daemon):
        starts_without(hook, domain_xml(), "4194304", "8388608")
        # It was not used, and stays.
        hook.release()
        assert ids(daemon) == ["vm7"]


def test_memory_for_one_of_two_cells():
    for there in "vm7-node0", "vm7-node1":
        with ready(*backend(there)) as (hook, daemon):
            starts_without(hook, domain_xml(more=TWO_CELLS),
                           "no backend 'vm7-node")
            assert ids(daemon) == [there]


def test_second_cell_fails_and_the_first_goes_back():
    with ready(*backend("vm7-node0"), *backend("vm7-node1")) \
            as (hook, daemon):
        starts_without(hook, domain_xml(more=TWO_CELLS), "4194304")
        assert sorted(hook.files()) == ["vm7-node0", "vm7-node1"]
        assert ids(daemon) == ["vm7-node0", "vm7-node1"]


def test_last_of_three_cells_fails_and_all_go_back():
    names = [f"vm7-node{k}" for k in range(3)]
    more = SHARED_FILE + "<cpu><numa>" + "".join(
        f"<cell id='{k}' memory='{8 if k < 2 else 4}' unit='MiB'/>"
        for k in range(3)) + "</numa></cpu>"
    with ready(*(arg for name in names for arg in backend(name))) \
            as (hook, daemon):
        starts_without(hook, domain_xml(more=more), "4194304")
        assert hook.files() == names
        assert ids(daemon) == names


def test_memory_on_another_filesystem():
    with ready() as (hook, daemon), harness.tmpfs(SIZE) as folder:
        daemon.qmp.execute("object-add", {
            "qom-type": "memory-backend-ram", "id": "vm7", "size": SIZE,
            "share": True, "export-path": f"{folder}/vm7"})
        starts_without(hook, domain_xml(), "another filesystem")
        assert os.listdir(folder) == ["vm7"]


def test_no_folder_of_libvirt():
    with ready(*backend("vm7")) as (hook, _), harness.scratch() as other:
        said = hook.prepare(domain_xml(), "--memory-backing-dir", other)
        assert "memory_backing_dir" in said, said
        assert hook.files() == ["vm7"]


def test_folder_of_somebody_else_is_not_used():
    with ready(*backend("vm7")) as (hook, _):
        (hook.base / "1-vm7").mkdir()
        os.chown(hook.base / "1-vm7", 12345, 12345)
        starts_without(hook, domain_xml(), "somebody else")


def test_link_in_the_place_of_the_folder_is_not_followed():
    with ready(*backend("vm7")) as (hook, _), harness.scratch() as other:
        (hook.base / "1-vm7").symlink_to(other)
        starts_without(hook, domain_xml(), "1-vm7")
        assert os.listdir(other) == []


def test_something_else_is_in_its_place():
    with ready(*backend("vm7")) as (hook, _):
        (hook.base / "1-vm7").mkdir()
        (hook.base / "1-vm7" / "pc.ram").write_text("x")
        starts_without(hook, domain_xml(), "there already")
        assert (hook.base / "1-vm7" / "pc.ram").read_text() == "x"


def test_memory_of_another_domain_is_in_its_place():
    with ready_pool() as (hook, daemon):
        stranger = domain_xml().replace("8d8b0ab5", "00000000")
        assert hook.prepare(stranger, "--pool", "p0") == ""
        starts_without(hook, domain_xml(), "not of this domain",
                       options=["--pool", "p0"])
        assert status(daemon)["lent-size"] == SIZE
    with ready(*backend("vm7")) as (hook, _):
        (hook.base / "1-vm7").mkdir()
        (hook.base / "1-vm7" / "pc.ram").write_bytes(bytes(SIZE))
        starts_without(hook, domain_xml(), "not of this domain")
        assert "vm7" in hook.files()


# bad input

def test_bad_input():
    with ready(*backend("vm7")) as (hook, _):
        for xml, phrase in (
                ("", "no XML"), ("<domain", "no XML"), ("\0", "no XML"),
                ("<network><name>vm7</name></network>", "no domain"),
                (domain_xml(id=None), "no id"),
                (domain_xml(name="vm8"), "another one, 'vm8'"),
                (domain_xml(name="../x"), "no name"),
                (domain_xml(size="-1"), "/domain/memory: '-1' is no number"),
                (domain_xml(owner="root"), "+UID:+GID"),
                ("<domain>" + "<a>" * 1000, "levels"),
                ("<domain><!--" + " " * (5 * MIB), "4 MiB")):
            starts_without(hook, xml, phrase)


def test_bad_bytes():
    with ready(*backend("vm7")) as (hook, _):
        said = hook.prepare(b"<domain>\xff\x1b[2J</domain>").decode()
        assert "no XML" in said and "\x1b" not in said, said


def test_bad_options_start_the_domain():
    for options in (["--bogus"], ["--timeout", "0"], ["--timeout", "x"],
                    ["--timeout", "nan"], [], ["vm7"]):
        result = subprocess.run(
            [harness.program("hostmem-libvirt-hook"), *options],
            stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert result.returncode == 0, result
        assert result.stderr.count("\n") == 1 and not result.stdout, result


def test_help_and_version():
    for option, phrase in (("--help", "--memory-backing-dir"),
                           ("--version", "hostmem-libvirt-hook version ")):
        result = subprocess.run(
            [harness.program("hostmem-libvirt-hook"), option],
            capture_output=True, text=True)
        assert result.returncode == 0 and phrase in result.stdout, result


# time

@contextlib.contextmanager
def peer(serve):
    """A server whose connections are served by a function."""
    with harness.scratch() as folder, \
            socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "qmp"))
        listener.listen()
        connections = []

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    connections.append(listener.accept()[0])
                    serve(connections[-1])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"unix:{folder}/qmp"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(20)
            for connection in connections:
                connection.close()


def hangs_in_time(serve):
    with places() as hook, peer(serve) as address:
        hook.address = address
        starts_without(hook, domain_xml(), "no answer in time", timeout=2)
        limit = 2 * harness.PATIENCE
        assert hook.seconds < limit + 10, hook.seconds
        said = hook.release(timeout=1)
        assert "not given back" in said, said


def test_hostmemd_that_does_not_greet():
    hangs_in_time(lambda connection: None)


def test_hostmemd_that_does_not_answer():
    def greet(connection):
        connection.sendall(
            b'{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": '
            b'0}, "package": "hostmem 1"}, "capabilities": []}}\n')

    hangs_in_time(greet)


def test_peer_that_is_no_hostmemd():
    def babble(connection):
        with contextlib.suppress(OSError):
            connection.sendall(b"220 mail.example.org\r\n" * 100)

    with places() as hook, peer(babble) as address:
        hook.address = address
        starts_without(hook, domain_xml(), "starts as if")


def test_stopped_hostmemd():
    with ready(*backend("vm7")) as (hook, daemon):
        os.kill(daemon.pid, 19)  # SIGSTOP
        try:
            starts_without(hook, domain_xml(), "no answer in time", timeout=2)
        finally:
            os.kill(daemon.pid, 18)  # SIGCONT


def test_libvirt_that_does_not_say_what_it_is():
    read_end, write_end = os.pipe()
    try:
        result = subprocess.run(
            [harness.program("hostmem-libvirt-hook"), "--timeout", "1", "vm7",
             "prepare", "begin", "-"], stdin=read_end, capture_output=True,
            text=True, timeout=60)
        assert result.returncode == 0, result
        assert "does not say" in result.stderr, result
    finally:
        os.close(read_end)
        os.close(write_end)


if __name__ == "__main__":
    harness.main()
