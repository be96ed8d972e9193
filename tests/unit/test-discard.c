/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include "discard-pages.h"
#include "os-fake.h"
#include "util/autofd.h"
#include "util/error.h"

static gboolean discard_pages(const HmDiscardTarget *target, guint first,
                              guint n, GError **error)
{
    return hm_pages_discard(target, first * target->page_size,
                            n * target->page_size, error);
}

/* Discards pages 2 to 4 with exactly these calls. */
static void assert_discards_with(const HmDiscardTarget *target,
                                 const char *calls)
{
    g_autoptr(GError) error = NULL;

    hm_fake_reset();
    discard_pages(target, 2, 3, &error);
    g_assert_no_error(error);
    hm_pages_assert_calls(calls);
}

static void test_private_anonymous(void)
{
    HmDiscardTarget target = hm_pages_map_anon(MAP_PRIVATE);

    assert_discards_with(&target, "advise:4");
    hm_pages_assert(&target, "xx...xxx");
    hm_pages_unmap(&target);
}

static void test_shared_anonymous(void)
{
    HmDiscardTarget target = hm_pages_map_anon(MAP_SHARED);

    assert_discards_with(&target, "advise:9");
    hm_pages_assert(&target, "xx...xxx");
    hm_pages_unmap(&target);
}

static void test_shared_file_is_punched(void)
{
    HmDiscardTarget target = hm_pages_map_file(MAP_SHARED);
    HmFakeRecord punch;

    assert_discards_with(&target, "punch");
    hm_pages_assert(&target, "xx...xxx");
    g_assert_true(hm_fake_get_call(HM_FAKE_PUNCH, 1, &punch));
    g_assert_cmpuint(punch.offset, ==, (FILE_PAGE + 2) * target.page_size);
    hm_pages_unmap(&target);
}

