/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <hostmem/advise.h>
#include "object-test.h"
#include "os-fake.h"
#include "util/hostcaps.h"
#include "util/linux-compat.h"
#include "util/size.h"

/* Advice for ranges of a backend. */

#define SIZE  (8 * HM_MIB)
#define RAM   "memory-backend-ram,id=m0,size=8M"
#define MEMFD "memory-backend-memfd,id=m0,size=8M"

static void advise(HostmemBackend *backend, HostmemAdvice advice)
{
    g_autoptr(GError) error = NULL;

    hostmem_backend_advise(backend, 0, SIZE, advice, &error);
    g_assert_no_error(error);
}

static void assert_refused(HostmemBackend *backend, HostmemAdvice advice,
                           gint code, const char *part)
{
    GError *error = NULL;

    g_assert_false(hostmem_backend_advise(backend, 0, SIZE, advice, &error));
    hm_test_assert_error(error, code, part);
}

static void fill(HostmemBackend *backend)
{
    memset(hostmem_backend_get_host_addr(backend), 'x', SIZE);
}

static void assert_filled(HostmemBackend *backend)
{
    const char *addr = hostmem_backend_get_host_addr(backend);

    g_assert_true(addr[0] == 'x' && !memcmp(addr, addr + 1, SIZE - 1));
}

/* At once */

static void test_content_stays(void)
{
    g_autoptr(HostmemBackend) backend = hm_test_make(MEMFD);

    fill(backend);
    advise(backend, HOSTMEM_ADVICE_COLD);
    advise(backend, HOSTMEM_ADVICE_PAGE_OUT);
    advise(backend, HOSTMEM_ADVICE_WILL_NEED);
    assert_filled(backend);
    g_assert_cmpuint(hm_fake_count_advice(MADV_COLD), ==, 1);
    g_assert_cmpuint(hm_fake_count_advice(MADV_PAGEOUT), ==, 1);
    g_assert_cmpuint(hm_fake_count_advice(MADV_WILLNEED), ==, 1);
}

static void test_in_pieces(void)
{
    g_autoptr(HostmemBackend) backend =
        hm_test_make("memory-backend-ram,id=m0,size=150M");
    g_autoptr(GError) error = NULL;
    HmFakeRecord last;

    hm_fake_reset();
    hostmem_backend_advise(backend, HM_MIB, 149 * HM_MIB, HOSTMEM_ADVICE_COLD,
                           &error);
    g_assert_no_error(error);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_ADVISE), ==, 3);
    g_assert_true(hm_fake_get_call(HM_FAKE_ADVISE, 3, &last));
    g_assert_cmpuint(last.length, ==, 21 * HM_MIB);
}

static void test_will_need_never_fails(void)
{
    g_autoptr(HostmemBackend) backend = hm_test_make(RAM);

    hm_fake_fail_always(HM_FAKE_ADVISE, ENOMEM);
    advise(backend, HOSTMEM_ADVICE_WILL_NEED);
    g_assert_cmpuint(hostmem_backend_get_populated_size(backend), ==, 0);
}

static void test_bad_range(void)
{
    static const HostmemAdvice all[] = {
        HOSTMEM_ADVICE_WILL_NEED, HOSTMEM_ADVICE_COLD, HOSTMEM_ADVICE_PAGE_OUT,
        HOSTMEM_ADVICE_COLLAPSE};
    g_autoptr(HostmemBackend) backend = hm_test_make(RAM);

    for (gsize i = 0; i < G_N_ELEMENTS(all); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(
            hostmem_backend_advise(backend, 4096, SIZE, all[i], &error));
        g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    }
}

static void test_locked(void)
{
    g_autoptr(HostmemBackend) backend = NULL;
    g_autoptr(GError) error = NULL;

    backend = hm_test_try_make(RAM ",mem-lock=on-fault", NULL, &error);
    if (!backend) {
        g_test_skip(error->message);
        return;
    }
    assert_refused(backend, HOSTMEM_ADVICE_COLD, HOSTMEM_ERROR_UNSUPPORTED,
                   "it is locked in memory");
    assert_refused(backend, HOSTMEM_ADVICE_PAGE_OUT, HOSTMEM_ERROR_UNSUPPORTED,
                   "it is locked in memory");
    advise(backend, HOSTMEM_ADVICE_WILL_NEED);
}

