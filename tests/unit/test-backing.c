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

/* holes and storage */

static char *holes(const HmBacking *backing, const void *addr, guint64 offset,
                   guint64 length)
{
    HmRange range = {offset, length};
    g_autoptr(GArray) list = hm_backing_holes(backing, addr, &range);
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < list->len; i++) {
        const HmRange *hole = hm_range_list_get(list, i);

        g_string_append_printf(text, "%s%d+%d", i ? " " : "",
                               (int)(hole->offset / page()),
                               (int)(hole->length / page()));
    }
    return g_string_free(text, FALSE);
}

/* In pages: "first+count first+count". */
static void assert_holes(const HmBacking *backing, const void *addr,
                         guint64 first, guint64 n, const char *expect)
{
    g_autofree char *text = holes(backing, addr, first * page(), n * page());

    g_assert_cmpstr(text, ==, expect);
}

static HmMapping map(const HmBacking *backing)
{
    HmMapping mapping = {0};

    g_assert_true(
        hm_mapping_init(&mapping, backing, &(HmMappingOptions){0}, NULL));
    return mapping;
}

static void test_holes_of_anonymous_memory(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_auto(HmMapping) mapping = {0};

    hm_fake_reset();
    g_assert_true(hm_backing_init_anon(&backing, 8 * page(), NULL));
    mapping = map(&backing);
    assert_holes(&backing, mapping.addr, 0, 8, "0+8");
    mapping.addr[2 * page()] = 1;
    mapping.addr[7 * page()] = 1;
    assert_holes(&backing, mapping.addr, 0, 8, "0+2 3+4");
    assert_holes(&backing, mapping.addr, 2, 3, "3+2");
    assert_holes(&backing, mapping.addr, 7, 1, "");
}

static void test_holes_of_shared_memory(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    g_assert_true(init_memfd(&backing, 8 * page(), 0, FALSE, NULL));
    assert_holes(&backing, NULL, 0, 8, "0+8");
    g_assert_cmpint(pwrite(backing.fd, "x", 1, (off_t)(2 * page())), ==, 1);
    g_assert_cmpint(pwrite(backing.fd, "x", 1, (off_t)(7 * page())), ==, 1);
    assert_holes(&backing, NULL, 0, 8, "0+2 3+4");
    assert_holes(&backing, NULL, 2, 3, "3+2");
    assert_holes(&backing, NULL, 3, 2, "3+2");
    assert_holes(&backing, NULL, 7, 1, "");
}

static void test_holes_count_from_the_backing(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    g_assert_true(init_memfd(&backing, 8 * page(), 0, FALSE, NULL));
    g_assert_cmpint(pwrite(backing.fd, "x", 1, (off_t)(5 * page())), ==, 1);
    backing.offset = 4 * page();
    backing.length = 4 * page();
    assert_holes(&backing, NULL, 0, 4, "0+1 2+2");
}

static gint64 seek_backwards(const HmFakeRecord *record,
                             gpointer data G_GNUC_UNUSED)
{
    return (gint64)(record->arg == SEEK_DATA ? page() : 2 * page());
}

/* As a filesystem in user space might answer. */
static void test_holes_end_where_a_seek_goes_backwards(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    g_assert_true(init_memfd(&backing, 8 * page(), 0, FALSE, NULL));
    hm_fake_hook(HM_FAKE_SEEK, seek_backwards, NULL);
    assert_holes(&backing, NULL, 4, 4, "");
    assert_holes(&backing, NULL, 0, 4, "0+1");
    hm_fake_hook(HM_FAKE_SEEK, NULL, NULL);
}

static void test_holes_of_a_private_mapping_are_its_own(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_auto(HmMapping) mapping = {0};

    hm_fake_reset();
    g_assert_true(init_memfd(&backing, 4 * page(), 0, FALSE, NULL));
    backing.shared = FALSE;
    mapping = map(&backing);
    mapping.addr[page()] = 1;
    assert_holes(&backing, mapping.addr, 0, 4, "0+1 2+2");
}

static void test_holes_of_huge_pages_are_all_or_none(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    g_assert_true(init_memfd(&backing, 4 * page(), 0, FALSE, NULL));
    backing.kind = HM_MEM_HUGETLB;
    assert_holes(&backing, NULL, 1, 3, "1+3");
    g_assert_cmpint(pwrite(backing.fd, "x", 1, 0), ==, 1);
    assert_holes(&backing, NULL, 1, 3, "");
}

