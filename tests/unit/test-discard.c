/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include "os-fake.h"
#include "util/autofd.h"
#include "util/discard.h"
#include "util/error.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/* Eight pages that are all 'x'; for a descriptor they start at page two. */
#define N_PAGES   8
#define FILE_PAGE 2

static HmDiscardTarget map_anon(int flags)
{
    HmDiscardTarget target = {
        .page_size = hm_os_page_size(),
        .kind = HM_MEM_ANON,
        .shared = flags & MAP_SHARED,
        .fd = -1,
    };
    void *addr;

    g_assert_cmpint(hm_os_map(NULL, N_PAGES * target.page_size,
                              PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1,
                              0, &addr),
                    ==, 0);
    target.addr = addr;
    memset(target.addr, 'x', N_PAGES * target.page_size);
    return target;
}

static HmDiscardTarget map_file(int flags)
{
    HmDiscardTarget target = {
        .page_size = hm_os_page_size(),
        .kind = HM_MEM_SHMEM,
        .shared = flags & MAP_SHARED,
        .fd = hm_os_memfd("test", 0),
    };
    void *addr;

    g_assert_cmpint(target.fd, >=, 0);
    target.fd_offset = FILE_PAGE * target.page_size;
    g_assert_cmpint(
        hm_os_truncate(target.fd, (FILE_PAGE + N_PAGES) * target.page_size), ==,
        0);
    g_assert_cmpint(hm_os_map(NULL, N_PAGES * target.page_size,
                              PROT_READ | PROT_WRITE, flags, target.fd,
                              target.fd_offset, &addr),
                    ==, 0);
    target.addr = addr;
    memset(target.addr, 'x', N_PAGES * target.page_size);
    return target;
}

static void unmap(HmDiscardTarget *target)
{
    hm_os_unmap(target->addr, N_PAGES * target->page_size);
    if (target->fd >= 0) {
        hm_os_close(target->fd);
    }
}

/* The first byte of each page, as text; '.' for 0. */
static char *page_map(const HmDiscardTarget *target)
{
    char *text = g_new0(char, N_PAGES + 1);

    for (guint i = 0; i < N_PAGES; i++) {
        guint8 byte = target->addr[i * target->page_size];

        text[i] = byte ? (char)byte : '.';
    }
    return text;
}

static void assert_pages(const HmDiscardTarget *target, const char *expected)
{
    g_autofree char *found = page_map(target);

    g_assert_cmpstr(found, ==, expected);
}

static gboolean discard_pages(const HmDiscardTarget *target, guint first,
                              guint n, GError **error)
{
    return hm_discard(target, first * target->page_size, n * target->page_size,
                      error);
}

static void assert_calls(const char *expected)
{
    g_autofree char *found = hm_fake_sequence();

    g_assert_cmpstr(found, ==, expected);
}

/* Discards pages 2 to 4 with exactly these calls. */
static void assert_discards_with(const HmDiscardTarget *target,
                                 const char *calls)
{
    g_autoptr(GError) error = NULL;

    hm_fake_reset();
    discard_pages(target, 2, 3, &error);
    g_assert_no_error(error);
    assert_calls(calls);
}

static void test_private_anonymous(void)
{
    HmDiscardTarget target = map_anon(MAP_PRIVATE);

    assert_discards_with(&target, "advise:4");
    assert_pages(&target, "xx...xxx");
    unmap(&target);
}

static void test_shared_anonymous(void)
{
    HmDiscardTarget target = map_anon(MAP_SHARED);

    assert_discards_with(&target, "advise:9");
    assert_pages(&target, "xx...xxx");
    unmap(&target);
}

static void test_shared_file_is_punched(void)
{
    HmDiscardTarget target = map_file(MAP_SHARED);
    HmFakeRecord punch;

    assert_discards_with(&target, "punch");
    assert_pages(&target, "xx...xxx");
    g_assert_true(hm_fake_get_call(HM_FAKE_PUNCH, 1, &punch));
    g_assert_cmpuint(punch.offset, ==, (FILE_PAGE + 2) * target.page_size);
    unmap(&target);
}

