# SPDX-License-Identifier: LGPL-2.1-or-later
"""Devices: device_add and device_del, requests, what is told of them."""

import harness
from harness import MIB, Hostmemd, QmpError, raises

GIB = 1024 * MIB
BASE = 4 * GIB
BLOCK = 2 * MIB
SIZE = 64 * MIB
PATH = "/machine/peripheral/vm0"


def objects(*options):
    """A hostmemd with m0 and m1 of 64 MiB, and devices."""
    args = []
    for name in "m0", "m1":
        args += ["-object", f"memory-backend-ram,id={name},size=64M"]
    for option in options:
        args += ["-device", option]
    return Hostmemd(*args)


def add(client, driver="virtio-mem-pci", **options):
    return client.execute("device_add", driver=driver, **options)


def request(client, kind, first=0, count=1, device="vm0", **more):
    """The answer to a request about blocks of vm0, without the reason."""
    answer = client.execute("virtio-mem-request", id=device, type=kind,
                            addr=BASE + first * BLOCK, nb_blocks=count, **more)
    answer.pop("reason", None)
    return answer


def resize(client, size, path="vm0"):
    return client.execute("qom-set", path=path, property="requested-size",
                          value=size)


def get(client, name, path="vm0"):
    return client.execute("qom-get", path=path, property=name)


def devices(client):
    return client.execute("query-memory-devices")


def refuses(desc, error_class="GenericError"):
    return raises(QmpError, f"{error_class}: {desc}")


# device_add

def test_add_and_delete():
    with objects() as daemon:
        assert add(daemon.qmp, id="vm0", memdev="m0") == {}
        assert devices(daemon.qmp) == [{"type": "virtio-mem", "data": {
            "id": "vm0", "memaddr": BASE, "requested-size": 0, "size": 0,
            "max-size": SIZE, "block-size": BLOCK, "node": 0,
            "memdev": "/objects/m0"}}]
        assert daemon.qmp.execute("device_del", id="vm0") == {}
        assert devices(daemon.qmp) == []


def test_names_of_the_driver():
    with objects() as daemon:
        for driver in "virtio-mem", "virtio-mem-pci", "virtio-mem-device":
            add(daemon.qmp, driver, id="vm0", memdev="m0")
            assert get(daemon.qmp, "type") == "virtio-mem"
            daemon.qmp.execute("device_del", id="vm0")


def test_without_id():
    with objects() as daemon:
        add(daemon.qmp, memdev="m0")
        add(daemon.qmp, memdev="m1")
        assert daemon.qmp.execute(
            "qom-list", path="/machine/peripheral-anon")[1:] == [
                {"name": "device[0]", "type": "child<virtio-mem>"},
                {"name": "device[1]", "type": "child<virtio-mem>"}]
        assert ["id" in d["data"] for d in devices(daemon.qmp)] == [
            False, False]
        daemon.qmp.execute("device_del",
                           id="/machine/peripheral-anon/device[0]")


def test_what_cannot_be_added():
    cases = [
        (dict(driver="nosuch"), "'nosuch' is not a valid device model name"),
        (dict(driver="memory-backend-ram", id="x", size=MIB),
         "'memory-backend-ram' is not a valid device model name"),
        (dict(driver="device"),
         "Parameter 'driver' expects a non-abstract device type"),
        (dict(driver=5), "Invalid parameter type for 'driver', expected: "
                         "string"),
        (dict(id="vm0"), "'memdev' property must be set"),
        (dict(id="1v", memdev="m0"), "Parameter 'id' expects an identifier"),
        (dict(id=3, memdev="m0"), "Invalid parameter type for 'id'"),
        (dict(id="vm0", memdev="m0", foo=1),
         "Property 'virtio-mem-pci.foo' not found"),
        (dict(id="vm0", memdev="m0", size=1),
         "Property 'virtio-mem.size' is not writable"),
        (dict(id="vm0", memdev="m0", requested_size=1),
         "'requested-size' property has to be multiples of 'block-size' "
         "(0x200000)"),
        (dict(id="vm0", memdev="m0", requested_size=2 * SIZE),
         "'requested-size' cannot exceed the memory backend size(0x4000000)"),
        (dict(id="vm0", memdev="m0", requested_size="64M"),
         "Parameter 'requested-size' expects uint64"),
        (dict(id="vm0", memdev="m0", block_size=1000),
         "'block-size' property has to be at least 0x100000"),
        (dict(id="vm0", memdev="m0", block_size=3 * MIB),
         "'block-size' property has to be a power of two"),
        (dict(id="vm0", memdev="m0", memaddr=BASE + 4096),
         "address must be aligned to 0x200000 bytes"),
        (dict(id="vm0", memdev="m0", memaddr=BLOCK),
         "can't add memory device [0x200000:0x4000000], usable range for "
         "memory devices [0x100000000:"),
        (dict(id="vm0", memdev="m0", memaddr=2**63 - BLOCK),
         "can't add memory device ["),
    ]
    with objects() as daemon:
        for options, desc in cases:
            with refuses(desc):
                add(daemon.qmp, **options)
        with refuses("Parameter 'driver' is missing"):
            daemon.qmp.execute("device_add")
        with refuses("Device 'nosuch' not found", "DeviceNotFound"):
            add(daemon.qmp, id="vm0", memdev="nosuch")
        add(daemon.qmp, id="vm0", memdev="m0")


