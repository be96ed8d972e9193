/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/mman.h>
#include "os-fake.h"
#include "prealloc-test.h"
#include "util/error.h"
#include "util/size.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define PAGES       64
#define CHUNK_PAGES 4

static const HmPreallocPlan populate_plan = {
    .chunk = {HM_STEP_POPULATE_WRITE},
    .n_chunk = 1,
};
static const HmPreallocPlan allocate_plan = {
    .whole = {HM_STEP_ALLOCATE},
    .n_whole = 1,
    .chunk = {HM_STEP_POPULATE_WRITE},
    .n_chunk = 1,
};
static const HmPreallocPlan touch_plan = {
    .chunk = {HM_STEP_TOUCH_WRITE},
    .n_chunk = 1,
};

static HmRangeList *one_hole(gsize first, gsize pages)
{
    HmRangeList *holes = hm_range_list_new();
    HmRange hole = {first * 4096, pages * 4096};

    hm_range_list_add(holes, &hole);
    return holes;
}

/* A region of 16 chunks. */
static void map_anon(PreallocTest *test)
{
    prealloc_test_map_anon(test, PAGES * 4096);
    prealloc_test_set_chunks(test, CHUNK_PAGES);
}

static void map_memfd(PreallocTest *test, const HmPreallocPlan *plan)
{
    prealloc_test_map_memfd(test, PAGES * 4096, MAP_SHARED);
    prealloc_test_set_chunks(test, CHUNK_PAGES);
    prealloc_test_set_plan(test, plan);
}

/* errors of the kernel */

static void check_errno(int err, HostmemError code, const char *text)
{
    PreallocTest test;

    map_anon(&test);
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 3, err);
    prealloc_test_fail(&test, HOSTMEM_ERROR, (int)code);
    g_assert_cmpstr(test.error->message, ==, text);
    g_assert_cmpint(test.failure.err, ==, err);
    g_assert_cmpint(test.failure.step, ==, HM_STEP_POPULATE_WRITE);
    g_assert_cmpuint(test.failure.offset, ==, 2 * CHUNK_PAGES * 4096);
    g_assert_cmpuint(test.failure.done, ==, 2 * CHUNK_PAGES * 4096);
    g_assert_cmpuint(hm_fake_count_advice(MADV_POPULATE_WRITE), ==, 3);
    prealloc_test_clear(&test);
}

static void test_each_errno_has_its_code(void)
{
    check_errno(ENOMEM, HOSTMEM_ERROR_NO_MEMORY,
                "preallocating memory failed: Cannot allocate memory at offset "
                "32768 of 262144 bytes (populate-write)");
    check_errno(EINVAL, HOSTMEM_ERROR_INVALID,
                "preallocating memory failed: Invalid argument at offset "
                "32768 of 262144 bytes (populate-write)");
    check_errno(EFAULT, HOSTMEM_ERROR_SYSTEM,
                "preallocating memory failed: no page could be had at offset "
                "32768 of 262144 bytes (populate-write)");
    check_errno(EHWPOISON, HOSTMEM_ERROR_CHANGED,
                "preallocating memory failed: poisoned page at offset "
                "32768 of 262144 bytes (populate-write)");
}

static void check_fault_code(HmMemKind kind, HostmemError code)
{
    PreallocTest test;

    map_memfd(&test, &populate_plan);
    test.region.kind = kind;
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 1, EFAULT);
    prealloc_test_fail(&test, HOSTMEM_ERROR, (int)code);
    prealloc_test_clear(&test);
}

static void test_missing_page_is_named_by_what_ran_out(void)
{
    check_fault_code(HM_MEM_SHMEM, HOSTMEM_ERROR_NO_SPACE);
    check_fault_code(HM_MEM_HUGETLB, HOSTMEM_ERROR_NO_HUGE_PAGES);
    check_fault_code(HM_MEM_FILE, HOSTMEM_ERROR_SYSTEM);
}

static void test_endless_eagain_ends(void)
{
    PreallocTest test;

    map_anon(&test);
    hm_fake_fail_always(HM_FAKE_ADVISE, EAGAIN);
    prealloc_test_fail(&test, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT);
    prealloc_test_clear(&test);
}

