/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/mman.h>
#include <hostmem/backend.h>
#include "object-test.h"
#include "os-fake.h"
#include "util/hostcaps.h"
#include "util/size.h"

/* Small populates, one after the other, as a guest plugs blocks. */

#define BLOCK  (2 * HM_MIB)
#define SIZE   (256 * HM_MIB)
#define RAM    "memory-backend-ram,id=m0,size=256M"
#define OTHER  "memory-backend-ram,id=m1,size=256M"
#define SERIES 32 /* blocks that one promise is for */

/* A clock that stands, and a backend that somebody uses. */
static HostmemBackend *make_used(const char *options)
{
    HostmemBackend *backend = hm_test_make(options);

    hostmem_object_hold(HOSTMEM_OBJECT(backend));
    hm_fake_set_now(G_USEC_PER_SEC);
    return backend;
}

static void pretend_free(guint64 mib)
{
    g_autofree char *text =
        g_strdup_printf("MemTotal: 1048576 kB\nMemAvailable: %" G_GUINT64_FORMAT
                        " kB\nSwapFree: 0 kB\n",
                        mib * 1024);

    hm_fake_set_file("/proc/meminfo", text);
}

static gboolean populate_block(HostmemBackend *backend, guint i, GError **error)
{
    return hostmem_backend_populate(backend, i * BLOCK, BLOCK, NULL, error);
}

static void populate_blocks(HostmemBackend *backend, guint first, guint n)
{
    g_autoptr(GError) error = NULL;

    for (guint i = first; i < first + n; i++) {
        populate_block(backend, i, &error);
        g_assert_no_error(error);
    }
}

/* How many files of the host are read for some blocks. */
static guint reads_for(HostmemBackend *backend, guint first, guint n)
{
    guint before = hm_fake_count(HM_FAKE_READ_TEXT);

    populate_blocks(backend, first, n);
    return hm_fake_count(HM_FAKE_READ_TEXT) - before;
}

static void test_host_is_asked_once(void)
{
    g_autoptr(HostmemBackend) ram = make_used(RAM);

    g_assert_cmpuint(reads_for(ram, 0, 1), >, 0);
    g_assert_cmpuint(reads_for(ram, 1, SERIES - 1), ==, 0);
}

static void test_host_is_asked_when_a_promise_is_used_up(void)
{
    g_autoptr(HostmemBackend) ram = make_used(RAM);

    populate_blocks(ram, 0, SERIES);
    g_assert_cmpuint(reads_for(ram, SERIES, 1), >, 0);
    g_assert_cmpuint(reads_for(ram, SERIES + 1, SERIES - 1), ==, 0);
}

static void test_host_is_asked_after_a_while(void)
{
    g_autoptr(HostmemBackend) ram = make_used(RAM);

    populate_blocks(ram, 0, 1);
    hm_fake_set_now(2 * G_USEC_PER_SEC);
    g_assert_cmpuint(reads_for(ram, 1, 1), >, 0);
}

static void test_little_room_will_do(void)
{
    g_autoptr(HostmemBackend) ram = make_used(RAM);

    pretend_free(32);
    populate_blocks(ram, 0, 2);
}

static void test_no_room_is_an_error(void)
{
    g_autoptr(HostmemBackend) ram = make_used(RAM);
    g_autoptr(GError) error = NULL;

    pretend_free(1);
    g_assert_false(populate_block(ram, 0, &error));
    hm_test_assert_error(g_steal_pointer(&error), HOSTMEM_ERROR_NO_MEMORY,
                         "preallocating memory failed: memory-backend-ram "
                         "'m0' needs 2 MiB");
    g_assert_cmpuint(hm_fake_count_advice(MADV_POPULATE_WRITE), ==, 0);
}

static void test_refusal_promises_nothing(void)
{
    g_autoptr(HostmemBackend) ram = make_used(RAM);

    pretend_free(1);
    for (guint i = 0; i < 2; i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(populate_block(ram, 0, &error));
        g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_MEMORY);
    }
}

