/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <hostmem/backend.h>
#include "object-test.h"
#include "os-fake.h"
#include "util/hostcaps.h"
#include "util/linux-compat.h"
#include "util/size.h"

#define SIZE (16 * HM_MIB)
/* Base pages: huge ones would be populated when they are backed. */
#define MEMFD "memory-backend-memfd,id=m0,size=16M,thp=off,prealloc-threads=1,"
#define ASYNC MEMFD "prealloc=on,prealloc-async=on,"
#define RAM   "memory-backend-ram,id=m0,size=16M,prealloc-threads=1,"

/* Populating stops here until the gate opens. */
typedef struct {
    GMutex lock;
    GCond moved;
    gboolean open;
    gboolean reached;
} Gate;

static gint64 wait_at_gate(const HmFakeRecord *record, gpointer data)
{
    Gate *gate = data;

    if (record->arg != MADV_POPULATE_WRITE) {
        return 0;
    }
    g_mutex_lock(&gate->lock);
    gate->reached = TRUE;
    g_cond_broadcast(&gate->moved);
    while (!gate->open) {
        g_cond_wait(&gate->moved, &gate->lock);
    }
    g_mutex_unlock(&gate->lock);
    return 0;
}

static void gate_init(Gate *gate)
{
    *gate = (Gate){0};
    g_mutex_init(&gate->lock);
    g_cond_init(&gate->moved);
    hm_fake_hook(HM_FAKE_ADVISE, wait_at_gate, gate);
}

static void gate_wait(Gate *gate)
{
    g_mutex_lock(&gate->lock);
    while (!gate->reached) {
        g_cond_wait(&gate->moved, &gate->lock);
    }
    g_mutex_unlock(&gate->lock);
}

static void gate_open(Gate *gate)
{
    g_mutex_lock(&gate->lock);
    gate->open = TRUE;
    g_cond_broadcast(&gate->moved);
    g_mutex_unlock(&gate->lock);
}

/* Nobody is at the gate any more. */
static void gate_clear(Gate *gate)
{
    hm_fake_hook(HM_FAKE_ADVISE, NULL, NULL);
    g_cond_clear(&gate->moved);
    g_mutex_clear(&gate->lock);
}

/* (transfer full): the job, when it is over. */
static HostmemJob *finished_job(HostmemBackend *backend)
{
    HostmemJob *job = hostmem_backend_get_job(backend);

    g_assert_nonnull(job);
    while (!hostmem_job_is_over(job)) {
        g_usleep(100);
    }
    return job;
}

static void assert_no_job(HostmemBackend *backend)
{
    g_assert_null(hostmem_backend_get_job(backend));
}

static void assert_progress(HostmemJob *job, guint64 expected)
{
    guint64 done;
    guint64 total;

    hostmem_job_get_progress(job, &done, &total);
    g_assert_cmpuint(done, ==, expected);
    g_assert_cmpuint(total, ==, SIZE);
}

static void assert_refused(gboolean done, GError *error, const char *message)
{
    g_assert_false(done);
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_BUSY);
    g_assert_cmpstr(error->message, ==, message);
    g_error_free(error);
}

/* In the background */

static void test_ready_when_backed(void)
{
    g_autoptr(HostmemBackend) memfd = NULL;
    g_autoptr(HostmemJob) job = NULL;
    Gate gate;

    gate_init(&gate);
    memfd = hm_test_make(ASYNC);
    job = hostmem_backend_get_job(memfd);
    gate_wait(&gate);
    g_assert_cmpuint(hostmem_backend_get_backed_size(memfd), ==, SIZE);
    g_assert_cmpuint(hostmem_backend_get_populated_size(memfd), ==, 0);
    g_assert_cmpint(hostmem_job_get_status(job), ==, HOSTMEM_JOB_RUNNING);
    g_assert_cmpstr(hostmem_job_get_id(job), ==, "m0");
    assert_progress(job, 0);
    hm_test_assert_reads(memfd, "prealloc", "true");
    gate_open(&gate);
    g_object_unref(finished_job(memfd));
    gate_clear(&gate);
}

static void test_job_populates(void)
{
    g_autoptr(HostmemBackend) memfd = hm_test_make(ASYNC);
    g_autoptr(HostmemJob) job = finished_job(memfd);

    g_assert_cmpint(hostmem_job_get_status(job), ==, HOSTMEM_JOB_CONCLUDED);
    g_assert_null(hostmem_job_get_error(job));
    g_assert_cmpuint(hostmem_backend_get_populated_size(memfd), ==, SIZE);
    assert_progress(job, SIZE);
    hm_test_assert_reads(memfd, "prealloc", "true");
}

