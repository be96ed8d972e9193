# SPDX-License-Identifier: LGPL-2.1-or-later
"""get-memory-fd: the memory of a backend by descriptors, for who may have it."""

import contextlib
import fcntl
import mmap
import os
import resource
import socket
import subprocess
import time

import harness
from harness import (MIB, Hostmemd, QmpClient, QmpError, need_huge_pages,
                     need_root, program,
                     raises, run_as, scratch, wait_until)
from fdclient import FdClient

MEMFD = "memory-backend-memfd,id=m0,size=4M"
NOBODY = 65534
F_GET_SEALS = 1034
SEALED = 0x2 | 0x4  # F_SEAL_SHRINK, F_SEAL_GROW


def open_fds(daemon):
    """Descriptors that it has open."""
    return len(os.listdir(f"/proc/{daemon.pid}/fd"))


@contextlib.contextmanager
def asked(daemon, name="m0"):
    """Its answer and the descriptors, which are closed at the end."""
    with FdClient(daemon.socket) as client:
        answer, fds = client.execute("get-memory-fd", {"id": name})
        try:
            yield answer, fds
        finally:
            for fd in fds:
                os.close(fd)


def test_answer():
    with Hostmemd("-object", MEMFD) as daemon, asked(daemon) as (answer, fds):
        assert answer == {
            "id": "m0", "size": 4 * MIB, "page-size": mmap.PAGESIZE,
            "sealed": True, "in-use": False,
            "parts": [{"offset": 0, "length": 4 * MIB, "fd-offset": 0}]
        }, answer
        assert len(fds) == 1
        assert os.fstat(fds[0]).st_size == 4 * MIB


def test_bytes_are_seen_both_ways():
    with Hostmemd("-object", MEMFD) as daemon:
        with asked(daemon) as (_, [one]), asked(daemon) as (_, [other]):
            with mmap.mmap(one, 4 * MIB) as first, \
                    mmap.mmap(other, 4 * MIB) as second:
                first[5] = 55
                second[4 * MIB - 1] = 66
                assert second[5] == 55 and first[4 * MIB - 1] == 66
        with asked(daemon) as (_, [again]):
            with mmap.mmap(again, 4 * MIB) as third:
                assert third[5] == 55, "the daemon has lost it"


def test_part_of_a_file():
    with scratch() as folder:
        path = folder / "f"
        path.write_bytes(bytes(8192) + b"x" * 4096)
        with Hostmemd("-object", "memory-backend-file,id=m0,size=4K,"
                      f"offset=8K,share=on,mem-path={path}") as daemon, \
                asked(daemon) as (answer, [fd]):
            assert answer["parts"] == [
                {"offset": 0, "length": 4096, "fd-offset": 8192}], answer
            assert not answer["sealed"]
            assert os.pread(fd, 1, 8192) == b"x"


def test_sealed():
    with Hostmemd("-object", MEMFD) as daemon, asked(daemon) as (_, [fd]):
        assert fcntl.fcntl(fd, F_GET_SEALS) & SEALED == SEALED
        with raises(PermissionError):
            os.ftruncate(fd, 0)


def test_not_sealed():
    with Hostmemd("-object", MEMFD + ",seal=off") as daemon, \
            asked(daemon) as (answer, _):
        assert answer["sealed"] is False


def test_open_file_is_not_the_daemons():
    with Hostmemd("-object", MEMFD) as daemon, asked(daemon) as (_, [fd]):
        os.lseek(fd, 4096, os.SEEK_SET)
        with asked(daemon) as (_, [other]):
            assert os.lseek(other, 0, os.SEEK_CUR) == 0


def in_use(daemon, name="m0"):
    """As it is told of a backend, and to who asks for its memory."""
    [told] = [memdev["in-use"] for memdev in daemon.qmp.execute("query-memdev")
              if memdev["id"] == name]
    with asked(daemon, name) as (answer, _):
        assert answer["in-use"] is told, answer
    return told


def told_who_has_it(backend):
    with Hostmemd("-object", backend) as daemon:
        assert not in_use(daemon)
        with asked(daemon) as (_, [fd]):
            assert in_use(daemon)
            memory = mmap.mmap(fd, 4 * MIB)
        assert in_use(daemon)
        memory.close()
        assert not in_use(daemon)


def test_who_has_it_is_told():
    told_who_has_it(MEMFD)
    told_who_has_it(MEMFD + ",seal=off,prealloc=on")
    told_who_has_it("memory-backend-ram,id=m0,size=4M,share=on,thp=off")
    told_who_has_it("memory-backend-shm,id=m0,size=4M")


def test_who_has_a_file_is_told():
    with scratch() as folder:
        path = folder / "f"
        told_who_has_it("memory-backend-file,id=m0,size=4M,share=on,"
                        f"mem-path={path}")


