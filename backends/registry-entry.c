/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * The table belongs to one thread.  What takes long, creation and the freeing
 * of memory, runs in a thread of its own that knows one entry, and nothing
 * else of the registry.  Its last act is to attach a source to the registry's
 * main context; there the thread is joined and the entry goes on:
 *
 *             add               removal
 *     CREATING ----> READY ----------------> LEAVING ----> gone
 *        |  failed                              ^
 *        |-------------------> gone             |
 *        `--------------------------------------'
 *           cancelled, but creation was faster
 *
 * An id is taken as long as its entry is there.  Entries hold no reference to
 * the registry: it can go at any time, and then waits for their threads.
 */
#include "backends/registry-entry.h"
#include "util/thread.h"

static gboolean entry_done(gpointer data);

/* Entries */

HmEntry *hm_entry_new(HostmemRegistry *registry, const HmObjectSpec *spec)
{
    HmEntry *entry = g_new0(HmEntry, 1);

    entry->registry = registry;
    entry->id = g_strdup(hm_object_spec_get_id(spec));
    entry->object = hm_object_spec_instantiate(spec);
    hm_object_set_jobs(entry->object, registry->jobs);
    entry->cancellable = g_cancellable_new();
    entry->removals = g_array_new(FALSE, FALSE, sizeof(HmWaiter));
    g_hash_table_insert(registry->by_id, entry->id, entry);
    g_ptr_array_add(registry->entries, entry);
    return entry;
}

void hm_entry_free(gpointer data)
{
    HmEntry *entry = data;

    g_clear_object(&entry->object);
    g_object_unref(entry->cancellable);
    g_clear_error(&entry->error);
    g_array_unref(entry->removals);
    g_free(entry->id);
    g_free(entry);
}

void hm_entry_drop(HmEntry *entry)
{
    HostmemRegistry *registry = entry->registry;

    g_hash_table_remove(registry->by_id, entry->id);
    g_ptr_array_remove(registry->entries, entry);
}

/* Answers */

/* Tasks answer in the registry's context, wherever the caller is. */
GTask *hm_registry_new_task(HostmemRegistry *self, const HmWaiter *waiter,
                            gpointer tag)
{
    GTask *task;

    g_main_context_push_thread_default(self->context);
    task = g_task_new(self, NULL, waiter->callback, waiter->data);
    g_main_context_pop_thread_default(self->context);
    g_task_set_source_tag(task, tag);
    return task;
}

static void answer_add(HmEntry *entry, GError *error)
{
    g_autoptr(GTask) task = NULL;

    if (!entry->add_waits) {
        g_clear_error(&error);
        return;
    }
    entry->add_waits = FALSE;
    task = hm_registry_new_task(entry->registry, &entry->add,
                                hostmem_registry_add_async);
    if (error) {
        g_task_return_error(task, error);
    } else {
        /* The id, not the object: a reference would keep its memory. */
        g_task_return_pointer(task, g_strdup(entry->id), g_free);
    }
}

static void answer_removals(HmEntry *entry)
{
    for (guint i = 0; i < entry->removals->len; i++) {
        const HmWaiter *waiter = &g_array_index(entry->removals, HmWaiter, i);
        g_autoptr(GTask) task = hm_registry_new_task(
            entry->registry, waiter, hostmem_registry_remove_async);

        g_task_return_boolean(task, TRUE);
    }
}

/* Threads */

/* The last thing that a thread does; the entry is not its own any more. */
static gpointer hand_back(HmEntry *entry)
{
    g_source_attach(entry->done, entry->registry->context);
    return NULL;
}

static gpointer create_main(gpointer data)
{
    HmEntry *entry = data;

    g_initable_init(G_INITABLE(entry->object), entry->cancellable,
                    &entry->error);
    return hand_back(entry);
}

static gpointer leave_main(gpointer data)
{
    HmEntry *entry = data;

    g_clear_object(&entry->object);
    return hand_back(entry);
}

static gboolean start_thread(HmEntry *entry, const char *name, GThreadFunc func,
                             GError **error)
{
    g_autoptr(GSource) done = g_idle_source_new();

    g_source_set_priority(done, G_PRIORITY_DEFAULT);
    g_source_set_callback(done, entry_done, entry, NULL);
    entry->done = g_source_ref(done);
    entry->thread = hm_thread_new(name, func, entry, error);
    return entry->thread != NULL;
}

static void join_thread(HmEntry *entry)
{
    g_clear_pointer(&entry->thread, g_thread_join);
    g_source_destroy(entry->done);
    g_clear_pointer(&entry->done, g_source_unref);
}

/* Unmapping may take long; without a thread it blocks us, which still works. */
static void entry_leave(HmEntry *entry)
{
    entry->state = HM_ENTRY_LEAVING;
    if (!start_thread(entry, "hostmem-remove", leave_main, NULL)) {
        leave_main(entry);
    }
}

static GError *cancelled_error(const HmEntry *entry)
{
    return g_error_new(G_IO_ERROR, G_IO_ERROR_CANCELLED,
                       "creation of object '%s' was cancelled", entry->id);
}

static void entry_ready(HmEntry *entry)
{
    entry->state = HM_ENTRY_READY;
    answer_add(entry, NULL);
    g_signal_emit_by_name(entry->registry, "added", entry->object);
}

static void entry_failed(HmEntry *entry)
{
    GError *error = g_steal_pointer(&entry->error);

    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
        g_error_free(error);
        error = cancelled_error(entry);
    }
    answer_add(entry, error);
    answer_removals(entry);
    hm_entry_drop(entry);
}

static void creation_done(HmEntry *entry)
{
    if (entry->outer) {
        g_cancellable_disconnect(entry->outer, entry->outer_handler);
        g_clear_object(&entry->outer);
    }
    if (entry->error) {
        entry_failed(entry);
    } else if (g_cancellable_is_cancelled(entry->cancellable)) {
        hm_object_abandon(entry->object);
        entry_leave(entry);
    } else {
        entry_ready(entry);
    }
}

static void leaving_done(HmEntry *entry)
{
    answer_add(entry, cancelled_error(entry));
    answer_removals(entry);
    hm_entry_drop(entry);
}

void hm_entry_settle(HmEntry *entry)
{
    join_thread(entry);
    if (entry->state == HM_ENTRY_CREATING) {
        creation_done(entry);
    } else {
        leaving_done(entry);
    }
}

static gboolean entry_done(gpointer data)
{
    hm_entry_settle(data);
    return G_SOURCE_REMOVE;
}

/* Adding */

gboolean hm_entry_create(HmEntry *entry, GCancellable *cancellable,
                         GError **error)
{
    if (!g_initable_init(G_INITABLE(entry->object), cancellable, error)) {
        hm_entry_drop(entry);
        return FALSE;
    }
    entry_ready(entry);
    return TRUE;
}

static void pass_on_cancel(GCancellable *outer G_GNUC_UNUSED, gpointer inner)
{
    g_cancellable_cancel(inner);
}

static void entry_follow(HmEntry *entry, GCancellable *outer)
{
    entry->outer = g_object_ref(outer);
    entry->outer_handler =
        g_cancellable_connect(outer, G_CALLBACK(pass_on_cancel),
                              g_object_ref(entry->cancellable), g_object_unref);
}

void hm_entry_create_async(HmEntry *entry, GCancellable *cancellable,
                           const HmWaiter *waiter)
{
    entry->add = *waiter;
    entry->add_waits = TRUE;
    if (cancellable) {
        entry_follow(entry, cancellable);
    }
    if (!start_thread(entry, "hostmem-add", create_main, &entry->error)) {
        hand_back(entry);
    }
}

/* Removing */

void hm_entry_remove(HmEntry *entry)
{
    entry->state = HM_ENTRY_LEAVING;
    g_signal_emit_by_name(entry->registry, "removed", entry->object);
    hm_entry_drop(entry);
}

void hm_entry_remove_async(HmEntry *entry, const HmWaiter *waiter)
{
    g_array_append_val(entry->removals, *waiter);
    if (entry->state == HM_ENTRY_CREATING) {
        g_cancellable_cancel(entry->cancellable);
        return;
    }
    entry->state = HM_ENTRY_LEAVING;
    g_signal_emit_by_name(entry->registry, "removed", entry->object);
    entry_leave(entry);
}
