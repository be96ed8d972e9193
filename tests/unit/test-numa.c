/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include "os-fake.h"
#include "util/error.h"
#include "util/numa.h"
#include "util/size.h"

#define NODE_DIR "/sys/devices/system/node"

/* A kernel built without NUMA. */
static void pretend_no_numa(void)
{
    hm_fake_reset();
    hm_fake_hide_tree(NODE_DIR);
}

static void assert_ids(HmIdset *set, const char *expect)
{
    g_autoptr(HmIdset) owned = set;
    g_autofree char *text = hm_idset_to_string(owned);

    g_assert_cmpstr(text, ==, expect);
}

static HmIdset *ids(const char *text)
{
    return hm_idset_parse(text, NULL);
}

static void test_memory_nodes(void)
{
    hm_fake_reset();
    hm_fake_set_nodes(4, 2, HM_GIB);
    assert_ids(hm_numa_memory_nodes(), "0-3");
    hm_fake_set_file(NODE_DIR "/has_memory", "0,2-3\n");
    assert_ids(hm_numa_memory_nodes(), "0,2-3");
}

static void test_memory_nodes_without_that_file(void)
{
    hm_fake_reset();
    hm_fake_set_nodes(2, 1, HM_GIB);
    hm_fake_set_file(NODE_DIR "/has_memory", NULL);
    assert_ids(hm_numa_memory_nodes(), "0-1");
}

static void test_memory_nodes_without_numa(void)
{
    pretend_no_numa();
    assert_ids(hm_numa_memory_nodes(), "0");
}

static void test_cpus_of_nodes(void)
{
    g_autoptr(HmIdset) nodes = ids("1,3");
    g_autoptr(HmIdset) none = ids("");

    hm_fake_reset();
    hm_fake_set_nodes(4, 2, HM_GIB);
    assert_ids(hm_numa_cpus_of(nodes), "2-3,6-7");
    assert_ids(hm_numa_cpus_of(none), "");
}

static void test_cpus_of_a_node_without_cpus(void)
{
    g_autoptr(HmIdset) nodes = ids("1");

    hm_fake_reset();
    hm_fake_set_nodes(2, 2, HM_GIB);
    hm_fake_set_file(NODE_DIR "/node1/cpulist", "\n");
    assert_ids(hm_numa_cpus_of(nodes), "");
}

static void test_cpus_of_an_unknown_node(void)
{
    g_autoptr(HmIdset) nodes = ids("1,77");

    hm_fake_reset();
    hm_fake_set_nodes(2, 1, HM_GIB);
    assert_ids(hm_numa_cpus_of(nodes), "1");
}

static void test_cpus_without_numa(void)
{
    g_autoptr(HmIdset) nodes = ids("0-1");

    pretend_no_numa();
    hm_fake_set_file("/sys/devices/system/cpu/online", "0-11\n");
    assert_ids(hm_numa_cpus_of(nodes), "0-11");
}

static void test_allowed_cpus_are_the_affinity(void)
{
    g_autoptr(HmIdset) some = ids("1,4");

    hm_fake_reset();
    hm_fake_set_nodes(4, 2, HM_GIB);
    assert_ids(hm_numa_allowed_cpus(), "0-7");
    g_assert_cmpint(hm_os_set_affinity(0, some), ==, 0);
    assert_ids(hm_numa_allowed_cpus(), "1,4");
}

static void test_allowed_cpus_are_never_none(void)
{
    hm_fake_reset();
    hm_fake_fail(HM_FAKE_GET_AFFINITY, 1, EPERM);
    assert_ids(hm_numa_allowed_cpus(), "0");
}