/* Populates three pages of the chunk, then fails as the kernel would. */
static gint64 populate_three(const HmFakeRecord *record, gpointer data)
{
    (void)data;
    hm_os_advise(record->addr, 3 * 4096, (int)record->arg);
    return -EFAULT;
}

static void test_offset_is_that_of_the_missing_page(void)
{
    PreallocTest test;

    map_anon(&test);
    hm_fake_hook(HM_FAKE_ADVISE, populate_three, NULL);
    prealloc_test_fail(&test, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM);
    g_assert_cmpuint(test.failure.offset, ==, 3 * 4096);
    prealloc_test_clear(&test);
}

static void test_full_filesystem(void)
{
    PreallocTest test;

    map_memfd(&test, &allocate_plan);
    hm_fake_fail(HM_FAKE_ALLOCATE, 1, ENOSPC);
    prealloc_test_fail(&test, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_SPACE);
    g_assert_cmpint(test.failure.step, ==, HM_STEP_ALLOCATE);
    g_assert_cmpuint(prealloc_test_populated(&test), ==, 0);
    prealloc_test_clear(&test);
}

static void test_backed_is_never_claimed_falsely(void)
{
    static const HmPreallocPlan plan = {.whole = {HM_STEP_ALLOCATE},
                                        .n_whole = 1};
    PreallocTest test;

    map_memfd(&test, &plan);
    hm_fake_fail_always(HM_FAKE_ALLOCATE, ENOSYS);
    prealloc_test_fail(&test, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED);
    prealloc_test_clear(&test);
}

/* a file that shrinks */

typedef struct {
    PreallocTest *test;
    guint calls;
    guint act_at; /* the call that acts */
} Trigger;

static gboolean truncate_file(guint64 bytes, gpointer data, GError **error)
{
    Trigger *trigger = data;

    (void)bytes;
    (void)error;
    if (++trigger->calls == trigger->act_at) {
        hm_os_truncate(trigger->test->region.fd, 4096 + 3 * 4096);
    }
    return TRUE;
}

static void check_truncated(const HmPreallocPlan *plan)
{
    PreallocTest test;
    Trigger trigger = {.test = &test, .act_at = 4};

    map_memfd(&test, plan);
    test.options.room = truncate_file;
    test.options.room_data = &trigger;
    prealloc_test_fail(&test, HOSTMEM_ERROR, HOSTMEM_ERROR_CHANGED);
    g_assert_cmpstr(test.error->message, ==,
                    "preallocating memory failed: the file was truncated: it "
                    "has 16384 bytes now, 266240 are expected");
    g_assert_cmpint(test.failure.err, ==, EFAULT);
    g_assert_cmpuint(test.failure.offset, ==, 3 * CHUNK_PAGES * 4096);
    prealloc_test_clear(&test);
}

static void test_file_shrinks_while_populated(void)
{
    check_truncated(&populate_plan);
}

static void test_file_shrinks_while_touched(void)
{
    check_truncated(&touch_plan);
}

