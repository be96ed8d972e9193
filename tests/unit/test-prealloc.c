/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "os-fake.h"
#include "prealloc-test.h"
#include "util/size.h"

#define PAGES 64

static void assert_calls(const char *expected)
{
    g_autofree char *found = hm_fake_sequence();

    g_assert_cmpstr(found, ==, expected);
}

/* what it does to memory */

static void test_anonymous_memory_is_populated(void)
{
    PreallocTest test;

    prealloc_test_map_anon(&test, PAGES * 4096);
    prealloc_test_succeed(&test);
    g_assert_cmpuint(prealloc_test_populated(&test), ==, test.region.length);
    g_assert_cmpuint(test.result.populated, ==, test.region.length);
    prealloc_test_clear(&test);
}

static void test_shared_memory_is_populated(void)
{
    PreallocTest test;

    prealloc_test_map_memfd(&test, PAGES * 4096, MAP_SHARED);
    prealloc_test_succeed(&test);
    g_assert_cmpuint(prealloc_test_populated(&test), ==, test.region.length);
    g_assert_cmpuint(prealloc_test_backed(&test), ==, test.region.length);
    prealloc_test_clear(&test);
}

static void test_allocate_backs_without_populating(void)
{
    static const HmPreallocPlan plan = {.whole = {HM_STEP_ALLOCATE},
                                        .n_whole = 1};
    PreallocTest test;

    prealloc_test_map_memfd(&test, PAGES * 4096, MAP_SHARED);
    prealloc_test_set_plan(&test, &plan);
    prealloc_test_succeed(&test);
    g_assert_cmpuint(prealloc_test_populated(&test), ==, 0);
    g_assert_cmpuint(prealloc_test_backed(&test), ==, test.region.length);
    g_assert_cmpuint(test.result.populated, ==, test.region.length);
    prealloc_test_clear(&test);
}

static void test_nothing_to_do(void)
{
    static const HmPreallocPlan plan = {.method = "none"};
    PreallocTest test;

    prealloc_test_map_anon(&test, PAGES * 4096);
    prealloc_test_set_plan(&test, &plan);
    prealloc_test_succeed(&test);
    assert_calls("");
    g_assert_cmpuint(hm_progress_done(&test.progress), ==, test.region.length);
    prealloc_test_clear(&test);
}

/* Every second page has data before; all of it is there afterwards. */
static void check_contents_stay(const HmPreallocPlan *plan, gboolean shared)
{
    PreallocTest test;

    if (shared) {
        prealloc_test_map_memfd(&test, 4 * HM_MIB, MAP_SHARED);
    } else {
        prealloc_test_map_anon(&test, 4 * HM_MIB);
    }
    prealloc_test_set_plan(&test, plan);
    test.options.threads = 2;
    prealloc_test_set_chunks(&test, 16);
    for (gsize i = 0; i < 1024; i += 2) {
        prealloc_test_fill(&test, i, 1);
    }
    prealloc_test_succeed(&test);
    for (gsize i = 0; i < 1024; i += 2) {
        prealloc_test_assert_filled(&test, i, 1);
        g_assert_cmpuint(test.region.addr[(i + 1) * test.page], ==, 0);
    }
    g_assert_cmpuint(prealloc_test_populated(&test), ==, test.region.length);
    prealloc_test_clear(&test);
}

static void test_contents_stay(void)
{
    static const HmPreallocPlan plans[] = {
        {.chunk = {HM_STEP_POPULATE_WRITE}, .n_chunk = 1},
        {.chunk = {HM_STEP_POPULATE_READ}, .n_chunk = 1},
        {.chunk = {HM_STEP_TOUCH_WRITE}, .n_chunk = 1},
        {.chunk = {HM_STEP_TOUCH_READ}, .n_chunk = 1},
        {.chunk = {HM_STEP_ALLOCATE, HM_STEP_POPULATE_WRITE}, .n_chunk = 2},
        {.whole = {HM_STEP_ADVISE_HUGE, HM_STEP_ALLOCATE},
         .n_whole = 2,
         .chunk = {HM_STEP_SEED_HUGE, HM_STEP_COLLAPSE, HM_STEP_POPULATE_WRITE},
         .n_chunk = 3,
         .huge_size = 2 * HM_MIB},
    };

    for (guint i = 0; i < G_N_ELEMENTS(plans); i++) {
        check_contents_stay(&plans[i], TRUE);
        check_contents_stay(&plans[i], FALSE);
    }
}

