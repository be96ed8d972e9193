/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/backend.h>
#include <hostmem/fdt-guest.h>
#include "backends/export/fdt.h"
#include "util/error.h"

/* Which objects */

static gpointer find_backend(GPtrArray *objects, const char *id)
{
    for (guint i = 0; i < objects->len; i++) {
        gpointer object = g_ptr_array_index(objects, i);

        if (HOSTMEM_IS_BACKEND(object) &&
            g_strcmp0(hostmem_object_get_id(object), id) == 0) {
            return object;
        }
    }
    return NULL;
}

/* The devices stay: their regions are part of the address space. */
static void add_others(GPtrArray *chosen, GPtrArray *objects)
{
    for (guint i = 0; i < objects->len; i++) {
        gpointer object = g_ptr_array_index(objects, i);

        if (!HOSTMEM_IS_BACKEND(object)) {
            g_ptr_array_add(chosen, object);
        }
    }
}

/* (transfer container): those of "memdevs", in that order, and the devices. */
static GPtrArray *choose(const HmFdtDump *dump, GPtrArray *objects,
                         GError **error)
{
    g_autoptr(GPtrArray) chosen = g_ptr_array_new();

    if (!dump->memdevs) {
        return g_ptr_array_ref(objects);
    }
    for (guint i = 0; i < dump->memdevs->len; i++) {
        const char *id = g_ptr_array_index(dump->memdevs, i);
        gpointer backend = find_backend(objects, id);

        if (!backend) {
            g_autofree char *quoted = hm_error_quote(id);
            hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND,
                         "memdevs[%u]: there is no memory backend %s", i,
                         quoted);
            return NULL;
        }
        g_ptr_array_add(chosen, backend);
    }
    add_others(chosen, objects);
    return g_steal_pointer(&chosen);
}

/* What only the options know */

static gboolean add_distances(HostmemFdt *fdt, const HmFdtDump *dump,
                              GError **error)
{
    for (guint i = 0; i < dump->distances->len; i++) {
        const HmFdtDistance *distance =
            &g_array_index(dump->distances, HmFdtDistance, i);

        if (!hostmem_fdt_set_distance(fdt, distance->src, distance->dst,
                                      distance->val, error)) {
            g_prefix_error(error, "distances[%u]: ", i);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean add_transports(HostmemFdt *fdt, const HmFdtDump *dump,
                               GError **error)
{
    for (guint i = 0; i < dump->transports->len; i++) {
        const HmFdtTransport *transport =
            &g_array_index(dump->transports, HmFdtTransport, i);

        if (!hostmem_fdt_add_virtio_mmio(fdt, transport->addr, transport->size,
                                         transport->interrupt,
                                         transport->n_cells, error)) {
            g_prefix_error(error, "virtio-mmio[%u]: ", i);
            return FALSE;
        }
    }
    return TRUE;
}

/* The whole */

static HostmemFdt *begin(const HmFdtDump *dump, GError **error)
{
    g_autoptr(HostmemFdt) fdt =
        dump->dtb ? hostmem_fdt_load(dump->dtb, error) : hostmem_fdt_new();

    return fdt && (!dump->replace || hostmem_fdt_remove_memory(fdt, error))
               ? g_steal_pointer(&fdt)
               : NULL;
}

gboolean hostmem_fdt_dump(GPtrArray *objects, const char *options,
                          GError **error)
{
    g_autoptr(HmFdtDump) dump = NULL;
    g_autoptr(HostmemFdt) fdt = NULL;
    g_autoptr(GPtrArray) chosen = NULL;

    g_return_val_if_fail(objects && options, FALSE);
    dump = hm_fdt_dump_parse(options, error);
    chosen = dump ? choose(dump, objects, error) : NULL;
    fdt = chosen ? begin(dump, error) : NULL;
    return fdt &&
           hostmem_fdt_add_objects(fdt, chosen, dump->base, dump->reserve,
                                   error) &&
           add_distances(fdt, dump, error) &&
           add_transports(fdt, dump, error) &&
           hostmem_fdt_save(fdt, dump->filename, error);
}
