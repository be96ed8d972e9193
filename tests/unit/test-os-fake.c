/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tests' own kernel: what other tests rely on. */
#include <errno.h>
#include <string.h>
#include "os-fake.h"
#include "util/autofd.h"
#include "util/size.h"

static void *map_page(void)
{
    void *addr = NULL;

    g_assert_cmpint(hm_os_map(NULL, hm_os_page_size(), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &addr),
                    ==, 0);
    return addr;
}

static int advise(void *addr, int advice)
{
    return hm_os_advise(addr, hm_os_page_size(), advice);
}

static void test_real_kernel_by_default(void)
{
    hm_autofd int fd = -1;
    guint8 *addr;

    hm_fake_reset();
    fd = hm_os_memfd("test", 0);
    g_assert_cmpint(fd, >=, 0);
    addr = map_page();
    addr[0] = 1;
    g_assert_cmpint(advise(addr, MADV_DONTNEED), ==, 0);
    g_assert_cmpuint(addr[0], ==, 0);
    hm_os_unmap(addr, hm_os_page_size());
}

static void test_the_nth_call_fails(void)
{
    hm_fake_reset();
    hm_fake_fail(HM_FAKE_UNLINK, 2, EROFS);
    g_assert_cmpint(hm_os_unlink("/nowhere/x"), ==, -ENOENT);
    g_assert_cmpint(hm_os_unlink("/nowhere/x"), ==, -EROFS);
    g_assert_cmpint(hm_os_unlink("/nowhere/x"), ==, -ENOENT);
}

static void test_several_failures_are_counted_apart(void)
{
    hm_fake_reset();
    hm_fake_fail(HM_FAKE_UNLINK, 1, EIO);
    hm_fake_fail(HM_FAKE_UNLINK, 3, EROFS);
    g_assert_cmpint(hm_os_unlink("/nowhere/x"), ==, -EIO);
    g_assert_cmpint(hm_os_unlink("/nowhere/x"), ==, -ENOENT);
    g_assert_cmpint(hm_os_unlink("/nowhere/x"), ==, -EROFS);
}

static void test_always_until_taken_back(void)
{
    hm_fake_reset();
    hm_fake_fail_always(HM_FAKE_UNLINK, EROFS);
    g_assert_cmpint(hm_os_unlink("/nowhere/x"), ==, -EROFS);
    g_assert_cmpint(hm_os_unlink("/nowhere/x"), ==, -EROFS);
    hm_fake_fail_always(HM_FAKE_UNLINK, 0);
    g_assert_cmpint(hm_os_unlink("/nowhere/x"), ==, -ENOENT);
}

static void test_advice_is_told_apart(void)
{
    void *addr;

    hm_fake_reset();
    addr = map_page();
    hm_fake_fail_advice(MADV_DONTNEED, 2, EAGAIN);
    g_assert_cmpint(advise(addr, MADV_DONTNEED), ==, 0);
    g_assert_cmpint(advise(addr, MADV_NORMAL), ==, 0);
    g_assert_cmpint(advise(addr, MADV_DONTNEED), ==, -EAGAIN);
    g_assert_cmpuint(hm_fake_count_advice(MADV_DONTNEED), ==, 2);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_ADVISE), ==, 3);
    hm_os_unmap(addr, hm_os_page_size());
}

static void test_unknown_advice(void)
{
    struct iovec range = {NULL, 0};
    void *addr;

    hm_fake_reset();
    addr = map_page();
    hm_fake_without_advice(MADV_DONTNEED);
    g_assert_cmpint(advise(addr, MADV_DONTNEED), ==, -EINVAL);
    g_assert_cmpint(hm_os_advise_vector(&range, 1, MADV_DONTNEED), ==, -EINVAL);
    hm_os_unmap(addr, hm_os_page_size());
}

static gint64 note_and_refuse(const HmFakeRecord *record, gpointer data)
{
    /* Goes to the real kernel, and neither counts nor comes here again. */
    g_assert_cmpint(hm_os_unlink("/nowhere/y"), ==, -ENOENT);
    g_assert_cmpstr(record->path, ==, "/nowhere/x");
    ++*(guint *)data;
    return -EBUSY;
}

static void test_a_hook_answers(void)
{
    guint n = 0;

    hm_fake_reset();
    hm_fake_hook(HM_FAKE_UNLINK, note_and_refuse, &n);
    g_assert_cmpint(hm_os_unlink("/nowhere/x"), ==, -EBUSY);
    g_assert_cmpuint(n, ==, 1);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_UNLINK), ==, 1);
    hm_fake_hook(HM_FAKE_UNLINK, NULL, NULL);
    g_assert_cmpint(hm_os_unlink("/nowhere/x"), ==, -ENOENT);
}

