/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <hostmem/backend.h>
#include "object-test.h"
#include "os-fake.h"
#include "util/hostcaps.h"
#include "util/size.h"

/* What all backends have in common, tried on private anonymous memory. */

static HostmemBackend *make_1m(void)
{
    return hm_test_make("memory-backend-ram,id=m0,size=1M");
}

/* Properties */

static void test_defaults(void)
{
    g_autoptr(HostmemBackend) ram = make_1m();

    hm_test_assert_reads(ram, "size", "1048576");
    hm_test_assert_reads(ram, "merge", "true");
    hm_test_assert_reads(ram, "dump", "true");
    hm_test_assert_reads(ram, "prealloc", "false");
    hm_test_assert_reads(ram, "prealloc-threads", "0");
    hm_test_assert_reads(ram, "threads", "0");
    hm_test_assert_reads(ram, "prealloc-context", "\"\"");
    hm_test_assert_reads(ram, "prealloc-check", "true");
    hm_test_assert_reads(ram, "share", "false");
    hm_test_assert_reads(ram, "reserve", "true");
    hm_test_assert_reads(ram, "host-nodes", "[]");
    hm_test_assert_reads(ram, "policy", "\"default\"");
    hm_test_assert_reads(ram, "x-use-canonical-path-for-ramblock-id", "false");
}

static void test_computed(void)
{
    g_autoptr(HostmemBackend) ram = make_1m();

    hm_test_assert_reads(ram, "populated-size", "0");
    hm_test_assert_reads(ram, "backed-size", "0");
    hm_test_assert_reads(ram, "page-size", "4096");
    hm_test_assert_reads(ram, "prealloc-method", "\"\"");
    memset(hostmem_backend_get_host_addr(ram), 1, 8192);
    g_assert_cmpuint(hm_test_read_number(ram, "populated-size"), >=, 8192);
    g_assert_cmpuint(hm_test_read_number(ram, "backed-size"), >=, 8192);
}

static void test_getters(void)
{
    g_autoptr(HostmemBackend) ram = make_1m();

    g_assert_nonnull(hostmem_backend_get_host_addr(ram));
    g_assert_cmpuint(hostmem_backend_get_size(ram), ==, HM_MIB);
    g_assert_cmpuint(hostmem_backend_get_page_size(ram), ==, 4096);
    g_assert_cmpint(hostmem_backend_get_fd(ram), ==, -1);
    g_assert_cmpuint(hostmem_backend_get_fd_offset(ram), ==, 0);
    g_assert_false(hostmem_backend_get_share(ram));
}

static void test_getters_before_creation(void)
{
    g_autoptr(HostmemBackend) ram =
        g_object_new(HOSTMEM_TYPE_BACKEND_RAM, "size", (guint64)HM_MIB, NULL);

    g_assert_null(hostmem_backend_get_host_addr(ram));
    g_assert_cmpuint(hostmem_backend_get_size(ram), ==, HM_MIB);
    g_assert_cmpint(hostmem_backend_get_fd(ram), ==, -1);
    hm_test_assert_reads(ram, "page-size", "0");
    hm_test_assert_reads(ram, "populated-size", "0");
    hm_test_assert_reads(ram, "backed-size", "0");
}

static void test_any_size(void)
{
    g_autoptr(HostmemBackend) one =
        hm_test_make("memory-backend-ram,id=m0,size=1");
    g_autoptr(HostmemBackend) odd =
        hm_test_make("memory-backend-ram,id=m1,size=5000");
    g_autoptr(HostmemBackend) shared =
        hm_test_make("memory-backend-ram,id=m2,size=5000,share=on");

    hm_test_assert_reads(one, "size", "1");
    hm_test_assert_reads(odd, "size", "5000");
    hm_test_assert_reads(shared, "size", "5000");
    memset(hostmem_backend_get_host_addr(odd), 1, 8192);
    memset(hostmem_backend_get_host_addr(shared), 1, 8192);
}

static void test_guard_page(void)
{
    HmFakeRecord reserve, activate;
    g_autoptr(HostmemBackend) ram = make_1m();

    g_assert_true(hm_fake_get_call(HM_FAKE_MAP, 1, &reserve));
    g_assert_true(hm_fake_get_call(HM_FAKE_MAP, 2, &activate));
    g_assert_cmpuint(reserve.length, >, activate.length);
    g_assert_cmpuint(activate.length, ==, HM_MIB);
}

