/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "preflight-test.h"

static void set_cgroup_v1(const char *controller, const char *path)
{
    g_autofree char *self = g_strdup_printf("4:%s:%s\n", controller, path);
    g_autofree char *mounts = g_strdup_printf(
        "35 31 0:32 / /cg rw - cgroup cgroup rw,%s\n", controller);

    hm_fake_set_file("/proc/self/cgroup", self);
    hm_fake_set_file("/proc/self/mountinfo", mounts);
}

static void set_cgroup_v2(const char *path)
{
    g_autofree char *self = g_strdup_printf("0::%s\n", path);

    hm_fake_set_file("/proc/self/cgroup", self);
    hm_fake_set_file("/proc/self/mountinfo",
                     "41 31 0:38 / /cg rw - cgroup2 cgroup2 rw\n");
}

static void set_number(const char *path, guint64 value)
{
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT "\n", value);

    hm_fake_set_file(path, text);
}

/* memory cgroups */

static void test_v1_cgroup_short(void)
{
    set_host();
    set_cgroup_v1("memory", "/vm7");
    set_number("/cg/vm7/memory.limit_in_bytes", 2 * HM_GIB);
    set_number("/cg/vm7/memory.usage_in_bytes", 512 * HM_MIB);
    assert_fits(&anon, HM_GIB);
    assert_refused_as(&anon, 4 * HM_GIB, HOSTMEM_ERROR_LIMIT,
                      "memory-backend-ram 'm0' needs 4 GiB (plus 12 MiB of "
                      "overhead): cgroup /cg/vm7 allows 2 GiB and 512 MiB is "
                      "used");
}

static void test_v2_cgroup_short(void)
{
    set_host();
    set_cgroup_v2("/vm7");
    set_number("/cg/vm7/memory.max", 2 * HM_GIB);
    set_number("/cg/vm7/memory.current", 512 * HM_MIB);
    assert_fits(&anon, HM_GIB);
    assert_refused_as(&anon, 4 * HM_GIB, HOSTMEM_ERROR_LIMIT,
                      "memory-backend-ram 'm0' needs 4 GiB (plus 12 MiB of "
                      "overhead): cgroup /cg/vm7 allows 2 GiB and 512 MiB is "
                      "used");
}

static void test_cgroup_above_is_short(void)
{
    g_autofree char *message = NULL;

    set_host();
    set_cgroup_v2("/slice/vm7");
    hm_fake_set_file("/cg/slice/vm7/memory.max", "max\n");
    set_number("/cg/slice/vm7/memory.current", 0);
    set_number("/cg/slice/memory.max", 2 * HM_GIB);
    set_number("/cg/slice/memory.current", 0);
    message = assert_refused(&anon, 4 * HM_GIB, HOSTMEM_ERROR_LIMIT);
    g_assert_nonnull(strstr(message, "cgroup /cg/slice allows 2 GiB"));
}

static void test_cgroup_needs_page_tables_and_reserve(void)
{
    guint64 needed = HM_GIB + HM_GIB / 512 + CGROUP_RESERVE;

    set_host();
    set_cgroup_v2("/");
    set_number("/cg/memory.current", HM_MIB);
    set_number("/cg/memory.max", needed + HM_MIB);
    assert_fits(&anon, HM_GIB);
    set_number("/cg/memory.max", needed + HM_MIB - 1);
    g_free(assert_refused(&anon, HM_GIB, HOSTMEM_ERROR_LIMIT));
}

static void test_repeated_check_may_use_half_the_reserve(void)
{
    guint64 needed = HM_GIB + HM_GIB / 512 + CGROUP_RESERVE;
    g_autoptr(HmPreflight) preflight = NULL;

    set_host();
    set_cgroup_v2("/");
    set_number("/cg/memory.max", needed);
    set_number("/cg/memory.current", 0);
    preflight = hm_preflight_new(&anon);
    g_assert_true(hm_preflight_check(preflight, HM_GIB, NULL));
    set_number("/cg/memory.current", CGROUP_RESERVE / 2);
    g_assert_true(hm_preflight_check(preflight, HM_GIB, NULL));
    set_number("/cg/memory.current", CGROUP_RESERVE / 2 + 1);
    g_assert_false(hm_preflight_check(preflight, HM_GIB, NULL));
}

