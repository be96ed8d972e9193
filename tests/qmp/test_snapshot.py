# SPDX-License-Identifier: LGPL-2.1-or-later
"""memory-snapshot, and backends made of images."""

import contextlib
import mmap
import os
import pathlib

import harness
from expect import under
from fdclient import FdClient
from harness import (MIB, Hostmemd, QmpError, need_huge_pages, need_program,
                     need_root, raises, scratch, skip, wait_until)

SIZE = 64 * MIB
PAGE = mmap.PAGESIZE
JOB = "m0:snapshot"


def add(client, object_id="m0", kind="memfd", **more):
    options = {"qom-type": f"memory-backend-{kind}", "id": object_id,
               "size": SIZE}
    options.update((k.replace("_", "-"), v) for k, v in more.items())
    client.execute("object-add", options)


def snapshot(client, path, **more):
    arguments = {"id": "m0", "file": str(path)}
    arguments.update((k.replace("_", "-"), v) for k, v in more.items())
    try:
        return client.execute("memory-snapshot", arguments)
    except QmpError as error:
        if "CAP_SYS_PTRACE" in str(error) or "this kernel" in str(error):
            skip(str(error))
        raise


@contextlib.contextmanager
def memory_of(daemon, object_id="m0"):
    with FdClient(daemon.socket) as client:
        _, [fd] = client.execute("get-memory-fd", {"id": object_id})
    try:
        with mmap.mmap(fd, SIZE) as memory:
            yield memory
    finally:
        os.close(fd)


def fill(memory):
    """Something in every fourth page of the first half."""
    for at in range(0, SIZE // 2, 4 * PAGE):
        memory[at:at + 8] = at.to_bytes(8, "little")
    memory[5] = 5


def wait_for(client, object_id=JOB):
    """Until the job is over; returns it."""
    def over():
        for job in client.execute("query-jobs"):
            if job["id"] == object_id and job["status"] == "concluded":
                return job
        return None
    return wait_until(over, timeout=60)


def take(daemon, path):
    """An image of memory that has something in it, which is returned."""
    add(daemon.qmp)
    with memory_of(daemon) as memory:
        fill(memory)
        snapshot(daemon.qmp, path, allow_exposed=True)
        job = wait_for(daemon.qmp)
        assert "error" not in job, job
        return bytes(memory)


def test_round():
    with scratch() as folder, Hostmemd() as daemon:
        before = take(daemon, folder / "image")
        add(daemon.qmp, "m1", image=str(folder / "image"))
        with memory_of(daemon, "m1") as memory:
            assert memory[:] == before
        image = folder / "image"
        assert image.stat().st_size > SIZE
        assert image.stat().st_blocks * 512 < SIZE / 4
        assert image.stat().st_mode & 0o777 == 0o600
        assert os.listdir(folder) == ["image"]


def free_huge_pages():
    return int(pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/"
                            "free_hugepages").read_text())


