/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where mounting is allowed it is done, in a folder of the test's own. */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <hostmem/backend.h>
#include <hostmem/registry.h>
#include "backends/export-dir.h"
#include "object-test.h"
#include "os-fake.h"
#include "util/mounts.h"
#include "util/size.h"

/* (nullable): NULL: mounting is not allowed here, and the test is skipped. */
static HostmemExportDir *make(const char *rest)
{
    g_autofree char *options = g_strconcat(hm_test_folder(), rest, NULL);
    g_autoptr(GError) error = NULL;
    HostmemExportDir *dir = hostmem_export_dir_new(options, &error);

    if (g_error_matches(error, HOSTMEM_ERROR, HOSTMEM_ERROR_PERMISSION)) {
        g_test_skip(error->message);
        return NULL;
    }
    g_assert_no_error(error);
    return dir;
}

static void assert_refused(const char *options, gint code, const char *part)
{
    guint fds = hm_test_count_fds();
    GError *error = NULL;

    g_assert_null(hostmem_export_dir_new(options, &error));
    hm_test_assert_error(error, code, part);
    g_assert_cmpuint(hm_test_count_fds(), ==, fds);
}

static char *in_folder(const char *name)
{
    return g_build_filename(hm_test_folder(), name, NULL);
}

static void write_file(const char *name)
{
    g_autofree char *path = in_folder(name);

    g_assert_true(g_file_set_contents(path, "mine", -1, NULL));
}

