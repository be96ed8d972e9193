# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a Linux guest is made of: kernel, modules, initramfs.

Debian's cloud kernel with a busybox and a script of ours as its only process.
Kernel and busybox come through apt and are kept in the build folder; nothing
is installed.  What is not to be had skips the test.
"""

import contextlib
import functools
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from harness import build_folder, need_program, skip
from hostenv import wait_for_lock

KERNEL_PACKAGE = "linux-image-cloud-"  # and an architecture

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


def _cache():
    folder = build_folder().resolve() / "tests" / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cached(name):
    """A folder that stays in the build folder, for what can be made anew."""
    folder = _cache() / name
    folder.mkdir(exist_ok=True)
    return folder


def _apt(*command, cwd=None, config=None):
    """Output of an apt program; skips when that does not work."""
    need_program(command[0])
    env = {**os.environ, "APT_CONFIG": str(config)} if config else None
    result = subprocess.run(command, cwd=cwd, env=env, capture_output=True,
                            text=True, timeout=300)
    if result.returncode:
        skip(f"{' '.join(command)}: {result.stderr.strip()}")
    return result.stdout


@contextlib.contextmanager
def _locked():
    """The cache, for one process at a time."""
    cache = _cache()
    with open(cache / "lock", "w") as lock:
        wait_for_lock(lock)
        yield cache


def _foreign_config(arch):
    """A configuration of apt with lists of its own, of another architecture.

    The host's dpkg and lists stay as they are.
    """
    with _locked() as cache:
        root = cache / f"apt-{arch}"
        config = root / "apt.conf"
        if not config.exists():
            for folder in ("state/lists/partial", "cache/archives/partial"):
                (root / folder).mkdir(parents=True, exist_ok=True)
            (root / "status").touch()
            draft = root / "draft.conf"
            draft.write_text(f"""
                APT::Architecture "{arch}";
                APT::Architectures {{ "{arch}"; }};
                APT::Sandbox::User "root";
                Acquire::Languages "none";
                APT::Update::Error-Mode "any";
                Dir::State "{root}/state";
                Dir::State::status "{root}/status";
                Dir::Cache "{root}/cache";
                """)
            _apt("apt-get", "update", "-qq", config=draft)
            draft.rename(config)
    return config


def unpack(package, config=None):
    """The folder a Debian package is unpacked in, from the cache or apt."""
    with _locked() as cache:
        target = cache / package
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                _apt("apt-get", "download", package, cwd=folder,
                     config=config)
                (archive,) = pathlib.Path(folder).glob("*.deb")
                subprocess.run(["dpkg", "-x", archive, "tree"], cwd=folder,
                               check=True, timeout=120)
                os.rename(pathlib.Path(folder, "tree"), target)
    return target


@functools.lru_cache(maxsize=None)
def _kernel_tree(arch="amd64"):
    """The folder the newest cloud kernel is unpacked in."""
    config = None if arch == "amd64" else _foreign_config(arch)
    meta = KERNEL_PACKAGE + arch
    for line in _apt("apt-cache", "depends", meta, config=config).splitlines():
        kind, _, package = line.strip().partition(": ")
        if kind == "Depends" and package.startswith("linux-image-"):
            return unpack(package, config)
    skip(f"apt knows no {meta}")


def kernel(arch="amd64"):
    """The path of its image."""
    (image,) = _kernel_tree(arch).glob("boot/vmlinuz-*")
    return image


def device_trees(arch):
    """The paths of the device trees that come with it."""
    return sorted(_kernel_tree(arch).glob("usr/lib/linux-image-*/**/*.dtb"))


def modules(*names):
    """The paths of modules of it, {path in an initramfs: path here}."""
    tree = _kernel_tree() / "lib" / "modules"
    return {f"lib/{name}.ko": next(tree.glob(f"**/{name}.ko"))
            for name in names}


def libraries(*programs):
    """What programs are linked with, {path in an initramfs: path here}."""
    found = {}
    for program in programs:
        listing = subprocess.run(["ldd", program], capture_output=True,
                                 text=True, check=True, timeout=20).stdout
        for path in re.findall(r"(/\S+) \(0x", listing):
            name = os.path.basename(path)
            loader = name.startswith("ld-")
            found[path.lstrip("/") if loader else f"lib/{name}"] = path
    return found


def _busybox():
    """The path of a static busybox."""
    installed = shutil.which("busybox")
    if installed and b"ld-linux" not in pathlib.Path(installed).read_bytes():
        return installed
    return unpack("busybox-static") / "bin" / "busybox"


def initramfs(folder, script, files=None):
    """Write an initramfs that runs a shell script; returns its path.

    @files are more files, {path in it: path here}.
    """
    need_program("cpio")
    root = folder / "root"
    for name, source in {"bin/busybox": _busybox(), **(files or {})}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, root / name)
    init = root / "init"
    init.write_text(INIT.format(script=script))
    init.chmod(0o755)
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    path = folder / "initramfs"
    with open(path, "wb") as output:
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=root,
                       input="\n".join(names).encode(), stdout=output,
                       check=True, timeout=60)
    return path
