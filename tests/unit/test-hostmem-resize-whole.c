/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/mman.h>
#include "backends/hostmem.h"
#include "object-test.h"
#include "os-fake.h"
#include "resize-test.h"
#include "util/autofd.h"
#include "util/size.h"

/* Resized memory is one: what holds of it, and who keeps it from becoming
 * less. */

#define ROOM ",size=1M,max-size=4M"

/* What is true of the memory is true of the new part */

static void assert_call(HmFakeCall call, guint nth, const guint8 *addr,
                        guint64 length)
{
    HmFakeRecord record;

    g_assert_true(hm_fake_get_call(call, nth, &record));
    g_assert_true(record.addr == addr);
    g_assert_cmpuint(record.length, ==, length);
}

static void test_the_policy_holds_for_the_new_part(void)
{
    g_autoptr(HostmemBackend) ram = NULL;

    hm_fake_set_nodes(4, 2, 8 * HM_GIB);
    ram =
        hm_test_make("memory-backend-ram,id=m0,host-nodes=1,policy=bind" ROOM);
    hm_resize_to(ram, 4 * HM_MIB);
    g_autofree char *nodes = hm_fake_bound_to(hm_resize_memory(ram) + HM_MIB);

    g_assert_cmpstr(nodes, ==, "1");
    assert_call(HM_FAKE_BIND, 2, hm_resize_memory(ram) + HM_MIB, 3 * HM_MIB);
}

static void test_advice_holds_for_the_new_part(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,dump=off,thp=off" ROOM);
    static const int advice[] = {MADV_NOHUGEPAGE, MADV_DONTFORK, MADV_MERGEABLE,
                                 MADV_DONTDUMP};

    hm_fake_reset();
    hm_resize_to(ram, 4 * HM_MIB);
    for (guint i = 0; i < G_N_ELEMENTS(advice); i++) {
        HmFakeRecord record;

        assert_call(HM_FAKE_ADVISE, i + 1, hm_resize_memory(ram) + HM_MIB,
                    3 * HM_MIB);
        g_assert_true(hm_fake_get_call(HM_FAKE_ADVISE, i + 1, &record));
        g_assert_cmpint((int)record.arg, ==, advice[i]);
    }
}

/* As it is now, not as it was at creation. */
static void test_what_was_changed_holds_for_the_new_part(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0" ROOM);

    hm_test_assert_set(ram, "dump", "off");
    hm_test_assert_set(ram, "merge", "off");
    hm_fake_reset();
    hm_resize_to(ram, 4 * HM_MIB);
    g_assert_cmpuint(hm_fake_count_advice(MADV_DONTDUMP), ==, 1);
    g_assert_cmpuint(hm_fake_count_advice(MADV_MERGEABLE), ==, 0);
}

static void test_prealloc_populates_the_new_part(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,prealloc=on,thp=off" ROOM);

    hm_resize_to(ram, 3 * HM_MIB);
    g_assert_cmpuint(hostmem_backend_get_populated_size(ram), ==, 3 * HM_MIB);
    hm_resize_to(ram, HM_MIB);
    g_assert_cmpuint(hostmem_backend_get_populated_size(ram), ==, HM_MIB);
}

static void test_prealloc_backs_the_new_part(void)
{
    g_autoptr(HostmemBackend) memfd =
        hm_test_make("memory-backend-memfd,id=m0,prealloc=on,thp=off,"
                     "prealloc-state=backed" ROOM);

    hm_resize_to(memfd, 3 * HM_MIB);
    g_assert_cmpuint(hostmem_backend_get_backed_size(memfd), ==, 3 * HM_MIB);
    g_assert_cmpuint(hostmem_backend_get_populated_size(memfd), ==, 0);
}

static void test_without_prealloc_nothing_is_populated(void)
{
    g_autoptr(HostmemBackend) memfd =
        hm_test_make("memory-backend-memfd,id=m0" ROOM);

    hm_resize_to(memfd, 4 * HM_MIB);
    g_assert_cmpuint(hostmem_backend_get_populated_size(memfd), ==, 0);
    g_assert_cmpuint(hm_resize_file_storage(memfd), ==, 0);
}

static void wait_for_job(HostmemBackend *backend)
{
    g_autoptr(HostmemJob) job = hostmem_backend_get_job(backend);

    g_assert_nonnull(job);
    while (!hostmem_job_is_over(job)) {
        g_usleep(1000);
    }
}

static gint64 wait_for_gate(const HmFakeRecord *record, gpointer gate)
{
    while (record->arg == MADV_POPULATE_WRITE &&
           !g_atomic_int_get((gint *)gate)) {
        g_usleep(100);
    }
    return 0;
}

