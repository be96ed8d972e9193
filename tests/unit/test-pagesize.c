/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include "os-fake.h"
#include "util/error.h"
#include "util/pagesize.h"
#include "util/size.h"

#define POOL_2M "/sys/kernel/mm/hugepages/hugepages-2048kB"

static void test_pool_is_read(void)
{
    g_autoptr(GError) error = NULL;
    HmHugePool pool;

    hm_fake_reset();
    hm_fake_set_huge_pool(2 * HM_MIB, 100, 70, 20);
    hm_fake_set_file(POOL_2M "/surplus_hugepages", "3\n");
    hm_fake_set_file(POOL_2M "/nr_overcommit_hugepages", "8\n");
    g_assert_true(hm_huge_pool_read(2 * HM_MIB, &pool, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(pool.page_size, ==, 2 * HM_MIB);
    g_assert_cmpuint(pool.total, ==, 100);
    g_assert_cmpuint(pool.free, ==, 70);
    g_assert_cmpuint(pool.reserved, ==, 20);
    g_assert_cmpuint(pool.surplus, ==, 3);
    g_assert_cmpuint(pool.overcommit, ==, 8);
    g_assert_cmpuint(hm_huge_pool_available(&pool), ==, 70 - 20 + 8 - 3);
}

static void test_pool_without_overcommit(void)
{
    g_autoptr(GError) error = NULL;
    HmHugePool pool;

    hm_fake_reset();
    hm_fake_set_huge_pool(2 * HM_MIB, 4, 4, 0);
    hm_fake_set_file(POOL_2M "/surplus_hugepages", NULL);
    hm_fake_set_file(POOL_2M "/nr_overcommit_hugepages", NULL);
    g_assert_true(hm_huge_pool_read(2 * HM_MIB, &pool, &error));
    g_assert_cmpuint(hm_huge_pool_available(&pool), ==, 4);
}

static void test_pool_that_is_not_there(void)
{
    g_autoptr(GError) error = NULL;
    HmHugePool pool;

    hm_fake_reset();
    hm_fake_hide_tree("/sys/kernel/mm/hugepages");
    g_assert_false(hm_huge_pool_read(64 * HM_KIB, &pool, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED);
    g_assert_nonnull(strstr(error->message, "64 KiB"));
}

static void test_pool_that_is_garbage(void)
{
    g_autoptr(GError) error = NULL;
    HmHugePool pool;

    hm_fake_reset();
    hm_fake_set_huge_pool(2 * HM_MIB, 4, 4, 0);
    hm_fake_set_file(POOL_2M "/free_hugepages", "-1\n");
    g_assert_false(hm_huge_pool_read(2 * HM_MIB, &pool, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED);
}

static void test_available_never_wraps(void)
{
    HmHugePool promised = {.free = 3, .reserved = 5};
    HmHugePool surplus = {.free = 3, .surplus = 9, .overcommit = 2};
    HmHugePool endless = {.free = 3, .overcommit = G_MAXUINT64};

    g_assert_cmpuint(hm_huge_pool_available(&promised), ==, 0);
    g_assert_cmpuint(hm_huge_pool_available(&surplus), ==, 3);
    g_assert_cmpuint(hm_huge_pool_available(&endless), ==, G_MAXUINT64);
}

static void test_free_on_node(void)
{
    hm_fake_reset();
    hm_fake_set_nodes(2, 1, HM_GIB);
    hm_fake_set_node_huge_pages(1, 2 * HM_MIB, 7);
    g_assert_cmpuint(hm_huge_pool_free_on_node(2 * HM_MIB, 1), ==, 7);
    g_assert_cmpuint(hm_huge_pool_free_on_node(2 * HM_MIB, 0), ==, 0);
    g_assert_cmpuint(hm_huge_pool_free_on_node(2 * HM_MIB, 99), ==, 0);
    g_assert_cmpuint(hm_huge_pool_free_on_node(HM_GIB, 1), ==, 0);
}

static void test_pool_on_node(void)
{
    guint64 total, free;

    hm_fake_reset();
    hm_fake_set_nodes(2, 1, HM_GIB);
    hm_fake_set_node_huge_pages(1, 2 * HM_MIB, 7);
    hm_fake_set_file("/sys/devices/system/node/node1/hugepages/"
                     "hugepages-2048kB/nr_hugepages",
                     "9\n");
    g_assert_true(hm_huge_pool_on_node(2 * HM_MIB, 1, &total, &free));
    g_assert_cmpuint(total, ==, 9);
    g_assert_cmpuint(free, ==, 7);
    g_assert_false(hm_huge_pool_on_node(2 * HM_MIB, 99, &total, &free));
    g_assert_cmpuint(total, ==, 0);
    g_assert_cmpuint(free, ==, 0);
}

static void test_sizes_are_sorted_by_number(void)
{
    g_autoptr(GArray) sizes = NULL;

    hm_fake_reset();
    hm_fake_hide_tree("/sys/kernel/mm/hugepages");
    hm_fake_set_huge_pool(HM_GIB, 0, 0, 0);
    hm_fake_set_huge_pool(64 * HM_KIB, 0, 0, 0);
    hm_fake_set_huge_pool(2 * HM_MIB, 0, 0, 0);
    hm_fake_set_file("/sys/kernel/mm/hugepages/hugepages-oddkB/x", "");
    hm_fake_set_file("/sys/kernel/mm/hugepages/readme", "");
    sizes = hm_huge_page_sizes();
    g_assert_cmpuint(sizes->len, ==, 3);
    g_assert_cmpuint(g_array_index(sizes, guint64, 0), ==, 64 * HM_KIB);
    g_assert_cmpuint(g_array_index(sizes, guint64, 1), ==, 2 * HM_MIB);
    g_assert_cmpuint(g_array_index(sizes, guint64, 2), ==, HM_GIB);
}

static void test_no_sizes_without_hugetlb(void)
{
    g_autoptr(GArray) sizes = NULL;

    hm_fake_reset();
    hm_fake_hide_tree("/sys/kernel/mm/hugepages");
    sizes = hm_huge_page_sizes();
    g_assert_cmpuint(sizes->len, ==, 0);
}

static void test_page_size_of_no_descriptor(void)
{
    gsize size = 0;

    hm_fake_reset();
    g_assert_cmpint(hm_fd_page_size(-1, &size), ==, 0);
    g_assert_cmpuint(size, ==, hm_os_page_size());
}

static void test_page_size_of_filesystems(void)
{
    struct statfs huge = {.f_type = HUGETLBFS_MAGIC, .f_bsize = 2 << 20};
    struct statfs btrfs = {.f_type = 0x9123683E, .f_bsize = 65536};
    gsize size = 0;

    hm_fake_reset();
    hm_fake_set_statfs(&huge);
    g_assert_cmpint(hm_fd_page_size(0, &size), ==, 0);
    g_assert_cmpuint(size, ==, 2 * HM_MIB);
    hm_fake_set_statfs(&btrfs);
    g_assert_cmpint(hm_fd_page_size(0, &size), ==, 0);
    g_assert_cmpuint(size, ==, hm_os_page_size());
}

static void test_page_size_of_a_broken_descriptor(void)
{
    gsize size = 7;

    hm_fake_reset();
    hm_fake_fail(HM_FAKE_STATFS, 1, EIO);
    g_assert_cmpint(hm_fd_page_size(0, &size), ==, -EIO);
    g_assert_cmpuint(size, ==, 7);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pagesize/pool-is-read", test_pool_is_read);
    g_test_add_func("/pagesize/pool-without-overcommit",
                    test_pool_without_overcommit);
    g_test_add_func("/pagesize/pool-that-is-not-there",
                    test_pool_that_is_not_there);
    g_test_add_func("/pagesize/pool-that-is-garbage",
                    test_pool_that_is_garbage);
    g_test_add_func("/pagesize/available-never-wraps",
                    test_available_never_wraps);
    g_test_add_func("/pagesize/free-on-node", test_free_on_node);
    g_test_add_func("/pagesize/pool-on-node", test_pool_on_node);
    g_test_add_func("/pagesize/sizes-are-sorted-by-number",
                    test_sizes_are_sorted_by_number);
    g_test_add_func("/pagesize/no-sizes-without-hugetlb",
                    test_no_sizes_without_hugetlb);
    g_test_add_func("/pagesize/of-no-descriptor",
                    test_page_size_of_no_descriptor);
    g_test_add_func("/pagesize/of-filesystems", test_page_size_of_filesystems);
    g_test_add_func("/pagesize/of-a-broken-descriptor",
                    test_page_size_of_a_broken_descriptor);
    return g_test_run();
}
