# SPDX-License-Identifier: LGPL-2.1-or-later
"""query-host-nodes: what the host has, and what of it is ours."""

import pathlib

import harness
from harness import MIB, Hostmemd, need_huge_pages

SIZE = 64 * MIB
RAM = f"memory-backend-ram,id=m0,size={SIZE},"
NODES = pathlib.Path("/sys/devices/system/node")


def nodes_of(daemon):
    return daemon.qmp.execute("query-host-nodes")


def populated(daemon):
    return sum(node["populated"] for node in nodes_of(daemon))


def test_memory_of_each_node():
    with Hostmemd() as daemon:
        nodes = nodes_of(daemon)
    numbers = [node["node"] for node in nodes]
    assert numbers == sorted(set(numbers)) and numbers, numbers
    for node in nodes:
        assert 0 < node["free"] <= node["available"] <= node["total"], node
        assert node["populated"] == 0, node


def test_what_backends_have():
    with Hostmemd("-object", RAM + "prealloc=on",
                  "-object", RAM.replace("m0", "m1")) as daemon:
        assert abs(populated(daemon) - SIZE) < 128
        daemon.qmp.execute("qom-set", path="m1", property="prealloc",
                           value=True)
        assert abs(populated(daemon) - 2 * SIZE) < 256
        daemon.qmp.execute("object-del", id="m0")
        assert abs(populated(daemon) - SIZE) < 128


def test_where_it_is_bound_to():
    with Hostmemd() as daemon:
        last = nodes_of(daemon)[-1]["node"]
        daemon.qmp.execute("object-add", {
            "qom-type": "memory-backend-memfd", "id": "m0", "size": SIZE,
            "prealloc": True, "policy": "bind", "host-nodes": [last]})
        assert nodes_of(daemon)[-1]["populated"] == SIZE


def test_huge_pages():
    with need_huge_pages(8), Hostmemd(
            "-object", "memory-backend-memfd,id=m0,size=8M,hugetlb=on,"
            "prealloc=on") as daemon:
        nodes = nodes_of(daemon)
        pools = [pool for node in nodes for pool in node["huge-pages"]
                 if pool["page-size"] == 2 * MIB]
        assert sum(pool["total"] for pool in pools) >= 8, pools
        assert sum(pool["free"] for pool in pools) >= 4, pools
        assert populated(daemon) == 8 * MIB


def test_as_the_kernel_says():
    if not NODES.exists():
        harness.skip("a kernel without NUMA")
    with Hostmemd() as daemon:
        for node in nodes_of(daemon):
            text = (NODES / f"node{node['node']}/meminfo").read_text()
            total, = [line.split()[3] for line in text.splitlines()
                      if "MemTotal" in line]
            assert node["total"] == int(total) << 10, node


if __name__ == "__main__":
    harness.main()