/* There is room for one promise, not for two. */
static void test_new_promise_replaces_the_old_one(void)
{
    g_autoptr(HostmemBackend) ram = make_used(RAM);

    pretend_free(100);
    populate_blocks(ram, 0, SERIES + 1);
    g_assert_cmpuint(reads_for(ram, SERIES + 1, SERIES - 1), ==, 0);
}

static void test_promise_is_kept_from_others(void)
{
    g_autoptr(HostmemBackend) ram = make_used(RAM);
    g_autoptr(HostmemBackend) other = make_used(OTHER);
    g_autoptr(GError) error = NULL;

    pretend_free(100);
    populate_blocks(ram, 0, 1);
    g_assert_false(
        hostmem_backend_populate(other, 0, 64 * HM_MIB, NULL, &error));
    hm_test_assert_error(g_steal_pointer(&error), HOSTMEM_ERROR_NO_MEMORY,
                         "62.12 MiB is promised");
    hm_fake_set_now(2 * G_USEC_PER_SEC);
    hostmem_backend_populate(other, 0, 64 * HM_MIB, NULL, &error);
    g_assert_no_error(error);
}

static void test_promise_is_for_the_backend(void)
{
    g_autoptr(HostmemBackend) ram = make_used(RAM);
    g_autoptr(GError) error = NULL;

    pretend_free(100);
    populate_blocks(ram, 0, 1);
    hostmem_backend_populate(ram, BLOCK, 64 * HM_MIB, NULL, &error);
    g_assert_no_error(error);
}

static void test_promise_ends_with_the_backend(void)
{
    HostmemBackend *ram = make_used(RAM);
    g_autoptr(HostmemBackend) other = make_used(OTHER);
    g_autoptr(GError) error = NULL;

    pretend_free(100);
    populate_blocks(ram, 0, 1);
    g_object_unref(ram);
    hostmem_backend_populate(other, 0, 64 * HM_MIB, NULL, &error);
    g_assert_no_error(error);
}

static void test_holes_are_not_looked_for(void)
{
    g_autoptr(HostmemBackend) ram = make_used(RAM);

    populate_blocks(ram, 0, 4);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_POPULATED_RANGES), ==, 0);
}

static void test_failure_of_unused_memory_gives_back(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=256M,thp=off");
    g_autoptr(GError) error = NULL;

    *(guint8 *)hostmem_backend_get_host_addr(ram) = 42;
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 2, ENOMEM);
    g_assert_false(hostmem_backend_populate(ram, 0, 8 * HM_MIB, NULL, &error));
    g_assert_cmpuint(hostmem_backend_get_populated_size(ram), ==, 4096);
    g_assert_cmpint(*(guint8 *)hostmem_backend_get_host_addr(ram), ==, 42);
}

static void test_huge_pages_are_advised_once(void)
{
    g_autoptr(HostmemBackend) ram = make_used(RAM);

    g_assert_cmpuint(hm_fake_count_advice(MADV_HUGEPAGE), ==, 1);
    populate_blocks(ram, 0, 4);
    g_assert_cmpuint(hm_fake_count_advice(MADV_HUGEPAGE), ==, 1);
}

static void test_huge_pages_are_advised_again_after_a_failure(void)
{
    g_autoptr(HostmemBackend) ram = NULL;

    hm_fake_fail_advice(MADV_HUGEPAGE, 1, EAGAIN);
    ram = make_used(RAM);
    populate_blocks(ram, 0, 1);
    g_assert_cmpuint(hm_fake_count_advice(MADV_HUGEPAGE), ==, 2);
}

static gint64 assert_thread(const HmFakeRecord *record, gpointer data)
{
    if (record->arg == MADV_POPULATE_WRITE) {
        g_assert_true(g_thread_self() == data);
    }
    return 0;
}

