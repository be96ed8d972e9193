# SPDX-License-Identifier: LGPL-2.1-or-later
"""A start that fails when its objects are there leaves files as they were."""

import os

import harness
from expect import fails
from harness import MIB, scratch, tmpfs


def file_object(path, id="m0"):
    return ("-object", f"memory-backend-file,id={id},size=4M,share=on,"
            f"prealloc=on,mem-path={path}")


def test_device_that_fails():
    text = "virtio-mem,memdev=nosuch"
    with scratch() as folder:
        fails(*file_object(folder / "new"), "-device", text,
              phrases=[f"-device {text}: Device 'nosuch' not found"],
              folder=folder)


def test_second_device_that_fails():
    """The first one has a hold on the memory."""
    with scratch() as folder:
        fails("-object", "memory-backend-file,id=m0,size=4M,share=on,"
              f"mem-path={folder}/new",
              "-device", "virtio-mem,memdev=m0,id=a",
              "-device", "virtio-mem,memdev=m0,id=b",
              phrases=["-device virtio-mem,memdev=m0,id=b: "], folder=folder)


def test_pidfile_that_fails():
    """On a full tmpfs: that is seen when it is written, and not before."""
    with tmpfs(4096) as full, scratch() as folder:
        (full / "all").write_bytes(bytes(4096))
        fails(*file_object(folder / "new"), "-pidfile", full / "pid",
              phrases=["PID file", "No space left"], folder=folder)


def test_command_that_cannot_be_given_the_memory():
    with scratch() as folder:
        fails(*file_object(folder / "new"), "-object",
              "memory-backend-ram,id=m1,size=1M", "--run", "echo {m1}",
              "--quiet", phrases=["m1"], folder=folder)


def test_empty_file():
    with scratch() as folder:
        (folder / "empty").touch()
        fails(*file_object(folder / "empty"), "-device",
              "virtio-mem,memdev=nosuch", folder=folder)
        assert os.stat(folder / "empty").st_size == 0


def test_file_with_content():
    with scratch() as folder:
        content = os.urandom(4 * MIB)
        (folder / "old").write_bytes(content)
        fails(*file_object(folder / "old"), "-device",
              "virtio-mem,memdev=nosuch", folder=folder)
        assert (folder / "old").read_bytes() == content


def test_command_that_fails():
    """It has started: the memory was its own."""
    with scratch() as folder:
        result = harness.run_hostmemd(
            [*file_object(folder / "new"), "--quiet", "--run", "exit 3"])
        assert result.returncode == 3, result
        assert os.listdir(folder) == ["new"]


if __name__ == "__main__":
    harness.main()
