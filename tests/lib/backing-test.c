/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib/gstdio.h>
#include <string.h>
#include "backing-test.h"
#include "os-fake.h"

static void set_up(HmTestFile *self, gconstpointer data G_GNUC_UNUSED)
{
    hm_fake_reset();
    self->dir = g_dir_make_tmp("hostmem-XXXXXX", NULL);
    self->path = g_build_filename(self->dir, "file", NULL);
}

static void tear_down(HmTestFile *self, gconstpointer data G_GNUC_UNUSED)
{
    g_unlink(self->path);
    g_assert_cmpint(g_rmdir(self->dir), ==, 0);
    g_free(self->path);
    g_free(self->dir);
}

static void run(HmTestFile *self, gconstpointer data)
{
    const HmTestFileCase *test = data;

    test->func(self);
}

void hm_test_file_add(const char *prefix, const HmTestFileCase *cases, gsize n)
{
    for (gsize i = 0; i < n; i++) {
        g_autofree char *path = g_strconcat(prefix, cases[i].name, NULL);

        g_test_add(path, HmTestFile, &cases[i], set_up, run, tear_down);
    }
}

HmBackingFileOptions hm_test_file_options(const char *path, guint64 size)
{
    return (HmBackingFileOptions){
        .path = path, .name = "m0", .size = size, .shared = TRUE};
}

HmBacking hm_test_file_open(const HmBackingFileOptions *options)
{
    g_autoptr(GError) error = NULL;
    HmBacking backing = HM_BACKING_INIT;

    hm_backing_init_file(&backing, options, &error);
    g_assert_no_error(error);
    return backing;
}

static void assert_text(const GError *error, const char *part)
{
    if (!strstr(error->message, part)) {
        g_test_message("no '%s' in '%s'", part, error->message);
        g_test_fail();
    }
}

void hm_test_file_refused(const HmBackingFileOptions *options,
                          HostmemError code, const char *part)
{
    g_autoptr(GError) error = NULL;
    HmBacking backing = HM_BACKING_INIT;

    g_assert_false(hm_backing_init_file(&backing, options, &error));
    g_assert_error(error, HOSTMEM_ERROR, (gint)code);
    assert_text(error, part);
    g_assert_cmpint(backing.fd, ==, -1);
    g_assert_null(backing.path);
}

void hm_test_file_make(const char *path, guint64 length)
{
    int fd = hm_os_open(path, O_RDWR | O_CREAT | O_EXCL, 0600);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(hm_os_truncate(fd, length), ==, 0);
    hm_os_close(fd);
}

gint64 hm_test_file_length(const char *path)
{
    GStatBuf st;

    return g_stat(path, &st) < 0 ? -1 : st.st_size;
}
