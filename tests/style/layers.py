#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Arrows point down: who may include whom, and who may call what."""

import os
import re

import sources
import tap

PUBLIC = "include/hostmem"
SIBLINGS = ("backends/virtio", "backends/qmp", "backends/export")

# What a folder sees besides itself.  Tests see everything.
SEES = {
    PUBLIC: (),
    "util": (PUBLIC,),
    "backends": (PUBLIC, "util"),
    **{folder: (PUBLIC, "util", "backends") for folder in SIBLINGS},
    "backends/programs": (PUBLIC,),
    **{
        f"backends/programs/{folder}": (PUBLIC, "backends/programs")
        for folder in ("bench", "ctl", "daemon", "hook")
    },
    "docs": (PUBLIC,),
}
# The one file that ties the types to their names.
TIES = "backends/object-types.c"

# Headers of libraries, and the files that may know them.
OWNERS = {
    r"numa(if)?\.h": r"util/(os-linux|numa)\.c",
    r"libfdt\.h": r"backends/export/fdt[-a-z]*\.[ch]",
    r"libvirt/.*": r"backends/export/libvirt[-a-z]*\.[ch]",
    r"systemd/.*": r"backends/programs/daemon/hostmemd-sd\.c",
    r"jansson\.h": r"util/(props|keyval|jsonstream)\.[ch]"
    r"|backends/(fdt|object|registry|host)[-a-z]*\.[ch]|backends/qmp/.*"
    r"|backends/export/libvirt-memory\.h"
    r"|backends/programs/peer-json\.[ch]",
}

# Calls that belong to util/os.h alone, in util and backends.
KERNEL = re.compile(
    r"""\b( mmap | munmap | mprotect | madvise | process_madvise | mlock2?
          | mbind | set_mempolicy | move_pages | mincore | memfd_create
          | shm_open | open | close | unlink | ftruncate | fallocate
          | openat | unlinkat | linkat | fchmod | fchown | flock | umount2
          | lseek | fstat | fstatfs | statfs | sched_[gs]etaffinity
          | syscall | sysconf )\s*\(""",
    re.X,
)
DOOR = (
    "util/os-faults.c",
    "util/os-linux.c",
    "util/os-names.c",
    "util/os-pages.c",
    "util/sigbus.c",
)

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(<[^>\n]+>|"[^"\n]+")', re.M)


def c_files():
    return sources.files(".c", ".h", below=("include", "util", "backends", "docs"))


def includes(path):
    """Yield (name, the file of ours it stands for, or None)."""
    for match in INCLUDE.finditer(sources.read(path)):
        name = match.group(1)[1:-1]
        if match.group(1)[0] == '"':
            beside = os.path.join(os.path.dirname(path), name)
            found = os.path.exists(os.path.join(sources.ROOT, name))
            yield name, name if found else os.path.normpath(beside)
        elif name.startswith("hostmem/"):
            yield name, "include/" + name
        else:
            yield name, None


def folders_have_a_layer():
    """every folder of sources has a place in the layers"""
    for path in c_files():
        if os.path.dirname(path) not in SEES:
            yield f"{path}: its folder is no layer"


def includes_point_down():
    """includes point down, never up or sideways"""
    for path in c_files():
        layer = os.path.dirname(path)
        seen = (layer, *SEES.get(layer, ()))
        if path == TIES:
            seen += SIBLINGS
        for name, target in includes(path):
            if target and os.path.dirname(target) not in seen:
                yield f"{path}: includes {name}"


def libraries_have_owners():
    """a library is known only to its owners"""
    for path in c_files():
        for name, _ in includes(path):
            for header, owner in OWNERS.items():
                if re.fullmatch(header, name) and not re.fullmatch(owner, path):
                    yield f"{path}: includes {name}"


def kernel_has_one_door():
    """memory, files and affinity are reached through util/os.h only"""
    for path in c_files():
        if os.path.dirname(path) not in ("util", "backends") or path in DOOR:
            continue
        text = sources.blank(sources.read(path))
        for number, line in enumerate(text.splitlines(), 1):
            for match in KERNEL.finditer(line):
                yield f"{path}:{number}: calls {match.group(1)}()"


tap.run(
    folders_have_a_layer,
    includes_point_down,
    libraries_have_owners,
    kernel_has_one_door,
)
