/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/object-types.h"
#include "backends/registry-entry.h"
#include "util/error.h"

#define OBJECTS_PATH "/objects/"

struct _HostmemRegistryClass {
    GObjectClass parent_class;
};
typedef struct _HostmemRegistryClass HostmemRegistryClass;

G_DEFINE_TYPE(HostmemRegistry, hostmem_registry, G_TYPE_OBJECT)

static HmEntry *find_entry(HostmemRegistry *self, const char *id,
                           HmEntryState state)
{
    HmEntry *entry = g_hash_table_lookup(self->by_id, id);

    return entry && entry->state == state ? entry : NULL;
}

/* Adding */

static HmObjectSpec *check_taken(HostmemRegistry *self, HmObjectSpec *spec,
                                 GError **error)
{
    if (!spec ||
        !g_hash_table_contains(self->by_id, hm_object_spec_get_id(spec))) {
        return spec;
    }
    hm_set_error(error, HOSTMEM_ERROR_EXISTS,
                 "attempt to add duplicate property '%s' to object (type "
                 "'container')",
                 hm_object_spec_get_id(spec));
    hm_object_spec_free(spec);
    return NULL;
}

HostmemObject *hostmem_registry_add(HostmemRegistry *self, const char *options,
                                    GCancellable *cancellable, GError **error)
{
    g_autoptr(HmObjectSpec) spec = NULL;
    HostmemObject *object;
    HmEntry *entry;

    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self) && options, NULL);

    spec = hm_object_spec_from_text(options, &self->links, error);
    spec = check_taken(self, g_steal_pointer(&spec), error);
    if (!spec) {
        return NULL;
    }
    entry = hm_entry_new(self, spec);
    object = entry->object;
    return hm_entry_create(entry, cancellable, error) ? object : NULL;
}

static void add_async(HostmemRegistry *self, HmObjectSpec *unchecked,
                      GError *error, GCancellable *cancellable,
                      const HmWaiter *waiter)
{
    g_autoptr(HmObjectSpec) spec = check_taken(self, unchecked, &error);
    g_autoptr(GTask) task = NULL;

    if (spec) {
        hm_entry_create_async(hm_entry_new(self, spec), cancellable, waiter);
        return;
    }
    task = hm_registry_new_task(self, waiter, hostmem_registry_add_async);
    g_task_return_error(task, error);
}

void hostmem_registry_add_async(HostmemRegistry *self, const char *options,
                                GCancellable *cancellable,
                                GAsyncReadyCallback callback,
                                gpointer user_data)
{
    const HmWaiter waiter = {callback, user_data};
    GError *error = NULL;
    HmObjectSpec *spec;

    g_return_if_fail(HOSTMEM_IS_REGISTRY(self) && options);

    spec = hm_object_spec_from_text(options, &self->links, &error);
    add_async(self, spec, error, cancellable, &waiter);
}

void hm_registry_add_json_async(HostmemRegistry *self, json_t *options,
                                GCancellable *cancellable,
                                GAsyncReadyCallback callback,
                                gpointer user_data)
{
    const HmWaiter waiter = {callback, user_data};
    GError *error = NULL;
    HmObjectSpec *spec;

    spec = hm_object_spec_from_json(options, &self->links, &error);
    add_async(self, spec, error, cancellable, &waiter);
}

HostmemObject *hostmem_registry_add_finish(HostmemRegistry *self,
                                           GAsyncResult *result, GError **error)
{
    g_autofree char *id = NULL;
    HmEntry *entry;

    g_return_val_if_fail(g_task_is_valid(result, self), NULL);

    id = g_task_propagate_pointer(G_TASK(result), error);
    if (!id) {
        return NULL;
    }
    entry = find_entry(self, id, HM_ENTRY_READY);
    if (!entry) {
        hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND,
                     "object '%s' was removed meanwhile", id);
        return NULL;
    }
    return entry->object;
}

/* Removing */

/* (nullable): an entry that may leave; one that is being created counts. */
static HmEntry *find_removable(HostmemRegistry *self, const char *id,
                               GError **error)
{
    HmEntry *entry = g_hash_table_lookup(self->by_id, id);

    if (!entry || entry->state == HM_ENTRY_LEAVING) {
        g_autofree char *quoted = hm_error_quote(id);

        hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND, "object %s not found",
                     quoted);
        return NULL;
    }
    if (entry->state == HM_ENTRY_READY &&
        hostmem_object_is_held(entry->object)) {
        hm_set_error(error, HOSTMEM_ERROR_BUSY,
                     "object '%s' is in use, can not be deleted", id);
        return NULL;
    }
    return entry;
}

