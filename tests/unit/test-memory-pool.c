/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <hostmem/memory-pool.h>
#include "backends/memory-pool.h"
#include "object-test.h"
#include "os-fake.h"
#include "pool-test.h"
#include "util/size.h"
#include "util/zero.h"

/* A memory-pool by itself: filling, growing, shrinking, and what fails. */

#define POOL "memory-pool,id=p0,"

static HmPoolSegment *segment_of(HostmemMemoryPool *pool, guint i)
{
    return g_ptr_array_index(pool->segments, i);
}

/* Creation */

static void test_defaults(void)
{
    g_autoptr(HostmemMemoryPool) pool = hm_test_make(HM_TEST_POOL);

    hm_test_assert_reads(pool, "size", "8388608");
    hm_test_assert_reads(pool, "segment-size", "2097152");
    hm_test_assert_reads(pool, "hugetlb", "false");
    hm_test_assert_reads(pool, "seal", "true");
    hm_test_assert_reads(pool, "low-water", "0");
    hm_test_assert_reads(pool, "page-size", "4096");
    hm_test_assert_reads(pool, "lent-size", "0");
    hm_test_assert_reads(pool, "dirty-size", "0");
    hm_test_assert_reads(pool, "last-error", "\"\"");
}

static void test_is_full_when_created(void)
{
    g_autoptr(HostmemMemoryPool) pool = hm_test_make(HM_TEST_POOL);

    hm_test_assert_segments(pool, 4, 0);
    for (guint i = 0; i < 4; i++) {
        HostmemBackend *segment = HOSTMEM_BACKEND(segment_of(pool, i));

        g_assert_cmpuint(hostmem_backend_get_populated_size(segment), ==,
                         HM_TEST_SEGMENT);
        g_assert_cmpuint(hostmem_backend_get_backed_size(segment), ==,
                         HM_TEST_SEGMENT);
        g_assert_true(
            hm_is_zero(segment->mapping.addr, segment->mapping.length));
    }
}

/* Nobody else can open, resize or seal what we have zeroed. */
static void test_files_are_ours(void)
{
    g_autoptr(HostmemMemoryPool) pool = hm_test_make(HM_TEST_POOL);
    int fd = HOSTMEM_BACKEND(segment_of(pool, 0))->backing.fd;
    struct stat st;

    g_assert_cmpint(fstat(fd, &st), ==, 0);
    g_assert_cmpuint(st.st_mode & 07777, ==, 0600);
    g_assert_cmpint(ftruncate(fd, 0), <, 0);
    g_assert_cmpint(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), <, 0);
}

static void test_seals_cannot_be_added_without_seal(void)
{
    g_autoptr(HostmemMemoryPool) pool = hm_test_make(HM_TEST_POOL ",seal=off");
    int fd = HOSTMEM_BACKEND(segment_of(pool, 0))->backing.fd;

    g_assert_cmpint(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), <, 0);
    g_assert_cmpint(ftruncate(fd, HM_TEST_SEGMENT), ==, 0);
}

static void test_nothing_stays(void)
{
    guint fds = hm_test_count_fds();
    HostmemMemoryPool *pool = hm_test_make(POOL "size=52236K,segment-size="
                                                "17412K");

    g_assert_cmpuint(hm_test_count_mappings(HM_TEST_ODD_SIZE), ==, 3);
    g_object_unref(pool);
    g_assert_cmpuint(hm_test_count_mappings(HM_TEST_ODD_SIZE), ==, 0);
    g_assert_cmpuint(hm_test_count_fds(), ==, fds);
}

