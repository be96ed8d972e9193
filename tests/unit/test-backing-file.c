/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include "backing-test.h"
#include "os-fake.h"
#include "util/error.h"
#include "util/size.h"

/* made by us */

static void test_missing_file_is_made(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, 4 * hm_os_page_size());
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    options.offset = 2 * hm_os_page_size();
    backing = hm_test_file_open(&options);
    g_assert_true(backing.created);
    g_assert_cmpuint(backing.length, ==, 4 * hm_os_page_size());
    g_assert_cmpuint(backing.offset, ==, 2 * hm_os_page_size());
    g_assert_cmpint(hm_test_file_length(self->path), ==,
                    (gint64)(6 * hm_os_page_size()));
}

static void test_clear_keeps_the_file(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, hm_os_page_size());
    HmBacking backing = hm_test_file_open(&options);

    hm_backing_clear(&backing);
    g_assert_cmpint(hm_test_file_length(self->path), ==,
                    (gint64)hm_os_page_size());
}

static void test_undo_removes_the_file(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, hm_os_page_size());
    HmBacking backing = hm_test_file_open(&options);

    hm_backing_undo(&backing);
    g_assert_cmpint(hm_test_file_length(self->path), ==, -1);
}

static void test_undo_spares_another_file(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, hm_os_page_size());
    HmBacking backing = hm_test_file_open(&options);

    g_assert_cmpint(g_unlink(self->path), ==, 0);
    hm_test_file_make(self->path, 7);
    hm_backing_undo(&backing);
    g_assert_cmpint(hm_test_file_length(self->path), ==, 7);
}

static void test_undo_after_a_change_of_directory(HmTestFile *self)
{
    g_autofree char *before = g_get_current_dir();
    HmBackingFileOptions options =
        hm_test_file_options("file", hm_os_page_size());
    HmBacking backing = HM_BACKING_INIT;

    g_assert_cmpint(g_chdir(self->dir), ==, 0);
    backing = hm_test_file_open(&options);
    g_assert_cmpint(g_chdir(before), ==, 0);
    hm_backing_undo(&backing);
    g_assert_cmpint(hm_test_file_length(self->path), ==, -1);
}

static void test_failure_to_size_removes_it(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, hm_os_page_size());

    hm_fake_fail(HM_FAKE_TRUNCATE, 1, ENOSPC);
    hm_test_file_refused(&options, HOSTMEM_ERROR_NO_SPACE, "failed to resize");
    g_assert_cmpint(hm_test_file_length(self->path), ==, -1);
}

static void test_file_size_limit_is_named(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, 2 * hm_os_page_size());

    hm_fake_set_limit(RLIMIT_FSIZE, hm_os_page_size());
    hm_test_file_refused(&options, HOSTMEM_ERROR_LIMIT, "RLIMIT_FSIZE is");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_TRUNCATE), ==, 0);
    g_assert_cmpint(hm_test_file_length(self->path), ==, -1);
}

static void test_odd_size_is_rounded_up(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, hm_os_page_size() + 1);
    g_auto(HmBacking) backing = hm_test_file_open(&options);

    g_assert_cmpuint(backing.length, ==, 2 * hm_os_page_size());
    g_assert_cmpint(hm_test_file_length(self->path), ==,
                    (gint64)(2 * hm_os_page_size()));
}

/* there already */

static void test_existing_file_is_used_as_it_is(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, 2 * hm_os_page_size());
    HmBacking backing = HM_BACKING_INIT;

    hm_test_file_make(self->path, 4 * hm_os_page_size());
    backing = hm_test_file_open(&options);
    g_assert_false(backing.created);
    hm_backing_undo(&backing);
    g_assert_cmpint(hm_test_file_length(self->path), ==,
                    (gint64)(4 * hm_os_page_size()));
}

static void test_too_small_a_file(HmTestFile *self)
{
    HmBackingFileOptions options = hm_test_file_options(self->path, 16384);

    hm_test_file_make(self->path, 8192);
    hm_test_file_refused(&options, HOSTMEM_ERROR_INVALID,
                         "m0 backing store size 0x2000 is too small for 'size' "
                         "option 0x4000 plus 'offset' option 0x0");
    options.size = 8192;
    options.offset = hm_os_page_size();
    hm_test_file_refused(&options, HOSTMEM_ERROR_INVALID, "is too small for");
    g_assert_cmpint(hm_test_file_length(self->path), ==, 8192);
}

