/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <unistd.h>
#include "object-test.h"
#include "os-fake.h"
#include "resize-test.h"
#include "util/size.h"

/* Memory that becomes more or less where it is, and its file. */

#define ROOM ",size=1M,max-size=4M"

/* What is asked for */

static void test_max_size_reads_back(void)
{
    g_autoptr(HostmemBackend) with =
        hm_test_make("memory-backend-ram,id=m0" ROOM);
    g_autoptr(HostmemBackend) without =
        hm_test_make("memory-backend-ram,id=m1,size=1M");

    g_assert_cmpuint(hostmem_backend_get_max_size(with), ==, 4 * HM_MIB);
    g_assert_cmpuint(hostmem_backend_get_max_size(without), ==, 0);
    hm_test_assert_reads(with, "max-size", "4194304");
}

static void test_bad_max_sizes(void)
{
    hm_test_assert_make_fails("memory-backend-ram,id=m0,size=2M,max-size=1M",
                              HOSTMEM_ERROR_INVALID, "'size' is more");
    hm_test_assert_make_fails("memory-backend-ram,id=m0,size=2M,max-size=7E",
                              HOSTMEM_ERROR_INVALID, "no host");
    hm_test_assert_make_fails(
        "memory-backend-memfd,id=m0,size=1M,max-size=2000000",
        HOSTMEM_ERROR_INVALID, "max-size must be multiple of 4 KiB");
}

static void test_bad_sizes(void)
{
    g_autoptr(HostmemBackend) memfd =
        hm_test_make("memory-backend-memfd,id=m0" ROOM);

    hm_resize_assert_refused(memfd, 0, HOSTMEM_ERROR_INVALID, "'0'");
    hm_resize_assert_refused(memfd, 4 * HM_MIB + 4096, HOSTMEM_ERROR_INVALID,
                             "'max-size' is 4 MiB");
    hm_resize_assert_refused(memfd, G_MAXUINT64, HOSTMEM_ERROR_INVALID,
                             "'max-size'");
    hm_resize_assert_refused(memfd, HM_MIB + 1, HOSTMEM_ERROR_INVALID,
                             "multiple of 4 KiB");
}

/* In QEMU no backend changes its size, and it says so in these words. */
static void test_a_size_stays_without_max_size(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=1M");

    hm_test_assert_set_fails(ram, "size", "2M", HOSTMEM_ERROR_PERMISSION,
                             "cannot change property size of "
                             "memory-backend-ram ");
    hm_resize_assert_refused(ram, 2 * HM_MIB, HOSTMEM_ERROR_UNSUPPORTED,
                             "without max-size");
    hm_resize_assert_refused(ram, G_MAXUINT64, HOSTMEM_ERROR_INVALID,
                             "no host");
}

/* In place */

static void test_grows_in_place(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0" ROOM);
    guint8 *addr = hm_resize_memory(ram);

    memset(addr, 'x', HM_MIB);
    hm_test_assert_set(ram, "size", "4M");
    hm_resize_assert_size(ram, 4 * HM_MIB);
    g_assert_true(hm_resize_memory(ram) == addr);
    hm_resize_assert_bytes(ram, 0, HM_MIB, 'x');
    hm_resize_assert_bytes(ram, HM_MIB, 3 * HM_MIB, 0);
    memset(addr, 'y', 4 * HM_MIB);
}

static void test_shrinks_and_discards(void)
{
    static const char *const all[] = {
        "memory-backend-ram,id=m0" ROOM,
        "memory-backend-ram,id=m0,share=on" ROOM,
        "memory-backend-memfd,id=m0" ROOM,
        "memory-backend-memfd,id=m0,seal=off,thp=off" ROOM,
        "memory-backend-shm,id=m0" ROOM,
    };

    for (gsize i = 0; i < G_N_ELEMENTS(all); i++) {
        g_autoptr(HostmemBackend) backend = hm_test_make(all[i]);

        hm_resize_to(backend, 4 * HM_MIB);
        memset(hm_resize_memory(backend), 'x', 4 * HM_MIB);
        hm_resize_to(backend, 2 * HM_MIB);
        g_assert_cmpuint(hostmem_backend_get_populated_size(backend), <=,
                         2 * HM_MIB);
        hm_resize_assert_bytes(backend, 0, 2 * HM_MIB, 'x');
        hm_resize_to(backend, 4 * HM_MIB);
        hm_resize_assert_bytes(backend, 0, 2 * HM_MIB, 'x');
        hm_resize_assert_bytes(backend, 2 * HM_MIB, 2 * HM_MIB, 0);
    }
}