static void test_size_errors(void)
{
    hm_test_assert_make_fails(POOL "size=6M,segment-size=4M",
                              HOSTMEM_ERROR_INVALID,
                              "'size' of memory-pool, 6 MiB, is no multiple "
                              "of 'segment-size', 4 MiB");
    hm_test_assert_make_fails(POOL "size=8M", HOSTMEM_ERROR_INVALID,
                              "'segment-size' of memory-pool, 1 GiB, is "
                              "larger than its 'size', 8 MiB");
    hm_test_assert_make_fails(POOL "size=8M,segment-size=5000",
                              HOSTMEM_ERROR_INVALID,
                              "is no multiple of the page size, 4 KiB");
    hm_test_assert_make_fails(POOL "size=8M,segment-size=0",
                              HOSTMEM_ERROR_INVALID, "doesn't take value '0'");
    hm_test_assert_make_fails(POOL "size=0,segment-size=2M",
                              HOSTMEM_ERROR_INVALID, "doesn't take value '0'");
    hm_test_assert_make_fails(
        POOL "size=8M,segment-size=1M,hugetlb=on,hugetlbsize=2M",
        HOSTMEM_ERROR_INVALID, "is no multiple of the page size, 2 MiB");
    hm_test_assert_make_fails(POOL "size=1T,segment-size=4K",
                              HOSTMEM_ERROR_INVALID,
                              "at most 1048576 segments of 4 KiB");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MEMFD), ==, 0);
}

static void test_huge_page_errors(void)
{
    hm_test_assert_make_fails(POOL "size=6M,segment-size=6M,hugetlbsize=3M",
                              HOSTMEM_ERROR_INVALID,
                              "Hugepage size must be a power of 2");
    hm_test_assert_make_fails(POOL "size=3M,segment-size=1M,thp=on",
                              HOSTMEM_ERROR_INVALID,
                              "the size of huge pages, which 'thp=on' wants");
}

static void test_node_errors(void)
{
    hm_fake_set_nodes(2, 2, 8 * HM_GIB);
    hm_test_assert_make_fails(HM_TEST_POOL ",host-nodes=7,policy=bind",
                              HOSTMEM_ERROR_NOT_FOUND, "no node 7");
    hm_test_assert_make_fails(HM_TEST_POOL ",host-nodes=1",
                              HOSTMEM_ERROR_INVALID, "policy");
}

/* Refused by what the host says of itself, and nothing has been taken. */
static void test_larger_than_memory(void)
{
    guint fds = hm_test_count_fds();

    hm_test_assert_make_fails(POOL "size=1P,segment-size=1G",
                              HOSTMEM_ERROR_NO_MEMORY, "memory-pool 'p0'");
    g_assert_cmpuint(hm_fake_count_advice(MADV_POPULATE_WRITE), ==, 0);
    g_assert_cmpuint(hm_test_count_fds(), ==, fds);
}

static void test_hugetlb_pool_is_short(void)
{
    hm_fake_set_huge_pool(2 * HM_MIB, 4, 3, 0);
    hm_test_assert_make_fails(
        HM_TEST_POOL ",hugetlb=on,hugetlbsize=2M", HOSTMEM_ERROR_NO_HUGE_PAGES,
        "memory-pool 'p0' needs 4 huge pages of 2 MiB: 3 are free");
    g_assert_cmpuint(hm_fake_count_advice(MADV_POPULATE_WRITE), ==, 0);
}

static void test_too_few_descriptors(void)
{
    const guint fds = hm_test_count_fds();

    hm_fake_set_limit(RLIMIT_NOFILE, fds + 3);
    hm_test_assert_make_fails(
        HM_TEST_POOL, HOSTMEM_ERROR_LIMIT,
        "memory-pool 'p0' needs 4 descriptors, one for each segment of 2 MiB: "
        "RLIMIT_NOFILE allows ");
    g_assert_cmpuint(hm_fake_count_advice(MADV_POPULATE_WRITE), ==, 0);
    g_assert_cmpuint(hm_test_count_fds(), ==, fds);
}