static void test_empty_file_is_given_its_length(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, hm_os_page_size());
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_test_file_make(self->path, 0);
    backing = hm_test_file_open(&options);
    g_assert_false(backing.created);
    g_assert_cmpint(hm_test_file_length(self->path), ==,
                    (gint64)hm_os_page_size());
}

static void test_undo_makes_a_resized_file_empty(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, hm_os_page_size());
    HmBacking backing = HM_BACKING_INIT;

    hm_test_file_make(self->path, 0);
    backing = hm_test_file_open(&options);
    hm_backing_undo(&backing);
    g_assert_cmpint(hm_test_file_length(self->path), ==, 0);
    options.size = 2 * hm_os_page_size();
    backing = hm_test_file_open(&options);
    hm_backing_clear(&backing);
    g_assert_cmpint(hm_test_file_length(self->path), ==,
                    (gint64)(2 * hm_os_page_size()));
}

static void test_file_that_appears_meanwhile(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, hm_os_page_size());
    HmBacking backing = HM_BACKING_INIT;

    hm_test_file_make(self->path, hm_os_page_size());
    hm_fake_fail(HM_FAKE_OPEN, 1, ENOENT);
    backing = hm_test_file_open(&options);
    g_assert_false(backing.created);
    hm_backing_undo(&backing);
    g_assert_cmpint(hm_test_file_length(self->path), ==,
                    (gint64)hm_os_page_size());
}

/* Somebody looks who else has the file: it is opened a moment later. */
static void test_file_with_a_lease(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, hm_os_page_size());
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_test_file_make(self->path, hm_os_page_size());
    hm_fake_fail(HM_FAKE_OPEN, 2, EAGAIN);
    backing = hm_test_file_open(&options);
    g_assert_false(backing.created);
}

static void test_link_to_a_file(HmTestFile *self)
{
    g_autofree char *target = g_build_filename(self->dir, "target", NULL);
    HmBackingFileOptions options =
        hm_test_file_options(self->path, hm_os_page_size());
    HmBacking backing = HM_BACKING_INIT;

    hm_test_file_make(target, hm_os_page_size());
    g_assert_cmpint(symlink(target, self->path), ==, 0);
    backing = hm_test_file_open(&options);
    hm_backing_undo(&backing);
    g_assert_cmpint(g_unlink(target), ==, 0);
}

static void test_link_to_nowhere(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, hm_os_page_size());

    g_assert_cmpint(symlink("/nowhere/at/all", self->path), ==, 0);
    hm_test_file_refused(&options, HOSTMEM_ERROR_NOT_FOUND, "symbolic link");
}

/* readonly */

static void test_readonly_never_creates(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, hm_os_page_size());

    options.readonly = TRUE;
    hm_test_file_refused(&options, HOSTMEM_ERROR_NOT_FOUND,
                         "for guest RAM: No such file or directory");
    g_assert_cmpint(hm_test_file_length(self->path), ==, -1);
}

static void test_readonly_never_sizes(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, hm_os_page_size());

    hm_test_file_make(self->path, 0);
    options.readonly = TRUE;
    hm_test_file_refused(&options, HOSTMEM_ERROR_INVALID,
                         "size 0x0 is too small");
    g_assert_cmpint(hm_test_file_length(self->path), ==, 0);
}

static void test_readonly_descriptor_cannot_write(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, hm_os_page_size());
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_test_file_make(self->path, hm_os_page_size());
    options.readonly = TRUE;
    backing = hm_test_file_open(&options);
    g_assert_true(backing.readonly);
    g_assert_cmpint(pwrite(backing.fd, "x", 1, 0), ==, -1);
}

static void test_readonly_directory(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->dir, hm_os_page_size());

    options.readonly = TRUE;
    hm_test_file_refused(&options, HOSTMEM_ERROR_INVALID,
                         "for guest RAM: Is a directory");
}

/* geometry */

