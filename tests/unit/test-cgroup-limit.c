/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os-fake.h"
#include "util/cgroup-limit.h"
#include "util/size.h"

/* A host where we are in /slice/vm7 of a hierarchy of version 2. */
static void set_host(void)
{
    hm_fake_reset();
    hm_fake_set_file("/proc/self/cgroup", "0::/slice/vm7\n");
    hm_fake_set_file("/proc/self/mountinfo",
                     "41 31 0:38 / /cg rw - cgroup2 cgroup2 rw\n");
    hm_fake_hide_tree("/cg");
}

static void set_level(const char *folder, const char *limit, const char *usage,
                      const char *stat)
{
    g_autofree char *max = g_build_filename(folder, "memory.max", NULL);
    g_autofree char *current = g_build_filename(folder, "memory.current", NULL);
    g_autofree char *counts = g_build_filename(folder, "memory.stat", NULL);

    hm_fake_set_file(max, limit);
    hm_fake_set_file(current, usage);
    hm_fake_set_file(counts, stat);
}

static void assert_left(gboolean limited, guint64 limit, guint64 left)
{
    guint64 found_limit = 1, found_left = 1;

    g_assert_cmpint(hm_cgroup_memory_left(&found_limit, &found_left), ==,
                    limited);
    g_assert_cmpuint(found_limit, ==, limit);
    g_assert_cmpuint(found_left, ==, left);
}

static void test_without_cgroups_nothing_is_limited(void)
{
    set_host();
    hm_fake_set_file("/proc/self/cgroup", NULL);
    assert_left(FALSE, G_MAXUINT64, G_MAXUINT64);
}

static void test_max_is_no_limit(void)
{
    set_host();
    set_level("/cg/slice/vm7", "max\n", "4096\n", "");
    assert_left(FALSE, G_MAXUINT64, G_MAXUINT64);
}

/* The outer level is larger, but others have used nearly all of it. */
static void test_least_of_all_levels(void)
{
    set_host();
    set_level("/cg/slice/vm7", "1000\n", "100\n", "");
    set_level("/cg/slice", "5000\n", "4800\n", "");
    assert_left(TRUE, 1000, 200);
}

static void test_page_cache_counts_as_left(void)
{
    set_host();
    set_level("/cg/slice/vm7", "1000\n", "700\n",
              "anon 1\nactive_file 20\ninactive_file 30\n");
    assert_left(TRUE, 1000, 350);
}

static void test_more_used_than_allowed_leaves_nothing(void)
{
    set_host();
    set_level("/cg/slice/vm7", "1000\n", "1500\n", "");
    assert_left(TRUE, 1000, 0);
}

static void test_more_cache_than_usage_leaves_the_limit(void)
{
    set_host();
    set_level("/cg/slice/vm7", "1000\n", "10\n",
              "active_file 18446744073709551615\ninactive_file 5\n");
    assert_left(TRUE, 1000, 1000);
}

static void test_largest_number_of_version_1_is_no_limit(void)
{
    set_host();
    hm_fake_set_file("/proc/self/cgroup", "4:memory:/\n");
    hm_fake_set_file("/proc/self/mountinfo",
                     "35 31 0:32 / /cg rw - cgroup cgroup rw,memory\n");
    hm_fake_set_file("/cg/memory.limit_in_bytes", "9223372036854771712\n");
    hm_fake_set_file("/cg/memory.usage_in_bytes", "1\n");
    assert_left(FALSE, G_MAXUINT64, G_MAXUINT64);

    hm_fake_set_file("/cg/memory.limit_in_bytes", "1000\n");
    hm_fake_set_file("/cg/memory.stat", "inactive_file 7\ntotal_active_file 1\n"
                                        "total_inactive_file 0\n");
    assert_left(TRUE, 1000, 1000);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cgroup-limit/without-cgroups-nothing-is-limited",
                    test_without_cgroups_nothing_is_limited);
    g_test_add_func("/cgroup-limit/max-is-no-limit", test_max_is_no_limit);
    g_test_add_func("/cgroup-limit/least-of-all-levels",
                    test_least_of_all_levels);
    g_test_add_func("/cgroup-limit/page-cache-counts-as-left",
                    test_page_cache_counts_as_left);
    g_test_add_func("/cgroup-limit/more-used-than-allowed-leaves-nothing",
                    test_more_used_than_allowed_leaves_nothing);
    g_test_add_func("/cgroup-limit/more-cache-than-usage-leaves-the-limit",
                    test_more_cache_than_usage_leaves_the_limit);
    g_test_add_func("/cgroup-limit/largest-number-of-version-1-is-no-limit",
                    test_largest_number_of_version_1_is_no_limit);
    return g_test_run();
}
