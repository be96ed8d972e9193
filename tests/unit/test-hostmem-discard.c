/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <hostmem/backend.h>
#include "object-test.h"
#include "os-fake.h"
#include "util/size.h"

/* Giving memory of a backend back. */

static HostmemBackend *make_1m(void)
{
    return hm_test_make("memory-backend-ram,id=m0,size=1M");
}

static void test_discard(void)
{
    g_autoptr(HostmemBackend) ram = make_1m();
    guint8 *addr = hostmem_backend_get_host_addr(ram);
    g_autoptr(GError) error = NULL;

    memset(addr, 1, HM_MIB);
    hostmem_backend_discard(ram, 4096, 8192, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(addr[0], ==, 1);
    g_assert_cmpuint(addr[4096], ==, 0);
    g_assert_cmpuint(addr[4096 + 8191], ==, 0);
    g_assert_cmpuint(addr[4096 + 8192], ==, 1);
}

static void test_discard_bad_range(void)
{
    static const struct {
        guint64 offset;
        guint64 length;
    } ranges[] = {
        {0, 0},
        {1, 4096},
        {0, 4095},
        {HM_MIB, 4096},
        {HM_MIB - 4096, 8192},
        {4096, G_MAXUINT64},
        {G_MAXUINT64 - 4095, 4096},
    };
    g_autoptr(HostmemBackend) ram = make_1m();

    for (gsize i = 0; i < G_N_ELEMENTS(ranges); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(hostmem_backend_discard(ram, ranges[i].offset,
                                               ranges[i].length, &error));
        g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    }
}

static void test_discard_last_part(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=5000");
    guint8 *addr = hostmem_backend_get_host_addr(ram);

    memset(addr, 1, 8192);
    g_assert_true(hostmem_backend_discard(ram, 4096, 5000 - 4096, NULL));
    g_assert_cmpuint(addr[4096], ==, 0);
}

/* Many ranges: each is two pages of 16, written as its first page. */

#define PAGE    4096
#define N_PAGES 16
#define MAX_FEW 4

static gboolean discard_pairs(HostmemBackend *backend, const guint *first,
                              guint n, guint64 *reached, GError **error)
{
    HostmemRange ranges[MAX_FEW];

    g_assert_cmpuint(n, <=, MAX_FEW);
    for (guint i = 0; i < n; i++) {
        ranges[i] = (HostmemRange){first[i] * PAGE, 2 * PAGE};
    }
    return hostmem_backend_discard_ranges(backend, ranges, n, reached, error);
}

/* 'x' for a page as it was filled, '.' for one that reads as zeroes. */
static void assert_pages(HostmemBackend *backend, const char *expected)
{
    const char *addr = hostmem_backend_get_host_addr(backend);
    char found[N_PAGES + 1] = {0};

    for (guint i = 0; i < N_PAGES; i++) {
        found[i] = addr[i * PAGE] ? addr[i * PAGE] : '.';
    }
    g_assert_cmpstr(found, ==, expected);
}

static HostmemBackend *make_pages(const char *options)
{
    HostmemBackend *backend = hm_test_make(options);

    memset(hostmem_backend_get_host_addr(backend), 'x', N_PAGES * PAGE);
    return backend;
}

static void test_ranges(void)
{
    static const guint first[] = {8, 1, 9, 3}; /* they touch and overlap */
    g_autoptr(HostmemBackend) ram =
        make_pages("memory-backend-ram,id=m0,size=64K");
    g_autoptr(GError) error = NULL;
    guint64 reached;

    discard_pairs(ram, first, 4, &reached, &error);
    g_assert_no_error(error);
    assert_pages(ram, "x....xxx...xxxxx");
    g_assert_cmpuint(reached, ==, 11 * PAGE);
}

static void test_ranges_of_shared_memory(void)
{
    static const guint first[] = {8, 1, 9, 3};
    g_autoptr(HostmemBackend) memfd =
        make_pages("memory-backend-memfd,id=m0,size=64K");
    guint punched = hm_fake_count(HM_FAKE_PUNCH);
    g_autoptr(GError) error = NULL;

    discard_pairs(memfd, first, 4, NULL, &error);
    g_assert_no_error(error);
    assert_pages(memfd, "x....xxx...xxxxx");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_PUNCH) - punched, ==, 2);
}

