#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Device trees of QEMU and of Debian go in, and ours boot Linux."""

import contextlib
import json
import re
import struct
import subprocess

import devicetree
import guestfiles
import harness
from harness import (die_with_parent, need_memory, need_program,
                     run_hostmemd, scratch, skip, time_limit)

GIB = 1 << 30
MIB = 1 << 20
SIZES = [3 * GIB, 5 * GIB]
MEMORY_NODE = re.compile("/memory(@[0-9a-f]+)?")


def run(*args):
    """Run hostmemd, which must succeed; returns what it prints."""
    result = run_hostmemd(["--once", *args])
    assert result.returncode == 0, (args, result.stderr)
    return result.stdout


def machine(emulator):
    """A machine of two NUMA nodes, one of them beyond 4 GiB."""
    need_program(emulator)
    args = [emulator, "-display", "none", "-smp", "2",
            "-m", f"{sum(SIZES) // MIB}M"]
    for i, size in enumerate(SIZES):
        args += ["-object", f"memory-backend-ram,id=n{i},size={size}",
                 "-numa", f"node,nodeid={i},cpus={i},memdev=n{i}"]
    return [*args, "-numa", "dist,src=0,dst=1,val=20"]


def qemu_tree(emulator, path):
    """Write the device tree that QEMU has for it; returns the path."""
    result = subprocess.run(
        [*machine(emulator), "-machine", f"virt,dumpdtb={path}"],
        capture_output=True, text=True, timeout=60)
    assert path.exists(), result.stderr
    return path


def others(path):
    """All nodes but those of memory."""
    return {name: node for name, node in devicetree.nodes(path).items()
            if not MEMORY_NODE.fullmatch(name)}


def check_round_trip(source, folder):
    """In and out again; all but the look of memory nodes stays."""
    memory = devicetree.memory(source)
    target = folder / "out.dtb"
    printed = run("-dtb", f"{source},reserve=off",
                  "-dumpdtb", f"{target},dtb={source},replace=on")
    assert len(printed.splitlines()) == 1 + len(memory), printed
    assert devicetree.memory(target) == memory
    assert others(target) == others(source)
    new = set(devicetree.warnings(target)) - set(devicetree.warnings(source))
    assert not new, new


