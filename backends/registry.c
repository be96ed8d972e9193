/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <hostmem/memory-pool.h>
#include "backends/object-types.h"
#include "backends/registry-entry.h"
#include "backends/registry-restore.h"
#include "util/error.h"

struct _HostmemRegistryClass {
    GObjectClass parent_class;
};
typedef struct _HostmemRegistryClass HostmemRegistryClass;

G_DEFINE_TYPE(HostmemRegistry, hostmem_registry, G_TYPE_OBJECT)

HmEntry *hm_registry_find(HostmemRegistry *self, const char *path,
                          HmEntryState state)
{
    HmEntry *entry = g_hash_table_lookup(self->by_path, path);

    return entry && entry->state == state ? entry : NULL;
}

static HmEntry *find_object(HostmemRegistry *self, const char *id,
                            HmEntryState state)
{
    g_autofree char *path = g_strconcat(HM_OBJECTS_PATH, id, NULL);

    return hm_registry_find(self, path, state);
}

/* Adding */

static char *path_of_spec(HostmemRegistry *self, const HmObjectSpec *spec)
{
    const char *id = hm_object_spec_get_id(spec);

    if (hm_object_spec_get_kind(spec) == HM_SPEC_OBJECT) {
        return g_strconcat(HM_OBJECTS_PATH, id, NULL);
    }
    return id ? g_strconcat(HM_DEVICES_PATH, id, NULL)
              : g_strdup_printf(HM_UNNAMED_PATH "device[%u]",
                                self->n_unnamed++);
}

static gboolean refuse_taken(const HmObjectSpec *spec, GError **error)
{
    const char *id = hm_object_spec_get_id(spec);

    if (hm_object_spec_get_kind(spec) == HM_SPEC_DEVICE) {
        return hm_set_error(error, HOSTMEM_ERROR_EXISTS,
                            "Duplicate device ID '%s'", id);
    }
    return hm_set_error(error, HOSTMEM_ERROR_EXISTS,
                        "attempt to add duplicate property '%s' to object "
                        "(type 'container')",
                        id);
}

/* @spec is (nullable): then @error is set already. */
HmEntry *hm_registry_add_entry(HostmemRegistry *self, const HmObjectSpec *spec,
                               GError **error)
{
    g_autofree char *path = NULL;

    if (!spec) {
        return NULL;
    }
    path = path_of_spec(self, spec);
    if (g_hash_table_contains(self->by_path, path)) {
        refuse_taken(spec, error);
        return NULL;
    }
    return hm_entry_new(self, spec, g_steal_pointer(&path));
}

HostmemObject *hm_registry_add(HostmemRegistry *self, HmSpecKind kind,
                               const char *options, GCancellable *cancellable,
                               GError **error)
{
    g_autoptr(HmObjectSpec) spec =
        hm_object_spec_from_text(kind, options, &self->links, error);
    HmEntry *entry = hm_registry_add_entry(self, spec, error);
    HostmemObject *object;

    if (!entry) {
        return NULL;
    }
    object = entry->object;
    return hm_entry_create(entry, cancellable, error) ? object : NULL;
}

HostmemObject *hostmem_registry_add(HostmemRegistry *self, const char *options,
                                    GCancellable *cancellable, GError **error)
{
    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self) && options, NULL);

    return hm_registry_add(self, HM_SPEC_OBJECT, options, cancellable, error);
}

static void add_async(HostmemRegistry *self, const HmObjectSpec *spec,
                      GError *error, GCancellable *cancellable,
                      const HmWaiter *waiter)
{
    HmEntry *entry = hm_registry_add_entry(self, spec, &error);
    g_autoptr(GTask) task = NULL;

    if (entry) {
        hm_entry_create_async(entry, cancellable, waiter);
        return;
    }
    task = hm_registry_new_task(self, waiter, hostmem_registry_add_async);
    g_task_return_error(task, error);
}

