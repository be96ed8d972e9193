/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <hostmem/thread-context.h>
#include "object-test.h"
#include "os-fake.h"
#include "util/size.h"

static HostmemThreadContext *try_make(const char *property, const char *value,
                                      GError **error)
{
    return g_initable_new(HOSTMEM_TYPE_THREAD_CONTEXT, NULL, error, "id", "tc0",
                          property, value, NULL);
}

static HostmemThreadContext *make(const char *property, const char *value)
{
    g_autoptr(GError) error = NULL;
    HostmemThreadContext *context = try_make(property, value, &error);

    g_assert_no_error(error);
    return context;
}

static void assert_make_fails(const char *property, const char *value,
                              gint code, const char *message)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(try_make(property, value, &error));
    g_assert_error(error, HOSTMEM_ERROR, code);
    g_assert_cmpstr(error->message, ==, message);
}

/* The affinity of the calling thread; (transfer full). */
static char *own_affinity(void)
{
    g_autoptr(HmIdset) cpus = hm_idset_new();

    g_assert_cmpint(hm_os_get_affinity(0, cpus), ==, 0);
    return hm_idset_to_string(cpus);
}

static gpointer affinity_main(gpointer data G_GNUC_UNUSED)
{
    return own_affinity();
}

static gpointer nothing_main(gpointer data)
{
    return data;
}

static char *spawned_affinity(HostmemThreadContext *context)
{
    g_autoptr(GError) error = NULL;
    GThread *thread = hostmem_thread_context_spawn(context, "worker",
                                                   affinity_main, NULL, &error);

    g_assert_no_error(error);
    return g_thread_join(thread);
}

/* A CPU that this process may really use. */
static char *one_cpu(void)
{
    g_autoptr(HmIdset) cpus = hm_idset_new();
    guint cpu;

    g_assert_cmpint(hm_os_get_affinity(0, cpus), ==, 0);
    g_assert_true(hm_idset_next(cpus, 0, &cpu));
    return g_strdup_printf("%u", cpu);
}

/* Spawning */

static void test_spawn_runs(void)
{
    g_autoptr(HostmemThreadContext) context = make("cpu-affinity", NULL);
    int answer = 42;
    GThread *thread = hostmem_thread_context_spawn(context, "worker",
                                                   nothing_main, &answer, NULL);

    g_assert_true(g_thread_join(thread) == &answer);
}

static void test_spawn_keeps_affinity(void)
{
    g_autoptr(HostmemThreadContext) context = make("cpu-affinity", NULL);
    g_autofree char *own = own_affinity();
    g_autofree char *spawned = spawned_affinity(context);

    g_assert_cmpstr(spawned, ==, own);
}

static void test_spawn_inherits(void)
{
    g_autofree char *cpu = one_cpu();
    g_autoptr(HostmemThreadContext) context = make("cpu-affinity", cpu);
    g_autofree char *before = own_affinity();
    g_autofree char *spawned = spawned_affinity(context);
    g_autofree char *after = own_affinity();

    g_assert_cmpstr(spawned, ==, cpu);
    g_assert_cmpstr(after, ==, before);
}

static void test_spawn_follows_change(void)
{
    g_autoptr(HostmemThreadContext) context = make("cpu-affinity", NULL);
    g_autofree char *cpu = one_cpu();
    g_autofree char *spawned = NULL;

    hm_test_assert_set(context, "cpu-affinity", cpu);
    spawned = spawned_affinity(context);
    g_assert_cmpstr(spawned, ==, cpu);
}

static gpointer spawn_many(gpointer context)
{
    for (int i = 0; i < 20; i++) {
        GThread *thread = hostmem_thread_context_spawn(
            context, "worker", nothing_main, context, NULL);

        g_assert_true(g_thread_join(thread) == context);
    }
    return NULL;
}

static void test_spawn_from_threads(void)
{
    g_autoptr(HostmemThreadContext) context = make("cpu-affinity", NULL);
    GThread *threads[4];

    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++) {
        threads[i] = g_thread_new("spawner", spawn_many, context);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++) {
        g_thread_join(threads[i]);
    }
}

static gboolean blocks_sigusr1(void)
{
    sigset_t mask;

    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    return sigismember(&mask, SIGUSR1);
}

static gpointer blocks_sigusr1_main(gpointer data)
{
    *(gboolean *)data = blocks_sigusr1();
    return NULL;
}

static void test_spawn_inherits_signal_mask(void)
{
    g_autoptr(HostmemThreadContext) context = make("cpu-affinity", NULL);
    gboolean blocks = TRUE;
    sigset_t mask;

    g_thread_join(hostmem_thread_context_spawn(
        context, "worker", blocks_sigusr1_main, &blocks, NULL));
    g_assert_false(blocks);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &mask, NULL);
    g_thread_join(hostmem_thread_context_spawn(
        context, "worker", blocks_sigusr1_main, &blocks, NULL));
    pthread_sigmask(SIG_UNBLOCK, &mask, NULL);
    g_assert_true(blocks);
}

/* Properties */

static void test_thread_id(void)
{
    g_autoptr(HostmemThreadContext) context = make("cpu-affinity", NULL);
    pid_t tid = hostmem_thread_context_get_thread_id(context);
    g_autofree char *folder = g_strdup_printf("/proc/self/task/%d", (int)tid);
    g_autofree char *text = g_strdup_printf("%d", (int)tid);

    g_assert_true(g_file_test(folder, G_FILE_TEST_IS_DIR));
    g_assert_cmpint(tid, !=, hm_os_thread_id());
    hm_test_assert_reads(context, "thread-id", text);
}

