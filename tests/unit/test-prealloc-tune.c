/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include "util/prealloc-tune.h"
#include "util/size.h"

/*
 * A simulated machine: @n workers together have a rate that a function tells;
 * each of them does chunk after chunk, in steps of time.
 */

#define CHUNK  (16 * HM_MIB)
#define CHUNKS 64 /* a worker, as in a real run */

/* Bytes a microsecond of all together. */
typedef double (*RateFunc)(guint workers);

static double scaling(guint workers)
{
    return 1000.0 * workers;
}

static double saturated_by_eight(guint workers)
{
    return 1000.0 * MIN(workers, 8);
}

static double best_with_sixteen(guint workers)
{
    return workers <= 16 ? 1000.0 * workers : 16000.0 * 16 / workers;
}

static double never_faster(guint workers G_GNUC_UNUSED)
{
    return 1000.0;
}

typedef struct {
    guint settled_on;
    gint64 end_us;
} Outcome;

/* All active workers in lockstep: a round is a chunk of each. */
static Outcome simulate(guint workers, RateFunc rate_of)
{
    Outcome outcome = {0};
    HmTuner tuner;
    guint left = workers * CHUNKS;
    gint64 now = 0;

    hm_tuner_init(&tuner, workers);
    while (left) {
        guint n = MIN(tuner.active, left);
        gint64 start = now;

        now += (gint64)((double)n * CHUNK / rate_of(n));
        for (guint i = 0; i < n; i++) {
            hm_tuner_note(&tuner, CHUNK, start, now);
        }
        left -= n;
    }
    outcome.settled_on = tuner.active;
    outcome.end_us = now;
    return outcome;
}

static void test_all_are_kept_while_they_help(void)
{
    g_assert_cmpuint(simulate(4, scaling).settled_on, ==, 4);
    g_assert_cmpuint(simulate(64, scaling).settled_on, ==, 64);
    g_assert_cmpuint(simulate(7, scaling).settled_on, ==, 7);
}

static void test_idle_ones_are_parked(void)
{
    g_assert_cmpuint(simulate(32, saturated_by_eight).settled_on, ==, 8);
    g_assert_cmpuint(simulate(12, saturated_by_eight).settled_on, ==, 12);
    g_assert_cmpuint(simulate(128, best_with_sixteen).settled_on, ==, 16);
}

static void test_one_can_be_enough(void)
{
    g_assert_cmpuint(simulate(16, never_faster).settled_on, ==, 1);
}

static void test_few_are_left_alone(void)
{
    for (guint n = 1; n < HM_TUNER_MIN_WORKERS; n++) {
        g_assert_cmpuint(simulate(n, never_faster).settled_on, ==, n);
    }
}

/* Within 4 % of what no try at all would have taken. */
static void test_a_try_costs_little(void)
{
    static const guint sizes[] = {4, 8, 64, 256};

    for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
        double ideal = (double)sizes[i] * CHUNKS * CHUNK / scaling(sizes[i]);

        g_assert_cmpfloat((double)simulate(sizes[i], scaling).end_us, <,
                          1.04 * ideal);
    }
}

static void test_parking_pays(void)
{
    double all = 128.0 * CHUNKS * CHUNK / best_with_sixteen(128);

    g_assert_cmpfloat((double)simulate(128, best_with_sixteen).end_us, <,
                      all / 4);
}

/* What a parked worker still had in hand slowed the others down. */
static void test_chunks_begun_among_more_do_not_count(void)
{
    HmTuner tuner;
    gint64 now = 100;

    hm_tuner_init(&tuner, 8);
    for (guint i = 0; i < 16; i++) {
        hm_tuner_note(&tuner, CHUNK, 0, now);
    }
    g_assert_cmpuint(tuner.active, ==, 4);
    /* As slow as among eight: too slow for four, were it counted. */
    for (guint i = 0; i < 16; i++) {
        g_assert_cmpuint(hm_tuner_note(&tuner, CHUNK, now + 50, now + 150), ==,
                         4);
    }
    for (guint i = 0; i < 8; i++) {
        hm_tuner_note(&tuner, CHUNK, now + 100, now + 150);
    }
    g_assert_cmpuint(tuner.active, ==, 2);
}

static void test_no_time_is_no_trouble(void)
{
    HmTuner tuner;

    hm_tuner_init(&tuner, 8);
    for (guint i = 0; i < 1000; i++) {
        g_assert_cmpuint(hm_tuner_note(&tuner, CHUNK, 7, 7), >=, 1);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/prealloc-tune/all-are-kept-while-they-help",
                    test_all_are_kept_while_they_help);
    g_test_add_func("/prealloc-tune/idle-ones-are-parked",
                    test_idle_ones_are_parked);
    g_test_add_func("/prealloc-tune/one-can-be-enough", test_one_can_be_enough);
    g_test_add_func("/prealloc-tune/few-are-left-alone",
                    test_few_are_left_alone);
    g_test_add_func("/prealloc-tune/a-try-costs-little",
                    test_a_try_costs_little);
    g_test_add_func("/prealloc-tune/parking-pays", test_parking_pays);
    g_test_add_func("/prealloc-tune/chunks-begun-among-more-do-not-count",
                    test_chunks_begun_among_more_do_not_count);
    g_test_add_func("/prealloc-tune/no-time-is-no-trouble",
                    test_no_time_is_no_trouble);
    return g_test_run();
}