static void test_private_memory_has_only_the_job(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make(RAM "prealloc=on,prealloc-async=on");

    g_object_unref(finished_job(ram));
    g_assert_cmpuint(hostmem_backend_get_populated_size(ram), ==, SIZE);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_ALLOCATE), ==, 0);
}

static void test_no_job_without_prealloc(void)
{
    g_autoptr(HostmemBackend) memfd = hm_test_make(MEMFD "prealloc-async=on");

    assert_no_job(memfd);
}

static void test_no_job_without_async(void)
{
    g_autoptr(HostmemBackend) memfd = hm_test_make(MEMFD "prealloc=on");

    assert_no_job(memfd);
}

static void test_failed_backing_fails_creation(void)
{
    hm_fake_fail(HM_FAKE_ALLOCATE, 1, ENOSPC);
    hm_test_assert_make_fails(ASYNC, HOSTMEM_ERROR_NO_SPACE,
                              "preallocating memory failed");
}

static void test_turned_on_later(void)
{
    g_autoptr(HostmemBackend) memfd = hm_test_make(MEMFD "prealloc-async=on");

    hm_test_assert_set(memfd, "prealloc", "on");
    hm_test_assert_reads(memfd, "prealloc", "true");
    g_object_unref(finished_job(memfd));
    g_assert_cmpuint(hostmem_backend_get_populated_size(memfd), ==, SIZE);
}

/* It ends early */

static void assert_job_failed(HostmemBackend *backend, HostmemError code)
{
    g_autoptr(HostmemJob) job = finished_job(backend);
    g_autoptr(GError) error = hostmem_job_get_error(job);

    g_assert_cmpint(hostmem_job_get_status(job), ==, HOSTMEM_JOB_CONCLUDED);
    g_assert_error(error, HOSTMEM_ERROR, (gint)code);
    hm_test_assert_reads(backend, "prealloc", "false");
}

static void test_failed_job_gives_nothing_back(void)
{
    g_autoptr(HostmemBackend) memfd = NULL;

    hm_fake_fail_advice(MADV_POPULATE_WRITE, 3, EIO);
    memfd = hm_test_make(ASYNC "prealloc-check=off");
    assert_job_failed(memfd, HOSTMEM_ERROR_SYSTEM);
    g_assert_cmpuint(hostmem_backend_get_backed_size(memfd), ==, SIZE);
    g_assert_cmpuint(hostmem_backend_get_populated_size(memfd), >, 0);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_PUNCH), ==, 0);
}

static void test_failed_job_can_be_repeated(void)
{
    g_autoptr(HostmemBackend) memfd = NULL;
    g_autoptr(HostmemJob) first = NULL;
    g_autoptr(HostmemJob) second = NULL;

    hm_fake_fail_advice(MADV_POPULATE_WRITE, 1, EIO);
    memfd = hm_test_make(ASYNC);
    first = finished_job(memfd);
    hm_test_assert_set(memfd, "prealloc", "on");
    second = finished_job(memfd);
    g_assert_true(first != second);
    g_assert_cmpint(hostmem_job_get_status(first), ==, HOSTMEM_JOB_NULL);
    g_assert_null(hostmem_job_get_error(second));
    hm_test_assert_reads(memfd, "prealloc", "true");
}

static void test_cancel(void)
{
    g_autoptr(HostmemBackend) memfd = NULL;
    g_autoptr(HostmemJob) job = NULL;
    g_autoptr(GError) error = NULL;
    Gate gate;

    gate_init(&gate);
    memfd = hm_test_make(ASYNC);
    gate_wait(&gate);
    job = hostmem_backend_get_job(memfd);
    g_assert_true(hostmem_job_cancel(job, NULL));
    gate_open(&gate);
    g_object_unref(finished_job(memfd));
    error = hostmem_job_get_error(job);
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    hm_test_assert_reads(memfd, "prealloc", "false");
    g_assert_cmpuint(hostmem_backend_get_backed_size(memfd), ==, SIZE);
    gate_clear(&gate);
}

static gpointer unref_in_thread(gpointer backend)
{
    g_object_unref(backend);
    return NULL;
}