static void test_cgroup_without_limit(void)
{
    set_host();
    set_cgroup_v1("memory", "/");
    set_number("/cg/memory.limit_in_bytes",
               G_GUINT64_CONSTANT(9223372036854771712));
    set_number("/cg/memory.usage_in_bytes", HM_GIB);
    assert_fits(&anon, 4 * HM_GIB);
    set_cgroup_v2("/");
    hm_fake_set_file("/cg/memory.max", "max\n");
    assert_fits(&anon, 4 * HM_GIB);
}

static void test_cgroup_above_its_limit(void)
{
    set_host();
    set_cgroup_v2("/");
    set_number("/cg/memory.max", HM_GIB);
    set_number("/cg/memory.current", 2 * HM_GIB);
    g_free(assert_refused(&anon, 4096, HOSTMEM_ERROR_LIMIT));
}

static void test_cgroup_without_files_limits_nothing(void)
{
    set_host();
    set_cgroup_v2("/vm7");
    assert_fits(&anon, HM_GIB);
    set_number("/cg/vm7/memory.max", HM_MIB);
    assert_fits(&anon, HM_GIB);
}

static void test_v1_page_cache_is_free(void)
{
    set_host();
    set_cgroup_v1("memory", "/");
    set_number("/cg/memory.limit_in_bytes", 2 * HM_GIB);
    set_number("/cg/memory.usage_in_bytes", 2 * HM_GIB);
    hm_fake_set_file("/cg/memory.stat", "active_file 0\ninactive_file 0\n"
                                        "total_inactive_file 805306368\n"
                                        "total_active_file 536870912\n");
    assert_fits(&anon, HM_GIB);
    hm_fake_set_file("/cg/memory.stat", "total_active_file 536870912\n");
    assert_refused_as(&anon, HM_GIB, HOSTMEM_ERROR_LIMIT,
                      "memory-backend-ram 'm0' needs 1 GiB (plus 6 MiB of "
                      "overhead): cgroup /cg allows 2 GiB and 1.5 GiB is used");
}

static void test_v2_page_cache_is_free(void)
{
    set_host();
    set_cgroup_v2("/");
    set_number("/cg/memory.max", 2 * HM_GIB);
    set_number("/cg/memory.current", 2 * HM_GIB);
    hm_fake_set_file("/cg/memory.stat", "anon 4096\ninactive_file 805306368\n"
                                        "active_file 536870912\n");
    assert_fits(&anon, HM_GIB);
}

static gint64 count_read(const HmFakeRecord *record, gpointer data)
{
    (void)record;
    (*(guint *)data)++;
    return 0;
}

static void test_statistics_are_read_only_in_doubt(void)
{
    g_autoptr(HmPreflight) preflight = NULL;
    guint reads = 0;

    set_host();
    set_cgroup_v2("/");
    set_number("/cg/memory.max", 2 * HM_GIB);
    set_number("/cg/memory.current", 0);
    hm_fake_set_file("/cg/memory.stat", "inactive_file 0\n");
    preflight = hm_preflight_new(&anon);
    hm_fake_hook(HM_FAKE_READ_TEXT, count_read, &reads);
    g_assert_true(hm_preflight_check(preflight, HM_GIB, NULL));
    g_assert_cmpuint(reads, ==, 3);
    g_assert_false(hm_preflight_check(preflight, 2 * HM_GIB, NULL));
    g_assert_cmpuint(reads, ==, 3 + 4);
}

/* promises */

static guint64 left_is(gpointer data)
{
    return *(guint64 *)data;
}

static HmPreflight *promise(const HmPreflightRequest *request, guint64 *bytes)
{
    HmPreflight *preflight = hm_preflight_new(request);

    g_assert_true(
        hm_preflight_promise(preflight, *bytes, left_is, bytes, NULL));
    return preflight;
}

