/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "backing-test.h"
#include "os-fake.h"
#include "util/error.h"
#include "util/size.h"

/* directories */

static guint count_files(const char *dir)
{
    g_auto(GStrv) names = NULL;

    g_assert_cmpint(hm_os_list_dir(dir, &names), ==, 0);
    return g_strv_length(names);
}

static void check_temporary(const HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->dir, hm_os_page_size());
    g_auto(HmBacking) backing = hm_test_file_open(&options);
    struct stat st;

    g_assert_false(backing.created);
    g_assert_cmpuint(count_files(self->dir), ==, 0);
    g_assert_cmpint(hm_os_stat(backing.fd, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, (gint64)hm_os_page_size());
    g_assert_cmpuint(st.st_nlink, ==, 0);
}

static void test_directory_gets_an_unnamed_file(HmTestFile *self)
{
    check_temporary(self);
}

static void test_directory_without_unnamed_files(HmTestFile *self)
{
    hm_fake_fail_always(HM_FAKE_TMPFILE, EOPNOTSUPP);
    check_temporary(self);
}

static void test_temporary_name_is_made_safe(HmTestFile *self)
{
    g_autofree char *rest = g_strnfill(300, 'x');
    g_autofree char *name = g_strconcat("/objects/../", rest, NULL);
    HmBackingFileOptions options =
        hm_test_file_options(self->dir, hm_os_page_size());
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    HmFakeRecord record;

    hm_fake_fail_always(HM_FAKE_TMPFILE, EOPNOTSUPP);
    options.name = name;
    backing = hm_test_file_open(&options);
    g_assert_true(hm_fake_get_call(HM_FAKE_UNLINK, 1, &record));
    g_assert_nonnull(strstr(record.path, "/hostmem._objects_.._xxx"));
}

static void test_directory_on_a_full_filesystem(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->dir, hm_os_page_size());

    hm_fake_fail(HM_FAKE_TMPFILE, 1, ENOSPC);
    hm_test_file_refused(&options, HOSTMEM_ERROR_NO_SPACE,
                         "for guest RAM: No space left");
}

/* what is no memory */

static void test_fifo_blocks_nobody(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, hm_os_page_size());

    g_assert_cmpint(mkfifo(self->path, 0600), ==, 0);
    hm_test_file_refused(&options, HOSTMEM_ERROR_INVALID, "it is a FIFO");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_OPEN), ==, 1);
}

/* Puts a FIFO in the place of the file just before it is opened. */
static gint64 swap_for_fifo(const HmFakeRecord *record, gpointer data)
{
    if (!(record->arg & O_PATH)) {
        g_assert_cmpint(g_unlink(data), ==, 0);
        g_assert_cmpint(mkfifo(data, 0600), ==, 0);
    }
    return 0;
}

static void test_fifo_that_takes_the_place(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, hm_os_page_size());

    hm_test_file_make(self->path, hm_os_page_size());
    hm_fake_hook(HM_FAKE_OPEN, swap_for_fifo, self->path);
    options.readonly = TRUE;
    hm_test_file_refused(&options, HOSTMEM_ERROR_INVALID, "it is a FIFO");
}

static void test_socket(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, hm_os_page_size());
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    g_strlcpy(address.sun_path, self->path, sizeof(address.sun_path));
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==,
                    0);
    hm_test_file_refused(&options, HOSTMEM_ERROR_INVALID, "it is a socket");
    close(fd);
}

static void test_device_without_memory(HmTestFile *self G_GNUC_UNUSED)
{
    HmBackingFileOptions options =
        hm_test_file_options("/dev/zero", hm_os_page_size());

    hm_test_file_refused(&options, HOSTMEM_ERROR_INVALID, "no DAX device");
}

static gint64 say_yes(const HmFakeRecord *record, gpointer data)
{
    (void)record;
    (void)data;
    return 1;
}

/* /dev/zero, 1:5, plays the part. */
static void pretend_dax(const char *size, const char *align)
{
    hm_fake_set_file("/sys/dev/char/1:5/size", size);
    hm_fake_set_file("/sys/dev/char/1:5/align", align);
    hm_fake_hook(HM_FAKE_IS_DAX, say_yes, NULL);
}