def check_machine(emulator, base):
    with scratch() as folder:
        tree = qemu_tree(emulator, folder / "qemu.dtb")
        assert devicetree.memory(tree) == [
            (base, SIZES[0], 0), (base + SIZES[0], SIZES[1], 1)]
        check_round_trip(tree, folder)
        printed = run("-dtb", f"{tree},per=numa-node,reserve=off")
        assert [line.split()[:4] for line in printed.splitlines()[1:]] == [
            [f"ram-node{i}", "memory-backend-memfd", str(size // GIB), "GiB"]
            for i, size in enumerate(SIZES)], printed


def test_the_tree_of_an_arm_machine():
    check_machine("qemu-system-aarch64", GIB)


def test_a_transport_in_the_tree_of_an_arm_machine():
    """With an interrupt of three cells, as those that QEMU has put there."""
    with scratch() as folder:
        source = qemu_tree("qemu-system-aarch64", folder / "qemu.dtb")
        target = folder / "out.dtb"
        options = {"filename": str(target), "dtb": str(source),
                   "replace": True, "reserve": True,
                   "virtio-mmio": [{"addr": 0xb000000,
                                    "interrupt": [0, 100, 1]}]}
        ram = "memory-backend-memfd,reserve=off,size=1G,id="
        run("-object", ram + "m0", "-object", ram + "hot",
            "-device", "virtio-mem,memdev=hot", "-dumpdtb", json.dumps(options))
        made = devicetree.nodes(target)["/virtio_mmio@b000000"]
        theirs = devicetree.nodes(source)["/virtio_mmio@a000000"]
        assert set(made) == set(theirs), made
        assert not set(devicetree.warnings(target)) - set(
            devicetree.warnings(source))
        options["virtio-mmio"][0]["interrupt"] = [100]
        result = run_hostmemd(["--once", "-object", ram + "m0", "-dumpdtb",
                               json.dumps(options)])
        assert "virtio-mmio[0]: device tree: an interrupt of 1 cells was " \
            "given, and those of the root's interrupt-parent have 3" in \
            result.stderr, result.stderr


def test_the_tree_of_a_riscv_machine():
    check_machine("qemu-system-riscv64", 2 * GIB)


@time_limit(300)
def test_the_trees_of_real_boards():
    need_program("dtc")
    trees = guestfiles.device_trees("arm64")
    assert len(trees) > 100, trees
    with_memory = 0
    with scratch() as folder:
        for tree in trees:
            if devicetree.memory(tree):
                with_memory += 1
                check_round_trip(tree, folder)
            else:
                result = run_hostmemd(["--once", "-dtb", tree])
                assert result.returncode == 1, tree
                assert "it has no memory" in result.stderr, result.stderr
    harness.diag(f"{with_memory} of {len(trees)} say how much memory there is")
    assert with_memory > 10


# Firmware and Linux

@contextlib.contextmanager
def lines_of(command):
    """What a process prints, line by line; then it is ended."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
    try:
        yield (line.decode(errors="replace").rstrip()
               for line in process.stdout)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def memory_map(command):
    """What Linux takes for its memory: [(first, last, NUMA node)]."""
    found, printed = [], []
    with lines_of(command) as lines:
        for line in lines:
            printed.append(line)
            early = re.search(r"node +(\d+): \[mem 0x(\w+)-0x(\w+)\]", line)
            if early and "Initmem" not in line:
                node, first, last = early.groups()
                found.append((int(first, 16), int(last, 16), int(node)))
            if "Initmem setup node 1" in line:
                return found
    raise AssertionError("\n".join(printed))


@time_limit(180)
def test_firmware_starts_in_the_lowest_memory():
    """U-Boot for RISC-V takes the first memory node for its own."""
    need_memory(GIB)
    command = [*machine("qemu-system-riscv64"), "-machine", "virt", "-bios",
               guestfiles.unpack("u-boot-qemu") / "usr" / "lib" / "u-boot"
               / "qemu-riscv64" / "u-boot.bin", "-serial", "stdio"]
    ram = "memory-backend-memfd,id="
    with scratch() as folder:
        source = qemu_tree("qemu-system-riscv64", folder / "qemu.dtb")
        tree = folder / "out.dtb"
        run("-object", ram + "a,size=768M,guest-addr=0x80000000,guest-node=0",
            "-object", ram + "b,size=512M,guest-addr=0x140000000,guest-node=1",
            "-dumpdtb", f"{tree},dtb={source},replace=on")
        with lines_of([*command, "-dtb", tree]) as lines:
            found = next((line for line in lines if line.startswith("DRAM:")),
                         "it went away")
        assert found.split() == ["DRAM:", "768", "MiB"], found


def with_bootargs(tree):
    """Let the kernel print before it knows any driver."""
    need_program("fdtput")
    subprocess.run(["fdtput", "-t", "s", tree, "/chosen", "bootargs",
                    "earlycon panic=-1"], check=True, timeout=20)
    return tree


@time_limit(180)
def test_linux_boots_on_a_tree_of_ours():
    """QEMU itself boots it, and then writes the memory nodes anew."""
    need_memory(GIB)
    command = [*machine("qemu-system-aarch64"), "-machine", "virt",
               "-cpu", "cortex-a57", "-no-reboot", "-serial", "stdio",
               "-kernel", guestfiles.kernel("arm64"), "-append", "earlycon"]
    with scratch() as folder:
        source = qemu_tree("qemu-system-aarch64", folder / "qemu.dtb")
        tree = folder / "out.dtb"
        run("-dtb", f"{source},reserve=off",
            "-dumpdtb", f"{tree},dtb={source},replace=on")
        assert memory_map([*command, "-dtb", tree]) == [
            (GIB, 4 * GIB - 1, 0), (4 * GIB, 9 * GIB - 1, 1)]


ENTRY, KERNEL, TREE = 0x4f000000, 0x40200000, 0x48000000


def boot_code():
    """What a boot loader ends with: x0 has the tree, and x1 to x3 nothing."""
    return struct.pack(
        "<6I2Q",
        0x580000c0,  # ldr x0, TREE
        0xaa1f03e1,  # mov x1, xzr
        0xaa1f03e2,  # mov x2, xzr
        0xaa1f03e3,  # mov x3, xzr
        0x58000084,  # ldr x4, KERNEL
        0xd61f0080,  # br x4
        TREE, KERNEL)


@time_limit(180)
def test_linux_believes_our_memory_nodes():
    """Not those of QEMU: a boot loader of ours hands over the tree."""
    need_memory(GIB)
    kernel = guestfiles.kernel("arm64")
    if kernel.read_bytes()[0x38:0x3c] != b"ARMd":
        skip(f"{kernel.name} is no plain image")
    with scratch() as folder:
        source = with_bootargs(
            qemu_tree("qemu-system-aarch64", folder / "qemu.dtb"))
        tree, code = folder / "out.dtb", folder / "code"
        code.write_bytes(boot_code())
        ram = "memory-backend-memfd,id="
        run("-object", ram + "a,size=512M,guest-addr=0x40000000,guest-node=0",
            "-object", ram + "b,size=1G,guest-addr=0x180000000,guest-node=1",
            "-object", ram + "hot,size=1G",
            "-device", "virtio-mem,id=v0,memdev=hot",
            "-dumpdtb", f"{tree},dtb={source},replace=on,reserve=on")
        loaded = [f"file={code},addr={ENTRY:#x},cpu-num=0",
                  f"file={kernel},addr={KERNEL:#x}",
                  f"file={tree},addr={TREE:#x}"]
        command = [*machine("qemu-system-aarch64"), "-machine", "virt",
                   "-cpu", "cortex-a57", "-no-reboot", "-serial", "stdio"]
        for file in loaded:
            command += ["-device", f"loader,{file},force-raw=on"]
        assert memory_map(command) == [
            (GIB, GIB + 512 * MIB - 1, 0), (6 * GIB, 7 * GIB - 1, 1)]


if __name__ == "__main__":
    harness.main()