static void test_caller_populates(void)
{
    g_autoptr(HostmemBackend) ram = NULL;

    hm_fake_set_nodes(2, 2, 4 * HM_GIB);
    ram = make_used(RAM ",host-nodes=1,policy=bind");
    hm_fake_hook(HM_FAKE_ADVISE, assert_thread, g_thread_self());
    populate_blocks(ram, 0, 4);
    g_assert_cmpuint(hm_fake_count_advice(MADV_POPULATE_WRITE), ==, 4);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_SET_AFFINITY), ==, 0);
}

static void test_policies_are_read_after_a_while(void)
{
    g_autoptr(HostmemBackend) ram = make_used(RAM);
    HostmemPreallocReport report;

    if (!hm_hostcaps_get()->thp_size) {
        g_test_skip("this kernel has no transparent huge pages");
        return;
    }
    populate_blocks(ram, 0, 1);
    hm_fake_set_file("/sys/kernel/mm/transparent_hugepage/enabled",
                     "always madvise [never]\n");
    hm_fake_set_now(2 * G_USEC_PER_SEC);
    populate_blocks(ram, 1, 1);
    hostmem_backend_get_report(ram, &report);
    g_assert_cmpstr(report.reason, ==,
                    "the host's policy forbids transparent huge pages");
}

static void test_blocks_come_back_after_a_discard(void)
{
    static const char *const options[] = {
        RAM,
        RAM ",share=on",
        "memory-backend-memfd,id=m0,size=256M",
    };

    for (guint i = 0; i < G_N_ELEMENTS(options); i++) {
        g_autoptr(HostmemBackend) backend = make_used(options[i]);
        g_autoptr(GError) error = NULL;
        guint64 huge;

        populate_blocks(backend, 0, 4);
        huge = hostmem_backend_get_populated_huge_size(backend);
        hostmem_backend_discard(backend, BLOCK, BLOCK, &error);
        g_assert_no_error(error);
        populate_blocks(backend, 1, 1);
        g_assert_cmpuint(hostmem_backend_get_populated_size(backend), ==,
                         4 * BLOCK);
        g_assert_cmpuint(hostmem_backend_get_populated_huge_size(backend), ==,
                         huge);
        g_test_message("%s: %" G_GUINT64_FORMAT " bytes in huge pages",
                       options[i], huge);
    }
}

static const HmTest tests[] = {
    {"/hostmem-series/host-is-asked-once", test_host_is_asked_once},
    {"/hostmem-series/promise-is-used-up",
     test_host_is_asked_when_a_promise_is_used_up},
    {"/hostmem-series/asked-after-a-while", test_host_is_asked_after_a_while},
    {"/hostmem-series/little-room", test_little_room_will_do},
    {"/hostmem-series/no-room", test_no_room_is_an_error},
    {"/hostmem-series/refusal-promises-nothing", test_refusal_promises_nothing},
    {"/hostmem-series/new-promise-replaces-the-old-one",
     test_new_promise_replaces_the_old_one},
    {"/hostmem-series/kept-from-others", test_promise_is_kept_from_others},
    {"/hostmem-series/for-the-backend", test_promise_is_for_the_backend},
    {"/hostmem-series/ends-with-the-backend",
     test_promise_ends_with_the_backend},
    {"/hostmem-series/no-holes", test_holes_are_not_looked_for},
    {"/hostmem-series/failure-gives-back",
     test_failure_of_unused_memory_gives_back},
    {"/hostmem-series/advised-once", test_huge_pages_are_advised_once},
    {"/hostmem-series/advised-again",
     test_huge_pages_are_advised_again_after_a_failure},
    {"/hostmem-series/caller-populates", test_caller_populates},
    {"/hostmem-series/policies", test_policies_are_read_after_a_while},
    {"/hostmem-series/after-a-discard", test_blocks_come_back_after_a_discard},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