static void test_a_job_populates_the_new_part(void)
{
    g_autoptr(HostmemBackend) ram = hm_test_make(
        "memory-backend-ram,id=m0,prealloc=on,prealloc-async=on,thp=off" ROOM);
    guint64 total;

    wait_for_job(ram);
    hm_resize_to(ram, 4 * HM_MIB);
    wait_for_job(ram);
    g_autoptr(HostmemJob) job = hostmem_backend_get_job(ram);

    hostmem_job_get_progress(job, NULL, &total);
    g_assert_cmpuint(total, ==, 3 * HM_MIB);
    g_assert_cmpuint(hostmem_backend_get_populated_size(ram), ==, 4 * HM_MIB);
}

static void test_a_job_is_not_disturbed(void)
{
    g_autoptr(HostmemBackend) ram = NULL;
    gint gate = FALSE; /* atomic: it is open */

    hm_fake_hook(HM_FAKE_ADVISE, wait_for_gate, &gate);
    ram = hm_test_make(
        "memory-backend-ram,id=m0,prealloc=on,prealloc-async=on" ROOM);
    hm_resize_assert_refused(ram, 2 * HM_MIB, HOSTMEM_ERROR_BUSY,
                             "a job populates it");
    hm_resize_assert_refused(ram, 4096, HOSTMEM_ERROR_BUSY,
                             "a job populates it");
    g_atomic_int_set(&gate, TRUE);
    wait_for_job(ram);
    hm_resize_to(ram, 2 * HM_MIB);
    wait_for_job(ram);
}

static gint64 pass_time(const HmFakeRecord *record, gpointer data G_GNUC_UNUSED)
{
    if (record->arg == MADV_POPULATE_WRITE) {
        hm_fake_set_now(10 * G_USEC_PER_SEC);
    }
    return 0;
}

/* What there was no time for is populated by whoever touches it. */
static void test_a_deadline_is_no_failure(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,prealloc=on,prealloc-threads=1,"
                     "prealloc-deadline=5,size=1M,max-size=64M");

    hm_fake_set_now(0);
    hm_fake_hook(HM_FAKE_ADVISE, pass_time, NULL);
    hm_resize_to(ram, 64 * HM_MIB);
    hm_test_assert_reads(ram, "prealloc", "false");
    g_assert_cmpuint(hostmem_backend_get_populated_size(ram), <, 64 * HM_MIB);
}

/* Who needs it */

static void test_who_holds_it_needs_all(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0" ROOM);

    hostmem_object_hold(HOSTMEM_OBJECT(ram));
    hm_resize_to(ram, 4 * HM_MIB);
    hm_resize_assert_refused(ram, 4 * HM_MIB - 4096, HOSTMEM_ERROR_BUSY,
                             "in use");
    hostmem_object_release(HOSTMEM_OBJECT(ram));
    hm_resize_to(ram, 4096);
}

static void test_who_says_so_needs_a_part(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0" ROOM);

    hostmem_object_hold(HOSTMEM_OBJECT(ram));
    hm_backend_need(ram, 128 * HM_KIB);
    hm_resize_to(ram, 4 * HM_MIB);
    hm_resize_to(ram, 128 * HM_KIB);
    hm_resize_assert_refused(ram, 124 * HM_KIB, HOSTMEM_ERROR_BUSY,
                             "128 KiB of it are in use");
    hostmem_object_hold(HOSTMEM_OBJECT(ram));
    hm_resize_assert_refused(ram, 124 * HM_KIB, HOSTMEM_ERROR_BUSY,
                             "it is in use");
    hostmem_object_release(HOSTMEM_OBJECT(ram));
    hm_backend_need_no_more(ram, 128 * HM_KIB);
    hostmem_object_release(HOSTMEM_OBJECT(ram));
    hm_resize_to(ram, 124 * HM_KIB);
}

static void test_a_peer_may_need_all(void)
{
    g_autoptr(HostmemBackend) memfd =
        hm_test_make("memory-backend-memfd,id=m0" ROOM);
    hm_autofd int fd = hostmem_backend_dup_fd(memfd, 0, NULL);

    g_assert_cmpint(fd, >=, 0);
    hm_resize_to(memfd, 4 * HM_MIB);
    hm_resize_assert_refused(memfd, HM_MIB, HOSTMEM_ERROR_BUSY,
                             "another process has its memory open or mapped");
    hm_fake_fail_always(HM_FAKE_ONLY_USER, EINVAL);
    hm_resize_assert_refused(memfd, HM_MIB, HOSTMEM_ERROR_BUSY,
                             "whether any does cannot be told");
    hm_fake_fail_always(HM_FAKE_ONLY_USER, 0);
    hm_os_close(hm_steal_fd(&fd));
    hm_resize_to(memfd, HM_MIB);
}

