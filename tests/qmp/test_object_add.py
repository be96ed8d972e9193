# SPDX-License-Identifier: LGPL-2.1-or-later
"""object-add and object-del: what they do, and every error they have."""

import harness
from harness import Hostmemd, QmpError, raises

SIZE = 1 << 20


def add(client, qom_type, object_id, **options):
    return client.execute("object-add", {"qom-type": qom_type,
                                         "id": object_id}, **options)


def add_ram(client, object_id="m0", **options):
    return add(client, "memory-backend-ram", object_id,
               **{"size": SIZE, **options})


def refuses(desc, error_class="GenericError"):
    return raises(QmpError, f"{error_class}: {desc}")


def test_add_and_delete():
    with Hostmemd() as daemon:
        assert add_ram(daemon.qmp) == {}
        assert [m["id"] for m in daemon.qmp.execute("query-memdev")] == ["m0"]
        assert daemon.qmp.execute("object-del", id="m0") == {}
        assert daemon.qmp.execute("query-memdev") == []


def test_deleted_id_is_free_at_once():
    with Hostmemd() as daemon:
        for _ in range(20):
            add_ram(daemon.qmp, prealloc=True)
            daemon.qmp.execute("object-del", id="m0")


def test_unknown_type():
    with Hostmemd() as daemon:
        for name in "nosuch", "memory-backend", "object":
            with refuses(f"Parameter 'qom-type' does not accept value "
                         f"'{name}'"):
                add(daemon.qmp, name, "x", size=SIZE)


def test_missing_type():
    with Hostmemd() as daemon:
        with refuses("Parameter 'qom-type' is missing"):
            daemon.qmp.execute("object-add", id="m0", size=SIZE)


def test_missing_id():
    with Hostmemd() as daemon:
        with refuses("Parameter 'id' is missing"):
            daemon.qmp.execute("object-add", {
                "qom-type": "memory-backend-ram", "size": SIZE})


def test_malformed_id():
    with Hostmemd() as daemon:
        for name in "1m", "", "a/b", "a b", "\u00e9", "_m":
            with refuses("Parameter 'id' expects an identifier"):
                add_ram(daemon.qmp, name)


def test_duplicate_id():
    with Hostmemd() as daemon:
        add_ram(daemon.qmp)
        with refuses("attempt to add duplicate property 'm0' to object (type "
                     "'container')"):
            add_ram(daemon.qmp)


def test_missing_size():
    with Hostmemd() as daemon:
        with refuses("Parameter 'size' is missing"):
            add(daemon.qmp, "memory-backend-ram", "m0")


def test_size_zero():
    with Hostmemd() as daemon:
        with refuses("property 'size' of memory-backend-ram doesn't take "
                     "value '0'"):
            add_ram(daemon.qmp, size=0)


def test_size_is_an_integer():
    with Hostmemd() as daemon:
        for size in "64M", 1.5, None:
            with refuses("Parameter 'size' expects uint64"):
                add_ram(daemon.qmp, size=size)


def test_absurd_sizes_are_errors():
    sizes = [-1, -4096, 2**63 - 1, 2**63, 2**64 - 4096, 2**64 - 1, 2**64]
    with Hostmemd() as daemon:
        for size in sizes:
            with refuses(""):
                add_ram(daemon.qmp, size=size)
        add_ram(daemon.qmp)


def test_unknown_property():
    with Hostmemd() as daemon:
        with refuses("Parameter 'foo' is unexpected"):
            add_ram(daemon.qmp, foo=1)


def test_boolean_of_another_type():
    with Hostmemd() as daemon:
        with refuses("Invalid parameter type for 'prealloc', expected: "
                     "boolean"):
            add_ram(daemon.qmp, prealloc="on")


def test_prealloc_needs_reserve():
    with Hostmemd() as daemon:
        with refuses("'prealloc=on' and 'reserve=off' are incompatible"):
            add_ram(daemon.qmp, prealloc=True, reserve=False)


def test_threads_out_of_range():
    with Hostmemd() as daemon:
        for count in -1, 2**32:
            with refuses("Parameter 'prealloc-threads' expects uint32_t"):
                add_ram(daemon.qmp, prealloc_threads=count)


def test_policy_without_nodes():
    with Hostmemd() as daemon:
        with refuses("host-nodes must be set for policy bind"):
            add_ram(daemon.qmp, policy="bind")


def test_nodes_without_policy():
    with Hostmemd() as daemon:
        with refuses("host-nodes must be empty for policy default, or you "
                     "should explicitly specify a policy other than default"):
            add_ram(daemon.qmp, host_nodes=[0])


def test_node_that_does_not_exist():
    with Hostmemd() as daemon:
        with refuses("cannot bind memory to host NUMA nodes"):
            add_ram(daemon.qmp, policy="bind", host_nodes=[120])


