/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/align.h"

static void test_pow2(void)
{
    g_assert_false(hm_is_pow2(0));
    g_assert_true(hm_is_pow2(1));
    g_assert_false(hm_is_pow2(3));
    g_assert_true(hm_is_pow2(4096));
    g_assert_true(hm_is_pow2(G_GUINT64_CONSTANT(1) << 63));
    g_assert_false(hm_is_pow2(G_MAXUINT64));
}

static void test_is_aligned(void)
{
    g_assert_true(hm_is_aligned(0, 4096));
    g_assert_true(hm_is_aligned(8192, 4096));
    g_assert_false(hm_is_aligned(8191, 4096));
    g_assert_true(hm_is_aligned(8191, 1));
}

static void test_down(void)
{
    g_assert_cmpuint(hm_align_down(0, 4096), ==, 0);
    g_assert_cmpuint(hm_align_down(4095, 4096), ==, 0);
    g_assert_cmpuint(hm_align_down(4096, 4096), ==, 4096);
    g_assert_cmpuint(hm_align_down(G_MAXUINT64, 4096), ==, -4096ull);
}

static void test_up(void)
{
    guint64 result;

    g_assert_true(hm_align_up(0, 4096, &result));
    g_assert_cmpuint(result, ==, 0);
    g_assert_true(hm_align_up(1, 4096, &result));
    g_assert_cmpuint(result, ==, 4096);
    g_assert_true(hm_align_up(4096, 4096, &result));
    g_assert_cmpuint(result, ==, 4096);
    g_assert_true(hm_align_up(-4096ull, 4096, &result));
    g_assert_cmpuint(result, ==, -4096ull);
}

static void test_up_refuses_to_wrap(void)
{
    guint64 result = 42;

    g_assert_false(hm_align_up(G_MAXUINT64, 4096, &result));
    g_assert_false(hm_align_up(-4095ull, 4096, &result));
    g_assert_cmpuint(result, ==, 42);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/align/pow2", test_pow2);
    g_test_add_func("/align/is-aligned", test_is_aligned);
    g_test_add_func("/align/down", test_down);
    g_test_add_func("/align/up", test_up);
    g_test_add_func("/align/up-refuses-to-wrap", test_up_refuses_to_wrap);
    return g_test_run();
}
