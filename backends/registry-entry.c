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
 * A path is taken as long as its entry is there.  Entries hold no reference to
 * the registry: it can go at any time, and then waits for their threads.
 */
#include <string.h>
#include "backends/hostmem.h"
#include "backends/registry-entry.h"
#include "util/thread.h"

static gboolean entry_done(gpointer data);

/* Entries */

HmEntry *hm_entry_new(HostmemRegistry *registry, const HmObjectSpec *spec,
                      char *path)
{
    HmEntry *entry = g_new0(HmEntry, 1);

    entry->registry = registry;
    entry->kind = hm_object_spec_get_kind(spec);
    entry->path = path;
    entry->id = strrchr(path, '/') + 1;
    entry->object = hm_object_spec_instantiate(spec);
    hm_object_set_path(entry->object, path);
    hm_object_set_jobs(entry->object, registry->jobs);
    hm_object_set_keeper(entry->object, registry->keeper);
    entry->given = json_incref(hm_object_spec_get_options(spec));
    if (HOSTMEM_IS_BACKEND(entry->object)) {
        hm_backend_set_export_dir(HOSTMEM_BACKEND(entry->object),
                                  registry->export_dir);
    }
    if (HOSTMEM_IS_DEVICE(entry->object)) {
        hm_device_set_space(HOSTMEM_DEVICE(entry->object), registry->space);
    }
    entry->cancellable = g_cancellable_new();
    g_hash_table_insert(registry->by_path, entry->path, entry);
    g_ptr_array_add(registry->entries, entry);
    return entry;
}

void hm_entry_free(gpointer data)
{
    HmEntry *entry = data;

    g_clear_pointer(&entry->watch, hm_device_watch_free);
    g_clear_pointer(&entry->pool_watch, hm_pool_watch_free);
    g_clear_object(&entry->object);
    g_object_unref(entry->cancellable);
    g_clear_error(&entry->error);
    json_decref(entry->given);
    g_free(entry->path);
    g_free(entry);
}

void hm_entry_drop(HmEntry *entry)
{
    HostmemRegistry *registry = entry->registry;

    g_hash_table_remove(registry->by_path, entry->path);
    g_ptr_array_remove(registry->entries, entry);
}

const char *hm_entry_noun(const HmEntry *entry)
{
    return entry->kind == HM_SPEC_DEVICE ? "device" : "object";
}

gboolean hm_entry_is_creating(const HmEntry *entry)
{
    return entry->state == HM_ENTRY_CREATING;
}

gboolean hm_entry_is_leaving(const HmEntry *entry)
{
    return entry->state == HM_ENTRY_LEAVING || entry->removal_waits;
}

gboolean hm_entry_is_ready_object(const HmEntry *entry)
{
    return entry->kind == HM_SPEC_OBJECT && entry->state == HM_ENTRY_READY;
}

gboolean hm_entry_is_ready_device(const HmEntry *entry)
{
    return entry->kind == HM_SPEC_DEVICE && entry->state == HM_ENTRY_READY;
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
        /* The path, not the object: a reference would keep its memory. */
        g_task_return_pointer(task, g_strdup(entry->path), g_free);
    }
}

