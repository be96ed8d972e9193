/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/mman.h>
#include <hostmem/backend.h>
#include "object-test.h"
#include "os-fake.h"
#include "util/linux-compat.h"
#include "util/size.h"

/* Policies of memory on a pretended host with four nodes. */

#define RAM "memory-backend-ram,id=m0,size=1M,"

static void pretend_four_nodes(void)
{
    hm_fake_set_nodes(4, 2, 8 * HM_GIB);
}

static gint64 mode_of_bind(guint nth)
{
    HmFakeRecord record;

    g_assert_true(hm_fake_get_call(HM_FAKE_BIND, nth, &record));
    return record.arg;
}

static void assert_bound(HostmemBackend *ram, const char *nodes)
{
    g_autofree char *bound =
        hm_fake_bound_to(hostmem_backend_get_host_addr(ram));

    g_assert_cmpstr(bound, ==, nodes);
}

static void test_bind(void)
{
    g_autoptr(HostmemBackend) ram = NULL;

    pretend_four_nodes();
    ram = hm_test_make(RAM "policy=bind,host-nodes=0-1,host-nodes=3");
    g_assert_cmpint(mode_of_bind(1), ==, MPOL_BIND);
    assert_bound(ram, "0-1,3");
    hm_test_assert_reads(ram, "host-nodes", "[0,1,3]");
    hm_test_assert_reads(ram, "policy", "\"bind\"");
}

static void test_interleave(void)
{
    g_autoptr(HostmemBackend) ram = NULL;

    pretend_four_nodes();
    ram = hm_test_make(RAM "policy=interleave,host-nodes=1-2");
    g_assert_cmpint(mode_of_bind(1), ==, MPOL_INTERLEAVE);
    assert_bound(ram, "1-2");
}

static void test_preferred(void)
{
    g_autoptr(HostmemBackend) ram = NULL;

    pretend_four_nodes();
    ram = hm_test_make(RAM "policy=preferred,host-nodes=1-2");
    g_assert_cmpint(mode_of_bind(1), ==, MPOL_PREFERRED_MANY);
    assert_bound(ram, "1-2");
}

static void test_preferred_on_an_old_kernel(void)
{
    g_autoptr(HostmemBackend) ram = NULL;

    pretend_four_nodes();
    hm_fake_fail(HM_FAKE_BIND, 1, EINVAL);
    ram = hm_test_make(RAM "policy=preferred,host-nodes=1-2");
    g_assert_cmpint(mode_of_bind(2), ==, MPOL_PREFERRED);
}

static void test_default_binds_nothing(void)
{
    g_autoptr(HostmemBackend) ram = NULL;

    pretend_four_nodes();
    ram = hm_test_make(RAM "policy=default");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_BIND), ==, 0);
}

static void test_whole_memory_is_bound(void)
{
    g_autoptr(HostmemBackend) ram = NULL;
    HmFakeRecord record;

    pretend_four_nodes();
    ram = hm_test_make(RAM "policy=bind,host-nodes=2");
    g_assert_true(hm_fake_get_call(HM_FAKE_BIND, 1, &record));
    g_assert_true(record.addr == hostmem_backend_get_host_addr(ram));
    g_assert_cmpuint(record.length, ==, HM_MIB);
}

static gint64 remember_order(const HmFakeRecord *record, gpointer data)
{
    GString *order = data;

    if (record->call == HM_FAKE_BIND) {
        g_string_append(order, "bind ");
    } else if (record->arg == MADV_POPULATE_WRITE) {
        g_string_append(order, "populate ");
    }
    return 0;
}

static void test_bound_before_populated(void)
{
    g_autoptr(GString) order = g_string_new(NULL);
    g_autoptr(HostmemBackend) ram = NULL;

    pretend_four_nodes();
    hm_fake_hook(HM_FAKE_BIND, remember_order, order);
    hm_fake_hook(HM_FAKE_ADVISE, remember_order, order);
    ram = hm_test_make(
        RAM "policy=bind,host-nodes=2,prealloc=on,prealloc-threads=1");
    g_assert_cmpstr(order->str, ==, "bind populate ");
}

/* Where pages are afterwards */

