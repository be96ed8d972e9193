/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <hostmem/error.h>
#include <sys/mman.h>
#include "os-fake.h"
#include "prealloc-test.h"
#include "util/linux-compat.h"
#include "util/size.h"

#define PAGES 64
#define SIZE  (PAGES * 4096)

/* Two regions of one run, of 16 chunks each. */
typedef struct {
    PreallocTest a;
    PreallocTest b;
    HmQueue *queue;
    HmPreallocPart parts[2];
    GCancellable *cancellable;
} Pair;

static void set_part(Pair *pair, guint i, PreallocTest *test)
{
    test->region.plan = &test->plan;
    prealloc_test_set_chunks(test, 4);
    pair->parts[i] =
        (HmPreallocPart){.region = &test->region, .options = &test->options};
}

static void pair_init(Pair *pair)
{
    *pair = (Pair){.queue = hm_queue_new()};
    prealloc_test_map_memfd(&pair->a, SIZE, MAP_SHARED);
    prealloc_test_map_memfd(&pair->b, SIZE, MAP_SHARED);
    set_part(pair, 0, &pair->a);
    set_part(pair, 1, &pair->b);
}

/* All of it was empty before. */
static HmRangeList *set_holes(PreallocTest *test)
{
    const HmRange all = {0, SIZE};
    HmRangeList *holes = hm_range_list_new();

    hm_range_list_add(holes, &all);
    prealloc_test_set_holes(test, holes);
    return holes;
}

static void share_cpus(Pair *pair, guint rank_of_a, const char *text)
{
    g_autoptr(HmIdset) cpus = hm_idset_parse(text, NULL);

    pair->a.options.place =
        hm_queue_join(pair->queue, rank_of_a, cpus, G_MAXUINT);
    pair->b.options.place = hm_queue_join(pair->queue, 1, cpus, G_MAXUINT);
}

static gboolean pair_run(Pair *pair, guint *failed)
{
    return hm_prealloc_run_all(pair->parts, 2, pair->cancellable, failed);
}

static void pair_clear(Pair *pair)
{
    for (guint i = 0; i < 2; i++) {
        g_clear_error(&pair->parts[i].error);
    }
    g_clear_pointer(&pair->a.options.place, hm_queue_leave);
    g_clear_pointer(&pair->b.options.place, hm_queue_leave);
    hm_queue_unref(pair->queue);
    g_clear_object(&pair->cancellable);
    prealloc_test_clear(&pair->a);
    prealloc_test_clear(&pair->b);
}

static gboolean is_in(const PreallocTest *test, const void *addr)
{
    const guint8 *at = addr;

    return at >= test->region.addr && at < test->region.addr + SIZE;
}

static void test_all_are_populated(void)
{
    Pair pair;
    guint failed;

    pair_init(&pair);
    g_assert_true(pair_run(&pair, &failed));
    g_assert_cmpuint(prealloc_test_populated(&pair.a), ==, SIZE);
    g_assert_cmpuint(prealloc_test_populated(&pair.b), ==, SIZE);
    g_assert_cmpuint(pair.parts[1].result.populated, ==, SIZE);
    g_assert_cmpuint(pair.parts[1].result.threads, ==, 1);
    pair_clear(&pair);
}

/* Each waits in its first chunk until the other has come to its own. */
typedef struct {
    const Pair *pair;
    GMutex lock;
    GCond moved;
    gboolean a_came;
    gboolean b_came;
} Meeting;

static gint64 meet(const HmFakeRecord *record, gpointer data)
{
    Meeting *meeting = data;

    g_mutex_lock(&meeting->lock);
    if (is_in(&meeting->pair->a, record->addr)) {
        meeting->a_came = TRUE;
    } else {
        meeting->b_came = TRUE;
    }
    g_cond_broadcast(&meeting->moved);
    while (!meeting->a_came || !meeting->b_came) {
        g_cond_wait(&meeting->moved, &meeting->lock);
    }
    g_mutex_unlock(&meeting->lock);
    return 0;
}