/* Reading would leave the zero page, which a write has to replace. */
static void test_touch_really_writes(void)
{
    static const HmPreallocPlan plan = {.chunk = {HM_STEP_TOUCH_WRITE},
                                        .n_chunk = 1};
    PreallocTest test;

    prealloc_test_map_memfd(&test, PAGES * 4096, MAP_PRIVATE);
    prealloc_test_set_plan(&test, &plan);
    prealloc_test_succeed(&test);
    g_assert_cmpint(hm_os_punch(test.region.fd, 0, test.page + PAGES * 4096),
                    ==, 0);
    g_assert_cmpuint(prealloc_test_populated(&test), ==, test.region.length);
    prealloc_test_clear(&test);
}

static const HmPreallocPlan touch_present_plan = {
    .chunk = {HM_STEP_POPULATE_WRITE},
    .n_chunk = 1,
    .touch_present = TRUE,
};

static void test_present_pages_are_only_touched(void)
{
    PreallocTest test;

    prealloc_test_map_anon(&test, PAGES * 4096);
    prealloc_test_set_plan(&test, &touch_present_plan);
    prealloc_test_fill(&test, 0, PAGES);
    prealloc_test_succeed(&test);
    g_assert_cmpuint(hm_fake_count_advice(MADV_POPULATE_WRITE), ==, 0);
    g_assert_cmpuint(test.result.populated, ==, test.region.length);
    prealloc_test_assert_filled(&test, 0, PAGES);
    prealloc_test_clear(&test);
}

static void test_one_absent_page_is_populated(void)
{
    PreallocTest test;

    prealloc_test_map_anon(&test, PAGES * 4096);
    prealloc_test_set_plan(&test, &touch_present_plan);
    prealloc_test_fill(&test, 0, PAGES - 1);
    prealloc_test_succeed(&test);
    g_assert_cmpuint(hm_fake_count_advice(MADV_POPULATE_WRITE), ==, 1);
    g_assert_cmpuint(prealloc_test_populated(&test), ==, test.region.length);
    prealloc_test_clear(&test);
}

static void test_unknown_presence_is_populated(void)
{
    PreallocTest test;

    prealloc_test_map_anon(&test, PAGES * 4096);
    prealloc_test_set_plan(&test, &touch_present_plan);
    prealloc_test_fill(&test, 0, PAGES);
    hm_fake_fail_always(HM_FAKE_POPULATED, EACCES);
    prealloc_test_succeed(&test);
    g_assert_cmpuint(hm_fake_count_advice(MADV_POPULATE_WRITE), ==, 1);
    prealloc_test_clear(&test);
}

static void test_private_mapping_leaves_the_file_alone(void)
{
    PreallocTest test;
    guint8 *shared;
    void *addr;

    prealloc_test_map_memfd(&test, PAGES * 4096, MAP_PRIVATE);
    prealloc_test_fill(&test, 0, PAGES);
    prealloc_test_succeed(&test);
    g_assert_cmpint(hm_os_map(NULL, PAGES * 4096, PROT_READ, MAP_SHARED,
                              test.region.fd, test.page, &addr),
                    ==, 0);
    shared = addr;
    for (gsize i = 0; i < PAGES * 4096; i++) {
        g_assert_cmpuint(shared[i], ==, 0);
    }
    hm_os_unmap(addr, PAGES * 4096);
    prealloc_test_clear(&test);
}

/* which calls it makes */

static void test_huge_pages_are_seeded_and_collapsed(void)
{
    static const HmPreallocPlan plan = {
        .whole = {HM_STEP_ADVISE_HUGE},
        .n_whole = 1,
        .chunk = {HM_STEP_SEED_HUGE, HM_STEP_COLLAPSE, HM_STEP_POPULATE_WRITE},
        .n_chunk = 3,
        .huge_size = 2 * HM_MIB,
    };
    PreallocTest test;
    HmFakeRecord second_seed;

    prealloc_test_map_memfd(&test, 5 * HM_MIB, MAP_SHARED);
    prealloc_test_set_plan(&test, &plan);
    prealloc_test_set_chunks(&test, 1536); /* 6 MiB */
    prealloc_test_succeed(&test);
    assert_calls("advise:14 advise:23 advise:23 advise:25 advise:23");
    g_assert_true(hm_fake_get_call(HM_FAKE_ADVISE, 3, &second_seed));
    g_assert_true(second_seed.addr == test.region.addr + 2 * HM_MIB);
    g_assert_cmpuint(second_seed.length, ==, test.page);
    prealloc_test_clear(&test);
}