def test_who_has_huge_pages_is_told():
    with need_huge_pages(2):
        told_who_has_it(MEMFD + ",hugetlb=on,hugetlbsize=2M")


def test_who_has_what_a_pool_has_lent_is_told():
    with Hostmemd("-object", "memory-pool,id=p0,size=8M,segment-size=2M",
                  "-object", "memory-backend-ram,id=m0,size=6M,share=on,"
                  "pool=p0") as daemon:
        assert not in_use(daemon)
        with asked(daemon) as (_, fds):
            for fd in fds[:2]:
                os.close(fd)
            assert in_use(daemon)
            fds[:2] = []
        assert not in_use(daemon)


def test_first_of_many_at_once_is_told_that_nobody_has_it():
    with Hostmemd("-object", MEMFD) as daemon, \
            contextlib.ExitStack() as stack:
        clients = [stack.enter_context(FdClient(daemon.socket))
                   for _ in range(8)]
        for _ in range(20):
            for client in clients:
                client.start("get-memory-fd", {"id": "m0"})
            taken = [client.take_answer() for client in clients]
            for _, [fd] in taken:
                os.close(fd)
            told = sorted(answer["in-use"] for answer, _ in taken)
            assert told == [False] + 7 * [True], told


def test_who_has_private_memory_is_not_told():
    with Hostmemd("-object", "memory-backend-ram,id=m0,size=4M") as daemon:
        [memdev] = daemon.qmp.execute("query-memdev")
        assert "in-use" not in memdev


def test_private_memory():
    with Hostmemd("-object", "memory-backend-ram,id=m0,size=4M") as daemon:
        with raises(QmpError, "is private", "share=on"):
            daemon.qmp.execute("get-memory-fd", id="m0")


def test_what_is_no_backend():
    with Hostmemd("-object", "thread-context,id=t0") as daemon:
        with raises(QmpError, "DeviceNotFound", "'m0' not found"):
            daemon.qmp.execute("get-memory-fd", id="m0")
        with raises(QmpError, "expected: memory-backend"):
            daemon.qmp.execute("get-memory-fd", id="t0")


def test_memory_outlives_its_backend():
    with Hostmemd("-object", MEMFD) as daemon, asked(daemon) as (_, [fd]):
        with mmap.mmap(fd, 4 * MIB) as memory:
            memory[0] = 7
            daemon.qmp.execute("object-del", id="m0")
            assert memory[0] == 7 and memory[4096] == 0


def test_nothing_leaks():
    with Hostmemd("-object", MEMFD) as daemon:
        before = open_fds(daemon)
        for _ in range(50):
            with asked(daemon):
                pass
        wait_until(lambda: open_fds(daemon) == before,
                   what="descriptors to be closed")


def test_session_that_goes_at_once():
    with Hostmemd("-object", MEMFD) as daemon:
        before = open_fds(daemon)
        for _ in range(50):
            with FdClient(daemon.socket) as client:
                for _ in range(5):
                    client.start("get-memory-fd", {"id": "m0"})
        daemon.connect().execute("query-version")
        wait_until(lambda: open_fds(daemon) <= before + 1,
                   what="descriptors to be closed")


def test_who_does_not_read_is_not_served():
    with Hostmemd("-object", MEMFD) as daemon:
        before = open_fds(daemon)
        with FdClient(daemon.socket) as client:
            sent = client.start_many("get-memory-fd", {"id": "m0"}, 3000)
            daemon.qmp.execute("query-version")
            assert open_fds(daemon) <= before + 4, open_fds(daemon)
            for _ in range(sent):
                _, fds = client.take_answer()
                assert len(fds) == 1
                os.close(fds[0])
        daemon.qmp.execute("query-version")


def test_not_out_of_band():
    with Hostmemd("-object", MEMFD) as daemon:
        client = daemon.connect(negotiate=False)
        client.negotiate("oob")
        with raises(QmpError, "does not support OOB"):
            client.execute("get-memory-fd", id="m0", oob=True)


def test_not_over_tcp():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Hostmemd("-object", MEMFD, "-qmp", f"tcp:127.0.0.1:{port}"):
        with QmpClient.tcp("127.0.0.1", port) as client:
            with raises(QmpError, "needs a session on a Unix socket"):
                client.negotiate().execute("get-memory-fd", id="m0")


