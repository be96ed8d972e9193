/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "os-fake.h"
#include "util/error.h"
#include "util/preflight.h"
#include "util/size.h"

/*
 * What the tests of util/preflight have in common: a host that has just so
 * much, and a request that fits or does not.
 */

#define HUGE_2M (2 * HM_MIB)
#define POOL    "/sys/kernel/mm/hugepages/hugepages-2048kB/"

/* As the implementation keeps. */
#define HOST_RESERVE   (16 * HM_MIB)
#define CGROUP_RESERVE (4 * HM_MIB)

static const HmPreflightRequest anon = {
    .kind = HM_MEM_ANON,
    .page_size = 4096,
    .fd = -1,
    .what = "memory-backend-ram 'm0'",
};

static const HmPreflightRequest huge = {
    .kind = HM_MEM_HUGETLB,
    .page_size = HUGE_2M,
    .fd = -1,
    .what = "memory-backend-memfd 'h0'",
};

/* what the host has */

static inline void set_memory(guint64 available, guint64 swap)
{
    g_autofree char *text = g_strdup_printf(
        "MemTotal:  99 kB\nMemAvailable:   %" G_GUINT64_FORMAT
        " kB\nSwapTotal: 99 kB\nSwapFree: %" G_GUINT64_FORMAT " kB\n",
        available / HM_KIB, swap / HM_KIB);

    hm_fake_set_file("/proc/meminfo", text);
}

/* A host without cgroups, huge pages and swap, and with 64 GiB of memory. */
static inline void set_host(void)
{
    hm_fake_reset();
    hm_fake_set_file("/proc/self/cgroup", NULL);
    hm_fake_hide_tree("/cg");
    set_memory(64 * HM_GIB, 0);
    hm_fake_set_huge_pool(HUGE_2M, 0, 0, 0);
    hm_fake_set_file(POOL "nr_overcommit_hugepages", "0\n");
    hm_fake_set_file(POOL "surplus_hugepages", "0\n");
}

/* what is asked */

static inline void assert_fits(const HmPreflightRequest *request, guint64 bytes)
{
    g_autoptr(HmPreflight) preflight = hm_preflight_new(request);
    g_autoptr(GError) error = NULL;

    hm_preflight_check(preflight, bytes, &error);
    g_assert_no_error(error);
}

/* Returns: (transfer full): why not */
static inline char *assert_refused(const HmPreflightRequest *request,
                                   guint64 bytes, HostmemError code)
{
    g_autoptr(HmPreflight) preflight = hm_preflight_new(request);
    g_autoptr(GError) error = NULL;

    g_assert_false(hm_preflight_check(preflight, bytes, &error));
    g_assert_error(error, HOSTMEM_ERROR, (int)code);
    return g_strdup(error->message);
}

static inline void assert_refused_as(const HmPreflightRequest *request,
                                     guint64 bytes, HostmemError code,
                                     const char *expected)
{
    g_autofree char *message = assert_refused(request, bytes, code);

    g_assert_cmpstr(message, ==, expected);
}
