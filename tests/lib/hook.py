# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmem-libvirt-hook as libvirt runs it, without a libvirt."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import subprocess
import time

from harness import MIB, PATIENCE, need_root, program, scratch

UUID = "8d8b0ab5-4e5b-40ba-a1bb-8a6c74929b34"
SHARED_FILE = ("<memoryBacking><source type='file'/>"
               "<access mode='shared'/></memoryBacking>")
OWNER = 65534  # uid and gid of QEMU


def domain_xml(name="vm7", size=8 * MIB, id=1, more=SHARED_FILE, owner=OWNER):
    """As libvirt describes it; @id=None: it does not run."""
    number = "" if id is None else f" id='{id}'"
    return (f"<domain type='kvm'{number}><name>{name}</name>"
            f"<uuid>{UUID}</uuid><memory unit='b'>{size}</memory>"
            "<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>"
            f"{more}<seclabel type='static' model='dac'>"
            f"<label>+{owner}:+{owner}</label></seclabel></domain>")


class Hook:
    """The hook of a libvirt whose memory_backing_dir is a folder of ours.

    @base is where libvirt has a folder for each domain; a hostmemd may have its
    -export-dir there.
    """

    def __init__(self, folder, address=None):
        self.folder = pathlib.Path(folder)
        self.base = self.folder / "libvirt" / "qemu"
        self.address = address
        self.seconds = 0.0  # that the last call took

    def command(self, operation, *options, name="vm7", timeout=10):
        """What libvirt would start."""
        return list(map(str, [
            program("hostmem-libvirt-hook"),
            "--connect", self.address or f"unix:{self.folder}/nobody",
            "--memory-backing-dir", self.folder,
            "--timeout", timeout * PATIENCE, *options, "--", name, operation,
            "begin" if operation == "prepare" else "end", "-"]))

    def run(self, operation, xml, *options, name="vm7", timeout=10):
        """One call, which must end in time and well; returns its stderr."""
        start = time.monotonic()
        result = subprocess.run(
            self.command(operation, *options, name=name, timeout=timeout),
            input=xml, capture_output=True,
            text=isinstance(xml, str), timeout=timeout * PATIENCE + 20)
        self.seconds = time.monotonic() - start
        assert result.returncode == 0, result
        assert not result.stdout, result  # libvirt would take it for XML
        self._check_lock(name)
        return result.stderr

    def prepare(self, xml=None, *options, **more):
        return self.run("prepare", domain_xml() if xml is None else xml,
                        *options, **more)

    def release(self, xml=None, *options, **more):
        return self.run("release", domain_xml(id=None) if xml is None else xml,
                        *options, **more)

    def lock(self, name="vm7"):
        """The file that keeps calls for a domain apart, when root calls."""
        key = hashlib.sha256(f"{self.base}/{name}".encode()).hexdigest()
        return pathlib.Path(f"/run/hostmem-libvirt-hook-{key[:32]}")

    def _check_lock(self, name):
        """It is gone, or another call has it."""
        with contextlib.suppress(FileNotFoundError), \
                open(self.lock(name), "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            assert not self.lock(name).exists(), "a lock is left"

    def files(self):
        """All that is in the folder of domains."""
        return sorted(str(path.relative_to(self.base))
                      for path in self.base.rglob("*"))


@contextlib.contextmanager
def places():
    """A Hook whose folders go away."""
    need_root()
    with scratch() as folder:
        folder.chmod(0o755)
        hook = Hook(folder)
        hook.base.mkdir(parents=True)
        try:
            yield hook
        finally:
            # What a hostmemd has left for the next one.
            while os.path.ismount(hook.base):
                subprocess.run(["umount", "-l", hook.base], check=True)