/* What is lost is lost: fallocate would only hide that. */
static void test_file_that_shrank_is_not_made_longer(void)
{
    static const HmPreallocPlan plan = {.whole = {HM_STEP_ALLOCATE},
                                        .n_whole = 1};
    PreallocTest test;
    struct stat st;

    map_memfd(&test, &plan);
    g_assert_cmpint(hm_os_truncate(test.region.fd, 4096), ==, 0);
    prealloc_test_fail(&test, HOSTMEM_ERROR, HOSTMEM_ERROR_CHANGED);
    g_assert_cmpint(hm_os_stat(test.region.fd, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 4096);
    prealloc_test_clear(&test);
}

/* stopping */

static void test_cancelled_before(void)
{
    PreallocTest test;

    map_anon(&test);
    test.cancellable = g_cancellable_new();
    g_cancellable_cancel(test.cancellable);
    prealloc_test_fail(&test, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_cmpuint(prealloc_test_populated(&test), ==, 0);
    prealloc_test_clear(&test);
}

static gboolean cancel(guint64 bytes, gpointer data, GError **error)
{
    Trigger *trigger = data;

    (void)bytes;
    (void)error;
    if (++trigger->calls == trigger->act_at) {
        g_cancellable_cancel(trigger->test->cancellable);
    }
    return TRUE;
}

static void test_cancelled_in_the_middle(void)
{
    PreallocTest test;
    Trigger trigger = {.test = &test, .act_at = 4};

    map_anon(&test);
    test.cancellable = g_cancellable_new();
    test.options.room = cancel;
    test.options.room_data = &trigger;
    prealloc_test_fail(&test, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_cmpuint(trigger.calls, ==, 4);
    g_assert_cmpuint(test.failure.done, ==, 3 * CHUNK_PAGES * 4096);
    g_assert_cmpint(test.failure.err, ==, 0);
    prealloc_test_clear(&test);
}

static gint64 cancel_at_call(const HmFakeRecord *record, gpointer data)
{
    (void)record;
    g_cancellable_cancel(data);
    return 0;
}

static void test_cancelled_within_a_chunk(void)
{
    PreallocTest test;

    prealloc_test_map_anon(&test, 64 * HM_MIB);
    prealloc_test_set_chunks(&test, 64 * HM_MIB / 4096);
    test.cancellable = g_cancellable_new();
    hm_fake_hook(HM_FAKE_ADVISE, cancel_at_call, test.cancellable);
    prealloc_test_fail(&test, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_ADVISE), ==, 1);
    g_assert_cmpuint(test.result.populated, ==, 16 * HM_MIB);
    prealloc_test_clear(&test);
}

static void test_cancelled_before_the_first_chunk(void)
{
    PreallocTest test;

    map_memfd(&test, &allocate_plan);
    test.cancellable = g_cancellable_new();
    hm_fake_hook(HM_FAKE_ALLOCATE, cancel_at_call, test.cancellable);
    prealloc_test_fail(&test, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_ADVISE), ==, 0);
    prealloc_test_clear(&test);
}

static void test_all_threads_stop(void)
{
    PreallocTest test;

    map_anon(&test);
    test.options.threads = 4;
    test.cancellable = g_cancellable_new();
    hm_fake_hook(HM_FAKE_ADVISE, cancel_at_call, test.cancellable);
    prealloc_test_fail(&test, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_cmpuint(test.result.threads, ==, 4);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_ADVISE), <=, 4);
    prealloc_test_clear(&test);
}

static gboolean pass_time(guint64 bytes, gpointer data, GError **error)
{
    Trigger *trigger = data;

    (void)bytes;
    (void)error;
    if (++trigger->calls == trigger->act_at) {
        hm_fake_set_now(1000);
    }
    return TRUE;
}

static void test_deadline(void)
{
    g_autoptr(HmRangeList) holes = one_hole(0, PAGES);
    PreallocTest test;
    Trigger trigger = {.test = &test, .act_at = 4};

    map_anon(&test);
    prealloc_test_set_holes(&test, holes);
    hm_fake_set_now(10);
    test.options.deadline = 1000;
    test.options.room = pass_time;
    test.options.room_data = &trigger;
    prealloc_test_fail(&test, HOSTMEM_ERROR, HOSTMEM_ERROR_TIMED_OUT);
    g_assert_cmpstr(test.error->message, ==,
                    "preallocating memory stopped: the deadline passed after "
                    "49152 of 262144 bytes");
    g_assert_cmpint(test.result.elapsed_us, ==, 990);
    g_assert_cmpuint(prealloc_test_populated(&test), ==, 49152);
    prealloc_test_clear(&test);
}

static gboolean refuse(guint64 bytes, gpointer data, GError **error)
{
    Trigger *trigger = data;

    (void)bytes;
    if (++trigger->calls < trigger->act_at) {
        return TRUE;
    }
    return hm_set_error(error, HOSTMEM_ERROR_LIMIT, "the cgroup is full");
}