/* Sharing */

static void test_share(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=1M,share=on");
    int fd = hostmem_backend_get_fd(ram);
    guint8 *other;

    g_assert_true(hostmem_backend_get_share(ram));
    g_assert_cmpint(fd, >=, 0);
    other = mmap(NULL, HM_MIB, PROT_READ, MAP_SHARED, fd, 0);
    g_assert_true(other != MAP_FAILED);
    *(guint8 *)hostmem_backend_get_host_addr(ram) = 42;
    g_assert_cmpuint(*other, ==, 42);
    munmap(other, HM_MIB);
}

static void test_share_without_memfd(void)
{
    g_autoptr(HostmemBackend) ram = NULL;

    hm_fake_fail_always(HM_FAKE_MEMFD, ENOSYS);
    ram = hm_test_make("memory-backend-ram,id=m0,size=1M,share=on");
    g_assert_cmpint(hostmem_backend_get_fd(ram), >=, 0);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_SHM), ==, 1);
}

/* Errors */

static void test_bad_sizes(void)
{
    hm_test_assert_make_fails(
        "memory-backend-ram,id=m0,size=0", HOSTMEM_ERROR_INVALID,
        "property 'size' of memory-backend-ram doesn't take value '0'");
    hm_test_assert_make_fails("memory-backend-ram,id=m0", HOSTMEM_ERROR_INVALID,
                              "Parameter 'size' is missing");
    hm_test_assert_make_fails("memory-backend-ram,id=m0,size=10X",
                              HOSTMEM_ERROR_INVALID,
                              "Parameter 'size' expects a size value");
    hm_test_assert_make_fails("memory-backend-ram,id=m0,size=-1",
                              HOSTMEM_ERROR_INVALID, "Parameter 'size'");
    hm_test_assert_make_fails("{\"qom-type\": \"memory-backend-ram\", "
                              "\"id\": \"m0\", \"size\": \"64M\"}",
                              HOSTMEM_ERROR_INVALID,
                              "Parameter 'size' expects uint64");
    hm_test_assert_make_fails(
        "memory-backend-ram,id=m0,size=0x7ffffffffffff000",
        HOSTMEM_ERROR_INVALID, "no host has that much memory");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MAP), ==, 0);
}

/* What a GObject user can pass and no text can. */
static void test_bad_sizes_of_gobject(void)
{
    const guint64 sizes[] = {0, G_MAXUINT64, G_MAXUINT64 - 4095,
                             G_GUINT64_CONSTANT(1) << 63};

    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(g_initable_new(HOSTMEM_TYPE_BACKEND_RAM, NULL, &error,
                                     "size", sizes[i], NULL));
        g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    }
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MAP), ==, 0);
}

static void test_where_a_guest_has_it(void)
{
    g_autoptr(HostmemBackend) plain =
        hm_test_make("memory-backend-ram,id=m0,size=1M");
    g_autoptr(HostmemBackend) placed = hm_test_make(
        "memory-backend-ram,id=m0,size=1M,guest-addr=0x140000000,guest-node=2");

    hm_test_assert_reads(plain, "guest-addr", "-1");
    hm_test_assert_reads(plain, "guest-node", "-1");
    g_assert_cmpint(hostmem_backend_get_guest_address(plain), ==, -1);
    g_assert_cmpint(hostmem_backend_get_guest_node(plain), ==, -1);
    hm_test_assert_reads(placed, "guest-addr", "5368709120");
    g_assert_cmpint(hostmem_backend_get_guest_address(placed), ==,
                    5 * (gint64)HM_GIB);
    g_assert_cmpint(hostmem_backend_get_guest_node(placed), ==, 2);
}

static void test_where_no_guest_has_it(void)
{
    static const char *const wrong[][2] = {
        {"guest-addr=-2", "Parameter 'guest-addr' expects an address"},
        {"guest-addr=0x7ffffffffff00001", "behind it below 2^63"},
        {"guest-node=-2", "Parameter 'guest-node' expects a number from 0 to"},
        {"guest-node=4294967296", "4294967295, or -1"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autofree char *options =
            g_strconcat("memory-backend-ram,id=m0,size=1M,", wrong[i][0], NULL);

        hm_test_assert_make_fails(options, HOSTMEM_ERROR_INVALID, wrong[i][1]);
    }
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MAP), ==, 0);
}