static void test_shared_file_keeps_its_length(void)
{
    HmDiscardTarget target = hm_pages_map_file(MAP_SHARED);
    g_autoptr(GError) error = NULL;
    struct stat st;

    discard_pages(&target, 0, N_PAGES, &error);
    g_assert_no_error(error);
    g_assert_cmpint(hm_os_stat(target.fd, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, (FILE_PAGE + N_PAGES) * target.page_size);
    g_assert_cmpint(st.st_blocks, ==, 0);
    hm_pages_unmap(&target);
}

/* Pages 0 to 3 lie in one file, the others behind two pages of another. */
static void test_several_files_are_punched(void)
{
    HmDiscardTarget first = hm_pages_map_file(MAP_SHARED);
    HmDiscardTarget second = hm_pages_map_file(MAP_SHARED);
    const gsize page = first.page_size;
    const HmBackingPart parts[] = {
        {first.fd, FILE_PAGE * page, 0, 4 * page},
        {second.fd, FILE_PAGE * page, 4 * page, 4 * page},
    };
    HmDiscardTarget target = first;
    g_autoptr(GError) error = NULL;

    target.fd = -1;
    target.fd_offset = 0;
    target.parts = parts;
    target.n_parts = 2;
    hm_fake_reset();
    discard_pages(&target, 3, 3, &error);
    g_assert_no_error(error);
    hm_pages_assert_calls("punch punch");
    hm_pages_assert(&first, "xxx.xxxx");
    hm_pages_assert(&second, "..xxxxxx");
    hm_pages_unmap(&first);
    hm_pages_unmap(&second);
}

static void test_private_file_reads_as_the_file(void)
{
    HmDiscardTarget target = hm_pages_map_private('f');

    assert_discards_with(&target, "advise:4");
    hm_pages_assert(&target, "xxfffxxx");
    hm_pages_unmap(&target);
}

static void test_private_mapping_of_readonly_file(void)
{
    HmDiscardTarget target = hm_pages_map_private('f');

    target.readonly = TRUE;
    assert_discards_with(&target, "advise:4");
    hm_pages_assert(&target, "xxfffxxx");
    hm_pages_unmap(&target);
}

static void test_locked_memory(void)
{
    HmDiscardTarget target = hm_pages_map_anon(MAP_PRIVATE | MAP_LOCKED);

    assert_discards_with(&target, "advise:4 advise:24");
    hm_pages_assert(&target, "xx...xxx");
    hm_pages_unmap(&target);
}

static void test_locked_memory_that_is_known(void)
{
    HmDiscardTarget target = hm_pages_map_anon(MAP_PRIVATE | MAP_LOCKED);

    target.locked = TRUE;
    assert_discards_with(&target, "advise:24");
    hm_pages_assert(&target, "xx...xxx");
    hm_pages_unmap(&target);
}

static void test_locked_file_is_punched(void)
{
    HmDiscardTarget target = hm_pages_map_file(MAP_SHARED | MAP_LOCKED);

    target.locked = TRUE;
    assert_discards_with(&target, "punch");
    hm_pages_assert(&target, "xx...xxx");
    hm_pages_unmap(&target);
}

static void test_memory_that_is_locked_no_more(void)
{
    HmDiscardTarget target = hm_pages_map_anon(MAP_PRIVATE);

    target.locked = TRUE;
    assert_discards_with(&target, "advise:24");
    hm_pages_assert(&target, "xx...xxx");
    hm_pages_unmap(&target);
}

static void test_old_kernel_is_named(void)
{
    HmDiscardTarget target = hm_pages_map_anon(MAP_PRIVATE | MAP_LOCKED);
    g_autoptr(GError) error = NULL;

    target.locked = TRUE;
    hm_fake_without_advice(MADV_DONTNEED_LOCKED);
    g_assert_false(discard_pages(&target, 2, 3, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED);
    g_assert_nonnull(strstr(error->message, "Linux 5.18"));
    hm_pages_assert(&target, "xxxxxxxx");
    hm_pages_unmap(&target);
}

static void test_locked_memory_on_old_kernel(void)
{
    HmDiscardTarget target = hm_pages_map_anon(MAP_PRIVATE);
    g_autoptr(GError) error = NULL;

    hm_fake_without_advice(MADV_DONTNEED);
    hm_fake_without_advice(MADV_DONTNEED_LOCKED);
    g_assert_false(discard_pages(&target, 2, 3, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED);
    hm_pages_assert(&target, "xxxxxxxx");
    hm_pages_unmap(&target);
}

static void test_filesystem_without_holes(void)
{
    HmDiscardTarget target = hm_pages_map_file(MAP_SHARED);
    g_autoptr(GError) error = NULL;

    hm_fake_fail(HM_FAKE_PUNCH, 1, EOPNOTSUPP);
    g_assert_false(discard_pages(&target, 2, 3, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED);
    hm_pages_assert(&target, "xxxxxxxx");
    hm_pages_unmap(&target);
}

static void test_system_error_names_the_range(void)
{
    HmDiscardTarget target = hm_pages_map_file(MAP_SHARED);
    g_autoptr(GError) error = NULL;

    hm_fake_fail(HM_FAKE_PUNCH, 1, EIO);
    g_assert_false(hm_pages_discard(&target, 0, target.page_size, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM);
    g_assert_cmpstr(error->message, ==,
                    "cannot discard 4096 bytes at offset 0 of shared memory: "
                    "Input/output error");
    hm_pages_unmap(&target);
}

static void test_readonly_file_is_refused(void)
{
    HmDiscardTarget target = hm_pages_map_file(MAP_SHARED);
    g_autoptr(GError) error = NULL;

    target.readonly = TRUE;
    hm_fake_reset();
    g_assert_false(discard_pages(&target, 2, 3, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED);
    g_assert_cmpstr(error->message, ==,
                    "Discarding RAM with readonly files is not supported");
    hm_pages_assert_calls("");
    hm_pages_unmap(&target);
}

static void assert_misaligned(const HmDiscardTarget *target, guint64 offset,
                              guint64 length)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(hm_pages_discard(target, offset, length, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, "page size, 2097152 bytes"));
}

static void test_misaligned_range_is_refused(void)
{
    HmDiscardTarget target = {
        .page_size = 2 << 20,
        .kind = HM_MEM_HUGETLB,
        .shared = TRUE,
        .fd = -1,
    };

    hm_fake_reset();
    assert_misaligned(&target, 4096, 2 << 20);
    assert_misaligned(&target, 2 << 20, 4096);
    hm_pages_assert_calls("");
}

static void test_empty_list_needs_nothing(void)
{
    HmDiscardTarget target = hm_pages_map_anon(MAP_PRIVATE);
    g_autoptr(GError) error = NULL;

    hm_fake_reset();
    g_assert_true(hm_pages_discard(&target, 0, 0, &error));
    g_assert_no_error(error);
    hm_pages_assert_calls("");
    hm_pages_unmap(&target);
}

static void add(const char *path, void (*test)(void))
{
    g_test_add_func(path, test);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/discard/private-anonymous", test_private_anonymous);
    add("/discard/shared-anonymous", test_shared_anonymous);
    add("/discard/shared-file-is-punched", test_shared_file_is_punched);
    add("/discard/shared-file-keeps-its-length",
        test_shared_file_keeps_its_length);
    add("/discard/private-file-reads-as-the-file",
        test_private_file_reads_as_the_file);
    add("/discard/private-mapping-of-readonly-file",
        test_private_mapping_of_readonly_file);
    add("/discard/locked-memory", test_locked_memory);
    add("/discard/locked-memory-that-is-known",
        test_locked_memory_that_is_known);
    add("/discard/locked-file-is-punched", test_locked_file_is_punched);
    add("/discard/memory-that-is-locked-no-more",
        test_memory_that_is_locked_no_more);
    add("/discard/old-kernel-is-named", test_old_kernel_is_named);
    add("/discard/several-files-are-punched", test_several_files_are_punched);
    add("/discard/locked-memory-on-old-kernel",
        test_locked_memory_on_old_kernel);
    add("/discard/filesystem-without-holes", test_filesystem_without_holes);
    add("/discard/system-error-names-the-range",
        test_system_error_names_the_range);
    add("/discard/readonly-file-is-refused", test_readonly_file_is_refused);
    add("/discard/misaligned-range-is-refused",
        test_misaligned_range_is_refused);
    add("/discard/empty-list-needs-nothing", test_empty_list_needs_nothing);
    return g_test_run();
}