static HostmemPreallocReport populate(HostmemBackend *backend)
{
    HostmemPreallocReport report;
    g_autoptr(GError) error = NULL;

    hostmem_backend_populate(backend, 0, hostmem_backend_get_size(backend),
                             NULL, &error);
    g_assert_no_error(error);
    hostmem_backend_get_report(backend, &report);
    return report;
}

/* Somebody else had the second half on another node. */
static HostmemBackend *make_half_elsewhere(const char *options)
{
    g_autoptr(HmIdset) elsewhere = hm_idset_parse("3", NULL);
    HostmemBackend *backend;
    guint8 *addr;
    gsize half;

    pretend_four_nodes();
    backend = hm_test_make(options);
    addr = hostmem_backend_get_host_addr(backend);
    half = hostmem_backend_get_size(backend) / 2;
    g_assert_cmpint(hm_os_bind(addr + half, half, MPOL_BIND, elsewhere, 0), ==,
                    0);
    return backend;
}

static void test_pages_where_they_belong(void)
{
    g_autoptr(HostmemBackend) ram = NULL;
    HostmemPreallocReport report;

    pretend_four_nodes();
    ram = hm_test_make(RAM "policy=interleave,host-nodes=1-2,prealloc=on");
    hostmem_backend_get_report(ram, &report);
    g_assert_cmpuint(report.sampled, ==, HM_MIB / 4096);
    g_assert_cmpuint(report.misplaced, ==, 0);
}

static void test_bound_pages_elsewhere_are_a_warning(void)
{
    g_autoptr(HostmemBackend) ram =
        make_half_elsewhere(RAM "policy=bind,host-nodes=1-2");
    HostmemPreallocReport report;

    g_test_expect_message("hostmem", G_LOG_LEVEL_INFO, "*by*populate-write*");
    g_test_expect_message(
        "hostmem", G_LOG_LEVEL_WARNING,
        "memory-backend-ram 'm0': 128 of 256 pages looked at are not on host "
        "nodes 1-2, the first at offset 0x80000 on node 3; *");
    report = populate(ram);
    g_test_assert_expected_messages();
    g_assert_cmpuint(report.sampled, ==, 256);
    g_assert_cmpuint(report.misplaced, ==, 128);
}

static void test_preferred_pages_elsewhere_are_no_warning(void)
{
    g_autoptr(HostmemBackend) ram =
        make_half_elsewhere(RAM "policy=preferred,host-nodes=2");

    g_assert_cmpuint(populate(ram).misplaced, ==, 128);
}

static void test_only_a_sample_is_looked_at(void)
{
    g_autoptr(HostmemBackend) ram = make_half_elsewhere(
        "memory-backend-ram,id=m0,size=16M,policy=preferred,host-nodes=2");
    HostmemPreallocReport report = populate(ram);

    g_assert_cmpuint(report.sampled, ==, 1024);
    g_assert_cmpuint(report.misplaced, ==, 512);
}

static void test_unbound_pages_are_not_looked_at(void)
{
    g_autoptr(HostmemBackend) ram = NULL;

    pretend_four_nodes();
    ram = hm_test_make(RAM "prealloc=on");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_PAGE_NODES), ==, 0);
}

static void test_unknown_places_are_no_error(void)
{
    g_autoptr(HostmemBackend) ram = NULL;
    HostmemPreallocReport report;

    pretend_four_nodes();
    hm_fake_fail(HM_FAKE_PAGE_NODES, 1, ENOSYS);
    ram = hm_test_make(RAM "policy=bind,host-nodes=1,prealloc=on");
    hostmem_backend_get_report(ram, &report);
    g_assert_cmpuint(report.sampled, ==, 0);
}

/* Errors, all but the last before anything is made */

static void assert_refused(const char *options, gint code, const char *part)
{
    guint maps = hm_fake_count(HM_FAKE_MAP);

    hm_test_assert_make_fails(options, code, part);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MAP), ==, maps);
}

static void test_policy_without_nodes(void)
{
    assert_refused(RAM "policy=bind", HOSTMEM_ERROR_INVALID,
                   "host-nodes must be set for policy bind");
    assert_refused(RAM "policy=interleave", HOSTMEM_ERROR_INVALID,
                   "host-nodes must be set for policy interleave");
}

