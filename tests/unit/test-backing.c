/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/memfd.h>
#include <string.h>
#include <unistd.h>
#include "os-fake.h"
#include "util/backing.h"
#include "util/error.h"
#include "util/mmap.h"
#include "util/size.h"

static void assert_text(const GError *error, const char *part)
{
    if (!strstr(error->message, part)) {
        g_test_message("no '%s' in '%s'", part, error->message);
        g_test_fail();
    }
}

static void assert_untouched(const HmBacking *backing)
{
    HmBacking init = HM_BACKING_INIT;

    g_assert_cmpmem(backing, sizeof(*backing), &init, sizeof(init));
}

static gsize page(void)
{
    return hm_os_page_size();
}

/* anonymous */

static void test_anon(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    g_assert_true(hm_backing_init_anon(&backing, 4 * HM_MIB, NULL));
    g_assert_cmpint(backing.kind, ==, HM_MEM_ANON);
    g_assert_cmpint(backing.fd, ==, -1);
    g_assert_cmpuint(backing.length, ==, 4 * HM_MIB);
    g_assert_cmpuint(backing.page_size, ==, page());
}

static void test_anon_is_rounded_up(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    g_assert_true(hm_backing_init_anon(&backing, 1, NULL));
    g_assert_cmpuint(backing.length, ==, page());
}

static void test_anon_of_impossible_sizes(void)
{
    static const guint64 sizes[] = {0, (guint64)G_MAXINT64 + 1, G_MAXINT64,
                                    G_MAXUINT64};

    hm_fake_reset();
    for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_auto(HmBacking) backing = HM_BACKING_INIT;
        g_autoptr(GError) error = NULL;

        g_assert_false(hm_backing_init_anon(&backing, sizes[i], &error));
        g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
        assert_untouched(&backing);
    }
}

/* memfd */

static gboolean init_memfd(HmBacking *backing, guint64 size, gsize huge,
                           gboolean seal, GError **error)
{
    return hm_backing_init_memfd(backing, "test", size, huge, seal, TRUE,
                                 error);
}

