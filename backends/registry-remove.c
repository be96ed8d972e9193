/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/memory-pool.h>
#include "backends/registry-entry.h"
#include "util/error.h"

static gboolean links_to(HostmemObject *object, HostmemObject *target)
{
    g_autoptr(GPtrArray) rows = hm_props_list(G_OBJECT_GET_CLASS(object));

    for (guint i = 0; i < rows->len; i++) {
        const HmProp *row = g_ptr_array_index(rows, i);
        g_auto(GValue) value = G_VALUE_INIT;

        if (row->kind != HM_PROP_LINK) {
            continue;
        }
        hm_prop_get(row, G_OBJECT(object), &value);
        if (g_value_get_object(&value) == (gpointer)target) {
            return TRUE;
        }
    }
    return FALSE;
}

/* A device holds its memdev, and a backend its pool, when it is ready; until
 * then this must do. */
static gboolean is_wanted(HostmemRegistry *self, HostmemObject *object)
{
    gboolean is_pool = HOSTMEM_IS_MEMORY_POOL(object);

    for (guint i = 0; i < self->entries->len; i++) {
        const HmEntry *entry = g_ptr_array_index(self->entries, i);

        if ((entry->kind == HM_SPEC_DEVICE || is_pool) &&
            hm_entry_is_creating(entry) && links_to(entry->object, object)) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean check_removable(HmEntry *entry, GError **error)
{
    if (hostmem_object_is_held(entry->object) ||
        is_wanted(entry->registry, entry->object)) {
        return hm_set_error(error, HOSTMEM_ERROR_BUSY,
                            "%s '%s' is in use, can not be deleted",
                            hm_entry_noun(entry), entry->id);
    }
    return entry->kind != HM_SPEC_DEVICE ||
           hostmem_device_check_removable(HOSTMEM_DEVICE(entry->object), error);
}

static gboolean check_created(const HmEntry *entry, GError **error)
{
    return entry->state != HM_ENTRY_CREATING ||
           hm_set_error(error, HOSTMEM_ERROR_BUSY,
                        "%s '%s' is still being created", hm_entry_noun(entry),
                        entry->id);
}

gboolean hm_registry_remove(HmEntry *entry, GError **error)
{
    if (!check_created(entry, error) || !check_removable(entry, error)) {
        return FALSE;
    }
    hm_entry_remove(entry);
    return TRUE;
}

void hm_registry_remove_async(HostmemRegistry *self, HmEntry *entry,
                              GError *error, GAsyncReadyCallback callback,
                              gpointer user_data)
{
    const HmWaiter waiter = {callback, user_data};
    g_autoptr(GTask) task = NULL;

    if (entry &&
        (entry->state == HM_ENTRY_CREATING || check_removable(entry, &error))) {
        hm_entry_remove_async(entry, &waiter);
        return;
    }
    task = hm_registry_new_task(self, &waiter, hostmem_registry_remove_async);
    g_task_return_error(task, error);
}

/* (nullable): an entry that is not leaving already. */
static HmEntry *find_object_to_remove(HostmemRegistry *self, const char *id,
                                      GError **error)
{
    g_autofree char *path = g_strconcat(HM_OBJECTS_PATH, id, NULL);
    HmEntry *entry = g_hash_table_lookup(self->by_path, path);
    g_autofree char *quoted = NULL;

    if (entry && !hm_entry_is_leaving(entry)) {
        return entry;
    }
    quoted = hm_error_quote(id);
    hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND, "object %s not found", quoted);
    return NULL;
}

gboolean hostmem_registry_remove(HostmemRegistry *self, const char *id,
                                 GError **error)
{
    HmEntry *entry;

    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self) && id, FALSE);

    entry = find_object_to_remove(self, id, error);
    return entry && hm_registry_remove(entry, error);
}

void hostmem_registry_remove_async(HostmemRegistry *self, const char *id,
                                   GAsyncReadyCallback callback,
                                   gpointer user_data)
{
    GError *error = NULL;
    HmEntry *entry;

    g_return_if_fail(HOSTMEM_IS_REGISTRY(self) && id);

    entry = find_object_to_remove(self, id, &error);
    hm_registry_remove_async(self, entry, error, callback, user_data);
}

gboolean hostmem_registry_remove_finish(HostmemRegistry *self,
                                        GAsyncResult *result, GError **error)
{
    g_return_val_if_fail(g_task_is_valid(result, self), FALSE);

    return g_task_propagate_boolean(G_TASK(result), error);
}

gboolean hostmem_registry_abandon(HostmemRegistry *self, const char *id,
                                  GError **error)
{
    HmEntry *entry;

    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self) && id, FALSE);

    entry = find_object_to_remove(self, id, error);
    if (!entry || !check_created(entry, error)) {
        return FALSE;
    }
    hm_object_abandon(entry->object);
    return TRUE;
}
