/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>
#include <hostmem/backend.h>
#include <hostmem/registry.h>
#include "backends/registry-entry.h"
#include "object-test.h"
#include "os-fake.h"
#include "util/linux-compat.h"
#include "util/os.h"
#include "util/size.h"

#define SIZE         HM_TEST_ODD_SIZE
#define RAM(id)      "memory-backend-ram,size=17412K,thp=off,id=" id
#define POPULATE(id) RAM(id) ",prealloc=on,prealloc-threads=1"

typedef struct {
    HostmemRegistry *registry;
    GString *news; /* "m0 m1": in the order of "added" */
    gboolean done;
    gboolean ok;
    guint failed;
    GError *error;
} Fixture;

static void on_added(HostmemRegistry *registry G_GNUC_UNUSED,
                     HostmemObject *object, gpointer data)
{
    Fixture *fixture = data;

    g_string_append_printf(fixture->news, "%s%s", fixture->news->len ? " " : "",
                           hostmem_object_get_id(object));
}

static void set_up(Fixture *fixture)
{
    *fixture = (Fixture){
        .registry = hostmem_registry_new(),
        .news = g_string_new(NULL),
    };
    g_signal_connect(fixture->registry, "added", G_CALLBACK(on_added), fixture);
}

static void tear_down(Fixture *fixture)
{
    g_clear_object(&fixture->registry);
    while (g_main_context_iteration(NULL, FALSE)) {
    }
    g_clear_error(&fixture->error);
    g_string_free(fixture->news, TRUE);
    g_assert_cmpuint(hm_test_count_mappings(SIZE), ==, 0);
}

static gboolean add(Fixture *fixture, const char *const *options)
{
    return hostmem_registry_add_batch(fixture->registry, options, NULL,
                                      &fixture->failed, &fixture->error);
}

static void assert_failed(const Fixture *fixture, guint failed, gint code,
                          const char *part)
{
    g_autoptr(GPtrArray) pending =
        hostmem_registry_list_pending(fixture->registry);
    g_autoptr(GPtrArray) ready = hostmem_registry_list(fixture->registry);

    g_assert_cmpuint(fixture->failed, ==, failed);
    hm_test_assert_error(g_error_copy(fixture->error), code, part);
    g_assert_cmpuint(pending->len + ready->len, ==, 0);
    g_assert_cmpstr(fixture->news->str, ==, "");
    g_assert_cmpuint(hm_test_count_mappings(SIZE), ==, 0);
}

static HostmemBackend *find(const Fixture *fixture, const char *id)
{
    return hostmem_registry_lookup(fixture->registry, id, HOSTMEM_TYPE_BACKEND,
                                   NULL);
}

/* Together */

static void test_all_become_ready(void)
{
    static const char *const lines[] = {POPULATE("a"), RAM("b"), POPULATE("c"),
                                        NULL};
    HostmemPreallocReport report;
    Fixture fixture;

    set_up(&fixture);
    g_assert_true(add(&fixture, lines));
    g_assert_cmpstr(fixture.news->str, ==, "a b c");
    g_assert_cmpuint(hostmem_backend_get_populated_size(find(&fixture, "a")),
                     ==, SIZE);
    g_assert_cmpuint(hostmem_backend_get_populated_size(find(&fixture, "b")),
                     ==, 0);
    hostmem_backend_get_report(find(&fixture, "c"), &report);
    g_assert_cmpuint(report.done, ==, SIZE);
    g_assert_cmpuint(report.threads, ==, 1);
    g_assert_cmpstr(report.method, ==, "populate-write");
    tear_down(&fixture);
}

static void test_nothing_is_ready_at_once(void)
{
    static const char *const lines[] = {NULL};
    Fixture fixture;

    set_up(&fixture);
    g_assert_true(add(&fixture, lines));
    tear_down(&fixture);
}

static void test_link_to_an_earlier_one(void)
{
    static const char *const lines[] = {
        "thread-context,id=tc", POPULATE("a") ",prealloc-context=tc", NULL};
    Fixture fixture;

    set_up(&fixture);
    g_assert_true(add(&fixture, lines));
    hm_test_assert_reads(find(&fixture, "a"), "prealloc-context",
                         "\"/objects/tc\"");
    tear_down(&fixture);
}

static void test_link_to_a_later_one(void)
{
    static const char *const lines[] = {POPULATE("a") ",prealloc-context=tc",
                                        "thread-context,id=tc", NULL};
    Fixture fixture;

    set_up(&fixture);
    g_assert_false(add(&fixture, lines));
    assert_failed(&fixture, 0, HOSTMEM_ERROR_NOT_FOUND, "'tc' not found");
    tear_down(&fixture);
}