static void test_no_address_space(void)
{
    hm_fake_fail(HM_FAKE_MAP, 1, ENOMEM);
    hm_test_assert_make_fails(
        "memory-backend-ram,id=huge4,size=1M", HOSTMEM_ERROR_NO_MEMORY,
        "cannot set up guest memory 'huge4': Cannot allocate memory");
}

static void test_prealloc_without_reserve(void)
{
    hm_test_assert_make_fails(
        "memory-backend-ram,id=m0,size=1M,prealloc=on,reserve=off",
        HOSTMEM_ERROR_INVALID,
        "'prealloc=on' and 'reserve=off' are incompatible");
}

/* (transfer full): the kernel's flags of the mapping at @addr, "rd wr mr". */
static char *flags_of_mapping(gpointer addr)
{
    g_autofree char *start = g_strdup_printf("%zx-", (guintptr)addr);
    g_autofree char *text = NULL;
    const char *flags;

    g_assert_true(g_file_get_contents("/proc/self/smaps", &text, NULL, NULL));
    flags = strstr(strstr(text, start), "VmFlags:");
    return g_strndup(flags, strcspn(flags, "\n"));
}

static void test_reserve_off(void)
{
    g_autoptr(HostmemBackend) on = make_1m();
    g_autoptr(HostmemBackend) off =
        hm_test_make("memory-backend-ram,id=m0,size=1M,reserve=off");
    g_autofree char *on_flags =
        flags_of_mapping(hostmem_backend_get_host_addr(on));
    g_autofree char *off_flags =
        flags_of_mapping(hostmem_backend_get_host_addr(off));

    hm_test_assert_reads(off, "reserve", "false");
    g_assert_null(strstr(on_flags, " nr"));
    g_assert_nonnull(strstr(off_flags, " nr"));
}

static void test_strict_overcommit(void)
{
    hm_fake_set_file("/proc/sys/vm/overcommit_memory", "2\n");
    hm_test_assert_make_fails(
        "memory-backend-ram,id=m0,size=1M,reserve=off", HOSTMEM_ERROR_LIMIT,
        "Skipping reservation of swap space is not supported");
}

static void test_cancelled_before(void)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GError) error = NULL;

    g_cancellable_cancel(cancellable);
    g_assert_null(hm_test_try_make("memory-backend-ram,id=m0,size=1M",
                                   cancellable, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MAP), ==, 0);
}

/* Advice */

static void test_advice(void)
{
    g_autoptr(HostmemBackend) ram = make_1m();

    g_assert_cmpuint(hm_fake_count_advice(MADV_HUGEPAGE), ==, 1);
    g_assert_cmpuint(hm_fake_count_advice(MADV_DONTFORK), ==, 1);
    g_assert_cmpuint(hm_fake_count_advice(MADV_MERGEABLE), ==, 1);
    g_assert_cmpuint(hm_fake_count_advice(MADV_DONTDUMP), ==, 0);
}

static void test_advice_turned_around(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=1M,merge=off,dump=off");

    g_assert_cmpuint(hm_fake_count_advice(MADV_MERGEABLE), ==, 0);
    g_assert_cmpuint(hm_fake_count_advice(MADV_DONTDUMP), ==, 1);
}

static void test_advice_may_fail(void)
{
    g_autoptr(HostmemBackend) ram = NULL;

    hm_fake_fail_always(HM_FAKE_ADVISE, EINVAL);
    ram = hm_test_make("memory-backend-ram,id=m0,size=1M,dump=off");
    g_assert_nonnull(ram);
}

/* Changes of a live backend */

static void test_change_dump(void)
{
    g_autoptr(HostmemBackend) ram = make_1m();

    hm_test_assert_set(ram, "dump", "off");
    g_assert_cmpuint(hm_fake_count_advice(MADV_DONTDUMP), ==, 1);
    hm_test_assert_reads(ram, "dump", "false");
    hm_test_assert_set(ram, "dump", "on");
    g_assert_cmpuint(hm_fake_count_advice(MADV_DODUMP), ==, 1);
}

