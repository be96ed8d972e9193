# SPDX-License-Identifier: LGPL-2.1-or-later
"""Device trees as tests write and read them: with dtc, and by the format.

dtc compiles the text of a tree and checks a blob; memory() and nodes() read a
blob by the specification, without any code of ours.
"""

import os
import struct
import subprocess

from harness import need_program

BEGIN_NODE, END_NODE, PROP, NOP, END = 1, 2, 3, 4, 9


def compile(path, text):
    """Write the blob of a text, "/ {...};"; returns the path."""
    need_program("dtc")
    subprocess.run(["dtc", "-q", "-I", "dts", "-O", "dtb", "-o", path, "-"],
                   input=f"/dts-v1/;\n{text}", text=True, check=True,
                   timeout=20)
    return path


def warnings(path):
    """What dtc has to say about a blob, line by line."""
    need_program("dtc")
    result = subprocess.run(
        ["dtc", "-I", "dtb", "-O", "dtb", "-o", os.devnull, path],
        capture_output=True, text=True, timeout=20)
    assert result.returncode == 0, result.stderr
    return result.stderr.splitlines()


def nodes(path):
    """The nodes of a blob: {path: {property: bytes}}."""
    blob = path.read_bytes()
    magic, _, at, strings = struct.unpack_from(">4I", blob)
    assert magic == 0xd00dfeed, hex(magic)
    found, inside = {}, []
    while True:
        (token,) = struct.unpack_from(">I", blob, at)
        at += 4
        if token == BEGIN_NODE:
            end = blob.index(0, at)
            inside.append(blob[at:end].decode())
            found["/".join(inside) or "/"] = {}
            at = end + 4 & ~3
        elif token == END_NODE:
            inside.pop()
        elif token == PROP:
            length, name = struct.unpack_from(">2I", blob, at)
            name = blob[strings + name:blob.index(0, strings + name)].decode()
            found["/".join(inside) or "/"][name] = blob[at + 8:at + 8 + length]
            at += 8 + length + 3 & ~3
        elif token == END:
            return found
        else:
            assert token == NOP, token


def cells(value):
    """The cells of 32 bits of a property."""
    return list(struct.unpack(f">{len(value) // 4}I", value))


def memory(path):
    """The memory of a blob: sorted (address, size, NUMA node or None)."""
    tree = nodes(path)
    (address_cells,) = cells(tree["/"]["#address-cells"])
    (size_cells,) = cells(tree["/"]["#size-cells"])
    found = []
    for node in tree.values():
        if node.get("device_type") != b"memory\0":
            continue
        id = cells(node["numa-node-id"])[0] if "numa-node-id" in node else None
        rest = node["reg"]
        while rest:
            address = int.from_bytes(rest[:4 * address_cells], "big")
            rest = rest[4 * address_cells:]
            size = int.from_bytes(rest[:4 * size_cells], "big")
            rest = rest[4 * size_cells:]
            if size:
                found.append((address, size, id))
    return sorted(found, key=lambda range: range[0])
