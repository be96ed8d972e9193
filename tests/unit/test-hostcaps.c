/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "os-fake.h"
#include "util/hostcaps.h"
#include "util/size.h"

#define THP_DIR "/sys/kernel/mm/transparent_hugepage"

static HmHostCaps probe(void)
{
    HmHostCaps caps;

    hm_hostcaps_probe(&caps);
    return caps;
}

static void test_real_host_has_its_basics(void)
{
    HmHostCaps caps;

    hm_fake_reset();
    caps = probe();
    g_assert_cmpuint(caps.page_size, ==, hm_os_page_size());
    g_assert_true(caps.memfd_sealing);
}

static guint count_descriptors(void)
{
    g_auto(GStrv) names = NULL;

    g_assert_cmpint(hm_os_list_dir("/proc/self/fd", &names), ==, 0);
    return g_strv_length(names);
}

static void test_probe_leaves_nothing_behind(void)
{
    guint before;

    hm_fake_reset();
    before = count_descriptors();
    probe();
    g_assert_cmpuint(count_descriptors(), ==, before);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_UNMAP), ==,
                     hm_fake_count(HM_FAKE_MAP));
}

static void test_kernel_5_10(void)
{
    HmHostCaps caps;

    hm_fake_reset();
    hm_fake_without_advice(MADV_POPULATE_READ);
    hm_fake_without_advice(MADV_POPULATE_WRITE);
    hm_fake_without_advice(MADV_COLLAPSE);
    hm_fake_without_advice(MADV_DONTNEED_LOCKED);
    hm_fake_fail_always(HM_FAKE_ADVISE_VECTOR, EINVAL);
    caps = probe();
    g_assert_false(caps.populate);
    g_assert_false(caps.collapse);
    g_assert_false(caps.dontneed_locked);
    g_assert_false(caps.self_madvise);
    g_assert_true(caps.memfd_sealing);
}

static void test_each_advice_is_its_own(void)
{
    HmHostCaps all, caps;

    hm_fake_reset();
    all = probe();
    hm_fake_without_advice(MADV_COLLAPSE);
    caps = probe();
    g_assert_false(caps.collapse);
    g_assert_cmpint(caps.populate, ==, all.populate);
    g_assert_cmpint(caps.dontneed_locked, ==, all.dontneed_locked);
    g_assert_cmpint(caps.merge, ==, all.merge);
}

static void test_one_half_of_populate_is_none(void)
{
    hm_fake_reset();
    hm_fake_without_advice(MADV_POPULATE_WRITE);
    g_assert_false(probe().populate);
}

static gint64 one_byte_only(const HmFakeRecord *record, gpointer data)
{
    (void)record;
    (void)data;
    return 1;
}

static void test_self_madvise_must_do_all(void)
{
    hm_fake_reset();
    hm_fake_hook(HM_FAKE_ADVISE_VECTOR, one_byte_only, NULL);
    g_assert_false(probe().self_madvise);
}

static void test_sandbox_without_mounts(void)
{
    hm_fake_reset();
    hm_fake_fail_always(HM_FAKE_TMPFS, EPERM);
    g_assert_false(probe().private_tmpfs);
}

static void test_no_memfd_at_all(void)
{
    HmHostCaps caps;

    hm_fake_reset();
    hm_fake_fail_always(HM_FAKE_MEMFD, ENOSYS);
    caps = probe();
    g_assert_false(caps.memfd_sealing);
    g_assert_false(caps.memfd_hugetlb);
}

static void test_no_memory_to_try(void)
{
    HmHostCaps caps;

    hm_fake_reset();
    hm_fake_fail_always(HM_FAKE_MAP, ENOMEM);
    caps = probe();
    g_assert_false(caps.populate);
    g_assert_false(caps.self_madvise);
}

static void test_page_sizes_are_read(void)
{
    HmHostCaps caps;

    hm_fake_reset();
    hm_fake_set_file(THP_DIR "/hpage_pmd_size", "33554432\n");
    hm_fake_set_file("/proc/meminfo",
                     "MemTotal: 5 kB\nHugepagesize:    524288 kB\n");
    caps = probe();
    g_assert_cmpuint(caps.thp_size, ==, 32 * HM_MIB);
    g_assert_cmpuint(caps.huge_page_size, ==, 512 * HM_MIB);
}

