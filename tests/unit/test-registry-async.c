/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <hostmem/backend.h>
#include <hostmem/registry.h>
#include "backends/registry-private.h"
#include "object-test.h"
#include "os-fake.h"
#include "util/linux-compat.h"
#include "util/size.h"

#define SIZE HM_TEST_ODD_SIZE
#define RAM  "memory-backend-ram,size=17412K,id="

/* What became of one call. */
typedef struct {
    gboolean done;
    HostmemObject *object;
    GError *error;
    GThread *thread;
} Outcome;

static void outcome_clear(Outcome *outcome)
{
    g_clear_error(&outcome->error);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Outcome, outcome_clear)

static void add_done(GObject *source, GAsyncResult *result, gpointer data)
{
    Outcome *outcome = data;

    g_assert_false(outcome->done);
    outcome->object = hostmem_registry_add_finish(HOSTMEM_REGISTRY(source),
                                                  result, &outcome->error);
    outcome->thread = g_thread_self();
    outcome->done = TRUE;
}

static void remove_done(GObject *source, GAsyncResult *result, gpointer data)
{
    Outcome *outcome = data;

    g_assert_false(outcome->done);
    hostmem_registry_remove_finish(HOSTMEM_REGISTRY(source), result,
                                   &outcome->error);
    outcome->done = TRUE;
}

static void wait_for(const Outcome *outcome)
{
    while (!outcome->done) {
        g_main_context_iteration(NULL, TRUE);
    }
}

