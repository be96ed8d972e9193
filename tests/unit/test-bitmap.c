/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/bitmap.h"

static void test_starts_clear(void)
{
    g_autoptr(HmBitmap) map = hm_bitmap_new(200);

    g_assert_cmpuint(hm_bitmap_size(map), ==, 200);
    g_assert_true(hm_bitmap_all_clear(map, 0, 200));
    g_assert_cmpuint(hm_bitmap_next_set(map, 0), ==, 200);
    g_assert_cmpuint(hm_bitmap_next_clear(map, 0), ==, 0);
}

static void test_without_bits(void)
{
    g_autoptr(HmBitmap) map = hm_bitmap_new(0);

    hm_bitmap_set(map, 0, 0);
    g_assert_true(hm_bitmap_all_set(map, 0, 0));
    g_assert_cmpuint(hm_bitmap_count(map, 0, 0), ==, 0);
    g_assert_cmpuint(hm_bitmap_next_set(map, 0), ==, 0);
    g_assert_cmpuint(hm_bitmap_next_clear(map, 0), ==, 0);
}

/* Every run of every length, against the bits one by one. */
static void test_runs(void)
{
    enum {
        SIZE = 130
    };

    for (gsize first = 0; first <= SIZE; first++) {
        for (gsize n = 0; n <= SIZE - first; n++) {
            g_autoptr(HmBitmap) map = hm_bitmap_new(SIZE);

            hm_bitmap_set(map, first, n);
            g_assert_true(hm_bitmap_all_set(map, first, n));
            g_assert_cmpuint(hm_bitmap_count(map, 0, SIZE), ==, n);
            for (gsize bit = 0; bit < SIZE; bit++) {
                g_assert_cmpint(hm_bitmap_test(map, bit), ==,
                                bit >= first && bit < first + n);
            }
        }
    }
}

static void test_clear(void)
{
    g_autoptr(HmBitmap) map = hm_bitmap_new(300);

    hm_bitmap_set(map, 0, 300);
    hm_bitmap_clear(map, 60, 140);
    g_assert_cmpuint(hm_bitmap_count(map, 0, 300), ==, 160);
    g_assert_true(hm_bitmap_all_clear(map, 60, 140));
    g_assert_true(hm_bitmap_all_set(map, 0, 60));
    g_assert_true(hm_bitmap_all_set(map, 200, 100));
}

static void test_mixed_is_neither(void)
{
    g_autoptr(HmBitmap) map = hm_bitmap_new(128);

    hm_bitmap_set(map, 64, 1);
    g_assert_false(hm_bitmap_all_set(map, 63, 2));
    g_assert_false(hm_bitmap_all_clear(map, 63, 2));
    g_assert_true(hm_bitmap_all_clear(map, 0, 64));
}

static void test_count_in_a_window(void)
{
    g_autoptr(HmBitmap) map = hm_bitmap_new(256);

    hm_bitmap_set(map, 10, 100);
    g_assert_cmpuint(hm_bitmap_count(map, 0, 20), ==, 10);
    g_assert_cmpuint(hm_bitmap_count(map, 100, 100), ==, 10);
    g_assert_cmpuint(hm_bitmap_count(map, 110, 146), ==, 0);
}

static void test_next(void)
{
    g_autoptr(HmBitmap) map = hm_bitmap_new(200);

    hm_bitmap_set(map, 3, 1);
    hm_bitmap_set(map, 64, 100);
    g_assert_cmpuint(hm_bitmap_next_set(map, 0), ==, 3);
    g_assert_cmpuint(hm_bitmap_next_set(map, 3), ==, 3);
    g_assert_cmpuint(hm_bitmap_next_set(map, 4), ==, 64);
    g_assert_cmpuint(hm_bitmap_next_clear(map, 64), ==, 164);
    g_assert_cmpuint(hm_bitmap_next_set(map, 164), ==, 200);
}

/* The unused bits of the last word must not be found. */
static void test_next_stops_at_the_size(void)
{
    g_autoptr(HmBitmap) map = hm_bitmap_new(70);

    hm_bitmap_set(map, 0, 70);
    g_assert_cmpuint(hm_bitmap_next_clear(map, 0), ==, 70);
    g_assert_cmpuint(hm_bitmap_next_set(map, 70), ==, 70);
    g_assert_cmpuint(hm_bitmap_next_set(map, 1000), ==, 70);
}

static void test_size_overflow_is_caught(void)
{
    g_autoptr(HmBitmap) map = hm_bitmap_new(70);

    g_test_expect_message("hostmem", G_LOG_LEVEL_CRITICAL, "*holds*failed*");
    hm_bitmap_set(map, 1, G_MAXSIZE);
    g_test_assert_expected_messages();
    g_assert_true(hm_bitmap_all_clear(map, 0, 70));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bitmap/starts-clear", test_starts_clear);
    g_test_add_func("/bitmap/without-bits", test_without_bits);
    g_test_add_func("/bitmap/runs", test_runs);
    g_test_add_func("/bitmap/clear", test_clear);
    g_test_add_func("/bitmap/mixed-is-neither", test_mixed_is_neither);
    g_test_add_func("/bitmap/count-in-a-window", test_count_in_a_window);
    g_test_add_func("/bitmap/next", test_next);
    g_test_add_func("/bitmap/next-stops-at-the-size",
                    test_next_stops_at_the_size);
    g_test_add_func("/bitmap/size-overflow-is-caught",
                    test_size_overflow_is_caught);
    return g_test_run();
}