static void test_calls_are_recorded(void)
{
    hm_autofd int fd = -1;
    HmFakeRecord record;
    g_autofree char *sequence = NULL;

    hm_fake_reset();
    fd = hm_os_memfd("test", 0);
    hm_os_truncate(fd, 8192);
    hm_os_allocate(fd, 4096, 4096);
    g_assert_true(hm_fake_get_call(HM_FAKE_ALLOCATE, 1, &record));
    g_assert_cmpint(record.fd, ==, fd);
    g_assert_cmpuint(record.offset, ==, 4096);
    g_assert_cmpuint(record.length, ==, 4096);
    g_assert_false(hm_fake_get_call(HM_FAKE_ALLOCATE, 2, &record));
    sequence = hm_fake_sequence();
    g_assert_cmpstr(sequence, ==, "memfd truncate allocate");
}

static void test_a_failed_close_closes(void)
{
    int fd;

    hm_fake_reset();
    fd = hm_os_open("/dev/null", O_RDWR, 0);
    hm_fake_fail(HM_FAKE_CLOSE, 1, EIO);
    g_assert_cmpint(hm_os_close(fd), ==, -EIO);
    g_assert_cmpint(hm_os_close(fd), ==, -EBADF);
}

static void test_files_are_pretended(void)
{
    g_autofree char *text = NULL;
    char *none = NULL;

    hm_fake_reset();
    hm_fake_set_file("/sys/x/y", "hello\n");
    hm_fake_set_file("/proc/meminfo", NULL);
    g_assert_cmpint(hm_os_read_text("/sys/x/y", &text), ==, 0);
    g_assert_cmpstr(text, ==, "hello\n");
    g_assert_cmpint(hm_os_read_text("/proc/meminfo", &none), ==, -ENOENT);
    g_assert_null(none);
}

static void test_trees_are_hidden(void)
{
    g_auto(GStrv) names = NULL;
    char *text = NULL;

    hm_fake_reset();
    hm_fake_hide_tree("/proc/self");
    g_assert_cmpint(hm_os_read_text("/proc/self/status", &text), ==, -ENOENT);
    g_assert_cmpint(hm_os_list_dir("/proc/self", &names), ==, -ENOENT);
    hm_fake_set_file("/proc/self/b/c", "");
    hm_fake_set_file("/proc/self/a", "");
    g_assert_cmpint(hm_os_list_dir("/proc/self", &names), ==, 0);
    g_assert_cmpuint(g_strv_length(names), ==, 2);
    g_assert_cmpstr(names[0], ==, "a");
    g_assert_cmpstr(names[1], ==, "b");
    g_assert_cmpint(hm_os_read_text("/proc/selfish", &text), ==, -ENOENT);
}

/* Nodes of the pages of a range, as digits; '-' for one that is not there. */
static char *nodes_of(guint8 *addr, guint n)
{
    g_autofree void **pages = g_new(void *, n);
    g_autofree int *nodes = g_new(int, n);
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < n; i++) {
        pages[i] = addr + i * hm_os_page_size();
    }
    g_assert_cmpint(hm_os_page_nodes(pages, n, nodes), ==, 0);
    for (guint i = 0; i < n; i++) {
        g_string_append_c(text, nodes[i] < 0 ? '-' : (char)('0' + nodes[i]));
    }
    return g_string_free(text, FALSE);
}

static void test_pages_lie_where_they_were_bound(void)
{
    g_autoptr(HmIdset) two = hm_idset_parse("1,3", NULL);
    g_autoptr(HmIdset) one = hm_idset_parse("2", NULL);
    g_autoptr(HmIdset) wrong = hm_idset_parse("4", NULL);
    gsize page = hm_os_page_size();
    g_autofree char *where = NULL;
    g_autofree char *bound = NULL;
    void *memory = NULL;
    guint8 *addr;

    hm_fake_reset();
    hm_fake_set_nodes(4, 1, HM_GIB);
    hm_os_map(NULL, 8 * page, PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &memory);
    addr = memory;
    g_assert_cmpint(hm_os_advise(addr, 8 * page, MADV_NOHUGEPAGE), <=, 0);
    g_assert_cmpint(hm_os_bind(addr, 6 * page, MPOL_INTERLEAVE, two, 0), ==, 0);
    g_assert_cmpint(hm_os_bind(addr + 4 * page, page, MPOL_BIND, one, 0), ==,
                    0);
    g_assert_cmpint(hm_os_bind(addr, page, MPOL_BIND, wrong, 0), ==, -EINVAL);
    memset(addr, 1, 7 * page);
    where = nodes_of(addr, 8);
    g_assert_cmpstr(where, ==, "1313230-");
    bound = hm_fake_bound_to(addr);
    g_assert_cmpstr(bound, ==, "1,3");
    hm_os_unmap(addr, 8 * page);
}

