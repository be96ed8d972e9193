# SPDX-License-Identifier: LGPL-2.1-or-later
"""dump-fdt: a device tree of what there is."""

import devicetree
import harness
from harness import Hostmemd, QmpError, raises, scratch

GIB = 1 << 30


def add(daemon, id, size, **more):
    daemon.qmp.execute("object-add", {"qom-type": "memory-backend-memfd",
                                      "id": id, "size": size, **more})


def dump(daemon, path, **more):
    assert daemon.qmp.execute(
        "dump-fdt", {"filename": str(path), **more}) == {}
    return path


def test_backends_of_the_moment():
    with scratch() as folder, Hostmemd() as daemon:
        path = folder / "out.dtb"
        dump(daemon, path)
        assert devicetree.memory(path) == []
        add(daemon, "m0", 2 * GIB, **{"guest-node": 1})
        dump(daemon, path)
        assert devicetree.memory(path) == [(GIB, 2 * GIB, 1)]
        daemon.qmp.execute("object-del", id="m0")
        dump(daemon, path)
        assert devicetree.memory(path) == []


def test_a_backend_leaves_when_a_device_takes_it():
    with scratch() as folder, Hostmemd() as daemon:
        add(daemon, "m0", GIB)
        path = dump(daemon, folder / "out.dtb")
        assert devicetree.memory(path) == [(GIB, GIB, None)]
        daemon.qmp.execute("device_add", driver="virtio-mem", id="v0",
                           memdev="m0", memaddr=8 * GIB)
        dump(daemon, path, reserve=True)
        assert devicetree.memory(path) == []
        assert devicetree.cells(devicetree.nodes(path)[
            "/reserved-memory/hotplug@200000000"]["reg"]) == [2, 0, 0, GIB]


def test_one_machine_of_several():
    with scratch() as folder, Hostmemd() as daemon:
        add(daemon, "a0", GIB, **{"guest-addr": 0})
        add(daemon, "b0", GIB, **{"guest-addr": 0})
        add(daemon, "b1", GIB)
        path = dump(daemon, folder / "out.dtb", memdevs=["b0", "b1"])
        assert devicetree.memory(path) == [(0, GIB, None), (GIB, GIB, None)]
        with raises(QmpError, "memory-backend-memfd 'b0': device tree: memory "
                    "of 0x40000000 bytes at 0x0 overlaps '/memory@0'"):
            dump(daemon, path)


def test_devices_of_one_machine():
    with scratch() as folder, Hostmemd() as daemon:
        add(daemon, "a0", 8 * GIB, reserve=False)
        for number, address in enumerate((4 * GIB, 16 * GIB)):
            add(daemon, f"hot{number}", GIB, reserve=False)
            daemon.qmp.execute("device_add", driver="virtio-mem",
                               id=f"v{number}", memdev=f"hot{number}",
                               memaddr=address)
        path = dump(daemon, folder / "out.dtb", devices=["v1"], reserve=True)
        assert devicetree.memory(path) == [(GIB, 8 * GIB, None)]
        reserved = [name for name in devicetree.nodes(path)
                    if name.startswith("/reserved-memory/")]
        assert reserved == ["/reserved-memory/hotplug@400000000"], reserved
        with raises(QmpError, "virtio-mem 'v0': device tree: the region of "
                    "0x40000000 bytes at 0x100000000 overlaps"):
            dump(daemon, path)
        with raises(QmpError, "memdevs[0]: 'hot1' is the memory of virtio-mem "
                    "'v1'"):
            dump(daemon, path, memdevs=["hot1"])


def test_lists_go_in_as_they_are():
    with scratch() as folder, Hostmemd() as daemon:
        add(daemon, "m0", GIB)
        blob = devicetree.compile(folder / "in.dtb", """/ {
            #address-cells = <2>; #size-cells = <2>; interrupt-parent = <&pic>;
            pic: pic { interrupt-controller; #interrupt-cells = <3>; }; };""")
        path = dump(
            daemon, folder / "out.dtb", dtb=str(blob), base=2 * GIB,
            distances=[{"src": 0, "dst": 1, "val": 20}],
            **{"virtio-mmio": [{"addr": 0xa000000, "size": 4096,
                                "interrupt": [0, 16, 1]}, {"addr": 0x1000}]})
        tree = devicetree.nodes(path)
        transport = tree["/virtio_mmio@a000000"]
        assert devicetree.cells(transport["interrupts"]) == [0, 16, 1]
        assert devicetree.cells(transport["reg"]) == [0, 0xa000000, 0, 4096]
        assert "interrupts" not in tree["/virtio_mmio@1000"]
        assert devicetree.cells(
            tree["/distance-map"]["distance-matrix"]) == [0, 1, 20]
        assert devicetree.memory(path) == [(2 * GIB, GIB, None)]


def test_errors_name_the_element():
    with scratch() as folder, Hostmemd() as daemon:
        path = folder / "out.dtb"
        for text, arguments in (
                ("Parameter 'filename' is missing", {"filename": None}),
                ("Parameter 'x' is unexpected", {"x": 1}),
                ("Parameter 'base' expects uint64, not a string",
                 {"base": "1G"}),
                ("Invalid parameter type for 'distances', expected: array",
                 {"distances": {}}),
                ("'distances' has 16385 elements, and at most 16384",
                 {"distances": [{"src": 0, "dst": 1, "val": 20}] * 16385}),
                ("'virtio-mmio' has 1025 elements, and at most 1024",
                 {"virtio-mmio": [{"addr": 512}] * 1025}),
                ("distances[1]: Parameter 'dst' is missing",
                 {"distances": [{"src": 0, "dst": 1, "val": 20},
                                {"src": 0, "val": 20}]}),
                ("distances[0]: device tree: the distance from NUMA node 0 to "
                 "1 cannot be 256",
                 {"distances": [{"src": 0, "dst": 1, "val": 256}]}),
                ("virtio-mmio[0]: device tree: the root has no "
                 "interrupt-parent",
                 {"virtio-mmio": [{"addr": 0, "interrupt": [1]}]}),
                ("cannot open '/none'", {"dtb": "/none"}),
                ("cannot write '/none/x'", {"filename": "/none/x"}),
                ("'/dev/null' is no regular file", {"filename": "/dev/null"})):
            arguments = {"filename": str(path), **arguments}
            arguments = {key: value for key, value in arguments.items()
                         if value is not None}
            with raises(QmpError, text):
                daemon.qmp.execute("dump-fdt", arguments)
            assert not path.exists(), text
        with raises(QmpError, "there is no memory backend 'm9'"):
            dump(daemon, path, memdevs=["m9"])


def test_schema_knows_the_lists():
    with Hostmemd() as daemon:
        schema = {entry["name"]: entry
                  for entry in daemon.qmp.execute("query-qmp-schema")}
    arguments = {member["name"]: member for member in
                 schema[schema["dump-fdt"]["arg-type"]]["members"]}
    assert "default" not in arguments["filename"]
    assert arguments["distances"]["type"] == "[FdtDistance]"
    distance = schema[schema["[FdtDistance]"]["element-type"]]
    assert [member["name"] for member in distance["members"]] == [
        "src", "dst", "val"]
    transport = {member["name"]: member for member in schema[
        schema["[FdtTransport]"]["element-type"]]["members"]}
    assert transport["interrupt"]["type"] == "[int]"
    assert arguments["memdevs"]["type"] == "[str]"
    assert arguments["devices"]["type"] == "[str]"


if __name__ == "__main__":
    harness.main()