static void test_nodes_without_policy(void)
{
    assert_refused(RAM "host-nodes=0", HOSTMEM_ERROR_INVALID,
                   "host-nodes must be empty for policy default, or you should "
                   "explicitly specify a policy other than default");
}

static void test_unknown_policy(void)
{
    assert_refused(RAM "policy=foo,host-nodes=0", HOSTMEM_ERROR_INVALID,
                   "Parameter 'policy' does not accept value 'foo'");
}

static void test_node_out_of_range(void)
{
    g_autoptr(GError) error = NULL;

    assert_refused(RAM "policy=bind,host-nodes=128", HOSTMEM_ERROR_INVALID,
                   "Invalid host-nodes value: 128");
    assert_refused(RAM "policy=bind,host-nodes=70000", HOSTMEM_ERROR_INVALID,
                   "Parameter 'host-nodes' expects");
    g_assert_null(g_initable_new(HOSTMEM_TYPE_BACKEND_RAM, NULL, &error, "size",
                                 (guint64)HM_MIB, "policy", HOSTMEM_POLICY_BIND,
                                 "host-nodes", "1,128-130", NULL));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    g_assert_cmpstr(error->message, ==, "Invalid host-nodes value: 128");
}

static void test_malformed_nodes_of_gobject(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(g_initable_new(HOSTMEM_TYPE_BACKEND_RAM, NULL, &error, "size",
                                 (guint64)HM_MIB, "policy", HOSTMEM_POLICY_BIND,
                                 "host-nodes", "3-1", NULL));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
}

static void test_missing_nodes(void)
{
    pretend_four_nodes();
    assert_refused(
        RAM "policy=bind,host-nodes=3-5", HOSTMEM_ERROR_NOT_FOUND,
        "cannot bind memory to host NUMA nodes: no node 4-5 with memory here, "
        "there is 0-3");
}

static void test_bind_fails(void)
{
    pretend_four_nodes();
    hm_fake_fail(HM_FAKE_BIND, 1, EIO);
    hm_test_assert_make_fails(RAM "policy=bind,host-nodes=1-2",
                              HOSTMEM_ERROR_SYSTEM,
                              "cannot bind memory to host NUMA nodes: nodes "
                              "1-2: Input/output error");
}

static const HmTest tests[] = {
    {"/hostmem-numa/bind", test_bind},
    {"/hostmem-numa/interleave", test_interleave},
    {"/hostmem-numa/preferred", test_preferred},
    {"/hostmem-numa/preferred-on-an-old-kernel",
     test_preferred_on_an_old_kernel},
    {"/hostmem-numa/default-binds-nothing", test_default_binds_nothing},
    {"/hostmem-numa/whole-memory-is-bound", test_whole_memory_is_bound},
    {"/hostmem-numa/bound-before-populated", test_bound_before_populated},
    {"/hostmem-numa/pages-where-they-belong", test_pages_where_they_belong},
    {"/hostmem-numa/bound-pages-elsewhere-are-a-warning",
     test_bound_pages_elsewhere_are_a_warning},
    {"/hostmem-numa/preferred-pages-elsewhere-are-no-warning",
     test_preferred_pages_elsewhere_are_no_warning},
    {"/hostmem-numa/only-a-sample-is-looked-at",
     test_only_a_sample_is_looked_at},
    {"/hostmem-numa/unbound-pages-are-not-looked-at",
     test_unbound_pages_are_not_looked_at},
    {"/hostmem-numa/unknown-places-are-no-error",
     test_unknown_places_are_no_error},
    {"/hostmem-numa/policy-without-nodes", test_policy_without_nodes},
    {"/hostmem-numa/nodes-without-policy", test_nodes_without_policy},
    {"/hostmem-numa/unknown-policy", test_unknown_policy},
    {"/hostmem-numa/node-out-of-range", test_node_out_of_range},
    {"/hostmem-numa/malformed-nodes-of-gobject",
     test_malformed_nodes_of_gobject},
    {"/hostmem-numa/missing-nodes", test_missing_nodes},
    {"/hostmem-numa/bind-fails", test_bind_fails},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