static void test_two_cpus_work_for_both(void)
{
    Meeting meeting = {0};
    Pair pair;
    guint failed;

    pair_init(&pair);
    meeting.pair = &pair;
    share_cpus(&pair, 1, "0-1");
    hm_fake_hook(HM_FAKE_ADVISE, meet, &meeting);
    g_assert_true(pair_run(&pair, &failed));
    g_assert_cmpuint(prealloc_test_populated(&pair.b), ==, SIZE);
    pair_clear(&pair);
}

/*
 * Whether the other one begins a chunk before the first has begun all of its
 * own.  It may be there earlier: its first chunk then lasts until the first one
 * has come.
 */
typedef struct {
    const PreallocTest *first;
    GMutex lock;
    GCond moved;
    guint chunks_of_first;
    guint early;
} Watch;

static gint64 watch(const HmFakeRecord *record, gpointer data)
{
    Watch *seen = data;

    g_mutex_lock(&seen->lock);
    if (is_in(seen->first, record->addr)) {
        seen->chunks_of_first++;
        g_cond_broadcast(&seen->moved);
    }
    while (!seen->chunks_of_first) {
        g_cond_wait(&seen->moved, &seen->lock);
    }
    if (!is_in(seen->first, record->addr) &&
        seen->chunks_of_first < PAGES / 4) {
        seen->early++;
    }
    g_mutex_unlock(&seen->lock);
    return 0;
}

static void check_one_cpu(Pair *pair, const PreallocTest *first)
{
    Watch seen = {.first = first};
    guint failed;

    hm_fake_hook(HM_FAKE_ADVISE, watch, &seen);
    g_assert_true(pair_run(pair, &failed));
    g_assert_cmpuint(seen.early, <=, 1);
    g_assert_cmpuint(prealloc_test_populated(&pair->a), ==, SIZE);
    g_assert_cmpuint(prealloc_test_populated(&pair->b), ==, SIZE);
}

static void test_one_cpu_works_for_one_at_a_time(void)
{
    Pair pair;

    pair_init(&pair);
    share_cpus(&pair, 1, "0");
    check_one_cpu(&pair, &pair.a);
    pair_clear(&pair);
}

static void test_rank_decides_who_goes_first(void)
{
    Pair pair;

    pair_init(&pair);
    share_cpus(&pair, 2, "0");
    check_one_cpu(&pair, &pair.b);
    pair_clear(&pair);
}

/* failure */

static void test_failure_of_one_undoes_all(void)
{
    g_autoptr(HmRangeList) holes_of_a = NULL;
    g_autoptr(HmRangeList) holes_of_b = NULL;
    Pair pair;
    guint failed = 0;

    pair_init(&pair);
    holes_of_a = set_holes(&pair.a);
    holes_of_b = set_holes(&pair.b);
    pair.b.plan.chunk[0] = HM_STEP_POPULATE_READ;
    hm_fake_fail_advice(MADV_POPULATE_READ, 9, EIO);
    g_assert_false(pair_run(&pair, &failed));
    g_assert_cmpuint(failed, ==, 1);
    g_assert_error(pair.parts[1].error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM);
    g_assert_no_error(pair.parts[0].error);
    g_assert_cmpuint(prealloc_test_backed(&pair.a), ==, 0);
    g_assert_cmpuint(prealloc_test_backed(&pair.b), ==, 0);
    pair_clear(&pair);
}

static void test_what_was_there_stays(void)
{
    g_autoptr(HmRangeList) holes = hm_range_list_new();
    const HmRange hole = {8 * 4096, SIZE - 8 * 4096};
    Pair pair;
    guint failed;

    pair_init(&pair);
    hm_range_list_add(holes, &hole);
    prealloc_test_set_holes(&pair.a, holes);
    prealloc_test_fill(&pair.a, 0, 8);
    pair.b.plan.chunk[0] = HM_STEP_POPULATE_READ;
    hm_fake_fail_advice(MADV_POPULATE_READ, 9, EIO);
    g_assert_false(pair_run(&pair, &failed));
    prealloc_test_assert_filled(&pair.a, 0, 8);
    g_assert_cmpuint(prealloc_test_backed(&pair.a), ==, 8 * 4096);
    pair_clear(&pair);
}