/*
 * What fallocate made of a huge page is not cleared, and a collapse alone would
 * map it so (Linux 6.18): freed memory of others.
 */
static void test_collapsed_memory_is_clear(void)
{
    static const HmPreallocPlan plan = {
        .chunk = {HM_STEP_SEED_HUGE, HM_STEP_COLLAPSE, HM_STEP_ALLOCATE},
        .n_chunk = 3,
        .huge_size = 2 * HM_MIB,
    };
    const gsize length = 16 * HM_MIB;
    g_autofree guint8 *zeroes = g_malloc0(length);
    PreallocTest dirty;
    PreallocTest test;
    void *addr;
    int root;

    root = hm_os_tmpfs(&(HmTmpfsOptions){.huge = "always", .mode = 0700});
    if (root < 0) {
        g_test_skip("no private tmpfs can be mounted here");
        return;
    }
    prealloc_test_map_memfd(&test, length, MAP_SHARED);
    hm_os_close(test.region.fd);
    test.region.fd = hm_os_tmpfile(root, 0600);
    test.region.fd_offset = 0;
    prealloc_test_map_anon(&dirty, 4 * length);
    hm_os_advise(dirty.region.addr, dirty.region.length, MADV_HUGEPAGE);
    memset(dirty.region.addr, 0xa5, dirty.region.length);
    prealloc_test_clear(&dirty);
    g_assert_cmpint(hm_os_truncate(test.region.fd, length), ==, 0);
    g_assert_cmpint(hm_os_allocate(test.region.fd, 0, length), ==, 0);
    g_assert_cmpint(hm_os_map(test.region.addr, length, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_FIXED, test.region.fd, 0, &addr),
                    ==, 0);
    prealloc_test_set_plan(&test, &plan);
    prealloc_test_succeed(&test);
    g_assert_cmpmem(addr, length, zeroes, length);
    hm_os_close(root);
    prealloc_test_clear(&test);
}

static void test_calls_are_short(void)
{
    PreallocTest test;
    HmFakeRecord call;

    prealloc_test_map_anon(&test, 40 * HM_MIB);
    prealloc_test_set_chunks(&test, 40 * HM_MIB / 4096);
    prealloc_test_succeed(&test);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_ADVISE), ==, 3);
    g_assert_true(hm_fake_get_call(HM_FAKE_ADVISE, 1, &call));
    g_assert_cmpuint(call.length, ==, 16 * HM_MIB);
    prealloc_test_clear(&test);
}

static void check_ignored(int advice, int err)
{
    static const HmPreallocPlan plan = {
        .whole = {HM_STEP_ADVISE_HUGE},
        .n_whole = 1,
        .chunk = {HM_STEP_COLLAPSE, HM_STEP_POPULATE_WRITE},
        .n_chunk = 2,
        .huge_size = 2 * HM_MIB,
    };
    PreallocTest test;

    prealloc_test_map_memfd(&test, 2 * HM_MIB, MAP_SHARED);
    prealloc_test_set_plan(&test, &plan);
    hm_fake_fail_advice(advice, 1, err);
    prealloc_test_succeed(&test);
    g_assert_cmpuint(prealloc_test_populated(&test), ==, test.region.length);
    prealloc_test_clear(&test);
}

static void test_failing_advice_is_no_error(void)
{
    check_ignored(MADV_HUGEPAGE, EINVAL);
    check_ignored(25, ENOMEM);
    check_ignored(25, EINVAL);
}

static void test_missing_fallocate_is_skipped(void)
{
    static const HmPreallocPlan plans[] = {
        {.whole = {HM_STEP_ALLOCATE},
         .n_whole = 1,
         .chunk = {HM_STEP_POPULATE_WRITE},
         .n_chunk = 1},
        {.chunk = {HM_STEP_ALLOCATE, HM_STEP_POPULATE_WRITE}, .n_chunk = 2},
    };

    for (guint i = 0; i < G_N_ELEMENTS(plans); i++) {
        PreallocTest test;

        prealloc_test_map_memfd(&test, PAGES * 4096, MAP_SHARED);
        prealloc_test_set_plan(&test, &plans[i]);
        hm_fake_fail_always(HM_FAKE_ALLOCATE, EOPNOTSUPP);
        prealloc_test_succeed(&test);
        g_assert_cmpuint(prealloc_test_populated(&test), ==,
                         test.region.length);
        prealloc_test_clear(&test);
    }
}