static void test_affinity_among_pretended_cpus(void)
{
    g_autoptr(HmIdset) some = hm_idset_parse("5-9", NULL);
    g_autoptr(HmIdset) none = hm_idset_parse("8-9", NULL);
    g_autoptr(HmIdset) now = hm_idset_new();
    g_autofree char *text = NULL;

    hm_fake_reset();
    hm_fake_set_nodes(4, 2, HM_GIB);
    g_assert_cmpint(hm_os_set_affinity(0, none), ==, -EINVAL);
    g_assert_cmpint(hm_os_set_affinity(0, some), ==, 0);
    g_assert_cmpint(hm_os_get_affinity(0, now), ==, 0);
    text = hm_idset_to_string(now);
    g_assert_cmpstr(text, ==, "5-7");
}

static void test_the_clock_stands(void)
{
    hm_fake_reset();
    hm_fake_set_now(12345);
    g_assert_cmpint(hm_os_now(), ==, 12345);
    g_assert_cmpint(hm_os_now(), ==, 12345);
}

static void test_reset_forgets_all(void)
{
    struct statfs fs = {.f_type = 0x1234};
    struct statfs now = {0};
    hm_autofd int fd = -1;
    guint64 limit = 0;

    hm_fake_reset();
    hm_fake_set_statfs(&fs);
    hm_fake_set_limit(RLIMIT_NOFILE, 3);
    hm_fake_set_now(5);
    hm_fake_fail_always(HM_FAKE_OPEN, EMFILE);
    hm_fake_reset();
    fd = hm_os_open("/proc", O_RDONLY, 0);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(hm_os_statfs(fd, &now), ==, 0);
    g_assert_cmpint((gint64)now.f_type, !=, 0x1234);
    g_assert_cmpint(hm_os_get_limit(RLIMIT_NOFILE, &limit), ==, 0);
    g_assert_cmpuint(limit, !=, 3);
    g_assert_cmpint(hm_os_now(), !=, 5);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_OPEN), ==, 1);
}

/* How many of its calls failed with EIO. */
static gpointer unlink_often(gpointer data G_GNUC_UNUSED)
{
    guint n = 0;

    for (guint i = 0; i < 200; i++) {
        n += hm_os_unlink("/nowhere/x") == -EIO;
    }
    return GUINT_TO_POINTER(n);
}

static void test_threads_are_counted_together(void)
{
    GThread *threads[4];
    guint n = 0;

    hm_fake_reset();
    hm_fake_fail(HM_FAKE_UNLINK, 500, EIO);
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++) {
        threads[i] = g_thread_new("unlink", unlink_often, NULL);
    }
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++) {
        n += GPOINTER_TO_UINT(g_thread_join(threads[i]));
    }
    g_assert_cmpuint(n, ==, 1);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_UNLINK), ==, 800);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/os-fake/real-kernel-by-default",
                    test_real_kernel_by_default);
    g_test_add_func("/os-fake/the-nth-call-fails", test_the_nth_call_fails);
    g_test_add_func("/os-fake/several-failures-are-counted-apart",
                    test_several_failures_are_counted_apart);
    g_test_add_func("/os-fake/always-until-taken-back",
                    test_always_until_taken_back);
    g_test_add_func("/os-fake/advice-is-told-apart", test_advice_is_told_apart);
    g_test_add_func("/os-fake/unknown-advice", test_unknown_advice);
    g_test_add_func("/os-fake/a-hook-answers", test_a_hook_answers);
    g_test_add_func("/os-fake/calls-are-recorded", test_calls_are_recorded);
    g_test_add_func("/os-fake/a-failed-close-closes",
                    test_a_failed_close_closes);
    g_test_add_func("/os-fake/files-are-pretended", test_files_are_pretended);
    g_test_add_func("/os-fake/trees-are-hidden", test_trees_are_hidden);
    g_test_add_func("/os-fake/pages-lie-where-they-were-bound",
                    test_pages_lie_where_they_were_bound);
    g_test_add_func("/os-fake/affinity-among-pretended-cpus",
                    test_affinity_among_pretended_cpus);
    g_test_add_func("/os-fake/the-clock-stands", test_the_clock_stands);
    g_test_add_func("/os-fake/reset-forgets-all", test_reset_forgets_all);
    g_test_add_func("/os-fake/threads-are-counted-together",
                    test_threads_are_counted_together);
    return g_test_run();
}
