/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <unistd.h>
#include "image-test.h"
#include "object-test.h"
#include "os-fake.h"
#include "util/image.h"

/* Backends that are filled from an image. */

/* (transfer full) */
static char *path_of(const char *name)
{
    return g_build_filename(hm_test_folder(), name, NULL);
}

static void check_states(const char *type, guint64 populated)
{
    g_autoptr(HostmemBackend) backend = hm_test_restore(type);

    hm_test_assert_filled(backend);
    if (populated) {
        g_assert_cmpuint(hostmem_backend_get_populated_size(backend), >=,
                         populated);
    }
}

static void test_states(void)
{
    if (!hm_test_can_protect()) {
        return;
    }
    hm_test_make_image(HM_TEST_RAM);
    check_states(HM_TEST_MEMFD ",prealloc=on", HM_TEST_IMAGE_SIZE);
    check_states(HM_TEST_MEMFD ",prealloc=on,prealloc-state=readable",
                 HM_TEST_IMAGE_SIZE);
    check_states(HM_TEST_MEMFD ",prealloc=on,prealloc-state=backed", 0);
    check_states(HM_TEST_MEMFD ",prealloc=on,prealloc-async=on", 0);
    check_states(HM_TEST_RAM ",prealloc=on,prealloc-threads=2",
                 HM_TEST_IMAGE_SIZE);
    check_states(HM_TEST_RAM ",prealloc=on,prealloc-state=readable",
                 HM_TEST_IMAGE_SIZE);
}

/* Without prealloc what is not stored takes nothing. */
static void test_holes(void)
{
    g_autoptr(HostmemBackend) backend = NULL;

    if (!hm_test_can_protect()) {
        return;
    }
    hm_test_make_image(HM_TEST_RAM);
    backend = hm_test_restore(HM_TEST_MEMFD ",thp=off");
    g_assert_cmpuint(hostmem_backend_get_backed_size(backend), ==,
                     HM_TEST_IMAGE_SIZE * 3 / 4);
    hm_test_assert_reads(backend, "prealloc-method", "\"image\"");
}

static void test_bad_images(void)
{
    g_autofree char *path = path_of("image");
    g_autofree char *text = NULL;
    gsize length;

    if (!hm_test_can_protect()) {
        return;
    }
    hm_test_assert_restore_fails(HM_TEST_RAM, HOSTMEM_ERROR_NOT_FOUND,
                                 "No such file");
    hm_test_make_image(HM_TEST_RAM);
    hm_test_assert_restore_fails(
        "memory-backend-ram,id=m0,size=32M", HOSTMEM_ERROR_INVALID,
        "it is of 16777216 bytes of memory, and there are "
        "33554432");
    g_assert_true(g_file_get_contents(path, &text, &length, NULL));
    text[64 * HM_KIB + 5 * HM_MIB] ^= 1;
    g_assert_true(g_file_set_contents(path, text, (gssize)length, NULL));
    hm_test_assert_restore_fails(
        HM_TEST_RAM, HOSTMEM_ERROR_CHANGED,
        "it was altered: the checksum is wrong of what was "
        "at 0x500000");
    hm_test_assert_restore_fails(HM_TEST_MEMFD ",prealloc=on",
                                 HOSTMEM_ERROR_CHANGED, "it was altered");
    g_assert_cmpint(truncate(path, (off_t)length - 1), ==, 0);
    hm_test_assert_restore_fails(HM_TEST_RAM, HOSTMEM_ERROR_CHANGED,
                                 "it was cut short");
    g_assert_cmpuint(hm_test_count_mappings(HM_TEST_IMAGE_SIZE), ==, 0);
}

/* As if its memory had other pages: there may be no huge ones here. */
static void test_other_pages(void)
{
    g_autofree char *path = path_of("image");
    g_autoptr(GError) error = NULL;
    g_autoptr(HmImageWriter) writer = hm_image_writer_new(
        path, HM_TEST_IMAGE_SIZE, HM_TEST_IMAGE_SIZE, 2 * HM_MIB, &error);

    g_assert_no_error(error);
    hm_image_writer_finish(writer, &error);
    g_assert_no_error(error);
    hm_test_assert_restore_fails(
        HM_TEST_RAM, HOSTMEM_ERROR_INVALID,
        "it is of memory with pages of 2 MiB, and these are "
        "of 4 KiB");
}

static void test_not_empty(void)
{
    g_autofree char *data = path_of("data");
    g_autofree char *type = NULL;
    g_autofree char *text = NULL;

    if (!hm_test_can_protect()) {
        return;
    }
    hm_test_make_image(HM_TEST_RAM);
    text = g_malloc0(HM_TEST_IMAGE_SIZE);
    text[0] = 'x';
    g_assert_true(g_file_set_contents(data, text, HM_TEST_IMAGE_SIZE, NULL));
    type =
        g_strdup_printf("memory-backend-file,id=m0,size=16M,mem-path=%s", data);
    hm_test_assert_restore_fails(type, HOSTMEM_ERROR_INVALID, "has data in it");
}

/* A new file is filled, too. */
static void test_new_file(void)
{
    g_autofree char *type = NULL;
    g_autoptr(HostmemBackend) backend = NULL;

    if (!hm_test_can_protect()) {
        return;
    }
    hm_test_make_image(HM_TEST_RAM);
    type = g_strdup_printf("memory-backend-file,id=m0,size=16M,share=on,"
                           "mem-path=%s/memory",
                           hm_test_folder());
    backend = hm_test_restore(type);
    hm_test_assert_filled(backend);
}

static void test_no_room(void)
{
    if (hm_test_can_protect()) {
        hm_test_make_image(HM_TEST_RAM);
        hm_fake_set_file("/proc/meminfo", "MemTotal: 100000 kB\n"
                                          "MemAvailable: 1000 kB\n");
        hm_test_assert_restore_fails(HM_TEST_RAM, HOSTMEM_ERROR_NO_MEMORY,
                                     "12");
    }
}

static const HmTest tests[] = {
    {"/hostmem-image/states", test_states},
    {"/hostmem-image/holes", test_holes},
    {"/hostmem-image/bad-images", test_bad_images},
    {"/hostmem-image/other-pages", test_other_pages},
    {"/hostmem-image/not-empty", test_not_empty},
    {"/hostmem-image/new-file", test_new_file},
    {"/hostmem-image/no-room", test_no_room},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