static void test_old_kernel(void)
{
    g_autoptr(HostmemBackend) backend = hm_test_make(RAM);

    hm_fake_without_advice(MADV_COLD);
    assert_refused(backend, HOSTMEM_ADVICE_COLD, HOSTMEM_ERROR_UNSUPPORTED,
                   "Linux 5.4");
    hm_fake_fail_advice(MADV_PAGEOUT, 1, EIO);
    assert_refused(backend, HOSTMEM_ADVICE_PAGE_OUT, HOSTMEM_ERROR_SYSTEM,
                   "cannot advise");
}

/* Collapse */

static gboolean can_collapse(void)
{
    if (hm_hostcaps_get()->collapse &&
        hm_hostcaps_get()->thp_size == 2 * HM_MIB) {
        return TRUE;
    }
    g_test_skip("this kernel has no MADV_COLLAPSE, or other huge pages");
    return FALSE;
}

/* (transfer full): the job, which is over. */
static HostmemJob *wait_for_job(HostmemBackend *backend)
{
    HostmemJob *job = hostmem_backend_get_collapse_job(backend);

    g_assert_nonnull(job);
    while (!hostmem_job_is_over(job)) {
        g_usleep(1000);
    }
    return job;
}

/* Base pages, in memory that may have huge ones. */
static HostmemBackend *make_small(const char *options)
{
    HostmemBackend *backend = hm_test_make(options);
    guint8 *addr = hostmem_backend_get_host_addr(backend);

    hm_os_advise(addr, SIZE, MADV_NOHUGEPAGE);
    fill(backend);
    hm_os_advise(addr, SIZE, MADV_HUGEPAGE);
    return backend;
}

static void check_collapse(const char *options)
{
    g_autoptr(HostmemBackend) backend = NULL;
    g_autoptr(HostmemJob) job = NULL;
    g_autoptr(GError) why = NULL;
    guint64 done;

    if (!can_collapse()) {
        return;
    }
    backend = make_small(options);
    advise(backend, HOSTMEM_ADVICE_COLLAPSE);
    job = wait_for_job(backend);
    assert_filled(backend);
    hostmem_job_get_progress(job, &done, NULL);
    g_assert_cmpuint(done, ==, SIZE);
    why = hostmem_job_get_error(job);
    if (why) {
        g_assert_error(why, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_HUGE_PAGES);
        g_test_skip(why->message);
    } else {
        g_assert_cmpuint(hostmem_backend_get_populated_huge_size(backend), ==,
                         SIZE);
    }
    g_assert_cmpstr(hostmem_job_get_id(job), ==, "m0:collapse");
}

static void test_collapse(void)
{
    check_collapse(RAM);
}

static void test_collapse_shared(void)
{
    check_collapse(MEMFD);
}

static void test_collapse_populates_no_hole(void)
{
    g_autoptr(HostmemBackend) backend = hm_test_make(RAM);
    g_autoptr(HostmemJob) job = NULL;
    g_autoptr(GError) why = NULL;

    if (!can_collapse()) {
        return;
    }
    advise(backend, HOSTMEM_ADVICE_COLLAPSE);
    job = wait_for_job(backend);
    why = hostmem_job_get_error(job);
    g_assert_no_error(why);
    g_assert_cmpuint(hostmem_backend_get_populated_size(backend), ==, 0);
}

static void test_collapse_without_huge_pages(void)
{
    g_autoptr(HostmemBackend) backend = hm_test_make(RAM);
    g_autoptr(HostmemJob) job = NULL;

    if (!can_collapse()) {
        return;
    }
    fill(backend);
    hm_fake_fail_always(HM_FAKE_ADVISE, ENOMEM);
    advise(backend, HOSTMEM_ADVICE_COLLAPSE);
    job = wait_for_job(backend);
    hm_test_assert_error(
        hostmem_job_get_error(job), HOSTMEM_ERROR_NO_HUGE_PAGES,
        "no huge page of 2 MiB could be had for 4 of 4 places");
    assert_filled(backend);
}

