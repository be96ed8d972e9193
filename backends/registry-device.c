/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/registry-entry.h"
#include "util/error.h"

/* Adding */

HostmemDevice *hostmem_registry_add_device(HostmemRegistry *self,
                                           const char *options,
                                           GCancellable *cancellable,
                                           GError **error)
{
    HostmemObject *object;

    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self) && options, NULL);

    object = hm_registry_add(self, HM_SPEC_DEVICE, options, cancellable, error);
    return object ? HOSTMEM_DEVICE(object) : NULL;
}

void hostmem_registry_add_device_async(HostmemRegistry *self,
                                       const char *options,
                                       GCancellable *cancellable,
                                       GAsyncReadyCallback callback,
                                       gpointer user_data)
{
    g_return_if_fail(HOSTMEM_IS_REGISTRY(self) && options);

    hm_registry_add_async(self, HM_SPEC_DEVICE, options, cancellable, callback,
                          user_data);
}

HostmemDevice *hostmem_registry_add_device_finish(HostmemRegistry *self,
                                                  GAsyncResult *result,
                                                  GError **error)
{
    HostmemObject *object = hostmem_registry_add_finish(self, result, error);

    return object ? HOSTMEM_DEVICE(object) : NULL;
}

/* Finding */

static char *path_of(const char *id)
{
    return *id == '/' ? g_strdup(id) : g_strconcat(HM_DEVICES_PATH, id, NULL);
}

/* (nullable): a device, also one that is being created. */
static HmEntry *find_device(HostmemRegistry *self, const char *id,
                            GError **error)
{
    g_autofree char *path = path_of(id);
    HmEntry *entry = g_hash_table_lookup(self->by_path, path);
    g_autofree char *quoted = NULL;

    if (entry && entry->kind == HM_SPEC_DEVICE && !hm_entry_is_leaving(entry)) {
        return entry;
    }
    quoted = hm_error_quote(id);
    hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND, "Device %s not found", quoted);
    return NULL;
}

HostmemDevice *hostmem_registry_lookup_device(HostmemRegistry *self,
                                              const char *id, GError **error)
{
    HmEntry *entry;

    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self) && id, NULL);

    entry = find_device(self, id, error);
    if (!entry) {
        return NULL;
    }
    if (entry->state == HM_ENTRY_CREATING) {
        hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND,
                     "Device '%s' not found: it is still being created",
                     entry->id);
        return NULL;
    }
    return HOSTMEM_DEVICE(entry->object);
}

GPtrArray *hostmem_registry_list_devices(HostmemRegistry *self)
{
    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self), NULL);

    return hm_registry_list(self, hm_entry_is_ready_device);
}

/* Removing */

gboolean hostmem_registry_remove_device(HostmemRegistry *self, const char *id,
                                        GError **error)
{
    HmEntry *entry;

    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self) && id, FALSE);

    entry = find_device(self, id, error);
    return entry && hm_registry_remove(entry, error);
}

void hostmem_registry_remove_device_async(HostmemRegistry *self, const char *id,
                                          GAsyncReadyCallback callback,
                                          gpointer user_data)
{
    GError *error = NULL;
    HmEntry *entry;

    g_return_if_fail(HOSTMEM_IS_REGISTRY(self) && id);

    entry = find_device(self, id, &error);
    hm_registry_remove_async(self, entry, error, callback, user_data);
}

gboolean hostmem_registry_remove_device_finish(HostmemRegistry *self,
                                               GAsyncResult *result,
                                               GError **error)
{
    return hostmem_registry_remove_finish(self, result, error);
}