static void test_last_unref_cancels(void)
{
    g_autoptr(HostmemJob) job = NULL;
    HostmemBackend *memfd;
    GThread *thread;
    Gate gate;

    gate_init(&gate);
    memfd = hm_test_make("memory-backend-memfd,id=m0,size=17412K,thp=off,"
                         "prealloc=on,prealloc-async=on,prealloc-threads=1");
    gate_wait(&gate);
    job = hostmem_backend_get_job(memfd);
    thread = g_thread_new("unref", unref_in_thread, memfd);
    gate_open(&gate);
    g_thread_join(thread);
    g_assert_cmpint(hostmem_job_get_status(job), ==, HOSTMEM_JOB_NULL);
    g_assert_cmpuint(hm_test_count_mappings(HM_TEST_ODD_SIZE), ==, 0);
    gate_clear(&gate);
}

/* Verbs in the wrong state */

static void test_dismiss_of_a_running_job(void)
{
    g_autoptr(HostmemBackend) memfd = NULL;
    g_autoptr(HostmemJob) job = NULL;
    GError *error = NULL;
    gboolean done;
    Gate gate;

    gate_init(&gate);
    memfd = hm_test_make(ASYNC);
    gate_wait(&gate);
    job = hostmem_backend_get_job(memfd);
    done = hostmem_job_dismiss(job, &error);
    assert_refused(done, error,
                   "Job 'm0' in state 'running' cannot accept command verb "
                   "'dismiss'");
    gate_open(&gate);
    g_object_unref(finished_job(memfd));
    gate_clear(&gate);
}

static void test_cancel_of_a_concluded_job(void)
{
    g_autoptr(HostmemBackend) memfd = hm_test_make(ASYNC);
    g_autoptr(HostmemJob) job = finished_job(memfd);
    GError *error = NULL;
    gboolean done = hostmem_job_cancel(job, &error);

    assert_refused(done, error,
                   "Job 'm0' in state 'concluded' cannot accept command verb "
                   "'cancel'");
}

static void test_dismissed_job_is_gone(void)
{
    g_autoptr(HostmemBackend) memfd = hm_test_make(ASYNC);
    g_autoptr(HostmemJob) job = finished_job(memfd);
    GError *error = NULL;
    gboolean again;

    g_assert_true(hostmem_job_dismiss(job, NULL));
    assert_no_job(memfd);
    again = hostmem_job_dismiss(job, &error);
    assert_refused(again, error,
                   "Job 'm0' in state 'null' cannot accept command verb "
                   "'dismiss'");
}

/* How far */

static void test_backed(void)
{
    g_autoptr(HostmemBackend) memfd =
        hm_test_make(ASYNC "prealloc-state=backed");

    assert_no_job(memfd);
    g_assert_cmpuint(hostmem_backend_get_backed_size(memfd), ==, SIZE);
    g_assert_cmpuint(hostmem_backend_get_populated_size(memfd), ==, 0);
}

static void test_private_memory_cannot_be_backed(void)
{
    hm_test_assert_make_fails(RAM "prealloc=on,prealloc-state=backed",
                              HOSTMEM_ERROR_UNSUPPORTED,
                              "private memory has no backed state");
}

static void test_readable(void)
{
    g_autofree char *path = g_build_filename(hm_test_folder(), "data", NULL);
    g_autofree char *options =
        g_strdup_printf("memory-backend-file,id=m0,size=16M,mem-path=%s,"
                        "share=on,prealloc=on,prealloc-state=readable",
                        path);
    g_autoptr(HostmemBackend) file = hm_test_make(options);

    g_assert_cmpuint(hm_fake_count_advice(MADV_POPULATE_READ), >, 0);
    g_assert_cmpuint(hm_fake_count_advice(MADV_POPULATE_WRITE), ==, 0);
    g_assert_cmpuint(hostmem_backend_get_populated_size(file), ==, SIZE);
    g_assert_cmpuint(hostmem_backend_get_backed_size(file), ==, SIZE);
}

/* (transfer full): a file that is there, and full. */
static char *make_file(void)
{
    g_autofree char *data = g_malloc0(SIZE);
    char *path = g_build_filename(hm_test_folder(), "data", NULL);

    g_assert_true(g_file_set_contents(path, data, (gssize)SIZE, NULL));
    return path;
}

