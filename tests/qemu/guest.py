# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Linux guest in QEMU's software emulation, booted in seconds.

Debian's cloud kernel with a busybox and a script of ours as its only process.
Kernel and busybox come through apt and are kept in the build folder; nothing
is installed.  What is not to be had skips the test.

    with guest.boot(["-m", "512M", ...], "echo hello; read answer") as linux:
        linux.expect("hello")
        linux.send("go on")
"""

import contextlib
import fcntl
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

from harness import (build_folder, diag, die_with_parent, need_program,
                     scratch, skip, wait_until)

KERNEL_PACKAGE = "linux-image-cloud-amd64"
BOOT_TIMEOUT = 60.0  # seconds; it takes three when the machine is idle

# The script runs with the serial line as its terminal; then the guest is off.
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /bin
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty -echo
{script}
poweroff -f
"""


# packages

def _cache():
    folder = build_folder().resolve() / "tests" / "qemu" / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _apt(*command, cwd=None):
    """Output of an apt program; skips when that does not work."""
    need_program(command[0])
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True,
                            timeout=300)
    if result.returncode:
        skip(f"{' '.join(command)}: {result.stderr.strip()}")
    return result.stdout


def unpack(package):
    """The folder a Debian package is unpacked in, from the cache or apt."""
    cache = _cache()
    target = cache / package
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                _apt("apt-get", "download", package, cwd=folder)
                (archive,) = pathlib.Path(folder).glob("*.deb")
                subprocess.run(["dpkg", "-x", archive, "tree"], cwd=folder,
                               check=True, timeout=120)
                os.rename(pathlib.Path(folder, "tree"), target)
    return target


def kernel():
    """The path of the newest cloud kernel's image."""
    for line in _apt("apt-cache", "depends", KERNEL_PACKAGE).splitlines():
        kind, _, package = line.strip().partition(": ")
        if kind == "Depends" and package.startswith("linux-image-"):
            (image,) = unpack(package).glob("boot/vmlinuz-*")
            return image
    skip(f"apt knows no {KERNEL_PACKAGE}")


def _busybox():
    """The path of a static busybox."""
    installed = shutil.which("busybox")
    if installed and b"ld-linux" not in pathlib.Path(installed).read_bytes():
        return installed
    return unpack("busybox-static") / "bin" / "busybox"


def initramfs(folder, script):
    """Write an initramfs that runs a shell script; returns its path."""
    need_program("cpio")
    root = folder / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(_busybox(), root / "bin" / "busybox")
    init = root / "init"
    init.write_text(INIT.format(script=script))
    init.chmod(0o755)
    path = folder / "initramfs"
    with open(path, "wb") as output:
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=root,
                       input=b"init\nbin\nbin/busybox\n", stdout=output,
                       check=True, timeout=60)
    return path


# the guest

class Console:
    """The guest's serial line: what the script prints and reads."""

    def __init__(self, path, timeout):
        self._socket = socket.socket(socket.AF_UNIX)
        self._text = b""
        wait_until(lambda: self._try_connect(path), timeout, "the guest")

    def _try_connect(self, path):
        try:
            self._socket.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def close(self):
        self._socket.close()

    def expect(self, mark, timeout=BOOT_TIMEOUT):
        """Wait for a line that begins with @mark; returns the rest of it."""
        deadline = time.monotonic() + timeout
        while True:
            line = self._read_line(deadline)
            if line.startswith(mark):
                return line.removeprefix(mark).strip()

    def _read_line(self, deadline):
        while b"\n" not in self._text:
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            data = self._socket.recv(4096)
            assert data, f"the guest went away: {self._text}"
            self._text += data
        line, _, self._text = self._text.partition(b"\n")
        return line.decode(errors="replace")

    def send(self, line):
        self._socket.sendall(line.encode() + b"\n")


class Setup:
    """How to start a guest: for those who run the command themselves."""

    def __init__(self, folder, script, arguments):
        self._console = folder / "console"
        self.command = [
            need_program("qemu-system-x86_64"), "-accel", "tcg",
            "-nodefaults", "-no-user-config", "-display", "none",
            "-no-reboot", "-nic", "none",
            "-chardev",
            f"socket,id=serial,path={self._console},server=on,wait=on",
            "-serial", "chardev:serial",
            "-kernel", str(kernel()),
            "-initrd", str(initramfs(folder, script)),
            "-append", "console=ttyS0 quiet loglevel=0 panic=-1", *arguments]

    @contextlib.contextmanager
    def connect(self, timeout=BOOT_TIMEOUT):
        """The console of the guest that somebody has started.

        What was sent is lost when it is closed before the guest reads it.
        """
        with contextlib.closing(Console(self._console, timeout)) as console:
            yield console


@contextlib.contextmanager
def setup(arguments, script):
    """A Setup whose files live as long as the context."""
    with scratch() as folder:
        yield Setup(folder, script, arguments)


@contextlib.contextmanager
def boot(arguments, script):
    """Start QEMU with more arguments; yields the console of the guest.

    At the end of the context the guest is waited for: it must power off.
    """
    with setup(arguments, script) as ready, \
            tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            ready.command, stdin=subprocess.DEVNULL, stdout=output,
            stderr=output, preexec_fn=die_with_parent)
        try:
            with ready.connect() as console:
                yield console
                status = process.wait(BOOT_TIMEOUT)
                assert status == 0, f"QEMU exited with {status}"
        except Exception:
            output.seek(0)
            diag(f"QEMU printed: {output.read()}")
            raise
        finally:
            process.kill()
            process.wait()