static void test_offset_is_whole_pages(HmTestFile *self)
{
    HmBackingFileOptions options =
        hm_test_file_options(self->path, 4 * hm_os_page_size());

    options.offset = 100;
    hm_test_file_refused(&options, HOSTMEM_ERROR_INVALID,
                         "offset 0x64 must be multiples of page size 0x");
    g_assert_cmpint(hm_test_file_length(self->path), ==, -1);
}

static void test_size_is_a_page_at_least(HmTestFile *self)
{
    struct statfs hugetlbfs = {.f_type = HUGETLBFS_MAGIC, .f_bsize = 2 << 20};
    HmBackingFileOptions options = hm_test_file_options(self->path, HM_MIB);

    hm_fake_set_statfs(&hugetlbfs);
    hm_test_file_refused(
        &options, HOSTMEM_ERROR_INVALID,
        "memory size 0x100000 must be equal to or larger than page "
        "size 0x200000");
    g_assert_cmpint(hm_test_file_length(self->path), ==, -1);
}

static void test_sizes_that_overflow(HmTestFile *self)
{
    static const struct {
        guint64 size;
        guint64 offset;
    } rows[] = {
        {0, 0},
        {G_MAXUINT64, 0},
        {(guint64)G_MAXINT64 + 1, 0},
        {4096, (guint64)G_MAXINT64 + 1},
        {G_GUINT64_CONSTANT(1) << 62, G_GUINT64_CONSTANT(1) << 62},
    };

    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        HmBackingFileOptions options =
            hm_test_file_options(self->path, rows[i].size);

        options.offset = rows[i].offset;
        hm_test_file_refused(&options, HOSTMEM_ERROR_INVALID, "");
        g_assert_cmpint(hm_test_file_length(self->path), ==, -1);
    }
}

static void test_kind_follows_the_filesystem(HmTestFile *self)
{
    static const struct {
        gint64 type;
        HmMemKind kind;
    } rows[] = {
        {TMPFS_MAGIC, HM_MEM_SHMEM},
        {HUGETLBFS_MAGIC, HM_MEM_HUGETLB},
        {0xEF53, HM_MEM_FILE},
    };

    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct statfs fs = {.f_type = rows[i].type, .f_bsize = 4096};
        HmBackingFileOptions options = hm_test_file_options(self->path, HM_MIB);
        g_auto(HmBacking) backing = HM_BACKING_INIT;

        hm_fake_set_statfs(&fs);
        backing = hm_test_file_open(&options);
        g_assert_cmpint(backing.kind, ==, rows[i].kind);
    }
}

static const HmTestFileCase cases[] = {
    {"missing-file-is-made", test_missing_file_is_made},
    {"clear-keeps-the-file", test_clear_keeps_the_file},
    {"undo-removes-the-file", test_undo_removes_the_file},
    {"undo-makes-a-resized-file-empty", test_undo_makes_a_resized_file_empty},
    {"undo-spares-another-file", test_undo_spares_another_file},
    {"undo-after-a-change-of-directory", test_undo_after_a_change_of_directory},
    {"failure-to-size-removes-it", test_failure_to_size_removes_it},
    {"file-size-limit-is-named", test_file_size_limit_is_named},
    {"odd-size-is-rounded-up", test_odd_size_is_rounded_up},
    {"existing-file-is-used-as-it-is", test_existing_file_is_used_as_it_is},
    {"too-small-a-file", test_too_small_a_file},
    {"empty-file-is-given-its-length", test_empty_file_is_given_its_length},
    {"file-that-appears-meanwhile", test_file_that_appears_meanwhile},
    {"file-with-a-lease", test_file_with_a_lease},
    {"link-to-a-file", test_link_to_a_file},
    {"link-to-nowhere", test_link_to_nowhere},
    {"readonly-never-creates", test_readonly_never_creates},
    {"readonly-never-sizes", test_readonly_never_sizes},
    {"readonly-descriptor-cannot-write", test_readonly_descriptor_cannot_write},
    {"readonly-directory", test_readonly_directory},
    {"offset-is-whole-pages", test_offset_is_whole_pages},
    {"size-is-a-page-at-least", test_size_is_a_page_at_least},
    {"sizes-that-overflow", test_sizes_that_overflow},
    {"kind-follows-the-filesystem", test_kind_follows_the_filesystem},
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    hm_test_file_add("/backing-file/", cases, G_N_ELEMENTS(cases));
    return g_test_run();
}