static void test_no_room(void)
{
    PreallocTest test;
    Trigger trigger = {.test = &test, .act_at = 4};

    map_anon(&test);
    test.options.room = refuse;
    test.options.room_data = &trigger;
    prealloc_test_fail(&test, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT);
    g_assert_cmpstr(test.error->message, ==, "the cgroup is full");
    g_assert_cmpuint(trigger.calls, ==, 4);
    g_assert_cmpuint(prealloc_test_populated(&test), ==,
                     3 * CHUNK_PAGES * 4096);
    prealloc_test_clear(&test);
}

/* rollback */

/* Pages 0 to 7 have data, the rest is a hole. */
static void test_holes_are_given_back(void)
{
    g_autoptr(HmRangeList) holes = one_hole(8, PAGES - 8);
    PreallocTest test;

    map_anon(&test);
    prealloc_test_fill(&test, 0, 8);
    prealloc_test_set_holes(&test, holes);
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 6, EFAULT);
    prealloc_test_fail(&test, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM);
    g_assert_cmpuint(test.failure.done, ==, 5 * CHUNK_PAGES * 4096);
    g_assert_cmpuint(prealloc_test_populated(&test), ==, 8 * 4096);
    prealloc_test_assert_filled(&test, 0, 8);
    prealloc_test_clear(&test);
}

static void test_file_storage_is_given_back(void)
{
    g_autoptr(HmRangeList) holes = one_hole(8, PAGES - 8);
    PreallocTest test;

    map_memfd(&test, &allocate_plan);
    prealloc_test_fill(&test, 0, 8);
    prealloc_test_set_holes(&test, holes);
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 6, EFAULT);
    prealloc_test_fail(&test, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_SPACE);
    g_assert_cmpuint(prealloc_test_backed(&test), ==, 8 * 4096);
    prealloc_test_assert_filled(&test, 0, 8);
    prealloc_test_clear(&test);
}

static void test_cancel_gives_back(void)
{
    g_autoptr(HmRangeList) holes = one_hole(0, PAGES);
    PreallocTest test;
    Trigger trigger = {.test = &test, .act_at = 4};

    map_memfd(&test, &populate_plan);
    prealloc_test_set_holes(&test, holes);
    test.cancellable = g_cancellable_new();
    test.options.room = cancel;
    test.options.room_data = &trigger;
    prealloc_test_fail(&test, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_cmpuint(prealloc_test_backed(&test), ==, 0);
    prealloc_test_clear(&test);
}

/* What lies behind was not ours: somebody may have made it meanwhile. */
static void test_what_was_not_reached_is_left(void)
{
    g_autoptr(HmRangeList) holes = one_hole(0, PAGES);
    PreallocTest test;

    map_anon(&test);
    prealloc_test_set_holes(&test, holes);
    prealloc_test_fill(&test, PAGES - 8, 8);
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 6, EFAULT);
    prealloc_test_fail(&test, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM);
    g_assert_cmpuint(prealloc_test_populated(&test), ==, 8 * 4096);
    prealloc_test_assert_filled(&test, PAGES - 8, 8);
    prealloc_test_clear(&test);
}

static void test_without_holes_nothing_is_discarded(void)
{
    PreallocTest test;

    map_memfd(&test, &populate_plan);
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 6, EFAULT);
    prealloc_test_fail(&test, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_SPACE);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_PUNCH), ==, 0);
    g_assert_cmpuint(prealloc_test_backed(&test), ==, 5 * CHUNK_PAGES * 4096);
    prealloc_test_clear(&test);
}

static gboolean never(gpointer asked)
{
    ++*(guint *)asked;
    return FALSE;
}

static void test_rollback_may_be_forbidden(void)
{
    g_autoptr(HmRangeList) holes = one_hole(0, PAGES);
    PreallocTest test;
    guint asked = 0;

    map_memfd(&test, &populate_plan);
    prealloc_test_set_holes(&test, holes);
    test.options.may_roll_back = never;
    test.options.roll_back_data = &asked;
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 2, ENOMEM);
    prealloc_test_fail(&test, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_MEMORY);
    g_assert_cmpuint(asked, ==, 1);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_PUNCH), ==, 0);
    prealloc_test_clear(&test);
}

