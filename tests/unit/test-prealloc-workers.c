/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <signal.h>
#include "os-fake.h"
#include "prealloc-test.h"
#include "util/error.h"

#define PAGES 64

typedef struct {
    guint spawned;
    guint fail_at; /* 0: never */
} Spawner;

static GThread *count_spawn(const char *name, GThreadFunc func, gpointer data,
                            gpointer spawn_data, GError **error)
{
    Spawner *spawner = spawn_data;

    if (++spawner->spawned == spawner->fail_at) {
        hm_set_error(error, HOSTMEM_ERROR_LIMIT, "no more threads");
        return NULL;
    }
    return g_thread_try_new(name, func, data, error);
}

static void check_thread_count(guint wanted, gsize chunks, guint expected)
{
    PreallocTest test;
    Spawner spawner = {0};

    prealloc_test_map_anon(&test, chunks * 4 * 4096);
    prealloc_test_set_chunks(&test, 4);
    test.options.threads = wanted;
    test.options.spawn = count_spawn;
    test.options.spawn_data = &spawner;
    prealloc_test_succeed(&test);
    g_assert_cmpuint(test.result.threads, ==, expected);
    g_assert_cmpuint(spawner.spawned, ==, expected);
    g_assert_cmpuint(prealloc_test_populated(&test), ==, test.region.length);
    prealloc_test_clear(&test);
}

static void test_thread_count_is_obeyed(void)
{
    check_thread_count(1, 16, 1);
    check_thread_count(5, 16, 5);
    check_thread_count(16, 16, 16);
}

static void test_no_more_threads_than_chunks(void)
{
    check_thread_count(64, 3, 3);
}

static gint64 note_thread(const HmFakeRecord *record, gpointer data)
{
    (void)record;
    *(GThread **)data = g_thread_self();
    return 0;
}

static void test_one_thread_is_the_caller(void)
{
    PreallocTest test;
    GThread *worker = NULL;

    prealloc_test_map_anon(&test, PAGES * 4096);
    hm_fake_hook(HM_FAKE_ADVISE, note_thread, &worker);
    prealloc_test_succeed(&test);
    g_assert_true(worker == g_thread_self());
    prealloc_test_clear(&test);
}

static void test_missing_thread_is_an_error(void)
{
    PreallocTest test;
    Spawner spawner = {.fail_at = 2};

    prealloc_test_map_anon(&test, PAGES * 4096);
    prealloc_test_set_chunks(&test, 4);
    test.options.threads = 4;
    test.options.spawn = count_spawn;
    test.options.spawn_data = &spawner;
    prealloc_test_fail(&test, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT);
    g_assert_cmpstr(test.error->message, ==,
                    "preallocating memory failed: cannot start thread 2 of 4: "
                    "no more threads");
    g_assert_cmpuint(prealloc_test_populated(&test), ==, 0);
    prealloc_test_clear(&test);
}

static void test_workers_are_bound(void)
{
    g_autoptr(HmIdset) cpus = hm_idset_new();
    PreallocTest test;

    hm_idset_add(cpus, 0);
    prealloc_test_map_anon(&test, PAGES * 4096);
    prealloc_test_set_chunks(&test, 4);
    test.options.threads = 3;
    test.options.cpus = cpus;
    prealloc_test_succeed(&test);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_SET_AFFINITY), ==, 3);
    prealloc_test_clear(&test);
}

static void test_the_caller_is_never_bound(void)
{
    g_autoptr(HmIdset) cpus = hm_idset_new();
    PreallocTest test;
    GThread *bound = NULL;

    hm_idset_add(cpus, 0);
    prealloc_test_map_anon(&test, PAGES * 4096);
    test.options.cpus = cpus;
    hm_fake_hook(HM_FAKE_SET_AFFINITY, note_thread, &bound);
    prealloc_test_succeed(&test);
    g_assert_nonnull(bound);
    g_assert_true(bound != g_thread_self());
    prealloc_test_clear(&test);
}

static void test_refused_binding_is_no_error(void)
{
    g_autoptr(HmIdset) cpus = hm_idset_new();
    PreallocTest test;

    hm_idset_add(cpus, 0);
    prealloc_test_map_anon(&test, PAGES * 4096);
    test.options.cpus = cpus;
    hm_fake_fail_always(HM_FAKE_SET_AFFINITY, EPERM);
    prealloc_test_succeed(&test);
    prealloc_test_clear(&test);
}

static void test_workers_are_lowered(void)
{
    PreallocTest test;
    HmFakeRecord record;
    GThread *lowered = NULL;

    prealloc_test_map_anon(&test, PAGES * 4096);
    test.options.priority = HM_PRIORITY_IDLE;
    hm_fake_hook(HM_FAKE_LOWER_PRIORITY, note_thread, &lowered);
    prealloc_test_succeed(&test);
    g_assert_true(hm_fake_get_call(HM_FAKE_LOWER_PRIORITY, 1, &record));
    g_assert_cmpint(record.arg, ==, HM_PRIORITY_IDLE);
    g_assert_nonnull(lowered);
    g_assert_true(lowered != g_thread_self());
    prealloc_test_clear(&test);
}

static void test_refused_priority_is_no_error(void)
{
    PreallocTest test;

    prealloc_test_map_anon(&test, PAGES * 4096);
    test.options.priority = HM_PRIORITY_LOW;
    hm_fake_fail_always(HM_FAKE_LOWER_PRIORITY, EPERM);
    prealloc_test_succeed(&test);
    prealloc_test_clear(&test);
}

static gboolean note_mask(guint64 bytes, gpointer data, GError **error)
{
    (void)bytes;
    (void)error;
    pthread_sigmask(SIG_BLOCK, NULL, data);
    return TRUE;
}

static void test_workers_leave_signals_alone(void)
{
    PreallocTest test;
    sigset_t mask;

    prealloc_test_map_anon(&test, PAGES * 4096);
    prealloc_test_set_chunks(&test, 4);
    test.options.threads = 2;
    test.options.room = note_mask;
    test.options.room_data = &mask;
    prealloc_test_succeed(&test);
    g_assert_true(sigismember(&mask, SIGTERM));
    g_assert_true(sigismember(&mask, SIGCHLD));
    g_assert_false(sigismember(&mask, SIGBUS));
    g_assert_false(sigismember(&mask, SIGSEGV));
    prealloc_test_clear(&test);
}

static void add(const char *path, void (*test)(void))
{
    g_test_add_func(path, test);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/prealloc-workers/thread-count-is-obeyed",
        test_thread_count_is_obeyed);
    add("/prealloc-workers/no-more-threads-than-chunks",
        test_no_more_threads_than_chunks);
    add("/prealloc-workers/one-thread-is-the-caller",
        test_one_thread_is_the_caller);
    add("/prealloc-workers/missing-thread-is-an-error",
        test_missing_thread_is_an_error);
    add("/prealloc-workers/workers-are-bound", test_workers_are_bound);
    add("/prealloc-workers/the-caller-is-never-bound",
        test_the_caller_is_never_bound);
    add("/prealloc-workers/refused-binding-is-no-error",
        test_refused_binding_is_no_error);
    add("/prealloc-workers/workers-are-lowered", test_workers_are_lowered);
    add("/prealloc-workers/refused-priority-is-no-error",
        test_refused_priority_is_no_error);
    add("/prealloc-workers/workers-leave-signals-alone",
        test_workers_leave_signals_alone);
    return g_test_run();
}