static void test_no_huge_pages_in_this_kernel(void)
{
    HmHostCaps caps;

    hm_fake_reset();
    hm_fake_hide_tree(THP_DIR);
    hm_fake_set_file("/proc/meminfo", "MemTotal: 5 kB\n");
    caps = probe();
    g_assert_cmpuint(caps.thp_size, ==, 0);
    g_assert_cmpuint(caps.huge_page_size, ==, 0);
    g_assert_cmpint(hm_hostcaps_thp(), ==, HM_THP_NEVER);
    g_assert_cmpint(hm_hostcaps_shmem_thp(), ==, HM_SHMEM_THP_NEVER);
}

static void test_policies_follow_the_files(void)
{
    hm_fake_reset();
    hm_fake_set_file(THP_DIR "/enabled", "always [madvise] never\n");
    hm_fake_set_file(THP_DIR "/shmem_enabled",
                     "always [within_size] advise never deny force\n");
    g_assert_cmpint(hm_hostcaps_thp(), ==, HM_THP_MADVISE);
    g_assert_cmpint(hm_hostcaps_shmem_thp(), ==, HM_SHMEM_THP_WITHIN_SIZE);
    hm_fake_set_file(THP_DIR "/enabled", "[always] madvise never\n");
    hm_fake_set_file(THP_DIR "/shmem_enabled",
                     "always within_size advise never deny [force]\n");
    g_assert_cmpint(hm_hostcaps_thp(), ==, HM_THP_ALWAYS);
    g_assert_cmpint(hm_hostcaps_shmem_thp(), ==, HM_SHMEM_THP_FORCE);
}

static void test_unknown_policy_is_never(void)
{
    hm_fake_reset();
    hm_fake_set_file(THP_DIR "/enabled", "always madvise never [dream]\n");
    g_assert_cmpint(hm_hostcaps_thp(), ==, HM_THP_NEVER);
}

static void test_policies_have_the_kernels_names(void)
{
    g_assert_cmpstr(hm_thp_policy_name(HM_THP_MADVISE), ==, "madvise");
    g_assert_cmpstr(hm_shmem_thp_policy_name(HM_SHMEM_THP_DENY), ==, "deny");
}

static void test_get_probes_once(void)
{
    const HmHostCaps *caps;
    guint maps;

    hm_fake_reset();
    caps = hm_hostcaps_get();
    maps = hm_fake_count(HM_FAKE_MAP);
    g_assert_true(hm_hostcaps_get() == caps);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MAP), ==, maps);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hostcaps/real-host-has-its-basics",
                    test_real_host_has_its_basics);
    g_test_add_func("/hostcaps/probe-leaves-nothing-behind",
                    test_probe_leaves_nothing_behind);
    g_test_add_func("/hostcaps/kernel-5.10", test_kernel_5_10);
    g_test_add_func("/hostcaps/each-advice-is-its-own",
                    test_each_advice_is_its_own);
    g_test_add_func("/hostcaps/one-half-of-populate-is-none",
                    test_one_half_of_populate_is_none);
    g_test_add_func("/hostcaps/self-madvise-must-do-all",
                    test_self_madvise_must_do_all);
    g_test_add_func("/hostcaps/sandbox-without-mounts",
                    test_sandbox_without_mounts);
    g_test_add_func("/hostcaps/no-memfd-at-all", test_no_memfd_at_all);
    g_test_add_func("/hostcaps/no-memory-to-try", test_no_memory_to_try);
    g_test_add_func("/hostcaps/page-sizes-are-read", test_page_sizes_are_read);
    g_test_add_func("/hostcaps/no-huge-pages-in-this-kernel",
                    test_no_huge_pages_in_this_kernel);
    g_test_add_func("/hostcaps/policies-follow-the-files",
                    test_policies_follow_the_files);
    g_test_add_func("/hostcaps/unknown-policy-is-never",
                    test_unknown_policy_is_never);
    g_test_add_func("/hostcaps/policies-have-the-kernels-names",
                    test_policies_have_the_kernels_names);
    g_test_add_func("/hostcaps/get-probes-once", test_get_probes_once);
    return g_test_run();
}