static void test_jobs_follow(void)
{
    static const char *const lines[] = {POPULATE("a") ",prealloc-async=on",
                                        POPULATE("b"), NULL};
    g_autoptr(HostmemJob) job = NULL;
    Fixture fixture;

    set_up(&fixture);
    g_assert_true(add(&fixture, lines));
    job = hostmem_backend_get_job(find(&fixture, "a"));
    g_assert_nonnull(job);
    g_assert_cmpuint(hostmem_backend_get_populated_size(find(&fixture, "b")),
                     ==, SIZE);
    tear_down(&fixture);
    g_assert_cmpint(hostmem_job_get_status(job), ==, HOSTMEM_JOB_NULL);
}

static gint64 pass_time(const HmFakeRecord *record, gpointer data G_GNUC_UNUSED)
{
    if (record->arg == MADV_POPULATE_WRITE) {
        hm_fake_set_now(10 * G_USEC_PER_SEC);
    }
    return 0;
}

static void test_deadline_is_no_failure(void)
{
    static const char *const lines[] = {POPULATE("a") ",prealloc-deadline=5",
                                        POPULATE("b"), NULL};
    Fixture fixture;

    set_up(&fixture);
    hm_fake_set_now(0);
    hm_fake_hook(HM_FAKE_ADVISE, pass_time, NULL);
    g_assert_true(add(&fixture, lines));
    hm_test_assert_reads(find(&fixture, "a"), "prealloc", "false");
    hm_test_assert_reads(find(&fixture, "b"), "prealloc", "true");
    g_assert_cmpuint(hostmem_backend_get_populated_size(find(&fixture, "b")),
                     ==, SIZE);
    tear_down(&fixture);
}

/* Or none */

static void test_lines_are_checked_first(void)
{
    static const char *const lines[] = {
        RAM("a"), "memory-backend-ram,id=b,size=0,colour=red", NULL};
    Fixture fixture;

    set_up(&fixture);
    hm_fake_fail_always(HM_FAKE_MAP, ENOMEM);
    g_assert_false(add(&fixture, lines));
    assert_failed(&fixture, 1, HOSTMEM_ERROR_INVALID, "colour");
    tear_down(&fixture);
}

static void test_id_twice(void)
{
    static const char *const lines[] = {RAM("a"), RAM("a"), NULL};
    Fixture fixture;

    set_up(&fixture);
    g_assert_false(add(&fixture, lines));
    assert_failed(&fixture, 1, HOSTMEM_ERROR_EXISTS, "'a'");
    tear_down(&fixture);
}

static void test_one_that_cannot_be_made(void)
{
    static const char *const lines[] = {POPULATE("a"), POPULATE("b"),
                                        POPULATE("c"), NULL};
    Fixture fixture;

    set_up(&fixture);
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 1, EIO); /* is never reached */
    hm_fake_fail(HM_FAKE_MAP, 3, ENOMEM);
    g_assert_false(add(&fixture, lines));
    g_assert_cmpuint(hm_fake_count_advice(MADV_POPULATE_WRITE), ==, 0);
    assert_failed(&fixture, 1, HOSTMEM_ERROR_NO_MEMORY, "");
    tear_down(&fixture);
}

static void test_one_that_cannot_be_populated(void)
{
    static const char *const lines[] = {
        POPULATE("a"), RAM("b"), POPULATE("c") ",prealloc-state=readable",
        "thread-context,id=tc", NULL};
    Fixture fixture;

    set_up(&fixture);
    hm_fake_fail_advice(MADV_POPULATE_READ, 3, EIO);
    g_assert_false(add(&fixture, lines));
    assert_failed(&fixture, 2, HOSTMEM_ERROR_SYSTEM, "populate-read");
    hm_fake_reset();
    g_clear_error(&fixture.error);
    g_assert_true(add(&fixture, lines));
    g_assert_cmpstr(fixture.news->str, ==, "a b c tc");
    tear_down(&fixture);
}

/* Its holes are empty again, although it was done. */
static void test_file_of_another_is_as_before(void)
{
    g_autofree char *path = g_build_filename(hm_test_folder(), "f", NULL);
    g_autofree char *line =
        g_strdup_printf("memory-backend-file,id=a,size=8M,share=on,prealloc=on,"
                        "prealloc-threads=1,mem-path=%s",
                        path);
    const char *const lines[] = {line, POPULATE("b") ",prealloc-state=readable",
                                 NULL};
    struct stat st;
    Fixture fixture;

    set_up(&fixture);
    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    g_assert_cmpint(truncate(path, 8 * HM_MIB), ==, 0);
    hm_fake_fail_advice(MADV_POPULATE_READ, 2, EIO);
    g_assert_false(add(&fixture, lines));
    assert_failed(&fixture, 1, HOSTMEM_ERROR_SYSTEM, "populate-read");
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_blocks, ==, 0);
    tear_down(&fixture);
}

/* Nodes */