gboolean hostmem_registry_remove(HostmemRegistry *self, const char *id,
                                 GError **error)
{
    HmEntry *entry;

    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self) && id, FALSE);

    entry = find_removable(self, id, error);
    if (!entry) {
        return FALSE;
    }
    if (entry->state == HM_ENTRY_CREATING) {
        return hm_set_error(error, HOSTMEM_ERROR_BUSY,
                            "object '%s' is still being created", id);
    }
    hm_entry_remove(entry);
    return TRUE;
}

void hostmem_registry_remove_async(HostmemRegistry *self, const char *id,
                                   GAsyncReadyCallback callback,
                                   gpointer user_data)
{
    const HmWaiter waiter = {callback, user_data};
    g_autoptr(GTask) task = NULL;
    GError *error = NULL;
    HmEntry *entry;

    g_return_if_fail(HOSTMEM_IS_REGISTRY(self) && id);

    entry = find_removable(self, id, &error);
    if (entry) {
        hm_entry_remove_async(entry, &waiter);
        return;
    }
    task = hm_registry_new_task(self, &waiter, hostmem_registry_remove_async);
    g_task_return_error(task, error);
}

gboolean hostmem_registry_remove_finish(HostmemRegistry *self,
                                        GAsyncResult *result, GError **error)
{
    g_return_val_if_fail(g_task_is_valid(result, self), FALSE);

    return g_task_propagate_boolean(G_TASK(result), error);
}

/* Finding */

gpointer hostmem_registry_lookup(HostmemRegistry *self, const char *id,
                                 GType type, GError **error)
{
    g_autofree char *quoted = NULL;
    const char *name = id;
    HmEntry *entry;

    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self) && id, NULL);

    if (g_str_has_prefix(id, OBJECTS_PATH)) {
        name += strlen(OBJECTS_PATH);
    }
    entry = find_entry(self, name, HM_ENTRY_READY);
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

    entry = find_entry(self, id, HM_ENTRY_CREATING);
    return entry ? entry->object : NULL;
}

static GPtrArray *list_objects(HostmemRegistry *self, HmEntryState state)
{
    GPtrArray *list = g_ptr_array_new();

    for (guint i = 0; i < self->entries->len; i++) {
        const HmEntry *entry = g_ptr_array_index(self->entries, i);

        if (entry->state == state) {
            g_ptr_array_add(list, entry->object);
        }
    }
    return list;
}

GPtrArray *hostmem_registry_list(HostmemRegistry *self)
{
    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self), NULL);

    return list_objects(self, HM_ENTRY_READY);
}

GPtrArray *hostmem_registry_list_pending(HostmemRegistry *self)
{
    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self), NULL);

    return list_objects(self, HM_ENTRY_CREATING);
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
    jobs = hm_job_list_copy(self->jobs);
    for (guint i = 0; i < jobs->len; i++) {
        hostmem_job_cancel(g_ptr_array_index(jobs, i), NULL);
    }
}

/* Jobs */

static void on_job_changed(HostmemJob *job, HostmemJobStatus status,
                           gpointer data)
{
    g_signal_emit_by_name(data, "job-changed", job, status);
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

static void hostmem_registry_init(HostmemRegistry *self)
{
    self->context = g_main_context_ref_thread_default();
    self->by_id = g_hash_table_new(g_str_hash, g_str_equal);
    self->entries = g_ptr_array_new_with_free_func(hm_entry_free);
    self->links = (HmPropLinks){find_link, link_path, self};
    self->jobs = hm_job_list_new(self->context, on_job_changed, self);
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

    g_hash_table_unref(self->by_id);
    g_ptr_array_unref(self->entries);
    hm_job_list_unref(self->jobs);
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
    g_signal_new("job-changed", HOSTMEM_TYPE_REGISTRY, G_SIGNAL_RUN_LAST, 0,
                 NULL, NULL, NULL, G_TYPE_NONE, 2, HOSTMEM_TYPE_JOB,
                 HOSTMEM_TYPE_JOB_STATUS);
}
