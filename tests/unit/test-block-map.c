/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <malloc.h>
#include "backends/virtio/block-map.h"

static HmBlockMap *map_with_a_hole(void)
{
    HmBlockMap *map = hm_block_map_new(200);

    hm_block_map_plug(map, 10, 100);
    hm_block_map_unplug(map, 60, 10);
    return map;
}

static void test_begins_unplugged(void)
{
    g_autoptr(HmBlockMap) map = hm_block_map_new(130);

    g_assert_cmpuint(hm_block_map_size(map), ==, 130);
    g_assert_cmpuint(hm_block_map_plugged(map), ==, 0);
    g_assert_true(hm_block_map_none_plugged(map, 0, 130));
    g_assert_false(hm_block_map_all_plugged(map, 129, 1));
}

static void test_counts_what_is_plugged(void)
{
    g_autoptr(HmBlockMap) map = map_with_a_hole();

    g_assert_cmpuint(hm_block_map_plugged(map), ==, 90);
    g_assert_true(hm_block_map_is_consistent(map));
}

static void test_tells_all_from_some_from_none(void)
{
    g_autoptr(HmBlockMap) map = map_with_a_hole();

    g_assert_true(hm_block_map_all_plugged(map, 10, 50));
    g_assert_false(hm_block_map_all_plugged(map, 10, 51));
    g_assert_true(hm_block_map_none_plugged(map, 60, 10));
    g_assert_false(hm_block_map_none_plugged(map, 59, 11));
    g_assert_false(hm_block_map_all_plugged(map, 59, 2));
    g_assert_false(hm_block_map_none_plugged(map, 59, 2));
}

static void assert_next(const HmBlockMap *map, guint64 from, guint64 end,
                        gboolean plugged, guint64 first, guint64 n)
{
    HmBlockRun run;

    g_assert_true(hm_block_map_next(map, from, end, plugged, &run));
    g_assert_cmpuint(run.first, ==, first);
    g_assert_cmpuint(run.n, ==, n);
}

static void test_runs(void)
{
    g_autoptr(HmBlockMap) map = map_with_a_hole();
    HmBlockRun run;

    assert_next(map, 0, 200, TRUE, 10, 50);
    assert_next(map, 60, 200, TRUE, 70, 40);
    g_assert_false(hm_block_map_next(map, 110, 200, TRUE, &run));
    assert_next(map, 0, 200, FALSE, 0, 10);
    assert_next(map, 10, 200, FALSE, 60, 10);
    assert_next(map, 70, 200, FALSE, 110, 90);
}

static void test_runs_are_cut(void)
{
    g_autoptr(HmBlockMap) map = map_with_a_hole();
    HmBlockRun run;

    assert_next(map, 20, 30, TRUE, 20, 10);
    assert_next(map, 60, 65, FALSE, 60, 5);
    g_assert_false(hm_block_map_next(map, 0, 10, TRUE, &run));
    g_assert_false(hm_block_map_next(map, 30, 30, TRUE, &run));
}

static void test_unplug_all(void)
{
    g_autoptr(HmBlockMap) map = map_with_a_hole();

    hm_block_map_unplug_all(map);
    g_assert_cmpuint(hm_block_map_plugged(map), ==, 0);
    g_assert_true(hm_block_map_none_plugged(map, 0, 200));
    g_assert_true(hm_block_map_is_consistent(map));
}

static void test_last_block(void)
{
    g_autoptr(HmBlockMap) map = hm_block_map_new(1);

    hm_block_map_plug(map, 0, 1);
    g_assert_true(hm_block_map_all_plugged(map, 0, 1));
    assert_next(map, 0, 1, TRUE, 0, 1);
}

/* 1 TiB of 2 MiB blocks: a bit each. */
static void test_a_large_region_takes_64_kib(void)
{
    gsize before = mallinfo2().uordblks + mallinfo2().hblkhd;
    g_autoptr(HmBlockMap) map = hm_block_map_new(512 * 1024);
    gsize taken = mallinfo2().uordblks + mallinfo2().hblkhd - before;

    if (!taken) {
        g_test_skip("this allocator does not tell what is taken");
        return;
    }
    g_assert_cmpuint(taken, >=, 64 * 1024);
    g_assert_cmpuint(taken, <, 66 * 1024);
}

#ifdef HM_DEBUG
static void plug_twice(void)
{
    g_autoptr(HmBlockMap) map = hm_block_map_new(10);

    hm_block_map_plug(map, 0, 5);
    hm_block_map_plug(map, 4, 1);
}

static void unplug_twice(void)
{
    g_autoptr(HmBlockMap) map = hm_block_map_new(10);

    hm_block_map_unplug(map, 0, 1);
}

static void assert_aborts(const char *path, void (*func)(void))
{
    if (g_test_subprocess()) {
        func();
        return;
    }
    g_test_trap_subprocess(path, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*assertion failed*");
}

static void test_plugging_twice_is_a_bug(void)
{
    assert_aborts("/block-map/plugging-twice-is-a-bug", plug_twice);
}

static void test_unplugging_twice_is_a_bug(void)
{
    assert_aborts("/block-map/unplugging-twice-is-a-bug", unplug_twice);
}
#endif

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block-map/begins-unplugged", test_begins_unplugged);
    g_test_add_func("/block-map/counts-what-is-plugged",
                    test_counts_what_is_plugged);
    g_test_add_func("/block-map/tells-all-from-some-from-none",
                    test_tells_all_from_some_from_none);
    g_test_add_func("/block-map/runs", test_runs);
    g_test_add_func("/block-map/runs-are-cut", test_runs_are_cut);
    g_test_add_func("/block-map/unplug-all", test_unplug_all);
    g_test_add_func("/block-map/last-block", test_last_block);
    g_test_add_func("/block-map/a-large-region-takes-64-kib",
                    test_a_large_region_takes_64_kib);
#ifdef HM_DEBUG
    g_test_add_func("/block-map/plugging-twice-is-a-bug",
                    test_plugging_twice_is_a_bug);
    g_test_add_func("/block-map/unplugging-twice-is-a-bug",
                    test_unplugging_twice_is_a_bug);
#endif
    return g_test_run();
}
