/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include "preflight-test.h"
#include "util/autofd.h"

#define EXT4_MAGIC 0xEF53

/* Any descriptor does: what the filesystem says is pretended. */
static const HmPreflightRequest on_tmpfs = {
    .kind = HM_MEM_SHMEM,
    .page_size = 4096,
    .fd = 0,
    .what = "memory-backend-file 'f0'",
    .where = "/dev/shm/f0",
};

static void set_filesystem(guint64 magic, guint64 size, guint64 free)
{
    struct statfs fs = {
        .f_type = (__fsword_t)magic,
        .f_bsize = 4096,
        .f_blocks = size / 4096,
        .f_bfree = free / 4096,
        .f_bavail = free / 4096,
    };

    hm_fake_set_statfs(&fs);
}

/* RAM */

static void test_memory_fits(void)
{
    set_host();
    assert_fits(&anon, 63 * HM_GIB);
}

static void test_memory_short(void)
{
    set_host();
    set_memory(2 * HM_GIB, 0);
    assert_refused_as(&anon, 4 * HM_GIB, HOSTMEM_ERROR_NO_MEMORY,
                      "memory-backend-ram 'm0' needs 4 GiB (plus 24 MiB of "
                      "overhead): 2 GiB of memory and 0 B of swap are "
                      "available");
}

static void test_swap_counts(void)
{
    set_host();
    set_memory(2 * HM_GIB, 3 * HM_GIB);
    assert_fits(&anon, 4 * HM_GIB);
}

static void test_swap_counts_not_for_locked_memory(void)
{
    HmPreflightRequest locked = anon;

    locked.locked = TRUE;
    set_host();
    set_memory(2 * HM_GIB, 3 * HM_GIB);
    assert_refused_as(&locked, 4 * HM_GIB, HOSTMEM_ERROR_NO_MEMORY,
                      "memory-backend-ram 'm0' needs 4 GiB (plus 24 MiB of "
                      "overhead): 2 GiB of memory are available, and what is "
                      "locked cannot be swapped out");
}

static void test_page_tables_and_reserve_count(void)
{
    guint64 needed = HM_GIB + HM_GIB / 512 + HOST_RESERVE;

    set_host();
    set_memory(needed, 0);
    assert_fits(&anon, HM_GIB);
    set_memory(needed - HM_KIB, 0);
    g_free(assert_refused(&anon, HM_GIB, HOSTMEM_ERROR_NO_MEMORY));
}

static void test_unknown_memory_limits_nothing(void)
{
    set_host();
    hm_fake_set_file("/proc/meminfo", NULL);
    assert_fits(&anon, HM_GIB);
    hm_fake_set_file("/proc/meminfo", "MemTotal: 1 kB\nMemFree: 1 kB\n");
    assert_fits(&anon, HM_GIB);
}

static void test_absurd_size_is_refused(void)
{
    set_host();
    g_free(assert_refused(&anon, G_MAXUINT64, HOSTMEM_ERROR_NO_MEMORY));
    set_memory(64 * HM_GIB, G_MAXUINT64 / 2);
    g_free(assert_refused(&anon, G_MAXUINT64, HOSTMEM_ERROR_NO_MEMORY));
}

