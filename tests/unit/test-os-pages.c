/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What page tables say and what is locked, on the real kernel. */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include "os-test.h"
#include "util/autofd.h"
#include "util/os.h"
#include "util/size.h"

#define N_PAGES 8 /* less than any limit of locked memory */

static guint8 *map_memory(int flags, int fd)
{
    gsize length = N_PAGES * hm_os_page_size();
    void *addr = NULL;

    g_assert_cmpint(
        hm_os_map(NULL, length, PROT_READ | PROT_WRITE, flags, fd, 0, &addr),
        ==, 0);
    return addr;
}

static guint8 *map_anon(void)
{
    return map_memory(MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static void unmap(guint8 *addr)
{
    hm_os_unmap(addr, N_PAGES * hm_os_page_size());
}

/* Counting */

/* Of pages 0 to 3 two are written, one is read. */
static void count(HmPageCounts *counts)
{
    const gsize page = hm_os_page_size();
    guint8 *addr = map_anon();

    addr[0] = 1;
    addr[page] = 1;
    g_assert_cmpuint(*(volatile guint8 *)(addr + 2 * page), ==, 0);
    g_assert_cmpint(hm_os_count_pages(addr, N_PAGES * page, counts), ==, 0);
    unmap(addr);
}

static void test_counts(void)
{
    const gsize page = hm_os_page_size();
    HmPageCounts counts;

    count(&counts);
    g_assert_cmpuint(counts.populated, ==, 3 * page);
    g_assert_cmpuint(counts.resident, ==, 2 * page);
    g_assert_cmpuint(counts.huge, ==, 0);
}

static void without_scan(void)
{
    const gsize page = hm_os_page_size();
    HmPageCounts counts;

    hm_test_deny(SYS_ioctl, 1, (guint32)PAGEMAP_SCAN, ENOTTY);
    count(&counts);
    g_assert_cmpuint(counts.populated, ==, 3 * page);
    g_assert_cmpuint(counts.resident, ==, 3 * page);
}

static void test_counts_on_a_kernel_without_scan(void)
{
    hm_test_in_child(without_scan);
}

static void test_counts_nothing(void)
{
    guint8 *addr = map_anon();
    HmPageCounts counts = {1, 1, 1};

    g_assert_cmpint(hm_os_count_pages(addr, hm_os_page_size(), &counts), ==, 0);
    g_assert_cmpuint(counts.populated + counts.resident + counts.huge, ==, 0);
    unmap(addr);
}

/* Marks */

/* Protected pages that are not there are told from what is there, also where it
 * was swapped out; which takes a host with swap. */
static void check_marks(guint64 mark)
{
    const gsize page = hm_os_page_size();
    g_autoptr(HmRangeList) kept = hm_range_list_new();
    hm_autofd int fd = hm_os_faultfd(UFFD_FEATURE_PAGEFAULT_FLAG_WP |
                                     UFFD_FEATURE_WP_UNPOPULATED);
    guint8 *addr = map_anon();

    g_assert_cmpint(fd, >=, 0);
    memset(addr + page, 1, 2 * page);
    g_assert_cmpint(hm_os_faultfd_register(fd, addr, N_PAGES * page), ==, 0);
    g_assert_cmpint(hm_os_write_protect(fd, addr, N_PAGES * page, TRUE), ==, 0);
    hm_os_advise(addr + page, page, MADV_PAGEOUT);
    g_assert_cmpint(hm_os_populated(addr, N_PAGES * page), ==,
                    (gint64)(N_PAGES * page));
    g_assert_cmpint(hm_os_kept_ranges(addr, N_PAGES * page, mark, kept), ==, 0);
    g_assert_cmpuint(kept->len, ==, 1);
    g_assert_cmpuint(hm_range_list_get(kept, 0)->offset, ==, page);
    g_assert_cmpuint(hm_range_list_get(kept, 0)->length, ==, 2 * page);
    unmap(addr);
}

static void test_marks_are_no_pages(void)
{
    guint64 mark = 0;
    int ret = hm_os_fault_mark(&mark);

    if (ret == -EPERM || ret == -EACCES || ret == -EINVAL || ret == -ENOSYS) {
        g_test_skip("marks are told of with CAP_SYS_ADMIN, from Linux 6.4 on");
        return;
    }
    g_assert_cmpint(ret, ==, 0);
    g_assert_cmpuint(mark, !=, 0);
    check_marks(mark);
}

/* Locking */

static gboolean lock(guint8 *addr, gsize length)
{
    int ret = hm_os_mlock(addr, length);

    if (ret == -EPERM || ret == -ENOMEM || ret == -EINVAL) { /* valgrind */
        g_test_skip("no memory may be locked here");
        return FALSE;
    }
    g_assert_cmpint(ret, ==, 0);
    return TRUE;
}

static void test_lock_populates_nothing(void)
{
    const gsize length = N_PAGES * hm_os_page_size();
    guint8 *addr = map_anon();

    g_assert_cmpint(hm_os_is_mlocked(addr, length), ==, 0);
    if (lock(addr, length)) {
        g_assert_cmpint(hm_os_is_mlocked(addr, length), ==, 1);
        g_assert_cmpint(hm_os_populated(addr, length), ==, 0);
        g_assert_cmpint(hm_os_munlock(addr, length), ==, 0);
        g_assert_cmpint(hm_os_is_mlocked(addr, length), ==, 0);
    }
    unmap(addr);
}

static void test_a_part_is_locked(void)
{
    const gsize page = hm_os_page_size();
    guint8 *addr = map_anon();

    if (lock(addr + 2 * page, page)) {
        g_assert_cmpint(hm_os_is_mlocked(addr, N_PAGES * page), ==, 1);
        g_assert_cmpint(hm_os_is_mlocked(addr, 2 * page), ==, 0);
    }
    unmap(addr);
}

/* To ask must not be to write back, or to throw away. */
static void test_asking_keeps_a_file_as_it_is(void)
{
    const gsize length = N_PAGES * hm_os_page_size();
    hm_autofd int fd = hm_os_memfd("test", 0);
    guint8 *addr;

    g_assert_cmpint(hm_os_truncate(fd, length), ==, 0);
    addr = map_memory(MAP_SHARED, fd);
    memset(addr, 'x', length);
    g_assert_cmpint(hm_os_is_mlocked(addr, length), ==, 0);
    g_assert_cmpint(hm_os_populated(addr, length), ==, (gint64)length);
    g_assert_cmpuint(addr[length - 1], ==, 'x');
    unmap(addr);
}

/* Time */

static void test_thread_time_grows(void)
{
    gint64 start = hm_os_thread_time();

    while (hm_os_thread_time() == start) {
    }
    g_assert_cmpint(hm_os_thread_time(), >, start);
}

static void add(const char *path, void (*test)(void))
{
    g_test_add_func(path, test);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/os-pages/counts", test_counts);
    add("/os-pages/counts-on-a-kernel-without-scan",
        test_counts_on_a_kernel_without_scan);
    add("/os-pages/counts-nothing", test_counts_nothing);
    add("/os-pages/marks-are-no-pages", test_marks_are_no_pages);
    add("/os-pages/lock-populates-nothing", test_lock_populates_nothing);
    add("/os-pages/a-part-is-locked", test_a_part_is_locked);
    add("/os-pages/asking-keeps-a-file-as-it-is",
        test_asking_keeps_a_file_as_it_is);
    add("/os-pages/thread-time-grows", test_thread_time_grows);
    return g_test_run();
}