static void test_who_was_never_given_away_need_not_be_told(void)
{
    g_autoptr(HostmemBackend) memfd =
        hm_test_make("memory-backend-memfd,id=m0" ROOM);

    hm_fake_fail_always(HM_FAKE_ONLY_USER, EINVAL);
    hm_resize_to(memfd, 4 * HM_MIB);
    hm_resize_to(memfd, HM_MIB);
}

/* Without waiting */

typedef struct {
    GMainLoop *loop;
    gboolean ok;
    GError *error;
} Answer;

static void on_resized(GObject *source, GAsyncResult *result, gpointer data)
{
    Answer *answer = data;

    answer->ok = hostmem_backend_resize_finish(HOSTMEM_BACKEND(source), result,
                                               &answer->error);
    g_main_loop_quit(answer->loop);
}

static Answer resize_async(HostmemBackend *backend, guint64 size,
                           GCancellable *cancellable)
{
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    Answer answer = {.loop = loop};

    hostmem_backend_resize_async(backend, size, HOSTMEM_RESIZE_IN_PLACE,
                                 cancellable, on_resized, &answer);
    g_main_loop_run(loop);
    return answer;
}

static void test_without_waiting(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0" ROOM);
    Answer answer = resize_async(ram, 2 * HM_MIB, NULL);

    g_assert_no_error(answer.error);
    g_assert_true(answer.ok);
    hm_resize_assert_size(ram, 2 * HM_MIB);
    answer = resize_async(ram, 8 * HM_MIB, NULL);
    g_assert_false(answer.ok);
    hm_test_assert_error(answer.error, HOSTMEM_ERROR_INVALID, "max-size");
}

static gint64 cancel(const HmFakeRecord *record, gpointer cancellable)
{
    if (record->arg == MADV_POPULATE_WRITE) {
        g_cancellable_cancel(cancellable);
    }
    return 0;
}

static void test_cancelled(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,prealloc=on,thp=off,size=1M,"
                     "max-size=64M");
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    Answer answer;

    hm_fake_hook(HM_FAKE_ADVISE, cancel, cancellable);
    answer = resize_async(ram, 64 * HM_MIB, cancellable);
    hm_fake_hook(HM_FAKE_ADVISE, NULL, NULL);
    g_assert_false(answer.ok);
    g_assert_error(answer.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_clear_error(&answer.error);
    hm_resize_assert_size(ram, HM_MIB);
    g_assert_cmpuint(hostmem_backend_get_populated_size(ram), ==, HM_MIB);
}

static const HmTest tests[] = {
    {"/hostmem-resize-whole/the-policy-holds-for-the-new-part",
     test_the_policy_holds_for_the_new_part},
    {"/hostmem-resize-whole/advice-holds-for-the-new-part",
     test_advice_holds_for_the_new_part},
    {"/hostmem-resize-whole/what-was-changed-holds-for-the-new-part",
     test_what_was_changed_holds_for_the_new_part},
    {"/hostmem-resize-whole/prealloc-populates-the-new-part",
     test_prealloc_populates_the_new_part},
    {"/hostmem-resize-whole/prealloc-backs-the-new-part",
     test_prealloc_backs_the_new_part},
    {"/hostmem-resize-whole/without-prealloc-nothing-is-populated",
     test_without_prealloc_nothing_is_populated},
    {"/hostmem-resize-whole/a-job-populates-the-new-part",
     test_a_job_populates_the_new_part},
    {"/hostmem-resize-whole/a-job-is-not-disturbed",
     test_a_job_is_not_disturbed},
    {"/hostmem-resize-whole/a-deadline-is-no-failure",
     test_a_deadline_is_no_failure},
    {"/hostmem-resize-whole/who-holds-it-needs-all",
     test_who_holds_it_needs_all},
    {"/hostmem-resize-whole/who-says-so-needs-a-part",
     test_who_says_so_needs_a_part},
    {"/hostmem-resize-whole/a-peer-may-need-all", test_a_peer_may_need_all},
    {"/hostmem-resize-whole/never-given-away",
     test_who_was_never_given_away_need_not_be_told},
    {"/hostmem-resize-whole/without-waiting", test_without_waiting},
    {"/hostmem-resize-whole/cancelled", test_cancelled},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