static void test_shared_file_keeps_its_length(void)
{
    HmDiscardTarget target = map_file(MAP_SHARED);
    g_autoptr(GError) error = NULL;
    struct stat st;

    discard_pages(&target, 0, N_PAGES, &error);
    g_assert_no_error(error);
    g_assert_cmpint(hm_os_stat(target.fd, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, (FILE_PAGE + N_PAGES) * target.page_size);
    g_assert_cmpint(st.st_blocks, ==, 0);
    unmap(&target);
}

/* The file is all 'f' behind a private mapping that is all 'x'. */
static HmDiscardTarget map_private_over(char fill)
{
    HmDiscardTarget shared = map_file(MAP_SHARED);
    HmDiscardTarget target = shared;
    void *addr;

    memset(shared.addr, fill, N_PAGES * shared.page_size);
    g_assert_cmpint(hm_os_map(NULL, N_PAGES * target.page_size,
                              PROT_READ | PROT_WRITE, MAP_PRIVATE, shared.fd,
                              shared.fd_offset, &addr),
                    ==, 0);
    hm_os_unmap(shared.addr, N_PAGES * shared.page_size);
    target.addr = addr;
    target.shared = FALSE;
    memset(target.addr, 'x', N_PAGES * target.page_size);
    return target;
}

static void test_private_file_reads_as_the_file(void)
{
    HmDiscardTarget target = map_private_over('f');

    assert_discards_with(&target, "advise:4");
    assert_pages(&target, "xxfffxxx");
    unmap(&target);
}

static void test_private_mapping_of_readonly_file(void)
{
    HmDiscardTarget target = map_private_over('f');

    target.readonly = TRUE;
    assert_discards_with(&target, "advise:4");
    assert_pages(&target, "xxfffxxx");
    unmap(&target);
}

static void test_locked_memory(void)
{
    HmDiscardTarget target = map_anon(MAP_PRIVATE | MAP_LOCKED);

    assert_discards_with(&target, "advise:4 advise:24");
    assert_pages(&target, "xx...xxx");
    unmap(&target);
}

static void test_locked_memory_on_old_kernel(void)
{
    HmDiscardTarget target = map_anon(MAP_PRIVATE);
    g_autoptr(GError) error = NULL;

    hm_fake_without_advice(MADV_DONTNEED);
    hm_fake_without_advice(MADV_DONTNEED_LOCKED);
    g_assert_false(discard_pages(&target, 2, 3, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED);
    assert_pages(&target, "xxxxxxxx");
    unmap(&target);
}

static void test_filesystem_without_holes(void)
{
    HmDiscardTarget target = map_file(MAP_SHARED);
    g_autoptr(GError) error = NULL;

    hm_fake_fail(HM_FAKE_PUNCH, 1, EOPNOTSUPP);
    g_assert_false(discard_pages(&target, 2, 3, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED);
    assert_pages(&target, "xxxxxxxx");
    unmap(&target);
}

static void test_system_error_names_the_range(void)
{
    HmDiscardTarget target = map_file(MAP_SHARED);
    g_autoptr(GError) error = NULL;

    hm_fake_fail(HM_FAKE_PUNCH, 1, EIO);
    g_assert_false(hm_discard(&target, 0, target.page_size, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM);
    g_assert_cmpstr(error->message, ==,
                    "cannot discard 4096 bytes at offset 0 of shared memory: "
                    "Input/output error");
    unmap(&target);
}

static void test_readonly_file_is_refused(void)
{
    HmDiscardTarget target = map_file(MAP_SHARED);
    g_autoptr(GError) error = NULL;

    target.readonly = TRUE;
    hm_fake_reset();
    g_assert_false(discard_pages(&target, 2, 3, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED);
    g_assert_cmpstr(error->message, ==,
                    "Discarding RAM with readonly files is not supported");
    assert_calls("");
    unmap(&target);
}

static void assert_misaligned(const HmDiscardTarget *target, guint64 offset,
                              guint64 length)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(hm_discard(target, offset, length, &error));
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
    assert_calls("");
}

static void test_empty_range_needs_nothing(void)
{
    HmDiscardTarget target = map_anon(MAP_PRIVATE);
    g_autoptr(GError) error = NULL;

    hm_fake_reset();
    g_assert_true(hm_discard(&target, 0, 0, &error));
    g_assert_no_error(error);
    assert_calls("");
    unmap(&target);
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
    add("/discard/locked-memory-on-old-kernel",
        test_locked_memory_on_old_kernel);
    add("/discard/filesystem-without-holes", test_filesystem_without_holes);
    add("/discard/system-error-names-the-range",
        test_system_error_names_the_range);
    add("/discard/readonly-file-is-refused", test_readonly_file_is_refused);
    add("/discard/misaligned-range-is-refused",
        test_misaligned_range_is_refused);
    add("/discard/empty-range-needs-nothing", test_empty_range_needs_nothing);
    return g_test_run();
}
