/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <glib/gstdio.h>
#include <hostmem/error.h>
#include <string.h>
#include <unistd.h>
#include "os-fake.h"
#include "util/image.h"
#include "util/size.h"

#define PAGE 4096
/* Not whole blocks. */
#define SIZE (HM_MIB + 3 * PAGE)

typedef struct {
    char *folder;
    char *path;
    guint8 *memory;
} Fixture;

static void set_up(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    hm_fake_reset();
    fixture->folder = g_dir_make_tmp("hostmem-image-XXXXXX", NULL);
    fixture->path = g_build_filename(fixture->folder, "image", NULL);
    fixture->memory = g_malloc0(SIZE);
}

static void tear_down(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    hm_fake_reset();
    g_unlink(fixture->path);
    g_assert_cmpint(g_rmdir(fixture->folder), ==, 0);
    g_free(fixture->folder);
    g_free(fixture->path);
    g_free(fixture->memory);
}

static void put_all(HmImageWriter *writer, const guint8 *memory)
{
    g_autoptr(HmImageCopy) copy = hm_image_copy_new(256 * HM_KIB);

    for (guint64 at = 0; at < SIZE; at += 256 * HM_KIB) {
        g_autoptr(GError) error = NULL;

        g_assert_cmpint(hm_image_copy_take(copy, memory + at, at,
                                           MIN(256 * HM_KIB, SIZE - at)),
                        ==, 0);
        hm_image_writer_put(writer, copy, NULL, &error);
        g_assert_no_error(error);
    }
}

/* Data all over, whole blocks and parts of some, and the last page. */
static void fill(Fixture *fixture)
{
    memset(fixture->memory, 1, 128 * HM_KIB);
    memset(fixture->memory + 300 * HM_KIB, 2, 8 * HM_KIB);
    fixture->memory[HM_MIB - 1] = 3;
    fixture->memory[SIZE - 1] = 4;
}

static void make(Fixture *fixture)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HmImageWriter) writer =
        hm_image_writer_new(fixture->path, SIZE, SIZE, PAGE, &error);

    g_assert_no_error(error);
    put_all(writer, fixture->memory);
    hm_image_writer_finish(writer, &error);
    g_assert_no_error(error);
}

static HmImage *open_image(Fixture *fixture)
{
    g_autoptr(GError) error = NULL;
    HmImage *image = hm_image_open(fixture->path, SIZE, &error);

    g_assert_no_error(error);
    return image;
}

/* Good images */

static void test_round(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree guint8 *copy = g_malloc0(SIZE);
    g_autoptr(GError) error = NULL;
    g_autoptr(HmImage) image = NULL;
    HmProgress progress = {0};

    fill(fixture);
    make(fixture);
    image = open_image(fixture);
    g_assert_cmpuint(hm_image_get_stored(image), ==,
                     32 * 4096 + 3 * 4096 + 2 * 4096 - 4096);
    hm_image_load(image, copy, 2, NULL, &progress, &error);
    g_assert_no_error(error);
    g_assert_cmpmem(copy, SIZE, fixture->memory, SIZE);
    g_assert_cmpint(progress.done, ==, SIZE);
}

