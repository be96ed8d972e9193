/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory primitives on the real kernel. */
#include <errno.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/syscall.h>
#include "os-test.h"
#include "util/autofd.h"
#include "util/os.h"
#include "util/size.h"

#define HUGE_PAGE (2 * HM_MIB)

static guint8 *map_memory(gsize length, int flags, int fd)
{
    void *addr = NULL;

    g_assert_cmpint(
        hm_os_map(NULL, length, PROT_READ | PROT_WRITE, flags, fd, 0, &addr),
        ==, 0);
    return addr;
}

static guint8 *map_anon(gsize length)
{
    return map_memory(length, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

/* Memory that begins with a huge page. */
static guint8 *map_aligned(gsize length)
{
    guint8 *start = map_anon(length + HUGE_PAGE);
    gsize ahead = -(guintptr)start & (HUGE_PAGE - 1);

    if (ahead) {
        hm_os_unmap(start, ahead);
    }
    hm_os_unmap(start + ahead + length, HUGE_PAGE - ahead);
    return start + ahead;
}

static gsize page_size(void)
{
    return hm_os_page_size();
}

/* memory */

static void test_map_fails_cleanly(void)
{
    void *addr = &addr;
    int prot = PROT_READ;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;

    int err = hm_os_map(NULL, G_MAXINT64, prot, flags, -1, 0, &addr);

    g_assert_true(err == -ENOMEM || err == -EINVAL); /* EINVAL: valgrind */
    g_assert_cmpint(hm_os_map(NULL, 4096, prot, MAP_SHARED, -1, 0, &addr), ==,
                    -EBADF);
    g_assert_cmpint(
        hm_os_map(NULL, 4096, prot, flags, -1, G_MAXUINT64 - 4095, &addr), ==,
        -EOVERFLOW);
    g_assert_true(addr == &addr);
}

static void test_move_takes_pages_along(void)
{
    gsize page = page_size();
    guint8 *from = map_anon(2 * page);
    guint8 *to = map_anon(4 * page);

    from[page] = 'x';
    to[page] = 'y';
    g_assert_cmpint(hm_os_move(from, 2 * page, to, 4 * page), ==, 0);
    g_assert_cmpuint(to[page], ==, 'x');
    g_assert_cmpint(hm_os_populated(to, 4 * page), ==, (gint64)page);
    hm_os_unmap(to, 4 * page);
}

static void check_touched_pages_count(void)
{
    gsize page = page_size();
    guint8 *addr = map_anon(1000 * page);

    g_assert_cmpint(hm_os_advise(addr, 1000 * page, MADV_NOHUGEPAGE), <=, 0);
    g_assert_cmpint(hm_os_populated(addr, 1000 * page), ==, 0);
    for (gsize i = 0; i < 1000; i += 2) {
        addr[i * page] = 1;
    }
    g_assert_cmpint(hm_os_populated(addr, 1000 * page), ==,
                    (gint64)(500 * page));
    g_assert_cmpint(hm_os_populated(addr, page), ==, (gint64)page);
    g_assert_cmpint(hm_os_populated(addr + page, page), ==, 0);
    hm_os_unmap(addr, 1000 * page);
}

static void test_populated_counts_touched_pages(void)
{
    check_touched_pages_count();
}

static void without_scan(void)
{
    hm_test_deny(SYS_ioctl, 1, (guint32)PAGEMAP_SCAN, ENOTTY);
    check_touched_pages_count();
}

static void test_populated_on_a_kernel_without_scan(void)
{
    hm_test_in_child(without_scan);
}

static void test_populated_ranges_are_offsets(void)
{
    gsize page = page_size();
    guint8 *addr = map_anon(8 * page);
    g_autoptr(GArray) ranges = hm_range_list_new();

    hm_os_advise(addr, 8 * page, MADV_NOHUGEPAGE);
    addr[2 * page] = 1;
    addr[3 * page] = 1;
    addr[7 * page] = 1;
    g_assert_cmpint(hm_os_populated_ranges(addr, 8 * page, ranges), ==, 0);
    g_assert_cmpuint(ranges->len, ==, 2);
    g_assert_cmpuint(hm_range_list_get(ranges, 0)->offset, ==, 2 * page);
    g_assert_cmpuint(hm_range_list_get(ranges, 0)->length, ==, 2 * page);
    g_assert_cmpuint(hm_range_list_get(ranges, 1)->offset, ==, 7 * page);
    hm_os_unmap(addr, 8 * page);
}

static void test_populated_of_shared_memory_is_per_mapping(void)
{
    gsize page = page_size();
    hm_autofd int fd = hm_os_memfd("test", 0);
    guint8 *one, *other;

    g_assert_cmpint(hm_os_truncate(fd, 4 * page), ==, 0);
    one = map_memory(4 * page, MAP_SHARED, fd);
    other = map_memory(4 * page, MAP_SHARED, fd);
    memset(one, 1, 4 * page);
    g_assert_cmpint(hm_os_populated(one, 4 * page), ==, (gint64)(4 * page));
    g_assert_cmpint(hm_os_populated(other, 4 * page), ==, 0);
    hm_os_unmap(one, 4 * page);
    hm_os_unmap(other, 4 * page);
}

static void test_populated_of_private_file_mapping(void)
{
    gsize page = page_size();
    hm_autofd int dir = hm_os_open(g_get_tmp_dir(), O_PATH | O_DIRECTORY, 0);
    hm_autofd int fd = hm_os_tmpfile(dir, 0600);
    guint8 *addr;

    if (fd == -EOPNOTSUPP) {
        g_test_skip("the temporary directory has no unnamed files");
        return;
    }
    g_assert_cmpint(hm_os_truncate(fd, 4 * page), ==, 0);
    addr = map_memory(4 * page, MAP_PRIVATE, fd);
    g_assert_cmpint(hm_os_populated(addr, 4 * page), ==, 0);
    addr[page] = 1;
    g_assert_cmpint(hm_os_populated(addr + page, page), ==, (gint64)page);
    hm_os_unmap(addr, 4 * page);
}

static void test_populated_of_transparent_huge_page(void)
{
    guint8 *addr = map_aligned(2 * HUGE_PAGE);
    int ret = hm_os_advise(addr, 2 * HUGE_PAGE, MADV_HUGEPAGE);

    if (hm_test_missing(ret, "MADV_HUGEPAGE")) {
        return;
    }
    ret = hm_os_advise(addr, HUGE_PAGE, MADV_POPULATE_WRITE);
    if (hm_test_missing(ret, "MADV_POPULATE_WRITE")) {
        return;
    }
    g_assert_cmpint(hm_os_populated(addr, 2 * HUGE_PAGE), ==,
                    (gint64)HUGE_PAGE);
    g_assert_cmpint(hm_os_populated(addr + HUGE_PAGE / 2, page_size()), ==,
                    (gint64)page_size());
    hm_os_unmap(addr, 2 * HUGE_PAGE);
}

static void without_scan_nothing_is_huge(void)
{
    guint8 *addr = map_anon(page_size());

    hm_test_deny(SYS_ioctl, 1, (guint32)PAGEMAP_SCAN, ENOTTY);
    g_assert_cmpint(hm_os_huge(addr, page_size()), ==, -EOPNOTSUPP);
}

static void test_huge_needs_scan(void)
{
    hm_test_in_child(without_scan_nothing_is_huge);
}

/* One half populated with a huge page, the other with base pages. */
static void test_huge_counts_huge_pages(void)
{
    guint8 *addr = map_aligned(2 * HUGE_PAGE);
    int ret = hm_os_advise(addr, HUGE_PAGE, MADV_HUGEPAGE);
    gint64 huge;

    if (hm_test_missing(ret, "MADV_HUGEPAGE")) {
        return;
    }
    hm_os_advise(addr + HUGE_PAGE, HUGE_PAGE, MADV_NOHUGEPAGE);
    memset(addr, 1, 2 * HUGE_PAGE);
    huge = hm_os_huge(addr, 2 * HUGE_PAGE);
    if (huge == -EOPNOTSUPP || huge == 0) {
        g_test_skip(huge ? "PAGEMAP_SCAN is missing"
                         : "no huge page to be had");
        return;
    }
    g_assert_cmpint(huge, ==, HUGE_PAGE);
    g_assert_cmpint(hm_os_huge(addr + HUGE_PAGE, HUGE_PAGE), ==, 0);
    hm_os_unmap(addr, 2 * HUGE_PAGE);
}

static void test_populated_counts_the_zero_page(void)
{
    guint8 *addr = map_aligned(HUGE_PAGE);
    int ret;

    hm_os_advise(addr, HUGE_PAGE, MADV_HUGEPAGE);
    ret = hm_os_advise(addr, HUGE_PAGE, MADV_POPULATE_READ);
    if (hm_test_missing(ret, "MADV_POPULATE_READ")) {
        return;
    }
    g_assert_cmpint(hm_os_populated(addr, HUGE_PAGE), ==, (gint64)HUGE_PAGE);
    hm_os_unmap(addr, HUGE_PAGE);
}

static void test_populated_of_hugetlb(void)
{
    hm_autofd int fd = hm_os_memfd("test", MFD_HUGETLB);
    struct stat st;
    void *addr;

    if (fd < 0) {
        g_test_skip("no hugetlb");
        return;
    }
    g_assert_cmpint(hm_os_stat(fd, &st), ==, 0);
    g_assert_cmpint(hm_os_truncate(fd, 2 * (guint64)st.st_blksize), ==, 0);
    if (hm_os_map(NULL, 2 * (gsize)st.st_blksize, PROT_READ | PROT_WRITE,
                  MAP_SHARED, fd, 0, &addr) == -ENOMEM) {
        g_test_skip("fewer than two free huge pages");
        return;
    }
    g_assert_cmpint(hm_os_populated(addr, 2 * (gsize)st.st_blksize), ==, 0);
    *(guint8 *)addr = 1;
    g_assert_cmpint(hm_os_populated(addr, 2 * (gsize)st.st_blksize), ==,
                    (gint64)st.st_blksize);
    hm_os_unmap(addr, 2 * (gsize)st.st_blksize);
}

static void test_advise_vector_discards(void)
{
    gsize page = page_size();
    guint8 *addr = map_anon(4 * page);
    struct iovec ranges[] = {{addr, page}, {addr + 2 * page, page}};
    gssize ret;

    memset(addr, 1, 4 * page);
    ret = hm_os_advise_vector(ranges, 2, MADV_DONTNEED);
    if (hm_test_missing(ret, "process_madvise")) {
        return;
    }
    g_assert_cmpint(ret, ==, (gssize)(2 * page));
    g_assert_cmpuint(addr[0], ==, 0);
    g_assert_cmpuint(addr[page], ==, 1);
    g_assert_cmpuint(addr[2 * page], ==, 0);
    hm_os_unmap(addr, 4 * page);
}

static void test_bind_knows_the_nodes(void)
{
    gsize page = page_size();
    guint8 *addr = map_anon(page);
    g_autoptr(HmIdset) node = hm_idset_new();
    g_autoptr(HmIdset) none = hm_idset_new();
    int where = -1;
    void *pages[] = {addr};
    int ret;

    hm_idset_add(node, 0);
    ret = hm_os_bind(addr, page, MPOL_BIND, node, MPOL_MF_STRICT);
    if (hm_test_missing(ret, "mbind")) {
        return;
    }
    g_assert_cmpint(ret, ==, 0);
    addr[0] = 1;
    g_assert_cmpint(hm_os_page_nodes(pages, 1, &where), ==, 0);
    g_assert_cmpint(where, ==, 0);
    g_assert_cmpint(hm_os_bind(addr, page, MPOL_DEFAULT, none, 0), ==, 0);
    g_assert_cmpint(hm_os_bind(addr, page, MPOL_BIND, none, 0), ==, -EINVAL);
    hm_idset_remove(node, 0);
    hm_idset_add(node, HM_IDSET_MAX);
    g_assert_cmpint(hm_os_bind(addr, page, MPOL_BIND, node, 0), ==, -EINVAL);
    hm_os_unmap(addr, page);
}

static void test_page_nodes_tells_absent_pages(void)
{
    gsize page = page_size();
    guint8 *addr = map_anon(2 * page);
    void *pages[] = {addr, addr + page};
    int nodes[] = {-1, -1};
    int ret;

    hm_os_advise(addr, 2 * page, MADV_NOHUGEPAGE);
    addr[0] = 1;
    ret = hm_os_page_nodes(pages, 2, nodes);
    if (hm_test_missing(ret, "move_pages")) {
        return;
    }
    g_assert_cmpint(nodes[0], >=, 0);
    g_assert_cmpint(nodes[1], ==, -ENOENT);
    hm_os_unmap(addr, 2 * page);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/os-linux/map-fails-cleanly", test_map_fails_cleanly);
    g_test_add_func("/os-linux/move-takes-pages-along",
                    test_move_takes_pages_along);
    g_test_add_func("/os-linux/populated/counts-touched-pages",
                    test_populated_counts_touched_pages);
    g_test_add_func("/os-linux/populated/on-a-kernel-without-scan",
                    test_populated_on_a_kernel_without_scan);
    g_test_add_func("/os-linux/populated/ranges-are-offsets",
                    test_populated_ranges_are_offsets);
    g_test_add_func("/os-linux/populated/of-shared-memory-is-per-mapping",
                    test_populated_of_shared_memory_is_per_mapping);
    g_test_add_func("/os-linux/populated/of-private-file-mapping",
                    test_populated_of_private_file_mapping);
    g_test_add_func("/os-linux/populated/of-transparent-huge-page",
                    test_populated_of_transparent_huge_page);
    g_test_add_func("/os-linux/populated/counts-the-zero-page",
                    test_populated_counts_the_zero_page);
    g_test_add_func("/os-linux/populated/of-hugetlb",
                    test_populated_of_hugetlb);
    g_test_add_func("/os-linux/huge/needs-scan", test_huge_needs_scan);
    g_test_add_func("/os-linux/huge/counts-huge-pages",
                    test_huge_counts_huge_pages);
    g_test_add_func("/os-linux/advise-vector-discards",
                    test_advise_vector_discards);
    g_test_add_func("/os-linux/bind-knows-the-nodes",
                    test_bind_knows_the_nodes);
    g_test_add_func("/os-linux/page-nodes-tells-absent-pages",
                    test_page_nodes_tells_absent_pages);
    return g_test_run();
}
