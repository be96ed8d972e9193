/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "discard-pages.h"
#include "os-fake.h"
#include "util/error.h"
#include "util/hostcaps.h"
#include "util/size.h"

/* A map says which pages: "x..x" discards the two in the middle. */

static HmRangeList *list_of(const HmDiscardTarget *target, const char *map)
{
    HmRangeList *ranges = hm_range_list_new();

    for (guint i = 0; map[i]; i++) {
        HmRange page = {i * target->page_size, target->page_size};

        if (map[i] == '.') {
            hm_range_list_add(ranges, &page);
        }
    }
    return ranges;
}

static gboolean discard_map(const HmDiscardTarget *target, const char *map,
                            guint64 *reached, GError **error)
{
    g_autoptr(HmRangeList) ranges = list_of(target, map);

    return hm_discard_list(target, ranges, reached, error);
}

/* Whatever the calls answer, in the end it is all discarded. */
static void assert_discards_map(HmDiscardTarget target, const char *map,
                                const char *calls)
{
    g_autoptr(GError) error = NULL;
    guint64 reached;

    discard_map(&target, map, &reached, &error);
    g_assert_no_error(error);
    hm_pages_assert_calls(calls);
    hm_pages_assert(&target, map);
    g_assert_cmpuint(reached, ==,
                     (guint64)(strrchr(map, '.') + 1 - map) * target.page_size);
    hm_pages_unmap(&target);
}

static void test_list_is_one_call(void)
{
    HmDiscardTarget target = hm_pages_map_anon(MAP_PRIVATE);

    hm_fake_reset();
    assert_discards_map(target, "x..x.x.x", "advise_vector:4");
}

static void test_list_of_one_is_advised(void)
{
    HmDiscardTarget target = hm_pages_map_anon(MAP_PRIVATE);

    hm_fake_reset();
    assert_discards_map(target, "xx....xx", "advise:4");
}

static void test_list_of_file_is_punched(void)
{
    HmDiscardTarget target = hm_pages_map_file(MAP_SHARED);

    hm_fake_reset();
    assert_discards_map(target, "x..x.x..", "punch punch punch");
}

static void test_list_of_private_file_leaves_the_file(void)
{
    HmDiscardTarget target = hm_pages_map_private('f');
    g_autoptr(GError) error = NULL;

    hm_fake_reset();
    g_assert_true(discard_map(&target, "x..x.x.x", NULL, &error));
    g_assert_no_error(error);
    hm_pages_assert_calls("advise_vector:4");
    hm_pages_assert(&target, "xffxfxfx");
    hm_pages_unmap(&target);
}

static void test_list_of_locked_memory(void)
{
    HmDiscardTarget target = hm_pages_map_anon(MAP_PRIVATE | MAP_LOCKED);

    hm_fake_reset();
    assert_discards_map(target, "x..x.x.x", "advise_vector:4 advise_vector:24");
}

static void test_list_of_memory_known_as_locked(void)
{
    HmDiscardTarget target = hm_pages_map_anon(MAP_PRIVATE | MAP_LOCKED);

    target.locked = TRUE;
    hm_fake_reset();
    assert_discards_map(target, "x..x.x.x", "advise_vector:24");
}

static void test_list_where_vectors_are_forbidden(void)
{
    HmDiscardTarget target = hm_pages_map_anon(MAP_PRIVATE);

    hm_fake_reset();
    hm_fake_fail_always(HM_FAKE_ADVISE_VECTOR, EPERM);
    assert_discards_map(target, "x..x.x.x",
                        "advise_vector:4 advise:4 advise:4 advise:4");
    hm_fake_reset();
}

/* Does the first page of what it is asked, and says so. */
static gint64 do_one_page(const HmFakeRecord *record, gpointer data)
{
    const struct iovec *first = record->addr;
    gsize page_size = *(gsize *)data;

    g_assert_cmpint(hm_os_advise(first->iov_base, page_size, MADV_DONTNEED), ==,
                    0);
    return (gint64)page_size;
}

static void test_list_goes_on_where_the_kernel_stops(void)
{
    HmDiscardTarget target = hm_pages_map_anon(MAP_PRIVATE);
    g_autoptr(GError) error = NULL;

    hm_fake_reset();
    hm_fake_hook(HM_FAKE_ADVISE_VECTOR, do_one_page, &target.page_size);
    g_assert_true(discard_map(&target, "x..x.x.x", NULL, &error));
    g_assert_no_error(error);
    hm_pages_assert(&target, "x..x.x.x");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_ADVISE_VECTOR), ==, 3);
    hm_fake_reset();
    hm_pages_unmap(&target);
}

