# SPDX-License-Identifier: LGPL-2.1-or-later
"""Paths, properties and types."""

import harness
from harness import Hostmemd, QmpError, raises

SIZE = 1 << 20
RAM = "memory-backend-ram,id=m0,size=1M"
CONTEXT = "thread-context,id=tc0"


def objects(*texts):
    """A hostmemd that has made these objects."""
    return Hostmemd(*(part for text in texts for part in ("-object", text)))


def get(client, path, name, **more):
    return client.execute("qom-get", path=path, property=name, **more)


def set_(client, path, name, value):
    return client.execute("qom-set", path=path, property=name, value=value)


def test_list_of_root_leads_to_objects():
    with Hostmemd() as daemon:
        entries = daemon.qmp.execute("qom-list", path="/")
    assert entries[0] == {"name": "type", "type": "string"}, entries
    assert {"name": "objects", "type": "child<container>"} in entries, entries


def test_list_of_objects():
    with objects(RAM, CONTEXT) as daemon:
        for path in "/objects", "/objects/", "//objects", "objects":
            assert daemon.qmp.execute("qom-list", path=path) == [
                {"name": "type", "type": "string"},
                {"name": "tc0", "type": "child<thread-context>"},
                {"name": "m0", "type": "child<memory-backend-ram>"}], path


def test_list_of_an_object():
    with objects(RAM) as daemon:
        entries = daemon.qmp.execute("qom-list", path="/objects/m0")
    assert entries[0] == {"name": "type", "type": "string"}, entries
    types = {e["name"]: e["type"] for e in entries}
    assert types.items() >= {
        "prealloc": "bool", "size": "int", "policy": "HostMemPolicy",
        "prealloc-context": "link<thread-context>", "host-nodes": "int",
        "populated-size": "int", "backed-size": "int", "page-size": "int",
    }.items(), types
    assert len(types) == len(entries)


def test_every_readable_property_can_be_read():
    with objects(RAM, CONTEXT) as daemon:
        for path in "/objects/m0", "/objects/tc0", "/objects", "/":
            for entry in daemon.qmp.execute("qom-list", path=path):
                if entry["name"] != "node-affinity":  # write-only
                    get(daemon.qmp, path, entry["name"])


def test_bare_id_is_a_path():
    with objects(RAM) as daemon:
        assert get(daemon.qmp, "m0", "size") == SIZE
        assert get(daemon.qmp, "m0", "type") == "memory-backend-ram"


def test_paths_that_lead_nowhere():
    paths = ["/objects/nosuch", "nosuch", "/m0", "/objects/m0/x", "",
             "/machine/x", "/machine/peripheral/m0", "objects/m0/x/y"]
    with objects(RAM) as daemon:
        for path in paths:
            for command in "qom-get", "qom-set", "qom-list":
                arguments = {"path": path}
                if command != "qom-list":
                    arguments["property"] = "x"
                if command == "qom-set":
                    arguments["value"] = 1
                with raises(QmpError,
                            f"DeviceNotFound: Device '{path}' not found"):
                    daemon.qmp.execute(command, arguments)


def test_unknown_property():
    with objects(RAM) as daemon:
        what = ("GenericError: Property 'memory-backend-ram.nosuch' not found")
        with raises(QmpError, what):
            get(daemon.qmp, "/objects/m0", "nosuch")
        with raises(QmpError, what):
            set_(daemon.qmp, "/objects/m0", "nosuch", 1)


def test_write_only_property():
    with objects(CONTEXT) as daemon:
        with raises(QmpError, "GenericError: Property "
                    "'thread-context.node-affinity' is not readable"):
            get(daemon.qmp, "/objects/tc0", "node-affinity")


def test_read_only_properties():
    with objects(RAM) as daemon:
        for path, name in (("/objects/m0", "memory-backend-ram.type"),
                           ("/objects/m0", "memory-backend-ram.page-size"),
                           ("/objects", "container.type"),
                           ("/objects", "container.m0"),
                           ("/", "container.objects")):
            with raises(QmpError,
                        f"GenericError: Property '{name}' is not writable"):
                set_(daemon.qmp, path, name.split(".")[1], "x")


def test_size_cannot_change():
    with objects(RAM) as daemon:
        with raises(QmpError, "GenericError: cannot change property size of "
                    "memory-backend-ram "):
            set_(daemon.qmp, "/objects/m0", "size", 2 * SIZE)


def test_what_would_have_no_effect_is_refused():
    with objects(RAM) as daemon:
        for name, value in (("share", True), ("reserve", False),
                            ("policy", "bind"), ("host-nodes", [0])):
            with raises(QmpError, "GenericError: cannot change property"):
                set_(daemon.qmp, "/objects/m0", name, value)