typedef struct {
    GMutex lock;
    GCond moved;
    GPtrArray *chunks; /* addresses, in order */
} Chunks;

/* The very first waits a little for whoever may go before it: nobody, when it
 * has the only CPU. */
static gint64 note_chunk(const HmFakeRecord *record, gpointer data)
{
    const gint64 until = g_get_monotonic_time() + G_USEC_PER_SEC / 5;
    Chunks *seen = data;
    gboolean in_time = TRUE;

    if (record->arg == MADV_POPULATE_WRITE) {
        g_mutex_lock(&seen->lock);
        g_ptr_array_add(seen->chunks, (gpointer)record->addr);
        g_cond_broadcast(&seen->moved);
        while (in_time && seen->chunks->len < 2) {
            in_time = g_cond_wait_until(&seen->moved, &seen->lock, until);
        }
        g_mutex_unlock(&seen->lock);
    }
    return 0;
}

static gboolean is_of(const Fixture *fixture, const char *id, gpointer addr)
{
    guint8 *start = hostmem_backend_get_host_addr(find(fixture, id));

    return (guint8 *)addr >= start && (guint8 *)addr < start + SIZE;
}

/* One CPU, of node 0: its own memory first, whoever was there first. */
static void test_local_node_goes_first(void)
{
    static const char *const lines[] = {
        POPULATE("far") ",host-nodes=2,policy=bind",
        POPULATE("near") ",host-nodes=0,policy=bind", NULL};
    g_autoptr(GPtrArray) addrs = g_ptr_array_new();
    g_autoptr(HmIdset) cpu = hm_idset_parse("0", NULL);
    Chunks seen = {.chunks = addrs};
    guint early = 0;
    guint near = 0;
    Fixture fixture;

    set_up(&fixture);
    hm_fake_set_nodes(4, 2, 8 * HM_GIB);
    g_assert_cmpint(hm_os_set_affinity(0, cpu), ==, 0);
    hm_fake_hook(HM_FAKE_ADVISE, note_chunk, &seen);
    g_assert_true(add(&fixture, lines));
    for (guint i = 0; i < addrs->len; i++) {
        gboolean is_near = is_of(&fixture, "near", addrs->pdata[i]);

        near += is_near;
        early += !is_near && near < addrs->len / 2;
    }
    g_assert_cmpuint(near, ==, addrs->len / 2);
    g_assert_cmpuint(early, <=, 1);
    hm_fake_reset();
    tear_down(&fixture);
}

/* Without waiting */

static void on_done(GObject *source, GAsyncResult *result, gpointer data)
{
    Fixture *fixture = data;

    g_assert_false(fixture->done);
    fixture->ok = hostmem_registry_add_batch_finish(
        HOSTMEM_REGISTRY(source), result, &fixture->failed, &fixture->error);
    fixture->done = TRUE;
}

static void wait_until_done(const Fixture *fixture)
{
    while (!fixture->done) {
        g_main_context_iteration(NULL, TRUE);
    }
}

/* Populating stops here until somebody cancels. */
typedef struct {
    gint reached;              /* atomic */
    GCancellable *cancellable; /* atomic, owned: of the batch */
} Gate;

static gint64 wait_for_cancel(const HmFakeRecord *record, gpointer data)
{
    Gate *gate = data;

    if (record->arg != MADV_POPULATE_WRITE) {
        return 0;
    }
    g_atomic_int_set(&gate->reached, TRUE);
    while (
        !g_cancellable_is_cancelled(g_atomic_pointer_get(&gate->cancellable))) {
        g_usleep(100);
    }
    return 0;
}

static void start_slowly(Fixture *fixture, GCancellable *cancellable,
                         Gate *gate)
{
    static const char *const lines[] = {POPULATE("a"), POPULATE("b"), NULL};
    const HmEntry *first;

    *gate = (Gate){FALSE, NULL};
    hm_fake_hook(HM_FAKE_ADVISE, wait_for_cancel, gate);
    hostmem_registry_add_batch_async(fixture->registry, lines, cancellable,
                                     on_done, fixture);
    first = g_ptr_array_index(fixture->registry->entries, 0);
    g_atomic_pointer_set(&gate->cancellable, g_object_ref(first->cancellable));
    while (!g_atomic_int_get(&gate->reached)) {
        g_usleep(100);
    }
}

static void gate_clear(Gate *gate)
{
    hm_fake_hook(HM_FAKE_ADVISE, NULL, NULL);
    g_object_unref(gate->cancellable);
}

