# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmemd -libvirt-xml, on a libvirt that is installed."""

import contextlib
import glob
import json
import os
import pathlib
import shlex
import subprocess

import libvirtd
from expect import under
from harness import (Hostmemd, need_program, need_root, program, run_hostmemd,
                     scratch, skip, wait_until)

# A look at a QEMU that it has not seen yet takes libvirt seconds.
PATIENT = {"timeout": 120.0}

PRIVATE = """
set -e
while read -r _ folder type _; do
    [ "$type" != hugetlbfs ] || umount -l "$folder"
done </proc/mounts
{script}
exec "$@"
"""


def need_libvirt():
    if not any(map(glob.glob, libvirtd.DRIVER)):
        skip("libvirt's driver for QEMU is not installed")
    need_program("qemu-system-x86_64")
    result = run_hostmemd(["--print-libvirt-options", "/dev/null"], **PATIENT)
    if "built without libvirt" in result.stderr:
        skip("hostmemd was built without libvirt")


def private(script=""):
    """What hostmemd is started by so that it sees no hugetlbfs but that of
    @script, which may mount what it likes."""
    need_root()
    return [*under("unshare", "--mount", "--propagation=private"), "sh", "-c",
            PRIVATE.format(script=script), "sh"]


@contextlib.contextmanager
def xml_file(xml):
    """A file that everybody can read."""
    with scratch() as folder:
        folder.chmod(0o755)
        path = folder / "domain.xml"
        path.write_text(xml)
        yield path


def print_options(xml, *args, **options):
    """What libvirt asks for, as the words of a command line."""
    need_libvirt()
    with xml_file(xml) as path:
        result = run_hostmemd(["--print-libvirt-options", path, *args],
                              **{**PATIENT, **options})
    assert result.returncode == 0 and not result.stderr, result
    return shlex.split(result.stdout)


@contextlib.contextmanager
def hostmemd(xml, *args, **options):
    """A daemon that has made the memory of a domain."""
    need_libvirt()
    with xml_file(xml) as path, \
            Hostmemd("-libvirt-xml", path, *args,
                     **{**PATIENT, **options}) as daemon:
        yield daemon


def _ctl(daemon, *args):
    return subprocess.check_output(
        [program("hostmemctl"), "--connect", f"unix:{daemon.socket}", *args],
        text=True, timeout=30)


def status(daemon):
    """hostmemctl status --json: backends by id, and devices by id."""
    found = json.loads(_ctl(daemon, "status", "--json"))
    return ({memdev["id"]: memdev for memdev in found["memdev"]},
            {device["data"]["id"]: device["data"]
             for device in found["memory-devices"]})


def property_of(daemon, id, name):
    return _ctl(daemon, "get", id, name).strip()


@contextlib.contextmanager
def nothing_left():
    """Yields an environment for hostmemd, in whose temporary folder nothing may
    be at the end."""
    with scratch() as folder:
        folder.chmod(0o1777)
        yield {"TMPDIR": str(folder)}
        wait_until(lambda: not os.listdir(folder), what="the folder to go")


def system_places():
    """What libvirt makes for a driver of root's, where it is not there."""
    return {path for path in ("/run/libvirt", "/run/libvirt/hostdevmgr",
                              "/var/lib/libvirt", "/var/cache/libvirt")
            if pathlib.Path(path).exists()}
