/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "backing-test.h"
#include "os-fake.h"
#include "util/export.h"
#include "util/size.h"

#define SIZE (64 * HM_KIB)

static void pretend(guint64 type, guint64 block_size)
{
    const struct statfs fs = {.f_type = (__typeof__(fs.f_type))type,
                              .f_bsize = (__typeof__(fs.f_bsize))block_size};

    hm_fake_set_statfs(&fs);
}

static HmExportOptions options_of(const HmTestFile *file)
{
    pretend(TMPFS_MAGIC, 4 * HM_KIB);
    return (HmExportOptions){.path = file->path, .size = SIZE};
}

static HmExport *make(const HmExportOptions *options, HmBacking *backing)
{
    g_autoptr(GError) error = NULL;
    HmExport *export = hm_export_new(options, backing, &error);

    g_assert_no_error(error);
    return export;
}

static void publish(HmExport *export, const HmBacking *backing)
{
    g_autoptr(GError) error = NULL;

    hm_export_publish(export, backing->fd, &error);
    g_assert_no_error(error);
}

static void assert_error(GError *error, HostmemError code, const char *part)
{
    g_assert_error(error, HOSTMEM_ERROR, (gint)code);
    if (!strstr(error->message, part)) {
        g_error("no '%s' in '%s'", part, error->message);
    }
    g_error_free(error);
}

static void assert_refused(const HmExportOptions *options, HostmemError code,
                           const char *part)
{
    HmBacking backing = HM_BACKING_INIT;
    GError *error = NULL;

    g_assert_null(hm_export_new(options, &backing, &error));
    assert_error(error, code, part);
    g_assert_cmpint(backing.fd, ==, -1);
}

static void write_file(const char *path, const char *text)
{
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void assert_content(const char *path, const char *expected)
{
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, expected);
}

/* A name */