def test_hostile_numbers():
    values = [-1, -BLOCK, 2**63 - 1, 2**63, 2**64 - BLOCK, 2**64, 1e300]
    with objects() as daemon:
        for name in "requested-size", "block-size", "memaddr", "node":
            for value in values:
                with refuses(""):
                    add(daemon.qmp, **{"id": "vm0", "memdev": "m0",
                                       name: value})
        add(daemon.qmp, id="vm0", memdev="m0")


def test_duplicate_id():
    with objects("virtio-mem,id=vm0,memdev=m0") as daemon:
        with refuses("Duplicate device ID 'vm0'"):
            add(daemon.qmp, id="vm0", memdev="m1")


def test_ids_of_objects_are_apart():
    with objects("virtio-mem,id=m1,memdev=m0") as daemon:
        for path, value in ("/objects/m1", "memory-backend-ram"), (
                "/machine/peripheral/m1", "virtio-mem"):
            assert get(daemon.qmp, "type", path) == value
        with refuses("Device 'm1' not found", "DeviceNotFound"):
            get(daemon.qmp, "type", "m1")


def test_a_device_is_no_object():
    with objects() as daemon:
        with refuses("Parameter 'qom-type' does not accept value "
                     "'virtio-mem'"):
            daemon.qmp.execute("object-add", {"qom-type": "virtio-mem",
                                              "id": "v", "memdev": "m0"})


def test_busy_memdev():
    with objects("virtio-mem,id=vm0,memdev=m0") as daemon:
        with refuses("'memdev' property specifies a busy memdev: m0"):
            add(daemon.qmp, id="vm1", memdev="m0")


def test_memdev_of_another_type():
    with objects() as daemon:
        daemon.qmp.execute("object-add", {"qom-type": "thread-context",
                                          "id": "tc0"})
        with refuses("Invalid parameter type for 'memdev', expected: "
                     "memory-backend"):
            add(daemon.qmp, id="vm0", memdev="tc0")


def test_addresses_do_not_overlap():
    with objects("virtio-mem,id=vm0,memdev=m0") as daemon:
        for address in BASE, BASE + SIZE - BLOCK:
            with refuses("address range conflicts with memory device "
                         "id='vm0'"):
                add(daemon.qmp, id="vm1", memdev="m1", memaddr=address)
        add(daemon.qmp, id="vm1", memdev="m1")
        assert [d["data"]["memaddr"] for d in devices(daemon.qmp)] == [
            BASE, BASE + SIZE]


def test_list_is_sorted_by_address():
    with objects(f"virtio-mem,id=vm1,memdev=m1,memaddr={BASE + SIZE}",
                 "virtio-mem,id=vm0,memdev=m0") as daemon:
        assert [d["data"]["id"] for d in devices(daemon.qmp)] == ["vm0", "vm1"]


# device_del

def test_what_cannot_be_deleted():
    with objects("virtio-mem,id=vm0,memdev=m0,requested-size=4M") as daemon:
        for name in "nosuch", "/nosuch", "m0", "peripheral/vm0", "":
            with refuses(f"Device '{name}' not found", "DeviceNotFound"):
                daemon.qmp.execute("device_del", id=name)
        for name in "/objects/m0", "/machine", "/":
            with refuses(f"{name} is not a hotpluggable device"):
                daemon.qmp.execute("device_del", id=name)
        prefix = "virtio-mem device cannot get unplugged while "
        with refuses(prefix + "'requested-size' != '0'"):
            daemon.qmp.execute("device_del", id="vm0")
        request(daemon.qmp, "plug")
        resize(daemon.qmp, 0)
        with refuses(prefix + "some of its memory is still plugged"):
            daemon.qmp.execute("device_del", id="vm0")
        request(daemon.qmp, "unplug")
        daemon.qmp.execute("device_del", id=PATH)


