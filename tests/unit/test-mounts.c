/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/sysmacros.h>
#include "os-fake.h"
#include "util/mounts.h"

#define FILE_NAME "/proc/self/mountinfo"

static HmMount *find(const char *text, unsigned number)
{
    hm_fake_reset();
    hm_fake_set_file(FILE_NAME, text);
    return hm_mount_find(makedev(0, number));
}

static void assert_missing(const char *text, unsigned number)
{
    g_assert_null(find(text, number));
    hm_fake_reset();
}

static void test_find(void)
{
    g_autoptr(HmMount) mount =
        find("22 27 0:21 / /proc rw,relatime - proc proc rw\n"
             "30 25 0:27 / /mnt rw,nosuid shared:5 master:1 - tmpfs "
             "my\\040name rw,size=8k,huge=always\n",
             27);

    g_assert_nonnull(mount);
    g_assert_cmpstr(mount->type, ==, "tmpfs");
    g_assert_cmpstr(mount->source, ==, "my name");
    g_assert_cmpstr(mount->options, ==, "rw,size=8k,huge=always");
    hm_fake_reset();
}

static void test_options_are_whole_words(void)
{
    g_autoptr(HmMount) mount =
        find("30 25 0:27 / /mnt rw - tmpfs none rw,huge=always2,huge\n", 27);

    g_assert_true(hm_mount_has_option(mount, "huge"));
    g_assert_true(hm_mount_has_option(mount, "rw"));
    g_assert_false(hm_mount_has_option(mount, "huge=always"));
    hm_fake_reset();
}

static void test_device_that_is_not_mounted(void)
{
    assert_missing("30 25 0:27 / /mnt rw - tmpfs none rw\n", 2);
    assert_missing("", 27);
}

static void test_lines_that_are_cut(void)
{
    assert_missing("30 25 0:27\n", 27);
    assert_missing("30 25 0:27 / /mnt rw\n", 27);
    assert_missing("30 25 0:27 / /mnt rw shared:1\n", 27);
    assert_missing("30 25 0:27 / /mnt rw - tmpfs none\n", 27);
}

static void test_file_that_cannot_be_read(void)
{
    assert_missing(NULL, 27);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/mounts/find", test_find);
    g_test_add_func("/mounts/options-are-whole-words",
                    test_options_are_whole_words);
    g_test_add_func("/mounts/device-that-is-not-mounted",
                    test_device_that_is_not_mounted);
    g_test_add_func("/mounts/lines-that-are-cut", test_lines_that_are_cut);
    g_test_add_func("/mounts/file-that-cannot-be-read",
                    test_file_that_cannot_be_read);
    return g_test_run();
}