def test_huge_pages():
    with need_huge_pages(2 * SIZE // (2 * MIB)), scratch() as folder, \
            Hostmemd() as daemon:
        add(daemon.qmp, hugetlb=True)
        before = free_huge_pages()
        with memory_of(daemon) as memory:
            fill(memory)
            snapshot(daemon.qmp, folder / "image", allow_exposed=True)
            assert "error" not in wait_for(daemon.qmp)
            # The second half was never touched, and still is not.
            assert free_huge_pages() == before - SIZE // 2 // (2 * MIB)
            content = bytes(memory)
        with raises(QmpError, "pages of 2 MiB, and these are of 4 KiB"):
            add(daemon.qmp, "m1", image=str(folder / "image"))
        add(daemon.qmp, "m1", hugetlb=True, image=str(folder / "image"))
        with memory_of(daemon, "m1") as memory:
            assert memory[:] == content


def test_job():
    with scratch() as folder, Hostmemd() as daemon:
        client = daemon.qmp
        add(client)
        answer = snapshot(client, folder / "image")
        assert answer == {"job": JOB}, answer
        for status in ("created", "running", "concluded"):
            event = client.wait_event("JOB_STATUS_CHANGE")["data"]
            assert event == {"id": JOB, "status": status}, event
        job = wait_for(client)
        assert job == {"id": JOB, "type": "snapshot", "status": "concluded",
                       "current-progress": SIZE, "total-progress": SIZE}, job
        client.execute("job-dismiss", {"id": JOB})
        assert client.execute("query-jobs") == []


def test_beside_a_prealloc_job():
    with scratch() as folder, Hostmemd() as daemon:
        add(daemon.qmp, kind="ram", prealloc=True, prealloc_async=True)
        snapshot(daemon.qmp, folder / "image")
        assert "error" not in wait_for(daemon.qmp)
        assert "error" not in wait_for(daemon.qmp, "m0")
        types = {j["id"]: j["type"] for j in daemon.qmp.execute("query-jobs")}
        assert types == {"m0": "prealloc", JOB: "snapshot"}, types


@contextlib.contextmanager
def slow_snapshot(daemon, path):
    """One that goes on until it is ended."""
    add(daemon.qmp)
    with memory_of(daemon) as memory:
        memory[:] = b"x" * SIZE
    snapshot(daemon.qmp, path, max_bandwidth=MIB, allow_exposed=True)
    yield
    job = wait_for(daemon.qmp)
    assert "cancel" in job["error"], job
    assert not path.exists()


def test_cancel():
    with scratch() as folder, Hostmemd() as daemon:
        with slow_snapshot(daemon, folder / "image"):
            assert os.listdir(folder) == []
            daemon.qmp.execute("job-cancel", {"id": JOB})


def test_meanwhile():
    """What cannot be done while one is taken is refused."""
    with scratch() as folder, Hostmemd() as daemon:
        client = daemon.qmp
        with slow_snapshot(daemon, folder / "image"):
            with raises(QmpError, "in use"):
                client.execute("object-del", {"id": "m0"})
            with raises(QmpError, "another one is being taken"):
                snapshot(client, folder / "other", allow_exposed=True)
            with raises(QmpError, "busy memdev"):
                client.execute("device_add", {"driver": "virtio-mem",
                                              "memdev": "m0"})
            client.execute("job-cancel", {"id": JOB})
        client.execute("object-del", {"id": "m0"})


def test_get_memory_fd_meanwhile():
    """Memory that nobody has must stay so until the snapshot is taken."""
    with scratch() as folder:
        with Hostmemd() as daemon:
            take(daemon, folder / "image")
        with Hostmemd() as daemon, FdClient(daemon.socket) as client:
            add(daemon.qmp, image=str(folder / "image"))
            snapshot(daemon.qmp, folder / "other", max_bandwidth=MIB)
            client.start("get-memory-fd", {"id": "m0"})
            message, fds = client.take_message()
            assert "while a snapshot of it is taken" in \
                message["error"]["desc"], message
            assert not fds
            daemon.qmp.execute("job-cancel", {"id": JOB})
            wait_for(daemon.qmp)
            with memory_of(daemon) as memory:
                assert memory[5] == 5


def test_quit_meanwhile():
    with scratch() as folder, Hostmemd() as daemon:
        add(daemon.qmp)
        with memory_of(daemon) as memory:
            memory[:] = b"x" * SIZE
        snapshot(daemon.qmp, folder / "image", max_bandwidth=MIB,
                 allow_exposed=True)
        daemon.qmp.execute("quit")
        assert daemon.wait() == 0
        assert os.listdir(folder) == []


def test_killed_meanwhile():
    with scratch() as folder, Hostmemd() as daemon:
        add(daemon.qmp)
        with memory_of(daemon) as memory:
            memory[:] = b"x" * SIZE
            snapshot(daemon.qmp, folder / "image", max_bandwidth=MIB,
                     allow_exposed=True)
            daemon.process.kill()
            daemon.process.wait()
            memory[:] = b"y" * SIZE
        assert os.listdir(folder) == []


def test_exposed_is_refused():
    with scratch() as folder, Hostmemd() as daemon:
        add(daemon.qmp)
        with memory_of(daemon):
            with raises(QmpError, "another process", "allow-exposed"):
                snapshot(daemon.qmp, folder / "image")
        assert os.listdir(folder) == []


def test_named_is_refused():
    with scratch() as folder, Hostmemd() as daemon:
        add(daemon.qmp, kind="file", share=True,
            mem_path=f"/dev/shm/hostmem-test-{os.getpid()}")
        try:
            with raises(QmpError, "by name", "allow-exposed"):
                snapshot(daemon.qmp, folder / "image")
        finally:
            os.unlink(f"/dev/shm/hostmem-test-{os.getpid()}")


def test_bad_arguments():
    with scratch() as folder, Hostmemd() as daemon:
        add(daemon.qmp)
        for phrase, arguments in (
                ("'file' is missing", {"id": "m0"}),
                ("m9", {"id": "m9", "file": str(folder / "image")}),
                ("No such file", {"id": "m0", "file": str(folder / "x/y")}),
                ("no path of a file", {"id": "m0", "file": ""}),
                ("threads", {"id": "m0", "file": "x", "threads": -1})):
            with raises(QmpError, phrase):
                daemon.qmp.execute("memory-snapshot", arguments)
        (folder / "image").write_text("mine")
        with raises(QmpError, "File exists"):
            snapshot(daemon.qmp, folder / "image")
        assert (folder / "image").read_text() == "mine"


def test_disk_full():
    need_root()
    with harness.tmpfs(size="8M") as folder, Hostmemd() as daemon:
        add(daemon.qmp)
        with memory_of(daemon) as memory:
            memory[:] = b"x" * SIZE
            snapshot(daemon.qmp, pathlib.Path(folder) / "image",
                     allow_exposed=True)
            job = wait_for(daemon.qmp)
            assert "No space left on device" in job["error"], job
            memory[:] = b"y" * SIZE
        assert os.listdir(folder) == []
        daemon.qmp.execute("object-del", {"id": "m0"})


def test_bad_images():
    with scratch() as folder, Hostmemd() as daemon:
        image = folder / "image"
        take(daemon, image)
        client = daemon.qmp
        with raises(QmpError, f"it is of {SIZE} bytes of memory"):
            add(client, "m1", image=str(image), size=2 * SIZE)
        with raises(QmpError, "No such file"):
            add(client, "m1", image=str(folder / "nosuch"))
        with open(image, "r+b") as file:
            file.seek(64 * 1024 + 4 * PAGE + 3)
            file.write(b"!")
        with raises(QmpError, "it was altered"):
            add(client, "m1", image=str(image), prealloc=True)
        os.truncate(image, image.stat().st_size - 1)
        with raises(QmpError, "it was cut short"):
            add(client, "m1", image=str(image))
        assert [m["id"] for m in client.execute("query-memdev")] == ["m0"]


# Root without CAP_SYS_PTRACE and without the device.
NOT_ALLOWED = ("unshare", "-m", "sh", "-c",
               "mount --bind /dev/null /dev/userfaultfd && "
               "exec setpriv --bounding-set=-sys_ptrace \"$@\"", "sh")


def test_not_allowed():
    need_root()
    need_program("setpriv")
    if pathlib.Path("/proc/sys/vm/unprivileged_userfaultfd").read_text() != \
            "0\n" or not pathlib.Path("/dev/userfaultfd").exists():
        skip("everybody may hold up writes, or there is no device")
    with scratch() as folder, \
            Hostmemd(under=under(*NOT_ALLOWED)) as daemon:
        add(daemon.qmp, kind="ram")
        with raises(QmpError, "CAP_SYS_PTRACE", "/dev/userfaultfd",
                    "vm.unprivileged_userfaultfd"):
            daemon.qmp.execute("memory-snapshot", {
                "id": "m0", "file": str(folder / "image")})
        assert os.listdir(folder) == []


if __name__ == "__main__":
    harness.main()