def test_node_out_of_range():
    with Hostmemd() as daemon:
        with refuses("Invalid host-nodes value: 128"):
            add_ram(daemon.qmp, policy="bind", host_nodes=[128])
        for value in 70000, -1:
            with refuses("", "GenericError"):
                add_ram(daemon.qmp, policy="bind", host_nodes=[value])


def test_nodes_are_a_list():
    with Hostmemd() as daemon:
        with refuses("Invalid parameter type for 'host-nodes', expected: "
                     "array"):
            add_ram(daemon.qmp, policy="bind", host_nodes="0-1")


def test_unknown_policy():
    with Hostmemd() as daemon:
        with refuses("Parameter 'policy' does not accept value 'foo'"):
            add_ram(daemon.qmp, policy="foo", host_nodes=[0])


def test_unknown_context():
    with Hostmemd() as daemon:
        with refuses("Device 'nosuch' not found", "DeviceNotFound"):
            add_ram(daemon.qmp, prealloc_context="nosuch")


def test_context_of_another_type():
    with Hostmemd() as daemon:
        add_ram(daemon.qmp)
        with refuses("Invalid parameter type for 'prealloc-context', "
                     "expected: thread-context"):
            add_ram(daemon.qmp, "m1", prealloc_context="m0")


def test_context_is_used_and_read_back():
    with Hostmemd() as daemon:
        add(daemon.qmp, "thread-context", "tc0", cpu_affinity=[0])
        add_ram(daemon.qmp, prealloc=True, prealloc_context="tc0")
        assert daemon.qmp.execute(
            "qom-get", path="/objects/m0",
            property="prealloc-context") == "/objects/tc0"


def test_missing_path():
    with Hostmemd() as daemon:
        with refuses("Parameter 'mem-path' is missing"):
            add(daemon.qmp, "memory-backend-file", "f0", size=SIZE)


def test_file_in_no_folder_is_not_a_missing_device():
    with Hostmemd() as daemon, harness.scratch() as folder:
        path = f"{folder}/nodir/x"
        with refuses(f"can't open backing store {path} for guest RAM: No such "
                     "file or directory"):
            add(daemon.qmp, "memory-backend-file", "f0", size=SIZE,
                mem_path=path)


def test_huge_page_size_zero():
    with Hostmemd() as daemon:
        with raises(QmpError, "hugetlbsize", "doesn't take value '0'"):
            add(daemon.qmp, "memory-backend-memfd", "b", size=2 * SIZE,
                hugetlb=True, hugetlbsize=0)


def test_huge_page_size_is_a_power_of_two():
    with Hostmemd() as daemon:
        with refuses("Hugepage size must be a power of 2"):
            add(daemon.qmp, "memory-backend-memfd", "b", size=2 * SIZE,
                hugetlb=True, hugetlbsize=3 * SIZE)


def test_empty_cpu_list():
    with Hostmemd() as daemon:
        with refuses("CPU list is empty"):
            add(daemon.qmp, "thread-context", "tc0", cpu_affinity=[])


def test_no_such_cpu():
    with Hostmemd() as daemon:
        with refuses("Setting CPU affinity failed"):
            add(daemon.qmp, "thread-context", "tc0", cpu_affinity=[4095])


def test_cpus_and_nodes_together():
    with Hostmemd() as daemon:
        with refuses("Mixing CPU and node affinity not supported"):
            add(daemon.qmp, "thread-context", "tc0", cpu_affinity=[0],
                node_affinity=[0])


def test_nodes_without_cpus():
    with Hostmemd() as daemon:
        with refuses("The nodes select no CPUs"):
            add(daemon.qmp, "thread-context", "tc0", node_affinity=[120])


def test_failed_id_is_free():
    with Hostmemd() as daemon:
        with refuses(""):
            add(daemon.qmp, "memory-backend-memfd", "x", size=5000)
        add(daemon.qmp, "memory-backend-memfd", "x", size=8192)


def test_failed_creations_leave_no_descriptor():
    with Hostmemd() as daemon:
        descriptors = harness.pathlib.Path(f"/proc/{daemon.pid}/fd")
        before = len(list(descriptors.iterdir()))
        for i in range(20):
            with refuses(""):
                add(daemon.qmp, "memory-backend-memfd", f"x{i}", size=5000)
        assert len(list(descriptors.iterdir())) == before


def test_delete_unknown():
    with Hostmemd() as daemon:
        with refuses("object 'nosuch' not found"):
            daemon.qmp.execute("object-del", id="nosuch")


def test_memory_is_gone_when_delete_answers():
    size = 64 * SIZE
    with Hostmemd() as daemon, harness.tmpfs(2 * size) as folder:
        for i in range(4):
            add(daemon.qmp, "memory-backend-file", "f0", size=size,
                mem_path=str(folder), share=True, prealloc=True)
            assert harness.os.statvfs(folder).f_bfree * 4096 <= size
            daemon.qmp.execute("object-del", id="f0")
            assert harness.os.statvfs(folder).f_bfree * 4096 == 2 * size


if __name__ == "__main__":
    harness.main()