static void test_name_comes_at_the_end(HmTestFile *file)
{
    HmExportOptions options = options_of(file);
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(HmExport) export = make(&options, &backing);
    GStatBuf st;

    g_assert_cmpint(hm_test_file_length(file->path), ==, -1);
    g_assert_cmpint(backing.kind, ==, HM_MEM_SHMEM);
    g_assert_true(backing.shared);
    g_assert_false(backing.own_tmpfs);
    g_assert_cmpuint(backing.length, ==, SIZE);
    g_assert_cmpstr(backing.path, ==, file->path);
    publish(export, &backing);
    g_assert_cmpint(g_stat(file->path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, SIZE);
    g_assert_cmpuint(st.st_mode, ==, S_IFREG | 0600);
    g_assert_true(hm_export_withdraw(export, NULL));
    g_assert_cmpint(hm_test_file_length(file->path), ==, -1);
}

static void test_nothing_to_withdraw_before(HmTestFile *file)
{
    HmExportOptions options = options_of(file);
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(HmExport) export = make(&options, &backing);

    write_file(file->path, "mine");
    g_assert_true(hm_export_withdraw(export, NULL));
    assert_content(file->path, "mine");
}

static void test_what_others_put_there_stays(HmTestFile *file)
{
    HmExportOptions options = options_of(file);
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(HmExport) export = make(&options, &backing);

    publish(export, &backing);
    write_file(file->path, "mine"); /* renames it over ours */
    g_assert_true(hm_export_withdraw(export, NULL));
    assert_content(file->path, "mine");
}

static void test_what_others_removed_is_gone(HmTestFile *file)
{
    HmExportOptions options = options_of(file);
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(HmExport) export = make(&options, &backing);

    publish(export, &backing);
    g_assert_cmpint(g_unlink(file->path), ==, 0);
    g_assert_true(hm_export_withdraw(export, NULL));
}

static void test_name_that_stays_is_an_error(HmTestFile *file)
{
    HmExportOptions options = options_of(file);
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(HmExport) export = make(&options, &backing);
    GError *error = NULL;

    publish(export, &backing);
    hm_fake_fail(HM_FAKE_UNLINK_AT, 1, EACCES);
    g_assert_false(hm_export_withdraw(export, &error));
    assert_error(error, HOSTMEM_ERROR_PERMISSION, file->path);
}

static void test_adopt(HmTestFile *file)
{
    HmExportOptions options = options_of(file);
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    HmExport *first = make(&options, &backing);
    g_autoptr(HmExport) second = NULL;

    publish(first, &backing);
    hm_export_free(first);
    g_assert_cmpint(hm_test_file_length(file->path), ==, SIZE);
    second = hm_export_adopt(file->path, backing.fd, NULL);
    g_assert_nonnull(second);
    g_assert_cmpstr(hm_export_get_path(second), ==, file->path);
    g_assert_true(hm_export_withdraw(second, NULL));
    g_assert_cmpint(hm_test_file_length(file->path), ==, -1);
}

static void test_adopt_of_something_else(HmTestFile *file)
{
    HmExportOptions options = options_of(file);
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(HmExport) export = make(&options, &backing);
    GError *error = NULL;

    g_assert_null(hm_export_adopt(file->path, backing.fd, &error));
    assert_error(error, HOSTMEM_ERROR_NOT_FOUND, file->path);
    error = NULL;
    write_file(file->path, "mine");
    g_assert_null(hm_export_adopt(file->path, backing.fd, &error));
    assert_error(error, HOSTMEM_ERROR_NOT_FOUND, file->path);
}

/* One that is taken */

static void test_name_is_taken(HmTestFile *file)
{
    HmExportOptions options = options_of(file);

    write_file(file->path, "mine");
    assert_refused(&options, HOSTMEM_ERROR_EXISTS, file->path);
    assert_content(file->path, "mine");
}

static void test_name_is_taken_meanwhile(HmTestFile *file)
{
    HmExportOptions options = options_of(file);
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(HmExport) export = make(&options, &backing);
    GError *error = NULL;

    write_file(file->path, "mine");
    g_assert_false(hm_export_publish(export, backing.fd, &error));
    assert_error(error, HOSTMEM_ERROR_EXISTS, file->path);
    g_assert_true(hm_export_withdraw(export, NULL));
    assert_content(file->path, "mine");
}

static void test_symbolic_link_is_not_followed(HmTestFile *file)
{
    HmExportOptions options = options_of(file);
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autofree char *target = g_build_filename(file->dir, "target", NULL);
    g_autoptr(HmExport) export = make(&options, &backing);
    GError *error = NULL;

    g_assert_cmpint(symlink(target, file->path), ==, 0);
    assert_refused(&options, HOSTMEM_ERROR_EXISTS, file->path);
    g_assert_false(hm_export_publish(export, backing.fd, &error));
    assert_error(error, HOSTMEM_ERROR_EXISTS, file->path);
    g_assert_cmpint(hm_test_file_length(target), ==, -1);
}

static void test_directory_that_is_moved_away(HmTestFile *file)
{
    HmExportOptions options = options_of(file);
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autofree char *away = g_strconcat(file->dir, "-away", NULL);
    g_autofree char *there = g_build_filename(away, "file", NULL);
    g_autoptr(HmExport) export = make(&options, &backing);

    g_assert_cmpint(g_rename(file->dir, away), ==, 0);
    g_assert_cmpint(symlink("/proc", file->dir), ==, 0);
    publish(export, &backing);
    g_assert_cmpint(hm_test_file_length(there), ==, SIZE);
    g_assert_true(hm_export_withdraw(export, NULL));
    g_assert_cmpint(hm_test_file_length(there), ==, -1);
    g_assert_cmpint(g_unlink(file->dir), ==, 0);
    g_assert_cmpint(g_rename(away, file->dir), ==, 0);
}

static void test_directory_that_is_removed(HmTestFile *file)
{
    HmExportOptions options = options_of(file);
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(HmExport) export = make(&options, &backing);
    GError *error = NULL;

    hm_fake_fail(HM_FAKE_LINK, 1, ENOENT);
    g_assert_false(hm_export_publish(export, backing.fd, &error));
    assert_error(error, HOSTMEM_ERROR_NOT_FOUND, file->path);
}

/* Where it cannot be */

static void test_no_name_of_a_file(HmTestFile *file)
{
    static const char *const names[] = {"file", "/tmp/", "/tmp/..", "/tmp/.",
                                        "/"};
    HmExportOptions options = options_of(file);

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        options.path = names[i];
        assert_refused(&options, HOSTMEM_ERROR_INVALID, names[i]);
    }
}