static void test_list_tells_how_far_it_got(void)
{
    HmDiscardTarget target = hm_pages_map_anon(MAP_PRIVATE);
    g_autoptr(GError) error = NULL;
    guint64 reached;

    hm_fake_reset();
    hm_fake_fail_always(HM_FAKE_ADVISE_VECTOR, ENOSYS);
    hm_fake_fail_advice(MADV_DONTNEED, 2, ENOMEM);
    g_assert_false(discard_map(&target, "x..x.x.x", &reached, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_MEMORY);
    g_assert_nonnull(strstr(error->message, "4096 bytes at offset 16384"));
    g_assert_cmpuint(reached, ==, 4 * target.page_size);
    hm_pages_assert(&target, "x..xxxxx");
    hm_fake_reset();
    hm_pages_unmap(&target);
}

static void test_list_of_file_tells_how_far_it_got(void)
{
    HmDiscardTarget target = hm_pages_map_file(MAP_SHARED);
    g_autoptr(GError) error = NULL;
    guint64 reached;

    hm_fake_reset();
    hm_fake_fail(HM_FAKE_PUNCH, 3, EIO);
    g_assert_false(discard_map(&target, "x..x.x.x", &reached, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM);
    g_assert_cmpuint(reached, ==, 6 * target.page_size);
    hm_pages_assert(&target, "x..x.xxx");
    hm_pages_unmap(&target);
}

static void test_misaligned_list_is_refused(void)
{
    HmDiscardTarget target = hm_pages_map_anon(MAP_PRIVATE);
    g_autoptr(HmRangeList) ranges = list_of(&target, ".x.xxxxx");
    g_autoptr(GError) error = NULL;
    guint64 reached = 1;

    hm_range_list_add(ranges, &(HmRange){5 * target.page_size, 1});
    hm_fake_reset();
    g_assert_false(hm_discard_list(&target, ranges, &reached, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    g_assert_cmpuint(reached, ==, 0);
    hm_pages_assert_calls("");
    hm_pages_unmap(&target);
}

static void test_empty_list_needs_nothing(void)
{
    HmDiscardTarget target = hm_pages_map_anon(MAP_PRIVATE);
    guint64 reached = 1;

    hm_fake_reset();
    g_assert_true(discard_map(&target, "xxxxxxxx", &reached, NULL));
    g_assert_cmpuint(reached, ==, 0);
    hm_pages_assert_calls("");
    hm_pages_unmap(&target);
}

/* Memory that nobody touches, to see how a list is cut. */
static HmDiscardTarget reserve(guint64 length)
{
    HmDiscardTarget target = {
        .page_size = hm_os_page_size(),
        .kind = HM_MEM_ANON,
        .fd = -1,
    };
    void *addr;

    g_assert_cmpint(hm_os_map(NULL, length, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                              0, &addr),
                    ==, 0);
    target.addr = addr;
    return target;
}

/* How many ranges each call got: "1024 1024 3". */
static char *vector_lengths(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    HmFakeRecord record;

    for (guint i = 1; hm_fake_get_call(HM_FAKE_ADVISE_VECTOR, i, &record);
         i++) {
        g_string_append_printf(text, "%s%" G_GUINT64_FORMAT, i > 1 ? " " : "",
                               record.length);
    }
    return g_strdup(text->str);
}

static void assert_cut(guint n, guint64 length, const char *calls,
                       const char *expected)
{
    HmDiscardTarget target = reserve(2 * n * length);
    g_autoptr(HmRangeList) ranges = hm_range_list_new();
    g_autofree char *lengths = NULL;
    g_autoptr(GError) error = NULL;
    guint64 reached;

    for (guint i = 0; i < n; i++) {
        hm_range_list_add(ranges, &(HmRange){2 * i * length, length});
    }
    hm_fake_reset();
    hm_discard_list(&target, ranges, &reached, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(reached, ==, (2 * n - 1) * length);
    hm_pages_assert_calls(calls);
    lengths = vector_lengths();
    g_assert_cmpstr(lengths, ==, expected);
    hm_os_unmap(target.addr, 2 * n * length);
}

static void test_list_is_cut_into_batches(void)
{
    const gsize page_size = hm_os_page_size();

    assert_cut(2050, page_size,
               "advise_vector:4 advise_vector:4 advise_vector:4",
               "1024 1024 2");
    assert_cut(1025, page_size, "advise_vector:4 advise:4", "1024");
}

/* No call is asked to do more than 256 MiB. */
static gint64 assert_batch_is_small(const HmFakeRecord *record,
                                    gpointer data G_GNUC_UNUSED)
{
    const struct iovec *ranges = record->addr;
    guint64 bytes = 0;

    for (guint64 i = 0; i < record->length; i++) {
        bytes += ranges[i].iov_len;
    }
    g_assert_cmpuint(bytes, <=, 256 * HM_MIB);
    return 0;
}

static void test_large_ranges_are_cut(void)
{
    HmDiscardTarget target = reserve(4 * HM_GIB);
    g_autoptr(HmRangeList) ranges = hm_range_list_new();
    g_autoptr(GError) error = NULL;
    HmFakeRecord record;

    hm_range_list_add(ranges, &(HmRange){4096, HM_GIB});
    hm_range_list_add(ranges, &(HmRange){2 * HM_GIB, 2 * HM_MIB});
    hm_range_list_add(ranges, &(HmRange){3 * HM_GIB, 600 * HM_MIB});
    hm_fake_reset();
    hm_fake_hook(HM_FAKE_ADVISE_VECTOR, assert_batch_is_small, NULL);
    g_assert_true(hm_discard_list(&target, ranges, NULL, &error));
    g_assert_no_error(error);
    for (guint i = 1; hm_fake_get_call(HM_FAKE_ADVISE, i, &record); i++) {
        g_assert_cmpuint(record.length, <=, 256 * HM_MIB);
    }
    hm_fake_reset();
    hm_os_unmap(target.addr, 4 * HM_GIB);
}

/* As the kernel: pages of huge pages' mappings go whole, or not at all. */
static gint64 assert_pages_are_whole(const HmFakeRecord *record, gpointer data)
{
    const HmDiscardTarget *target = data;

    g_assert_cmpuint((guintptr)record->addr % target->page_size, ==, 0);
    g_assert_cmpuint(record->length % target->page_size, ==, 0);
    return 0;
}

static void test_pages_larger_than_a_batch_stay_whole(void)
{
    HmDiscardTarget all = reserve(3 * HM_GIB);
    HmDiscardTarget target = all;
    g_autoptr(GError) error = NULL;

    target.page_size = HM_GIB;
    target.addr += HM_GIB - (guintptr)all.addr % HM_GIB;
    hm_fake_reset();
    hm_fake_hook(HM_FAKE_ADVISE, assert_pages_are_whole, &target);
    g_assert_true(hm_pages_discard(&target, 0, 2 * HM_GIB, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_ADVISE), ==, 2);
    hm_fake_reset();
    hm_os_unmap(all.addr, 3 * HM_GIB);
}

static void skip(void)
{
    g_test_skip("this kernel has no process_madvise on itself (Linux 6.13)");
}

/* Those that count on process_madvise(2). */
static void add_vectored(const char *path, void (*test)(void))
{
    if (hm_hostcaps_get()->self_madvise) {
        g_test_add_func(path, test);
    } else {
        g_test_add_func(path, skip);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_vectored("/discard-list/one-call", test_list_is_one_call);
    g_test_add_func("/discard-list/one-range", test_list_of_one_is_advised);
    g_test_add_func("/discard-list/file-is-punched",
                    test_list_of_file_is_punched);
    add_vectored("/discard-list/private-file",
                 test_list_of_private_file_leaves_the_file);
    add_vectored("/discard-list/locked-memory", test_list_of_locked_memory);
    add_vectored("/discard-list/memory-known-as-locked",
                 test_list_of_memory_known_as_locked);
    add_vectored("/discard-list/vectors-are-forbidden",
                 test_list_where_vectors_are_forbidden);
    add_vectored("/discard-list/goes-on",
                 test_list_goes_on_where_the_kernel_stops);
    g_test_add_func("/discard-list/how-far", test_list_tells_how_far_it_got);
    g_test_add_func("/discard-list/how-far-in-a-file",
                    test_list_of_file_tells_how_far_it_got);
    g_test_add_func("/discard-list/misaligned",
                    test_misaligned_list_is_refused);
    g_test_add_func("/discard-list/empty", test_empty_list_needs_nothing);
    add_vectored("/discard-list/batches", test_list_is_cut_into_batches);
    g_test_add_func("/discard-list/large-ranges", test_large_ranges_are_cut);
    g_test_add_func("/discard-list/gigabyte-pages",
                    test_pages_larger_than_a_batch_stay_whole);
    return g_test_run();
}