static void test_numbers_are_read_at_each_check(void)
{
    g_autoptr(HmPreflight) preflight = NULL;
    g_autoptr(GError) error = NULL;

    set_host();
    preflight = hm_preflight_new(&anon);
    g_assert_true(hm_preflight_check(preflight, HM_GIB, &error));
    set_memory(HM_GIB, 0);
    g_assert_false(hm_preflight_check(preflight, HM_GIB, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_MEMORY);
}

static void test_bound_nodes_short(void)
{
    g_autoptr(HmIdset) nodes = hm_idset_parse("1-2", NULL);
    HmPreflightRequest request = anon;

    set_host();
    hm_fake_set_nodes(4, 2, 8 * HM_GIB);
    hm_fake_set_node_memory(1, 8 * HM_GIB, 2 * HM_GIB);
    hm_fake_set_node_memory(2, 8 * HM_GIB, HM_GIB);
    request.nodes = nodes;
    assert_fits(&request, 2 * HM_GIB);
    assert_refused_as(&request, 4 * HM_GIB, HOSTMEM_ERROR_NO_MEMORY,
                      "memory-backend-ram 'm0' needs 4 GiB (plus 24 MiB of "
                      "overhead): 3 GiB of memory are available on nodes 1-2");
}

/* filesystems */

static void test_tmpfs_short(void)
{
    set_host();
    set_filesystem(TMPFS_MAGIC, 2 * HM_GIB, 200 * HM_MIB);
    assert_fits(&on_tmpfs, 200 * HM_MIB);
    assert_refused_as(&on_tmpfs, HM_GIB, HOSTMEM_ERROR_NO_SPACE,
                      "memory-backend-file 'f0' needs 1 GiB: 200 MiB free on "
                      "tmpfs of /dev/shm/f0");
}

static void test_tmpfs_without_limit(void)
{
    set_host();
    set_filesystem(TMPFS_MAGIC, 0, 0);
    assert_fits(&on_tmpfs, HM_GIB);
}

static void test_tmpfs_takes_memory_too(void)
{
    set_host();
    set_filesystem(TMPFS_MAGIC, 8 * HM_GIB, 8 * HM_GIB);
    set_memory(HM_GIB, 0);
    g_free(assert_refused(&on_tmpfs, HM_GIB, HOSTMEM_ERROR_NO_MEMORY));
}

static void test_tmpfs_needs_more_overhead(void)
{
    guint64 needed = HM_GIB + HM_GIB / 512 + HM_GIB / 400 + HOST_RESERVE;

    set_host();
    set_filesystem(TMPFS_MAGIC, 0, 0);
    set_memory(needed + HM_KIB, 0);
    assert_fits(&on_tmpfs, HM_GIB);
    set_memory(needed - HM_KIB, 0);
    g_free(assert_refused(&on_tmpfs, HM_GIB, HOSTMEM_ERROR_NO_MEMORY));
}

static void test_unknown_filesystem_limits_nothing(void)
{
    set_host();
    hm_fake_fail_always(HM_FAKE_STATFS, EIO);
    assert_fits(&on_tmpfs, HM_GIB);
}

static void test_file_takes_storage_only(void)
{
    HmPreflightRequest request = on_tmpfs;

    request.kind = HM_MEM_FILE;
    request.where = NULL;
    set_host();
    set_memory(0, 0);
    set_filesystem(EXT4_MAGIC, 8 * HM_GIB, 2 * HM_GIB);
    assert_fits(&request, 2 * HM_GIB);
    assert_refused_as(&request, 3 * HM_GIB, HOSTMEM_ERROR_NO_SPACE,
                      "memory-backend-file 'f0' needs 3 GiB: 2 GiB free on "
                      "the filesystem");
}

static void test_private_copy_of_file_takes_memory_only(void)
{
    HmPreflightRequest request = on_tmpfs;

    request.kind = HM_MEM_FILE;
    request.private_copy = TRUE;
    set_host();
    set_filesystem(EXT4_MAGIC, 8 * HM_GIB, 0);
    assert_fits(&request, 2 * HM_GIB);
    set_memory(HM_GIB, 0);
    g_free(assert_refused(&request, 2 * HM_GIB, HOSTMEM_ERROR_NO_MEMORY));
}

/* The fault fills the hole in the file, then copies. */
static void test_private_copy_of_tmpfs_hole_takes_both(void)
{
    hm_autofd int fd = -1;
    HmPreflightRequest request = on_tmpfs;
    g_autofree char *message = NULL;

    set_host();
    fd = hm_os_memfd("test", 0);
    g_assert_cmpint(fd, >=, 0);
    request.fd = fd;
    request.private_copy = TRUE;
    set_filesystem(TMPFS_MAGIC, 8 * HM_GIB, 2 * HM_GIB);
    set_memory(5 * HM_GIB, 0);
    assert_fits(&request, 2 * HM_GIB);
    set_memory(3 * HM_GIB, 0);
    message = assert_refused(&request, 2 * HM_GIB, HOSTMEM_ERROR_NO_MEMORY);
    g_assert_nonnull(strstr(message, "needs 2 GiB (plus 2.02 GiB of overhead"));
    g_free(assert_refused(&request, 3 * HM_GIB, HOSTMEM_ERROR_NO_SPACE));
}

static void test_private_copy_of_tmpfs_data_takes_memory_only(void)
{
    hm_autofd int fd = -1;
    HmPreflightRequest request = on_tmpfs;

    set_host();
    fd = hm_os_memfd("test", 0);
    g_assert_cmpint(hm_os_allocate(fd, 0, HM_MIB), ==, 0);
    request.fd = fd;
    request.private_copy = TRUE;
    set_filesystem(TMPFS_MAGIC, 8 * HM_GIB, 0);
    assert_fits(&request, HM_MIB);
    g_free(assert_refused(&request, 2 * HM_MIB, HOSTMEM_ERROR_NO_SPACE));
}

/* huge pages */

static void test_huge_pages_short(void)
{
    set_host();
    hm_fake_set_huge_pool(HUGE_2M, 64, 15, 3);
    assert_fits(&huge, 12 * HUGE_2M);
    assert_refused_as(&huge, HM_GIB, HOSTMEM_ERROR_NO_HUGE_PAGES,
                      "memory-backend-memfd 'h0' needs 512 huge pages of "
                      "2 MiB: 12 are free (pool 64, reserved 3, overcommit 0)");
}

static void test_overcommit_adds_huge_pages(void)
{
    set_host();
    hm_fake_set_huge_pool(HUGE_2M, 64, 10, 0);
    hm_fake_set_file(POOL "nr_overcommit_hugepages", "8\n");
    assert_fits(&huge, 18 * HUGE_2M);
    g_free(assert_refused(&huge, 19 * HUGE_2M, HOSTMEM_ERROR_NO_HUGE_PAGES));
}

static void test_held_reservation_is_free(void)
{
    HmPreflightRequest request = huge;

    request.reserved = TRUE;
    set_host();
    hm_fake_set_huge_pool(HUGE_2M, 64, 64, 64);
    assert_fits(&request, 64 * HUGE_2M);
    g_free(assert_refused(&huge, HUGE_2M, HOSTMEM_ERROR_NO_HUGE_PAGES));
}

static void test_part_of_a_huge_page_is_one(void)
{
    set_host();
    hm_fake_set_huge_pool(HUGE_2M, 1, 1, 0);
    g_free(assert_refused(&huge, HUGE_2M + 1, HOSTMEM_ERROR_NO_HUGE_PAGES));
}

static void test_huge_pages_of_nodes_short(void)
{
    g_autoptr(HmIdset) nodes = hm_idset_parse("1", NULL);
    HmPreflightRequest request = huge;

    request.nodes = nodes;
    request.reserved = TRUE;
    set_host();
    hm_fake_set_nodes(2, 1, 8 * HM_GIB);
    hm_fake_set_huge_pool(HUGE_2M, 64, 60, 32);
    hm_fake_set_node_huge_pages(0, HUGE_2M, 48);
    hm_fake_set_node_huge_pages(1, HUGE_2M, 12);
    assert_fits(&request, 12 * HUGE_2M);
    assert_refused_as(&request, 32 * HUGE_2M, HOSTMEM_ERROR_NO_HUGE_PAGES,
                      "memory-backend-memfd 'h0' needs 32 huge pages of 2 MiB "
                      "on node 1: 12 are free there (pool of all nodes 64, "
                      "reserved 32; a reservation names no node)");
}

static void test_hugetlbfs_with_a_size_limit(void)
{
    HmPreflightRequest request = huge;

    request.fd = 0;
    request.where = "/mnt/huge";
    set_host();
    hm_fake_set_huge_pool(HUGE_2M, 64, 64, 0);
    set_filesystem(HUGETLBFS_MAGIC, 64 * HM_MIB, 32 * HM_MIB);
    assert_refused_as(&request, 64 * HM_MIB, HOSTMEM_ERROR_NO_SPACE,
                      "memory-backend-memfd 'h0' needs 64 MiB: 32 MiB free on "
                      "hugetlbfs of /mnt/huge");
    request.reserved = TRUE;
    assert_fits(&request, 64 * HM_MIB);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function) g_test_add_func("/preflight/" name, function)
    ADD("memory-fits", test_memory_fits);
    ADD("memory-short", test_memory_short);
    ADD("swap-counts", test_swap_counts);
    ADD("swap-counts-not-for-locked-memory",
        test_swap_counts_not_for_locked_memory);
    ADD("page-tables-and-reserve-count", test_page_tables_and_reserve_count);
    ADD("unknown-memory-limits-nothing", test_unknown_memory_limits_nothing);
    ADD("absurd-size-is-refused", test_absurd_size_is_refused);
    ADD("numbers-are-read-at-each-check", test_numbers_are_read_at_each_check);
    ADD("bound-nodes-short", test_bound_nodes_short);
    ADD("tmpfs-short", test_tmpfs_short);
    ADD("tmpfs-without-limit", test_tmpfs_without_limit);
    ADD("tmpfs-takes-memory-too", test_tmpfs_takes_memory_too);
    ADD("tmpfs-needs-more-overhead", test_tmpfs_needs_more_overhead);
    ADD("unknown-filesystem-limits-nothing",
        test_unknown_filesystem_limits_nothing);
    ADD("file-takes-storage-only", test_file_takes_storage_only);
    ADD("private-copy-of-file-takes-memory-only",
        test_private_copy_of_file_takes_memory_only);
    ADD("private-copy-of-tmpfs-hole-takes-both",
        test_private_copy_of_tmpfs_hole_takes_both);
    ADD("private-copy-of-tmpfs-data-takes-memory-only",
        test_private_copy_of_tmpfs_data_takes_memory_only);
    ADD("huge-pages-short", test_huge_pages_short);
    ADD("overcommit-adds-huge-pages", test_overcommit_adds_huge_pages);
    ADD("held-reservation-is-free", test_held_reservation_is_free);
    ADD("part-of-a-huge-page-is-one", test_part_of_a_huge_page_is_one);
    ADD("huge-pages-of-nodes-short", test_huge_pages_of_nodes_short);
    ADD("hugetlbfs-with-a-size-limit", test_hugetlbfs_with_a_size_limit);
#undef ADD
    return g_test_run();
}