static void check_retried(int err)
{
    PreallocTest test;

    prealloc_test_map_anon(&test, PAGES * 4096);
    hm_fake_fail_advice(23, 1, err);
    prealloc_test_succeed(&test);
    g_assert_cmpuint(hm_fake_count_advice(23), ==, 2);
    g_assert_cmpuint(prealloc_test_populated(&test), ==, test.region.length);
    prealloc_test_clear(&test);
}

static void test_interrupted_call_is_repeated(void)
{
    check_retried(EINTR);
    check_retried(EAGAIN);
}

/* progress */

typedef struct {
    const HmProgress *progress;
    guint64 last;
    guint calls;
} Watch;

static gboolean watch_progress(guint64 bytes, gpointer data, GError **error)
{
    Watch *watch = data;
    guint64 done = hm_progress_done(watch->progress);

    (void)error;
    g_assert_cmpuint(done, >=, watch->last);
    g_assert_cmpuint(done + bytes, <=, hm_progress_total(watch->progress));
    watch->last = done;
    watch->calls++;
    return TRUE;
}

static void test_progress_rises_to_the_end(void)
{
    PreallocTest test;
    Watch watch = {.progress = &test.progress};

    prealloc_test_map_anon(&test, PAGES * 4096);
    prealloc_test_set_chunks(&test, 4);
    test.options.threads = 3;
    test.options.room = watch_progress;
    test.options.room_data = &watch;
    prealloc_test_succeed(&test);
    g_assert_cmpuint(watch.calls, ==, PAGES / 4);
    g_assert_cmpuint(watch.last, >, 0);
    g_assert_cmpuint(hm_progress_done(&test.progress), ==, test.region.length);
    g_assert_cmpuint(hm_progress_total(&test.progress), ==, test.region.length);
    prealloc_test_clear(&test);
}

/* room */

static gboolean add_bytes(guint64 bytes, gpointer data, GError **error)
{
    (void)error;
    *(guint64 *)data += bytes;
    return TRUE;
}

static void test_room_is_asked_for_every_byte_once(void)
{
    static const HmPreallocPlan plans[] = {
        {.chunk = {HM_STEP_POPULATE_WRITE}, .n_chunk = 1},
        {.chunk = {HM_STEP_ALLOCATE, HM_STEP_POPULATE_WRITE}, .n_chunk = 2},
        {.whole = {HM_STEP_ALLOCATE},
         .n_whole = 1,
         .chunk = {HM_STEP_POPULATE_WRITE},
         .n_chunk = 1},
    };

    for (guint i = 0; i < G_N_ELEMENTS(plans); i++) {
        PreallocTest test;
        guint64 asked = 0;

        prealloc_test_map_memfd(&test, PAGES * 4096, MAP_SHARED);
        prealloc_test_set_plan(&test, &plans[i]);
        prealloc_test_set_chunks(&test, 4);
        test.options.threads = 2;
        test.options.room = add_bytes;
        test.options.room_data = &asked;
        prealloc_test_succeed(&test);
        g_assert_cmpuint(asked, ==, test.region.length);
        prealloc_test_clear(&test);
    }
}

/* A file that is there already needs no room, however full its filesystem. */
static void test_room_is_asked_for_holes_only(void)
{
    g_autoptr(HmRangeList) holes = hm_range_list_new();
    HmRange hole = {10 * 4096, 3 * 4096};
    PreallocTest test;
    guint64 asked = 0;

    hm_range_list_add(holes, &hole);
    prealloc_test_map_memfd(&test, PAGES * 4096, MAP_SHARED);
    prealloc_test_set_chunks(&test, 4);
    prealloc_test_set_holes(&test, holes);
    test.options.room = add_bytes;
    test.options.room_data = &asked;
    prealloc_test_succeed(&test);
    g_assert_cmpuint(asked, ==, 3 * 4096);
    prealloc_test_clear(&test);
}

/* sizes */

static gsize chunk_size(gsize length, gsize page_size, gsize huge_size,
                        guint threads)
{
    HmPreallocPlan plan = {.huge_size = huge_size};
    HmPreallocRegion region = {
        .length = length,
        .page_size = page_size,
        .plan = &plan,
    };

    return hm_prealloc_chunk_size(&region, threads);
}

static void test_chunks_are_small_for_slow_pages(void)
{
    g_assert_cmpuint(chunk_size(HM_GIB << 10, 4096, 0, 1), ==, 64 * HM_MIB);
    g_assert_cmpuint(chunk_size(HM_GIB << 10, 4096, 2 * HM_MIB, 1), ==,
                     256 * HM_MIB);
    g_assert_cmpuint(chunk_size(HM_GIB << 10, 2 * HM_MIB, 0, 1), ==,
                     256 * HM_MIB);
}