static void assert_no_promise(guint64 bytes, const char *message)
{
    g_autoptr(HmPreflight) preflight = hm_preflight_new(&anon);
    g_autoptr(GError) error = NULL;

    g_assert_false(
        hm_preflight_promise(preflight, bytes, left_is, &bytes, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT);
    g_assert_cmpstr(error->message, ==, message);
}

static void set_cgroup_of_2_gib(void)
{
    set_host();
    set_cgroup_v2("/");
    set_number("/cg/memory.max", 2 * HM_GIB);
    set_number("/cg/memory.current", 0);
}

static void test_promised_memory_is_taken(void)
{
    g_autoptr(HmPreflight) first = NULL;
    guint64 bytes = HM_GIB;

    set_cgroup_of_2_gib();
    first = promise(&anon, &bytes);
    assert_no_promise(HM_GIB,
                      "memory-backend-ram 'm0' needs 1 GiB (plus 6 MiB of "
                      "overhead): cgroup /cg allows 2 GiB and 0 B is used and "
                      "1.00 GiB is promised to what is being populated");
}

static void test_kept_promise_is_free(void)
{
    g_autoptr(HmPreflight) first = NULL;
    g_autoptr(HmPreflight) second = NULL;
    guint64 bytes = HM_GIB;
    guint64 rest = 512 * HM_MIB;

    set_cgroup_of_2_gib();
    first = promise(&anon, &bytes);
    bytes = 0;
    set_number("/cg/memory.current", HM_GIB);
    second = promise(&anon, &rest);
}

static void test_promise_ends_with_its_preflight(void)
{
    g_autoptr(HmPreflight) second = NULL;
    guint64 bytes = HM_GIB;

    set_cgroup_of_2_gib();
    hm_preflight_free(promise(&anon, &bytes));
    second = promise(&anon, &bytes);
}

static void test_refused_promise_takes_nothing(void)
{
    g_autoptr(HmPreflight) refused = NULL;
    g_autoptr(HmPreflight) other = NULL;
    guint64 bytes = 4 * HM_GIB;
    guint64 less = HM_GIB;

    set_cgroup_of_2_gib();
    refused = hm_preflight_new(&anon);
    g_assert_false(hm_preflight_promise(refused, bytes, left_is, &bytes, NULL));
    other = promise(&anon, &less);
}

static void test_own_checks_do_not_meet_promises(void)
{
    g_autoptr(HmPreflight) first = NULL;
    guint64 bytes = HM_GIB + 512 * HM_MIB;

    set_cgroup_of_2_gib();
    first = promise(&anon, &bytes);
    g_assert_true(hm_preflight_check(first, bytes, NULL));
}

static void test_huge_pages_are_not_promised(void)
{
    g_autoptr(HmPreflight) first = NULL;
    g_autoptr(HmPreflight) second = NULL;
    guint64 bytes = 64 * HUGE_2M;
    guint64 less = HM_GIB;

    set_cgroup_of_2_gib();
    hm_fake_set_huge_pool(HUGE_2M, 64, 64, 0);
    first = promise(&huge, &bytes);
    second = promise(&anon, &less);
}

/* hugetlb cgroups */

static void test_huge_pages_take_no_other_memory(void)
{
    set_host();
    set_memory(0, 0);
    set_cgroup_v2("/");
    set_number("/cg/memory.max", HM_MIB);
    set_number("/cg/memory.current", HM_MIB);
    hm_fake_set_huge_pool(HUGE_2M, 64, 64, 0);
    assert_fits(&huge, 64 * HUGE_2M);
}

static void test_v1_hugetlb_cgroup_short(void)
{
    set_host();
    hm_fake_set_huge_pool(HUGE_2M, 64, 64, 0);
    set_cgroup_v1("hugetlb", "/vm7");
    set_number("/cg/vm7/hugetlb.2MB.limit_in_bytes", 64 * HM_MIB);
    set_number("/cg/vm7/hugetlb.2MB.usage_in_bytes", 32 * HM_MIB);
    assert_fits(&huge, 32 * HM_MIB);
    assert_refused_as(&huge, 64 * HM_MIB, HOSTMEM_ERROR_LIMIT,
                      "memory-backend-memfd 'h0' needs 64 MiB: cgroup /cg/vm7 "
                      "allows 64 MiB in huge pages of 2 MiB and 32 MiB is "
                      "used");
}

static void test_v2_hugetlb_cgroup_short(void)
{
    set_host();
    hm_fake_set_huge_pool(HUGE_2M, 64, 64, 0);
    set_cgroup_v2("/vm7");
    set_number("/cg/vm7/hugetlb.2MB.max", 32 * HM_MIB);
    set_number("/cg/vm7/hugetlb.2MB.current", 0);
    assert_fits(&huge, 32 * HM_MIB);
    g_free(assert_refused(&huge, 64 * HM_MIB, HOSTMEM_ERROR_LIMIT));
}

static void test_hugetlb_cgroup_limits_reservations(void)
{
    HmPreflightRequest request = huge;

    set_host();
    hm_fake_set_huge_pool(HUGE_2M, 64, 64, 0);
    set_cgroup_v2("/vm7");
    set_number("/cg/vm7/hugetlb.2MB.rsvd.max", 32 * HM_MIB);
    set_number("/cg/vm7/hugetlb.2MB.rsvd.current", 32 * HM_MIB);
    g_free(assert_refused(&huge, HUGE_2M, HOSTMEM_ERROR_LIMIT));
    request.reserved = TRUE;
    assert_fits(&request, HUGE_2M);
}

static void test_hugetlb_cgroup_names_sizes(void)
{
    HmPreflightRequest request = huge;

    request.page_size = HM_GIB;
    set_host();
    hm_fake_set_huge_pool(HM_GIB, 4, 4, 0);
    set_cgroup_v2("/");
    set_number("/cg/hugetlb.1GB.max", HM_GIB);
    set_number("/cg/hugetlb.1GB.current", HM_GIB);
    g_free(assert_refused(&request, HM_GIB, HOSTMEM_ERROR_LIMIT));
    request.page_size = 64 * HM_KIB;
    hm_fake_set_huge_pool(64 * HM_KIB, 4, 4, 0);
    set_number("/cg/hugetlb.64KB.max", 0);
    set_number("/cg/hugetlb.64KB.current", 0);
    g_free(assert_refused(&request, 64 * HM_KIB, HOSTMEM_ERROR_LIMIT));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function) g_test_add_func("/preflight-cgroup/" name, function)
    ADD("v1-cgroup-short", test_v1_cgroup_short);
    ADD("v2-cgroup-short", test_v2_cgroup_short);
    ADD("cgroup-above-is-short", test_cgroup_above_is_short);
    ADD("cgroup-needs-page-tables-and-reserve",
        test_cgroup_needs_page_tables_and_reserve);
    ADD("repeated-check-may-use-half-the-reserve",
        test_repeated_check_may_use_half_the_reserve);
    ADD("cgroup-without-limit", test_cgroup_without_limit);
    ADD("cgroup-above-its-limit", test_cgroup_above_its_limit);
    ADD("cgroup-without-files-limits-nothing",
        test_cgroup_without_files_limits_nothing);
    ADD("v1-page-cache-is-free", test_v1_page_cache_is_free);
    ADD("v2-page-cache-is-free", test_v2_page_cache_is_free);
    ADD("statistics-are-read-only-in-doubt",
        test_statistics_are_read_only_in_doubt);
    ADD("promised-memory-is-taken", test_promised_memory_is_taken);
    ADD("kept-promise-is-free", test_kept_promise_is_free);
    ADD("promise-ends-with-its-preflight",
        test_promise_ends_with_its_preflight);
    ADD("refused-promise-takes-nothing", test_refused_promise_takes_nothing);
    ADD("own-checks-do-not-meet-promises",
        test_own_checks_do_not_meet_promises);
    ADD("huge-pages-are-not-promised", test_huge_pages_are_not_promised);
    ADD("huge-pages-take-no-other-memory",
        test_huge_pages_take_no_other_memory);
    ADD("v1-hugetlb-cgroup-short", test_v1_hugetlb_cgroup_short);
    ADD("v2-hugetlb-cgroup-short", test_v2_hugetlb_cgroup_short);
    ADD("hugetlb-cgroup-limits-reservations",
        test_hugetlb_cgroup_limits_reservations);
    ADD("hugetlb-cgroup-names-sizes", test_hugetlb_cgroup_names_sizes);
#undef ADD
    return g_test_run();
}
