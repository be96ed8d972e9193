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

/* A backend, and where it lies. */
typedef struct {
    HostmemBackend *backend;
    HostmemFdtMemory memory;
} Place;

/* One that does not say where it lies begins where the one before it ends. */
static GArray *list_places(GPtrArray *objects, guint64 base)
{
    GArray *places = g_array_new(FALSE, FALSE, sizeof(Place));
    guint64 next = base;

    for (guint i = 0; i < objects->len; i++) {
        HostmemBackend *backend = g_ptr_array_index(objects, i);
        Place place = {backend, {next, 0, HOSTMEM_FDT_NO_NODE}};
        gint64 address;

        if (!HOSTMEM_IS_BACKEND(backend) ||
            hm_fdt_find_device_of(objects, backend)) {
            continue;
        }
        address = hostmem_backend_get_guest_address(backend);
        if (address >= 0) {
            place.memory.base = (guint64)address;
        }
        place.memory.size = hostmem_backend_get_size(backend);
        place.memory.node = hostmem_backend_get_guest_node(backend);
        next = place.memory.base + place.memory.size;
        g_array_append_val(places, place);
    }
    return places;
}

static int lowest_first(gconstpointer a, gconstpointer b)
{
    guint64 first = ((const Place *)a)->memory.base;
    guint64 second = ((const Place *)b)->memory.base;

    return (first > second) - (first < second);
}

/* What is added comes before what is there, and firmware such as U-Boot takes
 * the first node for the memory to start in: that shall be the lowest. */
static gboolean add_backends(HostmemFdt *self, GPtrArray *objects, guint64 base,
                             GError **error)
{
    g_autoptr(GArray) places = list_places(objects, base);
    g_autofree HostmemFdtMemory *memories =
        g_new(HostmemFdtMemory, places->len);
    guint bad = 0;

    g_array_sort(places, lowest_first);
    for (guint i = 0; i < places->len; i++) {
        memories[i] = g_array_index(places, Place, i).memory;
    }
    return !places->len ||
           hm_fdt_add_memories(self, memories, places->len, &bad, error) ||
           blame(HOSTMEM_OBJECT(g_array_index(places, Place, bad).backend),
                 error);
}

/* (transfer full) (element-type HostmemVirtioMem) */
static GPtrArray *list_devices(GPtrArray *objects)
{
    GPtrArray *devices = g_ptr_array_new();

    for (guint i = 0; i < objects->len; i++) {
        if (HOSTMEM_IS_VIRTIO_MEM(g_ptr_array_index(objects, i))) {
            g_ptr_array_add(devices, g_ptr_array_index(objects, i));
        }
    }
    return devices;
}

/* Whether each region is apart from memory, and from the others. */
static gboolean check_regions(HostmemFdt *self, const HmRange *regions, guint n,
                              guint *bad, GError **error)
{
    static const HmFdtKind kind = {"the region", "", "another region"};
    g_autoptr(GArray) claims = hm_fdt_claims_new();

    for (guint i = 0; i < n; i++) {
        HmFdtClaim claim = {regions[i], HM_FDT_NEW, i};
        g_array_append_val(claims, claim);
    }
    return hm_fdt_claim_memory(self, claims, error) &&
           hm_fdt_check_claims(self, claims, &kind, bad, error);
}

static gboolean add_devices(HostmemFdt *self, GPtrArray *objects,
                            gboolean reserve, GError **error)
{
    g_autoptr(GPtrArray) devices = list_devices(objects);
    g_autofree HmRange *regions = g_new(HmRange, devices->len);
    guint bad = 0;

    for (guint i = 0; i < devices->len; i++) {
        HostmemVirtioMem *device = g_ptr_array_index(devices, i);

        regions[i] = (HmRange){hostmem_virtio_mem_get_address(device),
                               hostmem_virtio_mem_get_region_size(device)};
    }
    return !devices->len ||
           (check_regions(self, regions, devices->len, &bad, error) &&
            (!reserve || hm_fdt_add_reservations(self, REGION_NAME, regions,
                                                 devices->len, &bad, error))) ||
           blame(g_ptr_array_index(devices, bad), error);
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