static void test_all_zero(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree guint8 *copy = g_malloc0(SIZE);
    g_autoptr(GError) error = NULL;
    g_autoptr(HmImage) image = NULL;
    struct stat st;

    make(fixture);
    image = open_image(fixture);
    g_assert_cmpuint(hm_image_get_stored(image), ==, 0);
    hm_image_load(image, copy, 2, NULL, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpmem(copy, SIZE, fixture->memory, SIZE);
    g_assert_cmpint(g_stat(fixture->path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 0777, ==, 0600);
}

/* Nothing is touched that is not stored. */
static void test_holes(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HmImage) image = NULL;
    void *addr;

    fixture->memory[512 * HM_KIB] = 1;
    make(fixture);
    image = open_image(fixture);
    g_assert_cmpint(hm_os_map(NULL, SIZE, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &addr),
                    ==, 0);
    hm_os_advise(addr, SIZE, MADV_NOHUGEPAGE);
    hm_image_load(image, addr, 1, NULL, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(hm_os_populated(addr, SIZE), ==, PAGE);
    hm_os_unmap(addr, SIZE);
}

/* Bad ones */

static void assert_open_fails(Fixture *fixture, guint64 size, gint code,
                              const char *part)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(hm_image_open(fixture->path, size, &error));
    g_assert_error(error, HOSTMEM_ERROR, code);
    if (!strstr(error->message, part)) {
        g_error("'%s' has no '%s' in it", error->message, part);
    }
}

/* Change a byte, counted from the end when negative. */
static void flip(Fixture *fixture, gint64 at)
{
    g_autofree char *text = NULL;
    gsize length;

    g_assert_true(g_file_get_contents(fixture->path, &text, &length, NULL));
    text[at < 0 ? (gsize)((gint64)length + at) : (gsize)at] ^= 1;
    g_assert_true(
        g_file_set_contents(fixture->path, text, (gssize)length, NULL));
}

static void resize(Fixture *fixture, gint64 by)
{
    struct stat st;

    g_assert_cmpint(g_stat(fixture->path, &st), ==, 0);
    g_assert_cmpint(truncate(fixture->path, st.st_size + by), ==, 0);
}

static void test_not_there(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    assert_open_fails(fixture, SIZE, HOSTMEM_ERROR_NOT_FOUND,
                      "No such file or directory");
}

static void test_fifo(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_assert_cmpint(mkfifo(fixture->path, 0600), ==, 0);
    assert_open_fails(fixture, SIZE, HOSTMEM_ERROR_INVALID, "it is no file");
}

static void test_short_text(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_assert_true(g_file_set_contents(fixture->path, "hello", -1, NULL));
    assert_open_fails(fixture, SIZE, HOSTMEM_ERROR_INVALID,
                      "no image of memory: it has 5 bytes");
}

static void test_other_file(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *text = g_malloc0(2 * HM_IMAGE_HEADER_SIZE);

    g_assert_true(g_file_set_contents(fixture->path, text,
                                      2 * HM_IMAGE_HEADER_SIZE, NULL));
    assert_open_fails(fixture, SIZE, HOSTMEM_ERROR_INVALID,
                      "no image of memory");
}

static void test_other_version(Fixture *fixture,
                               gconstpointer data G_GNUC_UNUSED)
{
    make(fixture);
    flip(fixture, 9);
    assert_open_fails(fixture, SIZE, HOSTMEM_ERROR_INVALID, "version 257");
}

static void test_altered_header(Fixture *fixture,
                                gconstpointer data G_GNUC_UNUSED)
{
    make(fixture);
    flip(fixture, 30);
    assert_open_fails(fixture, SIZE, HOSTMEM_ERROR_CHANGED,
                      "its header was altered");
}

static void test_other_size(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    make(fixture);
    assert_open_fails(
        fixture, 2 * HM_MIB, HOSTMEM_ERROR_INVALID,
        "it is of 1060864 bytes of memory, and there are 2097152");
}

static void test_other_pages(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(HmImage) image = NULL;
    g_autoptr(GError) error = NULL;

    make(fixture);
    image = open_image(fixture);
    g_assert_true(hm_image_check_page_size(image, PAGE, NULL));
    g_assert_false(hm_image_check_page_size(image, 2 * HM_MIB, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, "4 KiB"));
    g_assert_nonnull(strstr(error->message, "2 MiB"));
}

static void test_cut_short(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    make(fixture);
    resize(fixture, -1);
    assert_open_fails(fixture, SIZE, HOSTMEM_ERROR_CHANGED, "it was cut short");
}

static void test_made_longer(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    make(fixture);
    resize(fixture, 1);
    assert_open_fails(fixture, SIZE, HOSTMEM_ERROR_CHANGED,
                      "it was made longer");
}

static void test_altered_table(Fixture *fixture,
                               gconstpointer data G_GNUC_UNUSED)
{
    make(fixture);
    flip(fixture, -1);
    assert_open_fails(fixture, SIZE, HOSTMEM_ERROR_CHANGED,
                      "its table was altered");
}

static void assert_load_fails(Fixture *fixture, GCancellable *cancellable,
                              GQuark domain, gint code, const char *part)
{
    g_autofree guint8 *copy = g_malloc0(SIZE);
    g_autoptr(HmImage) image = open_image(fixture);
    g_autoptr(GError) error = NULL;

    g_assert_false(hm_image_load(image, copy, 2, cancellable, NULL, &error));
    g_assert_error(error, domain, code);
    if (!strstr(error->message, part)) {
        g_error("'%s' has no '%s' in it", error->message, part);
    }
}

/* In a block that is stored as a whole, and in a part of one. */
static void test_altered_data(Fixture *fixture,
                              gconstpointer data G_GNUC_UNUSED)
{
    fill(fixture);
    make(fixture);
    flip(fixture, 64 * HM_KIB + 70000);
    assert_load_fails(fixture, NULL, HOSTMEM_ERROR, HOSTMEM_ERROR_CHANGED,
                      "of what was at 0x10000");
    flip(fixture, 64 * HM_KIB + 70000);
    flip(fixture, 64 * HM_KIB + 301 * HM_KIB);
    assert_load_fails(fixture, NULL, HOSTMEM_ERROR, HOSTMEM_ERROR_CHANGED,
                      "of what was at 0x40000");
}

static void test_cannot_read(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    fill(fixture);
    make(fixture);
    hm_fake_fail(HM_FAKE_READ_AT, 4, EIO);
    assert_load_fails(fixture, NULL, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM,
                      "it cannot be read");
}

static void test_no_page(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    fill(fixture);
    make(fixture);
    hm_fake_fail(HM_FAKE_READ_AT, 4, EFAULT);
    assert_load_fails(fixture, NULL, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_MEMORY,
                      "no page to be had");
}

/* A HmFakeHook: what was read is gone before its checksum is made. */
static gint64 truncate_target(const HmFakeRecord *record, gpointer data)
{
    g_assert_cmpint(hm_os_truncate(GPOINTER_TO_INT(data), 0), ==, 0);
    return (gint64)record->length;
}

static void test_target_truncated(Fixture *fixture,
                                  gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HmImage) image = NULL;
    int fd = hm_os_memfd("target", 0);
    void *addr;

    fill(fixture);
    make(fixture);
    image = open_image(fixture);
    g_assert_cmpint(hm_os_truncate(fd, SIZE), ==, 0);
    g_assert_cmpint(
        hm_os_map(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0, &addr),
        ==, 0);
    hm_fake_hook(HM_FAKE_READ_AT, truncate_target, GINT_TO_POINTER(fd));
    g_assert_false(hm_image_load(image, addr, 2, NULL, NULL, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_MEMORY);
    hm_os_unmap(addr, SIZE);
    hm_os_close(fd);
}

static void test_cancelled(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();

    make(fixture);
    g_cancellable_cancel(cancellable);
    assert_load_fails(fixture, cancellable, G_IO_ERROR, G_IO_ERROR_CANCELLED,
                      "");
}

/* Writing that fails */

static void assert_new_fails(const char *path, gint code)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(hm_image_writer_new(path, SIZE, SIZE, PAGE, &error));
    g_assert_error(error, HOSTMEM_ERROR, code);
}

