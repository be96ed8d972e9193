/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/range.h"

static HmRange range(guint64 offset, guint64 length)
{
    HmRange made;

    g_assert_true(hm_range_init(&made, offset, length));
    return made;
}

static void add(HmRangeList *list, guint64 offset, guint64 length)
{
    HmRange added = range(offset, length);

    hm_range_list_add(list, &added);
}

static void assert_ranges(const HmRangeList *list, const char *expected)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < list->len; i++) {
        const HmRange *next = hm_range_list_get(list, i);

        g_string_append_printf(text,
                               "%s%" G_GUINT64_FORMAT "+%" G_GUINT64_FORMAT,
                               i ? " " : "", next->offset, next->length);
    }
    g_assert_cmpstr(text->str, ==, expected);
    g_string_free(text, TRUE);
}

static void test_init(void)
{
    HmRange made = range(4096, 8192);

    g_assert_cmpuint(made.offset, ==, 4096);
    g_assert_cmpuint(made.length, ==, 8192);
    g_assert_cmpuint(hm_range_end(&made), ==, 12288);
}

static void test_init_refuses(void)
{
    HmRange made = {1, 2};

    g_assert_false(hm_range_init(&made, 5, 0));
    g_assert_false(hm_range_init(&made, 1, G_MAXUINT64));
    g_assert_false(hm_range_init(&made, G_MAXUINT64, 1));
    g_assert_cmpuint(made.offset, ==, 1);
    g_assert_cmpuint(made.length, ==, 2);
}

static void test_init_takes_the_last_byte(void)
{
    HmRange made = range(0, G_MAXUINT64);

    g_assert_cmpuint(hm_range_end(&made), ==, G_MAXUINT64);
}

static void test_contains(void)
{
    HmRange outer = range(10, 10);
    HmRange head = range(10, 1);
    HmRange tail = range(19, 1);
    HmRange before = range(9, 2);
    HmRange behind = range(19, 2);

    g_assert_true(hm_range_contains(&outer, &outer));
    g_assert_true(hm_range_contains(&outer, &head));
    g_assert_true(hm_range_contains(&outer, &tail));
    g_assert_false(hm_range_contains(&outer, &before));
    g_assert_false(hm_range_contains(&outer, &behind));
    g_assert_false(hm_range_contains(&head, &outer));
}

static void test_intersect(void)
{
    HmRange a = range(10, 10);
    HmRange b = range(15, 100);
    HmRange common;

    g_assert_true(hm_range_intersect(&a, &b, &common));
    g_assert_cmpuint(common.offset, ==, 15);
    g_assert_cmpuint(common.length, ==, 5);
}

static void test_intersect_of_neighbours_is_empty(void)
{
    HmRange a = range(10, 10);
    HmRange b = range(20, 10);
    HmRange common = {1, 2};

    g_assert_false(hm_range_intersect(&a, &b, &common));
    g_assert_false(hm_range_intersect(&b, &a, &common));
    g_assert_cmpuint(common.offset, ==, 1);
    g_assert_cmpuint(common.length, ==, 2);
}

static void test_list_sorts(void)
{
    g_autoptr(HmRangeList) list = hm_range_list_new();

    add(list, 50, 5);
    add(list, 10, 5);
    add(list, 30, 5);
    assert_ranges(list, "10+5 30+5 50+5");
    g_assert_cmpuint(hm_range_list_total(list), ==, 15);
}

static void test_list_merges_neighbours(void)
{
    g_autoptr(HmRangeList) list = hm_range_list_new();

    add(list, 10, 10);
    add(list, 30, 10);
    add(list, 20, 10);
    assert_ranges(list, "10+30");
}

static void test_list_merges_overlaps(void)
{
    g_autoptr(HmRangeList) list = hm_range_list_new();

    add(list, 10, 10);
    add(list, 30, 10);
    add(list, 50, 10);
    add(list, 15, 40);
    assert_ranges(list, "10+50");
    g_assert_cmpuint(hm_range_list_total(list), ==, 50);
}

static void test_list_swallows(void)
{
    g_autoptr(HmRangeList) list = hm_range_list_new();

    add(list, 10, 1);
    add(list, 20, 1);
    add(list, 0, 100);
    assert_ranges(list, "0+100");
    add(list, 40, 5);
    assert_ranges(list, "0+100");
}

static void test_list_keeps_gaps(void)
{
    g_autoptr(HmRangeList) list = hm_range_list_new();

    add(list, 0, 10);
    add(list, 11, 9);
    assert_ranges(list, "0+10 11+9");
}

static void test_clip(void)
{
    g_autoptr(HmRangeList) list = hm_range_list_new();
    g_autoptr(HmRangeList) clipped = NULL;
    HmRange window = range(15, 30);

    add(list, 0, 5);
    add(list, 10, 10);
    add(list, 25, 5);
    add(list, 40, 100);
    clipped = hm_range_list_clip(list, &window);
    assert_ranges(clipped, "15+5 25+5 40+5");
    assert_ranges(list, "0+5 10+10 25+5 40+100");
}

static void test_clip_without_common_part(void)
{
    g_autoptr(HmRangeList) list = hm_range_list_new();
    g_autoptr(HmRangeList) clipped = NULL;
    HmRange window = range(5, 5);

    add(list, 0, 5);
    add(list, 10, 5);
    clipped = hm_range_list_clip(list, &window);
    g_assert_cmpuint(clipped->len, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/range/init", test_init);
    g_test_add_func("/range/init-refuses", test_init_refuses);
    g_test_add_func("/range/init-takes-the-last-byte",
                    test_init_takes_the_last_byte);
    g_test_add_func("/range/contains", test_contains);
    g_test_add_func("/range/intersect", test_intersect);
    g_test_add_func("/range/intersect-of-neighbours-is-empty",
                    test_intersect_of_neighbours_is_empty);
    g_test_add_func("/range/list-sorts", test_list_sorts);
    g_test_add_func("/range/list-merges-neighbours",
                    test_list_merges_neighbours);
    g_test_add_func("/range/list-merges-overlaps", test_list_merges_overlaps);
    g_test_add_func("/range/list-swallows", test_list_swallows);
    g_test_add_func("/range/list-keeps-gaps", test_list_keeps_gaps);
    g_test_add_func("/range/clip", test_clip);
    g_test_add_func("/range/clip-without-common-part",
                    test_clip_without_common_part);
    return g_test_run();
}
