/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <hostmem/error.h>
#include "prealloc-test.h"
#include "os-fake.h"
#include "util/prealloc-turns.h"
#include "util/size.h"

#define WORKERS 4

/* Four workers of whom the tuner has parked two. */
static void park_half(HmTurns *turns)
{
    hm_turns_init(turns, WORKERS);
    for (guint i = 0; i < WORKERS; i++) {
        g_assert_cmpuint(hm_turns_join(turns), ==, i);
        g_assert_true(hm_turns_wait(turns, i));
    }
    for (guint i = 0; i < 2 * WORKERS; i++) {
        hm_turns_note(turns, HM_MIB, 0, 100);
    }
    g_assert_true(hm_turns_wait(turns, 0));
    g_assert_true(hm_turns_wait(turns, 1));
}

static gpointer last_worker(gpointer turns)
{
    return GINT_TO_POINTER(hm_turns_wait(turns, WORKERS - 1));
}

static void test_parked_worker_comes_back(void)
{
    HmTurns turns;
    GThread *worker;

    park_half(&turns);
    worker = g_thread_new("parked", last_worker, &turns);
    for (guint i = 0; i < WORKERS; i++) {
        hm_turns_note(&turns, HM_MIB, 300, 400); /* half the rate of four */
    }
    g_assert_true(g_thread_join(worker));
    g_assert_cmpuint(hm_turns_clear(&turns), ==, WORKERS);
}

static void test_parked_worker_is_sent_home(void)
{
    HmTurns turns;
    GThread *worker;

    park_half(&turns);
    worker = g_thread_new("parked", last_worker, &turns);
    hm_turns_end(&turns);
    g_assert_false(g_thread_join(worker));
    g_assert_cmpuint(hm_turns_clear(&turns), ==, WORKERS / 2);
}

static void test_nobody_works_when_it_is_over(void)
{
    HmTurns turns;

    hm_turns_init(&turns, 1);
    g_assert_true(hm_turns_wait(&turns, hm_turns_join(&turns)));
    hm_turns_end(&turns);
    g_assert_false(hm_turns_wait(&turns, 0));
    hm_turns_clear(&turns);
}

/* A run of many chunks, on a clock that stands still: two of four workers are
 * parked, and what they take without time is never measured. */
static void run_at_a_standstill(gboolean tune, guint threads)
{
    PreallocTest test;

    prealloc_test_map_anon(&test, 64 * 4096);
    prealloc_test_set_chunks(&test, 1);
    hm_fake_set_now(1000);
    test.options.threads = WORKERS;
    test.options.tune = tune;
    prealloc_test_succeed(&test);
    g_assert_cmpuint(test.result.threads, ==, threads);
    g_assert_cmpuint(prealloc_test_populated(&test), ==, test.region.length);
    prealloc_test_clear(&test);
}

static void test_a_tuned_run_parks_workers(void)
{
    run_at_a_standstill(TRUE, WORKERS / 2);
}

static void test_an_explicit_number_is_obeyed(void)
{
    run_at_a_standstill(FALSE, WORKERS);
}

static void test_a_failing_run_sends_all_home(void)
{
    PreallocTest test;

    prealloc_test_map_anon(&test, 64 * 4096);
    prealloc_test_set_chunks(&test, 1);
    hm_fake_set_now(1000);
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 40, EIO);
    test.options.threads = WORKERS;
    test.options.tune = TRUE;
    prealloc_test_fail(&test, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM);
    prealloc_test_clear(&test);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/prealloc-turns/parked-worker-comes-back",
                    test_parked_worker_comes_back);
    g_test_add_func("/prealloc-turns/parked-worker-is-sent-home",
                    test_parked_worker_is_sent_home);
    g_test_add_func("/prealloc-turns/nobody-works-when-it-is-over",
                    test_nobody_works_when_it_is_over);
    g_test_add_func("/prealloc-turns/a-tuned-run-parks-workers",
                    test_a_tuned_run_parks_workers);
    g_test_add_func("/prealloc-turns/an-explicit-number-is-obeyed",
                    test_an_explicit_number_is_obeyed);
    g_test_add_func("/prealloc-turns/a-failing-run-sends-all-home",
                    test_a_failing_run_sends_all_home);
    return g_test_run();
}