def test_device_that_a_guest_may_read_stays():
    with objects("virtio-mem,id=vm0,memdev=m0,"
                 "unplugged-inaccessible=off") as daemon:
        with refuses("virtio-mem device cannot get unplugged while "
                     "'unplugged-inaccessible' != 'on'"):
            daemon.qmp.execute("device_del", id="vm0")


def test_memdev_is_in_use():
    with objects("virtio-mem,id=vm0,memdev=m0") as daemon:
        with refuses("object 'm0' is in use, can not be deleted"):
            daemon.qmp.execute("object-del", id="m0")
        daemon.qmp.execute("device_del", id="vm0")
        daemon.qmp.execute("object-del", id="m0")


def test_deletion_is_told_when_the_memdev_is_free():
    with objects("virtio-mem,id=vm0,memdev=m0",
                 "virtio-mem,memdev=m1") as daemon:
        watcher = daemon.connect()
        daemon.qmp.execute("device_del", id="vm0")
        event = watcher.wait_event("DEVICE_DELETED")
        assert event["data"] == {"device": "vm0", "path": PATH}, event
        watcher.execute("object-del", id="m0")
        path = "/machine/peripheral-anon/device[0]"
        daemon.qmp.execute("device_del", id=path)
        event = watcher.wait_event("DEVICE_DELETED")
        assert event["data"] == {"path": path}, event


# the tree

def test_tree():
    with objects("virtio-mem,id=vm0,memdev=m0") as daemon:
        for path, child, kind in [
                ("/", "machine", "container"),
                ("/machine", "peripheral", "container"),
                ("/machine", "peripheral-anon", "container"),
                ("/machine/peripheral", "vm0", "virtio-mem")]:
            assert {"name": child, "type": f"child<{kind}>"} in (
                daemon.qmp.execute("qom-list", path=path)), path
            assert get(daemon.qmp, child, path) == (
                f"{path.rstrip('/')}/{child}")
            assert get(daemon.qmp, "type", path) == "container"
        for path in "vm0", "peripheral/vm0", PATH, "//machine/peripheral/vm0/":
            assert get(daemon.qmp, "memdev", path) == "/objects/m0"


def test_every_property_can_be_read():
    with objects("virtio-mem,id=vm0,memdev=m0") as daemon:
        for entry in daemon.qmp.execute("qom-list", path=PATH):
            get(daemon.qmp, entry["name"])


def test_what_cannot_be_set():
    cases = [
        ("requested-size", MIB, "'requested-size' has to be multiples of "
                                "'block-size' (0x200000)"),
        ("requested-size", 2 * SIZE, "'requested-size' cannot exceed the "
                                     "memory backend size(0x4000000)"),
        ("requested-size", "64M", "Parameter 'requested-size' expects uint64"),
        ("requested-size", -BLOCK, "Parameter 'requested-size' expects"),
        ("size", 1, "Property 'virtio-mem.size' is not writable"),
        ("block-size", 4 * MIB, "'block-size' cannot be changed"),
        ("memdev", "m1", "Attempt to set property 'memdev' on device 'vm0'"),
        ("memaddr", BASE, "Attempt to set property 'memaddr' on device"),
        ("node", 1, "Attempt to set property 'node' on device"),
        ("foo", 1, "Property 'virtio-mem.foo' not found"),
    ]
    with objects("virtio-mem,id=vm0,memdev=m0") as daemon:
        for name, value, desc in cases:
            with refuses(desc):
                daemon.qmp.execute("qom-set", path="vm0", property=name,
                                   value=value)
        assert get(daemon.qmp, "requested-size") == 0


def test_properties_of_a_driver():
    with objects() as daemon:
        lists = [daemon.qmp.execute("device-list-properties", typename=name)
                 for name in ("virtio-mem", "virtio-mem-pci")]
        names = {entry["name"]: entry for entry in lists[0]}
        assert lists[0] == lists[1]
        assert names["memdev"]["type"] == "link<memory-backend>"
        assert "type" not in names and names["requested-size"]["description"]
        for name in "memory-backend-ram", "device":
            with refuses("Parameter 'typename' expects a non-abstract device "
                         "type"):
                daemon.qmp.execute("device-list-properties", typename=name)
        with refuses("Device 'nosuch' not found", "DeviceNotFound"):
            daemon.qmp.execute("device-list-properties", typename="nosuch")


def test_types():
    with objects() as daemon:
        types = daemon.qmp.execute("qom-list-types", implements="device",
                                   abstract=True)
    assert types == [
        {"name": "device", "parent": "object", "abstract": True},
        {"name": "virtio-mem", "parent": "device"},
        {"name": "virtio-mem-device", "parent": "virtio-mem"},
        {"name": "virtio-mem-pci", "parent": "virtio-mem"}], types


# sizes