static void drain(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

static void assert_cancelled(const Outcome *outcome)
{
    g_assert_error(outcome->error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_nonnull(strstr(outcome->error->message, "was cancelled"));
    g_assert_null(outcome->object);
}

/*
 * A gate in the middle of a population: creation stays there until it is
 * opened, so that nothing depends on who is faster.
 */
typedef struct {
    GMutex lock;
    GCond changed;
    gboolean reached;
    gboolean open;
} Gate;

static gint64 stop_at_gate(const HmFakeRecord *record, gpointer data)
{
    Gate *gate = data;

    if (record->arg != MADV_POPULATE_WRITE) {
        return 0;
    }
    g_mutex_lock(&gate->lock);
    gate->reached = TRUE;
    g_cond_broadcast(&gate->changed);
    while (!gate->open) {
        g_cond_wait(&gate->changed, &gate->lock);
    }
    g_mutex_unlock(&gate->lock);
    return 0;
}

static void gate_set_up(Gate *gate)
{
    memset(gate, 0, sizeof(*gate));
    g_mutex_init(&gate->lock);
    g_cond_init(&gate->changed);
    hm_fake_hook(HM_FAKE_ADVISE, stop_at_gate, gate);
}

static void gate_wait(Gate *gate)
{
    g_mutex_lock(&gate->lock);
    while (!gate->reached) {
        g_cond_wait(&gate->changed, &gate->lock);
    }
    g_mutex_unlock(&gate->lock);
}

static void gate_open(Gate *gate)
{
    g_mutex_lock(&gate->lock);
    gate->open = TRUE;
    g_cond_broadcast(&gate->changed);
    g_mutex_unlock(&gate->lock);
}

/* Stop the creation of "m0" in the middle. */
static void add_up_to_gate(HostmemRegistry *registry, Gate *gate,
                           Outcome *outcome)
{
    gate_set_up(gate);
    hostmem_registry_add_async(registry,
                               RAM "m0,prealloc=on,prealloc-threads=1", NULL,
                               add_done, outcome);
    gate_wait(gate);
}

/* Adding */

static void test_add(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_auto(Outcome) outcome = {0};

    hostmem_registry_add_async(registry, RAM "m0", NULL, add_done, &outcome);
    g_assert_false(outcome.done);
    wait_for(&outcome);
    g_assert_no_error(outcome.error);
    g_assert_true(outcome.thread == g_thread_self());
    g_assert_true(hostmem_registry_lookup(registry, "m0", HOSTMEM_TYPE_BACKEND,
                                          NULL) == outcome.object);
}

static void test_add_json(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    json_auto_t *options =
        json_pack("{ss ss sI}", "qom-type", "memory-backend-ram", "id", "m0",
                  "size", (json_int_t)SIZE);
    g_auto(Outcome) outcome = {0};

    hm_registry_add_json_async(registry, HM_SPEC_OBJECT, options, NULL,
                               add_done, &outcome);
    wait_for(&outcome);
    g_assert_no_error(outcome.error);
}

static void test_add_errors(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_auto(Outcome) bad_option = {0};
    g_auto(Outcome) bad_creation = {0};

    hostmem_registry_add_async(registry, "nosuch,id=m0", NULL, add_done,
                               &bad_option);
    g_assert_false(bad_option.done);
    wait_for(&bad_option);
    g_assert_error(bad_option.error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);

    hm_fake_fail(HM_FAKE_MAP, 1, ENOMEM);
    hostmem_registry_add_async(registry, RAM "m0", NULL, add_done,
                               &bad_creation);
    wait_for(&bad_creation);
    g_assert_error(bad_creation.error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_MEMORY);
    g_assert_null(hostmem_registry_lookup_pending(registry, "m0"));
}

static void test_many_at_once(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_autoptr(GPtrArray) list = NULL;
    Outcome outcomes[16] = {0};

    for (guint i = 0; i < G_N_ELEMENTS(outcomes); i++) {
        g_autofree char *options =
            g_strdup_printf("memory-backend-ram,size=8M,prealloc=on,id=m%u", i);

        hostmem_registry_add_async(registry, options, NULL, add_done,
                                   &outcomes[i]);
    }
    for (guint i = 0; i < G_N_ELEMENTS(outcomes); i++) {
        wait_for(&outcomes[i]);
        g_assert_no_error(outcomes[i].error);
    }
    list = hostmem_registry_list(registry);
    g_assert_cmpuint(list->len, ==, G_N_ELEMENTS(outcomes));
    g_assert_true(g_ptr_array_index(list, 3) == outcomes[3].object);
}

/* Pending objects */

static void test_pending(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_autoptr(GPtrArray) ready = NULL;
    g_autoptr(GPtrArray) pending = NULL;
    g_auto(Outcome) outcome = {0};
    HostmemPreallocReport report;
    HostmemObject *object;
    Gate gate;

    add_up_to_gate(registry, &gate, &outcome);
    object = hostmem_registry_lookup_pending(registry, "m0");
    ready = hostmem_registry_list(registry);
    pending = hostmem_registry_list_pending(registry);
    g_assert_cmpuint(ready->len, ==, 0);
    g_assert_cmpuint(pending->len, ==, 1);
    g_assert_true(g_ptr_array_index(pending, 0) == object);
    g_assert_null(
        hostmem_registry_lookup(registry, "m0", HOSTMEM_TYPE_OBJECT, NULL));
    hostmem_backend_get_report(HOSTMEM_BACKEND(object), &report);
    g_assert_true(report.running);
    g_assert_cmpuint(report.total, ==, SIZE);
    g_assert_null(hostmem_backend_get_host_addr(HOSTMEM_BACKEND(object)));
    hm_test_assert_reads(object, "prealloc", "true");
    hm_test_assert_reads(object, "populated-size", "0");

    gate_open(&gate);
    wait_for(&outcome);
    g_assert_true(outcome.object == object);
    g_assert_null(hostmem_registry_lookup_pending(registry, "m0"));
}

static void test_pending_id_is_taken(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_auto(Outcome) outcome = {0};
    GError *error = NULL;
    Gate gate;

    add_up_to_gate(registry, &gate, &outcome);
    g_assert_null(hostmem_registry_add(registry, RAM "m0", NULL, &error));
    hm_test_assert_error(g_steal_pointer(&error), HOSTMEM_ERROR_EXISTS,
                         "attempt to add duplicate property 'm0'");
    g_assert_false(hostmem_registry_remove(registry, "m0", &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_BUSY,
                         "object 'm0' is still being created");
    gate_open(&gate);
    wait_for(&outcome);
}

static void test_others_go_on(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_auto(Outcome) slow = {0};
    g_auto(Outcome) fast = {0};
    Gate gate;

    add_up_to_gate(registry, &gate, &slow);
    hostmem_registry_add_async(registry, "thread-context,id=tc0", NULL,
                               add_done, &fast);
    wait_for(&fast);
    g_assert_no_error(fast.error);
    g_assert_false(slow.done);
    gate_open(&gate);
    wait_for(&slow);
}

/* Cancelling */

static void test_remove_cancels(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_auto(Outcome) added = {0};
    g_auto(Outcome) removed = {0};
    guint fds = hm_test_count_fds();
    Gate gate;

    add_up_to_gate(registry, &gate, &added);
    hostmem_registry_remove_async(registry, "m0", remove_done, &removed);
    gate_open(&gate);
    wait_for(&removed);
    g_assert_no_error(removed.error);
    g_assert_cmpuint(hm_test_count_mappings(SIZE), ==, 0);
    wait_for(&added);
    assert_cancelled(&added);
    g_assert_cmpuint(hm_test_count_fds(), ==, fds);
    g_assert_nonnull(hostmem_registry_add(registry, RAM "m0", NULL, NULL));
}

/* Creation was faster, but its end has not been seen yet. */
static void test_remove_cancels_what_is_finished(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_auto(Outcome) added = {0};
    g_auto(Outcome) removed = {0};

    hostmem_registry_add_async(registry, RAM "m0", NULL, add_done, &added);
    while (!hm_test_count_mappings(SIZE) ||
           !hostmem_backend_get_host_addr(HOSTMEM_BACKEND(
               hostmem_registry_lookup_pending(registry, "m0")))) {
        g_thread_yield();
    }
    hostmem_registry_remove_async(registry, "m0", remove_done, &removed);
    wait_for(&removed);
    g_assert_no_error(removed.error);
    wait_for(&added);
    assert_cancelled(&added);
    g_assert_cmpuint(hm_test_count_mappings(SIZE), ==, 0);
}

/* Its file goes as well, as after any other creation that fails. */
static void test_cancelling_what_is_finished_removes_its_file(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_autofree char *path = g_build_filename(hm_test_folder(), "m0", NULL);
    g_autofree char *options = g_strdup_printf(
        "memory-backend-file,id=m0,size=2M,share=on,mem-path=%s", path);
    g_auto(Outcome) added = {0};

    hostmem_registry_add_async(registry, options, NULL, add_done, &added);
    while (!hostmem_backend_get_host_addr(
        HOSTMEM_BACKEND(hostmem_registry_lookup_pending(registry, "m0")))) {
        g_thread_yield();
    }
    g_assert_true(g_file_test(path, G_FILE_TEST_EXISTS));
    hostmem_registry_cancel_all(registry);
    wait_for(&added);
    assert_cancelled(&added);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
}

static void test_remove_twice_while_pending(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_auto(Outcome) added = {0};
    g_auto(Outcome) first = {0};
    g_auto(Outcome) second = {0};
    Gate gate;

    add_up_to_gate(registry, &gate, &added);
    hostmem_registry_remove_async(registry, "m0", remove_done, &first);
    hostmem_registry_remove_async(registry, "m0", remove_done, &second);
    wait_for(&second);
    g_assert_error(second.error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND);
    g_assert_cmpstr(second.error->message, ==, "object 'm0' not found");
    gate_open(&gate);
    wait_for(&first);
    g_assert_no_error(first.error);
    wait_for(&added);
}

static void test_cancel_by_caller(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_auto(Outcome) outcome = {0};
    Gate gate;

    gate_set_up(&gate);
    hostmem_registry_add_async(registry,
                               RAM "m0,prealloc=on,prealloc-threads=1",
                               cancellable, add_done, &outcome);
    gate_wait(&gate);
    g_cancellable_cancel(cancellable);
    gate_open(&gate);
    wait_for(&outcome);
    assert_cancelled(&outcome);
    g_assert_cmpuint(hm_test_count_mappings(SIZE), ==, 0);
}

static void test_cancel_all(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_auto(Outcome) outcome = {0};
    Gate gate;

    add_up_to_gate(registry, &gate, &outcome);
    hostmem_registry_cancel_all(registry);
    g_assert_false(outcome.done);
    gate_open(&gate);
    wait_for(&outcome);
    assert_cancelled(&outcome);
}

/* Removing */

static void test_remove(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_auto(Outcome) outcome = {0};

    g_assert_nonnull(hostmem_registry_add(registry, RAM "m0", NULL, NULL));
    hostmem_registry_remove_async(registry, "m0", remove_done, &outcome);
    g_assert_null(
        hostmem_registry_lookup(registry, "m0", HOSTMEM_TYPE_OBJECT, NULL));
    wait_for(&outcome);
    g_assert_no_error(outcome.error);
    g_assert_cmpuint(hm_test_count_mappings(SIZE), ==, 0);
}

static void test_leaving_id_is_taken(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_auto(Outcome) outcome = {0};
    g_auto(Outcome) again = {0};
    GError *error = NULL;

    g_assert_nonnull(hostmem_registry_add(registry, RAM "m0", NULL, NULL));
    hostmem_registry_remove_async(registry, "m0", remove_done, &outcome);
    hostmem_registry_remove_async(registry, "m0", remove_done, &again);
    g_assert_null(hostmem_registry_add(registry, RAM "m0", NULL, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_EXISTS, "duplicate");
    wait_for(&outcome);
    g_assert_no_error(outcome.error);
    wait_for(&again);
    g_assert_error(again.error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND);
    g_assert_nonnull(hostmem_registry_add(registry, RAM "m0", NULL, NULL));
}

static void test_remove_errors(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_auto(Outcome) unknown = {0};
    g_auto(Outcome) held = {0};
    HostmemObject *object =
        hostmem_registry_add(registry, RAM "m0", NULL, NULL);

    hostmem_registry_remove_async(registry, "nosuch", remove_done, &unknown);
    wait_for(&unknown);
    g_assert_error(unknown.error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND);
    g_assert_cmpstr(unknown.error->message, ==, "object 'nosuch' not found");
    hostmem_object_hold(object);
    hostmem_registry_remove_async(registry, "m0", remove_done, &held);
    wait_for(&held);
    g_assert_error(held.error, HOSTMEM_ERROR, HOSTMEM_ERROR_BUSY);
    g_assert_cmpstr(held.error->message, ==,
                    "object 'm0' is in use, can not be deleted");
}

static void test_removed_before_told(void)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    g_auto(Outcome) outcome = {0};

    hostmem_registry_add_async(registry, RAM "m0", NULL, add_done, &outcome);
    while (hostmem_registry_lookup_pending(registry, "m0")) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_false(outcome.done);
    g_assert_true(hostmem_registry_remove(registry, "m0", NULL));
    g_assert_cmpuint(hm_test_count_mappings(SIZE), ==, 0);
    wait_for(&outcome);
    g_assert_error(outcome.error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND);
}

/* Destruction */

static gpointer open_gate(gpointer gate)
{
    gate_open(gate);
    return NULL;
}

static void test_destruction_cancels(void)
{
    HostmemRegistry *registry = hostmem_registry_new();
    g_auto(Outcome) added = {0};
    g_auto(Outcome) removed = {0};
    guint fds = hm_test_count_fds();
    GThread *opener;
    Gate gate;

    add_up_to_gate(registry, &gate, &added);
    hostmem_registry_remove_async(registry, "m0", remove_done, &removed);
    opener = g_thread_new("opener", open_gate, &gate);
    g_object_unref(registry);
    /* Everything is given back, though nobody was told yet. */
    g_assert_cmpuint(hm_test_count_mappings(SIZE), ==, 0);
    g_thread_join(opener);
    wait_for(&added);
    assert_cancelled(&added);
    wait_for(&removed);
    g_assert_no_error(removed.error);
    drain();
    g_assert_cmpuint(hm_test_count_fds(), ==, fds);
}

static void test_destruction_while_leaving(void)
{
    HostmemRegistry *registry = hostmem_registry_new();
    g_auto(Outcome) outcome = {0};

    g_assert_nonnull(hostmem_registry_add(registry, RAM "m0", NULL, NULL));
    hostmem_registry_remove_async(registry, "m0", remove_done, &outcome);
    g_object_unref(registry);
    g_assert_cmpuint(hm_test_count_mappings(SIZE), ==, 0);
    wait_for(&outcome);
    g_assert_no_error(outcome.error);
}

static const HmTest tests[] = {
    {"/registry-async/add", test_add},
    {"/registry-async/add-json", test_add_json},
    {"/registry-async/add-errors", test_add_errors},
    {"/registry-async/many-at-once", test_many_at_once},
    {"/registry-async/pending", test_pending},
    {"/registry-async/pending-id-is-taken", test_pending_id_is_taken},
    {"/registry-async/others-go-on", test_others_go_on},
    {"/registry-async/remove-cancels", test_remove_cancels},
    {"/registry-async/remove-cancels-what-is-finished",
     test_remove_cancels_what_is_finished},
    {"/registry-async/remove-twice-while-pending",
     test_remove_twice_while_pending},
    {"/registry-async/cancelling-what-is-finished-removes-its-file",
     test_cancelling_what_is_finished_removes_its_file},
    {"/registry-async/cancel-by-caller", test_cancel_by_caller},
    {"/registry-async/cancel-all", test_cancel_all},
    {"/registry-async/remove", test_remove},
    {"/registry-async/leaving-id-is-taken", test_leaving_id_is_taken},
    {"/registry-async/remove-errors", test_remove_errors},
    {"/registry-async/removed-before-told", test_removed_before_told},
    {"/registry-async/destruction-cancels", test_destruction_cancels},
    {"/registry-async/destruction-while-leaving",
     test_destruction_while_leaving},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