static void answer_removal(HmEntry *entry)
{
    g_autoptr(GTask) task = NULL;

    if (entry->removal_waits) {
        task = hm_registry_new_task(entry->registry, &entry->removal,
                                    hostmem_registry_remove_async);
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

GError *hm_entry_cancelled_error(const HmEntry *entry)
{
    return g_error_new(G_IO_ERROR, G_IO_ERROR_CANCELLED,
                       "creation of %s '%s' was cancelled",
                       hm_entry_noun(entry), entry->id);
}

/* Sizes */

/* The size that has not been told of; 0: that was. */
static guint64 new_size(HmEntry *entry)
{
    guint64 size;

    if (entry->state != HM_ENTRY_READY || !HOSTMEM_IS_BACKEND(entry->object)) {
        return 0;
    }
    size = hostmem_backend_get_size(HOSTMEM_BACKEND(entry->object));
    return size == entry->size ? 0 : size;
}

/* Whoever is told may add and remove. */
void hm_entries_tell_sizes(HostmemRegistry *registry)
{
    for (guint i = 0; i < registry->entries->len; i++) {
        HmEntry *entry = g_ptr_array_index(registry->entries, i);
        const guint64 size = new_size(entry);

        if (size) {
            entry->size = size;
            g_signal_emit_by_name(registry, "backend-size-changed",
                                  entry->object, size);
        }
    }
}

static void entry_ready(HmEntry *entry)
{
    entry->state = HM_ENTRY_READY;
    entry->announced = TRUE;
    if (HOSTMEM_IS_VIRTIO_MEM(entry->object)) {
        entry->watch =
            hm_device_watch_new(entry->registry, entry->registry->context,
                                HOSTMEM_VIRTIO_MEM(entry->object));
    }
    entry->size = new_size(entry);
    hm_keeper_changed(entry->registry->keeper);
    if (HOSTMEM_IS_MEMORY_POOL(entry->object)) {
        entry->pool_watch =
            hm_pool_watch_new(entry->registry, entry->registry->context,
                              HOSTMEM_MEMORY_POOL(entry->object));
    }
    answer_add(entry, NULL);
    g_signal_emit_by_name(entry->registry, "added", entry->object);
}

static void entry_failed(HmEntry *entry)
{
    GError *error = g_steal_pointer(&entry->error);

    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
        g_error_free(error);
        error = hm_entry_cancelled_error(entry);
    }
    answer_add(entry, error);
    answer_removal(entry);
    hm_entry_drop(entry);
}

void hm_entry_created(HmEntry *entry, gboolean cancelled)
{
    if (entry->error) {
        entry_failed(entry);
    } else if (cancelled) {
        hm_object_abandon(entry->object);
        entry_leave(entry);
    } else {
        entry_ready(entry);
    }
}

/* Take the entry out, and say so when it was a device; the last thing done. */
static void drop_and_tell(HmEntry *entry)
{
    HostmemRegistry *registry = entry->registry;
    gboolean was_device = entry->kind == HM_SPEC_DEVICE && entry->announced;
    g_autofree char *path = g_strdup(entry->path);
    const char *id = g_str_has_prefix(path, HM_DEVICES_PATH)
                         ? path + strlen(HM_DEVICES_PATH)
                         : NULL;

    hm_entry_drop(entry);
    if (was_device) {
        g_signal_emit_by_name(registry, "device-deleted", id, path);
    }
}

static void leaving_done(HmEntry *entry)
{
    answer_add(entry, hm_entry_cancelled_error(entry));
    answer_removal(entry);
    drop_and_tell(entry);
}

static void entry_unfollow(HmEntry *entry)
{
    if (entry->outer) {
        g_cancellable_disconnect(entry->outer, entry->outer_handler);
        g_clear_object(&entry->outer);
    }
}

void hm_entry_settle(HmEntry *entry)
{
    join_thread(entry);
    if (entry->state == HM_ENTRY_CREATING) {
        entry_unfollow(entry);
        hm_entry_created(entry, g_cancellable_is_cancelled(entry->cancellable));
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

static void begin_leaving(HmEntry *entry)
{
    entry->state = HM_ENTRY_LEAVING;
    if (entry->watch) {
        hm_device_watch_look(entry->watch);
    }
    g_clear_pointer(&entry->watch, hm_device_watch_free);
    hm_keeper_changed(entry->registry->keeper);
    g_clear_pointer(&entry->pool_watch, hm_pool_watch_free);
    g_signal_emit_by_name(entry->registry, "removed", entry->object);
}

void hm_entry_remove(HmEntry *entry)
{
    begin_leaving(entry);
    drop_and_tell(entry);
}

void hm_entry_remove_async(HmEntry *entry, const HmWaiter *waiter)
{
    entry->removal = *waiter;
    entry->removal_waits = TRUE;
    if (entry->state == HM_ENTRY_CREATING) {
        g_cancellable_cancel(entry->cancellable);
        return;
    }
    begin_leaving(entry);
    entry_leave(entry);
}