void hm_registry_add_async(HostmemRegistry *self, HmSpecKind kind,
                           const char *options, GCancellable *cancellable,
                           GAsyncReadyCallback callback, gpointer user_data)
{
    const HmWaiter waiter = {callback, user_data};
    GError *error = NULL;
    g_autoptr(HmObjectSpec) spec =
        hm_object_spec_from_text(kind, options, &self->links, &error);

    add_async(self, spec, error, cancellable, &waiter);
}

void hostmem_registry_add_async(HostmemRegistry *self, const char *options,
                                GCancellable *cancellable,
                                GAsyncReadyCallback callback,
                                gpointer user_data)
{
    g_return_if_fail(HOSTMEM_IS_REGISTRY(self) && options);

    hm_registry_add_async(self, HM_SPEC_OBJECT, options, cancellable, callback,
                          user_data);
}

void hm_registry_add_json_async(HostmemRegistry *self, HmSpecKind kind,
                                json_t *options, GCancellable *cancellable,
                                GAsyncReadyCallback callback,
                                gpointer user_data)
{
    const HmWaiter waiter = {callback, user_data};
    GError *error = NULL;
    g_autoptr(HmObjectSpec) spec =
        hm_object_spec_from_json(kind, options, &self->links, &error);

    add_async(self, spec, error, cancellable, &waiter);
}

HostmemObject *hostmem_registry_add_finish(HostmemRegistry *self,
                                           GAsyncResult *result, GError **error)
{
    g_autofree char *path = NULL;
    HmEntry *entry;

    g_return_val_if_fail(g_task_is_valid(result, self), NULL);

    path = g_task_propagate_pointer(G_TASK(result), error);
    if (!path) {
        return NULL;
    }
    entry = hm_registry_find(self, path, HM_ENTRY_READY);
    if (!entry) {
        hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND,
                     "object '%s' was removed meanwhile",
                     strrchr(path, '/') + 1);
        return NULL;
    }
    return entry->object;
}

/* Finding */

gpointer hostmem_registry_lookup(HostmemRegistry *self, const char *id,
                                 GType type, GError **error)
{
    g_autofree char *quoted = NULL;
    const char *name = id;
    HmEntry *entry;

    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self) && id, NULL);

    if (g_str_has_prefix(id, HM_OBJECTS_PATH)) {
        name += strlen(HM_OBJECTS_PATH);
    }
    entry = find_object(self, name, HM_ENTRY_READY);
    if (entry && g_type_is_a(G_OBJECT_TYPE(entry->object), type)) {
        return entry->object;
    }
    quoted = hm_error_quote(id);
    if (!entry) {
        hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND, "Device %s not found",
                     quoted);
    } else {
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "object %s is a %s, expected: %s", quoted,
                     hostmem_object_get_type_name(entry->object),
                     hm_object_type_name(type));
    }
    return NULL;
}

HostmemObject *hostmem_registry_lookup_pending(HostmemRegistry *self,
                                               const char *id)
{
    HmEntry *entry;

    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self) && id, NULL);

    entry = find_object(self, id, HM_ENTRY_CREATING);
    return entry ? entry->object : NULL;
}

GPtrArray *hm_registry_list(HostmemRegistry *self,
                            gboolean (*wanted)(const HmEntry *entry))
{
    GPtrArray *list = g_ptr_array_new();

    for (guint i = 0; i < self->entries->len; i++) {
        const HmEntry *entry = g_ptr_array_index(self->entries, i);

        if (wanted(entry)) {
            g_ptr_array_add(list, entry->object);
        }
    }
    return list;
}

GPtrArray *hostmem_registry_list(HostmemRegistry *self)
{
    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self), NULL);

    return hm_registry_list(self, hm_entry_is_ready_object);
}

GPtrArray *hostmem_registry_list_pending(HostmemRegistry *self)
{
    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self), NULL);

    return hm_registry_list(self, hm_entry_is_creating);
}

