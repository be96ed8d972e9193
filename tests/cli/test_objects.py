# SPDX-License-Identifier: LGPL-2.1-or-later
"""The text of -object: types, ids, properties and their values."""

import harness
from expect import fails, object_fails, succeeds

RAM = "memory-backend-ram,id=m0,size=2M"


def test_unknown_type():
    object_fails("memory-backend-rom,id=m0,size=2M",
                 "Parameter 'qom-type' does not accept value "
                 "'memory-backend-rom'")


def test_abstract_type():
    object_fails("memory-backend,id=m0,size=2M", "'memory-backend'")


def test_missing_type():
    object_fails("id=m0,size=2M", "Parameter 'qom-type' is missing")


def test_empty_text():
    object_fails("", "qom-type")


def test_missing_id():
    object_fails("memory-backend-ram,size=2M", "Parameter 'id' is missing")


def test_malformed_id():
    for bad in ("1m", "a/b", "", "-m", "m m", "m\N{EURO SIGN}"):
        object_fails(f"memory-backend-ram,id={bad},size=2M",
                     "Parameter 'id' expects an identifier")


def test_duplicate_id():
    fails("--once", "-object", RAM, "-object", RAM,
          phrases=[f"-object {RAM}: ", "'m0'", "duplicate"])


def test_unknown_property():
    object_fails(RAM + ",colour=red", "colour")


def test_bad_boolean():
    object_fails(RAM + ",prealloc=1",
                 "Parameter 'prealloc' expects 'on' or 'off'")


def test_too_many_threads_to_count():
    object_fails(RAM + ",prealloc-threads=4294967296", "prealloc-threads")


def test_unknown_policy():
    object_fails(RAM + ",policy=near",
                 "Parameter 'policy' does not accept value 'near'")


def test_text_without_a_key():
    object_fails(RAM + ",nonsense", "nonsense")


def test_half_a_json_object():
    object_fails('{"qom-type":"memory-backend-ram","id":"m0"', "JSON")


def test_json_of_another_kind():
    object_fails('{"qom-type":["memory-backend-ram"],"id":"m0","size":4096}',
                 "qom-type")


def test_deeply_nested_json():
    object_fails('{"a":' + "[" * 100_000, "JSON")


def test_prealloc_without_reservation():
    object_fails(RAM + ",prealloc=on,reserve=off",
                 "'prealloc=on' and 'reserve=off' are incompatible")


def test_shm_is_shared():
    object_fails("memory-backend-shm,id=m0,size=2M,share=off", "share=off")


def test_huge_page_size_of_zero():
    object_fails("memory-backend-memfd,id=m0,size=2M,hugetlb=on,hugetlbsize=0",
                 "hugetlbsize", "'0'")


def test_huge_page_size_no_power_of_two():
    object_fails("memory-backend-memfd,id=m0,size=6M,hugetlb=on,"
                 "hugetlbsize=3M", "power of 2")


def test_huge_page_size_unknown_to_the_host():
    object_fails("memory-backend-memfd,id=m0,size=2M,hugetlb=on,"
                 "hugetlbsize=64K", "64 KiB")


def test_an_object_before_the_bad_one_is_given_back():
    text = "memory-backend-file,id=m1,size=2M,mem-path=/nonexistent/x"
    fails("--once", "-object", RAM, "-object", text,
          phrases=[f"-object {text}: "])


def test_both_list_dialects():
    for nodes in ("host-nodes=0", "host-nodes.0=0", "host-nodes=0-0"):
        succeeds("--once", "-object", f"{RAM},policy=bind,{nodes}")


def test_thread_contexts_come_first():
    lines = succeeds("--once",
                     "-object", RAM + ",prealloc=on,prealloc-context=tc0",
                     "-object", '{"qom-type":"thread-context","id":"tc0"}')
    ids = [line.split()[0] for line in lines.splitlines()[1:]]
    assert ids == ["tc0", "m0"], lines


def test_unknown_thread_context():
    object_fails(RAM + ",prealloc=on,prealloc-context=tc0", "'tc0' not found")


def test_thread_context_of_another_type():
    fails("--once", "-object", RAM, "-object",
          "memory-backend-ram,id=m1,size=2M,prealloc-context=m0",
          phrases=["prealloc-context", "thread-context"])


def test_thread_context_without_cpus():
    object_fails("thread-context,id=tc0,cpu-affinity=", "cpu-affinity")
    object_fails("thread-context,id=tc0,node-affinity=127",
                 "The nodes select no CPUs")


def test_thread_context_on_missing_cpus():
    object_fails("thread-context,id=tc0,cpu-affinity=1000-1001",
                 "Setting CPU affinity failed")


def test_thread_context_with_both_affinities():
    object_fails("thread-context,id=tc0,cpu-affinity=0,node-affinity=0",
                 "Mixing CPU and node affinity not supported")


def test_nodes_that_do_not_exist():
    object_fails(RAM + ",policy=bind,host-nodes=127",
                 "cannot bind memory to host NUMA nodes", "127")


def test_nodes_beyond_the_limit():
    object_fails(RAM + ",policy=bind,host-nodes=128",
                 "Invalid host-nodes value: 128")


def test_reversed_node_range():
    object_fails(RAM + ",policy=bind,host-nodes=3-1", "host-nodes")


def test_policy_without_nodes():
    for policy in ("bind", "preferred", "interleave"):
        object_fails(f"{RAM},policy={policy}",
                     f"host-nodes must be set for policy {policy}")


def test_nodes_without_policy():
    object_fails(RAM + ",host-nodes=0",
                 "host-nodes must be empty for policy default")


if __name__ == "__main__":
    harness.main()