static void test_too_few_descriptors_to_grow(void)
{
    g_autoptr(HostmemMemoryPool) pool = hm_test_make(HM_TEST_POOL);
    const guint fds = hm_test_count_fds();
    g_autofree char *message = g_strdup_printf(
        "memory-pool 'p0' needs 4 descriptors, one for each segment of 2 MiB: "
        "RLIMIT_NOFILE allows %u and %u are open; raise it",
        fds + 3, fds);

    hm_fake_set_limit(RLIMIT_NOFILE, fds + 3);
    hm_test_assert_set_fails(pool, "size", "16M", HOSTMEM_ERROR_LIMIT, message);
    hm_test_assert_reads(pool, "size", "8388608");
    hm_test_assert_segments(pool, 4, 0);
}

/* Whichever call it is that fails: nothing is left. */
static void test_each_call_may_fail(void)
{
    static const HmFakeCall calls[] = {HM_FAKE_MEMFD, HM_FAKE_TRUNCATE,
                                       HM_FAKE_ADD_SEALS, HM_FAKE_CHOWN,
                                       HM_FAKE_MAP};
    guint fds = hm_test_count_fds();

    for (guint i = 0; i < G_N_ELEMENTS(calls); i++) {
        for (guint nth = 1; nth <= 3; nth++) {
            g_autoptr(GError) error = NULL;

            hm_fake_reset();
            hm_fake_fail(calls[i], nth, ENOMEM);
            g_assert_null(hm_test_try_make(POOL "size=34824K,segment-size="
                                                "17412K",
                                           NULL, &error));
            g_assert_nonnull(error);
            g_assert_cmpuint(hm_test_count_fds(), ==, fds);
            g_assert_cmpuint(hm_test_count_mappings(HM_TEST_ODD_SIZE), ==, 0);
        }
    }
}

static void test_populate_fails(void)
{
    guint fds = hm_test_count_fds();

    hm_fake_fail_advice(MADV_POPULATE_WRITE, 3, EFAULT);
    hm_test_assert_make_fails(HM_TEST_POOL ",thp=off", HOSTMEM_ERROR_NO_SPACE,
                              "preallocating memory failed");
    g_assert_cmpuint(hm_test_count_fds(), ==, fds);
}