void hostmem_registry_cancel_all(HostmemRegistry *self)
{
    g_autoptr(GPtrArray) jobs = NULL;

    g_return_if_fail(HOSTMEM_IS_REGISTRY(self));

    for (guint i = 0; i < self->entries->len; i++) {
        const HmEntry *entry = g_ptr_array_index(self->entries, i);

        if (entry->state == HM_ENTRY_CREATING) {
            g_cancellable_cancel(entry->cancellable);
        }
    }
    if (self->restoring) {
        hm_restore_cancel(self->restoring);
    }
    jobs = hm_job_list_copy(self->jobs);
    for (guint i = 0; i < jobs->len; i++) {
        hostmem_job_cancel(g_ptr_array_index(jobs, i), NULL);
    }
}

/* Jobs */

static void on_job_changed(HostmemJob *job, HostmemJobStatus status,
                           gpointer data)
{
    HostmemRegistry *self = data;

    g_signal_emit_by_name(self, "job-changed", job, status);
}

GPtrArray *hostmem_registry_list_jobs(HostmemRegistry *self)
{
    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self), NULL);

    return hm_job_list_copy(self->jobs);
}

HostmemJob *hostmem_registry_lookup_job(HostmemRegistry *self, const char *id,
                                        GError **error)
{
    g_autoptr(GPtrArray) jobs = NULL;

    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self) && id, NULL);

    jobs = hm_job_list_copy(self->jobs);
    for (guint i = 0; i < jobs->len; i++) {
        HostmemJob *job = g_ptr_array_index(jobs, i);

        if (g_str_equal(hostmem_job_get_id(job), id)) {
            return g_object_ref(job);
        }
    }
    hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND, "Job not found");
    return NULL;
}

/* Links */

static GObject *find_link(const char *path, gpointer data, GError **error)
{
    return hostmem_registry_lookup(data, path, HOSTMEM_TYPE_OBJECT, error);
}

static char *link_path(GObject *object, gpointer data G_GNUC_UNUSED)
{
    return hm_object_get_path(HOSTMEM_OBJECT(object));
}

const HmPropLinks *hm_registry_links(HostmemRegistry *self)
{
    return &self->links;
}

/* Life */

HostmemRegistry *hostmem_registry_new(void)
{
    return g_object_new(HOSTMEM_TYPE_REGISTRY, NULL);
}

void hostmem_registry_set_export_dir(HostmemRegistry *self,
                                     HostmemExportDir *dir)
{
    g_return_if_fail(HOSTMEM_IS_REGISTRY(self));

    g_set_object(&self->export_dir, dir);
}

static void on_state_changed(gpointer data)
{
    hm_entries_tell_sizes(data);
    g_signal_emit_by_name(data, "state-changed");
}

static void restored_free(gpointer data)
{
    HostmemRestored *restored = data;

    g_free(restored->path);
    g_free(restored->reason);
    g_free(restored);
}

static void hostmem_registry_init(HostmemRegistry *self)
{
    self->context = g_main_context_ref_thread_default();
    self->by_path = g_hash_table_new(g_str_hash, g_str_equal);
    self->entries = g_ptr_array_new_with_free_func(hm_entry_free);
    self->batches = g_ptr_array_new();
    self->links = (HmPropLinks){find_link, link_path, self};
    self->keeper = hm_keeper_new(self->context, on_state_changed, self);
    self->jobs =
        hm_job_list_new(self->context, self->keeper, on_job_changed, self);
    self->space = hm_address_space_new(HM_ADDRESS_SPACE_PLACES);
    self->kept = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    self->old_states = g_ptr_array_new_with_free_func(g_free);
    self->state_fd = -1;
    self->restored = g_ptr_array_new_with_free_func(restored_free);
}

static HmEntry *find_busy(HostmemRegistry *self)
{
    for (guint i = 0; i < self->entries->len; i++) {
        HmEntry *entry = g_ptr_array_index(self->entries, i);

        if (entry->done) {
            return entry;
        }
    }
    return NULL;
}