static void test_read_only_memory_can_be_readable(void)
{
    g_autofree char *path = make_file();
    g_autofree char *options =
        g_strdup_printf("memory-backend-file,id=m0,size=16M,mem-path=%s,"
                        "readonly=on,prealloc=on,prealloc-async=on,"
                        "prealloc-state=readable",
                        path);
    g_autoptr(HostmemBackend) file = hm_test_make(options);

    g_object_unref(finished_job(file));
    g_assert_cmpuint(hm_fake_count(HM_FAKE_ALLOCATE), ==, 0);
    g_assert_cmpuint(hostmem_backend_get_populated_size(file), ==, SIZE);
}

/* A read takes no memory that would have to be free. */
static void test_read_only_memory_needs_no_room(void)
{
    g_autofree char *path = make_file();
    g_autofree char *options =
        g_strdup_printf("memory-backend-file,id=m0,size=16M,mem-path=%s,"
                        "readonly=on,prealloc=on,prealloc-state=readable",
                        path);

    hm_fake_set_file("/proc/meminfo", "MemAvailable: 1024 kB\n");
    g_object_unref(hm_test_make(options));
}

/* How long */

static gint64 pass_time(const HmFakeRecord *record, gpointer data G_GNUC_UNUSED)
{
    if (record->arg == MADV_POPULATE_WRITE) {
        hm_fake_set_now(10 * G_USEC_PER_SEC);
    }
    return 0;
}

/* The deadline passes while the first piece is populated. */
static void pretend_slowness(void)
{
    hm_fake_set_now(0);
    hm_fake_hook(HM_FAKE_ADVISE, pass_time, NULL);
}

static void test_deadline_of_creation(void)
{
    g_autoptr(HostmemBackend) ram = NULL;

    pretend_slowness();
    ram = hm_test_make("memory-backend-ram,id=m0,size=32M,prealloc=on,"
                       "prealloc-threads=1,prealloc-deadline=5");
    hm_test_assert_reads(ram, "prealloc", "false");
    g_assert_cmpuint(hostmem_backend_get_populated_size(ram), >, 0);
    g_assert_cmpuint(hostmem_backend_get_populated_size(ram), <, 32 * HM_MIB);
}

static void test_deadline_that_is_met(void)
{
    g_autoptr(HostmemBackend) ram = NULL;

    pretend_slowness();
    ram = hm_test_make(RAM "prealloc=on,prealloc-deadline=11");
    hm_test_assert_reads(ram, "prealloc", "true");
}

static void test_deadline_of_a_change(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=32M,prealloc-threads=1,"
                     "prealloc-deadline=5");
    GError *error = NULL;

    pretend_slowness();
    g_assert_false(hostmem_object_set(HOSTMEM_OBJECT(ram), "prealloc", "on",
                                      NULL, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_TIMED_OUT, "the deadline passed");
    hm_test_assert_reads(ram, "prealloc", "false");
    hm_fake_hook(HM_FAKE_ADVISE, NULL, NULL);
    hm_test_assert_set(ram, "prealloc", "on");
    g_assert_cmpuint(hostmem_backend_get_populated_size(ram), ==, 32 * HM_MIB);
}

static void test_deadline_of_a_job(void)
{
    g_autoptr(HostmemBackend) memfd = NULL;

    pretend_slowness();
    memfd = hm_test_make("memory-backend-memfd,id=m0,size=32M,thp=off,"
                         "prealloc=on,prealloc-async=on,prealloc-threads=1,"
                         "prealloc-deadline=5");
    assert_job_failed(memfd, HOSTMEM_ERROR_TIMED_OUT);
    g_assert_cmpuint(hostmem_backend_get_backed_size(memfd), ==, 32 * HM_MIB);
}

/* At what priority */

static void test_priority(void)
{
    g_autoptr(HostmemBackend) memfd =
        hm_test_make(ASYNC "prealloc-priority=idle");
    HmFakeRecord record;

    g_object_unref(finished_job(memfd));
    g_assert_true(hm_fake_get_call(HM_FAKE_LOWER_PRIORITY, 1, &record));
    g_assert_cmpint(record.arg, ==, HM_PRIORITY_IDLE);
}

static void test_normal_priority(void)
{
    g_autoptr(HostmemBackend) memfd = hm_test_make(ASYNC);

    g_object_unref(finished_job(memfd));
    g_assert_cmpuint(hm_fake_count(HM_FAKE_LOWER_PRIORITY), ==, 0);
}

/* Asynchronous calls */

typedef struct {
    gboolean called;
    gboolean done;
    GError *error;
} Answer;