static void test_dax_device(HmTestFile *self G_GNUC_UNUSED)
{
    HmBackingFileOptions options =
        hm_test_file_options("/dev/zero", 4 * HM_MIB);
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    pretend_dax("8388608\n", "2097152\n");
    backing = hm_test_file_open(&options);
    g_assert_cmpint(backing.kind, ==, HM_MEM_DAX);
    g_assert_cmpuint(backing.page_size, ==, 2 * HM_MIB);
    g_assert_cmpuint(hm_backing_backed_size(&backing, NULL), ==, 4 * HM_MIB);
}

static void test_dax_device_too_small(HmTestFile *self G_GNUC_UNUSED)
{
    HmBackingFileOptions options =
        hm_test_file_options("/dev/zero", 4 * HM_MIB);

    pretend_dax("2097152\n", "2097152\n");
    hm_test_file_refused(&options, HOSTMEM_ERROR_INVALID,
                         "size 0x200000 is too small");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_TRUNCATE), ==, 0);
}

/* what the kernel refuses */

static void test_missing_directory(HmTestFile *self)
{
    g_autofree char *path = g_build_filename(self->dir, "no", "file", NULL);
    g_autofree char *text = g_strdup_printf(
        "can't open backing store %s for guest RAM: No such file or directory",
        path);
    HmBackingFileOptions options =
        hm_test_file_options(path, hm_os_page_size());

    hm_test_file_refused(&options, HOSTMEM_ERROR_NOT_FOUND, text);
}

static void test_path_through_a_file(HmTestFile *self)
{
    g_autofree char *path = g_build_filename(self->path, "file", NULL);
    HmBackingFileOptions options =
        hm_test_file_options(path, hm_os_page_size());

    hm_test_file_make(self->path, 0);
    hm_test_file_refused(&options, HOSTMEM_ERROR_INVALID, "Not a directory");
}

static void test_no_permission(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, hm_os_page_size());

    hm_test_file_make(self->path, hm_os_page_size());
    hm_fake_fail(HM_FAKE_OPEN, 2, EACCES);
    hm_test_file_refused(&options, HOSTMEM_ERROR_PERMISSION,
                         "for guest RAM: Permission denied");
}

static void test_no_permission_for_a_private_copy(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, hm_os_page_size());

    hm_test_file_make(self->path, hm_os_page_size());
    options.shared = FALSE;
    hm_fake_fail(HM_FAKE_OPEN, 2, EROFS);
    hm_test_file_refused(&options, HOSTMEM_ERROR_PERMISSION,
                         "readonly=on,rom=off");
}

static void test_no_descriptors(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, hm_os_page_size());

    hm_test_file_make(self->path, hm_os_page_size());
    hm_fake_set_limit(RLIMIT_NOFILE, 64);
    hm_fake_fail(HM_FAKE_OPEN, 1, EMFILE);
    hm_test_file_refused(&options, HOSTMEM_ERROR_LIMIT, "RLIMIT_NOFILE is 64");
}

static void test_failures_leak_no_descriptor(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, hm_os_page_size());

    hm_test_file_make(self->path, hm_os_page_size());
    hm_fake_reset();
    hm_fake_fail(HM_FAKE_STATFS, 1, EIO);
    hm_test_file_refused(&options, HOSTMEM_ERROR_SYSTEM, "Input/output error");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_OPEN), ==, 2);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_CLOSE), ==, 2);
}

static const HmTestFileCase cases[] = {
    {"directory-gets-an-unnamed-file", test_directory_gets_an_unnamed_file},
    {"directory-without-unnamed-files", test_directory_without_unnamed_files},
    {"temporary-name-is-made-safe", test_temporary_name_is_made_safe},
    {"directory-on-a-full-filesystem", test_directory_on_a_full_filesystem},
    {"fifo-blocks-nobody", test_fifo_blocks_nobody},
    {"fifo-that-takes-the-place", test_fifo_that_takes_the_place},
    {"socket", test_socket},
    {"device-without-memory", test_device_without_memory},
    {"dax-device", test_dax_device},
    {"dax-device-too-small", test_dax_device_too_small},
    {"missing-directory", test_missing_directory},
    {"path-through-a-file", test_path_through_a_file},
    {"no-permission", test_no_permission},
    {"no-permission-for-a-private-copy", test_no_permission_for_a_private_copy},
    {"no-descriptors", test_no_descriptors},
    {"failures-leak-no-descriptor", test_failures_leak_no_descriptor},
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    hm_test_file_add("/backing-path/", cases, G_N_ELEMENTS(cases));
    return g_test_run();
}