static void test_change_merge(void)
{
    g_autoptr(HostmemBackend) ram = make_1m();

    hm_test_assert_set(ram, "merge", "off");
    g_assert_cmpuint(hm_fake_count_advice(MADV_UNMERGEABLE), ==, 1);
    hm_test_assert_reads(ram, "merge", "false");
    if (hm_hostcaps_get()->merge) {
        hm_test_assert_set(ram, "merge", "on");
        hm_test_assert_reads(ram, "merge", "true");
    } else {
        hm_test_assert_set_fails(
            ram, "merge", "on", HOSTMEM_ERROR_UNSUPPORTED,
            "Memory merging is not supported on this host");
    }
}

static void test_change_threads(void)
{
    g_autoptr(HostmemBackend) ram = make_1m();

    hm_test_assert_set(ram, "threads", "3");
    hm_test_assert_reads(ram, "prealloc-threads", "3");
    hm_test_assert_set(ram, "prealloc-threads", "0");
    hm_test_assert_reads(ram, "threads", "0");
}

static void test_unchangeable(void)
{
    static const char *const properties[] = {"share", "reserve"};
    g_autoptr(HostmemBackend) ram = make_1m();

    for (gsize i = 0; i < G_N_ELEMENTS(properties); i++) {
        g_autofree char *message = g_strdup_printf(
            "cannot change property '%s' of memory-backend-ram.",
            properties[i]);

        hm_test_assert_set_fails(ram, properties[i], "on",
                                 HOSTMEM_ERROR_PERMISSION, message);
    }
    hm_test_assert_set_fails(
        ram, "size", "2M", HOSTMEM_ERROR_PERMISSION,
        "cannot change property size of memory-backend-ram ");
    hm_test_assert_set_fails(
        ram, "policy", "bind", HOSTMEM_ERROR_PERMISSION,
        "cannot change property 'policy' of memory-backend-ram.");
    hm_test_assert_set_fails(
        ram, "host-nodes", "0", HOSTMEM_ERROR_PERMISSION,
        "cannot change property 'host-nodes' of memory-backend-ram.");
}

/* The end */

static void test_unmapped_by_last_unref(void)
{
    const guint64 size = HM_TEST_ODD_SIZE;
    guint fds = hm_test_count_fds();
    HostmemBackend *ram =
        hm_test_make("memory-backend-ram,id=m0,size=17412K,share=on");

    g_assert_cmpuint(hm_test_count_mappings(size), ==, 1);
    g_object_unref(ram);
    g_assert_cmpuint(hm_test_count_mappings(size), ==, 0);
    g_assert_cmpuint(hm_test_count_fds(), ==, fds);
}

static const HmTest tests[] = {
    {"/hostmem/defaults", test_defaults},
    {"/hostmem/computed", test_computed},
    {"/hostmem/getters", test_getters},
    {"/hostmem/getters-before-creation", test_getters_before_creation},
    {"/hostmem/any-size", test_any_size},
    {"/hostmem/guard-page", test_guard_page},
    {"/hostmem/share", test_share},
    {"/hostmem/share-without-memfd", test_share_without_memfd},
    {"/hostmem/bad-sizes", test_bad_sizes},
    {"/hostmem/bad-sizes-of-gobject", test_bad_sizes_of_gobject},
    {"/hostmem/where-a-guest-has-it", test_where_a_guest_has_it},
    {"/hostmem/where-no-guest-has-it", test_where_no_guest_has_it},
    {"/hostmem/no-address-space", test_no_address_space},
    {"/hostmem/prealloc-without-reserve", test_prealloc_without_reserve},
    {"/hostmem/reserve-off", test_reserve_off},
    {"/hostmem/strict-overcommit", test_strict_overcommit},
    {"/hostmem/cancelled-before", test_cancelled_before},
    {"/hostmem/advice", test_advice},
    {"/hostmem/advice-turned-around", test_advice_turned_around},
    {"/hostmem/advice-may-fail", test_advice_may_fail},
    {"/hostmem/change-dump", test_change_dump},
    {"/hostmem/change-merge", test_change_merge},
    {"/hostmem/change-threads", test_change_threads},
    {"/hostmem/unchangeable", test_unchangeable},
    {"/hostmem/unmapped-by-last-unref", test_unmapped_by_last_unref},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