static gboolean exists(const char *name)
{
    g_autofree char *path = in_folder(name);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

/* (nullable) (transfer full): what is mounted on the test's folder. */
static HmMount *find_mount(void)
{
    g_autoptr(HmMount) mount = NULL;
    struct stat st;

    g_assert_cmpint(stat(hm_test_folder(), &st), ==, 0);
    mount = hm_mount_find(st.st_dev);
    return mount && g_str_equal(mount->source, "hostmem-export")
               ? g_steal_pointer(&mount)
               : NULL;
}

static gboolean is_mounted(void)
{
    g_autoptr(HmMount) mount = find_mount();

    return mount != NULL;
}

static void unmount(void)
{
    g_assert_cmpint(umount2(hm_test_folder(), MNT_DETACH), ==, 0);
}

/* Mounting */

static void test_mounted_as_long_as_it_lives(void)
{
    HostmemExportDir *dir = make("");
    g_autoptr(HmMount) mount = NULL;
    struct stat st;

    if (!dir) {
        return;
    }
    mount = find_mount();
    g_assert_nonnull(mount);
    g_assert_true(hm_mount_has_option(mount, "huge=always"));
    g_assert_cmpint(stat(hm_test_folder(), &st), ==, 0);
    g_assert_cmpuint(st.st_mode & 07777, ==, 0711);
    g_assert_cmpstr(hostmem_export_dir_get_path(dir), ==, hm_test_folder());
    g_object_unref(dir);
    g_assert_false(is_mounted());
}

static void test_size(void)
{
    g_autoptr(HostmemExportDir) dir = make(",size=8M");
    struct statfs fs;

    if (!dir) {
        return;
    }
    g_assert_cmpint(statfs(hm_test_folder(), &fs), ==, 0);
    g_assert_cmpuint((guint64)fs.f_blocks * (guint64)fs.f_bsize, ==,
                     8 * HM_MIB);
}

static void test_options_that_are_none(void)
{
    assert_refused("", HOSTMEM_ERROR_INVALID, "path");
    assert_refused("/tmp,size=x", HOSTMEM_ERROR_INVALID, "size");
    assert_refused("/tmp,size=0", HOSTMEM_ERROR_INVALID, "size");
    assert_refused("/tmp,colour=red", HOSTMEM_ERROR_INVALID, "colour");
}

static void test_directory_that_is_none(void)
{
    assert_refused("/nowhere/at/all", HOSTMEM_ERROR_NOT_FOUND,
                   "/nowhere/at/all");
    assert_refused("/dev/null", HOSTMEM_ERROR_INVALID, "/dev/null");
}

static void test_directory_that_is_not_empty(void)
{
    write_file("mine");
    assert_refused(hm_test_folder(), HOSTMEM_ERROR_INVALID, "not empty");
    g_assert_true(exists("mine"));
}

static void test_root_of_another_filesystem(void)
{
    assert_refused("/proc", HOSTMEM_ERROR_INVALID, "proc");
}

static void test_without_the_right_to_mount(void)
{
    hm_fake_fail(HM_FAKE_TMPFS, 1, EPERM);
    assert_refused(hm_test_folder(), HOSTMEM_ERROR_PERMISSION, "CAP_SYS_ADMIN");
    if (geteuid() == 0) {
        hm_fake_fail(HM_FAKE_ATTACH, 1, EPERM);
        assert_refused(hm_test_folder(), HOSTMEM_ERROR_PERMISSION,
                       "CAP_SYS_ADMIN");
    }
}

static void test_kernel_without_huge_pages(void)
{
    hm_fake_fail(HM_FAKE_TMPFS, 1, EINVAL);
    assert_refused(hm_test_folder(), HOSTMEM_ERROR_UNSUPPORTED, "huge pages");
}

static void test_directory_that_changes_all_the_time(void)
{
    hm_fake_fail_always(HM_FAKE_STAT, EIO);
    assert_refused(hm_test_folder(), HOSTMEM_ERROR_BUSY, "all the time");
}

/* Two at a time */

static void test_one_that_is_in_use(void)
{
    g_autoptr(HostmemExportDir) dir = make("");

    if (!dir) {
        return;
    }
    assert_refused(hm_test_folder(), HOSTMEM_ERROR_BUSY, hm_test_folder());
    g_assert_true(is_mounted());
}

static void test_one_that_is_about_to_be(void)
{
    int other = open(hm_test_folder(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    g_assert_cmpint(flock(other, LOCK_EX), ==, 0);
    assert_refused(hm_test_folder(), HOSTMEM_ERROR_BUSY, hm_test_folder());
    close(other);
}

/* What was left behind */

static gboolean leave_behind(void)
{
    g_autoptr(HostmemExportDir) dir = make("");

    if (dir) {
        hm_export_dir_leave_behind(dir);
    }
    return dir != NULL;
}

static void test_taken_over(void)
{
    HostmemExportDir *dir;

    if (!leave_behind()) {
        return;
    }
    g_assert_true(is_mounted());
    dir = make("");
    g_assert_true(is_mounted());
    assert_refused(hm_test_folder(), HOSTMEM_ERROR_BUSY, hm_test_folder());
    g_object_unref(dir);
    g_assert_false(is_mounted());
}

static void test_files_of_nobody_go(void)
{
    g_autoptr(HostmemExportDir) dir = NULL;
    g_autofree char *used = in_folder("used");
    g_autofree char *folder = in_folder("folder");
    int fd;

    if (!leave_behind()) {
        return;
    }
    write_file("stale");
    write_file("used");
    g_assert_cmpint(g_mkdir(folder, 0700), ==, 0);
    fd = open(used, O_RDONLY | O_CLOEXEC);
    g_test_expect_message("hostmem", G_LOG_LEVEL_MESSAGE,
                          "*/folder was left behind and stays: *");
    g_test_expect_message("hostmem", G_LOG_LEVEL_MESSAGE,
                          "*/used was left behind and stays: somebody has it "
                          "open");
    dir = make("");
    g_test_assert_expected_messages();
    g_assert_false(exists("stale"));
    g_assert_true(exists("used"));
    close(fd);
}

static void test_size_stays(void)
{
    g_autoptr(HostmemExportDir) dir = NULL;

    if (!leave_behind()) {
        return;
    }
    g_test_expect_message("hostmem", G_LOG_LEVEL_MESSAGE,
                          "*keeps its size: no limit");
    dir = make(",size=8M");
    g_test_assert_expected_messages();
}

static void test_mount_over_it_stays(void)
{
    HostmemExportDir *dir = make("");

    if (!dir) {
        return;
    }
    g_assert_cmpint(mount("over", hm_test_folder(), "tmpfs", 0, NULL), ==, 0);
    g_test_expect_message("hostmem", G_LOG_LEVEL_MESSAGE,
                          "*is not unmounted: *");
    g_object_unref(dir);
    g_test_assert_expected_messages();
    g_assert_false(is_mounted());
    unmount();
    g_assert_true(is_mounted());
    unmount();
}

/* With backends */

static void test_names_lie_in_it(void)
{
    HostmemExportDir *dir = make("");
    HostmemRegistry *registry;
    HostmemObject *object;
    g_autofree char *path = NULL;
    g_autoptr(GError) error = NULL;

    if (!dir) {
        return;
    }
    registry = hostmem_registry_new();
    hostmem_registry_set_export_dir(registry, dir);
    g_object_unref(dir);
    object = hostmem_registry_add(
        registry,
        "memory-backend-ram,id=m0,size=4M,share=on,prealloc=on,"
        "export-path=vm7",
        NULL, &error);
    g_assert_no_error(error);
    path = g_strdup_printf("\"%s/vm7\"", hm_test_folder());
    hm_test_assert_reads(object, "export-path", path);
    g_assert_true(exists("vm7"));
    g_assert_true(hostmem_registry_remove(registry, "m0", NULL));
    g_assert_false(exists("vm7"));
    g_object_unref(registry);
    g_assert_false(is_mounted());
}

static void test_backends_keep_it(void)
{
    HostmemExportDir *dir = make("");
    HostmemRegistry *registry;
    HostmemObject *object;

    if (!dir) {
        return;
    }
    registry = hostmem_registry_new();
    hostmem_registry_set_export_dir(registry, dir);
    object = g_object_ref(hostmem_registry_add(
        registry, "memory-backend-ram,id=m0,size=4M,share=on,export-path=vm7",
        NULL, NULL));
    g_object_unref(registry);
    g_object_unref(dir);
    g_assert_true(exists("vm7"));
    g_object_unref(object);
    g_assert_false(is_mounted());
}

static const HmTest tests[] = {
    {"/export-dir/mounted-as-long-as-it-lives",
     test_mounted_as_long_as_it_lives},
    {"/export-dir/size", test_size},
    {"/export-dir/options-that-are-none", test_options_that_are_none},
    {"/export-dir/directory-that-is-none", test_directory_that_is_none},
    {"/export-dir/directory-that-is-not-empty",
     test_directory_that_is_not_empty},
    {"/export-dir/root-of-another-filesystem", test_root_of_another_filesystem},
    {"/export-dir/without-the-right-to-mount", test_without_the_right_to_mount},
    {"/export-dir/kernel-without-huge-pages", test_kernel_without_huge_pages},
    {"/export-dir/directory-that-changes-all-the-time",
     test_directory_that_changes_all_the_time},
    {"/export-dir/one-that-is-in-use", test_one_that_is_in_use},
    {"/export-dir/one-that-is-about-to-be", test_one_that_is_about_to_be},
    {"/export-dir/taken-over", test_taken_over},
    {"/export-dir/files-of-nobody-go", test_files_of_nobody_go},
    {"/export-dir/size-stays", test_size_stays},
    {"/export-dir/mount-over-it-stays", test_mount_over_it_stays},
    {"/export-dir/names-lie-in-it", test_names_lie_in_it},
    {"/export-dir/backends-keep-it", test_backends_keep_it},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