static void test_ranges_of_a_private_file(void)
{
    static const guint first[] = {8, 1};
    g_autofree char *path = g_build_filename(hm_test_folder(), "private", NULL);
    g_autofree char *options =
        g_strdup_printf("memory-backend-file,id=m0,size=64K,mem-path=%s", path);
    g_autofree char *filled = g_strnfill(N_PAGES * PAGE, 'f');
    g_autofree char *after = NULL;
    g_autoptr(HostmemBackend) file = NULL;
    g_autoptr(GError) error = NULL;
    gsize length;

    g_file_set_contents(path, filled, N_PAGES * PAGE, &error);
    g_assert_no_error(error);
    file = make_pages(options);
    discard_pairs(file, first, 2, NULL, &error);
    g_assert_no_error(error);
    assert_pages(file, "xffxxxxxffxxxxxx");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_PUNCH), ==, 0);
    g_file_get_contents(path, &after, &length, &error);
    g_assert_no_error(error);
    g_assert_cmpmem(after, length, filled, N_PAGES * PAGE);
}

static void test_ranges_up_to_the_end(void)
{
    const HostmemRange ranges[] = {{0, PAGE}, {PAGE, 5000 - PAGE}};
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=5000");
    guint8 *addr = hostmem_backend_get_host_addr(ram);
    guint64 reached;

    memset(addr, 1, 2 * PAGE);
    g_assert_true(
        hostmem_backend_discard_ranges(ram, ranges, 2, &reached, NULL));
    g_assert_cmpuint(addr[0] + addr[PAGE], ==, 0);
    g_assert_cmpuint(reached, ==, 2 * PAGE);
}

static void test_no_ranges(void)
{
    g_autoptr(HostmemBackend) ram = make_1m();
    guint64 reached = 1;

    g_assert_true(hostmem_backend_discard_ranges(ram, NULL, 0, &reached, NULL));
    g_assert_cmpuint(reached, ==, 0);
}

static void test_bad_range_spoils_all(void)
{
    static const guint first[] = {1, 15}; /* the second ends too late */
    g_autoptr(HostmemBackend) ram =
        make_pages("memory-backend-ram,id=m0,size=64K");
    g_autoptr(GError) error = NULL;
    guint64 reached = 1;

    g_assert_false(discard_pairs(ram, first, 2, &reached, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    g_assert_cmpuint(reached, ==, 0);
    assert_pages(ram, "xxxxxxxxxxxxxxxx");
}

static void test_ranges_tell_how_far_they_got(void)
{
    static const guint first[] = {12, 8, 4, 0};
    g_autoptr(HostmemBackend) memfd =
        make_pages("memory-backend-memfd,id=m0,size=64K");
    g_autoptr(GError) error = NULL;
    guint64 reached;

    hm_fake_fail(HM_FAKE_PUNCH, 3, EIO);
    g_assert_false(discard_pairs(memfd, first, 4, &reached, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM);
    g_assert_cmpuint(reached, ==, 8 * PAGE);
    assert_pages(memfd, "..xx..xxxxxxxxxx");
}

#define N_MANY 131072

/* Microseconds of a CPU for every other page of 1 GiB. */
static gint64 time_of_many(HostmemBackend *backend, gboolean from_the_end)
{
    g_autofree HostmemRange *ranges = g_new(HostmemRange, N_MANY);
    g_autoptr(GError) error = NULL;
    gint64 began;

    for (guint i = 0; i < N_MANY; i++) {
        const guint64 at = from_the_end ? N_MANY - 1 - i : i;

        ranges[i] = (HostmemRange){at * 2 * PAGE, PAGE};
    }
    began = hm_os_thread_time();
    hostmem_backend_discard_ranges(backend, ranges, N_MANY, NULL, &error);
    g_assert_no_error(error);
    return hm_os_thread_time() - began;
}

/* A client that names them from the end on must not keep us for minutes. */
static void test_order_costs_nothing(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=1G,reserve=off");
    const gint64 usual = time_of_many(ram, FALSE);

    g_assert_cmpint(time_of_many(ram, TRUE), <, 16 * usual);
}

static const HmTest tests[] = {
    {"/hostmem-discard/range", test_discard},
    {"/hostmem-discard/bad-range", test_discard_bad_range},
    {"/hostmem-discard/last-part", test_discard_last_part},
    {"/hostmem-discard/ranges", test_ranges},
    {"/hostmem-discard/ranges-of-shared-memory", test_ranges_of_shared_memory},
    {"/hostmem-discard/ranges-of-a-private-file",
     test_ranges_of_a_private_file},
    {"/hostmem-discard/ranges-up-to-the-end", test_ranges_up_to_the_end},
    {"/hostmem-discard/no-ranges", test_no_ranges},
    {"/hostmem-discard/bad-range-spoils-all", test_bad_range_spoils_all},
    {"/hostmem-discard/ranges-tell-how-far", test_ranges_tell_how_far_they_got},
    {"/hostmem-discard/order-costs-nothing", test_order_costs_nothing},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