static void test_a_part_of_the_last_page(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=5000,max-size=20000");
    guint8 *addr = hm_resize_memory(ram);

    memset(addr, 'x', 8192);
    hm_resize_to(ram, 5001);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MAP), ==, 2); /* both of creation */
    hm_resize_to(ram, 20000);
    hm_resize_assert_bytes(ram, 0, 8192, 'x');
    hm_resize_assert_bytes(ram, 8192, 20480 - 8192, 0);
    hm_resize_to(ram, 4097);
    hm_resize_assert_bytes(ram, 0, 8192, 'x');
    hm_resize_to(ram, 1);
    g_assert_true(hostmem_backend_discard(ram, 0, 1, NULL));
    hm_resize_assert_bytes(ram, 0, 4096, 0);
}

static void test_ranges_end_with_the_size(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0" ROOM);

    g_assert_false(hostmem_backend_populate(ram, HM_MIB, HM_MIB, NULL, NULL));
    hm_resize_to(ram, 2 * HM_MIB);
    g_assert_true(hostmem_backend_populate(ram, HM_MIB, HM_MIB, NULL, NULL));
    g_assert_true(hostmem_backend_discard(ram, HM_MIB, HM_MIB, NULL));
    hm_resize_to(ram, HM_MIB);
    g_assert_false(hostmem_backend_populate(ram, HM_MIB, HM_MIB, NULL, NULL));
    g_assert_false(hostmem_backend_discard(ram, HM_MIB, HM_MIB, NULL));
}

/* The file */

static void test_a_sealed_file_is_as_long_as_it_may_be(void)
{
    g_autoptr(HostmemBackend) memfd =
        hm_test_make("memory-backend-memfd,id=m0,thp=off" ROOM);
    int fd = hostmem_backend_get_fd(memfd);

    g_assert_cmpint(hm_resize_file_length(memfd), ==, 4 * HM_MIB);
    g_assert_cmpint(ftruncate(fd, 8 * HM_MIB), ==, -1);
    g_assert_cmpint(ftruncate(fd, HM_MIB), ==, -1);
    hm_resize_to(memfd, 4 * HM_MIB);
    memset(hm_resize_memory(memfd), 'x', 4 * HM_MIB);
    hm_resize_to(memfd, HM_MIB);
    g_assert_cmpint(hm_resize_file_length(memfd), ==, 4 * HM_MIB);
    g_assert_cmpuint(hm_resize_file_storage(memfd), ==, HM_MIB);
}

static void test_a_file_ends_with_the_memory(void)
{
    g_autoptr(HostmemBackend) memfd =
        hm_test_make("memory-backend-memfd,id=m0,seal=off" ROOM);

    g_assert_cmpint(hm_resize_file_length(memfd), ==, HM_MIB);
    hm_resize_to(memfd, 4 * HM_MIB);
    g_assert_cmpint(hm_resize_file_length(memfd), ==, 4 * HM_MIB);
    hm_resize_to(memfd, 2 * HM_MIB);
    g_assert_cmpint(hm_resize_file_length(memfd), ==, 2 * HM_MIB);
}

static HostmemBackend *make_file(const char *more)
{
    g_autofree char *options =
        g_strdup_printf("memory-backend-file,id=m0,mem-path=%s/f%s" ROOM,
                        hm_test_folder(), more);

    return hm_test_make(options);
}

static void write_file(guint64 length)
{
    g_autofree char *path = g_build_filename(hm_test_folder(), "f", NULL);
    g_autofree char *text = g_strnfill(length, 'f');

    g_assert_true(g_file_set_contents(path, text, (gssize)length, NULL));
}

static void test_a_file_on_disk_ends_with_the_memory(void)
{
    g_autoptr(HostmemBackend) file = make_file(",share=on,offset=64K");

    g_assert_cmpint(hm_resize_file_length(file), ==, HM_MIB + 64 * HM_KIB);
    hm_resize_to(file, 4 * HM_MIB);
    g_assert_cmpint(hm_resize_file_length(file), ==, 4 * HM_MIB + 64 * HM_KIB);
    hm_resize_to(file, 2 * HM_MIB);
    g_assert_cmpint(hm_resize_file_length(file), ==, 2 * HM_MIB + 64 * HM_KIB);
}

