# SPDX-License-Identifier: LGPL-2.1-or-later
"""-dtb and -dumpdtb: memory from and for device trees."""

import json
import os

import devicetree
import harness
from expect import fails, succeeds
from harness import Hostmemd, run_hostmemd, scratch
from keeper import Keeper, kill

GIB = 1 << 30
RAM = "memory-backend-ram,"

TWO_NODES = """
/ {
    #address-cells = <2>;
    #size-cells = <2>;
    chosen { bootargs = "console=ttyAMA0"; };
    memory@40000000 {
        device_type = "memory";
        reg = <0 0x40000000 0 0x400000>;
        numa-node-id = <0>;
    };
    memory@200000000 {
        device_type = "memory";
        reg = <2 0 0 0x800000>;
        numa-node-id = <1>;
    };
};
"""
TWO_RANGES = [(GIB, 4 << 20, 0), (8 * GIB, 8 << 20, 1)]


def two_nodes(folder):
    return devicetree.compile(folder / "in.dtb", TWO_NODES)


def dump(folder, *args, more=""):
    """Dump to a file; returns its path."""
    path = folder / "out.dtb"
    succeeds("--once", "--quiet", *args, "-dumpdtb", f"{path}{more}")
    return path


def table(text):
    """The ids and sizes that hostmemd has printed."""
    return [(line.split()[0], " ".join(line.split()[2:4]))
            for line in text.splitlines()[1:]]


def test_backends_become_memory():
    with scratch() as folder:
        path = dump(folder, "-object", RAM + "id=m0,size=3G",
                    "-object", RAM + "id=m1,size=5G,guest-node=1")
        assert devicetree.memory(path) == [(GIB, 3 * GIB, None),
                                           (4 * GIB, 5 * GIB, 1)]


def test_dtc_has_no_complaint():
    with scratch() as folder:
        path = dump(folder, "-object", RAM + "id=m0,size=3G,guest-node=0",
                    "-object", RAM + "id=m1,size=1G",
                    "-device", "virtio-mem,id=v0,memdev=m1", more=",reserve=on")
        assert devicetree.warnings(path) == []
        tree = devicetree.nodes(path)
        assert "/reserved-memory/hotplug@100000000" in tree, tree


def test_chosen_is_not_touched():
    with scratch() as folder:
        blob = two_nodes(folder)
        path = dump(folder, "-object", RAM + "id=m0,size=1G",
                    more=f",dtb={blob},replace=on")
        assert devicetree.memory(path) == [(GIB, GIB, None)]
        assert devicetree.nodes(path)["/chosen"] == {
            "bootargs": b"console=ttyAMA0\0"}


def test_json_has_all_that_a_guest_needs():
    with scratch() as folder:
        path = folder / "out.dtb"
        succeeds("--once", "--quiet", "-object", RAM + "id=m0,size=1G",
                 "-dumpdtb", json.dumps({
                     "filename": str(path), "base": 0x80000000,
                     "distances": [{"src": 0, "dst": 1, "val": 20}],
                     "virtio-mmio": [{"addr": 0xa000000}]}))
        tree = devicetree.nodes(path)
        assert devicetree.memory(path) == [(2 * GIB, GIB, None)]
        assert devicetree.cells(
            tree["/distance-map"]["distance-matrix"]) == [0, 1, 20]
        assert devicetree.cells(
            tree["/virtio_mmio@a000000"]["reg"]) == [0, 0xa000000, 0, 512]
        assert devicetree.warnings(path) == []


def test_a_command_of_run_finds_the_file():
    with scratch() as folder:
        path = folder / "out.dtb"
        result = run_hostmemd(["-object", "memory-backend-memfd,id=m0,size=1M",
                               "-dumpdtb", path, "--quiet",
                               "--run", f"wc -c <{path}"])
        assert result.returncode == 0, result.stderr
        assert int(result.stdout) == path.stat().st_size