/* Who waits is still told: the answers keep us alive until then. */
static void hostmem_registry_dispose(GObject *object)
{
    HostmemRegistry *self = HOSTMEM_REGISTRY(object);
    HmEntry *entry;

    hostmem_registry_cancel_all(self);
    hm_keeper_close(self->keeper);
    if (self->restoring) {
        hm_restore_settle(self->restoring);
    }
    while (self->batches->len) {
        hm_batch_settle(g_ptr_array_index(self->batches, 0));
    }
    while ((entry = find_busy(self))) {
        hm_entry_settle(entry);
    }
    while (self->entries->len) {
        hm_entry_drop(g_ptr_array_index(self->entries, self->entries->len - 1));
    }
    hm_job_list_close(self->jobs);
    G_OBJECT_CLASS(hostmem_registry_parent_class)->dispose(object);
}

static void hostmem_registry_finalize(GObject *object)
{
    HostmemRegistry *self = HOSTMEM_REGISTRY(object);

    g_hash_table_unref(self->by_path);
    g_ptr_array_unref(self->entries);
    g_ptr_array_unref(self->batches);
    hm_job_list_unref(self->jobs);
    hm_address_space_unref(self->space);
    hm_keeper_unref(self->keeper);
    g_hash_table_unref(self->kept);
    g_ptr_array_unref(self->old_states);
    g_ptr_array_unref(self->restored);
    hm_registry_clear_state(self);
    g_free(self->note);
    g_clear_object(&self->export_dir);
    g_main_context_unref(self->context);
    G_OBJECT_CLASS(hostmem_registry_parent_class)->finalize(object);
}

static void hostmem_registry_class_init(HostmemRegistryClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);

    object_class->dispose = hostmem_registry_dispose;
    object_class->finalize = hostmem_registry_finalize;
    g_signal_new("added", HOSTMEM_TYPE_REGISTRY, G_SIGNAL_RUN_LAST, 0, NULL,
                 NULL, NULL, G_TYPE_NONE, 1, HOSTMEM_TYPE_OBJECT);
    g_signal_new("removed", HOSTMEM_TYPE_REGISTRY, G_SIGNAL_RUN_LAST, 0, NULL,
                 NULL, NULL, G_TYPE_NONE, 1, HOSTMEM_TYPE_OBJECT);
    g_signal_new("device-size-changed", HOSTMEM_TYPE_REGISTRY,
                 G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 2,
                 HOSTMEM_TYPE_DEVICE, G_TYPE_UINT64);
    g_signal_new("device-resize-changed", HOSTMEM_TYPE_REGISTRY,
                 G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 2,
                 HOSTMEM_TYPE_DEVICE, HOSTMEM_TYPE_RESIZE_STATE);
    g_signal_new("device-deleted", HOSTMEM_TYPE_REGISTRY, G_SIGNAL_RUN_LAST, 0,
                 NULL, NULL, NULL, G_TYPE_NONE, 2, G_TYPE_STRING,
                 G_TYPE_STRING);
    g_signal_new("backend-size-changed", HOSTMEM_TYPE_REGISTRY,
                 G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 2,
                 HOSTMEM_TYPE_BACKEND, G_TYPE_UINT64);
    g_signal_new("pool-low", HOSTMEM_TYPE_REGISTRY, G_SIGNAL_RUN_LAST, 0, NULL,
                 NULL, NULL, G_TYPE_NONE, 3, HOSTMEM_TYPE_MEMORY_POOL,
                 G_TYPE_UINT64, G_TYPE_UINT64);
    g_signal_new("job-changed", HOSTMEM_TYPE_REGISTRY, G_SIGNAL_RUN_LAST, 0,
                 NULL, NULL, NULL, G_TYPE_NONE, 2, HOSTMEM_TYPE_JOB,
                 HOSTMEM_TYPE_JOB_STATUS);
    g_signal_new("state-changed", HOSTMEM_TYPE_REGISTRY, G_SIGNAL_RUN_LAST, 0,
                 NULL, NULL, NULL, G_TYPE_NONE, 0);
}