static void test_collapse_tries_what_is_busy_again(void)
{
    g_autoptr(HostmemBackend) backend = hm_test_make(RAM);
    g_autoptr(HostmemJob) job = NULL;
    g_autoptr(GError) why = NULL;

    if (!can_collapse()) {
        return;
    }
    hm_fake_fail_advice(MADV_COLLAPSE, 1, EAGAIN);
    advise(backend, HOSTMEM_ADVICE_COLLAPSE);
    job = wait_for_job(backend);
    why = hostmem_job_get_error(job);
    g_assert_no_error(why);
    g_assert_cmpuint(hm_fake_count_advice(MADV_COLLAPSE), >, 1);
}

/* A hook of ADVISE: until a test lets go. */
static gint64 hold(const HmFakeRecord *record, gpointer data)
{
    while (record->arg == MADV_COLLAPSE && g_atomic_int_get((gint *)data)) {
        g_usleep(1000);
    }
    return 0;
}

static void test_one_at_a_time(void)
{
    g_autoptr(HostmemBackend) backend = hm_test_make(RAM);
    g_autoptr(HostmemJob) job = NULL;
    gint held = TRUE;

    if (!can_collapse()) {
        return;
    }
    hm_fake_hook(HM_FAKE_ADVISE, hold, &held);
    advise(backend, HOSTMEM_ADVICE_COLLAPSE);
    assert_refused(backend, HOSTMEM_ADVICE_COLLAPSE, HOSTMEM_ERROR_BUSY,
                   "a job is doing it");
    g_atomic_int_set(&held, FALSE);
    job = wait_for_job(backend);
    advise(backend, HOSTMEM_ADVICE_COLLAPSE);
}

/* The backend goes: its job has ended by then. */
static void test_cancelled_with_the_backend(void)
{
    HostmemBackend *backend = hm_test_make(RAM);
    g_autoptr(HostmemJob) job = NULL;

    if (can_collapse()) {
        fill(backend);
        advise(backend, HOSTMEM_ADVICE_COLLAPSE);
        job = hostmem_backend_get_collapse_job(backend);
    }
    g_object_unref(backend);
    g_assert_true(!job || hostmem_job_is_over(job));
}

static void test_nothing_to_collapse(void)
{
    g_autoptr(HostmemBackend) small = hm_test_make(RAM ",thp=off");

    assert_refused(small, HOSTMEM_ADVICE_COLLAPSE, HOSTMEM_ERROR_INVALID,
                   "'thp' is 'off'");
}

static const HmTest tests[] = {
    {"/hostmem-advise/content-stays", test_content_stays},
    {"/hostmem-advise/in-pieces", test_in_pieces},
    {"/hostmem-advise/will-need-never-fails", test_will_need_never_fails},
    {"/hostmem-advise/bad-range", test_bad_range},
    {"/hostmem-advise/locked", test_locked},
    {"/hostmem-advise/old-kernel", test_old_kernel},
    {"/hostmem-advise/collapse", test_collapse},
    {"/hostmem-advise/collapse-shared", test_collapse_shared},
    {"/hostmem-advise/collapse-populates-no-hole",
     test_collapse_populates_no_hole},
    {"/hostmem-advise/collapse-without-huge-pages",
     test_collapse_without_huge_pages},
    {"/hostmem-advise/collapse-tries-what-is-busy-again",
     test_collapse_tries_what_is_busy_again},
    {"/hostmem-advise/one-at-a-time", test_one_at_a_time},
    {"/hostmem-advise/cancelled-with-the-backend",
     test_cancelled_with_the_backend},
    {"/hostmem-advise/nothing-to-collapse", test_nothing_to_collapse},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
