/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <hostmem/backend.h>
#include <hostmem/registry.h>
#include <string.h>
#include "object-test.h"
#include "os-fake.h"
#include "util/hostcaps.h"
#include "util/linux-compat.h"

#define ASYNC(id)                 \
    "memory-backend-memfd,id=" id \
    ",size=16M,thp=off,prealloc=on,prealloc-async=on,prealloc-threads=1"

/* A registry, and what its jobs were heard to do: "m0:created m0:running". */
typedef struct {
    HostmemRegistry *registry;
    GString *news;
} Fixture;

static const char *nick_of(HostmemJobStatus status)
{
    g_autoptr(GEnumClass) klass = g_type_class_ref(HOSTMEM_TYPE_JOB_STATUS);

    return g_enum_get_value(klass, (gint)status)->value_nick;
}

static void on_changed(HostmemRegistry *registry G_GNUC_UNUSED, HostmemJob *job,
                       HostmemJobStatus status, gpointer data)
{
    GString *news = data;

    g_string_append_printf(news, "%s%s:%s", news->len ? " " : "",
                           hostmem_job_get_id(job), nick_of(status));
}

static Fixture set_up(void)
{
    Fixture fixture = {hostmem_registry_new(), g_string_new(NULL)};

    g_signal_connect(fixture.registry, "job-changed", G_CALLBACK(on_changed),
                     fixture.news);
    return fixture;
}

static void settle(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

static void tear_down(Fixture *fixture)
{
    g_clear_object(&fixture->registry);
    settle();
    g_string_free(fixture->news, TRUE);
}

static void add(Fixture *fixture, const char *options)
{
    g_autoptr(GError) error = NULL;

    hostmem_registry_add(fixture->registry, options, NULL, &error);
    g_assert_no_error(error);
}

/* (transfer full) */
static HostmemJob *lookup(Fixture *fixture, const char *id)
{
    g_autoptr(GError) error = NULL;
    HostmemJob *job =
        hostmem_registry_lookup_job(fixture->registry, id, &error);

    g_assert_no_error(error);
    return job;
}

/* Serve the main context until all of @expected was heard, and no more. */
static void expect_news(Fixture *fixture, const char *expected)
{
    while (fixture->news->len < strlen(expected)) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_cmpstr(fixture->news->str, ==, expected);
}

static guint count_jobs(Fixture *fixture)
{
    g_autoptr(GPtrArray) jobs = hostmem_registry_list_jobs(fixture->registry);

    return jobs->len;
}

static void test_news_of_success(void)
{
    Fixture fixture = set_up();

    add(&fixture, ASYNC("m0"));
    expect_news(&fixture, "m0:created m0:running m0:concluded");
    tear_down(&fixture);
}

static void test_news_of_failure(void)
{
    Fixture fixture = set_up();

    hm_fake_fail_advice(MADV_POPULATE_WRITE, 1, EIO);
    add(&fixture, ASYNC("m0"));
    expect_news(&fixture, "m0:created m0:running m0:aborting m0:concluded");
    tear_down(&fixture);
}

static void test_news_of_dismissal(void)
{
    Fixture fixture = set_up();
    g_autoptr(HostmemJob) job = NULL;

    add(&fixture, ASYNC("m0"));
    expect_news(&fixture, "m0:created m0:running m0:concluded");
    job = lookup(&fixture, "m0");
    g_assert_true(hostmem_job_dismiss(job, NULL));
    expect_news(&fixture, "m0:created m0:running m0:concluded m0:null");
    g_assert_cmpuint(count_jobs(&fixture), ==, 0);
    tear_down(&fixture);
}

static void test_job_goes_with_its_object(void)
{
    Fixture fixture = set_up();

    add(&fixture, ASYNC("m0"));
    expect_news(&fixture, "m0:created m0:running m0:concluded");
    g_assert_true(hostmem_registry_remove(fixture.registry, "m0", NULL));
    g_assert_cmpuint(count_jobs(&fixture), ==, 0);
    expect_news(&fixture, "m0:created m0:running m0:concluded m0:null");
    tear_down(&fixture);
}

static void test_jobs_are_listed_at_once(void)
{
    Fixture fixture = set_up();
    g_autoptr(GPtrArray) jobs = NULL;

    add(&fixture, ASYNC("m1"));
    add(&fixture, "memory-backend-ram,id=m2,size=16M,prealloc=on");
    add(&fixture, ASYNC("m0"));
    jobs = hostmem_registry_list_jobs(fixture.registry);
    g_assert_cmpuint(jobs->len, ==, 2);
    g_assert_cmpstr(hostmem_job_get_id(jobs->pdata[0]), ==, "m1");
    g_assert_cmpstr(hostmem_job_get_id(jobs->pdata[1]), ==, "m0");
    tear_down(&fixture);
}

static void test_unknown_job(void)
{
    Fixture fixture = set_up();
    GError *error = NULL;

    add(&fixture, "memory-backend-ram,id=m0,size=16M");
    g_assert_null(hostmem_registry_lookup_job(fixture.registry, "m0", &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_NOT_FOUND, "Job not found");
    tear_down(&fixture);
}

static gint64 wait_for_cancel(const HmFakeRecord *record, gpointer data)
{
    const gint *cancelled = data;

    while (record->arg == MADV_POPULATE_WRITE && !g_atomic_int_get(cancelled)) {
        g_usleep(100);
    }
    return 0;
}

static void test_cancel_all_cancels_jobs(void)
{
    Fixture fixture = set_up();
    gint cancelled = FALSE;

    hm_fake_hook(HM_FAKE_ADVISE, wait_for_cancel, &cancelled);
    add(&fixture, ASYNC("m0"));
    hostmem_registry_cancel_all(fixture.registry);
    g_atomic_int_set(&cancelled, TRUE);
    expect_news(&fixture, "m0:created m0:running m0:aborting m0:concluded");
    tear_down(&fixture);
}

static void test_registry_goes_first(void)
{
    Fixture fixture = set_up();
    g_autoptr(HostmemJob) job = NULL;

    add(&fixture, ASYNC("m0"));
    job = lookup(&fixture, "m0");
    g_clear_object(&fixture.registry);
    g_assert_cmpint(hostmem_job_get_status(job), ==, HOSTMEM_JOB_NULL);
    settle();
    g_assert_cmpuint(fixture.news->len, ==, 0);
    tear_down(&fixture);
}

static const HmTest tests[] = {
    {"/registry-jobs/news-of-success", test_news_of_success},
    {"/registry-jobs/news-of-failure", test_news_of_failure},
    {"/registry-jobs/news-of-dismissal", test_news_of_dismissal},
    {"/registry-jobs/job-goes-with-its-object", test_job_goes_with_its_object},
    {"/registry-jobs/jobs-are-listed-at-once", test_jobs_are_listed_at_once},
    {"/registry-jobs/unknown-job", test_unknown_job},
    {"/registry-jobs/cancel-all-cancels-jobs", test_cancel_all_cancels_jobs},
    {"/registry-jobs/registry-goes-first", test_registry_goes_first},
};

int main(int argc, char **argv)
{
    hm_hostcaps_get(); /* once, and not where a test counts or waits */
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
