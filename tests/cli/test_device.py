# SPDX-License-Identifier: LGPL-2.1-or-later
"""The text of -device: drivers, properties, order; what goes wrong."""

import harness
from expect import fails, succeeds
from harness import MIB, Hostmemd

MEMDEV = ("-object", "memory-backend-ram,id=m0,size=64M")


def device_fails(text, *phrases):
    fails("--once", *MEMDEV, "-device", text,
          phrases=[f"hostmemd: -device {text}: ", *phrases])


def devices(*args):
    with Hostmemd(*args) as daemon:
        return [d["data"] for d in daemon.qmp.execute("query-memory-devices")]


def test_device():
    data, = devices(*MEMDEV, "-device",
                    "virtio-mem-pci,id=vm0,memdev=m0,requested-size=16M")
    assert data == {"id": "vm0", "memdev": "/objects/m0", "memaddr": 4 << 30,
                    "block-size": 2 * MIB, "requested-size": 16 * MIB,
                    "size": 0, "max-size": 64 * MIB, "node": 0}, data


def test_json():
    data, = devices(*MEMDEV, "--device",
                    '{"driver": "virtio-mem", "id": "vm0", "memdev": "m0", '
                    '"requested-size": 16777216}')
    assert data["requested-size"] == 16 * MIB, data


def test_devices_come_after_objects():
    data, = devices("-device=virtio-mem,memdev=m0", *MEMDEV)
    assert data["memdev"] == "/objects/m0", data


def test_order_of_devices():
    ids = [data["id"] for data in devices(
        *MEMDEV, "-object", "memory-backend-ram,id=m1,size=64M",
        "-device", "virtio-mem,id=b,memdev=m1",
        "-device", "virtio-mem,id=a,memdev=m0")]
    assert ids == ["b", "a"], ids


def test_once():
    table = succeeds("--once", *MEMDEV, "-device", "virtio-mem,memdev=m0")
    assert "m0" in table, table


def test_what_cannot_be_made():
    for text, message in [
            ("", "Parameter 'driver' is missing"),
            ("nosuch,id=v", "'nosuch' is not a valid device model name"),
            ("memory-backend-ram,id=v",
             "'memory-backend-ram' is not a valid device model name"),
            ("id=v,memdev=m0", "Parameter 'driver' is missing"),
            ("virtio-mem-pci,id=v", "'memdev' property must be set"),
            ("virtio-mem-pci,id=v,memdev=x", "Device 'x' not found"),
            ("virtio-mem-pci,id=1v,memdev=m0",
             "Parameter 'id' expects an identifier"),
            ("virtio-mem-pci,id=v,memdev=m0,foo=1",
             "Property 'virtio-mem-pci.foo' not found"),
            ("virtio-mem-pci,id=v,memdev=m0,requested-size=1X",
             "Parameter 'requested-size' expects a size value"),
            ("virtio-mem-pci,id=v,memdev=m0,requested-size=1M",
             "'requested-size' property has to be multiples of 'block-size' "
             "(0x200000)"),
            ("virtio-mem-pci,id=v,memdev=m0,requested-size=1G",
             "'requested-size' cannot exceed the memory backend "
             "size(0x4000000)"),
            ("virtio-mem-pci,id=v,memdev=m0,prealloc=maybe",
             "Parameter 'prealloc' expects 'on' or 'off'"),
            ('{"driver": "virtio-mem-pci"', "JSON parse error")]:
        device_fails(text, message)


def test_duplicate_id():
    text = "virtio-mem,id=v,memdev=m1"
    fails("--once", *MEMDEV, "-object", "memory-backend-ram,id=m1,size=64M",
          "-device", "virtio-mem,id=v,memdev=m0", "-device", text,
          phrases=[f"-device {text}: Duplicate device ID 'v'"])


def test_memdev_with_prealloc():
    text = "virtio-mem,id=v,memdev=p"
    fails("--once", "-object",
          "memory-backend-ram,id=p,size=64M,prealloc=on", "-device", text,
          phrases=[f"-device {text}: 'memdev' property specifies a memdev "
                   "with preallocation enabled: p."])


def test_a_device_alone_is_something_to_do():
    fails("-device", "virtio-mem,memdev=m0",
          phrases=["Device 'm0' not found"])


def test_requires_an_argument():
    fails("-device", phrases=["-device: requires an argument"])


def test_help_lists_the_drivers():
    for text in "help", "?":
        assert succeeds("-device", text) == (
            'Misc devices:\n'
            'name "virtio-mem"\n'
            'name "virtio-mem-device"\n'
            'name "virtio-mem-pci"\n')


def test_help_of_a_driver():
    lines = succeeds("-device", "virtio-mem-pci,help").splitlines()
    assert lines[0] == "virtio-mem-pci options:"
    names = [line.split("=")[0] for line in lines[1:]]
    assert names == sorted(names), lines
    assert any(line.startswith("  memdev=<link<memory-backend>> - ")
               for line in lines), lines
    assert not any("last-reason" in line for line in lines), lines


def test_help_of_no_driver():
    fails("-device", "nosuch,help",
          phrases=["-device nosuch,help: Device 'nosuch' not found"])
    fails("-object", "virtio-mem,help", phrases=["'virtio-mem'"])


if __name__ == "__main__":
    harness.main()