def test_a_file_is_replaced_as_a_whole():
    with scratch() as folder:
        path = folder / "out.dtb"
        path.write_bytes(b"x" * 100000)
        with open(path, "rb") as old:
            dump(folder, "-object", RAM + "id=m0,size=1G")
            assert len(old.read()) == 100000
        assert devicetree.memory(path) == [(GIB, GIB, None)]
        assert os.listdir(folder) == ["out.dtb"]


def qmp_dump(daemon, folder):
    path = folder / "qmp.dtb"
    daemon.qmp.execute("dump-fdt", filename=str(path))
    return path


def dump_fails(folder, more, *phrases, args=("-object", RAM + "id=m0,size=1G")):
    text = f"{folder / 'out.dtb'}{more}"
    fails("--once", *args, "-dumpdtb", text, folder=folder,
          phrases=[f"hostmemd: -dumpdtb {text}: ", *phrases])


def test_a_dump_that_fails_says_why():
    with scratch() as folder:
        dump_fails(folder, ",dtb=/none", "cannot open '/none': No such file")
        dump_fails(folder, ",x=1", "Invalid parameter 'x'")
        dump_fails(folder, ",replace=1", "'replace' expects 'on' or 'off'")
        dump_fails(folder, "/x", "cannot write")
        blob = two_nodes(folder)
        dump_fails(folder, f",dtb={blob}",
                   "memory-backend-ram 'm0': device tree: memory of 0x40000000 "
                   "bytes at 0x40000000 overlaps '/memory@40000000' at "
                   "0x40000000")


def test_a_region_in_memory_is_refused():
    with scratch() as folder:
        dump_fails(folder, "",
                   "virtio-mem 'v0': device tree: the region of 0x40000000 "
                   "bytes at 0x100000000 overlaps '/memory@40000000' at "
                   "0x100000000",
                   args=("-object", RAM + "id=m0,size=4G", "-object",
                         RAM + "id=m1,size=1G", "-device",
                         "virtio-mem,id=v0,memdev=m1"))


def test_files_of_a_start_whose_dump_fails_are_removed():
    with scratch() as folder:
        fails("--once", "-object", "memory-backend-file,id=m0,size=1M,"
              f"share=on,mem-path={folder}/m0", "-dumpdtb", "/none/x",
              folder=folder, phrases=["cannot write '/none/x'"])


# -dtb

def test_each_range_becomes_a_backend():
    with scratch() as folder:
        blob = two_nodes(folder)
        with Hostmemd("-dtb", f"{blob},prealloc=on") as daemon:
            memdevs = daemon.qmp.execute("query-memdev")
        assert [(m["id"], m["type"], m["prealloc"], m["populated-size"])
                for m in memdevs] == [
            ("ram0", "memory-backend-memfd", True, 4 << 20),
            ("ram1", "memory-backend-memfd", True, 8 << 20)], memdevs
        assert [(m["guest-addr"], m["size"], m["guest-node"])
                for m in memdevs] == TWO_RANGES, memdevs


def test_each_numa_node_becomes_a_backend():
    with scratch() as folder:
        blob = two_nodes(folder)
        printed = succeeds("--once", "-dtb", f"{blob},per=numa-node,id=vm7,"
                           "qom-type=memory-backend-ram")
        assert table(printed) == [("vm7-node0", "4 MiB"),
                                  ("vm7-node1", "8 MiB")], printed


def test_memory_goes_out_as_it_came_in():
    with scratch() as folder:
        blob = two_nodes(folder)
        path = dump(folder, "-dtb", blob, more=f",dtb={blob},replace=on")
        assert devicetree.memory(path) == TWO_RANGES
        again = dump(folder, "-dtb", path)
        assert devicetree.memory(again) == TWO_RANGES
        assert devicetree.warnings(again) == []


def test_it_goes_with_other_objects_and_devices():
    with scratch() as folder:
        blob = two_nodes(folder)
        printed = succeeds(
            "--once", "-dtb", f"{blob},prealloc-context=tc0,prealloc=on",
            "-object", "thread-context,id=tc0,cpu-affinity=0",
            "-object", RAM + "id=m0,size=1G",
            "-device", "virtio-mem,id=v0,memdev=m0")
        assert [id for id, _ in table(printed)] == ["tc0", "m0", "ram0",
                                                    "ram1"], printed