static void test_chunks_shrink_with_the_share_of_a_thread(void)
{
    g_assert_cmpuint(chunk_size(4 * HM_GIB, 4096, 2 * HM_MIB, 2), ==,
                     32 * HM_MIB);
    g_assert_cmpuint(chunk_size(HM_MIB, 4096, 0, 2), ==, 4 * HM_MIB);
}

static void test_chunks_hold_whole_pages(void)
{
    g_assert_cmpuint(chunk_size(64 * HM_GIB, HM_GIB, 0, 16), ==, HM_GIB);
    g_assert_cmpuint(chunk_size(3 * HM_GIB + 4096, 4096, 2 * HM_MIB, 7) %
                         (2 * HM_MIB),
                     ==, 0);
}

/* An HmRoomFunc, which hears of each chunk. */
static gboolean note_chunk(guint64 bytes, gpointer data,
                           GError **error G_GNUC_UNUSED)
{
    g_array_append_val((GArray *)data, bytes);
    return TRUE;
}

static void test_chunks_of_a_file_shrink(void)
{
    g_autoptr(GArray) chunks = g_array_new(FALSE, FALSE, sizeof(guint64));
    PreallocTest test;
    guint64 most = 0;

    prealloc_test_map_memfd(&test, 32 * HM_MIB, MAP_SHARED);
    test.region.kind = HM_MEM_FILE;
    test.options.threads = 2;
    test.options.room = note_chunk;
    test.options.room_data = chunks;
    prealloc_test_succeed(&test);
    /* 8, 6, 4.5, 4, 4, 4 and 1.5 MiB; each worker may be the first to ask. */
    g_assert_cmpuint(chunks->len, ==, 7);
    for (guint i = 0; i < chunks->len; i++) {
        most = MAX(most, g_array_index(chunks, guint64, i));
    }
    g_assert_cmpuint(most, ==, 8 * HM_MIB);
    prealloc_test_clear(&test);
}

static void add(const char *path, void (*test)(void))
{
    g_test_add_func(path, test);
}

static void add_memory_tests(void)
{
    add("/prealloc/anonymous-memory-is-populated",
        test_anonymous_memory_is_populated);
    add("/prealloc/shared-memory-is-populated",
        test_shared_memory_is_populated);
    add("/prealloc/allocate-backs-without-populating",
        test_allocate_backs_without_populating);
    add("/prealloc/nothing-to-do", test_nothing_to_do);
    add("/prealloc/contents-stay", test_contents_stay);
    add("/prealloc/touch-really-writes", test_touch_really_writes);
    add("/prealloc/present-pages-are-only-touched",
        test_present_pages_are_only_touched);
    add("/prealloc/one-absent-page-is-populated",
        test_one_absent_page_is_populated);
    add("/prealloc/unknown-presence-is-populated",
        test_unknown_presence_is_populated);
    add("/prealloc/private-mapping-leaves-the-file-alone",
        test_private_mapping_leaves_the_file_alone);
}

static void add_call_tests(void)
{
    add("/prealloc/huge-pages-are-seeded-and-collapsed",
        test_huge_pages_are_seeded_and_collapsed);
    add("/prealloc/collapsed-memory-is-clear", test_collapsed_memory_is_clear);
    add("/prealloc/calls-are-short", test_calls_are_short);
    add("/prealloc/failing-advice-is-no-error",
        test_failing_advice_is_no_error);
    add("/prealloc/missing-fallocate-is-skipped",
        test_missing_fallocate_is_skipped);
    add("/prealloc/interrupted-call-is-repeated",
        test_interrupted_call_is_repeated);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_memory_tests();
    add_call_tests();
    add("/prealloc/progress-rises-to-the-end", test_progress_rises_to_the_end);
    add("/prealloc/room-is-asked-for-every-byte-once",
        test_room_is_asked_for_every_byte_once);
    add("/prealloc/room-is-asked-for-holes-only",
        test_room_is_asked_for_holes_only);
    add("/prealloc/chunks-are-small-for-slow-pages",
        test_chunks_are_small_for_slow_pages);
    add("/prealloc/chunks-shrink-with-the-share-of-a-thread",
        test_chunks_shrink_with_the_share_of_a_thread);
    add("/prealloc/chunks-of-a-file-shrink", test_chunks_of_a_file_shrink);
    add("/prealloc/chunks-hold-whole-pages", test_chunks_hold_whole_pages);
    return g_test_run();
}