static void test_failing_rollback_is_told(void)
{
    g_autoptr(HmRangeList) holes = one_hole(0, PAGES);
    PreallocTest test;

    map_memfd(&test, &populate_plan);
    prealloc_test_set_holes(&test, holes);
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 2, ENOMEM);
    hm_fake_fail(HM_FAKE_PUNCH, 1, EIO);
    prealloc_test_fail(&test, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_MEMORY);
    g_assert_nonnull(strstr(test.error->message, "Cannot allocate memory"));
    g_assert_nonnull(strstr(test.error->message,
                            "; what was populated stays: cannot discard 32768 "
                            "bytes at offset 0 of shared memory: "
                            "Input/output error"));
    prealloc_test_clear(&test);
}

static void test_works_after_a_failure(void)
{
    g_autoptr(HmRangeList) holes = one_hole(0, PAGES);
    PreallocTest test;

    map_memfd(&test, &populate_plan);
    prealloc_test_set_holes(&test, holes);
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 6, EFAULT);
    prealloc_test_fail(&test, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_SPACE);
    prealloc_test_succeed(&test);
    g_assert_cmpuint(prealloc_test_populated(&test), ==, test.region.length);
    g_assert_cmpuint(test.result.populated, ==, test.region.length);
    prealloc_test_clear(&test);
}

static void add(const char *path, void (*test)(void))
{
    g_test_add_func(path, test);
}

static void add_error_tests(void)
{
    add("/prealloc-failure/each-errno-has-its-code",
        test_each_errno_has_its_code);
    add("/prealloc-failure/missing-page-is-named-by-what-ran-out",
        test_missing_page_is_named_by_what_ran_out);
    add("/prealloc-failure/endless-eagain-ends", test_endless_eagain_ends);
    add("/prealloc-failure/offset-is-that-of-the-missing-page",
        test_offset_is_that_of_the_missing_page);
    add("/prealloc-failure/full-filesystem", test_full_filesystem);
    add("/prealloc-failure/backed-is-never-claimed-falsely",
        test_backed_is_never_claimed_falsely);
    add("/prealloc-failure/file-shrinks-while-populated",
        test_file_shrinks_while_populated);
    add("/prealloc-failure/file-shrinks-while-touched",
        test_file_shrinks_while_touched);
    add("/prealloc-failure/file-that-shrank-is-not-made-longer",
        test_file_that_shrank_is_not_made_longer);
}

static void add_stop_tests(void)
{
    add("/prealloc-failure/cancelled-before", test_cancelled_before);
    add("/prealloc-failure/cancelled-in-the-middle",
        test_cancelled_in_the_middle);
    add("/prealloc-failure/cancelled-within-a-chunk",
        test_cancelled_within_a_chunk);
    add("/prealloc-failure/cancelled-before-the-first-chunk",
        test_cancelled_before_the_first_chunk);
    add("/prealloc-failure/all-threads-stop", test_all_threads_stop);
    add("/prealloc-failure/deadline", test_deadline);
    add("/prealloc-failure/no-room", test_no_room);
}

static void add_rollback_tests(void)
{
    add("/prealloc-failure/holes-are-given-back", test_holes_are_given_back);
    add("/prealloc-failure/file-storage-is-given-back",
        test_file_storage_is_given_back);
    add("/prealloc-failure/cancel-gives-back", test_cancel_gives_back);
    add("/prealloc-failure/what-was-not-reached-is-left",
        test_what_was_not_reached_is_left);
    add("/prealloc-failure/without-holes-nothing-is-discarded",
        test_without_holes_nothing_is_discarded);
    add("/prealloc-failure/rollback-may-be-forbidden",
        test_rollback_may_be_forbidden);
    add("/prealloc-failure/failing-rollback-is-told",
        test_failing_rollback_is_told);
    add("/prealloc-failure/works-after-a-failure", test_works_after_a_failure);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_error_tests();
    add_stop_tests();
    add_rollback_tests();
    return g_test_run();
}