def test_size_summary():
    with objects("virtio-mem,id=vm0,memdev=m0,requested-size=8M") as daemon:
        request(daemon.qmp, "plug", 0, 3)
        assert daemon.qmp.execute("query-memory-size-summary") == {
            "base-memory": SIZE, "plugged-memory": 3 * BLOCK}


# requests

def test_requests():
    """The sequence, and the answers, that QEMU's device gives."""
    with objects("virtio-mem,id=vm0,memdev=m0,requested-size=16M") as daemon:
        for kind, first, count, answer, state in [
                ("plug", 0, 1, "ack", None), ("plug", 0, 1, "error", None),
                ("plug", 1, 8, "nack", None), ("plug", 1, 7, "ack", None),
                ("plug", 8, 1, "nack", None), ("state", 0, 8, "ack", "plugged"),
                ("state", 0, 9, "ack", "mixed"),
                ("state", 8, 1, "ack", "unplugged"),
                ("state", 0, 0, "error", None), ("state", -1, 1, "error", None),
                ("state", 31, 1, "ack", "unplugged"),
                ("state", 32, 1, "error", None), ("unplug", 0, 9, "error", None),
                ("unplug", 8, 1, "error", None), ("unplug", 0, 2, "ack", None),
                ("plug", 0, 65535, "error", None)]:
            expected = {"type": answer}
            if state:
                expected["state"] = state
            assert request(daemon.qmp, kind, first, count) == expected, (
                kind, first, count)
        assert get(daemon.qmp, "size") == 6 * BLOCK


def test_unplug_all_needs_no_range():
    with objects("virtio-mem,id=vm0,memdev=m0,requested-size=16M") as daemon:
        request(daemon.qmp, "plug", 0, 4)
        assert daemon.qmp.execute("virtio-mem-request", id="vm0",
                                  type="unplug-all") == {"type": "ack"}
        assert get(daemon.qmp, "size") == 0


def test_refusals_have_a_reason():
    with objects("virtio-mem,id=vm0,memdev=m0,requested-size=2M") as daemon:
        answer = daemon.qmp.execute("virtio-mem-request", id="vm0",
                                    type="plug", addr=BASE, nb_blocks=2)
        assert answer["type"] == "nack" and "requested-size" in answer["reason"]


def test_ranges_that_wrap():
    with objects("virtio-mem,id=vm0,memdev=m0,requested-size=16M") as daemon:
        for address in -BLOCK, -4096, -1, 2**63 - 1, -2**63, 0, BASE + 1:
            for count in 1, 65535:
                answer = daemon.qmp.execute(
                    "virtio-mem-request", id="vm0", type="plug", addr=address,
                    nb_blocks=count)
                assert answer["type"] == "error", (address, count, answer)


def test_requests_that_are_none():
    with objects("virtio-mem,id=vm0,memdev=m0,requested-size=16M") as daemon:
        for desc, arguments in [
                ("Parameter 'type' does not accept value 'x'", dict(type="x")),
                ("Parameter 'type' is missing", {}),
                ("Parameter 'addr' is missing", dict(type="plug")),
                ("Parameter 'nb-blocks' is missing", dict(type="plug",
                                                          addr=BASE)),
                ("", dict(type="plug", addr=BASE, nb_blocks=65536)),
                ("", dict(type="plug", addr=BASE, nb_blocks=-1)),
                ("", dict(type="plug", addr=2**64, nb_blocks=1))]:
            with refuses(desc):
                daemon.qmp.execute("virtio-mem-request", id="vm0", **arguments)
        with refuses("Device 'm0' not found", "DeviceNotFound"):
            request(daemon.qmp, "plug", device="m0")


def test_answers_are_in_order():
    with objects("virtio-mem,id=vm0,memdev=m0,requested-size=64M") as daemon:
        numbers = [daemon.qmp.start("virtio-mem-request", id="vm0", type=kind,
                                    addr=BASE, nb_blocks=1)
                   for kind in ("plug", "unplug") * 50]
        for number in numbers:
            assert daemon.qmp.finish(number) == {"type": "ack"}


# reset

def test_system_reset():
    with objects("virtio-mem,id=vm0,memdev=m0,requested-size=16M",
                 "virtio-mem,memdev=m1,requested-size=16M") as daemon:
        request(daemon.qmp, "plug", 0, 4)
        assert daemon.qmp.execute("system_reset") == {}
        event = daemon.qmp.wait_event("RESET")
        assert event["data"] == {"guest": False,
                                 "reason": "host-qmp-system-reset"}, event
        assert get(daemon.qmp, "size") == 0
        assert get(daemon.qmp, "requested-size") == 16 * MIB


if __name__ == "__main__":
    harness.main()
