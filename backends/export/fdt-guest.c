/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/backend.h>
#include <hostmem/fdt-guest.h>
#include <hostmem/virtio-mem.h>
#include "backends/export/fdt.h"
#include "backends/object.h"

#define REGION_NAME "hotplug"

static gboolean blame(HostmemObject *object, GError **error)
{
    g_autofree char *what = hm_object_describe(object);

    g_prefix_error(error, "%s: ", what);
    return FALSE;
}

HostmemObject *hm_fdt_find_device_of(GPtrArray *objects, gconstpointer backend)
{
    for (guint i = 0; i < objects->len; i++) {
        gpointer object = g_ptr_array_index(objects, i);

        if (HOSTMEM_IS_VIRTIO_MEM(object) &&
            hostmem_virtio_mem_get_memdev(object) == backend) {
            return object;
        }
    }
    return NULL;
}

/* *@next: where it lies when it does not say so; then where it ends. */
static gboolean add_backend(HostmemFdt *self, HostmemBackend *backend,
                            guint64 *next, GError **error)
{
    gint64 address = hostmem_backend_get_guest_address(backend);
    HostmemFdtMemory memory = {
        .base = address < 0 ? *next : (guint64)address,
        .size = hostmem_backend_get_size(backend),
        .node = hostmem_backend_get_guest_node(backend),
    };

    *next = memory.base + memory.size;
    return hostmem_fdt_add_memory(self, &memory, error) ||
           blame(HOSTMEM_OBJECT(backend), error);
}

static gboolean add_backends(HostmemFdt *self, GPtrArray *objects, guint64 base,
                             GError **error)
{
    guint64 next = base;

    for (guint i = 0; i < objects->len; i++) {
        gpointer object = g_ptr_array_index(objects, i);

        if (HOSTMEM_IS_BACKEND(object) &&
            !hm_fdt_find_device_of(objects, object) &&
            !add_backend(self, object, &next, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean add_device(HostmemFdt *self, HostmemVirtioMem *device,
                           gboolean reserve, GError **error)
{
    HmRange region = {hostmem_virtio_mem_get_address(device),
                      hostmem_virtio_mem_get_region_size(device)};

    return (hm_fdt_check_no_memory(self, "the region", &region, error) &&
            (!reserve ||
             hostmem_fdt_add_reserved(self, REGION_NAME, region.offset,
                                      region.length, error))) ||
           blame(HOSTMEM_OBJECT(device), error);
}

static gboolean add_devices(HostmemFdt *self, GPtrArray *objects,
                            gboolean reserve, GError **error)
{
    for (guint i = 0; i < objects->len; i++) {
        gpointer object = g_ptr_array_index(objects, i);

        if (HOSTMEM_IS_VIRTIO_MEM(object) &&
            !add_device(self, object, reserve, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean hostmem_fdt_add_objects(HostmemFdt *self, GPtrArray *objects,
                                 guint64 base, gboolean reserve, GError **error)
{
    guint8 *before;

    g_return_val_if_fail(self && objects, FALSE);
    before = g_memdup2(self->blob, fdt_totalsize(self->blob));
    if (add_backends(self, objects, base, error) &&
        add_devices(self, objects, reserve, error)) {
        g_free(before);
        return TRUE;
    }
    g_free(self->blob);
    self->blob = before;
    return FALSE;
}