static void on_populated(GObject *source, GAsyncResult *result, gpointer data)
{
    Answer *answer = data;

    answer->called = TRUE;
    answer->done = hostmem_backend_populate_finish(HOSTMEM_BACKEND(source),
                                                   result, &answer->error);
}

static Answer populate(HostmemBackend *backend, guint64 length,
                       GCancellable *cancellable)
{
    Answer answer = {0};

    hostmem_backend_populate_async(backend, 0, length, cancellable,
                                   on_populated, &answer);
    while (!answer.called) {
        g_main_context_iteration(NULL, TRUE);
    }
    return answer;
}

static void test_populate_async(void)
{
    g_autoptr(HostmemBackend) ram = hm_test_make(RAM);
    Answer answer = populate(ram, 4 * HM_MIB, NULL);

    g_assert_no_error(answer.error);
    g_assert_true(answer.done);
    g_assert_cmpuint(hostmem_backend_get_populated_size(ram), ==, 4 * HM_MIB);
}

static void test_populate_async_fails(void)
{
    g_autoptr(HostmemBackend) ram = hm_test_make(RAM);
    Answer answer = populate(ram, SIZE + 4096, NULL);

    g_assert_false(answer.done);
    hm_test_assert_error(answer.error, HOSTMEM_ERROR_INVALID,
                         "cannot populate");
}

static void test_populate_async_is_cancelled(void)
{
    g_autoptr(HostmemBackend) ram = hm_test_make(RAM);
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    Answer answer;

    g_cancellable_cancel(cancellable);
    answer = populate(ram, SIZE, cancellable);
    g_assert_false(answer.done);
    g_assert_error(answer.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_error_free(answer.error);
}

static const HmTest tests[] = {
    {"/hostmem-prealloc/ready-when-backed", test_ready_when_backed},
    {"/hostmem-prealloc/job-populates", test_job_populates},
    {"/hostmem-prealloc/private-memory-has-only-the-job",
     test_private_memory_has_only_the_job},
    {"/hostmem-prealloc/no-job-without-prealloc", test_no_job_without_prealloc},
    {"/hostmem-prealloc/no-job-without-async", test_no_job_without_async},
    {"/hostmem-prealloc/failed-backing-fails-creation",
     test_failed_backing_fails_creation},
    {"/hostmem-prealloc/turned-on-later", test_turned_on_later},
    {"/hostmem-prealloc/failed-job-gives-nothing-back",
     test_failed_job_gives_nothing_back},
    {"/hostmem-prealloc/failed-job-can-be-repeated",
     test_failed_job_can_be_repeated},
    {"/hostmem-prealloc/cancel", test_cancel},
    {"/hostmem-prealloc/last-unref-cancels", test_last_unref_cancels},
    {"/hostmem-prealloc/dismiss-of-a-running-job",
     test_dismiss_of_a_running_job},
    {"/hostmem-prealloc/cancel-of-a-concluded-job",
     test_cancel_of_a_concluded_job},
    {"/hostmem-prealloc/dismissed-job-is-gone", test_dismissed_job_is_gone},
    {"/hostmem-prealloc/backed", test_backed},
    {"/hostmem-prealloc/private-memory-cannot-be-backed",
     test_private_memory_cannot_be_backed},
    {"/hostmem-prealloc/readable", test_readable},
    {"/hostmem-prealloc/read-only-memory-can-be-readable",
     test_read_only_memory_can_be_readable},
    {"/hostmem-prealloc/read-only-memory-needs-no-room",
     test_read_only_memory_needs_no_room},
    {"/hostmem-prealloc/deadline-of-creation", test_deadline_of_creation},
    {"/hostmem-prealloc/deadline-that-is-met", test_deadline_that_is_met},
    {"/hostmem-prealloc/deadline-of-a-change", test_deadline_of_a_change},
    {"/hostmem-prealloc/deadline-of-a-job", test_deadline_of_a_job},
    {"/hostmem-prealloc/priority", test_priority},
    {"/hostmem-prealloc/normal-priority", test_normal_priority},
    {"/hostmem-prealloc/populate-async", test_populate_async},
    {"/hostmem-prealloc/populate-async-fails", test_populate_async_fails},
    {"/hostmem-prealloc/populate-async-is-cancelled",
     test_populate_async_is_cancelled},
};

int main(int argc, char **argv)
{
    hm_hostcaps_get(); /* once, and not where a test counts or waits */
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