static void test_taken(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    make(fixture);
    assert_new_fails(fixture->path, HOSTMEM_ERROR_EXISTS);
}

static void test_no_directory(Fixture *fixture,
                              gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *path = g_build_filename(fixture->path, "image", NULL);

    assert_new_fails(path, HOSTMEM_ERROR_NOT_FOUND);
    assert_new_fails("", HOSTMEM_ERROR_INVALID);
    assert_new_fails("/tmp/", HOSTMEM_ERROR_INVALID);
}

static void test_file_limit(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    hm_fake_set_limit(RLIMIT_FSIZE, HM_MIB);
    assert_new_fails(fixture->path, HOSTMEM_ERROR_LIMIT);
}

static void test_abandoned(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    HmImageWriter *writer;

    hm_fake_fail_always(HM_FAKE_TMPFILE, EOPNOTSUPP); /* it has a name */
    writer = hm_image_writer_new(fixture->path, SIZE, SIZE, PAGE, &error);
    g_assert_no_error(error);
    put_all(writer, fixture->memory);
    hm_image_writer_free(writer); /* and the folder is empty: tear_down() */
}

static void test_name_taken_meanwhile(Fixture *fixture,
                                      gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HmImageWriter) writer =
        hm_image_writer_new(fixture->path, SIZE, SIZE, PAGE, &error);
    g_autofree char *text = NULL;

    g_assert_no_error(error);
    g_assert_true(g_file_set_contents(fixture->path, "mine", -1, NULL));
    g_assert_false(hm_image_writer_finish(writer, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_EXISTS);
    g_assert_true(g_file_get_contents(fixture->path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "mine");
}

#define ADD(path, func) \
    g_test_add("/image/" path, Fixture, NULL, set_up, func, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("round", test_round);
    ADD("all-zero", test_all_zero);
    ADD("holes", test_holes);
    ADD("bad/not-there", test_not_there);
    ADD("bad/fifo", test_fifo);
    ADD("bad/short-text", test_short_text);
    ADD("bad/other-file", test_other_file);
    ADD("bad/other-version", test_other_version);
    ADD("bad/altered-header", test_altered_header);
    ADD("bad/other-size", test_other_size);
    ADD("bad/other-pages", test_other_pages);
    ADD("bad/cut-short", test_cut_short);
    ADD("bad/made-longer", test_made_longer);
    ADD("bad/altered-table", test_altered_table);
    ADD("bad/altered-data", test_altered_data);
    ADD("bad/cannot-read", test_cannot_read);
    ADD("bad/no-page", test_no_page);
    ADD("bad/target-truncated", test_target_truncated);
    ADD("bad/cancelled", test_cancelled);
    ADD("write/taken", test_taken);
    ADD("write/no-directory", test_no_directory);
    ADD("write/file-limit", test_file_limit);
    ADD("write/abandoned", test_abandoned);
    ADD("write/name-taken-meanwhile", test_name_taken_meanwhile);
    return g_test_run();
}