def test_a_restart_goes_on_with_memory_of_a_tree():
    """The same tree asks for what is there; another one is told of."""
    with scratch() as folder, Keeper() as boss:
        args = "-dtb", f"{two_nodes(folder)},prealloc=on"
        for number in range(2):
            with boss.run(*args) as daemon:
                boss.settle("ram0", "ram1")
                assert devicetree.memory(qmp_dump(daemon, folder)) == TWO_RANGES
                assert len(daemon.qmp.execute("query-restore")) == 2 * number
                assert "warning" not in daemon.stderr, daemon.stderr
                kill(daemon)
        devicetree.compile(folder / "in.dtb",
                           TWO_NODES.replace("<2 0 0 ", "<3 0 0 "))
        with boss.run(*args) as daemon:
            boss.settle("ram0", "ram1")
            assert devicetree.memory(qmp_dump(daemon, folder)) == TWO_RANGES
            assert '"id": "ram1"' in daemon.stderr, daemon.stderr
            assert "guest-addr" in daemon.stderr, daemon.stderr


def dtb_fails(text, *phrases):
    fails("--once", "-dtb", text, phrases=[f"hostmemd: -dtb {text}: ",
                                           *phrases])


def test_a_tree_that_cannot_be_had_says_why():
    with scratch() as folder:
        blob = two_nodes(folder)
        dtb_fails("/none", "cannot open '/none': No such file or directory")
        dtb_fails(folder, "is no regular file")
        dtb_fails(f"{blob},per=all", "'per' does not accept value 'all'")
        dtb_fails(f"{blob},size=1G", "'size' is unexpected: the device tree")
        dtb_fails(f"{blob},qom-type=thread", "does not accept value 'thread'")
        dtb_fails(f"{blob},x=1", "Invalid parameter 'x'")
        whole = blob.read_bytes()
        blob.write_bytes(whole[:-1])
        dtb_fails(blob, f"device tree: it is cut: it says that it has "
                  f"{len(whole)} bytes, and there are {len(whole) - 1}")
        blob.write_bytes(b"")
        dtb_fails(blob, "the first bytes of 0 are not its header")


def test_a_malformed_tree_says_where():
    with scratch() as folder:
        blob = two_nodes(folder)
        whole = blob.read_bytes()
        at = whole.index(b"memory@40000000") - 4
        blob.write_bytes(whole[:at] + b"\0\0\0\x77" + whole[at + 4:])
        dtb_fails(blob, f"device tree: it is malformed at byte {at}: ")


def test_a_deep_tree_says_where():
    with scratch() as folder:
        blob = devicetree.compile(folder / "deep.dtb", "/ {#address-cells=<1>;"
                                  "#size-cells=<1>;" + "n {" * 64 + "};" * 65)
        dtb_fails(blob, "it is deeper than 64 nodes, at byte ")


def test_overlapping_memory_says_where():
    with scratch() as folder:
        blob = devicetree.compile(folder / "in.dtb", TWO_NODES.replace(
            "reg = <2 0 0 0x800000>", "reg = <0 0x40100000 0 0x800000>"))
        dtb_fails(blob, "'/memory@40000000' and '/memory@200000000' overlap at "
                  "0x40100000")


def test_a_tree_without_memory():
    with scratch() as folder:
        blob = devicetree.compile(folder / "in.dtb", "/ {};")
        dtb_fails(blob, "device tree: it has no memory")


def test_memory_that_is_no_page():
    with scratch() as folder:
        blob = devicetree.compile(folder / "in.dtb", TWO_NODES.replace(
            "0x400000>", "0x400001>"))
        fails("--once", "-dtb", f"{blob},qom-type=memory-backend-memfd,"
              "hugetlb=on,hugetlbsize=2M",
              phrases=['-object {"qom-type": "memory-backend-memfd", "id": '
                       '"ram0", "size": 4194305', "must be multiple of 2 MiB"])


if __name__ == "__main__":
    harness.main()
