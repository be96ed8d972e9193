#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""An unmodified QEMU boots Linux on memory that hostmemd has made ready."""

import shlex

import guest
import harness
from donor import SCRIPT, Donor, use_guest, write_pattern
from harness import MIB

SIZE = 512 * MIB
NODES = {"n0": 320 * MIB, "n1": 256 * MIB}
POPULATE_TIMEOUT = 60.0  # seconds; it takes less than one


def qemu_arguments(path):
    return ["-m", "512M", "-machine", "memory-backend=m0", "-object",
            f"memory-backend-file,id=m0,size=512M,mem-path={path},share=on"]


def need_host():
    harness.need_root()
    harness.need_memory(2 * SIZE)


@harness.time_limit(180)
def test_guest_boots_on_a_tmpfs_file_by_name():
    need_host()
    with harness.tmpfs(SIZE) as folder:
        path = folder / "vm7"
        with harness.Hostmemd(
                "-object", f"memory-backend-file,id=m0,size={SIZE},share=on,"
                f"mem-path={path},prealloc=on,prealloc-threads=2",
                timeout=POPULATE_TIMEOUT) as daemon:
            donor = Donor(daemon, SIZE)
            with guest.boot(qemu_arguments(path), SCRIPT) as linux:
                use_guest(linux, donor)
            assert donor.allocated() == donor.prepared


def boot_as_child(arguments):
    """A guest that --run starts, on a memfd."""
    need_host()
    with guest.setup(arguments, SCRIPT) as ready, \
            harness.Hostmemd(
                "-object", f"memory-backend-memfd,id=m0,size={SIZE},"
                "prealloc=on,prealloc-threads=2",
                "--run", shlex.join(ready.command),
                timeout=POPULATE_TIMEOUT) as daemon:
        donor = Donor(daemon, SIZE)
        with ready.connect() as linux:
            use_guest(linux, donor)
            assert daemon.wait() == 0


@harness.time_limit(180)
def test_guest_boots_on_a_memfd_of_its_parent():
    boot_as_child(qemu_arguments("{m0}"))


@harness.time_limit(180)
def test_guest_boots_on_an_object_of_its_parent():
    boot_as_child(["-m", "512M", "-machine", "memory-backend=m0",
                   "-object", "{m0:object}"])


# The memory of what runs on a CPU comes from the node of that CPU.
NODES_SCRIPT = f"""
for node in 0 1; do
    echo "node$node $(awk '/MemTotal/ {{ print $4 }}' \\
        /sys/devices/system/node/node$node/meminfo)"
done
echo "cpus $(cat /sys/devices/system/node/node1/cpulist)"
{write_pattern("/pattern", "taskset 2")}
echo written
read answer
{write_pattern("/other", "taskset 1")}
echo written
read answer
"""


def nodes_arguments():
    arguments = ["-smp", "2", "-m", str(sum(NODES.values()) // MIB)]
    for number, name in enumerate(NODES):
        arguments += [
            "-object", f"{{{name}:object}}",
            "-numa", f"node,nodeid={number},cpus={number},memdev={name}"]
    return arguments


def backends():
    """The options for one backend a node."""
    for name, size in NODES.items():
        yield from ("-object", f"memory-backend-memfd,id={name},size={size},"
                    "prealloc=on,prealloc-threads=2")


@harness.time_limit(180)
def test_guest_has_a_backend_for_each_of_its_nodes():
    need_host()
    with guest.setup(nodes_arguments(), NODES_SCRIPT) as ready, \
            harness.Hostmemd(*backends(), "--run", shlex.join(ready.command),
                             timeout=POPULATE_TIMEOUT) as daemon:
        donors = [Donor(daemon, size, name) for name, size in NODES.items()]
        with ready.connect() as linux:
            for number, donor in enumerate(donors):
                size = int(linux.expect(f"node{number} ")) << 10
                assert 0.7 * donor.size < size < donor.size, (number, size)
            assert linux.expect("cpus ") == "1"
            linux.expect("written")
            donors[1].expect_pattern()
            linux.send("go on")
            linux.expect("written")
            donors[0].expect_pattern()
            linux.send("power off")
            assert daemon.wait() == 0


if __name__ == "__main__":
    harness.main()