static void assert_cancelled(const Fixture *fixture)
{
    g_autoptr(GPtrArray) ready = hostmem_registry_list(fixture->registry);

    g_assert_false(fixture->ok);
    g_assert_error(fixture->error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_cmpuint(ready->len, ==, 0);
}

static void test_async(void)
{
    static const char *const lines[] = {POPULATE("a"), POPULATE("b"), NULL};
    Fixture fixture;

    set_up(&fixture);
    hostmem_registry_add_batch_async(fixture.registry, lines, NULL, on_done,
                                     &fixture);
    g_assert_nonnull(hostmem_registry_lookup_pending(fixture.registry, "b"));
    wait_until_done(&fixture);
    g_assert_no_error(fixture.error);
    g_assert_true(fixture.ok);
    g_assert_cmpstr(fixture.news->str, ==, "a b");
    tear_down(&fixture);
}

static void test_async_error(void)
{
    static const char *const lines[] = {RAM("a"), "colour", NULL};
    Fixture fixture;

    set_up(&fixture);
    hostmem_registry_add_batch_async(fixture.registry, lines, NULL, on_done,
                                     &fixture);
    g_assert_false(fixture.done);
    wait_until_done(&fixture);
    assert_failed(&fixture, 1, HOSTMEM_ERROR_INVALID, "colour");
    tear_down(&fixture);
}

static void test_cancel_by_caller(void)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    Fixture fixture;
    Gate gate;

    set_up(&fixture);
    start_slowly(&fixture, cancellable, &gate);
    g_cancellable_cancel(cancellable);
    wait_until_done(&fixture);
    assert_cancelled(&fixture);
    gate_clear(&gate);
    tear_down(&fixture);
}

static void cancel_all(HostmemRegistry *registry,
                       HostmemObject *object G_GNUC_UNUSED, gpointer data)
{
    g_cancellable_cancel(data);
    hostmem_registry_cancel_all(registry);
}

/* Not some of them: the caller is told that all are there. */
static void test_cancel_after_the_first_is_ready(void)
{
    static const char *const lines[] = {RAM("a"), RAM("b"), NULL};
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    Fixture fixture;

    set_up(&fixture);
    g_signal_connect(fixture.registry, "added", G_CALLBACK(cancel_all),
                     cancellable);
    hostmem_registry_add_batch_async(fixture.registry, lines, cancellable,
                                     on_done, &fixture);
    wait_until_done(&fixture);
    g_assert_no_error(fixture.error);
    g_assert_nonnull(find(&fixture, "a"));
    g_assert_nonnull(find(&fixture, "b"));
    tear_down(&fixture);
}

static void on_removed(GObject *source, GAsyncResult *result, gpointer data)
{
    hostmem_registry_remove_finish(HOSTMEM_REGISTRY(source), result, NULL);
    *(gboolean *)data = TRUE;
}

static void test_removing_one_cancels_all(void)
{
    gboolean removed = FALSE;
    Fixture fixture;
    Gate gate;

    set_up(&fixture);
    start_slowly(&fixture, NULL, &gate);
    hostmem_registry_remove_async(fixture.registry, "b", on_removed, &removed);
    wait_until_done(&fixture);
    while (!removed) {
        g_main_context_iteration(NULL, TRUE);
    }
    assert_cancelled(&fixture);
    gate_clear(&gate);
    tear_down(&fixture);
}

static void test_destruction_cancels(void)
{
    Fixture fixture;
    Gate gate;

    set_up(&fixture);
    start_slowly(&fixture, NULL, &gate);
    g_clear_object(&fixture.registry);
    wait_until_done(&fixture);
    g_assert_error(fixture.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    gate_clear(&gate);
    tear_down(&fixture);
}

static const HmTest tests[] = {
    {"/registry-batch/all-become-ready", test_all_become_ready},
    {"/registry-batch/nothing-is-ready-at-once", test_nothing_is_ready_at_once},
    {"/registry-batch/link-to-an-earlier-one", test_link_to_an_earlier_one},
    {"/registry-batch/link-to-a-later-one", test_link_to_a_later_one},
    {"/registry-batch/jobs-follow", test_jobs_follow},
    {"/registry-batch/deadline-is-no-failure", test_deadline_is_no_failure},
    {"/registry-batch/lines-are-checked-first", test_lines_are_checked_first},
    {"/registry-batch/id-twice", test_id_twice},
    {"/registry-batch/one-that-cannot-be-made", test_one_that_cannot_be_made},
    {"/registry-batch/one-that-cannot-be-populated",
     test_one_that_cannot_be_populated},
    {"/registry-batch/file-of-another-is-as-before",
     test_file_of_another_is_as_before},
    {"/registry-batch/local-node-goes-first", test_local_node_goes_first},
    {"/registry-batch/async", test_async},
    {"/registry-batch/async-error", test_async_error},
    {"/registry-batch/cancel-by-caller", test_cancel_by_caller},
    {"/registry-batch/cancel-after-the-first-is-ready",
     test_cancel_after_the_first_is_ready},
    {"/registry-batch/removing-one-cancels-all", test_removing_one_cancels_all},
    {"/registry-batch/destruction-cancels", test_destruction_cancels},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