static void test_name_that_is_too_long(HmTestFile *file)
{
    g_autofree char *name = g_strnfill(300, 'x');
    g_autofree char *path = g_build_filename(file->dir, name, NULL);
    HmExportOptions options = options_of(file);

    options.path = path;
    assert_refused(&options, HOSTMEM_ERROR_INVALID, "too long");
}

static void test_directory_that_is_none(HmTestFile *file)
{
    HmExportOptions options = options_of(file);

    options.path = "/nowhere/at/all";
    assert_refused(&options, HOSTMEM_ERROR_NOT_FOUND, "/nowhere/at: ");
    options.path = "/dev/null/file";
    assert_refused(&options, HOSTMEM_ERROR_INVALID, "/dev/null: ");
}

static void test_directory_that_forbids_it(HmTestFile *file)
{
    HmExportOptions options = options_of(file);

    hm_fake_fail(HM_FAKE_TMPFILE, 1, EACCES);
    assert_refused(&options, HOSTMEM_ERROR_PERMISSION, file->path);
    hm_fake_fail(HM_FAKE_OPEN, 1, EACCES);
    assert_refused(&options, HOSTMEM_ERROR_PERMISSION, file->dir);
}

static void test_tmpfs_that_is_full(HmTestFile *file)
{
    HmExportOptions options = options_of(file);

    hm_fake_fail(HM_FAKE_TMPFILE, 1, ENOSPC);
    assert_refused(&options, HOSTMEM_ERROR_NO_SPACE, file->path);
}

static void test_kernel_without_unnamed_files(HmTestFile *file)
{
    HmExportOptions options = options_of(file);

    hm_fake_fail(HM_FAKE_TMPFILE, 1, EOPNOTSUPP);
    assert_refused(&options, HOSTMEM_ERROR_UNSUPPORTED, file->path);
}

/* A device number as mountinfo has it. */
static char *device_of(const char *path)
{
    GStatBuf st;

    g_assert_cmpint(g_stat(path, &st), ==, 0);
    return g_strdup_printf("%u:%u", major(st.st_dev), minor(st.st_dev));
}

static void pretend_mount(const HmTestFile *file, const char *what)
{
    g_autofree char *device = device_of(file->dir);
    g_autofree char *line =
        g_strdup_printf("30 25 %s / /mnt rw - %s\n", device, what);

    hm_fake_set_file("/proc/self/mountinfo", line);
}

static void test_other_filesystem(HmTestFile *file)
{
    HmExportOptions options = options_of(file);

    pretend(0xef53, 4 * HM_KIB);
    pretend_mount(file, "myfs none rw");
    assert_refused(&options, HOSTMEM_ERROR_INVALID, "myfs");
    hm_fake_set_file("/proc/self/mountinfo", NULL);
    assert_refused(&options, HOSTMEM_ERROR_INVALID, "another filesystem");
}

static void test_huge_tmpfs_is_noticed(HmTestFile *file)
{
    static const char *const options_there[] = {"rw,huge=always",
                                                "rw,huge=within_size"};
    HmExportOptions options = options_of(file);

    for (guint i = 0; i < G_N_ELEMENTS(options_there); i++) {
        g_autofree char *what =
            g_strconcat("tmpfs none ", options_there[i], NULL);
        g_auto(HmBacking) backing = HM_BACKING_INIT;
        g_autoptr(HmExport) export = NULL;

        pretend_mount(file, what);
        export = make(&options, &backing);
        g_assert_true(backing.own_tmpfs);
    }
}

static void test_huge_pages_on_a_tmpfs(HmTestFile *file)
{
    HmExportOptions options = options_of(file);

    options.huge_page_size = 2 * HM_MIB;
    assert_refused(&options, HOSTMEM_ERROR_INVALID,
                   "mount -t hugetlbfs -o pagesize=2048K none ");
}

static void test_huge_pages_of_another_size(HmTestFile *file)
{
    HmExportOptions options = options_of(file);

    pretend(HUGETLBFS_MAGIC, HM_GIB);
    options.huge_page_size = 2 * HM_MIB;
    assert_refused(&options, HOSTMEM_ERROR_INVALID, "1 GiB");
}

static void test_base_pages_on_a_hugetlbfs(HmTestFile *file)
{
    HmExportOptions options = options_of(file);

    pretend(HUGETLBFS_MAGIC, 2 * HM_MIB);
    assert_refused(&options, HOSTMEM_ERROR_INVALID, "hugetlbsize=2048K");
}