static void test_cancelled(void)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GError) error = NULL;
    guint fds = hm_test_count_fds();

    g_cancellable_cancel(cancellable);
    g_assert_null(hm_test_try_make(HM_TEST_POOL, cancellable, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_cmpuint(hm_test_count_fds(), ==, fds);
}

/* In the background */

static void test_async(void)
{
    g_autoptr(HostmemMemoryPool) pool =
        hm_test_make(HM_TEST_POOL ",prealloc-async=on");

    hm_test_await_ready(pool, 4);
}

static void test_async_goes_while_it_fills(void)
{
    guint fds = hm_test_count_fds();

    for (guint i = 0; i < 10; i++) {
        g_object_unref(hm_test_make(HM_TEST_POOL ",prealloc-async=on"));
    }
    g_assert_cmpuint(hm_test_count_fds(), ==, fds);
}

static void test_async_is_checked_at_once(void)
{
    hm_test_assert_make_fails(POOL "size=1P,segment-size=1G,prealloc-async=on",
                              HOSTMEM_ERROR_NO_MEMORY, "memory-pool 'p0'");
}

static void await_error(HostmemMemoryPool *pool, gboolean wanted)
{
    for (;;) {
        g_autoptr(GError) error = hostmem_memory_pool_get_error(pool);

        if (!!error == wanted) {
            return;
        }
        g_usleep(1000);
    }
}

static void test_tries_again(void)
{
    g_autoptr(HostmemMemoryPool) pool = hm_test_make(HM_TEST_POOL);

    hm_fake_fail_always(HM_FAKE_MEMFD, EMFILE);
    hm_test_assert_set(pool, "size", "12M");
    await_error(pool, TRUE);
    hm_test_assert_segments(pool, 4, 0);
    hm_fake_fail_always(HM_FAKE_MEMFD, 0);
    hm_test_await_ready(pool, 6);
    await_error(pool, FALSE);
}

/* A batch that fails does not keep the segments from coming one by one. */
static void test_one_by_one(void)
{
    g_autoptr(HostmemMemoryPool) pool = hm_test_make(HM_TEST_POOL);

    hm_fake_fail(HM_FAKE_MEMFD, 2, EMFILE);
    hm_test_assert_set(pool, "size", "16M");
    hm_test_await_ready(pool, 8);
}

/* Nobody waits for the next try. */
static void test_goes_while_it_rests(void)
{
    g_autoptr(HostmemMemoryPool) pool = hm_test_make(HM_TEST_POOL);

    hm_fake_fail_always(HM_FAKE_MEMFD, EMFILE);
    hm_test_assert_set(pool, "size", "12M");
    await_error(pool, TRUE);
}

/* Growing and shrinking */

static void test_grow(void)
{
    g_autoptr(HostmemMemoryPool) pool = hm_test_make(HM_TEST_POOL);

    hm_test_assert_set(pool, "size", "12M");
    hm_test_assert_reads(pool, "size", "12582912");
    hm_test_await_ready(pool, 6);
}

static void test_shrink(void)
{
    g_autoptr(HostmemMemoryPool) pool = hm_test_make(HM_TEST_POOL);
    guint fds = hm_test_count_fds();

    hm_test_assert_set(pool, "size", "2M");
    hm_test_assert_segments(pool, 1, 0);
    g_assert_cmpuint(hm_test_count_fds(), ==, fds - 3);
}

static void test_resize_errors(void)
{
    g_autoptr(HostmemMemoryPool) pool = hm_test_make(HM_TEST_POOL);
    g_autoptr(GError) error = NULL;

    hm_test_assert_set_fails(pool, "size", "9M", HOSTMEM_ERROR_INVALID,
                             "'size' of memory-pool, 9 MiB, is no multiple of "
                             "'segment-size', 2 MiB");
    hm_test_assert_set_fails(pool, "size", "1M", HOSTMEM_ERROR_INVALID,
                             "'segment-size' of memory-pool, 2 MiB, is larger "
                             "than its 'size', 1 MiB");
    g_assert_false(
        hostmem_object_set(HOSTMEM_OBJECT(pool), "size", "1T", NULL, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_MEMORY);
    hm_test_assert_reads(pool, "size", "8388608");
    hm_test_assert_segments(pool, 4, 0);
}

static void test_what_does_not_change(void)
{
    static const char *const properties[] = {"segment-size", "hugetlb", "seal",
                                             "thp", "prealloc-threads"};
    g_autoptr(HostmemMemoryPool) pool = hm_test_make(HM_TEST_POOL);

    for (guint i = 0; i < G_N_ELEMENTS(properties); i++) {
        g_autofree char *message = g_strdup_printf(
            "cannot change property '%s' of memory-pool.", properties[i]);

        hm_test_assert_set_fails(pool, properties[i], "1",
                                 HOSTMEM_ERROR_PERMISSION, message);
    }
}

/* The mark */

static void count_low(HostmemMemoryPool *pool, guint64 ready, guint64 low_water,
                      gpointer data)
{
    guint *n = data;

    g_assert_true(HOSTMEM_IS_MEMORY_POOL(pool));
    g_assert_cmpuint(ready, <, low_water);
    ++*n;
}

static void test_low_water(void)
{
    g_autoptr(HostmemMemoryPool) pool =
        hm_test_make(HM_TEST_POOL ",low-water=6M");
    guint n = 0;

    g_signal_connect(pool, "low", G_CALLBACK(count_low), &n);
    hm_test_assert_set(pool, "size", "6M");
    g_assert_cmpuint(n, ==, 0);
    hm_test_assert_set(pool, "size", "4M");
    g_assert_cmpuint(n, ==, 1);
    hm_test_assert_set(pool, "size", "2M");
    g_assert_cmpuint(n, ==, 1);
    hm_test_assert_set(pool, "size", "8M");
    hm_test_await_ready(pool, 4);
    hm_test_assert_set(pool, "size", "2M");
    g_assert_cmpuint(n, ==, 2);
}

static void test_low_water_changes(void)
{
    g_autoptr(HostmemMemoryPool) pool = hm_test_make(HM_TEST_POOL);
    guint n = 0;

    g_signal_connect(pool, "low", G_CALLBACK(count_low), &n);
    hm_test_assert_set(pool, "low-water", "8M");
    g_assert_cmpuint(n, ==, 0);
    hm_test_assert_set(pool, "low-water", "10M");
    g_assert_cmpuint(n, ==, 1);
    hm_test_assert_set(pool, "low-water", "12M");
    g_assert_cmpuint(n, ==, 1);
    hm_test_assert_reads(pool, "low-water", "12582912");
}

/* What can be asked */

static void test_progress(void)
{
    g_autoptr(HostmemMemoryPool) pool = hm_test_make(HM_TEST_POOL);
    guint64 done, total;

    g_assert_false(hostmem_memory_pool_get_progress(pool, &done, &total, NULL));
    g_assert_cmpuint(done, ==, 0);
    g_assert_cmpuint(total, ==, 0);
}

static void test_bound_to_nodes(void)
{
    g_autoptr(HostmemMemoryPool) pool = NULL;

    hm_fake_set_nodes(2, 2, 8 * HM_GIB);
    pool = hm_test_make(HM_TEST_POOL ",host-nodes=1,policy=bind");
    for (guint i = 0; i < 4; i++) {
        HmPoolSegment *segment = segment_of(pool, i);
        g_autofree char *nodes = hm_idset_to_string(segment->where);

        g_assert_cmpstr(nodes, ==, "1");
    }
}

static const HmTest tests[] = {
    {"/memory-pool/defaults", test_defaults},
    {"/memory-pool/full-when-created", test_is_full_when_created},
    {"/memory-pool/files-are-ours", test_files_are_ours},
    {"/memory-pool/no-seal", test_seals_cannot_be_added_without_seal},
    {"/memory-pool/nothing-stays", test_nothing_stays},
    {"/memory-pool/size-errors", test_size_errors},
    {"/memory-pool/huge-page-errors", test_huge_page_errors},
    {"/memory-pool/node-errors", test_node_errors},
    {"/memory-pool/larger-than-memory", test_larger_than_memory},
    {"/memory-pool/hugetlb-short", test_hugetlb_pool_is_short},
    {"/memory-pool/too-few-descriptors", test_too_few_descriptors},
    {"/memory-pool/too-few-to-grow", test_too_few_descriptors_to_grow},
    {"/memory-pool/each-call-fails", test_each_call_may_fail},
    {"/memory-pool/populate-fails", test_populate_fails},
    {"/memory-pool/cancelled", test_cancelled},
    {"/memory-pool/async", test_async},
    {"/memory-pool/async-goes", test_async_goes_while_it_fills},
    {"/memory-pool/async-is-checked", test_async_is_checked_at_once},
    {"/memory-pool/tries-again", test_tries_again},
    {"/memory-pool/one-by-one", test_one_by_one},
    {"/memory-pool/goes-while-it-rests", test_goes_while_it_rests},
    {"/memory-pool/grow", test_grow},
    {"/memory-pool/shrink", test_shrink},
    {"/memory-pool/resize-errors", test_resize_errors},
    {"/memory-pool/constant", test_what_does_not_change},
    {"/memory-pool/low-water", test_low_water},
    {"/memory-pool/low-water-changes", test_low_water_changes},
    {"/memory-pool/progress", test_progress},
    {"/memory-pool/nodes", test_bound_to_nodes},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