static void test_a_longer_file_keeps_its_length(void)
{
    g_autoptr(HostmemBackend) file = NULL;

    write_file(3 * HM_MIB);
    file = make_file(",share=on");
    hm_resize_to(file, 2 * HM_MIB);
    hm_resize_assert_bytes(file, HM_MIB, HM_MIB, 'f');
    hm_resize_to(file, HM_MIB);
    g_assert_cmpint(hm_resize_file_length(file), ==, 3 * HM_MIB);
    hm_resize_to(file, 3 * HM_MIB);
    hm_resize_assert_bytes(file, HM_MIB, HM_MIB, 0);
    hm_resize_assert_bytes(file, 2 * HM_MIB, HM_MIB, 'f');
}

static void test_a_private_copy_leaves_its_file_alone(void)
{
    g_autoptr(HostmemBackend) file = NULL;

    write_file(2 * HM_MIB);
    file = make_file("");
    hm_resize_to(file, 2 * HM_MIB);
    memset(hm_resize_memory(file), 'x', 2 * HM_MIB);
    hm_resize_to(file, HM_MIB);
    g_assert_cmpint(hm_resize_file_length(file), ==, 2 * HM_MIB);
    hm_resize_to(file, 2 * HM_MIB);
    hm_resize_assert_bytes(file, 0, HM_MIB, 'x');
    hm_resize_assert_bytes(file, HM_MIB, HM_MIB, 'f');
}

static void test_a_read_only_file_has_to_be_long_enough(void)
{
    g_autoptr(HostmemBackend) file = NULL;

    write_file(2 * HM_MIB);
    file = make_file(",share=on,readonly=on");
    hm_resize_to(file, 2 * HM_MIB);
    hm_resize_assert_refused(file, 3 * HM_MIB, HOSTMEM_ERROR_INVALID,
                             "is 0x200000 bytes long, 0x300000 are needed");
    hm_resize_to(file, HM_MIB);
    g_assert_cmpint(hm_resize_file_length(file), ==, 2 * HM_MIB);
    hm_resize_assert_bytes(file, 0, HM_MIB, 'f');
}

static void test_parts_are_told_anew(void)
{
    g_autoptr(HostmemBackend) memfd =
        hm_test_make("memory-backend-memfd,id=m0" ROOM);
    guint n;
    const HostmemBackendPart *before = hostmem_backend_get_parts(memfd, &n);
    const HostmemBackendPart *after;

    hm_resize_to(memfd, 2 * HM_MIB);
    after = hostmem_backend_get_parts(memfd, &n);
    g_assert_cmpuint(n, ==, 1);
    g_assert_cmpuint(before->length, ==, HM_MIB);
    g_assert_cmpuint(after->length, ==, 2 * HM_MIB);
}

static const HmTest tests[] = {
    {"/hostmem-resize/max-size-reads-back", test_max_size_reads_back},
    {"/hostmem-resize/bad-max-sizes", test_bad_max_sizes},
    {"/hostmem-resize/bad-sizes", test_bad_sizes},
    {"/hostmem-resize/a-size-stays-without-max-size",
     test_a_size_stays_without_max_size},
    {"/hostmem-resize/grows-in-place", test_grows_in_place},
    {"/hostmem-resize/shrinks-and-discards", test_shrinks_and_discards},
    {"/hostmem-resize/a-part-of-the-last-page", test_a_part_of_the_last_page},
    {"/hostmem-resize/ranges-end-with-the-size", test_ranges_end_with_the_size},
    {"/hostmem-resize/a-sealed-file-is-as-long-as-it-may-be",
     test_a_sealed_file_is_as_long_as_it_may_be},
    {"/hostmem-resize/a-file-ends-with-the-memory",
     test_a_file_ends_with_the_memory},
    {"/hostmem-resize/a-file-on-disk-ends-with-the-memory",
     test_a_file_on_disk_ends_with_the_memory},
    {"/hostmem-resize/a-longer-file-keeps-its-length",
     test_a_longer_file_keeps_its_length},
    {"/hostmem-resize/a-private-copy-leaves-its-file-alone",
     test_a_private_copy_leaves_its_file_alone},
    {"/hostmem-resize/a-read-only-file-has-to-be-long-enough",
     test_a_read_only_file_has_to_be_long_enough},
    {"/hostmem-resize/parts-are-told-anew", test_parts_are_told_anew},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