static void test_hugetlbfs(HmTestFile *file)
{
    HmExportOptions options = options_of(file);
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(HmExport) export = NULL;

    pretend(HUGETLBFS_MAGIC, 2 * HM_MIB);
    options.huge_page_size = 2 * HM_MIB;
    options.size = 4 * HM_MIB;
    export = make(&options, &backing);
    g_assert_cmpint(backing.kind, ==, HM_MEM_HUGETLB);
    g_assert_cmpuint(backing.page_size, ==, 2 * HM_MIB);
    g_assert_false(backing.own_tmpfs);
}

/* Whose it is */

static void test_mode_whatever_the_umask(HmTestFile *file)
{
    HmExportOptions options = options_of(file);
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(HmExport) export = NULL;
    mode_t before = umask(0777);
    struct stat st;

    export = make(&options, &backing);
    umask(before);
    g_assert_cmpint(hm_os_stat(backing.fd, &st), ==, 0);
    g_assert_cmpuint(st.st_mode & 07777, ==, 0600);
}

static void test_owner(HmTestFile *file)
{
    const HmOwner owner = {getuid(), getgid()};
    HmExportOptions options = options_of(file);
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(HmExport) export = NULL;
    HmFakeRecord record;

    options.owner = &owner;
    options.owner_name = "me";
    export = make(&options, &backing);
    g_assert_true(hm_fake_get_call(HM_FAKE_CHOWN, 1, &record));
    g_assert_cmpint(record.fd, ==, backing.fd);
    g_assert_cmpuint((uid_t)record.arg, ==, owner.uid);
}

static void test_owner_that_may_not_be(HmTestFile *file)
{
    const HmOwner owner = {7, 7};
    HmExportOptions options = options_of(file);

    options.owner = &owner;
    options.owner_name = "vm7";
    hm_fake_fail(HM_FAKE_CHOWN, 1, EPERM);
    assert_refused(&options, HOSTMEM_ERROR_PERMISSION, "'vm7'");
    hm_fake_fail(HM_FAKE_CHOWN, 1, EPERM);
    assert_refused(&options, HOSTMEM_ERROR_PERMISSION, "CAP_CHOWN");
}

static const HmTestFileCase cases[] = {
    {"name-comes-at-the-end", test_name_comes_at_the_end},
    {"nothing-to-withdraw-before", test_nothing_to_withdraw_before},
    {"what-others-put-there-stays", test_what_others_put_there_stays},
    {"what-others-removed-is-gone", test_what_others_removed_is_gone},
    {"name-that-stays-is-an-error", test_name_that_stays_is_an_error},
    {"adopt", test_adopt},
    {"adopt-of-something-else", test_adopt_of_something_else},
    {"name-is-taken", test_name_is_taken},
    {"name-is-taken-meanwhile", test_name_is_taken_meanwhile},
    {"symbolic-link-is-not-followed", test_symbolic_link_is_not_followed},
    {"directory-that-is-moved-away", test_directory_that_is_moved_away},
    {"directory-that-is-removed", test_directory_that_is_removed},
    {"no-name-of-a-file", test_no_name_of_a_file},
    {"name-that-is-too-long", test_name_that_is_too_long},
    {"directory-that-is-none", test_directory_that_is_none},
    {"directory-that-forbids-it", test_directory_that_forbids_it},
    {"tmpfs-that-is-full", test_tmpfs_that_is_full},
    {"kernel-without-unnamed-files", test_kernel_without_unnamed_files},
    {"other-filesystem", test_other_filesystem},
    {"huge-tmpfs-is-noticed", test_huge_tmpfs_is_noticed},
    {"huge-pages-on-a-tmpfs", test_huge_pages_on_a_tmpfs},
    {"huge-pages-of-another-size", test_huge_pages_of_another_size},
    {"base-pages-on-a-hugetlbfs", test_base_pages_on_a_hugetlbfs},
    {"hugetlbfs", test_hugetlbfs},
    {"mode-whatever-the-umask", test_mode_whatever_the_umask},
    {"owner", test_owner},
    {"owner-that-may-not-be", test_owner_that_may_not_be},
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    hm_test_file_add("/export/", cases, G_N_ELEMENTS(cases));
    return g_test_run();
}