static void test_memfd(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    struct stat st;

    hm_fake_reset();
    g_assert_true(init_memfd(&backing, HM_MIB, 0, FALSE, NULL));
    g_assert_cmpint(backing.kind, ==, HM_MEM_SHMEM);
    g_assert_cmpuint(backing.length, ==, HM_MIB);
    g_assert_true(backing.shared);
    g_assert_cmpint(hm_os_stat(backing.fd, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, HM_MIB);
}

static void test_memfd_is_sealed_after_sizing(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autofree char *sequence = NULL;

    hm_fake_reset();
    g_assert_true(init_memfd(&backing, HM_MIB, 0, TRUE, NULL));
    sequence = hm_fake_sequence();
    g_assert_cmpstr(sequence, ==, "memfd truncate add_seals reopen close");
    g_assert_cmpint(hm_os_truncate(backing.fd, 2 * HM_MIB), ==, -EPERM);
    g_assert_cmpint(hm_os_truncate(backing.fd, 0), ==, -EPERM);
    g_assert_cmpint(hm_os_add_seals(backing.fd, F_SEAL_WRITE), ==, -EPERM);
}

static void test_memfd_with_seal_off_stays_unsealed(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    g_assert_true(init_memfd(&backing, HM_MIB, 0, FALSE, NULL));
    g_assert_cmpint(hm_os_truncate(backing.fd, 2 * HM_MIB), ==, 0);
    g_assert_cmpint(hm_os_add_seals(backing.fd, F_SEAL_GROW), ==, -EPERM);
}

static void test_memfd_name_may_be_long(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autofree char *name = g_strnfill(5000, 'n');

    hm_fake_reset();
    g_assert_true(
        hm_backing_init_memfd(&backing, name, HM_MIB, 0, FALSE, TRUE, NULL));
}

static void test_memfd_size_is_whole_pages(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(GError) error = NULL;

    hm_fake_reset();
    g_assert_false(init_memfd(&backing, page() + 1, 0, FALSE, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    assert_text(error, "must be multiple of");
    assert_untouched(&backing);
}

static void test_memfd_size_is_not_zero(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(GError) error = NULL;

    hm_fake_reset();
    g_assert_false(init_memfd(&backing, 0, 0, FALSE, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    g_clear_error(&error);
    g_assert_false(init_memfd(&backing, 0, 2 * HM_MIB, FALSE, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
}

static void test_memfd_of_huge_pages(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    HmFakeRecord record;

    hm_fake_reset();
    if (!init_memfd(&backing, 2 * HM_MIB, 2 * HM_MIB, TRUE, NULL)) {
        g_test_skip("no huge pages of 2 MiB");
        return;
    }
    g_assert_cmpint(backing.kind, ==, HM_MEM_HUGETLB);
    g_assert_cmpuint(backing.page_size, ==, 2 * HM_MIB);
    g_assert_true(hm_fake_get_call(HM_FAKE_MEMFD, 1, &record));
    g_assert_cmphex((guint64)record.arg, ==,
                    MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB |
                        21u << MFD_HUGE_SHIFT);
}

static void test_memfd_of_part_of_a_huge_page(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(GError) error = NULL;

    hm_fake_reset();
    g_assert_false(init_memfd(&backing, HM_MIB, 2 * HM_MIB, FALSE, &error));
    if (g_error_matches(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED)) {
        g_test_skip("no huge pages of 2 MiB");
        return;
    }
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    g_assert_cmpstr(error->message, ==,
                    "failed to resize memfd to 1048576: Invalid argument");
}

static void test_memfd_of_unknown_huge_pages(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(GError) error = NULL;

    hm_fake_reset();
    hm_fake_fail(HM_FAKE_MEMFD, 1, ENODEV);
    g_assert_false(init_memfd(&backing, 2 * HM_MIB, 64 * HM_KIB, TRUE, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED);
    g_assert_cmpstr(error->message, ==,
                    "failed to create memfd with flags 0x40000007: No such "
                    "device (this host has no huge pages of 64 KiB)");
}

static void test_memfd_without_descriptors(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(GError) error = NULL;

    hm_fake_reset();
    hm_fake_set_limit(RLIMIT_NOFILE, 20);
    hm_fake_fail(HM_FAKE_MEMFD, 1, EMFILE);
    g_assert_false(init_memfd(&backing, HM_MIB, 0, TRUE, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT);
    assert_text(error, "RLIMIT_NOFILE is 20");
}

static void test_memfd_without_memfds(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(GError) error = NULL;

    hm_fake_reset();
    hm_fake_fail(HM_FAKE_MEMFD, 1, ENOSYS);
    g_assert_false(init_memfd(&backing, HM_MIB, 0, TRUE, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED);
}

static void test_memfd_that_cannot_be_sealed(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(GError) error = NULL;

    hm_fake_reset();
    hm_fake_fail(HM_FAKE_ADD_SEALS, 1, EINVAL);
    g_assert_false(init_memfd(&backing, HM_MIB, 0, TRUE, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED);
    assert_text(error, "failed to add seals 0x7");
}

static void test_memfd_failures_leak_no_descriptor(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    hm_fake_fail(HM_FAKE_TRUNCATE, 1, EINVAL);
    g_assert_false(init_memfd(&backing, HM_MIB, 0, TRUE, NULL));
    hm_fake_fail(HM_FAKE_ADD_SEALS, 1, EPERM);
    g_assert_false(init_memfd(&backing, HM_MIB, 0, TRUE, NULL));
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MEMFD), ==, 2);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_CLOSE), ==, 2);
    assert_untouched(&backing);
}

static void test_file_size_limit_is_asked_before_it_kills(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(GError) error = NULL;

    hm_fake_reset();
    hm_fake_set_limit(RLIMIT_FSIZE, HM_MIB);
    g_assert_true(init_memfd(&backing, HM_MIB, 0, FALSE, &error));
    hm_backing_clear(&backing);
    g_assert_false(init_memfd(&backing, 2 * HM_MIB, 0, FALSE, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT);
    assert_text(error, "failed to resize memfd to 2097152: File too large "
                       "(RLIMIT_FSIZE is 1048576)");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_TRUNCATE), ==, 1);
}

/* POSIX shared memory, private tmpfs */

static void test_shm(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    g_assert_true(hm_backing_init_shm(&backing, HM_MIB, NULL));
    g_assert_cmpint(backing.kind, ==, HM_MEM_SHMEM);
    g_assert_cmpuint(backing.length, ==, HM_MIB);
    g_assert_true(backing.shared);
}

static void test_shm_errors(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(GError) create = NULL;
    g_autoptr(GError) resize = NULL;

    hm_fake_reset();
    hm_fake_fail(HM_FAKE_SHM, 1, EACCES);
    g_assert_false(hm_backing_init_shm(&backing, HM_MIB, &create));
    g_assert_error(create, HOSTMEM_ERROR, HOSTMEM_ERROR_PERMISSION);
    assert_text(create, "failed to create POSIX shared memory: Permission");
    hm_fake_fail(HM_FAKE_TRUNCATE, 1, EFBIG);
    g_assert_false(hm_backing_init_shm(&backing, HM_MIB, &resize));
    assert_text(resize, "failed to resize POSIX shared memory to 1048576: ");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_CLOSE), ==, 1);
}

static void test_own_tmpfs(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(GError) error = NULL;

    hm_fake_reset();
    if (!hm_backing_init_own_tmpfs(&backing, HM_MIB, TRUE, &error)) {
        g_test_skip(error->message);
        return;
    }
    g_assert_cmpint(backing.kind, ==, HM_MEM_SHMEM);
    g_assert_true(backing.own_tmpfs);
    g_assert_cmpuint(backing.length, ==, HM_MIB);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_CLOSE), ==, 1);
}

static void test_own_tmpfs_in_a_sandbox(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_autoptr(GError) error = NULL;

    hm_fake_reset();
    hm_fake_fail(HM_FAKE_TMPFS, 1, EPERM);
    g_assert_false(hm_backing_init_own_tmpfs(&backing, HM_MIB, TRUE, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_PERMISSION);
    assert_untouched(&backing);
}

static void test_memfd_without_proc(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    hm_fake_fail(HM_FAKE_REOPEN, 1, ENOENT);
    g_assert_true(init_memfd(&backing, page(), 0, TRUE, NULL));
    g_assert_cmpint(backing.fd, >=, 0);
    g_assert_true(backing.uncounted);
}

static void test_clear_may_be_repeated(void)
{
    HmBacking backing = HM_BACKING_INIT;

    g_assert_true(init_memfd(&backing, page(), 0, FALSE, NULL));
    hm_fake_reset();
    hm_backing_clear(&backing);
    hm_backing_clear(&backing);
    hm_backing_undo(&backing);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_CLOSE), ==, 1);
}

static void test_kinds_have_names(void)
{
    g_assert_cmpstr(hm_mem_kind_name(HM_MEM_ANON), ==, "anonymous memory");
    g_assert_cmpstr(hm_mem_kind_name(HM_MEM_DAX), ==, "persistent memory");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/backing/anon", test_anon);
    g_test_add_func("/backing/anon-is-rounded-up", test_anon_is_rounded_up);
    g_test_add_func("/backing/anon-of-impossible-sizes",
                    test_anon_of_impossible_sizes);
    g_test_add_func("/backing/memfd", test_memfd);
    g_test_add_func("/backing/memfd-is-sealed-after-sizing",
                    test_memfd_is_sealed_after_sizing);
    g_test_add_func("/backing/memfd-with-seal-off-stays-unsealed",
                    test_memfd_with_seal_off_stays_unsealed);
    g_test_add_func("/backing/memfd-name-may-be-long",
                    test_memfd_name_may_be_long);
    g_test_add_func("/backing/memfd-size-is-whole-pages",
                    test_memfd_size_is_whole_pages);
    g_test_add_func("/backing/memfd-size-is-not-zero",
                    test_memfd_size_is_not_zero);
    g_test_add_func("/backing/memfd-of-huge-pages", test_memfd_of_huge_pages);
    g_test_add_func("/backing/memfd-of-part-of-a-huge-page",
                    test_memfd_of_part_of_a_huge_page);
    g_test_add_func("/backing/memfd-of-unknown-huge-pages",
                    test_memfd_of_unknown_huge_pages);
    g_test_add_func("/backing/memfd-without-descriptors",
                    test_memfd_without_descriptors);
    g_test_add_func("/backing/memfd-without-memfds", test_memfd_without_memfds);
    g_test_add_func("/backing/memfd-without-proc", test_memfd_without_proc);
    g_test_add_func("/backing/memfd-that-cannot-be-sealed",
                    test_memfd_that_cannot_be_sealed);
    g_test_add_func("/backing/memfd-failures-leak-no-descriptor",
                    test_memfd_failures_leak_no_descriptor);
    g_test_add_func("/backing/file-size-limit-is-asked-before-it-kills",
                    test_file_size_limit_is_asked_before_it_kills);
    g_test_add_func("/backing/shm", test_shm);
    g_test_add_func("/backing/shm-errors", test_shm_errors);
    g_test_add_func("/backing/own-tmpfs", test_own_tmpfs);
    g_test_add_func("/backing/own-tmpfs-in-a-sandbox",
                    test_own_tmpfs_in_a_sandbox);
    g_test_add_func("/backing/clear-may-be-repeated",
                    test_clear_may_be_repeated);
    g_test_add_func("/backing/kinds-have-names", test_kinds_have_names);
    return g_test_run();
}