static gboolean refuse(gpointer data, GError **error)
{
    g_set_error_literal(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_HUGE_PAGES,
                        data);
    return FALSE;
}

static void test_verified_as_a_whole(void)
{
    g_autoptr(HmRangeList) holes = NULL;
    Pair pair;
    guint failed = 0;

    pair_init(&pair);
    holes = set_holes(&pair.a);
    pair.b.options.verify = refuse;
    pair.b.options.verify_data = "not as it should be";
    g_assert_false(pair_run(&pair, &failed));
    g_assert_cmpuint(failed, ==, 1);
    g_assert_cmpuint(prealloc_test_backed(&pair.a), ==, 0);
    pair_clear(&pair);
}

static GThread *spawn_nothing(const char *name, GThreadFunc func, gpointer data,
                              gpointer spawn_data, GError **error)
{
    (void)name;
    (void)func;
    (void)data;
    (void)spawn_data;
    g_set_error_literal(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT, "none");
    return NULL;
}

static void test_missing_thread_of_one_stops_all(void)
{
    Pair pair;
    guint failed = 0;

    pair_init(&pair);
    pair.b.options.spawn = spawn_nothing;
    g_assert_false(pair_run(&pair, &failed));
    g_assert_cmpuint(failed, ==, 1);
    g_assert_error(pair.parts[1].error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT);
    g_assert_cmpuint(prealloc_test_populated(&pair.a), ==, 0);
    pair_clear(&pair);
}

/* ending early */

static void test_deadline_of_one_leaves_the_other(void)
{
    g_autoptr(HmRangeList) holes = NULL;
    Pair pair;
    guint failed;

    pair_init(&pair);
    holes = set_holes(&pair.a);
    pair.a.options.deadline = 1;
    g_assert_true(pair_run(&pair, &failed));
    g_assert_error(pair.parts[0].error, HOSTMEM_ERROR, HOSTMEM_ERROR_TIMED_OUT);
    g_assert_no_error(pair.parts[1].error);
    g_assert_cmpuint(prealloc_test_populated(&pair.b), ==, SIZE);
    pair_clear(&pair);
}

static gint64 cancel(const HmFakeRecord *record, gpointer data)
{
    (void)record;
    g_cancellable_cancel(data);
    return 0;
}

/* One is in a chunk then, the other waits for its CPU. */
static void test_cancelled_while_one_waits(void)
{
    Pair pair;
    guint failed;

    pair_init(&pair);
    pair.cancellable = g_cancellable_new();
    share_cpus(&pair, 0, "0");
    hm_fake_hook(HM_FAKE_ADVISE, cancel, pair.cancellable);
    g_assert_false(pair_run(&pair, &failed));
    g_assert_error(pair.parts[failed].error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_cmpuint(prealloc_test_populated(&pair.a) +
                         prealloc_test_populated(&pair.b),
                     <=, 2 * 4 * 4096);
    pair_clear(&pair);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/prealloc-several/all-are-populated",
                    test_all_are_populated);
    g_test_add_func("/prealloc-several/two-cpus-work-for-both",
                    test_two_cpus_work_for_both);
    g_test_add_func("/prealloc-several/one-cpu-works-for-one-at-a-time",
                    test_one_cpu_works_for_one_at_a_time);
    g_test_add_func("/prealloc-several/rank-decides-who-goes-first",
                    test_rank_decides_who_goes_first);
    g_test_add_func("/prealloc-several/failure-of-one-undoes-all",
                    test_failure_of_one_undoes_all);
    g_test_add_func("/prealloc-several/what-was-there-stays",
                    test_what_was_there_stays);
    g_test_add_func("/prealloc-several/verified-as-a-whole",
                    test_verified_as_a_whole);
    g_test_add_func("/prealloc-several/missing-thread-of-one-stops-all",
                    test_missing_thread_of_one_stops_all);
    g_test_add_func("/prealloc-several/deadline-of-one-leaves-the-other",
                    test_deadline_of_one_leaves_the_other);
    g_test_add_func("/prealloc-several/cancelled-while-one-waits",
                    test_cancelled_while_one_waits);
    return g_test_run();
}