def test_not_over_standard_output():
    with subprocess.Popen(
            [program("hostmemd"), "-object", MEMFD, "-qmp", "stdio"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, bufsize=0) as process:
        with QmpClient(os.dup(process.stdout.fileno()),
                       os.dup(process.stdin.fileno())) as client:
            client.negotiate()
            wait_until(lambda: client.execute("query-memdev"))
            with raises(QmpError, "needs a session on a Unix socket"):
                client.execute("get-memory-fd", id="m0")
            client.execute("quit")
        assert process.wait(10) == 0


# who may have it

def ask_as(uid, path):
    """What somebody else is answered, and how many descriptors he gets."""
    def ask():
        with FdClient(path) as client:
            client.start("get-memory-fd", {"id": "m0"})
            message, fds = client.take_message()
            return {**message, "fds": len(fds), "pid": os.getpid()}
    return run_as(uid, ask)


@contextlib.contextmanager
def open_to_all(*options):
    """A daemon with a socket that everybody can connect to."""
    need_root()
    with scratch() as folder:
        folder.chmod(0o755)
        path = folder / "open"
        text = ",".join([f"unix:{path}", "mode=0666", *options])
        with Hostmemd("-object", MEMFD, "-qmp", text) as daemon:
            yield daemon, path


def test_others_are_refused():
    with open_to_all() as (daemon, path):
        answer = ask_as(NOBODY, path)
        assert answer["error"]["class"] == "GenericError", answer
        for text in answer["error"]["desc"], daemon.stderr:
            for word in f"uid {NOBODY}", f"gid {NOBODY}", "pid ", "'m0'":
                assert word in text, text
        assert f"pid {answer['pid']}" in daemon.stderr


def test_others_may_look():
    """The mode says who may connect; a refusal ends nothing."""
    with open_to_all() as (daemon, path):
        ask_as(NOBODY, path)
        daemon.qmp.execute("query-version")


def test_allowed_users():
    for user in str(NOBODY), "nobody":
        with open_to_all("allow-uid=1", f"allow-uid={user}") as (_, path):
            answer = ask_as(NOBODY, path)
            assert answer["return"]["size"] == 4 * MIB, answer
            assert answer["fds"] == 1
            assert "error" in ask_as(2, path)


def test_list_is_of_one_socket():
    with open_to_all(f"allow-uid={NOBODY}") as (daemon, path):
        other = path.parent / "other"
        with Hostmemd("-object", MEMFD, "-qmp", f"unix:{other},mode=0666"):
            assert "error" in ask_as(NOBODY, other)
        assert "return" in ask_as(NOBODY, path)


def test_own_user_is_allowed():
    """Also when that is not root."""
    with as_nobody() as (daemon, path):
        assert "return" in ask_as(NOBODY, path)
        assert "return" in ask_as(0, path)
        assert "error" in ask_as(2, path)


@contextlib.contextmanager
def as_nobody(files=256):
    """A hostmemd of another user, with few descriptors."""
    need_root()
    with scratch() as folder:
        os.chown(folder, NOBODY, NOBODY)
        folder.chmod(0o755)
        path = folder / "s"
        process = subprocess.Popen(
            [program("hostmemd"), "-object", MEMFD, "-qmp",
             f"unix:{path},mode=0666"],
            user=NOBODY, group=NOBODY, extra_groups=[], cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE,
                                                  (files, files)))
        try:
            def connect():
                if process.poll() is not None:
                    harness.skip("hostmemd does not start as another user: "
                                 + process.stderr.read())
                with contextlib.suppress(OSError):
                    return QmpClient.unix(path).negotiate()
            with wait_until(connect) as client:
                wait_until(lambda: client.execute("query-memdev"))
            yield process, path
        finally:
            process.terminate()
            process.wait(20)
            process.stderr.close()


def take_late(client, count, seconds):
    """Messages of as many answers, of which none is taken for a while."""
    sent = client.start_many("get-memory-fd", {"id": "m0"}, count)
    time.sleep(seconds)
    answers = [client.take_message() for _ in range(sent)]
    for _, fds in answers:
        for fd in fds:
            os.close(fd)
    return [message for message, _ in answers]


def test_too_many_in_flight():
    """The kernel takes no more from a user: an error, and life goes on."""
    with as_nobody(files=64) as (process, path), FdClient(path) as client:
        # A daemon that gets no CPU sends nothing that could be too much.
        for seconds in 0.3, 3, 20:
            answers = take_late(client, 100, seconds)
            refused = [answer for answer in answers if "error" in answer]
            if refused:
                break
        assert refused, "the limit was not met"
        assert len(refused) < len(answers)
        assert "RLIMIT_NOFILE" in refused[0]["error"]["desc"], refused[0]
        _, [fd] = client.execute("get-memory-fd", {"id": "m0"})
        os.close(fd)
        assert process.poll() is None


# a peer that the daemon does not know

def test_who_has_it_may_open_it_anew():
    """As QEMU does with what it inherited, as whatever user it runs."""
    need_root()
    for options in "memory-backend-shm,id=m0,size=4M", MEMFD + ",seal=off":
        with Hostmemd("-object", options) as daemon, \
                asked(daemon) as (_, [fd]):
            run_as(NOBODY,
                   lambda: os.open(f"/proc/self/fd/{fd}", os.O_RDWR))


if __name__ == "__main__":
    harness.main()