static void test_node_memory(void)
{
    g_autoptr(GError) error = NULL;
    HmNodeMemory memory;

    hm_fake_reset();
    hm_fake_set_nodes(2, 1, HM_GIB);
    hm_fake_set_node_memory(1, 8 * HM_GIB, 3 * HM_GIB);
    g_assert_true(hm_numa_node_memory(1, &memory, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(memory.total, ==, 8 * HM_GIB);
    g_assert_cmpuint(memory.free, ==, 3 * HM_GIB);
    g_assert_cmpuint(memory.available, ==, 3 * HM_GIB);
}

static void test_clean_page_cache_is_available(void)
{
    HmNodeMemory memory;

    hm_fake_reset();
    hm_fake_set_nodes(1, 1, HM_GIB);
    hm_fake_set_file(NODE_DIR "/node0/meminfo",
                     "Node 0 MemTotal:       1000 kB\n"
                     "Node 0 MemFree:        100 kB\n"
                     "Node 0 Active:         900 kB\n"
                     "Node 0 Active(file):   40 kB\n"
                     "Node 0 Inactive(file): 20 kB\n"
                     "Node 0 Dirty:          5 kB\n"
                     "Node 0 Writeback:      1 kB\n");
    g_assert_true(hm_numa_node_memory(0, &memory, NULL));
    g_assert_cmpuint(memory.free, ==, 100 * HM_KIB);
    g_assert_cmpuint(memory.available, ==, (100 + 40 + 20 - 5 - 1) * HM_KIB);
}

static void test_more_dirty_than_cache(void)
{
    HmNodeMemory memory;

    hm_fake_reset();
    hm_fake_set_nodes(1, 1, HM_GIB);
    hm_fake_set_file(NODE_DIR "/node0/meminfo", "Node 0 MemFree: 100 kB\n"
                                                "Node 0 Dirty: 700 kB\n");
    g_assert_true(hm_numa_node_memory(0, &memory, NULL));
    g_assert_cmpuint(memory.available, ==, 100 * HM_KIB);
}

static void test_memory_of_an_unknown_node(void)
{
    g_autoptr(GError) error = NULL;
    HmNodeMemory memory;

    hm_fake_reset();
    hm_fake_set_nodes(2, 1, HM_GIB);
    g_assert_false(hm_numa_node_memory(5, &memory, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND);
    g_assert_nonnull(strstr(error->message, "node 5"));
}

static void test_memory_without_numa(void)
{
    g_autoptr(GError) error = NULL;
    HmNodeMemory memory;

    pretend_no_numa();
    hm_fake_set_file("/proc/meminfo", "MemTotal: 4 kB\nMemFree: 3 kB\n");
    g_assert_true(hm_numa_node_memory(0, &memory, NULL));
    g_assert_cmpuint(memory.total, ==, 4 * HM_KIB);
    g_assert_cmpuint(memory.free, ==, 3 * HM_KIB);
    g_assert_false(hm_numa_node_memory(1, &memory, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND);
}

/* quota */

static void pretend_cgroup_v2(void)
{
    hm_fake_reset();
    hm_fake_hide_tree("/cg");
    hm_fake_set_file("/proc/self/cgroup", "0::/vm/one\n");
    hm_fake_set_file("/proc/self/mountinfo",
                     "30 20 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
}

static void pretend_cgroup_v1(void)
{
    hm_fake_reset();
    hm_fake_hide_tree("/cg");
    hm_fake_set_file("/proc/self/cgroup", "3:cpu,cpuacct:/vm\n");
    hm_fake_set_file("/proc/self/mountinfo",
                     "30 20 0:26 / /cg rw - cgroup cgroup rw,cpu,cpuacct\n");
}

static void test_quota_without_cgroups(void)
{
    hm_fake_reset();
    hm_fake_set_file("/proc/self/cgroup", NULL);
    g_assert_cmpuint(hm_numa_cpu_quota(), ==, G_MAXUINT);
}

static void test_quota_v2_none(void)
{
    pretend_cgroup_v2();
    hm_fake_set_file("/cg/vm/one/cpu.max", "max 100000\n");
    g_assert_cmpuint(hm_numa_cpu_quota(), ==, G_MAXUINT);
}

static void test_quota_v2_is_the_least_of_all_levels(void)
{
    pretend_cgroup_v2();
    hm_fake_set_file("/cg/vm/one/cpu.max", "800000 100000\n");
    hm_fake_set_file("/cg/vm/cpu.max", "300000 100000\n");
    g_assert_cmpuint(hm_numa_cpu_quota(), ==, 3);
}

static void test_quota_is_rounded_up(void)
{
    pretend_cgroup_v2();
    hm_fake_set_file("/cg/vm/one/cpu.max", "150000 100000\n");
    g_assert_cmpuint(hm_numa_cpu_quota(), ==, 2);
    hm_fake_set_file("/cg/vm/one/cpu.max", "1000 100000\n");
    g_assert_cmpuint(hm_numa_cpu_quota(), ==, 1);
}

static void test_quota_that_is_garbage(void)
{
    pretend_cgroup_v2();
    hm_fake_set_file("/cg/vm/one/cpu.max", "many\n");
    g_assert_cmpuint(hm_numa_cpu_quota(), ==, G_MAXUINT);
    hm_fake_set_file("/cg/vm/one/cpu.max", "100000\n");
    g_assert_cmpuint(hm_numa_cpu_quota(), ==, G_MAXUINT);
}

static void test_quota_v1(void)
{
    pretend_cgroup_v1();
    hm_fake_set_file("/cg/vm/cpu.cfs_quota_us", "450000\n");
    hm_fake_set_file("/cg/vm/cpu.cfs_period_us", "100000\n");
    hm_fake_set_file("/cg/cpu.cfs_quota_us", "-1\n");
    hm_fake_set_file("/cg/cpu.cfs_period_us", "100000\n");
    g_assert_cmpuint(hm_numa_cpu_quota(), ==, 5);
    hm_fake_set_file("/cg/vm/cpu.cfs_quota_us", "-1\n");
    g_assert_cmpuint(hm_numa_cpu_quota(), ==, G_MAXUINT);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/numa/memory-nodes", test_memory_nodes);
    g_test_add_func("/numa/memory-nodes-without-that-file",
                    test_memory_nodes_without_that_file);
    g_test_add_func("/numa/memory-nodes-without-numa",
                    test_memory_nodes_without_numa);
    g_test_add_func("/numa/cpus-of-nodes", test_cpus_of_nodes);
    g_test_add_func("/numa/cpus-of-a-node-without-cpus",
                    test_cpus_of_a_node_without_cpus);
    g_test_add_func("/numa/cpus-of-an-unknown-node",
                    test_cpus_of_an_unknown_node);
    g_test_add_func("/numa/cpus-without-numa", test_cpus_without_numa);
    g_test_add_func("/numa/allowed-cpus-are-the-affinity",
                    test_allowed_cpus_are_the_affinity);
    g_test_add_func("/numa/allowed-cpus-are-never-none",
                    test_allowed_cpus_are_never_none);
    g_test_add_func("/numa/node-memory", test_node_memory);
    g_test_add_func("/numa/clean-page-cache-is-available",
                    test_clean_page_cache_is_available);
    g_test_add_func("/numa/more-dirty-than-cache", test_more_dirty_than_cache);
    g_test_add_func("/numa/memory-of-an-unknown-node",
                    test_memory_of_an_unknown_node);
    g_test_add_func("/numa/memory-without-numa", test_memory_without_numa);
    g_test_add_func("/numa/quota-without-cgroups", test_quota_without_cgroups);
    g_test_add_func("/numa/quota-v2-none", test_quota_v2_none);
    g_test_add_func("/numa/quota-v2-is-the-least-of-all-levels",
                    test_quota_v2_is_the_least_of_all_levels);
    g_test_add_func("/numa/quota-is-rounded-up", test_quota_is_rounded_up);
    g_test_add_func("/numa/quota-that-is-garbage", test_quota_that_is_garbage);
    g_test_add_func("/numa/quota-v1", test_quota_v1);
    return g_test_run();
}