def test_prealloc_can_be_turned_on():
    with objects(RAM) as daemon:
        assert get(daemon.qmp, "m0", "populated-size") == 0
        assert set_(daemon.qmp, "m0", "prealloc", True) == {}
        assert get(daemon.qmp, "m0", "prealloc") is True
        assert get(daemon.qmp, "m0", "populated-size") == SIZE


def test_prealloc_cannot_be_turned_off():
    with objects(RAM + ",prealloc=on") as daemon:
        with raises(QmpError, "GenericError: "):
            set_(daemon.qmp, "m0", "prealloc", False)
        assert get(daemon.qmp, "m0", "prealloc") is True


def test_failed_prealloc_stays_off():
    with Hostmemd() as daemon, harness.tmpfs(4 * SIZE) as folder:
        daemon.qmp.execute("object-add", {"qom-type": "memory-backend-file"},
                           id="f1", size=16 * SIZE, share=True,
                           mem_path=f"{folder}/lazy")
        with raises(QmpError, "GenericError: ", str(folder)):
            set_(daemon.qmp, "/objects/f1", "prealloc", True)
        assert get(daemon.qmp, "/objects/f1", "prealloc") is False


def test_link_can_be_changed():
    with objects(RAM, CONTEXT) as daemon:
        name = "prealloc-context"
        assert get(daemon.qmp, "m0", name) == ""
        set_(daemon.qmp, "m0", name, "tc0")
        assert get(daemon.qmp, "m0", name) == "/objects/tc0"
        set_(daemon.qmp, "m0", name, "")
        assert get(daemon.qmp, "m0", name) == ""


def test_link_to_nothing():
    with objects(RAM) as daemon:
        with raises(QmpError, "DeviceNotFound: Device 'nosuch' not found"):
            set_(daemon.qmp, "m0", "prealloc-context", "nosuch")


def test_link_to_another_type():
    with objects(RAM) as daemon:
        with raises(QmpError, "GenericError: Invalid parameter type for "
                    "'prealloc-context', expected: thread-context"):
            set_(daemon.qmp, "m0", "prealloc-context", "m0")


def test_children_read_as_paths():
    with objects(RAM) as daemon:
        assert get(daemon.qmp, "/", "objects") == "/objects"
        assert get(daemon.qmp, "/objects", "m0") == "/objects/m0"
        with raises(QmpError, "Property 'container.m1' not found"):
            get(daemon.qmp, "/objects", "m1")


def test_types():
    with Hostmemd() as daemon:
        types = {t.pop("name"): t
                 for t in daemon.qmp.execute("qom-list-types")}
    assert types["thread-context"] == {"parent": "object"}, types
    assert "memory-backend" not in types, types


def test_types_that_implement_another():
    with Hostmemd() as daemon:
        types = daemon.qmp.execute("qom-list-types", abstract=True,
                                   implements="memory-backend")
    backends = [{"name": f"memory-backend-{kind}", "parent": "memory-backend"}
                for kind in ("file", "memfd", "ram", "shm")]
    base = {"name": "memory-backend", "parent": "object", "abstract": True}
    assert sorted(types, key=lambda t: t["name"]) == [base, *backends], types


def test_types_that_implement_nothing_known():
    with Hostmemd() as daemon:
        assert daemon.qmp.execute("qom-list-types", implements="nosuch") == []


def test_properties_of_a_type():
    with Hostmemd() as daemon:
        entries = daemon.qmp.execute("qom-list-properties",
                                     typename="memory-backend-memfd")
    assert entries[0]["name"] == "type", entries
    found = {e["name"]: e for e in entries}
    assert found["hugetlb"]["type"] == "bool", found
    assert all(e.get("description") for e in entries), entries


def test_properties_of_an_abstract_type():
    with Hostmemd() as daemon:
        entries = daemon.qmp.execute("qom-list-properties",
                                     typename="memory-backend")
    assert "size" in {e["name"] for e in entries}, entries


def test_properties_of_no_type():
    with Hostmemd() as daemon:
        with raises(QmpError, "DeviceNotFound: Class 'nosuch' not found"):
            daemon.qmp.execute("qom-list-properties", typename="nosuch")


def test_memdev_has_what_qemu_has():
    with objects(
            RAM + ",prealloc=on,policy=bind,host-nodes=0") as daemon:
        memdev, = daemon.qmp.execute("query-memdev")
    assert memdev.items() >= {
        "id": "m0", "size": SIZE, "merge": True, "dump": True,
        "prealloc": True, "share": False, "reserve": True, "host-nodes": [0],
        "policy": "bind", "type": "memory-backend-ram", "page-size": 4096,
    }.items(), memdev


def test_memdev_lists_backends_only():
    with objects(CONTEXT, RAM) as daemon:
        assert [m["id"] for m in daemon.qmp.execute("query-memdev")] == ["m0"]


if __name__ == "__main__":
    harness.main()