static void test_thread_ends(void)
{
    HostmemThreadContext *context = make("cpu-affinity", NULL);
    pid_t tid = hostmem_thread_context_get_thread_id(context);
    g_autofree char *folder = g_strdup_printf("/proc/self/task/%d", (int)tid);

    g_object_unref(context);
    /* Joined: the kernel drops its folder a moment after it wakes us. */
    while (g_file_test(folder, G_FILE_TEST_IS_DIR)) {
        g_thread_yield();
    }
}

static void test_cpu_affinity(void)
{
    g_autoptr(HostmemThreadContext) context = NULL;

    hm_fake_set_nodes(4, 2, HM_GIB);
    context = make("cpu-affinity", "1,4-5");
    hm_test_assert_reads(context, "cpu-affinity", "[1,4,5]");
}

static void test_cpu_affinity_is_live(void)
{
    g_autoptr(HostmemThreadContext) context = NULL;
    g_autoptr(HmIdset) cpus = hm_idset_new();

    hm_fake_set_nodes(4, 2, HM_GIB);
    context = make("cpu-affinity", "0-1");
    hm_idset_add(cpus, 3);
    hm_os_set_affinity(hostmem_thread_context_get_thread_id(context), cpus);
    hm_test_assert_reads(context, "cpu-affinity", "[3]");
}

static void test_node_affinity(void)
{
    g_autoptr(HostmemThreadContext) context = NULL;

    hm_fake_set_nodes(4, 2, HM_GIB);
    context = make("node-affinity", "1,3");
    hm_test_assert_reads(context, "cpu-affinity", "[2,3,6,7]");
    hm_test_assert_set(context, "node-affinity", "0");
    hm_test_assert_reads(context, "cpu-affinity", "[0,1]");
}

static void test_unknown_nodes_are_skipped(void)
{
    g_autoptr(HostmemThreadContext) context = NULL;

    hm_fake_set_nodes(2, 2, HM_GIB);
    context = make("node-affinity", "1,7");
    hm_test_assert_reads(context, "cpu-affinity", "[2,3]");
}

static void test_node_affinity_is_write_only(void)
{
    g_autoptr(HostmemThreadContext) context = make("cpu-affinity", NULL);
    g_autoptr(GError) error = NULL;

    g_assert_null(
        hostmem_object_get(HOSTMEM_OBJECT(context), "node-affinity", &error));
    g_assert_cmpstr(error->message, ==,
                    "Property 'thread-context.node-affinity' is not readable");
}

/* Failures */

static void test_creation_errors(void)
{
    hm_fake_set_nodes(2, 2, HM_GIB);
    assert_make_fails("cpu-affinity", "", HOSTMEM_ERROR_INVALID,
                      "CPU list is empty");
    assert_make_fails("node-affinity", "", HOSTMEM_ERROR_INVALID,
                      "Node list is empty");
    assert_make_fails("node-affinity", "7", HOSTMEM_ERROR_INVALID,
                      "The nodes select no CPUs");
    assert_make_fails("cpu-affinity", "63", HOSTMEM_ERROR_INVALID,
                      "Setting CPU affinity failed: Invalid argument");
}

static void test_mixing(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(g_initable_new(HOSTMEM_TYPE_THREAD_CONTEXT, NULL, &error,
                                 "cpu-affinity", "0", "node-affinity", "0",
                                 NULL));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    g_assert_cmpstr(error->message, ==,
                    "Mixing CPU and node affinity not supported");
}

static void test_no_permission(void)
{
    hm_fake_fail(HM_FAKE_SET_AFFINITY, 1, EPERM);
    assert_make_fails("cpu-affinity", "0", HOSTMEM_ERROR_PERMISSION,
                      "Setting CPU affinity failed: Operation not permitted");
}

static void test_change_fails(void)
{
    g_autoptr(HostmemThreadContext) context = NULL;

    hm_fake_set_nodes(2, 2, HM_GIB);
    context = make("cpu-affinity", "1");
    hm_test_assert_set_fails(context, "cpu-affinity", "63",
                             HOSTMEM_ERROR_INVALID,
                             "Setting CPU affinity failed: Invalid argument");
}

static void test_cancelled(void)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GError) error = NULL;

    g_cancellable_cancel(cancellable);
    g_assert_null(
        g_initable_new(HOSTMEM_TYPE_THREAD_CONTEXT, cancellable, &error, NULL));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

static const HmTest tests[] = {
    {"/thread-context/spawn-runs", test_spawn_runs},
    {"/thread-context/spawn-keeps-affinity", test_spawn_keeps_affinity},
    {"/thread-context/spawn-inherits", test_spawn_inherits},
    {"/thread-context/spawn-follows-change", test_spawn_follows_change},
    {"/thread-context/spawn-from-threads", test_spawn_from_threads},
    {"/thread-context/spawn-inherits-signal-mask",
     test_spawn_inherits_signal_mask},
    {"/thread-context/thread-id", test_thread_id},
    {"/thread-context/thread-ends", test_thread_ends},
    {"/thread-context/cpu-affinity", test_cpu_affinity},
    {"/thread-context/cpu-affinity-is-live", test_cpu_affinity_is_live},
    {"/thread-context/node-affinity", test_node_affinity},
    {"/thread-context/unknown-nodes-are-skipped",
     test_unknown_nodes_are_skipped},
    {"/thread-context/node-affinity-is-write-only",
     test_node_affinity_is_write_only},
    {"/thread-context/creation-errors", test_creation_errors},
    {"/thread-context/mixing", test_mixing},
    {"/thread-context/no-permission", test_no_permission},
    {"/thread-context/change-fails", test_change_fails},
    {"/thread-context/cancelled", test_cancelled},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
