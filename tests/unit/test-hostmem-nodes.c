/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/mman.h>
#include "backends/hostmem.h"
#include "object-test.h"
#include "os-fake.h"
#include "util/linux-compat.h"
#include "util/numa.h"
#include "util/size.h"

/* How much of a backend lies on each node of a pretended host with four. */

#define RAM  "memory-backend-ram,id=m0,size=16M,"
#define SIZE (16 * HM_MIB)

typedef struct {
    guint64 bytes[HM_NUMA_MAX_NODES];
} Counts;

static HostmemBackend *make(const char *options)
{
    hm_fake_set_nodes(4, 2, 8 * HM_GIB);
    return hm_test_make(options);
}

static Counts count(HostmemBackend *backend)
{
    Counts counts = {{0}};

    hm_backend_count_on_nodes(backend, counts.bytes);
    return counts;
}

static guint64 sum(const Counts *counts)
{
    guint64 bytes = 0;

    for (guint i = 0; i < HM_NUMA_MAX_NODES; i++) {
        bytes += counts->bytes[i];
    }
    return bytes;
}

static void populate(HostmemBackend *backend, guint64 offset, guint64 length)
{
    g_autoptr(GError) error = NULL;

    hostmem_backend_populate(backend, offset, length, NULL, &error);
    g_assert_no_error(error);
}

static void test_all_on_one_of_several(void)
{
    g_autoptr(HostmemBackend) ram =
        make(RAM "policy=bind,host-nodes=2,prealloc=on");
    Counts counts = count(ram);

    g_assert_cmpuint(counts.bytes[2], ==, SIZE);
    g_assert_cmpuint(sum(&counts), ==, SIZE);
}

static void test_in_equal_parts(void)
{
    g_autoptr(HostmemBackend) ram =
        make(RAM "policy=interleave,host-nodes=1-3,prealloc=on");
    Counts counts = count(ram);

    for (guint node = 1; node <= 3; node++) {
        g_assert_cmpuint(counts.bytes[node], >, SIZE * 3 / 10);
        g_assert_cmpuint(counts.bytes[node], <, SIZE * 4 / 10);
    }
    g_assert_cmpuint(sum(&counts), <=, SIZE);
    g_assert_cmpuint(sum(&counts), >, SIZE - 4);
}

static void test_only_what_is_populated(void)
{
    g_autoptr(HostmemBackend) ram =
        make(RAM "thp=off,policy=bind,host-nodes=1");
    Counts counts = count(ram);

    g_assert_cmpuint(sum(&counts), ==, 0);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_PAGE_NODES), ==, 0);
    populate(ram, 2 * HM_MIB, 4096);
    populate(ram, 8 * HM_MIB, 12288);
    counts = count(ram);
    g_assert_cmpuint(counts.bytes[1], ==, 4096 + 12288);
}

/* Of what lies here and there, each part counts as much as it has. */
static void test_two_parts(void)
{
    g_autoptr(HostmemBackend) ram =
        make(RAM "thp=off,policy=preferred,host-nodes=1");
    g_autoptr(HmIdset) elsewhere = hm_idset_parse("3", NULL);
    guint8 *addr = hostmem_backend_get_host_addr(ram);
    Counts counts;

    g_assert_cmpint(
        hm_os_bind(addr + 8 * HM_MIB, 8 * HM_MIB, MPOL_BIND, elsewhere, 0), ==,
        0);
    populate(ram, 0, 2 * HM_MIB);
    populate(ram, 10 * HM_MIB, 6 * HM_MIB);
    counts = count(ram);
    g_assert_cmpuint(counts.bytes[1], ==, 2 * HM_MIB);
    g_assert_cmpuint(counts.bytes[3], ==, 6 * HM_MIB);
}

static void test_a_sample_is_enough(void)
{
    g_autoptr(HostmemBackend) ram =
        make(RAM "policy=bind,host-nodes=1,prealloc=on,prealloc-check=off");
    guint before = hm_fake_count(HM_FAKE_PAGE_NODES);
    HmFakeRecord record;

    count(ram);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_PAGE_NODES), ==, before + 1);
    g_assert_true(hm_fake_get_call(HM_FAKE_PAGE_NODES, before + 1, &record));
    g_assert_cmpuint(record.length, ==, 1024);
}

static void test_one_node_needs_no_sample(void)
{
    g_autoptr(HostmemBackend) ram = NULL;
    Counts counts;

    hm_fake_set_nodes(1, 2, 8 * HM_GIB);
    ram = hm_test_make(RAM "prealloc=on");
    counts = count(ram);
    g_assert_cmpuint(counts.bytes[0], ==, SIZE);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_PAGE_NODES), ==, 0);
}

static void test_kernel_that_does_not_tell(void)
{
    g_autoptr(HostmemBackend) ram = make(RAM "prealloc=on");
    Counts counts;

    hm_fake_fail_always(HM_FAKE_PAGE_NODES, ENOSYS);
    counts = count(ram);
    g_assert_cmpuint(sum(&counts), ==, 0);
    hm_fake_fail_always(HM_FAKE_POPULATED_RANGES, EPERM);
    counts = count(ram);
    g_assert_cmpuint(sum(&counts), ==, 0);
}

static const HmTest tests[] = {
    {"/hostmem-nodes/all-on-one-of-several", test_all_on_one_of_several},
    {"/hostmem-nodes/in-equal-parts", test_in_equal_parts},
    {"/hostmem-nodes/only-what-is-populated", test_only_what_is_populated},
    {"/hostmem-nodes/two-parts", test_two_parts},
    {"/hostmem-nodes/a-sample-is-enough", test_a_sample_is_enough},
    {"/hostmem-nodes/one-node-needs-no-sample", test_one_node_needs_no_sample},
    {"/hostmem-nodes/kernel-that-does-not-tell",
     test_kernel_that_does_not_tell},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
