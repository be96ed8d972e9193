/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "os-fake.h"
#include "util/cgroup.h"

#define V1_MEMORY                                               \
    "35 31 0:32 / /cg/memory rw,relatime shared:9 - cgroup cg " \
    "rw,memory\n"
#define V2 "41 31 0:38 / /cg/unified rw,relatime - cgroup2 cgroup2 rw\n"
#define OTHERS                                                            \
    "22 27 0:21 / /proc rw,relatime - proc proc rw\n"                     \
    "32 31 0:29 / /cg/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"   \
    "40 31 0:37 / /cg/systemd rw,relatime - cgroup cgroup rw,xattr,name=" \
    "systemd\n"

/* A host where we are in @cgroups and see @mounts. */
static void set_host(const char *cgroups, const char *mounts)
{
    g_autofree char *all = mounts ? g_strconcat(OTHERS, mounts, NULL) : NULL;

    hm_fake_reset();
    hm_fake_set_file("/proc/self/cgroup", cgroups);
    hm_fake_set_file("/proc/self/mountinfo", all);
    hm_fake_hide_tree("/cg");
}

/* Folders of a controller, innermost first, with blanks between. */
static char *find(const char *controller)
{
    g_autoptr(HmCgroup) cgroup = hm_cgroup_find(controller);
    g_autoptr(GString) text = g_string_new(NULL);

    if (!cgroup) {
        return NULL;
    }
    g_string_printf(text, "v%u", hm_cgroup_version(cgroup));
    for (guint i = 0; i < hm_cgroup_levels(cgroup); i++) {
        g_string_append_printf(text, " %s", hm_cgroup_folder(cgroup, i));
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static void assert_found(const char *controller, const char *expected)
{
    g_autofree char *found = find(controller);

    g_assert_cmpstr(found, ==, expected);
}

static void test_v1_lists_every_level(void)
{
    set_host("4:memory:/a/b\n1:cpu,cpuacct:/\n", V1_MEMORY);
    assert_found("memory", "v1 /cg/memory/a/b /cg/memory/a /cg/memory");
}

static void test_v1_controller_among_several(void)
{
    set_host("1:cpu,cpuacct:/x\n", V1_MEMORY);
    assert_found("cpuacct", "v1 /cg/cpu/x /cg/cpu");
}

static void test_v2_lists_every_level(void)
{
    set_host("0::/a/b\n", V2);
    assert_found("memory", "v2 /cg/unified/a/b /cg/unified/a /cg/unified");
}

static void test_hybrid_takes_v1_where_it_is_bound(void)
{
    set_host("4:memory:/a\n0::/u\n", V1_MEMORY V2);
    assert_found("memory", "v1 /cg/memory/a /cg/memory");
    assert_found("hugetlb", "v2 /cg/unified/u /cg/unified");
}

static void test_bound_to_v1_but_not_mounted(void)
{
    set_host("5:hugetlb:/a\n0::/u\n", V2);
    assert_found("hugetlb", NULL);
}

static void test_root_cgroup_is_one_level(void)
{
    set_host("0::/\n", V2);
    assert_found("memory", "v2 /cg/unified");
}

static void test_mounted_root_is_cut_off(void)
{
    set_host("0::/docker/id/app\n",
             "9 8 0:38 /docker/id /cg ro - cgroup2 cgroup rw\n");
    assert_found("memory", "v2 /cg/app /cg");
}

static void test_mounted_root_is_our_cgroup(void)
{
    set_host("0::/docker/id\n",
             "9 8 0:38 /docker/id /cg ro - cgroup2 cgroup rw\n");
    assert_found("memory", "v2 /cg");
}

static void test_sibling_with_our_prefix_is_not_ours(void)
{
    set_host("0::/docker/id2\n",
             "9 8 0:38 /docker/id /cg ro - cgroup2 cgroup rw\n");
    assert_found("memory", NULL);
}

static void test_outside_of_namespace_is_not_visible(void)
{
    set_host("0::/../other\n", V2);
    assert_found("memory", NULL);
    set_host("0::/..\n", V2);
    assert_found("memory", NULL);
}

static void test_mount_above_namespace(void)
{
    set_host("0::/../other\n", "9 8 0:38 /.. /cg ro - cgroup2 cgroup rw\n");
    assert_found("memory", "v2 /cg/other /cg");
    set_host("0::/app\n", "9 8 0:38 /.. /cg ro - cgroup2 cgroup rw\n");
    assert_found("memory", NULL);
}

static void test_name_that_begins_with_dots(void)
{
    set_host("0::/..a\n", V2);
    assert_found("memory", "v2 /cg/unified/..a /cg/unified");
}

static void test_mount_point_is_unescaped(void)
{
    set_host("0::/a b\n",
             "9 8 0:38 / /cg\\040of\\134me rw - cgroup2 cgroup2 rw\n");
    assert_found("memory", "v2 /cg of\\me/a b /cg of\\me");
}

static void test_takes_the_mount_that_shows_most(void)
{
    set_host("0::/a/b\n", "8 7 0:38 /a /cg/part rw - cgroup2 cgroup2 rw\n" V2
                          "9 7 0:38 /a/b /cg/own rw - cgroup2 cgroup2 rw\n");
    assert_found("memory", "v2 /cg/unified/a/b /cg/unified/a /cg/unified");
}

static void test_nothing_visible_is_nothing_found(void)
{
    set_host(NULL, V2);
    assert_found("memory", NULL);
    set_host("0::/\n", NULL);
    assert_found("memory", NULL);
    set_host("0::/\n", "");
    assert_found("memory", NULL);
}

static void test_broken_lines_are_passed_over(void)
{
    set_host("nonsense\n:\n\n0::/a\n",
             "\n9\n9 8 0:38 / /cg rw\n9 8 0:38 / /cg rw - cgroup2\n" V2);
    assert_found("memory", "v2 /cg/unified/a /cg/unified");
}

static void test_reads_numbers(void)
{
    g_autoptr(HmCgroup) cgroup = NULL;
    guint64 value = 7;

    set_host("0::/a\n", V2);
    hm_fake_set_file("/cg/unified/a/memory.current", "4096\n");
    hm_fake_set_file("/cg/unified/a/memory.max", "max\n");
    hm_fake_set_file("/cg/unified/memory.current", "18446744073709551615\n");
    cgroup = hm_cgroup_find("memory");
    g_assert_true(hm_cgroup_read_number(cgroup, 0, "memory.current", &value));
    g_assert_cmpuint(value, ==, 4096);
    g_assert_true(hm_cgroup_read_number(cgroup, 0, "memory.max", &value));
    g_assert_cmpuint(value, ==, G_MAXUINT64);
    value = 0;
    g_assert_true(hm_cgroup_read_number(cgroup, 1, "memory.current", &value));
    g_assert_cmpuint(value, ==, G_MAXUINT64);
}

static void test_number_that_is_none_is_refused(void)
{
    static const char *const texts[] = {
        "", "-1\n", "12 kB\n", "minimum\n", "18446744073709551616\n", NULL};
    g_autoptr(HmCgroup) cgroup = NULL;
    guint64 value = 7;

    set_host("0::/\n", V2);
    cgroup = hm_cgroup_find("cpu");
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        hm_fake_set_file("/cg/unified/cpu.x", texts[i]);
        g_assert_false(hm_cgroup_read_number(cgroup, 0, "cpu.x", &value));
    }
    g_assert_cmpuint(value, ==, 7);
}

static void test_reads_text(void)
{
    g_autoptr(HmCgroup) cgroup = NULL;
    g_autofree char *text = NULL;

    set_host("1:cpu,cpuacct:/a\n", "");
    hm_fake_set_file("/cg/cpu/a/cpu.cfs_quota_us", "-1\n");
    cgroup = hm_cgroup_find("cpu");
    text = hm_cgroup_read(cgroup, 0, "cpu.cfs_quota_us");
    g_assert_cmpstr(text, ==, "-1\n");
    g_assert_null(hm_cgroup_read(cgroup, 1, "cpu.cfs_quota_us"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cgroup/v1-lists-every-level", test_v1_lists_every_level);
    g_test_add_func("/cgroup/v1-controller-among-several",
                    test_v1_controller_among_several);
    g_test_add_func("/cgroup/v2-lists-every-level", test_v2_lists_every_level);
    g_test_add_func("/cgroup/hybrid-takes-v1-where-it-is-bound",
                    test_hybrid_takes_v1_where_it_is_bound);
    g_test_add_func("/cgroup/bound-to-v1-but-not-mounted",
                    test_bound_to_v1_but_not_mounted);
    g_test_add_func("/cgroup/root-cgroup-is-one-level",
                    test_root_cgroup_is_one_level);
    g_test_add_func("/cgroup/mounted-root-is-cut-off",
                    test_mounted_root_is_cut_off);
    g_test_add_func("/cgroup/mounted-root-is-our-cgroup",
                    test_mounted_root_is_our_cgroup);
    g_test_add_func("/cgroup/sibling-with-our-prefix-is-not-ours",
                    test_sibling_with_our_prefix_is_not_ours);
    g_test_add_func("/cgroup/outside-of-namespace-is-not-visible",
                    test_outside_of_namespace_is_not_visible);
    g_test_add_func("/cgroup/mount-above-namespace",
                    test_mount_above_namespace);
    g_test_add_func("/cgroup/name-that-begins-with-dots",
                    test_name_that_begins_with_dots);
    g_test_add_func("/cgroup/mount-point-is-unescaped",
                    test_mount_point_is_unescaped);
    g_test_add_func("/cgroup/takes-the-mount-that-shows-most",
                    test_takes_the_mount_that_shows_most);
    g_test_add_func("/cgroup/nothing-visible-is-nothing-found",
                    test_nothing_visible_is_nothing_found);
    g_test_add_func("/cgroup/broken-lines-are-passed-over",
                    test_broken_lines_are_passed_over);
    g_test_add_func("/cgroup/reads-numbers", test_reads_numbers);
    g_test_add_func("/cgroup/number-that-is-none-is-refused",
                    test_number_that_is_none_is_refused);
    g_test_add_func("/cgroup/reads-text", test_reads_text);
    return g_test_run();
}