static void test_holes_nobody_can_tell(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    g_assert_true(init_memfd(&backing, 4 * page(), 0, FALSE, NULL));
    hm_fake_fail(HM_FAKE_SEEK, 1, EINVAL);
    assert_holes(&backing, NULL, 0, 4, "");
    backing.kind = HM_MEM_DAX;
    assert_holes(&backing, NULL, 0, 4, "");
    backing.shared = FALSE;
    hm_fake_fail(HM_FAKE_POPULATED_RANGES, 1, EACCES);
    assert_holes(&backing, NULL, 0, 4, "");
}

static gint64 stand_still(const HmFakeRecord *record, gpointer data)
{
    (void)data;
    return record->arg == SEEK_HOLE ? (gint64)record->offset : 0;
}

static void test_holes_of_a_seek_that_stands_still(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    g_assert_true(init_memfd(&backing, 4 * page(), 0, FALSE, NULL));
    g_assert_cmpint(pwrite(backing.fd, "x", 1, (off_t)page()), ==, 1);
    hm_fake_hook(HM_FAKE_SEEK, stand_still, NULL);
    assert_holes(&backing, NULL, 0, 4, "0+1");
}

static void test_backed_size_of_shared_memory(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    g_assert_true(init_memfd(&backing, 8 * page(), 0, FALSE, NULL));
    g_assert_cmpuint(hm_backing_backed_size(&backing, NULL), ==, 0);
    g_assert_cmpint(hm_os_allocate(backing.fd, 0, 3 * page()), ==, 0);
    g_assert_cmpuint(hm_backing_backed_size(&backing, NULL), ==, 3 * page());
}

static void test_backed_size_is_at_most_the_length(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;

    hm_fake_reset();
    g_assert_true(init_memfd(&backing, 8 * page(), 0, FALSE, NULL));
    g_assert_cmpint(hm_os_allocate(backing.fd, 0, 8 * page()), ==, 0);
    backing.length = 2 * page();
    g_assert_cmpuint(hm_backing_backed_size(&backing, NULL), ==, 2 * page());
}

static void test_backed_size_of_anonymous_memory(void)
{
    g_auto(HmBacking) backing = HM_BACKING_INIT;
    g_auto(HmMapping) mapping = {0};

    hm_fake_reset();
    g_assert_true(hm_backing_init_anon(&backing, 8 * page(), NULL));
    g_assert_cmpuint(hm_backing_backed_size(&backing, NULL), ==, 0);
    mapping = map(&backing);
    memset(mapping.addr, 1, 3 * page());
    g_assert_cmpuint(hm_backing_backed_size(&backing, mapping.addr), ==,
                     3 * page());
    hm_fake_fail(HM_FAKE_POPULATED, 1, EACCES);
    g_assert_cmpuint(hm_backing_backed_size(&backing, mapping.addr), ==, 0);
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
    g_test_add_func("/backing/holes-of-anonymous-memory",
                    test_holes_of_anonymous_memory);
    g_test_add_func("/backing/holes-of-shared-memory",
                    test_holes_of_shared_memory);
    g_test_add_func("/backing/holes-count-from-the-backing",
                    test_holes_count_from_the_backing);
    g_test_add_func("/backing/holes-end-where-a-seek-goes-backwards",
                    test_holes_end_where_a_seek_goes_backwards);
    g_test_add_func("/backing/holes-of-a-private-mapping-are-its-own",
                    test_holes_of_a_private_mapping_are_its_own);
    g_test_add_func("/backing/holes-of-huge-pages-are-all-or-none",
                    test_holes_of_huge_pages_are_all_or_none);
    g_test_add_func("/backing/holes-nobody-can-tell",
                    test_holes_nobody_can_tell);
    g_test_add_func("/backing/holes-of-a-seek-that-stands-still",
                    test_holes_of_a_seek_that_stands_still);
    g_test_add_func("/backing/backed-size-of-shared-memory",
                    test_backed_size_of_shared_memory);
    g_test_add_func("/backing/backed-size-is-at-most-the-length",
                    test_backed_size_is_at_most_the_length);
    g_test_add_func("/backing/backed-size-of-anonymous-memory",
                    test_backed_size_of_anonymous_memory);
    g_test_add_func("/backing/clear-may-be-repeated",
                    test_clear_may_be_repeated);
    g_test_add_func("/backing/kinds-have-names", test_kinds_have_names);
    return g_test_run();
}
